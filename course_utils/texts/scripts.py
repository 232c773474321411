"""Scripts: in which writing system a token is, bytes made readable, and tokens compared with words of any language.

Pure functions on strings and bytes. A *token* becomes text in two ways. Gemma's vocabulary holds pieces of text
and, for what it lacks, single bytes written ``<0xE4>``. The vocabulary of SmolLM2 holds byte sequences only, with
every byte written as one visible character (``æĪĳ`` is the three bytes of ``我``); a token may end in the middle of a
character. :func:`token_bytes` gives the bytes in both cases, everything else starts from them.

The name of a script is the first word of its characters' names in the Unicode Character Database, which the standard
library carries. UTF-8 is RFC 3629, section 3: the first byte of a character says how many follow.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from course_utils import gates

#: What :func:`script` says about text without letters, and about bytes that are no complete letter.
NO_LETTERS, BYTES = "no letters", "bytes"

_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
# The database calls Chinese characters CJK, and some characters by a form before the script's name.
_RENAMED = {"CJK": "Han", "IDEOGRAPHIC": "Han", "KANGXI": "Han"}
_FORMS = {"FULLWIDTH", "HALFWIDTH"}


# --- Bytes ----------------------------------------------------------------------------------------


def token_bytes(tokenizer, ids: Sequence[int]) -> list[bytes]:
    """The UTF-8 bytes that each token stands for, whether or not they are whole characters; none for an unused id."""
    byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
    found, ids = [], gates.token_ids(ids, None, "ids").tolist()
    for i, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        if token is None:
            found.append(b"")
            continue
        fallback = _FALLBACK.fullmatch(token)
        if fallback and not byte_level:
            found.append(bytes.fromhex(fallback[1]))
        elif byte_level and all(c in _byte_of() for c in token):
            found.append(bytes(_byte_of()[c] for c in token))
        else:
            found.append(tokenizer.decode([i]).encode())
    return found


def width(first: int) -> int:
    """How many bytes a character takes whose first byte is ``first``; 0 for a byte that cannot come first.

    UTF-8: 0xxxxxxx stands alone, 110xxxxx opens two bytes, 1110xxxx three, 11110xxx four; 10xxxxxx continues.

    Raises:
        ValueError: no byte.
    """
    if not 0 <= first <= 255:
        raise ValueError(f"a byte lies between 0 and 255; got {first}")
    if first < 0x80:
        return 1
    return 0 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def spell(raw: bytes) -> str:
    """Bytes as people can read them: whole characters as they are, the rest in hexadecimal between ``‹`` and ``›``.

    A dot pair stands for each byte that is missing: ``‹E6 88 ··›`` are the first two of three bytes. Where a piece
    begins in the middle of a character nobody can tell how many are missing: ``‹… 91›``. A leading space becomes
    ``_``, a line break ``\\n``, as in :func:`course_utils.measures.alignment.readable`.
    """
    shown = ""
    for part in _parts(raw):
        try:
            shown += part.decode()
        except UnicodeDecodeError:
            known, wanted = " ".join(f"{b:02X}" for b in part), width(part[0])
            shown += f"‹{known}{' ··' * (wanted - len(part))}›" if wanted else f"‹… {known}›"
    shown = "_" + shown[1:] if shown.startswith(" ") else shown
    return shown.replace("\n", "\\n").replace("\t", "\\t")


def readable(tokenizer, ids: Sequence[int]) -> list[str]:
    """Tokens as people can read them; see :func:`spell`."""
    return [spell(raw) for raw in token_bytes(tokenizer, ids)]


def plain(tokenizer, ids: np.ndarray) -> list[list[str]]:
    """The tokens of each row of ``ids [n, k]`` as plain text, to be compared with words.

    The mark of a WordPiece token that goes on with a word is left out; pieces of characters match nothing.
    """
    rows = gates.numbers(ids, "ids", "[n, k]")
    if rows.ndim != 2:
        raise ValueError(f"ids must be [n, k]; got shape {rows.shape}")
    unique, back = np.unique(rows, return_inverse=True)
    shown = [raw.decode(errors="replace").removeprefix("##") for raw in token_bytes(tokenizer, unique)]
    return [[shown[i] for i in row] for row in back.reshape(rows.shape)]


def possible_scripts(raw: bytes) -> list[str]:
    """Scripts of the letters that an unfinished character can still become, in alphabetical order.

    ``b"\\xe6\\x88"`` can only become one of 64 Chinese characters: ``["Han"]``. A piece without its first byte can
    become anything: no scripts are listed.

    Raises:
        ValueError: not the opening of one character.
    """
    wanted = width(raw[0]) if raw else 0
    if wanted == 0 or len(raw) > wanted or any(width(b) for b in raw[1:]):
        if raw and not any(width(b) for b in raw):
            return []
        raise ValueError(f"{raw!r} is not the opening of one character")
    ends = []
    for filler in (0x80, 0xBF):
        code = raw[0] & (0x7F if wanted == 1 else 0xFF >> (wanted + 1))
        for byte in (*raw[1:], *[filler] * (wanted - len(raw))):
            code = code << 6 | byte & 0x3F
        ends.append(code)
    # Lead bytes E0 and F0 leave room for codes that shorter forms cover; those are not allowed.
    shortest = {1: 0, 2: 0x80, 3: 0x800, 4: 0x10000}[wanted]
    letters = (chr(c) for c in range(max(ends[0], shortest), min(ends[1], 0x10FFFF) + 1))
    return sorted({_script_of(c) for c in letters} - {None})


# --- Scripts --------------------------------------------------------------------------------------


def script(raw: str | bytes) -> str:
    """The script of most letters of a text: ``"Latin"``, ``"Han"``, ``"Arabic"``, ``"Devanagari"`` …

    ``"no letters"`` for digits, punctuation and white space, ``"bytes"`` for bytes without a whole letter and with a
    piece of a character. On a draw the script that comes first in the text counts. Marks such as Devanagari vowel
    signs count as letters of their script; an accent that fits every script does not count.
    """
    text = raw if isinstance(raw, str) else raw.decode(errors="replace")
    found = Counter(s for s in map(_script_of, unicodedata.normalize("NFKC", text)) if s)
    if found:
        return found.most_common(1)[0][0]
    return BYTES if isinstance(raw, bytes) and "\ufffd" in text else NO_LETTERS


def token_scripts(tokenizer, ids: np.ndarray) -> np.ndarray:
    """The script of every token, an array of names in the shape of ``ids``, for instance ``[n, k]``."""
    ids = np.asarray(ids)
    unique, back = np.unique(ids, return_inverse=True)
    names = np.array([script(raw) for raw in token_bytes(tokenizer, unique)], dtype=object)
    return names[back].reshape(ids.shape)


def shares(names: np.ndarray, order: Sequence[str]) -> dict[str, float]:
    """Share of each script of ``order`` among ``names`` of any shape, and of all others under ``"other"``.

    Raises:
        ValueError: nothing to count, or ``"other"`` in ``order``.
    """
    names = np.asarray(names, dtype=object)
    if not names.size or "other" in order:
        raise ValueError(f"shares need names, and an order without 'other'; got {names.size} and {list(order)}")
    found = {name: float((names == name).mean()) for name in order}
    return found | {"other": max(0.0, 1 - sum(found.values()))}


# --- Words ----------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """Text without its case, its outer white space, and differences of form (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def classes(tokenizer, ids: Sequence[np.ndarray]) -> np.ndarray:
    """A class number for every token of the vocabulary, int64 ``[V]``, for ``classes`` of the alignment measures.

    Tokens that :func:`fold` makes equal share one. Only tokens that occur in ``ids`` (int arrays of any shape) are
    looked at: with 262 144 tokens that saves seconds. All others keep a class of their own.
    """
    each = [gates.token_ids(a, None, f"ids[{i}]") for i, a in enumerate(ids)]
    occurring = np.unique(np.concatenate([np.empty(0, np.int64), *each]))
    result, first = np.arange(max(len(tokenizer), int(occurring.max(initial=0)) + 1)), {}
    for i, raw in zip(occurring.tolist(), token_bytes(tokenizer, occurring), strict=True):
        try:
            text = fold(raw.decode())
        except UnicodeDecodeError:
            continue
        if text:
            result[i] = first.setdefault(text, i)
    return result


def matches(token: str, word: str) -> bool:
    """Whether a token stands for a word: one contains the other, and the shorter has at least half of its letters.

    Both are folded first. So ``_Gitar`` matches *Gitarre* and ``病`` matches 疾病, but ``in`` does not match *Bühne
    in Berlin*. Languages that join words, or write none apart, need the pieces; the half keeps chance small.
    """
    return _matches(fold(token), fold(word))


def key_hits(tokens: Sequence[Sequence[str]], keys: Sequence[Sequence[str]]) -> np.ndarray:
    """Whether text i's tokens match at least one key word of text j, bool ``[n, n]``.

    The diagonal tells of a text and its own key words; what is beside it is what chance gives. Arguments and errors as
    in :func:`key_counts`.
    """
    return key_counts(tokens, keys) > 0


def key_counts(tokens: Sequence[Sequence[str]], keys: Sequence[Sequence[str]]) -> np.ndarray:
    """How many of text i's tokens match at least one key word of text j, int ``[n, n]``.

    Keys of several languages may stand in one list: a token counts once, whichever of them it matches. A token that
    stands twice in a list counts twice.

    Args:
        tokens: aligned tokens of each text, as text.
        keys: key words of each text, in one language or in several.

    Raises:
        ValueError: different numbers of texts, or a text without keys.
        TypeError: a text's tokens or keys are no list of strings.
    """
    tokens = [gates.texts(row, f"tokens[{i}]", empty=True) for i, row in enumerate(gates.listed(tokens, "tokens"))]
    keys = [gates.texts(row, f"keys[{i}]", empty=True) for i, row in enumerate(gates.listed(keys, "keys"))]
    if len(tokens) != len(keys):
        raise ValueError(f"tokens of {len(tokens)} texts, but keys of {len(keys)}")
    without = [i for i, words in enumerate(keys) if not any(fold(w) for w in words)]
    if without:
        raise ValueError(f"no key word for text(s) {without[:5]}")
    vocabulary = {t: i for i, t in enumerate(dict.fromkeys(fold(t) for row in tokens for t in row))}
    columns = [[vocabulary[fold(t)] for t in row] for row in tokens]
    holding: dict[str, list[int]] = {}
    for token, i in vocabulary.items():
        for piece in _pieces(token):
            holding.setdefault(piece, []).append(i)
    hit = np.zeros((len(vocabulary), len(keys)), dtype=bool)
    for j, words in enumerate(keys):
        for word in {fold(w) for w in words} - {""}:
            hit[holding.get(word, []), j] = True
            hit[[vocabulary[piece] for piece in _pieces(word) if piece in vocabulary], j] = True
    return np.array([hit[rows].sum(axis=0) for rows in columns], dtype=np.int64).reshape(len(tokens), len(keys))


def _pieces(text: str) -> set[str]:
    """Everything that a text contains and that has at least half of its letters: what :func:`matches` accepts in it."""
    n = len(text)
    return {text[i : i + size] for size in range(max(1, (n + 1) // 2), n + 1) for i in range(n - size + 1)}


def _matches(token: str, word: str) -> bool:
    if not token or not word:
        return False
    short, long = sorted((token, word), key=len)
    return short in long and 2 * len(short) >= len(long)


# --- Details --------------------------------------------------------------------------------------


@functools.cache
def _byte_of() -> dict[str, int]:
    """The byte behind each visible character of a byte-level vocabulary.

    Bytes that are visible in Latin-1 stand for themselves, the others are numbered from U+0100 on (Radford et al.
    2019, "Language Models are Unsupervised Multitask Learners", section 2.2, and the published vocabulary).
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(0x100 + n): b for n, b in enumerate(hidden)}


def _parts(raw: bytes) -> list[bytes]:
    """Bytes cut into characters, openings of characters, and runs of continuing bytes."""
    parts, place = [], 0
    while place < len(raw):
        end = place + 1
        limit = place + width(raw[place]) if width(raw[place]) else len(raw)
        while end < min(limit, len(raw)) and width(raw[end]) == 0:
            end += 1
        parts.append(raw[place:end])
        place = end
    return parts


@functools.cache
def _script_of(character: str) -> str | None:
    """The script of a letter or of a mark with a script's name; None for all other characters."""
    if unicodedata.category(character)[0] not in "LM":
        return None
    words = unicodedata.name(character, "").replace("-", " ").split()
    if not words or words[0] in ("COMBINING", "MODIFIER", "VARIATION"):  # marks and signs of no one script
        return None
    name = next((w for w in words if w not in _FORMS), words[0])
    return _RENAMED.get(name, name.capitalize())
