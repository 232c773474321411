"""Predictions: the reader decides before a cell shows the answer, and learns how far to trust such decisions.

Three calls, in three cells of a lesson::

    predictions.predict("03.1", "Which texts change most?", options=["short ones", "long ones"])
    predictions.outcome("03.1", 1)        # beside the cell that computed it: the number of the option, from 0
    predictions.calibration("03")         # at the end of the lesson

A number is predicted as an interval: ``between=(0, 1), unit="share of the texts"`` in the place of ``options``.

A prediction counts once it is locked in, which cannot be undone. It is then stored in ``predictions.json`` in the
folder of the notebook. A question that has changed since is asked again; the older answer is kept in the file. What
is locked in after the answer was shown, in this kernel or an earlier one, is kept too, and does not count. Nothing is
read or written where a notebook is only run to be compared, so that its outputs are the same for everybody.
"""

from collections.abc import Sequence
from dataclasses import replace

from IPython import get_ipython
from IPython.display import display

from course_utils import gates
from course_utils.teaching.predictions.form import Form
from course_utils.teaching.predictions.stored import ID, Question, all_stored, answered, show, store, summary

#: What was asked in this kernel, by question id.
_asked: dict[str, Question] = {}


def predict(
    prediction_id: str,
    question: str,
    *,
    options: Sequence[str] = (),
    between: tuple[float, float] | None = None,
    unit: str = "",
) -> None:
    """Ask for a prediction: the question as a page and as text and, where there is a kernel, a form to answer it.

    Args:
        prediction_id: two digits of the lesson, a dot, a number: "03.1".
        question: one sentence; text between backticks is shown as code.
        options: two to six answers, all different, of which one will turn out right.
        between: for a number, the smallest and the largest that are thinkable.
        unit: for a number, what it counts.

    Raises:
        ValueError: an id of another form, an empty question, or not exactly one of ``options`` and ``between``.
    """
    asked = _question(prediction_id, question, options, between, unit)
    _asked[prediction_id] = asked
    if get_ipython() is None:
        print(asked)
        return
    display({"text/html": asked.page(), "text/plain": str(asked)}, raw=True)
    # A second output, without text: a stored notebook can leave it out, as it does with explorers.
    bundle = Form(asked)._repr_mimebundle_()
    display({name: data for name, data in bundle.items() if name != "text/plain"}, raw=True)


def outcome(prediction_id: str, measured: float) -> None:
    """Print what was measured, beside what the reader had predicted, if anything.

    Args:
        prediction_id: that of :func:`predict`.
        measured: the number of the option that turned out right, counted from 0; or the number asked for, in its unit.

    Raises:
        ValueError: no finite number, or no number of an option.
    """
    question = _asked.get(prediction_id)
    value = _measured(prediction_id, measured, question)
    show(prediction_id, question.text if question else "")
    if question is None:
        print(f"Prediction {prediction_id}. Measured: {value:g} (the cell above that asks for it has not been run)")
        return
    found = answered(question)
    if found is None:
        print(f"Prediction {prediction_id}. Measured: {question.said(value)}.")
        return
    if found.outcome != value:
        found, _ = store(prediction_id, replace(found, outcome=value))
    verdict = "as you expected" if found.hit else "not what you expected"
    print(f"Prediction {prediction_id}. You said: {found.said(question)}. Measured: {question.said(value)}: {verdict}.")
    if found.late:
        print("You locked this in after the answer was shown, so it does not count.")


def calibration(lesson: int | str) -> None:
    """Print how often the reader was right, beside how sure they were: in this lesson, and in all lessons so far.

    A confidence of 70 % is right when seven of ten such predictions come true. The range of hits that is named is the
    central 95 % of what chance gives if every stated confidence is right and the predictions are independent
    (Poisson binomial distribution). The Brier score is the mean squared distance between confidence and outcome
    (Brier 1950).

    Raises:
        ValueError: no number of a lesson.
    """
    number = f"{gates.whole(int(lesson), 'lesson', least=0):02d}"
    everything = all_stored()
    own = [p for key, p in everything.items() if key.startswith(f"{number}.")]
    if not own:
        print(f"Lesson {number}: you have locked in no prediction, so there is nothing to compare.")
        return
    print(f"Lesson {number}: {summary(own)}")
    if len(everything) > len(own):
        print(f"All lessons so far: {summary(list(everything.values()))}")


def _question(prediction_id, text, options, between, unit) -> Question:
    if not isinstance(prediction_id, str) or not ID.fullmatch(prediction_id):
        raise ValueError(f"an id is two digits of the lesson, a dot and a number, as '03.1'; got {prediction_id!r}")
    [text] = gates.texts([text], "question")
    if bool(options) == (between is not None):
        raise ValueError(f"{prediction_id}: give options=[…] for a choice, or between=(low, high) for a number")
    if options:
        options = gates.texts(options, "options")
        if not 2 <= len(set(options)) == len(options) <= 6:
            raise ValueError(f"{prediction_id}: two to six options, all different; got {options}")
        return Question(prediction_id, text, tuple(options))
    bounds = gates.vector(between, "between")
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise ValueError(f"{prediction_id}: between must be (low, high) with low < high; got {between}")
    return Question(prediction_id, text, (), (float(bounds[0]), float(bounds[1])), unit)


def _measured(prediction_id: str, measured, question: Question | None) -> float:
    [value] = gates.vector([measured], f"the outcome of {prediction_id}")
    if question is not None and question.options and (value != int(value) or not 0 <= value < len(question.options)):
        raise ValueError(
            f"the outcome of {prediction_id} is the number of one of its {len(question.options)} options, counted from "
            f"0; got {measured!r}"
        )
    return float(value)
