"""The gates: each lets good input through in one form, and refuses the rest in its own words, by position or line.

The generated inputs stand for what readers hand over; a gate must end in the right value or in an error of ours.
"""

import json
import math
import re
import sys
import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ours import is_ours, outcome

from course_utils import gates
from course_utils.measures import evaluation

SETTINGS = settings(max_examples=120, derandomize=True, deadline=None, database=None)
HALF = "\ud83d"
GAPS = pd.Series(["a", "b", "c"])[[2, 0]]

# --- Texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (("a",), ["a"]),
        ((t for t in "ab"), ["a", "b"]),
        (np.array(["x", "y"]), ["x", "y"]),
        (GAPS, ["c", "a"]),
        ({"k": "v"}.values(), ["v"]),
        ([], []),
        (["Zu\u0308rich"], ["Zürich"]),
    ],
)
def test_texts_come_in_any_kind_of_list_and_leave_as_a_list(values, expected):
    found = gates.texts(values)
    assert found == expected and all(type(text) is str for text in found)


NO_LISTS = [
    ("a text", "write [text]"),
    (b"bytes", "decode them"),
    ({"a": "b"}, "keys would be taken: write list(texts.values())"),
    (pd.DataFrame({"a": ["x"]}), "name a column, texts['…']"),
    ({"a", "b"}, "write sorted(texts)"),
    (np.array([["a"]]), "shape (1, 1)"),
    (np.array("a"), "shape ()"),
    (None, "NoneType (a missing value)"),
    (7, "got int: 7"),
]
NO_TEXTS = [
    (["a", 7], TypeError, "texts[1] is int, not a string: 7; write [str(x) for x in texts]"),
    (["a", None], TypeError, "texts[1] is NoneType (a missing value)"),
    ([float("nan")], TypeError, "texts[0] is float (a missing value)"),
    ([pd.NA], TypeError, "texts[0] is NAType (a missing value)"),
    (["a", b"b"], TypeError, "texts[1] is bytes"),
    (["a", ["b"]], TypeError, "texts[1] is list"),
    (["a", " \n"], ValueError, "texts[1] is empty; remove it"),
    (["a", "b" + HALF], ValueError, "texts[1] is not valid Unicode: half a character ('\\ud83d') at position 1"),
]


@pytest.mark.parametrize(("values", "said"), NO_LISTS)
def test_what_is_no_list_of_texts_is_refused(values, said):
    for gate in (gates.texts, gates.identifiers, gates.listed):
        with pytest.raises(TypeError, match=re.escape(said)):
            gate(values, name="texts")


@pytest.mark.parametrize(("values", "kind", "said"), NO_TEXTS)
def test_what_is_no_text_is_refused_with_its_position(values, kind, said):
    with pytest.raises(kind, match=re.escape(said)):
        gates.texts(values)


def test_an_empty_text_is_welcome_where_it_means_something():
    assert gates.texts(["", " "], empty=True) == ["", " "]


ENTRIES = st.one_of(
    st.text(max_size=8), st.text(st.characters(categories=["Cs", "L", "M"]), max_size=4), st.none(), st.integers(),
    st.floats(), st.binary(max_size=3), st.lists(st.text(max_size=2), max_size=2), st.just(pd.NA),
)  # fmt: skip
CONTAINERS = st.sampled_from([
    list, tuple, iter, lambda x: pd.Series(x, index=range(5, 5 + 2 * len(x), 2), dtype=object),
    lambda x: np.array(x + [None], dtype=object)[:-1], lambda x: dict(enumerate(x)),
    lambda x: pd.DataFrame({"text": pd.Series(x, dtype=object)}),
])  # fmt: skip


def first_wrong(values, empty):
    for i, value in enumerate(values):
        sound = isinstance(value, str) and not any(0xD800 <= ord(c) < 0xE000 for c in value)
        if not sound or not (empty or value.strip()):
            return i
    return None


@SETTINGS
@given(st.lists(ENTRIES, max_size=5), CONTAINERS, st.booleans())
def test_any_list_of_texts_ends_in_texts_or_in_its_first_wrong_entry(values, container, empty):
    held = container(values)
    found, wrong = outcome(gates.texts, held, empty=empty), first_wrong(values, empty)
    if isinstance(held, dict | pd.DataFrame):
        assert isinstance(found, TypeError) and "would be taken" in str(found)
    elif wrong is None:
        assert found == [unicodedata.normalize("NFC", value) for value in values]
    else:
        assert isinstance(found, TypeError | ValueError) and f"texts[{wrong}] is " in str(found)


# --- Ids ------------------------------------------------------------------------------------------


def test_ids_stay_as_they_are():
    assert gates.identifiers(GAPS, 2) == ["c", "a"]
    assert gates.identifiers(["Zu\u0308rich", "Zürich", "a b"]) == ["Zu\u0308rich", "Zürich", "a b"]
    assert gates.identifier(7, "x") == gates.identifier(np.int64(7), "x") == "7"


@pytest.mark.parametrize(
    ("ids", "n", "kind", "said"),
    [
        ([1, 2], None, TypeError, "ids[0] is int, not a string: 1; write [str(x) for x in ids]"),
        (np.arange(2), None, TypeError, "write [str(x) for x in ids]"),
        (["a", ""], None, ValueError, "ids[1] is '': an id must not be empty"),
        (["a", " "], None, ValueError, "ids[1] is ' '"),
        (["a", "b", "a"], None, ValueError, "ids: 'a' occurs twice, at 0 and 2"),
        (["a"], 2, ValueError, "ids holds 1 ids where 2 are needed"),
        (["a\0b"], None, ValueError, "ids[0] holds the character NUL"),
        ([HALF], None, ValueError, "ids[0] is not valid Unicode"),
    ],
)
def test_ids_that_cannot_be_told_apart_or_kept_are_refused(ids, n, kind, said):
    with pytest.raises(kind, match=re.escape(said)):
        gates.identifiers(ids, n)


@SETTINGS
@given(st.lists(ENTRIES, max_size=5))
def test_any_list_of_ids_ends_in_ids_or_names_one(values):
    found = outcome(gates.identifiers, values)
    sound = first_wrong(values, False) is None and not any("\0" in v for v in values) and len({*values}) == len(values)
    assert found == values if sound else re.search(r"ids(\[\d\] |: .*occurs twice)", str(found))


@pytest.mark.parametrize("value", [0, 1, -2, 1000, np.int64(3), np.int8(1), 2.0, np.float32(2), True, np.bool_(True)])
def test_a_relevance_is_a_whole_number_of_any_kind(value):
    found = evaluation.relevance(value, "x")
    assert type(found) is int and found == value


@pytest.mark.parametrize("value", [0.5, "1", None, float("nan"), float("inf"), [1], 2**31, 2**40, -3, 1001, 10**400])
def test_a_relevance_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="^here: the score must (be a whole number|lie between -2 and 1000)"):
        evaluation.relevance(value, "here")


# --- Words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man, two dogs.", ["A", "man", "two", "dogs"]),
        ("Zu\u0308rich, Zürich", ["Zürich", "Zürich"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("العَرَبِيَّة", ["العَرَبِيَّة"]),
        ("क्\u200dष", ["क्\u200dष"]),
        ("don't _x a_b 3,5 n²", ["don", "t", "x", "a_b", "3", "5", "n²"]),
        ("\u0301 — ... _", []),
        ("", []),
    ],
)
def test_a_word_holds_its_marks(text, expected):
    assert gates.words(text) == expected


def test_a_piece_of_a_word_may_begin_with_a_mark():
    assert gates.is_word("ाल") and gates.is_word("न") and not gates.is_word("न", 2)
    assert not any(map(gates.is_word, ["", "_", "a b", "\u0301", "-"]))


def test_the_marks_are_those_of_the_unicode_database():
    marks = re.compile(f"[{gates._marks()}]")
    inside = {c for c in map(chr, range(sys.maxunicode + 1)) if marks.fullmatch(c)}
    expected = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] == "M"}
    assert inside == expected | {"\u200c", "\u200d"}


@SETTINGS
@given(st.text(st.characters(max_codepoint=0x2FF), max_size=40))
def test_without_marks_words_are_those_of_python(text):
    assert gates.words(text) == [w.lstrip("_") for w in re.findall(r"\w+", text) if w.strip("_")]


# --- Numbers --------------------------------------------------------------------------------------

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(
    "values",
    [
        ROWS, ROWS.astype(">f4"), ROWS.astype(">f8"), ROWS.astype(np.float16), ROWS[::-1].copy()[::-1],
        np.asfortranarray(ROWS), ROWS.tolist(), torch.from_numpy(ROWS.copy()).bfloat16(),
        torch.from_numpy(ROWS.copy()).requires_grad_(),
        pd.DataFrame(ROWS), np.ma.array(ROWS), np.broadcast_to(ROWS, ROWS.shape),
    ],
)  # fmt: skip
def test_a_matrix_comes_in_any_kind_and_leaves_plain(values):
    found = gates.matrix(values)
    assert type(found) is np.ndarray and found.dtype == np.dtype("float32") and found.flags.c_contiguous
    np.testing.assert_array_equal(found, ROWS)
    assert gates.matrix(values, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (ROWS.astype(int), "h must hold floating-point numbers; got int64: write h.astype('float32')"),
        (ROWS[0], "h must be [n, d]; got shape (3,)"),
        ([[1.0], [1.0, 2.0]], "h must be [n, d]: its rows differ in length"),
        ([["a"]], "h must be [n, d] of numbers; got list of <U1"),
        ([[None]], "h must be [n, d] of numbers; got list of object"),
        (ROWS * 1j, "got ndarray of complex"),
        ("abc", "got str of <U3"),
        (np.array([[0.0], [np.nan], [np.inf]]), "h hold NaN or infinity in row(s) [1, 2]"),
        (np.array([[1e300], [0.0]]), "row(s) [0], or numbers beyond ±3.4e+38"),
    ],
)
def test_what_is_no_matrix_is_refused(values, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        gates.matrix(values, "h")


def test_whole_numbers_will_do_where_the_door_says_so():
    assert gates.matrix([[1, 2]], dtype=np.float64, whole=True).tolist() == [[1.0, 2.0]]


@SETTINGS
@given(
    st.one_of(
        hnp.arrays(
            st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "i8", "u1", "?", "c8"]),
            hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
        ),
        st.lists(st.lists(st.one_of(st.floats(), st.none(), st.text(max_size=2)), max_size=3), max_size=3),
    ),
    st.sampled_from([np.float32, np.float64, None]),
)
def test_any_array_ends_in_a_finite_matrix_or_is_named(values, dtype):
    found = outcome(gates.matrix, values, "h", dtype=dtype)
    if isinstance(found, np.ndarray):
        assert found.ndim == 2 and np.isfinite(found.astype(np.float32)).all()
        np.testing.assert_allclose(found, np.asarray(values, dtype=np.float64), rtol=1e-6, atol=1e-40)
    else:
        assert str(found).startswith("h ")


@SETTINGS
@given(hnp.arrays("f8", st.integers(0, 6)))
def test_any_vector_is_finite_or_its_first_hole_is_named(values):
    found = outcome(gates.vector, values, "v")
    holes = np.flatnonzero(~np.isfinite(values))
    assert f"v[{holes[0]}] is" in str(found) if len(holes) else found.tolist() == values.tolist()


@SETTINGS
@given(st.lists(st.one_of(st.integers(-3, 12), st.floats(-3, 12), st.booleans(), st.text(max_size=1)), max_size=5))
def test_any_token_ids_lie_in_the_vocabulary_or_are_refused(ids):
    found = outcome(gates.token_ids, ids, 10, "exclude")
    whole = all(isinstance(i, int) for i in ids) and any(type(i) is int for i in ids)  # among numbers, True is 1
    if not ids or whole and all(0 <= i < 10 for i in ids):
        assert found.tolist() == ids and found.dtype == np.int64
    else:
        assert re.match("exclude(: token -?\\d+ is outside the vocabulary of 10| must be)", str(found))


def test_token_ids_may_be_a_set_or_a_range():
    assert sorted(gates.token_ids({3, 1}, 4, "x").tolist()) == [1, 3]
    assert gates.token_ids(range(3), 4, "x").tolist() == [0, 1, 2]


# --- Files ----------------------------------------------------------------------------------------


def test_files_that_are_not_there_are_named(tmp_path, monkeypatch):
    for gate in (gates.file, gates.read_text, lambda p: list(gates.lines(p))):
        with pytest.raises(FileNotFoundError, match=r"none.txt does not exist \(looked for it in"):
            gate(tmp_path / "none.txt")
        with pytest.raises(FileNotFoundError, match="is a folder, not a file"):
            gate(tmp_path)
    (tmp_path / "x.txt").write_text("a")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gates.file("~/x.txt") == tmp_path / "x.txt"


def test_lines_have_their_places_whoever_wrote_the_file(tmp_path):
    path = tmp_path / "x.txt"
    for content in (b"a\n\xc3\xbc\n", b"a\n\xc3\xbc", b"\xef\xbb\xbfa\r\n\xc3\xbc\r\n"):
        path.write_bytes(content)
        assert list(gates.lines(path)) == [(f"{path}, line 1", "a"), (f"{path}, line 2", "ü")]
    path.write_bytes(b"")
    assert list(gates.lines(path)) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\nb\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("a\nb\n".encode("utf-16-be"), "is UTF-16 text: save it as UTF-8"),
        (b"a\n\xfcb\n", "line 2 is not UTF-8 text .*; save the file as UTF-8"),
        (b"a\n \nb", "line 2 is empty; remove it"),
    ],
)
def test_files_that_cannot_be_read_are_named_with_their_line(tmp_path, content, said):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"x.txt(, )? ?{said}"):
        list(gates.lines(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not valid JSON"),
        ("", "is empty; remove it"),
        ('{"a": 1, "a": 1}', "the key 'a' occurs twice in one object; remove one of them"),
        ('[{"b": {"a": 1, "b": 2, "a": 3}}]', "the key 'a' occurs twice"),
        (r'{"a": ["\ud83d"]}', "here, 'a' is not valid Unicode: half a character"),
        (r'{"\uDE00": 1}', "here is not valid Unicode"),
        ("[" * 100_000, "is not valid JSON"),
        ("1" * 5000, "is not valid JSON"),
    ],
)
def test_json_that_loses_something_is_refused(text, said):
    with pytest.raises(ValueError, match=f"^here.*{said}|^{said}"):
        gates.json_value(text, "here")


def test_whole_characters_from_two_halves_are_sound():
    assert gates.json_value(r'"\ud83d\ude00 \\ud83d"', "here") == "\U0001f600 \\ud83d"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
LINES = st.one_of(
    JSON.map(lambda v: json.dumps(v).encode()),
    JSON.map(lambda v: json.dumps(v, ensure_ascii=False).encode("utf-8", "replace")),
    st.binary(max_size=8),
    st.text(max_size=8).map(lambda t: t.encode("utf-8", "replace")),
    st.sampled_from([b"", b"{", b'{"a":1,"a":2}', rb'"\ud83d"', b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"NaN"]),
)


@SETTINGS
@given(st.lists(LINES, max_size=4), st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_any_file_of_json_lines_is_read_or_named(tmp_path_factory, rows, end, mark):
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_bytes(mark + b"".join(row + end for row in rows))
    found = outcome(lambda: [gates.json_value(line, place) for place, line in gates.lines(path)])
    if isinstance(found, Exception):
        assert re.search(r"x\.jsonl(, line \d+| is UTF-16)", str(found))
    else:
        expected = [json.loads(r) for r in path.read_bytes().decode("utf-8-sig").split("\n")[:-1]]
        assert repr(found) == repr(expected)


# --- Writing --------------------------------------------------------------------------------------


def test_a_file_takes_its_place_only_when_it_is_complete(tmp_path):
    path = tmp_path / "x.txt"
    with gates.replacing(path) as file:
        file.write("ü\n")
        assert not path.exists()
    assert path.read_bytes() == "ü\n".encode()
    for wrong in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(wrong)), gates.replacing(path) as file:
            file.write("half")
            raise wrong
    with pytest.raises(UnicodeEncodeError), gates.replacing(path) as file:
        file.write(HALF)
    assert path.read_bytes() == "ü\n".encode() and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_a_file_needs_a_folder_and_a_name_of_its_own(tmp_path):
    for path, said in ((tmp_path / "no" / "x", "no is no folder"), (tmp_path, "is a folder, not a file")):
        with pytest.raises(FileNotFoundError, match=said), gates.replacing(path):
            pass


def test_the_check_of_this_file_knows_the_errors_of_libraries():
    for call in (lambda: [][0], lambda: json.loads("{"), lambda: np.zeros(2) @ np.zeros(3), lambda: math.sqrt("a")):
        with pytest.raises((IndexError, ValueError, TypeError)) as caught:
            call()
        assert not is_ours(caught.value)
    with pytest.raises(ValueError) as caught:
        gates.texts([""])
    assert is_ours(caught.value)
