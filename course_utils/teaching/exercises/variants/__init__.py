"""Variants: the same exercise with other numbers or texts for every reader, drawn from a seed.

    check("02.1/17", lar)       # exercise 02.1 as the reader with seed 17 has it

A seed is a whole number, and an exercise has a list of options: reader ``s`` gets option ``(start + s) mod n``, where
``start`` is a hash of the exercise's id. So one seed means the same everywhere, whatever the machine or the version of
NumPy; and two seeds get the same variant of an exercise only where they differ by a multiple of its n. The exercise as
it is published is no option.

What varies in a lesson stands in ``lessonNN.py`` beside this file. Most answers are functions, and a variant changes a
number in what they compute::

    VARIES = (
        numbers("01.3", range(2, 15), published=1, task="The embedding is `w·a + ({x} − w)·b`.",
                inputs=lambda rng: (rng.normal(size=9), rng.normal(size=9), rng.uniform()),
                expected=lambda x, a, b, w: np.array([w * p + (x - w) * q for p, q in zip(a, b)]),
                solution="def variant(a, b, w):\\n    return w * a + ({x} - w) * b"),
    )

``expected`` is written by hand and shares no code with ``solution``, so that one tests the other.
"""

import dataclasses
import hashlib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from course_utils.teaching import exercises
from course_utils.teaching.exercises import AnswerError, Exercise, fresh, right

_SEED = re.compile(r"\d{1,9}")
#: How many inputs an answer is tried on.
_INPUTS = 24


@dataclasses.dataclass(frozen=True)
class Varied:
    """An exercise of which there are variants.

    Attributes:
        exercise_id: of the exercise as it is published, such as "02.1".
        options: what distinguishes the variants, one entry each; the published exercise is not among them.
        task: option -> the paragraph that tells the reader what is different.
        judge: (option, answer) -> what a check function returns.
        solution: option -> source of a right answer, a function or a value with the name ``variant``.
        stub: option -> lines that the stub's own first lines give way to, where its data vary; "" leaves the stub.
        replaces: the lines of the stub that give way, as a pattern.
    """

    exercise_id: str
    options: Sequence
    task: Callable
    judge: Callable
    solution: Callable
    stub: Callable = lambda option: ""
    replaces: str = ""

    def option(self, seed: int | str):
        """The option of a seed.

        Raises:
            ValueError: the seed is no whole number of one to nine digits.
        """
        start = int.from_bytes(hashlib.sha256(self.exercise_id.encode()).digest()[:4], "big")
        return self.options[(start + whole(seed)) % len(self.options)]


def whole(seed: int | str) -> int:
    """A seed as a number.

    Raises:
        ValueError: it is no whole number of one to nine digits.
    """
    if isinstance(seed, bool) or not _SEED.fullmatch(str(seed)):
        raise ValueError(f"a seed is a whole number of one to nine digits, not {seed!r}")
    return int(seed)


def varied(lesson: int | str) -> dict[str, Varied]:
    """The exercises of a lesson that have variants, by id; none where nothing is declared."""
    number = f"{int(lesson):02d}"
    if not Path(__file__).with_name(f"lesson{number}.py").exists():
        return {}
    return {v.exercise_id: v for v in importlib.import_module(f"{__name__}.lesson{number}").VARIES}


def find(exercise_id: str, seed: int | str) -> Exercise:
    """An exercise as the reader with this seed has it; the published one where it has no variants.

    Raises:
        ValueError: no such exercise, or no seed.
    """
    base, number = exercises.find(exercise_id), whole(seed)
    chosen = varied(exercise_id[:2]).get(exercise_id)
    if chosen is None:
        return base
    option = chosen.option(number)
    return dataclasses.replace(
        base,
        id=f"{exercise_id}/{number}",
        expects=f"{base.expects}; your variant says what is different",
        judge=lambda answer: chosen.judge(option, answer),
    )


# How a variant is declared ------------------------------------------------------------------------------------------


def numbers(
    exercise_id: str,
    options: Sequence,
    *,
    published,
    task: str,
    inputs: Callable[[np.random.Generator], tuple],
    expected: Callable,
    solution: str,
    tolerance: float = 1e-6,
) -> Varied:
    """An exercise whose answer is a function and whose variants differ in a number ``x``.

    Args:
        exercise_id: such as "02.1".
        options: the numbers.
        published: the number of the published exercise; its answers are told from those to the variant.
        task: what is different, with ``{x}`` in the place of the number.
        inputs: a random generator -> arguments that an answer is tried on.
        expected: called with the number and the arguments; what a right answer returns.
        solution: source of a function ``variant``, with ``{x}`` in the place of the number.
        tolerance: how far a number may be off, relative and absolute.
    """

    def judge(x, answer):
        tried = [np.random.default_rng(number) for number in range(_INPUTS)] + [fresh.generator()]
        for rng in tried:
            given = inputs(rng)
            found = answer(*_copied(given))
            if same(found, expected(x, *given), tolerance):
                continue
            if same(found, expected(published, *given), tolerance):
                return f"this answers the exercise as it is published. {task.format(x=x)}"
            for other in options:
                if other != x and same(found, expected(other, *given), tolerance):
                    return f"this answers another reader's variant. {task.format(x=x)}"
            if rng is tried[-1]:
                return fresh.ONLY_THE_SHOWN
            return (
                f"for inputs that the check has drawn the result should be {_shown(expected(x, *given))}, yours is "
                f"{_shown(found)}. {task.format(x=x)}"
            )
        return right(f"for your variant. {task.format(x=x)}")

    return Varied(
        exercise_id,
        tuple(options),
        task=lambda x: task.format(x=x),
        judge=judge,
        solution=lambda x: solution.replace("{x}", repr(x)),
    )


def same(found, wanted, tolerance: float = 1e-6) -> bool:
    """Whether an answer is the expected one: numbers within a tolerance, keys, ids and their order exactly.

    Raises:
        AnswerError: something that cannot be compared, such as words where numbers are expected.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping) or set(found) != set(wanted):
            return False
        return all(same(found[key], wanted[key], tolerance) for key in wanted)
    if isinstance(wanted, list | tuple):
        try:
            entries = list(found)
        except TypeError as error:
            raise AnswerError(f"expected a list, yours is a {type(found).__name__}") from error
        return len(entries) == len(wanted) and all(same(a, b, tolerance) for a, b in zip(entries, wanted, strict=True))
    if isinstance(wanted, str):
        return str(found) == wanted
    return not fresh.differs(exercises.as_array(found), wanted, tolerance)


def _copied(arguments: tuple) -> tuple:
    """Arguments that an answer may change without changing those that its result is compared on."""
    return tuple(a.clone() if hasattr(a, "clone") else a.copy() if hasattr(a, "copy") else a for a in arguments)


def _shown(value) -> str:
    """A value in a few words."""
    if isinstance(value, Mapping | list | tuple | str):
        text = str(value)
        return text if len(text) <= 120 else f"{text[:120]} …"
    array = exercises.as_array(value).ravel()
    listed = ", ".join(f"{x:.4g}" for x in array[:6])
    return listed if array.size == 1 else f"[{listed}{', …' if array.size > 6 else ''}]"
