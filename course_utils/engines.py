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
:mod:`course_utils.sparse` makes them; results are runs, ``query id -> document id -> score``,
best first. Documents that share no token with a query are not in its run.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from course_utils.evaluation import Run

#: Points sent to Qdrant at once, and queries asked at once.
BATCH = 256
#: Collection and vector as Qdrant knows them.
COLLECTION, VECTOR = "documents", "aligned_tokens"
#: Columns that Seismic numbers in 16 bits; larger vocabularies take its variant with wider numbers.
_SEISMIC_COLUMNS = 2**16 - 1
#: The largest weight that float32 holds.
_LARGEST = float(np.finfo(np.float32).max)


# --- Names of tokens ------------------------------------------------------------------------------


def token_strings(tokenizer, vocabulary_size: int, classes: np.ndarray | None = None) -> list[str]:
    """A distinct string without white space for every column, C strings.

    It is the tokenizer's own spelling of the token (``Ġgame``, ``▁game``, ``<0x0A>``): decoded text would not do,
    because pieces of a character all decode to the same replacement sign. White space and backslashes are
    written as ``\\uXXXX``, since engines cut at white space; a row that belongs to no token is ``<unused-ID>``.

    Args:
        tokenizer: a Hugging Face tokenizer.
        vocabulary_size: rows of ``E_g``; may exceed the tokenizer's length.
        classes: int ``[V]``: tokens of one class share a column, which is named after the first of them.

    Raises:
        ValueError: two columns would have the same name.
    """
    known = min(len(tokenizer), vocabulary_size)
    spelled = tokenizer.convert_ids_to_tokens(range(known))
    names = [f"<unused-{i}>" if token is None else _one_word(token) for i, token in enumerate(spelled)]
    names += [f"<unused-{i}>" for i in range(known, vocabulary_size)]
    if classes is not None:
        _, first = np.unique(classes, return_index=True)
        names = [names[i] for i in first]
    _check_names(names)
    return names


def _one_word(token: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if c.isspace() or c == "\\" else c for c in token)


# --- Anserini -------------------------------------------------------------------------------------


def quantise(documents: csr_array, levels: int = 255) -> tuple[csr_array, float]:
    """Weights as whole numbers 0 … ``levels``, as an impact index stores them, and what one level is worth.

    ``w ≈ scale · round(w / scale)`` with ``scale = w_max / levels`` over the whole collection; weights below half
    a level vanish. A score moves by at most ``scale / 2 · Σ_t |q_t|`` over the query's tokens. Ranks do not depend on
    the scale, so an engine can do without it.

    Returns:
        documents int32 ``[n, C]`` and the scale (1.0 for documents without any weight).

    Raises:
        ValueError: ``levels < 1``, or a weight that is negative or not finite.
    """
    if levels < 1:
        raise ValueError(f"levels must be at least 1; got {levels}")
    documents = _vectors(documents, "documents", positive=True)
    scale = float(documents.data.max()) / levels if documents.nnz else 1.0
    whole = np.rint(documents.data / scale).astype(np.int32)
    result = csr_array((whole, documents.indices.copy(), documents.indptr.copy()), documents.shape)
    result.eliminate_zeros()  # works in place: without the copies it would move the caller's tokens about
    return result, scale


def write_anserini(
    path: Path | str,
    documents: csr_array,
    ids: Sequence[str],
    tokens: Sequence[str],
    contents: Sequence[str] | None = None,
) -> None:
    """Write documents as Anserini's JSON vectors: ``{"id": …, "contents": …, "vector": {token: weight, …}}`` per line.

    Anserini indexes a folder of such files with ``IndexCollection -collection JsonVectorCollection -impact
    -pretokenized``; it stores a weight in the place of a term's frequency, so it needs the whole numbers that
    :func:`quantise` makes. Float weights are written so that float32 numbers come back unchanged. The file
    replaces an older one only when it is complete.

    Args:
        documents: ``[n, C]``, whole or float weights, none negative; zeros are not written.
        ids: one per document, all different.
        tokens: one per column, all different and without white space, e.g. from :func:`token_strings`.
        contents: the texts; empty when left out.

    Raises:
        ValueError: lengths that do not fit, an id or a name that occurs twice, a weight that is negative or not finite.
    """
    documents = _vectors(documents, "documents", positive=True)
    _check_ids(ids, documents.shape[0], "documents")
    _check_names(tokens, documents.shape[1])
    if contents is not None and len(contents) != len(ids):
        raise ValueError(f"{len(contents)} contents for {len(ids)} documents; give one each, or none at all")
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        for row, (columns, weights) in enumerate(_rows(documents)):
            vector = {tokens[c]: _number(w) for c, w in zip(columns, weights, strict=True)}
            text = "" if contents is None else contents[row]
            file.write(json.dumps({"id": ids[row], "contents": text, "vector": vector}, ensure_ascii=False) + "\n")
    os.replace(partial, path)


class Collection(NamedTuple):
    """What a file of JSON vectors holds: ids, float32 ``documents [n, C]`` and the texts."""

    ids: list[str]
    documents: csr_array
    contents: list[str]


def read_anserini(path: Path | str, tokens: Sequence[str]) -> Collection:
    """Read what :func:`write_anserini` or another program wrote.

    Args:
        path: a file of JSON vectors, UTF-8.
        tokens: the name of every column; weights come back as float32, whole ones as they are written.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not of the form, an id that occurs twice, a token that no column has, a weight
            that is not a finite number from 0 on; names file and line.
    """
    _check_names(tokens)
    column = {token: c for c, token in enumerate(tokens)}
    ids, contents, columns, weights, ends = {}, [], [], [], [0]
    for place, row in _json_lines(Path(path)):
        key, text, vector = _parsed(row, place)
        if key in ids:
            raise ValueError(f"{place}: the id {key!r} occurs a second time")
        unknown = next((token for token in vector if token not in column), None)
        if unknown is not None:
            raise ValueError(f"{place}: the token {unknown!r} is none of the {len(tokens)} names given")
        ids[key] = None
        contents.append(text)
        columns.append(np.array([column[token] for token in vector], dtype=np.int32))
        weights.append(np.array(list(vector.values()), dtype=np.float32))
        ends.append(ends[-1] + len(vector))
    data, indices = (np.concatenate(parts) if parts else np.empty(0) for parts in (weights, columns))
    documents = csr_array((data, indices, ends), shape=(len(ids), len(tokens)), dtype=np.float32)
    documents.sort_indices()
    documents.eliminate_zeros()
    return Collection(list(ids), documents, contents)


def _json_lines(path: Path) -> Iterator[tuple[str, object]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist (looked for it in {Path.cwd()})")
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}, line {number}"
            try:
                yield place, json.loads(line.decode("utf-8"), object_pairs_hook=_no_key_twice)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{place} is not valid JSON ({error}): {line[:80]!r}") from None
            except _Twice as error:
                raise ValueError(f"{place}: the key {error.args[0]!r} occurs twice in one object") from None


class _Twice(Exception):
    """A key that an object of JSON holds twice; Python would silently keep the last value."""


def _no_key_twice(pairs: Sequence[tuple[str, object]]) -> dict:
    result = {}
    for key, value in pairs:
        if key in result:
            raise _Twice(key)
        result[key] = value
    return result


def _parsed(row: object, place: str) -> tuple[str, str, dict[str, float]]:
    """Id, text and vector of one line; other keys are ignored, as Anserini ignores them."""
    if not isinstance(row, dict):
        raise ValueError(f'{place} must hold an object {{"id": …, "vector": {{…}}}}; got {str(row)[:80]!r}')
    missing = [key for key in ("id", "vector") if key not in row]
    if missing:
        raise ValueError(f"{place} lacks {missing[0]!r}; it has {', '.join(map(repr, row)) or 'no key'}")
    key, text, vector = row["id"], row.get("contents", ""), row["vector"]
    if not isinstance(key, (str, int)) or isinstance(key, bool) or key == "":
        raise ValueError(f"{place}: an id is a string or a whole number; got {key!r}")
    if not isinstance(text, str):
        raise ValueError(f"{place}: contents must be a text; got {text!r}")
    if not isinstance(vector, dict):
        raise ValueError(f"{place}: vector must map tokens to weights; got {str(vector)[:80]!r}")
    for token, weight in vector.items():
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 <= weight <= _LARGEST:
            raise ValueError(f"{place}: the weight of {token!r} must be a finite number from 0 on; got {weight!r}")
    return str(key), text, vector


def _number(weight: np.number) -> int | float:
    """Whole numbers as such, and of a float32 the shortest decimal that reads back as the same float32."""
    return int(weight) if np.issubdtype(type(weight), np.integer) else float(str(weight))


# --- Qdrant ---------------------------------------------------------------------------------------


def qdrant_client(location: str | Path = ":memory:", **options):
    """A Qdrant client: in this process (``":memory:"``, or a folder that keeps the index) or of a server (its URL).

    The embedded mode compares a query with every point in plain Python: the same results as the server's, for
    trying out, not for speed. ``options`` go to ``qdrant_client.QdrantClient``, for instance ``api_key=``.

    Raises:
        ModuleNotFoundError: the package is missing; the message says how to install it.
    """
    _require("qdrant_client", "qdrant-client", "'.'")
    from qdrant_client import QdrantClient

    text = str(location)
    if text == ":memory:":
        return QdrantClient(text, **options)
    if text.startswith(("http://", "https://")):
        return QdrantClient(url=text, **options)
    return QdrantClient(path=text, **options)


def qdrant_index(
    client,
    documents: csr_array,
    ids: Sequence[str],
    *,
    collection: str = COLLECTION,
    vector: str = VECTOR,
    replace: bool = False,
) -> None:
    """Make a collection with one named sparse vector per document; a point's number is its row, its payload the id.

    An empty document becomes a point without tokens, which no query finds.

    Args:
        client: from :func:`qdrant_client`.
        documents: ``[n, C]``; weights are stored as float32.
        ids: one per document, all different.
        collection, vector: names, so that several can live side by side.
        replace: delete a collection of this name first.

    Raises:
        ValueError: the collection exists, lengths that do not fit, an id that occurs twice, NaN or infinity.
    """
    from qdrant_client import models

    documents = _vectors(documents, "documents")
    _check_ids(ids, documents.shape[0], "documents")
    if client.collection_exists(collection):
        if not replace:
            raise ValueError(f"there is a collection {collection!r} already; choose another name or say replace=True")
        client.delete_collection(collection)
    client.create_collection(collection, vectors_config={}, sparse_vectors_config={vector: models.SparseVectorParams()})
    points = (
        models.PointStruct(id=row, payload={"id": ids[row]}, vector={vector: _sparse_vector(columns, weights)})
        for row, (columns, weights) in enumerate(_rows(documents))
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

    queries = _vectors(queries, "queries")
    _check_search(queries, query_ids, k)
    if not client.collection_exists(collection):
        raise ValueError(f"there is no collection {collection!r}; index the documents first")
    asked = [(q, columns, weights) for q, (columns, weights) in enumerate(_rows(queries)) if len(columns)]
    found: dict[str, dict[str, float]] = {query: {} for query in query_ids}
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        requests = [
            models.QueryRequest(query=_sparse_vector(columns, weights), using=vector, limit=k, with_payload=True)
            for _, columns, weights in batch
        ]
        answers = client.query_batch_points(collection, requests)
        for (q, _, _), answer in zip(batch, answers, strict=True):
            found[query_ids[q]] = _best_first({point.payload["id"]: float(point.score) for point in answer.points})
    return found


def _sparse_vector(columns: np.ndarray, weights: np.ndarray):
    from qdrant_client import models

    return models.SparseVector(indices=columns.tolist(), values=weights.astype(np.float32).tolist())


# --- Seismic (optional) ---------------------------------------------------------------------------


def seismic_index(documents: csr_array, ids: Sequence[str], **options):
    """A Seismic index of the documents. It prints what it does.

    Approximate in two ways: it keeps at most ``n_postings · max_fraction`` documents per list (those with the largest
    weights), and weights have 16 bits, that is a relative error of at most 2⁻¹¹ (0.05 %).

    Args:
        documents: ``[n, C]``, no negative weights.
        ids: one per document, all different.
        options: as ``seismic.SeismicIndex.build_from_dataset`` takes them, e.g. ``n_postings``.

    Raises:
        ModuleNotFoundError: the package is missing; the message says how to install it.
        ValueError: lengths that do not fit, an id that occurs twice, a weight that is negative or not finite.
    """
    _require("seismic", "pyseismic-lsr", "'.[engines]'")
    import seismic

    documents = _vectors(documents, "documents", positive=True)
    _check_ids(ids, documents.shape[0], "documents")
    large = documents.shape[1] > _SEISMIC_COLUMNS
    dataset = seismic.SeismicDatasetLV() if large else seismic.SeismicDataset()
    for key, (columns, weights) in zip(ids, _rows(documents), strict=True):
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

    queries = _vectors(queries, "queries")
    _check_search(queries, query_ids, k)
    found: dict[str, dict[str, float]] = {}
    for query, (columns, weights) in zip(query_ids, _rows(queries), strict=True):
        found[query] = {}
        if len(columns):
            terms = columns.astype(seismic.get_seismic_string())
            cut = len(columns) if query_cut is None else query_cut
            answer = index.search(query, terms, weights.astype(np.float32), k, cut, heap_factor)
            found[query] = _best_first({document: float(score) for _, score, document in answer if score > 0})
    return found


# --- Comparing ------------------------------------------------------------------------------------


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
    if run.keys() != expected.keys() or not run:
        raise ValueError(f"the runs hold {len(run)} and {len(expected)} queries; they must be the same, at least one")
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
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


def _rows(vectors: csr_array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns and weights of every row, without stored zeros."""
    for start, end in zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True):
        columns, weights = vectors.indices[start:end], vectors.data[start:end]
        yield columns[weights != 0], weights[weights != 0]


def _vectors(vectors: csr_array, name: str, positive: bool = False) -> csr_array:
    vectors = csr_array(vectors)
    if not vectors.has_canonical_format:  # every token once per row, in order; not in the caller's own arrays
        vectors = vectors.copy()
        vectors.sum_duplicates()
    wrong = ~np.isfinite(vectors.data)
    if positive:
        wrong |= vectors.data < 0
    if wrong.any():
        place = int(np.argmax(wrong))
        row = int(np.searchsorted(vectors.indptr, place, side="right")) - 1
        rule = "finite and not negative: leave such weights out" if positive else "finite"
        raise ValueError(f"{name}: row {row} holds the weight {vectors.data[place]}; weights must be {rule}")
    return vectors


def _check_ids(ids: Sequence[str], n: int, what: str) -> None:
    if len(ids) != n:
        raise ValueError(f"{len(ids)} ids for {n} {what}")
    wrong = next((i for i in ids if not isinstance(i, str) or not i), None)
    if wrong is not None:
        raise ValueError(f"ids of {what} must be strings that are not empty; got {wrong!r}")
    if len(set(ids)) < n:
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))
        raise ValueError(f"the id {twice!r} occurs twice among the {what}")


def _check_names(names: Sequence[str], n: int | None = None) -> None:
    if n is not None and len(names) != n:
        raise ValueError(f"{len(names)} names of tokens for {n} columns")
    columns: dict[str, int] = {}
    for c, name in enumerate(names):
        if not name or any(character.isspace() for character in name):
            raise ValueError(f"column {c} is called {name!r}; a name must not be empty or hold white space")
        if columns.setdefault(name, c) != c:
            raise ValueError(f"columns {columns[name]} and {c} are both called {name!r}; names must differ")


def _check_search(queries: csr_array, query_ids: Sequence[str], k: int) -> None:
    _check_ids(query_ids, queries.shape[0], "queries")
    if not k >= 1 or not math.isfinite(k):
        raise ValueError(f"k must be at least 1; got {k}")


def _require(module: str, package: str, what: str) -> None:
    if find_spec(module) is None:
        raise ModuleNotFoundError(
            f"this needs the package {package}: run pip install {what} in the folder of the course"
        )
