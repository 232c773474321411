"""The judged words and documents: what ships is what the models of today say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from course_utils.models import registry
from course_utils.models.embedder import load
from course_utils.models.prompts import BRACKETS, NO_PROMPT, ONE_WORD, POCKET_GRIT
from course_utils.shipped import judged
from course_utils.texts.datasets import judged_documents, word_pairs


def test_every_embedder_has_current_numbers():
    for name in registry.available(judged.NAMES):
        spec = registry.get(name)
        assert judged.is_current(spec), f"{name}: stale or missing; run python -m course_utils.shipped.judged"


@pytest.mark.parametrize("backbone", registry.STORED)
def test_a_random_sample_is_reproduced(backbone):
    names = [n for n in registry.available(judged.NAMES) if registry.get(n).backbone == backbone]
    rng = np.random.default_rng()
    rows, documents = rng.choice(353, 3, replace=False), rng.choice(50, 1)
    shared = None
    for name in names:
        embedder = load(name, backbone=shared)
        shared = embedder.backbone
        shipped = judged.load(embedder.spec)
        in_carrier = load(name, backbone=shared, prompt=judged.carried(embedder.spec.prompt))
        for e, stored in ((in_carrier, shipped.cosines), (embedder, shipped.bare)):
            for pairs, cosines in judged.word_cosines(e, rows).items():
                assert np.allclose(cosines, stored[pairs][rows], atol=1e-3), f"{name}, {pairs}, rows {rows}"
        fresh = embedder.encode([judged_documents()[0][i] for i in documents])
        error = np.linalg.norm(fresh - shipped.documents[documents]) / np.linalg.norm(fresh)
        assert error < 2e-3, f"{name}: document {documents} differs by {error:.4f}"


def test_the_carrier_stands_before_the_word_unless_the_prompt_ends_in_words():
    assert judged.carried(NO_PROMPT).wrap("tea") == ("Word: tea", 6, 9)
    assert judged.carried(POCKET_GRIT).wrap("tea")[0] == POCKET_GRIT.prefix + "Word: tea"
    assert judged.carried(BRACKETS).wrap("tea")[0] == "Word: tea"
    assert BRACKETS.pooled and not judged.carried(BRACKETS).pooled  # the carrier must never count
    assert judged.carried(ONE_WORD) is ONE_WORD


def test_words_are_the_distinct_words_of_both_sets():
    found = judged.words()
    assert len(found) == len(set(found))
    for name in judged.WORD_SETS:
        pairs = word_pairs(name)
        assert set(pairs.left + pairs.right) <= set(found)


class _Letters:
    """Stands for an embedder: a text's embedding counts its letters."""

    def __init__(self):
        self.seen = []

    def encode(self, texts, progress=None):
        self.seen += texts
        return np.array([[1 + t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts], dtype=float)


def test_word_cosines_belong_to_their_pairs_and_no_word_is_encoded_twice():
    letters = _Letters()
    cosines = judged.word_cosines(letters)
    assert sorted(letters.seen) == sorted(judged.words())
    for name in judged.WORD_SETS:
        pairs = word_pairs(name)
        assert cosines[name].shape == (len(pairs),)
        for i in (0, len(pairs) // 2, len(pairs) - 1):
            a, b = letters.encode([pairs.left[i], pairs.right[i]])
            assert cosines[name][i] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    some = judged.word_cosines(_Letters(), [5, 2])
    assert all(np.array_equal(some[name], cosines[name][[5, 2]]) for name in judged.WORD_SETS)


def test_numbers_of_other_texts_or_adapters_are_not_current(tmp_path, monkeypatch):
    from safetensors.numpy import load_file, save_file

    spec = registry.get("smol-eol")
    assert judged.is_current(spec)
    assert not judged.is_current(replace(spec, prompt=NO_PROMPT))
    assert not judged.is_current(replace(spec, name="somebody-else"))
    tensors, stale = load_file(judged.JUDGED / "smol-eol.safetensors"), judged.source(spec) | {"texts": "others"}
    save_file(tensors, tmp_path / "smol-eol.safetensors", {"made_from": json.dumps(stale)})
    monkeypatch.setattr(judged, "JUDGED", tmp_path)
    assert not judged.is_current(spec)
    (tmp_path / "smol-eol.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="run python -m course_utils.shipped.judged smol-eol"):
        judged.load(spec)


def test_current_numbers_are_read_and_others_computed(monkeypatch):
    class Embedder:
        spec = registry.get("smol-eol")

    monkeypatch.setattr(judged, "compute", lambda embedder: "computed")
    assert judged.get(Embedder).documents.shape[0] == 50
    monkeypatch.setattr(judged, "is_current", lambda spec: False)
    assert judged.get(Embedder) == "computed"
