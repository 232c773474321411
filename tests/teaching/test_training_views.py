"""Figures and widgets of training, on a made-up run."""

import re

import numpy as np
import pytest

from course_utils.measures.evaluation import Interval
from course_utils.measures.nulls import Beside
from course_utils.teaching.explorers.training import LiveTraining, replay, training_page
from course_utils.teaching.figures.training import (
    along_strength,
    compare_logs,
    loss_along_shift,
    run_curves,
    training_curves,
)

LOSSES = [4.0, 3.5, 3.0, 2.0, 1.5]
ROWS = [
    {"step": 0, "v_1": 0.0, "max_other_v": 0.0, "spearman": 0.5},
    {"step": 2, "v_1": -1.0, "max_other_v": 0.2, "spearman": 0.6},
    {"step": 5, "v_1": -7.25, "max_other_v": 1.5, "spearman": 0.7},
]
TOKENS = {0: ["_the", "_of"], 2: ["_music", "_the"], 5: ["_violin", "_<b>"]}
SURFACE = ["_the", "_violin"]


def test_the_page_tells_where_the_run_stands_and_decodes_only_what_has_happened():
    page = training_page(LOSSES[:2], ROWS[:2], TOKENS, SURFACE, total=5)
    assert 'alt="step 2 of 5: loss 3.50, v_1 = -1.00, largest other |v_j| = 0.20. across: training step;' in page
    assert "music" in page and "violin" not in page
    assert re.findall(r">(step \d)<", page) == ["step 0", "step 2"]


def test_the_page_of_an_untrained_model_has_no_loss():
    assert "step 0 of 5: untrained, v_1 = 0.00" in training_page([], ROWS[:1], TOKENS, SURFACE, total=5)


def test_tokens_cannot_break_the_page():
    page = training_page(LOSSES, ROWS, TOKENS, SURFACE, total=5)
    assert "<bdi>&lt;b&gt;</bdi>" in page and "<bdi><b>" not in page


def test_the_live_page_changes_with_every_update():
    live = LiveTraining(SURFACE, total=5)
    assert "not started" in live.widget.value
    live.update([], ROWS[:1], TOKENS)
    untrained = live.widget.value
    live.update(LOSSES, ROWS, TOKENS)
    assert live.widget.value != untrained and "step 5 of 5: loss 1.50" in live.widget.value
    assert live.widget.value == training_page(LOSSES, ROWS, TOKENS, SURFACE, 5)


def test_the_replay_may_open_at_the_first_look():
    slider, page = replay(LOSSES, ROWS, TOKENS, SURFACE, first=True).children
    assert slider.value == 1 and "untrained" in page.value
    before = page.value
    slider.value = len(ROWS)
    assert page.value != before


def test_the_replay_opens_at_the_end_and_its_slider_goes_back():
    slider, page = replay(LOSSES, ROWS, TOKENS, SURFACE).children
    assert [label for label, _ in slider.options] == ["0", "2", "5"]
    assert "step 5 of 5" in page.value
    slider.value = 2
    assert "step 2 of 5: loss 3.50" in page.value and "_violin" not in page.value


def test_the_curves_show_the_numbers_they_are_given():
    left, right = training_curves(LOSSES, ROWS, "a title", total=9).axes
    assert left.lines[0].get_ydata().tolist() == LOSSES and left.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    v_1 = next(line for line in right.lines if line.get_label() == "$v_1$")
    assert list(v_1.get_ydata()) == [0.0, -1.0, -7.25] and left.get_xlim() == right.get_xlim() == (0, 9)
    with pytest.raises(ValueError, match="call the probe once"):
        training_curves(LOSSES, [], "a title")


def test_one_run_is_drawn_with_its_chance_and_its_intervals():
    beside = [Beside(Interval(x, x - 0.1, x + 0.2), 0.05, Interval(x - 0.05, x - 0.1, x)) for x in (0.1, 0.2, 0.6)]
    rows = [row | {"beside": b} for row, b in zip(ROWS, beside, strict=True)]
    loss, moved, found = run_curves(LOSSES, rows, "a title").axes
    assert loss.lines[0].get_ydata().tolist() == LOSSES
    assert [list(line.get_ydata()) for line in moved.lines if line.get_label() == "$v_1$"] == [[0.0, -1.0, -7.25]]
    lines = {line.get_label(): list(line.get_ydata()) for line in found.lines}
    assert lines["another text's words"] == [0.05] * 3
    (bars,) = (segments for _, _, (segments,) in (c.lines for c in found.containers))
    assert np.allclose([s[:, 1] for s in bars.get_segments()], [[0.0, 0.3], [0.1, 0.4], [0.5, 0.8]])
    with pytest.raises(ValueError, match="look once"):
        run_curves(LOSSES, [], "a title")


def test_logs_are_compared_with_and_without_judged_pairs():
    mine = [{k: v for k, v in row.items() if k != "spearman"} for row in ROWS]
    figure = compare_logs({"shipped": ROWS, "yours": mine}, "a title")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines[1:]] == ["shipped", "yours"]
    assert len(right.lines) == 1 and list(right.lines[0].get_ydata()) == [0.5, 0.6, 0.7]
    with pytest.raises(ValueError, match="no log"):
        compare_logs({}, "a title")


def test_the_ring_marks_the_smallest_loss():
    axes = loss_along_shift([0.0, 0.5, 1.0], {"one": [3.0, 1.0, 2.0], "two": [1.0, 2.0, 3.0]}, "a title").axes[0]
    rings = [line for line in axes.lines if line.get_fillstyle() == "none"]
    assert [(float(np.ravel(r.get_xdata())[0]), float(np.ravel(r.get_ydata())[0])) for r in rings] == [(0.5, 1), (0, 1)]


def test_the_ring_marks_the_highest_stop_of_every_rate():
    strengths = [0, 0.5, 1]
    figure = along_strength(strengths, {"v_1": [0, -2, -4]}, {"hits": [0.5, 0.9, 0.7], "own": [0.1, 0.2, 0.3]}, "t")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines if line.get_label()[0] != "_"] == ["v_1"]
    rings = [line for line in right.lines if line.get_markersize() == 14]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in rings] == [(0.5, 0.9), (1, 0.3)]
    drawn = {line.get_label(): list(line.get_ydata()) for line in right.lines}
    assert drawn["hits"] == [0.5, 0.9, 0.7] and drawn["own"] == [0.1, 0.2, 0.3]
