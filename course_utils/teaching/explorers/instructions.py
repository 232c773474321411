"""A text and an instruction to type: what the embedding decodes to with it, without it and with nonsense."""

import functools
import html
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.tokens import described
from course_utils.teaching.figures.tokens import chips, legend

#: An instruction that asks for nothing: what stays the same under it was not brought by the meaning of another one.
NONSENSE = "purple"


class InstructionView:
    """The aligned tokens of one embedder under any instruction.

    Attributes:
        embedder: whose embeddings are decoded; its prompt takes an instruction.
        template: how the instruction is handed over, with ``{}`` in the place of its words.
    """

    def __init__(self, embedder: Embedder, template: str = "{}"):
        if embedder.spec.prompt.instructed is None:
            raise ValueError(f"{embedder.spec.name} takes no instruction; choose an embedder whose prompt has a place")
        self.embedder, self.template = embedder, template
        self.special = special_ids(embedder.tokenizer, len(embedder.unembedding))
        self._embedding = functools.lru_cache(maxsize=64)(self._encode)

    def instruction(self, words: str | None) -> str | None:
        """What the embedder is given for these words; None without words."""
        return self.template.format(words.strip()) if words and words.strip() else None

    def prompt(self, text: str, words: str | None) -> str:
        """The whole string that the embedder reads."""
        return self.embedder.spec.prompt.wrap(text.strip(), self.instruction(words))[0]

    def tokens(self, text: str, words: str | None, k: int = 10) -> tuple[list[str], list[str]]:
        """The k aligned tokens of a text under an instruction, and the kind of each with respect to the text."""
        h = self._embedding(text.strip(), self.instruction(words))
        ids, _ = top_tokens(h, self.embedder.unembedding, k, self.special)
        return described(self.embedder.tokenizer, text, ids[0])

    def _encode(self, text: str, instruction: str | None) -> np.ndarray:
        return self.embedder.encode([text], instruction)


def asked(view: InstructionView, text: str, words: str, k: int = 10) -> str:
    """Aligned tokens without an instruction, with the given one and with a nonsense one, one row each; HTML.

    Without a text or without words for the instruction it is a request to type them.
    """
    if not text.strip() or not words.strip():
        return f"<p>Type a sentence and what you want to know of it, and press Enter.</p>{chips([], [])}"
    found = {w: view.tokens(text, w, k) for w in (None, words, NONSENSE)}
    cell = 'style="text-align:left;vertical-align:baseline"'
    rows = "".join(
        f'<tr><th scope="row" {cell}>{html.escape(w or "no instruction")}</th><td {cell}>{chips(*found[w])}</td></tr>'
        for w in found
    )
    new = [t for t in found[words][0] if t not in found[None][0] and t not in found[NONSENSE][0]]
    says = f"Only under “{words.strip()}”: {', '.join(new) or 'none'}."
    prompt = html.escape(view.prompt(text, words)).replace("\n", "↵")
    return f"<p>The embedder reads: <code>{prompt}</code></p><table>{rows}</table><p>{html.escape(says)}</p>{legend()}"


def instruction_explorer(views: Mapping[str, InstructionView], text: str, words: str) -> widgets.VBox:
    """A sentence and an instruction to type, and an embedder to choose; shows :func:`asked`."""
    wide = {"description_width": "initial"}
    sentence = widgets.Text(
        value=text, description="Your sentence", continuous_update=False, layout={"width": "95%"}, style=wide
    )
    question = widgets.Text(value=words, description="Ask for its", continuous_update=False, style=wide)
    choice = widgets.Dropdown(options=list(views), description="Embedder", style=wide)
    result = widgets.HTML()

    def update(_=None) -> None:
        result.value = asked(views[choice.value], sentence.value, question.value)

    for control in (sentence, question, choice):
        control.observe(update, names="value")
    update()
    return widgets.VBox([sentence, widgets.HBox([question, choice]), result])
