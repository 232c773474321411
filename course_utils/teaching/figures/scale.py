"""Pictures of scale: hours and bytes from a few documents to a billion, what was measured and what was not."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course_utils.teaching.figures.style import REFERENCE, distinct, head, look, styled

#: Hours with a name, as lines to compare with.
_NAMED = {"a day": 24, "a year": 24 * 365.25}


@styled
def hours_by_size(curves: pd.DataFrame, points: pd.DataFrame, title: str) -> Figure:
    """Core hours against the number of documents: dashed where extrapolated, solid between measured points.

    Args:
        curves: columns ``model``, ``documents``, ``hours``; one line for each model.
        points: the same columns, measured; a line's part from its first to its last point is solid.
        title: the finding.

    Raises:
        ValueError: a missing column, or no rows of the curves.
    """
    [names] = distinct(curves, "model", needed=("documents", "hours"))
    figure, axes = plt.subplots(figsize=(8, 4.6))
    for i, name in enumerate(names):
        line, own = curves[curves.model == name], points[points.model == name]
        axes.plot(
            line.documents,
            line.hours,
            linestyle="--",
            linewidth=1.5,
            color=look(i)["color"],
            label=f"{name}, extrapolated",
        )
        if len(own):
            x = np.geomspace(own.documents.min(), own.documents.max(), 20)
            y = np.exp(np.interp(np.log(x), np.log(line.documents), np.log(line.hours)))
            axes.plot(x, y, color=look(i)["color"], linewidth=2.5)
            axes.plot(own.documents, own.hours, linestyle="", markersize=7, label=f"{name}, measured", **look(i))
    _named_lines(axes, _NAMED)
    axes.set(xscale="log", yscale="log", xlabel="documents (number)", ylabel="hours of one core")
    axes.legend(loc="upper left")
    head(figure, title)
    return figure


@styled
def index_sizes(sizes: Sequence[int], bytes_each: Mapping[str, float], title: str, ram_gb: float) -> Figure:
    """Gigabytes of an index against the number of documents, one line for each kind; the memory of one machine.

    Args:
        sizes: numbers of documents.
        bytes_each: bytes a document by the name of the kind.
        title: the finding.
        ram_gb: memory of one machine.

    Raises:
        ValueError: no sizes, or no kinds.
    """
    if not len(sizes) or not bytes_each:
        raise ValueError(f"need sizes and kinds of index; got {len(sizes)} and {len(bytes_each)}")
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for i, (name, each) in enumerate(bytes_each.items()):
        axes.plot(sizes, np.asarray(sizes, dtype=float) * each / 1e9, label=name, markersize=5, **look(i))
    _named_lines(axes, {f"memory of one machine, {ram_gb:g} GB": ram_gb}, left=True)
    axes.set(xscale="log", yscale="log", xlabel="documents (number)", ylabel="index (GB)")
    axes.legend(loc="lower right")
    head(figure, title)
    return figure


@styled
def quality_by_bytes(table: pd.DataFrame, dense: float, dense_bytes: float, title: str) -> Figure:
    """Quality of sparse search against the bytes of a document, with intervals, and the dense vector beside it.

    Args:
        table: columns ``k``, ``bytes``, ``value``, ``low``, ``high``.
        dense: quality of the dense vectors, on the same queries.
        dense_bytes: bytes of one dense vector.
        title: the finding.

    Raises:
        ValueError: a missing column, or no rows.
    """
    distinct(table, "k", needed=("bytes", "value", "low", "high"))
    figure, axes = plt.subplots(figsize=(8, 4.2))
    axes.vlines(table["bytes"], table["low"], table["high"], color=look(0)["color"], linewidth=2)
    axes.plot(table["bytes"], table["value"], markersize=6, label="aligned tokens, by K", **look(0))
    for row in table.itertuples():
        place = {"textcoords": "offset points", "xytext": (0, -5), "ha": "center", "va": "top"}
        axes.annotate(f"K = {row.k}", (row.bytes, row.low), **place)
    axes.axhline(dense, color=REFERENCE, linestyle=":")
    axes.plot([dense_bytes], [dense], linestyle="", markersize=8, label="dense vector, float32", **look(1))
    axes.set(xscale="log", xlabel="bytes of one document in the index", ylabel="mean nDCG@10")
    axes.set_ylim(0, 1.1 * max(table["high"].max(), dense))
    axes.set_xticks(table["bytes"], [f"{size:.0f}" for size in table["bytes"]])
    axes.minorticks_off()
    axes.legend(loc="lower right")
    head(figure, title)
    return figure


def _named_lines(axes, values: Mapping[str, float], left: bool = False) -> None:
    """Horizontal lines to compare with, named at their right end or at the left one."""
    x, shift, side = (0, 4, "left") if left else (1, -4, "right")
    place = {"xycoords": ("axes fraction", "data"), "xytext": (shift, 3), "textcoords": "offset points", "ha": side}
    for name, value in values.items():
        axes.axhline(value, color=REFERENCE, linestyle=":", linewidth=1)
        axes.annotate(name, (x, value), color=REFERENCE, **place)
