"""Variants of lesson 01: weights that begin with another number, a mixture with another sum."""

import numpy as np
import torch

from course_utils.teaching.exercises.variants import numbers


def _mask(rng) -> torch.Tensor:
    """Four texts in rows of eight, some padded on the left and some on the right."""
    rows = []
    for left in (True, False, True, False):
        n = int(rng.integers(1, 9))
        rows.append([0] * (8 - n) + [1] * n if left else [1] * n + [0] * (8 - n))
    return torch.tensor(rows)


def _weights(x: int, mask: torch.Tensor) -> np.ndarray:
    found = np.zeros(tuple(mask.shape))
    for row, own in zip(found, mask.tolist(), strict=True):
        real = [column for column, is_real in enumerate(own) if is_real]
        for count, column in enumerate(real):
            row[column] = (x + count) / sum(range(x, x + len(real)))
    return found


VARIES = (
    numbers(
        "01.1",
        range(2, 13),
        published=1,
        task="The first real token of a text weighs {x}, and every further one 1 more than the one before it; then as "
        "before, divided by their sum. (Exercise 01.2 takes the weights as published, 1, 2, 3 and so on.)",
        inputs=lambda rng: (_mask(rng),),
        expected=_weights,
        solution="def variant(mask):\n    found = (mask.cumsum(dim=1) + {x} - 1) * mask\n"
        "    return found / found.sum(dim=1, keepdim=True)",
    ),
    numbers(
        "01.3",
        range(2, 15),
        published=1,
        task="The embedding is `w·a + ({x} − w)·b`.",
        inputs=lambda rng: (rng.normal(size=9), rng.normal(size=9), float(rng.uniform(0, 1))),
        expected=lambda x, a, b, w: np.array([w * p + (x - w) * q for p, q in zip(a, b, strict=True)]),
        solution="def variant(logits_a, logits_b, w):\n    return w * logits_a + ({x} - w) * logits_b",
    ),
)
