"""Hours by the rule: every part counts once, and what a lesson declares is held against it."""

import json

import pytest

from course_utils.teaching import hours as module
from course_utils.teaching.exercises import exercises, quizzes
from course_utils.teaching.hours import Hours, hours, measured_seconds, store_seconds, table


@pytest.fixture
def lesson(tmp_path):
    """A function that writes a lesson of some cells and returns its path."""

    def write(*cells: tuple[str, str], name: str = "02_some.ipynb"):
        listed = [{"cell_type": kind, "source": source.splitlines(keepends=True)} for kind, source in cells]
        (tmp_path / name).write_text(json.dumps({"cells": listed}), encoding="utf-8")
        return tmp_path / name

    return write


def test_words_lines_exercises_and_seconds_are_counted_once(lesson):
    path = lesson(
        (
            "markdown",
            "# Four words and more\n\n**Time:** about 40 minutes (the cells run for about 90 s on two cores).",
        ),
        ("markdown", "One [two](http://not/these/words) $x + y + z$ three.\n\n```python\na = 1\nb = 2\n```"),
        ("code", "x = 1\n\n# a comment is read too\ny = 2"),
        ("code", 'answer = None\ncheck("02.1", answer)'),
        ("code", 'quiz("02.1")'),
    )
    found = hours(path, {})
    asked = sum(len(module.re.findall(r"\w[\w'’-]*", repr(q))) for k, q in quizzes(
        module.ROOT / "data/quiz/lesson02.json").items() if k == "02.1")  # fmt: skip
    assert found.words == 4 + 14 + 3 + asked and found.lines == 3 + 1 + 2 and found.cells == 5
    assert found.exercises == exercises("02")["02.1"].minutes and found.seconds == 90 and found.declared == 40
    assert found.minutes == pytest.approx(found.words / 180 + 6 / 12 + found.exercises + 1.5)


def test_measured_seconds_come_before_stated_ones(lesson, tmp_path, monkeypatch):
    path = lesson(("markdown", "# T\n\nabout 3 minutes (measured run time of all cells: 15 s on two CPU cores)"))
    monkeypatch.setattr(module, "SECONDS", tmp_path / "seconds.json")
    assert measured_seconds() == {} and hours(path).seconds == 15
    store_seconds({path.name: 41.6}, "2 cores")
    store_seconds({"other.ipynb": 7.2}, "2 cores")
    assert hours(path).seconds == 42 and measured_seconds() == {"02_some.ipynb": 42, "other.ipynb": 7}


@pytest.mark.parametrize(
    ("declared", "minutes", "honest"),
    [(20, 23, True), (20, 24, False), (45, 49, True), (45, 51, False), (60, 54.6, True), (None, 3, False)],
)
def test_declared_minutes_may_be_three_minutes_or_a_tenth_away(declared, minutes, honest):
    assert Hours("x", 1, 0, 0, 0, 60 * minutes, declared).honest is honest


def test_the_table_names_every_lesson_and_the_rule(lesson, tmp_path):
    lesson(("markdown", "# T\n\nabout 30 minutes"), name="01_first.ipynb")
    lesson(("markdown", "# T"), name="01a_more.ipynb")
    shown = table(tmp_path).splitlines()
    assert shown[1].startswith("01_first ") and shown[1].endswith("30 (!)")
    assert shown[2].startswith("01a_more ") and shown[2].endswith("none") and "words / 180" in shown[-1]
    with pytest.raises(FileNotFoundError, match="no lessons in"):
        table(tmp_path / "nowhere")


def test_a_lesson_that_is_no_json_is_named(tmp_path):
    (tmp_path / "03_x.ipynb").write_text("{")
    with pytest.raises(ValueError, match="03_x.ipynb is not valid JSON"):
        hours(tmp_path / "03_x.ipynb")
