"""Embeddings centred, without components, whitened: each against its definition, and blind to the held-out queries."""

import numpy as np
import pytest

from course_utils.measures import evaluation
from course_utils.search import dense
from course_utils.search.dense import DenseSetting, DenseSide

RNG = np.random.default_rng(7)
DOCUMENTS = RNG.normal(size=(60, 6)) * [5, 3, 2, 1, 1, 0.5] + [9, 0, 0, 1, 0, 0]
QUERIES = RNG.normal(size=(8, 6)) + [4, 0, 1, 0, 0, 0]
TUNE = [0, 2, 4, 6]


@pytest.fixture
def side():
    return DenseSide(DOCUMENTS, QUERIES, TUNE)


def test_raw_is_the_cosine(side):
    np.testing.assert_allclose(side.scores(DenseSetting()), evaluation.cosine_matrix(QUERIES, DOCUMENTS), atol=1e-6)


def test_centred_takes_each_sides_own_mean_the_queries_from_the_tuning_half(side):
    expected = evaluation.cosine_matrix(QUERIES - QUERIES[TUNE].mean(axis=0), DOCUMENTS - DOCUMENTS.mean(axis=0))
    np.testing.assert_allclose(side.scores(DenseSetting(centre=True)), expected, atol=1e-6)


@pytest.mark.parametrize("centre", [False, True])
def test_removed_components_are_gone_and_the_rest_is_as_it_was(side, centre):
    means = (DOCUMENTS.mean(axis=0), QUERIES[TUNE].mean(axis=0)) if centre else (0, 0)
    rest = DOCUMENTS - means[0]
    directions = np.linalg.svd(rest, full_matrices=False)[2][:2]
    cut = [side - (side @ directions.T) @ directions for side in (QUERIES - means[1], rest)]
    np.testing.assert_allclose(side.scores(DenseSetting(centre, 2)), evaluation.cosine_matrix(*cut), atol=1e-6)


def test_whitened_documents_have_the_same_variance_in_every_direction(side):
    documents, _ = side.treated(DenseSetting(centre=True, power=1.0))
    covariance = documents.T @ documents / len(documents)
    np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(6), atol=1e-9)
    half, _ = side.treated(DenseSetting(centre=True, power=0.5))
    spread, whole = (np.linalg.svd(h, compute_uv=False) for h in (half, DOCUMENTS - DOCUMENTS.mean(axis=0)))
    np.testing.assert_allclose(spread / spread[0], np.sqrt(whole / whole[0]), rtol=1e-6)


def test_other_held_out_queries_change_nothing_for_the_rest():
    changed = QUERIES.copy()
    changed[[1, 3]] = 100 * RNG.normal(size=(2, 6))
    for setting in (DenseSetting(True, 1, 0.6), DenseSetting(True), DenseSetting(False, 1)):
        a, b = (DenseSide(DOCUMENTS, q, TUNE).scores(setting) for q in (QUERIES, changed))
        kept = [0, 2, 4, 5, 6, 7]
        np.testing.assert_array_equal(a[kept], b[kept])


def test_every_setting_of_the_grid_is_another_one_and_says_what_it_is():
    grid = dense.settings()
    flat = [setting for level in grid for setting in level]
    assert len(grid) == len(dense.LEVELS) and len({str(s) for s in flat}) == len(set(flat)) == len(flat)
    assert str(DenseSetting()) == "raw"
    assert str(DenseSetting(True, 1, 0.4)) == "centred, without 1 component, whitened (power 0.4)"


def test_what_has_to_be_fitted_grows_with_what_is_done():
    prices = [DenseSetting().fitted(10), DenseSetting(False, 1).fitted(10), DenseSetting(True).fitted(10)]
    assert (
        prices == [0, 10, 20] and DenseSetting(True, 2).fitted(10) == 40 and DenseSetting(power=0.2).fitted(10) == 100
    )


def test_directions_without_any_variance_stay_finite():
    flat = np.c_[DOCUMENTS, np.zeros(60)]
    found = DenseSide(flat, np.c_[QUERIES, np.ones(8)], TUNE).scores(DenseSetting(True, 0, 1.0))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("documents", "queries", "tune", "setting", "message"),
    [
        (DOCUMENTS, QUERIES[:, :5], TUNE, DenseSetting(), "6 dimensions, queries 5"),
        (DOCUMENTS, QUERIES, [], DenseSetting(), "no tuning query"),
        (DOCUMENTS, QUERIES, TUNE, DenseSetting(remove=6), "between 0 and 5; got 6"),
        (np.ones((5, 6)), QUERIES, TUNE, DenseSetting(True), "same embedding"),
        (np.full((5, 6), np.nan), QUERIES, TUNE, DenseSetting(), "nan|NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(documents, queries, tune, setting, message):
    with pytest.raises(ValueError, match=message):
        DenseSide(documents, queries, tune).scores(setting)
