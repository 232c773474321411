"""Adapters that had a teacher beside those without: a row each, and what ships fits its recipes."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import tiny
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.measures.evaluation import spearman
from course_utils.models import registry
from course_utils.training import recipes, taught

STAGE = {"objective": "contrastive", "steps": 4, "learning_rate": 1e-3, "batch_size": 8}
RECORD = {"seed": 1, "stage": [STAGE], "data": [{"file": "a.jsonl", "form": "pairs"}]}
SUBJECTS = ["heron", "badger", "falcon", "otter", "lynx", "weasel", "stork", "mole"]


class Letters:
    """Counts letters; the copy with a teacher counts vowels once more, and the plain one hears noise."""

    spec = registry.get("smol-sgpt-nli")

    def __init__(self, noise=0.0):
        self.noise, self.backbone = noise, None

    def encode(self, texts, progress=None):
        rows = np.array([[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], dtype=np.float32)
        return rows + self.noise * np.random.default_rng(1).normal(size=rows.shape).astype(np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two shipped adapters, one taught sibling of the first, and judged pairs."""
    for folder, teacher in (
        ("shipped/smol-sgpt-nli", None),
        ("shipped/smol-eol-cse", None),
        ("new/one", {"name": "minilm"}),
    ):
        (tmp_path / folder).mkdir(parents=True)
        recipe = {**RECORD, "embedder": folder.split("/")[1] if not teacher else "smol-sgpt-nli", "teacher": teacher}
        (tmp_path / folder / "training.json").write_text(json.dumps({"recipe": recipe, "made_on": "a GPU"}))
    rows = [{"sentence1": f"the {a} sleeps", "sentence2": f"a {b} rests", "score": float(a == b) + len({*a} & {*b}) / 9}
            for a in SUBJECTS for b in SUBJECTS]  # fmt: skip
    tiny.write_jsonl(tmp_path / "sts.jsonl", rows)

    def load(name, adapters=(), **_):
        return Letters(0.0 if "new" in str(adapters) else 2.0)

    monkeypatch.setattr(registry, "ADAPTERS", tmp_path / "shipped")
    monkeypatch.setattr(taught, "load", load)
    monkeypatch.setattr(taught, "Teacher", Letters)
    monkeypatch.setattr(taught.cards, "alignment", lambda *_: {"trained": {"GAR": 0.5}, "variation": {"v_1": -3.0}})
    return tmp_path


def test_every_adapter_has_a_row_beside_the_one_that_ships(place):
    done = CliRunner().invoke(main, ["study", "taught", "--adapters", f"{place}/new", "--sts", "missing.jsonl"])
    assert done.exit_code and not (place / "out.json").exists()
    said = []
    made = json.loads(taught.run_all(place / "new", place / "sts.jsonl", place / "out.json", said.append).read_text())
    plain, with_teacher = made["rows"]  # of smol-eol-cse there is no sibling, so it is not measured
    assert [row["ships"] for row in made["rows"]] == [True, False] and plain["gain"] is None
    value, low, high = with_teacher["gain"]
    assert value == pytest.approx(with_teacher["STS dev"] - plain["STS dev"]) and 0 < low <= value <= high
    assert with_teacher["teacher"] == {"name": "minilm"} and with_teacher["steps"] == [["contrastive", 4, 8]]
    assert made["pairs"] == 64 and set(made["yardsticks"]) == {"tf-idf", "all-MiniLM-L6-v2"}
    assert [line.split(":")[0] for line in said] == ["smol-sgpt-nli", "one"]


def test_the_gain_is_of_the_same_pairs():
    gold = np.arange(50.0)
    noisy = gold + np.random.default_rng(0).normal(size=50) * 20
    value, low, high = taught._gain(gold, noisy, gold)
    assert value == pytest.approx(1 - spearman(noisy, gold)) and 0 < low < value < high
    assert taught._gain(noisy, noisy, gold) == [0, 0, 0]


def test_bad_folders_are_named(place):
    with pytest.raises(FileNotFoundError, match="holds no folder with a training.json: train the recipes in"):
        taught.run_all(place, place / "sts.jsonl", place / "out.json")
    (place / "new" / "one" / "training.json").write_text('{"recipe": {"embedder": "nobody"}}')
    with pytest.raises(ValueError, match="no record of a pocket embedder's training; choose from smol-sgpt-nli"):
        taught.run_all(place / "new", place / "sts.jsonl", place / "out.json")
    assert not (place / "out.json").exists()


def test_what_ships_was_trained_by_the_recipes_that_ship():
    made = json.loads(taught.FILE.read_text(encoding="utf-8"))
    made_by = {path.stem: recipes.read(path) for path in taught.RECIPES.glob("*.toml")}
    assert {row["embedder"] for row in made["rows"]} == {recipe.embedder for recipe in made_by.values()}
    for recipe in made_by.values():
        name, stages = recipe.embedder, [[s.objective, s.steps, s.batch_size] for s in recipe.stage]
        rows = [row for row in made["rows"] if row["embedder"] == name]
        by_recipe = [row for row in rows if row["steps"] == stages and row["teacher"] == asdict(recipe.teacher)]
        assert [row["ships"] for row in rows].count(True) == 1 and by_recipe
        for row in rows:
            assert bool(row["teacher"]) is not row["ships"]
            scores = json.loads((registry.ADAPTERS / name / "scores.json").read_text(encoding="utf-8"))
            if row["ships"]:
                assert row["STS dev"] == pytest.approx(scores["STS dev Spearman"], abs=5e-4)
                assert row["alignment"]["GAR"] == pytest.approx(scores["alignment"]["trained"]["GAR"], abs=5e-3)
