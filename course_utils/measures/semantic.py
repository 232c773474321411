"""Semantic hits: aligned tokens that mean something near a word of the text, without being one.

A surface hit asks for the very token. An embedder may answer with a synonym, a relative or a translation; that is no
hit, though a reader would not call it a miss. So a second measure stands *beside* Hit@K, never in its place: an aligned
token counts if its own word embedding has a cosine of at least a threshold with that of a content word of the text.

Pure functions on arrays: whoever calls them brings the word embeddings. The threshold is not free: it is the one at
which a word of *another* text counts so-and-so often, and is fixed on texts that no result is reported on
(:func:`threshold`). For translations a dictionary does the same (:func:`dictionary_hits`).
"""

from collections.abc import Sequence

import numpy as np

from course_utils import gates
from course_utils.measures.evaluation import cosine_matrix


def closeness(tokens: np.ndarray, words: np.ndarray, owners: Sequence[int], n_texts: int) -> np.ndarray:
    """Cosine of every token with the nearest word of every text; float64 ``[u, n_texts]``, ``-1`` for a text without.

    Args:
        tokens: word embeddings of u tokens, ``[u, d]``.
        words: word embeddings of the texts' content words, ``[p, d]``.
        owners: the text that each of the words stands in, ``[p]``, from 0.
        n_texts: how many texts there are.

    Raises:
        ValueError: shapes that do not fit, an owner out of range, NaN, or a row of zeros.
    """
    owners = gates.token_ids(owners, gates.whole(n_texts, "n_texts"), "owners")
    cosines = cosine_matrix(tokens, words)
    if len(owners) != cosines.shape[1]:
        raise ValueError(f"each of the {cosines.shape[1]} words needs an owner; got {len(owners)}")
    nearest = np.full((n_texts, len(cosines)), -1.0)
    np.maximum.at(nearest, owners, cosines.T)
    return nearest.T


def threshold(near: np.ndarray, own: Sequence[int], share: float = 0.02) -> float:
    """The cosine that a word of another text reaches in ``share`` of the cases.

    Args:
        near: what :func:`closeness` says of words ``[u]`` and texts, on texts kept for this.
        own: the text that each of the words comes from, ``[u]``; its own text is left out.
        share: how often chance may count, between 0 and 1: the level of chance *per token*.

    Raises:
        ValueError: shapes that do not fit, fewer than two texts, or a share that is none.
    """
    near = gates.matrix(near, "near", "[u, n]", dtype=np.float64, whole=True)
    own = gates.token_ids(own, near.shape[1], "own")
    if len(own) != len(near) or near.shape[1] < 2:
        raise ValueError(f"own must name the text of each of {len(near)} words, of two texts or more; got {len(own)}")
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1; got {share}")
    others = np.ones(near.shape, dtype=bool)
    others[np.arange(len(own)), own] = False
    return float(np.quantile(near[others], 1 - share))


def semantic_hits(near: np.ndarray, places: np.ndarray, least: float) -> np.ndarray:
    """Which of text i's aligned tokens are near a word of text j; bool ``[n, n, k]``.

    Args:
        near: :func:`closeness` of u tokens to n texts, ``[u, n]``.
        places: rows of ``near`` for the aligned tokens of each text, ``[n, k]``; -1 for one that is no word, which
            never counts.
        least: the threshold.

    The mean over the last axis is the share of the aligned tokens that count; ``any`` over it is a Hit@k. Diagonal and
    rest go to :func:`course_utils.measures.nulls.above_chance`.

    Raises:
        ValueError: shapes that do not fit, or a place that ``near`` does not have.
    """
    near = gates.matrix(near, "near", "[u, n]", dtype=np.float64, whole=True)
    places = gates.numbers(places, "places", "[n, k]")
    if places.ndim != 2 or len(places) != near.shape[1]:
        raise ValueError(f"places must be [n, k] for the {near.shape[1]} texts of near; got {places.shape}")
    gates.token_ids(places.ravel() + 1, len(near) + 1, "places + 1")
    counts = np.vstack([near >= least, np.zeros((1, near.shape[1]), dtype=bool)])  # the row for "no word", -1
    return counts[places].transpose(0, 2, 1)


def dictionary_hits(tokens: Sequence[Sequence[str]], accepted: Sequence[Sequence[str]]) -> np.ndarray:
    """Whether one of text i's aligned tokens is an accepted word of text j; bool ``[n, n]``.

    Stricter than the key words of lesson 08, where a stem counts: a stem that two languages share is no translation.

    Args:
        tokens: the aligned tokens of n texts as people read them; case and a mark of a leading space do not count.
        accepted: the words that count for each text, for instance translations of its key words.

    Raises:
        TypeError, ValueError: other numbers of texts, or no strings.
    """
    if len(tokens) != len(accepted):
        raise ValueError(f"{len(tokens)} lists of tokens for {len(accepted)} texts")
    said = [{word.strip(" _▁Ġ").casefold() for word in _strings(row, "tokens", i)} for i, row in enumerate(tokens)]
    meant = [{w.casefold() for w in _strings(row, "accepted", j)} for j, row in enumerate(accepted)]
    return np.array([[not row.isdisjoint(own) for own in meant] for row in said], dtype=bool)


def _strings(row: Sequence[str], name: str, i: int) -> list[str]:
    return gates.texts(row, f"{name}[{i}]", empty=True)
