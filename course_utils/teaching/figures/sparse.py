"""Pictures of retrieval: which setting, which system, which token, at which cost."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_utils.measures.evaluation import Interval
from course_utils.search.results import Curve
from course_utils.search.sparse import Match
from course_utils.teaching.figures.style import PALETTE, SEQUENTIAL, head, look, name_rows, styled
from course_utils.teaching.figures.tokens import name_tokens

_LINES = ("-", "--", "-.", ":")
_NO_MARKS = MappingProxyType({})


@styled
def heat_map(means: np.ndarray, ks: Sequence[int], ms: Sequence[int], chosen: tuple[int, int], title: str) -> Figure:
    """Quality for every K (rows) and M (columns), with its number; the chosen pair has a frame."""
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(ks) + 1.3))
    image = axes.imshow(means, cmap=SEQUENTIAL, aspect="auto")
    middle = (means.max() + means.min()) / 2
    for i, j in np.ndindex(*means.shape):
        axes.text(j, i, f"{means[i, j]:.2f}", ha="center", va="center", color="w" if means[i, j] > middle else "k")
    corner = (ms.index(chosen[1]) - 0.5, ks.index(chosen[0]) - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=PALETTE[1], linewidth=3))
    axes.set_xticks(range(len(ms)), ms)
    axes.set_yticks(range(len(ks)), ks)
    axes.grid(False)
    axes.set(xlabel="M: aligned tokens added to a query", ylabel="K: tokens kept per document")
    head(figure, title)
    figure.colorbar(image, ax=axes, label="mean nDCG@10")
    return figure


@styled
def dots(values: Mapping[str, Interval], title: str, xlabel: str, reference: tuple[str, float] | None = None) -> Figure:
    """One value with its interval per line, in the given order; a reference is a vertical line with a name."""
    figure, axes = plt.subplots(figsize=(8, 0.38 * len(values) + 1.3))
    for y, value in enumerate(values.values()):
        axes.plot([value.low, value.high], [y, y], color=PALETTE[0], linewidth=2)
        axes.plot(value.value, y, "o", color=PALETTE[0], markersize=7)
    if reference:
        axes.axvline(reference[1], color=PALETTE[1], linestyle="--", label=reference[0])
        axes.legend(loc="best")
    name_rows(axes, list(values))
    axes.set(xlabel=xlabel)
    head(figure, title)
    return figure


@styled
def panels(
    by_panel: Mapping[str, Mapping[str, Interval]], title: str, xlabel: str, reference: float | None = None
) -> Figure:
    """The same systems on several collections or embedders, one panel each; a reference is a vertical line."""
    systems = list(dict.fromkeys(system for values in by_panel.values() for system in values))
    size = (3.6 + 2.7 * len(by_panel), 0.36 * len(systems) + 1.5)
    figure, grid = plt.subplots(1, len(by_panel), figsize=size, sharey=True, squeeze=False)
    for axes, (name, values) in zip(grid[0], by_panel.items(), strict=True):
        for y, system in enumerate(systems):
            if system in values:
                v, hybrid = values[system], " + " in system
                colour = PALETTE[1] if hybrid else PALETTE[0]
                axes.plot([v.low, v.high], [y, y], color=colour, linewidth=2)
                axes.plot(v.value, y, "D" if hybrid else "o", color=colour, markersize=6)
        if reference is not None:
            axes.axvline(reference, color="#777777", linestyle="--")
        axes.set_title(name, fontsize=10.5)
        axes.set_xlabel(xlabel)
    name_rows(grid[0, 0], systems)
    head(figure, title)
    return figure


@styled
def matches(found: Sequence[Match], title: str, first: int = 12) -> Figure:
    """What the largest shared tokens add to the score of one document."""
    found = list(found)[:first]
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(found) + 1.2))
    axes.barh(range(len(found)), [match.product for match in found], color=PALETTE[0])
    name_tokens(axes, [match.token for match in found], "shared token")
    axes.set(xlabel="query weight × document weight")
    head(figure, title)
    return figure


@styled
def against(a: np.ndarray, b: np.ndarray, title: str, xlabel: str, ylabel: str) -> Figure:
    """Two systems query by query; the area of a dot says how many queries lie on it. Above the line b is better."""
    points, counts = np.unique(np.stack([a, b], axis=1).round(2), axis=0, return_counts=True)
    figure, axes = plt.subplots(figsize=(5.6, 5.2))
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=1)
    axes.scatter(*points.T, s=14 * counts, color=PALETTE[0], alpha=0.6, edgecolors="white", linewidths=0.5)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    head(figure, title)
    return figure


@styled
def pareto(
    panels: Mapping[str, Mapping[str, Curve]], title: str, marks: Mapping[str, tuple[str, float]] = _NO_MARKS
) -> Figure:
    """Quality against cost: one panel for each kind of cost, costs on a logarithmic axis.

    Args:
        panels: what a cost counts -> name of a series -> its points. A series of one point is drawn as a star.
        marks: what a cost counts -> name and place of a vertical line.
    """
    figure, grid = plt.subplots(1, len(panels), figsize=(9.5, 4.2), sharey=True, squeeze=False)
    for axes, (cost, series) in zip(grid[0], panels.items(), strict=True):
        for i, (name, points) in enumerate(series.items()):
            if len(points.cost) == 1:
                axes.plot(points.cost, points.quality, "*", markersize=13, color=PALETTE[i], label=name)
            else:
                axes.plot(points.cost, points.quality, label=name, linestyle=_LINES[i % 4], **look(i))
            for x, y, label in zip(points.cost, points.quality, points.labels or [""] * len(points.cost), strict=True):
                axes.annotate(label, (x, y), xytext=(3, -11), textcoords="offset points", fontsize=8.5)
        if cost in marks:
            axes.axvline(marks[cost][1], color="#777777", linestyle=":", label=marks[cost][0])
        axes.set_xscale("log")
        axes.set(xlabel=cost)
        axes.legend(fontsize=8.5, loc="best")
    grid[0, 0].set_ylabel("nDCG@10, held-out half")
    head(figure, title)
    return figure


@styled
def time_by_size(measured: pd.DataFrame, title: str) -> Figure:
    """Milliseconds per query against the number of documents, one line per method; both axes logarithmic.

    Args:
        measured: columns ``documents``, ``method``, ``ms``, as
            :func:`course_utils.search.costs.measure_search` returns them.
    """
    figure, axes = plt.subplots(figsize=(8, 4.4))
    for i, (method, rows) in enumerate(measured.groupby("method", sort=False)):
        axes.plot(rows.documents, rows.ms, label=method, linestyle=_LINES[i % 4], **look(i))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel="documents in the collection (number)", ylabel="one query, without the encoder (ms)")
    axes.legend()
    head(figure, title)
    return figure
