"""Answers to the exercises of lesson 08."""

import numpy as np
from exercise_cases import Case

from course_utils.texts import scripts


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _first(rows, centre=False):
    rows = rows - rows.mean(axis=0) if centre else rows
    u = np.linalg.svd(rows, full_matrices=False)[2][0]
    return u if (rows @ u).mean() > 0 else -u


def _crossed(h, first_half):
    a, b = _first(h[first_half]), _first(h[~first_half])
    return np.where(first_half[:, None], b, a)


def _named_in(order=("own", "English", "third"), same=scripts.matches):
    def answer(tokens, keys, own):
        def group(language):
            return "own" if language == own else "English" if language == "en" else "third"

        found = [{group(a) for a in keys if any(same(t, word) for word in keys[a])} for t in tokens]
        return [next((name for name in order if name in groups), "none") for groups in found]

    return answer


CASES = {
    "08.4": Case(
        solution=lambda: lambda raw: sum(byte & 0b1100_0000 != 0b1000_0000 for byte in raw),
        wrong=[
            lambda: lambda raw: len(raw),
            lambda: lambda raw: len(raw.decode(errors="replace")),
            lambda: lambda raw: sum(byte >= 0xC0 for byte in raw),
            lambda: lambda raw: len(raw.decode()),
            lambda: lambda raw: len(raw.decode(errors="ignore")),
            lambda: lambda raw: sum(byte < 0x80 for byte in raw),
            lambda: lambda raw: sum(byte & 0b1000_0000 == 0 or byte & 0b1110_0000 == 0b1100_0000 for byte in raw),
        ],
    ),
    "08.1": Case(
        solution=lambda: (
            lambda found: (
                np.diag(found).mean(),
                (found.sum() - np.trace(found)) / (len(found) * (len(found) - 1)),
            )
        ),
        wrong=[
            lambda: lambda found: (np.diag(found).mean(), found.mean()),
            lambda: lambda found: (np.diag(found).mean(), 1 / len(found)),
            lambda: lambda found: (found.any(axis=1).mean(), found.mean()),
            lambda: lambda found: np.diag(found).mean(),
            lambda: lambda found: (found.mean(axis=1).mean(), np.diag(found).mean()),
            lambda: lambda found: (np.diag(found).mean(), np.triu(found).mean()),
        ],
    ),
    "08.3": Case(
        solution=lambda: lambda q, c: (_unit(q) @ _unit(c).T).argmax(axis=1) == np.arange(len(q)),
        wrong=[
            lambda: lambda q, c: (q @ c.T).argmax(axis=1) == np.arange(len(q)),
            lambda: lambda q, c: (_unit(q) @ _unit(c).T).argmax(axis=0) == np.arange(len(q)),
            lambda: lambda q, c: ((_unit(q) @ _unit(c).T).argmax(axis=1) == np.arange(len(q))).mean(),
            lambda: lambda q, c: (_unit(q) @ _unit(c).T).argmax(axis=1),
            lambda: lambda q, c: (_unit(q) @ _unit(c).T).argmin(axis=1) == np.arange(len(q)),
            lambda: lambda q, c: (_unit(q) * _unit(c)).sum(axis=1) > 0.9,
            lambda: lambda q, c: (q @ _unit(c).T).argmax(axis=0) == np.arange(len(q)),
            lambda: lambda q, c: np.ones(len(q), dtype=bool),
        ],
    ),
    "08.2": Case(
        solution=lambda: _crossed,
        wrong=[
            lambda: lambda h, half: np.where(half[:, None], _first(h[half]), _first(h[~half])),
            lambda: lambda h, half: np.tile(_first(h), (len(h), 1)),
            lambda: lambda h, half: -_crossed(h, half),
            lambda: lambda h, half: np.where(half[:, None], _first(h[~half], True), _first(h[half], True)),
            lambda: lambda h, half: h - h @ np.outer(_first(h), _first(h)),
        ],
    ),
    "08.5": Case(
        solution=lambda: _named_in(),
        wrong=[
            lambda: _named_in(order=("English", "own", "third")),
            lambda: _named_in(order=("third", "own", "English")),
            lambda: _named_in(same=lambda token, word: token.strip() == word),
            lambda: _named_in(same=lambda token, word: scripts.fold(token) == scripts.fold(word)),
            lambda: _named_in(same=lambda token, word: scripts.fold(word) in scripts.fold(token)),
            lambda: (
                lambda tokens, keys, own: [
                    a for a in keys for t in tokens if any(scripts.matches(t, w) for w in keys[a])
                ]
            ),
            lambda: lambda tokens, keys, own: ["none"] * len(tokens),
        ],
    ),
}
