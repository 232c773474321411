"""Pooling against loops over texts and tokens."""

import numpy as np
import pytest
import torch

from course_utils.models import pooling

LENGTHS = (1, 4, 7, 3)


def naive(states: list[np.ndarray], name: str) -> np.ndarray:
    """One embedding per text from a list of ``[n_tokens, d]`` arrays without any padding."""
    rows = []
    for text in states:
        n = len(text)
        if name == "last_token":
            rows.append(text[n - 1])
            continue
        if name == "cls":
            rows.append(text[0])
            continue
        weights = [1.0 if name == "mean" else t + 1.0 for t in range(n)]
        total = np.zeros(text.shape[1])
        for weight, state in zip(weights, text, strict=True):
            total += weight * state
        rows.append(total / sum(weights))
    return np.array(rows)


def padded(states: list[np.ndarray], side: str, filler: float, extra: int = 0):
    width = max(map(len, states)) + extra
    hidden = torch.full((len(states), width, states[0].shape[1]), filler)
    mask = torch.zeros(len(states), width, dtype=torch.bool)
    for row, text in enumerate(states):
        first = 0 if side == "right" else width - len(text)
        hidden[row, first : first + len(text)] = torch.tensor(text)
        mask[row, first : first + len(text)] = True
    return hidden, mask


@pytest.fixture
def states():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 5)).astype(np.float32) for n in LENGTHS]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", sorted(pooling.POOLINGS))
def test_agrees_with_a_loop_whatever_the_padding(states, name, side):
    pool = pooling.POOLINGS[name]
    for filler, extra in [(0.0, 0), (1e4, 3)]:  # what stands in the padding must not matter, nor how much there is
        hidden, mask = padded(states, side, filler, extra)
        np.testing.assert_allclose(pool(hidden, mask), naive(states, name), atol=1e-6)
        np.testing.assert_array_equal(pool(hidden, mask), pool(hidden, mask.long()))


def test_weights_count_pooled_tokens_not_columns():
    hidden = torch.tensor([[[9.0], [1.0], [7.0], [4.0]]])
    mask = torch.tensor([[0, 1, 0, 1]])
    assert pooling.weighted_mean(hidden, mask).item() == pytest.approx((1 * 1 + 2 * 4) / 3)
    assert pooling.mean(hidden, mask).item() == pytest.approx(2.5)
    assert pooling.last_token(hidden, torch.tensor([[1, 1, 0, 0]])).item() == 1


@pytest.mark.parametrize("name", sorted(pooling.POOLINGS))
def test_gradients_reach_pooled_tokens_only(states, name):
    hidden, mask = padded(states, "left", 1.0)
    hidden.requires_grad_(True)
    pooling.POOLINGS[name](hidden, mask).sum().backward()
    assert hidden.grad[~mask].abs().sum() == 0
    assert (hidden.grad.abs().sum(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("name", sorted(pooling.POOLINGS))
def test_refuses(states, name):
    pool = pooling.POOLINGS[name]
    hidden, mask = padded(states, "right", 0.0)
    mask[2] = False
    with pytest.raises(ValueError, match=r"nothing to pool in row\(s\) \[2\]"):
        pool(hidden, mask)
    with pytest.raises(ValueError, match=r"mask \[n_texts, n_tokens\]; got \(4, 7, 5\) and \(4, 6\)"):
        pool(hidden, mask[:, :6])
    with pytest.raises(ValueError, match=r"got \(7, 5\)"):
        pool(hidden[0], mask[0])
