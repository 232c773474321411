"""Datasets: the text and the human judgements that the lessons work on.

Everything a lesson needs offline lies in files that the package gensim installs
for its own tests: 106 English Wikipedia articles, two lists of judged word pairs
and 50 judged news documents. Collections of your own come in through
:mod:`course_utils.texts.readers`. Every function returns the same on every
machine and in every run; pickled files are never opened.
"""

import bz2
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from course_utils.texts.wikitext import clean, is_complete, split_sentences

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
