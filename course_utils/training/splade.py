"""A trained sparse head: SPLADE on a causal language model, in a few lines.

Aligned tokens are read off an embedding that was trained for something else. SPLADE (Formal et al. 2021, arXiv
2107.05720; with a maximum instead of a sum: 2109.10086) trains the weights of the tokens themselves. Every token of a
text votes for the whole vocabulary through the model's own output layer, and the best vote counts::

    w_j = max_t log(1 + max(0, E_j · h_t + b_j))

Two texts match by the inner product of their weights, and the contrastive loss says how well. A second term keeps the
lists short: ``Σ_j (mean_i w_ij)²``, the multiply-adds of a search up to a factor (Paria et al. 2020, arXiv 2004.05665).
A word that stands in every list pays most, so that lists stay different.

Two things are particular to a causal model. Most of its logits are positive, so that every list would hold every word
and products go into the hundred thousands; Xu et al. 2025 (CSPLADE, arXiv 2504.10816) report that training is unstable
early, and train in two phases. Here the run begins with the weights of an embedder, whose tokens speak of the text
rather than of what comes next, and with one threshold ``−b`` for all words that leaves few of them (:func:`start`).
And a token sees only what stands before it. That is kept, because the embedder was trained so: under a maximum the last
tokens, which have seen the whole text, can vote for any word.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch.utils.checkpoint import checkpoint

from course_utils import gates
from course_utils.measures.alignment import special_ids
from course_utils.models.batches import Encoding, length_batches
from course_utils.models.embedder import Embedder
from course_utils.training import loop
from course_utils.training.examples import Example
from course_utils.training.losses import inner
from course_utils.training.recipes import Recipe

#: A bias may move that many times as fast as a weight of the adapter: it is a logit, not a small factor.
BIAS_SPEED = 40
#: Tokens whose logits are held at once; on a GPU set more.
PIECE_TOKENS = 1024


class Penalty(NamedTuple):
    """How dearly long lists are paid: λ of either side, and the steps over which both grow from 0."""

    queries: float
    documents: float
    until: int

    def share(self, step: int) -> float:
        """What part of λ counts in a step, counted from 0: ``min(1, step / until)²``."""
        return min(1.0, step / max(1, self.until)) ** 2


def votes(hidden: torch.Tensor, unembedding: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The largest logit of every word over the tokens of a text, ``[n, V]``.

    Args:
        hidden: ``[n, t, d]``; unembedding: ``[V, d]``.
        real: bool ``[n, t]``: which tokens count; padding does not.

    Raises:
        ValueError: shapes that do not fit, or a text without a token.
    """
    if hidden.ndim != 3 or real.shape != hidden.shape[:2] or unembedding.shape[1:] != hidden.shape[2:]:
        shapes = ", ".join(str(tuple(a.shape)) for a in (hidden, real, unembedding))
        raise ValueError(f"need hidden [n, t, d], real [n, t] and unembedding [V, d]; got {shapes}")
    if not real.any(dim=1).all():
        raise ValueError(f"text {int(real.any(dim=1).int().argmin())} has no token that counts")
    with torch.autocast(hidden.device.type, enabled=False):  # a threshold needs all digits
        logits = hidden.float() @ unembedding.float().T
    return logits.masked_fill(~real[:, :, None], -torch.inf).amax(dim=1)


def weights(best: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``log(1 + max(0, z + b))`` of the best votes z: the largest of all tokens' weights, because it rises with z."""
    return torch.log1p(torch.relu(best + bias))


def flops(lists: torch.Tensor) -> torch.Tensor:
    """``Σ_j (mean_i w_ij)²`` of weights ``[n, V]``."""
    return lists.mean(dim=0).square().sum()


def threshold(best: torch.Tensor, terms: int) -> float:
    """The height that ``terms`` words of each text exceed on average, from best votes ``[n, V]``.

    Raises:
        ValueError: no term, or as many as there are words.
    """
    terms = gates.whole(terms, "terms", 1, best.shape[1] - 1, "words, without one")
    return float(best.flatten().sort(descending=True).values[terms * len(best)])


def best_votes(embedder: Embedder, encodings: Sequence[Encoding]) -> torch.Tensor:
    """Differentiable :func:`votes` of texts, ``[n, V]``; the logits of one piece at a time are in memory."""
    found, order = [], []
    for piece in length_batches([len(e.ids) for e in encodings], PIECE_TOKENS):
        hidden = embedder.forward([encodings[i] for i in piece], pooled=False)
        lengths = torch.tensor([len(encodings[i].ids) for i in piece], device=hidden.device)
        real = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        found.append(checkpoint(votes, hidden, embedder.unembedding, real, use_reentrant=False))
        order += piece
    return torch.cat(found)[torch.tensor(order).argsort().to(found[0].device)]


def start(
    recipe: Recipe, adapter: Path | None, terms: int, passages: Sequence[str], dtype: str = "bfloat16"
) -> tuple[loop.Run, torch.nn.Parameter]:
    """A run, and the bias ``b [V]`` of its head; the run's optimiser moves both.

    Args:
        adapter: a folder whose adapter the run begins with; None begins with the bare model.
        terms: how many words each of ``passages`` keeps on average at the start. Special tokens are never kept.

    Raises:
        ValueError: an adapter of another shape; no term, or as many as there are words.
    """
    run = loop.start(recipe, dtype)
    if adapter is not None:
        _load_weights(run, adapter)
    with loop.precision(run), torch.no_grad():
        best = best_votes(run.embedder, loop.prepare(run.embedder, passages, None, "passage", recipe.max_tokens))
    bias = torch.full_like(best[0], -threshold(best, terms))
    bias[special_ids(run.embedder.tokenizer, len(bias))] = -torch.inf
    run.optimizer.add_param_group({"params": [bias := torch.nn.Parameter(bias)]})
    return run, bias


def _load_weights(run: loop.Run, adapter: Path) -> None:
    from peft.utils import set_peft_model_state_dict
    from safetensors.torch import load_file

    peft, given = run.embedder.backbone._peft, load_file(adapter / "adapter_model.safetensors")
    try:
        unknown = set_peft_model_state_dict(peft, given, peft.active_adapter).unexpected_keys
    except RuntimeError as error:
        raise ValueError(f"{adapter} does not fit the recipe's adapter: {str(error)[:200]}") from None
    if unknown or len(given) != len(run.parameters):
        raise ValueError(f"{adapter} has {len(given)} weights, the recipe's adapter {len(run.parameters)}, other ones")


def batch_loss(
    run: loop.Run, bias: torch.Tensor, batch: Sequence[Example], penalty: Penalty
) -> tuple[torch.Tensor, dict[str, float]]:
    """InfoNCE on inner products plus the penalty at the run's step, and what a log wants to know of the batch."""
    anchors, candidates = loop.texts_of(batch)
    encodings = [e for texts, role in ((anchors, "query"), (candidates, "passage"))
                 for e in loop.prepare(run.embedder, texts, None, role, run.recipe.max_tokens)]  # fmt: skip
    queries, positives, negatives = weights(best_votes(run.embedder, encodings), bias).tensor_split(
        [len(batch), 2 * len(batch)]
    )
    same = loop.false_negatives(batch)
    contrast = loop.info_nce(queries, positives, negatives, run.recipe.temperature, same, score=inner)
    sides, share = {"query": queries, "document": torch.cat([positives, negatives])}, penalty.share(run.step)
    paid = penalty.queries * flops(sides["query"]) + penalty.documents * flops(sides["document"])
    log = {"loss": contrast.item(), "share of the penalty": share}
    for side, lists in sides.items():
        log |= {f"{side} FLOPs": flops(lists).item(), f"{side} terms": (lists > 0).sum(dim=1).float().mean().item()}
    return contrast + share * paid, log


def train(
    run: loop.Run,
    bias: torch.Tensor,
    batches: Iterable[Sequence[Example]],
    penalty: Penalty,
    on_step: Callable[[int, dict[str, float]], object] = lambda step, log: None,
) -> None:
    """One step a batch, with the one cycle of the recipe's first stage.

    Raises:
        FloatingPointError: a loss that is not finite.
    """
    stage, groups = run.recipe.stage[0], run.optimizer.param_groups
    for batch in batches:
        for group, speed in zip(groups, (1, BIAS_SPEED), strict=True):
            group["lr"] = speed * loop.one_cycle(run.step, stage.steps, stage.learning_rate)
        with loop.precision(run):
            total, log = batch_loss(run, bias, batch, penalty)
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss of step {run.step} is {total.item()}: begin with fewer terms")
        total.backward()
        torch.nn.utils.clip_grad_norm_(groups[0]["params"], run.recipe.max_grad_norm)
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.step += 1
        on_step(run.step, log)


def encode(
    run: loop.Run, bias: torch.Tensor, texts: Sequence[str], role: str, keep: int, max_tokens: int = 512
) -> csr_array:
    """The ``keep`` largest weights of every text, float32 ``[n, V]``; a text may hold fewer, or none."""
    keep = gates.whole(keep, "keep", 1, len(bias), "words")
    encodings = loop.prepare(run.embedder, texts, None, role, max_tokens)
    values, words = np.empty((len(texts), keep), np.float32), np.empty((len(texts), keep), np.int64)
    for piece in length_batches([len(e.ids) for e in encodings], PIECE_TOKENS):
        with loop.precision(run), torch.no_grad():
            kept = weights(best_votes(run.embedder, [encodings[i] for i in piece]), bias).topk(keep, dim=1)
        values[piece], words[piece] = kept.values.cpu().numpy(), kept.indices.cpu().numpy()
    ends = np.arange(len(texts) + 1) * keep
    vectors = csr_array((values.ravel(), words.ravel(), ends), (len(texts), len(bias)))
    vectors.eliminate_zeros()
    vectors.sort_indices()
    return vectors
