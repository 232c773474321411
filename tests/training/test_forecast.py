"""What a loss asks of the common part: against by-hand sums, and where the answer is known without computing."""

import numpy as np
import pytest
import tiny
import torch

from course_utils.models.embedder import load
from course_utils.training import losses
from course_utils.training.causes import Variant
from course_utils.training.forecast import (
    Forecast,
    forecast,
    kept_length,
    loss_along,
    moved,
    told_slope,
    without_final_norm,
)
from course_utils.training.loop import info_nce
from course_utils.training.teacher import batch_cosines


@pytest.fixture
def sides():
    """Two batches of 16 pairs around a common direction, the last coordinate; pairs lie near each other."""
    generator = torch.Generator().manual_seed(2)
    anchors, noise, negatives = torch.randn(3, 36, 8, generator=generator, dtype=torch.float64)
    u = torch.zeros(8, dtype=torch.float64)
    u[7] = 1
    positives = anchors + 0.7 * noise
    return [side * (1 - u) + (6 + 0.3 * side[:, 7:]) * u for side in (anchors, positives, negatives)], u


def test_a_step_moves_the_coefficient_and_scales_the_rest_only(sides):
    (a, *_), u = sides
    found = moved(a, u, -2.0, 1.5)
    torch.testing.assert_close(found @ u, a @ u - 2)
    torch.testing.assert_close(losses.without(found, u), 1.5 * losses.without(a, u))


@pytest.mark.parametrize("step", [-6.0, -1.0, 0.0, 0.2])
def test_the_scale_keeps_the_sum_of_the_squared_lengths(step, sides):
    (a, *_), u = sides
    assert float((moved(a, u, step, kept_length(a, u, step)) ** 2).sum()) == pytest.approx(float((a**2).sum()))
    assert kept_length(a, u, 100.0) == 0


def test_the_loss_along_the_way_is_the_mean_of_the_whole_batches(sides):
    (a, p, n), u = sides
    found = loss_along(Variant("x", final_norm=False), (a, p, n), u, [0.0, -0.5])
    by_hand = np.zeros(2)
    for rows in (slice(0, 16), slice(16, 32)):  # four rows are left over
        step = -0.5 * float((torch.cat([a[rows], p[rows]]) @ u).mean()) * u
        by_hand += [float(info_nce(a[rows] + s, p[rows] + s, None, 0.05)) / 2 for s in (0 * u, step)]
    np.testing.assert_allclose(found, by_hand)


def test_a_loss_that_sees_nothing_of_a_step_asks_for_nothing_without_a_norm(sides):
    rows, u = sides
    usual = forecast(Variant("x", final_norm=False), rows, u)
    for score in ("centred cosine", "cosine without u", "inner product, α levelled"):
        found = forecast(Variant("x", score, final_norm=False), rows, u)
        assert abs(found.slope) < 1e-6 * abs(usual.slope) and found.direction(usual) == "stays"
        assert np.isnan(found.best) and not np.isnan(usual.best)


def test_a_longer_rest_is_asked_of_the_common_part_where_the_length_is_kept(sides):
    """Nothing of α reaches this loss; only its wish for larger differences does, through the length."""
    rows, u = sides
    free, kept = (
        forecast(Variant("x", "inner product, α levelled", 1.0, final_norm=f), rows, u) for f in (False, True)
    )
    assert abs(free.slope) < 1e-9 < 1e-3 < kept.slope and kept.best < 0


def test_temperature_turns_the_sign_and_no_negatives_ask_for_more_of_it(sides):
    rows, u = sides
    hot, cold = (forecast(Variant("x", temperature=tau), rows, u) for tau in (0.5, 0.002))
    assert hot.slope > 0 > cold.slope and hot.direction(hot) == "falls" and cold.direction(hot) == "rises"
    alone = forecast(Variant("x", negatives="none"), rows, u)
    assert alone.slope < 0 < alone.best


def test_a_teacher_that_calls_the_own_positive_right_asks_what_the_usual_loss_asks(sides):
    (a, p, n), u = sides
    rows = torch.cat([a[:16], p[:16]])
    usual = forecast(Variant("x"), (a[:16], p[:16], n[:16]), u)
    assert told_slope(rows, torch.eye(16), u) == pytest.approx(usual.slope, rel=1e-3)  # cosines are in 32 bits
    assert told_slope(rows, torch.eye(16).roll(1, dims=0), u) < 0 < usual.slope  # the wrong texts called right
    own = (batch_cosines(a[:16], 16) / 0.05).softmax(dim=1)
    assert told_slope(a[:16], own, u) == pytest.approx(0, abs=0.03 * usual.slope)  # it agrees with the student


def test_little_beside_the_usual_slope_is_nothing():
    usual = Forecast(-2.0, 0.1)
    said = [Forecast(slope, 0.0).direction(usual) for slope in (0.4, -0.4, 0.6, -0.6)]
    assert said == ["stays", "stays", "falls", "rises"]


def test_the_norm_is_away_within_the_block_only_also_after_an_error(tmp_path):
    embedder = load(str(tiny.save(tmp_path / "llama", "llama", bos=True, seed=1)))
    norm, before = embedder.backbone.transformer.norm, embedder.encode(["A bird sings."], progress=False)
    with pytest.raises(KeyboardInterrupt), without_final_norm(embedder):
        assert not np.allclose(embedder.encode(["A bird sings."], progress=False), before)
        raise KeyboardInterrupt
    assert embedder.backbone.transformer.norm is norm
    np.testing.assert_array_equal(embedder.encode(["A bird sings."], progress=False), before)
