"""The instructions of lesson 06, the embedders that are told them, and how each is told."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from course_utils.models import registry
from course_utils.models.registry import EmbedderSpec
from course_utils.texts import instruction_texts

#: No instruction, the three aspects of the texts, and one that asks for nothing that a text has.
INSTRUCTIONS = (None, *instruction_texts.ASPECTS, "purple")
#: The name under which smol-grit's untrained origin reads the same prompts with the same pooling.
UNTRAINED = "untrained"
#: The embedders of the lesson, in its order.
NAMES = (UNTRAINED, "smol-eol", "smol-eol-cse", "smol-grit", "smol-llm2vec")
#: How an instruction is handed over where it stands straight before the text, with nothing between.
TEMPLATES = {"smol-llm2vec": "{}: "}


def spec(name: str) -> EmbedderSpec:
    """The registry entry of one of the lesson's embedders."""
    if name == UNTRAINED:
        return replace(registry.get("smol-grit"), name=UNTRAINED, adapters=())
    return registry.get(name)


def worded(name: str, instruction: str | None) -> str | None:
    """An instruction as the embedder is given it."""
    return instruction and TEMPLATES.get(name, "{}").format(instruction)


def encode(embedder, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Embed texts under each of :data:`INSTRUCTIONS`: instruction (``"none"`` for none) -> float32 ``[n, d]``."""
    name = embedder.spec.name
    return {i or "none": embedder.encode(texts, worded(name, i), progress=False) for i in INSTRUCTIONS}


def view(tensors: dict[str, np.ndarray]) -> dict[str | None, np.ndarray]:
    """What :func:`encode` returns, by instruction."""
    return {i: tensors[i or "none"] for i in INSTRUCTIONS}
