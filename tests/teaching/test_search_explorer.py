"""The search page: what each method finds, what is marked, and that nothing a reader types becomes markup."""

import re

import numpy as np
import pytest
from benches import tiny_bench, tiny_collection, tiny_tokenizer
from scipy.sparse import csr_array

from course_utils.measures.lexical import BM25
from course_utils.search.retrieval import Setting
from course_utils.teaching.explorers.search import (
    SNIPPET_WORDS,
    Method,
    begins_with,
    bm25_method,
    dense_method,
    same_stem,
    search_explorer,
    search_page,
    sparse_method,
    ways,
)

TEXTS = ["Parrots are <b>birds</b> of the tropics.", "A guitar has six strings.", "Birds sing & fly; games released."]
IDS = ["d<0>", "d1", "d2"]
NAMES = ["_bird", "_guitar", "_<i>", "_release", "s"]
DOCUMENTS = csr_array(np.array([[2.0, 0, 1, 0, 0], [0, 3, 0, 0, 0], [1, 0, 0, 4, 0]], dtype=np.float32))


def tokens_of(query: str) -> csr_array:
    """One column for each name that the query holds."""
    row = [float(name.strip("_") in query.casefold()) for name in NAMES]
    return csr_array(np.array([row], dtype=np.float32))


def methods() -> dict[str, Method]:
    directions = np.array([[1.0, 0], [0, 1], [1, 0.5]])
    return {
        "dense": dense_method(directions, lambda query: np.array([1.0, 0.1])),
        "aligned tokens": sparse_method(DOCUMENTS, tokens_of, NAMES),
        "BM25": bm25_method(BM25(TEXTS)),
    }


def columns(page: str) -> dict[str, list[str]]:
    """The ids in each column, by the column's heading."""
    parts = re.findall(r"<h4>(.*?)</h4>(.*?)</section>", page, flags=re.DOTALL)
    return {name: re.findall(r"<li><b>(.*?)</b>", body) for name, body in parts}


def test_every_method_shows_its_own_first_documents_in_order():
    shown = columns(search_page(TEXTS, IDS, methods(), "bird release"))
    assert list(shown) == ["dense", "aligned tokens", "BM25"]
    assert shown["dense"] == ["d&lt;0&gt;", "d2", "d1"]
    assert shown["aligned tokens"] == ["d2", "d&lt;0&gt;"]  # 1 + 4 before 2; the guitar shares nothing
    assert shown["BM25"] == ["d2", "d&lt;0&gt;"]
    assert columns(search_page(TEXTS, IDS, methods(), "bird release", k=1))["dense"] == ["d&lt;0&gt;"]


def test_scores_matches_and_other_columns_are_told():
    page = search_page(TEXTS, IDS, {"one": methods()["aligned tokens"], "two": methods()["dense"]}, "bird release")
    first = page.split("<li>")[1]
    assert "score 5.000" in first and "also: two 2" in first
    assert "matched: <b><bdi>_release</bdi></b> 4.00 · <b><bdi>_bird</bdi></b> 1.00" in first
    assert "matched" not in page.split("<h4>two</h4>")[1]


def test_the_parts_of_a_bm25_score_add_up():
    bm25 = BM25(TEXTS)
    for query in ("birds release", "bird birds Birds", "the bird"):
        parts = bm25_method(bm25).matches(query, 2)
        assert sum(part for _, part in parts) == pytest.approx(float(bm25.scores([query])[0, 2]), rel=1e-5)
    assert bm25_method(bm25).matches("guitar", 2) == []


def test_matched_words_are_marked_and_only_those():
    page = search_page(TEXTS, IDS, {"tokens": methods()["aligned tokens"]}, "bird release")
    assert re.findall(r"<mark[^>]*>(.*?)</mark>", page) == ["Birds", "released", "birds"]
    page = search_page(TEXTS, IDS, {"BM25": methods()["BM25"]}, "releases")
    assert re.findall(r"<mark[^>]*>(.*?)</mark>", page) == ["released"]


def test_short_pieces_mark_whole_words_only():
    assert begins_with(["as", "Asia", "a", "S", "Birdsong"], ["_as", "s", "_bird"]) == [True, False, False, True, True]
    assert same_stem(["cities", "City", "the"], ["city"]) == [True, True, False]


def test_what_is_typed_and_what_is_found_never_becomes_markup():
    page = search_page(TEXTS, IDS, methods() | {"<u>": methods()["dense"]}, "<script>alert(1)</script> <i> bird")
    assert "<script" not in page and "<i>" not in page and "<u>" not in page and "<b>birds" not in page
    assert "_&lt;i&gt;" in page and "sing &amp; fly" in page and "<h4>&lt;u&gt;</h4>" in page


def test_colours_come_in_pairs_and_nothing_needs_a_pointer():
    page = search_page(TEXTS, IDS, methods(), "bird")
    for style in re.findall(r'style="([^"]*)"', page):
        assert ("background" in style) == ("color:#" in style)
    assert not re.search(r"onclick|onmouse|<script|title=", page)


def test_a_long_document_shows_its_best_part_and_opens_to_all_of_it():
    words = [f"w{i}" for i in range(3 * SNIPPET_WORDS)]
    words[70], words[75] = "guitar", "guitars"
    page = search_page(
        [" ".join(words)], ["long"], {"tokens": sparse_method(DOCUMENTS[[1]], tokens_of, NAMES)}, "guitar"
    )
    summary, rest = re.search(r"<summary>(.*?)</summary><p>(.*)</p></details>", page).groups()
    plain = re.sub(r"<[^>]*>", "", summary)
    assert plain.startswith("… ") and plain.endswith(" …") and len(plain.split()) == SNIPPET_WORDS + 2
    assert "guitar" in plain and "guitars" in plain
    assert re.sub(r"<[^>]*>", "", rest) == " ".join(words)


def test_queries_without_content_or_matches_are_answered_in_words():
    assert search_page(TEXTS, IDS, methods(), "  ") == "<p>Type a query and press Enter.</p>"
    page = search_page(TEXTS, IDS, {"tokens": methods()["aligned tokens"], "BM25": methods()["BM25"]}, "xyz")
    assert page.count("No document shares a token with this query.") == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ids": IDS[:2]}, "3 texts, 2 ids"),
        ({"methods": {}}, "0 methods"),
        ({"k": 0}, "k=0"),
        (
            {"methods": {"odd": Method(lambda query: np.zeros(2))}},
            r"odd returned scores of shape \(2,\) for 3 documents",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changed, said):
    given = {"texts": TEXTS, "ids": IDS, "methods": {"d": Method(lambda query: np.zeros(3))}, "query": "q", "k": 5}
    with pytest.raises(ValueError, match=said):
        search_page(**(given | changed))


def test_the_explorer_answers_to_query_and_number():
    box = search_explorer(TEXTS, IDS, methods(), "bird", k=2)
    asked, number, result = box.children
    assert result.value == search_page(TEXTS, IDS, methods(), "bird", 2)
    number.value = 1
    assert result.value == search_page(TEXTS, IDS, methods(), "bird", 1)
    asked.value = "guitar"
    assert result.value == search_page(TEXTS, IDS, methods(), "guitar", 1)
    asked.value = ""
    assert "Type a query" in result.value


def test_a_query_is_encoded_once_for_all_its_hits_and_the_number_of_documents_costs_nothing():
    asked = []

    def encode(query):
        asked.append(query)
        return tokens_of(query)

    class Counted(BM25):
        def scores(self, queries):
            asked.append(tuple(queries))
            return super().scores(queries)

    three = {"tokens": sparse_method(DOCUMENTS, encode, NAMES), "BM25": bm25_method(Counted(TEXTS))}
    for k in (1, 3, 2):
        search_page(TEXTS, IDS, three, "bird bird release", k)
    # For BM25 once the whole query, once each of its different words.
    assert asked == ["bird bird release", ("bird bird release",), ("bird", "release")]


@pytest.mark.parametrize("m", [0, 5])
def test_the_ways_of_a_bench_score_what_is_typed_as_the_bench_scores_its_queries(tmp_path, m):
    collection = tiny_collection()
    bench = tiny_bench(collection, tiny_tokenizer(tmp_path))
    bench.largest = (40, 5)
    asked = []

    class Loaded:
        def encode(self, texts, instruction, role):
            asked.append((texts, instruction, role))
            return bench.embedded.queries[[bench.query_texts.index(text) for text in texts]]

    setting = Setting(k=40, m=m)
    found = ways(bench, Loaded(), setting, "find it")
    for row, text in enumerate(bench.query_texts):
        np.testing.assert_allclose(found["aligned tokens"].scores(text), bench.aligned(setting)[row], atol=1e-5)
        np.testing.assert_allclose(found["dense cosine"].scores(text), bench.dense()[row], atol=1e-5)
        np.testing.assert_allclose(found["BM25"].scores(text), bench.lexical()[row], atol=1e-5)
    assert asked == [([text], "find it", "query") for text in bench.query_texts]  # once for both ways
    assert ways(bench, None, Setting(k=40, m=0))["aligned tokens"].scores("guitar").any()  # no model at M = 0
