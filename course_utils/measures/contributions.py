"""Contributions: what a cosine is made of, in directions and in tokens, and measures to compare embedders by.

Pure functions on arrays. ``a`` and ``b`` are embeddings ``[n, d]``, row i of one with row i of the other;
``â = a / |a|``, so that the cosine is ``â · b̂``. All arithmetic is done in float64.

An embedding is not its logits. ``z = E_g h`` has V numbers, ``h`` only d, and ``z_a · z_b = âᵀ(E_gᵀE_g)b̂`` is the
cosine only if ``E_gᵀE_g`` is the identity, which no model's is. To share a cosine out among *tokens* one has to go
back from logits to the embedding. Every left inverse ``L`` of ``E_g`` (``L E_g = I``) does that:

    ``â · b̂ = (L E_g â) · b̂ = Σ_t (E_g â)_t (Lᵀ b̂)_t``

so the sum over tokens is exact. But as V is much larger than d there are many left inverses, and each shares the
same cosine out in another way: the sum is a fact, one token's part depends on the choice. Taken here is the
pseudo-inverse ``(E_gᵀE_g)⁻¹E_gᵀ``, of all left inverses the one with the smallest sum of squared
entries (Penrose 1956, "On best approximate solutions of linear matrix equations"), or its relative with a weight
for every token. In the language of
frames (Duffin and Schaeffer 1952, "A class of nonharmonic Fourier series") the rows of ``E_g`` are a frame, the rows
of ``E_g (E_gᵀE_g)⁻¹`` its dual, and the rows of ``E_g (E_gᵀE_g)^(-1/2)`` the tight frame that lies nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from course_utils import gates
from course_utils.measures.evaluation import unit_rows
from course_utils.measures.spectrum import unembedding_components

#: Rows of the unembedding matrix that are turned into float64 at a time.
_CHUNK_ROWS = 16_384
#: Smallest singular value, relative to the largest, with which the way back is still good to six digits.
_SMALLEST = 1e-5


# --- What a cosine is made of ---------------------------------------------------------------------


def coordinate_contributions(a: np.ndarray, b: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Part of every direction in the cosine, float64 ``[n, r]``: ``(â · u_j)(b̂ · u_j)``.

    With an orthonormal basis of all d dimensions, such as the right singular vectors of ``E_g``, the parts of a row
    add up to the cosine exactly, whichever basis it is.

    Args:
        directions: orthonormal rows ``[r, d]``.

    Raises:
        ValueError: shapes that do not fit, a row of zeros, NaN or infinity, or directions that are not orthonormal.
    """
    a, b = _unit_pairs(a, b)
    directions = gates.matrix(directions, "directions", "[r, d]", np.float64, whole=True)
    if directions.shape[1] != a.shape[1]:
        raise ValueError(f"directions must be [r, {a.shape[1]}], as the embeddings; got {directions.shape}")
    error = np.abs(directions @ directions.T - np.eye(len(directions))).max()
    if not error < 1e-6:
        raise ValueError(f"directions are not orthonormal: their products differ from 0 and 1 by up to {error:.2g}")
    return (a @ directions.T) * (b @ directions.T)


@dataclass(frozen=True, eq=False)
class TokenFrame:
    """The rows of ``E_g`` as a frame of the embedding space; made by :func:`token_frame`.

    Attributes:
        unembedding: ``E_g``, float ``[V, d]``.
        directions, singular_values: right singular vectors ``[d, d]`` and singular values ``[d]`` of ``√W E_g``.
        weights: how much each token counts on the way back, ``W = diag(weights)``, ``[V]``, or None for all alike.
    """

    unembedding: np.ndarray
    directions: np.ndarray
    singular_values: np.ndarray
    weights: np.ndarray | None = None

    def __repr__(self) -> str:
        tokens, d = self.unembedding.shape
        return f"TokenFrame({tokens} tokens, d={d}{'' if self.weights is None else ', weighted'})"

    def contributions(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Part of every token in the cosine, float64 ``[n, V]``; each row adds up to ``â · b̂``.

        ``c_t = ½ [ (E_g â)_t (Lᵀ b̂)_t + (E_g b̂)_t (Lᵀ â)_t ]`` with ``L = (E_gᵀWE_g)⁻¹E_gᵀW``: the logit of one side
        times the weight by which the token enters the other side; the mean of both readings, because a cosine does
        not know left from right.

        Errors as :func:`coordinate_contributions`.
        """
        a, b = self._pairs(a, b)
        n = len(a)
        logits = self._rows_times(np.vstack([a, b]))
        dual = self._rows_times(np.vstack([a, b]) @ self._gram_power(-1))
        parts = 0.5 * (logits[:n] * dual[n:] + logits[n:] * dual[:n])
        return parts if self.weights is None else parts * self.weights

    def tight_contributions(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Part of every token in the cosine by the tight frame, float64 ``[n, V]``; each row adds up to ``â · b̂``.

        ``c_t = (w_t · â)(w_t · b̂)`` with ``w_t`` the rows of ``√W E_g (E_gᵀWE_g)^(-1/2)``, for which
        ``Σ_t w_t w_tᵀ = I``. A token helps when both sides lie on the same side of it.
        """
        a, b = self._pairs(a, b)
        return self._tight(a) * self._tight(b)

    def distances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Part of every token in what is missing to a cosine of 1, float64 ``[n, V]``, never below zero.

        ``½ (w_t · (â − b̂))²``; each row adds up to ``½ |â − b̂|² = 1 − â · b̂``. These tokens hold the two apart.
        """
        a, b = self._pairs(a, b)
        return 0.5 * self._tight(a - b) ** 2

    def coefficients(self, a: np.ndarray) -> np.ndarray:
        """``w_t · â`` for every token, float64 ``[n, V]``: how far an embedding lies on a token's side."""
        a, _ = self._pairs(a, a)
        return self._tight(a)

    def _tight(self, rows: np.ndarray) -> np.ndarray:
        found = self._rows_times(rows @ self._gram_power(-0.5))
        return found if self.weights is None else found * np.sqrt(self.weights)

    def _gram_power(self, power: float) -> np.ndarray:
        """``(E_gᵀWE_g)^power``, ``[d, d]``."""
        return (self.directions.T * self.singular_values ** (2 * power)) @ self.directions

    def _rows_times(self, rows: np.ndarray) -> np.ndarray:
        """``rows E_gᵀ`` in float64, ``[n, V]``, without a float64 copy of ``E_g``."""
        result = np.empty((len(rows), len(self.unembedding)))
        for start in range(0, len(self.unembedding), _CHUNK_ROWS):
            chunk = self.unembedding[start : start + _CHUNK_ROWS].astype(np.float64)
            result[:, start : start + len(chunk)] = rows @ chunk.T
        return result

    def _pairs(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = _unit_pairs(a, b)
        if a.shape[1] != self.unembedding.shape[1]:
            raise ValueError(f"embeddings have {a.shape[1]} values, rows of E_g {self.unembedding.shape[1]}")
        return a, b


def token_frame(unembedding: np.ndarray, weights: Sequence[float] | None = None) -> TokenFrame:
    """Prepare ``E_g`` for :meth:`TokenFrame.contributions`; takes a second or two, once per model.

    Args:
        unembedding: ``E_g [V, d]``, V at least d.
        weights: zero or more for every token. Tokens with weight 0 take no part, and the sum is still exact as long
            as the others span the space.

    Raises:
        ValueError: wrong shapes, a negative or non-finite weight, or rows that do not span the space.
    """
    matrix = gates.matrix(unembedding, "unembedding", "[V, d]", dtype=None)
    scaled = matrix
    if weights is not None:
        weights = gates.numbers(weights, "weights", "[V]").astype(np.float64)
        if weights.shape != (len(matrix),):
            raise ValueError(f"one weight for each of the {len(matrix)} tokens expected; got {weights.shape}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            bad = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
            raise ValueError(f"weights must be finite and not negative; token {bad} has {weights[bad]}")
        scaled = matrix * np.sqrt(weights)[:, None]  # in float64: rounded weights would not be the ones used later
    fitted = unembedding_components(scaled)
    smallest = fitted.singular_values[-1] / fitted.singular_values[0]
    if not smallest > _SMALLEST:
        raise ValueError(
            f"the rows do not span the space well enough: smallest singular value {smallest:.1g} of the largest, "
            f"needed is {_SMALLEST:g}; there is no reliable way back from logits to embeddings"
        )
    return TokenFrame(matrix, fitted.directions, fitted.singular_values, weights)


def share_of(parts: np.ndarray, tokens: Sequence[np.ndarray]) -> np.ndarray:
    """Which share of each row's sum the given tokens hold, float64 ``[n]``: ``Σ_{t ∈ T_i} c_it / Σ_t c_it``.

    It may exceed 1, as other parts may be negative.

    Args:
        parts: contributions ``[n, V]``.
        tokens: for every row the ids to count; an id that occurs twice counts once.

    Raises:
        ValueError: another number of rows, or a row that adds up to zero.
    """
    parts = gates.matrix(parts, "parts", "[n, V]", np.float64, whole=True)
    if len(parts) != len(tokens):
        raise ValueError(f"parts must be [n, V] with one list of tokens per row; got {parts.shape}, {len(tokens)}")
    sums = parts.sum(axis=1)
    if not np.all(sums):
        raise ValueError(f"row {int(np.argmin(sums != 0))} adds up to zero: there is nothing to have a share of")
    tokens = [np.unique(gates.token_ids(ids, parts.shape[1], f"tokens[{i}]")) for i, ids in enumerate(tokens)]
    return np.array([row[ids].sum() for row, ids in zip(parts, tokens, strict=True)]) / sums


def span_share(a: np.ndarray, b: np.ndarray, unembedding: np.ndarray, tokens: Sequence[np.ndarray]) -> np.ndarray:
    """Share of each cosine that lies in the space spanned by some rows of ``E_g``, float64 ``[n]``.

    With ``P_i`` the orthogonal projection onto the rows ``e_t, t ∈ T_i``: ``(P_i â · b̂) / (â · b̂)``. The rest,
    ``((I − P_i) â · b̂)``, is what no combination of these tokens can express; the two add up exactly. Here the given
    tokens get whatever they *could* explain, while :func:`share_of` shares it out among all tokens at once.

    Args:
        tokens: for every pair the ids whose rows span the space, at most d of them.

    Raises:
        ValueError: shapes that do not fit, rows that depend on each other, or a cosine of zero.
    """
    a, b = _unit_pairs(a, b)
    matrix = gates.matrix(unembedding, "unembedding", "[V, d]", dtype=None)
    if len(tokens) != len(a) or matrix.shape[1] != a.shape[1]:
        raise ValueError(f"one list of tokens per pair expected, and E_g [V, {a.shape[1]}]; got {len(tokens)} lists")
    shares = np.empty(len(a))
    for i, ids in enumerate(tokens):
        rows = matrix[np.unique(gates.token_ids(ids, len(matrix), f"tokens[{i}]"))].astype(np.float64)
        basis, triangle = np.linalg.qr(rows.T)
        diagonal = np.abs(np.diag(triangle))
        if len(rows) > rows.shape[1] or diagonal.min() < 1e-9 * diagonal.max():
            raise ValueError(f"pair {i}: the rows of its {len(rows)} tokens are not independent")
        whole = a[i] @ b[i]
        if abs(whole) < 1e-12:
            raise ValueError(f"pair {i} has a cosine of zero: there is nothing to have a share of")
        shares[i] = (a[i] @ basis) @ (b[i] @ basis) / whole
    return shares


# --- Aligned tokens of two texts ------------------------------------------------------------------


def token_overlap(ranked: np.ndarray, k: int = 10, classes: np.ndarray | None = None) -> np.ndarray:
    """Overlap of the first k aligned tokens of every pair of texts, float64 ``[n, n]``: ``|A ∩ B| / |A ∪ B|``.

    Args:
        ranked: aligned tokens, best first, int ``[n, at least k]``.
        classes: token classes from :func:`course_utils.measures.alignment.variant_classes`, to count variants as one.

    Raises:
        ValueError: ``ranked`` is not two-dimensional, or k out of range.
    """
    ranked = gates.numbers(ranked, "ranked", "[n, k]")
    if ranked.ndim != 2 or not 1 <= k <= ranked.shape[1]:
        raise ValueError(f"ranked must be [n, at least k]; got {ranked.shape} and k={k}")
    gates.token_ids(ranked, None if classes is None else len(classes), "ranked")
    sets = [set((row if classes is None else np.asarray(classes)[row]).tolist()) for row in ranked[:, :k]]
    return np.array([[len(one & other) / len(one | other) for other in sets] for one in sets])


# --- Measures that do not depend on an embedder's scale -------------------------------------------


def above(values: Sequence[float], reference: Sequence[float]) -> float:
    """Chance that a value drawn from ``values`` is larger than one from ``reference``; ties count half.

    The area under the ROC curve, ``(Σ ranks − n(n+1)/2) / (n m)`` (Mann and Whitney 1947, "On a test of whether one
    of two random variables is stochastically larger than the other"). 0.5 says that the two cannot be told apart.
    It is the same for every increasing change of scale, so it can be compared across embedders.

    Raises:
        ValueError: an empty side, or NaN.
    """
    values, reference = _numbers(values, "values"), _numbers(reference, "reference")
    order = np.sort(reference)
    below = np.searchsorted(order, values, side="left")
    not_above = np.searchsorted(order, values, side="right")
    return float((below + not_above).mean() / (2 * len(order)))


def position(values: Sequence[float], zero: Sequence[float], one: Sequence[float]) -> float:
    """Where the mean of ``values`` lies on a scale on which ``zero`` has the mean 0 and ``one`` the mean 1.

    ``(mean(values) − mean(zero)) / (mean(one) − mean(zero))``. A cosine of 0.9 may be high for one embedder and low
    for another; with 0 for unrelated pairs and 1 for paraphrases two embedders share a ruler.

    Raises:
        ValueError: an empty argument, NaN, or a mean of ``one`` that is not above that of ``zero``.
    """
    values, zero, one = (_numbers(v, n) for v, n in ((values, "values"), (zero, "zero"), (one, "one")))
    low, high = zero.mean(), one.mean()
    if not high > low:
        raise ValueError(f"the scale needs a mean of `one` above that of `zero`; got {high:.3g} and {low:.3g}")
    return float((values.mean() - low) / (high - low))


def let_through(others: Sequence[float], wanted: Sequence[float], keep: float = 0.8) -> float:
    """Share of ``others`` at or above the threshold that keeps the share ``keep`` of ``wanted``.

    The threshold is the largest that still lets ``⌈keep · n⌉`` of the n wanted values pass. With duplicates as
    ``wanted`` it is the rate of false merges at that recall.

    Raises:
        ValueError: an empty side, NaN, or ``keep`` outside (0, 1].
    """
    others, wanted = _numbers(others, "others"), _numbers(wanted, "wanted")
    if not 0 < keep <= 1:
        raise ValueError(f"keep is a share above 0 and at most 1; got {keep}")
    threshold = np.sort(wanted)[::-1][int(np.ceil(keep * len(wanted) - 1e-9)) - 1]
    return float((others >= threshold).mean())


def partial_spearman(a: Sequence[float], b: Sequence[float], given: Sequence[Sequence[float]]) -> float:
    """Spearman's correlation of ``a [n]`` and ``b [n]`` with other variables held constant, each ``[n]``.

    Pearson's correlation of what is left of the ranks of both after a linear fit on the ranks of the others (Conover
    1999, "Practical Nonparametric Statistics", section 5.4).

    Raises:
        ValueError: other lengths, NaN or infinity, or a side that the others determine.
    """
    a, b, *others = (_numbers(x, "a variable") for x in (a, b, *given))
    if len({len(x) for x in (a, b, *others)}) > 1:
        raise ValueError(f"the variables differ in length: {[len(x) for x in (a, b, *others)]}")
    fitted = np.column_stack([np.ones(len(a)), *map(stats.rankdata, others)])
    sides = []
    for ranks in map(stats.rankdata, (a, b)):
        rest = ranks - fitted @ np.linalg.lstsq(fitted, ranks, rcond=None)[0]
        if rest @ rest < 1e-9 * (ranks @ ranks):
            raise ValueError("nothing is left of one side when the others are held constant")
        sides.append(rest / np.linalg.norm(rest))
    return float(sides[0] @ sides[1])


def merged_by_halves(
    cosines: Sequence[np.ndarray],
    same: np.ndarray,
    different: np.ndarray,
    keep: float = 0.8,
    splits: int = 500,
    seed: int = 0,
) -> np.ndarray:
    """What a filter of duplicates lets through when its threshold is set on one half of the pairs.

    The threshold is the highest that at least the share ``keep`` of one half's duplicates reaches; both halves are
    drawn anew for each split, and are the same for all candidates.

    Args:
        cosines: of each candidate, ``[pairs]``.
        same, different: which pairs are duplicates and which must not be merged; an even number of each.

    Returns:
        shares ``[splits, candidates, 3]``: of ``different`` merged in the half of the threshold and in the other half,
        of ``same`` found in the other half.

    Raises:
        ValueError: a number of pairs that has no two halves.
    """
    if len(same) % 2 or len(different) % 2 or not len(same) or not len(different):
        raise ValueError(f"two halves need even numbers of pairs; got {len(same)} and {len(different)}")
    rng, found = np.random.default_rng(seed), []
    for _ in range(splits):
        ones, others = (np.split(rng.permutation(which), 2) for which in (same, different))
        cuts = [np.sort(c[ones[0]])[::-1][int(np.ceil(keep * len(ones[0]))) - 1] for c in cosines]
        found.append(
            [[(c[half] >= cut).mean() for half in (*others, ones[1])] for c, cut in zip(cosines, cuts, strict=True)]
        )
    return np.array(found)


def _numbers(values: Sequence[float], name: str) -> np.ndarray:
    array = gates.vector(values, name)
    if not len(array):
        raise ValueError(f"{name} is empty; give one or more numbers")
    return array


def _unit_pairs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = unit_rows(a, "a"), unit_rows(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a and b must be [n, d] with equal shapes; got {a.shape} and {b.shape}")
    return a, b
