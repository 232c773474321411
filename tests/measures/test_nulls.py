"""Chance and nulls: against counting by hand, and on clouds of which it is known what moved."""

import numpy as np
import pytest

from course_utils.measures.alignment import hits
from course_utils.measures.nulls import _rotations, above_chance, movement, pair_counts, pair_hits, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (7, 20), (1, 1)])
def test_wilson_solves_its_own_equation(k, n):
    z, interval = 1.959964, wilson(k, n)
    for end in (interval.low, interval.high):  # both ends are z standard errors, *of their own*, away
        if 0 < end < 1:
            assert abs(k / n - end) == pytest.approx(z * np.sqrt(end * (1 - end) / n), abs=1e-6)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1 and interval.high > interval.low


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_share(k, n):
    with pytest.raises(ValueError):
        wilson(k, n)


def test_pair_hits_agree_with_counting_and_with_hits():
    rng = np.random.default_rng(0)
    ranked = rng.integers(0, 60, size=(9, 12))
    surface = [rng.choice(60, size=s, replace=False) for s in (3, 1, 0, 7, 2, 5, 4, 6, 8)]
    classes = np.arange(60) // 2
    for own_classes in (None, classes):
        read = (lambda t: t) if own_classes is None else (lambda t: t // 2)
        by_hand = [[bool({read(t) for t in row[:10]} & {read(t) for t in own}) for own in surface] for row in ranked]
        found = pair_hits(ranked, surface, 10, own_classes)
        assert found.tolist() == by_hand
        places = [[sum(read(t) in {read(o) for o in own} for t in row[:10]) for own in surface] for row in ranked]
        assert pair_counts(ranked, surface, 10, own_classes).tolist() == places
        full = [i for i, own in enumerate(surface) if len(own)]
        expected = hits(ranked[full], [surface[i] for i in full], 10, own_classes)
        assert np.diagonal(found)[full].tolist() == expected.tolist()


def test_pair_hits_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="one row per text"):
        pair_hits(np.zeros((2, 3), dtype=int), [np.array([1])])
    with pytest.raises(ValueError, match="k must"):
        pair_hits(np.zeros((1, 3), dtype=int), [np.array([1])], k=4)
    with pytest.raises(ValueError, match="surface"):
        pair_hits(np.zeros((1, 3), dtype=int), [np.array([7])], k=3, classes=np.arange(5))


def test_chance_is_the_mean_off_the_diagonal_and_the_difference_is_paired():
    found = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    beside = above_chance(found)
    assert beside.value.value == pytest.approx(2 / 3)
    assert beside.chance == pytest.approx(2 / 6)
    assert beside.difference.value == pytest.approx(1 / 3)
    same = above_chance(np.ones((6, 6)))  # what hits every text hits none in particular
    assert (same.value.value, same.chance, same.difference.value) == (1, 1, 0) and same.difference.high == 0


def test_tokens_that_know_nothing_of_their_text_are_not_above_chance():
    rng = np.random.default_rng(1)
    below = sum(not above_chance(rng.random((120, 120)) < 0.3).difference.low > 0 for _ in range(40))
    assert below >= 36  # 2.5 % of the intervals may lie above zero


@pytest.mark.parametrize("found", [np.ones((2, 3)), np.ones((1, 1)), np.array([[0.0, np.nan], [0, 0]])])
def test_above_chance_refuses_what_is_no_square(found):
    with pytest.raises(ValueError):
        above_chance(found)


def _cloud(n=150, d=48, seed=0):
    """Texts around a mean far from zero, as those of an untrained model; and the direction of that mean."""
    rng = np.random.default_rng(seed)
    u = np.eye(d)[0]
    return 20 * u + rng.normal(size=(n, d)), u, rng


def test_a_cloud_whose_mean_went_somewhere_else_shows_no_excess():
    """The mean alone moves, to a random place at the same distance: v_1 is huge, and means nothing."""
    inside, values = 0, []
    for seed in range(20):
        before, u, rng = _cloud(seed=seed)
        target = rng.normal(size=before.shape[1])
        after = before - before.mean(axis=0) + 20 * target / np.linalg.norm(target)
        moved = movement(before, after, u, 60)
        values.append(moved.mean.value.value)
        inside += moved.mean.low <= values[-1] <= moved.mean.high
        assert not moved.mean.found and not moved.texts.found
        assert moved.texts.value.value < 1e-9  # all texts moved alike: nothing is left per text
    assert min(values) > 0.3 and inside >= 17


def test_a_movement_along_the_direction_text_by_text_is_found():
    before, u, rng = _cloud()
    steps = -10 + 4 * rng.normal(size=len(before))
    after = before + steps[:, None] * u + 0.5 * rng.normal(size=before.shape)
    moved = movement(before, after, u, 60)
    assert moved.v.value == pytest.approx(steps.mean(), abs=0.3) and moved.v.low < steps.mean() < moved.v.high
    assert moved.mean.found and moved.texts.found and moved.texts.excess > 0.3
    elsewhere = movement(before, after, np.eye(48)[5], 60)
    assert not elsewhere.mean.found and not elsewhere.texts.found


def _by_turning_every_text(before, after, u, n_draws, seed):
    """Both shares under rotations, from the definition: turn all texts, then look at their movements."""
    basis = np.linalg.svd(after, full_matrices=False)[2]
    found = []
    for turn in _rotations(basis, n_draws, seed):
        change = after @ basis.T @ turn.T - before
        mean, rest = change.mean(axis=0), change - change.mean(axis=0)
        found.append(((mean @ u) ** 2 / (mean @ mean), ((rest @ u) ** 2).sum() / (rest**2).sum()))
    return np.array(found)


def test_the_null_is_what_turning_every_text_gives():
    before, u, rng = _cloud(n=40, d=12)
    after = before @ rng.normal(size=(12, 12)) / 3 + 2
    direct = _by_turning_every_text(before, after, u, 5000, seed=1)
    quick = movement(before, after, u, 5000, seed=2)  # other rotations of the same distribution
    for i, part in enumerate((quick.mean, quick.texts)):
        assert np.allclose(
            (part.low, part.middle, part.high), np.quantile(direct[:, i], [0.025, 0.5, 0.975]), atol=0.02
        )


def test_the_shares_and_their_intervals_are_those_of_the_texts_that_were_drawn():
    before, u, rng = _cloud(n=30, d=6)
    after = before + rng.normal(size=before.shape) * 3 - 2 * u
    moved, drawn = movement(before, after, u, 20), np.random.default_rng(0)
    rows = [np.arange(30), *(drawn.integers(30, size=30) for _ in range(500))]
    shares = []
    for chosen in rows:
        change = (after - before)[chosen]
        mean, rest = change.mean(axis=0), change - change.mean(axis=0)
        shares.append(((mean @ u) ** 2 / (mean @ mean), ((rest @ u) ** 2).sum() / (rest**2).sum()))
    for i, part in enumerate((moved.mean, moved.texts)):
        own = [one[i] for one in shares]
        assert part.value.value == pytest.approx(own[0])
        assert (part.value.low, part.value.high) == pytest.approx(tuple(np.quantile(own[1:], [0.025, 0.975])))


def test_who_belongs_to_whom_does_not_matter_for_the_mean_and_matters_text_by_text():
    """v is a difference of two means: exchange the partners, and it stays; the share text by text does not."""
    before, u, rng = _cloud()
    after = before - 8 * u + 3 * rng.normal(size=(len(before), 1)) * u + 0.2 * rng.normal(size=before.shape)
    paired, exchanged = (movement(before, rows, u, 20) for rows in (after, np.roll(after, 1, axis=0)))
    assert paired.v.value == pytest.approx(exchanged.v.value)
    assert paired.mean.value.value == pytest.approx(exchanged.mean.value.value)
    assert paired.texts.value.value > 2 * exchanged.texts.value.value


def test_a_rotation_keeps_lengths_and_angles_and_forgets_directions():
    rows = np.random.default_rng(3).normal(size=(10, 30)) + 2
    basis = np.linalg.svd(rows, full_matrices=False)[2]
    turned = [rows @ basis.T @ turn.T for turn in _rotations(basis, 400, 0)]
    for one in turned[:5]:
        assert np.allclose(one @ one.T, rows @ rows.T)
    means = np.stack([one.mean(axis=0) for one in turned])
    assert np.abs(means.mean(axis=0)).max() < 5 * means.std() / np.sqrt(len(turned))


@pytest.mark.parametrize(
    ("before", "after", "direction", "said"),
    [
        (np.ones((4, 3)), np.ones((4, 2)), np.ones(3), "same shape"),
        (np.ones((2, 3)), np.zeros((2, 3)), np.ones(3), "three texts"),
        (np.ones((4, 3)), np.ones((4, 3)), np.ones(3), "did not move"),
        (np.ones((4, 3)), np.zeros((4, 3)), np.zeros(3), "all zeros"),
        (np.ones((4, 3)), np.full((4, 3), np.nan), np.ones(3), "after"),
    ],
)
def test_movement_refuses_what_cannot_be_measured(before, after, direction, said):
    with pytest.raises(ValueError, match=said):
        movement(before, after, direction)
