"""What an explorer is on the page: it says when it works, brings a picture along, and figures come with words."""

import base64
import io
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_figures import Page

from course_utils.measures.evaluation import Interval
from course_utils.teaching.explorers import widget
from course_utils.teaching.explorers.page import live, text_box
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures import picture
from course_utils.teaching.figures.style import styled
from course_utils.teaching.figures.tables import table
from course_utils.teaching.figures.tokens import kinds, stem


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, one bundle after the other."""
    bundles = []
    for module in (widget, picture):
        monkeypatch.setattr(module, "display", lambda data, raw: bundles.append(data))
    return bundles


# Waiting ------------------------------------------------------------------------------------------------------------


def test_a_page_says_that_it_works_before_it_computes_and_how_long_it_took():
    box = text_box("one")
    page = live(lambda text: f"<p>{text}</p>", box)
    assert re.fullmatch(r"<span>answered in \d+\.\d\d s</span>", page.status) and page.value == "<p>one</p>"
    said = []
    for part in page.children[1:]:
        part.observe(lambda change: said.append(change["new"]), names="value")
    box.value = "two"
    assert "working" in said[0] and said[1] == "<p>two</p>" and "answered in" in said[2]


def test_a_page_that_fails_says_so_and_keeps_the_older_one():
    slider = widgets.IntSlider(value=1, max=2)
    page = live(lambda n: f"<p>{1 / (2 - n):.1f}</p>", slider)
    with pytest.raises(ZeroDivisionError):
        slider.value = 2
    assert "stopped: ZeroDivisionError" in page.status and page.value == "<p>1.0</p>"
    slider.value = 1
    assert "answered in" in page.status


# A picture of the widget --------------------------------------------------------------------------------------------


def test_an_explorer_shows_a_picture_and_the_widget_as_two_outputs(shown):
    box = text_box("rain <b>")
    explorer = Explorer([box, live(lambda text: f"<p>{len(text)} letters</p>", box)])
    explorer._ipython_display_()
    still, alive = shown
    assert set(still) == {"text/html", "text/plain"} and "VBox" not in still["text/plain"]
    assert "<p>8 letters</p>" in still["text/html"] and widget.PICTURE_NOTE in still["text/html"]
    Page(still["text/html"])
    # Alone in its output the widget can be left out of a stored notebook, whatever made the picture.
    assert list(alive) == ["application/vnd.jupyter.widget-view+json"]
    box.value = "snow"
    assert "<p>4 letters</p>" in explorer.picture()


def test_the_picture_is_hidden_by_the_class_of_the_living_widget_only():
    explorer = Explorer([live(lambda: "<p>page</p>")])
    setup = explorer.children[-1].children[0].value
    assert f".jp-OutputArea:has(.{widget.LIVE}) > .jp-OutputArea-child:has(.{widget.PICTURE})" in setup
    assert widget.LIVE in explorer._dom_classes and widget.PICTURE in explorer.picture()
    assert "<style" not in explorer.picture() and "onload" not in explorer.picture()


# Marks --------------------------------------------------------------------------------------------------------------


def test_another_byte_is_another_token_whatever_the_case_of_its_letter():
    assert kinds(["<Ĳ>", "‹Ĳ>", "‹E6 88 ··›"], ["<ĳ>", "‹ĳ>", "‹E6 88 ··›"]) == ["other", "other", "surface"]
    assert stem("<Ĳ>") == "<Ĳ>" and stem("_IJ") == stem("ij")


# Figures ------------------------------------------------------------------------------------------------------------


@styled
def drawn(title: str = "Scores rise with $n$"):
    figure, axes = plt.subplots(figsize=(4, 2))
    axes.plot([0, 1], [1, 2], label="Hit@10")
    axes.set(title=title, xlabel="texts (number)", ylabel="Hit@10 (share)")
    axes.legend()
    return figure


def test_a_figure_says_what_is_to_be_seen():
    figure = drawn()
    assert picture.alternative(figure) == (
        "Scores rise with n; across: texts (number); up: Hit@10 (share); shown: Hit@10."
    )
    assert picture.told(figure, "It doubles  from 1\nto 2.") is figure
    assert "It doubles from 1 to 2. Scores rise" in picture.alternative(figure)


def test_a_figure_is_shown_as_a_sharp_image_with_words_once(shown):
    figure = drawn('A "title" & <b>')
    figure._ipython_display_()
    (bundle,) = shown
    assert set(bundle) == {"text/html", "text/plain"} and bundle["text/plain"] == repr(figure)
    source = bundle["text/html"]
    assert 'alt="A &quot;title&quot; &amp; &lt;b&gt;;' in source and "max-width:max(100%,620px)" in source
    data = base64.b64decode(re.search(r"base64,([^\"]+)", source)[1])
    image = Image.open(io.BytesIO(data))
    assert abs(image.width - 2 * 4 * 90) < 60 and f"width:{image.width // 2 + 16}px" in source
    assert len(image.getcolors(maxcolors=257)) <= 256
    whole = io.BytesIO()
    figure.set_layout_engine("none")
    figure.savefig(whole, dpi=180, bbox_inches="tight")
    assert len(data) < 0.7 * len(whole.getvalue())
    # 256 colours look like all of them: no pixel of the drawing is far from what was drawn.
    before = np.asarray(Image.open(whole).convert("RGB"), dtype=int)
    assert np.abs(before - np.asarray(image.convert("RGB"), dtype=int)).max() < 24


# Tables -------------------------------------------------------------------------------------------------------------


def test_a_table_is_html_on_a_page_and_text_elsewhere():
    made = table([("smol <b>", 0.1234, 7), ("قهوة", None, np.int64(12))], ["name", "GAR", "n"], "Rates & counts")
    page = Page(made._repr_html_())
    text = [t for t, _ in page.text if t.strip()]
    assert text == ["Rates & counts", "name", "GAR", "n", "smol <b>", "0.12", "7", "قهوة", "–", "12"]
    assert made._repr_html_().count("position:sticky") == 3 and made._repr_html_().count('scope="row"') == 2
    assert repr(made).splitlines() == [
        "Rates & counts",
        "name       GAR   n",
        "smol <b>  0.12   7",
        "قهوة         –  12",
    ]


def test_a_table_of_a_data_frame_with_intervals():
    frame = pd.DataFrame(
        {"rate": [Interval(0.5, 0.25, 0.75), Interval(1, 1, 1)], "x": [0.126, float("nan")]}, ["a", "b"]
    )
    assert table(frame, spec=".1f").rows == [["a", "0.5 [0.2, 0.8]", "0.1"], ["b", "1.0 [1.0, 1.0]", "–"]]
    assert table(frame).columns == ["", "rate", "x"] and table(frame, ["e", "r", "x"]).columns == ["e", "r", "x"]


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [([], ["a"], "0 rows"), ([("a",)], [], "0 headings"), ([("a", 1), ("b",)], ["n", "v"], "row 1")],
)
def test_a_ragged_or_empty_table_is_refused(rows, columns, said):
    with pytest.raises(ValueError, match=said):
        table(rows, columns)
