"""The workbench on a collection whose right answers are known, and the rows of its command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from tiny import SENTENCES, save_tokenizer

from course_utils.__main__ import main
from course_utils.measures import alignment, evaluation
from course_utils.models import registry
from course_utils.search import retrieval, sparse
from course_utils.search.retrieval import Setting, Workbench, cheapest, grid, ratio, systems
from course_utils.shipped import collections, kinds
from course_utils.shipped.collections import Embedded
from course_utils.texts.datasets import Retrieval

V, D = 320, 16


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def collection():
    corpus = {f"d{i}": text for i, text in enumerate(SENTENCES)}
    queries = {"q0": "guitar on stage", "q1": "parrots", "q2": "rain", "q3": "a flood and a bridge"}
    return Retrieval(corpus, queries, {"q0": {"d0": 1}, "q1": {"d1": 1, "d4": 1}, "q2": {"d8": 1}, "q3": {"d6": 1}})


@pytest.fixture
def bench(collection, tokenizer):
    rng = np.random.default_rng(1)
    common = rng.normal(size=D) * 4
    documents = (rng.normal(size=(len(collection.corpus), D)) + common).astype(np.float32)
    near = [0, 1, 8, 6]  # each query lies close to a document that is relevant to it
    queries = (documents[near] + 0.1 * rng.normal(size=(4, D))).astype(np.float32)
    unembedding = rng.normal(size=(V, D)).astype(np.float32)
    return Workbench(collection, Embedded(documents, queries), unembedding, tokenizer)


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
        bench.aligned(Setting(idf="corpus"))


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


def test_grid_holds_the_means_of_every_pair(bench):
    means = grid(bench, Setting(), [0, 2, 3], ks=(5, 40), ms=(0, 10))
    for i, k in enumerate((5, 40)):
        for j, m in enumerate((0, 10)):
            assert means[i, j] == pytest.approx(bench.judge(bench.aligned(Setting(k=k, m=m)), [0, 2, 3]).mean())


def test_cheapest_takes_the_smallest_product_that_is_good_enough():
    means = np.array([[0.1, 0.95], [0.98, 0.99], [1.0, 1.0]])
    assert cheapest(means, (10, 100, 1000), (0, 50), good_enough=0.98) == (100, 0)
    assert cheapest(means, (10, 100, 1000), (0, 50), good_enough=0.9) == (10, 50)
    assert cheapest(means, (10, 100, 1000), (0, 50), good_enough=1) == (1000, 0)


def test_every_weighting_differs_from_the_first_in_what_it_says():
    named = retrieval.weightings(Setting(k=99, m=7))
    first = named.pop("as chosen")
    assert first == Setting(k=99, m=7) and len({first, *named.values()}) == len(named) + 1
    assert all((s.k, s.m) == (99, 7) for s in named.values())


def test_systems_and_hybrids(bench):
    found = systems(bench, Setting(k=40, m=5))
    assert all(s.shape == (4, len(SENTENCES)) and np.isfinite(s).all() for s in found.values())
    np.testing.assert_array_equal(
        found["BM25 + dense, ranks"], evaluation.fuse_ranks(found["BM25"], found["dense cosine"])
    )
    np.testing.assert_array_equal(found["aligned tokens, M = 0"], bench.aligned(Setting(k=40, m=0)))


def test_ratio_is_that_of_the_means_with_the_same_queries():
    a, b = np.array([0.2, 0.4, 0.6, 0.1]), np.array([0.4, 0.8, 1.2, 0.2])
    found = ratio(a, b)
    assert found.value == pytest.approx(0.5) and found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5)


def test_embeddings_that_do_not_belong_to_the_collection_are_refused(collection, tokenizer):
    with pytest.raises(ValueError, match="9 documents and 4 queries, embedded are 8 and 4"):
        Workbench(collection, Embedded(np.ones((8, D)), np.ones((4, D))), np.ones((V, D)), tokenizer)


def test_a_new_result_replaces_the_old_one(tmp_path):
    path = tmp_path / "results.json"
    assert retrieval.results(path) == []
    for collection, value in (("B", 1), ("A", 2), ("B", 3)):
        retrieval.add_result({"collection": collection, "embedder": "x", "value": value}, path)
    assert [(r["collection"], r["value"]) for r in retrieval.results(path)] == [("A", 2), ("B", 3)]


def test_the_stored_rows_are_whole_and_of_the_adapters_that_are_here():
    for row in retrieval.results():
        name = f"{row['collection']}, {row['embedder']}"
        assert {len(v) for v in row["nDCG@10"].values()} == {row["queries"]}, name
        assert all(0 <= x <= 1 for values in row["nDCG@10"].values() for x in values), name
        Setting(**row["setting"])
        if registry.available((row["embedder"],)):
            assert retrieval.is_current(row), f"{name}: run several-tokens search again"


def test_a_row_of_another_adapter_is_not_current():
    name = kinds.KINDS["retrieval"].names[0]
    made_from = collections.source(name, Retrieval({"d": "text"}, {}, {}), "bfloat16")
    row = {"embedder": name, "made_from": made_from}
    assert retrieval.is_current(row)
    assert not retrieval.is_current({**row, "made_from": {**made_from, "adapters": "0"}})


def test_the_command_reads_a_folder_and_writes_a_row(bench, collection, tmp_path, monkeypatch):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", collection.corpus), ("queries", collection.queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    rows = [f"{q}\t{d}\t{r}" for q, judged in collection.qrels.items() for d, r in judged.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    seen = []

    def measured(loaded, name, dtype, **options):
        seen.append((loaded, name, dtype, options))
        return {"embedder": name, "nDCG@10": {"dense cosine": [1.0, 0.5]}}

    monkeypatch.setattr(retrieval, "measure", measured)
    monkeypatch.setattr(retrieval, "RESULTS", tmp_path / "results.json")
    options = ["--beir", str(folder), "--title", "Small", "--dtype", "bfloat16", "--ignore-identical-ids"]
    done = CliRunner().invoke(main, ["search", "smol-sgpt-qa", *options])
    assert done.exit_code == 0, done.output
    assert seen == [(collection, "smol-sgpt-qa", "bfloat16", {"ignore_identical_ids": True})]
    assert "0.75" in done.stdout
    [row] = json.loads((tmp_path / "results.json").read_text())
    assert row["collection"] == "Small" and row["embedder"] == "smol-sgpt-qa"
