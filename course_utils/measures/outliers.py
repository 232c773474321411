"""Outlier dimensions: how much a single dimension of the embeddings says to the output layer.

Pure functions on arrays. A few dimensions of a language model's hidden states are far larger than all others, in all
texts alike (Timkey and van Schijndel 2021, arXiv 2109.04404; Sun et al. 2024, arXiv 2402.17762).
"""

from collections.abc import Sequence

import numpy as np

from course_utils import gates
from course_utils.measures.alignment import tensor


def kept_without(
    embeddings: np.ndarray,
    unembedding: np.ndarray,
    dimensions: Sequence[int],
    k: int = 10,
    exclude: Sequence[int] = (),
) -> np.ndarray:
    """Which share of the k aligned tokens stays when one dimension is set to zero; float64 ``[m, n]``.

    ``E_g (h − h_j e_j) = E_g h − h_j E_g[:, j]``: the logits are computed once, a dimension costs an outer product.

    Args:
        embeddings: ``[n, d]``.
        unembedding: ``E_g [V, d]``.
        dimensions: m numbers of dimensions, each set to zero alone.
        k: length of the list.
        exclude: tokens that are never aligned.

    Raises:
        ValueError: shapes that do not fit, or a dimension, k or a token out of range.
    """
    import torch

    embeddings, weight = gates.matrix(embeddings), gates.matrix(unembedding, "unembedding", "[V, d]")
    if embeddings.shape[1] != weight.shape[1]:
        raise ValueError(f"embeddings {embeddings.shape} and unembedding {weight.shape} differ in width")
    dimensions = gates.token_ids(dimensions, weight.shape[1], "dimensions")
    excluded = gates.token_ids(exclude, len(weight), "exclude")
    k = gates.whole(k, "k", 1, len(weight) - len(np.unique(excluded)), "tokens that may appear")
    h, weight = tensor(embeddings), tensor(weight)
    logits = h @ weight.T
    logits[:, excluded] = -torch.inf
    before = logits.topk(k, dim=1).indices.numpy()
    room, kept = torch.empty_like(logits), np.empty((len(dimensions), len(before)))
    for row, j in enumerate(dimensions.tolist()):
        torch.addr(logits, h[:, j], weight[:, j], alpha=-1, out=room)
        after = room.topk(k, dim=1).indices.numpy()
        kept[row] = (before[:, :, None] == after[:, None, :]).any(axis=2).mean(axis=1)
    return kept


def alike(embeddings: np.ndarray, dimension: int, m: int) -> np.ndarray:
    """The m other dimensions whose standard deviation over the texts is nearest to that of ``dimension``; int ``[m]``.

    Raises:
        ValueError: no such dimension, or not so many others.
    """
    embeddings = gates.matrix(embeddings, dtype=np.float64, whole=True)
    dimension = gates.whole(dimension, "dimension", 0, embeddings.shape[1] - 1)
    m = gates.whole(m, "m", 1, embeddings.shape[1] - 1, "other dimensions")
    spread = np.log(np.maximum(embeddings.std(axis=0), 1e-12))
    far = np.abs(spread - spread[dimension])
    far[dimension] = np.inf
    return np.argsort(far, kind="stable")[:m]
