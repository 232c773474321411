"""Pooling: from one hidden state per token to one embedding per text.

All functions take

* ``hidden`` — hidden states, float tensor ``[n_texts, n_tokens, d]``;
* ``mask`` — which tokens to pool, bool or 0/1 tensor ``[n_texts, n_tokens]``
  (padding, and a prompt that should not count, are 0);

and return a float tensor ``[n_texts, d]``. Positions are counted along the
mask, not along the columns, so padding on the left or on the right gives the
same embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the registry, which is data, reads the names of the poolings without PyTorch
    import torch


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average of the pooled tokens: ``h = Σ_t m_t h_t / Σ_t m_t``."""
    return _weighted(hidden, _checked(hidden, mask))


def weighted_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Position-weighted mean: ``h = Σ_t w_t h_t`` with ``w_t = t / Σ_s s``.

    ``t`` counts the pooled tokens from 1. A causal model's later tokens have
    seen more of the text and weigh more (Muennighoff 2022, "SGPT: GPT Sentence
    Embeddings for Semantic Search", arXiv 2202.08904, equation 2).
    """
    mask = _checked(hidden, mask)
    return _weighted(hidden, mask * mask.cumsum(dim=1))


def last_token(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Hidden state of the last pooled token, whichever side the padding is on."""
    import torch

    mask = _checked(hidden, mask)
    last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def cls(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Hidden state of the first pooled token: BERT's ``[CLS]``, which stands before every text."""
    import torch

    first = _checked(hidden, mask).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), first]


POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": mean,
    "weighted_mean": weighted_mean,
    "last_token": last_token,
    "cls": cls,
}


def _weighted(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    weights = weights.to(hidden.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (hidden * weights[:, :, None]).sum(dim=1)  # not a matrix product: autocast would round it


def _checked(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return ``mask`` as int64, or raise where pooling would silently give NaN."""
    if hidden.ndim != 3 or mask.shape != hidden.shape[:2]:
        raise ValueError(
            f"hidden must be [n_texts, n_tokens, d] and mask [n_texts, n_tokens]; "
            f"got {tuple(hidden.shape)} and {tuple(mask.shape)}"
        )
    mask = mask.long()
    empty = (mask.sum(dim=1) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"nothing to pool in row(s) {empty[:5]}: every token there is masked out")
    return mask
