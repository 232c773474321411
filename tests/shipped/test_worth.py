"""Documents written with K tokens: nested choices, the null, and what ships."""

import numpy as np
import pytest

from course_utils.measures import evaluation, pursuit
from course_utils.shipped import worth
from course_utils.texts.datasets import Retrieval


def _collection(n=40, d=16, size=300, seed=0):
    rng = np.random.default_rng(seed)
    E = rng.normal(size=(size, d)).astype(np.float32)
    documents = np.stack([E[rng.choice(size, 3, replace=False)].sum(axis=0) for _ in range(n)])
    corpus = {f"d{i}": "x" for i in range(n)}
    queries = {f"q{i}": "y" for i in range(n)}
    return (
        documents,
        documents + 0.1 * rng.normal(size=documents.shape),
        E,
        Retrieval(corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(n)}),
    )


def test_documents_that_are_three_tokens_are_found_with_few_and_not_with_random_ones(monkeypatch):
    monkeypatch.setattr(worth, "KS", (1, 4, 16))
    documents, queries, E, collection = _collection()
    found = worth.search(documents, queries, E, collection, exclude=[0], report=lambda line: None)
    mean = {way: np.mean(found[way]["nDCG@10"], axis=1) for way in worth.WAYS}
    assert np.mean(found["whole"]) > 0.95 and mean["pursuit"][1] > 0.9 > 0.6 > mean["random tokens"][0]
    for way in worth.WAYS + worth.NULLS:
        assert found[way]["cosine"] == sorted(found[way]["cosine"])
    assert np.isclose(found["random tokens"]["cosine"][-1], 1, atol=1e-3)  # as many rows as dimensions say everything


def test_the_choices_are_nested_and_leave_out_what_is_excluded():
    documents, _, E, _ = _collection(n=5)
    few, many = (worth.chosen_tokens(documents, E, k, exclude=[1, 2]) for k in (2, 6))
    for way in ("pursuit", "aligned tokens"):
        assert (few[way] == many[way][:, :2]).all()
    assert not any(np.isin(ids, [1, 2]).any() for ids in many.values())


def test_the_nulls_choose_too_and_what_they_take_is_not_the_texts_own():
    documents, _, E, _ = _collection(n=6)
    own = worth.chosen_tokens(documents, E, 4)["pursuit"]
    (others, turned, spread) = (worth.nulls(documents, E, 4)[way] for way in worth.NULLS)
    assert (others[1] == np.roll(own, 3, axis=0)).all() and others[0] is E
    assert np.allclose(turned[0] @ turned[0].T, E @ E.T, atol=1e-2) and not np.allclose(turned[0], E, atol=0.1)
    assert np.allclose(np.cov(spread[0], rowvar=False), np.cov(E, rowvar=False), atol=0.6)

    def cosine(rows, ids):
        return evaluation.cosine(documents, pursuit.rebuilt(documents, rows, ids)).mean()

    assert cosine(E, own) > 0.97 > cosine(*turned) and cosine(E, own) > cosine(*others)  # the texts are three rows of E


def test_an_unknown_id_is_named():
    assert worth.rows_of(["b", "a"], ["a", "b"]) == [1, 0]
    with pytest.raises(ValueError, match="no 'c' among the 2 ids"):
        worth.rows_of(["c"], ["a", "b"])


def test_what_ships_has_a_value_for_every_way_number_and_query():
    made = worth.read()
    assert made.pop("command") == "several-tokens study tokens"
    for name, found in made.items():
        assert found["k"] == list(worth.KS) and len(found["whole"]) == found["queries"], name
        for way in worth.WAYS + worth.NULLS:
            assert np.array(found[way]["nDCG@10"]).shape == (len(worth.KS), found["queries"])
            assert found[way]["cosine"] == sorted(found[way]["cosine"])


def test_what_is_kept_is_a_ratio_of_means_whose_interval_draws_queries():
    rng = np.random.default_rng(0)
    whole = rng.uniform(0.2, 1, 200)
    half = worth.kept(whole / 2, whole)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))  # the same queries on both sides
    noisy = worth.kept(rng.permutation(whole), whole)
    assert noisy.value == pytest.approx(1) and noisy.low < 0.97 and noisy.high > 1.03
    assert noisy.value != pytest.approx((whole[::-1] / whole).mean(), abs=0.05)  # no mean of ratios
    for one, other in (([0.1], [0.1, 0.2]), ([], []), ([[0.1]], [[0.1]])):
        with pytest.raises(ValueError, match="a value for each query on both sides is needed"):
            worth.kept(one, other)
