"""Lucene, by way of Anserini, gives the scores of the arrays; skipped, saying why, where Java or the jar is missing."""

import shutil

import numpy as np
import pytest
from scipy.sparse import csr_array

from course_utils.search import anserini, engines, lucene


def found_jar():
    try:
        return lucene.find_jar()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def whole(n: int, columns: int, share: float, seed: int) -> csr_array:
    rng = np.random.default_rng(seed)
    return csr_array(np.where(rng.uniform(size=(n, columns)) < share, rng.integers(1, 60, size=(n, columns)), 0))


def test_an_index_of_lucene_returns_the_scores_of_the_arrays():
    jar = found_jar()
    documents, queries = whole(400, 300, 0.1, seed=1), whole(20, 300, 0.02, seed=2)
    ids, query_ids = [f"d{i}" for i in range(400)], [f"q{i}" for i in range(20)]
    tokens = [f"Ġt{i}" if i % 2 else f"<0x{i:02X}>" for i in range(300)]
    try:
        agreed = engines.agreement(*lucene.round_trip(jar, documents, queries, ids, query_ids, tokens))
    except FileNotFoundError as error:
        pytest.skip(str(error))
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


def test_a_java_that_is_too_old_is_no_failure_of_the_search(monkeypatch, tmp_path):
    class Done:
        returncode, stderr, stdout = 1, "java.lang.UnsupportedClassVersionError: class file version 65.0", ""

    monkeypatch.setattr(lucene.subprocess, "run", lambda *a, **k: Done())
    with pytest.raises(FileNotFoundError, match=r"older than x\.jar asks for"):
        lucene.index(tmp_path / "x.jar", tmp_path, tmp_path / "index")


def test_a_round_trip_hands_files_on_and_brings_both_answers_back(monkeypatch, tmp_path):
    """What Java would do is done here: read the files, count the products."""
    documents, queries = whole(8, 30, 0.4, seed=1), whole(3, 30, 0.2, seed=2)
    names = [f"t{i}" for i in range(30)]
    monkeypatch.setattr(lucene, "index", lambda jar, files, there: shutil.copytree(files, there))

    def searched(jar, there, asked, query_ids, tokens, work):
        back = anserini.read_anserini(there / "documents.jsonl", tokens)
        products = asked.toarray() @ back.documents.toarray().T
        return {q: dict(zip(back.ids, row.tolist(), strict=True)) for q, row in zip(query_ids, products, strict=True)}

    monkeypatch.setattr(lucene, "search", searched)
    ids, query_ids = [f"d{i}" for i in range(8)], ["q0", "q1", "q2"]
    found, exact = lucene.round_trip(tmp_path / "x.jar", documents, queries, ids, query_ids, names)
    assert all(found[q][d] == pytest.approx(s) for q, of in exact.items() for d, s in of.items())
    assert all(of for of in exact.values()) and set(exact) == set(query_ids)


def test_a_search_that_writes_nothing_is_a_failure(monkeypatch, tmp_path):
    class Done:
        returncode, stderr, stdout = 0, "no such option", ""

    monkeypatch.setattr(lucene.subprocess, "run", lambda *a, **k: Done())
    with pytest.raises(ChildProcessError, match="wrote no run: no such option"):
        lucene.search(tmp_path / "x.jar", tmp_path, csr_array(np.eye(2)), ["q", "r"], ["a", "b"], tmp_path)
