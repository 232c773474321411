"""Answers to the exercises of lesson 00."""

import numpy as np
from exercise_cases import Case


def top_ids(h, weight, k):
    return np.argsort(-(weight @ h))[:k]


def smallest(h, weight, k):
    return np.argsort(weight @ h)[:k]


def largest_by_size(h, weight, k):
    return np.argsort(-np.abs(weight @ h))[:k]


def worst_first(h, weight, k):
    return np.argsort(weight @ h)[-k:]


def subtract(embeddings, u, share):
    return embeddings - share * (embeddings @ u).mean() * u


def each_its_own(embeddings, u, share):
    return embeddings - share * np.outer(embeddings @ u, u)


def add(embeddings, u, share):
    return embeddings + share * (embeddings @ u).mean() * u


def the_mean_itself(embeddings, u, share):
    return embeddings - share * embeddings.mean(axis=0)


CASES = {
    "00.1": Case(lambda: top_ids, [lambda: smallest, lambda: largest_by_size, lambda: worst_first]),
    "00.2": Case(
        lambda: ["_apple", "_banana", "I"],
        [lambda: ["_apple", "_banana", "I", "apple", "Apple"], lambda: ["_apple", "_banana"], lambda: [" apple"]],
    ),
    "00.3": Case(
        lambda: subtract,
        [lambda: each_its_own, lambda: add, lambda: the_mean_itself, lambda: lambda embeddings, u, share: embeddings],
    ),
}
