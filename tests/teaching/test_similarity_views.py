"""Figures and widget of similarity and relatedness: what is drawn is what was given, a pair is read consistently."""

import numpy as np
import pytest
import tiny

from course_utils.measures.contributions import token_frame
from course_utils.measures.evaluation import Interval, cosine
from course_utils.models.embedder import load
from course_utils.teaching.explorers.similarity import PairView, pair_explorer, pair_html
from course_utils.teaching.figures import similarity as figures

LEFT, RIGHT = "I do not like apples.", "A man is playing a guitar <b>."
ROWS = {"one": Interval(0.5, 0.4, 0.6), "two": Interval(-0.2, -0.3, 0.1)}


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    embedder = load(tiny.save(tmp_path_factory.mktemp("model")))
    frame = token_frame(embedder.unembedding.detach().float().numpy())
    return PairView(embedder, frame, {"unrelated": [-0.9, -0.8, 0.999, 1.0], "paraphrase": [1.1]})


# The widget ---------------------------------------------------------------------------------------------------------


def test_a_reading_holds_the_cosine_and_the_largest_parts(view):
    a, b = view.embedder.encode([LEFT]), view.embedder.encode([RIGHT])
    found = view.read(LEFT, RIGHT, k=5)
    assert found.cosine == pytest.approx(cosine(a, b)[0])
    for (ids, parts), every in (
        (found.together, view.frame.tight_contributions(a, b)[0]),
        (found.apart, view.frame.distances(a, b)[0]),
    ):
        allowed = np.setdiff1d(np.arange(len(every)), view.special)
        assert parts == pytest.approx(np.sort(every[allowed])[::-1][:5])
        assert every[ids] == pytest.approx(parts) and not set(ids) & set(view.special)
    logits = view.embedder.unembedding.detach().numpy() @ np.vstack([a, b]).T
    logits[view.special] = -np.inf
    assert (found.aligned[:, 0] == logits.argmax(axis=0)).all()


def test_places_are_shares_of_the_known_pairs(view):
    assert view.places(0.9) == {"unrelated": 0.5, "paraphrase": 0.0}


def test_the_page_shows_both_embedders_and_cannot_be_broken(view):
    page = pair_html({"first": view, "<i>": view}, LEFT, RIGHT, ("first", "<i>"))
    assert page.count("<table>") == page.count("Hold them apart") == 2
    assert "<b>first</b>: cosine" in page and "<b>&lt;i&gt;</b>: cosine" in page
    assert f"cosine {view.read(LEFT, RIGHT).cosine:.2f}: above" in page and "% of the unrelated pairs" in page
    assert page.count('class="aligned-tokens"') == 8


def test_an_empty_side_asks_for_text_and_an_unknown_name_is_refused(view):
    for left, right in (("", RIGHT), (LEFT, "  ")):
        assert "Type two sentences" in pair_html({"first": view}, left, right, ("first",))
    with pytest.raises(ValueError, match="no embedder 'third' here; choose from first"):
        pair_html({"first": view}, LEFT, RIGHT, ("third",))


def test_the_widget_shows_the_page_and_follows_its_controls(view):
    views = {"first": view, "second": view}
    widget = pair_explorer(views, LEFT, RIGHT, ("first", "second"))
    one, other, choices, result = widget.children
    assert result.value == pair_html(views, LEFT, RIGHT, ("first", "second"))
    one.value = "Parrots"
    assert result.value == pair_html(views, "Parrots", RIGHT, ("first", "second"))
    choices.children[1].value = "first"
    assert result.value == pair_html(views, "Parrots", RIGHT, ("first", "first"))
    other.value = " "
    assert "Type two sentences" in result.value


# The figures --------------------------------------------------------------------------------------------------------


def test_interval_panels_draw_every_value_and_its_ends():
    later = {"one": Interval(0.1, 0.0, 0.2), "two": Interval(0.3, 0.2, 0.4)}
    figure = figures.interval_panels(
        {"rho": {"a": ROWS, "b": later}, "difference": {"": ROWS}}, "a title", {"rho": "correlation"}
    )
    left, right = figure.axes
    marks = [line.get_xdata().tolist() for line in left.lines if line.get_label() in "ab"]
    assert marks == [[0.5, -0.2], [0.1, 0.3]]
    assert [tuple(np.ravel(p)[[0, 2]]) for p in left.collections[0].get_segments()] == [(0.4, 0.6), (-0.3, 0.1)]
    assert left.get_xlabel() == "correlation" and right.get_xlabel() == "difference"
    assert [t.get_text() for t in left.get_yticklabels()] == ["one", "two"] and left.yaxis_inverted()
    with pytest.raises(ValueError, match="same embedders"):
        figures.interval_panels({"rho": {"a": ROWS, "b": {"one": ROWS["one"]}}}, "t")
    with pytest.raises(ValueError, match="at least one"):
        figures.interval_panels({}, "t")


def test_strips_show_every_pair_and_the_mean():
    values = {"negation": np.array([0.2, 0.4]), "unrelated": np.array([0.1, 0.0, 0.2])}
    [axes] = figures.strips({"model": values}, "t").axes
    assert [sorted(line.get_xdata()) for line in axes.lines] == [[0.2, 0.4], [0.0, 0.1, 0.2]]
    assert [c.get_segments()[0][0][0] for c in axes.collections] == pytest.approx([0.3, 0.1])


def test_the_grid_writes_value_and_interval_into_its_cells():
    figure = figures.relation_grid({"model": ROWS, "other": ROWS}, "t")
    assert "0.50\n0.40 … 0.60" in [t.get_text() for t in figure.axes[0].texts]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["one", "two"]
    with pytest.raises(ValueError, match="same relations"):
        figures.relation_grid({"model": ROWS, "other": {"two": ROWS["two"]}}, "t")


def test_token_parts_draw_both_sides_of_every_embedder():
    figure = figures.token_parts({"model": (["_a", "$b$"], [2.0, 1.0], ["싫"], [0.5])}, "t")
    near, far = figure.axes
    assert [bar.get_width() for bar in near.patches] == [2.0, 1.0] and [bar.get_width() for bar in far.patches] == [0.5]
    assert [t.get_text() for t in near.get_yticklabels()] == ["_a", "$b$"]


def test_a_dot_stands_at_its_overlap_and_cosine_and_a_curve_has_every_number():
    overlap, groups = (
        np.array([0.1, 0.8, 0.2]),
        {"near": np.array([True, False, False]), "far": np.array([False, True, True])},
    )
    figure = figures.against_overlap(overlap, {"one": np.array([0.5, 0.9, 0.1])}, groups, "T")
    near, far = figure.axes[0].get_lines()
    assert near.get_xydata().tolist() == [[0.1, 0.5]] and far.get_xydata().tolist() == [[0.8, 0.9], [0.2, 0.1]]
    curves = {"a": [Interval(0.1, 0, 0.2), Interval(0.5, 0.4, 0.6)]}
    figure = figures.by_number([1, 2], curves, Interval(1, 0.9, 1.1), "T", "nDCG@10")
    whole, line = figure.axes[0].get_lines()
    assert line.get_xydata().tolist() == [[1, 0.1], [2, 0.5]] and set(whole.get_ydata()) == {1}
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2"]
