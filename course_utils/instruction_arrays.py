"""Embeddings of the instruction texts under five instructions, shipped so that lesson 06 need not wait for them.

They lie in ``data/arrays/instructions`` as safetensors, one file per trained embedder, made by

    python -m course_utils.instruction_arrays             # what is missing or stale
    python -m course_utils.instruction_arrays smol-grit   # one embedder again

A file remembers what it was made from: texts, backbone and adapters, as checksums. :func:`load` encodes afresh
whatever has no file, or an outdated one, so a lesson never shows the numbers of an older adapter. The untrained
embedders have no file: a few coordinates of theirs are twenty times as large as the rest, and one byte a number
(:func:`course_utils.retrieval_arrays.pack`) would be too coarse for the others.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from course_utils import instruction_texts, registry
from course_utils.registry import EmbedderSpec
from course_utils.retrieval_arrays import pack, unpack

#: Folder of the arrays.
ARRAYS = Path(__file__).resolve().parent.parent / "data" / "arrays" / "instructions"
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
    from safetensors.numpy import load_file

    if is_current(name):
        arrays = load_file(ARRAYS / f"{name}.safetensors")
        return {i: unpack(arrays[_key(i)], arrays[f"{_key(i)}.scale"]) for i in INSTRUCTIONS}
    return encode(name, [text.text for text in instruction_texts.read()], backbone)


def encode(name: str, texts: Sequence[str], backbone) -> dict[str | None, np.ndarray]:
    """Embed texts under each of :data:`INSTRUCTIONS`."""
    from course_utils.embedder import Embedder

    embedder, template = Embedder(spec(name), backbone), TEMPLATES.get(name, "{}")
    return {i: embedder.encode(texts, i and template.format(i), progress=False) for i in INSTRUCTIONS}


def source(name: str) -> dict[str, str]:
    """What an array depends on, as checksums: texts, backbone, adapters, and the instructions as they are put."""
    from course_utils import store

    entry = spec(name)
    weights = [Path(a) / "adapter_model.safetensors" for a in entry.adapter_paths()]
    prompts = [entry.prompt.wrap("x", i and TEMPLATES.get(name, "{}").format(i))[0] for i in INSTRUCTIONS]
    return {
        "embedder": name,
        "texts": _digest("\n".join(text.text for text in instruction_texts.read()).encode()),
        "prompts": _digest("\n".join(prompts).encode()),
        "backbone": store.fingerprint(store.backbone(entry.backbone)),
        "adapters": _digest(*(w.read_bytes() for w in weights)),
    }


def is_current(name: str) -> bool:
    """Whether the file exists and was made from today's texts, prompts, backbone and adapter."""
    from safetensors import safe_open

    path = ARRAYS / f"{name}.safetensors"
    if not path.exists():
        return False
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["made_from"]) == source(name)


def save(name: str, embeddings: dict[str | None, np.ndarray]) -> None:
    """Write the file of one embedder, atomically.

    Raises:
        ValueError: an entry that is NaN or infinite.
    """
    from safetensors.numpy import save_file

    tensors = {}
    for instruction, rows in embeddings.items():
        tensors[_key(instruction)], tensors[f"{_key(instruction)}.scale"] = pack(rows)
    ARRAYS.mkdir(parents=True, exist_ok=True)
    partial = ARRAYS / f"{name}.partial"
    made_from = {"made_from": json.dumps(source(name))}
    save_file(tensors, partial, made_from)
    os.replace(partial, ARRAYS / f"{name}.safetensors")


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _key(instruction: str | None) -> str:
    return instruction or "none"


def main(names: Sequence[str]) -> None:
    """Make the named files, or all that are missing or stale."""
    from course_utils.embedder import Backbone

    texts = [text.text for text in instruction_texts.read()]
    backbone = None
    for name in list(names) or [n for n in shipped() if not is_current(n)]:
        backbone = backbone or Backbone(spec(name).backbone)
        save(name, encode(name, texts, backbone))
        print(f"{name}: written to {ARRAYS.parent.name}/{ARRAYS.name}/{name}.safetensors", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
