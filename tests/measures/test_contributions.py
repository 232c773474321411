"""What a cosine is made of: the parts add up, whichever exact way they are cut; and the measures of comparison."""

import numpy as np
import pytest

from course_utils.measures import contributions as co
from course_utils.measures.evaluation import cosine

V, D, N = 300, 12, 7


@pytest.fixture
def world():
    """A frame with a strong common direction, as real unembedding matrices have, and embeddings of several lengths."""
    rng = np.random.default_rng(5)
    unembedding = (rng.normal(size=(V, D)) + 4 * rng.normal(size=D)).astype(np.float32)
    a, b = (rng.normal(size=(N, D)) * rng.uniform(0.1, 50, size=(N, 1)) for _ in range(2))
    return unembedding, a, b


# Exactness ----------------------------------------------------------------------------------------------------------


def test_the_parts_of_any_orthonormal_basis_add_up_to_the_cosine(world):
    unembedding, a, b = world
    singular = np.linalg.svd(unembedding.astype(np.float64), full_matrices=False)[2]
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    for basis in (singular, turned, np.eye(D)):
        parts = co.coordinate_contributions(a, b, basis)
        assert parts.shape == (N, D)
        np.testing.assert_allclose(parts.sum(axis=1), cosine(a, b), atol=1e-12)
    assert abs(co.coordinate_contributions(a, b, singular[:-1]).sum(axis=1) - cosine(a, b)).max() > 1e-3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("way", ["contributions", "tight_contributions"])
def test_the_parts_of_the_tokens_add_up_to_the_cosine(world, way, weighted):
    unembedding, a, b = world
    weights = np.random.default_rng(1).uniform(0, 9, size=V) if weighted else None
    parts = getattr(co.token_frame(unembedding, weights), way)(a, b)
    assert parts.shape == (N, V)
    np.testing.assert_allclose(parts.sum(axis=1), cosine(a, b), atol=1e-9)
    np.testing.assert_allclose(parts, getattr(co.token_frame(unembedding, weights), way)(b, a), atol=1e-12)


def test_contributions_are_those_of_the_pseudo_inverse(world):
    unembedding, a, b = world
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    inverse = np.linalg.pinv(unembedding.astype(np.float64))  # [D, V], by an SVD of its own
    expected = ((a @ unembedding.T) * (b @ inverse) + (b @ unembedding.T) * (a @ inverse)) / 2
    np.testing.assert_allclose(co.token_frame(unembedding).contributions(a, b), expected, atol=1e-9)


def test_distances_add_up_to_what_is_missing_to_one_and_are_never_negative(world):
    unembedding, a, b = world
    frame = co.token_frame(unembedding)
    parts = frame.distances(a, b)
    np.testing.assert_allclose(parts.sum(axis=1), 1 - cosine(a, b), atol=1e-9)
    assert parts.min() >= 0
    np.testing.assert_allclose(frame.distances(a, 3 * a), 0, atol=1e-12)
    np.testing.assert_allclose(frame.tight_contributions(a, a), frame.coefficients(a) ** 2, atol=1e-12)


def test_the_logits_themselves_do_not_add_up_to_the_cosine(world):
    unembedding, a, b = world
    logits_a, logits_b = a @ unembedding.T, b @ unembedding.T
    assert np.abs(cosine(logits_a, logits_b) - cosine(a, b)).max() > 0.05


def test_half_of_the_vocabulary_can_carry_all_of_the_cosine(world):
    unembedding, a, b = world
    half = np.random.default_rng(2).random(V) < 0.5
    for weights in (half, ~half):
        parts = co.token_frame(unembedding, weights.astype(float)).contributions(a, b)
        assert np.count_nonzero(parts[:, ~weights]) == 0
        np.testing.assert_allclose(parts.sum(axis=1), cosine(a, b), atol=1e-9)


def test_of_all_left_inverses_the_unweighted_one_has_the_smallest_entries(world):
    unembedding, a, _ = world
    e, unit = unembedding.astype(np.float64), a / np.linalg.norm(a, axis=1, keepdims=True)
    least = np.linalg.norm(unit @ np.linalg.pinv(e))
    for seed in range(3):
        w = np.random.default_rng(seed).uniform(0.1, 5, size=V)
        other = np.linalg.inv(e.T @ (w[:, None] * e)) @ e.T * w
        np.testing.assert_allclose(other @ e, np.eye(D), atol=1e-9)
        assert np.linalg.norm(unit @ other) > least * 1.001


def test_large_matrices_are_worked_through_in_parts(world, monkeypatch):
    unembedding, a, b = world
    whole = co.token_frame(unembedding).contributions(a, b)
    monkeypatch.setattr(co, "_CHUNK_ROWS", 64)
    np.testing.assert_allclose(co.token_frame(unembedding).contributions(a, b), whole, atol=1e-12)


def test_length_does_not_matter_and_nothing_is_changed_in_place(world):
    unembedding, a, b = world
    frame, before = co.token_frame(unembedding), (a.copy(), b.copy(), unembedding.copy())
    np.testing.assert_allclose(frame.contributions(a, b), frame.contributions(7 * a, 0.1 * b), atol=1e-12)
    assert all(np.array_equal(x, y) for x, y in zip((a, b, unembedding), before, strict=True))


# What is refused ----------------------------------------------------------------------------------------------------


def test_embeddings_that_do_not_fit_are_refused_by_name(world):
    unembedding, a, b = world
    frame = co.token_frame(unembedding)
    for call in (frame.contributions, lambda x, y: co.coordinate_contributions(x, y, np.eye(D))):
        with pytest.raises(ValueError, match=r"equal shapes; got \(7, 12\) and \(6, 12\)"):
            call(a, b[:-1])
        bad = a.copy()
        bad[3] = 0
        with pytest.raises(ValueError, match="row 3 of a is all zeros"):
            call(bad, b)
        bad[2, 1] = np.nan
        with pytest.raises(ValueError, match="b hold NaN or infinity in row\\(s\\) \\[2\\]"):
            call(b, bad)
    with pytest.raises(ValueError, match="embeddings have 11 values, rows of E_g 12"):
        frame.contributions(a[:, 1:], b[:, 1:])
    with pytest.raises(ValueError, match=r"directions must be \[r, 12\]"):
        co.coordinate_contributions(a, b, np.eye(11))
    with pytest.raises(ValueError, match="not orthonormal"):
        co.coordinate_contributions(a, b, 2 * np.eye(D))


def test_a_matrix_without_a_way_back_is_refused(world):
    unembedding, _, _ = world
    flat = unembedding.copy()
    flat[:, 0] = flat[:, 1]
    with pytest.raises(ValueError, match="do not span the space"):
        co.token_frame(flat)
    few = np.zeros(V)
    few[: D - 1] = 1
    with pytest.raises(ValueError, match="do not span the space"):
        co.token_frame(unembedding, few)
    with pytest.raises(ValueError, match="token 4 has -1.0"):
        co.token_frame(unembedding, np.where(np.arange(V) == 4, -1.0, 1.0))
    with pytest.raises(ValueError, match=r"one weight for each of the 300 tokens expected; got \(5,\)"):
        co.token_frame(unembedding, np.ones(5))
    with pytest.raises(ValueError, match="floating-point numbers"):
        co.token_frame(np.ones((V, D), dtype=int))


# Shares, overlap and measures ---------------------------------------------------------------------------------------


def test_a_share_counts_every_token_once():
    parts = np.array([[0.4, 0.2, -0.1, 0.0], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(co.share_of(parts, [np.array([0, 0, 1]), np.array([3])]), [1.2, 0.25])
    with pytest.raises(ValueError, match="row 1 adds up to zero"):
        co.share_of(np.array([[1.0, 1.0], [1.0, -1.0]]), [[0], [0]])
    with pytest.raises(ValueError, match="one list of tokens per row"):
        co.share_of(parts, [np.array([0])])


def test_a_span_holds_what_its_rows_can_express(world):
    unembedding, a, b = world
    ids = [np.array([3, 1, 4, 1, 5])] * N
    rows = unembedding[[1, 3, 4, 5]].astype(np.float64)
    project = rows.T @ np.linalg.pinv(rows.T)
    expected = np.einsum("nd,de,ne->n", a, project, b) / np.einsum("nd,nd->n", a, b)
    np.testing.assert_allclose(co.span_share(a, b, unembedding, ids), expected, atol=1e-9)
    np.testing.assert_allclose(co.span_share(a, b, unembedding, [np.arange(D)] * N), 1, atol=1e-9)
    inside = np.random.default_rng(3).normal(size=(N, 4)) @ rows
    np.testing.assert_allclose(co.span_share(inside, b, unembedding, ids), 1, atol=1e-9)
    with pytest.raises(ValueError, match="pair 0: the rows of its 13 tokens are not independent"):
        co.span_share(a, b, unembedding, [np.arange(D + 1)] * N)
    with pytest.raises(ValueError, match="one list of tokens per pair"):
        co.span_share(a, b, unembedding, ids[:-1])


def test_overlap_by_hand_raw_and_merged():
    ranked = np.array([[1, 2, 3], [3, 4, 1], [5, 6, 7]])
    np.testing.assert_allclose(co.token_overlap(ranked, 3), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(co.token_overlap(ranked, 1), np.eye(3))
    classes = np.array([0, 1, 2, 1, 4, 1, 6, 7])  # 1, 3 and 5 are variants of one token
    np.testing.assert_allclose(co.token_overlap(ranked, 2, classes)[0], [1, 1 / 3, 1 / 3])
    with pytest.raises(ValueError, match="k=4"):
        co.token_overlap(ranked, 4)


def test_above_by_hand_and_against_all_comparisons():
    assert co.above([2, 3], [1, 1.5]) == 1 and co.above([1], [2, 3]) == 0
    assert co.above([1, 2, 3], [2]) == 0.5  # one below, one tie, one above
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 40), rng.integers(0, 9, 25)
    slow = np.mean([(i > j) + 0.5 * (i == j) for i in x for j in y])
    assert co.above(x, y) == pytest.approx(slow)
    assert co.above(np.exp(x), np.exp(y)) == pytest.approx(slow)  # the scale does not matter


def test_position_does_not_depend_on_the_scale():
    rng = np.random.default_rng(1)
    zero, one, values = rng.normal(0, 1, 20), rng.normal(5, 1, 20), rng.normal(3, 1, 20)
    assert co.position(zero, zero, one) == pytest.approx(0) and co.position(one, zero, one) == pytest.approx(1)
    assert co.position([2.0], [1.0], [5.0]) == 0.25
    scaled = (0.9 + 0.02 * v for v in (values, zero, one))
    assert co.position(*scaled) == pytest.approx(co.position(values, zero, one))
    with pytest.raises(ValueError, match="above that of `zero`; got 1 and 5"):
        co.position([2.0], [5.0], [1.0])


def test_let_through_by_hand():
    wanted = [0.9, 0.8, 0.7, 0.6, 0.1]
    assert co.let_through([0.95, 0.65, 0.6, 0.2], wanted, keep=0.8) == 0.75  # the threshold is 0.6
    assert co.let_through([0.95, 0.65, 0.6, 0.2], wanted, keep=0.2) == 0.25
    assert co.let_through([0.05], wanted, keep=1) == 0
    with pytest.raises(ValueError, match="keep is a share"):
        co.let_through([0.5], wanted, keep=0)


@pytest.mark.parametrize("measure", [co.above, co.let_through])
def test_measures_refuse_nothing_and_nan(measure):
    with pytest.raises(ValueError, match="is empty; give one or more numbers"):
        measure([], [1.0])
    with pytest.raises(ValueError, match=r"\[0\] is nan; remove it"):
        measure([1.0], [float("nan")])


# Held constant ------------------------------------------------------------------------------------------------------


def test_a_partial_correlation_is_that_of_the_textbook_formula_for_one_variable():
    from course_utils.measures.evaluation import spearman

    rng = np.random.default_rng(0)
    z = rng.normal(size=80)
    a, b = z + rng.normal(size=80), z + rng.normal(size=80)
    ab, az, bz = spearman(a, b), spearman(a, z), spearman(b, z)
    assert np.isclose(co.partial_spearman(a, b, [z]), (ab - az * bz) / np.sqrt((1 - az**2) * (1 - bz**2)))
    assert np.isclose(co.partial_spearman(a, b, []), ab) and abs(co.partial_spearman(a, b, [z])) < ab / 2


def test_a_partial_correlation_refuses_what_leaves_nothing():
    x = np.arange(5.0)
    with pytest.raises(ValueError, match="nothing is left"):
        co.partial_spearman(x, x**2, [x])
    with pytest.raises(ValueError, match="differ in length"):
        co.partial_spearman(x, x, [x[:3]])


def test_a_threshold_from_one_half_lets_through_what_it_does_in_the_other():
    same, different = np.arange(8), np.arange(8, 28)
    apart = np.r_[np.ones(8), np.zeros(20)]
    found = co.merged_by_halves([apart, np.ones(28), -apart], same, different, splits=5)
    assert found.shape == (5, 3, 3)
    assert (found[:, 0] == [0, 0, 1]).all()  # told apart: nothing merged wrongly, every duplicate found
    assert (found[:, 1] == 1).all() and (found[:, 2] == 1).all()  # all alike, or upside down: everything passes


def test_halves_are_drawn_anew_and_are_the_same_for_all_candidates():
    rng = np.random.default_rng(3)
    c = rng.normal(size=60)
    same, different = np.arange(20), np.arange(20, 60)
    found = co.merged_by_halves([c, 2 * c + 1], same, different, keep=0.5, splits=40)
    assert (found[:, 0] == found[:, 1]).all() and len(np.unique(found[:, 0, 1])) > 3
    assert co.merged_by_halves([c], same, different, keep=1.0)[..., 2].mean() < 1  # the other half may lie lower
    by_hand = co.let_through(c[different], c[same], 0.5)
    assert found[:, 0, :2].mean() == pytest.approx(by_hand, abs=0.08)
    with pytest.raises(ValueError, match="two halves need even numbers of pairs; got 3 and 40"):
        co.merged_by_halves([c], same[:3], different)
