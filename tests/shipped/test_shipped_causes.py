"""Logs of the short runs: what is read of them, and that those that ship can be made again."""

import json
from collections import Counter

import numpy as np
import pytest

from course_utils.shipped import causes as shipped
from course_utils.training import causes


def log(name, seed, v=0.0, other=1.0):
    end = {"step": 30, "v_1": v, "largest_other": other}
    return {"variant": {"name": name}, "seed": seed, "probe": [{"step": 0, "v_1": 0.0, "alpha": 20.0}, end],
            "after": {"Hit@10, raw": 0.5}}  # fmt: skip


def test_logs_are_grouped_by_variant_in_the_order_of_seeds(tmp_path):
    file = tmp_path / "logs.json"
    file.write_text(json.dumps([log("a", 2), log("b", 1), log("a", 1)]), encoding="utf-8")
    found = shipped.read(file)
    assert {name: [one["seed"] for one in logs] for name, logs in found.items()} == {"a": [1, 2], "b": [1]}
    for wrong in ({"a": 1}, [{"seed": 1}]):
        file.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(ValueError, match="several-tokens causes --out"):
            shipped.read(file)
    with pytest.raises(FileNotFoundError):
        shipped.read(tmp_path / "no.json")


def test_numbers_are_read_per_seed_and_an_unknown_run_is_named():
    logs = {"a": [log("a", 1, -10.0), log("a", 2, -12.0)]}
    np.testing.assert_allclose(shipped.over_seeds(logs, "a", shipped.last("v_1")), [-10, -12])
    np.testing.assert_allclose(shipped.over_seeds(logs, "a", shipped.after("Hit@10, raw")), [0.5, 0.5])
    np.testing.assert_allclose(shipped.shares(logs, "a"), [-0.5, -0.6])
    with pytest.raises(ValueError, match="no run of 'b'; there are a"):
        shipped.shares(logs, "b")
    assert shipped.spread([0.5, 0.6]) == "0.55 [0.50, 0.60]"


@pytest.mark.parametrize(
    ("moves", "said"), [([-3, -2], "falls"), ([3, 2], "rises"), ([0.5, -1], "stays"), ([-9, 7.5], "stays")]
)
def test_the_first_component_stays_where_another_goes_as_far(moves, said):
    assert shipped.direction({"a": [log("a", seed, v) for seed, v in enumerate(moves)]}, "a") == said


# What ships -------------------------------------------------------------------------------------------------------


def test_every_variant_ships_with_the_same_seeds_and_no_run_twice():
    logs = shipped.read()
    assert set(logs) == set(causes.VARIANTS)
    runs = Counter((name, one["seed"]) for name, found in logs.items() for one in found)
    assert max(runs.values()) == 1
    assert (
        len({tuple(one["seed"] for one in found) for found in logs.values()}) == 1 and min(map(len, logs.values())) >= 5
    )


def test_every_shipped_log_was_made_by_the_variant_that_it_names():
    for name, found in shipped.read().items():
        for one in found:
            assert one["variant"] == vars(causes.VARIANTS[name]), (name, one["seed"])
            assert [row["step"] for row in one["probe"]] == [
                step for step in causes.PROBED if step <= causes.STEPS
            ] and len(one["losses"]) == causes.STEPS
            assert one["dtype"] == "float32"


@pytest.mark.slow
def test_the_first_steps_of_a_shipped_log_come_out_again():
    """Another machine adds float32 numbers in another order, so losses agree to about four digits."""
    [kept] = [one for one in shipped.read()["cosine, τ = .05"] if one["seed"] == 2]
    again = causes.run_one(causes.VARIANTS["cosine, τ = .05"], 2, steps=3)
    assert again["backbone_sha256"] == kept["backbone_sha256"]
    np.testing.assert_allclose(again["losses"], kept["losses"][:3], atol=5e-4)
    for mine, theirs in zip(again["probe"], kept["probe"][:3], strict=True):
        for key in ("v_1", "largest_other", "alpha", "length", "rest"):
            assert mine[key] == pytest.approx(theirs[key], abs=0.005), (mine["step"], key)
