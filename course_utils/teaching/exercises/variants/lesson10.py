"""Variants of lesson 10: another confidence, an embedder of another length, texts that are left out."""

import math

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _counts(rng) -> tuple[int, int]:
    n = int(rng.integers(5, 200))
    return int(rng.integers(0, n + 1)), n


def _wilson(x: float, hits: int, n: int) -> np.ndarray:
    """The shares q whose own interval just reaches p: ``(p − q)² = z² q (1 − q) / n``, solved for q."""
    p, w = hits / n, x**2 / n
    root = math.sqrt(max((2 * p + w) ** 2 - 4 * (1 + w) * p**2, 0))
    return np.array([(2 * p + w - root) / (2 * (1 + w)), (2 * p + w + root) / (2 * (1 + w))])


def _movement(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    before, after = rng.normal(size=(2, 12, 5)) + 1
    u = rng.normal(size=5)
    return before, after, u / np.linalg.norm(u), np.linalg.qr(rng.normal(size=(5, 5)))[0]


def _null(x: float, before: np.ndarray, after: np.ndarray, u: np.ndarray, rotation: np.ndarray) -> float:
    moved = sum(x * (rotation @ b) - a for a, b in zip(before, after, strict=True)) / len(before)
    return float(moved @ u) ** 2 / sum(float(m) ** 2 for m in moved)


VARIES = (
    numbers(
        "10.1",
        (0.67, 0.84, 1.04, 1.15, 1.28, 1.44, 1.64, 2.17, 2.33, 2.58, 2.81, 3.0, 3.29),
        published=1.96,
        task="The confidence is another one: z = {x} in the place of 1.96.",
        inputs=_counts,
        expected=_wilson,
        solution="def variant(hits, n):\n    return interval(hits, n, z={x})",
        tolerance=1e-4,
    ),
    numbers(
        "10.3",
        (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0),
        published=1,
        task="Before it is turned, every row of `after` is made {x} times as long.",
        inputs=_movement,
        expected=_null,
        solution="def variant(before, after, u, rotation):\n    return null_share(before, {x} * after, u, rotation)",
    ),
)
