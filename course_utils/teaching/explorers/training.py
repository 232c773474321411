"""Widgets of training: a page that follows a run step by step, and one that plays it back.

Both show :func:`training_page`, which is plain HTML and can be shown without them.
"""

import functools
import json
from collections.abc import Mapping, Sequence

import ipywidgets as widgets

from course_utils.measures.alignment import readable, surface_tokens
from course_utils.models import registry
from course_utils.models.embedder import load_family
from course_utils.teaching.explorers.page import live
from course_utils.teaching.explorers.tokens import TokenView
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.picture import image
from course_utils.teaching.figures.tokens import kinds, token_table
from course_utils.teaching.figures.training import training_curves


def training_page(
    losses: Sequence[float],
    rows: Sequence[Mapping],
    tokens: Mapping[int, Sequence[str]],
    surface: Sequence[str],
    total: int,
) -> str:
    """Where a run stands, as HTML: a sentence, the curves, and how one text decodes at several steps.

    Args:
        losses: one per step so far.
        rows: the probe's rows so far, at least one.
        tokens: aligned tokens of one text, by the step they were decoded after.
        surface: that text's own tokens.
        total: number of steps of the run.
    """
    row = rows[-1]
    loss = f"loss {losses[row['step'] - 1]:.2f}" if row["step"] else "untrained"
    status = (
        f"step {row['step']} of {total}: {loss}, v_1 = {row['v_1']:.2f}, largest other |v_j| = {row['max_other_v']:.2f}"
    )
    curves = image(training_curves(losses, rows, status, total))
    done = [step for step in tokens if step <= row["step"]]
    table = token_table(
        [f"step {step}" for step in done],
        [tokens[step] for step in done],
        [kinds(tokens[step], surface) for step in done],
        "What one text decodes to",
    )
    return f"<div>{curves}{table}</div>"


class LiveTraining:
    """A page that is redrawn while a run advances: show ``widget``, then call :meth:`update` from time to time."""

    def __init__(self, surface: Sequence[str], total: int):
        self.surface, self.total = list(surface), total
        self.widget = widgets.HTML("<p>not started</p>")

    def update(self, losses: Sequence[float], rows: Sequence[Mapping], tokens: Mapping[int, Sequence[str]]) -> None:
        """Show the state of the run; the arguments are those of :func:`training_page`."""
        self.widget.value = training_page(losses, rows, tokens, self.surface, self.total)


def replay(
    losses: Sequence[float],
    rows: Sequence[Mapping],
    tokens: Mapping[int, Sequence[str]],
    surface: Sequence[str],
    first: bool = False,
) -> Explorer:
    """A slider over the steps at which the probe looked, above the page of that step; opened at the last or first."""
    slider = widgets.SelectionSlider(
        options=[(str(row["step"]), n) for n, row in enumerate(rows, 1)],
        value=1 if first else len(rows),
        description="step",
        continuous_update=False,
    )

    @functools.cache
    def page(number: int) -> str:
        seen = rows[:number]
        return training_page(losses[: seen[-1]["step"]], seen, tokens, surface, rows[-1]["step"])

    return Explorer([slider, live(page, slider)])


def shipped_replay(name: str, text: str) -> Explorer:
    """:func:`replay` of a shipped adapter's training, opened at step 0 so that nothing is given away.

    The log holds the loss and the components at each look; the tokens are those of the two ends.

    Raises:
        ValueError: no such embedder.
        FileNotFoundError: an embedder without a log.
    """
    log = json.loads((registry.ADAPTERS / name / "training.json").read_text(encoding="utf-8"))
    family = load_family([registry.get(name).origin, name])
    tokenizer = family[name].tokenizer
    ends = zip((0, log["probe"][-1]["step"]), family.values(), strict=True)
    decoded = {step: TokenView(embedder).tokens(text, k=8)[0] for step, embedder in ends}
    own = readable(tokenizer, surface_tokens(tokenizer, [text])[0])
    return replay(log["losses"], log["probe"], decoded, own, first=True)
