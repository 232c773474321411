"""Tables, figures and the widget of lesson 08: nothing lost, nothing turned round, refused where it would mislead."""

import numpy as np
import pandas as pd
import pytest
import tiny
from matplotlib.patches import Rectangle
from test_figures import Page

from course_utils.models.embedder import load
from course_utils.teaching.explorers.multilingual import ScriptView, script_explorer
from course_utils.teaching.figures import multilingual as fm

ARABIC, DEVANAGARI = "أنا أشرب القهوة <كل> صباح.", "मैं कॉफी पीता हूँ।"


# Tables -------------------------------------------------------------------------------------------------------------


def test_every_sentence_runs_in_its_own_direction_and_nothing_is_lost():
    lists = (["_قهوة", "<b>"], ["surface", "other"])
    source = fm.sentence_table(
        [("Arabic", ARABIC, lists), ("Hindi", DEVANAGARI, lists)], ["language", "text", "tokens"]
    )
    text = [t for t, _ in Page(source).text]
    assert {ARABIC, DEVANAGARI, "Arabic", "Hindi", "␣", "قهوة", "<b>", "language", "text", "tokens"} <= set(text)
    assert source.count('dir="auto"') == 2 and source.count("<bdi>") >= 4
    with pytest.raises(ValueError, match="row 'Arabic' has 2 entries for 3 columns"):
        fm.sentence_table([("Arabic", ARABIC)], ["language", "text", "tokens"])


def test_tokens_stand_in_the_line_of_their_script_largest_first():
    before = (["病", "_the", "_of", "病毒"], ["surface", "other", "other", "variant"], ["Han", "Latin", "Latin", "Han"])
    after = (["病", "疾病", "_ill", "ill"], ["surface", "variant", "other", "other"], ["Han", "Han", "Latin", "Latin"])
    after[2][3] = "Han"  # the table believes the scripts it is given
    page = Page(fm.script_table({"before": before, "after": after}))
    text = [t.strip() for t, _ in page.text if t.strip(" ␣\n")]
    assert text[:3] == ["script", "before", "after"]
    assert text[3 : 3 + 7] == ["Han", "病", "病毒", "病", "疾病", "ill", "Latin"]
    assert text[10:13] == ["the", "of", "ill"]


def test_a_script_that_one_list_lacks_is_shown_as_a_dash():
    source = fm.script_table({"before": (["a"], ["other"], ["Latin"]), "after": (["病"], ["other"], ["Han"])})
    assert [t for t, _ in Page(source).text].count("–") == 2
    with pytest.raises(ValueError, match="before: 1 tokens, 0 kinds and 1 scripts"):
        fm.script_table({"before": (["a"], [], ["Latin"])})


def test_a_byte_table_escapes_and_refuses_ragged_rows():
    source = fm.byte_table([("قهوة", "D9 82", ["ق", "ه", "‹D9 ··›"], "<two>")], ["a", "b", "c", "d"])
    text = [t for t, _ in Page(source).text if t.strip()]
    assert text == ["a", "b", "c", "d", "قهوة", "D9 82", "ق", "ه", "‹D9 ··›", "<two>"]
    assert source.count("<bdi>") == 6  # each token by itself, or the row would run from right to left
    with pytest.raises(ValueError, match="2 columns, but a row of 1"):
        fm.byte_table([("我",)], ["a", "b"])


# Figures ------------------------------------------------------------------------------------------------------------


def test_a_grid_writes_every_number_and_frames_equal_names():
    names = ["English", "Chinese", "Hindi"]
    table = pd.DataFrame(np.arange(9).reshape(3, 3) / 10, index=names, columns=names)
    figure = fm.language_grid({"one": table, "two": 1 - table}, "title", "share", "columns", "rows")
    panels = figure.axes[:2]
    assert [t.get_text() for t in panels[0].texts] == [f"{v:.2f}" for v in table.to_numpy().ravel()]
    assert [len([p for p in a.patches if isinstance(p, Rectangle)]) for a in panels] == [3, 3]
    assert panels[0].get_title(loc="left") == "one" and panels[0].get_ylabel() == "rows"
    colours = [axes.collections[0].get_clim() for axes in panels]
    assert colours == [(0, 1), (0, 1)]  # one scale for both
    with pytest.raises(ValueError, match="without NaN"):
        fm.language_grid({"one": table.where(table > 0)}, "title", "share", "columns", "rows")


def test_intervals_stand_where_the_numbers_say():
    rows = [("French", "before", 0.5, 0.4, 0.6), ("French", "after", 0.9, 0.8, 1.0), ("Hindi", "before", 0.1, 0.0, 0.2)]
    table = pd.DataFrame(rows, columns=["language", "way", "value", "low", "high"])
    figure = fm.intervals_by_language(table, "title", "share", {"French": 0.25, "Hindi": 0.3})
    axes = figure.axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.5, 0.1], [0.9]]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["French", "Hindi"] and axes.yaxis_inverted()
    segments = sorted(s[0][0] for c in axes.collections for s in c.get_segments())
    assert segments == pytest.approx(sorted([0.4, 0.0, 0.8, 0.25, 0.3]))
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["before", "after", "chance"]
    with pytest.raises(ValueError, match="needs rows and the columns"):
        fm.intervals_by_language(table.drop(columns="low"), "title", "share")


def test_values_become_rows_with_intervals_and_controls_a_range():
    values = {("hi", "before"): [0.0, 1, 1, 0], ("hi", ("own", 0)): [0, 0, 0, 1], ("hi", ("own", 1)): [1, 1, 1, 0]}
    values |= {(a.replace("hi", "sw"), way): [1.0] * 4 for a, way in list(values)}
    names = {"hi": "Hindi", "sw": "Swahili"}
    rows = fm.interval_rows(values, names, ["before"])
    assert rows.language.tolist() == ["Hindi", "Swahili"] and rows.value.tolist() == [0.5, 1.0]
    assert rows.low[0] < 0.5 < rows.high[0] and rows.low[1] == rows.high[1] == 1
    assert fm.control_range(values, names).to_numpy().tolist() == [["Hindi", 0.25, 0.75], ["Swahili", 1.0, 1.0]]


def test_panels_stand_side_by_side_with_the_range_of_random_controls_behind():
    table = pd.DataFrame([("Hindi", "before", 0.5, 0.4, 0.6)], columns=["language", "way", "value", "low", "high"])
    band = pd.DataFrame([("Hindi", 0.3, 0.3)], columns=["language", "low", "high"])
    figure = fm.intervals_by_language({"a": table, "b": table}, "T", "share", bands={"a": band, "b": band})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    [bar] = figure.axes[1].patches
    assert bar.get_x() == pytest.approx(0.3) and 0 < bar.get_width() < 0.01  # seen even where all controls agree
    assert [t.get_text() for t in figure.axes[1].get_legend().get_texts()] == ["before", "random directions"]
    other = table.assign(way="after")
    with pytest.raises(ValueError, match="the same languages and ways"):
        fm.intervals_by_language({"a": table, "b": other}, "T", "share")


def test_stacked_shares_fill_every_bar():
    index = pd.MultiIndex.from_tuples([("Hindi", "before"), ("Hindi", "after"), ("Arabic", "before")])
    table = pd.DataFrame({"own": [0.2, 0.5, 1.0], "Latin": [0.8, 0.5, 0.0]}, index=index)
    axes = fm.stacked_shares(table, "title", "share").axes[0]
    widths = np.array([[bar.get_width() for bar in group] for group in axes.containers])
    assert widths.T == pytest.approx(table.to_numpy())
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Hindi, before", "Hindi, after", "Arabic, before"]
    with pytest.raises(ValueError, match="rows must sum to 1"):
        fm.stacked_shares(table / 2, "title", "share")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.save(folder, "gemma3")
    return load(str(folder))


def test_the_view_shows_the_top_tokens_before_and_after(embedder):
    weight = embedder.unembedding.detach().numpy()
    view = ScriptView(embedder, weight[7] / np.linalg.norm(weight[7]), 1e4)
    text = tiny.SENTENCES[0]
    before, after = view.tokens(text), view.tokens(text, view.amount)
    assert len(before[0]) == len(before[1]) == len(before[2]) == 10
    assert before != after and view.tokens(text) == before
    page = [t for t, _ in Page(view.html(text)).text]
    assert "before" in page and "after the shift, λ = 10000.0" in page
    assert {token.removeprefix("_") for token in [*before[0], *after[0]]} - {""} <= set(page)
    assert "Type a text" in view.html("  ")


def test_chips_of_several_embeddings_are_their_top_tokens(embedder):
    text = tiny.SENTENCES[0]
    rows = np.concatenate([embedder.encode([text]), -embedder.encode([text])])
    weight = embedder.unembedding.detach().numpy()
    shown = fm.decoded(embedder.tokenizer, weight, text, rows, k=5)
    assert [len(part) for tokens_and_kinds in shown for part in tokens_and_kinds] == [5] * 4
    assert shown[0][0] == ScriptView(embedder).tokens(text, k=5)[0] != shown[1][0]


def test_the_explorer_follows_text_and_choice(embedder):
    views = {
        "shifted": ScriptView(embedder, np.eye(len(embedder.unembedding[0]))[0], -5.0),
        "as it is": ScriptView(embedder),
    }
    box = script_explorer(views, "我不喜欢苹果。")
    text, choice, result = box.children
    assert result.value == views["shifted"].html("我不喜欢苹果。")
    choice.value = "as it is"
    assert result.value == views["as it is"].html("我不喜欢苹果。") and "after the shift" not in result.value
    text.value = "Parrots"
    assert result.value == views["as it is"].html("Parrots")
