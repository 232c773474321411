"""Datasets: the text and the human judgements that the lessons work on.

Everything a lesson needs offline lies in files that the package gensim installs
for its own tests: 106 English Wikipedia articles, two lists of judged word pairs
and 50 judged news documents. Collections of your own come in through
:func:`retrieval` and :func:`pairs`. Every function returns the same on every
machine and in every run; pickled files are never opened.
"""

import bz2
import hashlib
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from course_utils.wikitext import clean, is_complete, split_sentences

_WIKIPEDIA = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_WORD_PAIRS = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}

#: Sections that hold references and lists, not prose.
_NO_PROSE = re.compile(
    r"(see also|(foot)?notes.*|.*references.*|.*bibliography|further reading.*|.*external links|sources|citations"
    r"|(selected )?(works|publications|filmography|discography).*|gallery|literature( cited)?)$",
    re.IGNORECASE,
)
#: Words in a sentence of :func:`wikipedia_sentences`: fewest, most.
SENTENCE_WORDS = (8, 60)
#: A paragraph of :func:`wikipedia_retrieval` has more words than this.
PARAGRAPH_WORDS = 15


# --- Wikipedia ------------------------------------------------------------------------------------


class Section(NamedTuple):
    """A top-level section of an article; ``heading`` is ``"Introduction"`` for the text before the first heading."""

    article: str
    heading: str
    paragraphs: tuple[str, ...]


@cache
def _sections() -> tuple[tuple[str, str, tuple[tuple[str, ...], ...]], ...]:
    """``(article, heading, paragraphs)``, every paragraph a tuple of clean sentences. About two seconds, once."""
    found = []
    for title, markup in _articles(_gensim_file(_WIKIPEDIA)):
        parts = re.split(r"^==([^=].*?)==\s*$", markup, flags=re.MULTILINE)
        for heading, body in zip(["Introduction", *parts[1::2]], parts[::2], strict=True):
            heading = " ".join(clean(heading))
            if _NO_PROSE.match(heading):
                continue
            lines = [tuple(s for s in split_sentences(line) if is_complete(s)) for line in clean(body)]
            if any(lines):
                found.append((title, heading, tuple(line for line in lines if line)))
    return tuple(found)


def wikipedia_sections() -> list[Section]:
    """Return the prose of 106 English Wikipedia articles, section by section, in the order of the dump.

    A paragraph consists of the complete sentences of one paragraph or list item of
    the article. Sentences with a hole (a formula or an unknown template was
    removed), tables, captions, footnotes and sections of references are left out.

    Source: the Wikipedia dump that gensim 4.4.0 installs for its tests; text under CC BY-SA 3.0.
    """
    return [
        Section(article, heading, tuple(" ".join(sentences) for sentences in paragraphs))
        for article, heading, paragraphs in _sections()
    ]


def wikipedia_sentences(n: int | None = None, seed: int = 0) -> list[str]:
    """Return ``n`` distinct complete sentences of 8 to 60 words (all of them by default), spread over all articles.

    The first sentences come one from each article, then a second one from each,
    and so on. With the same seed a shorter list is the beginning of a longer one.

    Raises:
        ValueError: ``n`` is negative or larger than the number of sentences.
    """
    low, high = SENTENCE_WORDS
    articles: dict[str, list[str]] = defaultdict(list)
    seen = set()
    for article, _, paragraphs in _sections():
        for sentence in (s for sentences in paragraphs for s in sentences):
            if low <= len(sentence.split()) <= high and sentence.count('"') % 2 == 0 and sentence not in seen:
                seen.add(sentence)
                articles[article].append(sentence)
    if n is not None and not 0 <= n <= len(seen):
        raise ValueError(f"n={n} sentences asked for; there are {len(seen)} (use n=None for all of them)")

    # A hash instead of a random generator: the order is the same for every version of Python and numpy.
    def key(sentence: str) -> str:
        return hashlib.sha256(f"{seed}:{sentence}".encode()).hexdigest()

    ranked = [
        (rank, key(sentence), sentence)
        for sentences in articles.values()
        for rank, sentence in enumerate(sorted(sentences, key=key))
    ]
    return [sentence for _, _, sentence in sorted(ranked)[:n]]


@dataclass(frozen=True, repr=False)
class Retrieval:
    """A test collection: documents, queries and which documents answer which query.

    Attributes:
        corpus: document id -> text.
        queries: query id -> text.
        qrels: query id -> document id -> relevance (0 = judged, not relevant).
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    def __repr__(self) -> str:
        relevant = sum(r > 0 for judged in self.qrels.values() for r in judged.values())
        return f"Retrieval({len(self.corpus)} documents, {len(self.queries)} queries, {relevant} relevant pairs)"


def wikipedia_retrieval() -> Retrieval:
    """Make a retrieval collection from the articles: find the paragraphs of a section from its heading.

    As in TREC CAR (Dietz, Verma, Radlinski and Craswell, 2017, "TREC Complex Answer
    Retrieval Overview"), a query is an article's title with a section's heading, and
    the paragraphs of that section are relevant to it. Paragraphs of up to 15 words are
    left out. The introductions stay in the corpus without a query of their own, because
    their heading says nothing. Equal paragraphs are one document, relevant to all the
    sections they stand in; sections with an equal heading in one article are one query.
    """
    corpus: dict[str, str] = {}
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    document_ids: dict[str, str] = {}
    query_ids: dict[str, str] = {}
    for section in wikipedia_sections():
        for paragraph in section.paragraphs:
            if len(paragraph.split()) <= PARAGRAPH_WORDS:
                continue
            document = document_ids.setdefault(paragraph, f"d{len(document_ids):04}")
            corpus[document] = paragraph
            if section.heading != "Introduction":
                text = f"{section.article}: {section.heading}"
                query = query_ids.setdefault(text, f"q{len(query_ids):04}")
                queries[query] = text
                qrels.setdefault(query, {})[document] = 1
    return Retrieval(corpus, queries, qrels)


# --- Human judgements -----------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)  # arrays have no single truth value to compare by
class Pairs:
    """Judged pairs of texts or words.

    Attributes:
        left, right: the two sides, ``n`` strings each.
        score: the mean human judgement, float64 ``[n]``; larger means closer.
    """

    left: list[str]
    right: list[str]
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.left)

    def __repr__(self) -> str:
        span = f", scores {self.score.min():g} to {self.score.max():g}" if len(self) else ""
        return f"Pairs({len(self)} pairs{span})"


def word_pairs(name: str) -> Pairs:
    """Return judged word pairs, with mean scores from 0 to 10.

    ``"wordsim353"``: 353 pairs judged for *relatedness*: "closet" and "clothes" score high
    (Finkelstein et al., 2002, "Placing Search in Context: The Concept Revisited").
    ``"simlex999"``: 999 pairs judged for *similarity*: "closet" and "clothes" score low
    (Hill, Reichart and Korhonen, 2015, "SimLex-999: Evaluating Semantic Models with (Genuine)
    Similarity Estimation").

    Raises:
        ValueError: another name.
    """
    if name not in _WORD_PAIRS:
        raise ValueError(f"no word pairs called {name!r}; choose one of: {', '.join(_WORD_PAIRS)}")
    lines = _gensim_file(_WORD_PAIRS[name]).read_text(encoding="utf-8").splitlines()
    left, right, score = zip(*(line.split("\t") for line in lines if not line.startswith("#")), strict=True)
    return Pairs(list(left), list(right), np.array(score, dtype=np.float64))


def judged_documents() -> tuple[list[str], np.ndarray]:
    """Return 50 short news documents and the human judgement of each pair of them.

    Each pair was judged by about ten students on a scale from 1 (highly unrelated) to 5
    (highly related). The file holds the mean divided by 5, so 0.2 is the lowest possible
    value; the diagonal was not judged and is 1 by definition.

    Returns:
        The documents, and a symmetric float64 array ``[50, 50]``. For a correlation take each pair
        once: ``similarity[np.triu_indices(50, k=1)]``, 1225 values.

    Source: Lee, Pincombe and Welsh, 2005, "An Empirical Evaluation of Models of Text Document Similarity".
    """
    documents = _gensim_file("lee.cor").read_text(encoding="latin-1").strip().split("\n")
    upper = np.loadtxt(_gensim_file("similarities0-1.txt"))  # zeros below the diagonal
    return documents, np.maximum(upper, upper.T)


# --- Data of your own -----------------------------------------------------------------------------


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


# --- Files that gensim installs -------------------------------------------------------------------


def _gensim_file(name: str) -> Path:
    """Find a file of gensim's test data without the seconds that importing gensim takes."""
    spec = find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the course's texts come with the package gensim; install the pins: pip install -e .")
    path = Path(spec.submodule_search_locations[0], "test", "test_data", name)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: reinstall it with pip install --force-reinstall --no-deps gensim")
    return path


def _articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yield title and markup of every article (no redirects, no talk or help pages) of a compressed dump."""
    with bz2.open(path) as file:
        for _, page in ElementTree.iterparse(file):
            if not page.tag.endswith("}page"):
                continue
            space = page.tag.removesuffix("page")
            markup = page.findtext(f"{space}revision/{space}text") or ""
            if page.findtext(f"{space}ns") == "0" and not markup.lower().startswith("#redirect"):
                yield page.findtext(f"{space}title") or "", markup
            page.clear()
