"""Semantic hits, against counting by hand and against what chance must give."""

import numpy as np
import pytest

from course_utils.measures.nulls import above_chance
from course_utils.measures.semantic import closeness, dictionary_hits, semantic_hits, threshold

RNG = np.random.default_rng(0)


def test_closeness_is_the_largest_cosine_with_a_word_of_the_text():
    tokens, words = RNG.normal(size=(5, 4)), RNG.normal(size=(7, 4))
    owners = [0, 0, 3, 1, 3, 3, 0]
    near = closeness(tokens, words, owners, 4)
    for t in range(5):
        for j in range(4):
            of_text = [
                tokens[t] @ w / np.linalg.norm(tokens[t]) / np.linalg.norm(w)
                for w, o in zip(words, owners, strict=True)
                if o == j
            ]
            assert near[t, j] == pytest.approx(max(of_text, default=-1))


def test_the_threshold_lets_chance_count_as_often_as_asked_and_leaves_the_own_text_out():
    near = RNG.uniform(size=(400, 20))
    own = np.arange(400) % 20
    near[np.arange(400), own] = 1.0  # a word is always near its own text
    for share in (0.01, 0.02, 0.05):
        least = threshold(near, own, share)
        counted = (near >= least).sum() - len(own)
        assert counted / (near.size - len(own)) == pytest.approx(share, abs=2e-3)
        assert least < 1


def test_semantic_hits_count_each_place_against_each_text():
    near = np.array([[0.9, 0.1], [0.6, 0.6], [0.0, 1.0]])
    places = np.array([[0, 1, -1], [2, -1, -1]])
    found = semantic_hits(near, places, 0.6)
    assert found.shape == (2, 2, 3)
    assert found.astype(int).tolist() == [[[1, 1, 0], [0, 1, 0]], [[0, 0, 0], [1, 0, 0]]]


def test_words_drawn_without_looking_at_the_text_are_at_chance_and_relatives_are_not():
    rng = np.random.default_rng(5)
    n, per_text, k = 60, 6, 10
    topics = rng.normal(size=(n, 32))
    words = np.repeat(topics, per_text, axis=0) + 0.8 * rng.normal(size=(n * per_text, 32))
    owners = np.repeat(np.arange(n), per_text)
    least = threshold(closeness(words, words, owners, n), owners)
    relatives = np.repeat(topics, k, axis=0) + 0.8 * rng.normal(size=(n * k, 32))
    places = np.arange(n * k).reshape(n, k)
    of_text = above_chance(semantic_hits(closeness(relatives, words, owners, n), places, least).mean(axis=2))
    assert of_text.difference.low > 0.3 and of_text.chance == pytest.approx(0.02, abs=0.01)
    mixed = rng.permutation(n * k).reshape(n, k)
    at_random = above_chance(semantic_hits(closeness(relatives, words, owners, n), mixed, least).mean(axis=2))
    assert abs(at_random.difference.value) < 0.03


def test_a_dictionary_looks_at_whole_words_whatever_their_case_and_leading_mark():
    tokens = [["_Haus", "the", "▁Maison", ""], ["Hausboot", "_"]]
    assert dictionary_hits(tokens, [["haus"], ["maison"]]).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: closeness(np.ones((2, 3)), np.ones((2, 3)), [0], 1),
        lambda: closeness(np.ones((2, 3)), np.ones((2, 3)), [0, 5], 2),
        lambda: closeness(np.zeros((2, 3)), np.ones((2, 3)), [0, 0], 2),
        lambda: threshold(np.ones((3, 1)), [0, 0, 0]),
        lambda: threshold(np.ones((3, 2)), [0, 1], 0.1),
        lambda: threshold(np.ones((3, 2)), [0, 1, 0], 1.0),
        lambda: semantic_hits(np.ones((3, 2)), np.zeros((3, 2), dtype=int), 0.5),
        lambda: semantic_hits(np.ones((3, 2)), np.full((2, 2), 3), 0.5),
        lambda: semantic_hits(np.ones((3, 2)), np.full((2, 2), -2), 0.5),
        lambda: dictionary_hits([["a"]], [["a"], ["b"]]),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError):
        call()


def test_a_string_in_the_place_of_a_list_is_refused():
    with pytest.raises(TypeError):
        dictionary_hits([["a"]], ["a"])
