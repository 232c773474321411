"""What the explorers share: controls, a page that follows them, and embeddings of what a reader types.

A page is a function that returns HTML. Whatever is typed, it answers there: with a request where there is nothing to
read, with the reason where a text is refused, and with every note that encoding gave, as often as the text is shown.
"""

import functools
import html
import warnings
from collections.abc import Callable
from typing import TypeVar

import ipywidgets as widgets
import numpy as np

from course_utils import gates
from course_utils.measures.alignment import readable, special_ids, surface_tokens, top_tokens
from course_utils.models.embedder import Embedder
from course_utils.teaching.explorers.widget import LivePage
from course_utils.teaching.figures.tokens import kinds
from course_utils.texts import scripts

T = TypeVar("T")

#: Typed texts whose results are remembered.
MEMORY = 64

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


def remembered(encode: Callable[..., T], size: int = MEMORY) -> Callable[..., T]:
    """The same function of typed texts with a memory for so many; its warnings come again with what is remembered.

    Raises:
        Unreadable: where ``encode`` raises ``ValueError``.
    """

    @functools.lru_cache(maxsize=size)
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
        self._own = functools.lru_cache(maxsize=MEMORY)(lambda text: own_tokens(embedder.tokenizer, text))

    def aligned(self, embeddings: np.ndarray, k: int) -> np.ndarray:
        """Ids of the k aligned tokens of embeddings ``[n, d]``, best first, ``[n, k]``."""
        return top_tokens(embeddings, self.embedder.unembedding, k, self.special)[0]

    def described(self, text: str, ids: np.ndarray) -> tuple[list[str], list[str]]:
        """Token ids as people can read them, and the kind of each with respect to the text."""
        tokens = spelled(self.embedder.tokenizer, ids)
        return tokens, kinds(tokens, self._own(text))


def spelled(tokenizer, ids: np.ndarray) -> list[str]:
    """Tokens as people can read them; bytes that are no whole character in hexadecimal, ``‹E6 88 ··›``."""
    ids = np.asarray(ids)
    tokens = readable(tokenizer, ids)
    doubtful = [n for n, token in enumerate(tokens) if token.startswith("<") and token.endswith(">")]
    for n, raw in zip(doubtful, scripts.token_bytes(tokenizer, ids[doubtful]), strict=True):
        try:
            raw.decode()
        except UnicodeDecodeError:
            tokens[n] = scripts.spell(raw)
    return tokens


def own_tokens(tokenizer, text: str) -> list[str]:
    """The tokens of a text, written like :func:`spelled`."""
    return spelled(tokenizer, surface_tokens(tokenizer, [text])[0])


# --- What is shown --------------------------------------------------------------------------------


def text_box(text: str, description: str = "Your sentence", **changes) -> widgets.Text:
    """A line to type in, as wide as the page; ``changes`` are traits of the widget."""
    look = {"layout": {"width": "95%"}, "style": {"description_width": "initial"}, "placeholder": description}
    return widgets.Text(value=text, description=description, continuous_update=False, **(look | changes))


def live(page: Callable[..., str], *controls: widgets.Widget) -> LivePage:
    """What ``page`` returns for the values of the controls, in their order; made again whenever one changes.

    Its ``value`` is the page. Put it last into an :class:`course_utils.teaching.explorers.widget.Explorer`.
    """
    return LivePage(page, controls)
