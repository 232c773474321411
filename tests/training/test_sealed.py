import json

import numpy as np
import pytest

from course_utils.measures.evaluation import Interval
from course_utils.shipped import files
from course_utils.texts import aspects, sealed_texts
from course_utils.training import overlap, recipes, sealed

TEXTS = sealed_texts.read()
AT = list(sealed_texts.ASPECTS)


def planted(kind: str) -> dict:
    """Partitions that follow their instruction, or show the topic whatever is asked."""
    rng = np.random.default_rng(0)
    true = {a: np.unique(sealed_texts.labels(TEXTS, a), return_inverse=True)[1] for a in AT}
    found = {}
    for asked in sealed.MAIN:
        shown = asked if kind == "follows" else "topic"
        found[asked] = np.stack([
            np.stack([true[a] if a == shown else rng.integers(3, size=90) for _ in range(sealed.N_STARTS)]) for a in AT
        ]).astype(np.uint8)  # fmt: skip
    return found


def stored(folder, names=sealed.NAMES, texts=None):
    """Files as :func:`sealed.embed` writes them, with planted partitions."""
    source = {"texts": texts or sealed._digest(sealed_texts.FILE), "instructions": json.dumps(sealed.MAIN)}
    for name in names:
        parts = planted("follows" if name == "smol-grit" else "topic")
        tensors = {i or "none": np.eye(90, 8) + 1 for i in sealed.MAIN}
        files.write(folder / f"{name}.safetensors", {**tensors, "partitions": np.stack(list(parts.values()))}, source)


@pytest.mark.slow
def test_planted_obedience_is_found_and_planted_deafness_too():
    for aspect in AT:
        labels = sealed_texts.labels(TEXTS, aspect)
        assert sealed.verdict(sealed.gains(planted("follows"), aspect, labels)) == "follows"
        assert sealed.verdict(sealed.gains(planted("topic"), aspect, labels)) == "no gain"


@pytest.mark.parametrize(
    "lows, expected",
    [((0.1, 0.1, 0.1, 0.1), "follows"), ((0.1, -0.1, 0.1, 0.1), "reacts"), ((0.1, 0.1, 0.1, 0.0), "reacts"),
     ((-0.1, 0.1, 0.1, 0.1), "no gain")],
)  # fmt: skip
def test_the_rule(lows, expected):
    controls = ("none", "topic", "intent", "nonsense")
    assert sealed.verdict({c: Interval(0.2, low, 0.3) for c, low in zip(controls, lows, strict=True)}) == expected


def test_it_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "N_RESAMPLES", 20)
    stored(tmp_path)
    log = tmp_path / "log.json"
    first = sealed.measure(log, tmp_path)
    assert first["embedders"]["smol-grit"]["sentiment"]["all"]["verdict"] == "follows"
    assert first["embedders"]["without"]["sentiment"]["all"]["verdict"] == "no gain"
    for reason in (None, "", "  "):
        with pytest.raises(FileExistsError, match="measured once"):
            sealed.measure(log, tmp_path, reason)
    assert json.loads(log.read_text(encoding="utf-8")) == first
    again = sealed.measure(log, tmp_path, "a text had a typing error")
    assert again["reason"] == "a text had a typing error" and again["earlier"] == first


def test_numbers_of_other_texts_are_refused(tmp_path):
    stored(tmp_path, ["without"], texts="0" * 64)
    with pytest.raises(ValueError, match="other texts"):
        sealed.load("without", tmp_path)


def test_a_run_needs_its_adapter():
    with pytest.raises(ValueError, match="--adapters"):
        sealed.spec("without")


def test_no_control_word_and_no_synonym_was_trained():
    met = {"topic", "sentiment", "feeling", "intent", "kind of sentence", "what the speaker wants", "what can be seen"}
    for path in recipes.RECIPES.glob("**/*.toml"):
        met |= {data.instruction for data in recipes.read(path).data if data.instruction}
    words = {w for words in sealed.SYNONYMS.values() for w in words} | set(sealed.NONSENSE)
    assert len(sealed.NONSENSE) == 10 and not words & met
    assert not {w.split()[0] for w in words} & {w for each in met for w in each.split()}


def test_the_three_recipes_differ_in_their_data_only():
    paths = sorted((recipes.RECIPES / "listening").glob("*.toml"))
    plans = [recipes.as_dict(recipes.read(path)) for path in paths]
    assert {path.stem for path in paths} == set(sealed.RUNS)
    assert len({plan["data"][0].pop("file") for plan in plans}) == 3
    assert plans[0] == plans[1] == plans[2]


def test_what_was_measured_again_came_out_the_same():
    log = json.loads(sealed.LOG.read_text(encoding="utf-8"))
    earlier = log["earlier"]
    assert log["reason"] and earlier["reason"] is None and earlier["earlier"] is None
    assert earlier["texts"] == log["texts"] and earlier["rule"] == log["rule"]
    assert set(earlier["embedders"]) < set(log["embedders"]) == set(sealed.NAMES)
    for name, found in earlier["embedders"].items():
        assert log["embedders"][name] == found


def test_the_committed_log_is_of_todays_texts_recipes_and_numbers():
    log = json.loads(sealed.LOG.read_text(encoding="utf-8"))
    assert log["texts"] == sealed._digest(sealed_texts.FILE)
    assert log["second_labels"] == sealed._digest(sealed_texts.SECOND)
    for run in sealed.RUNS:
        assert log["recipes"][run] == sealed._digest(recipes.RECIPES / "listening" / f"{run}.toml")
    for name in sealed.NAMES:
        rows, parts = sealed.load(name)
        for at, aspect in enumerate(AT):
            labels = sealed_texts.labels(TEXTS, aspect)
            for asked, v in log["embedders"][name][aspect]["all"]["v"].items():
                found = aspects.v_measure(labels, parts[None if asked == "none" else asked][at])
                assert abs(found - v) < 1e-3
        again = aspects.clusterings(rows["topic"], 5, 2)
        stored_v = log["embedders"][name]["topic"]["all"]["v"]["topic"]
        assert abs(aspects.v_measure(sealed_texts.labels(TEXTS, "topic"), again) - stored_v) < 0.25
    assert overlap.OVERLAP.exists()
