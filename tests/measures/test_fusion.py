"""Fusion of systems against loops, and what happens to ties and to systems that find nothing."""

import numpy as np
import pytest

from course_utils.measures.evaluation import fuse_ranks, fuse_scores


@pytest.fixture
def systems():
    rng = np.random.default_rng(3)
    return rng.normal(size=(6, 11)), rng.integers(0, 4, size=(6, 11)).astype(float)


@pytest.mark.parametrize("k", [0, 60])
def test_rank_fusion_adds_reciprocal_ranks(systems, k):
    found = fuse_ranks(*systems, k=k)
    for q in range(6):
        for d in range(11):
            # Equal scores share the last of their places.
            ranks = [sum(s[q, other] >= s[q, d] for other in range(11)) for s in systems]
            assert found[q, d] == pytest.approx(sum(1 / (k + rank) for rank in ranks))


def test_rank_fusion_does_not_depend_on_scale_or_on_the_order_of_documents(systems):
    a, b = systems
    np.testing.assert_allclose(fuse_ranks(a, b), fuse_ranks(1000 * a - 3, np.exp(b)))
    order = np.random.default_rng(0).permutation(11)
    np.testing.assert_allclose(fuse_ranks(a, b)[:, order], fuse_ranks(a[:, order], b[:, order]))


def test_a_system_that_finds_nothing_changes_no_order(systems):
    a, nothing = systems[0], np.zeros((6, 11))
    for fused in (fuse_ranks(a, nothing), fuse_scores(a, nothing)):
        np.testing.assert_array_equal(np.argsort(-fused, axis=1), np.argsort(-a, axis=1))


def test_score_fusion_is_the_weighted_sum_of_scaled_scores(systems):
    found = fuse_scores(*systems, weights=[0.25, 2])
    for q in range(6):
        scaled = [(s[q] - min(s[q])) / (max(s[q]) - min(s[q])) for s in systems]
        np.testing.assert_allclose(found[q], 0.25 * scaled[0] + 2 * scaled[1])
    np.testing.assert_allclose(fuse_scores(*systems), fuse_scores(*systems, weights=[0.5, 0.5]))


def test_float32_scores_are_welcome_and_stay_as_they_are(systems):
    given = [s.astype(np.float32) for s in systems]
    before = [s.copy() for s in given]
    assert fuse_scores(*given).dtype == fuse_ranks(*given).dtype == np.float64
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fuse", [fuse_ranks, fuse_scores])
def test_what_does_not_fit_is_refused(fuse, systems):
    a, b = systems
    with pytest.raises(ValueError, match=r"\(6, 11\), \(6, 10\)"):
        fuse(a, b[:, :10])
    with pytest.raises(ValueError, match="one or more"):
        fuse()
    bad = b.copy()
    bad[2, 5] = np.nan
    with pytest.raises(ValueError, match="system 1: the score of query 2 and document 5 is nan"):
        fuse(a, bad)


def test_settings_are_checked(systems):
    with pytest.raises(ValueError, match="1 weights for 2 systems"):
        fuse_scores(*systems, weights=[1])
    with pytest.raises(ValueError, match="negative; got -1"):
        fuse_ranks(*systems, k=-1)
