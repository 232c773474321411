"""Engines: sparse vectors as files that a search engine reads, and in an engine at work.

The score of a query q and a document d is ``Σ_t q_t d_t`` over the tokens t, so any engine
that keeps an inverted index of weighted terms can serve aligned tokens. Three doors:

* :func:`write_anserini` and :func:`read_anserini`: one JSON object per line, as Anserini's
  ``JsonVectorCollection`` reads it (and Pyserini, which wraps it);
* :func:`qdrant_index` and :func:`qdrant_search`: the vector database Qdrant, inside this
  process or on a server;
* :func:`seismic_index` and :func:`seismic_search`: an inverted index for learned sparse vectors
  that skips blocks of postings (Bruch, Nardini, Rulli and Venturini 2024, "Efficient Inverted
  Indexes for Approximate Retrieval over Learned Sparse Representations").

Documents and queries are rows of a ``scipy.sparse.csr_array`` with C columns, as
:mod:`course_utils.search.sparse` makes them; results are runs, ``query id -> document id -> score``,
best first. Documents that share no token with a query are not in its run.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.measures.evaluation import Run
from course_utils.search import sparse

#: Points sent to Qdrant at once, and queries asked at once.
BATCH = 256
#: Collection and vector as Qdrant knows them.
COLLECTION, VECTOR = "documents", "aligned_tokens"
#: A server without its scheme: a name, an address, or an IPv6 address in brackets, and its port.
_HOST_AND_PORT = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}/?", re.ASCII)
#: Columns that Seismic numbers in 16 bits; larger vocabularies take its variant with wider numbers.
_SEISMIC_COLUMNS = 2**16 - 1


# --- Qdrant ---------------------------------------------------------------------------------------


def qdrant_client(location: str | Path = ":memory:", **options):
    """A Qdrant client: in this process (``":memory:"``, or a folder that keeps the index) or of a server (its URL).

    The embedded mode compares a query with every point in plain Python: the same results as the server's, for
    trying out, not for speed. ``options`` go to ``qdrant_client.QdrantClient``, for instance ``api_key=``.

    Args:
        location: ``":memory:"``; a server's address, ``HOST:PORT`` or a URL; or a folder (``~`` is expanded).

    Raises:
        ModuleNotFoundError: the package is missing; the message says how to install it.
        TypeError, ValueError, FileNotFoundError: no address and no folder, or another client holds the folder.
    """
    _require("qdrant_client", "qdrant-client", "'.'")
    from qdrant_client import QdrantClient

    if location == ":memory:":
        return QdrantClient(location, **options)
    folder, text = gates.expanded(location, "location"), str(location).strip()
    if text.lower().startswith(("http://", "https://")):
        return QdrantClient(url=text, **options)
    if "://" in text:
        raise ValueError(f"location {text!r}: a server is asked by http:// or https://")
    if isinstance(location, str) and _HOST_AND_PORT.fullmatch(text):
        return QdrantClient(url=f"http://{text}", **options)
    if gates.is_file(folder):
        raise FileNotFoundError(f"{folder} is a file, not a folder; give the name of a folder")
    try:
        return QdrantClient(path=str(folder), **options)
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise ValueError(
            f"{folder} is held by another client, of this notebook or of another whose kernel still runs: call its "
            "close(), restart that kernel, or choose another folder"
        ) from error


def qdrant_index(
    client,
    documents: csr_array,
    ids: Sequence[str],
    *,
    collection: str = COLLECTION,
    vector: str = VECTOR,
    replace: bool = False,
    empty: bool = False,
) -> None:
    """Make a collection with one named sparse vector per document; a point's number is its row, its payload the id.

    Args:
        client: from :func:`qdrant_client`.
        documents: ``[n, C]``; weights are stored as float32.
        ids: one per document, all different.
        collection, vector: names, so that several can live side by side.
        replace: delete a collection of this name first.
        empty: keep a document without tokens, as a point that no query finds.

    Raises:
        ValueError: the collection exists, lengths that do not fit, an id that occurs twice, NaN or infinity, or a
            document without tokens.
    """
    from qdrant_client import models

    documents, ids = sparse.exportable(documents, ids, positive=False, empty=empty)
    if client.collection_exists(collection):
        if not replace:
            raise ValueError(f"there is a collection {collection!r} already; choose another name or say replace=True")
        client.delete_collection(collection)
    client.create_collection(collection, vectors_config={}, sparse_vectors_config={vector: models.SparseVectorParams()})
    points = (
        models.PointStruct(id=row, payload={"id": ids[row]}, vector={vector: sparse_vector(columns, weights)})
        for row, (columns, weights) in enumerate(sparse.rows(documents))
    )
    client.upload_points(collection, points, batch_size=BATCH, wait=True)


def qdrant_search(
    client,
    queries: csr_array,
    query_ids: Sequence[str],
    k: int = 100,
    *,
    collection: str = COLLECTION,
    vector: str = VECTOR,
) -> Run:
    """The k best documents of every query by the sum of products over shared tokens.

    Qdrant computes in float32: scores agree with the products of the arrays up to rounding. Equal scores are put in
    the order of the document ids here, but which of several equal documents take the last places of k is the
    engine's choice. A query without tokens finds nothing.

    Raises:
        ValueError: ``k < 1``, lengths that do not fit, an id that occurs twice, no such collection.
    """
    from qdrant_client import models

    queries = sparse.checked(queries, "queries")
    query_ids = _checked_ids(queries, query_ids, k)
    if not client.collection_exists(collection):
        raise ValueError(f"there is no collection {collection!r}; index the documents first")
    asked = [(q, columns, weights) for q, (columns, weights) in enumerate(sparse.rows(queries)) if len(columns)]
    found: dict[str, dict[str, float]] = {query: {} for query in query_ids}
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        requests = [
            models.QueryRequest(query=sparse_vector(columns, weights), using=vector, limit=k, with_payload=True)
            for _, columns, weights in batch
        ]
        answers = client.query_batch_points(collection, requests)
        for (q, _, _), answer in zip(batch, answers, strict=True):
            found[query_ids[q]] = _best_first({point.payload["id"]: float(point.score) for point in answer.points})
    return found


def sparse_vector(columns: np.ndarray, weights: np.ndarray):
    """One row of a sparse array as Qdrant takes it, weights float32."""
    from qdrant_client import models

    return models.SparseVector(indices=columns.tolist(), values=weights.astype(np.float32).tolist())


# --- Seismic (optional) ---------------------------------------------------------------------------


def seismic_index(documents: csr_array, ids: Sequence[str], *, empty: bool = False, **options):
    """A Seismic index of the documents. It prints what it does.

    Approximate in two ways: it keeps at most ``n_postings · max_fraction`` documents per list (those with the largest
    weights), and weights have 16 bits, that is a relative error of at most 2⁻¹¹ (0.05 %).

    Args:
        documents: ``[n, C]``, no negative weights.
        ids: one per document, all different.
        empty: keep documents without tokens, which no query finds.
        options: as ``seismic.SeismicIndex.build_from_dataset`` takes them, e.g. ``n_postings``.

    Raises:
        ModuleNotFoundError: the package is missing; the message says how to install it.
        ValueError: lengths that do not fit, an id that occurs twice, a weight that is negative or not finite, or a
            document without tokens.
    """
    _require("seismic", "pyseismic-lsr", "'.[engines]'")
    import seismic

    documents, ids = sparse.exportable(documents, ids, empty=empty)
    large = documents.shape[1] > _SEISMIC_COLUMNS
    dataset = seismic.SeismicDatasetLV() if large else seismic.SeismicDataset()
    for key, (columns, weights) in zip(ids, sparse.rows(documents), strict=True):
        # Column numbers instead of token strings: the library cuts strings to a fixed width.
        dataset.add_document(key, columns.astype(seismic.get_seismic_string()), weights.astype(np.float32))
    builder = seismic.SeismicIndexLV if large else seismic.SeismicIndex
    return builder.build_from_dataset(dataset, **options)


def seismic_search(
    index, queries: csr_array, query_ids: Sequence[str], k: int = 100, *, query_cut: int | None = None,
    heap_factor: float = 0.0,
) -> Run:  # fmt: skip
    """The k best documents of every query.

    Args:
        index: from :func:`seismic_index`.
        queries: ``[n, C]``.
        query_ids: one per query, all different.
        k: documents per query.
        query_cut: look only at the lists of this many heaviest tokens; None looks at all.
        heap_factor: blocks of postings whose summary stays below ``heap_factor`` times the k-th best score so far are
            skipped: 0 skips nothing, 1 skips most.

    Raises:
        ValueError: ``k < 1``, lengths that do not fit, an id that occurs twice.
    """
    import seismic

    queries = sparse.checked(queries, "queries")
    query_ids = _checked_ids(queries, query_ids, k)
    found: dict[str, dict[str, float]] = {}
    for query, (columns, weights) in zip(query_ids, sparse.rows(queries), strict=True):
        found[query] = {}
        if len(columns):
            terms = columns.astype(seismic.get_seismic_string())
            cut = len(columns) if query_cut is None else query_cut
            answer = index.search(query, terms, weights.astype(np.float32), k, cut, heap_factor)
            found[query] = _best_first({document: float(score) for _, score, document in answer if score > 0})
    return found


# --- Comparing ------------------------------------------------------------------------------------


def array_run(
    documents: csr_array, queries: csr_array, ids: Sequence[str], query_ids: Sequence[str], k: int = 100
) -> Run:
    """What the arrays say: the k best documents of every query by :func:`course_utils.search.sparse.search`."""
    found = sparse.search(queries, sparse.inverted_index(documents), k)
    return {q: {ids[d]: float(s) for d, s in zip(*hits, strict=True)} for q, hits in zip(query_ids, found, strict=True)}


class Agreement(NamedTuple):
    """How far two runs agree on their first k documents.

    Attributes:
        overlap: mean share of the first k documents of ``expected`` that ``run`` has among its first k.
        score_error: the largest difference of a shared document's scores, over the larger of the two.
    """

    overlap: float
    score_error: float


def agreement(run: Run, expected: Run, k: int = 10) -> Agreement:
    """Compare an engine's run with the one computed from the arrays.

    Documents that tie with the k-th expected score may replace each other. Queries for which ``expected`` has no
    document count as agreed when ``run`` has none either.

    Raises:
        ValueError: other queries in one of the two, no query, or ``k < 1``.
    """
    if not isinstance(run, Mapping) or not isinstance(expected, Mapping):
        kinds = " and ".join(type(r).__name__ for r in (run, expected))
        raise TypeError(f"a run maps query ids to the scores of documents; got {kinds}")
    if run.keys() != expected.keys() or not run:
        raise ValueError(f"the runs hold {len(run)} and {len(expected)} queries; they must be the same, at least one")
    k = gates.whole(k, "k")
    shares, errors = [], [0.0]
    for query, wanted in expected.items():
        wanted, got = _best_first(wanted), _best_first(run[query])
        first = list(wanted)[:k]
        if not first:
            shares.append(float(not got))
            continue
        allowed = {document for document, score in wanted.items() if score >= wanted[first[-1]]}
        shares.append(len(allowed & set(list(got)[:k])) / len(first))
        errors += [_relative(got[document], wanted[document]) for document in got.keys() & wanted.keys()]
    return Agreement(float(np.mean(shares)), max(errors))


def _relative(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))


def _best_first(scores: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


# --- Checks ---------------------------------------------------------------------------------------


def _checked_ids(queries: csr_array, query_ids: Sequence[str], k: int) -> list[str]:
    gates.whole(k, "k")
    return gates.identifiers(query_ids, queries.shape[0], "query_ids")


def _require(module: str, package: str, what: str) -> None:
    if find_spec(module) is None:
        raise ModuleNotFoundError(
            f"this needs the package {package}: run pip install {what} in the folder of the course"
        )
