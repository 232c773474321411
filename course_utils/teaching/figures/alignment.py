"""Figures of the alignment measures: intervals by embedder, length of a text, the trap of a short list."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from course_utils.teaching.figures import style
from course_utils.teaching.figures.style import PALETTE, REFERENCE, styled
from course_utils.teaching.figures.tokens import name_tokens

#: How the readings are drawn: colour, marker, vertical place within a row.
_READINGS = {"raw": (PALETTE[0], "o", -0.13), "merged": (PALETTE[1], "D", 0.13)}


@styled
def token_shares(tokens: Sequence[str], shares: Sequence[float], title: str) -> Figure:
    """How often each token is among the first ten, as horizontal bars, in percent of the texts.

    Args:
        tokens: readable tokens, most frequent first.
        shares: share of the texts for each, 0 to 1.
    """
    if len(tokens) != len(shares) or not len(tokens):
        raise ValueError(f"one share per token expected; got {len(tokens)} tokens and {len(shares)} shares")
    figure, axes = plt.subplots(figsize=(7, 1.1 + 0.28 * len(tokens)))
    axes.barh(range(len(tokens)), 100 * np.asarray(shares), color=PALETTE[0])
    name_tokens(axes, tokens, "token")
    axes.set(title=title, xlabel="sentences with the token among the first ten (%)", xlim=(0, 100))
    return figure


@styled
def measures(table: pd.DataFrame, title: str) -> Figure:
    """One panel per measure, one row per embedder: value, interval and chance level.

    Args:
        table: columns ``embedder``, ``measure``, ``reading`` (``"raw"`` or ``"merged"``), ``value``, ``low``,
            ``high``, ``chance``; one line for every mark.

    Raises:
        ValueError: a column is missing, or there is nothing to draw.
    """
    needed = ("reading", "value", "low", "high", "chance")
    names, panels = style.distinct(table, "embedder", "measure", needed=needed)
    figure, grid = plt.subplots(1, len(panels), figsize=(11, 1.9 + 0.38 * len(names)), sharey=True, squeeze=False)
    for axes, panel in zip(grid[0], panels, strict=True):
        for reading, (colour, marker, offset) in _READINGS.items():
            part = table[(table["measure"] == panel) & (table["reading"] == reading)]
            rows = style.places(part["embedder"], names) + offset
            style.draw_intervals(axes, part, rows, color=colour, marker=marker)
            axes.plot(part["chance"], rows, "|", color=REFERENCE, markersize=9, markeredgewidth=2)
        # LAR and GAR are far from 1: each panel shows its own range, always from 0.
        end = min(1.03, 1.1 * table.loc[table["measure"] == panel, ["high", "chance"]].to_numpy().max())
        axes.set(xlim=(-0.03 * end, end), xlabel=f"{panel} (share)")
    style.name_rows(grid[0, 0], names, "embedder")
    handles = [Line2D([], [], color=c, marker=m, label=f"{r} tokens") for r, (c, m, _) in _READINGS.items()]
    handles.append(Line2D([], [], color=REFERENCE, marker="|", linestyle="", markeredgewidth=2, label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    style.head(figure, title)
    return figure


@styled
def against_length(lengths: Sequence[int], rates: Sequence[float], chance: Sequence[float], title: str) -> Figure:
    """Local alignment rate of every text against its number of distinct tokens, with the mean per fifth of the texts.

    Args:
        lengths: distinct tokens of each text, ``[n]``.
        rates: LAR of each text, ``[n]``.
        chance: LAR of each text with the aligned tokens of other texts, ``[n]``.
    """
    lengths, rates, chance = np.asarray(lengths), np.asarray(rates), np.asarray(chance)
    if not len(lengths) == len(rates) == len(chance):
        raise ValueError(f"one value per text expected; got {len(lengths)}, {len(rates)} and {len(chance)}")
    figure, axes = plt.subplots()
    axes.scatter(lengths, rates, s=14, alpha=0.35, color=PALETTE[0], linewidths=0, label="one sentence")
    fifths = np.array_split(np.argsort(lengths, kind="stable"), 5)
    centres = [lengths[rows].mean() for rows in fifths]
    axes.plot(centres, [rates[rows].mean() for rows in fifths], "o-", color=PALETTE[0], label="mean of a fifth")
    axes.plot(centres, [chance[rows].mean() for rows in fifths], "s--", color=REFERENCE, label="the same by chance")
    axes.set(
        title=title, xlabel="distinct tokens of the sentence", ylabel="LAR (share)", ylim=(-0.02, 1.1 * rates.max())
    )
    axes.legend(loc="upper right")
    return figure


@styled
def short_list(lengths: Sequence[int], perfect: Sequence[float], found: dict[str, tuple], title: str) -> Figure:
    """What a list of ten tokens makes of LAR: a perfect ranking that cannot reach 1, and real rates that shrink.

    Args:
        lengths: numbers of distinct tokens on the horizontal axis.
        perfect: rate that a perfect ranking gets from ten tokens, for each length.
        found: by name of an embedder: ``(mean length, LAR, LAR from ten tokens)``.
    """
    figure, axes = plt.subplots()
    axes.axhline(1, color=REFERENCE, linestyle="--", label="perfect ranking, full list")
    axes.plot(lengths, perfect, color=PALETTE[1], label="perfect ranking, ten tokens")
    for i, (name, (length, full, ten)) in enumerate(found.items()):
        colour = PALETTE[(0, 2, 4, 5, 7)[i % 5]]
        axes.plot([length, length], [ten, full], color=colour)
        axes.plot(length, full, "o", color=colour, label=f"{name}, full list")
        axes.plot(length, ten, "v", color=colour, label=f"{name}, ten tokens")
    axes.set(title=title, xlabel="distinct tokens of the text", ylabel="LAR (share)", ylim=(0, 1.05))
    axes.legend(loc="center right", frameon=False)
    return figure
