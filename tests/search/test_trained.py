"""The trained head's lists beside aligned tokens: equal postings, the words that are new, and what is refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.sparse import csr_array

from course_utils.__main__ import main
from course_utils.models import registry
from course_utils.search import fair, results, sparse, trained
from course_utils.search.retrieval import Setting
from course_utils.shipped import collections
from course_utils.texts.datasets import Retrieval

TITLE = "Some texts"


def unused(bench) -> int:
    """A token, not special, that stands in no text in any spelling."""
    tokens = sparse.query_tokens(bench.tokenizer, [*bench.document_texts, *bench.query_texts])
    taken = {*bench.classes[np.concatenate(tokens)], *bench.classes[bench.exclude]}
    return next(i for i in range(len(bench.classes)) if bench.classes[i] not in taken)


@pytest.fixture
def lists(bench):
    """Lists with the texts' own tokens, heavier where they are rare, and one word that no text holds in all of them."""
    rng = np.random.default_rng(0)
    sides = []
    for texts in (bench.document_texts, bench.query_texts):
        dense = np.zeros((len(texts), len(bench.unembedding)), np.float32)
        for row, ids in zip(dense, sparse.query_tokens(bench.tokenizer, texts, variants=False), strict=True):
            row[ids] = rng.uniform(0.5, 1.5, len(ids))
        dense[:, unused(bench)] = 0.25
        sides.append(csr_array(dense))
    return tuple(sides)


def saved(folder, lists, collection, title=TITLE, **changed):
    folder.mkdir(exist_ok=True)
    arrays = {}
    for side, v in zip(("documents", "queries"), lists, strict=True):
        arrays |= {f"{side}.ends": v.indptr, f"{side}.words": v.indices, f"{side}.weights": v.data.astype(np.float16)}
    np.savez(folder / f"{title.replace(' ', '-')}.npz", **(arrays | changed))
    made_of = collections.checksums("smol-sgpt-qa", collection)["collection"]
    log = {"settings": {"steps": 7}, "steps": [], "collections": {title: made_of}}
    (folder / "log.json").write_text(json.dumps(log), encoding="utf-8")
    return folder


class Loaded:
    """What the measurement asks of an embedder."""

    spec = registry.get("smol-sgpt-qa")

    def __init__(self, bench):
        self.unembedding, self.tokenizer, self.backbone = bench.unembedding, bench.tokenizer, None


def test_lists_come_back_as_they_were_written(tmp_path, lists, collection, bench):
    found = trained.read(saved(tmp_path, lists, collection), TITLE, collection, len(bench.unembedding))
    for read, given in zip(found, lists, strict=True):
        np.testing.assert_array_equal(read.toarray(), given.toarray().astype(np.float16))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"documents.ends": np.arange(4)}, "holds 3 documents, Some texts has 9"),
        ({"queries.words": np.full(200, 10**6)}, "a token id must be below"),
        ({"documents.weights": np.full(500, np.nan, np.float16)}, "documents: row 0 holds the weight nan"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path, lists, collection, bench, changed, said):
    key, value = next(iter(changed.items()))
    full = {"documents": lists[0], "queries": lists[1]}[key.partition(".")[0]]
    value = value if key.endswith("ends") else value[: full.nnz]
    with pytest.raises(ValueError, match=said):
        folder = saved(tmp_path, lists, collection, **{key: value})
        trained.read(folder, TITLE, collection, len(bench.unembedding))


def test_missing_lists_and_missing_arrays_are_named(tmp_path, lists, collection, bench):
    with pytest.raises(FileNotFoundError, match="Some-texts.npz does not exist; several-tokens study splade"):
        trained.read(tmp_path, TITLE, collection, len(bench.unembedding))
    np.savez(tmp_path / "Some-texts.npz", x=np.ones(2))
    with pytest.raises(ValueError, match="has no .*documents.weights"):
        trained.read(tmp_path, TITLE, collection, len(bench.unembedding))


def test_equal_postings_are_equal_in_size_and_no_more_in_reading(bench, lists):
    setting = trained.equal_postings(bench, *lists)
    documents, _ = lists
    assert setting.k == round(documents.nnz / documents.shape[0])
    tune, held_out = bench.halves()
    aligned = bench.documents(setting)
    allowed = trained.postings(*lists, tune)
    if setting.m:
        assert trained.postings(aligned, bench.queries(setting, aligned), tune) <= allowed
    more = [m for m in trained.MS if m > setting.m][:1]
    for m in more:
        assert trained.postings(aligned, bench.queries(Setting(k=setting.k, m=m), aligned), tune) > allowed
    # Other queries of the held-out half change nothing.
    queries = lists[1].toarray()
    queries[held_out] = 1
    assert trained.equal_postings(bench, documents, csr_array(queries)) == setting


def test_postings_are_counted_as_loops_count_them(lists):
    documents, queries = (v.toarray() > 0 for v in lists)
    by_hand = np.mean([sum(documents[:, w].sum() for w in np.flatnonzero(queries[q])) for q in (0, 2)])
    assert trained.postings(*lists, [0, 2]) == pytest.approx(by_hand)


def test_words_are_counted_by_where_they_come_from(bench, lists, monkeypatch):
    monkeypatch.setattr(trained, "DEEP", 30)
    documents, _ = lists
    found = trained.expansions(bench, documents, Setting(k=10))
    new, n = unused(bench), documents.shape[0]
    own = documents.nnz - n
    classes, deep = bench.classes, bench.documents(Setting(k=30))
    there = [classes[new] in classes[deep[[i]].indices] for i in range(n)]
    assert found["text"] == pytest.approx(own / documents.nnz, abs=1e-4)
    assert found["deep"] == pytest.approx(np.mean(there), abs=1e-4) and found["aligned"] <= found["deep"]
    assert found["chance"] == pytest.approx(np.mean([there[(i + n // 2) % n] for i in range(n)]), abs=1e-4)
    assert found["never"] == ([(new, n - sum(there))] if sum(there) < n else [])


def test_a_row_is_scored_on_the_held_out_half_with_both_systems(bench, collection, lists):
    row = json.loads(json.dumps(trained.measure(collection, Loaded(bench), bench.embedded, lists)))
    _, held_out = bench.halves()
    expected = bench.judge(sparse.scores(lists[1], lists[0]), held_out)
    assert row["nDCG@10"][trained.TRAINED] == pytest.approx(expected, abs=1e-4) and row["queries"] == len(held_out)
    setting = Setting(k=row["K"], m=row["M"])
    assert row["nDCG@10"][trained.ALIGNED] == pytest.approx(bench.judge(bench.aligned(setting), held_out), abs=1e-4)
    assert row["tokens in a list"][trained.TRAINED] == pytest.approx(lists[0].nnz / lists[0].shape[0], abs=0.01)


def test_the_command_writes_a_row_and_keeps_the_others(tmp_path, bench, collection, lists, monkeypatch):
    monkeypatch.setattr(trained, "FILE", tmp_path / "rows.json")
    monkeypatch.setattr(trained.readers, "retrieval", lambda folder, split: collection)
    monkeypatch.setattr(results, "embeddings_of", lambda *_: bench.embedded)
    monkeypatch.setattr("course_utils.models.embedder.load", lambda name, dtype: Loaded(bench))
    folder = saved(tmp_path / "run", lists, collection)
    command = ["search", "--lists", str(folder), "--beir", "x", "--title", TITLE, "smol-sgpt-qa"]
    for _ in range(2):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    [row] = trained.rows()
    assert (row["collection"], row["run"], row["log"]) == (TITLE, "7 steps", {"settings": {"steps": 7}, "steps": []})
    assert row["command"] == f'several-tokens search --lists FOLDER --beir FOLDER --title "{TITLE}" smol-sgpt-qa'
    other = Retrieval(collection.corpus, {"q0": "other texts under the same title"}, {"q0": {"d0": 1}})
    monkeypatch.setattr(trained.readers, "retrieval", lambda *_: other)
    done = CliRunner().invoke(main, command)
    assert done.exit_code and "made of other texts" in f"{done.output}{done.exception}"
    done = CliRunner().invoke(main, [*command, "smol-grit"])
    assert done.exit_code and "compared with one embedder" in f"{done.output}{done.exception}"


def test_the_rows_that_ship_are_of_the_queries_of_lesson_04():
    stored = {(row["collection"], row["embedder"]): row for row in results.results()}
    rows = trained.rows()
    assert {row["run"] for row in rows} == {"240 steps", "0 steps"} and trained.FILE.stat().st_size < 150_000
    for row in rows:
        values = trained.beside(row, stored[row["collection"], row["embedder"]])
        assert {len(v) for v in values.values()} == {row["queries"]} and len(row["groups"]) == row["queries"]
        assert {trained.TRAINED, trained.ALIGNED, "BM25", "aligned tokens"} <= set(values)
        read, held = row["postings read"], row["tokens in a list"]
        assert read[trained.ALIGNED] <= read[trained.TRAINED] or row["M"] == 0
        assert abs(held[trained.ALIGNED] - held[trained.TRAINED]) <= 0.5
    with pytest.raises(ValueError, match="of other queries"):
        trained.beside(rows[0], stored[results.WIKIPEDIA, "smol-grit"])


def test_the_table_holds_every_comparison_of_its_collection():
    rows = [row for row in trained.rows() if row["run"] == "240 steps"]
    values = {r["collection"]: {n: np.array(v) for n, v in r["nDCG@10"].items()} for r in rows}
    groups = {r["collection"]: r["groups"] for r in rows}
    found = fair.compare(values, groups, [(trained.TRAINED, trained.ALIGNED)])
    lines = trained.table(rows, values, found).splitlines()
    assert len(lines) == 2 * len(rows) and all(c.verdict in lines[2 * i + 1] for i, c in enumerate(found))
