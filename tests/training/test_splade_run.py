"""A run of the sparse head on a tiny model: what it writes, what it keeps, and what it refuses."""

import json

import numpy as np
import pytest
import tiny
from click.testing import CliRunner
from scipy.sparse import csr_array
from tiny import SENTENCES

from course_utils.__main__ import main
from course_utils.models import registry
from course_utils.models.embedder import load
from course_utils.search import trained
from course_utils.texts.datasets import Retrieval
from course_utils.training import loop, splade, splade_run
from course_utils.training.examples import Example
from course_utils.training.recipes import Data, Recipe, Stage
from course_utils.training.splade_run import Settings

COLLECTION = Retrieval(
    {f"d{i}": s for i, s in enumerate(SENTENCES)}, {"q": "rain", "r": "parrots"}, {"q": {"d8": 1}, "r": {"d1": 1}}
)
MEASURED = {"Some texts": COLLECTION}
SETTINGS = Settings(steps=6, flops=(0.1, 0.1), terms=40, batch=4, learning_rate=5e-3, dtype="float32")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1)


def plan(llama, settings=SETTINGS):
    stage = Stage("contrastive", max(1, settings.steps), settings.learning_rate, settings.batch)
    return Recipe(str(llama), [stage], [Data("x.jsonl", "pairs")], lora_rank=2, temperature=1.0, max_tokens=32)


def run(llama, out, settings=SETTINGS):
    out.mkdir()
    examples, said = [[Example(text.split()[0], text) for text in SENTENCES]], []
    splade_run.train(out, plan(llama, settings), examples, settings, None, said.append, {"examples": [len(SENTENCES)]})
    splade_run.encode(out, plan(llama, settings), MEASURED, said.append)
    return said


@pytest.fixture(scope="module")
def done(llama, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "run"
    return out, run(llama, out)


def test_a_run_writes_a_log_and_lists_that_the_stored_weights_give(llama, done):
    out, said = done
    log = splade_run.read_log(out)
    assert [row["step"] for row in log["steps"]] == [1, 5, 6] and log["examples"] == [len(SENTENCES)]
    assert log["settings"] == json.loads(json.dumps(SETTINGS.__dict__)) and set(log["collections"]) == set(MEASURED)
    assert "step 6 of 6" in said[-2] and "Some texts" in said[-1]
    again = loop.Run(plan(llama), load(str(llama), adapters=(str(out),)), {}, optimizer=None)
    bias = splade.torch.from_numpy(np.load(out / "bias.npy")).float()
    expected = splade.encode(again, bias, SENTENCES, "passage", splade_run.KEEP["documents"])
    documents, queries = trained.read(out, "Some texts", COLLECTION, len(bias))
    np.testing.assert_allclose(documents.toarray(), expected.toarray(), rtol=2e-3, atol=1e-3)
    assert queries.shape == (2, len(bias)) and np.diff(queries.indptr).max() <= splade_run.KEEP["queries"]


def test_lists_that_are_there_are_kept_and_a_further_collection_is_added(llama, done):
    out, _ = done
    file, said = out / "Some-texts.npz", []
    before = file.read_bytes()
    splade_run.encode(out, plan(llama), {**MEASURED, "More": COLLECTION}, said.append)
    assert file.read_bytes() == before and len(said) == 1 and said[0].startswith("More: ")
    assert set(splade_run.read_log(out)["collections"]) == {"Some texts", "More"}


def test_no_steps_keep_the_threshold_and_the_adapter(llama, tmp_path):
    control = Settings(steps=0, terms=40, batch=4, dtype="float32")
    run(llama, tmp_path / "control", control)
    log = splade_run.read_log(tmp_path / "control")
    bias = np.load(tmp_path / "control" / "bias.npy")
    assert log["steps"] == [] and np.allclose(-bias[np.isfinite(bias)], log["threshold"], atol=0.05)


def test_what_overlaps_with_a_measured_text_is_left_out_and_long_files_are_cut(monkeypatch, tmp_path):
    long = "one two three four five six seven eight nine"
    rows = [{"query": f"q{i}", "positive": f"{'x' * (i + 1)} text"} for i in range(60)]
    tiny.write_jsonl(tmp_path / "a.jsonl", [*rows, {"query": "q", "positive": long}])
    tiny.write_jsonl(tmp_path / "b.jsonl", rows)
    monkeypatch.setattr(splade_run, "MOST", 50)
    two = Recipe("smollm2", [Stage("contrastive", 1, 1e-3, 4)], [Data("a.jsonl", "pairs"), Data("b.jsonl", "pairs")])
    measured = {"x": Retrieval({"d": long}, {"q": "y"}, {"q": {"d": 1}})}
    found, dropped = splade_run.examples_of(two, tmp_path, measured)
    assert [len(each) for each in found] == [60, 50] and dropped == {"a.jsonl": 1, "b.jsonl": 0}


def test_the_recipe_is_the_embedders_with_products_for_a_score():
    made = splade_run.recipe(Settings(steps=7, seed=3))
    assert (made.embedder, made.temperature, made.seed) == ("smol-sgpt-qa", 1.0, 3)
    assert [(s.objective, s.steps, s.batch_size) for s in made.stage] == [("contrastive", 7, 48)]


def test_a_folder_with_a_run_of_other_settings_is_refused(done):
    out, _ = done
    with pytest.raises(ValueError, match="holds a run of other settings.*give another --out"):
        splade_run.study(out, out, MEASURED, Settings(steps=3))
    with pytest.raises(FileNotFoundError, match="several-tokens study splade writes it"):
        splade_run.encode(out.parent, plan("smollm2"), MEASURED)


def test_the_command_hands_its_options_over(monkeypatch, tmp_path):
    got = []
    monkeypatch.setattr(splade_run, "study", lambda *arguments: got.append(arguments))
    command = ["study", "splade", "--data", str(tmp_path), "--out", str(tmp_path / "o"), "--steps", "0"]
    result = CliRunner().invoke(main, [*command, "--flops", "0.1", "0.2", "--seed", "5"])
    assert result.exit_code == 0, result.output
    [(data, out, measured, settings, _)] = got
    assert (data, out, list(measured)) == (tmp_path, tmp_path / "o", ["Wikipedia sections"])
    assert settings == Settings(steps=0, flops=(0.1, 0.2), seed=5)


def test_study_trains_where_nothing_is_and_encodes_where_a_run_is(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(splade_run, "examples_of", lambda *_: ([[1, 2]], {"x.jsonl": 3}))
    monkeypatch.setattr(splade_run, "encode", lambda out, *_: calls.append("encode"))

    def train(out, plan, examples, settings, adapter, report, noted):
        calls.append((adapter, noted))
        (out / "log.json").write_text(json.dumps({"settings": settings.__dict__}), encoding="utf-8")

    monkeypatch.setattr(splade_run, "train", train)
    for _ in range(2):
        splade_run.study(tmp_path, tmp_path / "o", MEASURED, SETTINGS)
    noted = {"examples": [2], "left out": {"x.jsonl": 3}}
    assert calls == [(registry.ADAPTERS / "smol-sgpt-qa", noted), "encode", "encode"]


def test_the_lists_are_arrays_and_nothing_else(done):
    with np.load(done[0] / "Some-texts.npz", allow_pickle=False) as arrays:
        ends = {side: arrays[f"{side}.ends"] for side in splade_run.KEEP}
        assert csr_array((arrays["documents.weights"].astype(float), arrays["documents.words"], ends["documents"])).nnz
        assert {name: len(e) for name, e in ends.items()} == {"documents": len(SENTENCES) + 1, "queries": 3}
