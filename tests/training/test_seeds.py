"""Shipped recipes with other seeds, on a tiny model."""

import json

import pytest
import tiny
from test_data_runs import LISTS

from course_utils.models import registry
from course_utils.training import seeds

RECIPE = """embedder = "{folder}"
seed = 1
[[stage]]
objective = "contrastive"
steps = 3
learning_rate = 2e-2
batch_size = 4
[[data]]
file = "nli_triplets.jsonl"
form = "triplets"
"""


@pytest.fixture
def place(monkeypatch, tmp_path, tmp_path_factory):
    """A folder with data, and one recipe of a tiny model whose shipped adapter was trained by seed 1."""
    model = tiny.save(tmp_path_factory.mktemp("m") / "llama", "llama", bos=True)
    (tmp_path / "r.toml").write_text(RECIPE.format(folder=model))
    sentences = seeds.datasets.wikipedia_sentences(24)
    rows = [{"anchor": f"a {i} runs", "positive": f"b {i} walks", "negative": f"c {i} sits"} for i in range(30)]
    tiny.write_jsonl(tmp_path / "nli_triplets.jsonl", rows)
    for name, value in {"RUNS": {"r": (1, 2)}, "ESTIMATE": slice(12, 24), "JUDGE": slice(0, 12)}.items():
        monkeypatch.setattr(seeds, name, value)
    monkeypatch.setattr(seeds.recipes, "RECIPES", tmp_path)
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path / "adapters")
    monkeypatch.setattr(seeds, "evaluation_texts", list)
    monkeypatch.setattr(seeds.datasets, "wikipedia_sentences", lambda n=None: sentences)
    monkeypatch.setattr(seeds.word_lists, "read", lambda folder=None: LISTS)
    seeds.train_again("r", 1, tmp_path, registry.ADAPTERS / "r")
    return tmp_path


def test_every_seed_leaves_a_row_beside_the_shipped_adapter(place):
    said, work, out = [], place / "work", place / "rows.json"
    seeds.run_all((), place, None, work, out, said.append)
    first = out.read_text()
    shipped, same, other = rows = seeds.read(out)
    assert [r["ships"] for r in rows] == [True, False, False] and [r["seed"] for r in rows] == [1, 1, 2]
    assert shipped["v_1"] == same["v_1"] != other["v_1"]  # the shipped recipe, and nothing but the seed
    assert set(other["lists"]) == set(LISTS) and len(other["preference"]) == 9
    rho = other["lists"]
    assert other["preference"]["simverb - men"] == pytest.approx(rho["simverb"] - rho["men"], abs=1e-3)
    assert sum("training" in line for line in said) == 2
    seeds.run_all((), None, None, work, out, said.append)  # what is trained is measured again, and nothing is trained
    assert out.read_text() == first and sum("training" in line for line in said) == 2


def test_another_seed_has_another_start_and_order(place):
    logs = []
    for seed in (1, 2):
        seeds.train_again("r", seed, place, place / str(seed))
        logs.append(json.loads((place / str(seed) / "training.json").read_text()))
    assert logs[0]["losses"] != logs[1]["losses"] and [log["recipe"]["seed"] for log in logs] == [1, 2]
    assert len(logs[0]["losses"]) == 3 and logs[0]["made_on"]


def test_what_is_missing_or_unknown_is_said(place):
    with pytest.raises(ValueError, match="no seeds are known for 'x'; choose from r"):
        seeds.run_all(["x"])
    with pytest.raises(FileNotFoundError, match="nli_triplets"):
        seeds.run_all((), place / "nowhere", None, place / "work", place / "rows.json")


def test_what_ships_is_what_the_recipes_gave():
    """Rows of both recipes, each with the shipped adapter and other seeds; the shipped ones by the shipped weights."""
    rows = seeds.read()
    for name in seeds.RUNS:
        own = [r for r in rows if r["name"] == name]
        assert [r["ships"] for r in own].count(True) == 1 and len({r["seed"] for r in own}) >= 2
        record = json.loads((registry.ADAPTERS / name / "training.json").read_text())
        assert next(r for r in own if r["ships"])["last loss"] == record["losses"][-1]
