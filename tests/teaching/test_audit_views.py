"""Figures and widget of lesson 10: blanks stay blank, chance is drawn, the widget shows what decoding gives."""

import time

import numpy as np
import pandas as pd
import pytest
import tiny
from test_figures import Page

from course_utils.models.embedder import load
from course_utils.teaching.explorers.audit import AuditView, audit_explorer
from course_utils.teaching.explorers.tokens import described
from course_utils.teaching.figures import audit as draw

TABLE = pd.DataFrame(
    [("a", "Hit", 0.5, 0.4, 0.6, 0.1), ("a", "near", 0.7, 0.6, 0.8, 0.2), ("b", "Hit", 0.2, 0.1, 0.3, 0.0)],
    columns=["embedder", "measure", "value", "low", "high", "chance"],
)


def test_every_value_has_its_interval_and_chance_and_a_missing_measure_stays_blank():
    figure = draw.guests(TABLE, "A finding")
    [axes] = figure.axes
    assert figure.get_suptitle() == "A finding" and axes.get_xlabel() == "share of the texts"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    drawn = sorted(x for line in axes.lines for x in line.get_xdata())
    assert drawn == sorted([*TABLE["value"], *TABLE["chance"]])
    spans = sorted(tuple(segment[:, 0]) for c in axes.collections for segment in c.get_segments())
    assert spans == sorted(zip(TABLE["low"], TABLE["high"], strict=True))
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert sorted(labels) == ["Hit", "chance: the words of other texts", "near"]


def test_points_stand_at_their_property_in_every_panel():
    table = TABLE.assign(kind=["x", "x", "y"], norm=[0.1, 0.2, 0.6], variance=[0.3, 0.1, 0.2])
    figure = draw.against(table, [("norm", "norm (share)"), ("variance", "variance (share)")], "A finding")
    assert [axes.get_xlabel() for axes in figure.axes] == ["norm (share)", "variance (share)"]
    for axes, column in zip(figure.axes, ("norm", "variance"), strict=True):
        points = sorted((x, y) for line in axes.lines[:2] for x, y in zip(*line.get_data(), strict=True))
        assert points == sorted(zip(table[column], table["value"], strict=True))


@pytest.mark.parametrize("call", [draw.guests, lambda t, title: draw.against(t, [("norm", "n")], title)])
def test_a_table_without_what_is_drawn_is_refused(call):
    with pytest.raises(ValueError, match="table needs rows and the columns"):
        call(TABLE.drop(columns="value"), "A finding")


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    embedder = load(tiny.save(tmp_path_factory.mktemp("m") / "tiny"))
    return AuditView(embedder, embedder.pooled(tiny.SENTENCES))


def test_the_view_decodes_with_and_without_its_component(view):
    embedder, text = view.embedder, "I do not like apples."
    h, u = embedder.pooled([text])[0], view.direction
    for removed in (0.0, 0.5, 1.0):
        logits = embedder.unembedding.numpy() @ (h - removed * (h @ u) * u)
        logits[view.special] = -np.inf
        assert view.tokens(text, removed, 4) == described(embedder.tokenizer, text, np.argsort(-logits)[:4])
    assert np.linalg.norm(u) == pytest.approx(1) and 0 < view.share <= 1


def test_the_page_has_a_row_for_each_setting_and_asks_where_nothing_is_typed(view):
    page = Page(view.html("I do not like apples."))
    text = " ".join(t for t, _ in page.text)
    for said in (
        "as it is",
        "half of u_1 taken away",
        "all of u_1 taken away",
        "of the squared norm of the texts it was computed from",
        "tied",
    ):
        assert said in text
    assert "Type a sentence" in view.html("  ")


def test_the_widget_follows_text_and_choice(view):
    explorer = audit_explorer({"one": view, "other": view}, "Parrots")
    sentence, choice, page = explorer.children
    assert page.value == view.html("Parrots") and choice.options == ("one", "other")
    sentence.value = "Rain"
    for _ in range(100):
        if page.value == view.html("Rain"):
            break
        time.sleep(0.05)
    assert page.value == view.html("Rain")
