"""Answers to the exercises of lesson 09."""

import numpy as np
from exercise_cases import Case

from course_utils.teaching.exercises.lesson09 import CURVES


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _cosines(a, c):
    return _unit(a) @ _unit(c).T


def _losses(a, p, u, tau, shifts, score=_cosines):
    values = []
    for s in shifts:
        logits = score(a + s * u, p + s * u) / tau
        logits = logits - logits.max(axis=1, keepdims=True)
        values.append(float((np.log(np.exp(logits).sum(axis=1)) - logits.diagonal()).mean()))
    return np.array(values)


def _best(a, p, u, tau, shifts):
    return shifts[_losses(a, p, u, tau, shifts).argmin()]


def _anchors_alone(a, p, u, tau, shifts):
    values = [_losses(a + s * u, p, u, tau, [0.0])[0] for s in shifts]
    return shifts[int(np.argmin(values))]


def _centred(a, c):
    mean = np.concatenate([a, c]).mean(axis=0)
    return _cosines(a - mean, c - mean)


def _late_mean(a, c):
    a, c = _unit(a), _unit(c)
    mean = np.concatenate([a, c]).mean(axis=0)
    return _cosines(a - mean, c - mean)


def _without_length(a, c):
    mean = np.concatenate([a, c]).mean(axis=0)
    return (a - mean) @ (c - mean).T


def _change(length, before, after):
    return np.sqrt(length**2 - after**2) - np.sqrt(length**2 - before**2)


def _exchanged(x, y):
    swapped = dict(CURVES)
    swapped[x], swapped[y] = CURVES[y], CURVES[x]
    return swapped


def _softmax(rows, tau):
    odds = np.exp((rows - rows.max(axis=1, keepdims=True)) / tau)
    return odds / odds.sum(axis=1, keepdims=True)


def _lead(cosines, tau):
    return (cosines.diagonal() - (_softmax(cosines, tau) * cosines).sum(axis=1)).mean()


CASES = {
    "09.1": Case(
        solution=lambda: _lead,
        wrong=[
            lambda: lambda c, tau: -_lead(c, tau),
            lambda: lambda c, tau: len(c) * _lead(c, tau),
            lambda: lambda c, tau: _lead(c, 1.0),
            lambda: lambda c, tau: _lead(c, 1 / tau),
            lambda: lambda c, tau: (c.diagonal() - c.max(axis=1)).mean(),
            lambda: lambda c, tau: (c.diagonal() - c.mean(axis=1)).mean(),
            lambda: lambda c, tau: (c.diagonal() - (_softmax(c - 99 * np.eye(len(c)), tau) * c).sum(axis=1)).mean(),
            lambda: lambda c, tau: (c.diagonal() - (_softmax(c.T, tau) * c.T).sum(axis=1)).mean(),
            lambda: lambda c, tau: (c.diagonal() - (_softmax(c, tau) * c).sum(axis=1)).mean() / tau,
        ],
    ),
    "09.5": Case(
        solution=lambda: _best,
        wrong=[
            lambda: lambda a, p, u, tau, shifts: _anchors_alone(a, p, u, tau, shifts),
            lambda: lambda a, p, u, tau, shifts: shifts[_losses(a, p, u, tau, shifts, lambda x, y: x @ y.T).argmin()],
            lambda: lambda a, p, u, tau, shifts: _best(a, p, u, 1.0, shifts),
            lambda: lambda a, p, u, tau, shifts: _best(a, p, u, 1 / tau, shifts),
            lambda: lambda a, p, u, tau, shifts: _losses(a, p, u, tau, shifts).min(),
            lambda: lambda a, p, u, tau, shifts: shifts[_losses(a, p, u, tau, shifts).argmax()],
            lambda: lambda a, p, u, tau, shifts: -float((a @ u).mean()),
            lambda: lambda a, p, u, tau, shifts: _best(a, p, np.eye(6)[0], tau, shifts),
        ],
    ),
    "09.2": Case(
        solution=lambda: _centred,
        wrong=[
            lambda: _cosines,
            lambda: lambda a, c: _cosines(a - a.mean(axis=0), c - c.mean(axis=0)),
            lambda: _without_length,
            lambda: _late_mean,
            lambda: lambda a, c: _cosines(a - a.mean(axis=0), c - a.mean(axis=0)),
            lambda: lambda a, c: _cosines(a - a.mean(), c - c.mean()),
            lambda: lambda a, c: _cosines(*(x - (a.mean(axis=0) + c.mean(axis=0)) / 2 for x in (a, c))),
            lambda: lambda a, c: _centred(a, c).T,
        ],
    ),
    "09.3": Case(
        solution=lambda: dict(CURVES),
        wrong=[
            lambda: _exchanged("A", "B"),
            lambda: _exchanged("B", "C"),
            lambda: _exchanged("A", "D"),
            lambda: dict.fromkeys(CURVES, "centred cosine"),
            lambda: CURVES | {"A": "dropout"},
        ],
    ),
    "09.4": Case(
        solution=lambda: _change,
        wrong=[
            lambda: lambda length, before, after: -_change(length, before, after),
            lambda: lambda length, before, after: before - after,
            lambda: lambda length, before, after: np.sqrt(length**2 - after**2),
            lambda: lambda length, before, after: (before**2 - after**2) / length,
            lambda: lambda length, before, after: length - after,
        ],
    ),
}
