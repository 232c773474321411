"""Checks of lesson 05: similarity and relatedness. Expectations are counted by hand or solved in another way."""

from collections.abc import Callable
from itertools import product

import numpy as np

from course_utils.measures.evaluation import spearman
from course_utils.shipped import arrays
from course_utils.shipped.words import WORD_SETS
from course_utils.teaching.exercises import AnswerError, as_array, as_number, exercise, fresh, right
from course_utils.texts.datasets import word_pairs


@exercise(
    "05.1",
    title="The preference index",
    difficulty=1,
    minutes=4,
    expects="a function of cosines and scores of a similarity set and of a relatedness set that returns one number",
    accepts=Callable,
)
def preference(answer):
    # Ranks: the first set agrees but for one swap of neighbours, the second is turned round in the middle.
    similar, similar_scores = [0.91, 0.95, 0.93, 0.99], [1.0, 3.0, 2.0, 2.5]  # squared rank differences: 0, 1, 0, 1
    related, related_scores = [0.1, 0.2, 0.9, 0.4], [2.0, 9.0, 3.0, 5.0]  # squared rank differences: 0, 4, 4, 0
    expected_similar, expected_related = 1 - 6 * 2 / 60, 1 - 6 * 8 / 60
    value = as_number(answer(*(np.array(x) for x in (similar, similar_scores, related, related_scores))))
    expected = expected_similar - expected_related
    if np.isclose(value, expected):
        drawn = fresh.generator().normal(size=(4, 30)).round(1)  # with ties
        if fresh.differs(as_number(answer(*drawn.copy())), spearman(*drawn[:2]) - spearman(*drawn[2:])):
            return fresh.ONLY_THE_SHOWN
        words, found = [word_pairs(name) for name in WORD_SETS], arrays.load("judged", "smol-sgpt-qa").cosines
        real = [x for name, pairs in zip(WORD_SETS, words, strict=True) for x in (found[name], pairs.score)]
        if fresh.differs(as_number(answer(*real)), spearman(*real[:2]) - spearman(*real[2:])):
            return "right for a few pairs, wrong for the 999 and 353 real ones: mind the ties among the judgements"
        return right(f"{expected_similar:.1f} on similarity minus {expected_related:.1f} on relatedness")
    if np.isclose(value, -expected):
        return "the sign is turned round: above zero means that similarity is followed better than relatedness"
    linear = np.corrcoef(similar, similar_scores)[0, 1] - np.corrcoef(related, related_scores)[0, 1]
    if np.isclose(value, linear):
        return "this is the difference of Pearson's correlations; the index compares ranks (Spearman)"
    return f"expected {expected:.2f} for these eight pairs, yours is {value:.2f}"


@exercise(
    "05.2",
    title="A measure without a scale",
    difficulty=2,
    minutes=6,
    expects="a function of values [n] and reference [m] that returns the chance that a value is larger, ties half",
    accepts=Callable,
)
def chance_above(answer):
    rng = np.random.default_rng(7)
    for values, reference in (([2, 2, 5], [1, 2]), (rng.integers(0, 6, 15), rng.integers(0, 6, 11))):
        value = as_number(answer(np.array(values, dtype=float), np.array(reference, dtype=float)))
        wins = sum(v > r for v, r in product(values, reference))
        ties = sum(v == r for v, r in product(values, reference))
        comparisons = len(values) * len(reference)
        if np.isclose(value, (wins + ties / 2) / comparisons):
            continue
        if np.isclose(value, wins / comparisons):
            return "a tie is half a win: two sets that are equal must give 0.5"
        if np.isclose(value, (wins + ties) / comparisons):
            return "a tie is only half a win"
        if np.isclose(value, 1 - (wins + ties / 2) / comparisons):
            return "this is the chance that the reference is larger: the other way round"
        return (
            f"of {comparisons} comparisons the values win {wins} and {ties} are ties: "
            f"{(wins + ties / 2) / comparisons:.3f}, yours is {value:.3f}"
        )
    values, reference = (fresh.generator().integers(0, 5, n).astype(float) for n in (200, 300))
    fair = np.mean([(v > r) + (v == r) / 2 for v, r in product(values, reference)])
    if fresh.differs(as_number(answer(values.copy(), reference.copy())), fair):
        return fresh.ONLY_THE_SHOWN
    return right("any increasing change of scale leaves it alone: a cosine of .9 need not mean the same to two models")


@exercise(
    "05.3",
    title="Share a cosine out among tokens",
    difficulty=2,
    minutes=10,
    expects="a function of a [d], b [d] and E [V, d] that returns c [V]: logit of a times what the token gives to b",
    accepts=Callable,
)
def token_parts(answer):
    a, b, matrix = _texts_and_tokens()
    result = _one_each(answer(a.copy(), b.copy(), matrix.copy()), matrix)
    unit_a, unit_b = a / np.sqrt(a @ a), b / np.sqrt(b @ b)
    cosine = unit_a @ unit_b
    # The dual by least squares: the weights of smallest length with which the rows of E add up to b.
    weights = np.linalg.lstsq(matrix.T, unit_b, rcond=None)[0]
    expected = (matrix @ unit_a) * weights
    if np.allclose(result, expected, atol=1e-8):
        other = fresh.generator().normal(size=len(b))
        turned = np.linalg.lstsq(matrix.T, other / np.linalg.norm(other), rcond=None)[0] * (matrix @ unit_a)
        if fresh.differs(_one_each(answer(a.copy(), other, matrix.copy()), matrix), turned):
            return fresh.ONLY_THE_SHOWN
        return right(f"the parts add up to {cosine:.3f}, the cosine; swap a and b and single parts change, the sum not")
    if np.isclose(result.sum(), a @ b):
        return f"the parts add up to a·b = {a @ b:.3f}; scale both embeddings to length 1 for the cosine {cosine:.3f}"
    if np.allclose(result, (matrix @ unit_a) * (matrix @ unit_b)):
        return (
            f"products of logits add up to {result.sum():.1f}, not to the cosine {cosine:.3f}: "
            "the embedding is not its logits"
        )
    if np.isclose(result.sum(), cosine):
        return "the sum is right, but the parts are another way of sharing out: logit of a times (pseudo-inverse)ᵀ b"
    return f"the parts add up to {result.sum():.3f}; they must add up to the cosine {cosine:.3f}"


@exercise(
    "05.4",
    title="Blame whom you like",
    difficulty=3,
    minutes=12,
    expects="a function of a [d], b [d], E [V, d] and keep (bool [V]) that returns c [V]: zero outside keep, sum exact",
    accepts=Callable,
)
def only_these(answer):
    a, b, matrix = _texts_and_tokens()
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    keep = np.zeros(len(matrix), dtype=bool)
    keep[5:25] = True
    for kept in (keep, ~keep, fresh.generator().permutation(keep)):
        result = _one_each(answer(a.copy(), b.copy(), matrix.copy(), kept.copy()), matrix)
        if np.abs(result[~kept]).max() > 1e-9:
            return f"{int((np.abs(result[~kept]) > 1e-9).sum())} tokens outside keep have a part that is not zero"
        if not np.isclose(result.sum(), cosine, atol=1e-8):
            return (
                f"the parts of the kept tokens add up to {result.sum():.3f} instead of {cosine:.3f}: setting the "
                "others to zero is not enough, the kept ones need a left inverse of their own"
            )
        if np.count_nonzero(np.abs(result) > 1e-9) < matrix.shape[1]:
            return "the sum is right, but the rows of E must do it: use the pseudo-inverse of the kept rows"
        if not _from_a_left_inverse(result[kept], a, b, matrix[kept]):
            return (
                "the sum is right, but as if by scaling: take a left inverse of the kept rows, so that the same "
                "weights give back the embedding itself"
            )
    return right("two sets without a common token each explain all of the cosine: a part is no property of a token")


@exercise(
    "05.5",
    title="What a duplicate filter lets through",
    difficulty=2,
    minutes=5,
    expects="a function of duplicates [n], others [m] and keep that returns which share of others pass the threshold",
    accepts=Callable,
)
def false_merges(answer):
    duplicates = np.array([0.90, 0.70, 0.95, 0.80, 0.60])
    others = np.array([0.65, 0.70, 0.72, 0.99, 0.10, 0.69, 0.85, 0.71])
    by_hand = {0.8: (0.70, 5 / 8), 0.4: (0.90, 1 / 8), 1.0: (0.60, 7 / 8), 0.5: (0.80, 2 / 8), 0.65: (0.70, 5 / 8)}
    for keep, (threshold, expected) in by_hand.items():
        value = as_number(answer(duplicates.copy(), others.copy(), keep))
        if np.isclose(value, expected):
            continue
        if np.isclose(value, (others > threshold).mean()):
            return "a pair exactly at the threshold passes: use >="
        if np.isclose(value, 1 - expected):
            return "this is the share that is kept out"
        if np.isclose(value, (others >= np.quantile(duplicates, keep)).mean()) and keep != 0.4:
            return "the threshold must let the *upper* duplicates pass: this one keeps only 1 − keep of them"
        return (
            f"to keep {keep:.0%} the threshold is {threshold}; {expected:.3f} of the others pass, yours is {value:.3f}"
        )
    rng = fresh.generator()
    for duplicates, others in rng.random((4, 2, 40)).round(2):
        keep = float(rng.choice((0.61, 0.77, 0.86)))  # no whole number of duplicates, and not to be rounded down
        highest = max(t for t in duplicates if (duplicates >= t).mean() >= keep)
        if fresh.differs(as_number(answer(duplicates.copy(), others.copy(), keep)), (others >= highest).mean()):
            return fresh.ONLY_THE_SHOWN
    return right("the threshold is set on duplicates alone; what else it lets through depends on the embedder")


@exercise(
    "05.6",
    title="Write a text down with K tokens",
    difficulty=2,
    minutes=5,
    expects="a function of h [d], E [V, d] and ids [K] that returns the best that these K rows can say of h: [d]",
    accepts=Callable,
)
def written_with(answer):
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(40, 8)) + 1.5 * rng.normal(size=8)  # rows that point to one side, as real ones do
    h, ids = 3 * rng.normal(size=8) + 2, np.array([4, 11, 30])
    result = as_array(answer(h.copy(), matrix.copy(), ids.copy()))
    if result.shape == (3,):
        return "these are the weights of the K tokens; return what they add up to, an embedding [d]"
    result = as_array(result, shape=(8,))
    rows = matrix[ids]
    basis = np.linalg.qr(rows.T)[0]
    expected = basis @ (basis.T @ h)
    if np.allclose(result, expected, atol=1e-6):
        h, ids = rng.normal(size=8), fresh.generator().choice(40, size=5, replace=False)
        basis = np.linalg.qr(matrix[ids].T)[0]
        if fresh.differs(as_array(answer(h.copy(), matrix.copy(), ids.copy())), basis @ (basis.T @ h), 1e-5):
            return fresh.ONLY_THE_SHOWN
        return right("what is missing stands at right angles to all K rows, so no change of the weights helps")
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if np.allclose(result, units.T @ (units @ h)):
        return "the K projections are added up as if the rows stood at right angles; fit all weights together"
    if np.allclose(result, rows.T @ (rows @ h)):
        return (
            "the logits are no weights: fit weights by least squares, so that the K rows come as near to h as they can"
        )
    if np.allclose(result, h - expected):
        return "this is what the K rows cannot say; return what they can"
    if np.allclose(result / np.linalg.norm(result), expected / np.linalg.norm(expected)):
        return "the direction is right, the length is not: the fit needs no scaling"
    missing_now, best = np.linalg.norm(h - result), np.linalg.norm(h - expected)
    return f"K rows of E can come as near to h as {best:.2f}; yours stays {missing_now:.2f} away"


def _from_a_left_inverse(parts: np.ndarray, a: np.ndarray, b: np.ndarray, rows: np.ndarray) -> bool:
    """Whether parts are logits of one side times weights with which the rows add up to the other side, or a mean."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    for one, other in ((a, b), (b, a)):
        logits = rows @ one
        if np.allclose(rows.T @ (parts / logits), other, atol=1e-6):
            return True
    inverse = np.linalg.pinv(rows).T
    values, vectors = np.linalg.eigh(rows.T @ rows)
    frame = rows @ (vectors / np.sqrt(values)) @ vectors.T
    both = ((rows @ a) * (inverse @ b) + (rows @ b) * (inverse @ a)) / 2
    return np.allclose(parts, both, atol=1e-8) or np.allclose(parts, (frame @ a) * (frame @ b), atol=1e-8)


def _one_each(answer, matrix: np.ndarray) -> np.ndarray:
    result = as_array(answer)
    if result.shape != (len(matrix),):
        raise AnswerError(f"one part for each of the {len(matrix)} tokens expected; yours has the shape {result.shape}")
    return result


def _texts_and_tokens() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two embeddings of different lengths and an unembedding matrix with a common direction."""
    rng = np.random.default_rng(11)
    matrix = rng.normal(size=(60, 6)) + 2 * rng.normal(size=6)
    a, b = 3 * rng.normal(size=6), 0.5 * rng.normal(size=6)
    return a, b + 0.3 * a, matrix
