"""Every public door of texts, measures and search goes through the gates: one rule, whoever asks.

What the gates do is tested in ``test_gates.py``; here, that no door is without one.
"""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ours import is_ours, outcome
from scipy.sparse import csr_array, random_array
from transformers import AutoTokenizer

from course_utils.measures import alignment, contributions, evaluation, spectrum
from course_utils.measures.lexical import BM25, stems
from course_utils.search import anserini, engines, sparse
from course_utils.texts import aspects, scripts
from course_utils.training import recipes

SETTINGS = settings(
    max_examples=60, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
TEXTS = ["A man plays a guitar", "Parrots", "the old bridge"]
SERIES = pd.Series(["x", *TEXTS])[[1, 2, 3]]  # gaps: there is no index 0
IDS = pd.Series(["x", "a", "b", "c"])[[1, 2, 3]]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def index():
    return BM25(TEXTS)


def plain(value):
    """Arrays as lists, to compare."""
    return [plain(v) for v in value] if isinstance(value, list | tuple) else getattr(value, "tolist", lambda: value)()


# --- Lists of texts -------------------------------------------------------------------------------

TEXT_DOORS = {
    "surface_tokens": lambda texts, tokenizer, index: alignment.surface_tokens(tokenizer, texts),
    "query_tokens": lambda texts, tokenizer, index: sparse.query_tokens(tokenizer, texts),
    "query_tokens, as it stands": lambda texts, tokenizer, index: sparse.query_tokens(tokenizer, texts, False),
    "stems": lambda texts, tokenizer, index: stems(texts),
    "BM25": lambda texts, tokenizer, index: BM25(texts).scores(TEXTS),
    "BM25.scores": lambda texts, tokenizer, index: index.scores(texts),
    "key_hits": lambda texts, tokenizer, index: scripts.key_hits([texts], [["man"]]),
}


@pytest.fixture(params=TEXT_DOORS.values(), ids=TEXT_DOORS)
def door(request, tokenizer, index):
    return lambda texts: request.param(texts, tokenizer, index)


@pytest.mark.parametrize("hold", [tuple, iter, np.array, lambda texts: SERIES], ids=["tuple", "iter", "array", "gaps"])
def test_every_door_takes_any_kind_of_list(door, hold):
    assert plain(door(hold(TEXTS))) == plain(door(TEXTS))


NO_TEXTS = [
    ("A man", "single string"),
    ({"a": "A man"}, "keys would be taken"),
    (pd.DataFrame({"text": TEXTS}), "column names would be taken"),
    ({"A man"}, "no order"),
    (b"A man", "decode them"),
    (["A man", None], r"\[1\] is NoneType"),
    (["A man", 7], r"\[1\] is int"),
    (["A man", "\ud83d"], r"\[1\] is not valid Unicode: half a character"),
]


@pytest.mark.parametrize(("held", "said"), NO_TEXTS)
def test_every_door_refuses_what_is_no_list_of_texts(door, held, said):
    with pytest.raises((TypeError, ValueError), match=said):
        door(held)


@SETTINGS
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from(["\ud800", None, "A man", "नमस्ते"])), max_size=4))
def test_every_door_ends_in_an_answer_per_text_or_in_an_error_of_ours(tokenizer, index, texts):
    for name, call in TEXT_DOORS.items():
        found = outcome(call, texts, tokenizer, index)
        if isinstance(found, Exception):
            assert "[" in str(found) or "word to index" in str(found), name
        elif name not in ("BM25", "key_hits"):
            assert len(found) == len(texts), name


# --- Words beyond ASCII, special tokens -----------------------------------------------------------


def test_the_same_word_meets_itself_however_it_was_typed(tokenizer):
    composed, apart = ["Zürich café"], ["Zu\u0308rich cafe\u0301"]
    assert stems(composed) == stems(apart) == [["zürich", "café"]]
    for tokens in (alignment.surface_tokens, sparse.query_tokens):
        assert plain(tokens(tokenizer, composed)) == plain(tokens(tokenizer, apart))
    surface = [alignment.surface_tokens(tokenizer, texts) for texts in (composed, apart)]
    content = [plain(alignment.content_tokens(tokenizer, own)) for own in surface]
    assert content[0] == content[1]
    assert recipes.shingles(composed[0]) == recipes.shingles(apart[0]) == {("zürich", "café")}


@pytest.mark.parametrize(
    ("text", "words"), [("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]), ("தமிழ் மொழி", ["தமிழ்", "மொழி"])]
)
def test_words_of_hindi_and_tamil_are_whole(text, words):
    assert stems([text]) == [words]
    assert BM25([text, "other words"]).scores([words[1]]).argmax() == 0
    assert recipes.shingles(text) == {tuple(words)}


class Whole:
    """A tokenizer of whole words: enough to tell which words count as content."""

    def __init__(self, *words):
        self.words = words

    def decode(self, ids):
        return self.words[ids[0]]


def test_content_tokens_know_words_with_marks():
    tokenizer = Whole(" दुनिया", "தமிழ்", "ाल", "Zu\u0308rich", "the", "x", "ῖ", "—", "_", "3,5", "1987")
    (found,) = alignment.content_tokens(tokenizer, [np.arange(11)])
    assert found.tolist() == [0, 1, 2, 3, 10]
    assert alignment.content_tokens(tokenizer, []) == []


def test_a_special_token_that_a_text_spells_out_is_no_surface_token(tokenizer):
    special = set(alignment.special_ids(tokenizer, len(tokenizer)))
    assert special >= {0, 1, 2}
    for tokens in (alignment.surface_tokens, sparse.query_tokens):
        (found,) = tokens(tokenizer, ["<s>ten</s> <pad>"])
        assert not special & set(found.tolist())
        assert {*plain(tokens(tokenizer, ["ten"])[0])} <= {*found.tolist()}
    assert plain(alignment.surface_tokens(tokenizer, ["<s>"])) == [[]]
    assert alignment.surface_tokens(tokenizer, []) == sparse.query_tokens(tokenizer, []) == []


# --- Vocabulary and matrix ------------------------------------------------------------------------


def test_special_ids_are_rows_that_exist(tokenizer):
    for size in (1, 2, tiny.VOCABULARY - 20, len(tokenizer), len(tokenizer) + 5):
        assert all(0 <= i < size for i in alignment.special_ids(tokenizer, size))
    assert alignment.special_ids(tokenizer, len(tokenizer) + 2)[-2:] == [len(tokenizer), len(tokenizer) + 1]
    tokenizer_with_more = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    tokenizer_with_more.add_special_tokens({"pad_token": "<more>"})
    size = tokenizer_with_more.pad_token_id  # the new token has no row
    weight = np.random.default_rng(0).normal(size=(size, 4))
    special = alignment.special_ids(tokenizer_with_more, size)
    assert size not in special
    assert alignment.top_tokens(np.ones((2, 4)), weight, k=3, exclude=special)[0].shape == (2, 3)
    assert len(alignment.variant_classes(tokenizer_with_more, size)) == size


def test_tokens_without_a_row_or_a_name_are_refused_or_named(tokenizer):
    weight = np.ones((9, 4), dtype=np.float32)
    for exclude, said in (([9], "token 9 is outside the vocabulary of 9"), ([-1], "token -1"), ([0.5], "whole")):
        with pytest.raises(ValueError, match=f"exclude.*{said}"):
            alignment.top_tokens(np.ones((1, 4)), weight, exclude=exclude, k=1)
    assert alignment.readable(tokenizer, [len(tokenizer) + 3]) == [f"<unused {len(tokenizer) + 3}>"]
    assert scripts.token_bytes(tokenizer, [len(tokenizer) + 3]) == [b""]
    for call in (alignment.readable, scripts.token_bytes):
        with pytest.raises(ValueError, match="ids: token -1 is outside the vocabulary"):
            call(tokenizer, [-1])
    with pytest.raises(ValueError, match="surface: token 9 is outside the vocabulary of 9"):
        alignment.hits(np.zeros((1, 2), int), [np.array([9])], k=1, classes=np.arange(9))
    with pytest.raises(ValueError, match="ranked: token 12 is outside"):
        alignment.hits(np.full((1, 2), 12), [np.array([1])], k=1, classes=np.arange(9))


# --- Arrays ---------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
H, E = RNG.normal(size=(5, 8)).astype(np.float32), RNG.normal(size=(30, 8)).astype(np.float32)
U = np.eye(8)[0]
MATRIX_DOORS = {
    "top_tokens": (lambda h: alignment.top_tokens(h, E, 3), H),
    "top_tokens, E_g": (lambda e: alignment.top_tokens(H, e, 3), E),
    "document_vectors": (lambda h: sparse.document_vectors(h, E, 3).toarray(), H),
    "document_vectors, E_g": (lambda e: sparse.document_vectors(H, e, 3).toarray(), E),
    "cosine": (lambda a: evaluation.cosine(a, H), H),
    "cosine_matrix": (lambda b: evaluation.cosine_matrix(H, b), H),
    "components": (lambda h: spectrum.components(h).directions, H),
    "unembedding_components": (lambda e: spectrum.unembedding_components(e).directions, E),
    "variation": (lambda h: spectrum.variation(H, h, np.eye(8)), H),
    "shift": (lambda h: spectrum.shift(h, U, 2.0), H),
    "remove_mean": (lambda h: spectrum.remove_mean(h, U), H),
    "whiten": (lambda h: spectrum.whiten(h, spectrum.components(E, centre=True)), H),
    "split_logits": (lambda e: spectrum.split_logits(U, U, e), E),
    "token_frame": (lambda e: contributions.token_frame(e).contributions(H, H), E),
    "coordinate_contributions": (lambda a: contributions.coordinate_contributions(a, H, np.eye(8)), H),
    "span_share": (lambda e: contributions.span_share(H, H, e, [[1]] * 5), E),
    "label_directions": (lambda h: list(aspects.label_directions(h, list("aabbb")).values()), H),
    "clusterings": (lambda h: aspects.clusterings(h, 2, 1), H),
}


@pytest.fixture(params=MATRIX_DOORS.values(), ids=MATRIX_DOORS)
def array_door(request):
    return request.param


def test_arrays_of_any_layout_give_the_same(array_door):
    call, array = array_door
    expected = call(array)
    read_only = array.copy()
    read_only.flags.writeable = False
    flipped, tensor = array[::-1].copy()[::-1], torch.from_numpy(array.copy())
    for other in (array.astype(">f4"), flipped, np.asfortranarray(array), tensor, read_only):
        np.testing.assert_allclose(plain(call(other)), plain(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_row_without_a_value_is_refused_and_named(array_door, value):
    call, array = array_door
    broken = array.astype(np.float64)
    broken[3, 1] = value
    with pytest.raises(ValueError, match=r"hold NaN or infinity in row\(s\) \[3\], or numbers beyond"):
        call(broken)


ANY_ARRAY = hnp.arrays(
    st.sampled_from(["<f4", ">f4", "<f8", "i4", "?", "U1"]), hnp.array_shapes(min_dims=0, max_dims=3, max_side=9)
)


@SETTINGS
@given(ANY_ARRAY)
def test_any_array_at_any_door_ends_in_numbers_or_in_an_error_of_ours(array):
    for name, (call, _) in MATRIX_DOORS.items():
        found = outcome(call, array)
        if not isinstance(found, Exception):
            assert not np.isnan(np.concatenate([np.ravel(part) for part in found])).any(), name


# --- Ids and weights ------------------------------------------------------------------------------

NAMES = ["t0", "t1", "t2"]
DOCUMENTS = csr_array(np.array([[1.0, 0, 2], [0, 3, 0], [0.5, 0.5, 0]]))


def export(path, documents=DOCUMENTS, ids=("a", "b", "c"), contents=None):
    anserini.write_anserini(path, documents, ids, NAMES, contents)
    return anserini.read_anserini(path, NAMES)


def stored(documents=DOCUMENTS, ids=("a", "b", "c")):
    client = engines.qdrant_client()
    engines.qdrant_index(client, documents, ids)
    return engines.qdrant_search(client, csr_array(np.eye(3)), IDS)


def test_ids_may_come_as_a_series_with_gaps(tmp_path):
    expected = evaluation.rank(np.eye(3), list(IDS), ["x", "y", "z"], 2)
    assert evaluation.rank(np.eye(3), IDS, pd.Series(["w", "x", "y", "z"])[1:], 2) == expected
    assert export(tmp_path / "x", ids=IDS, contents=SERIES)[::2] == (["a", "b", "c"], TEXTS)
    assert stored(ids=IDS) == stored()


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([1, 2, 3], r"\[0\] is int, not a string: 1; write \[str\(x\) for x in"),
        (["a", "b", "\ud83d"], r"\[2\] is not valid Unicode"),
        (["a", "b", "b"], "occurs twice, at 1 and 2"),
        (["a", "b", ""], r"\[2\] is ''"),
        (["a", "b", "c\0"], r"\[2\] holds the character NUL"),
        ({"a": 1, "b": 2, "c": 3}, "keys would be taken"),
    ],
)
def test_ids_that_would_not_come_back_are_refused_at_every_door(tmp_path, ids, said):
    doors = [
        lambda: export(tmp_path / "x", ids=ids),
        lambda: stored(ids=ids),
        lambda: engines.qdrant_search(engines.qdrant_client(), DOCUMENTS, ids),
        lambda: evaluation.rank(np.eye(3), ids, ["a", "b", "c"]),
        lambda: evaluation.rank(np.eye(3), ["a", "b", "c"], ids),
    ]
    for call in doors:
        with pytest.raises((TypeError, ValueError), match=said):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("documents", "row"),
    [
        (csr_array(np.array([[1, 0, 0], [0, np.nan, 0], [0, 0, 1]])), 1),
        (csr_array(np.array([[1, 0, 0], [0, 1, 0], [0, 0, np.inf]])), 2),
        (csr_array(np.array([[1e300, 0, 0], [0, 1, 0], [0, 0, 1]])), 0),
        (csr_array(np.array([[1, 0, 0], [0, 2**40, 0], [0, 0, 1]])), 1),
    ],
)
def test_weights_that_float32_cannot_hold_are_refused_at_every_door(tmp_path, documents, row):
    doors = (lambda d: export(tmp_path / "x", d), stored, anserini.quantise)
    for call in doors:
        with pytest.raises(ValueError, match=f"row {row} holds the weight .*; weights must be finite"):
            call(documents)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (["a", "b", 3], r"contents\[2\] is int"),
        (["a", "b", "\ud83d"], r"contents\[2\] is not valid Unicode"),
        ({"a": "x", "b": "y", "c": "z"}, "keys would be taken"),
        ("abc", "single string"),
    ],
)
def test_contents_that_are_no_texts_are_refused_and_nothing_is_left_of_the_file(tmp_path, contents, said):
    with pytest.raises((TypeError, ValueError), match=said):
        export(tmp_path / "x", contents=contents)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_half_way_leaves_the_older_file(tmp_path, monkeypatch):
    export(tmp_path / "x")
    before = (tmp_path / "x").read_bytes()
    monkeypatch.setattr(anserini, "_number", lambda weight: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["x"]


@SETTINGS
@given(
    hnp.arrays(st.sampled_from(["f4", "f8", "i8", "u1", ">f4"]), (3, 3)),
    st.lists(st.one_of(st.text(max_size=2), st.integers(0, 3)), min_size=3, max_size=3),
)
def test_any_sparse_weights_and_ids_come_back_or_are_named(tmp_path, weights, ids):
    for documents in (csr_array(weights.astype(weights.dtype.newbyteorder("="))), weights):
        found = outcome(export, tmp_path / "x", documents, ids)
        if isinstance(found, Exception):
            assert "ids" in str(found) or "row" in str(found)
        else:
            assert found.ids == ids
            np.testing.assert_array_equal(found.documents.toarray(), weights.astype(np.float32))
        assert {p.name for p in tmp_path.iterdir()} <= {"x"}


@SETTINGS
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1, 3, 12]), st.booleans())
def test_sparse_scores_are_those_of_the_dense_arrays(seed, k, variants):
    rng = np.random.default_rng(seed)
    documents = sparse.document_vectors(rng.normal(size=(3, 4)), rng.normal(size=(12, 4)), k)
    tokens = [rng.integers(12, size=rng.integers(4)) for _ in range(2)]
    queries = sparse.query_vectors(tokens, 12)
    np.testing.assert_allclose(sparse.scores(queries, documents), queries.toarray() @ documents.toarray().T, rtol=1e-5)


def test_dense_and_foreign_vectors_are_taken_or_refused_by_name():
    assert (sparse.checked([[1.0, 0.0]], "documents").toarray() == [[1, 0]]).all()
    with pytest.raises(ValueError, match="documents must hold numbers; got bool"):
        sparse.checked(csr_array(np.array([[True]])), "documents")
    with pytest.raises(ValueError, match="documents must be"):
        sparse.checked("abc", "documents")
    assert sparse.checked(random_array((4, 4), density=0.5, format="coo"), "x").format == "csr"


# --- The house ------------------------------------------------------------------------------------


COUNTS = {
    "top_tokens": lambda k: alignment.top_tokens(np.eye(3), np.eye(3), k),
    "hits": lambda k: alignment.hits(np.zeros((1, 3), int), [np.array([0])], k),
    "bootstrap": lambda k: evaluation.bootstrap([1.0, 2.0], n_resamples=k),
    "paired_permutation": lambda k: evaluation.paired_permutation([1.0, 2.0], [2.0, 1.0], k),
    "rank": lambda k: evaluation.rank(np.eye(2), ["a", "b"], ["c", "d"], k),
    "document_vectors": lambda k: sparse.document_vectors(np.eye(3), np.eye(3), k),
    "keep_largest": lambda k: sparse.keep_largest(csr_array(np.eye(3)), k),
    "search": lambda k: sparse.search(csr_array(np.eye(3)), csr_array(np.eye(3)), k),
    "quantise": lambda k: anserini.quantise(csr_array(np.eye(3)), k),
    "agreement": lambda k: engines.agreement({"q": {"d": 1.0}}, {"q": {"d": 1.0}}, k),
}


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, float("nan"), float("inf"), "2", True, [2]])
@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
def test_how_many_is_a_whole_number_at_every_door(count, value):
    count(np.int64(1))
    assert is_ours(outcome(count, value))


@pytest.mark.parametrize("room", ["measures", "search"])
def test_no_module_of_the_room_loads_torch_when_it_is_imported(room):
    code = (
        "import importlib, pkgutil, sys\n"
        f"import course_utils.{room} as room\n"
        "names = [m.name for m in pkgutil.iter_modules(room.__path__, room.__name__ + '.')]\n"
        "assert len(names) > 3, names\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
