"""Variants of lesson 05: one side of the index counts more, ties count otherwise, a threshold is raised."""

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values with the mean of theirs, counted pair by pair."""
    return np.array([sum(v < own for v in values) + (sum(v == own for v in values) + 1) / 2 for own in values])


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    a, b = (_ranks(side) - (len(side) + 1) / 2 for side in (x, y))
    return float(sum(a * b) / np.sqrt(sum(a * a) * sum(b * b)))


def _won(x: float, values: np.ndarray, reference: np.ndarray) -> float:
    pairs = [(v, r) for v in values.tolist() for r in reference.tolist()]
    return sum(1.0 if v > r else x if v == r else 0.0 for v, r in pairs) / len(pairs)


def _passed(x: float, duplicates: np.ndarray, others: np.ndarray, keep: float) -> float:
    threshold = max(t for t in duplicates.tolist() if sum(d >= t for d in duplicates) >= keep * len(duplicates) - 1e-9)
    return sum(o >= threshold + x for o in others.tolist()) / len(others)


VARIES = (
    numbers(
        "05.1",
        range(2, 14),
        published=1,
        task="Similarity counts {x} times: return {x} times the rank correlation on the similarity set, minus the one "
        "on the relatedness set.",
        inputs=lambda rng: tuple(rng.normal(size=(4, 20)).round(1)),
        expected=lambda x, a, b, c, d: x * _correlation(a, b) - _correlation(c, d),
        solution="def variant(cosines, scores, other_cosines, other_scores):\n"
        "    from scipy.stats import spearmanr\n\n"
        "    similar, related = spearmanr(cosines, scores), spearmanr(other_cosines, other_scores)\n"
        "    return {x} * similar.statistic - related.statistic",
    ),
    numbers(
        "05.2",
        (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0),
        published=0.5,
        task="A tie counts as {x} of a win, not as half of one.",
        inputs=lambda rng: tuple(rng.integers(0, 5, size=n).astype(float) for n in (12, 9)),
        expected=_won,
        solution="def variant(values, reference):\n    import numpy as np\n\n"
        "    values, reference = np.asarray(values)[:, None], np.asarray(reference)[None]\n"
        "    return ((values > reference) + {x} * (values == reference)).mean()",
    ),
    numbers(
        "05.5",
        tuple(round(0.02 * n, 2) for n in range(1, 14)),
        published=0,
        task="For safety the threshold is raised by {x} once it is found: with it, fewer duplicates than `keep` pass.",
        inputs=lambda rng: (rng.random(20), rng.random(200), float(rng.choice([0.4, 0.5, 0.75, 0.8]))),
        expected=_passed,
        solution="def variant(duplicates, others, keep):\n    import numpy as np\n\n"
        "    kept = int(np.ceil(keep * len(duplicates) - 1e-9))\n"
        "    threshold = np.sort(duplicates)[::-1][kept - 1]\n    return (others >= threshold + {x}).mean()",
    ),
)
