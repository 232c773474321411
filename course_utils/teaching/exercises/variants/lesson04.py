"""Variants of lesson 04: documents with other numbers, another sum inside a logarithm, vectors of another length."""

import math

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _documents(rng) -> tuple[list[dict[str, float]]]:
    drawn = rng.uniform(0.1, 1, size=(6, 4)).round(3).tolist()
    return ([{f"_t{j}": w for j, w in enumerate(row) if w > 0.4} for row in drawn],)


def _postings(x: int, documents: list[dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    tokens = {token for document in documents for token in document}
    return {t: [(n + x, own[t]) for n, own in enumerate(documents) if t in own] for t in tokens}


def _idf(x: int, weights: np.ndarray) -> np.ndarray:
    held = [sum(value > 0 for value in column) for column in weights.T.tolist()]
    return np.array([math.log((len(weights) + x) / (count + x)) for count in held])


def _logits(rng) -> tuple[np.ndarray, int, list[int]]:
    return rng.normal(1, 1, size=25), int(rng.integers(3, 20)), [0, int(rng.integers(1, 25))]


def _sparse(x: int, logits: np.ndarray, k: int, special: list[int]) -> np.ndarray:
    kept = sorted((i for i in range(len(logits)) if i not in special and logits[i] > 0), key=lambda i: -logits[i])[:k]
    length = math.sqrt(sum(logits[i] ** 2 for i in kept))
    return np.array([x * logits[i] / length if i in kept else 0.0 for i in range(len(logits))])


VARIES = (
    numbers(
        "04.1",
        range(1, 18),
        published=0,
        task="The documents are numbered from {x}: the first one has the number {x}.",
        inputs=_documents,
        expected=_postings,
        solution="def variant(documents):\n    found = postings(documents)\n"
        "    return {t: [(number + {x}, weight) for number, weight in entries] for t, entries in found.items()}",
    ),
    numbers(
        "04.2",
        range(2, 15),
        published=1,
        task="Add {x} in the place of 1: `log((n + {x}) / (df + {x}))`.",
        inputs=lambda rng: (rng.uniform(size=(20, 6)) * (rng.uniform(size=(20, 6)) < 0.4),),
        expected=_idf,
        solution="def variant(weights):\n    frequency = (weights > 0).sum(axis=0)\n"
        "    return np.log((len(weights) + {x}) / (frequency + {x}))",
    ),
    numbers(
        "04.3",
        range(2, 13),
        published=1,
        task="The weights are scaled to length {x} in the place of 1.",
        inputs=_logits,
        expected=_sparse,
        solution="def variant(logits, k, special):\n    return {x} * sparse_vector(logits, k, special)",
    ),
)
