"""The exercise framework on a made-up lesson, and every real exercise and quiz of the course."""

import copy
import json
import re
import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
from exercise_cases import all_cases
from repo import ROOT, appendices, code_cells, lessons, output_text, read, solutions

from course_utils.teaching.exercises import (
    QUIZZES,
    AnswerError,
    as_array,
    as_number,
    check,
    exercise,
    exercises,
    find,
    missing,
    quiz,
    quizzes,
    right,
)

# The framework, on a lesson that does not exist ---------------------------------------------------------------------


@pytest.fixture
def lesson99(monkeypatch):
    module = ModuleType("course_utils.teaching.exercises.lesson99")

    @exercise("99.1", title="Half", difficulty=1, minutes=2, expects="a number between 0 and 1", accepts=(int, float))
    def half(answer):
        return right("two halves make one") if answer == 0.5 else f"{answer} is not a half"

    @exercise("99.2", title="Double", difficulty=2, minutes=5, expects="a function of one number")
    def double(answer):
        result = as_number(answer(3))
        return None if result == 6 else f"the double of 3 is not {result:g}"

    @exercise("99.3", title="Broken check", difficulty=3, minutes=5, expects="anything")
    def broken(answer):
        return answer["no such key"]

    @exercise("99.4", title="Strange check", difficulty=3, minutes=5, expects="anything")
    def strange(answer):
        return 42

    module.half, module.double, module.broken, module.strange = half, double, broken, strange
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_verdict_reads_the_same_every_time(lesson99):
    assert repr(check("99.1", None)) == "99.1 … not answered yet: the answer is a number between 0 and 1"
    assert repr(check("99.1", 0.4)) == "99.1 ✗ not yet: 0.4 is not a half"
    assert repr(check("99.1", 0.5)) == "99.1 ✓ right: two halves make one"
    assert repr(check("99.2", lambda x: 2 * x)) == "99.2 ✓ right"
    assert [check("99.1", a).status for a in (None, 0.4, 0.5)] == ["missing", "wrong", "right"]


def test_an_answer_of_another_type_is_wrong_and_says_so(lesson99):
    assert repr(check("99.1", "half")).endswith("the answer is a number between 0 and 1, yours is a str")


def test_what_a_learners_function_raises_is_part_of_the_verdict(lesson99):
    assert check("99.2", lambda x: 1 / 0).status == "wrong"
    assert check("99.2", lambda x: 1 / 0).message == "your function raised ZeroDivisionError: division by zero"
    assert check("99.2", lambda: 6).message.startswith("your function raised TypeError")
    assert check("99.2", lambda x: None).status == "missing"


class _Stub:
    def __call__(self, x):
        pass


@pytest.mark.parametrize("unfinished", [lambda x: None, partial(lambda x, y: None, 1), _Stub()])
def test_what_can_be_called_but_returns_nothing_yet_is_missing(lesson99, unfinished):
    assert repr(check("99.2", unfinished)) == "99.2 … not answered yet: your function returns nothing yet"


def test_a_check_may_call_an_answer_only_begun(lesson99):
    lesson99.begun = exercise("99.5", title="Keys", difficulty=1, minutes=1, expects="a dictionary")(
        lambda answer: None if "claim" in answer else missing("there is no claim yet")
    )
    assert repr(check("99.5", {})) == "99.5 … not answered yet: there is no claim yet"
    assert check("99.5", {"claim": 1}).status == "right"


def test_what_a_check_stumbles_over_is_named_and_no_verdict_but_wrong(lesson99):
    said = "your answer could not be judged (KeyError: 'no such key'); the answer is anything"
    assert repr(check("99.3", {})) == f"99.3 ✗ not yet: {said}"
    assert check("99.3", lambda: 1).message.startswith("what your function returned could not be judged (TypeError")


def test_a_check_that_returns_no_verdict_is_a_mistake_of_the_course_and_is_not_hidden(lesson99):
    with pytest.raises(TypeError, match="the check of 99.4 returned a int"):
        check("99.4", {})


def test_unknown_ids_are_refused_with_what_exists(lesson99):
    with pytest.raises(ValueError, match=r"no exercise '99.9'; this lesson has 99.1, 99.2, 99.3, 99.4"):
        check("99.9", 1)
    with pytest.raises(ValueError, match="lesson 98 has no exercises"):
        check("98.1", 1)
    for bad in ("9.1", "99", "", 99.1, None):
        with pytest.raises(ValueError, match="an id is two digits"):
            check(bad, 1)


def test_a_lesson_with_a_doubled_or_foreign_id_is_refused(lesson99):
    lesson99.again = exercise("99.1", title="Again", difficulty=1, minutes=1, expects="x")(lambda answer: None)
    with pytest.raises(ValueError, match="two exercises share the id '99.1'"):
        exercises(99)
    lesson99.again = exercise("98.1", title="Elsewhere", difficulty=1, minutes=1, expects="x")(lambda answer: None)
    with pytest.raises(ValueError, match="another lesson: '98.1'"):
        exercises(99)


def test_an_exercise_tells_its_title_difficulty_and_minutes(lesson99):
    assert repr(find("99.2")) == "99.2 Double · difficulty ●●○ · 5 minutes"
    assert list(exercises(99)) == ["99.1", "99.2", "99.3", "99.4"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"difficulty": 4}, "1, 2 or 3, not 4"), ({"minutes": 0}, "at least 1"), ({"expects": " "}, "must not be empty")],
)
def test_a_badly_described_exercise_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        exercise("99.1", **({"title": "T", "difficulty": 1, "minutes": 1, "expects": "x"} | changed))


def test_as_array_accepts_numbers_and_explains_the_rest():
    assert as_array([[1, 2], [3, 4]], shape=(None, 2)).dtype == np.float64
    with pytest.raises(AnswerError, match=r"expected the shape \(any, 3\), yours is \(2, 2\)"):
        as_array([[1, 2], [3, 4]], shape=(None, 3))
    with pytest.raises(AnswerError, match=r"expected the shape \(2\), yours is \(1, 2\)"):
        as_array([[1, 2]], shape=(2,))
    with pytest.raises(AnswerError, match="1 of 2 values are not finite"):
        as_array([1.0, float("nan")])
    assert as_number(np.float32(0.5)) == 0.5
    for several in ([1, 2], [[3]]):
        with pytest.raises(AnswerError, match=r"expected the shape \(\), yours is"):
            as_number(several)
    for nonsense in ("seven", [[1], [2, 3]], {"a": 1}, object()):
        with pytest.raises(AnswerError, match="cannot be read as such"):
            as_array(nonsense)


# Quizzes ------------------------------------------------------------------------------------------------------------

QUESTION = {
    "question": "Is 1 < 2, by `<`?",
    "options": [
        {"text": "yes", "right": True, "feedback": "One comes first."},
        {"text": "no", "right": False, "feedback": "Count <b>again</b>."},
    ],
}


def _write(folder, questions, name="lesson99.json", quiz_id="99.1"):
    (folder / name).write_text(json.dumps({quiz_id: questions}), encoding="utf-8")
    return folder


def test_a_quiz_shows_feedback_for_every_option_without_script_or_colour(tmp_path):
    page = quiz("99.1", _write(tmp_path, [QUESTION, QUESTION]))._repr_html_()
    assert page.count("<details>") == page.count("</details>") == page.count("<summary>") == 4
    assert "✓ One comes first." in page and "✗ Count &lt;b&gt;again&lt;/b&gt;." in page
    assert "1 &lt; 2, by <code>&lt;</code>?" in page
    assert not re.search(r"<script|onclick|color|style|<input", page)


def test_a_quiz_as_text_gives_nothing_away(tmp_path):
    text = repr(quiz("99.1", _write(tmp_path, [QUESTION])))
    assert text == "Question 1. Is 1 < 2, by `<`?\n  A) yes\n  B) no"


def _options(*rights, feedback="because"):
    return [{"text": f"option {n}", "right": r, "feedback": feedback} for n, r in enumerate(rights)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": _options(False, False)}, "0 options are right"),
        ({"options": _options(True, True)}, "2 options are right"),
        ({"options": _options(True)}, "at least two options"),
        ({"options": _options(True, False, feedback=" ")}, "feedback must be a text"),
        ({"options": [*_options(True), {"text": "b", "right": False}]}, "option 2: feedback is missing"),
        ({"options": _options(True, "no")}, "right must be true or false, not 'no'"),
        ({"options": [_options(True)[0], {**_options(True)[0], "right": False}]}, "all different"),
        ({"question": ""}, "question must be a text"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_quiz_that_breaks_the_form_is_refused_and_located(tmp_path, change, said):
    folder = _write(tmp_path, [QUESTION, QUESTION | change])
    with pytest.raises(ValueError, match=f"lesson99.json, 99.1, question 2.*{said}"):
        quiz("99.1", folder)


def test_more_right_options_are_allowed_when_declared(tmp_path):
    declared = QUESTION | {"options": _options(True, True, False), "multiple": True}
    assert "more than one is right" in repr(quiz("99.1", _write(tmp_path, [declared])))


def test_missing_quizzes_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no lesson99.json"):
        quiz("99.1", tmp_path)
    with pytest.raises(ValueError, match="there is no quiz '99.2'"):
        quiz("99.2", _write(tmp_path, [QUESTION]))
    with pytest.raises(ValueError, match="holds the quiz '98.1' of another lesson"):
        quizzes(_write(tmp_path, [QUESTION], quiz_id="98.1") / "lesson99.json")
    (tmp_path / "lesson99.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="lesson99.json is not valid JSON"):
        quiz("99.1", tmp_path)


# The course's own exercises -----------------------------------------------------------------------------------------

LESSONS = sorted(p.stem[-2:] for p in (ROOT / "course_utils" / "teaching" / "exercises").glob("lesson[0-9][0-9].py"))
IDS = [exercise_id for lesson in LESSONS for exercise_id in exercises(lesson)]
CASES = all_cases()


def test_every_lesson_has_three_exercises_and_a_quiz():
    for path in lessons():
        number = path.name[:2]
        assert number in LESSONS, f"{path.name}: there is no course_utils/teaching/exercises/lesson{number}.py"
        assert len(exercises(number)) >= 3, f"lesson {number} has only {len(exercises(number))} exercises"
        assert quizzes(QUIZZES / f"lesson{number}.json")


def test_every_exercise_has_a_case_and_every_case_an_exercise():
    assert sorted(CASES) == sorted(IDS)
    short = [i for i, case in CASES.items() if len(case.wrong) < 4]
    assert not short, f"fewer than four wrong answers: {short}"


@pytest.mark.parametrize("exercise_id", IDS)
def test_the_check_tells_right_from_wrong_from_missing(exercise_id):
    case = CASES[exercise_id]
    assert check(exercise_id, None).status == "missing"
    for number, make in enumerate(case.wrong, start=1):
        verdict = check(exercise_id, make())
        assert verdict.status == "wrong", f"wrong answer {number} of {exercise_id} was judged: {verdict}"
        assert len(verdict.message) > 10, f"{exercise_id} does not say what is wrong: {verdict}"
    verdict = check(exercise_id, case.solution())
    assert verdict.status == "right", verdict
    assert repr(check(exercise_id, case.solution())) == repr(verdict), "two runs of one answer are judged differently"


@pytest.mark.parametrize("exercise_id", IDS)
def test_a_function_that_only_returns_what_was_expected_before_is_not_right(exercise_id):
    """Verdicts name numbers; a function that repeats them has not solved anything.

    Where a check draws its last input anew (``fresh``), repeating them in their order does not help either.
    """
    solution, said = CASES[exercise_id].solution(), []
    if not callable(solution):
        pytest.skip("the answer is no function")

    def listening(*args, **kwargs):
        said.append(solution(*args, **kwargs))
        return copy.deepcopy(said[-1])

    assert check(exercise_id, listening).status == "right" and said
    lesson = ROOT / "course_utils" / "teaching" / "exercises" / f"lesson{exercise_id[:2]}.py"
    for made_up in ([said[0]], said) if "fresh." in lesson.read_text(encoding="utf-8") else ([said[0]],):
        left = iter(made_up)
        verdict = check(exercise_id, lambda *_, left=left, last=made_up[-1], **__: copy.deepcopy(next(left, last)))
        assert verdict.status == "wrong", f"{exercise_id} accepts the results of another run: {verdict}"


@pytest.mark.parametrize("exercise_id", IDS)
def test_the_lesson_has_the_stub_and_the_solution_notebook_the_answer(exercise_id):
    call = re.compile(rf"""check\(\s*["']{re.escape(exercise_id)}["']""")
    for paths, expected in (([*lessons(), *appendices()], "… not answered yet"), (solutions(), "✓ right")):
        shown = [
            output_text(cell)
            for path in paths
            if path.name.startswith(exercise_id[:2])
            for cell in code_cells(path)
            if call.search(cell.source)
        ]
        assert shown, f"no cell of {[p.name for p in paths]} calls check({exercise_id!r}, …)"
        assert any(f"{exercise_id} {expected}" in text for text in shown), f"{exercise_id}: {expected!r} not in {shown}"


@pytest.mark.parametrize("path", sorted(QUIZZES.glob("*.json")), ids=lambda path: path.name)
def test_every_quiz_is_sound_and_is_asked_in_its_lesson(path):
    for quiz_id, found in quizzes(path).items():
        assert found._repr_html_().count("<details>") == sum(len(q.options) for q in found.questions)
        sources = [
            cell.source
            for lesson in (*lessons(), *appendices())
            if lesson.name.startswith(quiz_id[:2])
            for cell in read(lesson).cells
        ]
        assert any(re.search(rf"""quiz\(\s*["']{re.escape(quiz_id)}["']""", s) for s in sources), f"{quiz_id} is unused"


# Fair quizzes -------------------------------------------------------------------------------------------------------

#: Every question with exactly one right option, by quiz.
SINGLE = {
    (quiz_id, number): question
    for path in sorted(QUIZZES.glob("*.json"))
    for quiz_id, found in quizzes(path).items()
    for number, question in enumerate(found.questions, start=1)
    if not question.multiple
}


def _longest_is_right(question) -> float:
    """The chance that somebody is right who picks the longest option, at random among equally long ones."""
    lengths = [len(option.text) for option in question.options]
    longest = [option for option in question.options if len(option.text) == max(lengths)]
    return sum(option.right for option in longest) / len(longest)


def test_picking_the_longest_option_does_not_pay():
    share = np.mean([_longest_is_right(question) for question in SINGLE.values()])
    assert len(SINGLE) > 40 and share <= 0.4, f"the longest option is right in {share:.0%} of {len(SINGLE)} questions"


def test_no_position_is_right_more_often_than_others():
    places = [[option.right for option in question.options].index(True) for question in SINGLE.values()]
    shares = {letter: np.mean([place == n for place in places]) for n, letter in enumerate("ABC")}
    assert all(0.15 <= share <= 0.45 for share in shares.values()), {k: f"{v:.0%}" for k, v in shares.items()}


def test_options_are_of_about_equal_length():
    uneven = {
        key: lengths
        for key, question in SINGLE.items()
        if min(lengths := [len(o.text) for o in question.options]) < 0.6 * max(lengths) and max(lengths) > 30
    }
    assert not uneven, f"an option stands out by its length: {uneven}"


def test_most_questions_have_one_right_option_and_every_one_three_or_more():
    n = sum(len(found.questions) for path in QUIZZES.glob("*.json") for found in quizzes(path).values())
    assert len(SINGLE) >= 0.6 * n, "where all may be right, nothing is learned from a wrong one"
    assert all(len(question.options) >= 3 for question in SINGLE.values())


#: Quizzes that do not ask yet how a figure is read; this list must shrink.
WITHOUT_A_FIGURE = set()


@pytest.mark.parametrize("path", sorted(QUIZZES.glob("*.json")), ids=lambda path: path.name)
def test_a_quiz_asks_what_would_speak_against_a_claim_and_has_a_figure_read(path):
    asked = [question.text for found in quizzes(path).values() for question in found.questions]
    against = r"falsif|(speak|spoken|speaks) against|would (have )?(shown?|made)|prove you wrong"
    assert any(re.search(against, text) for text in asked), "no question asks what would speak against a claim"
    if path.stem not in WITHOUT_A_FIGURE:
        assert any(re.search(r"\b(figure|panel|heat map)\b", text) for text in asked), "no question has a figure read"
