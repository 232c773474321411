"""Public training data from a local copy in the hub's layout, up to a few steps of training on it."""

import json
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.training import public_data, recipes
from course_utils.training.recipes import Data, Recipe, Stage

NLI = public_data.SOURCES["nli_triplets.jsonl"]
MARCO = public_data.SOURCES["question_passage.jsonl"]


def mirror(root, source, rows, parts=1):
    """Write rows as the hub lays them out: HUB_ID/TABLE/SPLIT-0000i-of-0000n.parquet."""
    folder = root / source.hub_id / source.table
    folder.mkdir(parents=True)
    for i in range(parts):
        table = pd.DataFrame(rows[i::parts])
        table.to_parquet(folder / f"{source.split}-{i:05}-of-{parts:05}.parquet")
    return root


def nli_rows(n):
    return [{"anchor": f"A man counts to {i}.", "positive": f"Somebody says {i}.", "negative": f"{i} cats sleep."}
            for i in range(n)]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_local_copy_becomes_the_recipes_file(tmp_path):
    copy = mirror(tmp_path / "copy", NLI, nli_rows(6), parts=2)
    mirror(copy, MARCO, [{"query": "who?", "positive": "She.", "negative": "There."}])
    made = CliRunner().invoke(main, ["data", "public", "--out", str(tmp_path / "data"), "--copy", str(copy)])
    assert made.exit_code == 0, made.output
    assert "nli_triplets.jsonl: 6 rows from sentence-transformers/all-nli" in made.stdout
    written = recipes.read_rows(tmp_path / "data" / "nli_triplets.jsonl", recipes.FORMS["triplets"])
    assert sorted(written, key=str) == sorted(nli_rows(6), key=str)
    (pair,) = recipes.read_rows(tmp_path / "data" / "question_passage.jsonl", recipes.FORMS["pairs"])
    assert pair == {"query": "who?", "positive": "She.", "negative": "There."}
    assert not list((tmp_path / "data").glob("*.partial"))


@pytest.mark.parametrize("name", ["a copy [2024]", "[brackets]", "[!x]"])
def test_a_folder_may_be_called_as_it_likes(tmp_path, name):
    copy = mirror(tmp_path / name, NLI, nli_rows(3))
    assert public_data.write("nli_triplets.jsonl", tmp_path / "data", copy=copy) == 3


def test_rows_limits(tmp_path):
    copy = mirror(tmp_path / "copy", NLI, nli_rows(6))
    assert public_data.write("nli_triplets.jsonl", tmp_path / "data", limit=4, copy=copy) == 4
    lines = (tmp_path / "data" / "nli_triplets.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == nli_rows(4)


def test_the_recipe_of_the_shipped_adapter_reads_it(tmp_path):
    copy = mirror(tmp_path / "copy", NLI, nli_rows(70))
    public_data.write("nli_triplets.jsonl", tmp_path / "data", copy=copy)
    recipe = recipes.read(recipes.RECIPES / "smol-sgpt-nli.toml")
    (examples,), dropped = recipes.load_examples(recipe, tmp_path / "data")
    assert len(examples) == 70 and dropped == {"nli_triplets.jsonl": 0}
    assert {e.negative for e in examples} == {row["negative"] for row in nli_rows(70)}


def test_mined_negatives_do_not_replace_given_ones(tmp_path):
    rows = [{"query": f"what is thing {i}?", "positive": f"Thing {i} is a thing.", "negative": f"No {i}."}
            for i in range(8)]  # fmt: skip
    copy = mirror(tmp_path / "copy", MARCO, rows)
    public_data.write("question_passage.jsonl", tmp_path / "data", copy=copy)
    data = Data("question_passage.jsonl", "pairs", mine=True)
    (examples,), _ = recipes.load_examples(
        Recipe("smollm2", [Stage("contrastive", 1, 1e-3, 2)], [data]), tmp_path / "data"
    )
    assert {(e.anchor, e.negative) for e in examples} == {(row["query"], row["negative"]) for row in rows}


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no train-\*\.parquet in .*all-nli"):
        public_data.write("nli_triplets.jsonl", tmp_path / "data", copy=tmp_path)
    bad = nli_rows(2)
    bad[1]["positive"] = " "
    copy = mirror(tmp_path / "copy", NLI, bad)
    with pytest.raises(ValueError, match="all-nli, row 2: no text in 'positive'"):
        public_data.write("nli_triplets.jsonl", tmp_path / "data", copy=copy)
    assert not (tmp_path / "data" / "nli_triplets.jsonl").exists()

    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(ConnectionError, match="could not load sentence-transformers/all-nli .*no route.*--copy"):
        public_data.write("nli_triplets.jsonl", tmp_path / "data")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[hub\]'"):
        public_data.write("nli_triplets.jsonl", tmp_path / "data")
