"""Checks of lesson 10: outside embedders. Expectations come from definitions or from counting, not from the helpers."""

from collections.abc import Callable
from itertools import permutations

import numpy as np

from course_utils.teaching.exercises import as_array, as_number, exercise, fresh, right


@exercise(
    "10.1",
    title="A share with room for doubt",
    difficulty=1,
    minutes=8,
    expects="a function of hits and n that returns the two ends of Wilson's 95 % interval, low before high",
    accepts=Callable,
)
def interval(answer):
    z = 1.96
    for hits, n in ((146, 200), (10, 10), (0, 25), (3, 7)):
        p = hits / n
        low, high = as_array(answer(hits, n), shape=(2,))
        if low > high:
            return "the two ends are in the other order: low before high"
        plain = z * np.sqrt(p * (1 - p) / n)
        if np.allclose([low, high], np.clip([p - plain, p + plain], 0, 1), atol=1e-3):
            return (
                f"{hits} of {n}: this is p ± 1.96 √(p(1−p)/n), which says [{low:.2f}, {high:.2f}]; where nearly all "
                "or nearly none succeed it is far too sure"
            )
        # Wilson's ends are the shares q whose own interval just reaches p: (p − q)² = z² q (1 − q) / n.
        expected = np.sort(np.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2]).real)
        if not np.allclose([low, high], expected, atol=2e-3):
            return (
                f"{hits} of {n}: Wilson's interval is [{expected[0]:.3f}, {expected[1]:.3f}], yours is "
                f"[{low:.3f}, {high:.3f}]"
            )
    n = int(fresh.generator().integers(20, 200))
    hits = int(fresh.generator().integers(1, n))
    ends = np.sort(np.roots([1 + z**2 / n, -(2 * hits / n + z**2 / n), (hits / n) ** 2]).real)
    if fresh.differs(answer(hits, n), ends, 2e-3):
        return fresh.ONLY_THE_SHOWN
    return right("ten hits in ten texts still leave room for a share of .72: the plain interval hides it")


@exercise(
    "10.2",
    title="A threshold that has not seen the answer",
    difficulty=2,
    minutes=12,
    expects="a function of near [words, texts], own [words] and share that returns a cosine: words of other texts "
    "reach it in that share of the cases",
    accepts=Callable,
)
def fixed_threshold(answer):
    rng = np.random.default_rng(10)
    near = rng.uniform(0, 0.8, size=(300, 15))
    own = rng.integers(0, 15, size=300)
    near[np.arange(300), own] = 0.95
    others = np.array([[j != own[i] for j in range(15)] for i in range(300)])
    for share in (0.02, 0.05):
        result = as_number(answer(near.copy(), own.copy(), share))
        counted = (near[others] >= result).mean()
        if abs(counted - share) < 0.003:
            continue
        if np.isclose(result, np.quantile(near, 1 - share), atol=2e-3):
            return "a word is always near the text it stands in; leave near[i, own[i]] out, or chance looks too high"
        if abs(counted - (1 - share)) < 0.003:
            return f"{counted:.0%} of the other texts reach this cosine: you took the quantile from the wrong end"
        if np.isclose(result, np.quantile(near[~others], 1 - share)):
            return "this is how near words are to their *own* text; chance is about the others"
        return f"words of other texts reach {result:.3f} in {counted:.1%} of the cases; {share:.0%} were asked for"
    highest = fresh.generator().uniform(0.3, 0.9)
    drawn, share = fresh.generator().uniform(0, highest, size=near.shape), 0.04
    drawn[~others] = 0.95
    if abs((drawn[others] >= as_number(answer(drawn.copy(), own.copy(), share))).mean() - share) > 0.003:
        return fresh.ONLY_THE_SHOWN
    return right("and because it was fixed on texts that nobody reports on, a result cannot have chosen it")


@exercise(
    "10.3",
    title="One draw of the null",
    difficulty=2,
    minutes=12,
    expects="a function of before [n, d], after [n, d], u [d] and rotation [d, d] that returns the share of u in the "
    "squared length of the mean movement when every row of after is turned by rotation: row @ rotation.T",
    accepts=Callable,
)
def null_draw(answer):
    rng = np.random.default_rng(3)
    n, d = 12, 5
    u = np.eye(d)[0]
    before = 4 * u + rng.normal(size=(n, d))
    after = before - 2.5 * u + 0.5 * rng.normal(size=(n, d))
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    result = as_number(answer(before.copy(), after.copy(), u.copy(), rotation.copy()))
    turned = np.stack([rotation @ row for row in after])
    moved = (turned - before).mean(axis=0)
    expected = moved[0] ** 2 / (moved**2).sum()
    tries = {
        "nothing was turned: this is the real share": (after - before).mean(axis=0),
        "you turned the movement; the null turns the embedder's rows and leaves the origin where it is": (
            rotation @ (after - before).mean(axis=0)
        ),
        "you turned the origin's rows; the null turns the embedder's": (after - before @ rotation.T).mean(axis=0),
        "the rows are turned the other way round: row @ rotation.T": (after @ rotation - before).mean(axis=0),
    }
    for why, v in tries.items():
        if np.isclose(result, v[0] ** 2 / (v**2).sum()) and not np.isclose(result, expected):
            return why
    if np.isclose(result, abs(moved[0]) / np.linalg.norm(moved)):
        return "close: this is a share of the length; the paper's figure is about squares, v_1² / |v|²"
    per_text = turned - before
    if np.isclose(result, (per_text[:, 0] ** 2).sum() / (per_text**2).sum()):
        return "this is a share text by text; v is the movement of the mean, so take the mean first"
    if not np.isclose(result, expected):
        return f"with this rotation the share is {expected:.3f}; yours is {result:.3f}"
    if not np.isclose(as_number(answer(before, after, 2 * u, rotation)), expected):
        return "a direction twice as long is the same direction: divide u by its length first"
    drawn = np.linalg.qr(fresh.generator().normal(size=(d, d)))[0]
    v = np.mean([drawn @ row for row in after], axis=0) - before.mean(axis=0)
    if fresh.differs(as_number(answer(before.copy(), after.copy(), u.copy(), drawn.copy())), v[0] ** 2 / (v @ v)):
        return fresh.ONLY_THE_SHOWN
    return right("a few hundred draws make the null: a share inside their range is no evidence of training")


@exercise(
    "10.4",
    title="How much do a few embedders prove?",
    difficulty=3,
    minutes=15,
    expects="a function of x and y (a few numbers each, no ties) that returns the exact two-sided p-value of their "
    "rank correlation: the share of all orders of y whose correlation is at least as large, whatever its sign",
    accepts=Callable,
)
def exact_p(answer):
    cases = (
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        ([0.3, 0.1, 0.9, 0.4, 0.7], [0.2, 0.5, 0.6, 0.1, 0.9]),
        ([5, 3, 9, 1], [2, 4, 1, 3]),
    )
    drawn = fresh.generator().normal(size=(4, 2, 6)).tolist()
    for x, y in (*cases, *drawn):
        result = as_number(answer(list(x), list(y)))
        ranks = [np.argsort(np.argsort(v)) for v in (x, y)]
        found = np.corrcoef(*ranks)[0, 1]
        all_orders = np.array([np.corrcoef(ranks[0], order)[0, 1] for order in permutations(ranks[1])])
        expected = (np.abs(all_orders) >= abs(found) - 1e-9).mean()
        one_sided = (all_orders >= found - 1e-9).mean(), (all_orders <= found + 1e-9).mean()
        if np.isclose(result, expected):
            continue
        if [x, y] in drawn:
            return fresh.ONLY_THE_SHOWN
        if any(np.isclose(result, p) for p in one_sided):
            return "this is one-sided: a correlation as strong in the other direction would have been news as well"
        if np.isclose(result, (np.abs(all_orders) > abs(found) + 1e-9).mean()):
            return "at least as large: the order that was observed counts as well, so p is never 0"
        if np.isclose(result, abs(found)) or np.isclose(result, found):
            return "this is the correlation itself; asked for is how often chance gives one as strong"
        return f"of the {len(all_orders)} orders of y, {expected:.3f} are as strong; yours says {result:.3f}"
    return right("five points in perfect order happen by chance once in sixty: small tables prove little")
