"""Figures of lesson 09: what a loss asks of the first component, and what training then does to it.

A *log* is what :mod:`course_utils.training.causes` keeps of a run: its ``probe`` is a list of rows with ``step``,
``v_1`` and ``alpha``, the mean coefficient along the first component of the untrained model.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from course_utils.teaching.figures.style import PALETTE, REFERENCE, head, look, styled


@styled
def temperatures(
    taus: Sequence[float],
    shifts: Sequence[Sequence[float]],
    measured: Mapping[float, Sequence[float]],
    others: Mapping[float, Sequence[float]],
    title: str,
) -> Figure:
    """Where the loss of untrained embeddings is smallest along u_1, beside how far training went.

    Args:
        taus: temperatures of the curve.
        shifts: best shift of each batch of untrained embeddings, for each temperature.
        measured: ``v_1`` of every run, by temperature.
        others: the largest ``|v_j|`` of the other components in every run, by temperature.
        title: the finding.

    Raises:
        ValueError: no run.
    """
    if not measured:
        raise ValueError("no run to draw")
    figure, axes = plt.subplots(figsize=(7.5, 4.2))
    axes.axhline(0, color="black", linewidth=0.8)
    means = [np.mean(batch) for batch in shifts]
    low, high = ([np.quantile(batch, q) for batch in shifts] for q in (0.25, 0.75))
    axes.fill_between(taus, low, high, color=PALETTE[0], alpha=0.2, label="middle half of the batches")
    axes.plot(taus, means, color=PALETTE[0], label="best shift of untrained embeddings")
    places, values = zip(*((tau, v) for tau, runs in measured.items() for v in runs), strict=True)
    axes.plot(places, values, "D", color=PALETTE[3], fillstyle="none", label="$v_1$ after 30 steps, one mark a run")
    far = [max(others[tau]) for tau in measured]
    axes.vlines(
        list(measured),
        np.negative(far),
        far,
        color=REFERENCE,
        linewidth=6,
        alpha=0.35,
        label="farthest other component",
    )
    axes.set_xscale("log")
    axes.set_xticks(list(measured), [f"{tau:g}" for tau in measured])
    axes.minorticks_off()
    axes.set(xlabel="temperature τ (logarithmic)", ylabel="movement along $u_1$ (units of the embedding)")
    axes.legend(frameon=False)
    head(figure, title)
    return figure


@styled
def paths(
    panels: Mapping[str, Mapping[str, Sequence[Mapping]]],
    title: str,
    of: Callable[[Mapping, Mapping], float] = lambda row, start: row["alpha"] / (row["alpha"] - row["v_1"]),
    ylabel: str = "mean coefficient along $u_1$\n(share of its start)",
) -> Figure:
    """Small multiples: something of every log over the steps, its mean over the seeds and a band that spans them all.

    Args:
        panels: title of the panel → name of the line → its logs.
        title: the finding.
        of: a row of a probe and the first row of as many texts → what is drawn; by default the mean coefficient as a
            share of what it was for the same texts.
        ylabel: what that is.

    Raises:
        ValueError: a line without a log.
    """
    names = list(dict.fromkeys(label for lines in panels.values() for label in lines))  # one look for a name
    figure, panes = plt.subplots(1, len(panels), figsize=(3.9 * max(len(panels), 2), 4.6), sharey=True, squeeze=False)
    for panel, (name, lines) in zip(panes[0], panels.items(), strict=True):
        panel.axhline(1, color=REFERENCE, linewidth=0.8, linestyle="--")
        for label, logs in lines.items():
            if not logs:
                raise ValueError(f"no log of {label!r}")
            style = look(names.index(label))
            steps = [row["step"] for row in logs[0]["probe"]]
            values = np.array([[of(row, _start(log, row)) for row in log["probe"]] for log in logs])
            panel.plot(steps, values.mean(axis=0), markersize=5, label=label, **style)
            panel.fill_between(steps, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.25)
        panel.set_title(name, loc="left")
        panel.set(xlabel="training step")
        panel.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize="small")
    panes[0, 0].set(ylabel=ylabel, ylim=(0, None))
    head(figure, title)
    return figure


def _start(log: Mapping, row: Mapping) -> Mapping:
    """The first row of a log's probe that looked at as many texts."""
    return next(first for first in log["probe"] if first["n"] == row["n"])


@styled
def readouts(values: Mapping[str, Mapping[str, Sequence[float]]], untrained: Mapping[str, float], title: str) -> Figure:
    """Content Hit@10 of losses that see u_1 and of losses that do not, read with u_1 and without it.

    Args:
        values: name of the loss → ``"raw"`` and ``"u_1 removed"`` → one number for each seed.
        untrained: the same two numbers of the untrained model.
    """
    figure, axes = plt.subplots(figsize=(7, 4))
    ways = ("raw", "u_1 removed")
    axes.plot(ways, [untrained[way] for way in ways], color=REFERENCE, linestyle="--", marker=".", label="untrained")
    for number, (name, by_way) in enumerate(values.items()):
        means = [np.mean(by_way[way]) for way in ways]
        spread = np.array([[m - min(by_way[w]), max(by_way[w]) - m] for m, w in zip(means, ways, strict=True)]).T
        axes.errorbar(ways, means, spread, capsize=4, label=name, **look(number))
    axes.set(xlim=(-0.3, 1.3), ylim=(0, 1.03), ylabel="content Hit@10 (share of the texts)", xlabel="how it is read")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    head(figure, title)
    return figure


@styled
def landscape(shifts: Sequence[float], losses: Sequence[float], at: float, slope: float, title: str) -> Figure:
    """InfoNCE of one batch against a common shift along u_1, with the tangent where the slider stands.

    Args:
        shifts: in units of the embedding.
        losses: the loss at every shift.
        at: where the slider stands.
        slope: of the loss there, per unit.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4))
    here = float(np.interp(at, shifts, losses))
    axes.plot(shifts, losses, color=PALETTE[0], label="loss of the batch")
    near = np.array([-6.0, 6.0])
    axes.plot(at + near, here + slope * near, color=PALETTE[3], label="slope here")
    axes.plot([at], [here], "o", color=PALETTE[3])
    axes.axvline(0, color=REFERENCE, linewidth=0.8, linestyle="--", label="untrained")
    axes.set(xlabel="every text moved along $u_1$ by (units of the embedding)", ylabel="InfoNCE loss (nats)")
    axes.set_ylim(0, 1.05 * max(losses))
    axes.legend(frameon=False)
    head(figure, title)
    return figure
