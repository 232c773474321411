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
from collections.abc import Callable

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

#: Ten colours that stay apart for colour-blind readers; use them in this order.
PALETTE = tuple(sns.color_palette("colorblind").as_hex())

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
                figure.canvas.draw()  # some settings are only looked up in drawing
        finally:
            for number in set(plt.get_fignums()) - before:  # also what a refused call has begun to draw
                plt.close(number)
        return figure

    return wrapped
