"""A figure on the page: an image with a text for those who do not see it, on a light card that suits every theme.

A notebook page shows a PNG without any text for it, so a figure is handed over as HTML. The image has twice the
pixels of the page and 256 colours at most, which look the same and take a third of the room.
"""

import base64
import html
import io

from IPython.display import display
from matplotlib.figure import Figure

#: Pixels of the image for each pixel of the page.
SHARPNESS = 2
#: Rounded corners and some room around it: a light sheet on a dark page, nothing to be seen on a white one.
_CARD = "display:block;margin:0;background:#fff;border-radius:10px;padding:8px;box-sizing:border-box"
#: On a narrow page an image is scrolled rather than shrunk below this many pixels: its letters must stay readable.
_NARROWEST = 620


def told(figure: Figure, sentence: str) -> Figure:
    """The same figure with a sentence that its alternative text says besides titles and axes."""
    figure.set_gid(" ".join(sentence.split()))
    return figure


def alternative(figure: Figure) -> str:
    """What a figure says to those who do not see it: its titles, its axes, its series and the sentence from `told`."""
    parts = [figure.get_suptitle(), figure.get_gid() or ""]
    for axes in figure.axes:
        named = [axes.get_title(loc=side) for side in ("left", "center", "right")]
        x, y = axes.get_xlabel() or figure.get_supxlabel(), axes.get_ylabel() or figure.get_supylabel()
        across = f"across: {x}" if x else ""
        up = f"up: {y}" if y else ""
        labels = dict.fromkeys(axes.get_legend_handles_labels()[1])
        series = f"shown: {', '.join(labels)}" if labels else ""
        parts.append("; ".join(p for p in (*named, across, up, series) if p))
    for legend in figure.legends:
        parts.append("shown: " + ", ".join(text.get_text() for text in legend.get_texts()))
    unique = dict.fromkeys(" ".join(part.split()).replace("$", "") for part in parts)
    return ". ".join(part.rstrip(".") for part in unique if part) + "."


def png(figure: Figure) -> bytes:
    """The figure as a PNG file of at most 256 colours, ``SHARPNESS`` pixels for each pixel of the page."""
    from PIL import Image

    drawn, layout = io.BytesIO(), figure.get_layout_engine()
    figure.set_layout_engine("none")  # everything has its place since the figure was made; finding it takes long
    figure.savefig(drawn, format="png", dpi=SHARPNESS * figure.dpi, bbox_inches="tight")
    figure.set_layout_engine(layout)
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def image(figure: Figure, says: str = "") -> str:
    """The figure as an image, as wide as it was drawn or as the page is; HTML.

    Args:
        says: its alternative text; by default that of :func:`alternative`.
    """
    data = png(figure)
    width = int.from_bytes(data[16:20], "big") // SHARPNESS + 16  # the PNG header names the width; the padding is 16
    text = html.escape(says or alternative(figure), quote=True)
    look = f"width:{width}px;max-width:max(100%,{_NARROWEST}px);height:auto;{_CARD}"
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    shown = f'<img class="course-figure" alt="{text}" style="{look}" src="{source}">'
    return f'<div style="overflow-x:auto" tabindex="0">{shown}</div>'  # what scrolls must be reached by keyboard


def show(figure: Figure) -> None:
    """Display a figure in a notebook."""
    display({"text/html": image(figure), "text/plain": repr(figure)}, raw=True)
