"""What chance would give: other texts for alignment, a random rotation for the movement of a first component.

Pure functions on arrays. A measure of alignment says something only beside the same measure with the tokens of one text
and the words of *another* (:func:`pair_hits`, :func:`above_chance`). A movement along ``u_1`` says something only
beside what an embedder that knows nothing of its origin would show (:func:`movement`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils import gates
from course_utils.measures.evaluation import Interval, bootstrap
from course_utils.measures.spectrum import components, variation

# --- Alignment: the words of another text ---------------------------------------------------------


def wilson(successes: int, n: int, z: float = 1.959964) -> Interval:
    """A share with Wilson's interval, which has a width also where all or none succeed (Wilson 1927).

    ``(p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)``; 95 % by default.

    Raises:
        ValueError: no trials, or not between 0 and n successes.
    """
    n = gates.whole(n, "n")
    successes = gates.whole(successes, "successes", 0, n)
    p = successes / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + side * half) / (1 + z**2 / n) for side in (-1, 1))
    return Interval(p, float(np.clip(low, 0, p)), float(np.clip(high, p, 1)))  # rounding must not pass the share


def pair_hits(
    ranked: np.ndarray, surface: Sequence[np.ndarray], k: int = 10, classes: np.ndarray | None = None
) -> np.ndarray:
    """Whether the first k aligned tokens of text i hold a surface token of text j; bool ``[n, n]``.

    The diagonal is :func:`course_utils.measures.alignment.hits`, the rest is chance. A text without surface tokens is
    hit by none. Arguments and errors as in :func:`pair_counts`.
    """
    return pair_counts(ranked, surface, k, classes) > 0


def pair_counts(
    ranked: np.ndarray, surface: Sequence[np.ndarray], k: int = 10, classes: np.ndarray | None = None
) -> np.ndarray:
    """How many of the first k aligned tokens of text i are surface tokens of text j; int ``[n, n]``.

    With ``classes`` two aligned variants of one word count twice: places in the list are counted, not words.

    Raises:
        ValueError: ``ranked`` is not ``[n, at least k]`` with one row for each text, or ids that ``classes`` lacks.
    """
    ranked = gates.numbers(ranked, "ranked", "[n, k]")
    if ranked.ndim != 2 or len(ranked) != len(surface) or not len(ranked):
        raise ValueError(f"ranked must be [n, k], one row per text; got {ranked.shape} for {len(surface)} texts")
    k = gates.whole(k, "k", 1, ranked.shape[1], "aligned tokens that are ranked")
    size = None if classes is None else len(classes)
    rows = [gates.token_ids(row, size, f"ranked[{i}]") for i, row in enumerate(ranked[:, :k])]
    own = [gates.token_ids(ids, size, f"surface[{j}]") for j, ids in enumerate(surface)]
    if classes is not None:
        rows, own = [classes[ids] for ids in rows], [np.unique(classes[ids]) for ids in own]
    width = 1 + max(int(ids.max(initial=0)) for ids in (*rows, *own))
    return (_membership(rows, width) @ _membership(own, width).T).toarray().astype(np.int64)


def _membership(sets: Sequence[np.ndarray], width: int):
    """Row i marks the entries of set i; sparse ``[n, width]``."""
    from scipy.sparse import csr_matrix

    starts = np.cumsum([0, *map(len, sets)])
    columns = np.concatenate(sets).astype(np.int64)
    return csr_matrix((np.ones(len(columns), dtype=np.float32), columns, starts), shape=(len(sets), width))


@dataclass(frozen=True)
class Beside:
    """A measure, the same by chance, and what lies between.

    Attributes:
        value: mean over texts, with its interval.
        chance: the same with the words of another text, mean over all pairs of two texts.
        difference: value minus chance, paired text by text, with its interval.
    """

    value: Interval
    chance: float
    difference: Interval


def above_chance(found: np.ndarray, n_resamples: int = 1000, seed: int = 0) -> Beside:
    """The diagonal of ``found [n, n]`` beside the rest: entry ``[i, j]`` judges the tokens of i by the words of j.

    What text i is to be compared with is the mean over all other rows of column i: how often the tokens of other texts
    find *its* words. So a text with many words has a higher chance, and a higher value. Of yes and no the value has
    Wilson's interval; the difference, and the value of shares, a bootstrap over texts.

    Raises:
        ValueError: not square, fewer than two texts, or NaN.
    """
    values = gates.numbers(found, "found", "[n, n]").astype(np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise ValueError(f"found must be [n, n] with two texts or more; got shape {values.shape}")
    n, own = len(values), np.diagonal(values).copy()
    others = (values.sum(axis=0) - own) / (n - 1)
    yes_or_no = np.isin(values, (0, 1)).all()
    value = wilson(int(own.sum()), n) if yes_or_no else bootstrap(own, n_resamples=n_resamples, seed=seed)
    difference = bootstrap(own - others, n_resamples=n_resamples, seed=seed)
    return Beside(value, float(others.mean()), difference)


# --- The first component: a random rotation -------------------------------------------------------


@dataclass(frozen=True)
class Excess:
    """A share, and the shares that a random rotation gives.

    Attributes:
        value: the real share with its bootstrap interval over texts.
        low, middle, high: 2.5 %, 50 % and 97.5 % of the shares under random rotations.
    """

    value: Interval
    low: float
    middle: float
    high: float

    @property
    def excess(self) -> float:
        """The real share minus the null's median."""
        return self.value.value - self.middle

    @property
    def found(self) -> bool:
        """Whether the whole interval of the real share lies above 95 % of the null: a strict rule, on purpose."""
        return bool(self.value.low > self.high)


@dataclass(frozen=True)
class Movement:
    """What training did along one direction, beside its null.

    Attributes:
        v: the mean movement along the direction, ``v_1``, with its bootstrap interval.
        mean: its share in the squared length of the mean movement, ``v_1² / |v|²``.
        texts: the share of the direction in what is left when every text's movement is compared with the mean one,
            ``Σ_i ((δ_i − δ̄)ᵀu)² / Σ_i |δ_i − δ̄|²``. Above its null it is no evidence of training either: see
            :func:`movement`.
    """

    v: Interval
    mean: Excess
    texts: Excess


def movement(
    before: np.ndarray, after: np.ndarray, direction: np.ndarray, n_draws: int = 200, seed: int = 0
) -> Movement:
    """How much of the way from ``before [n, d]`` to ``after [n, d]`` lies along ``direction [d]``, beside a null.

    The paper's ``v`` is ``mean(ĥ) − mean(h)``: a difference of two means. Untrained embeddings have a large mean
    along ``u_1``, so *anything* that loses it shows a large ``v_1``. The null is the most thorough loss: every ĥ is
    turned by one random rotation about the origin, which keeps all lengths and all angles between texts, and forgets
    every direction of the origin. A share inside the null's range is no evidence of training along ``u_1``.

    The second share leaves the mean movement out and asks text by text, against the same rotations. It exceeds this
    null also for untrained models that differ from their origin in pooling alone (lesson 10): a rotation forgets what
    both have in common, trained or not. So neither share by itself is evidence of training.

    Raises:
        ValueError: different shapes, fewer than three texts, a direction without length, NaN, or texts that did not
            move at all.
    """
    before = gates.matrix(before, "before", dtype=np.float64, whole=True)
    after = gates.matrix(after, "after", dtype=np.float64, whole=True)
    if len(before) < 3:
        raise ValueError(f"a movement needs three texts or more; got {len(before)}")
    u = gates.vector(direction, "direction")
    if not np.linalg.norm(u) > 0:
        raise ValueError("the direction is all zeros")
    u = u / np.linalg.norm(u)
    n_draws = gates.whole(n_draws, "n_draws", 20)
    along = variation(before, after, u[None, :])[:, 0]
    change = after - before
    if not np.abs(change).max() > 0:
        raise ValueError("the embeddings did not move: no direction has a share in it")
    null = _turned_shares(before, after, u, n_draws, seed)
    real = _resampled_shares(change, u, 500, seed)
    ranges = np.quantile(null, [0.025, 0.5, 0.975], axis=0).tolist()
    shares = (Excess(*pair) for pair in zip(real, *ranges, strict=True))
    return Movement(bootstrap(along, seed=seed), *shares)


def _resampled_shares(change: np.ndarray, u: np.ndarray, n_resamples: int, seed: int) -> list[Interval]:
    """Both shares with percentile bootstrap intervals, from sums: a resample only says how often a text counts."""
    n, rng = len(change), np.random.default_rng(seed)
    drawn = (rng.integers(n, size=n) for _ in range(n_resamples))
    counts = np.stack([np.bincount(rows, minlength=n) for rows in drawn] + [np.ones(n, dtype=int)])
    along, sizes = change @ u, (change**2).sum(axis=1)
    mean = counts @ change / n
    total, part = (mean**2).sum(axis=1), mean @ u
    apart, apart_along = counts @ sizes - n * total, counts @ along**2 - n * part**2
    shares = _ratios(part**2, total, apart_along, apart, counts @ sizes)
    ends = np.quantile(shares[:-1], [0.025, 0.975], axis=0)
    return [Interval(float(shares[-1, i]), float(ends[0, i]), float(ends[1, i])) for i in (0, 1)]


def _ratios(part, total, apart_along, apart, scale) -> np.ndarray:
    """The share in the mean movement and the share text by text, ``[m, 2]``; 0 where there is nothing to share."""
    noise = 1e-13 * scale  # equal movements leave rounding errors
    pairs = ((part, total), (np.maximum(apart_along, 0), apart))
    return np.stack([np.where(whole > noise, of / np.maximum(whole, noise), 0.0) for of, whole in pairs], axis=1)


def _turned_shares(before: np.ndarray, after: np.ndarray, u: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Both shares under random rotations R of ``after``, ``[n_draws, 2]``.

    A rotation changes neither lengths nor the spread of ``after``: only its mean, its part along u and the trace of
    ``R Σ_i â_i b_iᵀ`` (both sides centred) have to be computed for each R, so no text is turned.
    """
    basis = components(after).directions  # [r, d], orthonormal: a rotation acts through the space of the rows
    inside = after @ basis.T
    middles = before.mean(axis=0), inside.mean(axis=0)
    a, b = before - middles[0], inside - middles[1]
    crossed, spread, along = b.T @ a, (a**2).sum() + (b**2).sum(), a @ u
    found = []
    for turn in _rotations(basis, n_draws, seed):  # [d, r]
        mean = turn @ middles[1] - middles[0]
        rest = b @ (turn.T @ u) - along
        apart = spread - 2 * np.einsum("dr,rd->", turn, crossed)
        found.append((mean @ u, mean @ mean, rest @ rest, apart))
    part, total, apart_along, apart = np.array(found).T
    return _ratios(part**2, total, apart_along, apart, spread + len(a) * total)


def _rotations(basis: np.ndarray, n_draws: int, seed: int):
    """Random rotations of the d dimensions, as far as the rows of ``basis [r, d]`` feel them: ``[d, r]`` each."""
    rng = np.random.default_rng(seed)
    for _ in range(n_draws):
        q, r = np.linalg.qr(rng.normal(size=basis.T.shape))
        yield q * np.sign(np.diagonal(r))  # with these signs every rotation is equally likely
