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


def five_whatever_k(h, weight, k):
    return np.argsort(-(weight @ h))[:5]


def one_too_many(h, weight, k):
    return np.argsort(-(weight @ h))[: k + 1]


def columns_for_rows(h, weight, k):
    return np.argsort(-(h @ weight.T) / np.linalg.norm(weight, axis=1))[:k]


def by_size(embeddings, u, share):
    return embeddings - share * np.abs(embeddings @ u).mean() * u


def always_four_fifths(embeddings, u, share):
    return embeddings - 0.8 * (embeddings @ u).mean() * u


def projected_out(embeddings, u, share):
    return embeddings - np.outer(embeddings @ u, u)


def the_sum(embeddings, u, share):
    return embeddings - share * (embeddings @ u).sum() * u


CASES = {
    "00.1": Case(
        lambda: top_ids,
        [
            lambda: smallest,
            lambda: largest_by_size,
            lambda: worst_first,
            lambda: five_whatever_k,
            lambda: one_too_many,
            lambda: columns_for_rows,  # the cosine: the length of a row counts in a logit
        ],
    ),
    "00.2": Case(
        lambda: ["_apple", "_banana", "I"],
        [
            lambda: ["_apple", "_banana", "I", "apple", "Apple"],
            lambda: ["_apple", "_banana"],
            lambda: [" apple"],
            lambda: ["_apple", "_banana", "I", "_like", "_and"],
            lambda: ["_apple", "_banana", "I", "i"],
        ],
    ),
    "00.3": Case(
        lambda: subtract,
        [
            lambda: each_its_own,
            lambda: add,
            lambda: the_mean_itself,
            lambda: lambda embeddings, u, share: embeddings,
            lambda: by_size,
            lambda: always_four_fifths,
            lambda: projected_out,
            lambda: the_sum,
        ],
    ),
}
