"""What a contrastive loss sees of two embeddings: the scores that go into InfoNCE.

Write every embedding as ``h = α u + x``: its coefficient α along the first principal component ``u`` of the
untrained model, and the rest. The usual score, the cosine, sees both parts. The others here differ from it in one
thing each, so that a run with one of them answers one question: does the first component move because the loss can
see it, because cosines divide by the length, or because α differs from text to text?

Each is a function ``(anchors [n, d], candidates [m, d]) -> scores [n, m]``, made by :func:`score`.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import normalize

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cosine(anchors: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """``cos(a, c)``: what contrastive embedders are trained with."""
    return normalize(anchors, dim=1) @ normalize(candidates, dim=1).T


def inner(anchors: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """``a · c``: no length is divided out."""
    return anchors @ candidates.T


def centred(anchors: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """The cosine after the mean of the batch is taken away: blind to what all texts of the batch share."""
    mean = torch.cat([anchors, candidates]).mean(dim=0)
    return cosine(anchors - mean, candidates - mean)


def slope_along(anchors: torch.Tensor, positives: torch.Tensor, u: torch.Tensor, temperature: float) -> torch.Tensor:
    """How fast InfoNCE with cosines rises when every embedding is moved along ``u``: ``dL(h + t u)/dt`` at 0.

    With ``α = aᵀu``, ``β = pᵀu``, ``c_ij = cos(a_i, p_j)`` and ``W = (softmax_j(c / τ) − δ_ij) / (n τ)``::

        dL/dt = Σ_ij W_ij · [(β_j/|p_j| − c_ij α_i/|a_i|) / |a_i| + (α_i/|a_i| − c_ij β_j/|p_j|) / |p_j|]

    Where all lengths are alike and α is much larger than the rest x, the bracket is ``|x_i − x_j|² / α³``: a positive
    slope, so that α falls, as long as wrong candidates are farther away than right ones. To the same order
    ``c ≈ 1 − |x_i − x_j|² / 2α²``: the loss depends on ``τ α²`` alone, and lowering α sharpens it like lowering τ.

    Args:
        anchors, positives: ``[n, d]``; row i of one belongs to row i of the other.
        u: unit length, ``[d]``.
    """
    la, lp = anchors.norm(dim=1)[:, None], positives.norm(dim=1)[None, :]
    alpha, beta = (anchors @ u)[:, None] / la, (positives @ u)[None, :] / lp
    c = cosine(anchors, positives)
    pull = (c / temperature).softmax(dim=1) - torch.eye(len(c), dtype=c.dtype, device=c.device)
    return (pull * ((beta - c * alpha) / la + (alpha - c * beta) / lp)).sum() / (len(c) * temperature)


def without(embeddings: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """``x = h − (uᵀh) u``: blind to the first component; ``[n, d]``."""
    return embeddings - (embeddings @ u)[:, None] * u


def levelled(anchors: torch.Tensor, candidates: torch.Tensor, u: torch.Tensor) -> list[torch.Tensor]:
    """``ᾱ u + x``: every text has the batch's mean coefficient, so α no longer differs from text to text."""
    mean = (torch.cat([anchors, candidates]) @ u).mean()
    return [without(side, u) + mean * u for side in (anchors, candidates)]


def fixed_rest(embeddings: torch.Tensor, u: torch.Tensor, length: float) -> torch.Tensor:
    """``α u + length · x / |x|``: only α decides how much of the embedding lies along ``u``; ``[n, d]``."""
    rest = without(embeddings, u)
    return embeddings - rest + length * normalize(rest, dim=1)


#: Name of each score → the function of anchors, candidates, ``u`` and the mean length of x at the start.
SCORES = {
    "cosine": lambda a, c, u, length: cosine(a, c),
    "centred cosine": lambda a, c, u, length: centred(a, c),
    "cosine without u": lambda a, c, u, length: cosine(without(a, u), without(c, u)),
    "cosine, α levelled": lambda a, c, u, length: cosine(*levelled(a, c, u)),
    "cosine, |x| fixed": lambda a, c, u, length: cosine(fixed_rest(a, u, length), fixed_rest(c, u, length)),
    "inner product": lambda a, c, u, length: inner(a, c),
    "inner product, α levelled": lambda a, c, u, length: inner(*levelled(a, c, u)),
}


def score(name: str, u: torch.Tensor | None = None, length: float = 1.0, scale: float = 1.0) -> Score:
    """The score called ``name``, divided by ``scale``.

    Args:
        name: a key of :data:`SCORES`.
        u: first principal component of the untrained model, unit length ``[d]``; cosines and inner products that see
            everything need none.
        length: mean length of x in the untrained model, for ``"cosine, |x| fixed"``.
        scale: makes inner products as wide as cosines, so that one temperature serves both.

    Raises:
        ValueError: an unknown name, or no ``u`` where it is needed.
    """
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}; choose from {', '.join(SCORES)}")
    if u is None and any(word in name for word in ("without", "levelled", "fixed")):
        raise ValueError(f"the score {name!r} needs the first component u")
    return lambda anchors, candidates: SCORES[name](anchors, candidates, u, length) / scale
