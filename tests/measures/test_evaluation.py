"""Measures against references written out by hand, and resampling against what theory says."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from course_utils.measures import evaluation
from course_utils.measures.evaluation import Interval

# --- Similarity and correlation -------------------------------------------------------------------


def naive_ranks(values):
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def test_spearman_is_the_correlation_of_mean_ranks():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 8, size=60)  # with ties
    b = a + rng.normal(size=60)
    assert evaluation.spearman(a, b) == pytest.approx(np.corrcoef(naive_ranks(a), naive_ranks(b))[0, 1], abs=1e-12)
    assert evaluation.spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(1)
    assert evaluation.spearman([1, 2, 3], [0, -1, -9]) == pytest.approx(-1)


@pytest.mark.parametrize(
    "a, b, message",
    [
        ([1, 2], [1, 2, 3], "a has 2 values, b has 3"),
        ([1, 1, 1], [1, 2, 3], "a has 3 values, all equal"),
        ([1, 2, 3], [2, 2, 2], "b has 3 values, all equal"),
        ([], [], "a has 0 values"),
        ([1, np.nan, 3], [1, 2, 3], r"a\[1\] is nan"),
        ([1, 2, 3], [1, 2, np.inf], r"b\[2\] is inf"),
        ([[1, 2]], [[1, 2]], r"a must have one dimension; got shape \(1, 2\)"),
    ],
)
def test_spearman_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        evaluation.spearman(a, b)


def test_cosines():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, 7)).astype(np.float32), 100 * rng.normal(size=(4, 7))
    expected = [[sum(x * y) / math.sqrt(sum(x * x) * sum(y * y)) for y in b] for x in a.astype(float)]
    result = evaluation.cosine_matrix(a, b)
    assert result.shape == (5, 4) and result.dtype == np.float64
    np.testing.assert_allclose(result, expected, atol=1e-12)
    np.testing.assert_allclose(evaluation.cosine(a[:4], b), np.diag(expected), atol=1e-12)


@pytest.mark.parametrize(
    "a, b, message",
    [
        ([[1, 0], [0, 0]], [[1, 1], [1, 1]], "row 1 of a is all zeros"),
        ([[1, 0], [0, 1]], [[0, 0], [1, 1]], "row 0 of b is all zeros"),
        ([[1, 0], [0, np.nan]], [[1, 1], [1, 1]], "a hold NaN or infinity in row\\(s\\) \\[1\\]"),
        ([1, 0], [[1, 1]], r"a must be \[n, d\]; got shape \(2,\)"),
        ([[1, 0]], [[1, 1, 1]], "a"),
    ],
)
@pytest.mark.parametrize("function", [evaluation.cosine, evaluation.cosine_matrix])
def test_cosines_refuse(function, a, b, message):
    with pytest.raises(ValueError, match=message):
        function(np.array(a), np.array(b))


def test_cosine_needs_pairs():
    with pytest.raises(ValueError, match=r"a has shape \(2, 3\), b has \(1, 3\)"):
        evaluation.cosine(np.ones((2, 3)), np.ones((1, 3)))


# --- Uncertainty ----------------------------------------------------------------------------------


def test_interval_prints_compactly():
    interval = Interval(0.7484, 0.7131, 0.7816)
    assert str(interval) == f"{interval}" == "0.748 [0.713, 0.782]"
    assert f"{interval:.1f}" == "0.7 [0.7, 0.8]"


def test_bootstrap_of_the_mean_agrees_with_the_normal_interval():
    values = np.random.default_rng(2).normal(3, 2, size=400)
    error = 1.96 * values.std() / math.sqrt(400)
    interval = evaluation.bootstrap(values, n_resamples=4000)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - error, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.02)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(400):
        interval = evaluation.bootstrap(rng.exponential(size=80), n_resamples=300, confidence=0.9, seed=seed)
        hits += interval.low <= 1 <= interval.high
    # Skewed data: slightly below 90 %. The standard error of the share is 1.6 points.
    assert 0.83 < hits / 400 < 0.95


def test_the_three_bootstraps_draw_the_same_resamples(monkeypatch):
    rng = np.random.default_rng(4)
    values, other = rng.normal(size=50), rng.normal(size=50)
    whole = evaluation.bootstrap(values, np.median, n_resamples=200, seed=7)
    assert whole == evaluation.bootstrap_indices(50, lambda rows: np.median(values[rows]), n_resamples=200, seed=7)
    assert whole == evaluation.bootstrap_rows(values, statistic=np.median, n_resamples=200, seed=7)
    both = evaluation.bootstrap_rows(values, other, statistic=evaluation.spearman, n_resamples=200)
    assert both == evaluation.bootstrap_indices(
        50, lambda rows: evaluation.spearman(values[rows], other[rows]), n_resamples=200
    )
    assert both.low < both.value < both.high
    assert whole != evaluation.bootstrap(values, np.median, n_resamples=200, seed=8)
    monkeypatch.setattr(evaluation, "_CHUNK", 150)  # three resamples at a time
    assert whole == evaluation.bootstrap(values, np.median, n_resamples=200, seed=7)


def test_bootstrap_rows_keeps_rows_together():
    a = np.arange(30)
    interval = evaluation.bootstrap_rows(a, 2 * a, statistic=lambda x, y: float(np.abs(y - 2 * x).max()))
    assert interval == Interval(0.0, 0.0, 0.0)


def test_bootstrap_of_a_set_valued_statistic():
    labels = np.repeat(np.arange(10), 3)
    interval = evaluation.bootstrap_indices(30, lambda rows: len(set(labels[rows])) / 10)
    assert interval.value == 1.0 and interval.high <= 1.0 and interval.low < 1.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([],), "no values"),
        (([1.0, np.nan],), r"values\[1\] is nan"),
        (([1.0, 2.0], np.mean, 0), "n_resamples must be at least 1; got 0"),
        (([1.0, 2.0], np.mean, 10, 95), "confidence must lie between 0 and 1; got 95"),
        (([1.0, 2.0], lambda x, axis: np.log(x.min(axis=axis) - 1.5)), "NaN or infinite for .* of 1000 resamples"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log:RuntimeWarning")
def test_bootstrap_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluation.bootstrap(*arguments)


def test_bootstrap_rows_refuses_different_lengths():
    with pytest.raises(ValueError, match=r"same number of rows; got \[3, 2\]"):
        evaluation.bootstrap_rows([1, 2, 3], [1, 2], statistic=evaluation.spearman)


def test_permutation_is_exact_on_few_pairs():
    # All eight differences positive: 2 of the 256 sign patterns are as extreme.
    a = np.arange(8.0) + 1
    assert evaluation.paired_permutation(a, np.zeros(8)) == pytest.approx(2 / 256)
    assert evaluation.paired_permutation(a, a) == 1.0


def test_permutation_on_a_clear_and_on_a_null_case():
    rng = np.random.default_rng(5)
    a = rng.normal(size=200)
    assert evaluation.paired_permutation(a + 0.5, a + rng.normal(scale=0.5, size=200)) < 0.001
    p = [
        evaluation.paired_permutation(*rng.normal(size=(2, 30)), n_resamples=200, seed=seed) for seed in range(300)
    ]  # uniform if the hypothesis is true
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.1 and 0.4 < np.mean(p) < 0.6
    assert evaluation.paired_permutation(a, a[::-1], seed=1) == evaluation.paired_permutation(a, a[::-1], seed=1)


@pytest.mark.parametrize("a, b", [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), ([1.0, np.nan], [1.0, 2.0])])
def test_permutation_refuses(a, b):
    with pytest.raises(ValueError, match=r"at least two pairs|is nan"):
        evaluation.paired_permutation(a, b)


# --- Retrieval ------------------------------------------------------------------------------------


def naive_scores(run, qrels):
    """nDCG@10, R@100 and RR of one query, written out."""
    order = sorted(run, key=lambda d: (-run[d], d))
    gains = [qrels.get(d, 0) for d in order]
    ideal = sorted(qrels.values(), reverse=True)

    def dcg(g):
        return sum(x / math.log2(i + 2) for i, x in enumerate(g[:10]))

    relevant = {d for d, r in qrels.items() if r > 0}
    first = [1 / (i + 1) for i, d in enumerate(order) if d in relevant]
    return {
        "nDCG@10": dcg(gains) / dcg(ideal),
        "R@100": len(relevant & set(order[:100])) / len(relevant),
        "RR": first[0] if first else 0.0,
    }


def random_collection(seed, levels):
    rng = np.random.default_rng(seed)
    documents = [f"d{i}" for i in rng.permutation(300)]
    queries = [f"q{i}" for i in range(12)]
    scores = rng.integers(0, levels, size=(12, 300)) / levels
    qrels = {q: {d: int(rng.integers(0, 4)) for d in rng.choice(documents, 25, replace=False)} for q in queries}
    return scores, queries, documents, qrels


@pytest.mark.parametrize("levels", [10**9, 5], ids=["distinct scores", "many ties"])
def test_retrieval_scores_against_the_definition(levels):
    scores, queries, documents, qrels = random_collection(6, levels)
    run = evaluation.rank(scores, queries, documents)
    result = evaluation.retrieval_scores(run, qrels)
    assert set(result) == set(evaluation.MEASURES) and all(set(r) == set(queries) for r in result.values())
    for query in queries:
        for measure, value in naive_scores(run[query], qrels[query]).items():
            assert result[measure][query] == pytest.approx(value, abs=1e-9), (measure, query)


def test_scores_that_differ_in_the_tenth_digit_are_no_ties():
    run = {"q": {"z": 0.70000000002, "a": 0.70000000001}}
    assert evaluation.retrieval_scores(run, {"q": {"z": 1}}, ["RR"]) == {"RR": {"q": 1.0}}
    assert evaluation.retrieval_scores(run, {"q": {"a": 1}}, ["RR"]) == {"RR": {"q": 0.5}}


def test_result_does_not_depend_on_the_order_of_the_documents():
    scores, queries, documents, qrels = random_collection(7, 4)
    turned = np.random.default_rng(8).permutation(300)
    first = evaluation.rank(scores, queries, documents, k=20)
    for query, row in zip(queries, scores, strict=True):
        by_score_then_id = sorted(zip(-row, documents, strict=True))[:20]
        assert list(first[query]) == [document for _, document in by_score_then_id]
    second = evaluation.rank(scores[:, turned], queries, [documents[i] for i in turned], k=20)
    assert first == second and [list(r) for r in first.values()] == [list(r) for r in second.values()]
    assert evaluation.retrieval_scores(first, qrels) == evaluation.retrieval_scores(second, qrels)


def test_rank_orders_by_score_then_by_id():
    run = evaluation.rank(np.array([[1, 3, 3, 2]]), ["q"], ["d4", "d3", "d10", "d1"], k=3)
    assert list(run["q"].items()) == [("d10", 3.0), ("d3", 3.0), ("d1", 2.0)]
    assert list(evaluation.rank(np.zeros((1, 2), np.uint8), ["q"], ["b", "a"], k=9)["q"]) == ["a", "b"]


@pytest.mark.parametrize(
    "scores, queries, documents, k, message",
    [
        (np.ones((2, 2)), ["q"], ["a", "b"], 1, r"shape \(2, 2\); there are 1 queries, 2 documents"),
        (np.ones((1, 2)), ["q"], ["a", "a"], 1, "doc_ids: 'a' occurs twice"),
        (np.ones((2, 1)), ["q", "q"], ["a"], 1, "query_ids: 'q' occurs twice"),
        (np.array([[0, np.nan]]), ["q"], ["a", "b"], 1, "query 'q' and document 'b' is NaN"),
        (np.ones((1, 1)), ["q"], ["a"], 0, "k must be at least 1; got 0"),
    ],
)
def test_rank_refuses(scores, queries, documents, k, message):
    with pytest.raises(ValueError, match=message):
        evaluation.rank(scores, queries, documents, k)


def test_a_document_with_the_id_of_the_query_can_be_left_out():
    scores, ids = np.array([[9.0, 2.0, 1.0], [5.0, 7.0, 6.0]]), ["a", "b", "c"]
    assert [list(own) for own in evaluation.rank(scores, ["a", "x"], ids, k=2).values()] == [["a", "b"], ["b", "c"]]
    run = evaluation.rank(scores, ["a", "x"], ids, k=2, ignore_identical_ids=True)
    assert [list(own) for own in run.values()] == [["b", "c"], ["b", "c"]]
    # Argument and counter-argument: the query itself is a document, and not the answer.
    assert evaluation.retrieval_scores(run, {"a": {"b": 1}, "x": {"b": 1}}, ["RR"]) == {"RR": {"a": 1.0, "x": 1.0}}


def test_relevances_may_be_whole_numbers_of_any_kind():
    run, expected = {"q": {"a": 2.0, "b": 1.0, "c": 0.5}}, None
    for kind in (int, np.int64, np.int8, float, np.float32):
        found = evaluation.retrieval_scores(run, {"q": {"a": kind(1), "b": kind(0), "c": kind(3)}})
        assert found == (expected := expected or found)
    negative = {"q": {"a": -1, "b": -2, "c": 1}}  # not judged, and spam, as TREC marks them
    assert evaluation.retrieval_scores(run, negative, ["RR"])["RR"]["q"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("value", [2**31 - 1, 2**40, 1001, -3, 0.5, float("nan"), "1", None])
def test_relevances_that_are_no_grades_are_refused_with_their_place(value):
    said = r"qrels\['q'\]\['a'\]: the score must (be a whole number|lie between -2 and 1000)"
    with pytest.raises(ValueError, match=said):
        evaluation.retrieval_scores({"q": {"a": 1.0}}, {"q": {"a": value}})


@pytest.mark.parametrize("name", ["P", "P@0", "nDCG@1.5", "ERR@10", "Accuracy", "AP(rel=0)", "R@True", " "])
def test_measures_that_end_the_interpreter_or_want_other_programs_are_refused(name):
    with pytest.raises(ValueError, match="unknown measure .*; use nDCG@10|is empty"):
        evaluation.retrieval_scores({"q": {"a": 1.0}}, {"q": {"a": 1}}, [name])


@pytest.mark.parametrize(
    "name", ["nDCG@3", "nDCG", "R@2", "P@1", "RR@2", "AP@2", "Success@1", "AP", "Rprec", "Bpref", "P(rel=2)@1"]
)
def test_every_measure_that_is_offered_gives_a_number(name):
    assert 0 <= evaluation.retrieval_scores({"q": {"a": 1.0, "b": 0.5}}, {"q": {"b": 2}}, [name])[name]["q"] <= 1


def test_retrieval_scores_survive_whatever_they_are_given():
    """In a process of its own: half a character in an id once ended the interpreter."""
    file = Path(__file__).with_name("hostile_retrieval.py")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    answers, errors = map(int, done.stdout.split())
    assert answers > 50 and errors > 50 and answers + errors >= 300


def test_queries_without_answer_or_without_relevant_document():
    qrels = {"found": {"a": 1}, "silent": {"a": 1}, "absent": {"b": 2}, "hopeless": {"a": 0}}
    with pytest.warns(UserWarning, match="1 of 4 queries have no relevant document"):
        result = evaluation.retrieval_scores({"found": {"a": 1.0}, "silent": {}}, qrels, ["RR", "P@5"])
    assert result == {
        "RR": {"found": 1.0, "silent": 0.0, "absent": 0.0},
        "P@5": {"found": pytest.approx(0.2), "silent": 0.0, "absent": 0.0},
    }
    assert evaluation.retrieval_scores({}, {"q": {"a": 1}}, ["RR"]) == {"RR": {"q": 0.0}}


@pytest.mark.parametrize(
    "run, qrels, measures, message",
    [
        ({"q": {"a": 1.0}}, {"q": {"a": 0}}, ["RR"], "none of the 1 queries has a relevant document"),
        ({"q": {"a": 1.0}, "x": {}}, {"q": {"a": 1}}, ["RR"], "1 queries of the run have no judgements, .* 'x'"),
        ({"q": {"a": np.nan}}, {"q": {"a": 1}}, ["RR"], "query 'q' and document 'a' is NaN"),
        ({"q": {"a": 1.0}}, {"q": {"a": 1}}, ["nDCG@ten"], r"unknown measure 'nDCG@ten'"),
        ({"q": {"a": 1.0}}, {"q": {"a": 1}}, ["Quality"], r"unknown measure 'Quality'"),
    ],
)
def test_retrieval_scores_refuses(run, qrels, measures, message):
    with pytest.raises(ValueError, match=message):
        evaluation.retrieval_scores(run, qrels, measures)
