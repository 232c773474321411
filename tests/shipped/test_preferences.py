"""Preferences over nine pairs of lists: the formula, the correction, and that what ships follows from what ships."""

import numpy as np
import pytest

from course_utils.measures.evaluation import spearman
from course_utils.shipped import arrays, preferences
from course_utils.texts import word_lists
from course_utils.texts.datasets import Pairs


def _lists(seed=0, n=30):
    rng = np.random.default_rng(seed)
    return {
        name: Pairs([f"{name}{i}" for i in range(n)], [f"{name}{i + 1}" for i in range(n)], rng.normal(size=n))
        for name in word_lists.LISTS
    }


def test_a_difference_is_that_of_the_correlations_and_turns_its_sign_with_its_sides():
    lists, rng = _lists(), np.random.default_rng(1)
    cosines = [{name: x.score + rng.normal(size=len(x)) for name, x in lists.items()} for _ in range(2)]
    one, other = (preferences.followed(c, lists) for c in cosines)
    rows, turned = preferences.difference(one, other, lists), preferences.difference(other, one, lists)
    assert [(r["similarity"], r["relatedness"]) for r in rows] == list(word_lists.PAIRS_OF_LISTS) and len(rows) == 9
    by_hand = [
        spearman(c["simlex999"], lists["simlex999"].score) - spearman(c["men"], lists["men"].score) for c in cosines
    ]
    assert rows[1]["value"] == pytest.approx(by_hand[0] - by_hand[1], abs=1e-4)
    assert all(a["value"] == -b["value"] and a["p, Holm"] >= a["p"] for a, b in zip(rows, turned, strict=True))


def test_a_planted_preference_survives_and_equal_embedders_stay_open():
    lists, rng = _lists(n=200), np.random.default_rng(2)
    asks = {name: source.asks for name, source in word_lists.LISTS.items()}
    noise = {name: rng.normal(size=200) for name in lists}
    near = {n: x.score + noise[n] * (0.1 if asks[n] == "similarity" else 3) for n, x in lists.items()}
    far = {n: x.score + noise[n] * (3 if asks[n] == "similarity" else 0.1) for n, x in lists.items()}
    one, other = (preferences.followed(c, lists) for c in (near, far))
    assert len(preferences.verdict(preferences.difference(one, other, lists))["first"]) == 9
    assert len(preferences.verdict(preferences.difference(one, one, lists))["open"]) == 9


def test_the_list_that_did_not_ask_for_similarity_is_left_out_and_the_rest_corrected_for_their_number():
    rows = preferences.read()["comparison"]
    kept = preferences.asked(rows)
    assert len(kept) == 6 and {row["similarity"] for row in kept} == {"simlex999", "simverb"}
    smallest = min(kept, key=lambda row: row["p"])
    assert smallest["p, Holm"] == pytest.approx(6 * smallest["p"], abs=1e-4)
    assert all(row["p, Holm"] <= old["p, Holm"] for row in kept for old in rows if old["value"] == row["value"])


def test_gaps_are_the_rows_with_their_intervals_by_title():
    row = {"similarity": "simverb", "relatedness": "men", "value": 0.2, "low": -0.1, "high": 0.5, "p": 0.3}
    (name, gap), *others = preferences.gaps([row]).items()
    assert (name, gap.value, gap.low, gap.high, others) == ("SimVerb-3500 − MEN", 0.2, -0.1, 0.5, [])


def test_seeds_that_differ_widen_the_interval():
    lists, rng = _lists(), np.random.default_rng(3)
    sides = [
        [
            preferences.followed({n: x.score + rng.normal(size=len(x)) for n, x in lists.items()}, lists)
            for _ in range(3)
        ]
        for _ in range(2)
    ]
    means = [preferences.mean(side) for side in sides]
    plain, wider = preferences.difference(*means, lists), preferences.difference(*means, lists, sides)
    assert all(b["high"] - b["low"] > a["high"] - a["low"] for a, b in zip(plain, wider, strict=True))
    assert means[0].rho["men"] == pytest.approx(np.mean([one.rho["men"] for one in sides[0]]))


def test_what_ships_agrees_with_the_shipped_arrays():
    made, lists = preferences.read(), word_lists.read()
    for name, rho in made["rho"].items():
        for known, pairs in lists.items():
            assert rho[known] == pytest.approx(
                spearman(arrays.load("judged", name).cosines[known], pairs.score), abs=2e-3
            )
    first, second = made["rho"][made["first"]], made["rho"][made["second"]]
    for row in made["comparison"]:
        s, r = row["similarity"], row["relatedness"]
        assert row["value"] == pytest.approx(first[s] - first[r] - second[s] + second[r], abs=5e-4)
        assert row["low"] < row["value"] < row["high"] and (row["low"] > 0 or row["high"] < 0) == (row["p"] < 0.05)


def test_the_shipped_arrays_answer_for_the_parts_of_wordsim(monkeypatch):
    whole = word_lists.read()
    part = {**whole, "ws-sim": Pairs(whole["wordsim353"].right[:5], whole["wordsim353"].left[:5], np.arange(5.0))}
    monkeypatch.setattr(preferences.words, "word_cosines", None)  # nothing has to be encoded
    found = preferences.cosines_of("smol-sgpt-nli", part, {})
    assert np.allclose(found["ws-sim"], found["wordsim353"][:5])
