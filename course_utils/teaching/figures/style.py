"""What all figures share: white paper, readable text, colours that colour-blind readers can tell apart.

Write a plotting function like this, and end the cell of a notebook with its call::

    @styled
    def scores(values, title):
        figure, axes = plt.subplots()
        axes.bar(range(len(values)), values, color=PALETTE[0])
        axes.set(title=title, xlabel="text (number)", ylabel="Hit@10 (share)")
        return figure
"""

import functools
import textwrap
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_utils.teaching.figures import picture

#: Ten colours that stay apart for colour-blind readers; use them in this order.
PALETTE = tuple(sns.color_palette("colorblind").as_hex())

#: One mark for each series, in this order.
MARKERS = "osD^vP*X<>"

#: What values are compared with, such as chance.
REFERENCE = "#555555"

#: Letters of a title that fit into an inch.
_LETTERS = 10.5

#: For numbers from small to large, and for numbers around zero.
SEQUENTIAL, DIVERGING = "Blues", "vlag"

#: White is set explicitly: in a dark theme a transparent figure would show black text on black.
STYLE = {
    **sns.axes_style("whitegrid"),
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "black",
    "axes.labelcolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "figure.figsize": (8, 4.5),
    "figure.dpi": 90,
    "figure.constrained_layout.use": True,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
}


def styled(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the course's style, without changing the reader's own settings.

    The figure is taken out of pyplot's hands, so that a notebook shows it once: as the value of the cell.
    """

    @functools.wraps(plot)
    def wrapped(*args, **kwargs) -> Figure:
        before = set(plt.get_fignums())
        try:
            with plt.rc_context(STYLE):
                figure = plot(*args, **kwargs)
                figure.draw_without_rendering()  # some settings are only looked up in drawing
                figure._ipython_display_ = functools.partial(
                    picture.show, figure
                )  # an image with words, not a bare PNG
        finally:
            for number in set(plt.get_fignums()) - before:  # also what a refused call has begun to draw
                plt.close(number)
        return figure

    return wrapped


def head(figure: Figure, title: str) -> None:
    """The title over the whole width of the figure, in as many lines as it takes."""
    width = int(_LETTERS * figure.get_figwidth())
    lines = [textwrap.fill(line, width, break_on_hyphens=False) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=12)


def look(number: int) -> dict[str, str]:
    """Colour and mark of the series with this number, counted from 0."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}


def name_rows(axes: Axes, names: Sequence[str], ylabel: str = "") -> None:
    """A name for every row, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel(ylabel)
    axes.invert_yaxis()


def draw_intervals(axes: Axes, table: pd.DataFrame, rows: Sequence[float], *, color: str, **look) -> None:
    """A mark for each ``value`` of the table with its interval ``low`` to ``high``, in the given rows."""
    axes.hlines(rows, table["low"], table["high"], color=color, linewidth=2)
    axes.plot(table["value"], rows, linestyle="", color=color, markersize=6, **look)


def places(entries: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The row of each entry: where it stands among ``names``."""
    return np.array([names.index(entry) for entry in entries])


def ring(axes: Axes, x: Sequence[float], values: Sequence[float], best: Callable = np.argmax) -> None:
    """A ring around the best point of a line: the highest, or with ``np.argmin`` the lowest."""
    at = int(best(values))
    axes.plot(x[at], values[at], "o", color="black", fillstyle="none", markersize=14)


def distinct(table: pd.DataFrame, *columns: str, needed: Sequence[str] = ("value", "low", "high")) -> list[list[str]]:
    """The different entries of each column, in their order.

    Raises:
        ValueError: one of the columns, or of those needed besides, is missing, or the table has no row.
    """
    wanted = sorted({*columns, *needed})
    if not set(wanted) <= set(table.columns) or table.empty:
        raise ValueError(f"table needs rows and the columns {wanted}; got {list(table.columns)}")
    return [list(dict.fromkeys(table[column])) for column in columns]
