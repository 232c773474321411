"""Figures and explorer of lesson 11: measured points are solid, the rest dashed; every figure says how it is known."""

import numpy as np
import pandas as pd
import pytest

from course_utils.search.scale import architectures, costs, measured
from course_utils.teaching.explorers import scale
from course_utils.teaching.figures import scale as figures

SIZES = [10, 1000, 10**6]
LINES = pd.DataFrame(
    [(m, n, n * hours) for m, hours in (("135 M", 1e-4), ("7 B", 5e-3)) for n in SIZES],
    columns=["model", "documents", "hours"],
)
POINTS = pd.DataFrame([("135 M", 20, 2e-3), ("135 M", 200, 2e-2)], columns=["model", "documents", "hours"])


def test_hours_are_dashed_but_between_measured_points():
    figure = figures.hours_by_size(LINES, POINTS, "title")
    [axes] = figure.axes
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [
        list(LINES[LINES.model == m].hours) for m in ("135 M", "7 B")
    ]
    [solid] = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 2]
    assert solid.get_xdata()[[0, -1]] == pytest.approx([20, 200])
    assert solid.get_ydata() == pytest.approx(1e-4 * solid.get_xdata())
    [marks] = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert list(marks.get_xdata()) == [20, 200]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["135 M, extrapolated", "135 M, measured", "7 B, extrapolated"]
    assert {t.get_text() for t in axes.texts} == {"a day", "a year"}
    assert axes.get_xscale() == axes.get_yscale() == "log" and axes.get_xlabel() and axes.get_ylabel()


def test_index_sizes_are_products_and_the_memory_of_a_machine_is_a_line():
    figure = figures.index_sizes(SIZES, {"dense": 2304, "sparse": 1024}, "title", 64)
    [axes] = figure.axes
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[n * b / 1e9 for n in SIZES] for b in (2304, 1024)]
    assert list(axes.lines[2].get_ydata()) == [64, 64] and "64 GB" in axes.texts[0].get_text()


def test_quality_has_its_intervals_and_the_dense_vector_beside_it():
    table = pd.DataFrame(
        {"k": [32, 128], "bytes": [256.0, 1024.0], "value": [0.2, 0.3], "low": [0.1, 0.2], "high": [0.3, 0.4]}
    )
    figure = figures.quality_by_bytes(table, 0.35, 2304, "title")
    [axes] = figure.axes
    [bars] = axes.collections
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[0.1, 0.3], [0.2, 0.4]]
    assert {t.get_text() for t in axes.texts} == {"K = 32", "K = 128"}
    assert axes.get_ylim()[0] == 0 and any(list(line.get_xdata()) == [2304] for line in axes.lines)


@pytest.mark.parametrize(
    "call",
    [
        lambda: figures.hours_by_size(LINES.drop(columns="hours"), POINTS, "t"),
        lambda: figures.hours_by_size(LINES[:0], POINTS, "t"),
        lambda: figures.index_sizes([], {"a": 1}, "t", 64),
        lambda: figures.index_sizes(SIZES, {}, "t", 64),
        lambda: figures.quality_by_bytes(pd.DataFrame({"k": [1]}), 0.3, 100, "t"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call):
    with pytest.raises(ValueError, match="need"):
        call()


HELD = measured.stored()


def test_a_plan_says_of_every_figure_how_it_is_known():
    page = scale.plan_html(HELD, 10**8, "7 B (LLaMA)", 512, 64)
    assert page.count("<tr>") == 8 and "100,000,000 documents of 100 tokens, 7 B (LLaMA), K = 512, workers: 64" in page
    assert "extrapolated; rate: one block measured" in page and "assumed" in page and "exact" in page
    shape = architectures.of("llama-7b")
    a = costs.account(costs.Plan(10**8, k=512, workers=64), shape, costs.rate(HELD, shape))
    for figure in (costs.readable_seconds(a.elapsed_seconds), costs.readable_bytes(a.sparse_bytes), f"{a.machines}"):
        assert f"<td>{figure}</td>" in page
    assert "extrapolated; rate: measured" in scale.plan_html(HELD, 10**3, "135 M (SmolLM2)", 32, 1)


def test_a_plan_is_counted_with_the_prices_that_are_given():
    shape, prices = architectures.of("smollm2"), costs.Prices(7.0, 0, 11.0, "mine")
    page = scale.plan_html(HELD, 10**8, "135 M (SmolLM2)", 128, 1, prices)
    a = costs.account(costs.Plan(10**8), shape, costs.rate(HELD, shape), prices)
    assert f"<td>{a.build_cost:,.2f}</td>" in page and "at 7 a core hour (mine)" in page
    assert f"{2 * 64 * 11:,.2f} a month, at 11 a GB of their memory" in page  # two machines of 64 GB
    assert page != scale.plan_html(HELD, 10**8, "135 M (SmolLM2)", 128, 1)


def test_the_explorer_shows_the_plan_of_its_controls():
    box = scale.plan_explorer(HELD, 10**7, "135 M (SmolLM2)", 128, 64)
    *controls, page = box.children
    assert page.value == scale.plan_html(HELD, 10**7, "135 M (SmolLM2)", 128, 64)
    for control, value in zip(controls, (10**9, "1.3 B (OPT)", 1000, 1), strict=True):
        control.value = value
    assert page.value == scale.plan_html(HELD, 10**9, "1.3 B (OPT)", 1000, 1)
    for model in scale.MODELS:  # nothing that can be chosen fails
        controls[1].value = model
        for documents in scale.SIZES:
            controls[0].value = documents


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="model must be one of 135 M"):
        scale.plan_html(HELD, 10, "1 T", 32, 1)
    with pytest.raises(ValueError, match="documents must be at least 1"):
        scale.plan_html(HELD, 0, "135 M (SmolLM2)", 32, 1)


def test_both_axes_reach_from_the_smallest_to_the_largest_collection():
    lines, points = costs.curves(HELD, {"135 M": architectures.of("smollm2")}, SIZES, 70)
    assert len(points) >= 3 and (np.diff(points.hours) > 0).all()
    figure = figures.hours_by_size(lines, points, "title")
    low, high = figure.axes[0].get_xlim()
    assert low <= SIZES[0] and high >= SIZES[-1]
