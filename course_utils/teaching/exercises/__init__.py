"""Exercises and quizzes: stubs that run, checks that explain, feedback for every option.

A lesson's exercises live in ``course_utils/teaching/exercises/lessonNN.py``, its questions in
``data/quiz/lessonNN.json``; both are found by the two digits that open an id.

Writing an exercise::

    from course_utils.teaching.exercises import exercise, right

    @exercise("02.1", title="Count the hits", difficulty=1, minutes=5, expects="a number between 0 and 1")
    def hits(answer):
        if not 0 <= answer <= 1:
            return f"a share lies between 0 and 1, yours is {answer}"
        return right("a text counts once, however many of its tokens are found")

Answering it: ``check("02.1", answer)``. ``None`` means "not answered yet".
"""

import functools
import html
import importlib
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from course_utils import gates

#: Folder of the quizzes: one file per lesson.
QUIZZES = Path(__file__).resolve().parents[3] / "data" / "quiz"

#: No exercise asks for more values, and no verdict is read that is longer.
_MOST_VALUES, _LONGEST_MESSAGE = 1_000_000, 800

_ID = re.compile(r"(\d\d)\.\w+")
_MARKS = {"right": "✓ right", "wrong": "✗ not yet", "missing": "… not answered yet"}


class AnswerError(Exception):
    """An answer that cannot be judged: its message tells the learner why."""


class _Unfinished(Exception):
    """A learner's function returned None: its body is still to be written."""


@dataclass(frozen=True)
class Verdict:
    """What a check says: ``status`` is "missing", "wrong" or "right"."""

    exercise_id: str
    status: str
    message: str = ""

    def __repr__(self) -> str:
        said = f"{self.exercise_id} {_MARKS[self.status]}"
        return f"{said}: {self.message}" if self.message else said


@dataclass(frozen=True)
class _Right:
    message: str


@dataclass(frozen=True)
class _Missing:
    message: str


def right(why: str = "") -> _Right:
    """What a check function returns for a right answer, with the reason worth remembering."""
    return _Right(why)


def missing(what: str) -> _Missing:
    """What a check function returns for an answer that is only begun, such as a dictionary that lacks a key."""
    return _Missing(what)


@dataclass(frozen=True)
class Exercise:
    """One exercise: its check function and what the learner is told about it.

    Attributes:
        id: two digits of the lesson, a dot, a number: "02.1".
        title: a few words.
        difficulty: 1 (apply what was shown) to 3 (find out something new).
        minutes: what it takes.
        expects: what the answer has to be; shown while it is missing.
        judge: takes the answer; returns what is wrong as a string, or :func:`right`, or None for a plain "right".
        accepts: types the answer may have; any when empty.
    """

    id: str
    title: str
    difficulty: int
    minutes: int
    expects: str
    judge: Callable
    accepts: tuple[type, ...] = ()

    def __repr__(self) -> str:
        stars = "●" * self.difficulty + "○" * (3 - self.difficulty)
        return f"{self.id} {self.title} · difficulty {stars} · {self.minutes} minutes"


def exercise(
    exercise_id: str,
    *,
    title: str,
    difficulty: int,
    minutes: int,
    expects: str,
    accepts: type | tuple[type, ...] = (),
) -> Callable[[Callable], Exercise]:
    """Turn a check function into an :class:`Exercise`; see the module's text for an example.

    Raises:
        ValueError: an id that is not like "02.1", a difficulty outside 1 to 3, no minutes, or an empty text.
    """
    _lesson_of(exercise_id)
    if difficulty not in (1, 2, 3):
        raise ValueError(f"{exercise_id}: difficulty is 1, 2 or 3, not {difficulty!r}")
    if minutes < 1:
        raise ValueError(f"{exercise_id}: minutes must be at least 1, not {minutes!r}")
    if not title.strip() or not expects.strip():
        raise ValueError(f"{exercise_id}: title and expects must not be empty")
    types = accepts if isinstance(accepts, tuple) else (accepts,)
    return lambda judge: Exercise(exercise_id, title, difficulty, minutes, expects, judge, types)


def exercises(lesson: int | str) -> dict[str, Exercise]:
    """All exercises of a lesson, by id, in the order of the lesson.

    Raises:
        ValueError: the lesson has no exercises, two share an id, or one carries another lesson's number.
    """
    number = f"{int(lesson):02d}"
    found = [value for value in vars(_lesson_module(number)).values() if isinstance(value, Exercise)]
    by_id = {e.id: e for e in found}
    if len(by_id) != len(found):
        ids = [e.id for e in found]
        raise ValueError(f"lesson {number}: two exercises share the id {next(i for i in ids if ids.count(i) > 1)!r}")
    strangers = [i for i in by_id if _lesson_of(i) != number]
    if strangers:
        raise ValueError(f"lesson {number} holds an exercise of another lesson: {strangers[0]!r}")
    return by_id


def find(exercise_id: str) -> Exercise:
    """The exercise with this id; "02.1/17" is exercise 02.1 as the reader with seed 17 has it.

    Raises:
        ValueError: no exercise has it; the message lists those that exist.
    """
    if isinstance(exercise_id, str) and "/" in exercise_id:
        return importlib.import_module(f"{__name__}.variants").find(*exercise_id.split("/", 1))
    known = exercises(_lesson_of(exercise_id))
    if exercise_id not in known:
        raise ValueError(f"there is no exercise {exercise_id!r}; this lesson has {', '.join(sorted(known))}")
    return known[exercise_id]


def check(exercise_id: str, answer) -> Verdict:
    """Judge an answer: missing, wrong or right, and why.

    Whatever the answer is, a verdict comes back. A function is called through a guard: what it raises is part of the
    verdict, and while it returns None it is not answered yet. What the check stumbles over is wrong, and is named.

    Args:
        exercise_id: for instance "02.1".
        answer: whatever the exercise asks for; None when there is none yet.

    Raises:
        ValueError: no exercise has this id.
        TypeError: the check returned something that is no verdict: a mistake of the check, whatever the answer.
    """
    return judge(find(exercise_id), answer)


def judge(asked: Exercise, answer) -> Verdict:
    """Judge an answer to an exercise that was found already; see :func:`check`."""
    if answer is None:
        return Verdict(asked.id, "missing", f"the answer is {asked.expects}")
    if asked.accepts and not isinstance(answer, asked.accepts):
        return Verdict(asked.id, "wrong", f"the answer is {asked.expects}, yours is a {type(answer).__name__}")
    try:
        said = asked.judge(_guard(answer) if callable(answer) else answer)
    except _Unfinished:
        return Verdict(asked.id, "missing", "your function returns nothing yet")
    except AnswerError as error:
        return Verdict(asked.id, "wrong", _short(str(error)))
    except Exception as error:  # an answer may be anything, and no check can foresee all of it
        whose = "what your function returned" if callable(answer) else "your answer"
        said = f"{whose} could not be judged ({_named(error)}); the answer is {asked.expects}"
    if said is None:
        return Verdict(asked.id, "right")
    if isinstance(said, _Missing):
        return Verdict(asked.id, "missing", said.message)
    if isinstance(said, _Right):
        return Verdict(asked.id, "right", said.message)
    if isinstance(said, str):
        return Verdict(asked.id, "wrong", _short(said))
    raise TypeError(f"the check of {asked.id} returned a {type(said).__name__}, not a string, right(...) or None")


def as_array(answer, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """An answer as an array of finite float64 numbers, for use inside a check.

    Args:
        answer: anything that NumPy or PyTorch can turn into numbers.
        shape: its shape; None in a place means any length there.

    Raises:
        AnswerError: it holds no numbers, NaN or infinity, more than a million values, or has another shape.
    """
    unreadable = f"expected numbers, found a {type(answer).__name__} that cannot be read as such"
    try:
        # A tensor with a gradient is as good an answer as one without. Strings of digits are not numbers.
        found = np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer)
        if found.dtype.kind == "O":
            found = found.astype(np.float64)
        if found.dtype.kind not in "biuf":
            raise AnswerError(unreadable)
        _expect_shape(found.shape, shape)
        array = found.astype(np.float64)
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise AnswerError(unreadable) from error
    if not np.isfinite(array).all():
        raise AnswerError(f"{int((~np.isfinite(array)).sum())} of {array.size} values are not finite (NaN or infinity)")
    return array


def _expect_shape(found: tuple[int, ...], shape: tuple[int | None, ...] | None) -> None:
    if shape is not None and (
        len(found) != len(shape) or any(s not in (None, n) for s, n in zip(shape, found, strict=True))
    ):
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
        raise AnswerError(f"expected the shape {wanted}, yours is {found}")
    if math.prod(found) > _MOST_VALUES:
        raise AnswerError(f"expected a small array, yours has the shape {found}")


def as_number(answer) -> float:
    """An answer as one finite number; errors as :func:`as_array`."""
    return float(as_array(answer, shape=()))


def _guard(function: Callable) -> Callable:
    """The learner's function, with what it raises as an :class:`AnswerError` and None as :class:`_Unfinished`."""

    @functools.wraps(function)
    def guarded(*args, **kwargs):
        try:
            result = function(*args, **kwargs)
        # A learner's code may raise anything, exit() too, and hearing which is the point.
        except (Exception, SystemExit) as error:
            raise AnswerError(f"your function raised {_named(error)}") from error
        if result is None:
            raise _Unfinished
        if isinstance(result, Iterator | Awaitable | AsyncIterator):
            raise AnswerError(
                f"your function returns a {type(result).__name__}, which has not computed its values yet: "
                "return them all at once, as a list or an array"
            )
        return result

    return guarded


def _named(error: BaseException) -> str:
    """An error's type and message; the type alone where even the message cannot be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # a message is made by the code that raised, and may fail like everything in it
        return type(error).__name__


def _short(message: str) -> str:
    """A message with the middle left out where an answer that it quotes is very long."""
    half = _LONGEST_MESSAGE // 2
    return message if len(message) <= 2 * half else f"{message[:half]} … {message[-half:]}"


def _lesson_of(any_id: str) -> str:
    match = _ID.fullmatch(any_id) if isinstance(any_id, str) else None
    if match is None:
        raise ValueError(f"an id is two digits, a dot and a number, such as '02.1', not {any_id!r}")
    return match[1]


def _lesson_module(number: str) -> ModuleType:
    name = f"{__name__}.lesson{number}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"lesson {number} has no exercises: there is no {name.replace('.', '/')}.py") from error


# Quizzes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """One option of a question and what a reader who picks it is told."""

    text: str
    right: bool
    feedback: str


@dataclass(frozen=True)
class Question:
    """One question; ``multiple`` says that more than one option is right."""

    text: str
    options: tuple[Option, ...]
    multiple: bool = False


@dataclass(frozen=True)
class Quiz:
    """Some questions in a row. Every option opens to its feedback, by mouse or keyboard, with no script at all."""

    id: str
    questions: tuple[Question, ...]

    def __repr__(self) -> str:
        lines = []
        for number, question in enumerate(self.questions, start=1):
            lines.append(f"Question {number}. {_hint(question)}")
            lines += [f"  {letter}) {option.text}" for letter, option in _lettered(question)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return "\n".join(_question_html(number, question) for number, question in enumerate(self.questions, start=1))


def quiz(quiz_id: str, folder: Path | str = QUIZZES) -> Quiz:
    """A quiz of a lesson.

    The file ``lessonNN.json`` maps each quiz id to a list of questions::

        {"02.1": [{"question": "…", "multiple": false,
                   "options": [{"text": "…", "right": true, "feedback": "…"}, …]}, …]}

    ``multiple`` may be left out. Text between backticks is shown as code.

    Raises:
        ValueError: no such quiz, or one that breaks the form; the message says where.
    """
    number = _lesson_of(quiz_id)
    path = Path(folder) / f"lesson{number}.json"
    if not path.exists():
        raise ValueError(f"lesson {number} has no quiz: there is no {path.name} in {path.parent.name}")
    known = quizzes(path)
    if quiz_id not in known:
        raise ValueError(f"there is no quiz {quiz_id!r}; {path.name} has {', '.join(sorted(known))}")
    return known[quiz_id]


def quizzes(path: Path | str) -> dict[str, Quiz]:
    """All quizzes of one file, by id; see :func:`quiz` for the form.

    Raises:
        ValueError: no JSON, or not of the form; the message names the quiz and the question.
    """
    path = Path(path)
    raw = gates.json_value(gates.read_text(path), path.name)
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f"{path.name} must map quiz ids to lists of questions")
    for quiz_id in raw:
        if path.stem != f"lesson{_lesson_of(quiz_id)}":
            raise ValueError(f"{path.name} holds the quiz {quiz_id!r} of another lesson")
    return {i: Quiz(i, _questions(f"{path.name}, {i}", listed)) for i, listed in raw.items()}


def _questions(where: str, listed) -> tuple[Question, ...]:
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{where}: a quiz is a list of questions, at least one")
    return tuple(_question(f"{where}, question {n}", raw) for n, raw in enumerate(listed, start=1))


def _question(where: str, raw) -> Question:
    _expect_keys(where, raw, {"question", "options"}, {"multiple"})
    _expect_text(where, "question", raw["question"])
    options = []
    if not isinstance(raw["options"], list):
        raise ValueError(f"{where}: options must be a list")
    for n, option in enumerate(raw["options"], start=1):
        here = f"{where}, option {n}"
        _expect_keys(here, option, {"text", "right", "feedback"}, set())
        _expect_text(here, "text", option["text"])
        _expect_text(here, "feedback", option["feedback"])
        if not isinstance(option["right"], bool):
            raise ValueError(f"{here}: right must be true or false, not {option['right']!r}")
        options.append(Option(option["text"], option["right"], option["feedback"]))
    if len({option.text for option in options}) < max(len(options), 2):
        raise ValueError(f"{where}: needs at least two options, all different")
    multiple, n_right = raw.get("multiple", False), sum(option.right for option in options)
    if multiple not in (True, False):
        raise ValueError(f"{where}: multiple must be true or false, not {multiple!r}")
    if n_right < 1 or (n_right > 1 and not multiple):
        raise ValueError(f'{where}: {n_right} options are right; one must be, or more with "multiple": true')
    return Question(raw["question"], tuple(options), multiple)


def _expect_keys(where: str, raw, required: set[str], allowed: set[str]) -> None:
    if not isinstance(raw, dict):
        raise ValueError(f"{where}: expected an object, found {type(raw).__name__}")
    if not required <= raw.keys():
        raise ValueError(f"{where}: {', '.join(sorted(required - raw.keys()))} is missing")
    if raw.keys() - required - allowed:
        raise ValueError(f"{where}: unknown key {sorted(raw.keys() - required - allowed)[0]!r}")


def _expect_text(where: str, name: str, value) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {name} must be a text that is not empty, not {value!r}")


def _lettered(question: Question) -> list[tuple[str, Option]]:
    return list(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", question.options, strict=False))


def _hint(question: Question) -> str:
    return question.text + (" (more than one is right)" if question.multiple else "")


def _question_html(number: int, question: Question) -> str:
    # No colours of its own: the page's colours fit light mode, dark mode and paper.
    lines = [f"<p><strong>Question {number}.</strong> {_code(_hint(question))}</p>"]
    for letter, option in _lettered(question):
        mark = "✓" if option.right else "✗"
        lines.append(
            f"<details><summary>{letter}) {_code(option.text)}</summary>"
            f"<blockquote>{mark} {_code(option.feedback)}</blockquote></details>"
        )
    return "\n".join(lines)


def _code(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
