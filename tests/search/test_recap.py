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


def test_a_larger_m_is_compared_with_the_best_of_the_grid_at_the_same_k(rows):
    for row in rows:
        best = max(row["tuning"]["sparse"][KS.index(results.chosen(row).sparse.k)])
        for larger, more in (((0.1, best + 0.02), 0.02), ((best - 0.03, 0.0), -0.03)):
            found = recap.beyond_the_edge({**row, "larger M": dict(zip("ab", larger, strict=True))})
            assert found == pytest.approx(more)


def null_row(collection="C", embedder="x", rotated=0.2):
    values = {"as it is": [0.2, 0.4, 0.6], "rotated": [rotated] * 3}
    return {
        "collection": collection, "embedder": embedder, "groups": [0, 1, 1],
        "nDCG@10": {"dense, tuned": [0.5, 0.5, 0.5], "a": [0.5, 0.5, 0.5], "b": [0.25, 0.75, 0.5]},
        "meaningless": {"M = 10": values, "M = 100": values | {"rotated": [0.4, 0.2, 0.6]}},
    }  # fmt: skip


def test_what_meaningless_tokens_keep_is_a_share_of_the_tuned_dense_cosine():
    row = null_row()
    found = recap.meaningless_kept([row], 10)["C, x"]
    assert {name: of.value for name, of in found.items()} == pytest.approx({"as it is": 0.8, "rotated": 0.4})
    assert found["rotated"].low == pytest.approx(0.4) and found["as it is"].low < 0.8 < found["as it is"].high
    assert recap.meaningless_kept([row], 100)["C, x"]["rotated"].value == pytest.approx(0.8)  # another M
    more = null_row(embedder="y")
    more["nDCG@10"]["dense, tuned"] = [1.0, 1.0, 1.0]  # another row is divided by its own dense cosine
    assert recap.meaningless_kept([row, more], 10)["C, y"]["rotated"].value == pytest.approx(0.2)
    text = recap.meaningless([row])
    assert text.startswith("C, x") and text.index("M = 100: 0.80") < text.index("M = 10: 0.80")
    assert text.count("rotated 0.40 [0.40, 0.40]") == 1
    with pytest.raises(KeyError, match="M = 7"):
        recap.meaningless_kept([row], 7)


def test_what_meaning_adds_is_paired_query_by_query():
    row = null_row()
    assert recap.meaning_adds([row], 10)["C, x"].value == pytest.approx(0.2)
    paired = {**row, "meaningless": {"M = 10": {"as it is": [0.3, 0.5, 0.9], "rotated": [0.2, 0.4, 0.8]}}}
    of = recap.meaning_adds([paired], 10)["C, x"]
    assert (of.value, of.low, of.high) == pytest.approx((0.1, 0.1, 0.1))  # the same gain for each query has no spread


def test_the_stored_nulls_have_a_number_for_each_query(rows):
    for row in results.results():
        assert list(row["meaningless"]) == [f"M = {m}" for m in fair.NULL_MS], results.label(row)
        for of in row["meaningless"].values():
            assert {name: len(v) for name, v in of.items()} == dict.fromkeys(("as it is", "rotated"), row["queries"])
    for m in fair.NULL_MS:  # a rotation leaves the adapters less than their own tokens do
        assert all(of["rotated"].value < of["as it is"].value for of in recap.meaningless_kept(rows, m).values())


def test_means_ahead_are_counted_pair_by_pair():
    first, second = null_row(), null_row()
    second["nDCG@10"] = {"a": [0.1, 0.1, 0.1], "b": [0.2, 0.2, 0.2]}
    assert recap.ahead([first, second], "a", [first, second], "b") == 0  # level is not ahead
    assert recap.ahead([first, second], "b", [second, first], "a") == 1
    with pytest.raises(ValueError, match="zip"):
        recap.ahead([first], "a", [first, second], "b")


def test_losses_by_transfer_are_those_of_the_own_row_on_either_side(rows):
    moved = results.leave_one_out(rows)
    lost = recap.lost_by_transfer(moved, rows)
    assert lost["aligned tokens"].tolist() == [t.loss for t in moved]
    for t, loss in zip(moved, lost["dense"], strict=True):
        [row] = [r for r in rows if (r["collection"], r["embedder"]) == (t.collection, t.embedder)]
        assert loss == pytest.approx(np.mean(row["nDCG@10"]["dense, tuned"]) - t.dense_value)


def test_the_choice_of_a_collection_is_carried_to_the_others_of_its_embedder(rows):
    lines = recap.carried(rows, results.WIKIPEDIA).splitlines()
    home = [row for row in rows if row["collection"] == results.WIKIPEDIA]
    assert len(lines) == len(home)
    for line, row in zip(lines, home, strict=True):
        of = results.chosen(row).sparse
        assert line.startswith(f"{row['embedder']}, chosen on {results.WIKIPEDIA}: K = {of.k}, M = {of.m}")
        for other in rows:
            shown = f"{-recap.loss_with(other, of.k, of.m):+.2f} on {other['collection']}"
            if other["collection"] != results.WIKIPEDIA and other["embedder"] == row["embedder"]:
                assert shown in line


def test_points_and_whole_intervals_that_reach_a_share(monkeypatch, rows):
    intervals = [Interval(0.9, 0.85, 1.0), Interval(0.9, 0.7, 1.0), Interval(0.5, 0.4, 0.6)]
    index = pd.MultiIndex.from_tuples([("row", system) for system in results.SPARSE])
    table = pd.DataFrame({"of dense, tuned": intervals}, index=index)
    monkeypatch.setattr(results, "retentions", lambda rows: table)
    assert list(recap.reached([{}]).values()) == [(1, 1), (1, 0), (0, 0)]
    assert recap.longer_than(rows, 1e9) == 0 and recap.longer_than(rows, 1) == len(rows)


def test_pairs_of_different_queries_and_ranks_as_text():
    assert recap.one_per_query([(3, 1), (3, 2), (0, 9), (5, 5), (6, 6)]) == [(3, 1), (0, 9), (5, 5)]
    assert recap.one_per_query([(3, 1)], n=2) == [(3, 1)]
    assert [recap.about(rank) for rank in (1, 10, 11, 21, 500, 9000)] == [
        "1", "10", "below 10", "below 20", "below 200", "below 500"
    ]  # fmt: skip


def test_numbers_of_a_row_and_texts_that_hold_them(rows):
    for row in rows:
        (raw, *_), _, (centred, *_) = row["tuning"]["dense"][:3]
        assert recap.centring(row) == pytest.approx((centred - raw, np.max(row["tuning"]["dense"]) - centred))
        means = results.values(row)
        assert recap.choosing_gained(row) == pytest.approx((means["dense, tuned"] - means["dense, raw"]).mean())
    table = recap.beside_the_grids(rows)
    assert list(table.index) == [results.label(row) for row in rows] and list(table["best at"]) == list(
        recap.edges(rows).values()
    )
    assert table["larger M adds"].tolist() == [recap.beyond_the_edge(row) for row in rows]
    adds = table[["centring adds", "best over centred"]].to_numpy()
    assert adds == pytest.approx(np.array([recap.centring(row) for row in rows]))
    [(label, share)] = recap.literal_of_dense(rows[:1], fair.WHOLE).items()
    means = [np.mean(rows[0]["nDCG@10"][name]) for name in ("aligned tokens", "dense, tuned")]
    assert label == results.label(rows[0]) and share.value == pytest.approx(means[0] / means[1], abs=1e-2)
    assert f"K = {results.chosen(rows[0]).sparse.k}, M = " in recap.choices(rows[:1])
    assert f"nDCG@10  {means[0]:.2f}, kept {means[0] / means[1]:.2f}" in recap.retained(rows[:1])
    assert len(recap.transfers(results.leave_one_out(rows)).splitlines()) == len(rows)
    assert recap.parts(rows[:3]).count(fair.WHOLE) == len({row["collection"] for row in rows[:3]})
    assert {line.split("all-")[0].strip() for line in recap.outside(results.results()).splitlines()} == {
        row["collection"] for row in results.results() if row["embedder"] == "minilm"
    }
    minilm = [row for row in results.results() if row["embedder"] == "minilm"]
    for row, line in zip(minilm, recap.outside(minilm).splitlines(), strict=True):
        dense, alone = (np.mean(row["nDCG@10"][system]) for system in ("dense, tuned", "aligned tokens, M = 0"))
        assert line.endswith(f"{alone / dense:.2f} with M = 0")
    said = recap.shares_reached({"a": (3, 2), "b": (1, 0)})
    assert said == "a: 3, with the whole interval 2; b: 1, with the whole interval 0"
    costs = {"query: model": [2e6, 0], "query: scoring": [1e6, 5e5], "query: total": [3e6, 5e5]}
    table = pd.DataFrame(costs | {"document: bytes": [2304, 1000]}, index=["dense cosine", "other"])
    assert "16.67" in recap.millions(table)
