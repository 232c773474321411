"""The workbench on a collection whose right answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import SENTENCES

from course_utils.measures import alignment
from course_utils.search import retrieval, sparse
from course_utils.search.retrieval import Setting, Workbench, cheapest, grid
from course_utils.shipped.collections import Embedded
from course_utils.texts.datasets import Retrieval

V, D = 320, 16


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(retrieval, "LARGEST_K", 60)
    monkeypatch.setattr(retrieval, "LARGEST_M", 20)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"share": 0.5},
        {"log1p": False},
        {"unit": False},
        {"idf": "lists"},
        {"idf": "none"},
        {"variants": False},
        {"m": 0},
    ],
    ids=str,
)
def test_aligned_is_what_the_parts_give(bench, changes):
    s = replace(Setting(k=40, m=5), **changes)
    options = {"exclude": bench.exclude, "direction": bench.direction, "share": s.share, "log1p": s.log1p}
    documents = sparse.document_vectors(bench.embedded.documents, bench.unembedding, 40, unit=s.unit, **options)
    expansion = None
    if s.m:
        expansion = sparse.document_vectors(bench.embedded.queries, bench.unembedding, s.m, unit=False, **options)
    surface = alignment.surface_tokens(bench.tokenizer, bench.document_texts)
    weights = {"lists": sparse.idf(documents), "texts": sparse.text_idf(surface, bench.classes), "none": None}
    queries = sparse.query_vectors(
        sparse.query_tokens(bench.tokenizer, bench.query_texts, s.variants),
        V,
        token_weights=weights[s.idf],
        expansion=expansion,
        expansion_weight=0.5,
    )
    np.testing.assert_allclose(bench.aligned(s), sparse.scores(queries, documents), rtol=1e-4, atol=1e-6)


def test_merged_variants_share_columns(bench):
    s = Setting(k=30, m=3, merge=True, variants=False)
    documents = bench.documents(s)
    assert documents.shape == (len(SENTENCES), bench.classes.max() + 1)
    assert bench.queries(s, documents).shape[1] == documents.shape[1]
    np.testing.assert_array_equal(bench.token_weights(s, documents)[bench.classes], bench.text_idf)
    with pytest.raises(ValueError, match="'texts', 'lists' or 'none'; got 'corpus'"):
        bench.aligned(Setting(k=30, m=3, idf="corpus"))


def test_logits_are_computed_once_for_all_k_until_forgotten(bench, monkeypatch):
    calls, made = [], sparse.document_vectors
    monkeypatch.setattr(sparse, "document_vectors", lambda *a, **k: calls.append(1) or made(*a, **k))
    for k in (10, 20, 30):
        bench.aligned(Setting(k=k, m=2))
    assert len(calls) == 2  # documents and queries
    bench.forget()
    bench.aligned(Setting(k=10, m=2))
    assert len(calls) == 4


def test_dense_finds_the_near_document(bench):
    assert bench.dense().argmax(axis=1).tolist() == [0, 1, 8, 6]
    assert bench.judge(bench.dense())[[0, 2, 3]].tolist() == [1, 1, 1]


def test_lexical_finds_shared_words_and_in_text_uses_nothing_else(bench):
    lexical = bench.lexical()
    assert lexical.argmax(axis=1)[[0, 1, 2, 3]].tolist() == [0, 1, 8, 6]
    own = bench.in_text()
    shares_no_token = [
        (q, d)
        for q, a in enumerate(bench.query_texts)
        for d, b in enumerate(bench.document_texts)
        if not set(bench.tokenizer(a)["input_ids"]) & set(bench.tokenizer(b)["input_ids"])
    ]
    assert all(own[q, d] == 0 for q, d in shares_no_token) and own.max() > 0


def test_judge_takes_rows_in_any_order(bench):
    scores = bench.aligned(Setting(k=40, m=5))
    everything = bench.judge(scores)
    np.testing.assert_allclose(bench.judge(scores, [3, 1]), everything[[3, 1]])
    np.testing.assert_array_equal(bench.judge(bench.dense(), [0], "RR"), [1.0])


def test_a_query_that_is_a_document_itself_can_be_left_out_of_its_own_answers(bench):
    renamed = dict(zip(["q0", "d1", "q2", "d3", *"abcde"], bench.collection.corpus.values(), strict=True))
    qrels = {q: {"d3": 1} for q in bench.collection.queries}
    parts = (bench.embedded, bench.unembedding, bench.tokenizer)
    judged = [
        Workbench(Retrieval(renamed, bench.collection.queries, qrels), *parts, ignore_identical_ids=ignore)
        for ignore in (False, True)
    ]
    scores = np.tile([9.0, 1, 8, 7, 0, 0, 0, 0, 0], (4, 1))  # first come q0 and q2, which two queries are called as
    assert [b.judge(scores, measure="RR").round(2).tolist() for b in judged] == [[0.33] * 4, [0.5, 0.33, 0.5, 0.33]]


def test_the_halves_share_no_query_and_leave_out_what_cannot_be_scored(bench):
    tune, held_out = bench.halves()
    assert sorted(tune + held_out) == [0, 1, 2, 3] and not set(tune) & set(held_out)
    bench.collection.qrels["q1"] = {"d1": 0}
    assert bench.halves() == ([0, 3], [2])


def test_the_halves_keep_groups_together(bench, monkeypatch):
    monkeypatch.setattr(bench, "groups", ["a", "b", "a", "c"])
    assert bench.halves() == ([0, 2, 3], [1])
    bench.collection.qrels["q1"] = {"d1": 0}  # a group without a usable query does not count
    assert bench.halves() == ([0, 2], [3])
    with pytest.raises(ValueError, match="2 groups for 4 queries"):
        Workbench(bench.collection, bench.embedded, bench.unembedding, bench.tokenizer, groups=["a", "b"])


def test_a_k_beyond_the_vocabulary_keeps_every_positive_logit(bench, monkeypatch):
    monkeypatch.setattr(retrieval, "LARGEST_K", 10**6)
    documents = bench.documents(Setting(k=10**6, m=0))
    everything = sparse.document_vectors(
        bench.embedded.documents, bench.unembedding, None, exclude=bench.exclude, direction=bench.direction, log1p=True
    )
    np.testing.assert_allclose(documents.toarray(), everything.toarray(), rtol=1e-6)
    assert 0 < documents.nnz < documents.shape[0] * V


def test_more_than_the_largest_k_or_m_of_a_workbench_is_refused(bench):
    bench.largest = (20, 3)
    assert bench.documents(Setting(k=20, m=3)).shape[1] == V
    for setting in (Setting(k=21, m=3), Setting(k=20, m=4)):
        with pytest.raises(ValueError, match="exceeds the largest of this workbench, K = 20, M = 3"):
            bench.aligned(setting)


def test_an_empty_query_and_one_of_unknown_tokens_find_nothing_without_a_model(bench):
    bench.query_texts[:2] = ["", " ... "]
    found = bench.aligned(Setting(k=40, m=0))
    assert not found[:2].any() and found[2:].any()
    index = sparse.inverted_index(bench.documents(Setting(k=40, m=0)))
    vectors = bench.queries(Setting(k=40, m=0), bench.documents(Setting(k=40, m=0)))
    assert [len(ids) for ids, _ in sparse.search(vectors, index)][:2] == [0, 0]


def test_queries_without_their_own_tokens_are_the_rest(bench):
    setting = Setting(k=40, m=5)
    documents = bench.documents(setting)
    whole, own, rest = (
        bench.queries(setting, documents).toarray(),
        bench.queries(replace(setting, m=0), documents).toarray(),
        bench.queries(setting, documents, own=False).toarray(),
    )
    np.testing.assert_allclose(whole, own + rest, rtol=1e-5, atol=1e-6)
    assert rest.any()


def test_grid_holds_every_query_for_every_pair(bench):
    found, read, held = grid(bench, Setting(), [0, 2, 3], ks=(5, 40), ms=(0, 10))
    for i, k in enumerate((5, 40)):
        for j, m in enumerate((0, 10)):
            setting = Setting(k=k, m=m)
            assert found[i, j] == pytest.approx(bench.judge(bench.aligned(setting), [0, 2, 3]))
            documents = bench.documents(setting)
            asked = bench.queries(setting, documents).toarray()[[0, 2, 3]] > 0
            assert read[i, j] == (asked @ (documents.toarray() > 0).sum(axis=0)).mean()
            assert held[i] == documents.nnz / 9


def test_cheapest_takes_the_lowest_price_that_is_good_enough():
    means, prices = (
        np.array([[0.1, 0.95], [0.98, 0.99], [1.0, 1.0]]),
        retrieval.postings_prices((10, 100, 1000), (0, 50)),
    )
    assert prices.tolist() == [[100, 600], [1000, 6000], [10000, 60000]]
    assert cheapest(means, prices, good_enough=0.98) == (1, 0)
    assert cheapest(means, prices, good_enough=0.9) == (0, 1)
    assert cheapest(means, prices, good_enough=1) == (2, 0)
    assert cheapest(np.array([[0.98, 0.99]]), np.zeros((1, 2))) == (0, 1)  # of equal prices the better one
    with pytest.raises(ValueError, match="finite mean and a price"):
        cheapest(means, prices[:2])
    with pytest.raises(ValueError, match="finite mean and a price"):
        cheapest(means * np.nan, prices)


def test_every_weighting_differs_from_the_first_in_what_it_says():
    named = retrieval.weightings(Setting(k=99, m=7))
    first = named.pop("as chosen")
    assert first == Setting(k=99, m=7) and len({first, *named.values()}) == len(named) + 1
    assert all((s.k, s.m) == (99, 7) for s in named.values())


def test_embeddings_that_do_not_belong_to_the_collection_are_refused(collection, tokenizer):
    with pytest.raises(ValueError, match="9 documents and 4 queries, embedded are 8 and 4"):
        Workbench(collection, Embedded(np.ones((8, D)), np.ones((4, D))), np.ones((V, D)), tokenizer)
