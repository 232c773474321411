"""Answers to the exercises of lesson 04."""

from collections import defaultdict

import numpy as np
from exercise_cases import Case


def _index(documents, first=0):
    index = defaultdict(list)
    for number, document in enumerate(documents, start=first):
        for token, weight in document.items():
            index[token].append((number, weight))
    return dict(index)


def _last_only(documents):
    return {token: [(n, w)] for n, document in enumerate(documents) for token, w in document.items()}


def _heaviest_first(documents):
    return {token: sorted(pairs, key=lambda pair: pair[1]) for token, pairs in _index(documents).items()}


def _swapped(documents):
    return {token: [(w, n) for n, w in pairs] for token, pairs in _index(documents).items()}


def _idf(weights):
    return np.log((len(weights) + 1) / ((weights > 0).sum(axis=0) + 1))


def _plain_idf(weights):
    return np.log(len(weights) / np.maximum((weights > 0).sum(axis=0), 1e-9))


def _vector(logits, k, special, unit=True, positive=True, before=True):
    logits = np.array(logits)
    if before:
        logits[special] = -np.inf
    kept = np.argsort(-logits)[:k]
    if positive:
        kept = kept[logits[kept] > 0]
    weights = np.zeros(len(logits))
    weights[kept] = logits[kept]
    if not before:
        weights[special] = 0
    return weights / np.linalg.norm(weights) if unit else weights


def _ones(logits, k, special):
    held = _vector(logits, k, special) > 0
    return held / np.sqrt(held.sum())


def _fuse(rankings, c=60, first=1, order=-1):
    scores = defaultdict(float)
    for ranking in rankings:
        for rank, document in enumerate(ranking, start=first):
            scores[document] += 1 / (c + rank)
    return sorted(scores, key=lambda document: (order * scores[document], document))


def _best_rank(rankings, c=60):
    ids = {document for ranking in rankings for document in ranking}
    return sorted(ids, key=lambda d: (min(r.index(d) for r in rankings if d in r), d))


def _common_only(rankings, c=60):
    return [d for d in _fuse(rankings, c) if all(d in ranking for ranking in rankings)]


def _cost(query, aligned, df, n_docs, d, per_token):
    encode, own, both = len(query) * per_token, df[query].sum(), df[sorted({*query, *aligned})].sum()
    return encode + n_docs * d, own, encode + len(df) * d + both


def _changed(place, by):
    """The right costs with one of the three replaced."""

    def cost(query, aligned, df, n_docs, d, per_token):
        costs = list(_cost(query, aligned, df, n_docs, d, per_token))
        costs[place] = by(query, aligned, df, n_docs, d, per_token)
        return costs

    return cost


def _twice(q, a, df, n, d, p):
    return len(q) * p + len(df) * d + df[q].sum() + df[a].sum()


def _cosines(queries, documents):
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(documents, axis=1)
    return queries @ documents.T / lengths


def _centred(documents, queries, tune):
    return _cosines(queries - queries[tune].mean(axis=0), documents - documents.mean(axis=0))


def _scaled_too_early(documents, queries, tune):
    d, q = documents - documents.mean(axis=0), queries - queries[tune].mean(axis=0)
    return q @ d.T / (np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(documents, axis=1))


CASES = {
    "04.1": Case(
        solution=lambda: _index,
        wrong=[
            lambda: lambda documents: dict(enumerate(documents)),
            lambda: lambda documents: _index(documents, first=1),
            lambda: _last_only,
            lambda: _heaviest_first,
            lambda: _swapped,
            lambda: lambda documents: {token: [n for n, _ in pairs] for token, pairs in _index(documents).items()},
            lambda: {"_game": [(0, 2.0), (3, 0.5)]},
        ],
    ),
    "04.2": Case(
        solution=lambda: _idf,
        wrong=[
            lambda: lambda weights: np.log((len(weights) + 1) / (weights.sum(axis=0) + 1)),
            lambda: _plain_idf,
            lambda: lambda weights: -_idf(weights),
            lambda: lambda weights: np.log10((len(weights) + 1) / ((weights > 0).sum(axis=0) + 1)),
            lambda: lambda weights: (weights > 0).sum(axis=0),
            lambda: lambda weights: _idf(weights.T),
        ],
    ),
    "04.3": Case(
        solution=lambda: _vector,
        wrong=[
            lambda: lambda logits, k, special: _vector(logits, k, special, unit=False),
            lambda: lambda logits, k, special: _vector(logits, k, special, positive=False),
            lambda: lambda logits, k, special: _vector(logits, k, special, before=False),
            lambda: lambda logits, k, special: _vector(logits, k, []),
            lambda: lambda logits, k, special: np.sort(logits)[::-1][:k],
            lambda: lambda logits, k, special: _vector(logits, len(logits), special),
            lambda: _ones,
        ],
    ),
    "04.4": Case(
        solution=lambda: _fuse,
        wrong=[
            lambda: lambda rankings, c=60: _fuse(rankings, 60),
            lambda: lambda rankings, c=60: _fuse(rankings, c or 1e-9, first=0),
            lambda: lambda rankings, c=60: _fuse(rankings, c, order=1),
            lambda: _best_rank,
            lambda: _common_only,
            lambda: lambda rankings, c=60: rankings[0] + rankings[1],
            lambda: lambda rankings, c=60: {d: 1.0 for ranking in rankings for d in ranking},
            lambda: lambda rankings, c=60: 3,
        ],
    ),
    "04.5": Case(
        solution=lambda: _cost,
        wrong=[
            lambda: _changed(0, lambda q, a, df, n, d, p: n * d),
            lambda: _changed(0, lambda q, a, df, n, d, p: p + n * d),
            lambda: _changed(0, lambda q, a, df, n, d, p: len(q) * p * n * d),
            lambda: _changed(1, lambda q, a, df, n, d, p: len(q) * p + df[q].sum()),
            lambda: _changed(1, lambda q, a, df, n, d, p: len(q) * n),
            lambda: _changed(1, lambda q, a, df, n, d, p: df.sum()),
            lambda: _changed(1, lambda q, a, df, n, d, p: len(q)),
            lambda: _changed(2, _twice),
            lambda: _changed(2, lambda q, a, df, n, d, p: _cost(q, a, df, n, d, p)[2] - len(df) * d),
            lambda: _changed(2, lambda q, a, df, n, d, p: _cost(q, a, df, n, d, 0)[2]),
            lambda: _changed(2, lambda q, a, df, n, d, p: df[[0, 1, 3, 4]].sum()),
            lambda: _changed(2, lambda q, a, df, n, d, p: _cost(q, [], df, n, d, p)[2]),
            lambda: _changed(2, lambda q, a, df, n, d, p: 2 * n * d),
            lambda: lambda query, aligned, df, n_docs, d, per_token: 31000,
        ],
    ),
    "04.6": Case(
        solution=lambda: _centred,
        wrong=[
            lambda: lambda d, q, tune: _cosines(q, d),
            lambda: lambda d, q, tune: _cosines(q - q.mean(axis=0), d - d.mean(axis=0)),
            lambda: lambda d, q, tune: _cosines(q - d.mean(axis=0), d - d.mean(axis=0)),
            lambda: lambda d, q, tune: _cosines(q, d - d.mean(axis=0)),
            lambda: lambda d, q, tune: _cosines(q - q[tune].mean(axis=0), d),
            lambda: lambda d, q, tune: (q - q[tune].mean(axis=0)) @ (d - d.mean(axis=0)).T,
            lambda: lambda d, q, tune: _centred(d, q, tune).T,
            lambda: _scaled_too_early,
            lambda: lambda d, q, tune: _cosines(q[tune] - q[tune].mean(axis=0), d - d.mean(axis=0)),
        ],
    ),
}
