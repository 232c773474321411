"""The commands around an index at scale: options arrive, results are told, errors are one line."""

import json

import numpy as np
import pytest
import tiny
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.models.embedder import load
from course_utils.search import engines
from course_utils.search.scale import measured, parts, shards


def run(*words):
    return CliRunner().invoke(main, ["scale", *map(str, words)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of nine sentences by a tiny model."""
    room = tmp_path_factory.mktemp("commands")
    embedder = load(tiny.save(room / "model"))
    sources = {"texts": "x", "role": "passage", "dtype": "float32", "max_tokens": 512}
    shards.write_manifest(room / "shards", {**shards.identity(embedder.spec), **sources}, 9, 4)
    h = embedder.encode(tiny.SENTENCES)
    for number in range(3):
        rows = range(4 * number, min(9, 4 * number + 4))
        shards.write(room / "shards", number, [f"d{i}" for i in rows], h[list(rows)])
    done = run("build", "--shards", room / "shards", "--out", room / "parts", "--k", 20)
    assert done.exit_code == 0 and "9 documents built" in done.output, done.output
    return room


def test_a_collection_is_uploaded_once(folder, tmp_path):
    for said in ("9 sent, 0 were there, 0 requests", "0 sent, 9 were there, 0 requests"):
        done = run("upload", "--parts", folder / "parts", "--to", tmp_path / "qdrant", "--collection", "mine")
        assert done.exit_code == 0 and said in done.output, done.output
    client = engines.qdrant_client(tmp_path / "qdrant")
    assert client.count("mine").count == 9
    client.close()


@pytest.mark.parametrize("form", ["anserini", "opensearch"])
def test_files_are_exported(folder, tmp_path, form):
    done = run("export", "--parts", folder / "parts", "--out", tmp_path / form, "--form", form)
    assert done.exit_code == 0, done.output
    documents = sorted((tmp_path / form).glob("documents-*.jsonl"))
    lines = [json.loads(line) for path in documents for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines if "id" in line] == [f"d{i}" for i in range(9)]
    assert (tmp_path / form / "mapping.json").exists() == (form == "opensearch")


def test_the_options_of_build_stand_in_the_manifest(folder, tmp_path):
    done = run("build", "--shards", folder / "shards", "--out", tmp_path / "p", "--k", 7, "--share", 0.5, "--no-log1p")
    assert done.exit_code == 0, done.output
    setting = parts.manifest(tmp_path / "p")["setting"]
    assert (setting["k"], setting["share"], setting["log1p"]) == (7, 0.5, False)
    assert np.diff(parts.everything(tmp_path / "p").documents.indptr).max() <= 7


def test_costs_and_estimates_are_told_with_how_they_are_known():
    done = run("cost", "--documents", 10**7, "--embedder", "GritLM", "--k", 100, "--workers", 8, "--core-hour", 1)
    assert done.exit_code == 0, done.output
    assert "8 GB at most" in done.output and "one block measured" in done.output and "extrapolated" in done.output
    assert "at 1 a core hour (your core hour, else assumed)" in done.output
    done = run("estimate", "LLaMA-EOL", "--tflops", 50)
    assert done.exit_code == 0 and "bfloat16  weights  13.5 GB" in done.output and "at 50 TFLOP/s" in done.output


def test_a_measurement_goes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "measure", lambda report: {"machine": {}, "date": "today", "rows": []})
    done = run("measure", "--out", tmp_path / "m.json")
    assert done.exit_code == 0 and measured.stored(tmp_path / "m.json")["rows"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "--shards", "no-such", "--out", "x"), "FileNotFoundError: "),
        (("upload", "--parts", "no-such", "--to", "ftp://host"), "ValueError: location 'ftp://host'"),
        (("export", "--parts", "no-such", "--out", "x", "--form", "opensearch"), "FileNotFoundError: no-such"),
        (("estimate", "smol"), "ValueError: no embedder called 'smol'"),
        (("cost", "--documents", "5", "--embedder", "owner/name"), "ValueError: the numbers of 'owner/name'"),
        (("cost", "--documents", "5", "--core-hour", "-1"), "ValueError: core_hour must be 0 or more"),
    ],
)
def test_an_error_is_one_line(words, said):
    done = run(*words)
    assert done.exit_code == 1 and done.stderr.startswith(said) and done.stderr.count("\n") == 1, done.stderr
