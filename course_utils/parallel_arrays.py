"""Parallel arrays: embeddings of the parallel sentences in all languages that ship with the course.

Eight times 120 sentences take a laptop about half a minute per embedder. The embeddings therefore lie in
``data/arrays/parallel`` as float16 safetensors, one tensor ``[n, d]`` for each language, made by

    python -m course_utils.parallel_arrays             # what is missing or stale
    python -m course_utils.parallel_arrays gemma-eol   # one embedder again

and the lesson that uses them encodes a few sentences afresh and compares.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course_utils import parallel, registry
from course_utils.arrays import ARRAYS as ALL_ARRAYS

#: Folder of the arrays.
ARRAYS = ALL_ARRAYS / "parallel"
#: The embedders whose arrays ship: Gemma 3 untrained, prompted and trained; SmolLM2 as the control.
NAMES = ("gemma3-last", "gemma-eol", "gemma-eol-cse", "smol-eol")


def load(name: str) -> dict[str, np.ndarray]:
    """Embeddings of ``parallel.sentences(language)`` for every language, float32 ``[n, d]`` each.

    Raises:
        FileNotFoundError: no array of that name; the message lists those present.
        ValueError: the array was made from other sentences.
    """
    from safetensors import safe_open

    path = ARRAYS / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"no shipped parallel embeddings for {name!r}; there are: {', '.join(have()) or 'none'}"
        )
    with safe_open(path, "np") as file:
        made_from = json.loads(file.metadata()["made_from"])
        embeddings = {language: file.get_tensor(language).astype(np.float32) for language in file.keys()}
    if made_from["sentences"] != _sentences():
        raise ValueError(
            f"{path.name} was made from other sentences: run python -m course_utils.parallel_arrays {name}"
        )
    return {language: embeddings[language] for language in parallel.LANGUAGES}


def have() -> list[str]:
    """Names of the embedders whose array and adapters are present."""
    return [name for name in NAMES if (ARRAYS / f"{name}.safetensors").exists() and registry.available((name,))]


def source(name: str) -> dict[str, str]:
    """What an array depends on, as checksums: sentences, backbone, adapters."""
    from course_utils import store

    spec = registry.get(name)
    weights = [Path(a) / "adapter_model.safetensors" for a in spec.adapter_paths()]
    return {
        "embedder": name,
        "sentences": _sentences(),
        "backbone": store.fingerprint(store.backbone(spec.backbone)),
        "adapters": _digest(*(w.read_bytes() for w in weights)),
    }


def is_current(name: str) -> bool:
    """Whether the array exists and was made from today's sentences, backbone and adapter."""
    from safetensors import safe_open

    path = ARRAYS / f"{name}.safetensors"
    if not path.exists():
        return False
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["made_from"]) == source(name)


def make(name: str, backbone=None) -> None:
    """Encode the sentences of all languages and write the array, atomically."""
    from safetensors.numpy import save_file

    from course_utils.embedder import load as load_embedder

    embedder, tensors = load_embedder(name, backbone=backbone), {}
    for language in parallel.LANGUAGES:
        embeddings = embedder.encode(parallel.sentences(language))
        if np.abs(embeddings).max() > np.finfo(np.float16).max:
            raise ValueError(f"{name}: an entry of {np.abs(embeddings).max():.0f} does not fit into float16")
        tensors[language] = embeddings.astype(np.float16)
    ARRAYS.mkdir(parents=True, exist_ok=True)
    partial = ARRAYS / f"{name}.partial"
    save_file(tensors, partial, {"made_from": json.dumps(source(name))})
    os.replace(partial, ARRAYS / f"{name}.safetensors")


def _sentences() -> str:
    return _digest(
        *("\n".join([language, *parallel.sentences(language), ""]).encode() for language in parallel.LANGUAGES)
    )


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def main(names: Sequence[str]) -> None:
    """Make the named arrays, or all that are missing or stale."""
    from course_utils.embedder import Backbone

    wanted = list(names) or [n for n in registry.available(NAMES) if not is_current(n)]
    for source_name in dict.fromkeys(registry.get(n).backbone for n in wanted):
        backbone = Backbone(source_name)
        for name in [n for n in wanted if registry.get(n).backbone == source_name]:
            make(name, backbone)
            print(f"{name}: written to {ARRAYS.parent.name}/{ARRAYS.name}/{name}.safetensors", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
