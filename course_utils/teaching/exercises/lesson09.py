"""Checks of lesson 09: what a contrastive loss asks of a direction that all embeddings share."""

from collections.abc import Callable

import numpy as np

from course_utils.shipped import arrays
from course_utils.teaching.exercises import as_array, as_number, exercise, fresh, missing, right


def _sides(rng: np.random.Generator, n: int = 8, d: int = 6, common: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Anchors and positives ``[n, d]`` around a common part along the first axis; pairs lie near each other."""
    anchors = rng.normal(size=(n, d))
    positives = anchors + 1.3 * rng.normal(size=(n, d))
    anchors[:, 0] += common
    positives[:, 0] += common
    return anchors, positives


def _cosines(a: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1)


def _loss(scores: np.ndarray, tau: float) -> float:
    logits = scores / tau
    top = logits.max(axis=1)
    return float((np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits.diagonal()).mean())


def _best(anchors, positives, u, tau, shifts, score=_cosines) -> float:
    losses = [_loss(score(anchors + s * u, positives + s * u), tau) for s in shifts]
    return float(shifts[int(np.argmin(losses))])


@exercise(
    "09.1",
    title="The sign of the slope",
    difficulty=2,
    minutes=6,
    expects="a function of cosines [n, n] and tau that returns one number: the mean over i of c_ii − Σ_j p_ij c_ij",
    accepts=Callable,
)
def lead(answer):
    h = arrays.load("sentences", "smollm2").astype(np.float64)
    real = _cosines(h[:12], 0.4 * h[:12] + 0.6 * h[20:32])  # a right answer shares a part with its anchor
    turned = np.roll(real, 1, axis=1)  # the right answers are far away
    for cosines, tau in ((real, 0.2), (real, 0.02), (turned, 0.02)):
        given, wanted = answer(cosines.copy(), tau), _lead(cosines, tau)
        if np.shape(given) in ((len(cosines),), (len(cosines), 1)):
            return "this is one number for each anchor; asked for is their mean"
        found = as_number(given)
        if not np.isclose(found, wanted, rtol=1e-6, atol=1e-12):
            return _misled(found, wanted, cosines, tau)
    drawn = fresh.generator().uniform(0.5, 1, size=(7, 7))
    if fresh.differs(as_number(answer(drawn.copy(), 0.1)), _lead(drawn, 0.1)):
        return fresh.ONLY_THE_SHOWN
    return right(
        "positive, so that descent lowers α, as long as right answers are nearer than what the softmax looks at"
    )


def _lead(cosines: np.ndarray, tau: float) -> float:
    """By hand: every row's own cosine minus the average that its softmax makes."""
    found = []
    for i, row in enumerate(cosines):
        weights = [float(np.exp((c - row.max()) / tau)) for c in row]
        found.append(row[i] - sum(w * c for w, c in zip(weights, row, strict=True)) / sum(weights))
    return float(np.mean(found))


def _misled(found: float, wanted: float, cosines: np.ndarray, tau: float) -> str:
    n = len(cosines)
    apart = np.where(np.eye(n, dtype=bool), -np.inf, cosines)  # a softmax over the wrong answers only
    wrong = np.exp((apart - apart.max(axis=1, keepdims=True)) / tau)
    wrong_only = (cosines.diagonal() - (wrong * cosines).sum(axis=1) / wrong.sum(axis=1)).mean()
    known = {
        "the right answer is a candidate too: let the softmax run over all of them": float(wrong_only),
        "the sign is turned round: the right answer's cosine minus the softmax's average": -wanted,
        "this is the sum over the rows; asked for is their mean": wanted * len(cosines),
        "every candidate counts alike here: weight them by the softmax": float(np.trace(cosines) - cosines.sum(1).sum()
                                                                              / len(cosines)) / len(cosines),
        "only the nearest candidate counts here: the softmax weighs all of them": float(np.mean(
            cosines.diagonal() - cosines.max(axis=1))),
        f"τ = {tau:g} gives what τ = 1 would give: divide the cosines by τ before the softmax": _lead(cosines, 1.0),
        "the cosines are multiplied by τ here; they are divided by it": _lead(cosines, 1 / tau),
        "the softmax runs down the columns: for every anchor it runs over its candidates": _lead(cosines.T, tau),
        "1/τ stands outside the mean: τ belongs in the softmax only; c_ii and c_ij stay cosines": wanted / tau,
    }  # fmt: skip
    for explanation, value in known.items():
        if np.isclose(found, value, rtol=1e-6, atol=1e-12):
            return explanation
    return (
        f"for τ = {tau:g} it should be {wanted:.5f}; yours is {found:.5f}. Does each row of p sum to 1 (keepdims=True)?"
    )


@exercise(
    "09.2",
    title="A loss that cannot see it",
    difficulty=2,
    minutes=6,
    expects="a function of anchors [n, d] and candidates [m, d] that returns cosines [n, m] after the mean of the "
    "whole batch is taken away",
    accepts=Callable,
)
def centred_score(answer):
    rng = np.random.default_rng(5)
    anchors, _ = _sides(rng)
    candidates = rng.normal(size=(5, 6)) + 2
    result = as_array(answer(anchors.copy(), candidates.copy()))
    if result.shape != (8, 5):
        return f"for 8 anchors and 5 candidates the scores are [8, 5]; yours have the shape {result.shape}"
    mean = np.concatenate([anchors, candidates]).mean(axis=0)
    wanted = _cosines(anchors - mean, candidates - mean)
    if not np.allclose(result, wanted, atol=1e-6):
        return _diagnosis(result, anchors, candidates, mean)
    moved = as_array(answer(anchors + 100 * np.eye(6)[2], candidates + 100 * np.eye(6)[2]))
    if not np.allclose(moved, wanted, atol=1e-4):
        return "the same vector added to all texts still changes the scores: which mean do you take away?"
    rows = arrays.load("sentences", "smollm2").astype(np.float64)
    drawn = rows[fresh.generator().choice(len(rows), size=14, replace=False)].reshape(2, 7, -1)  # real embeddings
    mean = drawn.mean(axis=(0, 1))
    if fresh.differs(as_array(answer(*drawn.copy())), _cosines(*(drawn - mean))):
        return fresh.ONLY_THE_SHOWN
    return right("whatever all texts of the batch share, the loss cannot see it, so no gradient reaches it")


def _diagnosis(result: np.ndarray, anchors: np.ndarray, candidates: np.ndarray, mean: np.ndarray) -> str:
    apart = anchors - anchors.mean(axis=0), candidates - candidates.mean(axis=0)
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (anchors, candidates)]
    late = [rows - np.concatenate(units).mean(axis=0) for rows in units]
    plain = _cosines(anchors, candidates)
    if np.allclose(result, plain):
        return "these are plain cosines: nothing is taken away yet"
    if np.allclose(result, _cosines(*apart)):
        return "each side lost its own mean; then a vector that only one side has is hidden too. Take one mean of both"
    if np.allclose(result, (anchors - mean) @ (candidates - mean).T):
        return "the mean is gone, but these are inner products: divide by both lengths"
    if np.allclose(result, late[0] @ late[1].T) or np.allclose(result, _cosines(*late)):
        return "first the mean, then the lengths: here the rows were cut to unit length before the mean was taken"
    middle = (anchors.mean(axis=0) + candidates.mean(axis=0)) / 2
    if np.allclose(result, _cosines(anchors - middle, candidates - middle)):
        return "the mean of two means counts a text of the smaller side for more: put all rows together first"
    if np.allclose(result, _cosines(anchors - anchors.mean(axis=0), candidates - anchors.mean(axis=0))):
        return "this is the mean of the anchors alone; the batch holds the candidates too"
    if np.allclose(result, _cosines(anchors - mean, candidates)) or np.allclose(
        result, _cosines(anchors, candidates - mean)
    ):
        return "only one side lost the mean: take it from anchors and candidates alike"
    if np.allclose(result, (anchors - mean) @ (candidates - mean).T / np.outer(*map(_lengths, (anchors, candidates)))):
        return "the lengths are those of before: first the mean, then the lengths of what is left"
    number = np.concatenate([anchors, candidates]).mean()
    if np.allclose(result, _cosines(anchors - number, candidates - number)):
        return "this mean is one number: the mean of the batch is a vector, one number for each dimension (axis=0)"
    if np.allclose(result - result.mean(), plain - plain.mean()):
        return "here something is taken from the cosines; take the mean from the embeddings, before the cosines"
    wanted = _cosines(anchors - mean, candidates - mean)
    return f"the first score should be {wanted[0, 0]:.3f}, yours is {result[0, 0]:.3f}"


#: What 09.3 shows, |x| of the embedding over the steps: runs by letter, and the variants to choose from.
CURVES = {
    "A": "cosine, τ = .2",
    "B": "centred cosine",
    "C": "cosine, τ = .05",
    "D": "no final norm: inner product, α levelled",
}


@exercise(
    "09.3",
    title="Which loss drew this curve?",
    difficulty=2,
    minutes=3,
    expects="a dictionary such as {'A': 'centred cosine', 'B': …}: one of the four names for each of A, B, C and D",
    accepts=dict,
)
def which_curve(answer):
    if unknown := [name for name in answer if not isinstance(name, str) or name not in CURVES]:
        return f"the keys are the capitals A, B, C and D; your dictionary has {len(unknown)} other(s)"
    if lacking := [name for name in CURVES if answer.get(name) is None]:
        return missing(f"there is no name yet for {', '.join(lacking)}")
    for name, variant in CURVES.items():
        if answer[name] not in CURVES.values():
            return f"{name}: the name must be one of {', '.join(map(repr, CURVES.values()))}"
        if answer[name] != variant:
            return f"{name} is not '{answer[name]}'. {_WHY[name]}"
    return right("under the norm the rest grows most where the common part loses most")


_WHY = {
    "A": "Its rest grows much. Which loss took most of the coefficient, under the final norm?",
    "B": "Its rest grows least of those under the norm: which of the losses leaves the coefficient alone?",
    "C": "Its rest grows, but not most. How much of the coefficient did each temperature take?",
    "D": "Its rest grows most, and nothing has to make room for it: which run has no final norm?",
}


@exercise(
    "09.4",
    title="What a kept length implies",
    difficulty=1,
    minutes=5,
    expects="a function of length, rest_before and rest_after that returns how far the coefficient along u moves",
    accepts=Callable,
)
def constraint(answer):
    for length, before, after in ((33.0, 21.0, 29.0), (5.0, 3.0, 4.0), (13.0, 5.0, 12.0)):
        found = as_number(answer(length, before, after))
        start, end = np.sqrt(length**2 - before**2), np.sqrt(length**2 - after**2)
        if np.isclose(found, end - start):
            continue
        if np.isclose(found, start - end):
            return "the sign is turned round: the coefficient falls when the rest grows"
        if np.isclose(found, before - after):
            return "lengths at right angles add as squares: length² = α² + rest²"
        if np.isclose(found, end):
            return "this is the new coefficient; asked for is how far it moved"
        if np.isclose(found, end**2 - start**2):
            return "this is how far α² moved: take the root of each α² before you subtract"
        if np.isclose(abs(found), np.sqrt(start**2 - end**2)):
            return "the root of a difference is no difference of roots: find α before and after, then subtract"
        return (
            f"for a length of {length:g} and a rest of {before:g}, then {after:g}, "
            f"it moves by {end - start:.2f}; yours says {found:.2f}"
        )
    length, before, after = np.sort(fresh.generator().uniform(1, 9, size=3))[::-1]
    wanted = np.sqrt(length**2 - after**2) - np.sqrt(length**2 - before**2)
    if fresh.differs(as_number(answer(length, before, after)), wanted):
        return fresh.ONLY_THE_SHOWN
    return right("at a kept length, more rest is paid for out of the common part")


@exercise(
    "09.5",
    title="Where would the loss have the texts?",
    difficulty=2,
    minutes=8,
    expects="a function of anchors [n, d], positives [n, d], u [d], tau and shifts (numbers) that returns the shift "
    "with the smallest InfoNCE",
    accepts=Callable,
)
def best_shift(answer):
    rng, u, shifts = np.random.default_rng(3), np.eye(6)[0], np.linspace(-10, 20, 61)
    anchors, positives = _sides(rng)
    taus = (0.5, 0.05, 0.02)
    found = [as_number(answer(anchors.copy(), positives.copy(), u.copy(), tau, shifts.copy())) for tau in taus]
    wanted = [_best(anchors, positives, u, tau, shifts) for tau in taus]
    if not np.allclose(found, wanted):
        return _misplaced(found, wanted, anchors, positives, u, taus, shifts)
    drawn = fresh.generator()
    for _ in range(8):  # one draw may be met by chance: there are few shifts to choose from
        anchors, positives = _sides(drawn, n=12, common=8.0)
        direction = drawn.normal(size=6)
        direction /= np.linalg.norm(direction)
        found = as_number(answer(anchors.copy(), positives.copy(), direction.copy(), 0.1, shifts.copy()))
        losses = np.array([_loss(_cosines(anchors + s * direction, positives + s * direction), 0.1) for s in shifts])
        if losses[np.isclose(shifts, found)].min(initial=np.inf) > losses.min() + 1e-9:  # two shifts may be as good
            return fresh.ONLY_THE_SHOWN
    return right("no gradient and no training: the loss alone says in which direction it would gain")


def _misplaced(found, wanted, anchors, positives, u, taus, shifts) -> str:
    """What is wrong: a mistake is named where it explains the answers at all temperatures, not at one by chance."""
    units = [rows / _lengths(rows)[:, None] for rows in (anchors, positives)]
    lengths = np.outer(_lengths(anchors), _lengths(positives))
    others = {
        "only the anchors were moved: a direction that all texts share moves both sides": lambda s: _cosines(
            anchors + s * u, positives
        ),
        "only the positives were moved: a direction that all texts share moves both sides": lambda s: _cosines(
            anchors, positives + s * u
        ),
        "these are inner products: a cosine divides by both lengths, which the shift changes": lambda s: (
            (anchors + s * u) @ (positives + s * u).T
        ),
        "the lengths are those of before the shift: a cosine divides by the new ones": lambda s: (
            (anchors + s * u) @ (positives + s * u).T / lengths
        ),
        "the rows were cut to length 1 before they were moved: move first, then take cosines": lambda s: _cosines(
            units[0] + s * u, units[1] + s * u
        ),
    }
    known = {
        said: [shifts[int(np.argmin([_loss(score(s), tau) for s in shifts]))] for tau in taus]
        for said, score in others.items()
    }
    without = _best(anchors, positives, u, 1.0, shifts)
    known["τ has no effect: divide the cosines by τ before the softmax"] = [without for _ in taus]
    known["the cosines are multiplied by τ here; they are divided by it"] = [
        _best(anchors, positives, u, 1 / tau, shifts) for tau in taus
    ]
    known["this is the place of the shift in the list; asked for is the shift itself"] = [
        list(shifts).index(shift) for shift in wanted
    ]
    known["this is the smallest loss itself; asked for is the shift at which it lies"] = [
        _loss(_cosines(anchors + s * u, positives + s * u), tau) for s, tau in zip(wanted, taus, strict=True)
    ]
    for explanation, values in known.items():
        if np.allclose(found, values):
            return explanation
    tau, here, there = next(row for row in zip(taus, wanted, found, strict=True) if not np.isclose(*row[1:]))
    return f"for τ = {tau} the loss is smallest at a shift of {here:.1f}; yours says {there:.1f}"
