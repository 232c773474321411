"""What a prediction is, where it is kept, and how predictions are judged; no widget.

``predictions.json`` maps the id of each question to the reader's answer, with the question as it was asked.
"""

import html
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from course_utils import gates

FILE = "predictions.json"
#: Where one of these is set a notebook is run to be compared: pytest sets the first, tools/run_notebooks.py the second.
COMPARED = ("PYTEST_VERSION", "COURSE_COMPARED")
#: Fewer predictions than this say nothing about calibration.
ENOUGH = 5
#: Class of the text that stands for the form where there is no kernel.
ASKED = "course-asked"
#: An id: two digits of the lesson, a dot, a number.
ID = re.compile(r"(\d\d)\.\d+")


@dataclass(frozen=True)
class Question:
    """What is asked: a choice between ``options``, or a number ``between`` two bounds in a ``unit``."""

    id: str
    text: str
    options: tuple[str, ...] = ()
    between: tuple[float, float] = ()
    unit: str = ""

    def __str__(self) -> str:
        lines = [f"Prediction {self.id}. {self.text}"]
        lines += [f"  {self.named(n)}" for n in range(len(self.options))]
        if self.between:
            lines.append(f"  a number between {self.between[0]:g} and {self.between[1]:g}{self._with_unit}")
        return "\n".join(lines)

    @property
    def _wide(self) -> bool:
        return self.between[1] - self.between[0] > 1

    @property
    def _with_unit(self) -> str:
        return f" ({self.unit})" if self.unit else ""

    def named(self, number: int) -> str:
        """The option with this number, with its letter."""
        return f"{chr(ord('A') + number)}) {self.options[number]}"

    def number(self, value: float) -> str:
        """A number, told to a hundredth of the distance between the bounds; a count is told whole."""
        if float(value).is_integer() and all(float(bound).is_integer() for bound in self.between) and self._wide:
            return f"{value:.0f}"
        decimals = max(0, 2 - math.floor(math.log10(self.between[1] - self.between[0])))
        return f"{value:.{decimals}f}"

    def said(self, measured: float) -> str:
        """What was measured, in words."""
        return self.named(int(measured)) if self.options else f"{self.number(measured)}{self._with_unit}"

    def page(self) -> str:
        """The question and what can be answered, HTML that needs no kernel."""
        if self.options:
            answers = '<ol type="A">' + "".join(f"<li>{code(option)}</li>" for option in self.options) + "</ol>"
        else:
            answers = f"<p>{code(str(self).splitlines()[-1])}</p>"
        return f'<div class="{ASKED}"><p><strong>Prediction {self.id}.</strong> {code(self.text)}</p>{answers}</div>'


@dataclass
class Prediction:
    """One answer that was locked in.

    Attributes:
        question: what was asked; ``options`` and ``between`` as in :class:`Question`.
        low, high: the numbers of the options, or the interval, that the reader holds for right.
        confidence: how sure the reader is, between 0 and 1.
        locked: when, in universal time.
        late: whether the answer had been shown before.
        outcome: what was measured; None before.
        more: what another version of the course stored besides; it is kept.
    """

    question: str
    options: list[str]
    between: list[float]
    low: float
    high: float
    confidence: float
    locked: str = ""
    late: bool = False
    outcome: float | None = None
    more: dict = field(default_factory=dict)

    @property
    def hit(self) -> bool:
        """Whether the outcome is what was predicted."""
        return self.outcome is not None and self.low <= self.outcome <= self.high

    @property
    def counts(self) -> bool:
        """Whether it says something about calibration."""
        return self.outcome is not None and not self.late

    @property
    def asked(self) -> tuple:
        """The question as it was asked."""
        return self.question, self.options, self.between

    def answers(self, question: Question) -> bool:
        """Whether this is an answer to the question as it is asked today."""
        return self.asked == (question.text, list(question.options), list(question.between))

    def said(self, question: Question) -> str:
        """The answer in words."""
        if question.options:
            what = question.named(int(self.low))
        else:
            what = f"{question.number(self.low)} to {question.number(self.high)}"
        return f"{what}, {100 * self.confidence:.0f} % sure"


#: What was answered in this kernel and could not be stored, by question id.
_unstored: dict[str, Prediction] = {}
#: Ids of the questions whose answer was shown in this kernel.
shown: set[str] = set()
#: What was said once about the file and need not be said again.
_told: set[str] = set()


def code(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text.strip(), quote=False))


# --- How predictions are judged -------------------------------------------------------------------


def summary(predictions: Sequence[Prediction]) -> str:
    """How well calibrated predictions are, in plain words; ``predictions.calibration`` says how it is computed."""
    counted = [p for p in predictions if p.counts]
    late = sum(p.late for p in predictions)
    waiting = len(predictions) - len(counted) - late
    left_out = [f"{late} made after the answer" if late else "", f"{waiting} still to be measured" if waiting else ""]
    aside = f" (not counted: {', '.join(filter(None, left_out))})" if late or waiting else ""
    if not counted:
        return f"none of your predictions counts yet{aside}."
    sure, hits = np.array([p.confidence for p in counted]), np.array([p.hit for p in counted])
    told = (
        f"{hits.sum()} of {len(counted)} predictions came true{aside}; you were {100 * sure.mean():.0f} % sure on "
        f"average. Brier score {((sure - hits) ** 2).mean():.2f} (0 is perfect, .25 is saying 50 % every time)."
    )
    if len(counted) < ENOUGH:
        return f"{told} Too few to judge how well calibrated you are; {ENOUGH} are the least."
    low, high = hits_by_chance(sure)
    if hits.sum() < low:
        verdict = "you were too sure"
    elif hits.sum() > high:
        verdict = "you could have been surer"
    else:
        verdict = "your confidence fits what happened, as far as so few can tell"
    return f"{told} If your confidence is right, {low} to {high} come true in 95 % of cases: {verdict}."


def hits_by_chance(confidence: Sequence[float], level: float = 0.95) -> tuple[int, int]:
    """The central range of hits if each prediction comes true with its stated probability, independently.

    Args:
        confidence: probabilities, ``[n]``.
        level: the share of cases in which the hits lie within the range, at least.
    """
    chances = np.ones(1)
    for p in gates.vector(confidence, "confidence"):
        chances = np.convolve(chances, [1 - p, p])  # the chance of 0, 1, 2 … hits
    upto = np.cumsum(chances)
    tail = (1 - level) / 2 + 1e-12  # rounding must not push a certain number of hits out of the range
    return int(np.argmax(upto > tail)), int(np.argmax(upto >= 1 - tail))


# --- The file -------------------------------------------------------------------------------------


def all_stored() -> dict[str, Prediction]:
    """Every prediction of the reader, by question id; none where a notebook is run to be compared."""
    return _content()["predictions"] | _unstored


def answered(question: Question) -> Prediction | None:
    """The reader's answer to a question as it is asked today; None where there is none."""
    found = all_stored().get(question.id)
    return found if found is not None and found.answers(question) else None


def store(prediction_id: str, made: Prediction) -> tuple[Prediction, str]:
    """Store a prediction, unless the question was answered before: the first answer stands.

    Returns:
        What now counts, and in words what was in the way of storing it: it then lasts as long as the kernel.
    """
    if _compared():
        _unstored[prediction_id] = made
        return made, ""
    try:
        with _changing() as content:
            before = content["predictions"].get(prediction_id)
            if before and before.asked != made.asked:
                content["earlier"].append({"id": prediction_id} | _as_json(before))
            elif before:  # the first one stands, also where two windows show the same question
                made = replace(before, outcome=before.outcome if made.outcome is None else made.outcome)
            elif prediction_id in content["damaged"]:
                content["earlier"].append({"id": prediction_id, "damaged": content["damaged"].pop(prediction_id)})
            content["predictions"][prediction_id] = made
    except OSError as error:  # a full disk, a folder that is read-only, or a lock that is never released
        _unstored[prediction_id] = made
        return made, f"It could not be stored ({type(error).__name__}: {error}); it counts until the kernel ends."
    _unstored.pop(prediction_id, None)
    return made, ""


def show(prediction_id: str, text: str) -> None:
    """Note that the answer to a question was shown, which lasts longer than the kernel.

    Args:
        prediction_id: which question.
        text: how it was asked; "" where that is not known.
    """
    shown.add(prediction_id)
    if _compared() or _content()["shown"].get(prediction_id) == text:
        return
    try:
        with _changing() as content:
            content["shown"][prediction_id] = text
    except OSError:  # this kernel still knows, and a prediction that cannot be stored is told about in its form
        return


def was_shown(question: Question) -> bool:
    """Whether the reader has seen the answer to a question as it is asked today."""
    return question.id in shown or _content()["shown"].get(question.id) in ("", question.text)


def _compared() -> bool:
    return any(name in os.environ for name in COMPARED)


def _lock(path: Path):
    from filelock import FileLock

    return FileLock(path.with_name(".predictions.lock"), timeout=10)


def _content() -> dict:
    """What the file holds; nothing where there is none, or where a notebook is run to be compared."""
    path = Path.cwd() / FILE
    if _compared() or not gates.is_file(path):
        return _empty()
    try:
        with _lock(path):
            return _read(path)
    except OSError:  # no lock can be had in a folder that is read-only; what is written is whole at any moment
        pass
    try:
        return _read(path)
    except OSError as error:
        _say(f"{path.name} cannot be read ({type(error).__name__}: {error}): your earlier predictions are not shown.")
        return _empty()


@contextmanager
def _changing() -> Iterator[dict]:
    """What the file holds, to be changed and then written, while nobody else writes.

    Raises:
        OSError: it cannot be read, written or locked.
    """
    path = Path.cwd() / FILE
    with _lock(path):
        content = _read(path)
        yield content
        predictions = {key: _as_json(p) for key, p in content["predictions"].items()} | content["damaged"]
        rest = {key: value for key, value in content.items() if key != "damaged"}
        with gates.replacing(path) as file:
            json.dump(rest | {"predictions": dict(sorted(predictions.items()))}, file, indent=1, ensure_ascii=False)


def _empty() -> dict:
    return {"version": 1, "predictions": {}, "earlier": [], "shown": {}, "damaged": {}}


def _as_json(p: Prediction) -> dict:
    known = asdict(p)
    return known.pop("more") | known


def _read(path: Path) -> dict:
    """What the file holds; a file that cannot be read is kept under another name, an entry where it is; that is said.

    Raises:
        OSError: the file is closed to us.
    """
    if not gates.is_file(path):
        return _empty()
    try:
        content = gates.json_value(gates.read_text(path), path.name)
        entries, found = dict(content["predictions"].items()), _empty() | content
        found |= {"predictions": {}, "damaged": {}, "earlier": list(content.get("earlier", []))}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = next(p for n in range(1, 10**6) if not (p := path.with_name(f"predictions.damaged-{n}.json")).exists())
        try:
            path.rename(aside)
            print(f"{path.name} could not be read ({error}). It is kept as {aside.name}, and a new one is begun.")
        except OSError:
            _say(f"{path.name} could not be read ({error}), and cannot be put aside: make its folder writable.")
        return _empty()
    if not isinstance(found["shown"], dict):
        found["shown"] = {}
    for key, value in entries.items():
        try:
            found["predictions"][_known(key)] = _prediction(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            found["damaged"][key] = value
            _say(
                f"{path.name}: the prediction {key!r} could not be read ({error}). It stays there, and does not count."
            )
    return found


def _say(line: str) -> None:
    """Say something once in a kernel: the file is read by every cell that asks."""
    if line not in _told:
        _told.add(line)
        print(line)


def _known(key: str) -> str:
    if not ID.fullmatch(key):
        raise ValueError(f"{key!r} is no id of a prediction")
    return key


def _prediction(value: dict) -> Prediction:
    names = {one.name for one in fields(Prediction)} - {"more"}
    known = {key: value[key] for key in value.keys() & names}
    return _sound(Prediction(**known, more={key: value[key] for key in value.keys() - names}))


def _sound(p: Prediction) -> Prediction:
    gates.vector([p.low, p.high, p.confidence, *p.between, *([] if p.outcome is None else [p.outcome])], "a prediction")
    if not 0 <= p.confidence <= 1 or not (p.options or p.between) or not isinstance(p.late, bool):
        raise ValueError("a confidence outside 0 to 1, or neither options nor bounds")
    return p
