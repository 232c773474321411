"""Type a sentence and see its aligned tokens: after a step along the first component, or layer by layer."""

import functools
import html
import warnings
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
import torch

from course_utils.measures.alignment import readable, special_ids, surface_tokens, top_tokens
from course_utils.measures.spectrum import shift
from course_utils.models.embedder import Backbone, Embedder
from course_utils.models.prompts import NO_PROMPT, Prompt
from course_utils.teaching.figures.tokens import chips, kinds, legend


class TokenView:
    """The aligned tokens of one embedder, as HTML.

    Attributes:
        embedder: whose embeddings are decoded.
        direction: first principal component ``u_1``, ``[d]``, or None where nothing is to be subtracted.
        mean_coefficient: mean of ``uᵀh`` over some corpus: what a share of 1 subtracts.
    """

    def __init__(self, embedder: Embedder, direction: np.ndarray | None = None, mean_coefficient: float = 0.0):
        self.embedder, self.direction, self.mean_coefficient = embedder, direction, mean_coefficient
        self.special = special_ids(embedder.tokenizer, len(embedder.unembedding))
        self._embedding = functools.lru_cache(maxsize=32)(self._encode)

    def tokens(self, text: str, share: float = 0.0, k: int = 10) -> tuple[list[str], list[str]]:
        """The k aligned tokens of a text after ``h − share · mean_coefficient · u_1``, and the kind of each."""
        h = self._embedding(text)
        if share and self.direction is not None:
            h = shift(h, self.direction, -share * self.mean_coefficient)
        ids, _ = top_tokens(h, self.embedder.unembedding, k, self.special)
        return described(self.embedder.tokenizer, text, ids[0])

    def html(self, text: str, share: float = 0.0, k: int = 10) -> str:
        """The same as chips, with λ above and the legend below. A text without content gives a request to type one."""
        if not text.strip():
            return f"<p>Type a sentence and press Enter.</p>{chips([], [])}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            shown = chips(*self.tokens(text, share, k))
        notes = "".join(f"<p>{html.escape(str(w.message))}</p>" for w in caught)
        return f"<p>{self._says(share)}</p>{shown}{legend()}{notes}"

    def _says(self, share: float) -> str:
        if self.direction is None:
            return f"{self.embedder.spec.name}: embedding as it is"
        amount = -share * self.mean_coefficient + 0.0  # no "−0.0"
        return f"{self.embedder.spec.name}: λ = {amount:.1f}, that is {share:.2f} of the mean coefficient taken away"

    def _encode(self, text: str) -> np.ndarray:
        return self.embedder.encode([text])


def token_explorer(views: Mapping[str, TokenView], text: str, share: float = 0.0) -> widgets.VBox:
    """A sentence to type, λ to drag and, where there are several, an embedder to choose.

    Args:
        views: one or more, by the name that the reader chooses from; the first is shown first.
        text: the sentence to start with.
        share: where λ starts, as a share of the mean coefficient, 0 to 1.5.
    """
    names = list(views)
    sentence = _sentence_box(text)
    strength = widgets.FloatSlider(
        value=share, min=0, max=1.5, step=0.05, description="λ", readout_format=".2f", layout={"width": "60%"}
    )
    choice = widgets.Dropdown(options=names, value=names[0], description="Embedder")
    result = widgets.HTML()

    def update(_=None) -> None:
        view = views[choice.value]
        strength.disabled = view.direction is None
        result.value = view.html(sentence.value, strength.value)

    for control in (sentence, strength, choice):
        control.observe(update, names="value")
    update()
    return widgets.VBox([sentence, strength, *([choice] if len(names) > 1 else []), result])


def layer_states(backbone: Backbone, text: str, prompt: Prompt = NO_PROMPT) -> np.ndarray:
    """The state of the last token after the embedding table and after every layer, final norm applied; ``[L + 1, d]``.

    The library has normed the last row already; the others are normed here, as the "logit lens" asks for
    (nostalgebraist 2020, "interpreting GPT: the logit lens").
    """
    inputs = backbone.tokenizer(prompt.wrap(text.strip())[0], return_tensors="pt").to(backbone.device)
    with backbone.using([]), torch.inference_mode():
        states = [s[0, -1] for s in backbone.causal(**inputs, output_hidden_states=True).hidden_states]
        normed = [backbone.transformer.norm(s) for s in states[:-1]]
    return torch.stack([*normed, states[-1]]).float().cpu().numpy()


def layer_html(backbone: Backbone, text: str, layer: int, prompt: Prompt = NO_PROMPT, k: int = 10) -> str:
    """What the last token's state decodes to after ``layer`` layers, as chips with a legend; HTML."""
    if not text.strip():
        return f"<p>Type a sentence and press Enter.</p>{chips([], [])}"
    states = layer_states(backbone, text, prompt)
    if not 0 <= layer < len(states):
        raise ValueError(f"layer must lie between 0 and {len(states) - 1}; got {layer}")
    weight = backbone.unembedding
    ids, _ = top_tokens(states[layer : layer + 1], weight, k, special_ids(backbone.tokenizer, len(weight)))
    shown = chips(*described(backbone.tokenizer, text, ids[0]))
    return f"<p>after layer {layer} of {len(states) - 1}</p>{shown}{legend()}"


def layer_explorer(backbone: Backbone, text: str, prompts: Mapping[str, Prompt]) -> widgets.VBox:
    """A sentence to type, a layer to drag and a prompt to choose; shows :func:`layer_html`."""
    last = backbone.causal.config.num_hidden_layers
    sentence = _sentence_box(text)
    layer = widgets.IntSlider(value=last, min=0, max=last, description="Layer", layout={"width": "60%"})
    choice = widgets.Dropdown(options=list(prompts), description="Prompt")
    result = widgets.HTML()

    def update(_=None) -> None:
        result.value = layer_html(backbone, sentence.value, layer.value, prompts[choice.value])

    for control in (sentence, layer, choice):
        control.observe(update, names="value")
    update()
    return widgets.VBox([sentence, layer, choice, result])


def described(tokenizer, text: str, ids: np.ndarray) -> tuple[list[str], list[str]]:
    """Token ids as readable strings, and the kind of each with respect to the text."""
    tokens = readable(tokenizer, ids)
    return tokens, kinds(tokens, readable(tokenizer, surface_tokens(tokenizer, [text])[0]))


def _sentence_box(text: str) -> widgets.Text:
    return widgets.Text(
        value=text,
        description="Your sentence",
        placeholder="Your sentence",
        continuous_update=False,
        layout={"width": "95%"},
        style={"description_width": "initial"},
    )
