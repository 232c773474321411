"""JupyterLab in a real browser, as a reader meets it: the server, the page, and what is done on it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from repo import NOTEBOOKS, ROOT

from course_utils.teaching.predictions.stored import COMPARED
from course_utils.teaching.workbook import refresh

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
#: The first lesson, and a copy of it on which all cells are run.
FIRST, WHOLE = "00_start_here.ipynb", "whole_first_lesson.ipynb"


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
    # JupyterLab stores what was run, and a page opened later would look for widgets of the kernel before.
    shutil.copy(NOTEBOOKS / FIRST, folder / "notebooks" / WHOLE)
    for name in ("data", "docs", "course_utils"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    refresh(folder / "notebooks", folder / "workbook", report=lambda line: None)
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
    # A reader's session: here predictions are stored, which they are not where notebooks are run to be compared.
    inherited = {name: value for name, value in os.environ.items() if name not in COMPARED}
    return inherited | {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(folder / "share"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(user),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "HF_HUB_OFFLINE": "1",
    }


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Address of a JupyterLab that serves a copy of the course, kept in an empty folder."""
    chromium()  # say what is missing before anything is started
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


def opened(browser, address: str, name: str, folder: str = "notebooks"):
    """A page with a lesson open and its kernel ready; what the browser asked of others is in ``page.foreign``.

    Errors that the page reports are in ``page.complaints``.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.foreign, page.complaints = [], []
    page.on("request", lambda request: page.foreign.append(request.url) if _is_foreign(request.url) else None)
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    # A workspace of its own: JupyterLab would open again what stood open before, kernels and all.
    address = f"{address}/lab/workspaces/{name[:2]}-{time.monotonic_ns()}/tree/{folder}/{name}"
    page.goto(address, wait_until="domcontentloaded", timeout=START_S * 1000)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=START_S * 1000)
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=60_000)
    # Cells that are run before the kernel is connected are dropped, or start a second kernel.
    deadline = time.monotonic() + START_S
    while not page.evaluate(KERNEL_IS_READY):
        assert time.monotonic() < deadline, f"the notebook's kernel did not answer within {START_S} s"
        page.wait_for_timeout(250)
    return page


def closed(page) -> None:
    """End the page's kernel, so that the next lesson has the memory, and close the page."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def run(page, command: str, seconds: float = RUN_ALL_S) -> None:
    """Run cells by one of JupyterLab's commands and wait until the last of them has ended.

    Fails when a cell raises, or when the cells have not ended after ``seconds``.
    """
    # Not awaited, for evaluate() knows no time limit. The command's promise ends with the last cell.
    page.evaluate(
        """command => {
            window.courseRun = null;
            window.jupyterapp.commands.execute(command)
                .then(String, String).then(outcome => { window.courseRun = outcome; });
        }""",
        command,
    )
    try:
        page.wait_for_function("() => window.courseRun !== null", timeout=seconds * 1000)
    except PlaywrightTimeoutError:
        pytest.fail(f"the cells did not end within {seconds} s; prompts: {prompts(page)}", pytrace=False)
    outcome, errors = page.evaluate("() => window.courseRun"), page.locator(ERROR).all_inner_texts()
    assert outcome == "true" and not errors, f"{command} ended with {outcome}; prompts: {prompts(page)}; {errors}"


def choose_cell(page, heading: str) -> int:
    """Make the code cell below a heading the active one; its number."""
    number = page.evaluate(
        """heading => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const source = cell => cell.model.sharedModel.getSource();
            const at = notebook.widgets.findIndex(cell => source(cell).startsWith(heading));
            if (at < 0) return at;
            notebook.activeCellIndex = at + 1;
            notebook.deselectAll();
            return at + 1;
        }""",
        heading,
    )
    assert number > 0, f"no cell starts with {heading!r}"
    return number


def cell_with(page, *texts: str) -> int:
    """Number of the first code cell whose source holds all of these texts."""
    number = page.evaluate(
        """texts => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(cell =>
            cell.model.type === 'code' && texts.every(text => cell.model.sharedModel.getSource().includes(text)))""",
        list(texts),
    )
    assert number >= 0, f"no code cell holds {texts}"
    return number


def run_to(page, number: int, seconds: float = RUN_ALL_S) -> None:
    """Run the cells that have not run yet, in their order, up to and with this one."""
    page.evaluate(
        """number => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = number;
            notebook.deselectAll();
            const first = notebook.widgets.findIndex(
                cell => cell.model.type === 'code' && cell.model.executionCount === null);
            if (first >= 0 && first < number) notebook.extendContiguousSelectionTo(first);
        }""",
        number,
    )
    run(page, "notebook:run-cell", seconds)


def said_by(page, number: int) -> str:
    """What a cell printed or showed."""
    return page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".jp-OutputArea").first.inner_text()


def write_cell(page, number: int, source: str) -> None:
    """Type another source into a cell."""
    page.evaluate(
        """([number, source]) => window.jupyterapp.shell.currentWidget.content.widgets[number]
            .model.sharedModel.setSource(source)""",
        [number, source],
    )


def prompts(page) -> str:
    """The numbers beside all code cells, in a row."""
    return " ".join(page.locator(".jp-CodeCell .jp-InputArea-prompt").all_inner_texts())


def keep(page, shown, name: str) -> None:
    """A screenshot with something in view, to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shown.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def _is_foreign(url: str) -> bool:
    return urlsplit(url).scheme in {"http", "https", "ws", "wss"} and urlsplit(url).hostname != "127.0.0.1"


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
