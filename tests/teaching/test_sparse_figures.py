"""Figures of retrieval: what is drawn is what was given, and every axis says what it shows."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from course_utils.measures.evaluation import Interval
from course_utils.search.results import Curve
from course_utils.search.sparse import Match
from course_utils.teaching.figures import sparse as figures
from course_utils.teaching.figures.style import PALETTE

VALUES = {"dense": Interval(0.5, 0.4, 0.6), "BM25": Interval(0.3, 0.2, 0.4), "BM25 + dense": Interval(0.55, 0.5, 0.6)}


def texts(axes):
    return [t.get_text() for t in axes.texts]


def labels(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


def test_the_heat_map_writes_every_number_and_frames_the_choice():
    means = np.array([[0.10, 0.20, 0.30], [0.15, 0.25, 0.35]])
    figure = figures.heat_map(means, (64, 512), (0, 10, 25), (512, 10), "title")
    axes = figure.axes[0]
    assert texts(axes) == ["0.10", "0.20", "0.30", "0.15", "0.25", "0.35"]
    assert labels(axes.yaxis) == ["64", "512"] and labels(axes.xaxis) == ["0", "10", "25"]
    [frame] = axes.patches
    assert frame.get_xy() == (0.5, 0.5)  # around the field of column 1 and row 1
    dark, light = axes.texts[5], axes.texts[0]
    assert same_color(dark.get_color(), "white") and same_color(light.get_color(), "black")
    assert axes.get_xlabel() and axes.get_ylabel() and figure.get_suptitle() == "title"


def test_a_long_title_is_broken_into_lines_that_fit():
    title = "words " * 40
    figure = figures.dots(VALUES, title, "nDCG@10")
    box = figure._suptitle.get_window_extent()
    assert 0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.get_suptitle().split() == title.split()


def test_dots_stand_in_the_given_order_with_their_intervals():
    figure = figures.dots(VALUES, "title", "nDCG@10", ("reference", 0.45))
    [axes] = figure.axes
    assert labels(axes.yaxis) == list(VALUES) and axes.yaxis_inverted()
    lines = [line.get_xdata() for line in axes.lines]
    assert [list(np.atleast_1d(x)) for x in lines[:2]] == [[0.4, 0.6], [0.5]]
    assert list(lines[-1]) == [0.45, 0.45] and axes.get_legend() is not None


def test_panels_share_their_systems_and_mark_hybrids():
    figure = figures.panels({"A": VALUES, "B": {"BM25": VALUES["BM25"]}}, "title", "nDCG@10")
    left, right = figure.axes
    assert labels(left.yaxis)[:3] == list(VALUES) and len(left.lines) == 6 and len(right.lines) == 2
    assert right.lines[1].get_ydata()[0] == 1  # BM25 stands in the second line in both panels
    assert [left.lines[i].get_marker() for i in (1, 3, 5)] == ["o", "o", "D"]
    assert same_color(left.lines[5].get_color(), PALETTE[1])


def test_matches_are_drawn_as_they_are_given_and_cut():
    found = [Match(i, f"_t{i}", 1.0, 2.0, 2.0 - i / 10) for i in range(20)] + [Match(20, "싫", 1, 1, 0.01)]
    axes = figures.matches(found, "title", first=5).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([2.0, 1.9, 1.8, 1.7, 1.6])
    assert labels(axes.yaxis) == ["_t0", "_t1", "_t2", "_t3", "_t4"]
    assert figures.matches(found[-1:], "title").axes[0].get_yticklabels()[0].get_text() == "\\uc2eb"


def test_queries_on_the_same_place_make_a_larger_dot():
    axes = figures.against(np.array([0, 0, 0, 1.0]), np.array([0.5, 0.5, 0.501, 1.0]), "t", "x", "y").axes[0]
    [dots] = axes.collections
    assert dots.get_offsets().tolist() == [[0.0, 0.5], [1.0, 1.0]]
    assert dots.get_sizes()[0] == 3 * dots.get_sizes()[1]


def test_times_are_drawn_on_logarithmic_axes_one_line_each():
    rows = [(n, m, ms) for n in (10**3, 10**6) for m, ms in (("dense", n / 5000), ("BM25", n / 10**6))]
    axes = figures.time_by_size(pd.DataFrame(rows, columns=["documents", "method", "ms"]), "title").axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [line.get_label() for line in axes.lines] == ["dense", "BM25"]
    assert axes.lines[0].get_ydata().tolist() == [0.2, 200]
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 2


def test_panels_mark_what_is_compared_with():
    figure = figures.panels({"A": VALUES}, "title", "difference", reference=0)
    assert list(figure.axes[0].lines[-1].get_xdata()) == [0, 0]


def test_quality_stands_over_cost_and_single_points_are_stars():
    curve = Curve([10, 1000], [0.2, 0.4], ["K=1", "K=2"])
    series = {"tokens": curve, "dense": Curve([300], [0.3])}
    figure = figures.pareto({"bytes": series, "operations": series}, "title", {"operations": ("13 %", 50.0)})
    left, right = figure.axes
    assert [list(line.get_xdata()) for line in left.lines] == [[10, 1000], [300]]
    assert [line.get_marker() for line in left.lines] == ["o", "*"] and texts(left) == ["K=1", "K=2", ""]
    assert list(right.lines[-1].get_xdata()) == [50.0, 50.0]
    assert (left.get_xlabel(), right.get_xlabel()) == ("bytes", "operations") and left.get_xscale() == "log"
    assert left.get_ylabel() and figure.get_suptitle() == "title"
    assert "13 %" in [t.get_text() for t in right.get_legend().get_texts()]
