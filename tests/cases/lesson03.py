"""Answers to the exercises of lesson 03."""

import numpy as np
from exercise_cases import Case


def _v(before, after, directions):
    return ((after - before) @ directions.T).mean(axis=0)


def _first(embeddings, centre=False, turn=True):
    h = embeddings - embeddings.mean(axis=0) if centre else embeddings
    u = np.linalg.svd(h, full_matrices=False)[2][0]
    return u if not turn or (embeddings @ u).mean() > 0 else -u


def _always_the_wrong_sign(embeddings):
    return -_first(embeddings)


def _mean_direction(embeddings):
    mean = embeddings.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _crossing(h, u, row_a, row_b):
    gap = row_a - row_b
    return -(gap @ h) / (gap @ u)


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _share(before, after, basis=None):
    _, _, directions = np.linalg.svd(before if basis is None else basis, full_matrices=False)
    v = (after - before).mean(axis=0) @ directions.T
    return v[0] ** 2 / (v**2).sum()


def _rotation(d, rng):
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diagonal(r))


def _in_one_plane(d, rng):
    turn, angle = np.eye(d), rng.uniform(0, 2 * np.pi)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn


CASES = {
    "03.1": Case(
        solution=lambda: _v,
        wrong=[
            lambda: lambda before, after, directions: _v(after, before, directions),
            lambda: lambda before, after, directions: (after - before) @ directions.T,
            lambda: lambda before, after, directions: np.abs((after - before) @ directions.T).mean(axis=0),
            lambda: lambda before, after, directions: ((after - before) @ directions.T).sum(axis=0),
            lambda: -6.0,
        ],
    ),
    "03.2": Case(
        solution=lambda: _rotation,
        wrong=[
            lambda: lambda d, rng: rng.normal(size=(d, d)),
            lambda: lambda d, rng: _unit(rng.normal(size=(d, d))),
            lambda: lambda d, rng: np.eye(d)[rng.permutation(d)],
            lambda: lambda d, rng: np.linalg.qr(rng.normal(size=(d, d)))[0],
            lambda: lambda d, rng: _rotation(d, np.random.default_rng(0)),
            lambda: _in_one_plane,
            lambda: lambda d, rng: _rotation(d, rng)[0],
        ],
    ),
    "03.3": Case(
        solution=lambda: {"A": "sufficient", "B": "necessary", "C": "both", "D": "neither"},
        wrong=[
            lambda: {"A": "sufficient", "B": "necessary", "C": "both", "D": "both"},  # no look at the control
            lambda: {"A": "both", "B": "both", "C": "both", "D": "neither"},  # any change counts
            lambda: {"A": "necessary", "B": "sufficient", "C": "both", "D": "neither"},  # the words exchanged
            lambda: {"A": "sufficient", "B": "neither", "C": "sufficient", "D": "neither"},  # necessity not looked at
            lambda: {"A": "yes", "B": "no", "C": "both", "D": "neither"},
        ],
    ),
    "03.4": Case(
        solution=lambda: _crossing,
        wrong=[
            lambda: lambda h, u, a, b: -_crossing(h, u, a, b),
            lambda: lambda h, u, a, b: (a - b) @ h,
            lambda: lambda h, u, a, b: (a @ u) / (b @ u),
            lambda: lambda h, u, a, b: float("nan"),
        ],
    ),
    "03.5": Case(
        solution=lambda: _first,
        wrong=[
            lambda: _always_the_wrong_sign,
            lambda: lambda h: _first(h, centre=True),
            lambda: lambda h: np.abs(_first(h)),
            lambda: _mean_direction,
            lambda: lambda h: np.linalg.svd(h, full_matrices=False)[0][:, 0],
            lambda: lambda h: h.mean(axis=0),
        ],
    ),
    "03.6": Case(
        solution=lambda: lambda before, after: _share(_unit(before), _unit(after)),
        wrong=[
            lambda: _share,
            lambda: lambda before, after: _share(_unit(before), _unit(after), before),
            lambda: lambda before, after: np.sqrt(_share(_unit(before), _unit(after))),
            lambda: lambda before, after: 1.0,
        ],
    ),
}
