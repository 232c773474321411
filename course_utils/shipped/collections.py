"""Embeddings of a whole collection, documents and queries: hours of a laptop, so in pieces that are kept.

A run that was cut goes on where it stopped; the pieces lie in the cache.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils.models import registry, store
from course_utils.shipped import files
from course_utils.texts.datasets import Retrieval

#: What an embedder that takes instructions is told about a query; documents get none.
INSTRUCTIONS = {"smol-grit": "passage that answers the question"}
#: Texts in a piece of work.
PIECE = 128


class Embedded(NamedTuple):
    """A collection as one embedder sees it: float32 ``[n_documents, d]`` and ``[n_queries, d]``, in its own order."""

    documents: np.ndarray
    queries: np.ndarray


def checksums(name: str, collection: Retrieval) -> dict[str, str]:
    """What an embedder reads: a checksum of all documents and queries with their ids, and the instruction."""
    rows = [*collection.corpus.items(), ("", ""), *collection.queries.items()]
    digest = files.digest("\n".join(f"{key}\t{text}" for key, text in rows).encode())
    return {"collection": digest, "instruction": INSTRUCTIONS.get(name, "")}


def source(name: str, collection: Retrieval, dtype: str = "float32") -> dict[str, str]:
    """What the embeddings of a collection depend on: texts, instruction, reading, backbone, adapters, arithmetic."""
    spec = registry.get(name)
    made_from = {"embedder": name, **checksums(name, collection), "reading": files.reading(spec)}
    return {**made_from, **files.weights(spec), "dtype": dtype}


def encode(
    name: str,
    collection: Retrieval,
    dtype: str = "float32",
    report=print,
    backbone=None,
    progress: Callable[[int, int], object] | None = None,
) -> Embedded:
    """Embed documents and queries of any collection, in pieces that are kept in the cache.

    Args:
        name: an embedder of the registry.
        collection: for instance ``readers.retrieval(folder)``.
        dtype: ``"float32"``, or ``"bfloat16"`` for a rough result in a fraction of the time.
        report: called with a line after every tenth piece.
        backbone: the language model, if it is in memory already (in ``dtype``).
        progress: called after every piece instead, with the number of pieces that are done and of all.
    """
    pieces, parts = _pieces(name, collection, dtype)
    parts[0].parent.mkdir(parents=True, exist_ok=True)
    left = [i for i, file in enumerate(parts) if not file.exists()]
    if left:
        with merged(name, dtype, backbone) as embedder:
            for done, i in enumerate(left, start=1):
                if not parts[i].exists():  # a second process may be at work on the same collection
                    _write(parts[i], _encoded(embedder, *pieces[i]))
                if progress is not None:
                    progress(len(pieces) - len(left) + done, len(pieces))
                elif done % 10 == 0 or done == len(left):
                    report(f"{name}: {len(pieces) - len(left) + done} of {len(pieces)} pieces")
    sides = {side: [np.load(f) for f, (role, _) in zip(parts, pieces, strict=True) if role == side] for side in _ROLES}
    return Embedded(np.concatenate(sides["passage"]), np.concatenate(sides["query"]))


def left(name: str, collection: Retrieval, dtype: str = "float32") -> int:
    """How many texts of a collection :func:`encode` would still have to encode; 0 if all lie in the cache."""
    pieces, parts = _pieces(name, collection, dtype)
    return sum(len(texts) for file, (_, texts) in zip(parts, pieces, strict=True) if not file.exists())


def _pieces(name: str, collection: Retrieval, dtype: str) -> tuple[list[tuple[str, list[str]]], list[Path]]:
    """Side and texts of every piece, and the file that keeps its embeddings."""
    key = files.digest(json.dumps(source(name, collection, dtype)).encode())[:16]
    folder = store.cache_folder() / "collections" / f"{name}-{key}"
    queries, documents = list(collection.queries.values()), list(collection.corpus.values())
    pieces = [("query", queries[i : i + PIECE]) for i in range(0, len(queries), PIECE)]
    pieces += [("passage", documents[i : i + PIECE]) for i in range(0, len(documents), PIECE)]
    return pieces, [folder / f"{number:05}.npy" for number in range(len(pieces))]


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
def merged(name: str, dtype: str = "float32", backbone=None) -> Iterator:
    """An embedder whose adapter is added to the weights while it works: the same embeddings, fewer products.

    Afterwards the weights are what they were, bit by bit: taking the adapter out again would leave rounding errors
    to the other embedders on the same backbone.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    from course_utils.models.embedder import load as load_embedder

    embedder = load_embedder(name, dtype=dtype, backbone=backbone)
    with embedder.backbone.using(embedder.spec.adapter_paths()):
        layers = [m for m in embedder.backbone.causal.modules() if isinstance(m, BaseTunerLayer)]
        before = [layer.get_base_layer().weight.data.clone() for layer in layers]
        try:
            for layer in layers:
                layer.merge()
            yield embedder
        finally:
            for layer, weight in zip(layers, before, strict=True):
                layer.unmerge()
                layer.get_base_layer().weight.data.copy_(weight)
