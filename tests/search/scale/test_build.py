"""From shards to sparse vectors to an engine: the same as everything at once, cut and resumed, damaged, refused."""

import errno
import json
import os
import shutil
import weakref
from importlib.util import find_spec

import httpx
import numpy as np
import pytest
import tiny
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from scipy.sparse import csr_array

from course_utils.measures import spectrum
from course_utils.measures.alignment import special_ids
from course_utils.models.embedder import load
from course_utils.search import anserini, engines, sparse
from course_utils.search.scale import build, handover, parts, shards

N, D, V, SIZE, K = 103, 16, 200, 10, 32
EXCLUDE = [1, 2, 199]


def quiet(_):
    """Takes a line of progress."""


@pytest.fixture(scope="module")
def cloud():
    """Embeddings that share a direction, an unembedding matrix, and ids; document 5 is decoded to no token at all."""
    rng = np.random.default_rng(0)
    h = (rng.normal(size=(N, D)) + 2).astype(np.float32)
    h[5] = 0
    return [f"d{i:03}" for i in range(N)], h, rng.normal(size=(V, D)).astype(np.float32)


def sources(**changes):
    return {key: "x" for key in shards.SOURCES if key != "rows_per_shard"} | changes


def make_shards(folder, ids, h, size=SIZE, **changes):
    shards.write_manifest(folder, sources(**changes), len(ids), size)
    for number in range(-(-len(ids) // size)):
        rows = slice(number * size, (number + 1) * size)
        shards.write(folder, number, ids[rows], h[rows])
    return folder


@pytest.fixture(scope="module")
def folder(cloud, tmp_path_factory):
    ids, h, _ = cloud
    return make_shards(tmp_path_factory.mktemp("scale") / "shards", ids, h)


@pytest.fixture
def built(folder, cloud, tmp_path):
    return build.build(folder, tmp_path / "parts", cloud[2], K, exclude=EXCLUDE, report=quiet)


def at_once(cloud, **changes):
    _, h, E = cloud
    setting = {"exclude": EXCLUDE, "direction": spectrum.components(h).directions[0], "log1p": True} | changes
    return sparse.document_vectors(h, E, K, **setting)


# The first pass -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, N])
def test_the_first_component_is_that_of_everything_in_memory(cloud, size):
    ids, h, _ = cloud
    found = build.first_pass((ids[i : i + size], h[i : i + size]) for i in range(0, N, size))
    known = spectrum.components(h)
    assert found.direction == pytest.approx(known.directions[0], abs=1e-9)
    assert found.share == pytest.approx(known.shares[0]) and found.documents == N


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], "at least two embeddings; got 0"),
        ([(["a"], np.ones((1, 3), np.float32))], "at least two embeddings; got 1"),
        ([(["a", "b"], np.zeros((2, 3), np.float32))], "all embeddings are zero"),
        (
            [(["a", "b"], np.ones((2, 3), np.float32)), (["c"], np.ones((1, 4), np.float32))],
            "of 4 values after some of 3",
        ),
        ([(["a", "b"], np.ones((2, 3), np.float32)), (["c"], np.full((1, 3), np.nan))], r"infinity in row\(s\) \[2\]"),
        ([(["a", "b"], np.ones((2, 3), np.float32)), (["b"], np.ones((1, 3), np.float32))], "documents number 1 and 2"),
        ([(["a"], np.ones((2, 3), np.float32))], "holds 1 ids where 2 are needed"),
    ],
)
def test_what_has_no_first_component_or_an_id_twice_is_refused(chunks, said):
    with pytest.raises(ValueError, match=said):
        build.first_pass(chunks)


# Building -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"share": 0.5}, {"log1p": False, "unit": False}])
def test_shard_by_shard_is_the_same_as_everything_at_once(folder, cloud, tmp_path, changes):
    out = build.build(folder, tmp_path / "out", cloud[2], K, exclude=EXCLUDE, report=quiet, **changes)
    found, expected = parts.everything(out), at_once(cloud, **changes)
    assert found.ids == cloud[0] and found.documents.shape == expected.shape
    np.testing.assert_allclose(found.documents.toarray(), expected.toarray(), atol=1e-5)
    assert [p.first for p in parts.parts(out)] == list(range(0, N, SIZE))


def test_the_statistics_are_counted_over_all_parts(built, cloud):
    expected, counted = at_once(cloud), parts.statistics(built)
    assert (counted.documents, counted.postings, counted.empty) == (N, expected.nnz, 1)
    assert (counted.frequency == np.bincount(expected.indices, minlength=V)).all()
    assert counted.largest == pytest.approx(expected.data.max(), abs=1e-6)


def test_only_one_shard_is_in_memory_at_a_time(folder, cloud, tmp_path, monkeypatch):
    arrays, alive = [], []
    original = shards._read_one

    def counted(place, number):
        ids, rows = original(place, number)
        arrays.append(weakref.ref(rows))
        alive.append(sum(r() is not None for r in arrays))
        return ids, rows

    monkeypatch.setattr(shards, "_read_one", counted)
    build.build(folder, tmp_path / "out", cloud[2], K, report=quiet)
    shard_count = -(-N // SIZE)
    assert len(alive) == 2 * shard_count  # two passes
    assert max(alive) <= 2  # the next one is read before the last one is let go
    shards.load(folder)  # what holds all of them is noticed
    assert max(alive) >= shard_count


def test_a_build_that_was_cut_goes_on_with_what_lacks(folder, cloud, tmp_path, monkeypatch):
    whole = build.build(folder, tmp_path / "whole", cloud[2], K, report=quiet)
    original, written = parts.write, []

    def cut(place, number, part):
        if number == 4:
            raise KeyboardInterrupt
        written.append(number)
        original(place, number, part)

    monkeypatch.setattr(parts, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        build.build(folder, tmp_path / "cut", cloud[2], K, report=quiet)
    with pytest.raises(ValueError, match=r"lacks 7 of 11 parts \(the first is part-00004"):
        list(parts.parts(tmp_path / "cut"))
    monkeypatch.setattr(parts, "write", lambda *a: written.append(a[1]) or original(*a))
    again = build.build(folder, tmp_path / "cut", cloud[2], K, report=quiet)
    assert written == list(range(11))  # each part once, over both runs
    for one, other in zip(parts.parts(again), parts.parts(whole), strict=True):
        assert one.ids == other.ids and (one.documents != other.documents).nnz == 0


def test_a_full_disk_leaves_no_half_part(folder, cloud, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        build.build(folder, tmp_path / "out", cloud[2], K, report=quiet)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {parts.MANIFEST, build.FIRST_PASS}
    monkeypatch.undo()
    assert parts.statistics(build.build(folder, tmp_path / "out", cloud[2], K, report=quiet)).documents == N


def test_parts_made_from_something_else_are_never_mixed(built, folder, cloud, tmp_path):
    ids, h, E = cloud
    other = make_shards(tmp_path / "other", ids, h, texts="y")
    for changed, said in (
        (lambda: build.build(folder, built, E, K + 1, exclude=EXCLUDE, report=quiet), "was made with setting = "),
        (lambda: build.build(folder, built, E + 1, K, exclude=EXCLUDE, report=quiet), "was made with unembedding = "),
        (lambda: build.build(other, built, E, K, exclude=EXCLUDE, report=quiet), "was made with shards = "),
    ):
        with pytest.raises(ValueError, match=said):
            changed()
    stranger = build.build(other, tmp_path / "stranger", E, K, exclude=EXCLUDE, report=quiet)
    shutil.copy(stranger / parts.name(3), built / parts.name(3))
    with pytest.raises(ValueError, match=r"part-00003.safetensors was made from something else.*remove it"):
        list(parts.parts(built))


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b[:-8] + b"\1" * 8, lambda b: b""])
def test_a_damaged_part_is_named_with_what_to_do(built, folder, cloud, damage):
    path = built / parts.name(2)
    path.write_bytes(damage(path.read_bytes()))
    for call in (
        lambda: list(parts.parts(built)),
        lambda: build.build(folder, built, cloud[2], K, exclude=EXCLUDE, report=quiet),
    ):
        with pytest.raises(ValueError, match=r"part-00002.safetensors is damaged \(.*remove it and run again"):
            call()
    path.unlink()
    assert parts.statistics(build.build(folder, built, cloud[2], K, exclude=EXCLUDE, report=quiet)).documents == N


@pytest.mark.parametrize("damage", [lambda b: b"half", lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:-9]])
def test_a_damaged_first_pass_is_named(built, folder, cloud, damage):
    path = built / build.FIRST_PASS
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"first_pass.npz is damaged.*remove it"):
        build.build(folder, built, cloud[2], K, exclude=EXCLUDE, report=quiet)


def test_a_folder_that_is_something_else_is_left_alone(folder, cloud, tmp_path):
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ValueError, match="holds files, but no manifest.json"):
        build.build(folder, tmp_path, cloud[2], K, report=quiet)
    with pytest.raises(FileNotFoundError, match="manifest.json does not exist"):
        list(parts.parts(tmp_path))
    (tmp_path / "manifest.json").write_text('{"version": 9}', encoding="utf-8")
    with pytest.raises(ValueError, match="not of version 1"):
        list(parts.parts(tmp_path))


def test_a_part_refuses_weights_and_ids_that_are_wrong(tmp_path):
    parts.write_manifest(tmp_path / "p", {"parts": 1, "columns": 3})
    good = csr_array(np.eye(2, 3, dtype=np.float32))
    for part, said in (
        (parts.Part(["a", "b"], good * np.float32(np.nan), 0), "holds the weight nan"),
        (parts.Part(["a", "b"], good * -1, 0), "holds the weight -1.0"),
        (parts.Part(["a", "a"], good, 0), "'a' occurs twice"),
        (parts.Part(["a"], good, 0), "1 ids where 2 are needed"),
    ):
        with pytest.raises(ValueError, match=said):
            parts.write(tmp_path / "p", 0, part)
    assert [p.name for p in (tmp_path / "p").iterdir()] == [parts.MANIFEST]


def test_ids_of_any_kind_come_back(tmp_path):
    ids = ["ü", "a b", '"', "नमस्ते", "x" * 500]
    parts.write_manifest(tmp_path / "p", {"parts": 1, "columns": 5})
    parts.write(tmp_path / "p", 0, parts.Part(ids, csr_array(np.eye(5, dtype=np.float32)), 7))
    [part] = parts.parts(tmp_path / "p")
    assert part.ids == ids and part.first == 7 and (part.documents.toarray() == np.eye(5)).all()


def test_the_embedder_that_the_shards_name_is_loaded_and_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tiny.save(tmp_path / "model")
    embedder = load(place)
    texts = dict(zip("abcdefghi", tiny.SENTENCES, strict=True))
    h = embedder.encode(list(texts.values()))
    identity = shards.identity(embedder.spec)
    made = make_shards(tmp_path / "shards", list(texts), h, 4, **identity)
    out = build.build_named(made, tmp_path / "parts", 20, report=quiet)
    E = embedder.unembedding.detach().numpy()
    exclude = special_ids(embedder.tokenizer, len(E))
    expected = sparse.document_vectors(
        h, E, 20, exclude=exclude, direction=spectrum.components(h).directions[0], log1p=True
    )
    found = parts.everything(out)
    assert found.ids == list(texts)
    np.testing.assert_allclose(found.documents.toarray(), expected.toarray(), atol=1e-5)
    tiny.save(tmp_path / "model", seed=1)
    with pytest.raises(ValueError, match="the weights of the backbone"):
        build.build_named(made, tmp_path / "parts", 20, report=quiet)


def test_progress_is_told_now_and_then(monkeypatch):
    clock, told = [0.0], []
    monkeypatch.setattr(parts.time, "monotonic", lambda: clock[0])
    progress = parts.Progress(100, "documents built", told.append)
    for done in range(1, 101):
        clock[0] += 1
        progress(done)
    assert told[0] == "6 of 100 documents built, about 94 s left" and 15 <= len(told) <= 20


# Qdrant -------------------------------------------------------------------------------------------------------------


def run_of(documents, ids, queries, names):
    found = sparse.search(queries, sparse.inverted_index(documents), k=100)
    return {q: {ids[d]: float(s) for d, s in zip(*hits, strict=True)} for q, hits in zip(names, found, strict=True)}


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_an_uploaded_collection_answers_as_the_arrays_do(built, cloud, tmp_path, where):
    client = engines.qdrant_client(":memory:" if where == "memory" else tmp_path / "qdrant")
    assert handover.upload(built, client, report=quiet) == (N, 0, 0)
    assert client.count(engines.COLLECTION).count == N
    expected = at_once(cloud)
    queries, names = expected[[0, 7, 50]], ["q0", "q7", "q50"]
    same = engines.agreement(engines.qdrant_search(client, queries, names), run_of(expected, cloud[0], queries, names))
    assert same.overlap == 1 and same.score_error < 1e-5
    client.close()


def test_an_upload_goes_on_where_it_was_cut_and_is_there_once(built):
    client = engines.qdrant_client()
    original, calls = client.upsert, []

    def cut(*arguments, **options):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*arguments, **options)

    client.upsert = cut
    with pytest.raises(KeyboardInterrupt):
        handover.upload(built, client, report=quiet)
    client.upsert = original
    assert handover.upload(built, client, report=quiet) == (N - 30, 30, 0)
    assert handover.upload(built, client, report=quiet) == (0, N, 0)
    assert client.count(engines.COLLECTION).count == N


BUSY = UnexpectedResponse(503, "Service Unavailable", b"", httpx.Headers())
GONE = ResponseHandlingException(ConnectionRefusedError("refused"))


def failing(client, errors):
    """The client, whose upserts raise these errors first."""
    original, left = client.upsert, list(errors)
    client.upsert = lambda *a, **o: (_ for _ in ()).throw(left.pop(0)) if left else original(*a, **o)
    return client


def test_a_request_that_fails_for_a_while_is_sent_again_later_and_later(built, monkeypatch):
    pauses, told = [], []
    monkeypatch.setattr(handover.time, "sleep", pauses.append)
    client = failing(engines.qdrant_client(), [BUSY, GONE, TimeoutError("late")])
    assert handover.upload(built, client, report=told.append) == (N, 0, 3)
    assert pauses == [1, 2, 4] and client.count(engines.COLLECTION).count == N
    assert [line for line in told if "trying again in 2 s (2 of 6 tries)" in line and "refused" in line]


def test_a_server_that_stays_away_is_given_up_with_what_to_do(built, monkeypatch):
    monkeypatch.setattr(handover.time, "sleep", quiet)
    client = failing(engines.qdrant_client(), [GONE] * 9)
    with pytest.raises(ConnectionError, match=r"failed 3 times \(.*refused.*what was sent is kept"):
        handover.upload(built, client, attempts=3, report=quiet)


def test_an_error_that_will_not_pass_is_not_tried_again(built, monkeypatch):
    monkeypatch.setattr(handover.time, "sleep", lambda _: pytest.fail("waited for nothing"))
    wrong = UnexpectedResponse(400, "Bad Request", b"no vector", httpx.Headers())
    with pytest.raises(UnexpectedResponse):
        handover.upload(built, failing(engines.qdrant_client(), [wrong]), report=quiet)


@pytest.mark.parametrize(("status", "reason"), [(401, "Unauthorized"), (403, "Forbidden")])
def test_a_server_that_wants_a_key_says_where_to_put_it(built, monkeypatch, status, reason):
    monkeypatch.setattr(handover.time, "sleep", lambda _: pytest.fail("waited for nothing"))
    refused = UnexpectedResponse(status, reason, b"no key", httpx.Headers())
    with pytest.raises(ConnectionError, match=rf"{status}.*check the API key \(QDRANT_API_KEY\)"):
        handover.upload(built, failing(engines.qdrant_client(), [refused]), report=quiet)


def test_a_folder_without_a_manifest_makes_no_collection(tmp_path):
    client = engines.qdrant_client()
    with pytest.raises(FileNotFoundError, match="manifest.json"):
        handover.upload(tmp_path, client, report=quiet)
    assert not client.collection_exists(engines.COLLECTION)


def test_a_collection_made_from_something_else_is_left_alone(built, folder, cloud, tmp_path):
    client = engines.qdrant_client()
    handover.upload(built, client, report=quiet)
    other = build.build(folder, tmp_path / "other", cloud[2], K - 1, report=quiet)
    with pytest.raises(ValueError, match="'documents' already, made from something else"):
        handover.upload(other, client, report=quiet)
    assert handover.upload(other, client, collection="others", report=quiet).sent == N


# Files --------------------------------------------------------------------------------------------------------------


def test_opensearch_gets_positive_weights_under_numbers_and_a_mapping(built, cloud, tmp_path):
    files = handover.export(built, tmp_path / "out", "opensearch", report=quiet)
    assert len(files) == 12 and json.loads(files[-1].read_text(encoding="utf-8")) == handover.MAPPING
    ids, rows = [], []
    for path in files[:-1]:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            assert set(action) == {"index"} and set(document) == {"id", handover.FIELD}
            assert action["index"] == {"_id": document["id"]}
            vector = document[handover.FIELD]
            assert all(key.isdigit() and int(key) < V and weight > 0 for key, weight in vector.items())
            ids.append(document["id"])
            rows.append(vector)
    back = np.zeros((N, V), dtype=np.float32)
    for row, vector in enumerate(rows):
        back[row, [int(key) for key in vector]] = list(vector.values())
    assert ids == cloud[0] and rows[5] == {}
    np.testing.assert_array_equal(back, parts.everything(built).documents.toarray())
    assert handover.MAPPING["mappings"]["properties"][handover.FIELD] == {"type": "rank_features"}


def test_anserini_gets_whole_weights_on_one_scale_for_the_collection(folder, tmp_path):
    from transformers import AutoTokenizer

    tiny.save_tokenizer(tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    size, rng = tiny.VOCABULARY, np.random.default_rng(1)
    made = build.build(folder, tmp_path / "parts", rng.normal(size=(size, D)).astype(np.float32), 40, report=quiet)
    files = handover.export(made, tmp_path / "out", "anserini", tokenizer, report=quiet)
    names = anserini.token_strings(tokenizer, size)
    read = [anserini.read_anserini(path, names) for path in files]
    everything = parts.everything(made)
    expected, _ = anserini.quantise(everything.documents)
    assert [i for r in read for i in r.ids] == everything.ids
    np.testing.assert_array_equal(np.vstack([r.documents.toarray() for r in read]), expected.toarray())


@pytest.mark.parametrize(
    ("form", "said"),
    [("lucene", "form must be one of anserini, opensearch"), ("anserini", "give the embedder's tokenizer")],
)
def test_an_export_that_cannot_be_made_is_refused(built, tmp_path, form, said):
    with pytest.raises(ValueError, match=said):
        handover.export(built, tmp_path / "out", form, report=quiet)
    assert not (tmp_path / "out").exists()


def test_an_export_into_a_folder_that_holds_something_is_refused(built, tmp_path):
    with pytest.raises(ValueError, match="is not empty"):
        handover.export(built, built, "opensearch", report=quiet)


@pytest.mark.skipif(find_spec("seismic") is None, reason="an optional package with wheels for some systems only")
def test_seismic_takes_everything_that_fits_into_memory(built, cloud):
    found, expected = parts.everything(built), at_once(cloud)
    index = engines.seismic_index(found.documents, found.ids, empty=True)
    queries, names = expected[[0, 7]], ["a", "b"]
    run = engines.seismic_search(index, queries, names)
    assert engines.agreement(run, run_of(expected, cloud[0], queries, names)).overlap > 0.9


def test_a_part_is_scaled_by_the_largest_weight_of_the_collection():
    whole, scale = anserini.quantise(csr_array(np.float32([[0.8, 0.2]])), largest=1.0)
    assert scale == pytest.approx(1 / 255) and whole.toarray().tolist() == [[204, 51]]
    with pytest.raises(ValueError, match="above the largest of the collection"):
        anserini.quantise(csr_array(np.float32([[0.5]])), largest=0.1)
