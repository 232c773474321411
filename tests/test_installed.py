"""The package as `pip install` puts it elsewhere, without the lessons, adapters and data that lie beside it here."""

import os
import shutil
import subprocess
import sys

import pytest
from bare import without_the_course
from repo import ROOT, project_files

import course_utils

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs a program of the environment that the wheel was installed into; what it printed, and its exit code."""
    folder = tmp_path_factory.mktemp("installed")
    source, wheels, elsewhere = (folder / name for name in ("source", "wheels", "elsewhere"))
    for path in project_files():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in ("course_utils", "pyproject.toml", "README.md", "LICENSE"):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / relative)
    elsewhere.mkdir()
    python = without_the_course(folder / "venv")
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    settings |= {"PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}

    def run(*command: str) -> subprocess.CompletedProcess:
        program = python.with_name(command[0])
        return subprocess.run([program, *command[1:]], cwd=elsewhere, env=settings, capture_output=True, text=True)

    building = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*building, "--wheel-dir", str(wheels), str(source)], check=True, env=settings, timeout=300)
    [wheel] = wheels.iterdir()
    done = run("python", "-m", "pip", "install", "--quiet", "--no-deps", str(wheel))
    assert done.returncode == 0, done.stderr
    return run


def test_the_wheel_brings_the_command_and_every_module(installed):
    listed = installed("several-tokens", "--help")
    assert listed.returncode == 0 and "audit" in listed.stdout, listed.stderr
    assert installed("several-tokens", "--version").stdout.split()[-1] == course_utils.__version__
    names = sorted(".".join(p.relative_to(ROOT).with_suffix("").parts) for p in (ROOT / "course_utils").rglob("*.py"))
    modules = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    assert len(modules) > 100
    program = f"import importlib, course_utils; print(course_utils.clone()); [*map(importlib.import_module, {modules})]"
    done = installed("python", "-W", "ignore", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "None"


def test_it_decodes_without_the_data_of_the_course(installed):
    """An embedder that needs no adapter, a measure and a text of one's own: all that a wheel has to do."""
    program = (
        "from course_utils.models.embedder import load\n"
        "from course_utils.measures.alignment import top_tokens\n"
        "embedder = load('smol-eol')\n"
        "ids, _ = top_tokens(embedder.encode(['A violin in Vienna.']), embedder.unembedding, k=10)\n"
        "print(ids.shape)"
    )
    done = installed("python", "-W", "ignore", "-c", program)
    assert done.stdout.splitlines()[-1:] == ["(1, 10)"], done.stderr


def test_check_says_what_is_not_there_and_compares_the_versions(installed):
    said = installed("several-tokens", "check").stdout
    assert "installed without the lessons, adapters and data" in said and "git clone" in said
    assert "[OK]   torch " in said and "[OK]   transformers " in said


@pytest.mark.parametrize(
    "command",
    [
        ("several-tokens", "workbook"),
        ("several-tokens", "train", "smol-eol-cse", "--data", "."),
        ("several-tokens", "data", "check-pairs"),
        ("several-tokens", "audit", "smol-eol-cse"),
    ],
)
def test_what_needs_the_data_ends_in_one_line_that_says_where_it_is(installed, command):
    done = installed(*command)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "clone" in done.stderr.splitlines()[-1], done.stderr


def test_in_a_clone_a_missing_file_is_told_without_that():
    assert course_utils.clone() == ROOT
    assert course_utils.installed_alone(ROOT / "data" / "nothing.json") == ""
