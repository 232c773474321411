"""The course's parallel sentences: the same sentence in eight languages, key words marked in each.

    from course_utils.texts import parallel
    parallel.sentences("sw")      # 120 Swahili sentences, in the order of every other language
    parallel.keys("sw")           # the key words of each, in the order of every other language
    several-tokens data check-parallel [FILE]      # check a file, all faults with line numbers

A line of the file is ``{"id", "kind", "subject", "text": {"en": ..., ...}, "keys": {"en": [...], ...}}``;
the data card ``data/parallel.md`` says who wrote it and what it must not be used for.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from course_utils.texts import readers

FILE = Path(__file__).resolve().parents[2] / "data" / "parallel.jsonl"

LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "es": "Spanish",
    "de": "German",
    "fr": "French",
    "ar": "Arabic",
    "hi": "Hindi",
    "sw": "Swahili",
}

#: How :func:`unicodedata.name` begins for the letters of a language.
SCRIPTS = dict.fromkeys(LANGUAGES, "LATIN") | {"zh": "CJK", "ar": "ARABIC", "hi": "DEVANAGARI"}

KINDS = ("everyday", "encyclopedic")

#: The one-word prompt (:data:`course_utils.models.prompts.ONE_WORD`) in the language of the sentence: what stands
#: before it and after it. Quotation marks and colons are those of the English prompt, so that the state is read at the
#: same token. Written by the authors of the course; no native speaker has read them.
ONE_WORD = {
    "en": ('This sentence : "', '" means in one word:"'),
    "zh": ('这句话 : "', '" 用一个词来说是:"'),
    "es": ('Esta frase : "', '" significa en una palabra:"'),
    "de": ('Dieser Satz : "', '" bedeutet in einem Wort:"'),
    "fr": ('Cette phrase : "', '" signifie en un mot:"'),
    "ar": ('هذه الجملة : "', '" تعني في كلمة واحدة:"'),
    "hi": ('यह वाक्य : "', '" का मतलब एक शब्द में:"'),
    "sw": ('Sentensi hii : "', '" inamaanisha kwa neno moja:"'),
}

# Old national character sets hold the letters of their language and few others: GB 2312 has no traditional
# characters, ISO 8859-6 no Persian letters. Hindi has no such codec in Python; its script alone must do.
_CODECS = {
    "en": "ascii",
    "zh": "gb2312",
    "es": "iso8859-1",
    "de": "iso8859-1",
    "fr": "iso8859-15",
    "ar": "iso8859-6",
    "sw": "ascii",
}
_SIGNS = dict.fromkeys(LANGUAGES, " ,.?!:;'-") | {"zh": "，。？！、：；", "ar": " ،.؟!:؛", "hi": " ,।?!:;-"}
_SIGNS["es"] += "¿¡"
_ENDS = dict.fromkeys(LANGUAGES, ".?!") | {"zh": "。？！", "ar": ".؟!", "hi": "।?!"}


# --- What the lessons read ------------------------------------------------------------------------


def sentences(language: str) -> list[str]:
    """Return the sentences in one language; sentence ``i`` says the same in all of them.

    Raises:
        ValueError: a language that is not in :data:`LANGUAGES`, or a damaged file.
    """
    return [row["text"][_known(language)] for row in rows()]


def keys(language: str) -> list[list[str]]:
    """Return the key words of every sentence in one language, as they stand in :func:`sentences`.

    Word ``j`` of sentence ``i`` means the same in all languages, so ``keys("de")[i][j]`` translates
    ``keys("en")[i][j]``. In Arabic the article, conjunctions and prepositions that are written onto
    a word are not part of the key.

    Raises:
        ValueError: a language that is not in :data:`LANGUAGES`, or a damaged file.
    """
    return [list(row["keys"][_known(language)]) for row in rows()]


@cache
def rows() -> tuple[dict, ...]:
    """Return all lines of the course's file, checked; treat them as read-only."""
    return tuple(read(FILE))


def read(path: Path | str = FILE) -> list[dict]:
    """Read and check a file of parallel sentences.

    Raises:
        FileNotFoundError: no such file.
        ValueError: what :func:`problems` found, each with file and line.
    """
    found = problems(path)
    if found:
        more = f"\n... and {len(found) - 5} more" if len(found) > 5 else ""
        raise ValueError("\n".join(found[:5]) + more)
    return readers.read_jsonl(path, ())


def script(letter: str) -> str:
    """Return the script of a letter or vowel sign: ``"LATIN"``, ``"CJK"``, ``"ARABIC"``, ``"DEVANAGARI"`` ...

    It is the first word of the character's Unicode name; ``"UNNAMED"`` if it has none.
    """
    return unicodedata.name(letter, "UNNAMED").split()[0]


def _known(language: str) -> str:
    if language not in LANGUAGES:
        raise ValueError(f"no language {language!r}; choose one of: {', '.join(LANGUAGES)}")
    return language


# --- The validator --------------------------------------------------------------------------------


def problems(path: Path | str = FILE) -> list[str]:
    """Return every fault of a file as ``"FILE, line N: what is wrong"``; an empty list means that it is sound.

    Raises:
        FileNotFoundError: no such file.
    """
    rows, found = readers.rows_and_faults(path)
    first_seen: dict = {}
    for number, row in rows:
        found += [(number, fault) for fault in _line_faults(row, number, first_seen)]
    return [f"{path}, line {number}: {fault}" for number, fault in sorted(found, key=lambda f: f[0])]


def _line_faults(row: dict, number: int, first_seen: dict) -> Iterator[str]:
    """Faults of one line; ``first_seen`` maps ids and sentences to their place and is filled here."""
    expected = ("id", "kind", "subject", "text", "keys")
    if set(row) != set(expected):
        yield f"must be a JSON object with exactly {', '.join(expected)}; got {_names(row)}"
        return
    for name in ("id", "subject"):
        if not isinstance(row[name], str) or not row[name].strip():
            yield f"{name!r} must be a name; got {row[name]!r}"
    if row["kind"] not in KINDS:
        yield f"'kind' must be one of {', '.join(KINDS)}; got {row['kind']!r}"
    wrong = [name for name in ("text", "keys") if not isinstance(row[name], dict)]
    wrong += [name for name in ("text", "keys") if name not in wrong and set(row[name]) != set(LANGUAGES)]
    for name in wrong:
        yield f"{name!r} must have the languages {', '.join(LANGUAGES)}; got {_names(row[name])}"
    if wrong:
        return
    yield from _repeated("id", row["id"], f"line {number}", first_seen)
    for language in LANGUAGES:
        text, marked = row["text"][language], row["keys"][language]
        where = f"{LANGUAGES[language]}: "
        if not isinstance(text, str) or not text.strip():
            yield f"{where}the text is empty or no string: {text!r}"
            continue
        yield from _repeated("sentence", text, f"line {number}, {LANGUAGES[language]}", first_seen)
        yield from (where + fault for fault in _text_faults(text, language))
        yield from (where + fault for fault in _key_faults(text, marked, language))
    lengths = {language: len(marked) for language, marked in row["keys"].items() if isinstance(marked, list)}
    if len(set(lengths.values())) > 1:
        usual = Counter(lengths.values()).most_common(1)[0][0]
        odd = ", ".join(f"{language} has {n}" for language, n in lengths.items() if n != usual)
        yield f"the languages differ in the number of keys: most have {usual}, {odd}"


def _repeated(what: str, value: str, place: str, first_seen: dict) -> Iterator[str]:
    first = first_seen.setdefault((what, str(value)), place)
    if first != place:
        yield f"the {what} {value!r} stands in {first} already"


def _text_faults(text: str, language: str) -> Iterator[str]:
    if not unicodedata.is_normalized("NFC", text):
        yield f"not in Unicode normal form NFC: {text!r}; use unicodedata.normalize('NFC', text)"
    if text != " ".join(text.split(" ")).strip() or "  " in text:
        yield f"spaces at the ends or two in a row: {text!r}"
    if text[-1] not in _ENDS[language]:
        yield f"must end with one of {' '.join(_ENDS[language])}; ends with {_spelled(text[-1])}"
    for sign in dict.fromkeys(text):
        # Letters and the vowel signs of Devanagari; digits are common to all languages here.
        if unicodedata.category(sign)[0] in "LM":
            if script(sign) != SCRIPTS[language]:
                yield f"{_spelled(sign)} is not {SCRIPTS[language]} script"
            elif not _encodes(sign, _CODECS.get(language, "utf-8")):
                yield f"{_spelled(sign)} is no letter of this language"
        elif sign not in _SIGNS[language] and sign not in "0123456789":
            yield f"{_spelled(sign)} is no sign this language uses here"


def _key_faults(text: str, marked: object, language: str) -> Iterator[str]:
    if not isinstance(marked, list) or not 1 <= len(marked) <= 3:
        yield f"expected a list of 1 to 3 keys; got {marked!r}"
        return
    for key in marked:
        if not isinstance(key, str) or not key.strip():
            yield f"a key is empty or no string: {key!r}"
        elif key not in text:
            yield f"the key {key!r} does not stand in {text!r}"
        elif not _is_word(key, text, language):
            yield f"the key {key!r} is only a part of a word in {text!r}"
    if len(set(map(str, marked))) < len(marked):
        yield f"a key is marked twice: {marked!r}"


def _is_word(key: str, text: str, language: str) -> bool:
    """Whether ``key`` stands in ``text`` without a letter before or after it; Chinese writes no spaces."""
    if language == "zh":
        return True
    start = text.find(key)
    while start >= 0:
        before, after = text[:start][-1:], text[start + len(key) :][:1]
        # Arabic writes the article and some prepositions onto the word that follows.
        if not _is_letter(after) and (language == "ar" or not _is_letter(before)):
            return True
        start = text.find(key, start + 1)
    return False


def _is_letter(sign: str) -> bool:
    return bool(sign) and unicodedata.category(sign)[0] in "LM"


def _encodes(sign: str, codec: str) -> bool:
    try:
        sign.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _spelled(sign: str) -> str:
    return f"{sign!r} (U+{ord(sign):04X} {unicodedata.name(sign, 'unnamed')})"


def _names(value: object) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, Mapping) else repr(value)[:60]


def summary(path: Path | str = FILE) -> str:
    """What a sound file holds, in words: sentences, languages, and how many of each kind and subject."""
    rows = read(path)
    lines = [f"{len(rows)} sentences in {len(LANGUAGES)} languages, no fault"]
    for name in ("kind", "subject"):
        lines.append(f"{name}: " + ", ".join(f"{value} {n}" for value, n in Counter(r[name] for r in rows).items()))
    return "\n".join(lines)
