"""What a reader may type: every explorer answers on its page, and a note stays as long as its text is shown."""

import re
import warnings

import numpy as np
import pytest
import tiny
from test_figures import Page

from course_utils.measures.contributions import token_frame
from course_utils.measures.spectrum import components
from course_utils.models.embedder import load
from course_utils.models.prompts import NO_PROMPT, ONE_WORD
from course_utils.teaching.explorers import page
from course_utils.teaching.explorers.alignment import comparison_explorer
from course_utils.teaching.explorers.instructions import InstructionView, instruction_explorer
from course_utils.teaching.explorers.multilingual import ScriptView, script_explorer
from course_utils.teaching.explorers.search import dense_method, search_explorer
from course_utils.teaching.explorers.similarity import PairView, pair_explorer
from course_utils.teaching.explorers.spectrum import SpectrumView, contribution_explorer, shift_explorer
from course_utils.teaching.explorers.tokens import TokenView, layer_explorer, token_explorer

SHORT, LONG = "Parrots in a café", "rain " * 700  # more tokens than an embedder reads
NOTE = re.compile(r"<p>1 of 1 texts were cut to \d+ tokens")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return load(tiny.save(tmp_path_factory.mktemp("model")), prompt=ONE_WORD)


@pytest.fixture(scope="module")
def boxes(embedder):
    """One explorer of each kind by name: its box and its controls that are not typed in."""
    u = components(embedder.encode(tiny.SENTENCES)).directions[0]
    token, spectrum = TokenView(embedder, u, 3.0), SpectrumView(embedder, embedder, u)
    pair = PairView(embedder, token_frame(embedder.unembedding.detach().float().numpy()), {"unrelated": [0.0]})
    dense = dense_method(embedder.encode(tiny.SENTENCES), lambda query: token.embedding(query)[0])
    ids = [f"d{i}" for i in range(len(tiny.SENTENCES))]
    two = ("one", "two")
    return {
        "tokens": token_explorer(dict.fromkeys(two, token), SHORT),
        "layers": layer_explorer(embedder.backbone, SHORT, {"none": NO_PROMPT, "one word": ONE_WORD}),
        "comparison": comparison_explorer(dict.fromkeys(two, token), SHORT, *two),
        "shift": shift_explorer(spectrum, SHORT, 0.0, -5, 5),
        "contribution": contribution_explorer(spectrum, SHORT),
        "pair": pair_explorer(dict.fromkeys(two, pair), SHORT, SHORT, two),
        "instruction": instruction_explorer(dict.fromkeys(two, InstructionView(embedder)), SHORT, "topic"),
        "scripts": script_explorer(dict.fromkeys(two, ScriptView(embedder, u, -5.0)), SHORT),
        "search": search_explorer(tiny.SENTENCES, ids, {"dense": dense}, SHORT),
    }


def leaves(box) -> list:
    """All controls of a box, from top to bottom."""
    return [leaf for child in box.children for leaf in ([child] if hasattr(child, "value") else leaves(child))]


def typed_and_others(box):
    *controls, result = leaves(box)
    typed = [c for c in controls if hasattr(c, "continuous_update") and isinstance(c.value, str)]
    return typed, [c for c in controls if c not in typed], result


def another(control):
    """A value that the control does not have now."""
    if hasattr(control, "options"):
        return next(o for o in control.options if o != control.value)
    return control.max if control.value != control.max else control.min


NAMES = ("tokens", "layers", "comparison", "shift", "contribution", "pair", "instruction", "scripts", "search")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "layers"])  # layers are never cut
def test_the_note_that_a_text_was_cut_stays_when_another_control_moves(boxes, name):
    typed, others, result = typed_and_others(boxes[name])
    assert not NOTE.search(result.value)
    typed[0].value = LONG
    assert len(NOTE.findall(result.value)) == 1
    for control in others:
        shown, control.value = result.value, another(control)
        assert len(NOTE.findall(result.value)) == 1, f"the note went with {control.description}"
        if name in ("tokens", "shift") and hasattr(control, "max"):
            assert result.value != shown
    typed[0].value = SHORT
    assert not NOTE.search(result.value), "a note of another text"
    typed[0].value = LONG
    assert NOTE.search(result.value), "the text is remembered, and so must be its note"
    typed[0].value = SHORT


UNREADABLE = {
    "": "<p>Type ",
    " \t ": "<p>Type ",
    "rain \ud83d": "<p>the text is not valid Unicode: half a character (&#x27;\\ud83d&#x27;) at position 5",
    "\udc00": "<p>the text is not valid Unicode: half a character",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read_gets_a_sentence_on_the_page(boxes, name):
    typed, _, result = typed_and_others(boxes[name])
    for box in typed:
        before = box.value
        for text, said in UNREADABLE.items():
            box.value = text
            assert result.value.startswith(said) and result.value.count("<p>") == 1
            result.value.encode("utf-8")  # a page with half a character could not be sent
        box.value = before
        assert not result.value.startswith("<p>Type ")


@pytest.mark.parametrize("name", NAMES)
def test_whatever_else_is_typed_is_shown_as_text(boxes, name):
    typed, _, result = typed_and_others(boxes[name])
    for box in typed:
        before = box.value
        for text in ("<script>alert(1)</script>", "قهوة e\u0301 🎻", "<s></s>", "{} {instruction} %s", "\u200b", "\0"):
            shown, box.value = result.value, text
            assert result.value != shown and "<script" not in result.value
            if "<img" not in result.value:
                Page(re.sub("<br>", "", result.value))  # every element is closed
        box.value = before


def test_a_remembered_result_is_made_once_and_says_its_warnings_again():
    made = []

    @page.remembered
    def encode(text):
        made.append(text)
        if text == "long":
            warnings.warn("cut", stacklevel=2)
        return np.zeros(1)

    for _ in range(2):
        with pytest.warns(UserWarning, match="^cut$"):
            encode("long")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            encode("short")
    assert made == ["long", "short"]


def test_what_an_embedder_refuses_is_said_on_the_page_and_other_errors_are_not_hidden():
    @page.remembered
    def encode(text):
        raise ValueError(f"no room for <{text}>")

    @page.answering
    def shown(text):
        return f"<p>{encode(text)}</p>" if text else f"<p>{1 / 0}</p>"

    assert shown("rain") == "<p>no room for &lt;rain&gt;</p>"
    with pytest.raises(ZeroDivisionError):
        shown("")


def test_a_note_is_shown_once_and_what_concerns_the_programmer_is_not_shown():
    @page.answering
    def shown():
        for said in ("1 text <cut>", "1 text <cut>"):
            warnings.warn(said, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return "<p>page</p>"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert shown() == "<p>page</p><p>1 text &lt;cut&gt;</p>"
