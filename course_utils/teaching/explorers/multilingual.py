"""Type a text in any language: its aligned tokens before and after the shift, grouped by script."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from course_utils.measures.alignment import surface_tokens
from course_utils.measures.spectrum import shift
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.page import View, answering, check_typed, live, text_box
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.multilingual import script_table
from course_utils.teaching.figures.tokens import kinds
from course_utils.texts import scripts


class ScriptView(View):
    """The aligned tokens of one embedder by script, before and after ``h + λ u``.

    Attributes:
        direction: first principal component ``u``, ``[d]``, or None for an embedder shown as it is.
        amount: λ.
    """

    def __init__(self, embedder: Embedder, direction: np.ndarray | None = None, amount: float = 0.0):
        super().__init__(embedder)
        self.direction, self.amount = direction, amount

    def tokens(self, text: str, amount: float = 0.0, k: int = 10) -> tuple[list[str], list[str], list[str]]:
        """The k aligned tokens after a shift by ``amount``: the tokens, their kinds, their scripts."""
        h = self.embedding(text)
        if amount and self.direction is not None:
            h = shift(h, self.direction, amount)
        ids, tokenizer = self.aligned(h, k)[0], self.embedder.tokenizer
        shown, own = scripts.readable(tokenizer, ids), surface_tokens(tokenizer, [text])[0]
        found = kinds(shown, scripts.readable(tokenizer, own))
        return shown, found, scripts.token_scripts(tokenizer, ids).tolist()

    @answering
    def html(self, text: str, k: int = 10) -> str:
        """Before and after, as a table with a line for each script. A text without content gives a request."""
        check_typed(text, request="Type a text in any language and press Enter.")
        if self.direction is None:
            return script_table({"as it is": self.tokens(text, k=k)})
        after = f"after the shift, λ = {self.amount:.1f}"
        return script_table({"before": self.tokens(text, k=k), after: self.tokens(text, self.amount, k)})


def script_explorer(views: Mapping[str, ScriptView], text: str) -> Explorer:
    """A text to type and an embedder to choose; shows :meth:`ScriptView.html`."""
    sentence = text_box(text, "Your text", placeholder="any language")
    choice = widgets.Dropdown(options=list(views), description="Embedder", layout={"width": "60%"})
    return Explorer([sentence, choice, live(lambda text, name: views[name].html(text), sentence, choice)])
