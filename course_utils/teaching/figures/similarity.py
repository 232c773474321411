"""Pictures of similarity and relatedness: correlations, relations, and what tokens do to a cosine."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from course_utils.measures.evaluation import Interval
from course_utils.teaching.figures.style import DIVERGING, PALETTE, REFERENCE, head, look, name_rows, styled
from course_utils.teaching.figures.tokens import name_tokens

#: Colour and marker of the first and of the second series, and of a third that is derived from them.
_SERIES = ((PALETTE[0], "o"), (PALETTE[1], "D"), (PALETTE[2], "s"))


@styled
def interval_panels(
    panels: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    title: str,
    xlabels: Mapping[str, str] | None = None,
    rows: str = "embedder",
    hollow: Sequence[str] = (),
) -> Figure:
    """Values with intervals, one row per embedder; side by side one panel per measure, in it one mark per series.

    Args:
        panels: ``panel -> series -> embedder -> interval``; all series name the same embedders.
        xlabels: what stands below each panel; its name if not given.
        rows: what a row is.
        hollow: the rows of a single series whose marks are drawn hollow, such as what does not survive a correction.

    Raises:
        ValueError: nothing to draw, or series that name different embedders.
    """
    every = [tuple(rows) for series in panels.values() for rows in series.values()]
    if not every or not every[0] or len(set(every)) > 1:
        raise ValueError(f"every series must name the same embedders, at least one; got {sorted(set(every))}")
    names, place = list(every[0]), np.arange(len(every[0]))
    figure, grid = plt.subplots(1, len(panels), figsize=(11, 1.7 + 0.36 * len(names)), sharey=True, squeeze=False)
    for axes, (panel, series) in zip(grid[0], panels.items(), strict=True):
        offsets = np.linspace(-0.16, 0.16, len(series)) if len(series) > 1 else [0]
        styles = _SERIES if len(series) > 1 else _SERIES[2:]
        for (label, values), offset, (colour, marker) in zip(series.items(), offsets, styles, strict=False):
            found = [values[name] for name in names]
            axes.hlines(place + offset, [v.low for v in found], [v.high for v in found], color=colour, linewidth=2)
            axes.plot([v.value for v in found], place + offset, marker, color=colour, markersize=6, label=label)
            if len(series) == 1 and hollow:
                open_rows = [i for i, name in enumerate(names) if name in hollow]
                axes.plot([found[i].value for i in open_rows], place[open_rows], marker, color=colour, mfc="white")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel((xlabels or {}).get(panel, panel))
        if len(series) > 1:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(series), frameon=False)
    name_rows(grid[0, 0], names, rows)
    head(figure, title)
    return figure


@styled
def strips(cosines: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """The cosine of every pair by relation, one panel per embedder; a bar marks the mean.

    Args:
        cosines: ``embedder -> relation -> values``; the relations in the order of the rows.
    """
    figure, grid = plt.subplots(1, len(cosines), figsize=(5.5 * len(cosines), 4.2), sharey=True, squeeze=False)
    rng = np.random.default_rng(0)
    for axes, (name, by_relation) in zip(grid[0], cosines.items(), strict=True):
        for row, values in enumerate(by_relation.values()):
            axes.plot(values, row + rng.uniform(-0.18, 0.18, len(values)), ".", color=PALETTE[0], alpha=0.6)
            axes.vlines(np.mean(values), row - 0.35, row + 0.35, color=PALETTE[1], linewidth=3)
        axes.set_title(name)
        axes.set(xlabel="cosine of the two sentences", xlim=(min(0, axes.get_xlim()[0]), 1.02))
        axes.grid(visible=False, axis="y")
    name_rows(grid[0, 0], list(next(iter(cosines.values()))), "relation of the two sentences")
    head(figure, title)
    return figure


@styled
def against_overlap(
    overlap: np.ndarray, cosines: Mapping[str, np.ndarray], groups: Mapping[str, np.ndarray], title: str
) -> Figure:
    """The cosine of every pair against the share of words that its sentences have in common, a panel per embedder.

    Args:
        overlap: ``[n]``.
        cosines: embedder -> ``[n]``.
        groups: name -> bool ``[n]``: which pairs get a colour and a mark of their own.
    """
    figure, grid = plt.subplots(1, len(cosines), figsize=(5 * len(cosines), 4.4), sharey=True, squeeze=False)
    for axes, (name, values) in zip(grid[0], cosines.items(), strict=True):
        for number, (group, chosen) in enumerate(groups.items()):
            axes.plot(
                overlap[chosen], values[chosen], linestyle="", markersize=6, alpha=0.75, label=group, **look(number)
            )
        axes.set(title=name, xlabel="shared words / all words of both (share)")
    grid[0, 0].set_ylabel("cosine of the two sentences")
    grid[0, -1].legend(loc="lower right")
    head(figure, title)
    return figure


@styled
def by_number(
    numbers: Sequence[int], curves: Mapping[str, Sequence[Interval]], whole: Interval, title: str, ylabel: str
) -> Figure:
    """A measure against the number of tokens, one line with intervals per way to choose them.

    Args:
        numbers: how many tokens.
        curves: way -> an interval for each number.
        whole: the measure of the embeddings as they are; drawn as a band.
    """
    figure, axes = plt.subplots(figsize=(10, 4.2))
    axes.axhspan(whole.low, whole.high, color=REFERENCE, alpha=0.12)
    axes.axhline(whole.value, color=REFERENCE, linestyle="--", label="the whole embedding")
    for number, (way, found) in enumerate(curves.items()):
        style = look(number)
        axes.fill_between(numbers, [v.low for v in found], [v.high for v in found], color=style["color"], alpha=0.15)
        axes.plot(numbers, [v.value for v in found], label=way, **style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(numbers, [str(k) for k in numbers])
    axes.set(xlabel="tokens per text (number K)", ylabel=ylabel)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    head(figure, title)
    return figure


@styled
def relation_grid(table: Mapping[str, Mapping[str, Interval]], title: str) -> Figure:
    """Relations (rows) by embedders (columns): a position between unrelated (0) and paraphrase (1), with intervals.

    Args:
        table: ``embedder -> relation -> interval``; all with the same relations. An interval without width is a value
            by definition and is written as a whole number.

    Raises:
        ValueError: embedders with different relations.
    """
    names, relations = list(table), list(next(iter(table.values())))
    if any(list(rows) != relations for rows in table.values()):
        raise ValueError("every embedder must have the same relations in the same order")
    values = np.array([[table[n][r].value for n in names] for r in relations])
    words = [[_cell(table[n][r]) for n in names] for r in relations]
    reach = float(np.abs(values - 0.5).max())
    figure, axes = plt.subplots(figsize=(2.6 + 1.15 * len(names), 1.5 + 0.55 * len(relations)))
    sns.heatmap(
        values, ax=axes, cmap=DIVERGING, center=0.5, annot=np.array(words), fmt="",
        annot_kws={"fontsize": 8.5, "color": "black"}, linewidths=1, vmin=0.5 - reach, vmax=0.5 + reach,
        cbar_kws={"label": "0: unrelated pairs, 1: paraphrases", "pad": 0.02},
    )  # fmt: skip
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=30, ha="right")
    axes.set_yticks(np.arange(len(relations)) + 0.5, relations, rotation=0)
    axes.set(xlabel="embedder", ylabel="relation of the two sentences")
    head(figure, title)
    return figure


def _cell(found: Interval) -> str:
    if found.low == found.high:  # a value by definition
        return f"{found.value:.0f}"
    return f"{found.value:.2f}\n{found.low:.2f} … {found.high:.2f}"


@styled
def token_parts(
    panels: Mapping[str, tuple[Sequence[str], Sequence[float], Sequence[str], Sequence[float]]],
    title: str,
    usual: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Figure:
    """Which tokens bring two texts together and which hold them apart, one row of two panels per embedder.

    Args:
        panels: for each embedder the tokens that add most to the cosine and their parts, then those that add most to
            what is missing to 1 and their parts; parts in thousandths of a cosine.
        usual: for each embedder what to hold each bar against, a line across it, for both sides.
    """
    figure, grid = plt.subplots(len(panels), 2, figsize=(10, 0.8 + 2.9 * len(panels)), squeeze=False)
    for row, (name, (near, added, far, missing)) in zip(grid, panels.items(), strict=True):
        for axes, tokens, parts, colour, words in (
            (row[0], near, added, PALETTE[0], "together: parts of the cosine"),
            (row[1], far, missing, PALETTE[1], "apart: parts of 1 − cosine"),
        ):
            axes.barh(range(len(tokens)), parts, color=colour)
            if usual:
                rows = np.arange(len(tokens))
                axes.vlines(usual[name][axes is row[1]], rows - 0.45, rows + 0.45, color=REFERENCE, linewidth=2)
            name_tokens(axes, tokens)
            axes.set(xlabel="part of the token (thousandths)", title=f"{name} · {words}")
        row[0].set_ylabel("token")
    head(figure, title)
    return figure
