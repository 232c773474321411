"""Exercises of lesson 00: decode an embedding, name the surface tokens, take the first component away."""

from collections.abc import Callable

import numpy as np

from course_utils.teaching.exercises import as_array, exercise, right

#: Tokens of "I like apple and banana", and ten tokens that might come out of an embedding of it.
TEXT_TOKENS = ("I", "_like", "_apple", "_and", "_banana")
TOP_TOKENS = ("_apple", "Apple", "_banana", "_apples", "apple", "I", "_fruit", "_bananas", "i", "_Banana")


@exercise(
    "00.1",
    title="The three lines as a function",
    difficulty=1,
    minutes=4,
    expects="a function top_ids(h, E, k) that returns the ids of the k aligned tokens, best first",
    accepts=Callable,
)
def top_ids(answer):
    rng = np.random.default_rng(1)
    for k, rows, d in ((5, 40, 6), (2, 30, 4)):
        h, weight = rng.normal(size=d), rng.normal(size=(rows, d))
        found = as_array(answer(h.copy(), weight.copy(), k))
        if found.shape != (k,):
            return f"for k = {k} the answer should hold {k} ids, yours has the shape {found.shape}: use k"
        if wrong := _wrong_ids([int(i) for i in found], h, weight, k):
            return wrong
    return right("a token's logit is the product of its row of E with h; the aligned tokens are the largest")


def _wrong_ids(found, h, weight, k):
    products = {row: sum(float(a) * float(b) for a, b in zip(own, h, strict=True)) for row, own in enumerate(weight)}
    best_first = sorted(products, key=lambda row: products[row], reverse=True)
    if found == best_first[:k]:
        return ""
    if found == best_first[: -k - 1 : -1]:
        return f"these are the {k} smallest products; the aligned tokens have the largest"
    if sorted(found) == sorted(best_first[:k]):
        return f"the right {k} tokens, but not in the order best first"
    if set(found) == set(sorted(products, key=lambda row: -abs(products[row]))[:k]):
        return "a large negative product is a token the embedding points away from: do not take the absolute value"
    return f"with the example of the check the rows should be {best_first[:k]}, yours are {found}"


@exercise(
    "00.2",
    title="Which tokens are surface tokens?",
    difficulty=1,
    minutes=2,
    expects='a list of strings such as ["_apple"], taken from the ten tokens',
    accepts=(list, tuple, set),
)
def surface(answer):
    strangers = [token for token in answer if token not in TOP_TOKENS]
    if strangers:
        return f"{strangers[0]!r} is not one of the ten tokens (a leading space is written _)"
    expected = {token for token in TOP_TOKENS if token in TEXT_TOKENS}
    extra, lacking = sorted(set(answer) - expected), sorted(expected - set(answer))
    if extra:
        return f"{extra[0]!r} looks like a word of the text, but it is another token: case and leading space count"
    if lacking:
        return f"there are more: {len(lacking)} of the text's own tokens are still to be named"
    return right("a surface token is exactly one of the text's tokens; _apples or Apple are variants")


@exercise(
    "00.3",
    title="Take the first component away",
    difficulty=2,
    minutes=5,
    expects="a function subtract(H, u, share) that returns an array of the shape of H",
    accepts=Callable,
)
def subtract(answer):
    rng = np.random.default_rng(3)
    # Coefficients of one sign, then of both with a negative mean; another direction, another share, another size.
    cases = [
        (rng.normal(size=(7, 4)) + 2, np.array([0.5, 0.5, 0.5, 0.5]), 0.8),
        (rng.normal(size=(6, 3)) - 0.1, np.array([0.6, 0.0, 0.8]), 0.25),
    ]
    for embeddings, u, share in cases:
        found = as_array(answer(embeddings.copy(), u.copy(), share), shape=embeddings.shape)
        if wrong := _wrong_step(embeddings - found, embeddings, u, share):
            return wrong
    return right("every text moves by the same step, so differences between texts stay as they were")


def _wrong_step(step, embeddings, u, share):
    moved = step @ u
    if np.abs(step - np.outer(moved, u)).max() > 1e-6:
        return "the embeddings also moved in directions other than u; subtract a multiple of u only"
    coefficients = [float(sum(a * b for a, b in zip(row, u, strict=True))) for row in embeddings]
    mean = sum(coefficients) / len(coefficients)
    if np.allclose(moved, share * mean):
        return ""
    if np.allclose(moved, -share * mean):
        return "this adds the component; take it away"
    if np.allclose(moved, share * np.mean(np.abs(coefficients))):
        return "a coefficient has a sign: where the mean is negative, taking it away moves the embeddings along +u"
    if np.ptp(moved) > 1e-6:
        return "every text got its own step; the paper moves all texts by the same: a share of the mean coefficient"
    return (
        f"for share = {share} the step along u should be share times the mean of H @ u, {share * mean:.3f} here; "
        f"yours is {moved[0]:.3f}"
    )
