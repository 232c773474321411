"""Variants of lesson 09: right answers that stand in other columns, an embedding whose length changes."""

import math

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _lead(x: int, cosines: np.ndarray, tau: float) -> float:
    """Row by row: the cosine of the right answer, ``x`` columns to the right, minus the softmax's average."""
    n, found = len(cosines), []
    for i in range(n):
        weights = [math.exp(c / tau) for c in cosines[i]]
        average = sum(w * c for w, c in zip(weights, cosines[i], strict=True)) / sum(weights)
        found.append(cosines[i, (i + x) % n] - average)
    return sum(found) / n


def _lengths(rng) -> tuple[float, float, float]:
    before, after = rng.uniform(1, 5, size=2)
    return float(rng.uniform(6, 9)), float(before), float(after)


def _moves(x: float, length: float, before: float, after: float) -> float:
    return math.sqrt((x * length) ** 2 - after**2) - math.sqrt(length**2 - before**2)


VARIES = (
    numbers(
        "09.1",
        range(1, 13),
        published=0,
        task="The right answer of anchor i stands {x} columns further to the right, beginning again at the left end.",
        inputs=lambda rng: (rng.uniform(0.5, 1, size=(14, 14)), float(rng.uniform(0.05, 0.3))),
        expected=_lead,
        solution="def variant(cosines, tau):\n    import numpy as np\n\n    odds = np.exp(cosines / tau)\n"
        "    looked_at = odds / odds.sum(axis=1, keepdims=True)\n    n = len(cosines)\n"
        "    own = cosines[np.arange(n), (np.arange(n) + {x}) % n]\n"
        "    return (own - (looked_at * cosines).sum(axis=1)).mean()",
    ),
    numbers(
        "09.4",
        (0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.5),
        published=1,
        task="Afterwards the embedding is {x} times as long as `length`.",
        inputs=_lengths,
        expected=_moves,
        solution="def variant(length, rest_before, rest_after):\n    import numpy as np\n\n"
        "    after = np.sqrt(({x} * length) ** 2 - rest_after**2)\n"
        "    return after - np.sqrt(length**2 - rest_before**2)",
    ),
)
