"""Scripts, bytes and key words: on hand-made bytes, on a byte-level and on a byte-fallback tokenizer."""

import numpy as np
import pytest
import tiny
from transformers import AutoTokenizer

from course_utils.measures import alignment
from course_utils.texts import scripts

TEXTS = ["我不喜欢苹果。", "أنا أشرب القهوة", "मैं हर सुबह कॉफी पीता हूँ।", "Zürich & the café, 1987\nEnde", "𓀀 x한국я"]


def byte_fallback_tokenizer(folder):
    """In the manner of Gemma: pieces of text with ``▁`` for a space, single bytes for everything else."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = [
        "<unk>",
        "▁",
        *(f"<0x{b:02X}>" for b in range(256)),
        *sorted(set("我不喜欢أناम्हर Zürichcafétheandx,1987")),
    ]
    bpe = Tokenizer(
        models.BPE({p: i for i, p in enumerate(dict.fromkeys(pieces))}, [], byte_fallback=True, unk_token="<unk>")
    )
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>").save_pretrained(folder)


@pytest.fixture(scope="module", params=["byte level", "byte fallback"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (tiny.save_tokenizer if request.param == "byte level" else byte_fallback_tokenizer)(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def fallback(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fallback")
    byte_fallback_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


# Bytes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert b"".join(scripts.token_bytes(tokenizer, ids)) == text.encode()


def test_a_token_that_only_looks_like_a_byte_is_itself_in_a_byte_level_vocabulary(tmp_path):
    tiny.save_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_tokens(["<0x41>"])
    [i] = tokenizer("<0x41>", add_special_tokens=False)["input_ids"]
    assert scripts.token_bytes(tokenizer, [i]) == [b"<0x41>"]


def test_the_width_agrees_with_the_encoder_for_every_character():
    for code in [*range(0xD800), *range(0xE000, 0x110000, 97)]:
        raw = chr(code).encode()
        assert scripts.width(raw[0]) == len(raw)
        assert not any(scripts.width(b) for b in raw[1:])
    with pytest.raises(ValueError, match="between 0 and 255; got 256"):
        scripts.width(256)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"_a", "_a"),
        (b" game", "_game"),
        ("病\n\t".encode(), "病\\n\\t"),
        (b"\xe6\x88", "‹E6 88 ··›"),
        (b"\x91", "‹… 91›"),
        (b" \xe0\xa4", "_‹E0 A4 ··›"),
        (b"\xf0", "‹F0 ·· ·· ··›"),
        (b"\x88\x91\xe4", "‹… 88 91›‹E4 ·· ··›"),
        ("é".encode() + b"\xd8x", "é‹D8 ··›x"),
    ],
)
def test_bytes_are_spelled_with_a_dot_pair_for_each_that_is_missing(raw, shown):
    assert scripts.spell(raw) == shown


@pytest.mark.parametrize("text", TEXTS)
def test_whole_characters_read_as_in_the_other_lessons(fallback, text):
    ids = [i for i in fallback(text, add_special_tokens=False)["input_ids"] if not scripts._FALLBACK.match(
        fallback.convert_ids_to_tokens(i))]  # fmt: skip
    assert ids and scripts.readable(fallback, ids) == alignment.readable(fallback, ids)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\xe6\x88", ["Han"]),
        (b"\xe0\xa4", ["Devanagari"]),
        (b"\xd8", ["Arabic"]),
        (b"\x91", []),
        (b"a", ["Latin"]),
    ],
)
def test_an_unfinished_character_tells_its_script_if_it_has_its_first_byte(raw, expected):
    assert scripts.possible_scripts(raw) == expected


def test_possible_scripts_hold_that_of_every_character_with_this_opening():
    for character in "é病हيЖ가":
        raw = character.encode()
        for cut in range(1, len(raw) + 1):
            assert scripts.script(character) in scripts.possible_scripts(raw[:cut])
    # E0 leaves room for codes below U+0800, which have a shorter form and must not be counted.
    assert "Latin" not in scripts.possible_scripts(b"\xe0")


@pytest.mark.parametrize("raw", [b"", b"ab", b"\xe6\x88\x91\x91", b"\xe6a"])
def test_what_is_no_opening_is_refused(raw):
    with pytest.raises(ValueError, match="not the opening of one character"):
        scripts.possible_scripts(raw)


# Scripts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("_Game", "Latin"),
        ("É", "Latin"),
        ("ｆ", "Latin"),
        ("ß", "Latin"),
        ("苹果", "Han"),
        ("々", "Han"),
        ("음악", "Hangul"),
        ("がカ", "Hiragana"),
        ("القهوة", "Arabic"),
        ("पीता", "Devanagari"),
        ("ि", "Devanagari"),
        ("Жx", "Cyrillic"),
        ("xЖЖ", "Cyrillic"),
        ("DNA病", "Latin"),
        (" 1987,。", "no letters"),
        ("", "no letters"),
        ("́", "no letters"),
        (b"\xe6\x88", "bytes"),
        (b" \x91", "bytes"),
        ("ع".encode() + b"\xd8", "Arabic"),
        (b", ", "no letters"),
    ],
)
def test_the_script_of_most_letters_counts(text, expected):
    assert scripts.script(text) == expected


def test_token_scripts_keep_the_shape(fallback):
    ids = np.array(fallback.convert_tokens_to_ids(["我", "a", "<0xE6>", "ن", "म", ","])).reshape(2, 3)
    found = scripts.token_scripts(fallback, ids)
    assert found.tolist() == [["Han", "Latin", "bytes"], ["Arabic", "Devanagari", "no letters"]]


def test_tokens_become_plain_text_row_by_row(fallback):
    ids = np.array(fallback("a 我", add_special_tokens=False)["input_ids"])
    rows = scripts.plain(fallback, np.stack([ids, ids[::-1]]))
    assert rows[0] == rows[1][::-1] and "".join(rows[0]).split() == ["a", "我"]
    with pytest.raises(ValueError, match=r"ids must be \[n, k\]"):
        scripts.plain(fallback, ids)


def test_shares_sum_to_one_and_the_rest_is_called_other():
    found = scripts.shares(np.array([["Han", "Latin"], ["Latin", "Thai"]], dtype=object), ["Han", "Latin"])
    assert found == {"Han": 0.25, "Latin": 0.5, "other": 0.25}
    for names, order in (([], ["Han"]), (["Han"], ["Han", "other"])):
        with pytest.raises(ValueError, match="shares need names"):
            scripts.shares(names, order)


# Words --------------------------------------------------------------------------------------------------------------


def test_classes_merge_case_space_and_form_of_the_tokens_that_occur(tokenizer):
    a, big, other = (tokenizer(t, add_special_tokens=False)["input_ids"][0] for t in ("a", "A", "x"))
    found = scripts.classes(tokenizer, [np.array([a, big]), np.array([[other]])])
    if a != big:  # the fallback vocabulary has no capital A: it is a byte there
        assert (found[a] == found[big]) == (scripts.token_bytes(tokenizer, [big])[0].lower() == b"a")
    assert found[other] == other
    untouched = np.setdiff1d(np.arange(len(found)), [a, big, other])
    assert (found[untouched] == untouched).all()


@pytest.mark.parametrize(
    ("token", "word", "expected"),
    [
        (" Gitar", "Gitarre", True),
        ("病", "疾病", True),
        ("疾病", "病", True),
        ("MUSIK", "Musik", True),
        ("قهوة", "القهوة", True),
        ("music", "música", False),
        ("in", "Berlin", False),
        ("a", "an apple", False),
        ("", "apple", False),
        (" ", "apple", False),
        ("ﬁsh", "fish", True),
    ],
)
def test_a_match_contains_or_is_contained_and_has_half_of_the_letters(token, word, expected):
    assert scripts.matches(token, word) is expected
    assert scripts.matches(word, token) is expected


def test_key_hits_agree_with_pairwise_matches():
    tokens = [["_x", "病", " cats"], ["Musik", "the"], ["a", ""]]
    keys = [["疾病", "鹦鹉"], ["cat", "music"], ["the theatre", "A"]]
    found = scripts.key_hits(tokens, keys)
    slow = [[any(scripts.matches(t, w) for t in row for w in words) for words in keys] for row in tokens]
    assert found.tolist() == slow
    assert found.tolist() == [[True, True, False], [False, False, False], [False, False, True]]


def test_key_counts_count_places_and_a_token_once_for_all_languages():
    tokens = [["_apple", "Apple", "manzana", "the"], ["苹果", "", "果", "x"]]
    keys = [["apple", "manzana", "苹果"], ["x", "xx"]]
    assert scripts.key_counts(tokens, keys).tolist() == [[3, 0], [2, 1]]
    rng = np.random.default_rng(0)
    lists = [["".join(rng.choice(list("abA 病"), rng.integers(0, 7))) for _ in range(9)] for _ in range(12)]
    words = [["".join(rng.choice(list("abB病"), rng.integers(1, 6))) for _ in range(3)] for _ in range(12)]
    slow = [[sum(any(scripts.matches(t, w) for w in own) for t in row) for own in words] for row in lists]
    assert scripts.key_counts(lists, words).tolist() == slow and np.max(slow) > 3


def test_key_hits_refuse_texts_without_keys_and_lists_of_other_length():
    with pytest.raises(ValueError, match=r"no key word for text\(s\) \[1\]"):
        scripts.key_hits([["a"], ["b"]], [["a"], [" "]])
    with pytest.raises(ValueError, match="tokens of 1 texts, but keys of 2"):
        scripts.key_hits([["a"]], [["a"], ["b"]])
