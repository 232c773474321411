"""Exercises of lesson 07: the loss, its false negatives, its temperature, and one changed ingredient."""

from collections.abc import Callable

import numpy as np

from course_utils.teaching.exercises import as_array, as_number, exercise, fresh, missing, right


@exercise(
    "07.1",
    title="Add hard negatives to InfoNCE",
    difficulty=2,
    minutes=8,
    expects="a function (anchors [n, d], positives [n, d], negatives [m, d], temperature) that returns the loss",
    accepts=Callable,
)
def hard_negatives(answer):
    import torch

    rng = np.random.default_rng(7)
    a, p, n = rng.normal(size=(5, 12)), rng.normal(size=(5, 12)), rng.normal(size=(3, 12))
    p += 0.8 * a
    tensors = [torch.tensor(x) for x in (a, p, n)]
    for temperature in (0.5, 0.1):
        said = as_number(answer(*tensors, temperature))
        if not np.isclose(said, _loss(a, p, n, temperature), rtol=1e-4):
            return _what_went_wrong(said, a, p, n, temperature)
    drawn = fresh.generator().normal(size=(9, 12))
    if fresh.differs(
        as_number(answer(*(torch.tensor(x) for x in np.split(drawn, 3)), 0.2)), _loss(*np.split(drawn, 3), 0.2), 1e-4
    ):
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
    drawn = fresh.generator().integers(0, 4, size=(2, 8))
    anchors, positives = ([f"{kind} {n}" for n in row] for kind, row in zip(("anchor", "positive"), drawn, strict=True))
    wanted = (drawn[:, :, None] == drawn[:, None, :]).any(axis=0) & ~np.eye(8, dtype=bool)
    if fresh.differs(answer(anchors, positives), wanted):
        return fresh.ONLY_THE_SHOWN
    return right("masked entries become −∞ before the softmax, so they neither push nor pull")


@exercise(
    "07.3",
    title="What the temperature chooses",
    difficulty=2,
    minutes=8,
    expects="a function (cosines [m], temperature) that returns each negative's share of the push, [m]",
    accepts=Callable,
)
def push(answer):
    cosines = np.array([0.1, 0.9, 0.7, -0.2])
    for temperature in (1.0, 0.05, 0.001):
        said = answer(cosines.copy(), temperature)
        if np.shape(said) == (4,) and not np.isfinite(np.asarray(said, dtype=np.float64)).all():
            return f"at temperature {temperature} there are numbers too large to hold: subtract the largest score first"
        said = as_array(said, shape=(4,))
        if abs(said.sum() - 1) > 1e-6:
            return f"shares add up to 1; yours add up to {said.sum():.3f} at temperature {temperature}"
        odds = np.exp((cosines - cosines[1]) / temperature)
        if np.abs(said - odds / odds.sum()).max() > 1e-6:
            wanted = ", ".join(f"{x:.3f}" for x in odds / odds.sum())
            got = ", ".join(f"{x:.3f}" for x in said)
            return f"at temperature {temperature} the shares are {wanted}; yours are {got}"
    drawn = fresh.generator().uniform(-1, 1, size=6)
    odds = np.exp(drawn / 0.3)
    if fresh.differs(answer(drawn.copy(), 0.3), odds / odds.sum()):
        return fresh.ONLY_THE_SHOWN
    return right("at a high temperature all negatives are pushed alike, at a low one only the nearest")


#: How the changed run ended, by the ratio of its |v_1| to that of the base run.
CLAIMS = {"nearer to zero": (0.0, 0.8), "about the same": (0.8, 1.25), "further from zero": (1.25, np.inf)}
INGREDIENTS = ("pooling", "negatives", "temperature", "data")


@exercise(
    "07.4",
    title="Change one ingredient",
    difficulty=3,
    minutes=25,
    expects="a dictionary with the keys ingredient, base, changed and claim",
    accepts=dict,
)
def one_ingredient(answer):
    wanted = ("ingredient", "base", "changed", "claim")
    absent = [key for key in wanted if answer.get(key) is None]
    if absent:
        return missing(f"there is nothing yet under {', '.join(absent)}")
    if answer["ingredient"] not in INGREDIENTS:
        return f"the ingredient is one of {', '.join(INGREDIENTS)}, not {answer['ingredient']!r}"
    if answer["claim"] not in CLAIMS:
        return f"the claim is one of {', '.join(CLAIMS)}, not {answer['claim']!r}"
    for name in ("base", "changed"):
        problem = _bad_log(answer[name])
        if problem:
            return f"{name}: {problem}"
    base, changed = answer["base"], answer["changed"]
    if base[-1]["step"] != changed[-1]["step"]:
        return f"the runs end at steps {base[-1]['step']} and {changed[-1]['step']}: only equal lengths can be compared"
    if [row["v_1"] for row in base] == [row["v_1"] for row in changed]:
        return "both runs show the same v_1 at every step: the change did not reach the training"
    if answer["ingredient"] != "pooling" and any(base[0][key] != changed[0][key] for key in ("hit@10", "gar")):
        return "before training both runs are the same model on the same sentences; your first rows differ"
    ratio = abs(changed[-1]["v_1"]) / abs(base[-1]["v_1"])
    low, high = CLAIMS[answer["claim"]]
    if not low <= ratio < high:
        return f"{answer['claim']!r} does not fit: the changed run ends at {ratio:.2f} times the base run's |v_1|"
    return right(f"your two runs say: with another choice of {answer['ingredient']}, v_1 ends {answer['claim']}")


#: What a probe writes into each of its rows.
_ROW = {"step", "loss", "v_1", "max_other_v", "share_v1", "hit@10", "gar", "distinct_top10"}


def _bad_log(rows) -> str | None:
    """What is wrong with the rows of a probe, or None: a log must hold what a probe measures, and agree with itself."""
    if not isinstance(rows, list) or len(rows) < 2 or not all(isinstance(r, dict) and "v_1" in r for r in rows):
        return "expected the rows of a probe (probe.rows), at least one before and one after training"
    if absent := sorted(_ROW - set.intersection(*(set(row) for row in rows))):
        return f"no probe wrote these rows: they lack {', '.join(absent)}; hand in what short_run returns"
    if rows[0]["step"] != 0 or rows[0]["v_1"] != 0 or rows[0]["loss"] is not None:
        return "the first row must come from before training: call the probe once before you train"
    if rows[-1]["step"] < 15:
        return f"{rows[-1]['step']} steps are too few to see a difference: train for at least 15"
    if rows[-1]["v_1"] == 0:
        return "v_1 is exactly 0 after training: nothing was trained"
    for row in rows[1:]:
        v, other, share = (float(row[key]) for key in ("v_1", "max_other_v", "share_v1"))
        # share_v1 = v_1² / (v_1² + max_other_v² + all others squared), of which there are more than one.
        if not 0 < share <= v**2 / (v**2 + other**2) + 1e-3 or row["loss"] is None or not row["loss"] > 0:
            return f"the row of step {row['step']} contradicts itself: v_1, max_other_v, share_v1 and loss do not fit"
    return None
