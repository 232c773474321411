"""Readers: test collections, sentence pairs and JSON Lines of your own, from files or from a model hub."""

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from course_utils.texts.datasets import Pairs, Retrieval


def read_jsonl(path: Path | str, required: Sequence[str] = ("text",)) -> list[dict]:
    """Read a file with one JSON object per line.

    Args:
        path: the file, UTF-8.
        required: keys that every object must have, with a value other than null.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file, or a line that is no JSON object or lacks a key; names file and line.
    """
    rows = []
    for place, line in _numbered_lines(Path(path)):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{place} is not valid JSON ({error.msg}): {line[:80]!r}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{place} must hold a JSON object like {{...}}; got {line[:80]!r}")
        _require(row, required, place)
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} is empty; expected one JSON object per line")
    return rows


def retrieval(source: Path | str, split: str = "test") -> Retrieval:
    """Load a test collection in BEIR layout (Thakur et al., 2021) from a folder or from the Hugging Face hub.

    Args:
        source: a folder with ``corpus.jsonl`` (``_id``, ``text``, optionally ``title``), ``queries.jsonl``
            (``_id``, ``text``) and ``qrels/SPLIT.tsv`` (query id, document id and score after a header
            line), or a hub id such as ``"mteb/scifact"``, which needs the package ``datasets``.
        split: which judgements to use. Queries without a judgement in it are left out.

    Returns:
        The collection; a title stands before its text unless the text begins with it. Empty documents,
        and queries that had no other relevant document, are left out with a warning that counts them.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ConnectionError: nothing there; the message says what to do.
        ValueError: a malformed line, an id that occurs twice or does not exist; names file and line.
    """
    folder = Path(source)
    if folder.is_dir():
        tables = (
            _numbered_rows(folder / "corpus.jsonl", ("_id", "text")),
            _numbered_rows(folder / "queries.jsonl", ("_id", "text")),
            _qrels_rows(folder / "qrels" / f"{split}.tsv"),
        )
    else:
        name = str(source)
        tables = (
            _hub_rows(name, "corpus", ("corpus",), ("_id", "text")),
            _hub_rows(name, "queries", ("queries",), ("_id", "text")),
            _hub_rows(name, "qrels", (split,), ("query-id", "corpus-id", "score")),
        )
    corpus, queries = _texts(tables[0]), _texts(tables[1])
    return _without_empty(str(source), corpus, queries, _judgements(tables[2], corpus, queries))


def pairs(source: Path | str, split: str = "test") -> Pairs:
    """Load sentence pairs with a score from a JSONL file or from the Hugging Face hub.

    Args:
        source: a file with ``sentence1``, ``sentence2`` and ``score`` on each line, a folder that holds
            such a file as ``SPLIT.jsonl``, or a hub id such as ``"sentence-transformers/stsb"``.
        split: which part of a folder or of a hub data set.

    Raises:
        As :func:`retrieval`; ValueError also for an empty sentence and a score that is no number.
    """
    path, columns = Path(source), ("sentence1", "sentence2", "score")
    if path.is_dir():
        path = path / f"{split}.jsonl"
    local = path.suffix == ".jsonl" or path.is_file()
    rows = _numbered_rows(path, columns) if local else _hub_rows(str(source), None, (split,), columns)
    left, right, score = [], [], []
    for place, row in rows:
        for key, side in (("sentence1", left), ("sentence2", right)):
            if not isinstance(row[key], str) or not row[key].strip():
                raise ValueError(f"{place}: {key!r} must be a sentence; got {row[key]!r}")
            side.append(row[key])
        score.append(_number(row["score"], place))
    return Pairs(left, right, np.array(score, dtype=np.float64))


Rows = Iterator[tuple[str, dict]]  # where a row comes from, for error messages, and the row


def _numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist (looked for it in {Path.cwd()})")
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        place = f"{path}, line {number}"
        try:
            text = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise ValueError(f"{place} is not UTF-8 text ({error.reason} at byte {error.start})") from None
        if not text.strip():
            raise ValueError(f"{place} is empty; remove it")
        yield place, text


def _numbered_rows(path: Path, required: Sequence[str]) -> Rows:
    for number, row in enumerate(read_jsonl(path, required), start=1):
        yield f"{path}, line {number}", row


def _qrels_rows(path: Path) -> Rows:
    lines = _numbered_lines(path)
    place, header = next(lines, (f"{path}, line 1", ""))
    if header.split("\t")[-1] != "score":
        raise ValueError(f"{place} must be the header query-id, corpus-id, score (with tabs between); got {header!r}")
    for place, line in lines:
        values = line.split("\t")
        if len(values) != 3:
            raise ValueError(f"{place} must have 3 columns with tabs between; got {len(values)}: {line[:80]!r}")
        yield place, dict(zip(("query-id", "corpus-id", "score"), values, strict=True))


def _hub_rows(name: str, config: str | None, splits: Sequence[str], required: Sequence[str]) -> Rows:
    """Rows of one table of a hub data set; judgements may lie beside it, as ``NAME-qrels``."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise FileNotFoundError(f"{name!r} is neither a folder or file here (in {Path.cwd()}) nor a hub id owner/name")
    try:
        import datasets
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{name!r} is no folder or file here, and to load it from the hub the package datasets is needed: "
            "pip install '.[hub]' in the folder of the course"
        ) from None
    tries = [(name, "default"), (f"{name}-qrels", None)] if config == "qrels" else [(name, config)]
    errors = []
    for repository, table in tries:
        try:
            rows = datasets.load_dataset(repository, table, split=splits[0])
        except (OSError, ValueError, RuntimeError) as error:  # what the package raises for network and names
            errors.append(f"{repository}: {type(error).__name__}: {str(error)[:200]}")
            continue
        for number, row in enumerate(rows, start=1):
            place = f"{repository} ({table or splits[0]}), row {number}"
            _require(row, required, place)
            yield place, dict(row)
        return
    raise ConnectionError(
        f"could not load {name!r} from the hub. Check the name, the split {splits[0]!r} and the network, or give "
        f"a local folder. The package said: {'; '.join(errors)}"
    )


def _require(row: Mapping, required: Sequence[str], place: str) -> None:
    missing = [key for key in required if row.get(key) is None]
    if missing:
        raise ValueError(f"{place} lacks {', '.join(map(repr, missing))}; it has {', '.join(map(repr, row))}")


def _number(value: object, place: str) -> float:
    try:
        number = float(value) if isinstance(value, (str, int, float)) else np.nan
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"{place}: the score must be a finite number; got {value!r}")
    return number


def _texts(rows: Rows) -> dict[str, str]:
    """``id -> text``, the title in front unless the text begins with it."""
    texts: dict[str, str] = {}
    for place, row in rows:
        key, title, text = str(row["_id"]), str(row.get("title") or "").strip(), str(row["text"]).strip()
        if key in texts:
            raise ValueError(f"{place}: the id {key!r} occurs a second time")
        texts[key] = text if text.startswith(title) else f"{title} {text}".strip()
    return texts


def _judgements(rows: Rows, corpus: Mapping[str, str], queries: Mapping[str, str]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for place, row in rows:
        query, document, score = str(row["query-id"]), str(row["corpus-id"]), _number(row["score"], place)
        if query not in queries:
            raise ValueError(f"{place}: there is no query {query!r}")
        if document not in corpus:
            raise ValueError(f"{place}: there is no document {document!r}")
        if score != int(score):
            raise ValueError(f"{place}: the score must be a whole number; got {row['score']!r}")
        if document in qrels.setdefault(query, {}):
            raise ValueError(f"{place}: query {query!r} and document {document!r} occur a second time")
        qrels[query][document] = int(score)
    return qrels


def _without_empty(
    source: str, corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]]
) -> Retrieval:
    """Leave out what cannot be embedded or scored, and say how much that was."""
    empty_queries = [query for query in qrels if not queries[query]]
    if empty_queries:
        raise ValueError(f"{source}: query {empty_queries[0]!r} has no text")
    kept = {document: text for document, text in corpus.items() if text}
    judged = {query: {d: r for d, r in relevance.items() if d in kept} for query, relevance in qrels.items()}
    lost = [q for q in qrels if any(r > 0 for r in qrels[q].values()) and not any(r > 0 for r in judged[q].values())]
    if len(kept) < len(corpus):
        warnings.warn(
            f"{source}: {len(corpus) - len(kept)} of {len(corpus)} documents are empty and were left out, "
            f"with {len(lost)} queries that had no other relevant document",
            stacklevel=3,
        )
    judged = {query: relevance for query, relevance in judged.items() if query not in lost}
    return Retrieval(kept, {query: text for query, text in queries.items() if query in judged}, judged)
