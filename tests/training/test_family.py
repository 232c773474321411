"""The whole family: what is to do, what is kept, what is logged; and the quick look at one adapter."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny

from course_utils.models import placement, registry
from course_utils.training import cards, family, loop, recipes, runs

STAGE = '[[stage]]\nobjective = "contrastive"\nsteps = {steps}\nlearning_rate = 1e-2\nbatch_size = 8\n'
DATA = '[[data]]\nfile = "mini.jsonl"\nform = "triplets"\n'


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Two recipes for a tiny model, their data, and nothing trained yet."""
    model = tiny.save(tmp_path / "llama", "llama", bos=True, seed=1)
    (tmp_path / "recipes").mkdir()
    for name, steps in (("one", 3), ("two", 2)):
        text = f"embedder = {json.dumps(model)}\nlora_rank = 2\n" + STAGE.format(steps=steps) + DATA
        (tmp_path / "recipes" / f"{name}.toml").write_text(text, encoding="utf-8")
    (tmp_path / "data").mkdir()
    tiny.write_jsonl(tmp_path / "data" / "mini.jsonl", tiny.TRIPLETS)
    monkeypatch.setattr(runs.datasets, "wikipedia_sentences", lambda n=None: tiny.SENTENCES[:n])
    return tmp_path


def grow(house, *names, **options):
    said = []
    made = family.train_family(
        house / "data", names, house / "out", house / "work", folder=house / "recipes", report=said.append, **options
    )
    return [path.name for path in made], said


def states(house):
    made = family.plans((), house / "out", house / "work", house / "recipes")
    return {plan.name: plan.state for plan in made}


def test_the_shipped_family_is_finished():
    """Records of any age: an adapter trained before a key existed was trained by the key's default."""
    made = {plan.name: plan for plan in family.plans()}
    assert list(made) == sorted(path.stem for path in recipes.RECIPES.glob("*.toml"))
    for name, plan in made.items():
        folder = registry.ADAPTERS / name
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        assert plan.state == "finished"
        assert plan.minutes == pytest.approx(record["seconds"] / 60)
        assert name in str(plan) and f"{plan.minutes:.0f} min" in str(plan)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(house):
    made, said = grow(house, dry_run=True)
    assert made == [] and not (house / "out").exists() and not (house / "work").exists()
    assert [line.split()[0] for line in said[:2]] == ["one", "two"] and "3 × 8" in said[0]
    assert said[2].startswith("2 of 2 to train, at most")
    (house / "recipes" / "two.toml").write_text("steps = 3", encoding="utf-8")
    with pytest.raises(ValueError, match="two.toml: unknown key 'steps'"):
        grow(house, dry_run=True)


def test_all_are_trained_once_with_a_log_each(house):
    made, said = grow(house)
    assert made == ["one", "two"] and states(house) == {"one": "finished", "two": "finished"}
    for name, steps in (("one", 3), ("two", 2)):
        record = json.loads((house / "out" / name / "training.json").read_text(encoding="utf-8"))
        assert len(record["losses"]) == steps and record["dtype"] == placement.faster()
        assert '"step": ' in (house / "work" / f"{name}.log").read_text(encoding="utf-8")
    before = (house / "out" / "one" / "adapter_model.safetensors").stat().st_mtime_ns
    assert grow(house)[0] == []
    assert (house / "out" / "one" / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_an_adapter_of_another_recipe_is_trained_again(house):
    grow(house, "two")
    assert states(house) == {"one": "to do", "two": "finished"}
    path = house / "recipes" / "two.toml"
    path.write_text("seed = 5\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert states(house)["two"] == "to do"
    assert grow(house, "two")[0] == ["two"]  # the first run left no checkpoint in the way


def test_a_checkpoint_of_another_recipe_is_refused_before_anything_is_trained(house):
    run = loop.start(recipes.read(house / "recipes" / "two.toml"), dtype="float32")
    (house / "work" / "two").mkdir(parents=True)
    loop.save_checkpoint(run, house / "work" / "two" / "checkpoint.safetensors")
    assert states(house) == {"one": "to do", "two": "interrupted"}
    path = house / "recipes" / "two.toml"
    path.write_text("seed = 5\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match="two/checkpoint.safetensors was written by another recipe; delete it"):
        grow(house)
    assert not (house / "out").exists()


def test_what_was_cut_goes_on(house, monkeypatch):
    """The first recipe is finished, the second dies in its second step, after a checkpoint."""
    train, started = runs.train, []

    def dies(run, data, *, on_step):
        started.append(run.step)
        if len(started) == 2:
            train(run, data, until=1)
            runs.save_checkpoint(run, house / "work" / "two" / "checkpoint.safetensors")
            log = {"probe": [], "losses": [1.0], "seconds": 0.5}
            (house / "work" / "two" / "log.json").write_text(json.dumps(log), encoding="utf-8")
            raise KeyboardInterrupt
        return train(run, data, on_step=on_step)

    monkeypatch.setattr(runs, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        grow(house)
    assert states(house) == {"one": "finished", "two": "interrupted"}
    made, _ = grow(house)
    assert made == ["two"] and started == [0, 0, 1]
    record = json.loads((house / "out" / "two" / "training.json").read_text(encoding="utf-8"))
    assert record["losses"][0] == 1.0 and len(record["losses"]) == 2
    assert "resuming at step 1" in (house / "work" / "two.log").read_text(encoding="utf-8")


def test_missing_data_are_said_before_anything_is_trained(house):
    (house / "data" / "mini.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="data lacks mini.jsonl; give the folder"):
        grow(house)
    assert not (house / "out").exists()
    with pytest.raises(FileNotFoundError, match="no recipe .*three.toml"):
        grow(house, "three")


# --- The quick look --------------------------------------------------------------------------------


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Sentences, words and a collection of which the answers are known, and an embedder that counts letters."""

    class Letters:
        spec = registry.get("smol-grit")
        told: list = []

        def encode(self, texts, instruction=None, role=None, progress=None):
            self.told.append((instruction, role))
            return np.array([[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], dtype=np.float32)

    def load(name, dtype, **changes):
        loaded.append((name, dtype, changes))
        return Letters()

    loaded = []
    monkeypatch.setattr("course_utils.models.embedder.load", load)
    pairs = [("aa", "aa", 5.0), ("ab", "abb", 3.0), ("ab", "xy", 0.0)]
    for kind, name in (("sentence", "sts"), ("word", "men")):
        rows = [{f"{kind}1": a, f"{kind}2": b, "score": s} for a, b, s in pairs]
        tiny.write_jsonl(tmp_path / f"{name}.jsonl", rows)
    beir = tmp_path / "small"
    (beir / "qrels").mkdir(parents=True)
    tiny.write_jsonl(beir / "corpus.jsonl", [{"_id": "d1", "text": "aab"}, {"_id": "d2", "text": "xyz"}])
    tiny.write_jsonl(beir / "queries.jsonl", [{"_id": "q1", "text": "baa"}, {"_id": "q2", "text": "yz"}])
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n", encoding="utf-8")
    tiny.write_jsonl(tmp_path / "tried.jsonl", [{"adapter": "x", "training": "t", "score": "s", "kept": "k"}])
    return {
        "sts": tmp_path / "sts.jsonl", "words": [tmp_path / "men.jsonl"], "collections": [beir],
        "tried": tmp_path / "tried.jsonl", "loaded": loaded, "told": Letters.told,
    }  # fmt: skip


def test_dev_scores_an_adapter_and_adds_a_row(judged, tmp_path):
    files = {key: judged[key] for key in ("sts", "words", "collections", "tried")}
    scores = family.dev("smol-grit", "ten steps", "no: a test", adapter=tmp_path / "mine", **files)
    assert scores == {"sts": pytest.approx(1), "men": pytest.approx(1), "small": pytest.approx(1)}
    assert judged["loaded"] == [("smol-grit", "bfloat16", {"adapters": (Path(tmp_path / "mine"),)})]
    assert judged["told"][-2:] == [("passage that answers the question", "query"), (None, "passage")]
    first, row = (json.loads(line) for line in judged["tried"].read_text(encoding="utf-8").splitlines())
    assert first["adapter"] == "x"
    assert row == {
        "adapter": "smol-grit", "training": "ten steps", "kept": "no: a test",
        "score": "sts 1.000, men 1.000, small 1.000 (all bfloat16)",
    }  # fmt: skip
    assert set(row) == set(json.loads(cards.TRIED.read_text(encoding="utf-8").splitlines()[0]))


def test_dev_refuses_before_it_writes(judged, tmp_path):
    before = judged["tried"].read_bytes()
    with pytest.raises(ValueError, match="nothing to score on: give sts, collections or words"):
        family.dev("smol-grit", "t", "k", tried=judged["tried"])
    with pytest.raises(FileNotFoundError, match="no.jsonl"):
        family.dev("smol-grit", "t", "k", words=[tmp_path / "no.jsonl"], tried=judged["tried"])
    tiny.write_jsonl(tmp_path / "bad.jsonl", [{"word1": "a", "word2": "b", "score": "high"}])
    with pytest.raises(ValueError, match="bad.jsonl, line 1: needs a number under 'score'; got 'high'"):
        family.dev("smol-grit", "t", "k", words=[tmp_path / "bad.jsonl"], tried=judged["tried"])
    assert judged["tried"].read_bytes() == before and judged["loaded"] == []
