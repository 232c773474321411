"""Answers to every exercise, to test the checks: one right, at least two plausible wrong ones.

A lesson's cases live in ``tests/cases/lessonNN.py``::

    from exercise_cases import Case

    CASES = {"00.1": Case(solution=lambda: 0.5, wrong=[lambda: 50, lambda: "half"])}

Every entry is a function without arguments that returns an answer, so that
nothing is computed before a test asks for it.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One exercise's right answer and at least two plausible wrong ones, each made by a function."""

    solution: Callable
    wrong: Sequence[Callable]


def all_cases() -> dict[str, Case]:
    """The cases of all lessons, by exercise id.

    Raises:
        ValueError: a case that stands in another lesson's file.
    """
    merged = {}
    for path in sorted(FOLDER.glob("lesson[0-9][0-9].py")):
        for exercise_id, case in importlib.import_module(f"cases.{path.stem}").CASES.items():
            if f"lesson{exercise_id[:2]}" != path.stem:
                raise ValueError(f"{path.name} holds the case {exercise_id!r} of another lesson")
            merged[exercise_id] = case
    return merged
