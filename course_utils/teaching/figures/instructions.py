"""Figures of instructions: which aspect was asked for and which one is seen, what an instruction gains."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_utils.teaching.figures import style
from course_utils.teaching.figures.style import PALETTE, REFERENCE, SEQUENTIAL, styled


@styled
def crossed(
    tables: Mapping[str, np.ndarray],
    asked: Sequence[str],
    measured: Sequence[str],
    title: str,
    rows_are: str = "asked for",
) -> Figure:
    """One panel per embedder: rows are what was asked, columns what is measured; asked = measured is framed.

    Args:
        tables: embedder -> V-measures ``[asked, measured]``.
        rows_are: what the vertical axis is called.

    Raises:
        ValueError: no table, or one of another shape.
    """
    shapes = {name: np.shape(table) for name, table in tables.items()}
    if not shapes or set(shapes.values()) != {(len(asked), len(measured))}:
        raise ValueError(f"every table must be [{len(asked)}, {len(measured)}]; got {shapes}")
    highest = max(np.max(table) for table in tables.values())
    width = 1.6 + 2.0 * len(tables)
    figure, grid = plt.subplots(1, len(tables), figsize=(width, 1.5 + 0.42 * len(asked)), sharey=True, squeeze=False)
    for axes, (name, table) in zip(grid[0], tables.items(), strict=True):
        sns.heatmap(
            pd.DataFrame(table, index=list(asked), columns=list(measured)),
            ax=axes, annot=True, fmt=".2f", cmap=SEQUENTIAL, vmin=0, vmax=max(highest, 0.01), cbar=False, linewidths=1,
        )  # fmt: skip
        for i, j in ((i, j) for i, a in enumerate(asked) for j, m in enumerate(measured) if a == m):
            axes.add_patch(Rectangle((j, i), 1, 1, fill=False, edgecolor="black", linewidth=2))
        axes.set_title(name, fontsize=11, loc="center")
        axes.tick_params(axis="both", length=0, rotation=0)
        axes.tick_params(axis="x", rotation=30)
    grid[0, 0].set_ylabel(rows_are)
    figure.supxlabel("labels that the clusters are compared with (V-measure, 0 to 1)", fontsize=11)
    style.head(figure, title)
    return figure


@styled
def by_instruction(table: pd.DataFrame, title: str, label: str, chance: Mapping[str, float] | None = None) -> Figure:
    """One panel per measured aspect, one row per embedder, one mark per kind of instruction, with intervals.

    Args:
        table: columns ``embedder``, ``aspect``, ``instruction``, ``value``, ``low``, ``high``.
        label: what the horizontal axis shows, with its unit.
        chance: by aspect, where a dashed line is drawn.

    Raises:
        ValueError: a column is missing, or there is nothing to draw.
    """
    names, kinds, panels = style.distinct(table, "embedder", "instruction", "aspect")
    size = (3.5 * len(panels), 1.7 + 0.55 * len(names))
    figure, grid = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axes, aspect in zip(grid[0], panels, strict=True):
        for i, kind in enumerate(kinds):
            part = table[(table["aspect"] == aspect) & (table["instruction"] == kind)]
            rows = style.places(part["embedder"], names) + 0.18 * (i - (len(kinds) - 1) / 2)
            style.draw_intervals(axes, part, rows, label=kind, **style.look(i))
        if chance is not None:
            axes.axvline(chance[aspect], color=REFERENCE, linestyle="--", linewidth=1, label="chance")
        axes.set(title=aspect, xlabel=label)
        axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    style.name_rows(grid[0, 0], names)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    style.head(figure, title)
    return figure


@styled
def gains(table: pd.DataFrame, title: str, label: str) -> Figure:
    """What asking for an aspect gains, against no instruction and against controls: one panel per control.

    Args:
        table: columns ``embedder``, ``aspect``, ``control``, ``value``, ``low``, ``high``.
        label: what the horizontal axis shows, with its unit.

    Raises:
        ValueError: a column is missing, or there is nothing to draw.
    """
    names, aspects, controls = style.distinct(table, "embedder", "aspect", "control")
    size = (4.4 * len(controls) + 1, 1.7 + 0.55 * len(names))
    figure, grid = plt.subplots(1, len(controls), figsize=size, sharey=True, sharex=True, squeeze=False)
    for axes, control in zip(grid[0], controls, strict=True):
        axes.axvline(0, color=REFERENCE, linewidth=1)
        for i, aspect in enumerate(aspects):
            part = table[(table["control"] == control) & (table["aspect"] == aspect)]
            rows = style.places(part["embedder"], names) + 0.2 * (i - (len(aspects) - 1) / 2)
            style.draw_intervals(axes, part, rows, label=aspect, **style.look(i))
        axes.set(title=control, xlabel=label)
    style.name_rows(grid[0, 0], names)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    style.head(figure, title)
    return figure


def smoothed(losses: Sequence[float], window: int = 10) -> np.ndarray:
    """Mean of each step and the ``window - 1`` before it, ``[steps - window + 1]``.

    Raises:
        ValueError: fewer losses than ``window``.
    """
    if len(losses) < window:
        raise ValueError(f"a mean of {window} steps needs at least as many losses; got {len(losses)}")
    return np.convolve(losses, np.full(window, 1 / window), "valid")


@styled
def stages(losses: Sequence[float], ends: Sequence[int], title: str, window: int = 10) -> Figure:
    """The loss of every step as a dot, its running mean within each stage as a line, and where the stages end.

    Args:
        losses: one per step.
        ends: last step of every stage, rising; the last one is the number of losses.
        window: steps of the running mean.

    Raises:
        ValueError: ends that do not fit the losses, or a stage shorter than the window.
    """
    starts = [0, *ends][:-1]
    if len(ends) == 0 or ends[-1] != len(losses) or any(a >= b for a, b in zip(starts, ends, strict=True)):
        raise ValueError(f"ends must rise to the number of losses, {len(losses)}; got {list(ends)}")
    figure, axes = plt.subplots(figsize=(8, 3.6))
    axes.plot(range(1, len(losses) + 1), losses, ".", color="0.7", markersize=4, label="one step")
    for number, (a, b) in enumerate(zip(starts, ends, strict=True)):
        mean = smoothed(losses[a:b], window)
        axes.plot(range(a + window, b + 1), mean, color=PALETTE[0], label=None if number else f"mean of {window} steps")
        axes.text(
            (a + b) / 2, 1.01, f"stage {number + 1}", transform=axes.get_xaxis_transform(), ha="center", fontsize=10
        )
        if number:
            axes.axvline(a + 0.5, color=REFERENCE, linewidth=1)
    axes.set(xlabel="training step", ylabel="loss (nats)", ylim=0, xlim=(0, len(losses)))
    axes.legend(frameon=False, loc="lower left")
    style.head(figure, title)
    return figure
