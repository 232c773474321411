"""What an explorer is on the page: a widget that says when it works, and a picture of it for where it cannot.

Three things that ipywidgets lacks are added in the browser by a few lines of JavaScript, which travel in a style
element of each page and touch nothing but the output that they stand in:

* *Keys.* JupyterLab acts on single letters wherever the focus is outside a text field: ``x`` on a slider would cut the
  cell. It leaves a key alone whose target has the attribute ``data-lm-suppress-shortcuts``. Keys with Ctrl, Alt or
  Cmd, Escape and Shift+Enter keep their meaning.
* *Names.* Handles of sliders carry their label and the value as it is shown, not its number in a list.
* *Announcements.* A screen reader reads out a changed page when it comes to rest.

Where there is no kernel (a fresh copy, an export) the picture stands alone; where one has gone, the controls go and
the last page stays. Where nothing of this is known, as in another notebook program, the widget works as any other.
"""

import html
import time
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from IPython.display import display

#: Classes of what belongs together on a page.
LIVE, PAGE, STATUS, PICTURE = "course-live", "course-page", "course-status", "course-picture"

#: What stands above the picture of an explorer.
PICTURE_NOTE = "A picture: run this cell to type and drag here."

_DEAD = ".jupyter-widgets-disconnected"
_CSS = f"""
.jp-OutputArea:has(.{LIVE}) > .jp-OutputArea-child:has(.{PICTURE}) {{ display: none }}
.{LIVE} {{ overflow: visible }}
.{LIVE}{_DEAD} > :not(.{PAGE}) {{ display: none }}
.{LIVE}{_DEAD} .{STATUS} {{ display: none }}
.{LIVE}{_DEAD}::before, .{LIVE} {_DEAD}::before {{ content: none !important }}
.{LIVE}{_DEAD}::after {{ content: "The kernel has gone: run this cell again to type and drag here."; font-size: 85% }}
.{STATUS} {{ min-height: 1.6em; font-size: 85% }}
.{STATUS} .works {{ opacity: 0; animation: course-works 0s 0.1s forwards }}
@keyframes course-works {{ to {{ opacity: 1 }} }}
"""
_JS = f"""
const page = this.closest('.{PAGE}'), out = this.closest('.jp-OutputArea-output') || page.parentElement;
const write = (e, name, value) => {{ if (e && e.getAttribute(name) !== value) e.setAttribute(name, value); }};
const tell = () => {{
    write(page.querySelector('.{STATUS}'), 'role', 'status');
    write(page.lastElementChild, 'aria-live', 'polite');
    for (const handle of out.querySelectorAll('.noUi-handle')) {{
        let box = handle;
        while (box !== out && !box.querySelector('.widget-label')) box = box.parentElement;
        write(handle, 'aria-label', box.querySelector('.widget-label')?.textContent || 'slider');
        const shown = box.querySelector('.widget-readout')?.textContent;
        if (shown) write(handle, 'aria-valuetext', shown);
    }}
}};
const keys = event => {{
    if (!page.isConnected) return window.removeEventListener('keydown', keys, true);
    if (!out.contains(event.target)) return;
    const theirs = event.ctrlKey || event.metaKey || event.altKey || event.key === 'Escape'
        || (event.shiftKey && event.key === 'Enter');
    event.target.toggleAttribute('data-lm-suppress-shortcuts', !theirs);
}};
window.addEventListener('keydown', keys, true);
new MutationObserver(tell).observe(
    out, {{ subtree: true, childList: true, characterData: true, attributeFilter: ['aria-valuetext'] }});
tell();
"""


def setup() -> widgets.HTML:
    """The first child of every page: what the browser has to know of keys, names and announcements."""
    return widgets.HTML(f'<style onload="{html.escape(_JS)}">{_CSS}</style>', layout={"display": "none"})


class LivePage(widgets.VBox):
    """A page that follows controls, below a line that says how long the last answer took or that one is under way.

    Attributes:
        value: the page, HTML.
        status: what the line above it says, HTML.
    """

    def __init__(self, page: Callable[..., str], controls: Sequence[widgets.Widget]):
        self._make, self._controls = page, controls
        self._status, self._page = widgets.HTML(), widgets.HTML()
        super().__init__([setup(), self._status, self._page])
        self.add_class(PAGE)
        self._status.add_class(STATUS)
        for control in controls:
            control.observe(self.update, names="value")
        self.update()

    @property
    def value(self) -> str:
        """The page, HTML."""
        return self._page.value

    @property
    def status(self) -> str:
        """What the line above the page says, HTML."""
        return self._status.value

    def update(self, _=None) -> None:
        """Make the page again for the values that the controls have now.

        Of several quick moves the browser sends the first and, once that is answered, the last.
        """
        start = time.perf_counter()
        # The browser shows this only after a tenth of a second: what is quicker must not flicker.
        self._status.value = '<span class="works">working …</span>'
        try:
            self._page.value = self._make(*(control.value for control in self._controls))
        except BaseException as error:
            self._status.value = f"<span>stopped: {html.escape(type(error).__name__)}; the page is an older one</span>"
            raise
        self._status.value = f"<span>answered in {time.perf_counter() - start:.2f} s</span>"


class Explorer(widgets.VBox):
    """Controls with the page that follows them, the last child; in a notebook it brings a picture of itself along.

    Args:
        children: as for a ``VBox``; the last one is what :func:`course_utils.teaching.explorers.page.live` returned.
    """

    def __init__(self, children: Sequence[widgets.Widget]):
        super().__init__(list(children))
        self.add_class(LIVE)

    def picture(self) -> str:
        """What the page shows now, and that it is a picture; HTML."""
        shown = self.children[-1].value
        return f'<div class="{PICTURE}"><p><small><i>{PICTURE_NOTE}</i></small></p>{shown}</div>'

    def _ipython_display_(self) -> None:
        # Two outputs: of one with both forms a browser without the kernel would choose the widget, and show an error.
        bundle = self._repr_mimebundle_()
        display({"text/html": self.picture(), "text/plain": PICTURE_NOTE}, raw=True)
        display({name: data for name, data in bundle.items() if name != "text/plain"}, raw=True)
