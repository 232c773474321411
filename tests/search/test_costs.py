"""Costs: counts against PyTorch's own counter and loops by hand; searches against sorting; one small measurement."""

import bm25s
import numpy as np
import pytest
import tiny
import torch
from scipy.sparse import csr_array
from torch.utils.flop_counter import FlopCounterMode

from course_utils.measures.lexical import BM25, stems
from course_utils.models.embedder import Backbone
from course_utils.search import costs
from course_utils.search.costs import (
    Encoder,
    SparseMethod,
    best,
    cost_table,
    encoder_costs,
    measure_search,
    read_postings,
)
from course_utils.search.sparse import inverted_index


def random_vectors(n: int, columns: int, per_row: int, seed: int) -> csr_array:
    """Rows with ``per_row`` weights above 0; low column numbers are more frequent, as words are."""
    rng = np.random.default_rng(seed)
    likely = 1 / np.arange(1, columns + 1)
    rows = [np.sort(rng.choice(columns, per_row, replace=False, p=likely / likely.sum())) for _ in range(n)]
    data = rng.uniform(0.1, 2, n * per_row).astype(np.float32)
    return csr_array((data, np.concatenate(rows).astype(np.int32), per_row * np.arange(n + 1)), shape=(n, columns))


# The encoder --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3", "opt"])
@pytest.mark.parametrize("tokens", [1, 7])
def test_multiply_adds_are_half_of_the_operations_that_pytorch_counts(tmp_path, family, tokens):
    backbone = Backbone(tiny.save(tmp_path / family, family), attention="eager")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        backbone.transformer(input_ids=torch.arange(3, 3 + tokens)[None])
    # The library computes all pairs and masks half of them, so compare with an encoder that sees both sides.
    assert encoder_costs(backbone, causal=False).forward(tokens) == counter.get_total_flops() // 2


def test_adapters_are_not_counted(tmp_path):
    source = tiny.save(tmp_path / "llama", "llama")
    backbone = Backbone(source)
    before = encoder_costs(backbone)
    with backbone.using([tiny.save_adapter(tmp_path / "adapter", source)]):
        assert encoder_costs(backbone) == before


def test_smollm2_costs_a_fifth_of_a_gflop_per_token():
    backbone = Backbone("smollm2")
    encoder = encoder_costs(backbone)
    everything = sum(p.numel() for p in backbone.transformer.parameters())
    vectors = sum(p.numel() for p in backbone.transformer.parameters() if p.ndim == 1)  # norms
    assert encoder.per_token == everything - encoder.output_layer - vectors  # tied: the output layer is the table
    assert 2 * encoder.per_token / 1e9 == pytest.approx(0.21, abs=0.005)
    assert encoder.width == 576 and encoder.output_layer == 49_152 * 576


def test_a_forward_pass_counts_tokens_and_pairs():
    assert Encoder(100, 6, 0, 1).forward(3) == 300 + 6 * 6
    assert Encoder(100, 6, 0, 1, causal=False).forward(3) == 300 + 9 * 6
    assert Encoder(100, 6, 0, 1).forward(0) == 0
    with pytest.raises(ValueError, match="a text cannot have -1 tokens"):
        Encoder(100, 6, 0, 1).forward(-1)


# Accounts -----------------------------------------------------------------------------------------------------------


def test_postings_read_are_counted_by_hand():
    documents = csr_array(np.array([[1.0, 0, 2], [0, 0, 3], [4, 0, 5]]))
    queries = csr_array(np.array([[1.0, 0, 0], [0.5, 1, 1], [0, 1, 0], [0, 0, 0]]))
    assert costs.postings_read(documents, queries).tolist() == [2, 5, 0, 0]
    with pytest.raises(ValueError, match="documents have 3 columns, queries 2"):
        costs.postings_read(documents, queries[:, :2])


def test_a_table_of_costs_is_what_the_formulas_say():
    encoder = Encoder(per_token=100, per_pair=2, output_layer=40, width=8)
    documents = csr_array(np.array([[1.0, 0, 2], [0, 0, 3]]))
    queries = csr_array(np.array([[1.0, 0, 0], [1, 0, 1]]))
    methods = {
        "own": SparseMethod(documents, queries),
        "expanded": SparseMethod(documents, queries, query_model=True),
        "words": SparseMethod(documents, queries, document_model=False),
    }
    table = cost_table(encoder, 1000, [1, 3], [4], methods)
    query, document = (102 + 300 + 12) / 2, 400 + 20
    read = (1 + 3) / 2 / 2 * 1000  # one and three postings in two documents
    expected = {
        "dense cosine": [query, 8000, query + 8000, document, 32],
        "own": [0, read, read, document + 40, 3 / 2 * 8],
        "expanded": [query + 40, read, query + 40 + read, document + 40, 12],
        "words": [0, read, read, 0, 12],
    }
    assert {name: row.tolist() for name, row in zip(table.index, table.to_numpy(), strict=True)} == expected
    assert list(table.columns)[:3] == ["query: model", "query: scoring", "query: total"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_documents": 0}, "got 0 documents, 1 and 1 lengths"),
        ({"query_lengths": []}, "got 5 documents, 0 and 1 lengths"),
        (
            {"methods": {"none": SparseMethod(csr_array((0, 3)), csr_array((1, 3)))}},
            "none: needs documents and queries",
        ),
    ],
)
def test_a_table_without_anything_to_count_is_refused(changed, said):
    given = {"n_documents": 5, "query_lengths": [2], "document_lengths": [3], "methods": {}} | changed
    with pytest.raises(ValueError, match=said):
        cost_table(Encoder(1, 1, 1, 1), **given)


TEXTS = ["Parrots eat seeds and fruit.", "A parrot's beak", "Guitars have strings; guitars are loud", "the of and"]


def test_bm25_as_postings_scores_as_bm25_does():
    words = stems(TEXTS)
    retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    retriever.index(words, show_progress=False)
    queries = ["parrot seeds", "guitar guitars zebra", "zebra", ""]
    method = costs.bm25_method(retriever, stems(queries))
    products = (method.queries @ method.documents.T).toarray()
    np.testing.assert_allclose(products, BM25(TEXTS).scores(queries), rtol=1e-6)
    assert products[0, 0] > products[0, 1] > 0 and not products[2:].any()
    assert not method.query_model and not method.document_model


def test_a_bm25_variant_with_weights_for_missing_terms_is_refused():
    retriever = bm25s.BM25(method="bm25+")
    retriever.index(stems(TEXTS), show_progress=False)
    with pytest.raises(ValueError, match="in the BM25 variant 'bm25\\+' missing terms add to a score"):
        costs.bm25_method(retriever, [["parrot"]])


# One query ----------------------------------------------------------------------------------------------------------


def test_reading_postings_gives_the_sum_of_products():
    documents, queries = random_vectors(200, 50, 8, seed=0), random_vectors(20, 50, 5, seed=1)
    index, expected = inverted_index(documents), queries.toarray() @ documents.toarray().T
    for row in range(20):
        part = slice(queries.indptr[row], queries.indptr[row + 1])
        found = read_postings(index, queries.indices[part], queries.data[part])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[row], rtol=1e-5)
    assert not read_postings(index, [], []).any()


def by_sorting(scores: np.ndarray, k: int, above: float = -np.inf) -> list[int]:
    order = sorted((i for i in range(len(scores)) if scores[i] > above), key=lambda i: (-scores[i], i))
    return order[:k]


@pytest.mark.parametrize("n", [0, 1, 9, 10_000, 10_001, 25_000])
@pytest.mark.parametrize("k", [1, 10])
def test_the_best_are_those_that_sorting_puts_first(n, k):
    rng = np.random.default_rng(n)
    kinds = {
        "any": rng.normal(size=n).astype(np.float32),
        "ties": rng.integers(0, 4, n).astype(np.float32),
        "few": np.where(rng.random(n) < 5 / max(n, 1), 1.0, 0.0).astype(np.float32),
        "none": np.zeros(n, dtype=np.float32),
        "negative": -1 - rng.random(n).astype(np.float32),
    }
    for name, scores in kinds.items():
        for above in (-np.inf, 0.0):
            assert best(scores, k, above).tolist() == by_sorting(scores, k, above), (name, above)


def test_the_best_none_are_refused():
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        best(np.zeros(3), 0)


# Milliseconds -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collection():
    rng = np.random.default_rng(5)
    documents, queries = random_vectors(300, 5000, 128, seed=2), random_vectors(6, 5000, 12, seed=3)
    short = random_vectors(6, 5000, 3, seed=4)
    methods = {"long": SparseMethod(documents, queries), "short": SparseMethod(documents, short, query_model=True)}
    return rng.normal(size=(300, 576)).astype(np.float32), rng.normal(size=(6, 576)).astype(np.float32), methods


def test_the_measurement_counts_what_it_reads(collection):
    frame = measure_search(*collection, sizes=(300, 3000), n_queries=4, repeats=1)
    assert frame["documents"].tolist() == [300] * 3 + [3000] * 3
    assert frame["method"].tolist() == ["dense cosine", "long", "short"] * 2
    assert (frame["ms"] > 0).all() and (frame["slowest ms"] >= frame["ms"]).all()
    for size, rows in frame.groupby("documents"):
        dense, long, short = rows["multiply-adds"]
        assert dense == size * 576 and rows["bytes"].tolist() == [size * 576 * 4] + [size * 128 * 8] * 2
        for counted, method in ((long, collection[2]["long"]), (short, collection[2]["short"])):
            expected = costs.postings_read(method.documents, method.queries[:4]).mean() / 300 * size
            assert counted == pytest.approx(expected, rel=0.15)  # drawn documents, not the same ones


def test_what_is_measured_are_right_searches(collection):
    """The searches find, in the drawn collection, what a plain product finds."""
    embeddings, query_embeddings, methods = collection
    drawn = np.random.default_rng(0).integers(300, size=15_000)
    dense = costs._dense_search(embeddings, query_embeddings, drawn, k=5)
    sparse = costs._postings_search("long", methods["long"], methods, 6, {300: drawn}, {}, k=5)
    for query in range(6):
        assert dense.ask(query).tolist() == by_sorting(embeddings[drawn] @ query_embeddings[query], 5)
        one = methods["long"].queries[[query]]
        exact = (one @ methods["long"].documents.T).toarray()[0]
        found = sparse.ask(query)
        np.testing.assert_allclose(exact[drawn[found]], np.sort(exact[drawn])[::-1][:5], rtol=1e-5)


def test_dense_blocks_are_read_until_every_row_is_multiplied(collection, monkeypatch):
    monkeypatch.setattr(costs, "BLOCK_BYTES", 100 * 576 * 4)  # a block of 100 rows for 250 documents
    embeddings, queries, _ = collection
    drawn = np.arange(250)
    search = costs._dense_search(embeddings, queries, drawn, k=10)
    expected = (embeddings[:100] @ queries[0])[np.arange(250) % 100]
    assert search.ask(0).tolist() == by_sorting(expected, 10)
    assert search.multiply_adds == 250 * 576


def test_a_sparse_query_of_a_large_collection_costs_a_tenth_of_the_dense_scan_at_most(collection):
    embeddings, query_embeddings, methods = collection
    rng = np.random.default_rng(6)
    # A dozen tokens of middling frequency: a third of a posting for each document, as trained embedders' queries have.
    columns = np.sort(np.array([rng.choice(np.arange(250, 1500), 12, replace=False) for _ in range(6)]), axis=1)
    queries = csr_array((np.ones(72, np.float32), columns.ravel(), 12 * np.arange(7)), shape=(6, 5000))
    usual = {"usual": SparseMethod(methods["long"].documents, queries)}
    frame = measure_search(embeddings, query_embeddings, usual, sizes=(100_000,), n_queries=4, repeats=5)
    (dense, sparse), (scan, read) = frame["ms"], frame["multiply-adds"]
    assert 0.1 * 100_000 < read < 10 * 100_000 and read < scan / 50
    assert sparse <= dense / 10, f"{sparse:.2f} ms against {dense:.2f} ms"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_queries": 0}, "nothing to measure: 300 documents, 0 queries"),
        ({"sizes": ()}, r"sizes=\[\]"),
        ({"sizes": (0,)}, r"sizes=\[0\]"),
        (
            {"query_embeddings": np.zeros((5, 576))},
            "every method must be given the same queries; got {'dense cosine': 5",
        ),
        ({"rename": "dense cosine"}, "the name 'dense cosine' is taken"),
    ],
)
def test_a_measurement_that_makes_no_sense_is_refused(collection, changed, said):
    given = dict(zip(("embeddings", "query_embeddings", "methods"), collection, strict=True)) | {"sizes": (10,)}
    if name := changed.get("rename"):
        changed = {"methods": {name: given["methods"]["long"]}}
    with pytest.raises(ValueError, match=said):
        measure_search(**(given | changed))


def test_postings_that_would_fill_the_memory_are_refused_with_what_fits(collection, monkeypatch):
    monkeypatch.setattr(costs, "POSTINGS_BYTES", 10**5)
    with pytest.raises(
        ValueError, match=r"long: the queries' postings in 20000 documents take 0\.\d GB.*at most \d+ doc"
    ):
        measure_search(*collection, sizes=(20_000,))


@pytest.mark.parametrize("share", [1.0, 0.13])
def test_the_crossing_is_where_the_share_is_reached(share):
    encoder = costs.Encoder(per_token=1000, per_pair=4, output_layer=320 * 16, width=16)
    model = encoder.forward(7)

    def within(n: float) -> bool:
        return model + encoder.output_layer + 1.5 * n <= share * (model + 16 * n)

    n = costs.size_from(encoder, [7, 7], 1.5, True, share)
    assert n > 1 and within(n) and not within(n - 1)
    assert costs.size_from(encoder, [7], 1.5, False, share) == 1  # no model for the query: cheaper at any size
    with pytest.raises(ValueError, match="not below 0.05 of the 16 of a scan"):
        costs.size_from(encoder, [7], 1.5, True, share=0.05)
    with pytest.raises(ValueError, match="at least one query"):
        costs.size_from(encoder, [], 1.5, True)


def test_the_time_of_a_call_is_the_median_without_the_first():
    waits, asked = {"slow": 0.05, "a": 0.001, "b": 0.002, "c": 0.003}, []

    def ask(query):
        asked.append(query)
        costs.time.sleep(waits[query] if len(asked) > 1 else 0.2)

    assert 1.9 < costs.milliseconds(ask, ["b", "a", "c", "slow", "a"]) < 20
    assert asked == ["b", "b", "a", "c", "slow", "a"]
    with pytest.raises(ValueError, match="at least one query"):
        costs.milliseconds(ask, [])
