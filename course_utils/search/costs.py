"""Costs of a search: multiply-adds, bytes and milliseconds, for dense vectors and for postings.

Who pays what:

* *dense cosine*: every document and every query goes through the encoder once; a query is then compared with all
  N documents, ``N · d`` multiply-adds, because every document has a number in every dimension;
* *aligned tokens*: every document goes through the encoder and the output layer (``V · d``) once. A query is its own
  tokens, looked up without any model (M = 0), or is encoded and decoded as well (M > 0). Only the postings of
  its tokens are read, one multiply-add each;
* *BM25*: no model on either side; postings as above.

Additions to a score count as multiply-adds; choosing the first ten, and norms and activations of the encoder, do
not count: they are small beside the matrix products. Measured times of :func:`measure_search` contain the choice
of the first ten, but neither the encoder nor the tokenizer.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csc_array, csr_array

from course_utils import gates

#: A posting is a document's number (int32) and its weight (float32); a dense number is a float32.
POSTING_BYTES, DENSE_BYTES = 8, 4
#: Numbers of documents of :func:`measure_search`.
SIZES = (10**3, 10**4, 10**5, 10**6)
#: What the measurement lays out at once, in bytes: a block of dense vectors, and the postings read of one method.
BLOCK_BYTES, POSTINGS_BYTES = 10**9, 5 * 10**8
#: Scores from which :func:`best` takes one maximum each.
_BLOCK = 1000


# --- The encoder ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoder:
    """The multiply-adds of a transformer, counted from its weights.

    Attributes:
        per_token: those of all its linear layers, for one token: one for every weight.
        per_pair: those of attention for one pair of tokens, all layers and heads: one product of query and key,
            one of attention weight and value, each of the head's width.
        output_layer: those of ``E_g h``: V · d.
        width: d.
        causal: whether a token attends only to itself and the tokens before it.
    """

    per_token: int
    per_pair: int
    output_layer: int
    width: int
    causal: bool = True

    def forward(self, tokens: int) -> int:
        """Multiply-adds to encode one text of so many tokens: ``n · per_token + pairs · per_pair``."""
        if tokens < 0:
            raise ValueError(f"a text cannot have {tokens} tokens")
        pairs = tokens * (tokens + 1) // 2 if self.causal else tokens**2
        return tokens * self.per_token + pairs * self.per_pair


def encoder_costs(backbone, causal: bool = True) -> Encoder:
    """Count a backbone's multiply-adds (:class:`course_utils.models.embedder.Backbone`).

    The embedding table is only looked up. A LoRA adapter is not counted: it can be merged into the weights
    (Hu et al. 2022, "LoRA"), after which it costs nothing.
    """
    from torch.nn import Linear

    config, (size, width) = backbone.causal.config, backbone.unembedding.shape
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layers = [m for name, m in backbone.transformer.named_modules() if isinstance(m, Linear) and "lora_" not in name]
    return Encoder(
        per_token=sum(layer.weight.numel() for layer in layers),
        per_pair=2 * config.num_hidden_layers * config.num_attention_heads * head,
        output_layer=size * width,
        width=width,
        causal=causal,
    )


# --- Accounts -------------------------------------------------------------------------------------


class SparseMethod(NamedTuple):
    """A way to search by shared terms.

    Attributes:
        documents: csr ``[n, C]``, real vectors.
        queries: csr ``[n_queries, C]``.
        query_model: whether a query goes through encoder and output layer (M > 0).
        document_model: whether a document does; not for BM25.
    """

    documents: csr_array
    queries: csr_array
    query_model: bool = False
    document_model: bool = True


def bm25_method(retriever, queries: Sequence[Sequence[str]]) -> SparseMethod:
    """The score matrix of an indexed ``bm25s.BM25`` as a :class:`SparseMethod`, which adds up the same scores.

    bm25s computes what a term adds to a document's score when it indexes (Lù 2024, "BM25S"), so a query only sums.

    Args:
        retriever: after ``index``; of a variant in which a missing term adds nothing, such as ``lucene``.
        queries: per query its terms (stems), as ``bm25s.tokenize(..., return_ids=False)`` gives them; one that
            occurs twice counts twice.

    Raises:
        ValueError: a variant in which missing terms add something.
    """
    if getattr(retriever, "nonoccurrence_array", None) is not None:
        raise ValueError(f"in the BM25 variant {retriever.method!r} missing terms add to a score; use 'lucene'")
    scores, vocabulary = retriever.scores, retriever.vocab_dict
    width = len(scores["indptr"]) - 1
    by_term = csc_array((scores["data"], scores["indices"], scores["indptr"]), shape=(scores["num_docs"], width))
    columns = [[vocabulary[term] for term in terms if term in vocabulary] for terms in queries]
    ends = np.cumsum([0, *map(len, columns)])
    flat = np.array([c for row in columns for c in row], dtype=np.int32)
    counts = csr_array((np.ones(len(flat), dtype=np.float32), flat, ends), shape=(len(queries), width))
    counts.sum_duplicates()
    return SparseMethod(csr_array(by_term), counts, document_model=False)


def postings_read(documents: csr_array, queries: csr_array) -> np.ndarray:
    """How many postings every query reads, int64 ``[n_queries]``: the sum of its tokens' document frequencies.

    Raises:
        ValueError: other numbers of columns.
    """
    if documents.shape[1] != queries.shape[1]:
        raise ValueError(f"documents have {documents.shape[1]} columns, queries {queries.shape[1]}")
    frequency = np.bincount(documents.indices, minlength=documents.shape[1])
    asked = csr_array((np.ones_like(queries.data, dtype=np.int64), queries.indices, queries.indptr), queries.shape)
    return asked @ frequency


def cost_table(
    encoder: Encoder,
    n_documents: int,
    query_lengths: Sequence[int],
    document_lengths: Sequence[int],
    methods: Mapping[str, SparseMethod],
) -> pd.DataFrame:
    """Multiply-adds per query and per document, and bytes per document, for a collection of any size.

    Args:
        encoder: from :func:`encoder_costs`.
        n_documents: size of the collection; postings per query grow in proportion.
        query_lengths, document_lengths: tokens of every text, as the encoder reads them; the means are charged.
        methods: the sparse methods by name; a first row ``dense cosine`` is added.

    Returns:
        One row per method and the columns ``query: model``, ``query: scoring``, ``query: total``, ``document: model``
        (multiply-adds, means, float64) and ``document: bytes``.

    Raises:
        ValueError: no lengths, fewer than one document, a method without documents or queries.
    """
    if n_documents < 1 or not len(query_lengths) or not len(document_lengths):
        raise ValueError(
            f"need at least one document and lengths of both sides; got {n_documents} documents, "
            f"{len(query_lengths)} and {len(document_lengths)} lengths"
        )
    query, document = (
        float(np.mean([encoder.forward(int(n)) for n in lengths])) for lengths in (query_lengths, document_lengths)
    )
    dense = (query, float(n_documents * encoder.width), document, float(DENSE_BYTES * encoder.width))
    rows = {"dense cosine": dense}
    for name, method in methods.items():
        if not method.documents.shape[0] or not method.queries.shape[0]:
            raise ValueError(f"{name}: needs documents and queries; got {method.documents.shape[0]} documents")
        read = float(postings_read(method.documents, method.queries).mean())
        rows[name] = (
            (query + encoder.output_layer) * method.query_model,
            read / method.documents.shape[0] * n_documents,
            (document + encoder.output_layer) * method.document_model,
            POSTING_BYTES * method.documents.nnz / method.documents.shape[0],
        )
    columns = ["query: model", "query: scoring", "document: model", "document: bytes"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.insert(2, "query: total", table["query: model"] + table["query: scoring"])
    return table


def size_from(
    encoder: Encoder, query_lengths: Sequence[int], read: float, query_model: bool, share: float = 1.0
) -> float:
    """The number of documents from which on a query costs at most a ``share`` of the multiply-adds of a dense cosine.

    Dense: ``model + N · d``. Postings: ``N · read``, and ``model + V · d`` more where the query is decoded. So
    ``N = (own − share · model) / (share · d − read)`` with ``own`` the sparse query's model and output layer, or 0.

    Args:
        query_lengths: tokens of the queries; the mean is charged.
        read: postings read per query *and document*: ``postings_read(…).mean() / n_documents``.
        query_model: whether a query goes through encoder and output layer (M > 0).

    Returns:
        1 where already one document is enough.

    Raises:
        ValueError: no lengths, or a share that no size reaches because the postings alone cost more of the scan.
    """
    if not len(query_lengths):
        raise ValueError("need the length of at least one query")
    if not 0 <= read < share * encoder.width:
        raise ValueError(
            f"{read:g} postings read per document are not below {share:g} of the {encoder.width} of a scan"
        )
    model = float(np.mean([encoder.forward(int(n)) for n in query_lengths]))
    own = (model + encoder.output_layer) * query_model
    return max(1.0, float(np.ceil((own - share * model) / (share * encoder.width - read))))


# --- One query, as plainly as it goes -------------------------------------------------------------


def read_postings(index: csr_array, tokens: Sequence[int], weights: Sequence[float]) -> np.ndarray:
    """Scores of all documents for one query, float32 ``[n_docs]``; only the query's postings are read.

    The rows of the index that belong to the query's tokens are cut out, one after the other as they lie in memory,
    and every posting adds ``weight of the token · weight in the document`` to its document's score. A loop over the
    tokens with ``scores[documents] += weight * weights`` does the same, but needs a temporary array for each step.

    Args:
        index: ``[C, n_docs]``, from :func:`course_utils.search.sparse.inverted_index`; row t: the postings of token t.
        tokens, weights: the query's tokens and their weights.
    """
    postings = index[np.asarray(tokens, dtype=np.int64)]
    return postings.T @ np.asarray(weights, dtype=np.float32)


def best(scores: np.ndarray, k: int = 10, above: float = -np.inf) -> np.ndarray:
    """Numbers of the k documents with the largest scores, best first; equal ones in the order of their numbers.

    Sorting a million scores takes longer than adding them up. Of the maxima of blocks of 1 000, the k-th
    largest is a bound that at least k scores reach; only what reaches it is sorted.

    Args:
        scores: ``[n_docs]``.
        k: how many at most.
        above: only scores larger than this; 0 where a document without a shared token scores 0.

    Raises:
        ValueError: ``k < 1``.
    """
    k = gates.whole(k, "k")
    bound = above
    if len(scores) > k * _BLOCK:
        maxima = np.maximum.reduceat(scores, np.arange(0, len(scores), _BLOCK))
        bound = max(above, np.partition(maxima, -k)[-k])
    reached = np.flatnonzero(scores >= bound if bound > above else scores > above)
    return reached[np.lexsort((reached, -scores[reached]))[:k]]


# --- Milliseconds ---------------------------------------------------------------------------------


def milliseconds(ask: Callable[[str], object], queries: Sequence[str]) -> float:
    """The median time of one call of ``ask``, over the queries; the first is asked once more, to warm up.

    Raises:
        ValueError: no query.
    """
    if not len(queries):
        raise ValueError("need at least one query to measure")
    times = []
    for query in [queries[0], *queries]:
        started = time.perf_counter()
        ask(query)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[1:]))


def measure_search(
    embeddings: np.ndarray,
    query_embeddings: np.ndarray,
    methods: Mapping[str, SparseMethod],
    *,
    sizes: Sequence[int] = SIZES,
    n_queries: int = 10,
    repeats: int = 3,
    k: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Milliseconds from a query's vector to its k best documents, for growing collections, all in one run.

    The collections are real vectors, drawn with replacement: their sparsity and document frequencies stay as
    they are, their number grows. One query at a time; methods take turns query by query, so that a disturbance of
    the machine hits them alike; of several repeats the fastest counts. Two things are not laid out in full, and
    cost the same without:

    * dense vectors: at most :data:`BLOCK_BYTES` of them, read again and again until N rows are multiplied. That is
      more than a processor's cache holds, so every row comes from memory, as it would in one large matrix;
    * postings: only those of tokens that the measured queries ask for; the others would not be read. The bytes in
      the table are those of the full index.

    The matrix product may use all threads that NumPy has, the postings are read by one.

    Args:
        embeddings: float ``[n, d]``, the documents.
        query_embeddings: float ``[n_queries, d]``.
        methods: sparse methods by name; their queries in the same order as ``query_embeddings``.
        sizes: numbers of documents.
        n_queries: the first so many are measured.
        repeats: times that every query is asked.
        k: documents to find.
        seed: of the drawing.

    Returns:
        One row per size and method: ``documents``, ``method``, ``ms`` (median over queries), ``slowest ms``,
        ``multiply-adds`` (mean, scoring only), ``bytes`` of the full index.

    Raises:
        ValueError: numbers of queries that differ, nothing to measure, or postings that exceed :data:`POSTINGS_BYTES`.
    """
    n_queries = _check_measurement(embeddings, query_embeddings, methods, sizes, n_queries, repeats)
    rng = np.random.default_rng(seed)
    dense_queries = np.ascontiguousarray(query_embeddings[:n_queries], dtype=np.float32)
    rows = []
    for size in sizes:
        # One drawing for each number of documents: the same documents for all methods where they have the same rows.
        drawn = {
            n: rng.integers(n, size=size) for n in {len(embeddings), *(m.documents.shape[0] for m in methods.values())}
        }
        searches = {"dense cosine": _dense_search(embeddings, dense_queries, drawn[len(embeddings)], k)}
        indexes: dict[int, tuple] = {}
        for name, method in methods.items():
            searches[name] = _postings_search(name, method, methods, n_queries, drawn, indexes, k)
        rows += _take_turns(searches, size, n_queries, repeats)
    return pd.DataFrame(rows, columns=["documents", "method", "ms", "slowest ms", "multiply-adds", "bytes"])


class _Search(NamedTuple):
    ask: Callable[[int], np.ndarray]  # number of the query -> documents found
    multiply_adds: float
    index_bytes: float


def _dense_search(embeddings: np.ndarray, queries: np.ndarray, drawn: np.ndarray, k: int) -> _Search:
    n, width = len(drawn), embeddings.shape[1]
    rows = min(n, BLOCK_BYTES // (DENSE_BYTES * width))
    block = np.empty((rows, width), dtype=np.float32)
    # Without mode="clip" NumPy would make a second block first; the numbers drawn are all in range.
    np.take(np.asarray(embeddings, dtype=np.float32), drawn[:rows], axis=0, out=block, mode="clip")
    scores = np.empty(n, dtype=np.float32)

    def ask(query: int) -> np.ndarray:
        for start in range(0, n, rows):
            part = scores[start : start + rows]
            np.matmul(block[: len(part)], queries[query], out=part)
        return best(scores, k)

    return _Search(ask, float(n * width), float(DENSE_BYTES * n * width))


def _postings_search(name, method, methods, n_queries, drawn, indexes, k) -> _Search:
    documents, queries = method.documents, csr_array(method.queries[:n_queries])
    if id(documents) not in indexes:  # several ways to ask may share their documents
        asked = [csr_array(m.queries[:n_queries]).indices for m in methods.values() if m.documents is documents]
        columns = np.unique(np.concatenate(asked))
        indexes[id(documents)] = columns, _resampled(name, documents, columns, drawn[documents.shape[0]])
    columns, index = indexes[id(documents)]
    terms = [(np.searchsorted(columns, tokens), weights) for tokens, weights in _query_rows(queries)]
    read = [int((index.indptr[tokens + 1] - index.indptr[tokens]).sum()) for tokens, _ in terms]

    def ask(query: int) -> np.ndarray:
        return best(read_postings(index, *terms[query]), k, above=0)

    whole = POSTING_BYTES * documents.nnz / documents.shape[0] * index.shape[1]
    return _Search(ask, float(np.mean(read)), whole)


def _resampled(name: str, documents: csr_array, columns: np.ndarray, drawn: np.ndarray) -> csr_array:
    """Postings of the given columns in a collection of drawn rows, ``[len(columns), len(drawn)]``."""
    part = csr_array(documents[:, columns])
    needed = POSTING_BYTES * part.nnz / documents.shape[0] * len(drawn)
    if needed > POSTINGS_BYTES:
        raise ValueError(
            f"{name}: the queries' postings in {len(drawn)} documents take {needed / 1e9:.1f} GB; measure fewer "
            f"queries, a smaller K, or at most {int(len(drawn) * POSTINGS_BYTES / needed)} documents"
        )
    index = csr_array(part[drawn].T.tocsr())
    index.sort_indices()
    return index


def _query_rows(queries: csr_array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start, end in zip(queries.indptr[:-1], queries.indptr[1:], strict=True):
        yield queries.indices[start:end], queries.data[start:end].astype(np.float32)


def _take_turns(searches: Mapping[str, _Search], size: int, n_queries: int, repeats: int) -> list[tuple]:
    fastest = {name: np.full(n_queries, np.inf) for name in searches}
    names = list(searches)
    for repeat in range(repeats):
        for query in range(n_queries):
            # Another one begins each time: who comes after the dense scan finds the processor's cache full of it.
            first = (repeat + query) % len(names)
            for name in names[first:] + names[:first]:
                started = time.perf_counter()
                searches[name].ask(query)
                fastest[name][query] = min(fastest[name][query], 1000 * (time.perf_counter() - started))
    return [
        (size, name, float(np.median(fastest[name])), float(fastest[name].max()), s.multiply_adds, s.index_bytes)
        for name, s in searches.items()
    ]


def _check_measurement(embeddings, query_embeddings, methods, sizes, n_queries, repeats) -> int:
    counts = {"dense cosine": len(query_embeddings)} | {n: m.queries.shape[0] for n, m in methods.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"every method must be given the same queries; got {counts}")
    n_queries = min(n_queries, len(query_embeddings))
    if n_queries < 1 or repeats < 1 or not len(sizes) or min(sizes) < 1 or not len(embeddings):
        raise ValueError(
            f"nothing to measure: {len(embeddings)} documents, {n_queries} queries, repeats={repeats}, "
            f"sizes={list(sizes)}"
        )
    if "dense cosine" in methods:
        raise ValueError("the name 'dense cosine' is taken by the dense vectors; call the sparse method otherwise")
    return n_queries
