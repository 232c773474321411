"""One list of versions, two doors, and a repository that a fresh clone can carry."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml
from repo import ROOT, project_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["test"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))

MB = 10**6


# One list of versions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", PINNED + PROJECT["project"]["optional-dependencies"]["hub"])
def test_every_dependency_is_pinned_exactly(requirement):
    assert re.fullmatch(r"[A-Za-z0-9_.-]+(\[\w+\])?==\d+(\.\d+)+", requirement), requirement


@pytest.mark.parametrize("requirement", PINNED)
def test_what_is_installed_is_what_is_pinned(requirement):
    name, pinned = re.sub(r"\[\w+\]", "", requirement).split("==")
    # A build of its own, such as the CPU build of PyTorch, adds a local part: 2.13.0+cpu.
    assert version(name).partition("+")[0] == pinned, f"{name} {version(name)} is installed; run `make setup-test`"


def test_this_python_is_one_that_the_project_supports():
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["project"]["requires-python"]).groups()
    assert int(low) <= sys.version_info.minor < int(high)
    bounds = re.search(r"\(3, (\d+)\) <= sys\.version_info\[:2\] <= \(3, (\d+)\)", MAKEFILE).groups()
    assert bounds == (low, str(int(high) - 1)), f"the Makefile accepts other Pythons than pyproject.toml: {bounds}"


def conda_drift(conda: dict, project: dict) -> list[str]:
    """What makes a conda environment differ from the project's own list; empty when nothing does."""
    faults = []
    plain = [entry for entry in conda["dependencies"] if isinstance(entry, str)]
    below_pip = [entry for group in conda["dependencies"] if isinstance(group, dict) for entry in group.get("pip", [])]
    if below_pip != ["-e .[test]"]:
        faults.append(f"pip must install exactly '-e .[test]', not {below_pip}")
    if f"python{project['requires-python']}" not in plain:
        faults.append(f"python must be given as python{project['requires-python']}: {plain}")
    if sorted(re.split(r"[<>=! ]", entry)[0] for entry in plain) != ["pip", "python"]:
        faults.append(f"only python and pip come from conda, or there is a second list of versions: {plain}")
    if conda["name"] != project["name"]:
        faults.append(f"the environment is called {conda['name']}, the project {project['name']}")
    return faults


def test_conda_installs_from_the_same_list():
    assert conda_drift(CONDA, PROJECT["project"]) == []


@pytest.mark.parametrize(
    "dependencies",
    [
        ["python>=3.10,<3.14", "pip", {"pip": ["-e .[test]"]}],
        ["python>=3.11,<3.14", "pip", "numpy=2.4.5", {"pip": ["-e .[test]"]}],
        ["python>=3.11,<3.14", "pip", {"pip": ["-e .[test]", "torch==2.12.0"]}],
        ["python>=3.11,<3.14", "pip", {"pip": ["torch==2.13.0"]}],
        ["python>=3.11,<3.14", "pip"],
    ],
)
def test_drift_is_noticed(dependencies):
    assert conda_drift(CONDA | {"dependencies": dependencies}, PROJECT["project"])


def pin_in(text: str) -> str | None:
    """The first pin of one of the project's dependencies in a text."""
    names = "|".join(re.escape(requirement.split("==")[0]) for requirement in PINNED)
    found = re.search(rf"\b({names})\s*==\s*\d", text)
    return found and found[0]


def test_no_other_file_pins_a_dependency():
    assert pin_in("pip install numpy==2.4") and pin_in('"torch == 2.13.0"') and not pin_in("numpy>=2, pytorch==2")
    texts = {".py", ".sh", ".yml", ".yaml", ".cfg", ".txt", ".md", ".ipynb", ""}
    # tests/ holds made-up pins that must be refused.
    for path in project_files():
        if path.suffix in texts and ROOT / "tests" not in path.parents:
            found = pin_in(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)} pins {found!r}: only pyproject.toml does"


# Two doors ----------------------------------------------------------------------------------------------------------


def _make(*arguments: str) -> str:
    # `make test` runs this test: what it tells its own sub-makes must not reach the one started here.
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "STAGES")
    environment = {k: v for k, v in os.environ.items() if k not in inherited}
    return subprocess.run(
        ["make", "--always-make", "--dry-run", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_make_lab_installs_fetches_checks_and_opens_the_first_lesson():
    steps = _make("lab", "LAB_ARGS=--no-browser", "PIP_ARGS=--no-index")
    order = [
        "-m venv",
        "pip install --no-index -e .",
        "several-tokens fetch smollm2",
        "several-tokens check",
        "several-tokens workbook",
        "jupyter lab",
    ]
    places = [steps.index(step) for step in order]
    assert places == sorted(places)
    assert "--no-browser" in steps


@pytest.mark.parametrize("made", [True, False])
def test_make_lab_opens_the_workbook_or_where_there_is_none_the_lessons_as_they_ship(tmp_path, made):
    steps = _make("lab")
    chosen = re.search(r"/lab/tree/(\$\(.*\))$", steps.rstrip())[1]
    if made:
        (tmp_path / "workbook").mkdir()
        (tmp_path / "workbook" / "00_start_here.ipynb").touch()
    opened = subprocess.run(["sh", "-c", f"echo {chosen}"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert opened.stdout.strip() == f"{'workbook' if made else 'notebooks'}/00_start_here.ipynb"
    assert (ROOT / "notebooks" / "00_start_here.ipynb").exists()


def test_make_test_installs_fetches_both_models_and_runs_every_stage_offline():
    steps = _make("test")
    fetched = ["several-tokens fetch smollm2", "several-tokens fetch gemma3"]
    order = ['install  -e ".[test]"', *fetched, "tools/run_tests.py"]
    places = [steps.index(step) for step in order]
    assert places == sorted(places)
    assert "HF_HUB_OFFLINE=1" in steps[places[2] :]


def test_make_test_long_does_the_same_set_up_and_runs_the_other_stages():
    assert _make("test-long").strip() == _make("test").strip() + " --long"


def test_an_unsuitable_python_is_named_with_the_remedy(tmp_path):
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.1"\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    for python, said in ((old, "is Python 3.8.1; the course needs Python 3.11"), ("no-such-python", "There is no")):
        made = subprocess.run(
            ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"], cwd=ROOT, capture_output=True, text=True
        )
        assert made.returncode != 0 and said in made.stdout, made.stdout + made.stderr
    assert not (tmp_path / "venv").exists() or not any((tmp_path / "venv").iterdir())


def test_a_stage_reports_its_exit_status():
    def stage(command):
        return subprocess.run(["sh", "tools/stage.sh", "a step", *command], cwd=ROOT, capture_output=True, text=True)

    good, bad = stage(["true"]), stage(["sh", "-c", "exit 3"])
    assert good.returncode == 0 and "a step: done in" in good.stdout
    assert bad.returncode == 3 and "a step: FAILED" in bad.stderr


def test_continuous_integration_calls_make_test_and_what_it_leaves_out():
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o111 and text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text and re.search(r"^exec make --keep-going test test-long$", text, re.M)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_readme_names_the_commands_that_exist():
    targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    named = set(re.findall(r"`make ([a-z-]+)", README)) | set(re.findall(r"^ *make ([a-z-]+)", README, re.MULTILINE))
    assert {"lab", "test"} <= named <= targets, f"README: {sorted(named)}, Makefile: {sorted(targets)}"
    assert "environment.yml" in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src="([^":]+)"', README):
        assert (ROOT / target).exists(), f"README links to {target}, which is not there"


# What a clone carries -----------------------------------------------------------------------------------------------


def test_no_file_is_too_large_and_all_together_are_not():
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in project_files()}
    large = {str(path): size for path, size in sizes.items() if size > 6.5 * MB}
    assert not large, large
    assert sum(sizes.values()) < 80 * MB, f"{sum(sizes.values()) / MB:.1f} MB"


def test_no_file_names_a_path_of_one_machine():
    # Spelled in pieces, so that this file passes its own test. Ada is the made-up reader of the other tests.
    tops = "|".join(["home", "root", "Users", "work"])
    path_of_a_machine = re.compile(rf"(?<![\w.:/~-])/(?:{tops})/(?!ada\b)[\w.-]+")
    for path in project_files():
        if path.suffix in {".safetensors", ".png", ".gz", ".npz"}:
            continue
        found = path_of_a_machine.search(path.read_text(encoding="utf-8", errors="replace"))
        assert not found, f"{path.relative_to(ROOT)} names {found[0]!r}"


def test_nothing_is_pickled():
    stored = [
        p.relative_to(ROOT)
        for p in project_files()
        if p.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}
    ]
    assert not stored
