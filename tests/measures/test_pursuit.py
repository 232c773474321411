"""Orthogonal matching pursuit, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp

from course_utils.measures.pursuit import pursue, rebuilt


def _texts(n=5, d=12, size=80, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 1, rng.normal(size=(size, d)) + 0.5


def test_the_same_rows_as_scikit_learn_takes_and_the_same_fit():
    h, rows = _texts()
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = pursue(h, rows, 6)
    for text, ids in zip(h, found, strict=True):
        for k in (1, 3, 6):
            weights = orthogonal_mp(units.T, text, n_nonzero_coefs=k)
            assert set(np.flatnonzero(weights)) == set(ids[:k])
            assert np.allclose(rebuilt(text[None], rows, ids[None, :k])[0], units.T @ weights, atol=1e-6)


def test_every_further_row_comes_nearer_and_d_rows_are_enough():
    h, rows = _texts()
    found = pursue(h, rows, 12)
    left = [np.linalg.norm(h - rebuilt(h, rows, found[:, :k]), axis=1) for k in range(1, 13)]
    assert all((b <= a + 1e-9).all() for a, b in zip(left, left[1:], strict=False)) and left[-1].max() < 1e-6
    assert all(len(set(ids)) == 12 for ids in found)


def test_what_is_excluded_or_zero_is_never_taken_and_many_texts_change_nothing():
    h, rows = _texts(n=150)
    rows[7] = 0
    first = pursue(h, rows, 3)
    assert not (first == 7).any()
    banned = np.unique(first[:, 0])
    assert not np.isin(pursue(h, rows, 3, banned), banned).any()
    assert (pursue(h[100:110], rows, 3) == first[100:110]).all()


def test_a_text_that_is_made_of_three_rows_is_found():
    _, rows = _texts(d=40, size=200)
    assert set(pursue((rows[[3, 9, 150]].sum(axis=0))[None], rows, 3)[0]) == {3, 9, 150}


@pytest.mark.parametrize(("k", "said"), [(0, "k"), (13, "k")])
def test_a_number_of_rows_out_of_range_is_refused(k, said):
    with pytest.raises(ValueError, match=said):
        pursue(*_texts(), k)


def test_shapes_that_do_not_fit_are_refused():
    h, rows = _texts()
    with pytest.raises(ValueError, match="do not fit"):
        rebuilt(h, rows, np.zeros((2, 3), dtype=int))
    with pytest.raises(ValueError):
        rebuilt(h, rows, np.full((5, 3), 80))
