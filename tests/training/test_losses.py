"""The scores of the experiment on the first component: each against a double loop, and blind to what it says."""

import numpy as np
import pytest
import torch

from course_utils.training import losses
from course_utils.training.loop import info_nce


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    anchors, candidates = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    u = torch.nn.functional.normalize(torch.randn(7, generator=generator, dtype=torch.float64), dim=0)
    return anchors + 4 * u, candidates + 4 * u, u


def naive(name, anchors, candidates, u, length):
    """The same scores, one pair of vectors at a time, with numpy."""
    a, c, u = anchors.numpy(), candidates.numpy(), u.numpy()
    both = np.concatenate([a, c])
    mean, alpha = both.mean(axis=0), (both @ u).mean()

    def seen(h):
        rest = h - (h @ u) * u
        if name == "centred cosine":
            return h - mean
        if name == "cosine without u":
            return rest
        if "levelled" in name:
            return alpha * u + rest
        return (h @ u) * u + length * rest / np.linalg.norm(rest) if "fixed" in name else h

    def one(left, right):
        product = float(np.dot(left, right))
        return product if "inner" in name else product / (np.linalg.norm(left) * np.linalg.norm(right))

    return np.array([[one(seen(left), seen(right)) for right in c] for left in a])


@pytest.mark.parametrize("name", losses.SCORES)
def test_every_score_is_the_double_loop(name, batch):
    anchors, candidates, u = batch
    found = losses.score(name, u, length=2.5)(anchors, candidates)
    assert found.shape == (5, 5)
    np.testing.assert_allclose(found.numpy(), naive(name, anchors, candidates, u, 2.5), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "blind"),
    [
        ("cosine", False),
        ("inner product", False),
        ("cosine, |x| fixed", False),
        ("centred cosine", True),
        ("cosine without u", True),
        ("inner product, α levelled", True),
    ],
)
def test_adding_the_same_step_along_u_to_all_changes_the_loss_of_those_that_see_it_only(name, blind, batch):
    anchors, candidates, u = batch

    def loss(c):
        return info_nce(anchors + c * u, candidates + c * u, score=losses.score(name, u, length=2.5, scale=9.0)).item()

    # A levelled inner product has ᾱ² in every score; the softmax does not see it.
    assert (abs(loss(3.0) - loss(0.0)) < 1e-5) is blind


@pytest.mark.parametrize("name", ["cosine without u", "cosine, α levelled", "inner product, α levelled"])
def test_a_text_s_own_coefficient_is_not_seen(name, batch):
    anchors, candidates, u = batch
    shifts = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.0], dtype=torch.float64)[:, None]  # the mean stays
    see = losses.score(name, u)
    torch.testing.assert_close(see(anchors + shifts * u, candidates), see(anchors, candidates))


def test_no_gradient_reaches_a_text_s_coefficient_where_it_is_levelled(batch):
    anchors, candidates, u = batch
    anchors.requires_grad_()
    info_nce(anchors, candidates, score=losses.score("inner product, α levelled", u)).backward()
    assert (anchors.grad @ u).abs().max() < 1e-9 < anchors.grad.norm()


def test_a_scale_divides_and_wrong_calls_say_why(batch):
    anchors, candidates, u = batch
    torch.testing.assert_close(
        2 * losses.score("inner product", scale=2.0)(anchors, candidates), losses.inner(anchors, candidates)
    )
    with pytest.raises(ValueError, match=r"unknown score 'cosin'.*centred cosine"):
        losses.score("cosin")
    with pytest.raises(ValueError, match="needs the first component"):
        losses.score("cosine without u")


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.01])
def test_the_slope_along_u_is_that_of_autograd(batch, temperature):
    anchors, positives, u = batch
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    info_nce(anchors + t * u, positives + t * u, None, temperature).backward()
    found = losses.slope_along(anchors, positives, u, temperature)
    assert abs(float(found - t.grad)) <= 1e-9 * abs(float(t.grad)) and float(t.grad) != 0


def test_a_large_common_part_acts_like_a_temperature():
    """The loss depends on τ α² alone, once α is large: the claim of the docstring, and that its slope is positive."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(12, 9, generator=generator, dtype=torch.float64)
    y = x + 0.5 * torch.randn(12, 9, generator=generator, dtype=torch.float64)
    u = torch.zeros(10, dtype=torch.float64)
    u[9] = 1
    x, y = (torch.nn.functional.pad(normalized, (0, 1)) for normalized in losses.normalize(torch.stack([x, y]), dim=2))
    seen = [float(info_nce(x + a * u, y + a * u, None, 40 / a**2)) for a in (20.0, 40.0, 80.0)]
    assert max(seen) - min(seen) < 0.01 * seen[0]
    assert float(losses.slope_along(x + 20 * u, y + 20 * u, u, 0.1)) > 0
    h = 20.0
    lengths = (x[:, None] - y[None]).square().sum(-1)
    pull = (losses.cosine(x + h * u, y + h * u) / 0.1).softmax(1) - torch.eye(12, dtype=torch.float64)
    near = float((pull * lengths).sum() / (12 * 0.1 * h**3))
    assert abs(near / float(losses.slope_along(x + h * u, y + h * u, u, 0.1)) - 1) < 0.05
