"""Export to nbgrader: what the source notebooks hold, and nbgrader's own way from release to scores.

The last test needs nbgrader in an environment of its own, since it pins packages that the course pins otherwise:

    python -m venv build/nbgrader && build/nbgrader/bin/pip install nbgrader

It is looked for there, under COURSE_NBGRADER (the path of the program), and on the PATH.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from repo import ROOT, lessons

from course_utils.__main__ import main
from course_utils.teaching import exercises
from course_utils.teaching.grading import copies, nbgrader, sheet

WITH_EXERCISES = [path for path in copies.shipped() if any(map(sheet.checked, sheet.read(path)))]


def program() -> str | None:
    """nbgrader's program, if there is one."""
    here = ROOT / "build" / "nbgrader" / "bin" / "nbgrader"
    return os.environ.get("COURSE_NBGRADER") or (str(here) if here.exists() else shutil.which("nbgrader"))


def marked(notebook: dict, solution: bool) -> list[dict]:
    """The cells of one kind: answers or tests."""
    return [c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("solution") is solution]


@pytest.mark.parametrize("seed", [None, 17])
@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda p: p.stem)
def test_every_exercise_becomes_an_answer_and_a_locked_test(path, seed):
    found = nbgrader.source(path, seed)
    asked = [name for cell in sheet.read(path) for name in sheet.checked(cell)]
    answers, tests = marked(found, True), marked(found, False)
    assert [c["metadata"]["nbgrader"]["grade_id"] for c in tests] == [f"test-{n.replace('.', '-')}" for n in asked]
    known = exercises.exercises(path.name[:2])
    assert [c["metadata"]["nbgrader"]["points"] for c in tests] == [known[name].difficulty for name in asked]
    assert len(answers) == len(asked) and all(c["metadata"]["nbgrader"]["locked"] for c in tests)
    nbformat.validate(nbformat.from_dict(found))
    for cell in (*answers, *tests):
        compile(cell["source"], path.name, "exec")
    for cell in answers:
        stub = cell["source"].partition("### BEGIN SOLUTION")[0]
        assert "None" in stub and "check(" not in cell["source"].replace("import check", "")
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])


def test_a_solution_brings_what_it_uses_and_no_more():
    [cell] = marked(nbgrader.source(next(p for p in WITH_EXERCISES if p.name[:3] == "02a")), True)
    names: dict = {}
    exec(cell["source"], names)
    assert {"lar", "merged_lar"} <= names.keys() and "chance" not in names
    assert exercises.check("02.3", names["answer"]).status == "right"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["99_none", "--assignment", "a"], "there is no lesson '99_none'"),
        (["11a_more_exercises", "--assignment", "a b"], "an assignment's name has letters"),
        (["11a_more_exercises", "--assignment", "a", "--seed", "x"], "a seed is a whole number"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(arguments, said, tmp_path):
    done = CliRunner().invoke(main, ["nbgrader", *arguments, "--out", str(tmp_path)])
    assert done.exit_code == 1 and said in done.output and not list(tmp_path.rglob("*.ipynb"))


def test_settings_of_the_teacher_are_left_alone(tmp_path):
    (tmp_path / "nbgrader_config.py").write_text("mine", encoding="utf-8")
    nbgrader.export([lessons()[0].name], tmp_path, "first")
    assert (tmp_path / "nbgrader_config.py").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="no nbgrader: see the text of this module")
def test_nbgrader_itself_from_release_to_scores(tmp_path):
    """Three students: one who solves all, one who leaves the stubs, one who hands in the published solutions."""
    arguments = ["10a_more_exercises", "11a_more_exercises", "--out", str(tmp_path), "--assignment", "demo"]
    assert CliRunner().invoke(main, ["nbgrader", *arguments, "--seed", "17"]).exit_code == 0
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
    environment = {**os.environ, "PATH": f"{Path(program()).parent}{os.pathsep}{os.environ['PATH']}",
                   "JUPYTER_PATH": str(tmp_path / "jupyter"), "PYTHONPATH": str(ROOT)}  # fmt: skip

    def run(*words):
        done = subprocess.run([program(), *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("generate_assignment", "demo")
    sources = {p.name: nbformat.read(p, as_version=4) for p in (tmp_path / "source" / "demo").glob("*.ipynb")}
    plain = {name: nbgrader.source(copies.sheet.NOTEBOOKS / name) for name in sources}
    for file in (tmp_path / "release" / "demo").glob("*.ipynb"):
        text = file.read_text(encoding="utf-8")
        assert not any(word in text for word in ("SOLUTION", "HIDDEN", "graded(", "def variant", "def hours"))
        released, notebook = (nbformat.read(file, as_version=4) for _ in range(2))
        assert "answer = None" in marked(released, True)[0]["source"]
        for student, given in (("solves", sources[file.name]), ("stubs", released), ("copies", plain[file.name])):
            own = {c["metadata"]["nbgrader"]["grade_id"]: c["source"] for c in marked(given, True)}
            for cell in marked(notebook, True):
                cell["source"] = own[cell["metadata"]["nbgrader"]["grade_id"]]
            place = tmp_path / "submitted" / student / "demo" / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, place)
    run("autograde", "demo")
    run("export")
    with open(tmp_path / "grades.csv", encoding="utf-8", newline="") as stream:
        scores = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(stream)}
    # 10.2 and 10.4 have no variants, so that the published solutions earn their 2 and 3 points.
    assert scores == {"solves": (10, 10), "stubs": (0, 10), "copies": (5, 10)}
