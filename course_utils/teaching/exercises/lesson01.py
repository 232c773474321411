"""Exercises of lesson 01: pooling that survives padding, a linear output layer, and decoding the layers."""

from collections.abc import Callable

import numpy as np
import torch

from course_utils.teaching.exercises import as_array, exercise, right

#: Three texts of 5, 3 and 2 tokens: the first fills its row, the others are padded right and left.
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])


@exercise(
    "01.1",
    title="The last token, wherever the padding is",
    difficulty=1,
    minutes=8,
    expects="a function last_real(hidden, mask) that returns [n_texts, d]",
    accepts=Callable,
)
def last_real(answer):
    hidden = torch.arange(30, dtype=torch.float32).reshape(3, 5, 2)
    found = as_array(answer(hidden.clone(), MASK.clone()), shape=(3, 2))
    expected = [hidden[0, 4], hidden[1, 2], hidden[2, 4]]
    for row, (padding, wanted) in enumerate(zip(("no", "right", "left"), expected, strict=True)):
        if not np.allclose(found[row], wanted):
            return (
                f"the text with {padding} padding: expected the state {wanted.tolist()}, yours is {found[row].tolist()}"
            )
    return right("a 1 in the mask says where a text ends, the last column does not")


@exercise(
    "01.2",
    title="Position weights",
    difficulty=2,
    minutes=10,
    expects="a function weights(mask) that returns [n_texts, n_tokens]",
    accepts=Callable,
)
def weights(answer):
    found = as_array(answer(MASK.clone()), shape=(3, 5))
    if np.abs(found[MASK.numpy() == 0]).max() > 1e-9:
        return "a padded position must weigh nothing"
    if not np.allclose(found.sum(axis=1), 1):
        return f"the weights of a text sum to 1; yours sum to {found.sum(axis=1).round(3).tolist()}"
    expected = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0], [0, 0, 0, 1, 2]], dtype=float)
    expected[0] /= 15
    expected[1] /= 6
    expected[2] /= 3
    for row, padding in enumerate(("no", "right", "left")):
        if not np.allclose(found[row], expected[row], atol=1e-6):
            wanted, got = expected[row].round(2).tolist(), found[row].round(2).tolist()
            return f"the text with {padding} padding: expected {wanted}, yours is {got}; count tokens, not columns"
    return right("count along the mask, and the side of the padding no longer matters")


@exercise(
    "01.3",
    title="Decode a mixture without decoding it",
    difficulty=1,
    minutes=5,
    expects="a function mixed(logits_a, logits_b, w) that returns an array [V]",
    accepts=Callable,
)
def mixed(answer):
    rng = np.random.default_rng(13)
    a, b, weight = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(9, 4))
    for w in (0.25, 0.9):
        found = as_array(answer(weight @ a, weight @ b, w), shape=(9,))
        wanted = np.array([sum(row[j] * (w * a[j] + (1 - w) * b[j]) for j in range(4)) for row in weight])
        if not np.allclose(found, wanted):
            return f"for w = {w} the first token's logit should be {wanted[0]:.3f}, yours is {found[0]:.3f}"
    return right("the output layer is linear: mixing embeddings mixes logits (not probabilities)")


@exercise(
    "01.4",
    title="A logit lens that does not norm twice",
    difficulty=3,
    minutes=12,
    expects="a function lens(states, norm, E) that returns [n_states, V]",
    accepts=Callable,
)
def lens(answer):
    rng = np.random.default_rng(14)
    scale = torch.tensor(rng.uniform(0.5, 2, size=6))

    def norm(x):
        return x / x.pow(2).mean(dim=-1, keepdim=True).sqrt() * scale

    raw, weight = torch.tensor(rng.normal(size=(4, 6)) * 5), torch.tensor(rng.normal(size=(8, 6)))
    states = torch.cat([raw[:3], norm(raw[3:])])
    found = as_array(answer(states.clone(), norm, weight.clone()), shape=(4, 8))
    expected = np.stack([[float(row @ norm(state)) for row in weight] for state in raw])
    right_rows = np.isclose(found, expected).all(axis=1)
    if right_rows.all():
        return right("states between layers need the final norm before E; the library has normed the last one")
    if right_rows[:3].all():
        return "the layers in between are right, but the last state was normed before you got it: do not norm it again"
    if right_rows[3]:
        return "the last state is right, but the states between layers still need the final norm before E"
    return f"the first state's logits should start with {expected[0, 0]:.3f}, yours start with {found[0, 0]:.3f}"
