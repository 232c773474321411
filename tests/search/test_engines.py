"""Engines against products of the arrays: random vectors, real ones, and files that are broken."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import numpy as np
import pytest
from scipy.sparse import csr_array

from course_utils.measures.alignment import special_ids
from course_utils.measures.evaluation import rank
from course_utils.models import registry, store
from course_utils.search import anserini, bulk, engines, sparse
from course_utils.shipped import arrays
from course_utils.texts.datasets import wikipedia_sentences

FLOAT32 = 1e-6  # relative, after a sum of some dozen products
FLOAT16 = 2.0**-11

#: Seismic has wheels for some systems only; where it is not installed, its tests are not there.
ENGINES = ["qdrant", *(["seismic"] if find_spec("seismic") else [])]


def random_vectors(n: int, columns: int, per_row: int, seed: int) -> csr_array:
    """Rows with 0 to ``per_row`` weights above 0."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, per_row + 1, n)
    indices = [rng.choice(columns, size, replace=False) for size in sizes]
    data = rng.uniform(0.01, 2, sizes.sum()).astype(np.float32)
    return csr_array((data, np.concatenate(indices).astype(np.int32), np.cumsum([0, *sizes])), shape=(n, columns))


def by_hand(queries: csr_array, documents: csr_array, query_ids, ids) -> dict[str, dict[str, float]]:
    """The run that an exact engine returns: all documents that share a token, by a dense product in float64."""
    products = queries.toarray().astype(np.float64) @ documents.toarray().astype(np.float64).T
    return {
        q: {d: score for d, score in rank(row[None], [q], ids)[q].items() if score > 0}
        for q, row in zip(query_ids, products, strict=True)
    }


def named(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i:03}" for i in range(n)]


@pytest.fixture(scope="module")
def real():
    """Documents and queries of a trained embedder: 300 sentences by their aligned tokens, 10 by their own tokens."""
    from safetensors import safe_open
    from transformers import AutoTokenizer

    name = next(n for n in reversed(arrays.have("sentences")) if registry.get(n).backbone == "smollm2")
    folder = Path(store.backbone("smollm2"))
    with safe_open(folder / "model.safetensors", "pt") as file:
        key = next(k for k in file.keys() if k.endswith("embed_tokens.weight"))
        unembedding = file.get_tensor(key).float()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = special_ids(tokenizer, len(unembedding))
    documents = sparse.document_vectors(arrays.load("sentences", name)[:300], unembedding, 128, exclude=special)
    texts = [" ".join(s.split()[:6]) for s in wikipedia_sentences(10)]
    queries = sparse.query_vectors(
        sparse.query_tokens(tokenizer, texts), len(unembedding), token_weights=sparse.idf(documents)
    )
    return documents, queries, tokenizer


# Names of tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "size"), [("smollm2", 49_152), ("gemma3", 262_144)])
def test_every_token_of_a_real_vocabulary_has_a_name_of_its_own(backbone, size):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(store.backbone(backbone))
    names = anserini.token_strings(tokenizer, size)
    assert len(names) == len(set(names)) == size
    assert not any(c.isspace() for name in names for c in name)
    # Parts of a character and line breaks, which decoded text would confuse or cut.
    ids = tokenizer("한\n\n\t \u00a0é\\u0020 Game", add_special_tokens=False)["input_ids"]
    assert [names.index(names[i]) for i in ids] == ids


class Spelled:
    """A tokenizer as far as its spellings go."""

    def __init__(self, *spellings):
        self.spellings = spellings

    def __len__(self):
        return len(self.spellings)

    def convert_ids_to_tokens(self, ids):
        return [self.spellings[i] for i in ids]


def test_white_space_and_backslashes_are_written_out_and_stay_apart():
    names = anserini.token_strings(Spelled("a b", "a\\u0020b", "\n", None, "a"), 7)
    assert names == ["a\\u0020b", "a\\u005cu0020b", "\\u000a", "<unused-3>", "a", "<unused-5>", "<unused-6>"]


def test_a_class_is_named_after_its_first_token():
    names = anserini.token_strings(Spelled("Cat", "dog", "cat", "Dog"), 4, classes=np.array([0, 1, 0, 1]))
    assert names == ["Cat", "dog"]


def test_two_tokens_of_one_name_are_refused():
    with pytest.raises(ValueError, match="tokens: 'a' occurs twice, at 0 and 2"):
        anserini.token_strings(Spelled("a", "b", "a"), 3)


# Anserini -----------------------------------------------------------------------------------------------------------


def test_quantised_weights_are_the_nearest_of_equal_steps():
    documents = csr_array(np.array([[0.0, 10.0, 0.04], [5.1, 0.0, 2.46]], dtype=np.float32))
    whole, scale = anserini.quantise(documents, levels=100)
    assert scale == pytest.approx(0.1) and whole.dtype == np.int32
    assert whole.toarray().tolist() == [[0, 100, 0], [51, 0, 25]] and whole.nnz == 3


def test_scores_of_quantised_weights_stay_within_the_stated_bound():
    documents, queries = random_vectors(60, 40, 15, seed=1), random_vectors(20, 40, 6, seed=2)
    for levels in (3, 30, 255):
        whole, scale = anserini.quantise(documents, levels)
        error = np.abs((queries @ documents.T).toarray() - scale * (queries @ whole.T).toarray()).max(axis=1)
        bound = scale / 2 * queries.sum(axis=1)
        assert (error <= bound * (1 + 1e-5)).all()
        assert error.max() > bound.max() / 20  # the bound is not an empty one


def test_quantising_refuses_what_has_no_levels():
    with pytest.raises(ValueError, match="levels must lie between 1 and the 16777216 levels"):
        anserini.quantise(random_vectors(2, 3, 2, seed=0), 0)
    with pytest.raises(ValueError, match="row 1 holds the weight -1.0; weights must be finite and not negative"):
        anserini.quantise(csr_array(np.array([[1.0, 2.0], [0.0, -1.0]])))
    empty, scale = anserini.quantise(csr_array((3, 4), dtype=np.float32))
    assert empty.shape == (3, 4) and empty.nnz == 0 and scale == 1.0


TOKENS = ["Ġgame", "game", "<0x0A>", "▁é", '"', "\\u000a"]


def test_float_weights_come_back_unchanged(tmp_path):
    documents = random_vectors(50, 6, 5, seed=3)
    documents.data[:4] = np.float32([1e-30, 3.4e38, 0.1, 1 / 3])
    texts = [f'text {i} "quoted"\n' for i in range(50)]
    anserini.write_anserini(tmp_path / "docs.jsonl", documents, named("d", 50), TOKENS, texts, empty=True)
    read = anserini.read_anserini(tmp_path / "docs.jsonl", TOKENS)
    assert read.ids == named("d", 50) and read.contents == texts
    assert read.documents.dtype == np.float32 and read.documents.shape == (50, 6)
    np.testing.assert_array_equal(read.documents.toarray(), documents.toarray())
    assert [p.name for p in tmp_path.iterdir()] == ["docs.jsonl"]


def test_whole_weights_are_written_as_whole_numbers_and_zeros_not_at_all(tmp_path):
    documents = csr_array(([7, 0, 300], [1, 4, 0], [0, 2, 2, 3]), shape=(3, 6), dtype=np.int32)
    anserini.write_anserini(tmp_path / "docs.jsonl", documents, ["a", "b", "c"], TOKENS, empty=True)
    lines = (tmp_path / "docs.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines == [
        '{"id": "a", "contents": "", "vector": {"game": 7}}',
        '{"id": "b", "contents": "", "vector": {}}',
        '{"id": "c", "contents": "", "vector": {"Ġgame": 300}}',
    ]
    read = anserini.read_anserini(tmp_path / "docs.jsonl", TOKENS)
    np.testing.assert_array_equal(read.documents.toarray(), documents.toarray())


def test_real_vectors_come_back_unchanged(real, tmp_path):
    documents, _, tokenizer = real
    names = anserini.token_strings(tokenizer, documents.shape[1])
    anserini.write_anserini(tmp_path / "docs.jsonl", documents, named("d", 300), names)
    read = anserini.read_anserini(tmp_path / "docs.jsonl", names).documents
    assert (read != documents).nnz == 0 and read.nnz == documents.nnz


def test_a_failed_export_leaves_the_older_file_alone(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(TypeError):
        anserini.write_anserini(path, csr_array(np.eye(2, 6)), ["a", "b"], TOKENS, ["text", object()])
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ids": ["a", "b"]}, "ids holds 2 ids where 3 are needed"),
        ({"ids": ["a", "b", "a"]}, "ids: 'a' occurs twice, at 0 and 2"),
        ({"ids": ["a", "b", 3]}, r"ids\[2\] is int, not a string: 3; write \[str\(x\) for x in ids\]"),
        ({"tokens": TOKENS[:5]}, "tokens holds 5 ids where 6 are needed"),
        ({"tokens": [*TOKENS[:5], "a b"]}, r"tokens\[5\] is 'a b': a token's name must not hold white space"),
        ({"tokens": [*TOKENS[:5], "game"]}, "tokens: 'game' occurs twice, at 1 and 5"),
        ({"contents": ["one"]}, "1 contents for 3 documents"),
        ({"documents": csr_array(np.full((3, 6), -1.0))}, "row 0 holds the weight -1.0"),
        ({"documents": csr_array(np.full((3, 6), np.nan))}, "row 0 holds the weight nan"),
    ],
)
def test_an_export_that_could_not_be_read_again_is_refused(tmp_path, changed, said):
    given = {"documents": csr_array(np.ones((3, 6))), "ids": ["a", "b", "c"], "tokens": TOKENS} | changed
    with pytest.raises((ValueError, TypeError), match=said):
        anserini.write_anserini(tmp_path / "docs.jsonl", **given)
    assert not list(tmp_path.iterdir())


GOOD = '{"id": "a", "contents": "x", "vector": {"game": 1.5}}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is not valid JSON"),
        ("", "is empty; remove it"),
        ("[1, 2]", "must hold an object"),
        ('{"id": "b"}', "lacks 'vector'; it has 'id'"),
        ('{"vector": {}}', "lacks 'id'"),
        (GOOD, "the id 'a' occurs a second time"),
        ('{"id": null, "vector": {}}', "an id must be a string or a whole number; got None"),
        ('{"id": true, "vector": {}}', "an id must be a string or a whole number; got True"),
        ('{"id": "b", "vector": ["game"]}', "vector must map tokens to weights"),
        ('{"id": "b", "contents": 3, "vector": {}}', "contents must be a text; got 3"),
        ('{"id": "b", "vector": {"Game": 1}}', "the token 'Game' is none of the 6 names"),
        ('{"id": "b", "vector": {"game": 1, "game": 2}}', "the key 'game' occurs twice"),
        ('{"id": "b", "vector": {"game": "1"}}', "weight of 'game' must be a finite number from 0 on; got '1'"),
        ('{"id": "b", "vector": {"game": -1}}', "got -1"),
        ('{"id": "b", "vector": {"game": true}}', "got True"),
        ('{"id": "b", "vector": {"game": NaN}}', "got nan"),
        ('{"id": "b", "vector": {"game": 1e39}}', "got 1e\\+39"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, said):
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join([GOOD, line, GOOD.replace('"a"', '"z"'), ""]), encoding="utf-8")
    with pytest.raises(ValueError, match=f"docs.jsonl, line 2.*{said}"):
        anserini.read_anserini(path, TOKENS)


def test_bytes_that_are_no_text_and_files_that_are_not_there_are_named(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_bytes(GOOD.encode() + b"\n\xff\n")
    with pytest.raises(ValueError, match="line 2 is not UTF-8 text"):
        anserini.read_anserini(path, TOKENS)
    with pytest.raises(FileNotFoundError, match="no.jsonl does not exist"):
        anserini.read_anserini(tmp_path / "no.jsonl", TOKENS)


def test_what_other_programs_write_is_read(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"id": 12, "vector": {"game": 3, "Ġgame": 0}, "title": "x"}\n', encoding="utf-8")
    read = anserini.read_anserini(path, TOKENS)
    assert read.ids == ["12"] and read.contents == [""]
    assert read.documents.toarray().tolist() == [[0, 3, 0, 0, 0, 0]] and read.documents.nnz == 1
    path.write_text("", encoding="utf-8")
    assert anserini.read_anserini(path, TOKENS).documents.shape == (0, 6)


# Engines at work ----------------------------------------------------------------------------------------------------


def ask(engine: str, documents, ids, queries, query_ids, k: int):
    """Index and search in one go, with nothing that the engine could skip."""
    if engine == "qdrant":
        client = engines.qdrant_client(":memory:")
        engines.qdrant_index(client, documents, ids, empty=True)
        return engines.qdrant_search(client, queries, query_ids, k)
    index = engines.seismic_index(documents, ids, empty=True, n_postings=10**6, num_threads=1)
    return engines.seismic_search(index, queries, query_ids, k)


TOLERANCE = {"qdrant": FLOAT32, "seismic": FLOAT16}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_finds_what_the_arrays_say_on_random_vectors(engine):
    documents, queries = random_vectors(120, 60, 12, seed=5), random_vectors(30, 60, 5, seed=6)
    ids, query_ids = named("d", 120), named("q", 30)
    run = ask(engine, documents, ids, queries, query_ids, 120)
    expected = by_hand(queries, documents, query_ids, ids)
    assert {q: set(found) for q, found in run.items()} == {q: set(found) for q, found in expected.items()}
    overlap, error = engines.agreement(run, expected, k=10)
    assert error <= TOLERANCE[engine]
    assert overlap == 1 if engine == "qdrant" else overlap > 0.98  # two close scores may change places in 16 bits
    for found in run.values():
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert any(not found for found in expected.values())  # a query without tokens was among them


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_finds_what_the_arrays_say_on_real_vectors(engine, real):
    documents, queries, _ = real
    ids, query_ids = named("d", documents.shape[0]), named("q", queries.shape[0])
    run = ask(engine, documents, ids, queries, query_ids, 50)
    expected = by_hand(queries, documents, query_ids, ids)
    overlap, error = engines.agreement(run, expected, k=10)
    assert error <= TOLERANCE[engine] and overlap > 0.98
    # A sentence is found by its own first words: the search does something.
    assert np.mean([f"d{i:03}" in list(run[q])[:10] for i, q in enumerate(query_ids)]) > 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_beyond_sixteen_bits_are_kept_apart(engine):
    documents = csr_array(([1.0, 2.0], [5, 5 + 2**16], [0, 1, 2]), shape=(2, 2**17), dtype=np.float32)
    query = csr_array(([1.0], [5 + 2**16], [0, 1]), shape=(1, 2**17), dtype=np.float32)
    assert ask(engine, documents, ["a", "b"], query, ["q"], 5) == {"q": {"b": 2.0}}


@pytest.mark.parametrize("engine", ENGINES)
def test_k_bounds_the_result_and_ties_are_in_the_order_of_the_ids(engine):
    documents = csr_array(np.array([[1.0, 0], [1, 1], [1, 0], [0, 0]], dtype=np.float32))
    queries = csr_array(np.array([[1.0, 0]], dtype=np.float32))
    assert list(ask(engine, documents, ["c", "b", "a", "e"], queries, ["q"], 4)["q"]) == ["a", "b", "c"]
    assert len(ask(engine, documents, ["c", "b", "a", "e"], queries, ["q"], 2)["q"]) == 2


@pytest.mark.parametrize("location", ["localhost:6333", "127.0.0.1:6333", "search.example:80", "[::1]:6333"])
def test_a_host_and_a_port_are_a_server_not_a_folder(location, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda *args, **options: asked.append(options))
    monkeypatch.chdir(tmp_path)
    engines.qdrant_client(location)
    engines.qdrant_client(f"https://{location}")
    assert asked == [{"url": f"http://{location}"}, {"url": f"https://{location}"}] and not any(tmp_path.iterdir())


@pytest.mark.parametrize("location", ["", "  ", None, 3, "grpc://x:6334", "~nobody-of-that-name/idx", __file__])
def test_what_is_neither_server_nor_folder_is_refused(location, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match="the path|location|is a file, not a folder"):
        engines.qdrant_client(location)
    assert not any(tmp_path.iterdir())


def test_a_folder_may_lie_at_home_and_says_who_holds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    client = engines.qdrant_client("~/idx")
    assert [path.name for path in tmp_path.iterdir()] == ["idx"]
    with pytest.raises(ValueError, match=r"idx is held by another client.*call its close\(\)"):
        engines.qdrant_client("~/idx")
    client.close()
    engines.qdrant_client("~/idx").close()


def test_qdrant_in_a_folder_is_still_there_when_it_is_opened_again(tmp_path):
    documents, queries = random_vectors(20, 9, 5, seed=8), random_vectors(4, 9, 3, seed=9)
    ids, query_ids = named("d", 20), named("q", 4)
    client = engines.qdrant_client(tmp_path / "index")
    engines.qdrant_index(client, documents, ids, collection="docs", vector="tokens", empty=True)
    client.close()
    client = engines.qdrant_client(tmp_path / "index")
    run = engines.qdrant_search(client, queries, query_ids, collection="docs", vector="tokens")
    client.close()
    assert engines.agreement(run, by_hand(queries, documents, query_ids, ids)).overlap == 1


def test_qdrant_replaces_a_collection_only_when_told():
    client = engines.qdrant_client()
    first, second = csr_array(np.eye(2, dtype=np.float32)), csr_array(np.eye(2, dtype=np.float32)[::-1])
    engines.qdrant_index(client, first, ["a", "b"])
    with pytest.raises(ValueError, match="there is a collection 'documents' already"):
        engines.qdrant_index(client, second, ["a", "b"])
    query = csr_array(np.array([[1.0, 0]], dtype=np.float32))
    assert engines.qdrant_search(client, query, ["q"]) == {"q": {"a": 1.0}}
    engines.qdrant_index(client, second, ["a", "b"], replace=True)
    assert engines.qdrant_search(client, query, ["q"]) == {"q": {"b": 1.0}}


class OneCollection(BaseHTTPRequestHandler):
    """The part of Qdrant's REST interface that the course uses, answered from a dictionary; scores are its own sums."""

    def answer(self, result, version="1.20.0"):
        body = json.dumps({"result": result, "status": "ok", "time": 0.0, "version": version}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def received(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")

    def do_GET(self):
        made, path = self.server.made, urlsplit(self.path).path
        self.answer({"exists": "name" in made} if path.endswith("/exists") else {})

    def do_PUT(self):
        made, path, body = self.server.made, urlsplit(self.path).path, self.received()
        if path.endswith("/points"):
            made["points"] += body["points"]
            self.answer({"operation_id": 0, "status": "completed"})
        else:
            made |= {"name": path.split("/")[2], "vectors": list(body["sparse_vectors"]), "points": []}
            self.answer(True)

    def do_DELETE(self):
        self.server.made.clear()
        self.answer(True)

    def do_POST(self):
        answers = []
        for search in self.received()["searches"]:
            query, using = search["query"]["nearest"], search["using"]
            asked = dict(zip(query["indices"], query["values"], strict=True))
            points = []
            for point in self.server.made["points"]:
                held = dict(zip(point["vector"][using]["indices"], point["vector"][using]["values"], strict=True))
                if asked.keys() & held.keys():
                    score = sum(asked[t] * held[t] for t in asked.keys() & held.keys())
                    points.append({"id": point["id"], "version": 0, "score": score, "payload": point["payload"]})
            points.sort(key=lambda p: -p["score"])
            answers.append({"points": points[: search["limit"]]})
        self.answer(answers)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneCollection)
    server.made = {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_same_functions_speak_to_a_server(server):
    documents, queries = random_vectors(300, 30, 8, seed=10), random_vectors(6, 30, 4, seed=11)
    ids, query_ids = named("d", 300), named("q", 6)
    client = engines.qdrant_client(f"http://127.0.0.1:{server.server_port}", check_compatibility=False)
    for _ in range(2):
        engines.qdrant_index(client, documents, ids, replace=True, empty=True)
    assert server.made["name"] == "documents" and server.made["vectors"] == ["aligned_tokens"]
    assert len(server.made["points"]) == 300  # more than one batch
    run = engines.qdrant_search(client, queries, query_ids, 7)
    expected = by_hand(queries, documents, query_ids, ids)
    assert engines.agreement(run, expected, k=7).overlap == 1
    assert engines.agreement(run, expected, k=7).score_error < FLOAT32
    client.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": 0}, "k must be at least 1; got 0"),
        ({"query_ids": ["q"]}, "query_ids holds 1 ids where 2 are needed"),
        ({"query_ids": ["q", "q"]}, "query_ids: 'q' occurs twice, at 0 and 1"),
        ({"queries": csr_array(np.full((2, 3), np.inf))}, "queries: row 0 holds the weight inf"),
        ({"collection": "no"}, "there is no collection 'no'; index the documents first"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(given, said):
    client = engines.qdrant_client()
    engines.qdrant_index(client, csr_array(np.eye(3, dtype=np.float32)), ["a", "b", "c"])
    with pytest.raises(ValueError, match=said):
        engines.qdrant_search(client, **({"queries": csr_array(np.eye(3)[:2]), "query_ids": ["q", "r"]} | given))


def test_documents_that_cannot_be_indexed_are_refused():
    client = engines.qdrant_client()
    with pytest.raises(ValueError, match="ids: 'a' occurs twice, at 0 and 1"):
        engines.qdrant_index(client, csr_array(np.eye(2)), ["a", "a"])
    with pytest.raises(ValueError, match="documents: row 1 holds the weight nan; weights must be finite"):
        engines.qdrant_index(client, csr_array(np.array([[1.0, 0], [0, np.nan]])), ["a", "b"])
    assert not client.collection_exists("documents")


#: Every exporter, as a function of documents and ids and a place to write to.
EXPORTERS = {
    "anserini": lambda documents, ids, path: anserini.write_anserini(path, documents, ids, TOKENS[:3]),
    "opensearch, elasticsearch": lambda documents, ids, path: bulk.write_bulk(path, documents, ids),
    "qdrant": lambda documents, ids, path: engines.qdrant_index(engines.qdrant_client(), documents, ids),
    "seismic": lambda documents, ids, path: engines.seismic_index(documents, ids),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("changed", "ids", "said"),
    [
        ([0, 0, 0], ["a", "b"], "1 of 2 documents have no token, for instance 'b'; .*leave them out"),
        ([0, 1, 0], ["a", "a"], "ids: 'a' occurs twice, at 0 and 1"),
        ([0, np.nan, 0], ["a", "b"], "documents: row 1 holds the weight nan; weights must be finite"),
        ([0, np.inf, 0], ["a", "b"], "documents: row 1 holds the weight inf; weights must be finite"),
        ([0, -np.inf, 0], ["a", "b"], "documents: row 1 holds the weight -inf; weights must be finite"),
    ],
)
def test_every_exporter_refuses_what_no_engine_should_hold(exporter, changed, ids, said, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_require", lambda *_: None)  # Seismic need not be here to refuse
    monkeypatch.setitem(sys.modules, "seismic", sys.modules.get("seismic") or ModuleType("seismic"))
    documents = csr_array(np.array([[1.0, 0, 2], changed], dtype=np.float32))
    with pytest.raises(ValueError, match=said):
        EXPORTERS[exporter](documents, ids, tmp_path / "documents.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_document_whose_weights_are_stored_zeros_has_no_token():
    documents = csr_array(([1.0, 0.0], [0, 1], [0, 1, 2]), shape=(2, 3))
    with pytest.raises(ValueError, match="for instance 'b'"):
        sparse.exportable(documents, ["a", "b"])
    assert sparse.exportable(documents, ["a", "b"], empty=True)[1] == ["a", "b"]


def test_the_callers_arrays_are_left_as_they_are():
    documents = csr_array(([2.0, 1.0, 3.0], [2, 0, 2], [0, 3]), shape=(1, 3))  # out of order, one token twice
    before = documents.indices.copy(), documents.data.copy()
    client = engines.qdrant_client()
    engines.qdrant_index(client, documents, ["a"])
    assert engines.qdrant_search(client, csr_array(np.eye(3)), named("q", 3)) == {
        "q000": {"a": 1.0}, "q001": {}, "q002": {"a": 5.0},
    }  # fmt: skip
    np.testing.assert_array_equal(documents.indices, before[0])
    np.testing.assert_array_equal(documents.data, before[1])


@pytest.mark.parametrize(
    ("module", "call", "said"),
    [
        ("qdrant_client", lambda: engines.qdrant_client(), r"qdrant-client: run pip install '\.'"),
        ("seismic", lambda: engines.seismic_index(csr_array(np.eye(2)), ["a", "b"]), r"pip install '\.\[engines\]'"),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(monkeypatch, module, call, said):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=said):
        call()


# Comparing ----------------------------------------------------------------------------------------------------------


def test_agreement_counts_shared_documents_and_the_largest_error():
    expected = {"q": {"a": 4.0, "b": 2.0, "c": 1.0}, "r": {}}
    assert engines.agreement(expected, expected, k=2) == (1.0, 0.0)
    assert engines.agreement({"q": {"a": 4.0, "c": 1.0}, "r": {}}, expected, k=2) == ((0.5 + 1) / 2, 0.0)
    assert engines.agreement({"q": {"a": 4.0, "b": 2.5}, "r": {"a": 1.0}}, expected, k=2) == (0.5, 0.2)


def test_documents_that_tie_may_replace_each_other():
    expected = {"q": {"a": 2.0, "b": 1.0, "c": 1.0}}
    assert engines.agreement({"q": {"a": 2.0, "c": 1.0}}, expected, k=2).overlap == 1


def test_runs_of_other_queries_are_not_compared():
    with pytest.raises(ValueError, match="the runs hold 1 and 2 queries"):
        engines.agreement({"q": {}}, {"q": {}, "r": {}})
    with pytest.raises(ValueError, match="at least one"):
        engines.agreement({}, {})
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        engines.agreement({"q": {}}, {"q": {}}, 0)


def test_quantising_leaves_the_documents_alone():
    documents = csr_array(np.array([[1.0, 0.001, 0.5, 0.0], [0.001, 0.8, 0.0, 0.001]], dtype=np.float32))
    before = documents.toarray()
    whole, _ = anserini.quantise(documents)
    assert whole.nnz == 3 and np.array_equal(documents.toarray(), before)
