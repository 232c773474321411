"""Type a sentence, drag λ: aligned tokens after a step along the first component, and who votes for them."""

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from course_utils.measures.spectrum import shift, split_logits
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.page import View, answering, check_typed, live, spelled, text_box
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.picture import image
from course_utils.teaching.figures.spectrum import contributions
from course_utils.teaching.figures.tokens import token_table


class SpectrumView(View):
    """An untrained model beside an embedder made from it, seen along one direction.

    Attributes:
        origin: the untrained model, whose output layer decodes both.
        trained: the embedder.
        direction: first principal component ``u_1`` of the origin, ``[d]``.
    """

    def __init__(self, origin: Embedder, trained: Embedder, direction: np.ndarray):
        super().__init__(origin)
        self.origin, self.trained, self.direction = origin, trained, direction
        self._after = View(trained).embedding
        self._unembedding = origin.unembedding.detach().float().cpu().numpy()

    @answering
    def aligned_html(self, text: str, amount: float, k: int = 10) -> str:
        """The aligned tokens of the untrained model, of the same after ``h + λ u_1``, and of the embedder; HTML."""
        check_typed(text)
        before = self.embedding(text)
        rows = {
            f"{self.origin.spec.name}, untrained": before,
            f"… shifted by λ = {amount + 0.0:.1f}": shift(before, self.direction, amount),
            f"{self.trained.spec.name}, trained": self._after(text),
        }
        ids = self.aligned(np.vstack(list(rows.values())), k)
        shown, kinds = zip(*(self.described(text, row) for row in ids), strict=True)
        return token_table(list(rows), shown, kinds)

    def contribution_figure(self, text: str, k: int = 10) -> Figure:
        """What the first component and the rest give to the top k tokens of both models.

        Both parts are measured from their mean over the vocabulary: what every token gets alike changes no rank.
        """
        panels, gains = {}, []
        names = (f"{self.origin.spec.name}, untrained", f"{self.trained.spec.name}, trained")
        for name, h in zip(names, (self.embedding(text), self._after(text)), strict=True):
            parts = split_logits(h[0], self.direction, self._unembedding)
            along, rest = (part - part.mean() for part in parts)
            ids = self.aligned(h, k)[0]
            tokens = spelled(self.origin.tokenizer, ids)
            panels[name] = (tokens, along[ids], rest[ids])
            gains.append(along[ids].sum() / (along + rest)[ids].sum())
        title = (
            f"The first component gives {100 * gains[0]:.0f} % of the top tokens' lead before training, "
            f"{100 * gains[1]:.0f} % after"
        )
        return contributions(panels, title)

    @answering
    def contribution_html(self, text: str, k: int = 10) -> str:
        """:meth:`contribution_figure` as an image with a text that says what it shows; HTML."""
        check_typed(text)
        return image(self.contribution_figure(text, k))


def shift_explorer(view: SpectrumView, text: str, amount: float, lowest: float, highest: float) -> Explorer:
    """A sentence to type and λ to drag between ``lowest`` and ``highest``; shows :meth:`SpectrumView.aligned_html`."""
    sentence = text_box(text)
    slider = widgets.FloatSlider(
        value=amount, min=lowest, max=highest, step=0.5, description="λ", readout_format=".1f", layout={"width": "60%"}
    )
    return Explorer([sentence, slider, live(view.aligned_html, sentence, slider)])


def contribution_explorer(view: SpectrumView, text: str) -> Explorer:
    """A sentence to type; shows :meth:`SpectrumView.contribution_html`."""
    sentence = text_box(text)
    return Explorer([sentence, live(view.contribution_html, sentence)])
