"""Type a text in any language: its aligned tokens before and after the shift, grouped by script."""

import functools
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from course_utils.measures.alignment import special_ids, surface_tokens, top_tokens
from course_utils.measures.spectrum import shift
from course_utils.models.embedder import Embedder
from course_utils.teaching.figures.multilingual import script_table
from course_utils.teaching.figures.tokens import kinds
from course_utils.texts import scripts


class ScriptView:
    """The aligned tokens of one embedder by script, before and after ``h + λ u``.

    Attributes:
        embedder: whose embeddings are decoded.
        direction: first principal component ``u``, ``[d]``, or None for an embedder shown as it is.
        amount: λ.
    """

    def __init__(self, embedder: Embedder, direction: np.ndarray | None = None, amount: float = 0.0):
        self.embedder, self.direction, self.amount = embedder, direction, amount
        self.special = special_ids(embedder.tokenizer, len(embedder.unembedding))
        self._embedding = functools.lru_cache(maxsize=32)(self._encode)

    def tokens(self, text: str, amount: float = 0.0, k: int = 10) -> tuple[list[str], list[str], list[str]]:
        """The k aligned tokens after a shift by ``amount``: the tokens, their kinds, their scripts."""
        h = self._embedding(text)
        if amount and self.direction is not None:
            h = shift(h, self.direction, amount)
        ids = top_tokens(h, self.embedder.unembedding, k, self.special)[0][0]
        shown, own = scripts.readable(self.embedder.tokenizer, ids), surface_tokens(self.embedder.tokenizer, [text])[0]
        found = kinds(shown, scripts.readable(self.embedder.tokenizer, own))
        return shown, found, scripts.token_scripts(self.embedder.tokenizer, ids).tolist()

    def html(self, text: str, k: int = 10) -> str:
        """Before and after, as a table with a line for each script. A text without content gives a request."""
        if not text.strip():
            return "<p>Type a text in any language and press Enter.</p>"
        if self.direction is None:
            return script_table({"as it is": self.tokens(text, k=k)})
        after = f"after the shift, λ = {self.amount:.1f}"
        return script_table({"before": self.tokens(text, k=k), after: self.tokens(text, self.amount, k)})

    def _encode(self, text: str) -> np.ndarray:
        return self.embedder.encode([text])


def script_explorer(views: Mapping[str, ScriptView], text: str) -> widgets.VBox:
    """A text to type and an embedder to choose; shows :meth:`ScriptView.html`."""
    sentence = widgets.Text(
        value=text,
        description="Your text",
        placeholder="any language",
        continuous_update=False,
        layout={"width": "95%"},
        style={"description_width": "initial"},
    )
    choice = widgets.Dropdown(options=list(views), description="Embedder", layout={"width": "60%"})
    result = widgets.HTML()

    def update(_=None) -> None:
        result.value = views[choice.value].html(sentence.value)

    for control in (sentence, choice):
        control.observe(update, names="value")
    update()
    return widgets.VBox([sentence, choice, result])
