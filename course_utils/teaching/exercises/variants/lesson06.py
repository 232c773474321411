"""Variants of lesson 06: lists without their first places, a gain over another rival."""

import numpy as np

from course_utils.teaching.exercises.variants import numbers

_ASKED = ("none", "topic", "sentiment", "intent", "purple", "window", "forty", "river", "candle")


def _lists(rng) -> tuple[np.ndarray, set[int]]:
    return rng.integers(0, 30, size=(6, 14)), set(rng.permutation(30)[:12].tolist())


def _shares(x: int, ranked: np.ndarray, lexicon: set[int]) -> np.ndarray:
    return np.array([sum(token in lexicon for token in row[x:]) / len(row[x:]) for row in ranked.tolist()])


def _table(rng) -> tuple[dict[str, float], str]:
    return dict(zip(_ASKED, rng.random(len(_ASKED)).tolist(), strict=True)), str(rng.choice(_ASKED[1:4]))


def _gain(x: int, table: dict[str, float], aspect: str) -> float:
    others = [value for name, value in table.items() if name != aspect]
    for _ in range(x - 1):
        others.remove(max(others))
    return table[aspect] - max(others)


VARIES = (
    numbers(
        "06.1",
        range(1, 11),
        published=0,
        task="Leave out the first {x} places of every list: the share is of the places after them.",
        inputs=_lists,
        expected=_shares,
        solution="def variant(ranked, lexicon):\n    import numpy as np\n\n"
        "    return np.isin(np.asarray(ranked)[:, {x}:], list(lexicon)).mean(axis=1)",
    ),
    numbers(
        "06.3",
        range(2, 9),
        published=1,
        task="Compare with number {x} of the other instructions, counted from the best one, which is number 1, and not "
        "with the best. There are always eight others.",
        inputs=_table,
        expected=_gain,
        solution="def variant(table, aspect):\n"
        "    others = sorted((value for name, value in table.items() if name != aspect), reverse=True)\n"
        "    return table[aspect] - others[{x} - 1]",
    ),
)
