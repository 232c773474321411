"""Answers to the exercises of lesson 10."""

from itertools import permutations

import numpy as np
from exercise_cases import Case
from scipy import stats


def _wilson(k, n, z=1.96):
    p = k / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def _plain(k, n):
    p = k / n
    half = 1.96 * np.sqrt(p * (1 - p) / n)
    return p - half, p + half


def _others(near, own):
    keep = np.ones(near.shape, dtype=bool)
    keep[np.arange(len(own)), own] = False
    return near[keep]


def _share(v, u):
    u = u / np.linalg.norm(u)
    return (v @ u) ** 2 / (v @ v)


def _p(x, y, sided=abs, least=lambda a, b: a >= b - 1e-9):
    x, y = stats.rankdata(x), stats.rankdata(y)
    found = sided(np.corrcoef(x, y)[0, 1])
    return np.mean([least(sided(np.corrcoef(x, order)[0, 1]), found) for order in permutations(y)])


CASES = {
    "10.1": Case(
        solution=lambda: _wilson,
        wrong=[
            lambda: _plain,
            lambda: lambda k, n: np.clip(_plain(k, n), 0, 1),
            lambda: lambda k, n: _wilson(k, n)[::-1],
            lambda: lambda k, n: _wilson(k, n, z=1.0),
            lambda: lambda k, n: _wilson(k, n)[0],
            lambda: lambda k, n: _wilson(k, n, z=1.645),
            lambda: lambda k, n: _plain(k + 2, n + 4),  # Agresti and Coull, another interval
        ],
    ),
    "10.2": Case(
        solution=lambda: lambda near, own, share: np.quantile(_others(near, own), 1 - share),
        wrong=[
            lambda: lambda near, own, share: np.quantile(near, 1 - share),
            lambda: lambda near, own, share: np.quantile(_others(near, own), share),
            lambda: lambda near, own, share: near[np.arange(len(own)), own].min(),
            lambda: lambda near, own, share: 0.5,
            lambda: lambda near, own, share: _others(near, own).mean() + 2 * _others(near, own).std(),
            lambda: lambda near, own, share: np.quantile(near[:, 0], 1 - share),
            lambda: lambda near, own, share: near.max() * (1 - share),
        ],
    ),
    "10.3": Case(
        solution=lambda: lambda b, a, u, r: _share((a @ r.T - b).mean(axis=0), u),
        wrong=[
            lambda: lambda b, a, u, r: _share((a - b).mean(axis=0), u),
            lambda: lambda b, a, u, r: _share(r @ (a - b).mean(axis=0), u),
            lambda: lambda b, a, u, r: _share((a - b @ r.T).mean(axis=0), u),
            lambda: lambda b, a, u, r: np.sqrt(_share((a @ r.T - b).mean(axis=0), u)),
            lambda: lambda b, a, u, r: (((a @ r.T - b) @ u) ** 2).sum() / ((a @ r.T - b) ** 2).sum(),
            lambda: lambda b, a, u, r: ((a @ r.T - b).mean(axis=0) @ u) ** 2 / ((a @ r.T - b).mean(axis=0) ** 2).sum(),
        ],
    ),
    "10.4": Case(
        solution=lambda: _p,
        wrong=[
            lambda: lambda x, y: _p(x, y, sided=lambda c: c),
            lambda: lambda x, y: _p(x, y, least=lambda a, b: a > b + 1e-9),
            lambda: lambda x, y: stats.spearmanr(x, y).statistic,
            lambda: lambda x, y: stats.spearmanr(x, y).pvalue,
            lambda: lambda x, y: 0.05,
            lambda: lambda x, y: 2 * _p(x, y, sided=lambda c: c),
            lambda: lambda x, y: stats.pearsonr(x, y).pvalue,
        ],
    ),
}
