"""OpenSearch and Elasticsearch: sparse vectors as requests in bulk, with the mapping of the index and the queries.

Both are built on Lucene and keep such a vector as an inverted index of positive weights by name:

* OpenSearch: a field of type ``rank_features``, asked by ``neural_sparse`` with ``query_tokens`` (documentation of
  OpenSearch, "Neural sparse search using raw vectors");
* Elasticsearch: a field of type ``sparse_vector``, asked by ``sparse_vector`` with ``query_vector`` (documentation of
  Elasticsearch, "Sparse vector query").

A score is ``Σ_t q_t d_t``, as here; the stored weights have nine significant bits, that is a relative error of up to
0.4 %. Names of tokens are the numbers of their columns: no character of a token needs escaping.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.search import sparse

#: The field that holds a document's vector, and the type of that field in either engine.
FIELD = "aligned_tokens"
TYPES = {"opensearch": "rank_features", "elasticsearch": "sparse_vector"}


def mapping(engine: str) -> dict:
    """The body of the request that creates the index.

    Raises:
        ValueError: none of the engines in :data:`TYPES`.
    """
    return {"mappings": {"properties": {"id": {"type": "keyword"}, FIELD: {"type": TYPES[_known(engine)]}}}}


def write_bulk(path: Path | str, documents: csr_array, ids: Sequence[str]) -> None:
    """Write documents as the body of a ``_bulk`` request, two lines each; the same for both engines.

    The file replaces an older one only when it is complete.

    Args:
        documents: ``[n, C]``, no negative weights; zeros are not written.
        ids: one per document, all different.

    Raises:
        ValueError: lengths that do not fit, an id that occurs twice, a weight that is negative or not finite, or a
            document without tokens, which an engine would keep and never find: leave it out.
    """
    documents, ids = sparse.exportable(documents, ids)
    with gates.replacing(path) as file:
        for key, (columns, weights) in zip(ids, sparse.rows(documents), strict=True):
            file.write(json.dumps({"index": {"_id": key}}, ensure_ascii=False) + "\n")
            file.write(json.dumps({"id": key, FIELD: vector(columns, weights)}, ensure_ascii=False) + "\n")


def query(engine: str, columns: np.ndarray, weights: np.ndarray, k: int = 10) -> dict:
    """The body of a search for the k best documents.

    Raises:
        ValueError: an unknown engine, ``k < 1``, no token, or weights that are not positive and finite.
    """
    k, named = gates.whole(k, "k"), vector(columns, weights)
    if not named or not all(0 < weight < math.inf for weight in named.values()):
        raise ValueError("a query needs at least one token, and weights that are positive and finite")
    if _known(engine) == "opensearch":
        asked = {"neural_sparse": {FIELD: {"query_tokens": named}}}
    else:
        # Without this, current versions leave frequent tokens with small weights out of a query.
        asked = {"sparse_vector": {"field": FIELD, "query_vector": named, "prune": False}}
    return {"size": k, "_source": ["id"], "query": asked}


def vector(columns: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Column number as text -> weight, of a float32 the shortest decimal that reads back as the same float32."""
    return {str(column): float(str(weight)) for column, weight in zip(columns, weights, strict=True)}


def read_bulk(path: Path | str, columns: int) -> tuple[list[str], csr_array]:
    """Ids and float32 ``documents [n, columns]`` of a file that :func:`write_bulk` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not of the form, an id that occurs twice, a name that is no column's number, a
            weight that is not positive and finite; names file and line.
    """
    ids, rows, known = [], [], set()
    for place, line in gates.lines(path):
        row = gates.json_value(line, place)
        if len(ids) == len(rows):
            ids.append(_action(row, place))
            if ids[-1] in known:
                raise ValueError(f"{place}: the id {ids[-1]!r} occurs a second time")
            known.add(ids[-1])
        elif not isinstance(row, dict) or row.get("id") != ids[-1] or not isinstance(row.get(FIELD), dict):
            raise ValueError(f"{place}: expected the document {ids[-1]!r} with the field {FIELD}")
        else:
            rows.append(_weights(row[FIELD], columns, place))
    if len(ids) != len(rows):
        raise ValueError(f"{path} ends after an action: the document {ids[-1]!r} is missing")
    return ids, _stacked(rows, columns)


def _action(row: object, place: str) -> str:
    try:
        return gates.identifier(row["index"]["_id"], place)
    except (TypeError, KeyError) as error:
        raise ValueError(f'{place}: expected an action {{"index": {{"_id": …}}}}') from error


def _weights(vector: dict, columns: int, place: str) -> dict[str, float]:
    for name, weight in vector.items():
        if not (name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < columns):
            raise ValueError(f"{place}: the name {name!r} is no column from 0 to {columns - 1}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= gates.LARGEST:
            raise ValueError(f"{place}: the weight of column {name} must be positive and finite; got {weight!r}")
    return vector


def _stacked(rows: Sequence[dict[str, float]], columns: int) -> csr_array:
    ends = np.cumsum([0, *map(len, rows)])
    numbers: Iterator[int] = (int(name) for row in rows for name in row)
    indices = np.fromiter(numbers, dtype=np.int32, count=ends[-1])
    weights = np.fromiter((w for row in rows for w in row.values()), dtype=np.float32, count=ends[-1])
    return csr_array((weights, indices, ends), shape=(len(rows), columns))


def _known(engine: str) -> str:
    if engine not in TYPES:
        raise ValueError(f"engine must be one of {', '.join(TYPES)}; got {engine!r}")
    return engine
