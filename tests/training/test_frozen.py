import numpy as np
import pytest
import tiny

from course_utils.models.embedder import load
from course_utils.training import frozen


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return load(tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1))


def test_what_is_remembered_is_what_would_be_computed(embedder):
    expected = embedder.encode(tiny.SENTENCES)
    transformer, states = embedder.backbone.transformer, {}
    for _ in range(2):  # the second time from memory, in other batches and so with other padding
        with frozen.remembered(transformer, 1, states):
            np.testing.assert_allclose(embedder.encode(tiny.SENTENCES, batch_tokens=512), expected, atol=1e-5)
            alone = np.concatenate([embedder.encode([text]) for text in tiny.SENTENCES])
        np.testing.assert_allclose(alone, expected, atol=1e-5)
        assert len(states) == len(tiny.SENTENCES)
    np.testing.assert_array_equal(embedder.encode(tiny.SENTENCES), expected)  # the layers are back


def test_the_memory_is_used(embedder):
    states = {}
    with frozen.remembered(embedder.backbone.transformer, 1, states):
        before = embedder.encode(["Parrots"])
        (key,) = states
        states[key] = states[key] + 1
        assert np.abs(embedder.encode(["Parrots"]) - before).max() > 0.01


@pytest.mark.parametrize("first_layer", [0, tiny.LAYERS, -1])
def test_some_layer_must_learn(embedder, first_layer):
    with pytest.raises(ValueError, match="first_layer must lie between 1 and 1"):
        with frozen.remembered(embedder.backbone.transformer, first_layer):
            pass


def test_without_a_first_layer_nothing_changes(embedder):
    with frozen.remembered(embedder.backbone.transformer, None):
        assert "forward" not in vars(embedder.backbone.transformer.layers[0])
