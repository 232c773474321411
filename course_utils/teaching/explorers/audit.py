"""Choose an embedder, type a text: its aligned tokens before and after its first component is taken away."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from course_utils.measures.spectrum import components, shift
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.page import View, answering, check_typed, live, remembered, text_box
from course_utils.teaching.explorers.tokens import described
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.tokens import token_table


class AuditView(View):
    """One embedder with the first component of its own states, ready to decode what a reader types.

    Attributes:
        direction: first principal component of its states, uncentred, ``[d]``.
        share: the part of their squared norm that lies along it; on other texts it is smaller.

    Args:
        embedder: whose states are decoded.
        states: pooled states of some texts, ``[n, d]``, from which the component is computed.
    """

    def __init__(self, embedder: Embedder, states: np.ndarray):
        super().__init__(embedder)
        self.embedding = remembered(lambda text: embedder.pooled([text]))
        fitted = components(states)
        self.direction, self.share = fitted.directions[0], float(fitted.shares[0])

    def tokens(self, text: str, removed: float = 0.0, k: int = 10) -> tuple[list[str], list[str]]:
        """The k aligned tokens without a share of the first component, and the kind of each."""
        h = self.embedding(text)
        if removed:
            h = shift(h, self.direction, -removed * (h @ self.direction))
        return described(self.embedder.tokenizer, text, self.aligned(self.embedder.readout(h), k)[0])

    @answering
    def html(self, text: str, k: int = 10) -> str:
        """A row each for nothing, half and all of the component taken away; HTML."""
        check_typed(text)
        rows = {"as it is": 0.0, "half of u_1 taken away": 0.5, "all of u_1 taken away": 1.0}
        shown, found = zip(*(self.tokens(text, removed, k) for removed in rows.values()), strict=True)
        said = (
            f"{self.embedder.spec.name}: decoded with its {self.embedder.decodes}; u_1 holds {self.share:.0%} of the "
            "squared norm of the texts it was computed from"
        )
        return token_table(list(rows), shown, found, caption=said)


def audit_explorer(views: Mapping[str, AuditView], text: str) -> Explorer:
    """A text to type and an embedder to choose; shows :meth:`AuditView.html`."""
    sentence = text_box(text)
    choice = widgets.Dropdown(options=list(views), description="Embedder", layout={"width": "60%"})
    return Explorer([sentence, choice, live(lambda text, name: views[name].html(text), sentence, choice)])
