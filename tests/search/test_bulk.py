"""Files and queries for OpenSearch and Elasticsearch: their schema, and the score that an engine computes from them."""

import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from course_utils.search import bulk, sparse

RNG = np.random.default_rng(3)
DENSE = np.where(RNG.uniform(size=(6, 40)) < 0.3, RNG.uniform(0.1, 2, size=(6, 40)), 0).astype(np.float32)
DOCUMENTS, IDS = csr_array(DENSE), [f'ä{i}/ "x"' for i in range(6)]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "documents.jsonl"
    bulk.write_bulk(path, DOCUMENTS, IDS)
    return path


def test_what_is_written_is_read_back_bit_by_bit(written):
    ids, documents = bulk.read_bulk(written, 40)
    assert ids == IDS
    np.testing.assert_array_equal(documents.toarray(), DENSE)


def test_every_document_is_an_action_and_a_source_of_the_mapped_fields(written):
    lines = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 12 and written.read_bytes().endswith(b"\n")  # both engines ask for the last line break
    for action, source, key in zip(lines[::2], lines[1::2], IDS, strict=True):
        assert action == {"index": {"_id": key}}
        assert set(source) == {"id", bulk.FIELD} == set(bulk.mapping("opensearch")["mappings"]["properties"])
        assert all(name.isdigit() and weight > 0 for name, weight in source[bulk.FIELD].items())


@pytest.mark.parametrize(("engine", "kind"), [("opensearch", "rank_features"), ("elasticsearch", "sparse_vector")])
def test_a_query_scores_as_the_arrays_do(written, engine, kind):
    assert bulk.mapping(engine)["mappings"]["properties"][bulk.FIELD] == {"type": kind}
    asked = csr_array(np.where(RNG.uniform(size=(1, 40)) < 0.3, 1.5, 0).astype(np.float32))
    body = json.loads(json.dumps(bulk.query(engine, asked.indices, asked.data, k=3)))
    assert body["size"] == 3
    if engine == "opensearch":
        [(kind, [(field, inner)])] = [(n, list(v.items())) for n, v in body["query"].items()]
        assert (kind, field, set(inner)) == ("neural_sparse", bulk.FIELD, {"query_tokens"})
        weights = inner["query_tokens"]
    else:
        inner = body["query"]["sparse_vector"]
        assert set(body["query"]) == {"sparse_vector"} and inner["field"] == bulk.FIELD
        assert inner["prune"] is False  # or frequent tokens with small weights are left out
        weights = inner["query_vector"]
    sources = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()][1::2]
    found = [sum(w * weights.get(t, 0) for t, w in source[bulk.FIELD].items()) for source in sources]
    np.testing.assert_allclose(found, sparse.scores(asked, DOCUMENTS)[0], rtol=1e-5)


def _with(value):
    wrong = DENSE.copy()
    wrong[2, 1] = value
    return csr_array(wrong)


@pytest.mark.parametrize(
    ("documents", "ids", "message"),
    [
        (csr_array(np.vstack([DENSE[:5], np.zeros(40)])), IDS, "1 of 6 documents have no token, for instance 'ä5"),
        (DOCUMENTS, [*IDS[:5], IDS[0]], "ä0"),
        (DOCUMENTS, IDS[:5], "5"),
        (_with(np.nan), IDS, "row 2 holds the weight nan"),
        (_with(np.inf), IDS, "row 2 holds the weight inf"),
        (_with(-1), IDS, "row 2 holds the weight -1"),
    ],
)
def test_what_an_engine_would_not_find_or_would_refuse_is_refused(tmp_path, documents, ids, message):
    path = tmp_path / "documents.jsonl"
    with pytest.raises(ValueError, match=message):
        bulk.write_bulk(path, documents, ids)
    assert not path.exists()


def test_queries_that_find_nothing_and_unknown_engines_are_refused():
    wrong = [np.array([w]) for w in (0.0, -1.0, np.nan, np.inf)]
    for columns, weights in ((np.array([], int), np.array([])), *((np.array([1]), w) for w in wrong)):
        with pytest.raises(ValueError, match="at least one token"):
            bulk.query("opensearch", columns, weights)
    with pytest.raises(ValueError, match="k must"):
        bulk.query("opensearch", np.array([1]), np.array([1.0]), k=0)
    with pytest.raises(ValueError, match="opensearch, elasticsearch; got 'solr'"):
        bulk.mapping("solr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}\n', "line 1: expected an action"),
        ('{"index": {"_id": "a"}}\n', "the document 'a' is missing"),
        ('{"index": {"_id": "a"}}\n{"id": "b", "aligned_tokens": {}}\n', "line 2: expected the document 'a'"),
        (
            2 * '{"index": {"_id": "a"}}\n{"id": "a", "aligned_tokens": {"1": 1.0}}\n',
            "line 3: the id 'a' occurs a second",
        ),
        *(
            (f'{{"index": {{"_id": "a"}}}}\n{{"id": "a", "aligned_tokens": {{"{name}": {weight}}}}}\n', message)
            for name, weight, message in [
                ("x", 1.0, "line 2: the name 'x' is no column from 0 to 4"),
                ("5", 1.0, "the name '5' is no column"),
                ("-1", 1.0, "the name '-1' is no column"),
                ("01", 1.0, "the name '01' is no column"),
                ("1", -2.0, "the weight of column 1 must be positive and finite"),
                ("1", "true", "the weight of column 1 must be positive and finite"),
                ("1", '"a"', "the weight of column 1 must be positive and finite"),
            ]
        ),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        bulk.read_bulk(path, 5)
