"""Readers: test collections, sentence pairs and JSON Lines of your own, from files or from a model hub."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures.evaluation import relevance
from course_utils.models import folders
from course_utils.texts.datasets import Pairs, Retrieval

#: The columns of a file of judgements, in their order.
_QRELS_COLUMNS = ("query-id", "corpus-id", "score")


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
    for place, line in gates.lines(path):
        row = _object(line, place)
        _require(row, required, place)
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} is empty; expected one JSON object per line")
    return rows


def rows_and_faults(path: Path | str) -> tuple[list[tuple[int, dict]], list[tuple[int, str]]]:
    """The JSON objects of a file, and what is wrong with the lines that hold none, all with the numbers of their lines.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another encoding than UTF-8; names file and line.
    """
    rows, faults = [], []
    lines = gates.read_text(path).split("\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        try:
            rows.append((number, _object(line, "the line")))
        except ValueError as error:
            faults.append((number, str(error)))
    if not rows and not faults:
        faults.append((1, "the file is empty; expected one JSON object per line"))
    return rows, faults


def retrieval(source: Path | str, split: str = "test") -> Retrieval:
    """Load a test collection in BEIR layout (Thakur et al., 2021) from a folder or from the Hugging Face hub.

    Args:
        source: a folder with ``corpus.jsonl`` (``_id``, ``text``, optionally ``title``; the text may be null),
            ``queries.jsonl`` (``_id``, ``text``) and ``qrels/SPLIT.tsv`` (query id, document id and score after a
            header line), or a hub id such as ``"mteb/scifact"``, which needs the package ``datasets``.
        split: which judgements to use. Queries without a judgement in it are left out.

    Returns:
        The collection; a title stands before its text unless the text begins with it. Empty documents, judgements
        that name a query or document which is not there (public collections have some), and queries that had no
        other relevant document are left out with a warning that counts them.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ConnectionError: nothing there; the message says what to do.
        ValueError: a malformed line, an id that occurs twice, or judgements of which none fits; names file and line.
    """
    folder = gates.expanded(source)
    if gates.is_folder(folder):
        tables = (
            _numbered_rows(folder / "corpus.jsonl", ("_id",)),
            _numbered_rows(folder / "queries.jsonl", ("_id", "text")),
            _qrels_rows(folder / "qrels" / f"{split}.tsv"),
        )
    else:
        name = str(source)
        tables = (
            _hub_rows(name, "corpus", ("corpus",), ("_id",)),
            _hub_rows(name, "queries", ("queries",), ("_id", "text")),
            _hub_rows(name, "qrels", (split,), _QRELS_COLUMNS),
        )
    corpus, queries = _texts(tables[0]), _texts(tables[1])
    return _complete(str(source), corpus, queries, _judgements(tables[2]))


def pairs(source: Path | str, split: str = "test") -> Pairs:
    """Load sentence pairs with a score from a JSONL file or from the Hugging Face hub.

    Args:
        source: a file with ``sentence1``, ``sentence2`` and ``score`` on each line, a folder that holds
            such a file as ``SPLIT.jsonl``, or a hub id such as ``"sentence-transformers/stsb"``.
        split: which part of a folder or of a hub data set.

    Raises:
        As :func:`retrieval`; ValueError also for an empty sentence and a score that is no number.
    """
    path, columns = gates.expanded(source), ("sentence1", "sentence2", "score")
    if gates.is_folder(path):
        path = path / f"{split}.jsonl"
    local = path.suffix == ".jsonl" or gates.is_file(path)
    rows = _numbered_rows(path, columns) if local else _hub_rows(str(source), None, (split,), columns)
    left, right, score = [], [], []
    for place, row in rows:
        for key, side in (("sentence1", left), ("sentence2", right)):
            side.append(_text(row, key, place))
            if not side[-1].strip():
                raise ValueError(f"{place}: {key!r} is empty; remove the line or give it a sentence")
        score.append(_number(row["score"], place))
    return Pairs(left, right, np.array(score, dtype=np.float64))


Rows = Iterator[tuple[str, dict]]  # where a row comes from, for error messages, and the row


def _object(line: str, place: str) -> dict:
    row = gates.json_value(line, place)
    if not isinstance(row, dict):
        raise ValueError(f"{place} must hold a JSON object like {{...}}; got {line[:80]!r}")
    return row


def _numbered_rows(path: Path, required: Sequence[str]) -> Rows:
    for number, row in enumerate(read_jsonl(path, required), start=1):
        yield f"{path}, line {number}", row


def _qrels_rows(path: Path) -> Rows:
    lines = gates.lines(path)
    place, header = next(lines, (f"{path}, line 1", ""))
    if header.split("\t") != list(_QRELS_COLUMNS):
        raise ValueError(f"{place} must be the header query-id, corpus-id, score (with tabs between); got {header!r}")
    for place, line in lines:
        values = line.split("\t")
        if len(values) != 3:
            raise ValueError(f"{place} must have 3 columns with tabs between; got {len(values)}: {line[:80]!r}")
        yield place, dict(zip(_QRELS_COLUMNS, values, strict=True))


def _hub_rows(name: str, config: str | None, splits: Sequence[str], required: Sequence[str]) -> Rows:
    """Rows of one table of a hub data set; judgements may lie beside it, as ``NAME-qrels``."""
    if folders.looks_like_path(name) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
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
    null = [key for key in required if key in row and row[key] is None]
    if null:
        raise ValueError(f"{place}: {null[0]!r} is null; give it a value, or remove the line")
    missing = [key for key in required if key not in row]
    if missing:
        raise ValueError(f"{place} lacks {', '.join(map(repr, missing))}; it has {', '.join(map(repr, row))}")


def _number(value: object, place: str) -> float:
    try:
        number = float(value) if isinstance(value, (str, int, float)) else np.nan
    except (ValueError, OverflowError):
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"{place}: the score must be a finite number; got {value!r}")
    return number


def _text(row: Mapping, key: str, place: str) -> str:
    """The text that stands under a key; an empty one for null."""
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{place}: {key!r} must be a text; got {repr(value)[:80]}")
    return gates.unicode_text(value or "", f"{place}, {key!r}")


def _texts(rows: Rows) -> dict[str, str]:
    """``id -> text``, the title in front unless the text begins with it."""
    texts: dict[str, str] = {}
    for place, row in rows:
        if "text" not in row:
            raise ValueError(f"{place} lacks 'text'; it has {', '.join(map(repr, row))}")
        key = gates.identifier(row["_id"], f"{place}, '_id'")
        title, text = _text(row, "title", place).strip(), _text(row, "text", place).strip()
        if key in texts:
            raise ValueError(f"{place}: the id {key!r} occurs a second time")
        texts[key] = text if text.startswith(title) else f"{title} {text}".strip()
    return texts


def documents(lines: Iterator[tuple[str, str]]) -> dict[str, str]:
    """``id -> text`` of lines of a ``corpus.jsonl``, each with its place, as :func:`retrieval` reads them.

    For a corpus that does not fit into memory; an empty document is kept, as an empty text. Errors as there.
    """

    def rows() -> Rows:
        for place, line in lines:
            row = _object(line, place)
            _require(row, ("_id",), place)
            yield place, row

    return _texts(rows())


def _judgements(rows: Rows) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for place, row in rows:
        query, document = (gates.identifier(row[k], f"{place}, {k!r}") for k in ("query-id", "corpus-id"))
        if document in qrels.setdefault(query, {}):
            raise ValueError(f"{place}: query {query!r} and document {document!r} occur a second time")
        qrels[query][document] = relevance(_number(row["score"], place), place)
    return qrels


def _complete(
    source: str, corpus: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]]
) -> Retrieval:
    """Leave out what cannot be embedded or scored, and say how much that was."""
    kept = {document: text for document, text in corpus.items() if text}
    judged = {q: {d: r for d, r in own.items() if d in kept} for q, own in qrels.items() if q in queries}
    unknown = sum(q not in queries or d not in corpus for q, own in qrels.items() for d in own)
    lost = {q for q in judged if any(r > 0 for r in qrels[q].values()) and not any(r > 0 for r in judged[q].values())}
    judged = {query: own for query, own in judged.items() if own and query not in lost}
    empty_queries = [query for query in judged if not queries[query]]
    if empty_queries:
        raise ValueError(f"{source}: query {empty_queries[0]!r} has no text; give it one, or remove its judgements")
    if not judged:
        raise ValueError(f"{source}: no judgement names a query and a document of these files; are they of one set?")
    left_out = []
    if len(kept) < len(corpus):
        left_out.append(f"{len(corpus) - len(kept)} of {len(corpus)} documents are empty")
    if unknown:
        left_out.append(f"{unknown} judgements name a query or document that is not there")
    if left_out:
        warnings.warn(
            f"{source}: {' and '.join(left_out)}; they were left out, with {len(lost)} queries that had no other "
            "relevant document",
            stacklevel=3,
        )
    return Retrieval(kept, {query: text for query, text in queries.items() if query in judged}, judged)
