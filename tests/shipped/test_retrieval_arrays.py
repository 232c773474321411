"""The shipped collection is what the models of today give for the texts of today."""

import json
from pathlib import Path

import numpy as np
import pytest

from course_utils.models import registry, store
from course_utils.models.embedder import load as load_embedder
from course_utils.shipped import files
from course_utils.shipped import retrieval_arrays as arrays
from course_utils.texts.datasets import Retrieval, wikipedia_retrieval

SMALL = Retrieval(
    {f"d{i}": text for i, text in enumerate(["A dog sleeps.", "Rivers run to the sea.", "Iron rusts in wet air."])},
    {"q0": "rust", "q1": "animals at rest"},
    {"q0": {"d2": 1}, "q1": {"d0": 1}},
)
NAME = registry.available(arrays.NAMES)[0]


def relative_error(found, expected):
    return (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()


# --- Packing --------------------------------------------------------------------------------------


def test_no_entry_is_off_by_more_than_half_a_scale():
    rows = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32) * np.logspace(-3, 3, 50)[:, None]
    rows[7] = 0
    numbers, scales = files.pack(rows)
    assert numbers.dtype == np.int8 and scales.dtype == np.float32 and scales[7] == 0
    error = np.abs(files.unpack(numbers, scales) - rows)
    assert (error <= 0.5001 * scales[:, None]).all()
    np.testing.assert_allclose(np.abs(numbers).max(axis=1)[np.arange(50) != 7], 127)


def test_packing_refuses_what_is_no_matrix_of_numbers():
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        files.pack(np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        files.pack(np.array([[1.0, np.nan]]))
    assert files.unpack(*files.pack(np.empty((0, 5)))).shape == (0, 5)


# --- Encoding -------------------------------------------------------------------------------------


def test_pieces_are_kept_and_agree_with_the_embedder(tmp_path, monkeypatch):
    folder = store.backbone(registry.get(NAME).backbone)
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(store, "backbone", lambda name: folder)
    monkeypatch.setattr(arrays, "PIECE", 2)
    lines = []
    found = arrays.encode(NAME, SMALL, report=lines.append)
    assert lines == [f"{NAME}: 3 of 3 pieces"]

    embedder = load_embedder(NAME)
    documents = embedder.encode(list(SMALL.corpus.values()), role="passage")
    queries = embedder.encode(list(SMALL.queries.values()), arrays.INSTRUCTIONS.get(NAME), "query")
    assert relative_error(found.documents, documents) < 1e-4  # merged adapters round differently, and no more
    assert relative_error(found.queries, queries) < 1e-4

    pieces = sorted(tmp_path.rglob("*.npy"))
    assert [p.name for p in pieces] == ["00000.npy", "00001.npy", "00002.npy"]
    pieces[1].unlink()
    asked = []
    monkeypatch.setattr(
        arrays, "_encoded", lambda e, role, texts: asked.append((role, texts)) or documents[: len(texts)]
    )
    again = arrays.encode(NAME, SMALL, report=lambda line: None)
    assert asked == [("passage", ["A dog sleeps.", "Rivers run to the sea."])]  # only the lost piece
    np.testing.assert_array_equal(again.queries, found.queries)


def test_after_the_work_the_adapter_is_apart_from_the_weights_again():
    text = ["A short sentence."]
    plain = load_embedder(NAME).encode(text)
    with arrays.merged(NAME) as embedder:
        inside = embedder.encode(text)
    np.testing.assert_allclose(embedder.encode(text), plain, rtol=1e-3, atol=1e-4 * np.abs(plain).max())
    np.testing.assert_allclose(inside, plain, rtol=1e-3, atol=1e-4 * np.abs(plain).max())


def test_the_source_names_everything_that_matters(monkeypatch):
    first = arrays.source(NAME, SMALL)
    assert first == arrays.source(NAME, SMALL)
    other = Retrieval(SMALL.corpus, {"q0": "rust!", "q1": "animals at rest"}, SMALL.qrels)
    assert arrays.source(NAME, other)["collection"] != first["collection"]
    assert arrays.source(NAME, SMALL, "bfloat16")["dtype"] != first["dtype"]
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"x")
    assert arrays.source(NAME, SMALL)["adapters"] != first["adapters"]


# --- What ships -----------------------------------------------------------------------------------


def test_every_embedder_for_retrieval_has_a_current_array():
    for name in registry.available(arrays.NAMES):
        assert arrays.is_current(name), f"{name} is stale: run python -m course_utils.shipped.retrieval_arrays {name}"
        assert (arrays.ARRAYS / f"{name}.safetensors").stat().st_size < 4e6


@pytest.mark.parametrize("name", registry.available(arrays.NAMES))
def test_a_random_sample_of_rows_is_reproduced(name):
    collection, embedder = wikipedia_retrieval(), load_embedder(name)
    shipped, rng = arrays.load(name), np.random.default_rng()
    sides = (
        ("passage", collection.corpus, shipped.documents, None),
        ("query", collection.queries, shipped.queries, arrays.INSTRUCTIONS.get(name)),
    )
    for role, texts, rows, instruction in sides:
        assert len(rows) == len(texts)
        some = rng.choice(len(texts), 4, replace=False)
        fresh = embedder.encode([list(texts.values())[i] for i in some], instruction, role)
        # One byte per number costs about one percent, bfloat16 another two.
        error = np.linalg.norm(fresh - rows[some], axis=1) / np.linalg.norm(fresh, axis=1)
        assert error.max() < 0.06, f"{name}, {role}: rows {some[error >= 0.06]} differ by {error.max():.3f}"


def test_an_unknown_name_and_other_texts_are_refused(monkeypatch):
    with pytest.raises(FileNotFoundError, match="no shipped numbers for 'no-such'; there are:"):
        arrays.load("no-such")
    monkeypatch.setattr(arrays, "wikipedia_retrieval", lambda: SMALL)
    with pytest.raises(ValueError, match="made from other texts"):
        arrays.load(arrays.have()[0])


def test_the_command_writes_an_array_that_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(arrays, "ARRAYS", tmp_path)
    monkeypatch.setattr(arrays, "wikipedia_retrieval", lambda: SMALL)
    rows = arrays.Embedded(np.eye(3, 4, dtype=np.float32), np.ones((2, 4), np.float32))
    asked = []
    monkeypatch.setattr(arrays, "encode", lambda name, collection, dtype, report: asked.append((name, dtype)) or rows)
    arrays.main([NAME, "--dtype", "bfloat16"])
    assert asked == [(NAME, "bfloat16")] and "written to" in capsys.readouterr().out
    assert arrays.is_current(NAME) and arrays.have() == [NAME]
    np.testing.assert_allclose(arrays.load(NAME).documents, rows.documents)
    arrays.main([n for n in [NAME] if not arrays.is_current(n)] or ["--dtype", "float32", NAME])
    assert asked[-1] == (NAME, "float32")
    with pytest.raises(SystemExit):
        arrays.main(["--dtype", "float16"])
    assert json.loads(json.dumps(arrays.source(NAME, SMALL))) == arrays.source(NAME, SMALL)
