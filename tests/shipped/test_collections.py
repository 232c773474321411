"""A collection is encoded in pieces that are kept; the adapter is merged meanwhile and nothing stays behind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from course_utils.models import registry, store
from course_utils.models.backbone import Backbone
from course_utils.models.embedder import load as load_embedder
from course_utils.shipped import collections, kinds
from course_utils.texts.datasets import Retrieval

SMALL = Retrieval(
    {f"d{i}": text for i, text in enumerate(["A dog sleeps.", "Rivers run to the sea.", "Iron rusts in wet air."])},
    {"q0": "rust", "q1": "animals at rest"},
    {"q0": {"d2": 1}, "q1": {"d0": 1}},
)
NAME = kinds.KINDS["retrieval"].names[0]


@pytest.fixture(scope="module")
def embedder():
    return load_embedder(NAME)


def relative_error(found, expected):
    return (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max()


def test_pieces_are_kept_and_agree_with_the_embedder(tmp_path, monkeypatch, embedder):
    folder = store.backbone(registry.get(NAME).backbone)
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(store, "backbone", lambda name: folder)
    monkeypatch.setattr(collections, "PIECE", 2)
    monkeypatch.setattr(kinds, "wikipedia_retrieval", lambda: SMALL)
    monkeypatch.setattr(Backbone, "__init__", None)  # the one at hand must do
    lines = []
    found = collections.Embedded(**kinds.KINDS["retrieval"].encode(embedder, lines.append))
    assert lines == [f"{NAME}: 3 of 3 pieces"]

    documents = embedder.encode(list(SMALL.corpus.values()), role="passage")
    queries = embedder.encode(list(SMALL.queries.values()), collections.INSTRUCTIONS.get(NAME), "query")
    assert relative_error(found.documents, documents) < 1e-4  # merged adapters round differently, and no more
    assert relative_error(found.queries, queries) < 1e-4

    pieces = sorted(tmp_path.rglob("*.npy"))
    assert [p.name for p in pieces] == ["00000.npy", "00001.npy", "00002.npy"]
    pieces[1].unlink()
    asked = []
    monkeypatch.setattr(
        collections, "_encoded", lambda e, role, texts: asked.append((role, texts)) or documents[: len(texts)]
    )
    again = collections.encode(NAME, SMALL, report=lambda line: None, backbone=embedder.backbone)
    assert asked == [("passage", ["A dog sleeps.", "Rivers run to the sea."])]  # only the lost piece
    np.testing.assert_array_equal(again.queries, found.queries)


def test_after_the_work_every_weight_is_what_it_was(embedder):
    text, weights = ["A short sentence."], embedder.backbone.causal.state_dict()
    before, plain = {key: weight.clone() for key, weight in weights.items()}, embedder.encode(["A short sentence."])
    with collections.merged(NAME, backbone=embedder.backbone) as within:
        inside = within.encode(text)
        assert any(not before[key].equal(weight) for key, weight in weights.items())
    assert all(before[key].equal(weight) for key, weight in weights.items())
    np.testing.assert_array_equal(embedder.encode(text), plain)
    np.testing.assert_allclose(inside, plain, rtol=1e-3, atol=1e-4 * np.abs(plain).max())


def test_the_source_names_everything_that_matters(monkeypatch):
    first = collections.source(NAME, SMALL)
    assert first == collections.source(NAME, SMALL)
    other = Retrieval(SMALL.corpus, {"q0": "rust!", "q1": "animals at rest"}, SMALL.qrels)
    assert collections.source(NAME, other)["collection"] != first["collection"]
    assert collections.source(NAME, SMALL, "bfloat16")["dtype"] != first["dtype"]
    spec = collections.registry.get(NAME)
    for change in ({"pooling": "last_token"}, {"prompt": replace(spec.prompt, instructed="now: {instruction}")}):
        monkeypatch.setattr(collections.registry, "get", lambda name, c=change: replace(spec, **c))
        assert collections.source(NAME, SMALL)["reading"] != first["reading"]
    monkeypatch.undo()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"x")
    assert collections.source(NAME, SMALL)["adapters"] != first["adapters"]
