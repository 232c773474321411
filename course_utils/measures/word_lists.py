"""How sure a rank correlation over word pairs is, when the same word stands in many pairs.

Drawing *pairs* again makes intervals that are too narrow: one odd word spoils all of its pairs at once. So the errors
here count words. A correlation is a sum of what each pair contributes (its influence, by leaving it out once), and two
contributions may go together where their pairs share a word. The variance adds up exactly those products
(Fafchamps and Gubert 2007, "The formation of risk sharing networks"; Aronow et al. 2015, arXiv 1312.3398)::

    Var = Σ over pairs p, q that share a word of  f_p f_q
        = Σ_words (Σ_{p with the word} f_p)²  −  the products that two words count twice

Where no word stands in two pairs it is the jackknife's ordinary variance.
"""

from collections.abc import Sequence
from math import erfc, sqrt

import numpy as np
from scipy import sparse, stats

from course_utils import gates
from course_utils.measures.evaluation import Interval, spearman

#: Half the width of a 95 % interval, in standard errors.
Z = 1.959964


def influences(a: Sequence[float], b: Sequence[float]) -> np.ndarray:
    """What each of n pairs contributes to Spearman's correlation of ``a [n]`` and ``b [n]``; float64 ``[n]``.

    ``f_i = (n − 1) / n · (ρ − ρ without pair i)``, centred: the jackknife's values (Efron and Tibshirani 1993,
    chapter 11). Their sum of squares is the variance of ρ where pairs are drawn one by one.

    Raises:
        ValueError: as :func:`~course_utils.measures.evaluation.spearman`, or fewer than three pairs.
    """
    whole, n = spearman(a, b), len(a)
    if n < 3:
        raise ValueError(f"leaving one pair out needs three or more; got {n}")
    without = np.concatenate(
        [_left_out(np.asarray(a), np.asarray(b), rows) for rows in np.array_split(np.arange(n), n // 500 + 1)]
    )
    f = (n - 1) / n * (whole - without) * sqrt(n / (n - 1))
    return f - f.mean()


def _left_out(a: np.ndarray, b: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Spearman's correlation without each of some rows: ranks above it fall by one, those of equals by a half."""
    n, centred = len(a), []
    for side in (a, b):
        fall = (side[None, :] > side[rows, None]) + 0.5 * (side[None, :] == side[rows, None])
        ranks = stats.rankdata(side)[None, :] - fall - n / 2  # n / 2 is the mean of the ranks 1 to n − 1
        ranks[np.arange(len(rows)), rows] = 0
        centred.append(ranks)
    x, y = centred
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def variance(f: Sequence[float], left: Sequence[str], right: Sequence[str]) -> float:
    """Variance of a sum of contributions ``f [n]`` of the word pairs ``left``, ``right``, n words each.

    The same pair may stand in it more than once, as when two lists share it. Never below zero: where the estimate is
    negative, the one with independent pairs takes its place.

    Raises:
        ValueError: other lengths, NaN or infinity.
    """
    f = gates.vector(f, "f")
    if not len(f) == len(left) == len(right):
        raise ValueError(f"{len(f)} contributions for {len(left)} and {len(right)} words: give one for each pair")
    word = {w: i for i, w in enumerate(dict.fromkeys([*left, *right]))}
    sides = np.array([[word[w] for w in side] for side in (left, right)])
    n = np.arange(len(f))
    has = sparse.csr_matrix((np.ones(2 * len(f)), (np.tile(n, 2), sides.ravel())), shape=(len(f), len(word)))
    share = (has @ has.T).sign()  # [n, n]: 1 where two pairs have a word in common
    found = float(f @ (share @ f))
    return found if found > 0 else float(f @ f)


def estimate(
    value: float, f: Sequence[float], left: Sequence[str], right: Sequence[str], more: float = 0.0
) -> tuple[Interval, float]:
    """95 % interval and two-sided p of ``value``, whose pairs contribute ``f``; by the normal distribution.

    Args:
        more: variance that comes from something else than the words, such as seeds.
    """
    error = sqrt(variance(f, left, right) + more)
    p = erfc(abs(value) / error / sqrt(2)) if error else float(value == 0)
    return Interval(float(value), float(value - Z * error), float(value + Z * error)), p
