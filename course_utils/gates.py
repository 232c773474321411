"""Gates: what a reader hands over is checked where it enters, once, and in the same words at every door.

A gate returns its input in the one form that the code behind it expects. What does not fit raises ``TypeError``
(another kind of thing), ``ValueError`` (right kind, wrong value) or ``FileNotFoundError``; the message names the
position, or file and line, and says what to do. The gates: :func:`texts`, :func:`identifiers`, :func:`matrix`,
:func:`file`, :func:`lines` (with :func:`read_text` and :func:`json_value` for whole files and single values).
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path

import numpy as np

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
    for i, text in enumerate(_listed(values, name)):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}] is {_described(text)}, not a string: {text!r}")
        if not empty and not text.strip():
            raise ValueError(f"{name}[{i}] is empty; remove it or give it content")
        checked.append(unicode_text(text, f"{name}[{i}]"))
    return checked


def identifiers(values: Iterable[str], n: int | None = None, name: str = "ids") -> list[str]:
    """A list of ids: strings, none empty, all different.

    Args:
        values: as for :func:`texts`.
        n: how many there must be; any number if not given.
        name: how the caller's argument is called in messages.

    Raises:
        TypeError: as :func:`texts`, with what to write where an id is a number.
        ValueError: another number of ids than ``n``, an id that is empty, occurs twice or is not valid Unicode.
    """
    seen: dict[str, int] = {}
    for i, key in enumerate(_listed(values, name)):
        if not isinstance(key, str):
            remedy = f"; write [str(i) for i in {name}]" if isinstance(key, int | np.integer) else ""
            raise TypeError(f"{name}[{i}] is {_described(key)}, not a string: {key!r}{remedy}")
        identifier(key, f"{name}[{i}]")
        if key in seen:
            raise ValueError(f"{name}: {key!r} occurs twice, at {seen[key]} and {i}; ids must differ")
        seen[key] = i
    if n is not None and len(seen) != n:
        raise ValueError(f"{name} holds {len(seen)} ids where {n} are needed, one each")
    return list(seen)


def identifier(key: str, place: str) -> str:
    """One id: not empty, valid Unicode, without the character NUL, at which libraries in C cut a string."""
    if not key.strip():
        raise ValueError(f"{place} is {key!r}: an id must not be empty")
    if "\0" in key:
        raise ValueError(f"{place} holds the character NUL: {key!r}; remove it")
    return unicode_text(key, place)


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
    return unicodedata.normalize("NFC", text)


def _listed(values: Iterable, name: str) -> list:
    kind = type(values).__name__
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of strings; got a single string: write [text]")
    if isinstance(values, bytes):
        raise TypeError(f"{name} must be a list of strings; got bytes: decode them, for instance [data.decode()]")
    if isinstance(values, Mapping):
        raise TypeError(f"{name} must be a list of strings; got a {kind}, whose keys would be taken: write "
                        f"list({name}.values())")  # fmt: skip
    if hasattr(values, "columns"):
        raise TypeError(f"{name} must be a list of strings; got a table ({kind}), whose column names would be taken: "
                        f"name a column, {name}['…']")  # fmt: skip
    if isinstance(values, Set):
        raise TypeError(f"{name} must be a list of strings; got a {kind}, which has no order: write sorted({name})")
    if getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name} must be a list of strings; got an array of shape {values.shape}")
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of strings; got {_described(values)}: {values!r}")
    return list(values)


def _described(value: object) -> str:
    missing = value is None or (isinstance(value, float | np.floating) and np.isnan(value))
    return f"{type(value).__name__} (a missing value)" if missing else type(value).__name__


# --- Numbers --------------------------------------------------------------------------------------


def matrix(values, name: str = "embeddings", what: str = "[n, d]") -> np.ndarray:
    """A float32 array with two dimensions, in the machine's byte order and without gaps in memory.

    Args:
        values: numpy array, nested list, or tensor (of any device).
        name: how the caller's argument is called in messages.
        what: its shape, in words.

    Raises:
        ValueError: no floating-point numbers, other dimensions, or NaN or infinity (with the first rows).
    """
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be {what}: its rows differ in length ({error})") from None
    if array.dtype.kind != "f":
        raise ValueError(f"{name} must hold floating-point numbers; got {array.dtype}: write {name}.astype('float32')")
    if array.ndim != 2:
        raise ValueError(f"{name} must be {what}; got shape {array.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
        array = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(f"{name} hold NaN or infinity in row(s) {bad[:5].tolist()}")
    return array


# --- Files ----------------------------------------------------------------------------------------


def file(path: Path | str) -> Path:
    """The path of a file that is there, with ``~`` expanded.

    Raises:
        FileNotFoundError: it is not there, or is a folder.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what} (looked for it in {Path.cwd()})")
    return path


def lines(path: Path | str) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file, each with its place (``FILE, line 3``) for messages.

    A byte order mark, which Windows programs write at the start, is left out, and so is the end of a line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another encoding, half a character, or an empty line; names file and line.
    """
    path = file(path)
    content = path.read_bytes()
    if name := _OTHER_ENCODINGS.get(content[:2]):
        raise ValueError(f"{path} is {name} text: save it as UTF-8 (in an editor: Save as, Encoding)")
    rows = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, row in enumerate(rows if rows[-1] else rows[:-1], start=1):
        place = f"{path}, line {number}"
        try:
            text = row.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{place} is not UTF-8 text ({error.reason} at byte {error.start}): save the file as UTF-8"
            ) from None
        if not text.strip():
            raise ValueError(f"{place} is empty; remove it")
        yield place, text


def read_text(path: Path | str) -> str:
    """A whole UTF-8 file. Errors as :func:`lines`, save that empty lines are welcome."""
    path = file(path)
    content = path.read_bytes()
    if name := _OTHER_ENCODINGS.get(content[:2]):
        raise ValueError(f"{path} is {name} text: save it as UTF-8 (in an editor: Save as, Encoding)")
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line} is not UTF-8 text ({error.reason}): save the file as UTF-8"
        ) from None


def json_value(text: str, place: str) -> object:
    """The value that a piece of JSON holds.

    Raises:
        ValueError: no valid JSON, a key that an object holds twice, or a string with half a character; names the place.
    """
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: _no_key_twice(pairs, place))
    except json.JSONDecodeError as error:
        raise ValueError(f"{place} is not valid JSON ({error.msg}): {text[:80]!r}") from None
    _no_half_character(value, place)
    return value


def _no_key_twice(pairs: Sequence[tuple[str, object]], place: str) -> dict:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{place}: the key {twice!r} occurs twice in one object")
    return result


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
