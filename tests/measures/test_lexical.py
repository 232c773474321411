"""BM25 against the formula written out, and what the words of a text are."""

import math
import re

import numpy as np
import pytest

from course_utils.measures.lexical import BM25, stems, tfidf

TEXTS = [
    "The dogs were running in the park.",
    "A cat sleeps; the cat dreams of cats.",
    "",
    "Parks and gardens: dogs, cats and one running fox",
    "of the and",
]


def by_hand(texts, query, k1, b):
    documents, words = stems(texts), stems([query])[0]
    mean = sum(map(len, documents)) / len(documents)
    result = []
    for document in documents:
        total = 0.0
        for word in words:
            df, tf = sum(word in d for d in documents), document.count(word)
            if df and tf:
                idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
                total += idf * tf / (tf + k1 * (1 - b + b * len(document) / mean))
        result.append(total)
    return result


@pytest.mark.parametrize("k1, b", [(1.5, 0.75), (0.9, 0.4), (0.0, 0.0)])
def test_scores_are_those_of_the_formula(k1, b):
    queries = ["running dogs", "cat", "cat cats zebra", "a dreaming fox in the garden"]
    found = BM25(TEXTS, k1, b).scores(queries)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [by_hand(TEXTS, q, k1, b) for q in queries], rtol=1e-5)


def test_words_are_stemmed_and_stop_words_are_left_out():
    assert stems(["The runner's dogs were RUNNING, x2 I"]) == [["runner", "dog", "were", "run", "x2"]]
    assert stems(["the of", ""]) == [[], []] and stems([]) == []


def test_a_query_without_a_known_word_and_an_empty_document_score_zero():
    found = BM25(TEXTS).scores(["zebra", "", "the", "cat"])
    assert not found[:3].any() and found[3, 1] > 0
    assert not found[:, [2, 4]].any()


def test_no_queries():
    assert BM25(TEXTS).scores([]).shape == (0, 5)


def test_what_cannot_be_indexed_is_refused():
    for texts in ([], ["", "the of"]):
        with pytest.raises(ValueError, match=f"none of the {len(texts)} documents"):
            BM25(texts)
    with pytest.raises(ValueError, match="got -1 and 0.75"):
        BM25(TEXTS, k1=-1)
    with pytest.raises(ValueError, match="got 1.5 and 1.1"):
        BM25(TEXTS, b=1.1)
    with pytest.raises(TypeError, match="single string"):
        BM25("a cat")


def test_tfidf_is_the_formula_written_out():
    texts = ["a cat sat", "the cat and the dog", "dog, dog!", "!"]
    words = [re.findall(r"\w\w+", text) for text in texts]
    vocabulary = sorted({word for text in words for word in text})
    idf = {w: 1 + math.log((1 + len(texts)) / (1 + sum(w in text for text in words))) for w in vocabulary}
    expected = np.array([[text.count(w) * idf[w] for w in vocabulary] for text in words])
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    expected = np.divide(expected, norms, out=np.zeros_like(expected), where=norms > 0)
    whole, part = tfidf(texts, texts, texts[2:])
    np.testing.assert_allclose(whole.toarray(), expected, atol=1e-12)
    np.testing.assert_array_equal(part.toarray(), whole.toarray()[2:])
    unknown, none = tfidf(texts, ["zebra"], [])
    assert unknown.nnz == 0 and none.shape == (0, len(vocabulary))


def test_tfidf_refuses_what_is_no_list_of_texts_with_words():
    with pytest.raises(ValueError, match="none of the 2 documents has a word of two or more characters"):
        tfidf(["!", "a"], ["b"])
    with pytest.raises(TypeError, match="single string"):
        tfidf("a cat")
    with pytest.raises(TypeError, match="single string"):
        tfidf(["a cat"], "a cat")
