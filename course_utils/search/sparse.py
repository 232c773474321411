"""Sparse retrieval: documents and queries as weighted tokens, matched by an inverted index.

The idea of the paper (arXiv 2406.17378, section 6): a document keeps its K aligned tokens
with the largest logits; a query is its own tokens, and possibly its first M aligned ones;
the score is the sum of the document's weights on the query's tokens. The paper leaves K, M
and the weights open: here they are named options.

Everything is a function on arrays. Sparse vectors are rows of a ``scipy.sparse.csr_array``:

* ``documents [n_docs, C]`` and ``queries [n_queries, C]``, with one column per token, or per
  class of tokens that differ only in case or a leading space (``classes``, see
  :func:`course_utils.measures.alignment.variant_classes`);
* ``index [C, n_docs]``, the same numbers sorted by token: row t is the postings list of t.

Weights are float32 and positive; a column that is not stored is zero. Among tokens with equal
logits the one with the smaller id is kept, so that the result is the same on every machine.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse, vstack

from course_utils import gates
from course_utils.measures.alignment import special_ids, tensor

#: Upper bound on the logits held at once, in bytes.
CHUNK_BYTES = 256 * 2**20


# --- Documents ------------------------------------------------------------------------------------


def document_vectors(
    embeddings: np.ndarray | Iterable[np.ndarray],
    unembedding: np.ndarray,
    k: int | None,
    *,
    exclude: Sequence[int] = (),
    direction: np.ndarray | None = None,
    share: float = 1.0,
    log1p: bool = False,
    unit: bool = True,
    only: Sequence[np.ndarray] | None = None,
    classes: np.ndarray | None = None,
) -> csr_array:
    """The K aligned tokens of every document with their weights, float32 ``[n_docs, C]``.

    The weight of a token is its logit ``E_g h``; logits that are not positive are left out, so a row may
    hold fewer than K numbers. Only a part of the logits is in memory at a time.

    Args:
        embeddings: ``[n_docs, d]``, or several such arrays one after the other, for instance a generator.
        unembedding: ``E_g``, ``[V, d]``.
        k: tokens kept per document; ``None`` keeps all with a positive logit.
        exclude: tokens that never appear (special tokens).
        direction: unit vector ``u_1 [d]``: decode ``h − share · u_1 u_1ᵀh`` instead of h.
        share: which part of the first component to take away, 1 = all of it.
        log1p: weight ``log(1 + logit)`` instead of the logit, which flattens large weights
            (as in SPLADE, Formal et al. 2021, and PromptReps, Zhuang et al. 2024).
        unit: scale every row to length 1. A row without tokens stays empty.
        only: per document the token ids that may appear, e.g. its surface tokens (as in PromptReps).
        classes: int ``[V]``: tokens of one class share a column; their largest logit counts.

    Raises:
        ValueError: shapes that do not fit, k out of range, a direction that is no unit vector, token ids out
            of range, another number of ``only`` than of documents, NaN or infinity (with the row).
    """
    weight = gates.matrix(unembedding, "unembedding", "[V, d]")
    excluded = gates.token_ids(exclude, len(weight), "exclude")
    groups = _Classes(classes, len(weight))
    allowed = len(weight) - len(np.unique(excluded)) if classes is None else groups.n
    k = None if k is None else gates.whole(k, "k", 1, allowed, "columns that may be used")
    pieces, done, output_layer = [], 0, tensor(weight).T
    for chunk in _chunks(embeddings, *weight.shape):
        logits = (tensor(_without(chunk, direction, share)) @ output_layer).numpy()
        logits[:, excluded] = -np.inf
        if only is not None:
            logits = _masked(logits, only, done)
        logits = groups.largest(logits)
        pieces.append(csr_array(_stacked([_kept(row, k) for row in logits], groups.n)))
        done += len(chunk)
    if only is not None and len(only) != done:
        raise ValueError(f"only has token ids for {len(only)} documents; there are {done}")
    documents = csr_array(vstack(pieces)) if pieces else csr_array((0, groups.n), dtype=np.float32)
    if log1p:
        documents.data = np.log1p(documents.data)
    return unit_rows(documents) if unit else documents


def keep_largest(vectors: csr_array, k: int) -> csr_array:
    """The k largest numbers of every row; of equal ones those with the smaller column.

    With it one computation at the largest K serves all smaller ones: ``keep_largest(vectors, k)`` of
    :func:`document_vectors` with ``unit=False`` is what it would have returned for k.

    Raises:
        ValueError: ``k < 1``.
    """
    k, vectors = gates.whole(k, "k"), checked(vectors, "vectors")
    rows = []
    for start, end in zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True):
        places, values = _kept(vectors.data[start:end], k)
        rows.append((vectors.indices[start:end][places], values))
    return _stacked(rows, vectors.shape[1])


def idf(documents: csr_array) -> np.ndarray:
    """Inverse document frequency of every column, float32 ``[C]``: ``log((n + 1) / (df + 1))``.

    ``df`` counts the documents whose vector holds the token, ``n`` all documents. A token that stands in
    every vector gets 0: it cannot tell documents apart. (Spärck Jones 1972; the added ones keep a token
    that stands nowhere finite.)

    Raises:
        ValueError: no documents.
    """
    documents = checked(documents, "documents")
    if not documents.shape[0]:
        raise ValueError("there are no documents to count tokens in")
    frequency = np.bincount(documents.indices[documents.data != 0], minlength=documents.shape[1])
    return np.log((documents.shape[0] + 1) / (frequency + 1)).astype(np.float32)


def text_idf(surface: Sequence[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """:func:`idf` of every token counted in the *texts* instead of the aligned tokens, float32 ``[V]``.

    ``df`` counts the texts that hold the token in any spelling, as
    :func:`course_utils.measures.alignment.variant_classes` sorts them. It knows function words:
    after the first component is taken away, hardly any vector holds "the", and :func:`idf` of the vectors would take
    it for a rare and telling word.

    Args:
        surface: per document its token ids, from :func:`course_utils.measures.alignment.surface_tokens`.
        classes: int ``[V]``.
    """
    return idf(query_vectors(surface, len(classes), classes=classes))[classes]


# --- Queries --------------------------------------------------------------------------------------


def query_tokens(tokenizer, texts: Sequence[str], variants: bool = True) -> list[np.ndarray]:
    """Token ids of every query, int64, distinct, in order of first appearance; no model is needed.

    With ``variants`` every word is tokenised on its own, with and without a leading space, as it is, in lower case
    and capitalised, because a document may decode to any of these; signs between words are left out. What a word is,
    :func:`course_utils.gates.words` says. Special tokens, which a text may spell out ("<s>"), are left out.

    Raises:
        TypeError, ValueError: no list of texts; see :func:`course_utils.gates.texts`.
    """
    result, special = [], set(special_ids(tokenizer, len(tokenizer)))
    for text in gates.texts(texts, empty=True):
        forms = [text.strip()]
        if variants:
            cased = [form for word in gates.words(text) for form in (word, word.lower(), word.capitalize())]
            forms = [space + word for word in dict.fromkeys(cased) for space in (" ", "")]
        ids = [i for found in _tokenised(tokenizer, forms) for i in found if i not in special]
        result.append(np.array(list(dict.fromkeys(ids)), dtype=np.int64))
    return result


def _tokenised(tokenizer, forms: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(forms), add_special_tokens=False, verbose=False)["input_ids"] if forms else []


def query_vectors(
    tokens: Sequence[np.ndarray],
    size: int,
    *,
    token_weights: np.ndarray | None = None,
    expansion: csr_array | None = None,
    expansion_weight: float = 1.0,
    classes: np.ndarray | None = None,
) -> csr_array:
    """Queries as sparse vectors, float32 ``[n_queries, C]``.

    Every token of a query has the weight 1, however often it occurs. With an ``expansion`` each query's
    aligned tokens are added: their weights are scaled so that the query's largest is ``expansion_weight``,
    and a token on both sides gets the sum. At the end every column is multiplied by its ``token_weights``.

    Args:
        tokens: per query its token ids, e.g. from :func:`query_tokens`. None at all gives an empty row,
            which scores 0 everywhere.
        size: the number V of tokens of the vocabulary.
        token_weights: ``[C]``, e.g. :func:`idf` of the documents.
        expansion: ``[n_queries, C]``, from :func:`document_vectors` of the queries' embeddings with k = M.
        classes: int ``[V]``, the same as for the documents.

    Raises:
        ValueError: token ids out of range, or shapes that do not fit.
    """
    groups = _Classes(classes, size)
    rows = []
    for number, ids in enumerate(tokens):
        columns = np.unique(groups.of(gates.token_ids(ids, size, f"query {number}")))
        rows.append((columns, np.ones(len(columns), dtype=np.float32)))
    queries = _stacked(rows, groups.n)
    if expansion is not None:
        if expansion.shape != queries.shape:
            raise ValueError(f"expansion has shape {expansion.shape}, the queries have {queries.shape}")
        largest = expansion.max(axis=1).toarray().ravel() if expansion.nnz else np.zeros(len(rows), np.float32)
        factors = np.divide(expansion_weight, largest, out=np.zeros(len(rows)), where=largest > 0)
        queries = csr_array(queries + _scaled_rows(expansion, factors))
    if token_weights is not None:
        token_weights = gates.vector(token_weights, "token_weights").astype(np.float32)
        if token_weights.shape != (groups.n,):
            raise ValueError(f"token_weights must have shape ({groups.n},); got {token_weights.shape}")
        queries.data = queries.data * token_weights[queries.indices]
        queries.eliminate_zeros()
    return queries


# --- Matching -------------------------------------------------------------------------------------


def inverted_index(documents: csr_array) -> csr_array:
    """The same numbers sorted by token: float32 ``[C, n_docs]``, row t holds the postings of token t."""
    index = csr_array(documents.T.tocsr())
    index.sort_indices()
    return index


def postings(index: csr_array, token: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents that hold a token, and its weight in each, largest weight first (ties: smaller number first).

    Raises:
        ValueError: a token (or class) out of range.
    """
    if not 0 <= token < index.shape[0]:
        raise ValueError(f"token {token} is outside the index of {index.shape[0]} columns")
    part = slice(index.indptr[token], index.indptr[token + 1])
    documents, weights = index.indices[part], index.data[part]
    order = np.lexsort((documents, -weights))
    return documents[order], weights[order]


def scores(queries: csr_array, documents: csr_array | None = None, *, index: csr_array | None = None) -> np.ndarray:
    """Score of every document for every query, ``Σ_t q_t d_t``, float32 ``[n_queries, n_docs]``.

    Give the documents, or their :func:`inverted_index` to save sorting them anew at every call.

    Raises:
        ValueError: neither or both given, or another number of columns.
    """
    if (documents is None) == (index is None):
        raise ValueError("give either documents or their index")
    index = inverted_index(documents) if index is None else index
    if queries.shape[1] != index.shape[0]:
        raise ValueError(
            f"queries have {queries.shape[1]} columns, documents {index.shape[0]}: classes on one side only?"
        )
    return (queries @ index).toarray()


def search(queries: csr_array, index: csr_array, k: int = 10) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per query the numbers of its k best documents and their scores, best first; only documents that match.

    Equal scores are put in the order of the documents' numbers. A query without a match finds nothing.

    Raises:
        ValueError: ``k < 1``, or shapes that do not fit.
    """
    k = gates.whole(k, "k")
    if queries.shape[1] != index.shape[0]:
        raise ValueError(f"queries have {queries.shape[1]} columns, the index has {index.shape[0]}")
    found = csr_array(queries @ index)
    result = []
    for row in range(queries.shape[0]):
        part = slice(found.indptr[row], found.indptr[row + 1])
        documents, values = found.indices[part], found.data[part]
        matched = np.flatnonzero(values > 0)
        best = matched[np.lexsort((documents[matched], -values[matched]))[:k]]
        result.append((documents[best].astype(np.int64), values[best]))
    return result


class Match(NamedTuple):
    """One token's part in a score: ``product = query weight × document weight``."""

    column: int
    token: str
    query_weight: float
    document_weight: float
    product: float


def explain(query: csr_array, document: csr_array, names: Sequence[str] | None = None) -> list[Match]:
    """The tokens on which a query and a document meet, largest product first; the products add up to the score.

    Args:
        query, document: one row each, ``queries[[i]]`` and ``documents[[j]]``.
        names: per column how to write it, e.g. :func:`course_utils.measures.alignment.readable` of all tokens.

    Raises:
        ValueError: not one row each, or another number of columns.
    """
    if query.shape[0] != 1 or document.shape[0] != 1 or query.shape != document.shape:
        raise ValueError(f"one query and one document with the same columns; got {query.shape} and {document.shape}")
    q, d = (dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) for row in (query, document))
    matches = [
        Match(column, str(column) if names is None else names[column], q[column], d[column], q[column] * d[column])
        for column in q.keys() & d.keys()
    ]
    return sorted(matches, key=lambda match: (-match.product, match.column))


# --- Rows and weights ------------------------------------------------------------------------------


def rows(vectors: csr_array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns and weights of every row of ``vectors [n, C]``, without stored zeros."""
    for start, end in zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True):
        columns, weights = vectors.indices[start:end], vectors.data[start:end]
        yield columns[weights != 0], weights[weights != 0]


def checked(vectors: csr_array, name: str, positive: bool = False) -> csr_array:
    """The vectors in canonical form: every column once per row, in order; the caller's own are left as they are.

    Raises:
        ValueError: no numbers, a weight that float32 cannot hold (NaN, infinite, too large, or a whole number beyond
            2²⁴, from where on float32 leaves some out), or with ``positive`` a negative one (with its row).
    """
    if not issparse(vectors):
        vectors = gates.matrix(vectors, name, "[n, C]", dtype=np.float64, whole=True)
    vectors = csr_array(vectors)
    if vectors.dtype.kind not in "iuf":
        raise ValueError(f"{name} must hold numbers; got {vectors.dtype}: write {name}.astype('float32')")
    if not vectors.has_canonical_format:  # every token once per row, in order; not in the caller's own arrays
        vectors = vectors.copy()
        vectors.sum_duplicates()
    largest = gates.LARGEST if vectors.dtype.kind == "f" else 2**24
    wrong = ~((-largest <= vectors.data) & (vectors.data <= largest))
    if positive:
        wrong |= vectors.data < 0
    if wrong.any():
        place = int(np.argmax(wrong))
        row = int(np.searchsorted(vectors.indptr, place, side="right")) - 1
        rule = "finite and not negative: leave such weights out" if positive else "finite: leave such weights out"
        raise ValueError(
            f"{name}: row {row} holds the weight {vectors.data[place]}; weights must be {rule}"
            f" (the largest that fits is {largest:.9g})"
        )
    return vectors


def exportable(
    documents: csr_array, ids: Sequence[str], positive: bool = True, empty: bool = False
) -> tuple[csr_array, list[str]]:
    """Documents and ids that an engine can take; without ``empty`` it refuses documents that it would never find.

    Raises:
        ValueError: as :func:`checked`, :func:`course_utils.gates.identifiers`; or a document without tokens.
    """
    documents = checked(documents, "documents", positive)
    ids = gates.identifiers(ids, documents.shape[0])
    without = [] if empty else [key for key, (columns, _) in zip(ids, rows(documents), strict=True) if not len(columns)]
    if without:
        said = f"{len(without)} of {len(ids)} documents have no token, for instance {without[0]!r}"
        raise ValueError(f"{said}; no query finds them: leave them out")
    return documents, ids


# --- Inside ---------------------------------------------------------------------------------------


def unit_rows(vectors: csr_array) -> csr_array:
    """Scale every row to length 1; an empty row stays empty."""
    lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1), dtype=np.float64)).ravel()
    return _scaled_rows(vectors, np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0))


class _Classes:
    """From tokens to columns: every token its own, or one for each class."""

    def __init__(self, classes: np.ndarray | None, size: int):
        self.classes, self.n = classes, size
        if classes is None:
            return
        classes = gates.numbers(classes, "classes")
        if classes.shape != (size,) or classes.dtype.kind not in "iu" or classes.min() < 0:
            raise ValueError(f"classes must be {size} numbers from 0 on, one per token; got shape {classes.shape}")
        self.n = int(classes.max()) + 1
        self._order = np.argsort(classes, kind="stable")
        self._starts = np.searchsorted(classes[self._order], np.arange(self.n))
        if len(np.unique(classes)) < self.n:
            raise ValueError("classes must be numbered without gaps")

    def of(self, ids: np.ndarray) -> np.ndarray:
        return ids if self.classes is None else self.classes[ids]

    def largest(self, logits: np.ndarray) -> np.ndarray:
        return logits if self.classes is None else np.maximum.reduceat(logits[:, self._order], self._starts, axis=1)


def _kept(logits: np.ndarray, k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the k largest positive logits of one row; of equal ones the first."""
    if k is None or k >= len(logits):
        columns = np.flatnonzero(logits > 0)
        return columns, logits[columns]
    smallest = np.partition(logits, -k)[-k]
    columns = np.flatnonzero(logits > max(smallest, 0))
    if smallest > 0:
        columns = np.sort(np.concatenate([columns, np.flatnonzero(logits == smallest)[: k - len(columns)]]))
    return columns, logits[columns]


def _stacked(rows: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> csr_array:
    ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([c for c, _ in rows]) if rows else np.empty(0)
    values = np.concatenate([v for _, v in rows]) if rows else np.empty(0)
    return csr_array((values.astype(np.float32), columns.astype(np.int32), ends.astype(np.int32)), (len(rows), width))


def _scaled_rows(vectors: csr_array, factors: np.ndarray) -> csr_array:
    data = vectors.data * np.repeat(factors, np.diff(vectors.indptr)).astype(np.float32)
    return csr_array((data, vectors.indices, vectors.indptr), vectors.shape)


def _chunks(embeddings: np.ndarray | Iterable[np.ndarray], size: int, width: int) -> Iterator[np.ndarray]:
    rows, done = max(1, CHUNK_BYTES // (4 * size)), 0
    for part in [embeddings] if hasattr(embeddings, "shape") else embeddings:
        part = gates.matrix(part, what=f"[n, {width}], as the unembedding", first_row=done)
        if part.shape[1] != width:
            raise ValueError(f"embeddings must be [n, {width}], as the unembedding; got {part.shape}")
        yield from (part[start : start + rows] for start in range(0, len(part), rows))
        done += len(part)


def _without(chunk: np.ndarray, direction: np.ndarray | None, share: float) -> np.ndarray:
    if direction is None:
        return chunk
    u = gates.vector(direction, "direction")
    if u.shape != chunk.shape[1:] or abs(np.linalg.norm(u) - 1) > 1e-4:
        raise ValueError(f"direction must be a unit vector [{chunk.shape[1]}]; got shape {u.shape}")
    return (chunk - share * np.outer(chunk @ u, u)).astype(np.float32)


def _masked(logits: np.ndarray, only: Sequence[np.ndarray], first_row: int) -> np.ndarray:
    if len(only) < first_row + len(logits):
        raise ValueError(f"only has token ids for {len(only)} documents; there are more")
    result = np.full_like(logits, -np.inf)
    for row, ids in enumerate(only[first_row : first_row + len(logits)]):
        ids = gates.token_ids(ids, logits.shape[1], f"only[{first_row + row}]")
        result[row, ids] = logits[row, ids]
    return result
