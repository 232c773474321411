"""A whole training run on a tiny model: resumed, logged, kept away from evaluation texts."""

import json

import pytest
import tiny
from safetensors.numpy import load_file

from course_utils.models import registry
from course_utils.texts import datasets, instruction_texts
from course_utils.training import runs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe for a tiny model, its data (with one evaluation text among them), and judged pairs."""
    folder = tmp_path_factory.mktemp("run")
    backbone = tiny.save(folder / "llama", "llama", bos=True, seed=1)
    (folder / "small.toml").write_text(
        f'embedder = "{backbone}"\nlora_rank = 2\nmax_tokens = 12\n'
        '[[stage]]\nobjective = "contrastive"\nsteps = 24\nlearning_rate = 1e-2\nbatch_size = 4\n'
        '[[data]]\nfile = "mini.jsonl"\nform = "triplets"\n',
        encoding="utf-8",
    )
    measured = datasets.wikipedia_sentences(1)[0]
    rows = [*tiny.TRIPLETS, {"anchor": measured, "positive": "Something.", "negative": "Nothing."}]
    tiny.write_jsonl(folder / "mini.jsonl", rows)
    pairs = [{"sentence1": row["anchor"], "sentence2": row["positive"], "score": i % 5} for i, row in enumerate(rows)]
    tiny.write_jsonl(folder / "pairs.jsonl", pairs)
    return folder


def trained(place, out, **options):
    arguments = {"probe_pairs": place / "pairs.jsonl", "dtype": "float32", **options}
    return runs.train_recipe(str(place / "small.toml"), place, out, out / "work", **arguments)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_ends_where_the_other_ends(place, tmp_path, monkeypatch, capsys):
    whole = trained(place, tmp_path / "whole")
    capsys.readouterr()
    save = runs.save_checkpoint

    def interrupted(run, path):
        save(run, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(runs, "save_checkpoint", interrupted)
        trained(place, tmp_path / "cut")
    assert not (tmp_path / "cut" / "small").exists()
    with pytest.raises(ValueError, match="small was begun in float32: go on with that, or delete it to start again"):
        trained(place, tmp_path / "cut", dtype="bfloat16")
    monkeypatch.setattr(runs.placement, "faster", lambda: "bfloat16")  # what a busier moment might have said
    again = trained(place, tmp_path / "cut", dtype=None)
    assert "resuming at step 20" in capsys.readouterr().out
    assert again == tmp_path / "cut" / "small" and whole == tmp_path / "whole" / "small"

    one, two = (json.loads((folder / "training.json").read_text(encoding="utf-8")) for folder in (whole, again))
    assert one["losses"] == two["losses"] and len(one["losses"]) == 24
    assert one["probe"] == two["probe"]
    assert [row["step"] for row in one["probe"]] == [0, *sorted(runs.probe_steps(24))]
    assert all(-1 <= row["spearman"] <= 1 for row in one["probe"])
    assert one["left_out"] == {"mini.jsonl": 1} and one["dtype"] == "float32"
    adapters = [load_file(folder / "adapter_model.safetensors") for folder in (whole, again)]
    assert adapters[0].keys() == adapters[1].keys()
    assert all((adapters[0][key] == adapters[1][key]).all() for key in adapters[0])


def test_texts_that_are_measured_on_are_kept_out(tmp_path):
    own = runs.evaluation_texts()
    assert {instruction_texts.read()[0].text, datasets.wikipedia_sentences()[-1]} <= set(own)
    file = tiny.write_jsonl(tmp_path / "dev.jsonl", [{"id": 3, "sentence1": "One.", "sentence2": "Two."}])
    assert runs.evaluation_texts([file]) == [*own, "One.", "Two."]


def test_an_unknown_recipe_names_those_that_ship(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such.toml; recipes that ship with the course: .*smol-grit"):
        runs.train_recipe("no-such", tmp_path)
    with pytest.raises(FileNotFoundError, match="data file .*nli_triplets.jsonl does not exist; .*--data"):
        runs.train_recipe("smol-sgpt-nli", tmp_path)
    assert not list(tmp_path.iterdir())


def test_adapters_go_to_the_courses_own_folder_unless_told(place, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path / "adapters")
    monkeypatch.setattr(runs.placement, "faster", lambda: "float32")
    folder = runs.train_recipe(str(place / "small.toml"), place, work=tmp_path / "work")
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["dtype"] == "float32" and record["made_on"]
    assert folder == tmp_path / "adapters" / "small" and (folder / "training.json").is_file()
