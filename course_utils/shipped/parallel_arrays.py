"""Parallel arrays: embeddings of the parallel sentences in all languages that ship with the course.

Eight times 120 sentences take a laptop about half a minute per embedder. The embeddings therefore lie in
``data/arrays/parallel`` as float16 safetensors, one tensor ``[n, d]`` for each language, made by

    python -m course_utils.shipped.parallel_arrays             # what is missing or stale
    python -m course_utils.shipped.parallel_arrays gemma-eol   # one embedder again

and the lesson that uses them encodes a few sentences afresh and compares.
"""

import sys
from collections.abc import Sequence

import numpy as np

from course_utils.models import registry
from course_utils.shipped import files
from course_utils.texts import parallel

#: Folder of the arrays.
ARRAYS = files.ARRAYS / "parallel"
#: The embedders whose arrays ship: Gemma 3 untrained, prompted and trained; SmolLM2 as the control.
NAMES = ("gemma3-last", "gemma-eol", "gemma-eol-cse", "smol-eol")


def load(name: str) -> dict[str, np.ndarray]:
    """Embeddings of ``parallel.sentences(language)`` for every language, float32 ``[n, d]`` each.

    Raises:
        FileNotFoundError: no array of that name; the message lists those present.
        ValueError: the array was made from other sentences.
    """
    embeddings, made_from = files.read(ARRAYS / f"{name}.safetensors", "parallel_arrays")
    if made_from["sentences"] != _sentences():
        raise ValueError(
            f"{name}.safetensors was made from other sentences: run python -m course_utils.shipped.parallel_arrays {name}"
        )
    return {language: embeddings[language].astype(np.float32) for language in parallel.LANGUAGES}


def have() -> list[str]:
    """Names of the embedders whose array and adapters are present."""
    return files.present(NAMES, ARRAYS)


def source(name: str) -> dict[str, str]:
    """What an array depends on, as checksums: sentences, backbone, adapters."""
    return files.source_of(name, _sentences())


def is_current(name: str) -> bool:
    """Whether the array exists and was made from today's sentences, backbone and adapter."""
    return files.made_from(ARRAYS / f"{name}.safetensors") == source(name)


def make(name: str, backbone=None) -> None:
    """Encode the sentences of all languages and write the array, atomically."""
    from course_utils.models.embedder import load as load_embedder

    embedder = load_embedder(name, backbone=backbone)
    tensors = {
        language: files.half(name, embedder.encode(parallel.sentences(language))) for language in parallel.LANGUAGES
    }
    files.write(ARRAYS / f"{name}.safetensors", tensors, source(name))


def _sentences() -> str:
    texts = ["\n".join([language, *parallel.sentences(language), ""]) for language in parallel.LANGUAGES]
    return files.digest(*(text.encode() for text in texts))


def main(names: Sequence[str]) -> None:
    """Make the named arrays, or all that are missing or stale."""
    files.make_each(names or [n for n in registry.available(NAMES) if not is_current(n)], make, ARRAYS)


if __name__ == "__main__":
    main(sys.argv[1:])
