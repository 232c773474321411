"""Many languages: sentences with their tokens as tables, and grids, bars and intervals by language.

Text in other scripts is shown as HTML, never drawn: a browser joins Arabic letters, places Devanagari vowels and finds
a font, none of which Matplotlib does. ``dir="auto"`` lets every sentence run in its own direction, ``<bdi>`` keeps a
token from turning its neighbours round. Figures name languages in English.
"""

import html
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_utils.teaching.figures import style
from course_utils.teaching.figures.style import MARKERS, PALETTE, REFERENCE, SEQUENTIAL, styled
from course_utils.teaching.figures.tokens import chips, legend

_CELL = 'style="text-align:left;vertical-align:top;white-space:normal"'
# Filled, hatched, dotted: neighbours in a bar stay apart without colours.
_HATCHES = ("", "//", "..", "xx", "", "\\\\", "oo")


# --- Tables ---------------------------------------------------------------------------------------


def sentence_table(rows: Sequence[tuple], columns: Sequence[str], key: bool = True) -> str:
    """One line for each sentence: a name, the sentence in its own direction, and lists of tokens; HTML.

    Args:
        rows: ``(name, sentence, (tokens, kinds), (tokens, kinds), …)``.
        columns: headings for name, sentence and each list.
        key: whether the legend of the chips stands below.

    Raises:
        ValueError: a row of another length than ``columns``.
    """
    lines = []
    for name, sentence, *lists in rows:
        if len(lists) + 2 != len(columns):
            raise ValueError(f"row {name!r} has {len(lists) + 2} entries for {len(columns)} columns")
        cells = "".join(f"<td {_CELL}>{_whole_chips(*listed)}</td>" for listed in lists)
        shown = f'<td {_CELL}><div dir="auto">{html.escape(sentence)}</div></td>'
        lines.append(f'<tr><th scope="row" {_CELL}>{html.escape(name)}</th>{shown}{cells}</tr>')
    return _table(columns, lines) + (legend() if key else "")


def script_table(lists: Mapping[str, tuple[Sequence[str], Sequence[str], Sequence[str]]]) -> str:
    """Tokens grouped by script: a line for each script, a column for each list; HTML.

    Scripts come in the order of how many tokens of all lists they hold.

    Args:
        lists: heading of a column -> (tokens, kinds, scripts), three lists of one length.

    Raises:
        ValueError: lists of different lengths.
    """
    counts: dict[str, int] = {}
    for heading, (tokens, kinds, scripts) in lists.items():
        if not len(tokens) == len(kinds) == len(scripts):
            raise ValueError(f"{heading}: {len(tokens)} tokens, {len(kinds)} kinds and {len(scripts)} scripts")
        for name in scripts:
            counts[name] = counts.get(name, 0) + 1
    lines = []
    for name in sorted(counts, key=lambda s: (-counts[s], s)):
        cells = []
        for tokens, kinds, scripts in lists.values():
            own = [(t, kind) for t, kind, s in zip(tokens, kinds, scripts, strict=True) if s == name]
            shown = _whole_chips([t for t, _ in own], [kind for _, kind in own]) if own else "–"
            cells.append(f"<td {_CELL}>{shown}</td>")
        lines.append(f'<tr><th scope="row" {_CELL}>{html.escape(name)}</th>{"".join(cells)}</tr>')
    return _table(("script", *lists), lines) + legend()


def byte_table(rows: Sequence[tuple[str | Sequence[str], ...]], columns: Sequence[str]) -> str:
    """Characters, their bytes, the tokens those fall into, and a remark: one line each; HTML.

    Args:
        rows: an entry is text, or a list of tokens: those stand from left to right, in the order of the text, even
            where the script runs the other way.
        columns: headings.

    Raises:
        ValueError: a row of another length than ``columns``.
    """
    wrong = [row for row in rows if len(row) != len(columns)]
    if wrong:
        raise ValueError(f"{len(columns)} columns, but a row of {len(wrong[0])}: {wrong[0]}")
    lines = []
    for row in rows:
        shown = [
            f"<bdi>{html.escape(e)}</bdi>" if isinstance(e, str) else _whole_chips(e, ["other"] * len(e)) for e in row
        ]
        lines.append(f"<tr>{''.join(f'<td {_CELL}>{entry}</td>' for entry in shown)}</tr>")
    return _table(columns, lines)


def _table(columns: Sequence[str], lines: Sequence[str]) -> str:
    """Headings, and below them lines that are HTML already."""
    headings = "".join(f'<th scope="col" {_CELL}>{html.escape(c)}</th>' for c in columns)
    body = "\n".join(lines)
    return f"<table><thead><tr>{headings}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _whole_chips(tokens: Sequence[str], token_kinds: Sequence[str]) -> str:
    """Chips that a narrow cell does not break: a browser may break a line where an isolated direction begins."""
    return chips(tokens, token_kinds).replace("white-space:pre", "white-space:pre;display:inline-block")


# --- Figures --------------------------------------------------------------------------------------


@styled
def language_grid(
    panels: Mapping[str, pd.DataFrame], title: str, label: str, xlabel: str, ylabel: str, spec: str = ".2f"
) -> Figure:
    """Heat maps side by side on one colour scale: a number for each pair of languages, equal names framed.

    Args:
        panels: heading -> table with languages as index (rows) and columns.
        label: what the numbers are, with their unit.
        spec: how they are written.

    Raises:
        ValueError: no panel, or NaN.
    """
    if not panels or any(table.isna().to_numpy().any() for table in panels.values()):
        raise ValueError("language_grid needs at least one table, without NaN")
    lowest = min(0, *(t.to_numpy().min() for t in panels.values()))
    highest = max(t.to_numpy().max() for t in panels.values())
    figure, grid = plt.subplots(1, len(panels), figsize=(1 + 5.2 * len(panels), 5.2), squeeze=False)
    for axes, (heading, table) in zip(grid[0], panels.items(), strict=True):
        sns.heatmap(
            table, ax=axes, cmap=SEQUENTIAL, vmin=lowest, vmax=highest, annot=True, fmt=spec, annot_kws={"size": 9},
            linewidths=0.5, cbar=axes is grid[0, -1], cbar_kws={"label": label},
        )  # fmt: skip
        for row, name in enumerate(table.index):
            if name in table.columns:
                corner = (list(table.columns).index(name) + 0.03, row + 0.03)
                axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, linewidth=1.8)).set_edgecolor(PALETTE[1])
        axes.set(title=heading, xlabel=xlabel, ylabel=ylabel if axes is grid[0, 0] else "")
        axes.tick_params(axis="x", rotation=45)
        axes.tick_params(axis="y", rotation=0)
    style.head(figure, title)
    return figure


@styled
def intervals_by_language(table: pd.DataFrame, title: str, xlabel: str, chance: Mapping[str, float] | None = None):
    """A row for each language, a mark with its interval for each way; chance as grey ticks.

    Args:
        table: columns ``language``, ``way``, ``value``, ``low``, ``high``.
        chance: chance level by language.

    Raises:
        ValueError: a column is missing, there is nothing to draw, or more than six ways.
    """
    names, ways = style.distinct(table, "language", "way")
    colours = [PALETTE[i] for i in (7, 0, 2, 1, 4, 3)]
    if len(ways) > len(colours):
        raise ValueError(f"at most {len(colours)} ways can be told apart; got {len(ways)}")
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.62 * len(names)))
    offsets = np.linspace(-0.28, 0.28, len(ways)) if len(ways) > 1 else [0.0]
    for way, offset, marker, colour in zip(ways, offsets, MARKERS, colours, strict=False):
        part = table[table["way"] == way]
        rows = style.places(part["language"], names) + offset
        style.draw_intervals(axes, part, rows, color=colour, marker=marker, label=way)
    for number, name in enumerate(names if chance else ()):
        axes.vlines(chance[name], number - 0.4, number + 0.4, color=REFERENCE, linestyle=":", linewidth=2,
                    label=None if number else "chance")  # fmt: skip
    style.name_rows(axes, names, "language")
    axes.grid(visible=False, axis="y")
    axes.set(title=title, xlabel=xlabel, xlim=(-0.02, 1.02))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


@styled
def stacked_shares(table: pd.DataFrame, title: str, xlabel: str) -> Figure:
    """Horizontal bars made of shares, one bar for each row, rows of one language close together.

    Args:
        table: index of pairs (language, way), columns the parts; every row sums to 1.

    Raises:
        ValueError: a row that does not sum to 1, or too many parts.
    """
    if len(table.columns) > len(_HATCHES) or not np.allclose(table.sum(axis=1), 1, atol=1e-6):
        raise ValueError(f"rows must sum to 1, with at most {len(_HATCHES)} parts; got {list(table.columns)}")
    places, place, previous = [], 0.0, table.index[0][0]
    for language, _ in table.index:
        place += 1.0 if language == previous else 1.6
        places.append(place)
        previous = language
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.27 * places[-1]))
    left = np.zeros(len(table))
    colours = [PALETTE[i] for i in (0, 1, 2, 4, 8, 9, 7)]
    for column, colour, hatch in zip(table.columns, colours, _HATCHES, strict=False):
        axes.barh(places, table[column], left=left, color=colour, hatch=hatch, edgecolor="white", label=column)
        left += table[column].to_numpy()
    axes.set_yticks(places, [f"{language}, {way}" for language, way in table.index])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title=title, xlabel=xlabel, ylabel="language and embedding", xlim=(0, 1))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
