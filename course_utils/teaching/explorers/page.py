"""What the explorers share: controls, a page that follows them, and embeddings of what a reader types.

A page is a function that returns HTML. Whatever is typed, it answers there: with a request where there is nothing to
read, with the reason where a text is refused, and with every note that encoding gave, as often as the text is shown.
"""

import base64
import functools
import html
import io
import warnings
from collections.abc import Callable
from typing import TypeVar

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from course_utils import gates
from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.models.embedder import Embedder

T = TypeVar("T")

# --- What is typed --------------------------------------------------------------------------------


class Unreadable(ValueError):
    """A typed text that cannot be embedded; the page shows the message in the place of its tokens."""


def check_typed(*typed: str, request: str = "Type a sentence and press Enter.") -> None:
    """Raise :class:`Unreadable` with the request where a text is empty, with the reason where it is not Unicode."""
    try:
        full = [bool(gates.unicode_text(text, "the text").strip()) for text in typed]
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if not all(full):
        raise Unreadable(request)


def answering(page: Callable[..., str]) -> Callable[..., str]:
    """A page that says why a text is :class:`Unreadable`, and what was warned of while it was made."""

    @functools.wraps(page)
    def wrapped(*args, **kwargs) -> str:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                shown = page(*args, **kwargs)
            except Unreadable as error:
                shown = f"<p>{html.escape(str(error))}</p>"
        notes = dict.fromkeys(str(warning.message) for warning in caught)
        return shown + "".join(f"<p>{html.escape(note)}</p>" for note in notes)

    return wrapped


def remembered(encode: Callable[..., T]) -> Callable[..., T]:
    """The same function of typed texts with a memory for 64 of them; its warnings come again with what is remembered.

    Raises:
        Unreadable: where ``encode`` raises ``ValueError``.
    """

    @functools.lru_cache(maxsize=64)
    def kept(*typed) -> tuple[T, list[str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            return encode(*typed), [str(warning.message) for warning in caught]

    def recalled(*typed) -> T:
        try:
            result, said = kept(*typed)
        except ValueError as error:
            raise Unreadable(str(error)) from error
        for message in said:
            warnings.warn(message, stacklevel=2)
        return result

    return recalled


class View:
    """One embedder, ready to decode what a reader types.

    Attributes:
        embedder: whose embeddings are decoded.
        special: ids of tokens that are never shown.
        embedding: a text, with an instruction where the embedder takes one -> its embedding ``[1, d]``.
    """

    def __init__(self, embedder: Embedder):
        self.embedder = embedder
        self.special = special_ids(embedder.tokenizer, len(embedder.unembedding))
        self.embedding = remembered(lambda text, instruction=None: embedder.encode([text], instruction))

    def aligned(self, embeddings: np.ndarray, k: int) -> np.ndarray:
        """Ids of the k aligned tokens of embeddings ``[n, d]``, best first, ``[n, k]``."""
        return top_tokens(embeddings, self.embedder.unembedding, k, self.special)[0]


# --- What is shown --------------------------------------------------------------------------------


def text_box(text: str, description: str = "Your sentence", **changes) -> widgets.Text:
    """A line to type in, as wide as the page; ``changes`` are traits of the widget."""
    look = {"layout": {"width": "95%"}, "style": {"description_width": "initial"}, "placeholder": description}
    return widgets.Text(value=text, description=description, continuous_update=False, **(look | changes))


def live(page: Callable[..., str], *controls: widgets.Widget) -> widgets.HTML:
    """What ``page`` returns for the values of the controls, in their order; made again whenever one changes."""
    result = widgets.HTML()

    def update(_=None) -> None:
        result.value = page(*(control.value for control in controls))

    for control in controls:
        control.observe(update, names="value")
    update()
    return result


def image(figure: Figure, alt: str) -> str:
    """A figure as an image with a text that says what it shows; HTML."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt, quote=True)}" style="max-width:100%" src="data:image/png;base64,{data}">'
