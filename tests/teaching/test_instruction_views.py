"""What lesson 06 shows: figures of asked and measured aspects, the explorer, and the shipped embeddings behind them."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from course_utils.models import registry
from course_utils.models.embedder import Backbone, Embedder
from course_utils.shipped import arrays, instructions
from course_utils.teaching.explorers.instructions import NONSENSE, InstructionView, asked, instruction_explorer
from course_utils.teaching.figures import instructions as figures
from course_utils.texts import aspects, instruction_texts


@pytest.fixture(autouse=True)
def no_complaints():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        yield
    assert not plt.get_fignums(), "a figure was left in pyplot's hands: a notebook would show it twice"


# Figures ------------------------------------------------------------------------------------------------------------

ASKED, MEASURED = ["nothing", "topic", "intent"], ["topic", "intent"]


def test_crossed_tables_show_every_value_and_frame_what_was_asked():
    tables = {"one": np.array([[0.11, 0.2], [0.3, 0.4], [0.5, 0.6]]), "two": np.zeros((3, 2))}
    figure = figures.crossed(tables, ASKED, MEASURED, "title")
    first, second = figure.axes
    assert [t.get_text() for t in first.texts] == ["0.11", "0.20", "0.30", "0.40", "0.50", "0.60"]
    framed = sorted(tuple(map(float, p.get_xy())) for p in first.patches)
    assert framed == [(0.0, 1.0), (1.0, 2.0)]  # column topic in row topic, column intent in row intent
    assert [t.get_text() for t in first.get_xticklabels()] == MEASURED
    assert [t.get_text() for t in first.get_yticklabels()] == ASKED and first.get_ylabel() == "asked for"
    assert figures.crossed(tables, ASKED, MEASURED, "title", "turned up").axes[0].get_ylabel() == "turned up"
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == (0, 0.6)  # one scale for all


@pytest.mark.parametrize("tables", [{}, {"one": np.zeros((2, 2))}, {"one": np.zeros((3, 2)), "two": np.zeros((3, 3))}])
def test_tables_of_another_shape_are_refused(tables):
    with pytest.raises(ValueError, match=r"every table must be \[3, 2\]"):
        figures.crossed(tables, ASKED, MEASURED, "title")


def _marks(third: str) -> pd.DataFrame:
    rows = [(n, a, i) for n in ("e1", "e2") for a in ("topic", "intent") for i in ("none", "asked")]
    table = pd.DataFrame(rows, columns=["embedder", "aspect", third])
    value = np.arange(len(rows), dtype=float)
    return table.assign(value=value, low=value - 1, high=value + 2)


def test_marks_and_intervals_stand_at_their_values():
    figure = figures.by_instruction(_marks("instruction"), "title", "share (%)", chance={"topic": 3, "intent": 4})
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines}
    assert lines["none"].get_xdata().tolist() == [0, 4] and lines["asked"].get_xdata().tolist() == [1, 5]
    assert lines["chance"].get_xdata() == [3, 3] or list(lines["chance"].get_xdata()) == [3, 3]
    ends = [segment[:, 0].tolist() for bars in left.collections for segment in bars.get_segments()]
    assert ends == [[-1, 2], [3, 6], [0, 3], [4, 7]]
    assert (left.get_title(), right.get_title()) == ("topic", "intent") or left.get_title(loc="left") == "topic"
    assert left.get_xlabel() == "share (%)" and left.yaxis_inverted()
    assert [t.get_text() for t in left.get_yticklabels()] == ["e1", "e2"]


def test_gains_have_a_panel_per_control_and_a_line_at_zero():
    figure = figures.gains(_marks("control"), "title", "gain")
    assert [a.get_title(loc="left") for a in figure.axes] == ["none", "asked"]
    for axes, expected in zip(figure.axes, ([0, 4], [1, 5]), strict=True):
        assert list(axes.lines[0].get_xdata()) == [0, 0]
        assert axes.lines[1].get_xdata().tolist() == expected and axes.lines[1].get_label() == "topic"


def test_tables_that_lack_something_are_refused():
    for plot in (lambda t: figures.by_instruction(t, "t", "x"), lambda t: figures.gains(t, "t", "x")):
        for table in (_marks("instruction").drop(columns="low"), _marks("instruction")[:0]):
            with pytest.raises(ValueError, match="table needs rows and the columns"):
                plot(table)


def test_stages_are_drawn_apart_and_each_mean_stays_in_its_stage():
    losses = [4.0] * 20 + [1.0] * 15
    (axes,) = figures.stages(losses, [20, 35], "title").axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["one step"].get_ydata().tolist() == losses
    first, second = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 2]
    assert (first.get_xdata()[0], first.get_xdata()[-1]) == (10, 20) and np.allclose(first.get_ydata(), 4)
    assert (second.get_xdata()[0], second.get_xdata()[-1]) == (30, 35) and np.allclose(second.get_ydata(), 1)
    assert [t.get_text() for t in axes.texts] == ["stage 1", "stage 2"]


def test_smoothed_is_the_mean_of_the_steps_up_to_each():
    assert figures.smoothed([1, 2, 3, 6], 2).tolist() == [1.5, 2.5, 4.5]
    with pytest.raises(ValueError, match="a mean of 10 steps needs at least as many losses; got 3"):
        figures.smoothed([1, 2, 3])


@pytest.mark.parametrize("ends", [[], [20], [20, 20, 35], [35, 20]])
def test_ends_that_do_not_fit_the_losses_are_refused(ends):
    with pytest.raises(ValueError, match="ends must rise to the number of losses, 35"):
        figures.stages([1.0] * 35, ends, "title")


# Explorer -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone():
    return Backbone("smollm2")


@pytest.fixture(scope="module")
def view(backbone):
    return InstructionView(Embedder(instructions.spec("smol-eol"), backbone))


def test_a_view_hands_the_instruction_over_and_none_without_words(view, backbone):
    assert view.prompt(" A cat. ", "topic") == 'The topic of this sentence : "A cat." means in one word:"'
    assert view.prompt("A cat.", " ") == view.prompt("A cat.", None) == 'This sentence : "A cat." means in one word:"'
    prefixed = InstructionView(Embedder(instructions.spec("smol-eol"), backbone), "main {}")
    assert prefixed.instruction(" topic ") == "main topic" and prefixed.instruction(None) is None


def test_an_embedder_that_takes_no_instruction_is_refused(backbone):
    with pytest.raises(ValueError, match="smollm2 takes no instruction"):
        InstructionView(Embedder(registry.get("smollm2"), backbone))


def test_asked_shows_three_rows_what_is_read_and_what_is_new(view):
    shown = asked(view, "I love <b>apples</b>.", "tone & colour", k=4)
    assert shown.count("<tr>") == 3 and shown.count('class="aligned-tokens"') == 3
    assert all(name in shown for name in ("no instruction", "tone &amp; colour", NONSENSE))
    assert "<b>apples" not in shown and "The embedder reads:" in shown
    plain, with_words = (view.tokens("I love <b>apples</b>.", w, 4)[0] for w in (None, "tone & colour"))
    nonsense = view.tokens("I love <b>apples</b>.", NONSENSE, 4)[0]
    new = [t for t in with_words if t not in plain + nonsense]
    assert f"Only under “tone &amp; colour”: {', '.join(new) or 'none'}." in shown
    for text, words in (("", "topic"), ("A cat.", "  ")):
        assert "Type a sentence and what you want to know" in asked(view, text, words)


def test_the_explorer_answers_to_sentence_instruction_and_choice(view, backbone):
    other = InstructionView(Embedder(instructions.spec(instructions.UNTRAINED), backbone))
    box = instruction_explorer({"one": view, "two": other}, "A cat sleeps.", "topic")
    sentence, (question, choice), result = box.children[0], box.children[1].children, box.children[2]
    assert result.value == asked(view, "A cat sleeps.", "topic")
    choice.value = "two"
    assert result.value == asked(other, "A cat sleeps.", "topic")
    question.value = "place"
    sentence.value = "A dog barks."
    assert result.value == asked(other, "A dog barks.", "place")


# Shipped embeddings -------------------------------------------------------------------------------------------------


def test_the_instruction_trained_embedder_listens():
    """Clusters fit an aspect better when it is asked for than under any other instruction, by the shipped numbers."""
    texts = instruction_texts.read()
    embedded = arrays.load("instructions", "smol-grit")
    for aspect, names in instruction_texts.ASPECTS.items():
        true = np.array([getattr(text, aspect) for text in texts])
        fit = {i: aspects.v_measure(true, aspects.clusterings(rows, len(names), 3)) for i, rows in embedded.items()}
        assert max(fit, key=fit.get) == aspect, fit
        assert fit[aspect] > 0.05 + max(value for i, value in fit.items() if i != aspect), fit


def test_of_a_text_that_is_cut_the_page_shows_what_is_read(view):
    text = "rain " * 600 + "snow"
    with pytest.warns(UserWarning, match="1 of 1 texts were cut"):
        read = view.prompt(text, "topic")
    assert read.startswith('The topic of this sentence : "rain rain') and read.endswith('means in one word:"')
    assert "snow" not in read and 400 < read.count("rain") < 512
    shown = asked(view, text, "topic", k=2)
    assert "snow" not in shown and shown.count("texts were cut to 512 tokens") == 1
