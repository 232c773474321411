"""How many rows of the unembedding matrix does it take to write an embedding down?

Orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993): take the row that points most along what is still
missing, fit all rows taken so far by least squares, and go on. It is greedy, so K rows chosen by it are an upper limit
of how many are needed, not the least number.
"""

from collections.abc import Sequence

import numpy as np

from course_utils import gates

#: Texts that are pursued at once: bounds the memory of their logits.
_TEXTS = 64


def pursue(embeddings: np.ndarray, rows: np.ndarray, k: int, exclude: Sequence[int] = ()) -> np.ndarray:
    """The ``k`` rows that orthogonal matching pursuit takes for every text, in its order; int64 ``[n, k]``.

    Rows are compared by the size of their cosine with the residual, whichever its sign.

    Args:
        embeddings: ``[n, d]``.
        rows: the unembedding matrix, ``[V, d]``.
        k: how many, at most d.
        exclude: rows that must not be taken.

    Raises:
        ValueError: other shapes, NaN or infinity, ``k`` out of range.
    """
    rows = gates.matrix(rows, "rows", "[V, d]", dtype=np.float32, whole=True)
    embeddings = gates.matrix(embeddings, "embeddings", "[n, d]", dtype=np.float64, whole=True)
    k = gates.whole(k, "k", most=min(rows.shape))
    lengths = np.linalg.norm(rows, axis=1)
    banned = np.union1d(gates.token_ids(exclude, len(rows), "exclude"), np.flatnonzero(lengths == 0)).astype(int)
    units = rows / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    found = np.empty((len(embeddings), k), dtype=np.int64)
    for begin in range(0, len(embeddings), _TEXTS):
        part = slice(begin, begin + _TEXTS)
        residual, h = embeddings[part].copy(), embeddings[part]
        basis = np.zeros((len(h), k, h.shape[1]))  # orthonormal, of the rows taken so far
        for step in range(k):
            scores = np.abs(residual.astype(np.float32) @ units.T)
            scores[:, banned] = -1
            np.put_along_axis(scores, found[part, :step], -1, axis=1)
            found[part, step] = scores.argmax(axis=1)
            new = units[found[part, step]].astype(np.float64)
            for _ in range(2):  # Gram and Schmidt, twice for the rounding
                new -= np.einsum("nk,nkd->nd", np.einsum("nkd,nd->nk", basis[:, :step], new), basis[:, :step])
            basis[:, step] = new / np.linalg.norm(new, axis=1, keepdims=True)
            residual -= np.einsum("nd,nd->n", residual, basis[:, step])[:, None] * basis[:, step]
    return found


def rebuilt(embeddings: np.ndarray, rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What the ``chosen [n, k]`` rows of ``rows [V, d]`` can express of ``embeddings [n, d]``; float64 ``[n, d]``.

    The least-squares fit: the projection on the space that the rows of a text span.

    Raises:
        ValueError: other shapes, NaN or infinity, or a row that there is not.
    """
    rows = gates.matrix(rows, "rows", "[V, d]", dtype=np.float64, whole=True)
    embeddings = gates.matrix(embeddings, "embeddings", "[n, d]", dtype=np.float64, whole=True)
    chosen = gates.numbers(chosen, "chosen", "[n, k]")
    if chosen.ndim != 2 or len(chosen) != len(embeddings) or embeddings.shape[1] != rows.shape[1]:
        raise ValueError(f"chosen {chosen.shape} and rows {rows.shape} do not fit embeddings {embeddings.shape}")
    gates.token_ids(chosen.ravel(), len(rows), "chosen")
    fits = np.empty_like(embeddings)
    for i, (h, ids) in enumerate(zip(embeddings, chosen, strict=True)):
        taken = rows[ids]
        fits[i] = np.linalg.lstsq(taken.T, h, rcond=None)[0] @ taken
    return fits
