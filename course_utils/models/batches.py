"""Batches: tokenised texts of similar length side by side, with what the transformer must know about them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from course_utils.models.backbone import Backbone


class Encoding(NamedTuple):
    """One tokenised text: token ids, and which of the tokens are pooled."""

    ids: list[int]
    pool: list[bool]


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Positions of similar length together, so that little padding is computed; longest first.

    A batch holds at most ``batch_tokens`` tokens, padding included, or a single longer text. One that
    is half full ends where the texts become more than a twentieth shorter.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        end = min(len(order), start + max(1, batch_tokens // longest))
        half = start + -(-batch_tokens // (2 * longest))
        end = next((i for i in range(half, end) if lengths[order[i]] < 0.95 * longest), end)
        yield order[start:end]
        start = end


def padded(encodings: Sequence[Encoding], side: str, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, real-token mask and pooling mask, each ``[n, longest]``."""
    if side not in ("left", "right"):
        raise ValueError(f"padding_side must be 'left' or 'right'; got {side!r}")
    shape = (len(encodings), max(len(e.ids) for e in encodings))
    ids, real, pool = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for row, e in enumerate(encodings):
        n = len(e.ids)
        columns = slice(0, n) if side == "right" else slice(shape[1] - n, shape[1])
        ids[row, columns] = torch.tensor(e.ids)
        real[row, columns] = 1
        pool[row, columns] = torch.tensor(e.pool, dtype=torch.long)
    return ids.to(device), real.to(device), pool.to(device)


def attention(real: torch.Tensor, bidirectional: bool, backbone: Backbone) -> torch.Tensor:
    """The mask the transformer needs.

    Causal: the padding mask; the library adds the causal part. Bidirectional: an
    explicit ``[n, 1, t, t]`` additive mask, because a two-dimensional one may be
    dropped when nothing is padded, which would silently leave the model causal.
    """
    if not bidirectional:
        return real
    if backbone.sees_all:
        return real
    family = backbone.causal.config.model_type
    if family not in ("llama", "mistral", "gemma3_text", "qwen2", "qwen3"):
        raise ValueError(f"bidirectional attention is not supported for {family!r} models, which add their own mask")
    dtype = backbone.causal.dtype
    blocked = torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill(real == 0, torch.finfo(dtype).min)
    return blocked[:, None, None, :].expand(-1, 1, real.shape[1], -1)
