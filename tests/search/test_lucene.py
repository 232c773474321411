"""Lucene, by way of Anserini, gives the scores of the arrays; skipped, saying why, where Java or the jar is missing."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from course_utils.search import anserini, engines, lucene, sparse


def found_jar():
    try:
        return lucene.find_jar()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def whole(n: int, columns: int, share: float, seed: int) -> csr_array:
    rng = np.random.default_rng(seed)
    return csr_array(np.where(rng.uniform(size=(n, columns)) < share, rng.integers(1, 60, size=(n, columns)), 0))


def test_an_index_of_lucene_returns_the_scores_of_the_arrays(tmp_path):
    jar = found_jar()
    documents, queries = whole(400, 300, 0.1, seed=1), whole(20, 300, 0.02, seed=2)
    ids, query_ids = [f"d{i}" for i in range(400)], [f"q{i}" for i in range(20)]
    tokens = [f"Ġt{i}" if i % 2 else f"<0x{i:02X}>" for i in range(300)]
    (tmp_path / "files").mkdir()
    anserini.write_anserini(tmp_path / "files" / "documents.jsonl", documents, ids, tokens)
    try:
        lucene.index(jar, tmp_path / "files", tmp_path / "index")
    except ChildProcessError as error:
        if "UnsupportedClassVersionError" in str(error):
            pytest.skip("the Java here is older than the jar asks for")
        raise
    run = lucene.search(jar, tmp_path / "index", queries, query_ids, tokens, tmp_path, k=100)
    hits = sparse.search(queries.astype(np.float32), sparse.inverted_index(documents.astype(np.float32)), k=100)
    expected = {
        q: {ids[d]: float(s) for d, s in zip(*found, strict=True)} for q, found in zip(query_ids, hits, strict=True)
    }
    agreed = engines.agreement(run, expected)
    assert agreed.overlap == 1 and agreed.score_error < 1e-6


def test_without_java_or_jar_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(lucene.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="no Java here"):
        lucene.find_jar()
    monkeypatch.setattr(lucene.shutil, "which", lambda name: "/usr/bin/java")
    monkeypatch.setenv("ANSERINI_JAR", str(tmp_path / "none.jar"))
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        lucene.find_jar()
    monkeypatch.delenv("ANSERINI_JAR")
    monkeypatch.setattr(lucene.sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    with pytest.raises(FileNotFoundError, match="pip install pyserini brings it"):
        lucene.find_jar()
    (tmp_path / "pyserini" / "resources" / "jars").mkdir(parents=True)
    jar = tmp_path / "pyserini" / "resources" / "jars" / "anserini-1.0-fatjar.jar"
    jar.touch()
    assert lucene.find_jar() == jar


def test_queries_with_fractions_are_refused(tmp_path):
    queries = csr_array(np.array([[0.5, 1.0]]))
    with pytest.raises(ValueError, match="whole-number weights"):
        lucene.search(tmp_path / "x.jar", tmp_path, queries, ["q"], ["a", "b"], tmp_path)


def test_a_failure_of_java_is_told(monkeypatch, tmp_path):
    class Done:
        returncode, stderr, stdout = 1, "Exception: no such index", ""

    monkeypatch.setattr(lucene.subprocess, "run", lambda *a, **k: Done())
    with pytest.raises(ChildProcessError, match="no such index"):
        lucene.index(tmp_path / "x.jar", tmp_path, tmp_path / "index")


def test_a_search_that_writes_nothing_is_a_failure(monkeypatch, tmp_path):
    class Done:
        returncode, stderr, stdout = 0, "no such option", ""

    monkeypatch.setattr(lucene.subprocess, "run", lambda *a, **k: Done())
    with pytest.raises(ChildProcessError, match="wrote no run: no such option"):
        lucene.search(tmp_path / "x.jar", tmp_path, csr_array(np.eye(2)), ["q", "r"], ["a", "b"], tmp_path)
