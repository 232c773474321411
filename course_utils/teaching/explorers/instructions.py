"""A text and an instruction to type: what the embedding decodes to with it, without it and with nonsense."""

import html
from collections.abc import Mapping

import ipywidgets as widgets

from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.page import View, answering, check_typed, live, text_box
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.tokens import chips, legend, named_rows

#: An instruction that asks for nothing: what stays the same under it was not brought by the meaning of another one.
NONSENSE = "purple"


class InstructionView(View):
    """The aligned tokens of one embedder, whose prompt takes an instruction, under any instruction.

    Attributes:
        template: how the instruction is handed over, with ``{}`` in the place of its words.
    """

    def __init__(self, embedder: Embedder, template: str = "{}"):
        if embedder.spec.prompt.instructed is None:
            raise ValueError(f"{embedder.spec.name} takes no instruction; choose an embedder whose prompt has a place")
        super().__init__(embedder)
        self.template = template

    def instruction(self, words: str | None) -> str | None:
        """What the embedder is given for these words; None without words."""
        return self.template.format(words.strip()) if words and words.strip() else None

    def prompt(self, text: str, words: str | None) -> str:
        """The whole string that the embedder reads; of a text that is cut, the part that is left."""
        asked, tokenizer = self.instruction(words), self.embedder.tokenizer
        whole = self.embedder.spec.prompt.wrap(text.strip(), asked)[0]
        read = self.embedder.prepare([text], asked)[0].ids
        if len(tokenizer(whole, verbose=False)["input_ids"]) <= len(read):
            return whole
        return tokenizer.decode(read, skip_special_tokens=True)

    def tokens(self, text: str, words: str | None, k: int = 10) -> tuple[list[str], list[str]]:
        """The k aligned tokens of a text under an instruction, and the kind of each with respect to the text."""
        h = self.embedding(text.strip(), self.instruction(words))
        return self.described(text, self.aligned(h, k)[0])


@answering
def asked(view: InstructionView, text: str, words: str, k: int = 10) -> str:
    """Aligned tokens without an instruction, with the given one and with a nonsense one, one row each; HTML.

    Without a text or without words for the instruction it is a request to type them.
    """
    check_typed(text, words, request="Type a sentence and what you want to know of it, and press Enter.")
    found = {w: view.tokens(text, w, k) for w in (None, words, NONSENSE)}
    rows = named_rows((w or "no instruction", chips(*listed)) for w, listed in found.items())
    new = [t for t in found[words][0] if t not in found[None][0] and t not in found[NONSENSE][0]]
    says = f"Only under “{words.strip()}”: {', '.join(new) or 'none'}."
    prompt = html.escape(view.prompt(text, words)).replace("\n", "↵")
    return f"<p>The embedder reads: <code>{prompt}</code></p><table>{rows}</table><p>{html.escape(says)}</p>{legend()}"


def instruction_explorer(views: Mapping[str, InstructionView], text: str, words: str) -> Explorer:
    """A sentence and an instruction to type, and an embedder to choose; shows :func:`asked`."""
    sentence, question = text_box(text), text_box(words, "Ask for its", layout={})
    choice = widgets.Dropdown(options=list(views), description="Embedder", style={"description_width": "initial"})
    result = live(lambda text, words, name: asked(views[name], text, words), sentence, question, choice)
    return Explorer([sentence, widgets.HBox([question, choice]), result])
