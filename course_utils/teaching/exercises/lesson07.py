"""Exercises of lesson 07 and its appendix: the loss and its gradient, a log that contradicts itself, one change.

The loss is judged on the untrained model's own embeddings of Wikipedia sentences, the log on those of the shipped
adapters, and the changed ingredient on the two trained models themselves: a log can be typed, a model cannot.
"""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from course_utils.teaching.exercises import as_array, as_number, exercise, fresh, missing, right


@exercise(
    "07.1",
    title="InfoNCE from embeddings",
    difficulty=2,
    minutes=7,
    expects="a function (anchors [n, d], positives [n, d], negatives [m, d], temperature) that returns the loss",
    accepts=Callable,
)
def info_nce(answer):
    import torch

    from course_utils.shipped import arrays

    h = arrays.load("sentences", "smollm2").astype(np.float64)
    a, p, n = h[:6], (h[:6] + h[20:26]) / 2, h[40:43]  # a positive shares half with its anchor
    for temperature in (0.5, 0.05):
        said = as_number(answer(*(torch.tensor(x) for x in (a, p, n)), temperature))
        if not np.isclose(said, _loss(a, p, n, temperature), rtol=1e-4):
            return _what_went_wrong(said, a, p, n, temperature)
    if not np.isclose(as_number(answer(*(torch.tensor(x) for x in (a, p, n[:0])), 0.05)), _loss(a, p, n[:0], 0.05)):
        return "right with hard negatives; without any (negatives of the shape [0, d]) it must give the in-batch loss"
    drawn = fresh.generator().choice(len(h), size=9, replace=False)
    sides = np.split(h[drawn], 3)
    if fresh.differs(as_number(answer(*map(torch.tensor, sides), 0.2)), _loss(*sides, 0.2), 1e-4):
        return fresh.ONLY_THE_SHOWN
    return right("a hard negative is one more column of the same softmax: no new term, no new weight")


def _loss(anchors, positives, negatives, temperature, unit=True) -> float:
    """InfoNCE written out text by text, mean over the anchors."""
    terms = []
    for i, anchor in enumerate(anchors):
        scores = []
        for candidate in [*positives, *negatives]:
            length = np.linalg.norm(anchor) * np.linalg.norm(candidate) if unit else 1.0
            scores.append(anchor @ candidate / length / temperature)
        largest = max(scores)
        terms.append(largest + np.log(sum(np.exp(s - largest) for s in scores)) - scores[i])
    return float(np.mean(terms))


def _what_went_wrong(said: float, a, p, n, temperature: float) -> str:
    known = {
        "without any hard negative: append them to the candidates": _loss(a, p, n[:0], temperature),
        "without the temperature: divide the cosines by it": _loss(a, p, n, 1.0),
        "multiplied by the temperature: divide by it": _loss(a, p, n, 1 / temperature),
        "with inner products: scale every vector to length 1 first": _loss(a, p, n, temperature, unit=False),
        "summed over the anchors: take their mean": len(a) * _loss(a, p, n, temperature),
    }
    for what, value in known.items():
        if np.isclose(said, value, rtol=1e-4):
            return f"at temperature {temperature} this is the loss {what}"
    expected = _loss(a, p, n, temperature)
    return f"at temperature {temperature} the loss of the test batch is {expected:.4f}, yours is {said:.4f}"


@exercise(
    "07.2",
    title="The gradient by hand",
    difficulty=2,
    minutes=6,
    expects="a function of scores, a NumPy array [n, m], "
    "that returns the gradient of the loss with respect to them, [n, m]",
    accepts=Callable,
)
def gradient(answer):
    scores = np.random.default_rng(3).normal(scale=2, size=(4, 6))
    said = as_array(answer(scores.copy()), shape=(4, 6))
    wanted = _slopes(scores)
    if np.abs(said - wanted).max() > 1e-5:
        return _what_went_wrong_with_the_gradient(said, scores, wanted)
    sharp = np.array([[900.0, -900.0, 0.0], [0.0, 900.0, 899.0]])
    found = answer(sharp.copy())
    if not np.isfinite(np.asarray(found, dtype=np.float64)).all():
        return "at large scores there are numbers too large to hold: subtract the largest score of a row first"
    if np.abs(as_array(found, shape=(2, 3)) - _softmax(sharp) / 2 + np.eye(2, 3) / 2).max() > 1e-5:
        return "right for small scores, wrong for large ones: is a softmax the same when a constant is added to a row?"
    drawn = fresh.generator().normal(size=(3, 5))
    if fresh.differs(as_array(answer(drawn.copy())), _slopes(drawn), 1e-4):
        return fresh.ONLY_THE_SHOWN
    return right("a wrong answer is pushed by its probability, the right one pulled by what it lacks to 1")


def _softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _slopes(scores: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient by central differences: how the loss changes when one score does."""

    def loss(s):
        return np.mean([np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(s)])

    found = np.zeros_like(scores)
    for place in np.ndindex(scores.shape):
        nudge = np.zeros_like(scores)
        nudge[place] = step
        found[place] = (loss(scores + nudge) - loss(scores - nudge)) / (2 * step)
    return found


def _what_went_wrong_with_the_gradient(said: np.ndarray, scores: np.ndarray, wanted: np.ndarray) -> str:
    n = len(scores)
    known = {
        "the loss is the mean over the anchors: divide by their number": n * wanted,
        "the sign is turned round: the loss falls when the score of the right answer rises": -wanted,
        "this is what the wrong answers get; the score of the right answer has a slope too, p − 1": _softmax(scores)
        / n,
        "each row needs its own softmax: the probabilities of one anchor add up to 1": (
            _softmax(scores.T).T - np.eye(*scores.shape)
        )
        / n,
    }
    for what, value in known.items():
        if np.abs(said - value).max() < 1e-5:
            return what
    i, j = np.unravel_index(np.abs(said - wanted).argmax(), said.shape)
    return (
        f"raise the score of candidate {j} for anchor {i} a little, and the loss changes by {wanted[i, j]:.4f} times "
        f"that; your gradient says {said[i, j]:.4f}"
    )


@exercise(
    "07.3",
    title="Which rows were tampered with?",
    difficulty=2,
    minutes=7,
    expects="a function of a record (a dictionary with the keys probe and losses) that returns a list of steps",
    accepts=Callable,
)
def tampered(answer):
    from course_utils.training import watch

    records = {name: watch.log(name) for name in ("smol-sgpt-nli", "smol-llm2vec", "smol-grit")}
    for name, record in records.items():
        if said := _steps(answer(_copied(record))):
            return f"the log of {name} is as it was written, and you report step {said[0]:g}"
    for name, record in records.items():
        for what, forge in _FORGERIES.items():
            row = record["probe"][-3]
            said = _steps(answer(forge(_copied(record), -3)))
            if said != [row["step"]]:
                reported = ", ".join(f"{step:g}" for step in said) or "nothing"
                return f"{name}: in the row of step {row['step']} {what}; you report {reported}"
    rng, record = fresh.generator(), records["smol-sgpt-nli"]
    for forge in [*_FORGERIES.values()] * 3:
        at = int(rng.integers(6, len(record["probe"])))
        if _steps(answer(forge(_copied(record), at))) != [record["probe"][at]["step"]]:
            return fresh.ONLY_THE_SHOWN
    return right("a log that repeats itself can be checked against itself; what it says only once has to be believed")


def _copied(record: dict) -> dict:
    return {"probe": [dict(row) for row in record["probe"]], "losses": list(record["losses"])}


def _steps(said) -> list[float]:
    return as_array(said).ravel().tolist()


def _better_loss(record: dict, at: int) -> dict:
    record["probe"][at]["loss"] = round(record["probe"][at]["loss"] / 2, 4)
    return record


def _larger_share(record: dict, at: int) -> dict:
    record["probe"][at]["share_v1"] = 0.999
    return record


def _smaller_movement(record: dict, at: int) -> dict:
    record["probe"][at]["v_1"] = round(record["probe"][at]["v_1"] / 10, 3)
    return record


#: Ways to make a log look better; each contradicts what else stands in it.
_FORGERIES = {
    "the loss is not that of its step": _better_loss,
    "the share of v_1 is larger than v_1 and the largest other allow": _larger_share,
    "v_1 is too small for its share": _smaller_movement,
}


@exercise(
    "07.4",
    title="Find the false negatives",
    difficulty=2,
    minutes=8,
    expects="a function (anchors, positives) on two lists of n texts that returns an array of n x n booleans",
    accepts=Callable,
)
def false_negatives(answer):
    anchors = ["a dog runs", "a dog runs", "it rains", "she reads", "he reads", "it snows"]
    positives = [
        "an animal moves",
        "a dog is outside",
        "the weather is wet",
        "someone reads",
        "someone reads",
        "it is cold",
    ]
    expected = np.zeros((6, 6), dtype=bool)
    for i, j in ((0, 1), (1, 0), (3, 4), (4, 3)):
        expected[i, j] = True
    said = as_array(answer(list(anchors), list(positives)), shape=(6, 6)).astype(bool)
    if said.diagonal().any():
        return "the diagonal is masked: an anchor's own positive must stay, it is what the loss pulls closer"
    if not said[0, 1] or not said[1, 0]:
        return f"{anchors[0]!r} occurs twice, and each has a positive that is true for the other: mask both"
    if not said[3, 4] or not said[4, 3]:
        return f"{positives[3]!r} is the positive of two anchors: as a candidate it is right for both"
    if (said != expected).any():
        i, j = np.argwhere(said != expected)[0]
        return f"{positives[j]!r} is masked for the anchor {anchors[i]!r}, which has nothing to do with it"
    crossed = as_array(answer(["it rains", "wet"], ["wet", "it pours"]), shape=(2, 2)).astype(bool)
    if crossed.any():
        return "an anchor equals another one's positive, and is masked: compare like with like, as the text says"
    drawn = fresh.generator().integers(0, 4, size=(2, 8))
    anchors, positives = ([f"{kind} {n}" for n in row] for kind, row in zip(("anchor", "positive"), drawn, strict=True))
    wanted = (drawn[:, :, None] == drawn[:, None, :]).any(axis=0) & ~np.eye(8, dtype=bool)
    if fresh.differs(answer(anchors, positives), wanted):
        return fresh.ONLY_THE_SHOWN
    return right("masked entries become −∞ before the softmax, so they neither push nor pull")


#: How the changed run ended, by the ratio of its |v_1| to that of the base run.
CLAIMS = {"nearer to zero": (0.0, 0.8), "about the same": (0.8, 1.25), "further from zero": (1.25, np.inf)}
#: What may be changed, and where a recipe says so; negatives and data are handed to the training, not to the recipe.
INGREDIENTS = {"pooling": "embedder", "temperature": "temperature", "negatives": None, "data": None}
#: Fewest steps of a run.
STEPS = 10


@exercise(
    "07.5",
    title="Change one ingredient",
    difficulty=3,
    minutes=20,
    expects="a dictionary with the keys ingredient, base, changed and claim; base and changed are two trained runs",
    accepts=dict,
)
def one_ingredient(answer):
    wanted = ("ingredient", "base", "changed", "claim")
    absent = [key for key in wanted if answer.get(key) is None]
    if absent:
        return missing(f"there is nothing yet under {', '.join(absent)}")
    for key, known in (("ingredient", INGREDIENTS), ("claim", CLAIMS)):
        if not isinstance(answer[key], str) or answer[key] not in known:
            return f"the {key} is one of {', '.join(known)}, not {answer[key]!r}"
    if problem := _not_comparable(answer["base"], answer["changed"], INGREDIENTS[answer["ingredient"]]):
        return problem
    if problem := _other_examples(answer["base"], answer["changed"], answer["ingredient"]):
        return problem
    base, changed = (abs(_movement(answer[side])) for side in ("base", "changed"))
    if np.isclose(base, changed, rtol=1e-4):
        return "both runs have moved v_1 by exactly the same: the change did not reach the training"
    low, high = CLAIMS[answer["claim"]]
    if not low <= changed / base < high:
        return (
            f"{answer['claim']!r} does not fit: measured again, |v_1| of the changed run is {changed / base:.2f} times"
        )
    return right(
        f"measured again on both models: with another choice of {answer['ingredient']}, v_1 ends {answer['claim']}"
    )


def _not_comparable(base, changed, field: str | None) -> str | None:
    """Why two runs say nothing about one ingredient, or None."""
    from course_utils.training.loop import Run

    for name, run in (("base", base), ("changed", changed)):
        if not isinstance(run, Run):
            return f"{name}: hand in what loop.train returns, the run with its model; a log of numbers can be typed"
        if run.step < STEPS:
            return f"{name}: {run.step} steps are too few to see a difference: train for at least {STEPS}"
    if base is changed or base.embedder.backbone is changed.embedder.backbone:
        return "base and changed are the same model: start each run with loop.start"
    if base.step != changed.step:
        return f"the runs end at steps {base.step} and {changed.step}: only equal lengths can be compared"
    recipes = [asdict(run.recipe) for run in (base, changed)]
    different = sorted(key for key in recipes[0] if recipes[0][key] != recipes[1][key])
    if different != ([field] if field else []):
        return (
            f"the recipes differ in {', '.join(different) or 'nothing'}; for this ingredient they must differ in "
            f"{field or 'nothing, only in the examples'}"
        )
    return None


def _other_examples(base, changed, ingredient: str) -> str | None:
    """Why the examples of two runs do not fit the ingredient that is said to differ, or None."""
    was, now = base.given, changed.given
    if None in (was, now):
        return "the runs do not know what they were trained on: make them with loop.train"
    differ = {side for side in was if was[side] != now[side]}
    allowed = {"negatives": {"negatives"}, "data": {"positives"}}.get(ingredient, set())
    if differ != allowed:
        return (
            f"the examples differ in {', '.join(sorted(differ)) or 'nothing'}; for the ingredient {ingredient} they "
            f"must differ in {', '.join(allowed) or 'nothing'}"
        )
    return None


def _movement(run, n: int = 8) -> float:
    """v_1 of a run, measured again on a few Wikipedia sentences: with its adapter, and with it switched off."""
    import torch

    from course_utils.measures.spectrum import components, variation
    from course_utils.texts import datasets
    from course_utils.training.loop import embed, precision, prepare

    def embedded():
        encodings = prepare(run.embedder, datasets.wikipedia_sentences(n), None, None, run.recipe.max_tokens)
        with precision(run), torch.no_grad():
            return embed(run.embedder, encodings).float().cpu().numpy()

    after = embedded()
    with run.embedder.backbone._peft.disable_adapter():
        before = embedded()
    return float(variation(before, after, components(before).directions[:1]).mean())
