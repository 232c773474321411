"""Queries that belong together: intervals and tests that draw whole groups, and a correction for many tests.

Queries about one article share documents, words and luck. Who draws queries one by one takes them for independent
and gets intervals that are too narrow; here a group, such as an article, is drawn or swapped as a whole.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from course_utils import gates
from course_utils.measures import evaluation
from course_utils.measures.evaluation import Interval

#: Sign patterns that :func:`paired_permutation` tries one by one instead of drawing: those of up to 13 groups.
_ALL_OF = 2**13


def bootstrap(
    *arrays: Sequence[float],
    groups: Sequence[Hashable],
    statistic: Callable[..., float] = np.mean,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of queries, drawn group by group (Davison and Hinkley 1997, section 3.8).

    Args:
        arrays: ``[n]`` each, the same queries in the same order.
        groups: ``[n]``, what belongs together has the same value.
        statistic: called with the resampled arrays, for instance a mean, or a ratio of two means.

    Raises:
        ValueError: arrays and groups of different lengths, nothing to draw, or a result that is not finite.
    """
    members = _members(groups, *arrays)
    arrays = tuple(np.asarray(a) for a in arrays)

    def drawn(numbers: np.ndarray) -> float:
        rows = np.concatenate([members[i] for i in numbers])
        return statistic(*(a[rows] for a in arrays))

    return evaluation.bootstrap_indices(len(members), drawn, n_resamples, confidence, seed)


def paired_permutation(
    a: Sequence[float], b: Sequence[float], groups: Sequence[Hashable], n_resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p-value for equal means of ``a [n]`` and ``b [n]``, where a whole group swaps or stays.

    p is the share of swaps with a mean difference at least as large as the observed one. With up to 13 groups all
    swaps are tried; otherwise the observed one counts among the drawn ones, so p is at least
    ``1 / (n_resamples + 1)`` (Phipson and Smyth 2010).

    Raises:
        ValueError: different lengths, fewer than two groups, NaN or infinity.
    """
    a, b = gates.vector(a, "a"), gates.vector(b, "b")
    members = _members(groups, a, b)
    if len(members) < 2:
        raise ValueError("a permutation needs at least two groups to swap; got one")
    sums = np.array([(a[rows] - b[rows]).sum() for rows in members])
    n_resamples = gates.whole(n_resamples, "n_resamples")
    if 2 ** len(sums) <= _ALL_OF:
        patterns = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        signs, more = 2.0 * patterns - 1, 0
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_resamples, len(sums)))
        more = 1
    # Sums that are equal on paper differ by rounding; without the tolerance p would hang on it.
    reached = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    return float((reached.sum() + more) / (len(signs) + more))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Corrected p-values, float64 ``[n]``: below α for none of the true hypotheses, with probability 1 − α.

    The smallest is multiplied by n, the next by n − 1 and so on; none may be smaller than the one before it, and none
    exceeds 1 (Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure").

    Raises:
        ValueError: a value that is no probability.
    """
    p = gates.vector(p_values, "p_values")
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"a p-value lies between 0 and 1; got {p[(p < 0) | (p > 1)][0]}")
    order = np.argsort(p, kind="stable")
    grown = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(grown, 1)
    return corrected


def _members(groups: Sequence[Hashable], *arrays: Sequence[float]) -> list[np.ndarray]:
    """Per group the numbers of its rows, groups in the order of their first row."""
    lengths = [len(a) for a in arrays]
    if not arrays or set(lengths) != {len(groups)}:
        raise ValueError(f"values and groups must have the same length; got {lengths} and {len(groups)} groups")
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    return [np.array(rows) for rows in members.values()]
