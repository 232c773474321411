"""The first lesson as a reader meets it: JupyterLab in a real browser, a sentence typed, a slider moved.

Screenshots are left in ``build/screenshots/`` to be looked at.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from playwright.sync_api import expect, sync_playwright
from repo import NOTEBOOKS, ROOT

LESSON = "00_start_here.ipynb"
SENTENCE = "Our train to Vienna was late because of the snow."
ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
SCREENSHOTS = ROOT / "build" / "screenshots"

START_S = 120
RUN_ALL_S = 600
REACT_S = 60

BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.browser


def chromium() -> str:
    """The browser to test with.

    Raises:
        FileNotFoundError: none is installed.
    """
    named = os.environ.get("COURSE_CHROMIUM")
    if named:
        return named
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(
        "The browser test needs Chromium or Chrome. On Debian and Ubuntu: apt install chromium. "
        "Elsewhere install either of them and give its path: COURSE_CHROMIUM=/path/to/chrome make test"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _copy_of_the_course(folder: Path) -> Path:
    """The notebooks to be run and changed at will, with the rest of the course beside them."""
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name in ("data", "docs", "course_utils"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


def _settings(folder: Path) -> dict[str, str]:
    """An environment in which JupyterLab has no history, draws all cells at once, and asks nothing of the network."""
    config, user = folder / "config", folder / "user-settings"
    for path, content in (
        (
            config / "labconfig" / "page_config.json",
            {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}},
        ),
        (user / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings", {"windowingMode": "none"}),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    return os.environ | {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(folder / "share"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(user),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab that serves a copy of the course."""
    chromium()  # say what is missing before anything is started
    folder = tmp_path_factory.mktemp("lab")
    (folder / "course").mkdir()
    course, port = _copy_of_the_course(folder / "course"), _free_port()
    log = (folder / "lab.log").open("w", encoding="utf-8")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--expose-app-in-browser",
            f"--ServerApp.root_dir={course}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly",
        ],
        cwd=course, env=_settings(folder), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(server, address, folder / "lab.log")
        yield address
    finally:
        _stop(server)
        log.close()


def _wait_for(server: subprocess.Popen, address: str, log: Path, seconds: float = START_S):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise RuntimeError(f"JupyterLab did not start within {seconds} s:\n{log.read_text(encoding='utf-8')[-3000:]}")


def _stop(server: subprocess.Popen):
    """End JupyterLab and, with its group, the kernels that it started."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=20)


@pytest.fixture(scope="module")
def lesson(lab):
    """A browser page on which every cell of the first lesson has run; its foreign requests are in ``page.foreign``."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=BROWSER_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.foreign = []
        page.on("request", lambda request: page.foreign.append(request.url) if _is_foreign(request.url) else None)
        page.goto(f"{lab}/lab/tree/notebooks/{LESSON}", wait_until="domcontentloaded", timeout=START_S * 1000)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=START_S * 1000)
        _run_all(page)
        yield page
        browser.close()


def _is_foreign(url: str) -> bool:
    return urlsplit(url).scheme in {"http", "https", "ws", "wss"} and urlsplit(url).hostname != "127.0.0.1"


def _run_all(page):
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=60_000)
    # Cells that are run before the kernel is connected are dropped, or start a second kernel.
    deadline = time.monotonic() + START_S
    while not page.evaluate(KERNEL_IS_READY):
        assert time.monotonic() < deadline, f"the notebook's kernel did not answer within {START_S} s"
        page.wait_for_timeout(250)
    # Not awaited, for evaluate() knows no time limit. The command's promise ends with the last cell.
    page.evaluate(
        """() => {
            window.courseRun = null;
            window.jupyterapp.commands.execute('notebook:run-all-cells')
                .then(String, String).then(outcome => { window.courseRun = outcome; });
        }"""
    )
    try:
        page.wait_for_function("() => window.courseRun !== null", timeout=RUN_ALL_S * 1000)
    except PlaywrightTimeoutError:
        pytest.fail(f"the cells did not end within {RUN_ALL_S} s; prompts: {_prompts(page)}", pytrace=False)
    outcome, errors = page.evaluate("() => window.courseRun"), page.locator(ERROR).all_inner_texts()
    assert outcome == "true" and not errors, f"run-all ended with {outcome}; prompts: {_prompts(page)}; {errors}"


def _prompts(page) -> str:
    return " ".join(page.locator(".jp-CodeCell .jp-InputArea-prompt").all_inner_texts())


def _tokens(page):
    """The list of aligned tokens that the widget shows (not the one of a static cell)."""
    return page.locator(".widget-html .aligned-tokens").first


def _keep(page, name: str):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    _tokens(page).scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def _changed(page, before: str) -> str:
    expect(_tokens(page)).not_to_have_text(before, timeout=REACT_S * 1000)
    return _tokens(page).inner_text()


def test_every_cell_runs_in_the_browser_without_an_error(lesson):
    counts = [int(found) for found in re.findall(r"\[(\d+)\]", _prompts(lesson))]
    assert counts == list(range(1, len(counts) + 1)) and len(counts) == lesson.locator(".jp-CodeCell").count()
    broken = lesson.get_by_text(re.compile("Error displaying widget|Click to show javascript error"))
    assert broken.count() == 0


def test_typing_a_sentence_and_moving_the_slider_change_the_tokens(lesson):
    box = lesson.get_by_placeholder("Your sentence").or_(lesson.get_by_label("Your sentence")).first
    expect(box).to_be_visible(timeout=REACT_S * 1000)
    expect(_tokens(lesson)).not_to_be_empty(timeout=REACT_S * 1000)
    start = _tokens(lesson).inner_text()
    _keep(lesson, "1_before")

    assert box.input_value() != SENTENCE, "the test must type another sentence than the lesson starts with"
    box.fill(SENTENCE)
    box.press("Enter")
    box.press("Tab")
    typed = _changed(lesson, start)
    _keep(lesson, "2_after_typing")

    slider = lesson.locator(".jupyter-widgets", has=lesson.locator(".widget-label", has_text=re.compile("λ|strength")))
    handle = slider.locator(".noUi-handle").last
    handle.scroll_into_view_if_needed()
    handle.focus()
    place = handle.get_attribute("aria-valuenow")
    handle.press("End")
    if handle.get_attribute("aria-valuenow") == place:  # it stood at the end already
        handle.press("Home")
    moved = _changed(lesson, typed)
    _keep(lesson, "3_after_moving")

    assert len({start, typed, moved}) == 3 and all(text.strip() for text in (start, typed, moved))


def test_the_page_can_be_read_in_dark_mode(lesson):
    theme = "JupyterLab Dark"
    lesson.evaluate(
        "t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t}).then(() => null)", theme
    )
    lesson.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'", timeout=30_000)
    # The tokens' own letters must stand out from whatever lies behind them (WCAG 2.1, contrast of large text: 3).
    contrasts = _tokens(lesson).evaluate(CONTRASTS)
    assert contrasts and min(contrasts) >= 3, contrasts
    _keep(lesson, "4_dark")


def test_the_browser_asked_nobody_but_this_computer(lesson):
    assert lesson.foreign == []


#: Whether the notebook's kernel has answered a first question and waits for more.
KERNEL_IS_READY = """async () => {
    const context = window.jupyterapp.shell.currentWidget?.sessionContext;
    if (!context?.isReady) return false;
    const kernel = context.session?.kernel;
    if (kernel?.connectionStatus !== 'connected' || kernel.status !== 'idle') return false;
    return Promise.race([
        kernel.requestKernelInfo().then(reply => reply.content.status === 'ok'),
        new Promise(resolve => setTimeout(() => resolve(false), 5000)),
    ]);
}"""

#: Contrast of every piece of text below an element with the nearest background that is painted.
CONTRASTS = """root => {
    const channels = c => c.match(/[\\d.]+/g).map(Number);
    const light = c => c.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const over = (top, below) => {
        const a = top[3] ?? 1;
        return [0, 1, 2].map(i => a * top[i] + (1 - a) * below[i]);
    };
    const behind = e => {
        if (!e) return [255, 255, 255];
        const own = channels(getComputedStyle(e).backgroundColor);
        return (own[3] ?? 1) === 1 ? own.slice(0, 3) : over(own, behind(e.parentElement));
    };
    return [root, ...root.querySelectorAll('*')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
        .map(e => {
            const ground = behind(e);
            const [a, b] = [over(channels(getComputedStyle(e).color), ground), ground].map(light);
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        });
}"""
