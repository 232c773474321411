"""Sparse vectors against loops written out by hand, on random numbers and on a real tokenizer."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from tiny import save_tokenizer

from course_utils.search import sparse

V, D, N = 60, 12, 23


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def embeddings(rng):
    return rng.normal(size=(N, D)).astype(np.float32) + 0.5


@pytest.fixture
def unembedding(rng):
    return rng.normal(size=(V, D)).astype(np.float32)


def by_hand(embeddings, unembedding, k, exclude=(), only=None, classes=None):
    """``{column: logit}`` per document, with plain loops; of equal logits the smaller column first."""
    result = []
    for i, h in enumerate(embeddings):
        logits = {}
        for token, row in enumerate(unembedding):
            value = float(np.float64(row) @ np.float64(h))
            if token in exclude or (only is not None and token not in only[i]):
                continue
            column = token if classes is None else int(classes[token])
            logits[column] = max(value, logits.get(column, -np.inf))
        best = sorted(logits, key=lambda column: (-logits[column], column))[: len(logits) if k is None else k]
        result.append({column: logits[column] for column in best if logits[column] > 0})
    return result


def as_dicts(vectors):
    rows = (vectors[[i]] for i in range(vectors.shape[0]))
    return [dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) for row in rows]


def assert_same(vectors, expected):
    found = as_dicts(vectors)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert set(a) == set(b)
        assert all(a[t] == pytest.approx(b[t], rel=1e-4, abs=1e-5) for t in b)


# --- Documents ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, V - 2, None])
def test_documents_keep_the_k_tokens_with_the_largest_logits(embeddings, unembedding, k):
    found = sparse.document_vectors(embeddings, unembedding, k, exclude=[3, 40], unit=False)
    assert found.shape == (N, V) and found.dtype == np.float32 and found.has_sorted_indices
    assert_same(found, by_hand(embeddings, unembedding, k, exclude=[3, 40]))
    assert not np.isin([3, 40], found.indices).any()


def test_only_keeps_the_tokens_of_the_text(embeddings, unembedding, rng):
    only = [rng.choice(V, size, replace=True) for size in rng.integers(0, 15, N)]
    found = sparse.document_vectors(embeddings, unembedding, 5, only=only, unit=False)
    assert_same(found, by_hand(embeddings, unembedding, 5, only=only))


def test_classes_share_a_column_and_count_once(embeddings, unembedding, rng):
    classes = np.unique(rng.integers(0, 20, V), return_inverse=True)[1]
    found = sparse.document_vectors(embeddings, unembedding, 4, classes=classes, exclude=[0, 1], unit=False)
    assert found.shape == (N, classes.max() + 1)
    assert_same(found, by_hand(embeddings, unembedding, 4, classes=classes, exclude=[0, 1]))


def test_the_first_component_is_taken_away_in_part_or_whole(embeddings, unembedding):
    u = embeddings.mean(axis=0) / np.linalg.norm(embeddings.mean(axis=0))
    for share in (0.0, 0.4, 1.0):
        moved = embeddings - share * np.outer(embeddings @ u, u)
        found = sparse.document_vectors(embeddings, unembedding, 6, direction=u, share=share, unit=False)
        assert_same(found, by_hand(moved, unembedding, 6))
    moved = sparse.document_vectors(embeddings, unembedding, 6, direction=-u, unit=False)
    assert_same(moved, as_dicts(found))  # the sign of the direction does not matter


def test_log1p_and_unit_length(embeddings, unembedding):
    raw = sparse.document_vectors(embeddings, unembedding, 9, unit=False)
    flat = sparse.document_vectors(embeddings, unembedding, 9, log1p=True, unit=False)
    np.testing.assert_allclose(flat.toarray(), np.log1p(raw.toarray()), rtol=1e-5)
    unit = sparse.document_vectors(embeddings, unembedding, 9, log1p=True)
    np.testing.assert_allclose(np.linalg.norm(unit.toarray(), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        unit.toarray(), flat.toarray() / np.linalg.norm(flat.toarray(), axis=1, keepdims=True), 1e-5
    )


def test_pieces_chunks_and_tensors_give_the_same(embeddings, unembedding, monkeypatch):
    whole = sparse.document_vectors(embeddings, unembedding, 8, direction=np.eye(D)[0])
    pieces = (embeddings[a:b] for a, b in ((0, 5), (5, 5), (5, 22), (22, 23)))
    monkeypatch.setattr(sparse, "CHUNK_BYTES", 4 * V * 3)  # three documents at a time
    streamed = sparse.document_vectors(pieces, torch.from_numpy(unembedding), 8, direction=np.eye(D)[0])
    np.testing.assert_allclose(streamed.toarray(), whole.toarray(), rtol=1e-5)
    only = [np.arange(10)] * N
    streamed = sparse.document_vectors(iter([embeddings[:9], embeddings[9:]]), unembedding, 8, only=only)
    whole = sparse.document_vectors(embeddings, unembedding, 8, only=only)
    np.testing.assert_allclose(streamed.toarray(), whole.toarray(), rtol=1e-5)


def test_never_more_logits_in_memory_than_allowed(embeddings, unembedding, monkeypatch):
    seen = []
    monkeypatch.setattr(sparse, "CHUNK_BYTES", 4 * V * 4)
    kept = sparse._kept
    monkeypatch.setattr(sparse, "_kept", lambda row, k: seen.append(row.base.shape) or kept(row, k))
    sparse.document_vectors(embeddings, unembedding, 5)
    assert len(seen) == N and max(rows for rows, _ in seen) == 4


def test_of_equal_logits_the_smaller_token_is_kept():
    weight = np.ones((10, 2), dtype=np.float32)
    weight[7] = 2
    found = sparse.document_vectors(np.ones((3, 2), np.float32), weight, 4, unit=False)
    for row in as_dicts(found):
        assert row == {0: 2.0, 1: 2.0, 2: 2.0, 7: 4.0}
    trimmed = sparse.keep_largest(found, 2)
    assert as_dicts(trimmed)[0] == {0: 2.0, 7: 4.0}


def test_equal_logits_at_zero_are_not_kept():
    found = sparse.document_vectors(np.ones((1, 1), np.float32), np.array([[0.0], [1.0], [0.0], [-1.0]]), 3, unit=False)
    assert as_dicts(found) == [{1: 1.0}]


def test_a_document_without_a_positive_logit_stays_empty():
    embeddings = np.array([[1.0], [-1.0], [0.0]], dtype=np.float32)
    found = sparse.document_vectors(embeddings, np.array([[1.0], [2.0]]), 2)
    assert np.diff(found.indptr).tolist() == [2, 0, 0]
    assert np.isfinite(found.data).all()
    assert sparse.scores(sparse.query_vectors([[0]], 2), found)[0, 1:].tolist() == [0, 0]


def test_no_documents_and_no_queries_give_empty_arrays(unembedding):
    found = sparse.document_vectors(np.empty((0, D), np.float32), unembedding, 5)
    assert found.shape == (0, V)
    assert sparse.document_vectors(iter([]), unembedding, 5).shape == (0, V)
    assert sparse.query_vectors([], V).shape == (0, V)
    assert sparse.scores(sparse.query_vectors([[1]], V), found).shape == (1, 0)
    with pytest.raises(ValueError, match="no documents"):
        sparse.idf(found)


@pytest.mark.parametrize("k", [1, 3, 20, 40])
def test_keep_largest_is_a_smaller_k(embeddings, unembedding, k):
    big = sparse.document_vectors(embeddings, unembedding, 40, unit=False)
    small = sparse.document_vectors(embeddings, unembedding, k, unit=False)
    assert (sparse.keep_largest(big, k) != small).nnz == 0


def test_documents_refuse_what_does_not_fit(embeddings, unembedding):
    def make(h=embeddings, e=unembedding, k=5, **options):
        return sparse.document_vectors(h, e, k, **options)

    bad = embeddings.copy()
    bad[17, 2] = np.nan
    with pytest.raises(ValueError, match=r"row\(s\) \[17\]"):
        make(bad)
    with pytest.raises(ValueError, match=r"between 1 and the 58 columns .* got 59"):
        make(k=59, exclude=[1, 2])
    with pytest.raises(ValueError, match=r"between 1 and the 2 columns .* got 3"):
        make(k=3, classes=np.arange(V) % 2)
    with pytest.raises(ValueError, match="got 0"):
        make(k=0)
    with pytest.raises(ValueError, match=r"must be \[n, 12\].*\(23, 11\)"):
        make(embeddings[:, :11])
    with pytest.raises(ValueError, match="float"):
        make(e=unembedding.astype(int))
    with pytest.raises(ValueError, match="unit vector"):
        make(direction=np.ones(D))
    with pytest.raises(ValueError, match="exclude: token 60 is outside the vocabulary of 60"):
        make(exclude=[60])
    with pytest.raises(ValueError, match=r"only\[1\]: token -1"):
        make(only=[[0], [-1], *[[0]] * 21])
    with pytest.raises(ValueError, match="for 22 documents"):
        make(only=[[0]] * 22)
    with pytest.raises(ValueError, match="for 24 documents; there are 23"):
        make(only=[[0]] * 24)
    with pytest.raises(ValueError, match="60 numbers"):
        make(classes=np.arange(V - 1))
    with pytest.raises(ValueError, match="gaps"):
        make(classes=np.arange(V) * 2)
    with pytest.raises(ValueError, match="at least 1"):
        sparse.keep_largest(make(), 0)


def test_idf_is_small_for_tokens_that_stand_everywhere():
    documents = csr_array(np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [1.0, 1.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(sparse.idf(documents), np.log([4 / 4, 4 / 3, 4 / 1]), rtol=1e-6)


# --- Queries --------------------------------------------------------------------------------------


def test_a_token_counts_once_and_an_unknown_query_is_empty():
    queries = sparse.query_vectors([[4, 2, 4], [], np.array([0])], 6)
    assert as_dicts(queries) == [{2: 1.0, 4: 1.0}, {}, {0: 1.0}]
    assert queries.dtype == np.float32


def test_expansion_is_scaled_and_added_and_weighted():
    expansion = csr_array(np.array([[0, 2.0, 4.0, 0], [0, 0, 0, 0], [0, 0, 0, 5.0]], dtype=np.float32))
    weights = np.array([1.0, 10.0, 100.0, 0.0])
    queries = sparse.query_vectors(
        [[0, 1], [], [3]], 4, token_weights=weights, expansion=expansion, expansion_weight=0.5
    )
    assert as_dicts(queries) == [{0: 1.0, 1: 12.5, 2: 50.0}, {}, {}]


def test_classes_join_the_tokens_of_a_query():
    queries = sparse.query_vectors([[0, 1, 3], [2]], 4, classes=np.array([0, 0, 1, 1]))
    assert as_dicts(queries) == [{0: 1.0, 1: 1.0}, {1: 1.0}]


def test_queries_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="query 1: token 6 is outside the vocabulary of 6"):
        sparse.query_vectors([[0], [6]], 6)
    with pytest.raises(ValueError, match=r"expansion has shape \(1, 5\), the queries have \(1, 6\)"):
        sparse.query_vectors([[0]], 6, expansion=csr_array((1, 5)))
    with pytest.raises(ValueError, match=r"shape \(6,\); got \(5,\)"):
        sparse.query_vectors([[0]], 6, token_weights=np.ones(5))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_query_tokens_hold_the_text_and_its_variants(tokenizer):
    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    [plain] = sparse.query_tokens(tokenizer, ["  The  Guitar "], variants=False)
    assert plain.tolist() == list(dict.fromkeys(ids("The Guitar")))
    [varied] = sparse.query_tokens(tokenizer, ["The Guitar"])
    for form in ("The", " The", "the", " the", "Guitar", " guitar", "guitar"):
        assert set(ids(form)) <= set(varied.tolist())
    assert len(varied) == len(set(varied.tolist()))
    [same] = sparse.query_tokens(tokenizer, ["The: guitar?"])
    assert set(ids(":")).isdisjoint(same.tolist()) and set(same.tolist()) == set(varied.tolist())
    for variants in (True, False):
        assert [len(t) for t in sparse.query_tokens(tokenizer, ["", "   "], variants)] == [0, 0]
    assert len(sparse.query_tokens(tokenizer, ["?!"])[0]) == 0


def test_text_idf_counts_texts_in_any_spelling():
    surface = [[0, 1, 2], [1], [], [3, 0]]  # tokens 0 and 1 are spellings of one word
    expected = np.log([5 / 4, 5 / 4, 5 / 2, 5 / 2, 5 / 1])
    np.testing.assert_allclose(sparse.text_idf(surface, np.array([0, 0, 1, 2, 3])), expected, rtol=1e-6)


# --- Matching -------------------------------------------------------------------------------------


@pytest.fixture
def random_pair(rng):
    documents = rng.normal(size=(40, V)) * (rng.random((40, V)) < 0.2)
    queries = np.abs(rng.normal(size=(9, V))) * (rng.random((9, V)) < 0.1)
    documents[7], queries[3] = 0, 0
    return csr_array(queries.astype(np.float32)), csr_array(np.abs(documents).astype(np.float32))


def test_scores_and_ranks_agree_with_loops(random_pair):
    queries, documents = random_pair
    index = sparse.inverted_index(documents)
    found = sparse.scores(queries, documents)
    assert found.shape == (9, 40)
    np.testing.assert_array_equal(found, sparse.scores(queries, index=index))
    q, d = queries.toarray().astype(float), documents.toarray().astype(float)
    for i, (numbers, values) in enumerate(sparse.search(queries, index, k=12)):
        expected = [sum(q[i, t] * d[j, t] for t in range(V)) for j in range(40)]
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-6)
        best = sorted((j for j in range(40) if expected[j] > 0), key=lambda j: (-expected[j], j))[:12]
        assert numbers.tolist() == best
        np.testing.assert_allclose(values, [expected[j] for j in best], rtol=1e-4)
    assert sparse.search(queries, index)[3][0].tolist() == []  # a query without a known token
    assert not found[:, 7].any()  # an empty document


def test_postings_add_up_to_the_scores(random_pair):
    queries, documents = random_pair
    index = sparse.inverted_index(documents)
    total = np.zeros(40)
    for token, weight in as_dicts(queries)[0].items():
        numbers, weights = sparse.postings(index, token)
        assert (np.diff(weights) <= 0).all()
        np.testing.assert_array_equal(np.sort(numbers), np.flatnonzero(documents.toarray()[:, token]))
        total[numbers] += weight * weights
    np.testing.assert_allclose(total, sparse.scores(queries, documents)[0], rtol=1e-5)


def test_ties_are_put_in_the_order_of_the_documents():
    documents = csr_array(np.array([[1.0, 0], [2.0, 0], [1.0, 0], [0, 1.0], [2.0, 0]], dtype=np.float32))
    index = sparse.inverted_index(documents)
    [(numbers, values)] = sparse.search(sparse.query_vectors([[0]], 2), index, k=3)
    assert numbers.tolist() == [1, 4, 0] and values.tolist() == [2, 2, 1]
    assert sparse.postings(index, 0)[0].tolist() == [1, 4, 0, 2]
    assert sparse.postings(csr_array((3, 4), dtype=np.float32), 1)[0].tolist() == []


def test_explain_names_the_tokens_and_adds_up(random_pair):
    queries, documents = random_pair
    names = [f"t{i}" for i in range(V)]
    found = sparse.scores(queries, documents)
    i, j = np.unravel_index(found.argmax(), found.shape)
    matches = sparse.explain(queries[[i]], documents[[j]], names)
    assert sum(m.product for m in matches) == pytest.approx(found[i, j], rel=1e-5)
    assert [m.product for m in matches] == sorted((m.product for m in matches), reverse=True)
    for m in matches:
        assert m.token == f"t{m.column}" and m.product == pytest.approx(m.query_weight * m.document_weight)
        assert (m.query_weight, m.document_weight) == (queries[i, m.column], documents[j, m.column])
    assert sparse.explain(queries[[3]], documents[[j]]) == []


def test_matching_refuses_what_does_not_fit(random_pair):
    queries, documents = random_pair
    index = sparse.inverted_index(documents)
    narrow = sparse.query_vectors([[0]], V - 1)
    with pytest.raises(ValueError, match="queries have 59 columns, documents 60"):
        sparse.scores(narrow, documents)
    with pytest.raises(ValueError, match="either"):
        sparse.scores(queries)
    with pytest.raises(ValueError, match="either"):
        sparse.scores(queries, documents, index=index)
    with pytest.raises(ValueError, match="59 columns, the index has 60"):
        sparse.search(narrow, index)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        sparse.search(queries, index, k=0)
    with pytest.raises(ValueError, match="token 60 is outside"):
        sparse.postings(index, 60)
    with pytest.raises(ValueError, match="one query and one document"):
        sparse.explain(queries, documents[[0]])
