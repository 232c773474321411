"""Corpus: the documents of a collection in BEIR layout, read piece by piece, however large the file is.

One pass over ``corpus.jsonl`` finds where every piece begins, a checksum of all texts, and what is wrong with a line.
Whoever encodes a piece reads only its bytes, and sees that they are the same as in that pass.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import gates
from course_utils.shipped import files
from course_utils.texts import readers

#: The file of a collection in BEIR layout that holds the documents (Thakur et al., 2021, arXiv 2104.08663).
FILE = "corpus.jsonl"
_MARK = b"\xef\xbb\xbf"


class Piece(NamedTuple):
    """Some lines of the file: which bytes, the number of the first line, and the SHA-256 of the bytes."""

    start: int
    end: int
    line: int
    digest: str


class Corpus(NamedTuple):
    """A file of documents: its pieces, the number of its documents, how many empty ones were left out, a checksum."""

    path: Path
    pieces: list[Piece]
    rows: int
    empty: int
    digest: str


def write(folder: Path | str, documents: Mapping[str, str]) -> Path:
    """Write documents, by their ids, as ``corpus.jsonl`` into a folder, which is made if it is not there."""
    folder = gates.expanded(folder, "folder")
    ids = gates.identifiers(list(documents))
    texts = gates.texts(list(documents.values()), "documents")
    folder.mkdir(parents=True, exist_ok=True)
    with gates.replacing(folder / FILE) as file:
        for key, text in zip(ids, texts, strict=True):
            file.write(json.dumps({"_id": key, "text": text}, ensure_ascii=False) + "\n")
    return folder / FILE


def scan(folder: Path | str, rows_per_piece: int) -> Corpus:
    """Find the pieces of a corpus, each of so many documents but the last; the texts do not stay in memory.

    Args:
        folder: with ``corpus.jsonl``, of which every line holds ``_id``, ``text``, and perhaps ``title``. Queries and
            judgements are not looked at. Empty documents belong to no piece.
        rows_per_piece: documents.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not valid (with its number), an id that occurs twice, no document at all.
    """
    path = gates.file(gates.expanded(folder, "folder") / FILE)
    per_piece = gates.whole(rows_per_piece, "rows_per_piece")
    everything, hashes = hashlib.sha256(), array("Q")
    pieces: list[Piece] = []
    rows = empty = held = start = end = 0
    first, block = 1, hashlib.sha256()
    for number, line in _lines(path, 0, None):
        for key, text in _documents(path, number, line).items():
            if text:
                everything.update(json.dumps([key, text]).encode())
                rows, held = rows + 1, held + 1
            empty += not text
            hashes.append(int(files.digest(key.encode())[:16], 16))
        end += len(line)
        block.update(line)
        if held == per_piece:
            pieces.append(Piece(start, end, first, block.hexdigest()))
            start, first, held, block = end, number + 1, 0, hashlib.sha256()
    if held:
        pieces.append(Piece(start, end, first, block.hexdigest()))
    if not rows:
        raise ValueError(f"{path} holds no document with a text; there is nothing to encode")
    _check_different(path, hashes)
    return Corpus(path, pieces, rows, empty, everything.hexdigest())


def read(path: Path, piece: Piece) -> tuple[list[str], list[str]]:
    """Ids and texts of a piece, titles in front, without empty documents.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the bytes are no longer those of the scan.
    """
    lines = list(_lines(gates.file(path), piece.start, piece.end, piece.line))
    if files.digest(*(line for _, line in lines)) != piece.digest:
        raise ValueError(f"{path} has changed since it was scanned (from line {piece.line} on); run again")
    found = {key: text for n, line in lines for key, text in _documents(path, n, line).items() if text}
    return list(found), list(found.values())


def _lines(path: Path, start: int, end: int | None, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of every line that begins between two places, line ends included."""
    with open(path, "rb") as file:
        file.seek(start)
        number = first
        while (end is None or file.tell() < end) and (line := file.readline()):
            yield number, line
            number += 1


def _documents(path: Path, number: int, line: bytes) -> dict[str, str]:
    """The document of a line, with its id."""
    place = f"{path}, line {number}"
    try:
        text = line.removeprefix(_MARK if number == 1 else b"").decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} is not UTF-8 text ({error.reason}); save the file as UTF-8") from None
    return readers.documents(iter([(place, text)]))


def _check_different(path: Path, hashes: array) -> None:
    """Eight bytes an id instead of all ids: among a billion, two have the same hash by accident in 3 % of corpora."""
    values = np.frombuffer(hashes, dtype=np.uint64)
    order = np.argsort(values, kind="stable")
    again = np.flatnonzero(values[order][1:] == values[order][:-1])
    if len(again):
        one, other = sorted(order[again[0] : again[0] + 2] + 1)
        raise ValueError(f"{path}: the documents in lines {one} and {other} have the same id; ids must differ")
