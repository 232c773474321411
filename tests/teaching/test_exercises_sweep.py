"""Every exercise against answers of every wrong kind: a verdict with a sentence comes back, never a traceback."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from repo import ROOT

from course_utils.teaching.exercises import check, exercises

LESSONS = sorted(p.stem[-2:] for p in (ROOT / "course_utils" / "teaching" / "exercises").glob("lesson[0-9][0-9].py"))
IDS = [exercise_id for lesson in LESSONS for exercise_id in exercises(lesson)]


class Hostile:
    """Nothing can be learned about it: every question raises."""

    def _refuse(self, *_):
        raise RuntimeError("no")

    __repr__ = __str__ = __len__ = __iter__ = __float__ = __array__ = __eq__ = __getitem__ = __bool__ = _refuse
    __hash__ = None


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("not even a message")


async def later(*_, **__):
    return 1.0


def raising(error):
    def answer(*_, **__):
        raise error

    return answer


def endless(*_, **__):
    return endless(*_, **__)


def returning(value):
    return lambda *_, **__: value


#: What a reader might hand over by mistake: kind → a function that makes it afresh.
VALUES = {
    "a string": lambda: "the token is _apple",
    "digits in a string": lambda: "0.5",
    "an empty string": lambda: "",
    "bytes": lambda: b"\xff\x00",
    "an odd number": lambda: 10**40,
    "a complex number": lambda: 1j,
    "NaN": lambda: math.nan,
    "infinity": lambda: -math.inf,
    "an empty list": list,
    "a ragged list": lambda: [[1], [2, 3], "x"],
    "a list of None": lambda: [None, None],
    "a dictionary": lambda: {"a": 1, 2: None},
    "a dictionary of the right keys": lambda: {"ingredient": "data", "base": [{}], "changed": 3, "claim": []},
    "a set": lambda: {1, "a"},
    "nested pairs": lambda: ([[[1]]], [[{}]]),
    "a range without end": lambda: range(10**12),
    "NumPy objects": lambda: np.array([None, {}, "x"], dtype=object),
    "NumPy strings": lambda: np.array(["1", "2"]),
    "an array of NaN": lambda: np.full((3, 5), np.nan),
    "no values": lambda: np.zeros((0, 7)),
    "a huge array": lambda: np.broadcast_to(0.0, (10**5, 10**5)),
    "masked values": lambda: np.ma.masked_all(4),
    "dates": lambda: np.array(["2026-01-01"], dtype="datetime64[D]"),
    "a tensor": lambda: torch.full((2, 2, 2), 7.0),
    "a tensor with a gradient": lambda: torch.ones(3, requires_grad=True),
    "a tensor without values": lambda: torch.empty(2, device="meta"),
    "half precision": lambda: torch.ones(2, 9, dtype=torch.bfloat16),
    "a table": lambda: pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}),
    "a column": lambda: pd.Series([1.0, np.nan]),
    "an iterator": lambda: iter([1, 2]),
    "numbers without end": itertools.count,
    "a module": lambda: np,
    "an error": lambda: ValueError("x"),
    "something hostile": Hostile,
    "true": lambda: True,
    "an ellipsis": lambda: ...,
}
#: Functions and classes that are not the answer to anything.
FUNCTIONS = {
    "a class": lambda: int,
    "a class with no arguments": lambda: Hostile,
    "a builtin": lambda: len,
    "print": lambda: print,
    "a function of NumPy": lambda: np.linalg.norm,
    "a coroutine": lambda: later,
    "no arguments": lambda: lambda: 1.0,
    "what it was given": lambda: lambda *given, **_: given,
    "the last it was given": lambda: lambda *given, **_: given[-1] if given else None,
    "raises": lambda: raising(ZeroDivisionError("division by zero")),
    "leaves": lambda: raising(SystemExit(1)),
    "asserts": lambda: raising(AssertionError()),
    "stops": lambda: raising(StopIteration()),
    "raises without a message": lambda: raising(Unspeakable()),
    "calls itself": lambda: endless,
    "runs out of memory": lambda: raising(MemoryError()),
}
RETURNED = {f"returns {kind}": (lambda make=make: returning(make())) for kind, make in VALUES.items()}
ANSWERS = VALUES | FUNCTIONS | RETURNED


@pytest.mark.filterwarnings("ignore")  # numbers as wild as these overflow, and the coroutine is never awaited
@pytest.mark.parametrize("exercise_id", IDS)
def test_a_wrong_kind_of_answer_gets_a_sentence_and_never_a_traceback(exercise_id):
    assert len(ANSWERS) > 80
    right, mute = [], []
    for kind, make in ANSWERS.items():
        verdict = check(exercise_id, make())
        if verdict.status == "right":
            right.append(kind)
        if len(verdict.message) < 15 or len(repr(verdict)) > 1000:
            mute.append((kind, verdict.message[:200]))
    assert not right, f"{exercise_id} takes these for right answers: {right}"
    assert not mute, f"{exercise_id} says nothing, or far too much, about: {mute}"


def test_a_built_in_function_is_a_function():
    # 08.1 once refused everything that was not written with def.
    assert "could not be judged" not in repr(check("08.1", len))
    assert check("08.1", len).message.startswith("expected the shape (2)")
