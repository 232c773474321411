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
    minutes=5,
    expects="a function top_ids(h, E, k) that returns the numbers of the k aligned tokens, best first",
    accepts=Callable,
)
def top_ids(answer):
    rng = np.random.default_rng(1)
    h, weight = rng.normal(size=6), rng.normal(size=(40, 6))
    found = answer(h.copy(), weight.copy(), 5)
    found = [int(i) for i in as_array(found, shape=(5,))]
    products = {row: sum(float(a) * float(b) for a, b in zip(weight[row], h, strict=True)) for row in range(40)}
    best_first = sorted(products, key=lambda row: products[row], reverse=True)
    if found == best_first[:-6:-1]:
        return "these are the five smallest products; the aligned tokens have the largest"
    if found == best_first[:5]:
        return right("a token's logit is the product of its row of E with h; the aligned tokens are the largest")
    if sorted(found) == sorted(best_first[:5]):
        return "the right five tokens, but not in the order best first"
    if set(found) == set(sorted(products, key=lambda row: -abs(products[row]))[:5]):
        return "a large negative product is a token the embedding points away from: do not take the absolute value"
    return f"with the example of the check the rows should be {best_first[:5]}, yours are {found}"


@exercise(
    "00.2",
    title="Which tokens are surface tokens?",
    difficulty=1,
    minutes=3,
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
    minutes=8,
    expects="a function subtract(H, u, share) that returns an array of the shape of H",
    accepts=Callable,
)
def subtract(answer):
    rng = np.random.default_rng(3)
    embeddings = rng.normal(size=(7, 4)) + 2
    direction = np.array([0.5, 0.5, 0.5, 0.5])
    found = as_array(answer(embeddings.copy(), direction.copy(), 0.8), shape=(7, 4))
    moved = (embeddings - found) @ direction
    across = (embeddings - found) - np.outer(moved, direction)
    if np.abs(across).max() > 1e-6:
        return "the embeddings also moved in directions other than u; subtract a multiple of u only"
    mean = float(np.mean([row @ direction for row in embeddings]))
    if np.allclose(moved, 0.8 * mean):
        return right("every text moves by the same step, so differences between texts stay as they were")
    if np.allclose(moved, -0.8 * mean):
        return "this adds the component; take it away"
    if np.ptp(moved) > 1e-6:
        return "every text got its own step; the paper moves all texts by the same: a share of the mean coefficient"
    return f"the step along u should be share times the mean of H @ u, {0.8 * mean:.3f} here; yours is {moved[0]:.3f}"
