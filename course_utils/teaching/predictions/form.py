"""The form of a prediction: a choice or an interval, how sure the reader is, and a button that makes it final."""

import html
import math
from datetime import UTC, datetime

import ipywidgets as widgets

from course_utils.teaching.explorers.widget import PAGE, STATUS, setup
from course_utils.teaching.predictions.stored import ASKED, Prediction, Question, answered, code, store, was_shown

#: Class of the form.
LIVE = "course-predict"

_CONFIDENCE = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_ALIVE = f".{LIVE}:not(.jupyter-widgets-disconnected)"
_CSS = f"""<style>
.jp-OutputArea:has({_ALIVE}) > .jp-OutputArea-child:has(.{ASKED}) {{ display: none }}
.{LIVE}.jupyter-widgets-disconnected > * {{ display: none }}
.{LIVE} .widget-radio-box {{ max-width: none }}
.{LIVE} .widget-radio-box label {{ white-space: normal; height: auto }}
</style>"""


class Form(widgets.VBox):
    """A question with the controls that answer it; once locked in it only says what was answered.

    Attributes:
        answer: the choice (a ``RadioButtons``), or the two ends of the interval.
        sure: how sure the reader is.
        lock: the button.
        status: what the line below says, HTML.
    """

    def __init__(self, question: Question):
        self._question = question
        self.answer = _choice(question) if question.options else _interval(question)
        least = round(1 / len(question.options), 2) if question.options else 0.5
        levels = [least, *(level for level in _CONFIDENCE if level > least)]
        names = [(f"{100 * level:.0f} %", level) for level in levels]
        if question.options:
            names[0] = (f"{100 * levels[0]:.0f} % (a guess)", levels[0])
        self.sure = widgets.Dropdown(options=names, value=None, description="I am sure to",
                                     style={"description_width": "initial"})  # fmt: skip
        self.lock = widgets.Button(description="Lock in", disabled=True, tooltip="Store this prediction; it is final")
        self._status = widgets.HTML()
        text = widgets.HTML(f"{_CSS}<p><strong>Prediction {question.id}.</strong> {code(question.text)}</p>")
        super().__init__([setup(), text, *self.answer, widgets.HBox([self.sure, self.lock]), self._status])
        self.add_class(LIVE)
        self.add_class(PAGE)
        self._status.add_class(STATUS)
        for control in (*self.answer, self.sure):
            control.observe(self._ready, names="value")
        self.lock.on_click(self._lock_in)
        found = answered(question)
        if found:
            self._show(found)
        else:
            self._ready()

    @property
    def status(self) -> str:
        """What the line below the controls says, HTML."""
        return self._status.value

    def _problem(self) -> str:
        """What is still to be done before the prediction can be locked in."""
        values = [control.value for control in self.answer]
        if not self._question.options:
            if values[0] > values[1]:
                return "The interval ends before it begins."
            if tuple(values) == self._question.between:
                return "Narrow the interval to where you expect the number, and choose how sure you are."
        return "" if None not in (*values, self.sure.value) else "Choose an answer and how sure you are."

    def _ready(self, _=None) -> None:
        problem = self._problem()
        self.lock.disabled = bool(problem)
        self._say(problem or "Lock it in: it is final.")

    def _say(self, text: str) -> None:
        self._status.value = f"<span>{html.escape(text)}</span>"

    def _lock_in(self, _=None) -> None:
        if self._problem() or self.sure.disabled:
            return
        low, high = self.answer[0].value, self.answer[-1].value
        question = self._question
        made = Prediction(
            question.text, list(question.options), list(question.between), low, high, self.sure.value,
            datetime.now(UTC).isoformat(timespec="seconds"), was_shown(question),
        )  # fmt: skip
        kept, problem = store(question.id, made)
        if (kept.low, kept.high, kept.confidence) != (low, high, self.sure.value):
            problem = f"It was locked in before, in another window, and is final. {problem}"
        self._show(kept, problem)

    def _show(self, made: Prediction, problem: str = "") -> None:
        for control in (*self.answer, self.sure, self.lock):
            control.disabled = True
        late = " The answer was shown before, so it does not count." if made.late else ""
        self._say(f"Locked in: {made.said(self._question)}.{late} {problem}".strip())


def _choice(question: Question) -> list[widgets.Widget]:
    named = [(question.named(n).replace("`", ""), n) for n in range(len(question.options))]
    return [widgets.RadioButtons(options=named, value=None, description="", layout={"width": "auto"})]


def _interval(question: Question) -> list[widgets.Widget]:
    low, high = question.between
    step = 10.0 ** (math.floor(math.log10(high - low)) - 2)
    return [
        widgets.BoundedFloatText(value=value, min=low, max=high, step=step, description=name)
        for name, value in (("from", low), ("to", high))
    ]
