"""Figures of tokens: the marks mean what the legend says, nothing breaks the page, nothing is drawn wrongly."""

import re
import warnings
from html.parser import HTMLParser

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from course_utils.teaching.figures import tokens as ft
from course_utils.teaching.figures.style import PALETTE, styled

TOKENS = ["_Game", "game", "_games", "_released", "_as", "<b>&", "$x$", "\\n", "싫", "_café"]
SURFACE = ["_Game", "_releases", "_a"]
KINDS = ["surface", "variant", "variant", "variant", "other", "other", "other", "other", "other", "other"]


class Page(HTMLParser):
    """Text of a page, and its open elements: fails when a tag is closed that is not the innermost."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.text = [], []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((data, tuple(self.open)))


# Kinds --------------------------------------------------------------------------------------------------------------


def test_kinds_tell_surface_from_variant_from_other():
    assert ft.kinds(TOKENS, SURFACE) == KINDS


def test_short_stems_do_not_make_strangers_variants():
    found = ft.kinds(["_A", "a", "_as", "_the", "The"], ["_a", "the"])
    assert found == ["variant", "variant", "other", "variant", "variant"]


def test_white_space_is_a_variant_of_nothing():
    assert ft.kinds(["_", "\\n", "\\t", ""], ["\\n"]) == ["other", "surface", "other", "other"]
    assert ft.stem("_") == ft.stem("\\n") == ft.stem("") == ""


def test_the_stem_ignores_case_space_and_ending():
    assert len({ft.stem(t) for t in ("_Release", "released", "RELEASES", "_releasing")}) == 1
    assert ft.stem("_release") != ft.stem("_relay")


# HTML ---------------------------------------------------------------------------------------------------------------


def test_chips_mark_kinds_without_colour_and_escape_everything():
    source = ft.chips(TOKENS, KINDS)
    page = Page(source)
    shown = [(text, tags) for text, tags in page.text if text.strip()]
    assert "".join(t for t, _ in shown) == "".join(TOKENS).replace("_", "␣")  # escaped, in order, nothing lost
    marks = dict(reversed(shown))
    assert {"b", "u"} <= set(marks["Game"]) and not {"b", "u"} & set(marks["␣"])  # an underline would hide the space
    assert "u" in marks["game"] and "b" not in marks["game"]
    assert not {"b", "u"} & set(marks["as"])
    assert source.count('class="aligned-tokens"') == 1


def test_every_chip_sets_letters_and_ground_so_that_it_reads_on_any_page():
    for source in (ft.chips(TOKENS, KINDS), ft.legend()):
        styles = re.findall(r'<span style="([^"]*)"', source)
        assert styles
        for style in styles:
            ground, letters = re.search(r"background:(#\w+);color:(#\w+)", style).groups()
            assert _contrast(ground, letters) >= 7  # WCAG 2.1, level AAA


def _contrast(a: str, b: str) -> float:
    def light(colour):
        channels = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
        return float(np.dot(channels, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_scores_are_shown_on_demand():
    assert 'title="logit 12.3"' in ft.chips(["a"], ["other"], [12.34])
    assert "title" not in ft.chips(["a"], ["other"])


def test_a_table_has_a_row_for_each_name_and_a_legend():
    source = ft.token_table(["SGPT <nli>", "OPT"], [TOKENS, ["a"]], [KINDS, ["other"]], caption="A & B")
    text = [text for text, _ in Page(source).text]
    assert source.count("<tr>") == source.count('class="aligned-tokens"') == 2
    assert "SGPT <nli>" in text and "A & B" in text
    assert all(words in "".join(text) for words in ft.KINDS.values())


@pytest.mark.parametrize(
    "call",
    [
        lambda: ft.chips(["a", "b"], ["other"]),
        lambda: ft.chips(["a"], ["other"], [1.0, 2.0]),
        lambda: ft.token_table(["a"], [["x"], ["y"]], [["other"], ["other"]]),
        lambda: ft.token_bars(["a", "b"], [1.0], ["other", "other"], "t"),
    ],
)
def test_lists_of_different_length_are_refused(call):
    with pytest.raises(ValueError, match="one entry each expected; got [12] "):
        call()


def test_an_unknown_kind_is_refused_by_name():
    for call in (ft.chips, lambda t, k: ft.token_bars(t, [1.0], k, "title")):
        with pytest.raises(ValueError, match="unknown kind 'exact'; choose from surface, variant, other"):
            call(["a"], ["exact"])


# Figures ------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_complaints():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that the font lacks is a warning
        yield
    assert not plt.get_fignums(), "a figure was left in pyplot's hands: a notebook would show it twice"


def test_bars_stand_for_the_scores_in_order():
    scores = np.linspace(9, 1, len(TOKENS))
    figure = ft.token_bars(TOKENS, scores, KINDS, "A title with $2 in it", xlabel="logit")
    axes = figure.axes[0]
    bars = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert [bar.get_width() for bar in bars] == pytest.approx(scores)
    assert [label.get_text() for label in axes.get_yticklabels()] == [ft.drawable(t) for t in TOKENS]
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["bold"] + ["normal"] * 9
    assert axes.yaxis_inverted() and axes.get_xlabel() == "logit" and axes.get_title(loc="left").startswith("A title")
    assert len({bar.get_facecolor() for bar in bars}) == 3
    assert to_rgb(figure.get_facecolor()) == to_rgb(axes.get_facecolor()) == (1, 1, 1)


def test_a_grid_holds_every_token_and_frames_those_of_the_text():
    rows = [TOKENS, TOKENS[::-1]]
    figure = ft.token_grid(rows, np.arange(20).reshape(2, 10), [KINDS, KINDS[::-1]], ["a", "b"], "title")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.texts] == [ft.drawable(t) for row in rows for t in row]
    frames = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert len(frames) == 2 * (len(KINDS) - KINDS.count("other"))
    assert [t.get_color() for t in axes.texts] == ["black"] * 10 + ["white"] * 10  # readable on its cell
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]


def test_a_grid_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"got \(1, 2\), \(2, 2\), \(1, 2\) and 1"):
        ft.token_grid([["a", "b"]], np.ones((2, 2)), [["other", "other"]], ["r"], "title")


def test_an_attention_grid_has_a_dot_where_a_token_may_look():
    causal = np.tril(np.ones((3, 3), dtype=bool))
    figure = ft.attention_grid(["I", "_like", "$"], {"causal": causal, "all": causal | True}, "title")
    dots = [[t.get_text() for t in axes.texts] for axes in figure.axes]
    assert [d.count("●") for d in dots] == [6, 9]
    assert np.array_equal(np.reshape(dots[0], (3, 3)) == "●", causal)
    with pytest.raises(ValueError, match=r"causal: expected a mask \[2, 2\], got \(3, 3\)"):
        ft.attention_grid(["a", "b"], {"causal": causal}, "title")


def test_drawing_no_token_is_refused():
    with pytest.raises(ValueError, match="no tokens"):
        ft.token_bars([], [], [], "title")


def test_characters_that_the_font_lacks_are_written_as_codes():
    assert ft.drawable("_café Ω") == "_café Ω"
    assert ft.drawable("a싫") == "a\\uc2eb"


def test_the_style_leaves_the_readers_settings_alone():
    before = dict(matplotlib.rcParams)

    @styled
    def plot():
        figure, axes = plt.subplots()
        axes.plot([0, 1])
        return figure

    figure = plot()
    assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].lines[0].get_color() == PALETTE[0]


# The explorers that show them ----------------------------------------------------------------------------------------


def test_the_token_explorer_answers_to_sentence_slider_and_choice():
    from course_utils.teaching.explorers.tokens import SHARE, token_explorer

    class View:
        def __init__(self, name, direction):
            self.name, self.direction = name, direction

        def html(self, text, share=0.0):
            return f"{self.name}|{text}|{share:.2f}"

    box = token_explorer({"one": View("one", [1.0]), "two": View("two", None)}, "Hello")
    sentence, strength, choice, result = box.children
    assert sentence.description == sentence.placeholder == "Your sentence" and strength.description == SHARE
    assert result.value == "one|Hello|0.00" and not strength.disabled
    sentence.value = "Good bye"
    strength.value = 0.75
    assert result.value == "one|Good bye|0.75"
    choice.value = "two"
    assert result.value == "two|Good bye|0.75" and strength.disabled
    assert len(token_explorer({"one": View("one", None)}, "Hello").children) == 3
