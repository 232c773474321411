"""Stored rows as numbers and as text."""

import numpy as np
import pandas as pd
import pytest

from course_utils.measures.evaluation import Interval
from course_utils.search import fair, recap, results
from course_utils.search.retrieval import KS, MS


@pytest.fixture(scope="module")
def rows():
    return [row for row in results.results() if row["embedder"] != "minilm"]


def comparison(label, verdict, a="x", b="y"):
    value = {"better": 0.1, "worse": -0.1, "no clear difference": 0.1}[verdict]
    p = 0.5 if verdict == "no clear difference" else 0.001
    return fair.Comparison(label, a, b, Interval(value, value - 0.05, value + 0.05), p, p)


def test_verdicts_are_counted_for_each_pair():
    found = [comparison("A", "better"), comparison("B", "worse"), comparison("C", "no clear difference")]
    found.append(comparison("A", "better", "y", "x"))
    assert recap.verdicts(found) == {("x", "y"): (1, 1), ("y", "x"): (1, 0)}
    assert recap.counts(found, 3).splitlines()[0].endswith("better in 1 of 3 rows, worse in 1")
    assert "no clear difference" in recap.comparisons(found).splitlines()[2]


def test_edges_of_the_grid_are_told_from_its_inside(rows):
    def best(k, m):
        grid = np.zeros((len(KS), len(MS)))
        grid[k, m] = 1
        return {**rows[0], "tuning": {"sparse": grid.tolist()}}

    said = [list(recap.edges([best(k, m)]).values())[0] for k, m in ((0, 2), (2, 5), (6, 0), (3, 3))]
    assert said == ["K = 128", "M = 100", "K = 8000, M = 0", "inside"]


def test_the_k_that_is_level_with_dense_comes_from_the_tuning_half_alone(rows):
    row = next(r for r in rows if r["embedder"] == "smol-sgpt-qa" and r["collection"] == results.WIKIPEDIA)
    k, value, goal = recap.level_with_dense(row)
    column = MS.index(results.chosen(row).sparse.m)
    tuning = np.array(row["tuning"]["sparse"])[:, column]
    dense = np.mean(row["nDCG@10"]["dense, tuned"])
    assert goal == pytest.approx(dense, abs=1e-3)
    assert value == row["held out"]["sparse"][KS.index(k)][column]
    other = {**row, "held out": {side: np.zeros((7, 6)).tolist() for side in ("sparse", "dense")}}
    assert recap.level_with_dense(other) == (k, 0.0, 0.0)  # the held-out half has no say in K
    none = {**row, "tuning": {**row["tuning"], "sparse": (0 * np.array(row["tuning"]["sparse"])).tolist()}}
    assert tuning.max() > 0 and recap.level_with_dense(none)[0] is None


def test_a_setting_from_elsewhere_is_judged_on_the_held_out_half(rows):
    for row in rows:
        of = results.chosen(row).sparse
        assert recap.loss_with(row, of.k, of.m) == 0
        assert recap.loss_with(row, KS[0], MS[0]) == pytest.approx(
            np.mean(row["nDCG@10"]["aligned tokens"]) - row["held out"]["sparse"][0][0], abs=1e-3
        )


def test_points_and_whole_intervals_that_reach_a_share(monkeypatch, rows):
    intervals = [Interval(0.9, 0.85, 1.0), Interval(0.9, 0.7, 1.0), Interval(0.5, 0.4, 0.6)]
    index = pd.MultiIndex.from_tuples([("row", system) for system in results.SPARSE])
    table = pd.DataFrame({"of dense, tuned": intervals}, index=index)
    monkeypatch.setattr(results, "retentions", lambda rows: table)
    assert list(recap.reached([{}]).values()) == [(1, 1), (1, 0), (0, 0)]
    assert recap.longer_than(rows, 1e9) == 0 and recap.longer_than(rows, 1) == len(rows)


def test_numbers_of_a_row_and_texts_that_hold_them(rows):
    assert all(recap.beyond_centring(row) >= 0 for row in rows)
    [(label, share)] = recap.literal_of_dense(rows[:1], fair.WHOLE).items()
    means = [np.mean(rows[0]["nDCG@10"][name]) for name in ("aligned tokens", "dense, tuned")]
    assert label == results.label(rows[0]) and share == pytest.approx(means[0] / means[1], abs=1e-2)
    assert f"K = {results.chosen(rows[0]).sparse.k}, M = " in recap.choices(rows[:1])
    assert f"nDCG@10  {means[0]:.2f}, kept {means[0] / means[1]:.2f}" in recap.retained(rows[:1])
    assert len(recap.transfers(results.leave_one_out(rows)).splitlines()) == len(rows)
    assert recap.parts(rows[:3]).count(fair.WHOLE) == len({row["collection"] for row in rows[:3]})
    assert {line.split("all-")[0].strip() for line in recap.outside(results.results()).splitlines()} == {
        row["collection"] for row in results.results() if row["embedder"] == "minilm"
    }
    costs = {"query: model": [2e6, 0], "query: scoring": [1e6, 5e5], "query: total": [3e6, 5e5]}
    table = pd.DataFrame(costs | {"document: bytes": [2304, 1000]}, index=["dense cosine", "other"])
    assert "16.67" in recap.millions(table)
