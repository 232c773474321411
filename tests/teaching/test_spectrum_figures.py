"""Figures of lesson 03: every state has its own mark, arrows lead where the step leads, chance is drawn as such."""

import numpy as np
import pandas as pd
import pytest

from course_utils.measures.interventions import BothWays, judge
from course_utils.teaching.figures import spectrum as figures
from course_utils.teaching.figures.style import REFERENCE

RNG = np.random.default_rng(0)


def test_every_state_has_a_colour_and_a_mark_of_its_own():
    assert len({color for color, _ in figures.STATES.values()}) == len({m for _, m in figures.STATES.values()}) == 4


def test_the_cloud_draws_each_state_where_it_lies_and_marks_zero():
    points = {name: RNG.normal(size=(30, 2)) + (20 - 9 * i, 0) for i, name in enumerate(figures.STATES)}
    figure = figures.cloud(points, "Training moves the cloud towards zero")
    left, right = figure.axes
    drawn = {line.get_label(): line.get_xydata() for line in left.lines}
    assert all(np.allclose(drawn[name], where) for name, where in points.items())
    assert drawn["zero"].tolist() == [[0, 0]]
    assert sum(patch.get_height() for patch in right.patches) == 4 * 30  # every text is counted once in each state
    assert left.get_xlabel() and right.get_ylabel() == "texts"


def _table(names=("a", "b", "c")):
    rows = [
        ("base 1" if name != "c" else "base 2", name, state, 0.2 * i + 0.05, 0.2 * i, 0.2 * i + 0.1)
        for name in names
        for i, state in enumerate(figures.STATES)
    ]
    return pd.DataFrame(rows, columns=["group", "embedder", "state", "value", "low", "high"])


def test_arrows_lead_from_each_side_to_where_its_step_leads():
    figure = figures.both_ways(_table(), "Steps")
    [axes] = figure.axes
    arrows = [t for t in axes.texts if getattr(t, "arrow_patch", None) is not None]
    assert len(arrows) == 2 * 3
    assert {(round(a.xyann[0], 2), round(a.xy[0], 2)) for a in arrows} == {(0.05, 0.25), (0.45, 0.65)}
    assert [t.get_text() for t in axes.texts if t.get_text()] == ["from base 1", "from base 2"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"]
    assert any(line.get_color() == REFERENCE and line.get_label() == "chance" for line in axes.lines)


def test_a_table_without_what_is_drawn_is_refused():
    with pytest.raises(ValueError, match="table needs rows"):
        figures.both_ways(_table().drop(columns="group"), "Steps")


def test_the_sweep_draws_chance_as_such_and_a_line_for_each_v_1():
    amounts = np.linspace(-20, 0, 5)
    panels = {name: {"value": amounts**2, "chance": 0 * amounts} for name in ("Hit@10", "LAR", "GAR")}
    figure = figures.sweep(amounts, panels, {"one": -10.0, "two": -12.0}, "Best near v_1")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        chance = [line for line in axes.lines if line.get_color() == REFERENCE]
        assert len(chance) == 1 and not chance[0].get_ydata().any()
        assert [line.get_xdata()[0] for line in axes.lines[-2:]] == [-10, -12]
    assert [t.get_text() for t in figure.legends[0].get_texts()][-2:] == ["v_1 = -10.0 of one", "v_1 = -12.0 of two"]


def test_the_table_of_steps_and_the_rows_of_the_figure_say_what_was_measured():
    rng = np.random.default_rng(3)
    surface = [rng.choice(300, size=4, replace=False) for _ in range(30)]

    def judged(found):  # a list that names its text's first tokens with probability ``found``
        lists = [np.concatenate([own[rng.random(4) < found], rng.permutation(300)[:40]]) for own in surface]
        return judge(np.stack([row[:40] for row in lists]), surface, 5)

    start = {"untrained": judged(0.0), "embedder": judged(1.0)}
    stepped = {"untrained": judged(0.9), "embedder": judged(0.9)}
    still = {kind: np.zeros((2, 30)) for kind in ("u_2", "c_1", "random")}
    moved = {kind: np.tile(start["embedder"].hit_excess, (2, 1)) for kind in still}
    found = {"one": BothWays(-3.0, start, stepped, {"untrained": still, "embedder": moved})}
    shown = figures.steps(found)
    assert [row[:2] for row in shown.rows] == [["one", "untrained + v_1 u_1"], ["one", "embedder − v_1 u_1"]]
    assert [row[-2:] for row in shown.rows] == [["0 of 2", "yes"], ["0 of 2", "no"]]
    rows = figures.state_rows(found, {"one": "base"})
    assert rows["state"].tolist() == list(figures.STATES) and set(rows["group"]) == {"base"}
    expected = [
        j.hit_excess.mean() for j in (start["untrained"], stepped["untrained"], start["embedder"], stepped["embedder"])
    ]
    assert np.allclose(rows["value"], expected) and (rows["low"] <= rows["value"]).all()
