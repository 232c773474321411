"""Arrays: embeddings of the Wikipedia sentences that ship with the course.

Encoding 2 000 sentences takes a laptop about a minute per embedder; the lessons
would spend their time waiting. The embeddings therefore lie in ``data/arrays``
as safetensors, two bytes a number or one (:func:`course_utils.shipped.files.pack`), made by

    python -m course_utils.shipped.arrays            # what is missing or stale
    python -m course_utils.shipped.arrays smol-eol   # one embedder again

and every lesson that uses them encodes a few sentences afresh and compares.
"""

import sys
from collections.abc import Sequence

import numpy as np

from course_utils.models import registry
from course_utils.shipped import files
from course_utils.texts.datasets import wikipedia_sentences

#: Folder of the arrays.
ARRAYS = files.ARRAYS
#: Number of sentences embedded.
N_SENTENCES = 2000
#: The embedders whose arrays ship: the pocket family and the origins they are compared with.
NAMES = ("smollm2", "smollm2-mean", "smollm2-last", "gemma3-last", *registry.POCKET)


#: Those stored with one byte a number. Untrained embedders are not among them: a few of their coordinates are
#: twenty times as large as the rest, and a step that fits those is too coarse for the others.
ONE_BYTE = ("smol-sgpt-qa", "smol-grit", "smol-llm2vec")


def load(name: str, n: int | None = None) -> np.ndarray:
    """Embeddings of ``wikipedia_sentences(n)`` by the embedder ``name``, float32 ``[n, d]``.

    Raises:
        FileNotFoundError: no array of that name; the message lists those present.
        ValueError: ``n`` out of range, or the array was made from other sentences.
    """
    n = N_SENTENCES if n is None else n
    if not 1 <= n <= N_SENTENCES:
        raise ValueError(f"n must lie between 1 and {N_SENTENCES}; got {n}")
    stored, made_from = files.read(ARRAYS / f"{name}.safetensors", "arrays")
    if made_from["sentences"] != _sentences():
        raise ValueError(f"{name}.safetensors was made from other sentences: run python -m course_utils.shipped.arrays {name}")
    embeddings = stored["embeddings"]
    if embeddings.dtype == np.int8:
        embeddings = files.unpack(embeddings, stored["embeddings.scale"])
    return embeddings[:n].astype(np.float32)


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
    """Encode the sentences and write the array, atomically."""
    from course_utils.models.embedder import load as load_embedder

    embeddings = load_embedder(name, backbone=backbone).encode(wikipedia_sentences(N_SENTENCES))
    if name in ONE_BYTE:
        tensors = dict(zip(("embeddings", "embeddings.scale"), files.pack(embeddings), strict=True))
    else:
        tensors = {"embeddings": files.half(name, embeddings)}
    files.write(ARRAYS / f"{name}.safetensors", tensors, source(name))


def _sentences() -> str:
    return files.digest("\n".join(wikipedia_sentences(N_SENTENCES)).encode())


def main(names: Sequence[str]) -> None:
    """Make the named arrays, or all that are missing or stale."""
    files.make_each(names or [n for n in registry.available(NAMES) if not is_current(n)], make, ARRAYS)


if __name__ == "__main__":
    main(sys.argv[1:])
