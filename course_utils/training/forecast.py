"""What the loss of an untrained model asks of the direction that all texts share: predictions without any training.

Take batches of untrained embeddings ``h = α u + x``, move all texts by the same step along ``u``, and look how the loss
of a :class:`~course_utils.training.causes.Variant` changes. No weight changes and no text moves against another, so
this says whether the loss would gain from a smaller common part, and nothing of what training does to x meanwhile.

Where a model ends in a normalisation, x is scaled by one factor for the whole batch, which keeps the batch's mean
squared length: what is taken from the common part goes to x. That is a simplification: the normalisation holds the
states of tokens, dimension by dimension weighed, and an embedding is a mean of them that may grow or shrink.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from course_utils.models.embedder import Embedder
from course_utils.training import causes, losses
from course_utils.training.causes import Variant
from course_utils.training.teacher import batch_cosines

#: Steps that are tried, as shares of the mean coefficient: −1 takes all of it away.
SHARES = np.round(np.arange(-1.1, 0.201, 0.05), 2)
#: A loss whose slope is less than this part of the usual loss's has little to gain: the forecast is that nothing moves.
LITTLE = 0.25


@dataclass(frozen=True)
class Forecast:
    """What a variant's loss asks for before training.

    Attributes:
        slope: of the loss at the start of the way, in nats for the whole mean coefficient; positive asks to lower it.
        best: step with the smallest loss, as a share of the mean coefficient; NaN if the loss never changes.
    """

    slope: float
    best: float

    def direction(self, usual: "Forecast") -> str:
        """``"falls"``, ``"rises"`` or ``"stays"``: by the sign of the slope, beside that of the usual loss."""
        if abs(self.slope) < LITTLE * abs(usual.slope):
            return "stays"
        return "falls" if self.slope > 0 else "rises"


def forecast(
    variant: Variant, sides: Sequence[torch.Tensor], u: torch.Tensor, shares: Sequence[float] = SHARES
) -> Forecast:
    """What the variant's loss asks of the common part of these untrained embeddings.

    Args:
        variant: its score, temperature, negatives and final norm count.
        sides: anchors, positives and negatives, ``[n, d]`` each; row i of each belongs to pair i.
        u: unit length, ``[d]``.
        shares: steps that are tried, as shares of the mean coefficient.
    """
    below, above = loss_along(variant, sides, u, [-0.02, 0.02])
    along = loss_along(variant, sides, u, shares)
    flat = np.ptp(along) < 1e-6 * abs(along).max()  # what is smallest on a level is a matter of rounding
    return Forecast(float(above - below) / 0.04, np.nan if flat else float(shares[int(np.argmin(along))]))


def loss_along(variant: Variant, sides: Sequence[torch.Tensor], u: torch.Tensor, shares: Sequence[float]) -> np.ndarray:
    """Mean loss of the batches after a common step along ``u``, for each size of the step, ``[shares]``.

    Args:
        variant, sides, u: as for :func:`forecast`; rows that do not fill a batch are left out.
        shares: size of the step, as shares of the batch's mean coefficient.
    """
    total, batches = np.zeros(len(shares)), len(sides[0]) // causes.BATCH
    for number in range(batches):
        rows = [side[number * causes.BATCH : (number + 1) * causes.BATCH] for side in sides]
        both = torch.cat(rows[:2])
        alpha, rest = float((both @ u).mean()), float(losses.without(both, u).norm(dim=1).mean())
        score = losses.score(variant.score, u, rest, causes.as_wide(variant.score, u, *rows[:2], variant.sharper))
        for place, share in enumerate(shares):
            scale = kept_length(both, u, share * alpha) if variant.final_norm else 1.0
            stepped = [moved(side, u, share * alpha, scale) for side in rows]
            total[place] += float(causes.contrast(variant.negatives, score, variant.temperature, *stepped))
    return total / batches


def told_slope(
    rows: torch.Tensor, target: torch.Tensor, u: torch.Tensor, temperature: float = 0.05, step: float = 0.02
) -> float:
    """The slope of a loss that a teacher's softmax is the target of, in nats for the whole mean coefficient.

    Args:
        rows: embeddings of n anchors, then of their candidates, if there are any; ``[n + m, d]``.
        target: the teacher's softmax, ``[n, m]``, or ``[n, n − 1]`` where each anchor is held against the others.
        u: unit length, ``[d]``.
        temperature: τ of the student.
        step: how far to either side, as a share of the mean coefficient. The mean squared length is kept.
    """
    alpha, found = float((rows @ u).mean()), []
    for share in (-step, step):
        stepped = moved(rows, u, share * alpha, kept_length(rows, u, share * alpha))
        logits = batch_cosines(stepped, len(target)) / temperature
        found.append(-(target * logits.log_softmax(dim=1)).sum(dim=1).mean())  # its entropy does not change
    return float(found[1] - found[0]) / (2 * step)


def moved(h: torch.Tensor, u: torch.Tensor, step: float, scale: float = 1.0) -> torch.Tensor:
    """``(α + step) u + scale · x`` for every row of ``h``, ``[n, d]``."""
    return h + step * u + (scale - 1) * losses.without(h, u)


def kept_length(h: torch.Tensor, u: torch.Tensor, step: float) -> float:
    """The factor of x that keeps ``Σ |h|²`` of these rows when each moves by ``step`` along ``u``.

    From ``Σ |h|² = Σ (α + step)² + factor² Σ |x|²``; 0 where the step alone is longer than the embeddings.
    """
    left = (h**2).sum() - ((h @ u + step) ** 2).sum()
    return float((left.clamp(min=0) / (losses.without(h, u) ** 2).sum()).sqrt())


@contextmanager
def without_final_norm(embedder: Embedder) -> Iterator[None]:
    """Within it the embedder's states are those before the model's last normalisation."""
    transformer = embedder.backbone.transformer
    norm, transformer.norm = transformer.norm, torch.nn.Identity()
    try:
        yield
    finally:
        transformer.norm = norm
