"""Parts: sparse vectors of a large collection, in files of which each is whole or does not count.

A folder holds ``manifest.json``, which says what the vectors were made from and with which setting, and
``part-00000.safetensors`` …, one for each shard of embeddings. A part holds the ids of its documents, and their rows
in compressed form: ``ends``, ``columns``, ``weights``. safetensors because these are four plain arrays, which come
back bit by bit without a parser, and because whoever serves the vectors then needs none of the packages that encoding
needs.

A part is written under another name, brought to the disk, and renamed; it carries a checksum of its own content and of
the manifest. So a part that was cut, damaged, or made from something else is noticed when it is read.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.search import sparse
from course_utils.shipped import files

MANIFEST, VERSION = "manifest.json", 1
#: Seconds between two lines of progress.
EVERY = 5.0


class Part(NamedTuple):
    """Some documents of a collection: their ids and vectors float32 ``[n, C]``, and the number of the first one."""

    ids: list[str]
    documents: csr_array
    first: int


def write_manifest(folder: Path, made_from: Mapping[str, object]) -> dict:
    """Write what a folder is made from, or see that it is the same as before.

    Raises:
        ValueError: the folder was made from something else; names the first entry that differs.
    """
    wanted = {"version": VERSION, **made_from}
    folder.mkdir(parents=True, exist_ok=True)
    if gates.is_file(folder / MANIFEST):
        held = manifest(folder)
        for key in [*wanted, *held]:
            if wanted.get(key) != held.get(key):
                raise ValueError(
                    f"{folder} was made with {key} = {held.get(key)!r}, now it is {wanted.get(key)!r}: vectors of both "
                    "would be mixed. Give another folder, or remove this one"
                )
    else:
        if any(path.suffix != ".partial" for path in folder.iterdir()):  # a run that was cut leaves those
            raise ValueError(f"{folder} holds files, but no {MANIFEST}: it is no folder of parts. Give another one")
        with gates.replacing(folder / MANIFEST) as file:
            file.write(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")
    return wanted


def manifest(folder: Path) -> dict:
    """What a folder of parts was made from.

    Raises:
        FileNotFoundError, ValueError: no manifest, or none of this version.
    """
    path = folder / MANIFEST
    found = gates.json_value(gates.read_text(path), str(path))
    if not isinstance(found, dict) or found.get("version") != VERSION or not {"parts", "columns"} <= found.keys():
        raise ValueError(
            f"{path} is not of version {VERSION} of a folder of parts: build the vectors again, in another folder"
        )
    return found


def name(number: int) -> str:
    """The file of a part."""
    return f"part-{number:05}.safetensors"


def write(folder: Path, number: int, part: Part) -> None:
    """Write one part, so that a file of its name is whole.

    Raises:
        OSError: for instance a full disk; what was begun is removed.
    """
    from safetensors.numpy import save

    tensors = _tensors(part)
    about = {"content": _content(tensors), "manifest": _manifest_digest(folder), "first": str(part.first)}
    path = folder / name(number)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(save(tensors, about))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(folder: Path, number: int, columns: int) -> Part:
    """One part, checked.

    Args:
        folder: of the parts.
        number: of the part.
        columns: C.

    Raises:
        FileNotFoundError: there is none of this number.
        ValueError: it is cut, damaged, or made from something else; names the file and says what to do.
    """
    from safetensors import SafetensorError, safe_open

    path = gates.file(folder / name(number))
    try:
        with safe_open(path, "np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            about = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and run again") from None
    if about.get("content") != _content(tensors):
        raise ValueError(f"{path} is damaged (its checksum differs); remove it and run again")
    if about.get("manifest") != _manifest_digest(folder):
        raise ValueError(f"{path} was made from something else than {MANIFEST} says; remove it and run again")
    blob = tensors["ids"].tobytes().decode("utf-8")
    rows = len(tensors["ends"]) - 1
    documents = csr_array((tensors["weights"], tensors["columns"], tensors["ends"]), shape=(rows, columns))
    return Part(blob.split("\0") if rows else [], documents, int(about["first"]))


def parts(folder: Path | str) -> Iterator[Part]:
    """All parts in the order of the collection, one in memory at a time.

    Raises:
        FileNotFoundError, ValueError: no folder of parts, a part that is not whole, or a build that is not finished
            (with the number of parts that lack).
    """
    folder = gates.expanded(folder, "folder")
    about = manifest(folder)
    lacking = [n for n in range(about["parts"]) if not gates.is_file(folder / name(n))]
    if lacking:
        raise ValueError(
            f"{folder} lacks {len(lacking)} of {about['parts']} parts (the first is {name(lacking[0])}): the build was "
            "cut; run it again, what is done is kept"
        )
    for number in range(about["parts"]):
        yield read(folder, number, about["columns"])


class Statistics(NamedTuple):
    """Of a whole collection: documents, postings, documents without any, documents of each column, largest weight.

    ``frequency`` is int64 ``[C]``.
    """

    documents: int
    postings: int
    empty: int
    frequency: np.ndarray
    largest: float


def statistics(folder: Path | str) -> Statistics:
    """Count a collection, part by part. Errors as :func:`parts`."""
    folder = gates.expanded(folder, "folder")
    frequency = np.zeros(manifest(folder)["columns"], dtype=np.int64)
    documents = postings = empty = 0
    largest = 0.0
    for part in parts(folder):
        frequency += np.bincount(part.documents.indices, minlength=len(frequency))
        documents, postings = documents + len(part.ids), postings + part.documents.nnz
        empty += int((np.diff(part.documents.indptr) == 0).sum())
        largest = max(largest, float(part.documents.data.max(initial=0)))
    return Statistics(documents, postings, empty, frequency, largest)


def everything(folder: Path | str) -> Part:
    """All parts put together, for a collection that fits into memory. Errors as :func:`parts`."""
    from scipy.sparse import vstack

    found = list(parts(folder))
    return Part([i for p in found for i in p.ids], csr_array(vstack([p.documents for p in found])), 0)


def _tensors(part: Part) -> dict[str, np.ndarray]:
    documents = sparse.checked(part.documents, f"documents from number {part.first} on", positive=True)
    ids = gates.identifiers(part.ids, documents.shape[0])
    return {
        # NUL, which no id can hold, stands between two ids.
        "ids": np.frombuffer("\0".join(ids).encode("utf-8"), dtype=np.uint8),
        "ends": documents.indptr.astype(np.int64),
        "columns": documents.indices.astype(np.int32),
        "weights": documents.data.astype(np.float32),
    }


def _content(tensors: Mapping[str, np.ndarray]) -> str:
    return files.digest(*(np.ascontiguousarray(tensors[key]).tobytes() for key in sorted(tensors)))


def _manifest_digest(folder: Path) -> str:
    return files.digest((folder / MANIFEST).read_bytes())


class Progress:
    """Lines of progress, at most one every :data:`EVERY` seconds: how much is done, and the time left at this rate."""

    def __init__(self, total: int, what: str, report: Callable[[str], object]):
        self.total, self.what, self.report = total, what, report
        self.started = self.told = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.told > EVERY and 0 < done < self.total:
            left = (now - self.started) / done * (self.total - done)
            self.report(f"{done} of {self.total} {self.what}, about {left:.0f} s left")
            self.told = now
