"""Hand over: a built collection goes to an engine that serves it; the course itself serves nothing.

* :func:`upload` fills a collection of Qdrant, embedded in this process, in a folder, or on a server.
* :func:`export` writes files: Anserini's JSON vectors, or requests in bulk for OpenSearch with its mapping.
* Seismic is built in memory: ``engines.seismic_index(part.documents, part.ids, empty=True)`` with
  ``part = parts.everything(folder)``.

Everything is sent and written part by part. What is sent twice is there once: a point's number is the document's.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from course_utils import gates
from course_utils.search import anserini, engines, sparse
from course_utils.search.scale import parts
from course_utils.shipped import files

#: Tries of one request, and seconds to wait before the second; each further wait is twice as long.
ATTEMPTS, WAIT = 6, 1.0
#: Formats of :func:`export`.
FORMS = ("anserini", "opensearch")
#: Field and mapping of an OpenSearch index: ``rank_features`` is an inverted index of positive weights by name, which
#: its query ``neural_sparse`` reads with ``query_tokens`` (documentation of OpenSearch, "Neural sparse search using raw
#: vectors"). Names are the numbers of the columns: no sign of a token can disturb a request.
FIELD = "aligned_tokens"
MAPPING = {"mappings": {"properties": {"id": {"type": "keyword"}, FIELD: {"type": "rank_features"}}}}


class Uploaded(NamedTuple):
    """What :func:`upload` did: documents sent, documents that were there, and requests that were sent again."""

    sent: int
    there: int
    again: int


def upload(
    folder: Path | str,
    client,
    *,
    collection: str = engines.COLLECTION,
    vector: str = engines.VECTOR,
    attempts: int = ATTEMPTS,
    wait: float = WAIT,
    report: Callable[[str], object] = print,
) -> Uploaded:
    """Fill a Qdrant collection with the documents of a folder of parts; goes on where an earlier upload was cut.

    A document without tokens becomes a point that no query finds. Search with
    :func:`course_utils.search.engines.qdrant_search`.

    Args:
        folder: of the parts.
        client: from :func:`course_utils.search.engines.qdrant_client`: in this process, a folder, or a server.
        collection, vector: names.
        attempts: of one request before giving up.
        wait: seconds before the second; each further one is twice as long.
        report: called with a line every few seconds, at the end, and whenever a request is sent again.

    Raises:
        ValueError: parts that are not whole, or a collection of that name that was made from something else.
        FileNotFoundError: no manifest; nothing is made on the server.
        ConnectionError: a request that failed ``attempts`` times, or a key that the server refuses; what was sent is
            kept.
    """
    from qdrant_client import models

    folder, attempts = gates.expanded(folder, "folder"), gates.whole(attempts, "attempts")
    asked = _Patient(attempts, wait, report)
    total = parts.manifest(folder)["parts"]
    about = {"made_from": files.digest((folder / parts.MANIFEST).read_bytes())}
    vectors = {vector: models.SparseVectorParams()}
    if not asked(client.collection_exists, collection):
        asked(client.create_collection, collection, vectors_config={}, sparse_vectors_config=vectors, metadata=about)
    elif (asked(client.get_collection, collection).config.metadata or {}) != about:
        raise ValueError(
            f"there is a collection {collection!r} already, made from something else; choose another name, or delete it"
        )
    sent = there = 0
    progress = parts.Progress(total, f"parts sent to {collection!r}", report)
    for number, part in enumerate(parts.parts(folder), start=1):
        last = part.first + len(part.ids) - 1
        # Points go in the order of their numbers, each request after the other: if the last is there, so are all.
        if part.ids and asked(client.retrieve, collection, [last]):
            there += len(part.ids)
            continue
        points = [
            models.PointStruct(
                id=part.first + row, payload={"id": key}, vector={vector: engines.sparse_vector(*numbers)}
            )
            for row, (key, numbers) in enumerate(zip(part.ids, sparse.rows(part.documents), strict=True))
        ]
        for start in range(0, len(points), engines.BATCH):
            asked(client.upsert, collection, points[start : start + engines.BATCH], wait=True)
        sent += len(points)
        progress(number)
    report(f"collection {collection!r} holds {sent + there} documents, {there} of them from before")
    return Uploaded(sent, there, asked.again)


class _Patient:
    """Calls again what failed for a reason that may pass: no connection, an answer too late, a server that is busy."""

    def __init__(self, attempts: int, wait: float, report: Callable[[str], object]):
        self.attempts, self.wait, self.report, self.again = attempts, wait, report, 0

    def __call__(self, request: Callable, *arguments, **options):
        for attempt in range(1, self.attempts + 1):
            try:
                return request(*arguments, **options)
            except Exception as error:
                if getattr(error, "status_code", None) in (401, 403):
                    raise ConnectionError(
                        f"{' '.join(str(error).split())[:120]}: check the API key (QDRANT_API_KEY)"
                    ) from None
                if not _may_pass(error):
                    raise
                said = f"{type(error).__name__}: {str(error).strip()[:120]}"
            if attempt == self.attempts:
                raise ConnectionError(
                    f"the server failed {attempt} times ({said}); see that it runs, then run again: what was sent is "
                    "kept"
                )
            pause = self.wait * 2 ** (attempt - 1)
            self.report(f"{said}; trying again in {pause:g} s ({attempt} of {self.attempts} tries)")
            self.again += 1
            time.sleep(pause)


def _may_pass(error: Exception) -> bool:
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return error.status_code == 429 or (error.status_code or 0) >= 500
    return isinstance(error, ResponseHandlingException | ConnectionError | TimeoutError)


# --- Files ----------------------------------------------------------------------------------------


def export(
    folder: Path | str, out: Path | str, form: str, tokenizer=None, report: Callable[[str], object] = print
) -> list[Path]:
    """Write a folder of parts for another engine, one file for each part; returns the files.

    A document without tokens is kept: a build of millions does not stop for one, and its report counts them.

    * ``anserini``: JSON vectors with whole weights 0 … 255 on one scale for the whole collection, for Anserini's
      ``IndexCollection -collection JsonVectorCollection -impact -pretokenized``, and for Pyserini;
    * ``opensearch``: requests for its ``_bulk`` interface, and ``mapping.json`` with which to create the index. A
      document without tokens gets an empty field.

    Args:
        folder: of the parts.
        out: a folder that is empty or not there yet.
        form: one of :data:`FORMS`.
        tokenizer: of the embedder; only Anserini's format spells the tokens.
        report: called with a line every few seconds.

    Raises:
        ValueError: an unknown form, parts that are not whole, a folder that holds something, or no tokenizer.
    """
    folder, out = gates.expanded(folder, "folder"), gates.expanded(out, "out")
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}; got {form!r}")
    if form == "anserini" and tokenizer is None:
        raise ValueError("Anserini's format spells tokens: give the embedder's tokenizer")
    about = parts.manifest(folder)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise ValueError(f"{out} is not empty; give another folder")
    largest = parts.statistics(folder).largest
    names = anserini.token_strings(tokenizer, about["columns"]) if form == "anserini" else None
    written, progress = [], parts.Progress(about["parts"], "files written", report)
    for number, part in enumerate(parts.parts(folder)):
        path = out / f"documents-{number:05}.jsonl"
        if form == "anserini":
            whole, _ = anserini.quantise(part.documents, largest=largest)
            anserini.write_anserini(path, whole, part.ids, names, empty=True)
        else:
            with gates.replacing(path) as file:
                file.writelines(_bulk(part))
        written.append(path)
        progress(number + 1)
    if form == "opensearch":
        with gates.replacing(out / "mapping.json") as file:
            file.write(json.dumps(MAPPING, indent=1) + "\n")
        written.append(out / "mapping.json")
    return written


def export_named(folder: Path | str, out: Path | str, form: str, report: Callable[[str], object] = print) -> list[Path]:
    """:func:`export` with the tokenizer of the embedder that the parts' manifest names. Errors as there."""
    tokenizer = None
    if form == "anserini":
        from course_utils.models.embedder import load

        tokenizer = load(parts.manifest(gates.expanded(folder, "folder"))["embedder"]).tokenizer
    return export(folder, out, form, tokenizer, report)


def _bulk(part: parts.Part) -> Iterator[str]:
    for key, (columns, weights) in zip(part.ids, sparse.rows(part.documents), strict=True):
        vector = {str(column): float(str(weight)) for column, weight in zip(columns, weights, strict=True)}
        yield json.dumps({"index": {"_id": key}}, ensure_ascii=False) + "\n"
        yield json.dumps({"id": key, FIELD: vector}, ensure_ascii=False) + "\n"
