"""Looking at a run while it trains: fixed texts, chosen steps, alignment beside chance; and reading logs afterwards."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch

from course_utils import gates
from course_utils.measures.alignment import content_tokens, readable, special_ids, surface_tokens, top_tokens
from course_utils.measures.nulls import above_chance, pair_hits
from course_utils.measures.spectrum import variation
from course_utils.models import registry
from course_utils.training.loop import Run, embed, precision, prepare


class Watch:
    """What training does to a few texts; hand it to :func:`course_utils.training.loop.train` as ``on_step``.

    It looks once when it is made, and then after each of the steps ``at``. The directions should come from other
    texts, so that none is fitted to what is judged.

    Args:
        run: a run that has just been started.
        texts: what is embedded at each look; none of them should be trained on.
        directions: ``[r, d]``, the first component and others.
        at: numbers of steps.
        on_look: called with this watch after each look, for instance to draw it.

    Attributes:
        losses: one per step.
        embedded: embeddings ``[n, d]`` by step.
        rows: one per look: ``step``, ``v_1``, ``max_other_v`` (mean movement along the first direction, and the
            largest along any other), ``beside`` (content Hit@10 beside chance,
            :class:`course_utils.measures.nulls.Beside`).

    Raises:
        ValueError: the run has been trained already, or there are fewer than two texts.
    """

    def __init__(
        self,
        run: Run,
        texts: Sequence[str],
        directions: np.ndarray,
        at: Collection[int],
        on_look: Callable[["Watch"], None] = lambda watch: None,
    ):
        if run.step:
            raise ValueError(f"the run has had {run.step} steps: start another one, and watch it from the beginning")
        self.texts, self.directions, self.at, self.on_look = gates.texts(texts, "texts"), directions, set(at), on_look
        self.tokenizer, self.unembedding = run.embedder.tokenizer, run.embedder.unembedding
        self.surface = surface_tokens(self.tokenizer, self.texts)
        self.content = content_tokens(self.tokenizer, self.surface)
        self.losses, self.rows, self.embedded, self._ranked = [], [], {}, {}
        self._look(run)

    def __call__(self, run: Run, loss: float) -> None:
        self.losses.append(loss)
        if run.step in self.at:
            self._look(run)

    def _look(self, run: Run) -> None:
        with precision(run), torch.no_grad():
            encodings = prepare(run.embedder, self.texts, None, None, run.recipe.max_tokens)
            h = embed(run.embedder, encodings).float().cpu().numpy()
        self.embedded[run.step] = h
        special = special_ids(self.tokenizer, len(self.unembedding))
        self._ranked[run.step], _ = top_tokens(h, self.unembedding, 10, special)
        v = variation(self.embedded[0], h, self.directions).mean(axis=0)
        beside = above_chance(pair_hits(self._ranked[run.step], self.content))
        self.rows.append(
            {"step": run.step, "v_1": float(v[0]), "max_other_v": float(np.abs(v[1:]).max()), "beside": beside}
        )
        self.on_look(self)

    def own(self, i: int) -> list[str]:
        """The tokens of text i, as a person reads them."""
        return readable(self.tokenizer, self.surface[i])

    def tokens(self, i: int, k: int = 8) -> dict[int, list[str]]:
        """The first k aligned tokens of text i, by step."""
        return {step: readable(self.tokenizer, ids[i, :k]) for step, ids in self._ranked.items()}


def log(name: str) -> dict:
    """The record of an adapter's training that ships with it: ``probe``, ``losses``, ``recipe`` and more.

    Raises:
        FileNotFoundError: no adapter of that name.
    """
    return json.loads(gates.file(registry.ADAPTERS / name / "training.json").read_text(encoding="utf-8"))


def step_of(rows: Sequence[Mapping], key: str, share: float, kept: bool = False) -> int:
    """The first probed step at which a quantity has gone this share of its way, from the first row to the last.

    Args:
        rows: looks in their order, each with ``step`` and ``key``.
        key: name of the quantity.
        share: part of the way, above 0 and at most 1.
        kept: the step from which the share is not given up again, in the place of the first at which it is reached.

    Raises:
        ValueError: no rows, a share outside 0 to 1, or a quantity that ends where it began.
    """
    if not rows or not 0 < share <= 1:
        raise ValueError(f"needs rows and a share above 0 and at most 1; got {len(rows)} rows and {share}")
    start, way = rows[0][key], rows[-1][key] - rows[0][key]
    if not way:
        raise ValueError(f"{key} ends where it began, so there is no way to go")
    there = [(row[key] - start) / way >= share for row in rows]
    first = len(there) - there[::-1].index(False) if kept else there.index(True)
    return rows[first]["step"]
