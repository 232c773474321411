"""Type a sentence, drag λ: aligned tokens after a step along the first component, and who votes for them."""

import base64
import functools
import html
import io

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from course_utils.measures.alignment import readable, special_ids, top_tokens
from course_utils.measures.spectrum import shift, split_logits
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.tokens import described
from course_utils.teaching.figures.spectrum import contributions
from course_utils.teaching.figures.tokens import token_table


class SpectrumView:
    """An untrained model beside an embedder made from it, seen along one direction.

    Attributes:
        origin: the untrained model.
        trained: the embedder; shares the origin's output layer.
        direction: first principal component ``u_1`` of the origin, ``[d]``.
    """

    def __init__(self, origin: Embedder, trained: Embedder, direction: np.ndarray):
        self.origin, self.trained, self.direction = origin, trained, direction
        self.special = special_ids(origin.tokenizer, len(origin.unembedding))
        self._unembedding = origin.unembedding.detach().float().cpu().numpy()
        self._embed = functools.lru_cache(maxsize=32)(self._encode)

    def aligned_html(self, text: str, amount: float, k: int = 10) -> str:
        """The aligned tokens of the untrained model, of the same after ``h + λ u_1``, and of the embedder; HTML."""
        if not text.strip():
            return "<p>Type a sentence and press Enter.</p>"
        before, after = self._embed(text)
        rows = {
            f"{self.origin.spec.name}, untrained": before,
            f"… shifted by λ = {amount + 0.0:.1f}": shift(before[None], self.direction, amount)[0],
            f"{self.trained.spec.name}, trained": after,
        }
        ids, _ = top_tokens(np.stack(list(rows.values())), self._unembedding, k, self.special)
        shown, kinds = zip(*(described(self.origin.tokenizer, text, row) for row in ids), strict=True)
        return token_table(list(rows), shown, kinds)

    def contribution_figure(self, text: str, k: int = 10) -> Figure:
        """What the first component and the rest give to the top k tokens of both models.

        Both parts are measured from their mean over the vocabulary: what every token gets alike changes no rank.
        """
        panels, gains = {}, []
        names = (f"{self.origin.spec.name}, untrained", f"{self.trained.spec.name}, trained")
        for name, h in zip(names, self._embed(text), strict=True):
            parts = split_logits(h, self.direction, self._unembedding)
            along, rest = (part - part.mean() for part in parts)
            ids = top_tokens(h[None], self._unembedding, k, self.special)[0][0]
            tokens = readable(self.origin.tokenizer, ids)
            panels[name] = (tokens, along[ids], rest[ids])
            gains.append(along[ids].sum() / (along + rest)[ids].sum())
        title = (
            f"The first component gives {100 * gains[0]:.0f} % of the top tokens' lead before training, "
            f"{100 * gains[1]:.0f} % after"
        )
        return contributions(panels, title)

    def contribution_html(self, text: str, k: int = 10) -> str:
        """:meth:`contribution_figure` as an image with a text that says what it shows; HTML."""
        if not text.strip():
            return "<p>Type a sentence and press Enter.</p>"
        figure, buffer = self.contribution_figure(text, k), io.BytesIO()
        figure.savefig(buffer, format="png")
        said = html.escape(figure.get_suptitle(), quote=True)
        image = base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="{said}" style="max-width:100%" src="data:image/png;base64,{image}">'

    def _encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        return self.origin.encode([text])[0], self.trained.encode([text])[0]


def shift_explorer(view: SpectrumView, text: str, amount: float, lowest: float, highest: float) -> widgets.VBox:
    """A sentence to type and λ to drag between ``lowest`` and ``highest``; shows :meth:`SpectrumView.aligned_html`."""
    sentence = _sentence(text)
    slider = widgets.FloatSlider(
        value=amount, min=lowest, max=highest, step=0.5, description="λ", readout_format=".1f", layout={"width": "60%"}
    )
    result = widgets.HTML()

    def update(_=None) -> None:
        result.value = view.aligned_html(sentence.value, slider.value)

    for control in (sentence, slider):
        control.observe(update, names="value")
    update()
    return widgets.VBox([sentence, slider, result])


def contribution_explorer(view: SpectrumView, text: str) -> widgets.VBox:
    """A sentence to type; shows :meth:`SpectrumView.contribution_html`."""
    sentence, result = _sentence(text), widgets.HTML()

    def update(_=None) -> None:
        result.value = view.contribution_html(sentence.value)

    sentence.observe(update, names="value")
    update()
    return widgets.VBox([sentence, result])


def _sentence(text: str) -> widgets.Text:
    return widgets.Text(
        value=text,
        description="Your sentence",
        continuous_update=False,
        layout={"width": "95%"},
        style={"description_width": "initial"},
    )
