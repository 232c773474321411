"""Search a collection in several ways at once: the first documents of each side by side, with what matched."""

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
from scipy.sparse import csr_array

from course_utils.measures.alignment import readable
from course_utils.measures.evaluation import cosine_matrix
from course_utils.measures.lexical import BM25, stems
from course_utils.search.costs import best
from course_utils.search.retrieval import Setting, Workbench
from course_utils.search.sparse import explain, inverted_index, query_tokens, query_vectors, scores
from course_utils.teaching.explorers.page import answering, check_typed, live, remembered, text_box
from course_utils.teaching.explorers.widget import Explorer

#: Words of a document that are shown at once; the rest opens on request.
SNIPPET_WORDS = 40
#: Matched tokens named below a document.
SHOWN_MATCHES = 8
#: Shorter pieces of words mark only words that are equal to them.
_PIECE = 3

# Answers that are remembered: each can hold a number for every document.
_QUERIES = 32

# Letters and ground are set together: readable on a light and on a dark page.
_MARK = '<mark style="background:#9ecae9;color:#111;font-weight:bold">'


class Method(NamedTuple):
    """One way to search.

    Attributes:
        scores: query -> a score for every document, ``[n_docs]``.
        matches: query and number of a document -> what they share as ``(token, part of the score)``, largest first;
            None where nothing can be named, as for dense vectors.
        marked: words of a document and the matched tokens -> which of the words to mark.
    """

    scores: Callable[[str], np.ndarray]
    matches: Callable[[str, int], list[tuple[str, float]]] | None = None
    marked: Callable[[Sequence[str], Sequence[str]], list[bool]] | None = None


def dense_method(embeddings: np.ndarray, encode: Callable[[str], np.ndarray]) -> Method:
    """Cosine of the query's embedding ``encode(query) [d]`` with ``embeddings [n_docs, d]``."""
    return Method(_kept(lambda query: cosine_matrix(np.reshape(encode(query), (1, -1)), embeddings)[0]))


def sparse_method(documents: csr_array, encode: Callable[[str], csr_array], names: Sequence[str]) -> Method:
    """Shared tokens of the query's vector ``encode(query) [1, C]`` and ``documents [n_docs, C]``.

    Args:
        names: per column the token as people read it, from :func:`course_utils.measures.alignment.readable`.
    """
    index, encode = inverted_index(documents), _kept(encode)

    @_kept
    def matches(query: str, number: int) -> list[tuple[str, float]]:
        found = explain(encode(query), csr_array(documents[[number]]), names)
        return [(match.token, float(match.product)) for match in found]

    return Method(_kept(lambda query: scores(encode(query), index=index)[0]), matches, begins_with)


def bm25_method(bm25: BM25) -> Method:
    """BM25 over words; marked are words with the stem of a word of the query."""

    @_kept
    def parts(query: str) -> tuple[list[str], np.ndarray]:
        """The different words of a query that are in any document, and the part of each, ``[n_words, n_docs]``."""
        counts = Counter(query.split())
        found = bm25.scores(list(counts)) * np.array(list(counts.values()), dtype=np.float32)[:, None]
        known = found.any(axis=1)
        return [word for word, one in zip(counts, known, strict=True) if one], found[known]

    def matches(query: str, number: int) -> list[tuple[str, float]]:
        words, found = parts(query)
        total = {word: part for word, part in zip(words, found[:, number].tolist(), strict=True) if part > 0}
        return sorted(total.items(), key=lambda item: (-item[1], item[0]))

    return Method(_kept(lambda query: bm25.scores([query])[0]), matches, same_stem)


def ways(bench: Workbench, embedder, setting: Setting, instruction: str | None = None) -> dict[str, Method]:
    """Dense cosine, aligned tokens and BM25 on the collection of a bench, for queries that somebody types.

    Args:
        embedder: encodes what is typed, once for both ways that need it.
        setting: how aligned tokens are weighted; with ``m = 0`` they need no model for a query.
        instruction: what the embedder is told about a query.
    """
    documents = bench.documents(setting)
    weights, size = bench.token_weights(setting, documents), documents.shape[1]

    @remembered
    def embed(text: str) -> np.ndarray:
        return embedder.encode([text], instruction, "query")[0]

    def vector(text: str) -> csr_array:
        more = bench.decoded(embed(text)[None], setting, setting.m) if setting.m else None
        own = query_tokens(bench.tokenizer, [text], setting.variants)
        options = {"expansion": more, "expansion_weight": setting.expansion_weight}
        return query_vectors(own, size, token_weights=weights, **options)

    return {
        "dense cosine": dense_method(bench.embedded.documents, embed),
        "aligned tokens": sparse_method(documents, vector, readable(bench.tokenizer, range(size))),
        "BM25": bm25_method(bench.bm25),
    }


def _kept(made: Callable) -> Callable:
    """The same function of a query, with a memory: a page asks for one query many times."""
    return remembered(made, size=_QUERIES)


def begins_with(words: Sequence[str], tokens: Sequence[str]) -> list[bool]:
    """Which words begin with one of the tokens, whatever their case; short tokens must be the whole word."""
    pieces = {token.removeprefix("_").casefold() for token in tokens}
    starts = tuple(piece for piece in pieces if len(piece) >= _PIECE)
    return [word.casefold() in pieces or word.casefold().startswith(starts) for word in words]


def same_stem(words: Sequence[str], tokens: Sequence[str]) -> list[bool]:
    """Which words share a stem with one of the tokens."""
    wanted = {stem for found in stems(list(tokens)) for stem in found}
    return [bool(wanted & set(found)) for found in stems(list(words))]


@answering
def search_page(texts: Sequence[str], ids: Sequence[str], methods: Mapping[str, Method], query: str, k: int = 5) -> str:
    """The k first documents by every method, side by side, with score, matched tokens and marked words; HTML.

    Args:
        texts, ids: the documents.
        methods: by name, in the order of the columns.
        query: a query with nothing in it gives a request to type one.
        k: documents per method; those that share nothing with the query are not shown.

    Raises:
        ValueError: texts and ids that do not fit, no method, ``k < 1``, or scores for another number of documents.
    """
    if len(texts) != len(ids) or not methods or k < 1:
        raise ValueError(
            f"need an id for every text, a method and k >= 1; got {len(texts)} texts, {len(ids)} ids, "
            f"{len(methods)} methods, k={k}"
        )
    check_typed(query, request="Type a query and press Enter.")
    found = {}
    for name, method in methods.items():
        values = np.asarray(method.scores(query))
        if values.shape != (len(texts),):
            raise ValueError(f"{name} returned scores of shape {values.shape} for {len(texts)} documents")
        found[name] = [(int(i), float(values[i])) for i in best(values, k, -np.inf if method.matches is None else 0)]
    ranks = {name: {i: place for place, (i, _) in enumerate(hits, start=1)} for name, hits in found.items()}
    columns = []
    for name, hits in found.items():
        others = {other: places for other, places in ranks.items() if other != name}
        items = "".join(_item(texts[i], ids[i], i, score, methods[name], query, others) for i, score in hits)
        body = f"<ol>{items}</ol>" if hits else "<p>No document shares a token with this query.</p>"
        columns.append(f'<section style="flex:1 1 16em;min-width:0"><h4>{html.escape(name)}</h4>{body}</section>')
    return f'<div class="search-page" style="display:flex;flex-wrap:wrap;gap:1.5em">{"".join(columns)}</div>'


def search_explorer(
    texts: Sequence[str], ids: Sequence[str], methods: Mapping[str, Method], query: str, k: int = 5
) -> Explorer:
    """A query to type and a number of documents to choose; shows :func:`search_page`."""
    asked = text_box(query, "Your query")
    number = widgets.IntSlider(
        value=k, min=1, max=max(10, k), description="Documents", continuous_update=False, layout={"width": "60%"}
    )
    result = live(lambda query, k: search_page(texts, ids, methods, query, k), asked, number)
    return Explorer([asked, number, result])


def _item(text: str, key: str, number: int, score: float, method: Method, query: str, others: Mapping) -> str:
    matches = [] if method.matches is None else method.matches(query, number)
    also = [f"{html.escape(name)} {places[number]}" for name, places in others.items() if number in places]
    notes = [f"score {score:.3f}"] + ([f"also: {', '.join(also)}"] if also else [])
    named = " · ".join(f"<b><bdi>{html.escape(token)}</bdi></b> {part:.2f}" for token, part in matches[:SHOWN_MATCHES])
    more = f" and {len(matches) - SHOWN_MATCHES} more" if len(matches) > SHOWN_MATCHES else ""
    below = f"<br><small>matched: {named}{more}</small>" if matches else ""
    return (
        f"<li><b>{html.escape(key)}</b> <small>{' · '.join(notes)}</small>{below}"
        f"{_marked_text(text, [token for token, _ in matches], method)}</li>"
    )


def _marked_text(text: str, tokens: Sequence[str], method: Method) -> str:
    """The part of the text with most marked words, and all of it on request."""
    pieces = re.split(r"(\w+)", text)  # words stand at the odd places
    words = pieces[1::2]
    marks = method.marked(words, tokens) if tokens and words else [False] * len(words)
    if len(words) <= SNIPPET_WORDS:
        return f"<p>{_joined(pieces, marks)}</p>"
    held = np.convolve(marks, np.ones(SNIPPET_WORDS, dtype=int), mode="valid")
    first = int(np.argmax(held))  # of equal ones the earliest
    last = first + SNIPPET_WORDS
    part = [""] + pieces[2 * first + 1 : 2 * last]
    shown = _joined(part, marks[first:last])
    before, after = "… " if first else "", " …" if last < len(words) else ""
    return f"<details><summary>{before}{shown}{after}</summary><p>{_joined(pieces, marks)}</p></details>"


def _joined(pieces: Sequence[str], marks: Sequence[bool]) -> str:
    shown = [html.escape(piece) for piece in pieces]
    for place, mark in enumerate(marks):
        if mark:
            shown[2 * place + 1] = f"{_MARK}{shown[2 * place + 1]}</mark>"
    return "".join(shown)
