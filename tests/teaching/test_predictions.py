"""Predictions: asked before the answer, final, stored whole, judged in plain words, silent where nobody reads."""

import json
import os
import re
import subprocess
import sys
import threading

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from repo import ROOT

from course_utils import gates
from course_utils.teaching import predictions
from course_utils.teaching.predictions import stored
from course_utils.teaching.predictions.form import Form
from course_utils.teaching.predictions.stored import COMPARED, FILE, Prediction, Question, hits_by_chance, summary

CHOICE = Question("99.1", "Is `a` < b?", ("no", "yes", "<both>"))
NUMBER = Question("99.2", "How many?", (), (0.0, 1.0), "share of the texts")


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader's folder, in a session that is live."""
    for name in COMPARED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for memory in (predictions._asked, stored.shown, stored._told, stored._unstored):
        memory.clear()
    yield tmp_path
    for memory in (predictions._asked, stored.shown, stored._told, stored._unstored):
        memory.clear()


def ask(question: Question, capsys) -> None:
    """Ask as a lesson does, outside a notebook."""
    more = {"options": question.options} if question.options else {"between": question.between, "unit": question.unit}
    predictions.predict(question.id, question.text, **more)
    capsys.readouterr()


def answer(question: Question, *values: float, sure: float) -> Form:
    """A form that is filled in and locked."""
    filled = Form(question)
    for control, value in zip(filled.answer, values, strict=True):
        control.value = value
    filled.sure.value = sure
    filled.lock.click()
    return filled


# What is asked ------------------------------------------------------------------------------------------------------


def test_a_question_is_a_page_and_a_text_that_give_nothing_away(reader, capsys):
    predictions.predict("99.1", CHOICE.text, options=CHOICE.options)
    assert capsys.readouterr().out == "Prediction 99.1. Is `a` < b?\n  A) no\n  B) yes\n  C) <both>\n"
    page = CHOICE.page()
    assert "Is <code>a</code> &lt; b?" in page and "<li>&lt;both&gt;</li>" in page
    assert not re.search("<script|onclick|<input|right", page)
    predictions.predict("99.2", NUMBER.text, between=(0, 1), unit=NUMBER.unit)
    assert capsys.readouterr().out.endswith("a number between 0 and 1 (share of the texts)\n")
    assert "between 0 and 1 (share of the texts)" in NUMBER.page()


def test_a_number_is_told_to_a_hundredth_of_its_range_and_a_count_whole():
    def told(value, *between):
        return Question("99.2", "?", (), between).number(value)

    assert [told(0.256, 0, 1), told(1.0, 0, 1), told(59.4, 0, 100), told(6, 0, 8)] == ["0.26", "1.00", "59", "6"]
    assert [told(2.5, 0, 8), told(13.0, 0, 40), told(0.5, 0, 0.5)] == ["2.50", "13", "0.500"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prediction_id": "3.1"}, "as '03.1'; got '3.1'"),
        ({"question": " "}, r"question\[0\] is empty"),
        ({"between": (0, 1)}, "for a choice, or between"),
        ({"options": []}, "for a choice, or between"),
        ({"options": ["a"]}, "two to six options"),
        ({"options": ["a", "a"]}, "all different"),
        ({"options": list("abcdefg")}, "two to six options"),
        ({"options": [], "between": (1, 1)}, "low < high"),
        ({"options": [], "between": (0, np.inf)}, "is inf"),
    ],
)
def test_a_question_of_another_form_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        predictions.predict(**({"prediction_id": "99.1", "question": "?", "options": ["a", "b"]} | given))


# Locking in ---------------------------------------------------------------------------------------------------------


def test_a_choice_is_locked_in_once_it_is_complete_and_stays(reader):
    filled = Form(CHOICE)
    assert filled.lock.disabled and "Choose an answer" in filled.status
    assert [value for _, value in filled.sure.options] == [0.33, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]
    filled.answer[0].value = 0
    assert filled.lock.disabled
    filled.sure.value = 0.7
    assert not filled.lock.disabled and not (reader / FILE).exists(), "nothing is stored before it is locked in"
    filled.lock.click()
    assert "Locked in: A) no, 70 % sure." in filled.status and filled.answer[0].disabled and filled.lock.disabled
    filled.answer[0].value = 1
    filled.lock.click()
    assert json.loads((reader / FILE).read_text())["predictions"]["99.1"]["low"] == 0
    assert "Locked in: A) no" in Form(CHOICE).status, "run again, the cell shows what was locked in"


def test_a_number_is_an_interval_that_leaves_something_out(reader):
    filled = Form(NUMBER)
    filled.sure.value = 0.8
    assert filled.lock.disabled and "Narrow the interval" in filled.status
    filled.answer[0].value = 0.6
    filled.answer[1].value = 0.4
    assert filled.lock.disabled and "ends before it begins" in filled.status
    filled.answer[1].value = 0.9
    filled.lock.click()
    assert "Locked in: 0.60 to 0.90, 80 % sure." in filled.status


def test_the_first_prediction_stands_where_two_windows_ask(reader):
    second = Form(CHOICE)
    answer(CHOICE, 0, sure=0.9)
    second.answer[0].value, second.sure.value = 1, 0.5
    second.lock.click()
    assert json.loads((reader / FILE).read_text())["predictions"]["99.1"]["low"] == 0
    assert second.status == (
        "<span>Locked in: A) no, 90 % sure. It was locked in before, in another window, and is final.</span>"
    )


# The answer ---------------------------------------------------------------------------------------------------------


def test_the_outcome_stands_beside_what_was_said(reader, capsys):
    for question in (CHOICE, NUMBER):
        ask(question, capsys)
    predictions.outcome("99.1", np.int64(1))
    assert capsys.readouterr().out == "Prediction 99.1. Measured: B) yes.\n"
    answer(NUMBER, 0.1, 0.3, sure=0.8)
    predictions.outcome("99.2", np.float32(0.25))
    assert capsys.readouterr().out == (
        "Prediction 99.2. You said: 0.10 to 0.30, 80 % sure. Measured: 0.25 (share of the texts): as you expected.\n"
    )
    predictions.outcome("99.2", 0.5)
    assert "not what you expected" in capsys.readouterr().out
    assert json.loads((reader / FILE).read_text())["predictions"]["99.2"]["outcome"] == 0.5


def test_what_is_locked_in_after_the_answer_does_not_count(reader, capsys):
    ask(CHOICE, capsys)
    predictions.outcome("99.1", 1)
    assert "does not count" in answer(CHOICE, 1, sure=1.0).status
    predictions.outcome("99.1", 1)
    assert "does not count" in capsys.readouterr().out
    predictions.calibration("99")
    assert "none of your predictions counts yet (not counted: 1 made after the answer)" in capsys.readouterr().out


def test_that_an_answer_was_shown_outlasts_the_kernel_and_not_the_question(reader, capsys):
    ask(CHOICE, capsys)
    predictions.outcome("99.1", 1)
    stored.shown.clear()  # a new kernel
    assert "does not count" in answer(CHOICE, 1, sure=1.0).status
    assert "does not count" not in answer(Question("99.1", "Another?", ("a", "b")), 1, sure=1.0).status


def test_an_outcome_that_is_none_is_refused_and_one_that_nobody_asked_for_is_told(reader, capsys):
    ask(CHOICE, capsys)
    for wrong in (3, -1, 0.5):
        with pytest.raises(ValueError, match="one of its 3 options"):
            predictions.outcome("99.1", wrong)
    with pytest.raises(ValueError, match="is nan"):
        predictions.outcome("99.1", np.nan)
    predictions.outcome("99.7", 0.25)
    assert "Measured: 0.25 (the cell above that asks for it has not been run)" in capsys.readouterr().out


# Calibration --------------------------------------------------------------------------------------------------------


def made(confidence: float, hit: bool | None, late: bool = False) -> Prediction:
    outcome = None if hit is None else 0.0 if hit else 1.0
    return Prediction("?", ["a", "b"], [], 0, 0, confidence, "", late, outcome)


def test_calibration_is_judged_only_where_there_is_enough_of_it():
    few = summary([made(0.8, True), made(0.8, False), made(0.8, None)])
    assert "1 of 2 predictions came true (not counted: 1 still to be measured); you were 80 % sure" in few
    assert "Brier score 0.34" in few and "Too few" in few  # (.2² + .8²) / 2
    assert "you were too sure" in summary([made(0.9, False)] * 5 + [made(0.9, True)])
    assert "you could have been surer" in summary([made(0.5, True)] * 8)
    assert "fits what happened" in summary([made(0.7, True)] * 5 + [made(0.7, False)] * 3)
    assert "8 to 8 come true" in summary([made(1.0, True)] * 8)


def test_the_range_of_hits_is_that_of_simulated_readers():
    for sure in (np.array([0.33, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.5, 0.7, 0.6]), np.full(60, 0.7)):
        _range_is_simulated(sure)


def _range_is_simulated(sure):
    hits = (np.random.default_rng(0).random((50_000, len(sure))) < sure).sum(axis=1)
    assert hits_by_chance(sure) == tuple(np.quantile(hits, [0.025, 0.975]).astype(int))
    low, high = hits_by_chance(sure)
    assert ((low <= hits) & (hits <= high)).mean() >= 0.95


def test_a_lesson_ends_with_its_own_predictions_and_with_all(reader, capsys):
    predictions.calibration(99)
    assert capsys.readouterr().out == ("Lesson 99: you have locked in no prediction, so there is nothing to compare.\n")
    for number in range(1, 4):
        answer(Question(f"98.{number}", "?", ("a", "b")), 0, sure=0.6)
    answer(CHOICE, 1, sure=0.9)
    ask(CHOICE, capsys)
    predictions.outcome("99.1", 1)
    predictions.calibration("99")
    own, everything = capsys.readouterr().out.splitlines()[1:]
    assert own.startswith("Lesson 99: 1 of 1") and everything.startswith("All lessons so far: 1 of 1")
    assert "3 still to be measured" in everything


# The file -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"\xff\xfe", b"[]", b'{"predictions": []}', b'{"earlier": []}', b'{"predictions": {}, "earlier": 1}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_kept_aside_and_said(reader, capsys, content):
    (reader / FILE).write_bytes(content)
    (reader / "predictions.damaged-1.json").write_text("older")
    filled = answer(CHOICE, 1, sure=0.9)
    assert "Locked in: B) yes, 90 % sure." in filled.status
    assert "could not be read" in (said := capsys.readouterr().out) and "predictions.damaged-2.json" in said
    assert (reader / "predictions.damaged-2.json").read_bytes() == content
    assert (reader / "predictions.damaged-1.json").read_text() == "older"
    assert json.loads((reader / FILE).read_text())["predictions"]["99.1"]["low"] == 1


@pytest.mark.parametrize(
    ("key", "entry"),
    [("99.1", {"low": 1}), ("x", {}), ("99.3", vars(made(7.0, True))), ("99.3", 5), ("99.3", {"between": 1})],
)
def test_one_damaged_entry_costs_no_other(reader, capsys, key, entry):
    answer(NUMBER, 0.1, 0.3, sure=0.8)
    content = json.loads((reader / FILE).read_text())
    content["predictions"][key] = entry
    (reader / FILE).write_text(json.dumps(content))
    assert "Locked in: B) yes" in answer(CHOICE, 1, sure=0.9).status
    said = capsys.readouterr().out
    assert said.count(f"the prediction {key!r} could not be read") == 1 and len(said.splitlines()) == 1
    now = json.loads((reader / FILE).read_text())
    assert now["predictions"]["99.2"]["low"] == 0.1 and now["predictions"]["99.1"]["low"] == 1
    assert entry in (now["predictions"].get(key), *(old.get("damaged") for old in now["earlier"])), "it is kept"
    assert not list(reader.glob("predictions.damaged-*"))


def test_what_another_version_stored_besides_is_kept(reader):
    answer(NUMBER, 0.1, 0.3, sure=0.8)
    content = json.loads((reader / FILE).read_text()) | {"colour": "red"}
    content["predictions"]["99.2"]["why"] = "a feeling"
    (reader / FILE).write_text(json.dumps(content))
    assert "Locked in: 0.10 to 0.30" in Form(NUMBER).status
    answer(CHOICE, 1, sure=0.9)
    now = json.loads((reader / FILE).read_text())
    assert now["colour"] == "red" and now["predictions"]["99.2"]["why"] == "a feeling"
    assert "more" not in now["predictions"]["99.2"] and "damaged" not in now


def test_a_file_that_is_closed_to_us_breaks_no_cell(reader, capsys, monkeypatch):
    answer(NUMBER, 0.1, 0.3, sure=0.8)

    def closed(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(gates, "read_text", closed)
    predictions.calibration("99")
    ask(CHOICE, capsys)
    assert "could not be stored (PermissionError" in answer(CHOICE, 1, sure=0.9).status
    predictions.outcome("99.1", 1)
    assert "as you expected" in capsys.readouterr().out


def test_reading_needs_no_lock_where_none_can_be_had(reader, monkeypatch):
    answer(NUMBER, 0.1, 0.3, sure=0.8)

    def none(path):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(stored, "_lock", none)
    assert "Locked in: 0.10 to 0.30" in Form(NUMBER).status


def test_on_a_full_disk_the_prediction_lasts_as_long_as_the_kernel(reader, capsys, monkeypatch):
    answer(NUMBER, 0.1, 0.3, sure=0.8)
    before = (reader / FILE).read_bytes()

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gates, "replacing", full)
    ask(CHOICE, capsys)
    assert "could not be stored (OSError" in answer(CHOICE, 1, sure=0.9).status
    predictions.outcome("99.1", 1)
    assert "as you expected" in capsys.readouterr().out
    assert (reader / FILE).read_bytes() == before


def test_two_notebooks_at_once_lose_nothing(reader):
    asked = [Question(f"99.{n}", "?", ("a", "b")) for n in range(1, 21)]
    threads = [threading.Thread(target=answer, args=(q, 1), kwargs={"sure": 0.5}) for q in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads((reader / FILE).read_text())["predictions"]
    assert sorted(kept) == sorted(q.id for q in asked)


def test_a_question_that_changed_is_asked_again_and_the_older_answer_kept(reader):
    answer(CHOICE, 0, sure=0.9)
    changed = Question(CHOICE.id, CHOICE.text, ("yes", "no"))
    assert "Choose an answer" in Form(changed).status
    answer(changed, 1, sure=0.6)
    content = json.loads((reader / FILE).read_text())
    assert content["predictions"]["99.1"]["options"] == ["yes", "no"]
    assert [(old["id"], old["options"][0], old["low"]) for old in content["earlier"]] == [("99.1", "no", 0)]


def test_a_number_with_other_bounds_is_asked_again_too(reader):
    answer(NUMBER, 0.1, 0.3, sure=0.8)
    wider = Question(NUMBER.id, NUMBER.text, (), (0.0, 2.0), NUMBER.unit)
    assert "Locked in: 1.10 to 1.50" in answer(wider, 1.1, 1.5, sure=0.6).status
    content = json.loads((reader / FILE).read_text())
    assert content["predictions"]["99.2"]["between"] == [0.0, 2.0] and content["predictions"]["99.2"]["high"] == 1.5
    assert [old["between"] for old in content["earlier"]] == [[0.0, 1.0]] and "Locked in: 1.10" in Form(wider).status


# In a notebook ------------------------------------------------------------------------------------------------------


CELLS = [
    "from course_utils.teaching import predictions",
    'predictions.predict("99.1", "Is it?", options=["no", "yes"])',
    'predictions.outcome("99.1", 1)',
    'predictions.calibration("99")',
]


def test_where_nobody_predicts_a_notebook_says_the_same_whatever_a_reader_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in COMPARED:
        monkeypatch.delenv(name, raising=False)
    question = Question("99.1", "Is it?", ("no", "yes"))
    monkeypatch.chdir(tmp_path)
    answer(question, 0, sure=0.9)
    stored_file = (tmp_path / FILE).read_bytes()

    def texts(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
        ran = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
        return [[o.get("text") or o["data"] for o in cell.outputs] for cell in ran.cells]

    live = texts()
    assert "You said: A) no, 90 % sure. Measured: B) yes: not what you expected." in live[2][0]
    quiet = texts(COURSE_COMPARED="1")
    assert quiet[2] == ["Prediction 99.1. Measured: B) yes.\n"] and "no prediction" in quiet[3][0]
    still, alive = quiet[1]
    assert still == {"text/html": question.page(), "text/plain": str(question)}
    assert list(alive) == ["application/vnd.jupyter.widget-view+json"]
    # The form in the notebook has noted the outcome for the reader, the run that is compared has not.
    noted = json.loads(stored_file) | {"predictions": json.loads((tmp_path / FILE).read_text())["predictions"]}
    assert noted["predictions"]["99.1"]["outcome"] == 1


@pytest.mark.slow
def test_a_stored_notebook_compares_equal_beside_a_readers_predictions(tmp_path, monkeypatch):
    """What tools/run_notebooks.py stores is what nbval computes again, although a reader has predicted there."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = tmp_path / "asks.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS]), path)
    command = [sys.executable, str(ROOT / "tools" / "run_notebooks.py"), str(path)]
    environment = {name: value for name, value in os.environ.items() if name not in COMPARED}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
    shown = nbformat.read(path, as_version=4).cells[1].outputs
    assert [sorted(output.data) for output in shown] == [["text/html", "text/plain"]], "no widget without its kernel"

    for name in COMPARED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    answer(Question("99.1", "Is it?", ("no", "yes")), 0, sure=0.9)
    compared = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", str(path)]
    compared += ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}"]
    done = subprocess.run(compared, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr
