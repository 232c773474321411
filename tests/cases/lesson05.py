"""Answers to the exercises of lesson 05."""

import numpy as np
from exercise_cases import Case
from scipy import stats


def _preference(similar, similar_scores, related, related_scores):
    return stats.spearmanr(similar, similar_scores).statistic - stats.spearmanr(related, related_scores).statistic


def _pearson_preference(similar, similar_scores, related, related_scores):
    return stats.pearsonr(similar, similar_scores).statistic - stats.pearsonr(related, related_scores).statistic


def _argsort_preference(*columns):
    # argsort once gives an order, not ranks
    a, b, c, d = (np.argsort(x) for x in columns)
    return np.corrcoef(a, b)[0, 1] - np.corrcoef(c, d)[0, 1]


def _above(values, reference):
    gap = values[:, None] - reference[None, :]
    return ((gap > 0) + 0.5 * (gap == 0)).mean()


def _unit(x):
    return x / np.linalg.norm(x)


def _parts(a, b, E):
    return (E @ _unit(a)) * (np.linalg.pinv(E).T @ _unit(b))


def _products_scaled_to_the_cosine(a, b, E):
    products = (E @ a) * (E @ b)
    return products / products.sum() * (_unit(a) @ _unit(b))


def _symmetric(a, b, E):
    return (_parts(a, b, E) + _parts(b, a, E)) / 2


def _only(a, b, E, keep):
    parts = np.zeros(len(E))
    parts[keep] = _parts(a, b, E[keep])
    return parts


def _kept_scaled_up(a, b, E, keep):
    parts = np.where(keep, _parts(a, b, E), 0)
    return parts / parts.sum() * (_unit(a) @ _unit(b))


def _shared_out_evenly(a, b, E, keep):
    return keep / keep.sum() * (_unit(a) @ _unit(b))


def _all_on_one(a, b, E, keep):
    parts = np.zeros(len(E))
    parts[np.flatnonzero(keep)[0]] = _unit(a) @ _unit(b)
    return parts


def _merges(duplicates, others, keep):
    place = int(np.ceil(keep * len(duplicates))) - 1
    return (others >= np.sort(duplicates)[::-1][place]).mean()


def _merges_rounding_down(duplicates, others, keep):
    place = int(keep * len(duplicates)) - 1
    return (others >= np.sort(duplicates)[::-1][place]).mean()


def _merges_rounding_half_up(duplicates, others, keep):
    place = int(keep * len(duplicates) + 0.5) - 1
    return (others >= np.sort(duplicates)[::-1][place]).mean()


def _written(h, E, ids):
    return np.linalg.lstsq(E[ids].T, h, rcond=None)[0] @ E[ids]


def _projections_added(h, E, ids):
    units = E[ids] / np.linalg.norm(E[ids], axis=1, keepdims=True)
    return units.T @ (units @ h)


CASES = {
    "05.1": Case(
        solution=lambda: _preference,
        wrong=[
            lambda: lambda a, b, c, d: -_preference(a, b, c, d),
            lambda: _pearson_preference,
            lambda: lambda a, b, c, d: stats.spearmanr(a, b).statistic,
            lambda: 0.6,
            lambda: lambda a, b, c, d: 0.6,  # the number that the verdict names
            lambda: lambda a, b, c, d: stats.kendalltau(a, b).statistic - stats.kendalltau(c, d).statistic,
            lambda: _argsort_preference,
            lambda: lambda a, b, c, d: (stats.spearmanr(a, b).statistic, stats.spearmanr(c, d).statistic),
        ],
    ),
    "05.2": Case(
        solution=lambda: _above,
        wrong=[
            lambda: lambda values, reference: (values[:, None] > reference[None, :]).mean(),
            lambda: lambda values, reference: (values[:, None] >= reference[None, :]).mean(),
            lambda: lambda values, reference: _above(reference, values),
            lambda: lambda values, reference: values.mean() - reference.mean(),
            lambda: lambda values, reference: (values > np.median(reference)).mean(),
            lambda: lambda values, reference: (values.max() > reference).mean(),
        ],
    ),
    "05.3": Case(
        solution=lambda: _parts,
        wrong=[
            lambda: lambda a, b, E: (E @ a) * (np.linalg.pinv(E).T @ b),
            lambda: lambda a, b, E: (E @ _unit(a)) * (E @ _unit(b)),
            lambda: _symmetric,
            lambda: lambda a, b, E: _unit(a) * _unit(b),
            lambda: lambda a, b, E: _parts(a, b, E) * 2,
            lambda: lambda a, b, E: _parts(b, a, E),  # the other reading
            lambda: lambda a, b, E: (E @ _unit(a)) * (E @ _unit(b)) * _unit(a) @ _unit(b),
            lambda: _products_scaled_to_the_cosine,
        ],
    ),
    "05.4": Case(
        solution=lambda: _only,
        wrong=[
            lambda: lambda a, b, E, keep: np.where(keep, _parts(a, b, E), 0),
            lambda: lambda a, b, E, keep: _parts(a, b, E),
            lambda: _all_on_one,
            lambda: lambda a, b, E, keep: _parts(a, b, E[keep]),
            lambda: _kept_scaled_up,
            lambda: _shared_out_evenly,
            lambda: lambda a, b, E, keep: _only(a, b, E, ~keep),
            lambda: lambda a, b, E, keep: _only(a, b, E, keep) * np.linalg.norm(a) * np.linalg.norm(b),
        ],
    ),
    "05.5": Case(
        solution=lambda: _merges,
        wrong=[
            lambda: lambda duplicates, others, keep: (others >= np.quantile(duplicates, keep)).mean(),
            lambda: lambda duplicates, others, keep: 1 - _merges(duplicates, others, keep),
            lambda: lambda duplicates, others, keep: (others >= 0.8).mean(),
            lambda: lambda duplicates, others, keep: (others > 0.7).mean(),
            lambda: lambda duplicates, others, keep: (others >= np.quantile(duplicates, 1 - keep)).mean(),
            lambda: _merges_rounding_down,
            lambda: _merges_rounding_half_up,
            lambda: lambda duplicates, others, keep: (others >= duplicates.min()).mean(),
        ],
    ),
    "05.6": Case(
        solution=lambda: _written,
        wrong=[
            lambda: _projections_added,
            lambda: lambda h, E, ids: E[ids].T @ (E[ids] @ h),  # logits as weights
            lambda: lambda h, E, ids: np.linalg.lstsq(E[ids].T, h, rcond=None)[0],  # the weights only
            lambda: lambda h, E, ids: h - _written(h, E, ids),
            lambda: lambda h, E, ids: E[ids].mean(axis=0),
            lambda: lambda h, E, ids: _written(h, E, ids) / np.linalg.norm(_written(h, E, ids)),
            lambda: lambda h, E, ids: h,
            lambda: lambda h, E, ids: np.linalg.pinv(E)[:, ids] @ (E[ids] @ h),  # the inverse of all rows, cut
        ],
    ),
}
