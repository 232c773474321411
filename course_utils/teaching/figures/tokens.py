"""Tokens to look at: chips, tables, bars and grids, marked by what they have to do with the text.

A token is of one of three kinds:

* ``surface``: it is one of the text's own tokens (bold and underlined);
* ``variant``: it differs from one only in case, a leading space or the ending, as
  ``_releases`` from ``_release`` (underlined);
* ``other``: neither.

The marks are HTML tags and font weights besides colours, so nothing is lost to a
colour-blind reader or on a page that drops styles. Tokens are strings in the
form of :func:`course_utils.measures.alignment.readable`: ``_`` stands for a leading space. On a page it is
written ``␣``, outside the underline, which would hide it.
"""

import functools
import html
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Patch, Rectangle

from course_utils.teaching.figures.style import PALETTE, head, name_rows, styled

#: The three kinds, with the words of the legend.
KINDS = {"surface": "token of the text", "variant": "variant or same stem", "other": "other token"}

# One hue for each kind wherever tokens are shown: a ground under letters, a full colour for bars and frames.
# Each chip sets letters and ground together: readable on a light and on a dark page.
GROUND = {"surface": "#9ecae9", "variant": "#fbe0a1", "other": "#e6e6e6"}
_TAGS = {"surface": ("<b><u>", "</u></b>"), "variant": ("<u>", "</u>"), "other": ("", "")}
_SPACE = '<small style="color:#333" title="a space before it">␣</small>'
# How bytes begin and end that are no whole character, in the two ways in which they are written.
_BYTES = (("<", "‹"), (">", "›"))
_BAR = {"surface": PALETTE[0], "variant": PALETTE[1], "other": "#bbbbbb"}
_HATCH = {"surface": "", "variant": "//", "other": ""}


def kinds(tokens: Sequence[str], surface: Sequence[str]) -> list[str]:
    """The kind of every token, given the tokens of the text: ``surface``, ``variant`` or ``other``.

    A variant shares its stem with a token of the text; a stem is what Porter's algorithm leaves of the lower-cased
    token (Porter 1980, "An algorithm for suffix stripping"). Stems of one or two letters count only when equal
    without any suffix cut: ``_A`` is a variant of ``a``, but not of ``as``.
    """
    own, stems = set(surface), {stem(token) for token in surface} - {""}
    return ["surface" if t in own else "variant" if stem(t) in stems else "other" for t in tokens]


@functools.lru_cache(maxsize=2**16)
def stem(token: str) -> str:
    """What Porter's stemmer leaves of a token, lower-cased and without its leading space; ``""`` for white space.

    Bytes that are no whole character, written in ``<>`` or ``‹›``, stay as they are.
    """
    from gensim.parsing.porter import PorterStemmer

    if token[:1] in _BYTES[0] and token[-1:] in _BYTES[1]:
        return token  # letters that stand for bytes have no case: another one is another byte
    word = token.removeprefix("_").strip().casefold()
    if word in ("", "\\n", "\\t"):
        return ""
    cut = PorterStemmer().stem(word)
    return cut if len(cut) > 2 else word


def chips(
    tokens: Sequence[str],
    token_kinds: Sequence[str],
    scores: Sequence[float] | None = None,
    notes: Sequence[str] | None = None,
) -> str:
    """Tokens in a row as HTML chips, best first, inside an element of class ``aligned-tokens``.

    Args:
        tokens: as people read them.
        token_kinds: one of :data:`KINDS` for each.
        scores: logits; shown when the pointer rests on a chip.
        notes: shown in the chips, after the tokens; for instance numbers.

    Raises:
        ValueError: lengths that differ, or an unknown kind.
    """
    tips = [""] * len(tokens) if scores is None else [f' title="logit {s:.1f}"' for s in scores]
    notes = [""] * len(tokens) if notes is None else notes
    _same_length(tokens=tokens, token_kinds=token_kinds, scores=tips, notes=notes)
    shown = "".join(_chip(*chip) for chip in zip(tokens, token_kinds, tips, notes, strict=True))
    return f'<div class="aligned-tokens" style="line-height:2">{shown}</div>'


def legend() -> str:
    """The three kinds of chips and what they mean, set apart from tokens: a sample of each beside its words; HTML."""
    whole = '<div style="display:inline-block">'  # a sample and its words stay on one line
    shown = " ".join(f"{whole}{_chip('abc', kind)}{words}</div>" for kind, words in KINDS.items())
    look = "line-height:2;font-size:85%;margin-top:0.7em;border-top:1px solid #808080"
    return f'<div class="token-legend" style="{look}"><i>How to read it:</i> {shown} · ␣ a space before the token</div>'


def token_table(
    names: Sequence[str], tokens: Sequence[Sequence[str]], token_kinds: Sequence[Sequence[str]], caption: str = ""
) -> str:
    """One row of chips for every model (or text), in the manner of Table 2 of the paper, with a legend; HTML.

    Args:
        names: what stands before each row.
        tokens: a list of tokens for each name.
        token_kinds: their kinds, in the same form.
        caption: a sentence above the table.

    Raises:
        ValueError: lengths that differ, or an unknown kind.
    """
    _same_length(names=names, tokens=tokens, token_kinds=token_kinds)
    rows = named_rows(zip(names, map(chips, tokens, token_kinds), strict=True))
    above = f'<caption style="text-align:left">{html.escape(caption)}</caption>' if caption else ""
    return f'<table class="token-table">{above}<tbody>{rows}</tbody></table>{legend()}'


def named_rows(rows: Iterable[tuple[str, str]]) -> str:
    """Lines of a table, each with a name and a piece of HTML."""
    cell = 'style="text-align:left;vertical-align:baseline"'
    return "".join(
        f'<tr><th scope="row" {cell}>{html.escape(name)}</th><td {cell}>{shown}</td></tr>' for name, shown in rows
    )


@styled
def token_bars(
    tokens: Sequence[str], scores: Sequence[float], token_kinds: Sequence[str], title: str, xlabel: str = "logit"
) -> Figure:
    """Top tokens as horizontal bars, best on top, coloured and lettered by kind.

    Raises:
        ValueError: lengths that differ, an unknown kind, or no token.
    """
    _same_length(tokens=tokens, scores=scores, token_kinds=token_kinds)
    if not len(tokens):
        raise ValueError("no tokens to draw")
    figure, axes = plt.subplots(figsize=(7, 1.1 + 0.32 * len(tokens)))
    rows = np.arange(len(tokens))
    bars = axes.barh(rows, scores, color=[_BAR[_known(k)] for k in token_kinds], edgecolor="white", height=0.8)
    for bar, kind in zip(bars, token_kinds, strict=True):
        bar.set_hatch(_HATCH[kind])
    name_tokens(axes, tokens, "token (best first)")
    for label, kind in zip(axes.get_yticklabels(), token_kinds, strict=True):
        label.set_fontweight("bold" if kind == "surface" else "normal")
    axes.set_xlabel(xlabel)
    axes.set_title(title, parse_math=False)
    handles = [Patch(facecolor=_BAR[k], hatch=_HATCH[k], edgecolor="white", label=KINDS[k]) for k in KINDS]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


@styled
def token_grid(
    tokens: Sequence[Sequence[str]],
    values: np.ndarray,
    token_kinds: Sequence[Sequence[str]],
    row_names: Sequence[str],
    title: str,
    value_label: str = "probability",
    ylabel: str = "layer",
    xlabel: str = "rank of the token",
) -> Figure:
    """A heat map with a token in every cell: for instance the top tokens (columns) of every layer (rows).

    Tokens of the text are bold in a frame; variants have a dashed frame, in the colours of chips and bars. The
    values are grey, so that no frame drowns in them.

    Args:
        tokens: strings ``[rows, k]``.
        values: numbers that colour the cells, ``[rows, k]``.
        token_kinds: kinds ``[rows, k]``.
        row_names: one per row.

    Raises:
        ValueError: shapes that differ, or an unknown kind.
    """
    values = np.asarray(values, dtype=np.float64)
    if np.shape(tokens) != values.shape or np.shape(token_kinds) != values.shape or len(row_names) != len(values):
        shapes = f"{np.shape(tokens)}, {values.shape}, {np.shape(token_kinds)} and {len(row_names)}"
        raise ValueError(f"tokens, values and token_kinds must be [rows, k], row_names [rows]; got {shapes}")
    figure, axes = plt.subplots(figsize=(1.5 + 1.35 * values.shape[1], 1.3 + 0.27 * len(values)))
    sns.heatmap(values, ax=axes, cmap="Greys", cbar_kws={"label": value_label, "pad": 0.02}, linewidths=0.5)
    middle = (values.min() + values.max()) / 2
    for row, column in np.ndindex(values.shape):
        kind = _known(token_kinds[row][column])
        axes.text(
            column + 0.5, row + 0.5, drawable(tokens[row][column]), ha="center", va="center", fontsize=9,
            parse_math=False, color="white" if values[row, column] > middle else "black",
            fontweight="bold" if kind == "surface" else "normal",
        )  # fmt: skip
        if kind != "other":
            line = {"surface": "solid", "variant": "dashed"}[kind]
            frame = Rectangle((column + 0.04, row + 0.08), 0.92, 0.84, fill=False, linestyle=line, linewidth=2)
            axes.add_patch(frame).set_edgecolor(_BAR[kind])
    axes.set_yticks(np.arange(len(values)) + 0.5, row_names, rotation=0)
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, range(1, values.shape[1] + 1))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, parse_math=False)
    return figure


@styled
def attention_grid(tokens: Sequence[str], masks: Mapping[str, np.ndarray], title: str) -> Figure:
    """Which token may look at which, one panel for each mask; a dot says "may".

    Args:
        tokens: T strings.
        masks: bool ``[T, T]`` by the panel's title; row i is true where token i may look.

    Raises:
        ValueError: a mask of another shape.
    """
    for name, mask in masks.items():
        if np.shape(mask) != (len(tokens), len(tokens)):
            raise ValueError(f"{name}: expected a mask [{len(tokens)}, {len(tokens)}], got {np.shape(mask)}")
    size = 1.2 + 0.42 * len(tokens)
    figure, panels = plt.subplots(1, len(masks), figsize=(size * len(masks), size), squeeze=False)
    labels = [drawable(t).replace("$", r"\$") for t in tokens]
    for axes, (name, mask) in zip(panels[0], masks.items(), strict=True):
        sns.heatmap(
            np.asarray(mask, dtype=float), ax=axes, cmap=[PALETTE[9], "white"][::-1], vmin=0, vmax=1, cbar=False,
            linewidths=1, linecolor="#cccccc", square=True, xticklabels=labels, yticklabels=labels,
            annot=np.where(mask, "●", ""), fmt="", annot_kws={"color": "black", "size": 9},
        )  # fmt: skip
        axes.set(title=name, xlabel="… looks at this token", ylabel="This token …")
        axes.tick_params(axis="x", rotation=60)
        axes.tick_params(axis="y", rotation=0)
    head(figure, title)
    return figure


def name_tokens(axes: Axes, tokens: Sequence[str], ylabel: str = "") -> None:
    """A token for every row of bars, the first on top."""
    name_rows(axes, [drawable(token) for token in tokens], ylabel)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.grid(visible=False, axis="y")


def drawable(token: str) -> str:
    """The token with characters that the figures' font lacks written as their code, such as ``\\uc2eb``."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    known = (c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in token)
    return "".join(known)


def _chip(token: str, kind: str, tip: str = "", note: str = "") -> str:
    before, after = _TAGS[_known(kind)]
    style = f"background:{GROUND[kind]};color:#111;border-radius:4px;padding:1px 6px;margin:0 3px;white-space:pre"
    style += ";display:inline-block"  # a chip is not broken in two at the end of a line
    space, rest = (_SPACE, token[1:]) if token.startswith("_") else ("", token)
    # <bdi>: a token of a right-to-left script must not turn its neighbours round, nor a number beside it.
    shown = f"{space}{before}<bdi>{html.escape(rest)}</bdi>{after}{' ' + html.escape(note) if note else ''}"
    return f'<span style="{style}"{tip}>{shown}</span> '


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose from {', '.join(KINDS)}")
    return kind


def _same_length(**lists: Sequence) -> None:
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"one entry each expected; got {', '.join(f'{n} {what}' for what, n in lengths.items())}")
