"""Rows that are kept, the command that writes them, and settings that transfer."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from click.testing import CliRunner
from tiny import SENTENCES

from course_utils.__main__ import main
from course_utils.measures import clusters
from course_utils.models import registry
from course_utils.search import fair, results, retrieval
from course_utils.search.dense import DenseSetting
from course_utils.search.retrieval import KS, MS, Setting, Workbench
from course_utils.shipped import collections, kinds
from course_utils.texts.datasets import Retrieval


def row(collection, embedder, best=(2, 1), value=0.5, dense_best=(2, 0)):
    """A row whose grids have one best field and fall off with the distance from it."""
    grids = {}
    for side, (i, j) in (("sparse", best), ("dense", dense_best)):
        far = np.abs(np.arange(7)[:, None] - i) + np.abs(np.arange(6) - j)
        grids[side] = (value - 0.05 * far).tolist()
    k, m = KS[best[0]], MS[best[1]]
    return {
        "collection": collection,
        "embedder": embedder,
        "chosen": {"sparse": asdict(Setting(k=k, m=m)), "dense": asdict(DenseSetting(True, 0, 0.0))},
        "tuning": grids,
        # other numbers than the tuning half's, in the same order: whoever mixes the halves up is found out
        "held out": {side: (np.array(grid) - 0.1).tolist() for side, grid in grids.items()},
    }


def test_the_recommended_setting_is_the_best_on_average_and_no_collection_outvotes_another():
    hard, easy = row("A", "x", best=(2, 1), value=0.3), row("B", "x", best=(2, 1), value=0.9)
    assert results.recommended([hard, easy]) == (2, 1)
    # Where one collection is easy and wants (5, 3), two hard ones still decide.
    rows = [row("A", "x", (2, 1), 0.4), row("C", "x", (2, 1), 0.4), row("B", "x", (5, 3), 0.9)]
    assert results.recommended(rows) == (2, 1)
    assert results.recommended(rows, "dense") == (2, 0)
    with pytest.raises(ValueError, match="no rows to choose from"):
        results.recommended([])


def test_leaving_a_collection_out_uses_none_of_its_numbers():
    rows = [row("A", "x", (1, 1)), row("A", "y", (1, 1)), row("B", "x", (4, 2)), row("B", "y", (4, 2))]
    found = results.leave_one_out(rows)
    assert [(t.collection, t.embedder) for t in found] == [("A", "x"), ("A", "y"), ("B", "x"), ("B", "y")]
    assert {t.own for t in found[:2]} == {results.named_setting(1, 1)} == {t.elsewhere for t in found[2:]}
    assert found[0].value == pytest.approx(0.4 - 0.05 * 4) and found[0].own_value == pytest.approx(0.4)
    assert found[0].loss == pytest.approx(0.2) and found[0].dense_value == pytest.approx(0.4)
    with pytest.raises(ValueError, match="takes at least two"):
        results.leave_one_out(rows[:2])


def test_fields_of_the_grids_have_names():
    assert results.named_setting(0, 0) == f"K = {KS[0]}, M = 0"
    assert results.named_setting(0, 0, "dense") == "raw"


def test_a_row_holds_one_number_per_held_out_query_for_every_system(bench, collection, monkeypatch):
    monkeypatch.setattr(retrieval, "LARGEST_K", 60)
    monkeypatch.setattr(retrieval, "LARGEST_M", 20)
    monkeypatch.setattr(retrieval.grid, "__defaults__", ((5, 60), (0, 20)))
    monkeypatch.setattr(retrieval.postings_prices, "__defaults__", ((5, 60), (0, 20)))
    monkeypatch.setattr(fair.pick_sparse, "__defaults__", ((5, 60), None))
    monkeypatch.setattr(fair, "KS", (5, 60))
    monkeypatch.setattr(fair, "MS", (0, 20))

    class Loaded:
        spec = registry.get("smol-sgpt-qa")
        unembedding, tokenizer = bench.unembedding, bench.tokenizer

    found = json.loads(json.dumps(results.measure(collection, Loaded(), bench.embedded, ["a", "b", "a", "c"])))
    assert found["queries"] == 1 and found["groups"] == [1] and found["tuning queries"] == 3
    for block in ("nDCG@10", "R@100", "parts"):
        assert {len(v) for v in found[block].values()} == {1}, block
    assert {len(v) for of in found["meaningless"].values() for v in of.values()} == {1}
    assert np.shape(found["tuning"]["dense"]) == (7, 6) and np.shape(found["held out"]["sparse"]) == (2, 2)
    assert found["R@100"]["dense, raw"] == [1.0]  # nine documents are all among the first hundred
    setting = results.chosen(found).sparse
    assert setting.k in (5, 60) and list(found["larger M"]) == [str(m) for m in results.LARGER_MS]
    most = Workbench(collection, bench.embedded, bench.unembedding, bench.tokenizer, groups=["a", "b", "a", "c"],
                     largest=(60, 400))  # fmt: skip
    tune, _ = most.halves()
    by_hand = most.judge(most.aligned(replace(setting, m=400)), tune).mean()
    assert found["larger M"]["400"] == pytest.approx(by_hand, abs=1e-4)
    assert "ignore_identical_ids" not in found


def test_the_time_is_told_before_the_work_and_what_is_done_is_not_encoded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    texts = Retrieval({f"d{i}": s for i, s in enumerate(SENTENCES)}, {"q": "rain"}, {"q": {"d8": 1}})
    lines, encoded = [], []

    class Loaded:
        spec, backbone = registry.get("smol-sgpt-qa"), None

        def encode(self, some, *_, **__):
            encoded.append(len(some))
            return np.ones((len(some), 4), dtype=np.float32)

    class Within:
        def __enter__(self):
            return Loaded()

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(collections, "source", lambda *_: {"x": "y"})
    monkeypatch.setattr(collections, "merged", lambda *_: Within())
    first = results.embeddings_of(Loaded(), texts, False, "float32", lines.append)
    assert first.documents.shape == (9, 4) and first.queries.shape == (1, 4)
    assert "for 1 000 documents here" in lines[0] and "the 10 texts that are left" in lines[0]
    encoded.clear()
    again = results.embeddings_of(Loaded(), texts, False, "float32", lines.append)
    assert not encoded and len(lines) == 1
    np.testing.assert_array_equal(again.documents, first.documents)


def test_a_new_result_replaces_the_old_one(tmp_path):
    path = tmp_path / "results.json"
    assert results.results(path) == []
    for collection, value in (("B", 1), ("A", 2), ("B", 3)):
        results.add_result({"collection": collection, "embedder": "x", "value": value}, path)
    assert [(r["collection"], r["value"]) for r in results.results(path)] == [("A", 2), ("B", 3)]


def test_the_stored_rows_are_whole_and_of_the_adapters_that_are_here():
    rows = results.results()
    assert results.WIKIPEDIA in {row["collection"] for row in rows} and len({row["collection"] for row in rows}) > 1
    for row in rows:
        name = f"{row['collection']}, {row['embedder']}"
        for block in ("nDCG@10", "R@100", "parts"):
            assert {len(v) for v in row[block].values()} == {row["queries"]} == {len(row["groups"])}, name
            assert all(0 <= x <= 1 for values in row[block].values() for x in values), name
        assert {len(v) for of in row["meaningless"].values() for v in of.values()} == {row["queries"]}, name
        whole = np.mean(row["parts"][fair.WHOLE])
        assert whole == pytest.approx(np.mean(row["nDCG@10"]["aligned tokens"]), abs=1e-3), name
        at = KS.index(row["chosen"]["sparse"]["k"]), MS.index(row["chosen"]["sparse"]["m"])
        assert row["held out"]["sparse"][at[0]][at[1]] == pytest.approx(whole, abs=1e-3), name
        assert results.chosen(row).equal_bytes.k <= 288, name
        tuning = {side: np.array(grid) for side, grid in row["tuning"].items()}
        width = 384 if row["embedder"] == "minilm" else 576
        for key, largest in (("sparse", None), ("equal bytes", fair.largest_k(width))):
            picked = fair.pick_sparse(tuning["sparse"], largest=largest)
            assert picked == {option: row["chosen"][key][option] for option in picked}, f"{name}: {key}"
        assert fair.pick_dense(tuning["dense"], width) == results.chosen(row).dense, name
        assert registry.available((row["embedder"],)) and results.is_current(row), (
            f"{name}: several-tokens search again"
        )
        assert row["command"].startswith("several-tokens search ") and row["embedder"] in row["command"]


def test_a_row_of_another_adapter_is_not_current():
    name = kinds.KINDS["retrieval"].names[0]
    made_from = collections.source(name, Retrieval({"d": "text"}, {}, {}), "bfloat16")
    row = {"embedder": name, "made_from": made_from}
    assert results.is_current(row)
    assert not results.is_current({**row, "made_from": {**made_from, "adapters": "0"}})
    assert not results.is_current({**row, "collection": results.WIKIPEDIA})  # other texts than those that ship


def test_the_command_reads_a_folder_and_writes_a_row(bench, collection, tmp_path, monkeypatch):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", collection.corpus), ("queries", collection.queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    rows = [f"{q}\t{d}\t{r}" for q, judged in collection.qrels.items() for d, r in judged.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    seen = []

    class Loaded:
        spec = registry.get("smol-sgpt-qa")

    def measured(loaded, embedder, embedded, groups, **options):
        seen.append((loaded, embedder.spec.name, embedded, groups, options))
        return {"embedder": embedder.spec.name, "nDCG@10": {"dense, raw": [1.0, 0.5]}}

    monkeypatch.setattr("course_utils.models.embedder.load", lambda name, dtype: Loaded())
    monkeypatch.setattr(results, "embeddings_of", lambda *arguments: arguments[1:4])
    monkeypatch.setattr(results, "measure", measured)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    options = ["--beir", str(folder), "--title", "Small", "--dtype", "bfloat16", "--ignore-identical-ids"]
    done = CliRunner().invoke(main, ["search", "smol-sgpt-qa", *options])
    assert done.exit_code == 0, done.output
    expected = (collection, "smol-sgpt-qa", (collection, False, "bfloat16"), None, {"ignore_identical_ids": True})
    assert seen == [expected]
    assert "0.75" in done.stdout
    [row] = json.loads((tmp_path / "results.json").read_text())
    assert row["collection"] == "Small" and row["command"] == (
        'several-tokens search --beir FOLDER --title "Small" --dtype bfloat16 --ignore-identical-ids smol-sgpt-qa'
    )
    assert row["made_from"]["dtype"] == "bfloat16"


def test_curves_hold_the_held_out_quality_over_bytes_and_work():
    stored = row("A", "x") | {
        "documents": 100,
        "postings read": np.arange(42.0).reshape(7, 6).tolist(),
        "tokens in a list": [float(k) for k in KS],
        "nDCG@10": {"dense, raw": [0.4, 0.6], "dense, tuned": [0.7, 0.7]},
    }
    dense_cost = {"document: bytes": 2304.0, "query: total": 5e6}
    memory, work = results.pareto(stored, MS[2], dense_cost, model=7.0, n=1000)
    name = f"aligned tokens, M = {MS[2]}"
    assert list(memory) == list(work) == ["aligned tokens, M = 0", name, "dense, raw", "dense, tuned"]
    assert list(memory[name].cost) == [8 * k for k in KS] and memory[name].labels[0] == f"K={KS[0]}"
    assert list(work[name].cost) == [10 * (6 * i + 2) + 7 for i in range(7)]  # ten times as many documents
    assert list(work["aligned tokens, M = 0"].cost) == [60 * i for i in range(7)]
    np.testing.assert_allclose(work[name].quality, np.array(stored["held out"]["sparse"])[:, 2])
    assert memory["dense, raw"].quality == [0.5] and work["dense, tuned"].cost == [5e6]


def test_tables_of_rows_say_what_was_stored(monkeypatch):
    values = {name: [0.2, 0.4, 0.6] for name in ("dense, raw", "dense, tuned", *results.SPARSE, "BM25")}
    values |= {"BM25 + aligned tokens": [0.3, 0.5, 0.7], "BM25 + dense": [0.2, 0.4, 0.6]}
    parts = {fair.WHOLE: [0.2, 0.4, 0.6], "other": [0.1, 0.2, 0.3]}
    wikipedia = row(results.WIKIPEDIA, "x") | {"nDCG@10": values, "R@100": values, "parts": parts, "groups": [0, 1, 1]}
    other = wikipedia | {"collection": "B"}
    assert [results.label(r) for r in (wikipedia, other)] == ["x", "B, x"]
    table = results.table([wikipedia, other])
    assert table.loc["BM25", ("x", "R@100")] == "0.40" and table.loc["BM25", ("B, x", "nDCG@10")].startswith("0.40 [")
    kept = results.retentions([wikipedia])
    assert {v.value for v in kept.to_numpy().ravel()} == {1.0} and len(kept) == len(results.SPARSE)
    found = results.compare([wikipedia, other])
    assert len(found) == 2 * len(fair.QUESTIONS) and all(c.corrected >= c.p for c in found)
    swaps = []
    monkeypatch.setattr(clusters, "paired_permutation", lambda a, b, groups, n: swaps.append(n) or 0.5)
    results.compare([wikipedia])
    assert swaps == [results.SWAPS] * len(fair.QUESTIONS)
    assert results.parts_table([wikipedia]).loc["other", ("x", "of the whole")] == "0.50 [0.50, 0.50]"
    assert results.part_differences([wikipedia])["x"]["other"].value == pytest.approx(-0.2)
    assert results.place(Setting(k=KS[1], m=MS[2])) == 8
    assert [results.p_text(p) for p in (0.0004, 0.0312, 1.0)] == ["< .001", ".031", "1.000"]
