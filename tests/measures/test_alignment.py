"""course_utils.measures.alignment against definitions written out as slowly and plainly as possible."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from repo import ROOT
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from course_utils.measures import alignment
from course_utils.measures.alignment import (
    content_tokens,
    distinct_tops,
    global_alignment,
    hits,
    local_alignment,
    readable,
    special_ids,
    surface_tokens,
    top_tokens,
    variant_classes,
)
from course_utils.models import registry

# A tokenizer with everything that matters: variants, a broken character, line breaks, special tokens -----------------

# In a byte-level vocabulary Ġ is a space, Ċ a line break, and ì a lone first byte of a Korean syllable.
VOCABULARY = ["<s>", "</s>", "game", "Ġgame", "GAME", "ĠGame", "games", "Ċ", "Ġ", "ĠĠ", "ì", "ĠÃ©tÃ©", "Ã©tÃ©", "ĉ"]


@pytest.fixture(scope="module")
def tokenizer():
    inner = Tokenizer(models.WordLevel({t: i for i, t in enumerate(VOCABULARY)}, unk_token="<s>"))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def random_case(seed: int, n: int = 12, vocabulary: int = 60):
    """Rankings that are permutations of the whole vocabulary, texts of 1 to 15 distinct tokens, and 20 classes."""
    rng = np.random.default_rng(seed)
    ranked = np.array([rng.permutation(vocabulary) for _ in range(n)])
    surface = [rng.permutation(vocabulary)[: rng.integers(1, 16)] for _ in range(n)]
    return ranked, surface, rng.integers(0, 20, size=vocabulary)


def perfect(n_tokens: int, k: int = 60):
    """A text of ``n_tokens`` distinct tokens whose ranking begins with exactly these, in another order."""
    rng = np.random.default_rng(n_tokens)
    order = rng.permutation(200)[:k]
    return order[None, :], [rng.permutation(order[:n_tokens])]


# Decoding ----------------------------------------------------------------------------------------------------------


def test_top_tokens_are_those_of_a_full_sort():
    rng = np.random.default_rng(0)
    h, weight = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    ids, scores = top_tokens(h, weight, k=6)
    logits = h @ weight.T
    assert np.array_equal(ids, np.argsort(-logits, axis=1)[:, :6])
    np.testing.assert_allclose(scores, -np.sort(-logits, axis=1)[:, :6], rtol=1e-5)
    assert ids.dtype == np.int64 and scores.dtype == np.float32


def test_excluded_tokens_never_appear_and_the_others_keep_their_order():
    rng = np.random.default_rng(1)
    h, weight = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    everything, _ = top_tokens(h, weight, k=40)
    banned = [0, 7, int(everything[0, 0])]
    ids, _ = top_tokens(h, weight, k=37, exclude=banned)
    for row, full in zip(ids, everything, strict=True):
        assert row.tolist() == [i for i in full if i not in banned]
    with pytest.raises(ValueError, match="between 1 and the 37 tokens that may appear; got 38"):
        top_tokens(h, weight, k=38, exclude=banned)


def test_chunks_give_the_same_result_and_bound_the_memory(monkeypatch):
    rng = np.random.default_rng(2)
    h, weight = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(300, 8)).astype(np.float32)
    whole = top_tokens(h, weight, k=9)
    products = []
    original = torch.Tensor.__matmul__

    def watched(a, b):
        result = original(a, b)
        products.append(result.numel() * result.element_size())
        return result

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    limit = 3 * 4 * 300 + 100  # room for three rows of logits, not for four
    monkeypatch.setattr(alignment, "CHUNK_BYTES", limit)
    chunked = top_tokens(h, weight, k=9)
    assert np.array_equal(whole[0], chunked[0])
    np.testing.assert_allclose(whole[1], chunked[1], rtol=1e-5)
    assert len(products) == 17 and max(products) <= limit
    products.clear()
    monkeypatch.setattr(alignment, "CHUNK_BYTES", 1)  # less than one row: one row at a time
    assert np.array_equal(whole[0], top_tokens(h, weight, k=9)[0])
    assert len(products) == 50


def test_decoding_is_linear():
    """Decoding a weighted mean of states is the weighted mean of their logits: the top tokens follow."""
    rng = np.random.default_rng(3)
    states, weight = rng.normal(size=(11, 16)), rng.normal(size=(90, 16))
    shares = rng.dirichlet(np.ones(11))
    mean_of_logits = shares @ (states @ weight.T)
    ids, scores = top_tokens((shares @ states)[None, :], weight, k=20)
    assert np.array_equal(ids[0], np.argsort(-mean_of_logits)[:20])
    np.testing.assert_allclose(scores[0], np.sort(mean_of_logits)[::-1][:20], rtol=1e-5)
    # Scale changes scores, not ranks: a unit-length embedding has the same aligned tokens.
    scaled, scaled_scores = top_tokens(3 * (shares @ states)[None, :], weight, k=20)
    assert np.array_equal(scaled, ids)
    np.testing.assert_allclose(scaled_scores, 3 * scores, rtol=1e-5)


def test_numpy_torch_and_half_precision_are_accepted():
    rng = np.random.default_rng(4)
    h, weight = rng.normal(size=(3, 4)), rng.normal(size=(9, 4))
    expected, _ = top_tokens(h, weight, k=3)
    trained = torch.nn.Parameter(torch.tensor(weight))
    for other in (torch.tensor(h), torch.tensor(h, dtype=torch.float64), h.astype(np.float32)):
        assert np.array_equal(top_tokens(other, trained, k=3)[0], expected)
    exact = torch.arange(12.0).reshape(3, 4).bfloat16()
    assert np.array_equal(top_tokens(exact, torch.eye(4).bfloat16(), k=1)[0], [[3], [3], [3]])


def test_no_texts_give_an_empty_result():
    ids, scores = top_tokens(np.empty((0, 4), np.float32), np.eye(4, dtype=np.float32), k=2)
    assert ids.shape == scores.shape == (0, 2)


def test_decoding_says_what_is_wrong():
    h, weight = np.ones((3, 4), np.float32), np.ones((9, 4), np.float32)
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(9, 5\)"):
        top_tokens(h, np.ones((9, 5), np.float32))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        top_tokens(h[0], weight)
    for k in (0, -1, 10):
        with pytest.raises(ValueError, match=f"got {k}"):
            top_tokens(h, weight, k=k)
    for value in (np.nan, np.inf):
        broken = h.copy()
        broken[1, 2] = value
        with pytest.raises(ValueError, match=r"row\(s\) \[1\]"):
            top_tokens(broken, weight, k=2)
    with pytest.raises(ValueError, match="int64"):
        top_tokens(np.ones((3, 4), np.int64), weight, k=2)


# Tokens ------------------------------------------------------------------------------------------------------------


def test_surface_tokens_are_distinct_in_order_and_never_special(tokenizer):
    assert tokenizer("game")["input_ids"] == [0, 2, 1]  # it writes <s> and </s> around every text
    found = surface_tokens(tokenizer, ["GAME game Game game", " game\t ", "game game"])
    assert [s.tolist() for s in found] == [[4, 3, 5], [2], [2, 3]]
    assert all(s.dtype == np.int64 for s in found)


def test_special_ids_are_the_special_tokens_and_the_rows_without_a_token(tokenizer):
    assert special_ids(tokenizer, len(VOCABULARY) + 3) == [0, 1, 14, 15, 16]
    assert special_ids(tokenizer, len(VOCABULARY)) == [0, 1]


def test_readable_shows_spaces_line_breaks_and_broken_characters(tokenizer):
    ids = [VOCABULARY.index(t) for t in ("game", "Ġgame", "Ċ", "Ġ", "ĠĠ", "ì", "ĠÃ©tÃ©", "ĉ", "<s>")]
    assert readable(tokenizer, ids) == ["game", "_game", "\\n", "_", "_ ", "<ì>", "_été", "\\t", "<s>"]
    assert readable(tokenizer, []) == []


# Tokenizers of other families, each with the tokens of SPOKEN: as the word begins, as it goes on, in capitals.
WORDPIECE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "game", "##game", "ing", "##ing", "[unused0]", "##the", ".", "GAME"]
PIECES = ["<s>", "<unk>", "▁game", "game", "▁GAME", "▁", "ing", "▁the"]


def wordpiece():
    inner = Tokenizer(models.WordPiece({t: i for i, t in enumerate(WORDPIECE)}, unk_token="[UNK]"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def sentencepiece():
    inner = Tokenizer(models.Unigram([(t, -float(i)) for i, t in enumerate(PIECES)], unk_id=1))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", unk_token="<unk>")


def test_a_piece_that_goes_on_with_a_word_keeps_its_mark_and_its_class():
    made, ids = wordpiece(), dict(zip(WORDPIECE, range(len(WORDPIECE)), strict=True))
    shown = ["game", "##game", "ing", "##ing", ".", "GAME"]
    assert readable(made, [ids[t] for t in shown]) == shown
    classes = variant_classes(made, len(WORDPIECE))
    assert classes[ids["game"]] == classes[ids["GAME"]] != classes[ids["##game"]]
    assert classes[ids["ing"]] != classes[ids["##ing"]]
    assert special_ids(made, len(WORDPIECE) + 1) == [0, 1, 2, 3, ids["[unused0]"], len(WORDPIECE)]
    surface = surface_tokens(made, ["gameing gamethe."])
    assert readable(made, surface[0]) == ["game", "##ing", "##the", "."]
    assert readable(made, content_tokens(made, surface)[0]) == ["game", "##ing"]  # "the" is a stop word either way


def test_a_space_that_a_decoder_drops_is_shown():
    made = sentencepiece()
    assert made.decode([2]) == made.decode([3]) == "game"
    assert readable(made, range(2, 8)) == ["_game", "game", "_GAME", "_", "ing", "_the"]
    classes = variant_classes(made, len(PIECES))
    assert classes[2] == classes[3] == classes[4] and len(set(classes[[2, 5, 6, 7]])) == 4


def test_a_tokenizer_with_more_tokens_than_the_matrix_has_rows():
    """EmbeddingGemma's knows id 262144, a picture, and its matrix has 262144 rows."""
    made = wordpiece()
    made.add_special_tokens({"additional_special_tokens": ["<image>"]})
    size = len(WORDPIECE)
    assert made.convert_tokens_to_ids("<image>") == size == len(made) - 1
    weight = np.random.default_rng(0).normal(size=(size, 3)).astype(np.float32)
    assert size not in special_ids(made, size)
    ids, _ = top_tokens(weight[:2], weight, size - 5, special_ids(made, size))
    assert ids.max() < size
    assert [own.tolist() for own in surface_tokens(made, ["<image> game"])] == [[4]]
    assert len(variant_classes(made, size)) == size


def test_variants_share_a_class_and_nothing_else_does(tokenizer):
    classes = dict(zip(VOCABULARY, variant_classes(tokenizer, len(VOCABULARY)).tolist(), strict=True))
    assert len({classes[t] for t in ("game", "Ġgame", "GAME", "ĠGame")}) == 1
    assert classes["ĠÃ©tÃ©"] == classes["Ã©tÃ©"]
    apart = ["<s>", "</s>", "game", "games", "Ċ", "Ġ", "ĠĠ", "ì", "Ã©tÃ©", "ĉ"]
    assert len({classes[t] for t in apart}) == len(apart)
    longer = variant_classes(tokenizer, len(VOCABULARY) + 2)
    assert len(longer) == len(VOCABULARY) + 2 and len(set(longer[-3:].tolist())) == 3


def test_variant_classes_asks_for_the_length_of_the_vocabulary_once(tokenizer, monkeypatch):
    """Real tokenizers need about a millisecond for it: minutes, if asked for each of 262 144 tokens."""
    asked = []
    monkeypatch.setattr(type(tokenizer), "__len__", lambda self: asked.append(1) or len(VOCABULARY))
    variant_classes(tokenizer, len(VOCABULARY))
    assert len(asked) == 1


# Measures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_tokens", [5, 20, 50])
def test_a_perfect_ranking_has_rates_of_one(n_tokens):
    ranked, surface = perfect(n_tokens)
    assert local_alignment(ranked, surface).tolist() == [1.0]
    assert global_alignment(ranked, surface) == 1.0
    assert hits(ranked, surface, k=1).tolist() == [True]
    too_short = ranked[:, : n_tokens - 1]
    with pytest.raises(ValueError, match=f"{n_tokens} distinct surface tokens but only {n_tokens - 1} distinct"):
        local_alignment(too_short, surface)


@pytest.mark.parametrize("n_tokens", [5, 20, 50])
def test_the_worst_ranking_has_rates_of_zero(n_tokens):
    ranked, surface = perfect(n_tokens, k=150)
    assert local_alignment(ranked[:, ::-1], surface).tolist() == [0.0]
    assert global_alignment(ranked[:, ::-1], surface) == 0.0
    assert hits(ranked[:, ::-1], surface, k=10).tolist() == [False]


def brute_force(ranked, surface, classes=None, k=10):
    """Hit@K, LAR of every text and GAR, in Python sets and loops."""
    names = (lambda i: int(i)) if classes is None else (lambda i: int(classes[i]))
    found, rates, matched, everything = [], [], set(), set()
    for row, own in zip(ranked, surface, strict=True):
        text = {names(i) for i in own}
        first = []
        for i in row:
            if names(i) not in first:
                first.append(names(i))
        top = set(first[: len(text)])
        found.append(any(names(i) in text for i in row[:k]))
        rates.append(len(text & top) / len(text))
        matched |= text & top
        everything |= text
    return found, rates, len(matched) / len(everything)


@pytest.mark.parametrize("merged", [False, True], ids=["raw", "merged"])
@pytest.mark.parametrize("seed", range(5))
def test_the_measures_agree_with_sets_and_loops(seed, merged):
    ranked, surface, classes = random_case(seed)
    classes = classes if merged else None
    found, rates, whole = brute_force(ranked, surface, classes, k=4)
    assert 0 < sum(found) < len(found) and 0 < np.mean(rates) < 1 and 0 < whole < 1
    assert hits(ranked, surface, k=4, classes=classes).tolist() == found
    np.testing.assert_allclose(local_alignment(ranked, surface, classes), rates, rtol=1e-12)
    assert global_alignment(ranked, surface, classes) == pytest.approx(whole, rel=1e-12)


def test_a_token_that_occurs_twice_counts_once_on_both_sides():
    ranked = np.array([[4, 4, 7, 1, 2, 3]])
    once, twice = [np.array([4, 7])], [np.array([4, 4, 7, 7, 4])]
    for surface in (once, twice):
        assert local_alignment(ranked, surface).tolist() == [1.0]
        assert global_alignment(ranked, surface) == 1.0
    assert distinct_tops(ranked, twice)[0].tolist() == [4, 7]


def test_merging_lets_a_variant_count_and_needs_more_places():
    classes = np.array([0, 0, 0, 1, 2, 3])  # tokens 0, 1 and 2 are one word
    ranked, surface = np.array([[1, 2, 3, 4, 5]]), [np.array([0, 3])]
    assert local_alignment(ranked, surface).tolist() == [0.0]
    assert hits(ranked, surface, k=1).tolist() == [False]
    assert local_alignment(ranked, surface, classes).tolist() == [1.0]  # places: {1, 2} then 3
    assert hits(ranked, surface, k=1, classes=classes).tolist() == [True]
    with pytest.raises(ValueError, match="only 1 distinct aligned tokens"):
        local_alignment(ranked[:, :2], surface, classes)


def test_one_word_in_every_text_carries_the_local_but_not_the_global_rate():
    n = 20
    surface = [np.array([0, 100 + i]) for i in range(n)]  # token 0 is in every text
    ranked = np.tile([0, 1, 2], (n, 1))  # and is all that is decoded
    assert local_alignment(ranked, surface).mean() == 0.5
    assert global_alignment(ranked, surface) == pytest.approx(1 / (n + 1))


def test_a_token_counts_globally_only_where_it_belongs():
    """Token 1 is decoded for the text that lacks it, and token 2 likewise: nothing is matched."""
    ranked, surface = np.array([[2, 9], [1, 9]]), [np.array([1]), np.array([2])]
    assert global_alignment(ranked, surface) == 0.0


def test_the_measures_say_what_is_wrong():
    ranked, surface = np.arange(20).reshape(2, 10), [np.array([1]), np.array([2])]
    with pytest.raises(ValueError, match=r"\(2, 10\) for 1 texts"):
        local_alignment(ranked, surface[:1])
    with pytest.raises(ValueError, match=r"\(10,\)"):
        hits(ranked[0], surface)
    with pytest.raises(ValueError, match=r"no surface tokens in text\(s\) \[1\]"):
        global_alignment(ranked, [surface[0], np.array([], np.int64)])
    for k in (11, 0):
        with pytest.raises(ValueError, match=f"between 1 and the 10 aligned tokens that are ranked; got {k}"):
            hits(ranked, surface, k=k)
    with pytest.raises(ValueError, match="no texts"):
        global_alignment(np.empty((0, 3), np.int64), [])


# What lesson 02 shows -----------------------------------------------------------------------------------------------


def test_the_quoted_table_has_ten_tokens_for_every_model_in_the_order_of_the_pocket_family():
    lines = (ROOT / "data" / "paper_table2.jsonl").read_text(encoding="utf-8").splitlines()
    quoted = {row["model"]: row["tokens"] for row in map(json.loads, lines)}
    assert set(quoted) == set(registry.PAPER) | set(registry.PAPER_ORIGINS) and len(lines) == len(quoted)
    assert all(len(tokens) == 10 and all(tokens) for tokens in quoted.values())
    assert [m for m in quoted if m in registry.PAPER] == [registry.get(n).stands_for for n in registry.POCKET]
    for name in registry.POCKET:  # an origin stands before its embedders, in the pocket family as in the paper
        models = list(quoted)
        origin = registry.get(registry.get(name).stands_for).origin
        if origin in quoted:
            assert models.index(origin) < models.index(registry.get(name).stands_for)


def fake_view(tokens, token_kinds):
    return SimpleNamespace(tokens=lambda text, k: (tokens[:k], token_kinds[:k]))


def test_a_comparison_shows_both_rows_and_counts_what_they_share():
    from course_utils.teaching.explorers.alignment import comparison, comparison_explorer

    views = {
        "one": fake_view(["_cat", "_<b>", "_dog"], ["surface", "other", "variant"]),
        "two": fake_view(["_cat", "_tree", ","], ["surface", "other", "other"]),
    }
    shown = comparison(views, "a cat", "one", "two", k=3)
    assert "Of the text or a variant: 2 of 3 and 1 of 3. In both lists: 1." in shown
    assert "&lt;b&gt;" in shown and "<bdi>tree</bdi>" in shown
    assert "Type a sentence" in comparison(views, "  ", "one", "two")
    with pytest.raises(ValueError, match="no embedder 'three' here; choose from one, two"):
        comparison(views, "a cat", "one", "three")
    box = comparison_explorer(views, "a cat", "one", "two")
    sentence, choices, result = box.children
    assert result.value == comparison(views, "a cat", "one", "two")
    choices.children[1].value = "one"
    assert result.value == comparison(views, "a cat", "one", "one")
    sentence.value = ""
    assert "Type a sentence" in result.value


def test_the_figures_draw_what_they_are_given():
    from course_utils.teaching.figures import alignment as draw

    rows = [
        (name, "base · mean", measure, 0.5, 0.4, 0.6, 0.1, 0.0, 0.2)
        for name in ("one", "two")
        for measure in ("Hit@10", "LAR", "GAR")
    ]
    parts = ("value", "low", "high", "from_value", "from_low", "from_high")
    table = pd.DataFrame(rows, columns=["embedder", "group", "measure", *parts])
    panels = draw.arrows(table, "title").axes
    assert [axes.get_xlabel() for axes in panels] == [f"{m} above chance (share)" for m in ("Hit@10", "LAR", "GAR")]
    assert [t.get_text() for t in panels[0].get_yticklabels()] == ["base · mean", "one", "two"]
    ends = [(text.xyann[0], text.xy[0]) for text in panels[1].texts]
    assert ends == [(0.1, 0.5)] * 2, "an arrow runs from the origin's value to the embedder's"
    origin, embedder, chance = panels[2].get_lines()
    assert origin.get_xdata().tolist() == [0.1, 0.1] and embedder.get_xdata().tolist() == [0.5, 0.5]
    assert list(chance.get_xdata()) == [0, 0]
    with pytest.raises(ValueError, match="needs rows and the columns"):
        draw.arrows(table.drop(columns="from_low"), "title")

    holds = np.array([[1, 1, 0], [1, 0, 1]], dtype=bool)
    found = np.array([[1, 0, 0], [1, 0, 1]], dtype=bool)
    grid = draw.counting_grid(["the", "cat", "dog"], holds, found, "title").axes[0]
    said = [text.get_text() for text in grid.texts]
    assert said.count("✓") == 3 and [t for t in said if "AR" in t] == ["LAR 1 / 2", "LAR 2 / 2", "GAR 2 / 3"]
    assert said.count("found") == 2 and said.count("–") == 1
    for broken in (holds[:, :2], ~holds):
        with pytest.raises(ValueError, match=r"found must be|only in a text that holds it"):
            draw.counting_grid(["the", "cat", "dog"], holds, broken, "title")

    lengths = np.arange(10, 60)
    rates = 1 / lengths
    means = draw.against_length(lengths, rates, rates / 2, "title").axes[0].get_lines()
    assert means[0].get_xdata().tolist() == [14.5, 24.5, 34.5, 44.5, 54.5]
    np.testing.assert_allclose(means[0].get_ydata(), rates.reshape(5, 10).mean(axis=1))
    with pytest.raises(ValueError, match="50, 49 and 50"):
        draw.against_length(lengths, rates[1:], rates, "title")

    bars = draw.token_shares(["_in", "$x$"], [0.9, 0.5], "title").axes[0]
    assert [bar.get_width() for bar in bars.patches] == [90.0, 50.0]
    assert [t.get_text() for t in bars.get_yticklabels()] == ["_in", "$x$"]
    with pytest.raises(ValueError, match="2 tokens and 1 shares"):
        draw.token_shares(["_in", ","], [0.9], "title")

    trap = draw.short_list([5, 20], [1.0, 0.5], {"one": (25.0, 0.3, 0.1)}, "title").axes[0]
    assert "perfect ranking, ten tokens" in [t.get_text() for t in trap.get_legend().get_texts()]


def test_content_tokens_are_words_of_some_length_and_no_stop_words():
    spelled = [" the", "The", " Vienna", "viol", "inist", ",", "1872", "s", " é", " été", "n't", "", " a"]
    tokenizer = SimpleNamespace(decode=lambda ids: spelled[ids[0]])
    surface = [np.array([5, 2, 0]), np.array([1, 12, 5]), np.arange(len(spelled))]
    found = [own.tolist() for own in content_tokens(tokenizer, surface)]
    assert found == [[2], [], [2, 3, 4, 6, 9]]  # in the text's order; a text may have none
