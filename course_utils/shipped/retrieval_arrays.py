"""Retrieval arrays: embeddings of the Wikipedia collection, documents and queries, that ship with the course.

Encoding 5 076 paragraphs takes one core of a laptop a quarter of an hour and more. The embeddings therefore lie in
``data/arrays/retrieval``, made by

    python -m course_utils.shipped.retrieval_arrays                      # what is missing or stale
    python -m course_utils.shipped.retrieval_arrays smol-grit            # one embedder again
    python -m course_utils.shipped.retrieval_arrays --dtype bfloat16     # four times as fast where the processor has it

A number takes one byte (:func:`course_utils.shipped.files.pack`). The work is done in pieces that are
kept in the cache, so a run that was cut goes on where it stopped.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils.models import registry, store
from course_utils.shipped import files
from course_utils.texts.datasets import Retrieval, wikipedia_retrieval

#: Folder of the arrays.
ARRAYS = files.ARRAYS / "retrieval"
#: The embedders whose arrays ship: those that were trained for retrieval.
NAMES = ("smol-sgpt-qa", "smol-grit")
#: What an embedder that takes instructions is told about a query; documents get none.
INSTRUCTIONS = {"smol-grit": "passage that answers the question"}
#: Documents in a piece of work.
PIECE = 128


class Embedded(NamedTuple):
    """A collection as one embedder sees it: float32 ``[n_documents, d]`` and ``[n_queries, d]``, in its own order."""

    documents: np.ndarray
    queries: np.ndarray


def load(name: str) -> Embedded:
    """Embeddings of ``wikipedia_retrieval()`` by the embedder ``name``.

    Raises:
        FileNotFoundError: no array of that name; the message lists those present.
        ValueError: the array was made from other texts.
    """
    stored, made_from = files.read(ARRAYS / f"{name}.safetensors", "retrieval_arrays")
    if made_from["collection"] != digest(wikipedia_retrieval()):
        raise ValueError(
            f"{name}.safetensors was made from other texts: run python -m course_utils.shipped.retrieval_arrays {name}"
        )
    sides = [files.unpack(stored[side], stored[f"{side}.scale"]) for side in Embedded._fields]
    return Embedded(*sides)


def have() -> list[str]:
    """Names of the embedders whose array and adapters are present."""
    return files.present(NAMES, ARRAYS)


def digest(collection: Retrieval) -> str:
    """Checksum of all documents and queries with their ids, in order."""
    rows = [*collection.corpus.items(), ("", ""), *collection.queries.items()]
    return files.digest("\n".join(f"{key}\t{text}" for key, text in rows).encode())


def source(name: str, collection: Retrieval, dtype: str = "float32") -> dict[str, str]:
    """What the embeddings of a collection depend on: texts, instruction, backbone, adapters, arithmetic."""
    return {
        "embedder": name,
        "collection": digest(collection),
        "instruction": INSTRUCTIONS.get(name, ""),
        **files.weights(registry.get(name)),
        "dtype": dtype,
    }


def is_current(name: str) -> bool:
    """Whether the array exists and was made from today's texts, backbone and adapter, in whichever arithmetic."""
    made_from = files.made_from(ARRAYS / f"{name}.safetensors")
    return made_from is not None and made_from == source(name, wikipedia_retrieval(), made_from.get("dtype"))


def encode(name: str, collection: Retrieval, dtype: str = "float32", report=print) -> Embedded:
    """Embed documents and queries of any collection, in pieces that are kept in the cache.

    Args:
        name: an embedder of the registry.
        collection: for instance ``readers.retrieval(folder)``.
        dtype: ``"float32"``, or ``"bfloat16"`` for a rough result in a fraction of the time.
        report: called with a line after every tenth piece.
    """
    key = files.digest(json.dumps(source(name, collection, dtype)).encode())[:16]
    folder = store.cache_folder() / "collections" / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    queries, documents = list(collection.queries.values()), list(collection.corpus.values())
    pieces = [("query", queries[i : i + PIECE]) for i in range(0, len(queries), PIECE)]
    pieces += [("passage", documents[i : i + PIECE]) for i in range(0, len(documents), PIECE)]
    parts = [folder / f"{number:05}.npy" for number in range(len(pieces))]
    left = [i for i, file in enumerate(parts) if not file.exists()]
    if left:
        with merged(name, dtype) as embedder:
            for done, i in enumerate(left, start=1):
                if not parts[i].exists():  # a second process may be at work on the same collection
                    _write(parts[i], _encoded(embedder, *pieces[i]))
                if done % 10 == 0 or done == len(left):
                    report(f"{name}: {len(pieces) - len(left) + done} of {len(pieces)} pieces")
    sides = {side: [np.load(f) for f, (role, _) in zip(parts, pieces, strict=True) if role == side] for side in _ROLES}
    return Embedded(np.concatenate(sides["passage"]), np.concatenate(sides["query"]))


_ROLES = ("query", "passage")


def _encoded(embedder, role: str, texts: Sequence[str]) -> np.ndarray:
    instruction = INSTRUCTIONS.get(embedder.spec.name) if role == "query" else None
    return embedder.encode(texts, instruction, role, progress=False)


def _write(path: Path, rows: np.ndarray) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with open(partial, "wb") as file:
        np.save(file, rows)
    os.replace(partial, path)


@contextmanager
def merged(name: str, dtype: str = "float32") -> Iterator:
    """An embedder whose adapter is added to the weights while it works: the same embeddings, fewer products."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    from course_utils.models.embedder import load as load_embedder

    embedder = load_embedder(name, dtype=dtype)
    with embedder.backbone.using(embedder.spec.adapter_paths()):
        layers = [m for m in embedder.backbone.causal.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.merge()
        try:
            yield embedder
        finally:
            for layer in layers:
                layer.unmerge()


def make(name: str, dtype: str = "float32") -> Path:
    """Encode the Wikipedia collection and write the array, atomically; returns its path."""
    collection, tensors = wikipedia_retrieval(), {}
    for side, rows in encode(name, collection, dtype, lambda line: print(line, flush=True))._asdict().items():
        tensors[side], tensors[f"{side}.scale"] = files.pack(rows)
    path = ARRAYS / f"{name}.safetensors"
    files.write(path, tensors, source(name, collection, dtype))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the named arrays, or all that are missing or stale."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.shipped.retrieval_arrays", description=main.__doc__)
    parser.add_argument("names", nargs="*", help=f"embedders; by default those of {', '.join(NAMES)} that need it")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args(arguments)
    for name in options.names or [n for n in registry.available(NAMES) if not is_current(n)]:
        path = make(name, options.dtype)
        print(f"{name}: written to {path.parent.name}/{path.name}, {path.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
