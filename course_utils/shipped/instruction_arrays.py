"""Embeddings of the instruction texts under five instructions, shipped so that lesson 06 need not wait for them.

They lie in ``data/arrays/instructions`` as safetensors, one file per trained embedder, made by

    python -m course_utils.shipped.instruction_arrays             # what is missing or stale
    python -m course_utils.shipped.instruction_arrays smol-grit   # one embedder again

A file remembers what it was made from: texts, backbone and adapters, as checksums. :func:`load` encodes afresh
whatever has no file, or an outdated one, so a lesson never shows the numbers of an older adapter. The untrained
embedders have no file: a few coordinates of theirs are twenty times as large as the rest, and one byte a number
(:func:`course_utils.shipped.files.pack`) would be too coarse for the others.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from course_utils.models import registry
from course_utils.models.registry import EmbedderSpec
from course_utils.shipped import files as files
from course_utils.texts import instruction_texts

#: Folder of the arrays.
ARRAYS = files.ARRAYS / "instructions"
#: No instruction, the three aspects of the texts, and one that asks for nothing that a text has.
INSTRUCTIONS = (None, *instruction_texts.ASPECTS, "purple")
#: The name under which smol-grit's untrained origin reads the same prompts with the same pooling.
UNTRAINED = "untrained"
#: The embedders of the lesson, in its order; those whose adapter is not there are left out.
NAMES = (UNTRAINED, "smol-eol", "smol-eol-cse", "smol-grit", "smol-llm2vec")
#: How an instruction is handed over where it stands straight before the text, with nothing between.
TEMPLATES = {"smol-llm2vec": "{}: "}


def spec(name: str) -> EmbedderSpec:
    """The registry entry of one of the lesson's embedders."""
    if name == UNTRAINED:
        return replace(registry.get("smol-grit"), name=UNTRAINED, adapters=())
    return registry.get(name)


def have() -> list[str]:
    """Those of :data:`NAMES` whose adapters are present."""
    return [name for name in NAMES if not spec(name).missing_adapters()]


def shipped() -> list[str]:
    """Those of :func:`have` whose embeddings lie in a file: the trained ones."""
    return [name for name in have() if spec(name).adapters]


def load(name: str, backbone) -> dict[str | None, np.ndarray]:
    """Embeddings of all instruction texts under each instruction: instruction -> float32 ``[n, d]``.

    Args:
        name: one of :data:`NAMES`.
        backbone: the language model in memory; used where there is no current file.
    """
    if is_current(name):
        arrays, _ = files.read(ARRAYS / f"{name}.safetensors", "instruction_arrays")
        return {i: files.unpack(arrays[_key(i)], arrays[f"{_key(i)}.scale"]) for i in INSTRUCTIONS}
    return encode(name, [text.text for text in instruction_texts.read()], backbone)


def encode(name: str, texts: Sequence[str], backbone) -> dict[str | None, np.ndarray]:
    """Embed texts under each of :data:`INSTRUCTIONS`."""
    from course_utils.models.embedder import Embedder

    embedder, template = Embedder(spec(name), backbone), TEMPLATES.get(name, "{}")
    return {i: embedder.encode(texts, i and template.format(i), progress=False) for i in INSTRUCTIONS}


def source(name: str) -> dict[str, str]:
    """What an array depends on, as checksums: texts, backbone, adapters, and the instructions as they are put."""
    entry = spec(name)
    prompts = [entry.prompt.wrap("x", i and TEMPLATES.get(name, "{}").format(i))[0] for i in INSTRUCTIONS]
    return {
        "embedder": name,
        "texts": files.digest("\n".join(text.text for text in instruction_texts.read()).encode()),
        "prompts": files.digest("\n".join(prompts).encode()),
        **files.weights(entry),
    }


def is_current(name: str) -> bool:
    """Whether the file exists and was made from today's texts, prompts, backbone and adapter."""
    return files.made_from(ARRAYS / f"{name}.safetensors") == source(name)


def save(name: str, embeddings: dict[str | None, np.ndarray]) -> None:
    """Write the file of one embedder, atomically.

    Raises:
        ValueError: an entry that is NaN or infinite.
    """
    tensors = {}
    for instruction, rows in embeddings.items():
        tensors[_key(instruction)], tensors[f"{_key(instruction)}.scale"] = files.pack(rows)
    files.write(ARRAYS / f"{name}.safetensors", tensors, source(name))


def _key(instruction: str | None) -> str:
    return instruction or "none"


def main(names: Sequence[str]) -> None:
    """Make the named files, or all that are missing or stale."""
    texts = [text.text for text in instruction_texts.read()]
    files.make_each(
        names or [n for n in shipped() if not is_current(n)],
        lambda name, backbone: save(name, encode(name, texts, backbone)),
        ARRAYS,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
