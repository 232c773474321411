"""Checks of lesson 06: instructions and aspects. Every expectation is counted by hand or planted in the data."""

from collections.abc import Callable

import numpy as np

from course_utils.teaching.exercises import as_array, as_number, exercise, fresh, right
from course_utils.texts import aspects


@exercise(
    "06.1",
    title="How much of the list is about it?",
    difficulty=1,
    minutes=4,
    expects="a function of ranked [n, k] and a set of token ids that returns a share for each of the n texts",
    accepts=Callable,
)
def lexicon_share(answer):
    ranked = np.array([[7, 3, 9, 1], [2, 3, 4, 6], [1, 1, 8, 0]])  # token 1 twice in the last text
    lexicon = {1, 3, 5, 7, 11, 13}
    result = as_array(answer(ranked.copy(), set(lexicon)))
    if result.shape == ():
        return "one share per text, please: the mean over the texts comes later, with its interval"
    result = as_array(result, shape=(3,))
    if not result.any():
        return "no place of any list counts as a hit: np.isin does not look into a set, so hand it list(lexicon)"
    if np.allclose(result, [3, 1, 2]):
        return "these are numbers of tokens; divide by the length of the list"
    if np.allclose(result, [3 / 6, 1 / 6, 1 / 6]) or np.allclose(result, [3 / 6, 1 / 6, 2 / 6]):
        return "divide by the length of the list, not of the lexicon: a longer lexicon must not lower the share"
    if np.allclose(result, [3 / 4, 1 / 4, 1 / 4]):
        return "every place of the list counts, also when a token stands there twice"
    if not np.allclose(result, [3 / 4, 1 / 4, 2 / 4]):
        return f"expected 0.75, 0.25 and 0.5 here; your function says {result.round(2).tolist()}"
    drawn = fresh.generator().integers(0, 12, size=(6, 5))
    counted = [sum(int(token) in lexicon for token in row) / 5 for row in drawn]
    if fresh.differs(answer(drawn.copy(), set(lexicon)), counted):
        return fresh.ONLY_THE_SHOWN
    return right("shares of two lexicons of different size cannot be compared, those of two instructions can")


@exercise(
    "06.2",
    title="The same step for every text",
    difficulty=2,
    minutes=4,
    expects="a function of before [n, d] and after [n, d] that returns |mean movement|² / mean |movement|²",
    accepts=Callable,
)
def common_share(answer):
    rng = np.random.default_rng(6)
    before = rng.normal(size=(40, 5))
    own = rng.normal(size=(40, 5))
    own -= own.mean(axis=0)
    step = np.array([3.0, 0, -1, 0, 2])
    own *= np.sqrt(6 / (own**2).sum(axis=1).mean())  # 14 is the squared length of the common step: 14 / (14 + 6)
    results = []
    for after in (before + step, before + own, before + step + own):
        results.append(as_number(answer(before.copy(), after)))
    if np.allclose(results, [1, 0, 0.7], atol=1e-9):
        share = fresh.generator().uniform(0.1, 0.9)
        mixed = before + step + own * np.sqrt(14 / 6 * (1 - share) / share)
        if fresh.differs(as_number(answer(before.copy(), mixed)), share):
            return fresh.ONLY_THE_SHOWN
        return right("1 for a step that is the same for all, 0 when the movements cancel, 0.7 for the mixture here")
    if np.allclose(np.square(results), [1, 0, 0.7], atol=1e-9):
        return "these are ratios of lengths; a share is one of squared lengths"
    if np.allclose(results, [0, 1, 0.3], atol=1e-9):
        return "this is the part of each text's own; asked is the part that all have in common"
    if results[1] > 0.5:
        return "movements that cancel have no common part: take the mean of the vectors first, their length afterwards"
    return f"expected 1, 0 and 0.7 for three movements; yours are {np.round(results, 2).tolist()}"


@exercise(
    "06.3",
    title="The gain that counts",
    difficulty=2,
    minutes=5,
    expects="a function of a dictionary (what was asked -> V-measure of one aspect) and the name of that aspect, which "
    "returns the gain of asking for it over the best of all other instructions, none included",
    accepts=Callable,
)
def specific_gain(answer):
    cases = [
        ({"none": 0.31, "topic": 0.47, "sentiment": 0.40, "intent": 0.35, "purple": 0.30}, "topic", 0.07),
        ({"none": 0.10, "topic": 0.30, "sentiment": 0.42, "intent": 0.45, "purple": 0.12}, "sentiment", -0.03),
        ({"none": 0.20, "topic": 0.05, "sentiment": 0.04, "intent": 0.18, "purple": 0.03}, "intent", -0.02),
        ({"none": 0.08, "topic": 0.09, "sentiment": 0.22, "intent": 0.10, "purple": 0.21}, "sentiment", 0.01),
    ]
    results = []
    for table, aspect, _ in cases:
        results.append(as_number(answer(dict(table), aspect)))
    found, wanted = np.array(results), np.array([gain for *_, gain in cases])
    if np.allclose(found, wanted):
        drawn = dict(zip(cases[0][0], fresh.generator().random(5).tolist(), strict=True))
        for aspect in ("topic", "sentiment", "intent"):
            best = sorted(value for name, value in drawn.items() if name != aspect)[-1]
            if fresh.differs(as_number(answer(dict(drawn), aspect)), drawn[aspect] - best):
                return fresh.ONLY_THE_SHOWN
        return right("in the second case a wrong instruction did better than the right one: no sign of obedience")
    if np.allclose(found, [t[a] - t["none"] for t, a, _ in cases]):
        return (
            "over no instruction the gain is large, but any instruction may bring it: compare with the others as well"
        )
    if np.allclose(found, [t[a] - t["purple"] for t, a, _ in cases]):
        return "the nonsense instruction is one control; a wrong instruction and none at all are others"
    if np.allclose(found, [t[a] - max(t.values()) for t, a, _ in cases]):
        return "leave the aspect itself out of what it is compared with, or the gain can never be positive"
    if np.allclose(found, [t[a] - np.mean([v for n, v in t.items() if n != a]) for t, a, _ in cases]):
        return "compare with the best of the others, not with their mean"
    return f"expected {wanted.tolist()} for four tables, yours are {found.round(2).tolist()}"


@exercise(
    "06.4",
    title="Present, but not prominent",
    difficulty=3,
    minutes=12,
    expects="an array of 40 embeddings, [40, d] with d of at most 10: the first 20 have one label, the last 20 "
    "another. A linear probe must find the label, k-means with two clusters, on rows scaled to length 1, must not",
)
def hidden_label(answer):
    rows = as_array(answer)
    if rows.ndim != 2 or len(rows) != 40 or not 1 <= rows.shape[1] <= 10:
        return f"40 rows of at most 10 numbers are expected; yours has the shape {rows.shape}"
    if not np.linalg.norm(rows, axis=1).all():
        return "a row of zeros has no direction; give every text some length"
    labels = np.repeat([-1.0, 1.0], 20)
    probe = _left_out_accuracy(rows, labels)
    clustered = aspects.v_measure(labels, aspects.clusterings(rows, 2))
    if probe < 0.95:
        return f"a linear probe finds the label of only {100 * probe:.0f} % of the texts it has not seen; it needs 95 %"
    if clustered > 0.1:
        return (
            f"k-means finds the label too (V-measure {clustered:.2f}); something else must lie wider apart, also after "
            "every row is scaled to length 1: what only makes rows longer is lost then"
        )
    return right(
        f"probe {100 * probe:.0f} %, V-measure {clustered:.2f}: what can be read out need not be what is shown"
    )


def _left_out_accuracy(rows: np.ndarray, labels: np.ndarray) -> float:
    """Least squares with an offset, each text predicted from all others."""
    design = np.column_stack([rows, np.ones(len(rows))])
    correct = 0
    for i in range(len(rows)):
        others = np.arange(len(rows)) != i
        weights = np.linalg.lstsq(design[others], labels[others], rcond=None)[0]
        correct += np.sign(design[i] @ weights) == labels[i]
    return correct / len(rows)
