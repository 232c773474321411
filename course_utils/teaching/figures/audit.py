"""Pictures of audits: alignment of many embedders beside chance, and against a property of each."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from course_utils.teaching.figures.style import (
    PALETTE,
    REFERENCE,
    distinct,
    draw_intervals,
    head,
    look,
    name_rows,
    places,
    styled,
)


@styled
def guests(table: pd.DataFrame, title: str, xlabel: str = "share of the texts") -> Figure:
    """A row for each embedder, a mark with its interval for each measure, a grey bar for its chance.

    Args:
        table: columns ``embedder``, ``measure``, ``value``, ``low``, ``high``, ``chance``; an embedder without a
            measure has no row of it, and stays blank there.
        title: the finding.
        xlabel: what is counted.

    Raises:
        ValueError: a missing column, or no rows.
    """
    names, measures = distinct(table, "embedder", "measure", needed=("value", "low", "high", "chance"))
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.42 * len(names)))
    for number, measure in enumerate(measures):
        own = table[table["measure"] == measure]
        rows = places(own["embedder"], names) + 0.36 * ((number + 0.5) / len(measures) - 0.5)
        axes.plot(own["chance"], rows, linestyle="", marker="|", markersize=11, markeredgewidth=3, color=REFERENCE,
                  label="chance: the words of other texts" if number == 0 else None)  # fmt: skip
        draw_intervals(axes, own, rows, label=measure, **look(number))
    axes.set(xlim=(-0.02, 1.02), xlabel=xlabel)
    name_rows(axes, names)
    figure.legend(loc="outside lower center", ncols=len(measures) + 1, frameon=False)
    head(figure, title)
    return figure


@styled
def against(table: pd.DataFrame, properties: Sequence[tuple[str, str]], title: str) -> Figure:
    """Alignment against properties of the embedders, one panel each: a point for each embedder, with its interval.

    Args:
        table: columns ``embedder``, ``kind``, ``value``, ``low``, ``high`` and one for each property.
        properties: column and label of each.
        title: the finding.

    Raises:
        ValueError: a missing column, or no rows.
    """
    _, kinds = distinct(table, "embedder", "kind", needed=("value", "low", "high", *(c for c, _ in properties)))
    figure, panels = plt.subplots(1, len(properties), figsize=(8, 3.8), sharey=True, squeeze=False)
    for axes, (column, label) in zip(panels[0], properties, strict=True):
        for number, kind in enumerate(kinds):
            own = table[table["kind"] == kind]
            axes.vlines(own[column], own["low"], own["high"], color=PALETTE[number], linewidth=2)
            axes.plot(own[column], own["value"], linestyle="", label=kind, **look(number))
        axes.axhline(0, color=REFERENCE, linestyle="--", linewidth=1.5)
        axes.set(xlabel=label, xlim=(-0.05, 1.05))
    panels[0, 0].set_ylabel("content Hit@10 minus chance")
    panels[0, -1].legend(loc="best")
    head(figure, title)
    return figure
