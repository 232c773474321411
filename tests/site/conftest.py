"""One site and one browser for all tests of this folder: building takes a minute, so it is built once."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from browser.lab import BROWSER_FLAGS, chromium
from inspection import CUT_OFF
from playwright.sync_api import sync_playwright
from repo import ROOT

sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The built site; `make site` in one go, with what it printed on failure.

    COURSE_SITE=FOLDER names one that is built already, for work on these tests.
    """
    if built := os.environ.get("COURSE_SITE"):
        return Path(built)
    out = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "tools/build_site.py", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stderr
    return out


@pytest.fixture(scope="session")
def pages(site) -> list[str]:
    """Addresses of all pages, relative to the site."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_static" not in path.parts)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address(site) -> str:
    """Where the site is served on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def chrome():
    """A headless browser without a network."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*BROWSER_FLAGS, CUT_OFF])
        yield browser
        browser.close()
