"""Lesson 00 as a learner does it, in the workbook: predict, run, answer wrong and then right, see the calibration.

Screenshots are left in ``build/screenshots/`` to be looked at.
"""

import json
import re
from urllib.request import urlopen

import pytest
from browser.lab import FIRST, REACT_S, cell_with, closed, keep, opened, run_to, said_by, write_cell
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

FIRST_EXERCISE = "00.1"


@pytest.fixture(scope="module")
def lesson(lab, chrome):
    """The first lesson of the workbook, opened and not run."""
    page = opened(chrome, lab, FIRST, "workbook")
    yield page
    closed(page)


@pytest.fixture(scope="module")
def source(lab):
    """The cells of the workbook's first lesson, as they arrived."""
    with urlopen(f"{lab}/api/contents/workbook/{FIRST}") as answer:
        return json.load(answer)["content"]["cells"]


def test_nothing_is_given_away_before_it_is_run(lesson, source):
    code = [cell for cell in source if cell["cell_type"] == "code"]
    assert code and all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert lesson.locator(".jp-OutputArea-output").count() == 0


def test_a_prediction_is_locked_in_by_keyboard_and_kept(lesson, lab):
    number = cell_with(lesson, "predictions.predict(")
    run_to(lesson, number)
    form = lesson.locator(".course-predict").first
    expect(form).to_be_visible(timeout=REACT_S * 1000)
    lock = form.get_by_role("button", name="Lock in")
    expect(lock).to_be_disabled()
    keep(lesson, form, "workbook_1_asked")
    choices = form.locator("input[type=radio]")
    if choices.count():
        choices.first.focus()
        choices.first.press("ArrowDown")
        choices.nth(1).press("Space")
    else:
        low, high = form.locator("input[type=number], input[type=text]").all()[:2]
        bounds = float(low.input_value()), float(high.input_value())
        high.fill(str(sum(bounds) / 2))
        high.press("Enter")
    form.locator("select").focus()
    form.locator("select").select_option("70 %")
    expect(lock).to_be_enabled(timeout=REACT_S * 1000)
    lock.press("Enter")
    expect(form.locator(".course-status")).to_contain_text("Locked in:", timeout=REACT_S * 1000)
    expect(lock).to_be_disabled()
    keep(lesson, form, "workbook_2_locked")
    assert lesson.locator(".course-asked").first.is_hidden(), "the question stands there twice"
    with urlopen(f"{lab}/api/contents/workbook/predictions.json") as answer:
        stored = json.loads(json.load(answer)["content"])["predictions"]
    assert len(stored) == 1 and next(iter(stored.values()))["confidence"] == 0.7


def test_keys_on_the_form_leave_the_notebook_alone(lesson):
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(w => w.model.type)"
    before = lesson.evaluate(count)
    hand = lesson.locator(".course-predict input, .course-predict select, .course-predict button").first
    hand.focus()
    for key in ("x", "m", "d", "d", "a", "b"):
        hand.press(key)
    assert lesson.evaluate(count) == before


def test_the_outcome_stands_beside_what_was_said(lesson, source):
    first = next(cell["source"] for cell in source if "predictions.predict(" in cell["source"])
    asked = re.search(r"""predict\(\s*["']([\d.]+)["']""", first)
    number = cell_with(lesson, f'predictions.outcome("{asked[1]}"')
    run_to(lesson, number)
    assert re.search(rf"Prediction {asked[1]}\. You said: .*, 70 % sure\. Measured: ", said_by(lesson, number))
    keep(lesson, lesson.locator(".jp-Notebook .jp-Cell").nth(number), "workbook_3_outcome")


def test_an_exercise_is_answered_wrong_and_then_right(lesson):
    number = cell_with(lesson, f'check("{FIRST_EXERCISE}"')
    run_to(lesson, number)
    assert "not answered yet" in said_by(lesson, number)
    stub = lesson.evaluate(
        "n => window.jupyterapp.shell.currentWidget.content.widgets[n].model.sharedModel.getSource()", number
    )
    for rest, expected in (("[:3]", "✗ not yet"), ("[:k]", "✓ right")):
        answer = f"\n\ndef answered(h, E, k):\n    return (-(E @ h)).argsort(){rest}\n\n\n"
        call = f'check("{FIRST_EXERCISE}", answered)'
        write_cell(lesson, number, re.sub(rf'check\("{FIRST_EXERCISE}".*', "", stub) + answer + call)
        run_to(lesson, number)
        assert expected in said_by(lesson, number)
    keep(lesson, lesson.locator(".jp-Notebook .jp-Cell").nth(number), "workbook_4_right")


def test_the_lesson_ends_with_the_readers_calibration(lesson):
    number = cell_with(lesson, "predictions.calibration(")
    run_to(lesson, number)
    told = said_by(lesson, number)
    assert re.search(r"Lesson 00: [01] of 1 predictions came true; you were 70 % sure on average\. Brier score", told)
    assert "Too few to judge" in told
    keep(lesson, lesson.locator(".jp-Notebook .jp-Cell").nth(number), "workbook_5_calibration")
