"""Type a sentence and see its aligned tokens: after a step along the first component, or layer by layer."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
import torch

from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.measures.spectrum import shift
from course_utils.models.embedder import Backbone, Embedder
from course_utils.models.prompts import NO_PROMPT, Prompt
from course_utils.teaching.explorers.page import (
    View,
    answering,
    check_typed,
    live,
    own_tokens,
    remembered,
    spelled,
    text_box,
)
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.tokens import chips, kinds, legend

#: What the slider of :func:`token_explorer` is called.
SHARE = "Share of the mean coefficient taken away"


class TokenView(View):
    """The aligned tokens of one embedder, as HTML.

    Attributes:
        direction: first principal component ``u_1``, ``[d]``, or None where nothing is to be subtracted.
        mean_coefficient: mean of ``uᵀh`` over some corpus: what a share of 1 subtracts.
    """

    def __init__(self, embedder: Embedder, direction: np.ndarray | None = None, mean_coefficient: float = 0.0):
        super().__init__(embedder)
        self.direction, self.mean_coefficient = direction, mean_coefficient

    def tokens(self, text: str, share: float = 0.0, k: int = 10) -> tuple[list[str], list[str]]:
        """The k aligned tokens of a text after ``h − share · mean_coefficient · u_1``, and the kind of each."""
        h = self.embedding(text)
        if share and self.direction is not None:
            h = shift(h, self.direction, -share * self.mean_coefficient)
        return self.described(text, self.aligned(h, k)[0])

    @answering
    def html(self, text: str, share: float = 0.0, k: int = 10) -> str:
        """The same as chips, with λ above and the legend below. A text without content gives a request to type one."""
        check_typed(text)
        return f"<p>{self._says(share)}</p>{chips(*self.tokens(text, share, k))}{legend()}"

    def _says(self, share: float) -> str:
        if self.direction is None:
            return f"{self.embedder.spec.name}: embedding as it is"
        amount = -share * self.mean_coefficient + 0.0  # no "−0.0"
        return f"{self.embedder.spec.name}: λ = {amount:.1f}, that is {share:.2f} of the mean coefficient taken away"


def token_explorer(views: Mapping[str, TokenView], text: str, share: float = 0.0) -> Explorer:
    """A sentence to type, a share to drag and, where there are several, an embedder to choose.

    Args:
        views: one or more, by the name that the reader chooses from; the first is shown first.
        text: the sentence to start with.
        share: where the slider starts, as a share of the mean coefficient, 0 to 1.5.
    """
    sentence = text_box(text)
    strength = widgets.FloatSlider(
        value=share, min=0, max=1.5, step=0.05, description=SHARE, readout_format=".2f",
        layout={"width": "95%"}, style={"description_width": "initial"},
    )  # fmt: skip
    choice = widgets.Dropdown(options=list(views), description="Embedder")

    def page(text: str, share: float, name: str) -> str:
        strength.disabled = views[name].direction is None
        return views[name].html(text, share)

    result = live(page, sentence, strength, choice)
    return Explorer([sentence, strength, *([choice] if len(views) > 1 else []), result])


def layer_states(backbone: Backbone, text: str, prompt: Prompt = NO_PROMPT) -> np.ndarray:
    """The state of the last token after the embedding table and after every layer, final norm applied; ``[L + 1, d]``.

    The library has normed the last row already; the others are normed here, as the "logit lens" asks for
    (nostalgebraist 2020, "interpreting GPT: the logit lens").
    """
    inputs = backbone.tokenizer(prompt.wrap(text.strip())[0], return_tensors="pt", verbose=False).to(backbone.device)
    with backbone.using([]), torch.inference_mode():
        states = [s[0, -1] for s in backbone.causal(**inputs, output_hidden_states=True).hidden_states]
        normed = [backbone.transformer.norm(s) for s in states[:-1]]
    return torch.stack([*normed, states[-1]]).float().cpu().numpy()


@answering
def layer_html(backbone: Backbone, text: str, layer: int, prompt: Prompt = NO_PROMPT, k: int = 10) -> str:
    """What the last token's state decodes to after ``layer`` layers, as chips with a legend; HTML."""
    check_typed(text)
    return _layer_page(backbone, text, layer_states(backbone, text, prompt), layer, k)


def _layer_page(backbone: Backbone, text: str, states: np.ndarray, layer: int, k: int = 10) -> str:
    if not 0 <= layer < len(states):
        raise ValueError(f"layer must lie between 0 and {len(states) - 1}; got {layer}")
    weight = backbone.unembedding
    ids, _ = top_tokens(states[layer : layer + 1], weight, k, special_ids(backbone.tokenizer, len(weight)))
    shown = chips(*described(backbone.tokenizer, text, ids[0]))
    return f"<p>after layer {layer} of {len(states) - 1}</p>{shown}{legend()}"


def layer_explorer(backbone: Backbone, text: str, prompts: Mapping[str, Prompt]) -> Explorer:
    """A sentence to type, a layer to drag and a prompt to choose; shows :func:`layer_html`."""
    last = backbone.causal.config.num_hidden_layers
    controls = (
        text_box(text),
        widgets.IntSlider(value=last, min=0, max=last, description="Layer", layout={"width": "60%"}),
        widgets.Dropdown(options=list(prompts), description="Prompt"),
    )
    states = remembered(lambda text, name: layer_states(backbone, text, prompts[name]))

    @answering
    def page(text: str, layer: int, name: str) -> str:
        check_typed(text)
        return _layer_page(backbone, text, states(text, name), layer)

    return Explorer([*controls, live(page, *controls)])


def described(tokenizer, text: str, ids: np.ndarray) -> tuple[list[str], list[str]]:
    """Token ids as readable strings, and the kind of each with respect to the text."""
    tokens = spelled(tokenizer, ids)
    return tokens, kinds(tokens, own_tokens(tokenizer, text))
