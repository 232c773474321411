"""Figures of the alignment measures: what they count, what training adds, length of a text, the short list."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from course_utils.teaching.figures import style
from course_utils.teaching.figures.style import PALETTE, REFERENCE, styled
from course_utils.teaching.figures.tokens import GROUND, name_tokens


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
def arrows(table: pd.DataFrame, title: str) -> Figure:
    """From each origin to the embedder made from it, one panel per measure: what a measure gives above chance.

    A ring is the untrained origin, a dot the embedder, each with its interval; rows are grouped by what origin and
    embedder have in common. A line at 0 is chance.

    Args:
        table: columns ``embedder``, ``group``, ``measure``, ``value``, ``low``, ``high`` and the same three of the
            origin, ``from_value``, ``from_low``, ``from_high``; rows of one group stand together.

    Raises:
        ValueError: a column is missing, or there is nothing to draw.
    """
    needed = ("group", *(f"{side}{part}" for side in ("", "from_") for part in ("value", "low", "high")))
    names, panels = style.distinct(table, "embedder", "measure", needed=needed)
    group_of = dict(zip(table["embedder"], table["group"], strict=True))
    rows = list(dict.fromkeys(entry for name in names for entry in (group_of[name], name)))
    figure, grid = plt.subplots(1, len(panels), figsize=(11, 1.9 + 0.34 * len(rows)), sharey=True, squeeze=False)
    for axes, panel in zip(grid[0], panels, strict=True):
        part = table[table["measure"] == panel]
        origin = part[["from_value", "from_low", "from_high"]].set_axis(["value", "low", "high"], axis=1)
        at = style.places(part["embedder"], rows)
        for start, end, row in zip(origin["value"], part["value"], at, strict=True):
            look = {"arrowstyle": "-|>", "color": PALETTE[0], "shrinkA": 4, "shrinkB": 3}
            axes.annotate("", (end, row), (start, row), arrowprops=look)
        style.draw_intervals(axes, origin, at + 0.2, color=REFERENCE, marker="o", fillstyle="none")
        style.draw_intervals(axes, part, at, color=PALETTE[0], marker="o")
        axes.axvline(0, color=REFERENCE, linestyle="--", linewidth=1)
        axes.set(xlabel=f"{panel} above chance (share)")
    style.name_rows(grid[0, 0], rows)
    for label in grid[0, 0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in group_of.values() else "normal")
    marks = (("untrained origin", REFERENCE, "o", "none"), ("embedder made from it", PALETTE[0], "o", "full"))
    handles = [Line2D([], [], color=c, marker=m, fillstyle=f, label=label) for label, c, m, f in marks]
    handles.append(Line2D([], [], color=REFERENCE, linestyle="--", label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    style.head(figure, title)
    return figure


@styled
def counting_grid(words: Sequence[str], holds: np.ndarray, found: np.ndarray, title: str) -> Figure:
    """What LAR and GAR count, on a data set that fits on a page: a row for each text, a column for each word.

    A frame says that the text holds the word, a filled frame that its aligned tokens find it. Beside each row stands
    its LAR; below each column, whether the word was found in any text, which is what GAR counts.

    Args:
        words: one for each column.
        holds, found: bool ``[texts, words]``; what is found must be held.

    Raises:
        ValueError: shapes that differ, a text without words, or a word found where it is not.
    """
    holds, found = np.asarray(holds, dtype=bool), np.asarray(found, dtype=bool)
    if holds.shape != found.shape or holds.ndim != 2 or holds.shape[1] != len(words):
        raise ValueError(f"holds and found must be [texts, {len(words)}]; got {holds.shape} and {found.shape}")
    if not holds.any(axis=1).all() or (found & ~holds).any():
        raise ValueError("every text needs a word, and a word can be found only in a text that holds it")
    n, width = holds.shape
    figure, axes = plt.subplots(figsize=(2.6 + 0.85 * width, 1.6 + 0.5 * n))
    for row, column in zip(*np.nonzero(holds), strict=True):
        fill = GROUND["surface"] if found[row, column] else "white"
        corner = (column - 0.42, row - 0.38)
        axes.add_patch(Rectangle(corner, 0.84, 0.76, facecolor=fill, edgecolor=PALETTE[0], linewidth=1.5))
        axes.text(column, row, "✓" if found[row, column] else "", ha="center", va="center")
    for row in range(n):
        axes.text(width - 0.3, row, f"LAR {found[row].sum()} / {holds[row].sum()}", va="center")
    for column in np.flatnonzero(holds.any(axis=0)):
        axes.text(column, n, "found" if found[:, column].any() else "–", ha="center", va="center")
    axes.text(width - 0.3, n, f"GAR {found.any(axis=0).sum()} / {holds.any(axis=0).sum()}", va="center")
    axes.set_xticks(range(width), words)
    axes.xaxis.tick_top()
    axes.set_yticks(range(n + 1), [*(f"text {i + 1}" for i in range(n)), "in any text"])
    axes.set(xlim=(-0.6, width + 1.1), ylim=(n + 0.6, -0.6))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    style.head(figure, title)
    return figure


@styled
def against_length(lengths: Sequence[int], rates: Sequence[float], chance: Sequence[float], title: str) -> Figure:
    """Local alignment rate of every text against its number of content words, with the mean per fifth of the texts.

    Args:
        lengths: content words of each text, ``[n]``.
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
    axes.set(title=title, xlabel="content words of the sentence", ylabel="content LAR", ylim=(-0.02, 1.1 * rates.max()))
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
