"""Two embedders side by side: what the embedding of one sentence decodes to in each."""

from collections.abc import Mapping

import ipywidgets as widgets

from course_utils.teaching.explorers.page import answering, check_typed, live, text_box
from course_utils.teaching.explorers.tokens import TokenView
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.tokens import chips, legend, named_rows


@answering
def comparison(views: Mapping[str, TokenView], text: str, left: str, right: str, k: int = 10) -> str:
    """The k aligned tokens of a text by two embedders, one row each, and how many the two share; HTML.

    Args:
        views: the embedders, by name.
        text: a text with nothing in it gives a request to type one.
        left, right: names in ``views``.

    Raises:
        ValueError: a name that ``views`` lacks.
    """
    unknown = [name for name in (left, right) if name not in views]
    if unknown:
        raise ValueError(f"no embedder {unknown[0]!r} here; choose from {', '.join(views)}")
    check_typed(text)
    found = [(name, views[name].tokens(text, k=k)) for name in (left, right)]
    rows = named_rows((name, chips(*listed)) for name, listed in found)
    return f"<table>{rows}</table><p>{_says(*(listed for _, listed in found), k)}</p>{legend()}"


def comparison_explorer(views: Mapping[str, TokenView], text: str, left: str, right: str) -> Explorer:
    """A sentence to type and two embedders to choose; shows :func:`comparison`."""
    sentence = text_box(text)
    first = widgets.Dropdown(options=list(views), value=left, description="First")
    second = widgets.Dropdown(options=list(views), value=right, description="Second")
    result = live(lambda *values: comparison(views, *values), sentence, first, second)
    return Explorer([sentence, widgets.HBox([first, second]), result])


def _says(left: tuple[list[str], list[str]], right: tuple[list[str], list[str]], k: int) -> str:
    shared = len(set(left[0]) & set(right[0]))
    own = [sum(kind != "other" for kind in kinds) for _, kinds in (left, right)]
    return f"Of the text or a variant: {own[0]} of {k} and {own[1]} of {k}. In both lists: {shared}."
