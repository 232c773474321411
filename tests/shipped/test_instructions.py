"""The instructions of lesson 06 and how each embedder is told them."""

import numpy as np

from course_utils.models import registry
from course_utils.shipped import instructions


def test_the_untrained_origin_reads_the_prompts_of_the_trained_one():
    untrained, trained = instructions.spec(instructions.UNTRAINED), instructions.spec("smol-grit")
    assert untrained.adapters == () and untrained.name == "untrained"
    for field in ("prompt", "pooling", "bidirectional", "normalize", "backbone"):
        assert getattr(untrained, field) == getattr(trained, field)


def test_an_instruction_is_worded_for_the_embedder():
    assert instructions.worded("smol-grit", "topic") == "topic"
    assert instructions.worded("smol-llm2vec", "topic") == "topic: "
    assert instructions.worded("smol-llm2vec", None) is None


def test_every_instruction_is_encoded_as_it_is_worded_and_comes_back_under_its_name():
    class Embedder:
        spec, asked = registry.get("smol-llm2vec"), []

        def encode(self, texts, instruction, progress):
            self.asked.append(instruction)
            return np.full((len(texts), 2), len(self.asked))

    tensors = instructions.encode(Embedder(), ["a", "b"])
    assert Embedder.asked == [None, "topic: ", "sentiment: ", "intent: ", "purple: "]
    found = instructions.view(tensors)
    assert tuple(found) == instructions.INSTRUCTIONS
    assert [rows[0, 0] for rows in found.values()] == [1, 2, 3, 4, 5]
