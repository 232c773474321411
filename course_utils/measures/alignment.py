"""Alignment: decode embeddings with the output layer and compare with the text's tokens.

Notation of the paper (Nie, Zhang and Wu 2025, arXiv 2406.17378): an embedding
``h`` is multiplied by the unembedding matrix ``E_g`` as if it were the hidden
state of a next token; the tokens with the largest products are the *aligned
tokens*, ``T̂^K`` the first K of them. ``T`` is the set of *surface tokens*, the
distinct tokens of the text itself (without prompt and special tokens).

Everything here is a function on arrays:

* ``embeddings`` float ``[n, d]``, ``unembedding`` float ``[V, d]`` (arrays or tensors);
* ``ranked`` int ``[n, k]``: aligned tokens, best first;
* ``surface`` list of n int arrays: the distinct surface tokens of each text.

Special tokens (begin, end, padding) are never surface tokens; :func:`top_tokens`
leaves out the ids it is given, and :func:`special_ids` names them.

*Merged* variants treat `` Game``, ``game`` and ``GAME`` as one: map both sides
with :func:`variant_classes` and hand ``classes`` to the measures.

Tokenizers mark words in one of two ways. Byte-level BPE and SentencePiece mark the token that *begins* a word, with a
space; a token without one may go on with a word or stand at the start of a text. WordPiece (BERT) marks the token that
*goes on* with a word, ``##ing``; it is never a word of its own, so it is no variant of ``ing``.
"""

from collections.abc import Sequence

import numpy as np
from tqdm.auto import tqdm

from course_utils import gates

#: Upper bound on the logits held at once, in bytes.
CHUNK_BYTES = 256 * 2**20


def top_tokens(
    embeddings: np.ndarray, unembedding: np.ndarray, k: int = 10, exclude: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The k aligned tokens of every embedding: the rows of ``E_g`` with the largest ``E_g h``.

    Works in chunks of texts, so memory stays bounded for any number of texts.

    Returns:
        ids int64 ``[n, k]`` and logits float32 ``[n, k]``, best first.

    Raises:
        ValueError: shapes that do not fit, k or a token of ``exclude`` out of range, or NaN in a row (named).
    """
    import torch

    embeddings, weight = gates.matrix(embeddings), gates.matrix(unembedding, "unembedding", "[V, d]")
    if embeddings.shape[1] != weight.shape[1]:
        raise ValueError(
            f"embeddings must be [n, d] and unembedding [V, d] with the same d; "
            f"got {embeddings.shape} and {weight.shape}"
        )
    excluded = np.unique(gates.token_ids(exclude, len(weight), "exclude"))
    k = gates.whole(k, "k", 1, len(weight) - len(excluded), "tokens that may appear")
    embeddings, weight = tensor(embeddings), tensor(weight)
    chunks = embeddings.split(max(1, CHUNK_BYTES // (4 * len(weight))))
    ids, scores = [], []
    for chunk in tqdm(chunks, desc="decoding", disable=len(chunks) < 20, leave=False):
        logits = chunk @ weight.T
        logits[:, excluded] = -torch.inf
        best = logits.topk(k, dim=1)
        ids.append(best.indices.numpy())
        scores.append(best.values.numpy())
    return np.concatenate(ids), np.concatenate(scores)


def tensor(array: np.ndarray):
    """The same numbers as a torch tensor, without a copy unless the array may not be written to."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def surface_tokens(tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """The distinct tokens of each text, in order of first appearance, without special tokens.

    Where a text spells a special token out ("<s>"), the model reads the special token: nothing of it is a surface
    token either, as it cannot be an aligned one.

    Raises:
        TypeError, ValueError: no list of texts; see :func:`course_utils.gates.texts`.
    """
    texts = [text.strip() for text in gates.texts(texts, empty=True)]
    all_ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    special = dict.fromkeys(special_ids(tokenizer, len(tokenizer)))
    return [np.array([i for i in dict.fromkeys(ids) if i not in special], dtype=np.int64) for ids in all_ids]


def content_tokens(tokenizer, surface: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The content tokens among each text's surface tokens; a text may have none.

    A token counts as content when it has at least two characters, is a word or a piece of one (letters, digits and
    their marks), and is not in scikit-learn's list of English stop words. The mark of a piece that goes on with a word
    (``##``) is not looked at.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    surface = [gates.token_ids(ids, None, f"surface[{i}]") for i, ids in enumerate(gates.listed(surface, "surface"))]
    unique, mark = sorted({t for own in surface for t in own.tolist()}), _continuation(tokenizer)
    words = {t: tokenizer.decode([t]).strip().removeprefix(mark).casefold() for t in unique}
    content = [t for t, w in words.items() if gates.is_word(w, 2) and w not in ENGLISH_STOP_WORDS]
    return [own[np.isin(own, content)] for own in surface]


def special_ids(tokenizer, vocabulary_size: int) -> list[int]:
    """Ids of special tokens and of rows of ``E_g`` that belong to no token; only rows that exist.

    A tokenizer may have special tokens beyond the matrix: they cannot be decoded, so they need not be excluded.
    BERT's vocabulary keeps rows free, ``[unused0]`` to ``[unused993]``, that no text has: they count as no token.
    """
    ids = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder, *range(len(tokenizer), vocabulary_size)}
    if _continuation(tokenizer) == "##":
        ids |= set(tokenizer.convert_tokens_to_ids([f"[unused{n}]" for n in range(994)])) - {None}
    return sorted(i for i in ids if i < vocabulary_size)


def readable(tokenizer, ids: Sequence[int]) -> list[str]:
    """Tokens as people can read them: ``_`` for a leading space, ``\\n`` for a line break.

    The space is the mark of SentencePiece and byte-level BPE for the beginning of a word. WordPiece writes words as
    they are and marks what goes on with one: ``##ing`` stays ``##ing``. A token that is only part of a character keeps
    the tokenizer's own spelling in ``<>``; a row of ``E_g`` that belongs to no token is ``<unused ID>``.
    """
    result, known = [], len(tokenizer)
    for i in gates.token_ids(ids, None, "ids").tolist():
        text = _spelled(tokenizer, i, known)
        if i < known and text[:1] != " " and tokenizer.convert_ids_to_tokens(i).startswith("▁"):
            text = " " + text  # some decoders drop the space that begins a text
        text = "_" + text[1:] if text.startswith(" ") else text
        result.append(text.replace("\n", "\\n").replace("\t", "\\t"))
    return result


def variant_classes(tokenizer, vocabulary_size: int) -> np.ndarray:
    """A class number for every token, int64 ``[V]``: tokens that differ in case or a leading space share one.

    A token of white space alone stays a class of its own, and so does a piece that only goes on with a word, ``##ing``.
    """
    # Asking a tokenizer for its length takes a millisecond: too slow for every token of a large vocabulary.
    known = len(tokenizer)
    classes, numbers = np.empty(vocabulary_size, dtype=np.int64), {}
    for i in range(vocabulary_size):
        text = _spelled(tokenizer, i, known)
        classes[i] = numbers.setdefault(text.strip().casefold() or text, len(numbers))
    return classes


def _continuation(tokenizer) -> str:
    """How a tokenizer marks a piece that goes on with a word: ``##`` in WordPiece, nothing in others."""
    inner = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    return getattr(inner, "continuing_subword_prefix", None) or ""


def _spelled(tokenizer, i: int, known: int) -> str:
    text = tokenizer.decode([i]) if i < known else f"<unused {i}>"
    if "\ufffd" in text:
        own = tokenizer.convert_ids_to_tokens(i)
        text = own if own.startswith("<") else f"<{own}>"
    return text


def hits(ranked: np.ndarray, surface: Sequence[np.ndarray], k: int = 10, classes: np.ndarray | None = None):
    """Whether at least one surface token is among the first k aligned tokens; bool ``[n]``.

    Its mean is Hit@K: ``1/n Σ_i [ T_i ∩ T̂_i^K ≠ ∅ ]``.
    """
    ranked = _checked(ranked, surface, k, classes)
    pairs = _pairs(ranked[:, :k], surface, classes)
    return np.array([bool(np.isin(top, own).any()) for top, own in pairs])


def local_alignment(ranked: np.ndarray, surface: Sequence[np.ndarray], classes: np.ndarray | None = None):
    """Local alignment rate of every text, float64 ``[n]``: ``LAR_i = |T_i ∩ T̂_i^{|T_i|}| / |T_i|``.

    The list must be long enough to fill ``|T_i|`` distinct places, or a perfect ranking of a long text
    could not reach 1.

    Raises:
        ValueError: ``ranked`` is too short for a text (which one, and how many are needed).
    """
    tops = distinct_tops(ranked, surface, classes)
    own = [_distinct(s, classes) for s in surface]
    return np.array([np.isin(top, s).sum() / len(s) for top, s in zip(tops, own, strict=True)])


def global_alignment(ranked: np.ndarray, surface: Sequence[np.ndarray], classes: np.ndarray | None = None) -> float:
    """Global alignment rate of a data set: ``GAR = |∪_i (T_i ∩ T̂_i^{|T_i|})| / |∪_i T_i|``.

    A token counts once, however many texts it is found in; so function words that fit every text
    cannot carry it, as they can carry LAR.
    """
    tops = distinct_tops(ranked, surface, classes)
    own = [_distinct(s, classes) for s in surface]
    matched = np.unique(np.concatenate([np.intersect1d(top, s) for top, s in zip(tops, own, strict=True)]))
    return len(matched) / len(np.unique(np.concatenate(own)))


def distinct_tops(
    ranked: np.ndarray, surface: Sequence[np.ndarray], classes: np.ndarray | None = None
) -> list[np.ndarray]:
    """For every text its first ``|T_i|`` distinct aligned tokens (or classes), best first."""
    ranked = _checked(ranked, surface, 1, classes)
    tops = []
    for i, (top, own) in enumerate(_pairs(ranked, surface, classes)):
        top = _distinct(top, None)
        if len(top) < len(own):
            raise ValueError(
                f"text {i} has {len(own)} distinct surface tokens but only {len(top)} distinct aligned tokens are "
                f"ranked; decode with a larger k"
            )
        tops.append(top[: len(own)])
    return tops


def _pairs(ranked: np.ndarray, surface: Sequence[np.ndarray], classes: np.ndarray | None):
    for top, own in zip(ranked, surface, strict=True):
        yield (top if classes is None else classes[top]), _distinct(own, classes)


def _distinct(ids: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    ids = np.asarray(ids) if classes is None else classes[ids]
    _, first = np.unique(ids, return_index=True)
    return ids[np.sort(first)]


def _checked(ranked: np.ndarray, surface: Sequence[np.ndarray], k: int, classes: np.ndarray | None) -> np.ndarray:
    ranked = gates.numbers(ranked, "ranked", "[n, k]")
    if ranked.ndim != 2 or len(ranked) != len(surface):
        raise ValueError(f"ranked must be [n, k] with one row per text; got {ranked.shape} for {len(surface)} texts")
    if not len(ranked):
        raise ValueError("no texts: the measures need at least one")
    gates.whole(k, "k", 1, ranked.shape[1], "aligned tokens that are ranked")
    empty = [i for i, s in enumerate(surface) if len(s) == 0]
    if empty:
        raise ValueError(f"no surface tokens in text(s) {empty[:5]}")
    size = None if classes is None else len(classes)
    gates.token_ids(ranked, size, "ranked")
    gates.token_ids(np.concatenate(surface), size, "surface")
    return ranked
