"""Runs that differ in their data only, on a tiny model."""

import json

import numpy as np
import pytest
import tiny

from course_utils.texts.datasets import Pairs
from course_utils.training import data_runs
from course_utils.training.data_runs import ARMS, COMPARED

LISTS = {
    name: Pairs([f"{name}{i}" for i in range(6)], [f"w{i % 3}" for i in range(6)], np.arange(6.0))
    for name in ("simlex999", "simverb", "ws-sim", "wordsim353", "men", "ws-rel")
}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory, tmp_path):
    sentences = data_runs.datasets.wikipedia_sentences(12)
    monkeypatch.setattr(
        data_runs, "EMBEDDER", str(tiny.save(tmp_path_factory.mktemp("m") / "llama", "llama", bos=True))
    )
    monkeypatch.setattr(data_runs.datasets, "wikipedia_sentences", lambda n=None: sentences[:n])
    monkeypatch.setattr(data_runs.word_lists, "read", lambda folder=None: LISTS)
    for name, value in {"SENTENCES": 12, "STEPS": 3, "BATCH": 4, "LEARNING_RATE": 2e-2}.items():
        monkeypatch.setattr(data_runs, name, value)
    rows = [{"anchor": f"a {i} runs", "positive": f"b {i} walks", "negative": f"c {i} sits"} for i in range(30)]
    (tmp_path / "nli_triplets.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    rows = [{"query": f"what is {i}?", "positive": f"{i} is a number"} for i in range(30)]
    (tmp_path / "question_passage.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_arms_that_are_compared_share_everything_but_their_data():
    first, second = (data_runs.recipes.as_dict(data_runs.recipe_of(name, 1)) for name in COMPARED)
    assert first.pop("data") != second.pop("data") and first == second
    assert {ARMS[name].negatives for name in COMPARED} == {"none"}


def test_the_control_has_the_same_sentences_and_no_example_its_own_negative():
    right, shuffled, none = (
        data_runs.examples_of(f"negation: {kind} hard negatives", 2)[0] for kind in ("the right", "shuffled", "no")
    )
    assert [(e.anchor, e.positive) for e in right] == [(e.anchor, e.positive) for e in shuffled]
    assert sorted(e.negative for e in right) == sorted(e.negative for e in shuffled)
    assert not any(a.negative == b.negative for a, b in zip(right, shuffled, strict=True))
    assert not any(e.negative for e in none)


def test_nothing_that_is_measured_on_is_trained_on(tmp_path):
    pair = data_runs.minimal_pairs.read()[0]
    row = {"anchor": pair.sentence1, "positive": "x y z", "negative": "u v w"}
    with (tmp_path / "nli_triplets.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    found, dropped = data_runs.examples_of("entailment", 1, tmp_path)
    assert sum(dropped.values()) == 1 and all(e.anchor != pair.sentence1 for e in found)


def test_runs_leave_logs_are_kept_and_are_collected(tmp_path):
    said, work, out = [], tmp_path / "work", tmp_path / "out.json"
    for _ in range(2):
        data_runs.run_all(COMPARED, (1, 2), tmp_path, work, tmp_path, report=said.append)
    assert len(said) == 4  # the second time nothing is left to do
    made = data_runs.read(data_runs.collect(work, tmp_path, out))
    assert [run["seed"] for run in made["runs"]] == [1, 2, 1, 2] and len(made["comparison"]) == 9
    one, other = made["runs"][:2]
    assert one["losses"] != other["losses"] and len(one["pairs"]) == 270 and len(one["losses"]) == 3
    assert one["probe"][0]["v_1"] == 0 != one["probe"][-1]["v_1"] and set(one["lists"]) == set(LISTS)


def test_what_is_missing_or_unknown_is_said(tmp_path):
    with pytest.raises(ValueError, match="unknown arm 'x'; choose from entailment"):
        data_runs.run_all(["x"])
    with pytest.raises(FileNotFoundError, match="does not come with the course; give its folder"):
        data_runs.examples_of("entailment", 1)
    with pytest.raises(FileNotFoundError, match="no logs in"):
        data_runs.collect(tmp_path)


def test_what_ships_is_complete():
    made = data_runs.read()
    assert made["recipe"]["stage"][0]["steps"] == 30 and made["command"] == data_runs.COMMAND
    by_arm = data_runs.by_arm(made)
    assert list(by_arm) == list(ARMS) and (made["first"], made["second"]) == COMPARED
    for arm, runs in by_arm.items():
        assert [run["seed"] for run in runs] == [1, 2, 3], arm
        assert all(len(run["losses"]) == 30 and run["losses"][-1] < run["losses"][0] for run in runs)
        assert all(len(run["pairs"]) == len(data_runs.minimal_pairs.read()) for run in runs)
        assert all((len(run["lists"]) == 0) == ARMS[arm].ships for run in runs)
        assert len({tuple(run["losses"]) for run in runs}) == 3  # a seed is not another one's copy
    assert len({run["backbone_sha256"] for runs in by_arm.values() for run in runs}) == 1


def test_the_comparison_that_ships_follows_from_the_runs_that_ship():
    made = data_runs.read()
    assert len(made["comparison"]) == 9
    for row, by_seed in zip(made["comparison"], data_runs.indices(made, made["comparison"]), strict=True):
        assert by_seed.shape == (3,) and by_seed.mean() == pytest.approx(row["value"], abs=2e-4)
        assert row["low"] < row["value"] < row["high"] and row["p, Holm"] >= row["p"]


def test_runs_are_found_by_arm_and_seed():
    one, other = COMPARED
    logs = [
        {"arm": arm, "seed": seed, "lists": {"a": base + seed / 10, "b": 0.1}}
        for arm, base in ((other, 0.2), (one, 0.5))
        for seed in (2, 1)
    ]
    made = {"runs": [*logs, {"arm": "negation: no hard negatives", "seed": 1, "lists": {}}]}
    made |= {"first": one, "second": other}
    assert {arm: [log["seed"] for log in found] for arm, found in data_runs.by_arm(made).items()} == {
        one: [1, 2], other: [1, 2], "negation: no hard negatives": [1],
    }  # fmt: skip
    assert data_runs.correlations(made, one)["a"] == pytest.approx([0.6, 0.7])
    rows = [{"similarity": "a", "relatedness": "b"}, {"similarity": "b", "relatedness": "a"}]
    assert data_runs.indices(made, rows) == pytest.approx(np.array([[0.3, 0.3], [-0.3, -0.3]]))
    for arm in ("negation: no hard negatives", "x"):
        with pytest.raises(ValueError, match=f"no run of '{arm}' was measured on word lists; choose from entailment"):
            data_runs.correlations(made, arm)
