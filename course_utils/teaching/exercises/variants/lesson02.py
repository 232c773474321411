"""Variants of lesson 02: more places than tokens, lists without their first tokens."""

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _ranking(rng) -> tuple[list[int], list[int]]:
    """A ranking of 40 tokens, some of it from the text, and a text with repeats."""
    surface = rng.integers(0, 12, size=int(rng.integers(3, 9))).tolist()
    return rng.permutation(40).tolist(), surface


def _lar(x: int, ranked: list[int], surface: list[int]) -> float:
    own, found = set(surface), 0
    for place, token in enumerate(ranked):
        found += place < len(own) + x and token in own
    return found / len(own)


def _texts(rng) -> tuple[np.ndarray, list[np.ndarray]]:
    """Aligned tokens of six texts, [6, 12], and the tokens that they hold."""
    return rng.integers(0, 60, size=(6, 12)), [rng.integers(0, 60, size=4) for _ in range(6)]


def _chance(x: int, ranked: np.ndarray, surface: list[np.ndarray]) -> float:
    hits = [
        any(int(token) in own.tolist() for token in ranked[i][x:])
        for i in range(len(ranked)) for j, own in enumerate(surface) if i != j
    ]  # fmt: skip
    return sum(hits) / len(hits)


def _merged(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rng.permutation(40), rng.integers(0, 40, size=6), rng.integers(0, 25, size=40)


def _merged_lar(x: int, ranked: np.ndarray, surface: np.ndarray, classes: np.ndarray) -> float:
    order: list[int] = []
    for token in ranked.tolist():
        if int(classes[token]) not in order:
            order.append(int(classes[token]))
    return _lar(x, order, [int(classes[token]) for token in surface.tolist()])


VARIES = (
    numbers(
        "02.1",
        range(1, 14),
        published=0,
        task="There are {x} more places than the text has distinct tokens; the number of hits is still divided by "
        "the number of distinct tokens.",
        inputs=_ranking,
        expected=_lar,
        solution="def variant(ranked, surface):\n    own = set(surface)\n"
        "    return len(own & set(ranked[: len(own) + {x}])) / len(own)",
    ),
    numbers(
        "02.2",
        range(1, 8),
        published=0,
        task="Leave out the first {x} tokens of every ranking, on all sides.",
        inputs=_texts,
        expected=_chance,
        solution="def variant(ranked, surface):\n    return chance(ranked[:, {x}:], surface)",
    ),
    numbers(
        "02.3",
        range(1, 10),
        published=0,
        task="There are {x} more places than the text has distinct classes; the number of hits is still divided by "
        "the number of distinct classes.",
        inputs=_merged,
        expected=_merged_lar,
        solution="def variant(ranked, surface, classes):\n    own = set(classes[surface].tolist())\n"
        "    order = list(dict.fromkeys(classes[ranked].tolist()))\n"
        "    return len(own & set(order[: len(own) + {x}])) / len(own)",
    ),
)
