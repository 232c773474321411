"""Figures of training: the loss, the movement along the first component, the logs of many runs.

A *log* is a list of rows as :class:`course_utils.training.runs.Probe` keeps them: dictionaries with ``step``,
``v_1``, ``max_other_v`` and, where pairs were judged, ``spearman``.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_utils.teaching.figures.style import PALETTE, head, look, ring, styled


@styled
def loss_along_shift(shares: Sequence[float], losses: Mapping[str, Sequence[float]], title: str) -> Figure:
    """InfoNCE against the share of the first component taken away, one line for each kind of negatives.

    A ring marks the smallest loss of every line.

    Args:
        shares: 0 leaves the embeddings as they are, 1 removes the mean coefficient of the first component.
        losses: values for each share, by the name of the line.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4))
    for position, (name, values) in enumerate(losses.items()):
        axes.plot(shares, values, markersize=5, label=name, **look(position))
        ring(axes, shares, values, np.argmin)
    axes.set(title=title, xlabel="share of the mean first component taken away", ylabel="InfoNCE loss (nats)", ylim=0)
    axes.legend(frameon=False)
    return figure


@styled
def training_curves(losses: Sequence[float], rows: Sequence[Mapping], title: str, total: int | None = None) -> Figure:
    """One run: the loss of every step beside ``v_1`` and the largest other ``|v_j|`` where the probe looked.

    Args:
        losses: one per step, from step 1 on; may be empty.
        rows: the probe's rows so far, at least one.
        total: length of the step axis; by default the steps done.

    Raises:
        ValueError: no row.
    """
    if not rows:
        raise ValueError("no row to draw: call the probe once before training")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    left.plot(range(1, len(losses) + 1), losses, color=PALETTE[0])
    left.set(xlabel="training step", ylabel="InfoNCE loss (nats)", ylim=0)
    steps = [row["step"] for row in rows]
    right.axhline(0, color="black", linewidth=0.8)
    right.plot(steps, [row["v_1"] for row in rows], color=PALETTE[3], marker="o", label="$v_1$")
    others = [row["max_other_v"] for row in rows]
    for sign, label in ((1, "largest other $|v_j|$, on both sides"), (-1, None)):
        right.plot(steps, sign * np.array(others), color="0.45", marker=".", linestyle="--", label=label)
    right.fill_between(steps, -np.array(others), others, color="0.85")
    right.set(xlabel="training step", ylabel="$v_j$ (units of the embedding)")
    right.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    for axes in (left, right):
        axes.set_xlim(0, total or max(1, len(losses), *steps))
    head(figure, title)
    return figure


@styled
def run_curves(losses: Sequence[float], rows: Sequence[Mapping], title: str) -> Figure:
    """One run in three panels: the loss, the movement along the components, and how often content words come out.

    Args:
        losses: one per step, from step 1 on.
        rows: what was measured, a dictionary for each look: ``step``, ``v_1``, ``max_other_v``, and ``beside``, a
            :class:`course_utils.measures.nulls.Beside` of content Hit@10.

    Raises:
        ValueError: no row.
    """
    if not rows:
        raise ValueError("no row to draw: look once before training")
    figure, (loss, moved, found) = plt.subplots(1, 3, figsize=(11.5, 3.8))
    steps = [row["step"] for row in rows]
    loss.plot(range(1, len(losses) + 1), losses, color=PALETTE[0])
    loss.set(ylabel="InfoNCE loss of the batch (nats)", ylim=0)
    moved.axhline(0, color="black", linewidth=0.8)
    moved.plot(steps, [row["v_1"] for row in rows], color=PALETTE[3], marker="o", label="$v_1$")
    others = np.array([row["max_other_v"] for row in rows])
    moved.fill_between(steps, -others, others, color="0.8", label="largest other $|v_j|$")
    moved.set(ylabel="movement (embedding units)")
    values = [row["beside"].value for row in rows]
    found.errorbar(
        steps,
        [v.value for v in values],
        [[v.value - v.low for v in values], [v.high - v.value for v in values]],
        color=PALETTE[0],
        marker="o",
        capsize=3,
        label="own words, 95 % interval",
    )
    found.plot(
        steps, [row["beside"].chance for row in rows], color="0.35", linestyle="--", label="another text's words"
    )
    found.set(ylabel="content Hit@10 (share of the texts)", ylim=(0, 1.03))
    for axes in (moved, found):
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize="small")
    last = max(1, len(losses), *steps)
    for axes in (loss, moved, found):
        axes.set(xlabel="training step", xlim=(-0.03 * last, 1.03 * last))  # room for the bars at both ends
    head(figure, title)
    return figure


@styled
def compare_logs(logs: Mapping[str, Sequence[Mapping]], title: str) -> Figure:
    """Many runs: ``v_1`` over the steps on the left, the STS Spearman where it was measured on the right.

    The step axis is linear up to 1 and logarithmic from there, because most happens early.

    Args:
        logs: rows by the name of the run.

    Raises:
        ValueError: no run.
    """
    if not logs:
        raise ValueError("no log to draw")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
    left.axhline(0, color="black", linewidth=0.8)
    for number, (name, rows) in enumerate(logs.items()):
        left.plot([row["step"] for row in rows], [row["v_1"] for row in rows], markersize=5, label=name, **look(number))
        judged = [(row["step"], row["spearman"]) for row in rows if "spearman" in row]
        if judged:
            right.plot(*zip(*judged, strict=True), markersize=5, **look(number))
    left.set(ylabel="$v_1$ (units of the embedding)")
    right.set(ylabel="Spearman with human judgement")
    for axes in (left, right):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([0, 1, 3, 10, 30, 100, 300], ["0", "1", "3", "10", "30", "100", "300"])
        axes.set(
            xlabel="training step (logarithmic)", xlim=(0, 1.15 * max(r["step"] for log in logs.values() for r in log))
        )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    head(figure, title)
    return figure


@styled
def along_strength(
    strengths: Sequence[float], v: Mapping[str, Sequence[float]], rates: Mapping[str, Sequence[float]], title: str
) -> Figure:
    """Models on the line from an origin (strength 0) to its trained self (1): movement on the left, rates on the right.

    A ring marks the highest point of every rate.

    Args:
        strengths: the part of the learned change of the weights that each model keeps.
        v: movement along components, in units of the embedding, by name; one value for each strength.
        rates: values between 0 and 1, by name; one for each strength.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    left.axhline(0, color="black", linewidth=0.8)
    for axes, lines in ((left, v), (right, rates)):
        for position, (name, values) in enumerate(lines.items()):
            values = np.asarray(values)  # a column of a table would look its places up by label
            axes.plot(strengths, values, markersize=5, label=name, **look(position + (0 if axes is right else 3)))
            if axes is right:
                ring(axes, strengths, values)
        axes.set_xlabel("strength: part of the learned change that is kept")
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    left.set_ylabel("$v_j$ (units of the embedding)")
    right.set(ylabel="rate", ylim=(0, 1.05))
    head(figure, title)
    return figure
