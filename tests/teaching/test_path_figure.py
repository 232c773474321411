"""The drawing of a text's way through a model: every step with its shape, for eyes and for screen readers."""

import pytest

from course_utils.teaching.figures.path import from_text_to_tokens
from course_utils.teaching.figures.picture import alternative


def test_the_drawing_names_every_step_in_order_with_its_shape():
    figure = from_text_to_tokens(["I", "_like", "_$x$"], ["_apple", "싫"], 30, 576, 49152, "The way of a text")
    said = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert said[::3] == [
        "tokens", "embedding table", "30 layers", "final norm", "pooling", "unembedding matrix E", "largest logits"
    ]  # fmt: skip
    assert said[1::3] == ["3 ids", "[3, 576]", "[3, 576]", "[3, 576]", "[576]", "[49152]", "2 tokens"]
    assert said[-1] == "_apple \\uc2eb"
    words = alternative(figure)
    assert words.startswith("The way of a text") and words.index("pooling") < words.index("unembedding matrix E")


@pytest.mark.parametrize("broken", [([], ["a"], 1, 1, 1), (["a"], [], 1, 1, 1), (["a"], ["a"], 0, 1, 1)])
def test_a_way_without_tokens_or_layers_is_refused(broken):
    with pytest.raises(ValueError, match=r"tokens|aligned|layers"):
        from_text_to_tokens(*broken, "title")
