"""Yardsticks: what others reach on the same texts, and whether an embedder is ahead of them."""

import numpy as np
import pytest

from course_utils.measures import evaluation
from course_utils.texts.datasets import Pairs, Retrieval
from course_utils.training import yardsticks

WORDS = "heron badger falcon otter river forest cliff lake".split()


def letters(texts):
    return np.array([[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], dtype=np.float32)


def shifted(texts):
    """Letters on top of a common direction twenty times as long: only centring shows them."""
    return letters(texts) + 20 * np.ones(26, dtype=np.float32)


def some_pairs(n=60):
    rng = np.random.default_rng(0)
    left, right, score = [], [], []
    for i in range(n):
        a, shared = rng.choice(WORDS, 5, replace=False), i % 5
        others = [w for w in WORDS if w not in a]
        left.append(" ".join(a))
        right.append(" ".join([*a[:shared], *rng.choice(others, min(len(others), 5 - shared), replace=False)]))
        score.append(float(shared))
    return Pairs(left, right, np.array(score))


def test_pairs():
    pairs = some_pairs()
    own = pairs.score + np.random.default_rng(1).normal(size=len(pairs))
    found = yardsticks.of_pairs(own, pairs, shifted, letters)
    assert list(found) == [*yardsticks.NAMES, "margin", "standard error"]
    assert found["tf-idf"] > 0.9 and found["BM25"] > 0.9  # the score is the number of shared words
    centred = [letters(side) for side in (pairs.left, pairs.right)]
    mean = np.concatenate(centred).mean(axis=0)
    expected = evaluation.spearman(evaluation.cosine(*(side - mean for side in centred)), pairs.score)
    assert found["origin, centred"] == pytest.approx(expected, abs=0.01)
    plain = evaluation.spearman(evaluation.cosine(letters(pairs.left), letters(pairs.right)), pairs.score)
    assert found["all-MiniLM-L6-v2"] == pytest.approx(plain)
    assert found["margin"] == pytest.approx(evaluation.spearman(own, pairs.score) - found["tf-idf"])
    assert 0.01 < found["standard error"] < 0.2


def test_retrieval():
    documents = {f"d{i}": f"The {WORDS[i]} rests near the {WORDS[4 + i]}." for i in range(4)}
    queries = {f"q{i}": f"where does the {word} rest" for i, word in enumerate(WORDS[:4])}
    collection = Retrieval(documents, queries, {f"q{i}": {f"d{i}": 1} for i in range(4)})
    texts = [letters(side.values()) + 20 for side in (documents, queries)]
    own = np.array([1.0, 0.5, 1.0, 0.0])
    found = yardsticks.of_retrieval(own, collection, texts, letters)
    assert found["tf-idf"] == found["BM25"] == pytest.approx(1)
    mean = letters(documents.values()).mean(axis=0)
    sides = letters(queries.values()) - mean, letters(documents.values()) - mean
    expected = yardsticks.by_query(evaluation.cosine_matrix(*sides), collection)
    assert found["origin, centred"] == pytest.approx(expected.mean())
    assert found["margin"] == pytest.approx(own.mean() - 1)
    assert found["standard error"] == pytest.approx(own.std() / 2, rel=0.15)  # of a mean of four


def test_the_verdict_is_in_words():
    def line(margin):
        return yardsticks.in_words("STS", {"margin": margin, "standard error": 0.01})

    assert line(0.05) == "- STS: above tf-idf (+0.050, standard error 0.010)."
    assert line(-0.05) == "- STS: **below tf-idf** (-0.050, standard error 0.010)."
    for close in (0.019, -0.019, 0.0):
        assert line(close).startswith("- STS: **not clearly different from tf-idf**: the difference is below two")


def test_the_table():
    values = {**dict.fromkeys(yardsticks.NAMES, 0.5), "tf-idf": 0.25, "margin": 0.0, "standard error": 1.0}
    head, rule, row = yardsticks.table({"STS": 0.8125, "other": 0.1}, {"STS": values})
    assert head.count("|") == rule.count("|") == row.count("|") == 7
    assert row == "| STS | 0.812 | 0.250 | 0.500 | 0.500 | 0.500 |"
