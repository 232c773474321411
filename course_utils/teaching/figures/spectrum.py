"""Pictures of the spectrum: how large the first component is, how far training moves along it, what a step does."""

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from course_utils.measures.spectrum import Variation
from course_utils.teaching.figures.style import PALETTE, head, look, ring, styled
from course_utils.teaching.figures.tokens import name_tokens

FIRST, REST = PALETTE[0], PALETTE[1]


@styled
def shares(by_name: Mapping[str, np.ndarray], title: str, first: int = 15) -> Figure:
    """Share of the squared norm in each of the first components, one line per model; logarithmic."""
    figure, axes = plt.subplots(figsize=(8, 3.8))
    numbers = np.arange(1, first + 1)
    for i, (name, values) in enumerate(by_name.items()):
        axes.plot(numbers, 100 * values[:first], label=name, **look(i))
    axes.set_yscale("log")
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set_xticks(numbers)
    axes.set(title=title, xlabel="component j, largest first", ylabel="share of the squared norm (%)")
    axes.legend()
    return figure


@styled
def variation_grid(found: Mapping[str, Variation], notes: Mapping[str, str], title: str, columns: int = 2) -> Figure:
    """``v_j`` of every component with its interval, one panel per embedder; the first component stands out.

    Args:
        found: summaries by the name of the embedder.
        notes: what stands beside the name, e.g. the origin.
    """
    rows = -(-len(found) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(5 * columns, 0.7 + 2.3 * rows), squeeze=False)
    for axes, (name, v) in zip(grid.flat, found.items(), strict=False):
        _variation_panel(axes, v)
        axes.set_title(f"{name}  ({notes[name]})", fontsize=10.5)
        axes.set_ylabel("v_j (length)")
    for axes in list(grid.flat)[len(found) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel("component j, largest first (logarithmic)")
    head(figure, title)
    return figure


def _variation_panel(axes, v: Variation) -> None:
    j = np.arange(1, len(v.v) + 1)
    axes.vlines(j[1:], v.low[1:], v.high[1:], color=REST, alpha=0.6, linewidth=1)
    axes.plot(j[1:], v.v[1:], ".", color=REST, markersize=3)
    error = [[v.v[0] - v.low[0]], [v.high[0] - v.v[0]]]
    axes.errorbar(1, v.v[0], yerr=error, fmt="D", color=FIRST, markersize=7, capsize=4)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 50, len(v.v)], ["1", "2", "5", "10", "50", str(len(v.v))])
    axes.minorticks_off()
    axes.annotate(
        f" v_1 = {v.v[0]:.1f}, {100 * v.share.value:.0f} % of |v|²", (1, v.v[0]), xytext=(8, 0),
        textcoords="offset points", va="center", fontsize=9.5,
    )  # fmt: skip


@styled
def contributions(panels: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]], title: str) -> Figure:
    """What the first component and the rest give to the top tokens, one panel per model.

    Args:
        panels: for each model its tokens (best first), the part of the first component and the part of the
            rest, each ``[k]``, both measured from their mean over the vocabulary.
    """
    k = max(len(tokens) for tokens, _, _ in panels.values())
    figure, grid = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 1.6 + 0.33 * k), squeeze=False)
    for axes, (name, (tokens, along, rest)) in zip(grid[0], panels.items(), strict=True):
        rows = np.arange(len(tokens))
        axes.barh(rows - 0.2, along, height=0.38, color=FIRST, label="first component")
        axes.barh(rows + 0.2, rest, height=0.38, color=REST, hatch="//", edgecolor="white", label="the rest")
        axes.plot(along + rest, rows, "kD", markersize=5, label="sum: decides the rank")
        name_tokens(axes, tokens)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(name, fontsize=10.5)
        axes.set_xlabel("logit above the vocabulary's mean")
    grid[0, 0].set_ylabel("aligned token, best first")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    head(figure, title)
    return figure


@styled
def sweep(
    amounts: np.ndarray,
    panels: Mapping[str, Mapping[str, np.ndarray]],
    trained: Mapping[str, float],
    title: str,
    unmarked: Collection[str] = (),
) -> Figure:
    """Measures as functions of λ, one panel each, with the v_1 of trained embedders as vertical lines.

    Args:
        amounts: the values of λ, ``[m]``.
        panels: panel label -> line label -> values ``[m]``; the best value of each line is marked.
        trained: ``v_1`` by the name of the trained embedder, at most four.
        unmarked: labels of panels in which no value is better than another.
    """
    figure, grid = plt.subplots(2, 3, figsize=(10.5, 6), sharex=True)
    styles = ["--", ":", "-.", (0, (6, 1, 1, 1, 1, 1))]
    for axes, (label, lines) in zip(grid.flat, panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            values = np.asarray(values)
            axes.plot(amounts, values, markersize=4, label=name, **look(i))
            if label not in unmarked:
                ring(axes, amounts, values)
        for place, style in zip(trained.values(), styles, strict=False):
            axes.axvline(place, color=PALETTE[3], linestyle=style)
        axes.set_title(label, fontsize=10.5)
        if len(lines) > 1:
            axes.legend(fontsize=8.5)
    for axes in grid[-1]:
        axes.set_xlabel("λ (length; 0 = untrained)")
    handles = [
        *(
            Line2D([], [], color=PALETTE[3], linestyle=style, label=f"v_1 = {place:.1f} of {name}")
            for (name, place), style in zip(trained.items(), styles, strict=False)
        ),
        Line2D([], [], color="black", marker="o", markersize=10, fillstyle="none", linestyle="", label="best λ"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    head(figure, title)
    return figure


@styled
def per_text(coefficient: np.ndarray, moved: np.ndarray, one: float, title: str) -> Figure:
    """How far training moved each text against where the text stood, with the one λ for all as a line."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    axes.scatter(coefficient, moved, s=8, alpha=0.4, color=FIRST, label="one text")
    axes.axhline(one, color=PALETTE[3], linestyle="--", label=f"one λ for all: v_1 = {one:.1f}")
    slope, constant = np.polyfit(coefficient, moved, 1)
    ends = np.array([coefficient.min(), coefficient.max()])
    axes.plot(ends, slope * ends + constant, color=REST, label=f"line of best fit, slope {slope:.2f}")
    axes.set_title(title)
    axes.set_xlabel("where the untrained embedding stands on the first component (length)")
    axes.set_ylabel("how far training moved it (length)")
    axes.legend()
    return figure


@styled
def angles(sizes: Sequence[int], found: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Angle between first components against the number of texts they were computed from; both axes logarithmic."""
    figure, axes = plt.subplots(figsize=(7, 3.8))
    for i, (name, values) in enumerate(found.items()):
        axes.plot(sizes[: len(values)], values, label=name, **look(i))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(s) for s in sizes])
    axes.minorticks_off()
    low, high = min(map(min, found.values())) / 1.3, max(map(max, found.values())) * 1.3
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 45) if low <= t <= high]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_ylim(low, high)
    axes.set(title=title, xlabel="number of texts n (logarithmic)", ylabel="angle (degrees, logarithmic)")
    axes.legend()
    return figure


@styled
def layers(share: Mapping[str, np.ndarray], movement: np.ndarray, first_part: np.ndarray, title: str) -> Figure:
    """Layer by layer: share of the first component (left); how far training moved, in all and along u_1 (right)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9))
    for i, (name, values) in enumerate(share.items()):
        left.plot(100 * values, markersize=4, label=name, **look(i))
    left.set(xlabel="layer", ylabel="squared norm in the first component (%)", ylim=(0, 103))
    left.legend()
    right.plot(movement, marker="s", markersize=4, color=REST, label="whole movement")
    right.plot(first_part, marker="D", markersize=4, color=FIRST, label="part along the first component")
    right.set(xlabel="layer", ylabel="length moved, relative to |h|", ylim=(0, None))
    right.legend()
    head(figure, title)
    return figure


@styled
def training(logs: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> Figure:
    """v_1 and the largest other |v_j| during training, one panel per embedder, from the rows of its log."""
    columns = min(3, len(logs))
    rows = -(-len(logs) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.8 * columns, 0.9 + 2.5 * rows), squeeze=False)
    for axes, (name, log) in zip(grid.flat, logs.items(), strict=False):
        steps = [row["step"] for row in log]
        axes.plot(steps, [abs(row["v_1"]) for row in log], marker="D", markersize=4, color=FIRST, label="|v_1|")
        other = [row["max_other_v"] for row in log]
        axes.plot(steps, other, marker="o", markersize=4, color=REST, label="largest other |v_j|")
        axes.set_xscale("symlog", linthresh=1)
        ticks = [t for t in (0, 1, 4, 15, 40, 160, 640) if t <= steps[-1]]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.set_title(name, fontsize=10.5)
        axes.set(xlabel="training step (logarithmic)", ylabel="length")
    for axes in list(grid.flat)[len(logs) :]:
        axes.set_axis_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    head(figure, title)
    return figure
