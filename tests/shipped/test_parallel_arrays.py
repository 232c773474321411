"""The shipped embeddings of the parallel sentences are those that the models of today give for them."""

import numpy as np
import pytest

from course_utils.models import registry
from course_utils.models.embedder import load_family
from course_utils.shipped import parallel_arrays
from course_utils.texts import parallel


def test_every_embedder_of_the_lesson_has_a_current_array():
    for name in registry.available(parallel_arrays.NAMES):
        assert parallel_arrays.is_current(name), f"{name} is stale: run python -m course_utils.shipped.parallel_arrays"


@pytest.mark.parametrize("backbone", registry.STORED)
def test_a_random_sample_of_rows_is_reproduced(backbone):
    names = [n for n in parallel_arrays.have() if registry.get(n).backbone == backbone]
    assert names
    rng = np.random.default_rng()
    n = len(parallel.sentences("en"))
    chosen = [(language, int(rng.integers(n))) for language in parallel.LANGUAGES]
    texts = [parallel.sentences(language)[row] for language, row in chosen]
    for name, embedder in load_family(names).items():
        fresh, shipped = embedder.encode(texts), parallel_arrays.load(name)
        for h, (language, row) in zip(fresh, chosen, strict=True):
            error = np.linalg.norm(h - shipped[language][row]) / np.linalg.norm(h)
            assert error < 2e-3, f"{name}: row {row} of {language!r} differs by {error:.4f}"


def test_languages_come_in_order_with_one_row_for_each_sentence():
    for name in parallel_arrays.have():
        found = parallel_arrays.load(name)
        assert list(found) == list(parallel.LANGUAGES)
        assert {len(h) for h in found.values()} == {len(parallel.sentences("en"))}
        assert {h.dtype for h in found.values()} == {np.dtype(np.float32)}


def test_an_unknown_name_is_refused():
    with pytest.raises(FileNotFoundError, match="there are:"):
        parallel_arrays.load("no-such-embedder")


def test_arrays_of_other_sentences_are_refused(monkeypatch):
    real = parallel.sentences
    monkeypatch.setattr(parallel, "sentences", lambda language: [s + "!" for s in real(language)])
    with pytest.raises(ValueError, match="made from other sentences"):
        parallel_arrays.load(parallel_arrays.have()[0])
