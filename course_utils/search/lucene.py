"""Anserini at work: index files of JSON vectors with Lucene and search them, where Java and its jar are there.

The jar comes with the package ``pyserini`` (it is not installed with the course, 160 MB); or give its place in the
environment variable ``ANSERINI_JAR``.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.measures.evaluation import Run
from course_utils.search import anserini, engines, sparse

#: Environment variable with the place of the jar.
JAR = "ANSERINI_JAR"
#: Seconds after which a run of Java is given up.
PATIENCE = 600


def find_jar() -> Path:
    """Anserini's jar.

    Raises:
        FileNotFoundError: no Java, or no jar; the message says how to get them.
    """
    if shutil.which("java") is None:
        raise FileNotFoundError("there is no Java here; Anserini needs version 21, jars up to 0.22 version 11")
    if given := os.environ.get(JAR):
        path = gates.expanded(given, JAR)
        if not gates.is_file(path):
            raise FileNotFoundError(f"{JAR} names {path}, and there is no such file")
        return path
    folder = Path(sysconfig.get_paths()["purelib"]) / "pyserini" / "resources" / "jars"
    found = sorted(folder.glob("anserini-*-fatjar.jar"), key=_version)
    if not found:
        raise FileNotFoundError(
            f"there is no jar of Anserini: pip install pyserini brings it, or set {JAR} to its place"
        )
    return found[-1]


def index(jar: Path, folder: Path | str, out: Path | str) -> None:
    """Index a folder of files that :func:`course_utils.search.anserini.write_anserini` wrote.

    Raises:
        FileNotFoundError: the Java here is too old for the jar.
        ChildProcessError: Java failed; with the end of what it said.
    """
    options = ["-collection", "JsonVectorCollection", "-generator", "DefaultLuceneDocumentGenerator", "-threads", "1"]
    _java(
        jar, "io.anserini.index.IndexCollection", *options, "-input", folder, "-index", out, "-impact", "-pretokenized"
    )


def search(
    jar: Path, index: Path | str, queries: csr_array, query_ids: Sequence[str], tokens: Sequence[str], work: Path | str,
    k: int = 100,
) -> Run:  # fmt: skip
    """The k best documents of every query; a token counts as often as its weight says.

    Args:
        index: of :func:`index`.
        queries: ``[n, C]`` with whole-number weights, as :func:`course_utils.search.anserini.quantise` makes them.
        query_ids: one per query, all different, without white space.
        tokens: the name of every column, as in the files.
        work: a folder for the two files that this takes.

    Raises:
        ValueError: weights that are no whole numbers, or names that do not fit.
        FileNotFoundError: the Java here is too old for the jar.
        ChildProcessError: Java failed; with the end of what it said.
    """
    queries = sparse.checked(queries, "queries", positive=True)
    if (queries.data != np.rint(queries.data)).any():
        raise ValueError("queries must have whole-number weights: anserini.quantise makes them")
    ids = gates.identifiers(query_ids, queries.shape[0], "query_ids")
    topics, found = Path(work) / "topics.tsv", Path(work) / "run.txt"
    with gates.replacing(topics) as file:
        for key, (columns, weights) in zip(ids, sparse.rows(queries), strict=True):
            said = " ".join(name for c, w in zip(columns, weights, strict=True) for name in [tokens[c]] * int(w))
            if said:  # a query without tokens finds nothing
                file.write(f"{key}\t{said}\n")
    options = ["-impact", "-pretokenized", "-threads", "1", "-hits", gates.whole(k, "k")]
    for reader in ("-topicReader", "-topicreader"):  # newer and older versions; a wrong name ends without an error
        asked = ["-index", index, "-topics", topics, reader, "TsvString", "-output", found, *options]
        found.unlink(missing_ok=True)  # a run of an earlier search would pass for this one
        said = _java(jar, "io.anserini.search.SearchCollection", *asked)
        if found.exists():
            break
    else:
        raise ChildProcessError(f"io.anserini.search.SearchCollection wrote no run: {said}")
    run: Run = {key: {} for key in ids}
    for _, line in gates.lines(found):
        query, document, score = _found(line)
        run[query][document] = score
    return run


def round_trip(
    jar: Path, documents: csr_array, queries: csr_array, ids: Sequence[str], query_ids: Sequence[str],
    tokens: Sequence[str],
) -> tuple[Run, Run]:  # fmt: skip
    """Write whole-number vectors as files, index them, ask: what Lucene returns, and what the arrays say.

    Args:
        documents, queries: ``[n, C]`` with whole-number weights, as :func:`course_utils.search.anserini.quantise`
            makes them.
        ids, query_ids, tokens: as for :func:`search` and :func:`course_utils.search.anserini.write_anserini`.

    Raises:
        FileNotFoundError, ValueError, ChildProcessError: as :func:`index` and :func:`search`.
    """
    with tempfile.TemporaryDirectory() as folder:
        files, there = Path(folder) / "files", Path(folder) / "index"
        files.mkdir()
        anserini.write_anserini(files / "documents.jsonl", documents, ids, tokens)
        index(jar, files, there)
        found = search(jar, there, queries, query_ids, tokens, folder)
    return found, engines.array_run(documents.astype(np.float32), queries.astype(np.float32), ids, query_ids)


def _version(jar: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", jar.name)]


def _found(line: str) -> tuple[str, str, float]:
    """Query, document and score of "query Q0 document rank score name"; the document's id may hold blanks."""
    query, _, rest = line.split(" ", 2)
    document, _, score, _ = rest.rsplit(" ", 3)
    return query, document, float(score)


def _java(jar: Path, program: str, *arguments: object) -> str:
    command = ["java", "-Xmx2g", "-cp", str(jar), program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    said = (done.stderr or done.stdout)[-600:].strip()
    if "UnsupportedClassVersionError" in said:
        raise FileNotFoundError(f"the Java here is older than {jar.name} asks for")
    if done.returncode:
        raise ChildProcessError(f"{program} failed: {said}")
    return said
