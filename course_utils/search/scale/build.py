"""Build: from shards of embeddings to aligned-token vectors, with one shard in memory at a time.

Besides that shard it holds 8 bytes a document for the ids.

Two passes. The first reads all shards for what belongs to the whole collection: the first component ``u_1``, which is
the largest eigenvector of ``HᵀH = Σ h hᵀ`` and so needs ``d²`` numbers however many documents there are, and whether an
id occurs twice. The second turns every shard into a part of sparse vectors (:mod:`course_utils.search.scale.parts`).
Both leave their results on the disk: a build that was cut goes on with what lacks.
"""

import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import gates
from course_utils.measures.alignment import special_ids
from course_utils.search import sparse
from course_utils.search.scale import parts, shards
from course_utils.shipped import files

#: What the first pass found.
FIRST_PASS = "first_pass.npz"


class FirstPass(NamedTuple):
    """What the first pass finds: ``u_1`` float64 ``[d]``, its part of the squared norm, and how many documents."""

    direction: np.ndarray
    share: float
    documents: int


def first_pass(chunks: Iterable[tuple[Sequence[str], np.ndarray]]) -> FirstPass:
    """The first component of embeddings that come piece by piece, uncentred, and a check of their ids.

    The same direction and sign as :func:`course_utils.measures.spectrum.components` finds with everything in memory.

    Args:
        chunks: ids and float ``[n, d]``, as :func:`course_utils.search.scale.shards.read` yields them.

    Raises:
        ValueError: fewer than two embeddings, all zero, NaN or infinity, another width, or an id that occurs twice.
    """
    gram = total = None
    documents, hashes = 0, []
    for ids, embeddings in chunks:
        rows = gates.matrix(embeddings, dtype=np.float64, first_row=documents)
        ids = gates.identifiers(ids, len(rows))
        if gram is None:
            gram, total = np.zeros((rows.shape[1],) * 2), np.zeros(rows.shape[1])
        if rows.shape[1] != len(total):
            raise ValueError(
                f"embeddings of {rows.shape[1]} values after some of {len(total)}: are they of two embedders?"
            )
        gram += rows.T @ rows
        total += rows.sum(axis=0)
        documents += len(rows)
        hashes.append(np.frombuffer(b"".join(_hash(i) for i in ids), dtype=np.uint64))
    if documents < 2:
        raise ValueError(f"a first component needs at least two embeddings; got {documents}")
    _check_hashes(np.concatenate(hashes))
    values, vectors = np.linalg.eigh(gram)
    if values[-1] <= 0:
        raise ValueError("all embeddings are zero: there is no first component")
    direction = vectors[:, -1] * (-1.0 if vectors[:, -1] @ total < 0 else 1.0)
    return FirstPass(direction, float(values[-1] / values.clip(0).sum()), documents)


def build(
    source: Path | str,
    out: Path | str,
    unembedding: np.ndarray,
    k: int = 512,
    *,
    exclude: Sequence[int] = (),
    share: float = 1.0,
    log1p: bool = True,
    unit: bool = True,
    report: Callable[[str], object] = print,
) -> Path:
    """Turn shards of embeddings into parts of sparse vectors; what is there and whole is kept.

    Args:
        source: folder of shards (:mod:`course_utils.search.scale.shards`).
        out: folder of the parts.
        unembedding: ``E_g``, ``[V, d]``.
        k, exclude, share, log1p, unit: as :func:`course_utils.search.sparse.document_vectors` takes them; the direction
            is the first component of the whole collection.
        report: called with a line every few seconds and at the end.

    Returns:
        The folder.

    Raises:
        ValueError: shards that are not complete, or a folder made from other shards or with another setting.
        OSError: for instance a full disk; whole parts are kept.
    """
    source, out = gates.expanded(source, "source"), gates.expanded(out, "out")
    about = shards.manifest(source)
    weight = gates.matrix(unembedding, "unembedding", "[V, d]")
    made_from = {
        "shards": files.digest((source / shards.MANIFEST).read_bytes()),
        "embedder": about["embedder"],
        "unembedding": files.digest(weight.tobytes()),
        "setting": {"k": k, "share": share, "log1p": log1p, "unit": unit, "exclude": [int(i) for i in exclude]},
        "columns": len(weight),
        "parts": about["shards"],
    }
    parts.write_manifest(out, made_from)
    whole = _first_pass_of(source, out)
    options = {"exclude": exclude, "direction": whole.direction, "share": share, "log1p": log1p, "unit": unit}
    done, progress = 0, parts.Progress(whole.documents, "documents built", report)
    for number, (ids, embeddings) in enumerate(shards.read(source)):
        if not _is_whole(out, number, len(weight)):
            vectors = sparse.document_vectors(embeddings, weight, k, **options)
            parts.write(out, number, parts.Part(list(ids), vectors, done))
        done += len(ids)
        progress(done)
    report(f"{done} documents built in {out}; the first component held {whole.share:.0%} of their squared norm")
    return out


def build_named(
    source: Path | str, out: Path | str, k: int = 512, report: Callable[[str], object] = print, **setting
) -> Path:
    """:func:`build` with the output layer of the embedder that the shards' manifest names, special tokens left out.

    Raises:
        ValueError: as :func:`build`, or the embedder's weights are no longer those that the shards were made with.
    """
    from course_utils.models.embedder import load

    source = gates.expanded(source, "source")
    embedder = load(shards.manifest(source)["embedder"])
    shards.check_embedder(source, embedder.spec)
    weight = embedder.unembedding.detach().float().cpu().numpy()
    return build(source, out, weight, k, exclude=special_ids(embedder.tokenizer, len(weight)), report=report, **setting)


def _first_pass_of(source: Path, out: Path) -> FirstPass:
    """The first pass, from the disk if it was made."""
    path = out / FIRST_PASS
    if gates.is_file(path):
        try:
            with np.load(path, allow_pickle=False) as held:
                return FirstPass(held["direction"], float(held["share"]), int(held["documents"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}); remove it and run again") from None
    found = first_pass(shards.read(source))
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, **found._asdict())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return found


def _is_whole(folder: Path, number: int, columns: int) -> bool:
    if not gates.is_file(folder / parts.name(number)):
        return False
    parts.read(folder, number, columns)
    return True


def _hash(key: str) -> bytes:
    return bytes.fromhex(files.digest(key.encode("utf-8"))[:16])


def _check_hashes(hashes: np.ndarray) -> None:
    """Eight bytes a document instead of its id: of collections of a billion, 3 % have two with one hash by accident."""
    values, counts = np.unique(hashes, return_counts=True)
    if len(values) < len(hashes):
        again = np.flatnonzero(np.isin(hashes, values[counts > 1]))
        raise ValueError(
            f"an id occurs twice: documents number {again[0]} and {again[1]} (counted from 0) have the same; ids must "
            "differ"
        )
