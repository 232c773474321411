"""Anserini: sparse vectors as files, one JSON object per line, as Anserini's ``JsonVectorCollection`` reads them.

Pyserini, which wraps it, reads them too. :mod:`course_utils.search.engines` puts the same vectors into engines at work.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.search import sparse

# --- Names of tokens ------------------------------------------------------------------------------


def token_strings(tokenizer, vocabulary_size: int, classes: np.ndarray | None = None) -> list[str]:
    """A distinct string without white space for every column, C strings.

    It is the tokenizer's own spelling of the token (``Ġgame``, ``▁game``, ``<0x0A>``): decoded text would not do,
    because pieces of a character all decode to the same replacement sign. White space, NUL and backslashes are
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
    return _checked_names(names)


def _one_word(token: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if c.isspace() or c in "\\\0" else c for c in token)


# --- Anserini -------------------------------------------------------------------------------------


def quantise(documents: csr_array, levels: int = 255, largest: float | None = None) -> tuple[csr_array, float]:
    """Weights as whole numbers 0 … ``levels``, as an impact index stores them, and what one level is worth.

    ``w ≈ scale · round(w / scale)`` with ``scale = w_max / levels`` over the whole collection; weights below half
    a level vanish. A score moves by at most ``scale / 2 · Σ_t |q_t|`` over the query's tokens. Ranks do not depend on
    the scale, so an engine can do without it.

    Args:
        documents: ``[n, C]``, weights from 0 on.
        levels: the largest whole number.
        largest: ``w_max``, where the documents are a part of a collection; by default their own.

    Returns:
        documents int32 ``[n, C]`` and the scale (1.0 for documents without any weight).

    Raises:
        ValueError: ``levels < 1``, a weight that is negative or not finite, or one above ``largest``.
    """
    levels = gates.whole(levels, "levels", 1, 2**24, "levels that a float32 tells apart")
    documents = sparse.checked(documents, "documents", positive=True)
    own = float(documents.data.max(initial=0))
    if largest is not None and not own <= largest:
        raise ValueError(f"a weight of {own} is above the largest of the collection, {largest}")
    scale = (own if largest is None else largest) / levels or 1.0
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
    *,
    empty: bool = False,
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
        empty: keep documents without tokens, which no query finds, for a collection too large to stop for one.

    Raises:
        ValueError: lengths that do not fit, an id or a name that occurs twice, a weight that is negative or not finite,
            or a document without tokens.
        TypeError: ids, names or contents that are no list of strings.
        FileNotFoundError: no such folder.
    """
    documents, ids = sparse.exportable(documents, ids, empty=empty)
    tokens = _checked_names(tokens, documents.shape[1])
    contents = [""] * len(ids) if contents is None else gates.texts(contents, "contents", empty=True)
    if len(contents) != len(ids):
        raise ValueError(f"{len(contents)} contents for {len(ids)} documents; give one each, or none at all")
    with gates.replacing(path) as file:
        for key, text, (columns, weights) in zip(ids, contents, sparse.rows(documents), strict=True):
            vector = {tokens[c]: _number(w) for c, w in zip(columns, weights, strict=True)}
            file.write(json.dumps({"id": key, "contents": text, "vector": vector}, ensure_ascii=False) + "\n")


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
    tokens = _checked_names(tokens)
    column = {token: c for c, token in enumerate(tokens)}
    ids, contents, columns, weights, ends = {}, [], [], [], [0]
    for place, line in gates.lines(path):
        key, text, vector = _parsed(gates.json_value(line, place), place)
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


def _parsed(row: object, place: str) -> tuple[str, str, dict[str, float]]:
    """Id, text and vector of one line; other keys are ignored, as Anserini ignores them."""
    if not isinstance(row, dict):
        raise ValueError(f'{place} must hold an object {{"id": …, "vector": {{…}}}}; got {str(row)[:80]!r}')
    missing = [key for key in ("id", "vector") if key not in row]
    if missing:
        raise ValueError(f"{place} lacks {missing[0]!r}; it has {', '.join(map(repr, row)) or 'no key'}")
    key, text, vector = row["id"], row.get("contents", ""), row["vector"]
    if not isinstance(text, str):
        raise ValueError(f"{place}: contents must be a text; got {text!r}")
    if not isinstance(vector, dict):
        raise ValueError(f"{place}: vector must map tokens to weights; got {str(vector)[:80]!r}")
    for token, weight in vector.items():
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 <= weight <= gates.LARGEST:
            raise ValueError(f"{place}: the weight of {token!r} must be a finite number from 0 on; got {weight!r}")
    return gates.identifier(key, f"{place}, 'id'"), text, vector


def _number(weight: np.number) -> int | float:
    """Whole numbers as such, and of a float32 the shortest decimal that reads back as the same float32."""
    return int(weight) if np.issubdtype(type(weight), np.integer) else float(str(weight))


def _checked_names(names: Sequence[str], n: int | None = None) -> list[str]:
    names = gates.identifiers(names, n, "tokens")
    for c, name in enumerate(names):
        if any(character.isspace() for character in name):
            raise ValueError(f"tokens[{c}] is {name!r}: a token's name must not hold white space; see token_strings")
    return names
