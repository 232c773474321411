"""Grading: notebooks that are handed in, and what is to become of each."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from repo import NOTEBOOKS, ROOT

from course_utils.__main__ import main
from course_utils.teaching import exercises, grading
from course_utils.teaching.grading import sheet

pytestmark = pytest.mark.slow

IMPORT = "from course_utils.teaching.exercises import check"
HOURS = """def hours(documents, tokens, weights, table, rate, workers, load):
    return (load + documents / workers * 2 * (tokens * weights + table) / rate) / 3600"""
LARGEST = "def largest(budget, documents, vocabulary):\n    return min(budget // (8 * documents), vocabulary)"
FIRST, SECOND = 'check("11.1", hours)', 'check("11.2", largest)'

HANDED_IN = {
    "solution": [IMPORT, HOURS, FIRST, LARGEST, SECOND],
    "stub": [IMPORT, 'answer = None\ncheck("11.1", answer)', 'answer = None\ncheck("11.2", answer)'],
    "error": [IMPORT, "1 / 0", "hours = undefined\n" + FIRST, LARGEST, SECOND],
    "endless": [IMPORT, HOURS + "\nwhile True:\n    pass\n" + FIRST, LARGEST, SECOND],
    "endless_and_deaf": [
        IMPORT,
        HOURS + "\nwhile True:\n    try:\n        import time; time.sleep(1)\n    except:\n        pass\n" + FIRST,
        LARGEST,
        SECOND,
    ],
    "deleted": [IMPORT, LARGEST, SECOND],
    "own_check": [
        IMPORT,
        "import course_utils.teaching.exercises as e\n"
        "check = e.check = e.judge = lambda *a: e.Verdict('11.1', 'right')\ne.exercises = e.find = None",
        'check("11.1", lambda *a: 1)\ne.check("11.2", None)',
        "import sys\nL = sys.modules['course_utils.teaching.exercises.lesson11']\n"
        "e.Verdict = lambda *a: type('V', (), {'status': 'right', 'message': ''})\n"
        "e.isinstance = lambda *a: True\n"
        "for name in [n for n in vars(L) if callable(vars(L)[n])]:\n    setattr(L, name, lambda *a, **k: None)\n"
        "for one in list(vars(e).values()):\n    if type(one).__name__ == 'Exercise':\n"
        "        object.__setattr__(one, 'judge', lambda *a: None)",
        'check("11.1", lambda *a: 1)',
        "import json, os\nfor n in range(3, 20):\n    try:\n"
        "        os.write(n, json.dumps({'exercise': '11.1', 'status': 'right', 'message': ''}).encode() + b'\\n')\n"
        "    except OSError:\n        pass",
    ],
    "greedy": [IMPORT, HOURS, FIRST, "much = bytearray(2**33)  # lies within what this machine would give\n" + SECOND],
    "leaves": [IMPORT, HOURS, FIRST, "import os\nos._exit(0)", LARGEST, SECOND],
    "starts_another": [
        IMPORT,
        "import subprocess, sys\nfor apart in (False, True):\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(987)'], start_new_session=apart)",
        LARGEST,
        SECOND,
        "%matplotlib inline\nexit()",
        HOURS,
        FIRST,
    ],
    "spoils_files": [
        IMPORT, HOURS, FIRST,
        "import os, shutil\nassert os.listdir() == [], 'nothing of the grader lies here'\n"
        "os.mkfifo('events') if hasattr(os, 'mkfifo') else None\nshutil.rmtree(os.getcwd())",
        LARGEST, SECOND,
    ],
    "odd_errors": [
        IMPORT, "class Odd(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Odd",
        'raise ValueError("\\udcff")\n' + FIRST, LARGEST, SECOND,
    ],
    "forger": [
        IMPORT,
        "import gc, json, os\n"
        "tell = next(f for f in gc.get_objects() if getattr(f, '__qualname__', '') == '_teller.<locals>.tell')\n"
        "tell(cell=0, exercise='11.1', status='perfect', message='')\ntell(cell='x', begin=True)\n"
        "tell(cell=99, error='e')\ntell(exercise='11.1', status='right')\ntell(cell=0, exercise='11.1', status='right',"
        " message=[1])\ntell(error='x')",
        "answer = None\n" + FIRST.replace("hours", "answer"), LARGEST, SECOND,
    ],
    "reads_data": [
        IMPORT, "assert open('../data/paper_table2.jsonl').readline()\nfrom IPython import get_ipython\n"
        "assert get_ipython().history_manager.enabled is False\n" + HOURS, FIRST,
        "try:\n    input()\nexcept EOFError:\n    pass\n" + LARGEST, SECOND,
    ],
    "ends_often": [IMPORT, HOURS, FIRST, *["import os; os._exit(1)"] * 4, "x = 1", LARGEST, SECOND],
}  # fmt: skip
#: Status of the two exercises.
EXPECTED = {
    "solution": ("right", "right"),
    "stub": ("not answered", "not answered"),
    "error": ("error", "right"),
    "endless": ("too long", "right"),
    "endless_and_deaf": ("too long", "right"),
    "deleted": ("no cell", "right"),
    "own_check": ("wrong", "not answered"),
    "greedy": ("right", "error"),
    "leaves": ("right", "right"),
    "starts_another": ("right", "right"),
    "spoils_files": ("right", "right"),
    "odd_errors": ("error", "right"),
    "forger": ("not answered", "right"),
    "reads_data": ("right", "right"),
    "ends_often": ("right", "not reached"),
}


def save(folder, name, cells):
    made = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": []} for cell in cells]
    notebook = {"cells": [{"cell_type": "markdown", "source": "Text"}, *made], "metadata": {}, "nbformat": 4}
    file = folder / f"{name}.ipynb"
    file.write_text(json.dumps(notebook), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed in")
    files = [save(folder, name, cells) for name, cells in HANDED_IN.items()]
    (folder / "letter.ipynb").write_text("Dear teacher", encoding="utf-8")
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "PATIENCE", 4)
        patch.setattr(sheet, "expected", lambda file, cells, number: ["11.1", "11.2"])
        rows = grading.grade([*files, folder / "letter.ipynb"], cell_seconds=8, memory_gb=6, report=lines.append)
    return rows, lines


@pytest.mark.parametrize("name", EXPECTED)
def test_each_notebook_gets_what_it_earned(graded, name):
    rows = [row for row in graded[0] if Path(row.file).name == f"{name}.ipynb"]
    assert tuple(row.status for row in rows) == EXPECTED[name], [row.explanation for row in rows]
    asked = exercises.exercises(11)
    for row in rows:
        worth = asked[row.exercise].difficulty
        assert (row.points, row.of) == (worth if row.status == "right" else 0, worth) and row.lesson == "11"


def test_the_reasons_are_told(graded):
    said = {(Path(row.file).stem, row.exercise): row.explanation for row in graded[0]}
    assert "NameError" in said["error", "11.1"] and said["endless", "11.1"] == "the cell took too long"
    assert said["deleted", "11.1"] == "no cell calls check('11.1', …)"
    assert "MemoryError" in said["greedy", "11.2"]
    assert said["letter", ""].startswith("letter.ipynb, line 1 is no JSON") or "JSON" in said["letter", ""]
    assert "good to a factor of two" in said["solution", "11.1"]  # the check's own words
    assert graded[1][0].endswith("solution.ipynb: 3 of 3 points") and "letter.ipynb: 0 of 0 points (" in graded[1][-1]
    assert said["odd_errors", "11.1"] == "the cell raised ValueError: \\udcff"
    assert said["ends_often", "11.2"].startswith("more than 3 cells before this exercise ended the process")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_is_left(graded):
    import psutil

    end = time.monotonic() + 10
    while left := [p.pid for p in psutil.process_iter(["cmdline"]) if "time.sleep(987)" in str(p.info["cmdline"])]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def test_the_tables_hold_every_row_and_no_formula(graded, tmp_path):
    rows = [*graded[0], grading.Row("x.ipynb", "11", "11.1", "Title", 0, 1, "wrong", "=HYPERLINK(1)")]
    grading.write(rows, tmp_path / "scores.csv", tmp_path / "scores.json")
    with open(tmp_path / "scores.csv", encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == len(rows) and table[-1]["explanation"] == "'=HYPERLINK(1)"
    found = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    [sums] = [sums for name, sums in found["files"].items() if Path(name).name == "solution.ipynb"]
    assert sums == {"points": 3, "of": 3} and len(found["exercises"]) == len(rows)
    assert found["exercises"][-1]["explanation"] == "=HYPERLINK(1)"


def test_a_full_disk_keeps_the_older_table(graded, tmp_path, monkeypatch):
    (tmp_path / "scores.csv").write_text("old", encoding="utf-8")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(grading.csv.DictWriter, "writerows", full)
    with pytest.raises(OSError, match="No space left"):
        grading.write(graded[0], tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8") == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_notebook_that_takes_too_long_as_a_whole_is_ended(tmp_path):
    file = save(tmp_path, "slow", [IMPORT, HOURS, FIRST, *["import time; time.sleep(0.5)"] * 400, LARGEST, SECOND])
    begin = time.monotonic()
    rows = {row.exercise: row for row in grading.grade([file], seconds=20)}
    assert time.monotonic() - begin < 60
    assert rows["11.1"].status == "right" and rows["11.2"].status == "not reached"


def test_a_rerun_has_only_the_time_that_is_left(tmp_path):
    file = save(tmp_path, "slow", [IMPORT, HOURS, FIRST, "import time; time.sleep(8)\nimport os; os._exit(1)",
                                   *["time.sleep(0.5)"] * 400, LARGEST, SECOND])  # fmt: skip
    file.write_text(file.read_text().replace('"source": "time.sleep', '"source": "import time; time.sleep'))
    begin = time.monotonic()
    rows = {row.exercise: row for row in grading.grade([file], seconds=14)}
    assert time.monotonic() - begin < 60
    assert rows["11.1"].status == "right" and rows["11.2"].status == "not reached"
    assert "took too long" in rows["11.2"].explanation


def test_what_is_expected_comes_from_the_notebook_that_ships(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save(shipped, "11_scale", [FIRST])
    save(shipped, "11a_more", [SECOND, 'check("11.3", x)'])
    monkeypatch.setattr(sheet, "NOTEBOOKS", shipped)
    assert sheet.expected(tmp_path / "11_scale.ipynb", [], "11") == ["11.1"]
    assert sheet.expected(tmp_path / "mine.ipynb", [SECOND], "11") == ["11.2", "11.3"]
    assert sheet.expected(tmp_path / "11_scale.ipynb", [SECOND], "11") == ["11.1", "11.2"]
    monkeypatch.setattr(sheet, "NOTEBOOKS", tmp_path / "none")
    assert sheet.expected(tmp_path / "mine.ipynb", [SECOND], "11") == list(exercises.exercises(11))


def test_checks_are_found_where_they_are_called_only():
    cell = "# check(\"11.1\", a)\nx = check( '11.2', answer)\nrecheck('11.3', a); check(name, a)"
    assert sheet.checked(cell) == ["11.2"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "has no list of cells"),
        ('{"cells": [1]}', "has no list of cells"),
        ('{"cells": []}', "is not a notebook of a lesson"),
        ('{"cells": [{"cell_type": "code", "source": "check(\\"99.1\\", 1)"}]}', "belongs to no lesson"),
    ],
)
def test_files_that_are_no_lesson_are_one_row_that_says_so(tmp_path, content, said):
    file = tmp_path / "copy.ipynb"
    file.write_text(content, encoding="utf-8")
    [row] = grading.grade([file])
    assert row.status == "unreadable" and said in row.explanation and (row.points, row.of) == (0, 0)


def test_readers_who_call_their_files_the_same_stay_apart(tmp_path):
    files = []
    for name in "ab":
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "11_scale.ipynb")
        files[-1].write_text("[]", encoding="utf-8")
    rows = grading.grade(files)
    grading.write(rows, json_file=tmp_path / "scores.json")
    assert list(json.loads((tmp_path / "scores.json").read_text())["files"]) == [str(file) for file in files]
    with pytest.raises(ValueError, match="is named twice"):
        grading.grade([files[0], tmp_path / "a" / ".." / "a" / "11_scale.ipynb"])


def test_the_notebook_that_ships_is_graded_by_what_ships(tmp_path):
    """A reader's untouched copy of an appendix without a model: every stub is there, and no cell fails."""
    file = tmp_path / "11a_more_exercises.ipynb"
    shutil.copy(NOTEBOOKS / file.name, file)
    rows = grading.grade([file])
    assert [row.exercise for row in rows] == ["11.1", "11.3"]
    assert all(row.status == "not answered" and row.points == 0 for row in rows), rows
    events, left_out, rest = grading._run(sheet.read(file), "11", 60, 300, 8)
    assert not [event for event in events if "error" in event] and not left_out and rest == ""


def test_a_machine_on_which_nothing_runs_is_no_readers_fault(tmp_path, monkeypatch):
    file = save(tmp_path, "solution", HANDED_IN["solution"])
    monkeypatch.setattr(grading, "_RUNNER", "raise SystemExit('no such package')")
    with pytest.raises(ChildProcessError, match="cannot run here: their process ended before .* said: no such package"):
        grading.grade([file])
    done = CliRunner().invoke(main, ["grade", str(file)])
    assert done.exit_code == 1 and "ChildProcessError: notebooks cannot run here" in done.output
    monkeypatch.setattr(grading, "_RUNNER", "import time; time.sleep(60)")
    monkeypatch.setattr(grading, "START_SECONDS", 0.5)
    with pytest.raises(ChildProcessError, match="was not ready before"):
        grading.grade([file])


def test_a_disk_that_is_full_costs_one_notebook_and_no_finished_work(tmp_path, monkeypatch):
    files = [save(tmp_path, "a", HANDED_IN["stub"]), tmp_path / "b.ipynb"]
    files[1].write_text("[]", encoding="utf-8")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(grading.tempfile, "TemporaryDirectory", full)
    kept = []
    rows = grading.grade(files, keep=lambda rows: kept.append(len(rows)))
    assert {row.status for row in rows if "a.ipynb" in row.file} == {"not graded"} and rows[-1].status == "unreadable"
    assert "No space left" in rows[0].explanation and kept == [len(rows) - 1, len(rows)]


def test_a_table_that_cannot_be_written_is_told_before_the_first_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "grade", lambda *args, **options: pytest.fail("it ran"))
    for place, said in ((tmp_path / "no" / "s.csv", "is no folder"), (tmp_path, "is a folder, not a file")):
        done = CliRunner().invoke(main, ["grade", "x.ipynb", "--json", str(place)])
        assert done.exit_code == 1 and said in done.output


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_when_the_grader_is_ended_its_notebook_ends_too(tmp_path):
    mark = tmp_path / "running"
    file = save(tmp_path, "slow", [IMPORT, f"open({str(mark)!r}, 'w').write(str(__import__('os').getpid()))",
                                   "import time; time.sleep(300)", FIRST])  # fmt: skip
    grader = subprocess.Popen([sys.executable, "-m", "course_utils", "grade", str(file)], cwd=ROOT)
    end = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()):
        assert time.monotonic() < end and grader.poll() is None
        time.sleep(0.1)
    grader.send_signal(signal.SIGTERM)
    grader.wait(10)
    end = time.monotonic() + 10
    while Path("/proc", mark.read_text()).exists() and "Z" not in _state(mark.read_text()):
        assert time.monotonic() < end, "the notebook runs on"
        time.sleep(0.1)


def _state(pid):
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_wrong_limits_and_no_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no notebooks to grade"):
        grading.grade([])
    with pytest.raises(ValueError, match="cell_seconds must be larger than 0; got -1"):
        grading.grade([tmp_path], cell_seconds=-1)


def test_the_command_prints_points_and_writes_a_table(tmp_path):
    file = tmp_path / "no.ipynb"
    file.write_text("[]", encoding="utf-8")
    done = CliRunner().invoke(main, ["grade", str(file), "--out", str(tmp_path / "scores.csv")])
    assert done.exit_code == 0 and "no.ipynb: 0 of 0 points (no.ipynb is no Jupyter notebook" in done.output
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8").count("\n") == 2
