"""Judged words: how they are put, and that what ships is what the models of today say of them."""

import numpy as np
import pytest

from course_utils.models import registry
from course_utils.models.embedder import load
from course_utils.models.prompts import BRACKETS, NO_PROMPT, ONE_WORD, POCKET_GRIT
from course_utils.shipped import arrays, words
from course_utils.shipped.kinds import KINDS
from course_utils.texts.datasets import judged_documents, word_pairs


@pytest.mark.slow
@pytest.mark.parametrize("backbone", registry.STORED)
def test_a_random_sample_of_cosines_is_reproduced(backbone):
    names = [n for n in registry.available(KINDS["judged"].names) if registry.get(n).backbone == backbone]
    rows = np.random.default_rng().choice(353, 3, replace=False)
    shared = None
    for name in names:
        embedder = load(name, backbone=shared)
        shared = embedder.backbone
        shipped = arrays.load("judged", name)
        in_carrier = load(name, backbone=shared, prompt=words.carried(embedder.spec.prompt))
        for e, stored in ((in_carrier, shipped.cosines), (embedder, shipped.bare)):
            for pairs, cosines in words.word_cosines(e, rows).items():
                assert np.allclose(cosines, stored[pairs][rows], atol=1e-3), f"{name}, {pairs}, rows {rows}"


def test_the_carrier_stands_before_the_word_unless_the_prompt_ends_in_words():
    assert words.carried(NO_PROMPT).wrap("tea") == ("Word: tea", 6, 9)
    assert words.carried(POCKET_GRIT).wrap("tea")[0] == POCKET_GRIT.prefix + "Word: tea"
    assert words.carried(BRACKETS).wrap("tea")[0] == "Word: tea"
    assert BRACKETS.pooled and not words.carried(BRACKETS).pooled  # the carrier must never count
    assert words.carried(ONE_WORD) is ONE_WORD


def test_words_are_the_distinct_words_of_both_sets():
    found = words.words()
    assert len(found) == len(set(found))
    for name in words.WORD_SETS:
        pairs = word_pairs(name)
        assert set(pairs.left + pairs.right) <= set(found)


class Letters:
    """Stands for an embedder: a text's embedding counts its letters."""

    def __init__(self, spec=None, backbone=None):
        self.spec, self.backbone, self.seen = spec, backbone, []

    def encode(self, texts, progress=None):
        self.seen += [self.spec.prompt.wrap(t)[0] for t in texts] if self.spec else texts
        return np.array([[1 + t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts], dtype=float)


def test_word_cosines_belong_to_their_pairs_and_no_word_is_encoded_twice():
    letters = Letters()
    cosines = words.word_cosines(letters)
    assert sorted(letters.seen) == sorted(words.words())
    for name in words.WORD_SETS:
        pairs = word_pairs(name)
        assert cosines[name].shape == (len(pairs),)
        for i in (0, len(pairs) // 2, len(pairs) - 1):
            a, b = letters.encode([pairs.left[i], pairs.right[i]])
            assert cosines[name][i] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    some = words.word_cosines(Letters(), [5, 2])
    assert all(np.array_equal(some[name], cosines[name][[5, 2]]) for name in words.WORD_SETS)


@pytest.mark.parametrize(("name", "sides"), [("smollm2", 2), ("smol-eol", 1)])
def test_words_are_encoded_with_and_without_carrier_where_the_two_differ(monkeypatch, name, sides):
    made = []
    monkeypatch.setattr("course_utils.models.embedder.Embedder", lambda *a: made.append(Letters(*a)) or made[-1])
    embedder = Letters(registry.get(name))
    tensors = words.encode(embedder)
    keys = [key for key in tensors if key != "documents"]
    assert len(keys) == sides * len(words.WORD_SETS) and len(made) == sides - 1
    assert all(text.startswith("Word: ") for other in made for text in other.seen)
    assert len(embedder.seen) == len(words.words()) + len(judged_documents()[0])
    found = words.view(tensors)
    assert set(found.cosines) == set(found.bare) == set(words.WORD_SETS) and len(found.documents) == 50
    assert all((found.bare[s] is found.cosines[s]) == (sides == 1) for s in words.WORD_SETS)
