"""Figures and the widget of lesson 09, on made-up embeddings and logs."""

import numpy as np
import pytest

from course_utils.teaching.explorers.causes import LandscapeView, landscape_explorer
from course_utils.teaching.figures import causes as figures


@pytest.fixture
def view():
    rng = np.random.default_rng(1)
    anchors = rng.normal(size=(8, 6))
    positives = anchors + 0.8 * rng.normal(size=(8, 6))
    u = np.eye(6)[5]
    return LandscapeView(anchors + 6 * u, positives + 6 * u, u, range(-10, 11))


def log(v, steps=(0, 1, 30)):
    rows = [
        {
            "step": s,
            "n": 40 if 0 < s < 30 else 120,
            "v_1": v * s / steps[-1],
            "alpha": 20 + v * s / steps[-1],
            "rest": 10.0 + s,
        }
        for s in steps
    ]
    return {"probe": rows}


def test_the_page_says_where_the_loss_is_smallest_and_how_it_slopes(view):
    losses = view.losses(0.2)
    page = view.page(0, 0.2)
    assert f"smallest at a shift of {view.shifts[losses.argmin()]:.0f}" in page and "it rises along" in page
    far = view.page(-10, 0.2)
    assert far != page and "cosines of right pairs" in far


def test_the_widget_follows_both_controls(view):
    *controls, page = landscape_explorer(view, 0, 0.2, (0.2, 0.05)).children
    first = page.value
    controls[0].value = -5
    second = page.value
    controls[1].value = 0.05
    assert len({first, second, page.value}) == 3


def test_sides_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        LandscapeView(np.ones((3, 4)), np.ones((2, 4)), np.eye(4)[0], range(3))


def test_the_temperatures_draw_every_run_and_how_far_others_went():
    runs, others = {0.2: [-20.0, -19.0], 0.05: [-15.0]}, {0.2: [4.0, 3.0], 0.05: [2.0]}
    [axes] = figures.temperatures([0.3, 0.05], [[-25.0, -24.0], [-12.0, -10.0]], runs, others, "T").axes
    marks = next(line for line in axes.lines if line.get_marker() == "D")
    assert sorted(marks.get_ydata()) == [-20, -19, -15] and "farthest other" in str(axes.get_legend_handles_labels())
    with pytest.raises(ValueError, match="no run"):
        figures.temperatures([0.1], [[1.0]], {}, {}, "T")


def test_paths_draw_the_share_that_is_left_or_what_they_are_told():
    one, other = figures.paths(
        {"a": {"x": [log(-10.0), log(-6.0)]}, "b": {"y": [log(0.0)], "x": [log(-1.0)]}}, "T"
    ).axes
    assert one.lines[1].get_color() == other.lines[2].get_color() != other.lines[1].get_color()
    assert one.lines[1].get_ydata() == pytest.approx([1, 1 - 8 / 600, 0.6]) and one.get_ylim()[0] == 0
    [axes] = figures.paths({"": {"x": [log(-10.0)]}}, "T", of=lambda row, start: row["rest"] / start["rest"]).axes
    assert axes.lines[1].get_ydata() == pytest.approx([1, 1, 4])
    with pytest.raises(ValueError, match="no log of 'x'"):
        figures.paths({"a": {"x": []}}, "T")


def test_readouts_draw_the_untrained_model_and_the_range_of_the_seeds():
    values = {"blind": {"raw": [0.4, 0.5], "u_1 removed": [0.8, 0.9]}}
    [axes] = figures.readouts(values, {"raw": 0.2, "u_1 removed": 0.7}, "T").axes
    assert list(axes.lines[0].get_ydata()) == [0.2, 0.7] and list(axes.lines[1].get_ydata()) == pytest.approx(
        [0.45, 0.85]
    )
