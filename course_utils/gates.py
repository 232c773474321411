"""Gates: what a reader hands over is checked where it enters, once, and in the same words at every door.

A gate returns its input in the one form that the code behind it expects. What does not fit raises ``TypeError``
(another kind of thing), ``ValueError`` (right kind, wrong value) or ``FileNotFoundError``; the message names the
position, or file and line, and says what to do. The gates:

* text: :func:`texts`, :func:`unicode_text`, :func:`listed`; what a word is: :func:`words`, :func:`is_word`;
* ids: :func:`identifiers`, :func:`identifier`;
* numbers: :func:`matrix`, :func:`vector`, :func:`numbers`, :func:`whole`, :func:`token_ids`;
* files: :func:`expanded`, :func:`file`, :func:`lines`, :func:`read_text`, :func:`json_value`, and
  :func:`replacing` for writing.
"""

import functools
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from course_utils import installed_alone

#: The largest number that float32 holds.
LARGEST = float(np.finfo(np.float32).max)

_SURROGATE = re.compile("[\ud800-\udfff]")
#: First bytes of files in other encodings, as Windows programs write them.
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


# --- Texts and ids --------------------------------------------------------------------------------


def texts(values: Iterable[str], name: str = "texts", *, empty: bool = False) -> list[str]:
    """A list of texts, each in Unicode's composed form (NFC): an "ü" is the same however it was typed.

    Args:
        values: a list, tuple, generator, array or pandas Series of strings; the order counts, an index does not.
        name: how the caller's argument is called in messages.
        empty: whether a text may be empty or white space only.

    Raises:
        TypeError: a single string, a mapping, a table, a set, or an entry that is no string (with its position).
        ValueError: an empty text, or one that is not valid Unicode (with its position).
    """
    checked = []
    for i, text in enumerate(listed(values, name)):
        _string(text, name, i)
        if not empty and not text.strip():
            raise ValueError(f"{name}[{i}] is empty; remove it or give it content")
        checked.append(unicode_text(text, f"{name}[{i}]"))
    return checked


def identifiers(values: Iterable[str], n: int | None = None, name: str = "ids") -> list[str]:
    """A list of ids: strings, none empty, all different. They stay as they are: two spellings are two ids.

    Args:
        values: as for :func:`texts`.
        n: how many there must be; any number if not given.
        name: how the caller's argument is called in messages.

    Raises:
        TypeError: as :func:`texts`, with what to write where an id is a number.
        ValueError: another number of ids than ``n``, an id that is empty, occurs twice or is not valid Unicode.
    """
    seen: dict[str, int] = {}
    for i, key in enumerate(listed(values, name)):
        _string(key, name, i)
        key = identifier(key, f"{name}[{i}]")
        if key in seen:
            raise ValueError(f"{name}: {key!r} occurs twice, at {seen[key]} and {i}; ids must differ")
        seen[key] = i
    if n is not None and len(seen) != n:
        raise ValueError(f"{name} holds {len(seen)} ids where {n} are needed, one each")
    return list(seen)


def identifier(value: str | int, place: str) -> str:
    """One id, as files hold it: a string, or a whole number, which becomes one.

    Raises:
        ValueError: something else, an empty id, half a character, or NUL, at which libraries in C cut a string.
    """
    if not isinstance(value, str | int | np.integer) or isinstance(value, bool):
        raise ValueError(f"{place}: an id must be a string or a whole number; got {value!r}")
    key = str(value)
    if not key.strip():
        raise ValueError(f"{place} is {key!r}: an id must not be empty; give it one")
    if "\0" in key:
        raise ValueError(f"{place} holds the character NUL: {key!r}; remove it")
    unicode_text(key, place)
    return key


def unicode_text(text: str, place: str) -> str:
    """A string in composed form (NFC).

    Raises:
        ValueError: half a character: a lone surrogate, as a broken JSON escape leaves it.
    """
    if found := _SURROGATE.search(text):
        raise ValueError(
            f"{place} is not valid Unicode: half a character ({ascii(found[0])}) at position {found.start()}; cut it "
            "out, or put its two halves together again: text.encode('utf-16', 'surrogatepass').decode('utf-16')"
        )
    return unicodedata.normalize("NFC", str(text))


def listed(values: Iterable, name: str) -> list:
    """The entries of a list, tuple, generator, array or pandas Series, in their order.

    Raises:
        TypeError: what looks like a list and is another thing: a string, a mapping, a table, a set …
    """
    kind = type(values).__name__
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list; got a single string: write [text]")
    if isinstance(values, bytes | bytearray):
        raise TypeError(f"{name} must be a list; got {kind}: decode them, for instance [data.decode()]")
    if isinstance(values, Mapping):
        raise TypeError(f"{name} must be a list; got a {kind}, whose keys would be taken: write list({name}.values())")
    if hasattr(values, "columns"):
        raise TypeError(f"{name} must be a list; got a table ({kind}), whose column names would be taken: "
                        f"name a column, {name}['…']")  # fmt: skip
    if isinstance(values, Set):
        raise TypeError(f"{name} must be a list; got a {kind}, which has no order: write sorted({name})")
    if getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name} must be a list; got an array of shape {values.shape}: write list({name}.ravel())")
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list; got {_described(values)}: {values!r}")
    return list(values)


def _string(value: object, name: str, i: int) -> None:
    if isinstance(value, str):
        return
    whole = isinstance(value, int | np.integer)
    remedy = f"write [str(x) for x in {name}]" if whole else "give a string, or leave it out"
    raise TypeError(f"{name}[{i}] is {_described(value)}, not a string: {repr(value)[:80]}; {remedy}")


def _described(value: object) -> str:
    kind = type(value).__name__
    missing = value is None or kind in ("NAType", "NaTType") or isinstance(value, float) and value != value
    return f"{kind} (a missing value)" if missing else kind


# --- Words ----------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """The words of a text, in its own case: runs of letters, digits and what belongs to them.

    A word begins with a letter or digit; marks (Unicode's category M: accents, the vowel signs of Hindi and Tamil),
    connectors and joiners go on with it (Unicode Technical Standard 18, annex C, ``\\p{word}``).
    """
    return re.findall(word_pattern(), unicodedata.normalize("NFC", text))


def is_word(text: str, shortest: int = 1) -> bool:
    """Whether a text is one word, or a piece of one (it may begin with a mark), of ``shortest`` characters or more."""
    text = unicodedata.normalize("NFC", text)
    return len(text) >= shortest and re.fullmatch(f"[{_marks()}]*{word_pattern()}", text) is not None


@functools.cache
def word_pattern(shortest: int = 1) -> str:
    """A regular expression for the words of :func:`words` with at least ``shortest`` characters."""
    return rf"[^\W_][\w{_marks()}]{{{shortest - 1},}}"


@functools.cache
def _marks() -> str:
    """Marks and the two joiners, as ranges inside a character class; Python's ``\\w`` has neither."""
    codes = itertools.chain(range(0x20000), range(0xE0000, 0xE1000))  # between them and above: no mark
    marks = {c for c in codes if unicodedata.category(chr(c))[0] == "M"} | {0x200C, 0x200D}
    starts, ends = (sorted(c for c in marks if c + step not in marks) for step in (-1, 1))
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


# --- Numbers --------------------------------------------------------------------------------------


def matrix(
    values,
    name: str = "embeddings",
    what: str = "[n, d]",
    dtype: type | None = np.float32,
    *,
    whole: bool = False,
    first_row: int = 0,
) -> np.ndarray:
    """A matrix of numbers that float32 can hold, in the machine's byte order and without gaps in memory.

    Args:
        values: numpy array, nested list, or tensor (of any device).
        name: how the caller's argument is called in messages.
        what: its shape, in words.
        dtype: ``np.float32`` or ``np.float64``; None leaves them in the precision that they have.
        whole: whether whole numbers will do.
        first_row: the number of its first row in messages, where a larger matrix is checked piece by piece.

    Raises:
        ValueError: no floating-point numbers, other dimensions, or NaN or infinity (with the first rows).
    """
    array = numbers(values, name, what)
    if array.dtype.kind != "f" and not whole:
        raise ValueError(f"{name} must hold floating-point numbers; got {array.dtype}: write {name}.astype('float32')")
    if array.ndim != 2:
        raise ValueError(f"{name} must be {what}; got shape {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite
        array = np.ascontiguousarray(array, dtype=dtype or array.dtype.newbyteorder("="))
        squares = float(array.ravel() @ array.ravel())
    # Row by row only where the sum of squares gives cause: it takes a twentieth of a second for the largest matrix.
    if not squares <= LARGEST**2 and not (np.abs(array) <= LARGEST).all():
        bad = first_row + np.flatnonzero(~(np.abs(array) <= LARGEST).all(axis=1))
        raise ValueError(
            f"{name} hold NaN or infinity in row(s) {bad[:5].tolist()}, or numbers beyond ±{LARGEST:.2g}; leave these "
            "rows out, or find out where they come from"
        )
    return array


def vector(values, name: str) -> np.ndarray:
    """Numbers in a row, float64 ``[n]``, none of them NaN or infinite.

    Raises:
        ValueError: no numbers, other dimensions, or NaN or infinity (with the position).
    """
    array = numbers(values, name, "[n]").astype(np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension; got shape {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        position = int(np.argmin(finite))
        raise ValueError(f"{name}[{position}] is {array[position]}; remove it or find out where it comes from")
    return array


def numbers(values, name: str, what: str = "an array") -> np.ndarray:
    """An array of real numbers, of the kind that they are; of tensors those that numpy lacks become float32.

    Raises:
        ValueError: rows of different length, or something that is no number.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be {what}: its rows differ in length; make them equal") from None
    if array.dtype.kind not in "biuf" and array.size:
        raise ValueError(f"{name} must be {what} of numbers; got {type(values).__name__} of {array.dtype}")
    return array if array.size else array.astype(np.float64)


def whole(value: object, name: str, least: int = 1, most: int | None = None, what: str = "") -> int:
    """A whole number, of Python's or numpy's kinds: how many of something.

    Args:
        value: the number.
        name: how the caller's argument is called in messages.
        least, most: its bounds; no upper one if ``most`` is None.
        what: what there are ``most`` of, for the message.

    Raises:
        ValueError: no whole number, or one out of bounds.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number; got {value!r}")
    if most is not None and not least <= value <= most:
        raise ValueError(f"{name} must lie between {least} and the {most} {what}; got {value}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")
    return int(value)


def token_ids(ids: Iterable[int], size: int | None, name: str) -> np.ndarray:
    """Token ids that have a row in a matrix of ``size`` rows (if given), int64 ``[k]``.

    Raises:
        ValueError: no whole numbers, or one out of range.
    """
    array = numbers(list(ids) if isinstance(ids, Set | Iterator | range) else ids, name, "token ids").ravel()
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be token ids, whole numbers; got {array.dtype}")
    outside = (array < 0) | (array >= (np.inf if size is None else size))
    if outside.any():
        rows = "" if size is None else f" of {size}"
        raise ValueError(f"{name}: token {array[outside][0]} is outside the vocabulary{rows}; leave it out")
    return array.astype(np.int64)


# --- Files ----------------------------------------------------------------------------------------


def expanded(value: Path | str, name: str = "the path") -> Path:
    """A path with ``~`` expanded, whether something is there or not.

    Raises:
        TypeError: neither string nor path.
        ValueError: empty, not valid Unicode, or ``~`` where nobody's home folder is known.
    """
    if not isinstance(value, str | Path):
        raise TypeError(f"{name} must be a path; got {_described(value)}: {value!r}")
    if not str(value).strip() or "\0" in str(value):
        raise ValueError(f"{name} is {str(value)!r}; give a path")
    unicode_text(str(value), name)
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name} {str(value)!r}: {error} Write the path in full") from None


def is_folder(place: Path) -> bool:
    """Whether a folder of that name is there; a name that no file can have is none."""
    try:
        return place.is_dir()
    except OSError:  # for instance too long a name
        return False


def is_file(place: Path) -> bool:
    """Whether a file of that name is there; a name that no file can have is none."""
    try:
        return place.is_file()
    except OSError:
        return False


def file(place: Path | str) -> Path:
    """The path of a file that is there, with ``~`` expanded.

    Raises:
        TypeError, ValueError: as :func:`expanded`.
        FileNotFoundError: it is not there, or is a folder.
    """
    found = expanded(place)
    if not is_file(found):
        what = "is a folder, not a file" if is_folder(found) else "does not exist"
        raise FileNotFoundError(f"{found} {what} (looked for it in {Path.cwd()}){installed_alone(found)}")
    return found


def lines(path: Path | str) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file, each with its place (``FILE, line 3``) for messages.

    A byte order mark, which Windows programs write at the start, is left out, and so is the end of a line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another encoding, or an empty line; names file and line.
    """
    rows = read_text(path).split("\n")
    for number, row in enumerate(rows if rows[-1] else rows[:-1], start=1):
        place = f"{path}, line {number}"
        if not row.strip():
            raise ValueError(f"{place} is empty; remove it")
        yield place, row.rstrip("\r")


def read_text(path: Path | str) -> str:
    """A whole UTF-8 file, without a byte order mark. Errors as :func:`lines`, save that empty lines are welcome."""
    content = file(path).read_bytes()
    name = _OTHER_ENCODINGS.get(content[:2]) or ("UTF-16" if b"\0" in content[:4] else None)
    if name:
        raise ValueError(f"{path} is {name} text: save it as UTF-8 (in an editor: Save as, Encoding)")
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line} is not UTF-8 text ({error.reason}); save the file as UTF-8 (in an editor: Save as, "
            "Encoding)"
        ) from None


def json_value(text: str, place: str) -> object:
    """The value that a piece of JSON holds.

    Raises:
        ValueError: no valid JSON, a key that an object holds twice, or a string with half a character; names the place.
    """
    if not text.strip():
        raise ValueError(f"{place} is empty; remove it")
    twice = []

    def as_dict(pairs: list[tuple[str, object]]) -> dict:
        keys = [key for key, _ in pairs]
        result = dict(pairs)
        twice.extend(key for key in result if len(result) < len(keys) and keys.count(key) > 1)
        return result

    try:
        value = json.loads(text, object_pairs_hook=as_dict)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not valid JSON ({getattr(error, 'msg', error)}): {text[:80]!r}") from None
    if twice:
        raise ValueError(f"{place}: the key {twice[0]!r} occurs twice in one object; remove one of them")
    if "\\ud" in text.lower() or _SURROGATE.search(text):  # only an escape can hold half a character
        _no_half_character(value, place)
    return value


def _no_half_character(value: object, place: str) -> None:
    if isinstance(value, str):
        unicode_text(value, place)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _no_half_character(key, place)
            _no_half_character(inner, f"{place}, {key!r}")
    elif isinstance(value, list):
        for inner in value:
            _no_half_character(inner, place)


@contextmanager
def replacing(path: Path | str) -> Iterator[TextIO]:
    """A UTF-8 file to write to, which takes its place, or that of an older one, only when it is complete.

    If writing fails the older file stays and no half file is left.

    Raises:
        FileNotFoundError: no such folder.
    """
    path = expanded(path)
    if not is_folder(path.parent):
        raise FileNotFoundError(f"{path.parent} is no folder (looked for it in {Path.cwd()}); make it first")
    if is_folder(path):
        raise FileNotFoundError(f"{path} is a folder, not a file; give the name of a file")
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as stream:
            yield stream
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
