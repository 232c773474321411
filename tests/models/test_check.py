"""The environment checker: what it finds, what it says, what it returns."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.models import check, store

ROOT = Path(check.__file__).resolve().parents[2]


def _pyproject(folder: Path, *dependencies: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(f"[project]\nname = 'x'\ndependencies = {json.dumps(dependencies)}\n", "utf-8")
    return path


def _fake_model(cache: Path, name: str) -> None:
    """A stored backbone as far as its manifest and sizes tell."""
    (cache / name).mkdir(parents=True)
    (cache / name / "model.safetensors").write_bytes(b"1234")
    manifest = {"gguf_sha256": store.SOURCES[name].gguf_sha256, "files": {"model.safetensors": {"size": 4}}}
    (cache / name / store.MANIFEST).write_text(json.dumps(manifest), "utf-8")


def test_python_version():
    assert check.check_python((3, 11, 0)).status == check.OK
    old = check.check_python((3, 10, 14))
    assert old.status == check.FAIL and "3.10.14" in old.found and "3.11" in old.remedy
    assert check.check_python((3, 13, 9)).status == check.OK and check.check_python((3, 14, 0)).status == check.FAIL


@pytest.mark.parametrize(
    ("platform", "word"),
    [
        (("darwin", "x86_64", "14.5"), "Intel Mac"),
        (("darwin", "x86_64", "12.7"), "Intel Mac"),
        (("darwin", "arm64", "13.6"), "macOS 13.6, older than 14"),
        (("darwin", "arm64", "11.0"), "older than 14"),
        (("win32", "arm64", ""), "arm64"),
        (("win32", "win32", ""), "win32"),
        (("linux", "armv7l", "glibc 2.36"), "Linux on armv7l"),
        (("linux", "i686", "glibc 2.36"), "Linux on i686"),
        (("linux", "x86_64", "glibc 2.27"), "glibc 2.27"),
        (("linux", "x86_64", ""), "another C library"),
        (("freebsd14", "amd64", ""), "freebsd14"),
        (("emscripten", "wasm32", ""), "emscripten"),
    ],
)
def test_platforms_without_a_pytorch_package(platform, word):
    found = check.check_platform(*platform)
    assert found.status == check.FAIL and word in found.found and "2.13.0" in found.found
    assert found.remedy.startswith("It needs ")


@pytest.mark.parametrize(
    "platform",
    [
        ("darwin", "arm64", "14.0"),
        ("darwin", "arm64", "26.1"),
        ("darwin", "arm64", "10.16"),
        ("darwin", "arm64", ""),
        ("win32", "AMD64", ""),
        ("win32", "amd64", ""),
        ("linux", "x86_64", "glibc 2.28"),
        ("linux", "aarch64", "glibc 2.39"),
    ],
)
def test_platforms_with_a_pytorch_package(platform):
    assert check.check_platform(*platform).status == check.OK


def test_the_platform_is_told_before_anything_is_downloaded():
    """Without any package, and before the first ``pip install`` of the set-up."""
    assert check.pins()["torch"] == check.TORCH  # another version has other wheels
    assert check.check_platform(*check.this_platform()).status == check.OK
    code = "from course_utils.models import check; check.this_platform = lambda: ('win32', 'arm64', ''); "
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = ['.']; {code} check.refuse_platform()"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 1 and "no package for this machine (Windows with a Python for arm64)" in run.stderr
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert 0 < makefile.index("check.refuse_platform()") < makefile.index("-m pip install")
    assert [entry.topic for entry in check.checks()].count("Python") == 2


def test_no_home_folder_is_told_with_the_variable_to_set(monkeypatch):
    for name in ("COURSE_CACHE", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    (found,) = check.check_models()
    assert found.status == check.FAIL and "Set the environment variable COURSE_CACHE" in found.remedy
    assert check.check_disk().status == check.OPTIONAL


def test_pins_are_read_with_extras_and_without_versions(tmp_path):
    path = _pyproject(
        tmp_path, "pytest==1.2.3", "a.b-c[x, y] == 2.0+cpu", "free>=1,<3", "bare", 'win==1.0; os_name=="nt"'
    )
    assert check.pins(path) == {"pytest": "1.2.3", "a.b-c": "2.0+cpu", "free": None, "bare": None}


def test_pins_of_the_course_itself_are_all_read():
    found = check.pins()
    assert {"torch", "transformers", "numpy"} <= found.keys()
    assert all(found.values())
    assert [entry.status for entry in check.check_packages()] == [check.OK] * len(found)


def test_a_missing_pyproject_is_tolerated(tmp_path):
    (found,) = check.check_packages(tmp_path / "pyproject.toml")
    assert found.status == check.OPTIONAL


@pytest.mark.parametrize(
    ("requirement", "status", "words"),
    [
        (f"pytest=={importlib.metadata.version('pytest')}", check.OK, "pytest"),
        ("pytest", check.OK, "pytest"),
        ("pytest==0.0.1", check.FAIL, "written for 0.0.1"),
        ("no-such-package-here==1.0", check.FAIL, "no-such-package-here is not installed"),
    ],
)
def test_packages(tmp_path, requirement, status, words):
    (found,) = check.check_packages(_pyproject(tmp_path, requirement))
    assert found.status == status and words in found.found
    assert (requirement in found.remedy) == (status == check.FAIL)


def test_a_build_suffix_satisfies_a_plain_pin(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert check._check_package("torch", "2.13.0").status == check.OK
    assert check._check_package("torch", "2.13.0+cpu").status == check.OK
    assert check._check_package("torch", "2.13.0+cu128").status == check.FAIL
    assert check._check_package("torch", "2.13").status == check.FAIL


def test_models(tmp_path):
    default, second = check.check_models(tmp_path)
    assert default.status == check.FAIL and "not there" in default.found
    assert default.remedy.endswith("-m course_utils fetch smollm2")
    assert second.status == check.OPTIONAL and "fetched on first use" in second.found
    for name in store.SOURCES:
        _fake_model(tmp_path, name)
    assert [entry.status for entry in check.check_models(tmp_path)] == [check.OK, check.OK]
    (tmp_path / "smollm2" / "model.safetensors").write_bytes(b"12")
    default, _ = check.check_models(tmp_path)
    assert default.status == check.FAIL and "2 bytes instead of 4" in default.found


def test_disk_counts_only_what_is_still_to_come(tmp_path):
    smol, gemma = (store.SOURCES[name].disk_bytes for name in ("smollm2", "gemma3"))
    spare = check.SPARE_BYTES
    assert check.check_disk(tmp_path / "cache", free=smol + gemma + spare).status == check.OK
    short = check.check_disk(tmp_path / "cache", free=smol + gemma + spare - 1)
    assert short.status == check.FAIL and "COURSE_CACHE" in short.remedy
    _fake_model(tmp_path / "cache", "gemma3")
    assert check.check_disk(tmp_path / "cache", free=smol + spare).status == check.OK
    assert check.check_disk(tmp_path / "cache", free=smol).status == check.FAIL


def test_memory_and_processor():
    assert check.check_memory(4_000_000_000).status == check.OK
    low = check.check_memory(3_900_000_000)
    assert low.status == check.FAIL and "3.9 GB" in low.found and low.remedy
    assert check.available_memory() > 0
    assert check.check_processor(2).status == check.OK
    assert check.check_processor(1).status == check.OPTIONAL


READY = [
    check.Check("Python", check.OK, "Python 3.12.1"),
    check.Check("packages", check.OK, "torch 2.13.0"),
    check.Check("model", check.OK, "smollm2"),
    check.Check("model", check.OPTIONAL, "gemma3 not fetched yet"),
    check.Check("disk", check.OK, "7 GB"),
    check.Check("memory", check.OK, "8 GB"),
    check.Check("processor", check.OPTIONAL, "1 CPU core"),
]


def test_the_brief_report_is_the_same_on_every_ready_machine(capsys):
    assert check.report(brief=True, found=READY) is True
    assert capsys.readouterr().out == "Python [OK]\npackages [OK]\nmodel [OK]\ndisk [OK]\nmemory [OK]\n"


def test_a_failure_shows_in_both_reports_with_its_remedy(capsys):
    found = [*READY, check.Check("packages", check.FAIL, "numpy 1.0", "Run: pip install numpy")]
    assert check.report(brief=True, found=found) is False
    brief = capsys.readouterr().out
    assert "packages [FAIL]\n" in brief and "model [OK]\n" in brief and brief.endswith("Run: pip install numpy\n")
    assert check.report(found=found) is False
    full = capsys.readouterr().out.splitlines()
    assert full[0] == "[OK]   Python 3.12.1" and "[--]   1 CPU core" in full
    assert full[-2:] == ["[FAIL] numpy 1.0", "       Run: pip install numpy"]


def test_the_exit_code_tells_a_missing_model(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    run = subprocess.run([sys.executable, "-m", "course_utils", "check"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 1 and run.stderr == ""
    assert "[FAIL] smollm2" in run.stdout and run.stdout.endswith("Not ready: see [FAIL] above.\n")
    monkeypatch.setattr(check, "checks", lambda: READY)
    full, brief = (CliRunner().invoke(main, ["check", *options]) for options in ([], ["--brief"]))
    assert full.exit_code == brief.exit_code == 0
    assert "[OK]   Python 3.12.1" in full.stdout and full.stdout.endswith("Ready for the course.\n")
    assert brief.stdout.startswith("Python [OK]\npackages [OK]\n")
