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

from course_utils.measures.alignment import surface_tokens, top_tokens
from course_utils.measures.evaluation import bootstrap
from course_utils.teaching.figures import style
from course_utils.teaching.figures.style import MARKERS, PALETTE, REFERENCE, SEQUENTIAL, styled
from course_utils.teaching.figures.tokens import chips, kinds, legend
from course_utils.texts import scripts

_CELL = 'style="text-align:left;vertical-align:top;white-space:normal"'
# Colours of the ways in which embeddings are changed; the first is "before".
_WAYS = [PALETTE[i] for i in (7, 0, 2, 1, 4, 3)]
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
    for heading, (tokens, found, names) in lists.items():
        if not len(tokens) == len(found) == len(names):
            raise ValueError(f"{heading}: {len(tokens)} tokens, {len(found)} kinds and {len(names)} scripts")
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    lines = []
    for name in sorted(counts, key=lambda s: (-counts[s], s)):
        cells = []
        for tokens, found, names in lists.values():
            own = [(t, kind) for t, kind, s in zip(tokens, found, names, strict=True) if s == name]
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


def decoded(
    tokenizer, unembedding: np.ndarray, text: str, embeddings: np.ndarray, exclude: Sequence[int] = (), k: int = 8
) -> list[tuple[list[str], list[str]]]:
    """The aligned tokens of several embeddings of one text, with their kinds: lists for :func:`sentence_table`."""
    own = scripts.readable(tokenizer, surface_tokens(tokenizer, [text])[0])
    shown = [scripts.readable(tokenizer, ids) for ids in top_tokens(embeddings, unembedding, k, exclude)[0]]
    return [(tokens, kinds(tokens, own)) for tokens in shown]


def interval_rows(
    values: Mapping[tuple, Sequence[float]], names: Mapping[str, str], ways: Sequence[str]
) -> pd.DataFrame:
    """Mean and bootstrap interval over sentences for each language and way, as :func:`intervals_by_language` wants it.

    Args:
        values: (language, way) -> one number for each sentence.
        names: language -> its name.
        ways: which ways, in their order.
    """
    found = [(names[a], way, bootstrap(values[a, way])) for a in names for way in ways]
    rows = [(name, way, x.value, x.low, x.high) for name, way, x in found]
    return pd.DataFrame(rows, columns=["language", "way", "value", "low", "high"])


def control_range(values: Mapping[tuple, Sequence[float]], names: Mapping[str, str]) -> pd.DataFrame:
    """The lowest and the highest mean of a language's controls: the ways that are pairs, such as ``("own", 3)``."""
    means = {a: [np.mean(x) for (b, way), x in values.items() if b == a and isinstance(way, tuple)] for a in names}
    rows = [(names[a], min(found), max(found)) for a, found in means.items()]
    return pd.DataFrame(rows, columns=["language", "low", "high"])


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
def intervals_by_language(
    table: pd.DataFrame | Mapping[str, pd.DataFrame],
    title: str,
    xlabel: str,
    chance: Mapping[str, float] | None = None,
    bands: Mapping[str, pd.DataFrame] | None = None,
):
    """A row for each language, a mark with its interval for each way; chance as grey ticks.

    Args:
        table: columns ``language``, ``way``, ``value``, ``low``, ``high``; or heading -> such a table, side by side,
            with the same languages and ways in each.
        chance: chance level by language.
        bands: heading -> table with columns ``language``, ``low``, ``high``: what random controls give, as grey bars.

    Raises:
        ValueError: a column is missing, there is nothing to draw, panels that differ, or more than six ways.
    """
    panels = dict(table) if isinstance(table, Mapping) else {"": table}
    distinct = [style.distinct(part, "language", "way") for part in panels.values()]
    names, ways = distinct[0]
    if any(found != distinct[0] for found in distinct):
        raise ValueError(f"the panels must have the same languages and ways; got {distinct}")
    if len(ways) > len(_WAYS):
        raise ValueError(f"at most {len(_WAYS)} ways can be told apart; got {len(ways)}")
    size = (9 if len(panels) == 1 else 3.6 + 4 * len(panels), 1.6 + 0.62 * len(names))
    figure, grid = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axes, (heading, part) in zip(grid[0], panels.items(), strict=True):
        if bands:
            _draw_band(axes, bands[heading], names)
        _draw_ways(axes, part, names, ways)
        for number, name in enumerate(names if chance else ()):
            axes.vlines(chance[name], number - 0.4, number + 0.4, color=REFERENCE, linestyle=":", linewidth=2,
                        label=None if number else "chance")  # fmt: skip
        axes.grid(visible=False, axis="y")
        axes.set(title=heading or title, xlabel=xlabel, xlim=(-0.02, 1.02))
    style.name_rows(grid[0, 0], names, "language")
    grid[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    if len(panels) > 1:
        style.head(figure, title)
    return figure


def _draw_ways(axes, table: pd.DataFrame, names: Sequence[str], ways: Sequence[str]) -> None:
    """The marks and intervals of one panel, the ways of a language a little apart."""
    offsets = np.linspace(-0.28, 0.28, len(ways)) if len(ways) > 1 else [0.0]
    for way, offset, marker, colour in zip(ways, offsets, MARKERS, _WAYS, strict=False):
        part = table[table["way"] == way]
        rows = style.places(part["language"], names) + offset
        style.draw_intervals(axes, part, rows, color=colour, marker=marker, label=way)


def _draw_band(axes, band: pd.DataFrame, names: Sequence[str]) -> None:
    """A grey bar from low to high behind each language's marks."""
    rows = style.places(band["language"], names)
    width = np.maximum(band["high"] - band["low"], 0.004)  # random controls may all agree
    axes.barh(rows, width, left=band["low"], height=0.8, color="#cccccc", label="random directions", zorder=0)


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
