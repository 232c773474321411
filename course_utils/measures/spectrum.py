"""Spectrum: principal components of embeddings, and what moving along the first one does.

Pure functions on arrays. ``embeddings`` is float ``[n, d]``, one row per text;
all arithmetic is done in float64.

The paper (arXiv 2406.17378, section 4) takes the right singular vectors of the
matrix of the *untrained* model's embeddings over a corpus, without removing
the mean. ``u_1`` is then close to the direction of the mean embedding.

Every way of changing embeddings is split in two: something fitted once on a
corpus (:func:`components`, :func:`unembedding_components`), and a function that
applies it to any embeddings (:func:`shift`, :func:`remove_mean`,
:func:`all_but_the_top`, :func:`whiten`, :func:`filter_unembedding_spectrum`).
All of them stay in the coordinates of the model, so what they return can be
decoded with the same output layer.
"""

from dataclasses import dataclass

import numpy as np

from course_utils import gates
from course_utils.measures.evaluation import Interval

#: Rows of the unembedding matrix that are turned into float64 at a time.
_CHUNK_ROWS = 16_384


@dataclass(frozen=True)
class Components:
    """Principal components of a set of embeddings.

    Attributes:
        directions: ``u_j`` as rows, ``[r, d]``, orthonormal, r = min(n, d).
        singular_values: ``σ_j``, ``[r]``, largest first.
        mean: the mean that was removed, ``[d]`` (zeros if uncentred).
        n: number of rows they were computed from.
    """

    directions: np.ndarray
    singular_values: np.ndarray
    mean: np.ndarray
    n: int

    @property
    def shares(self) -> np.ndarray:
        """Share of the squared norm that each component holds, ``σ_j² / Σ σ²``, ``[r]``."""
        squares = self.singular_values**2
        return squares / squares.sum()

    @property
    def rank(self) -> int:
        """How many components are more than rounding noise: ``σ_j > σ_1 · max(n, d) · 2.2e-16``.

        The directions after these are orthonormal but arbitrary.
        """
        tolerance = max(self.n, self.directions.shape[1]) * np.finfo(np.float64).eps
        return int((self.singular_values > tolerance * self.singular_values[0]).sum())


# --- Fitting --------------------------------------------------------------------------------------


def components(embeddings: np.ndarray, centre: bool = False) -> Components:
    """Singular value decomposition ``H = U Σ Vᵀ``; the rows of ``Vᵀ`` are the ``u_j``.

    Signs are arbitrary in an SVD. Here the mean coefficient of every ``u_j`` is positive; with
    ``centre=True`` it is zero, and instead the largest entry of ``u_j`` by magnitude is positive.

    Raises:
        ValueError: fewer than two rows, NaN, or embeddings that are all zero (all equal, if centred).
    """
    matrix = _checked(embeddings)
    if len(matrix) < 2:
        raise ValueError(f"components need at least two embeddings; got {len(matrix)}")
    mean = matrix.mean(axis=0) if centre else np.zeros(matrix.shape[1])
    _, singular_values, directions = np.linalg.svd(matrix - mean, full_matrices=False)
    if singular_values[0] <= 1e-12 * np.sqrt(len(matrix)) * np.abs(matrix).max():
        raise ValueError("all embeddings are " + ("equal" if centre else "zero") + ": there is no first component")
    if centre:
        largest = np.abs(directions).argmax(axis=1)
        signs = np.sign(directions[np.arange(len(directions)), largest])
    else:
        signs = np.sign(directions @ matrix.mean(axis=0))
    signs[signs == 0] = 1
    return Components(directions * signs[:, None], singular_values, mean, len(matrix))


def unembedding_components(unembedding: np.ndarray) -> Components:
    """Right singular vectors and singular values of ``E_g [V, d]``, uncentred, signs as in :func:`components`.

    Computed from ``E_gᵀ E_g [d, d]``, because an SVD of 262 144 rows takes minutes and these take a
    second. Squaring costs half of the digits: singular values below ``1e-7 σ_1`` are not to be trusted.

    Raises:
        ValueError: not two-dimensional, fewer rows than columns, NaN, or all zeros.
    """
    weight = gates.numbers(unembedding, "unembedding", "[V, d]")
    if weight.ndim != 2 or len(weight) < weight.shape[1]:
        raise ValueError(f"unembedding must be [V, d] with V >= d; got shape {weight.shape}")
    gram, total = np.zeros((weight.shape[1],) * 2), np.zeros(weight.shape[1])
    for start in range(0, len(weight), _CHUNK_ROWS):
        rows = _checked(weight[start : start + _CHUNK_ROWS], "unembedding", start)
        gram += rows.T @ rows
        total += rows.sum(axis=0)
    squares, vectors = np.linalg.eigh(gram)
    if squares[-1] <= 0:
        raise ValueError("the unembedding matrix is all zero: it has no spectrum")
    directions = vectors.T[::-1]
    signs = np.where(directions @ total < 0, -1.0, 1.0)
    values = np.sqrt(np.clip(squares[::-1], 0, None))
    return Components(directions * signs[:, None], values, np.zeros(weight.shape[1]), len(weight))


# --- What training changed ------------------------------------------------------------------------


def variation(before: np.ndarray, after: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How far training moved each text along each component, ``[n, r]``: ``(ĥ_i − h_i)ᵀ u_j``.

    Its mean over texts is the paper's ``v_j``.
    """
    before, after = _checked(before), _checked(after)
    if before.shape != after.shape:
        raise ValueError(f"before and after must have the same shape; got {before.shape} and {after.shape}")
    directions = _checked(np.atleast_2d(directions), "directions")
    if directions.shape[1] != before.shape[1]:
        raise ValueError(f"directions must be [r, {before.shape[1]}], as the embeddings; got {directions.shape}")
    return (after - before) @ directions.T


@dataclass(frozen=True)
class Variation:
    """The mean movement along each component and how sure we are of it.

    Attributes:
        v: ``v_j``, the mean over texts, ``[r]``.
        low, high: ends of its bootstrap interval, each ``[r]``.
        share: ``v_1² / Σ_j v_j²``: with all d components the part of the first in the squared length of
            the mean movement, with its interval.
    """

    v: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: Interval

    @property
    def first(self) -> Interval:
        """``v_1`` with its interval."""
        return self[0]

    @property
    def largest_other(self) -> int:
        """Position j (from 0) of the largest ``|v_j|`` after the first component."""
        return 1 + int(np.abs(self.v[1:]).argmax())

    def __getitem__(self, j: int) -> Interval:
        return Interval(float(self.v[j]), float(self.low[j]), float(self.high[j]))


def summarise_variation(
    changes: np.ndarray, n_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Variation:
    """``v_j`` and the first component's share with percentile bootstrap intervals over texts.

    ``changes [n, r]`` is what :func:`variation` returns. All components are resampled with the same texts;
    each column agrees with :func:`course_utils.measures.evaluation.bootstrap` for the same seed. The directions stay
    fixed, so an interval speaks of other texts, not of other ``u_j``.

    Raises:
        ValueError: not ``[n, r]`` with n, r >= 2, NaN, a nonsensical setting, or texts that did not move at all.
    """
    changes = _checked(changes, "changes")
    n, r = changes.shape
    gates.whole(n_resamples, "n_resamples")
    if n < 2 or r < 2 or not 0 < confidence < 1:
        raise ValueError(f"need two texts, two components and 0 < confidence < 1; got {n}, {r} and {confidence}")
    v = changes.mean(axis=0)
    if not v.any():
        raise ValueError("the embeddings did not move: v is zero, and no component has a share in it")
    rng = np.random.default_rng(seed)
    # How often each text was drawn; one matrix product then gives the means of all components.
    counts = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(n_resamples)])
    means = counts @ changes / n
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(means, ends, axis=0)
    shares = means[:, 0] ** 2 / (means**2).sum(axis=1)
    share = Interval(float(v[0] ** 2 / (v**2).sum()), *(float(x) for x in np.quantile(shares, ends)))
    return Variation(v, low, high, share)


def split_logits(
    embedding: np.ndarray, direction: np.ndarray, unembedding: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Split every token's logit into the part of the first component and the rest, each ``[V]``.

    ``E_g h = E_g u (uᵀh) + E_g (h − u uᵀh)``; exact, because the output layer is linear.
    """
    weight = gates.matrix(unembedding, "unembedding", "[V, d]", dtype=None)
    h, u = (_direction(v, weight.shape[1], n) for v, n in ((embedding, "embedding"), (direction, "direction")))
    along = (h @ u) * u
    return weight @ along.astype(weight.dtype), weight @ (h - along).astype(weight.dtype)


def angle(a: np.ndarray, b: np.ndarray, signed: bool = False) -> float:
    """Angle between two directions ``[d]`` in degrees, 0 to 90; up to 180 when the sign matters (``signed``).

    Raises:
        ValueError: different shapes, or a direction that is zero or not finite.
    """
    a, b = (gates.numbers(v, n, "a direction [d]").astype(np.float64) for v, n in ((a, "a"), (b, "b")))
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two directions of the same length are needed; got shapes {a.shape} and {b.shape}")
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if not np.isfinite(lengths) or lengths == 0:
        raise ValueError("a direction is zero or not finite: it has no angle")
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    if not signed and a @ b < 0:
        b = -b
    # Kahan's formula: the arc cosine would lose half of the digits at small angles.
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


# --- Ways to change embeddings --------------------------------------------------------------------


def shift(embeddings: np.ndarray, direction: np.ndarray, amount: float | np.ndarray) -> np.ndarray:
    """The paper's adjustment, ``h_i + λ u_1``; ``amount`` is λ or one λ per text. float32 ``[n, d]``."""
    matrix = _checked(embeddings)
    amounts = gates.vector(np.ravel(amount), "amount")
    if len(amounts) not in (1, len(matrix)):
        raise ValueError(f"amount must be one number, or one for each of the {len(matrix)} texts; got {len(amounts)}")
    return (matrix + amounts[:, None] * _direction(direction, matrix.shape[1])).astype(np.float32)


def remove_mean(embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``h_i − m``, with the mean ``m [d]`` of a corpus. float32 ``[n, d]``."""
    matrix = _checked(embeddings)
    return (matrix - _direction(mean, matrix.shape[1], "mean")).astype(np.float32)


def all_but_the_top(embeddings: np.ndarray, fitted: Components, n_directions: int) -> np.ndarray:
    """Remove the mean and the D largest components of a corpus. float32 ``[n, d]``.

    ``h_i − m − Σ_{j≤D} u_j u_jᵀ (h_i − m)``, with ``fitted = components(corpus, centre=True)``
    (Mu and Viswanath 2018, "All-but-the-Top: Simple and Effective Postprocessing for Word
    Representations", arXiv 1702.01417, who suggest D ≈ d / 100).

    Raises:
        ValueError: more directions than the corpus has, or NaN.
    """
    if not 0 <= n_directions <= fitted.rank:
        raise ValueError(f"n_directions must lie between 0 and the rank {fitted.rank}; got {n_directions}")
    top = fitted.directions[:n_directions]
    matrix = _fitting(embeddings, fitted) - fitted.mean
    return (matrix - matrix @ top.T @ top).astype(np.float32)


def whiten(embeddings: np.ndarray, fitted: Components, n_directions: int | None = None) -> np.ndarray:
    """Give every direction the same variance over the corpus: ``(h_i − m) Σ_j u_j u_jᵀ / s_j``. float32 ``[n, d]``.

    ``s_j = σ_j / √n`` is the standard deviation along ``u_j``; ``fitted = components(corpus, centre=True)``
    (Su et al. 2021, "Whitening Sentence Representations for Better Semantics and Faster Retrieval",
    arXiv 2103.15316; Huang et al. 2021, "WhiteningBERT", arXiv 2104.01767). They rotate into the basis of
    the ``u_j``; here the result is rotated back, which changes no inner product and can still be decoded.

    Args:
        n_directions: keep only the k largest components.

    Raises:
        ValueError: a direction without variance would be divided by zero; the message says how many have some.
    """
    k = fitted.directions.shape[1] if n_directions is None else n_directions
    if not 1 <= k <= fitted.rank:
        raise ValueError(
            f"whitening {k} directions needs as many with some variance; the corpus of {fitted.n} embeddings "
            f"has {fitted.rank}: use more texts or n_directions={fitted.rank} at most"
        )
    top, spread = fitted.directions[:k], fitted.singular_values[:k] / np.sqrt(fitted.n)
    return ((_fitting(embeddings, fitted) - fitted.mean) @ (top.T / spread) @ top).astype(np.float32)


def filter_unembedding_spectrum(embeddings: np.ndarray, fitted: Components, head: int, tail: int = 0) -> np.ndarray:
    """Remove the parts of embeddings along the edges of the output layer's spectrum. float32 ``[n, d]``.

    ``h_i − Σ_{j ≤ head or j > d − tail} w_j w_jᵀ h_i``, with ``w_j`` the right singular vectors of ``E_g``,
    ``fitted = unembedding_components(E_g)``. After the idea of EmbedFilter (Wu et al. 2026, "Your
    UnEmbedding Matrix is Secretly a Feature Lens for Text Embeddings", arXiv 2606.07502): the edges write
    frequent tokens. How many directions to take from which edge is left to the caller. No corpus is needed.

    Raises:
        ValueError: head and tail do not leave a direction, or NaN.
    """
    d = len(fitted.directions)
    if head < 0 or tail < 0 or head + tail >= d:
        raise ValueError(f"head and tail must leave at least one of {d} directions; got {head} and {tail}")
    edge = np.concatenate([fitted.directions[:head], fitted.directions[d - tail :]])
    matrix = _fitting(embeddings, fitted)
    return (matrix - matrix @ edge.T @ edge).astype(np.float32)


def _checked(embeddings: np.ndarray, name: str = "embeddings", first_row: int = 0) -> np.ndarray:
    return gates.matrix(embeddings, name, dtype=np.float64, whole=True, first_row=first_row)


def _fitting(embeddings: np.ndarray, fitted: Components) -> np.ndarray:
    matrix = _checked(embeddings)
    if matrix.shape[1] != fitted.directions.shape[1]:
        raise ValueError(f"components of {fitted.directions.shape[1]} dimensions do not fit embeddings {matrix.shape}")
    return matrix


def _direction(values: np.ndarray, d: int, name: str = "direction") -> np.ndarray:
    direction = gates.vector(values, name)
    if len(direction) != d:
        raise ValueError(f"{name} must have {d} values, as the embeddings; got {len(direction)}")
    return direction
