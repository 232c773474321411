"""The way of a text through a model, as a drawing: from its letters to its aligned tokens."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from course_utils import gates
from course_utils.teaching.figures import style
from course_utils.teaching.figures.picture import told
from course_utils.teaching.figures.style import PALETTE, REFERENCE, styled
from course_utils.teaching.figures.tokens import drawable

_WIDE, _HIGH = 1.7, 0.62


@styled
def from_text_to_tokens(
    tokens: list[str], aligned: list[str], layers: int, width: int, vocabulary: int, title: str
) -> Figure:
    """Text, tokens, layers, final norm, pooling, unembedding matrix, aligned tokens: one box each, with its shape.

    Args:
        tokens: the tokens of the text, as people read them.
        aligned: what comes out, best first.
        layers, width, vocabulary: the model's layers, the dimension d of its hidden states, and the tokens it knows.

    Raises:
        ValueError: no tokens, nothing that comes out, or a size below 1.
    """
    tokens, aligned = gates.texts(tokens, "tokens"), gates.texts(aligned, "aligned")
    if not tokens or not aligned:
        raise ValueError(f"the drawing needs tokens at both ends; got {len(tokens)} tokens and {len(aligned)} aligned")
    for name, size in (("layers", layers), ("width", width), ("vocabulary", vocabulary)):
        gates.whole(size, name, 1)
    n = len(tokens)
    steps = [
        ("tokens", f"{n} ids", " ".join(tokens)),
        ("embedding table", f"[{n}, {width}]", "a row for each token"),
        (f"{layers} layers", f"[{n}, {width}]", "attention mixes the tokens"),
        ("final norm", f"[{n}, {width}]", "one hidden state per token"),
        ("pooling", f"[{width}]", "the embedding h: one per text"),
        ("unembedding matrix E", f"[{vocabulary}]", "E h: a logit for every token"),
        ("largest logits", f"{len(aligned)} tokens", " ".join(aligned)),
    ]
    figure, axes = plt.subplots(figsize=(8, 0.72 * len(steps) + 0.6))
    for row, (name, shape, note) in enumerate(steps):
        ours = name in ("pooling", "largest logits")
        look = {"facecolor": "white", "edgecolor": PALETTE[1] if ours else PALETTE[0], "linewidth": 2}
        axes.add_patch(FancyBboxPatch((0, row - _HIGH / 2), _WIDE, _HIGH, boxstyle="round,pad=0.02", **look))
        axes.text(_WIDE / 2, row, name, ha="center", va="center", fontweight="bold", fontsize=10)
        axes.text(_WIDE + 0.12, row, shape, va="center", fontsize=10)
        axes.text(_WIDE + 1.05, row, drawable(note), va="center", fontsize=10, color=REFERENCE, parse_math=False)
        if row:
            ends = {"xy": (_WIDE / 2, row - _HIGH / 2), "xytext": (_WIDE / 2, row - 1 + _HIGH / 2)}
            axes.annotate("", **ends, arrowprops={"arrowstyle": "-|>", "color": "black"})
    axes.set(xlim=(-0.1, 6.2), ylim=(len(steps) - 0.5, -0.6))
    axes.set_axis_off()
    style.head(figure, title)
    says = "; then ".join(f"{name}, {shape}: {note}" for name, shape, note in steps)
    return told(figure, f"In this order: {says}")
