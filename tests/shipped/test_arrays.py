"""The shipped embeddings are those that the models of today give for the sentences of today."""

import numpy as np
import pytest

from course_utils.models import registry
from course_utils.models.embedder import load_family
from course_utils.shipped import arrays
from course_utils.texts.datasets import wikipedia_sentences


def test_every_embedder_of_the_family_has_a_current_array():
    for name in registry.available(arrays.NAMES):
        assert arrays.is_current(name), f"data/arrays/{name}.safetensors is stale: run python -m course_utils.shipped.arrays"


@pytest.mark.parametrize("backbone", registry.STORED)
def test_a_random_sample_of_rows_is_reproduced(backbone):
    names = [n for n in arrays.have() if registry.get(n).backbone == backbone]
    assert names
    rows = np.random.default_rng().choice(arrays.N_SENTENCES, 6, replace=False)
    sentences = wikipedia_sentences(arrays.N_SENTENCES)
    for name, embedder in load_family(names).items():
        fresh = embedder.encode([sentences[i] for i in rows])
        stored = arrays.load(name)[rows]
        if name in arrays.ONE_BYTE:
            step = np.abs(fresh).max(axis=1) / 127
            # Half a step for the rounding, and room for the arithmetic of other processors.
            error, allowed = np.abs(fresh - stored).max(axis=1) / step, 0.75
        else:
            error, allowed = np.linalg.norm(fresh - stored, axis=1) / np.linalg.norm(fresh, axis=1), 2e-3
        assert error.max() < allowed, f"{name}: rows {rows[error >= allowed]} differ by {error.max():.4f}"


def test_unknown_name_and_wrong_n_are_refused():
    with pytest.raises(FileNotFoundError, match="there are:"):
        arrays.load("no-such-embedder")
    with pytest.raises(ValueError, match="between 1 and"):
        arrays.load(arrays.have()[0], 0)
