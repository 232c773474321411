"""Answers to the exercises of lesson 06."""

import numpy as np
from exercise_cases import Case


def _share(ranked, lexicon):
    return np.isin(ranked, list(lexicon)).mean(axis=1)


def _gain(table, aspect):
    return table[aspect] - max(v for name, v in table.items() if name != aspect)


def _common(before, after):
    moved = after - before
    return (moved.mean(axis=0) ** 2).sum() / (moved**2).sum(axis=1).mean()


def _one_after_the_other(*numbers):
    left = iter(numbers)
    return lambda *_: next(left, numbers[-1])


def _hidden(nuisance=3.0, label=0.3, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(scale=0.05, size=(40, 3))
    rows[:, 0] += 5
    rows[:, 1] += nuisance * np.tile([-1, 1], 20)
    rows[:, 2] += label * np.repeat([-1, 1], 20)
    return rows


CASES = {
    "06.1": Case(
        solution=lambda: _share,
        wrong=[
            lambda: lambda ranked, lexicon: _share(ranked, lexicon).mean(),
            lambda: lambda ranked, lexicon: _share(ranked, lexicon) * ranked.shape[1],
            lambda: lambda ranked, lexicon: [len(lexicon & set(row.tolist())) / len(lexicon) for row in ranked],
            lambda: lambda ranked, lexicon: [len(lexicon & set(row.tolist())) / len(row) for row in ranked],
            lambda: lambda ranked, lexicon: 1 - _share(ranked, lexicon),
            lambda: lambda ranked, lexicon: np.isin(ranked, lexicon).mean(axis=1),  # a set: nothing is found
            lambda: 0.5,
            lambda: lambda ranked, lexicon: [0.75, 0.25, 0.5],  # the numbers that the verdict names
        ],
    ),
    "06.2": Case(
        solution=lambda: _common,
        wrong=[
            lambda: lambda before, after: np.sqrt(_common(before, after)),
            lambda: lambda before, after: 1 - _common(before, after),
            lambda: lambda before, after: 1.0,
            lambda: lambda before, after: 0.7,
            lambda: _one_after_the_other(1, 0, 0.7),
            lambda: lambda before, after: np.clip((after - before).mean(axis=0) @ np.ones(5) / 4, 0, 1),
            lambda: lambda before, after: _common(0 * before, after),
            lambda: (
                lambda before, after: (
                    np.linalg.norm(after - before, axis=1).mean() ** 2 / ((after - before) ** 2).sum(axis=1).mean()
                )
            ),
        ],
    ),
    "06.3": Case(
        solution=lambda: _gain,
        wrong=[
            lambda: lambda table, aspect: table[aspect] - table["none"],
            lambda: lambda table, aspect: table[aspect] - table["purple"],
            lambda: lambda table, aspect: table[aspect] - max(table.values()),
            lambda: lambda table, aspect: table[aspect] - np.mean([v for n, v in table.items() if n != aspect]),
            lambda: lambda table, aspect: _gain(table, "topic"),
            lambda: lambda table, aspect: max(0, _gain(table, aspect)),
            lambda: lambda table, aspect: 0.07,
            lambda: _one_after_the_other(0.07, -0.03, -0.02, 0.01),  # the numbers that the verdict names
            lambda: lambda table, aspect: round(_gain(table, aspect), 1),
            lambda: lambda table, aspect: table[aspect] - sorted(table.values())[-2],
        ],
    ),
    "06.4": Case(
        solution=_hidden,
        wrong=[
            lambda: _hidden(nuisance=0.0),  # prominent
            lambda: _hidden(label=0.0),  # not there
            lambda: _hidden()[:20],
            lambda: np.random.default_rng(1).normal(size=(40, 3)),
            lambda: np.zeros((40, 3)),
            # wide apart in length only, which k-means on rows of length 1 does not see
            lambda: np.column_stack([np.tile([10.0, 20.0], 20), np.repeat([-1.0, 1.0], 20)]),
        ],
    ),
}
