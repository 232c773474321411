"""Outlier dimensions: setting one to zero agrees with decoding again, and its match is found by spread."""

import numpy as np
import pytest

from course_utils.measures import alignment, outliers


def test_what_stays_agrees_with_decoding_the_changed_embeddings():
    rng = np.random.default_rng(0)
    h, weight = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    h[:, 2] += 9
    kept = outliers.kept_without(h, weight, [0, 2, 4], k=6, exclude=[1])
    before, _ = alignment.top_tokens(h, weight, 6, [1])
    for row, j in zip(kept, (0, 2, 4), strict=True):
        changed = h.copy()
        changed[:, j] = 0
        after, _ = alignment.top_tokens(changed, weight, 6, [1])
        assert row.tolist() == [np.isin(a, b).mean() for a, b in zip(before, after, strict=True)]
    assert kept.mean(axis=1).argmin() == 1  # the large one says most


def test_a_large_dimension_that_speaks_to_all_tokens_alike_changes_nothing():
    rng = np.random.default_rng(1)
    h, weight = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)
    h[:, 3], weight[:, 3] = -500, 0.5
    assert (outliers.kept_without(h, weight, [3], k=5) == 1).all()
    weight[:, 3] += rng.normal(size=30).astype(np.float32) * 0.02  # a little unevenness, times five hundred
    assert outliers.kept_without(h, weight, [3], k=5).mean() < 0.9


def test_its_match_is_the_dimension_with_the_nearest_spread():
    h = np.random.default_rng(2).normal(size=(500, 5)) * [1, 10, 11, 100, 2] + 7
    assert outliers.alike(h, 1, 2).tolist() == [2, 4]
    for wrong, said in (((5, 1), "dimension"), ((0, 5), "m must")):
        with pytest.raises(ValueError, match=said):
            outliers.alike(h, *wrong)
    with pytest.raises(ValueError, match="dimensions"):
        outliers.kept_without(h.astype(np.float32), np.ones((9, 5), np.float32), [5])
    with pytest.raises(ValueError, match="differ in width"):
        outliers.kept_without(h.astype(np.float32), np.ones((9, 4), np.float32), [0])
