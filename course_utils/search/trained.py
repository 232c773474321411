"""A trained sparse head beside aligned tokens, at equal postings.

    several-tokens search --lists FOLDER --title "Wikipedia sections" smol-sgpt-qa

takes the lists that ``several-tokens study splade`` wrote into FOLDER, gives the embedder's aligned tokens as many
postings, scores both on the held-out half, and writes a row into ``data/splade_run.json``.

*Equal* is meant twice: the aligned lists hold as many tokens on average, so that both indexes have one size; and a
query of aligned tokens reads no more postings, on the tuning half. Nothing is chosen by quality.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.measures import alignment
from course_utils.search import costs, fair, results, sparse
from course_utils.search.retrieval import MS, Setting, Workbench
from course_utils.shipped import collections
from course_utils.texts import datasets, readers
from course_utils.texts.datasets import Retrieval

#: The rows that ship, and the run's log beside them.
FILE = results.RESULTS.with_name("splade_run.json")
#: The systems of a row.
TRAINED, ALIGNED = "trained head", "aligned tokens, equal postings"
#: What is compared; the last two systems come from the row of the same collection in :data:`results.RESULTS`.
QUESTIONS = ((TRAINED, ALIGNED), (TRAINED, "aligned tokens"), (TRAINED, "BM25"))
#: How far down an aligned list a token of the trained head is looked for, and how many of the others are named.
DEEP, NAMED = 2000, 60


def read(folder: Path, title: str, collection: Retrieval, vocabulary_size: int) -> tuple[csr_array, csr_array]:
    """The lists of a collection's documents and queries, float32 ``[n, V]``.

    Raises:
        FileNotFoundError: no such lists.
        ValueError: lists of other texts, of another vocabulary, or a file that is damaged.
    """
    file = gates.expanded(folder) / f"{title.replace(' ', '-')}.npz"
    if not gates.is_file(file):
        raise FileNotFoundError(f"{file} does not exist; several-tokens study splade writes it")
    found = []
    with np.load(file) as arrays:
        for side, texts in (("documents", collection.corpus), ("queries", collection.queries)):
            try:
                weights, words, ends = (arrays[f"{side}.{part}"] for part in ("weights", "words", "ends"))
            except KeyError as error:
                raise ValueError(f"{file} has no {error}; several-tokens study splade writes it") from None
            if len(ends) != len(texts) + 1 or len(words) and not 0 <= words.min() <= words.max() < vocabulary_size:
                raise ValueError(
                    f"{file} holds {len(ends) - 1} {side}, {title} has {len(texts)}; a token id must be below"
                    f" {vocabulary_size}"
                )
            shape = (len(texts), vocabulary_size)
            lists = csr_array((weights.astype(np.float32), words.astype(np.int32), ends.astype(np.int64)), shape)
            found.append(sparse.checked(lists, side, positive=True))
    return found[0], found[1]


def equal_postings(bench: Workbench, documents: csr_array, queries: csr_array) -> Setting:
    """K and M of aligned tokens whose index is as large and whose queries read no more, on the tuning half.

    K is the mean length of the trained lists, rounded; M the largest of :data:`course_utils.search.retrieval.MS` with
    no more postings read than by the trained queries; 0 where each reads more.
    """
    tune, _ = bench.halves()
    setting = Setting(k=max(1, round(documents.nnz / documents.shape[0])), m=0)
    allowed, lists = postings(documents, queries, tune), bench.documents(setting)
    for m in MS[1:]:
        if postings(lists, bench.queries(replace(setting, m=m), lists), tune) > allowed:
            break
        setting = replace(setting, m=m)
    return setting


def postings(documents: csr_array, queries: csr_array, rows: Iterable[int]) -> float:
    """Postings that a query reads, the mean over the queries ``rows``."""
    return float(costs.postings_read(documents, csr_array(queries[list(rows)])).mean())


def measure(
    collection: Retrieval, embedder, embedded: collections.Embedded, lists: tuple[csr_array, csr_array], groups=None,
    **options: bool,
) -> dict:  # fmt: skip
    """Both systems on the held-out half of a collection's queries: a row, ready for JSON.

    Args:
        embedder, embedded, groups, options: as for :func:`course_utils.search.results.measure`.
        lists: documents and queries of the trained head, of :func:`read`.
    """
    bench = Workbench(collection, embedded, embedder.unembedding, embedder.tokenizer, groups=groups,
                      largest=(DEEP, max(MS)), **options)  # fmt: skip
    tune, held_out = bench.halves()
    documents, queries = lists
    setting = equal_postings(bench, documents, queries)
    aligned = bench.documents(setting)
    sides = {TRAINED: (documents, queries), ALIGNED: (aligned, bench.queries(setting, aligned))}
    scores = {name: sparse.scores(q, d) for name, (d, q) in sides.items()}
    return {
        "embedder": embedder.spec.name,
        "documents": len(collection.corpus),
        **results.halves(bench, tune, held_out),
        "K": setting.k,
        "M": setting.m,
        "tokens in a list": {name: round(d.nnz / d.shape[0], 2) for name, (d, _) in sides.items()},
        "tokens in a query": {name: round(q.nnz / q.shape[0], 2) for name, (_, q) in sides.items()},
        "postings read": {name: round(postings(d, q, held_out), 1) for name, (d, q) in sides.items()},
        "nDCG@10": {name: np.round(bench.judge(s, held_out), 4).tolist() for name, s in scores.items()},
        "R@100": {name: np.round(bench.judge(s, held_out, "R@100"), 4).tolist() for name, s in scores.items()},
        "words": expansions(bench, documents, setting),
    }


def expansions(bench: Workbench, documents: csr_array, setting: Setting) -> dict:
    """Where the tokens of the trained lists come from; spellings of one word count as one.

    Returns:
        ``"text"``: the share of all tokens that stand in the text. Of the others, the shares that the same document's
        aligned list holds (``"aligned"``, of the setting's K), that its first :data:`DEEP` hold (``"deep"``), and that
        the first :data:`DEEP` of a document half the collection away hold (``"chance"``). And ``"never"``: token ids
        of those that the first :data:`DEEP` lack, with the number of documents, commonest first.
    """
    surface = alignment.surface_tokens(bench.tokenizer, bench.document_texts)
    inside, _ = fair.split_lists(documents, surface, bench.classes)
    classes = bench.classes
    deep, short = (bench.documents(replace(setting, k=k)) for k in (max(DEEP, setting.k), setting.k))
    counts, never = Counter(), Counter()
    far = documents.shape[0] // 2

    def held(lists: csr_array, i: int, words: np.ndarray) -> np.ndarray:
        i %= documents.shape[0]
        return np.isin(classes[words], classes[lists.indices[lists.indptr[i] : lists.indptr[i + 1]]])

    for i in range(documents.shape[0]):
        words = documents.indices[documents.indptr[i] : documents.indptr[i + 1]]
        literal = np.isin(words, inside.indices[inside.indptr[i] : inside.indptr[i + 1]])
        beyond = words[~literal]
        found = held(deep, i, beyond)
        counts.update({"text": int(literal.sum()), "beyond": len(beyond), "deep": int(found.sum())})
        counts.update({"aligned": int(held(short, i, beyond).sum()), "chance": int(held(deep, i + far, beyond).sum())})
        never.update(beyond[~found].tolist())
    named = sorted(never.items(), key=lambda item: (-item[1], item[0]))[:NAMED]
    shares = {key: round(counts[key] / max(1, counts["beyond"]), 4) for key in ("aligned", "deep", "chance")}
    return {"text": round(counts["text"] / max(1, documents.nnz), 4), **shares, "never": named}


# --- The command and its file ------------------------------------------------------------------------


def score(
    names: Iterable[str], folder: str | None, title: str, lists: Path, split: str = "test", dtype: str = "float32",
    report: Callable[[str], object] = print, **options: bool,
) -> None:  # fmt: skip
    """Write a row into :data:`FILE`: the run in ``lists`` beside aligned tokens of the embedders ``names``.

    Args:
        names, folder, title, split, dtype, report, options: as for :func:`course_utils.search.results.score`.
        lists: the folder of the run.

    Raises:
        ValueError: more than one embedder, or lists that were made of other texts.
    """
    from course_utils.models.embedder import load

    names, log_file = list(names), gates.expanded(lists) / "log.json"
    if len(names) != 1:
        raise ValueError(f"lists are compared with one embedder; got {', '.join(names)}")
    collection = datasets.wikipedia_retrieval() if folder is None else readers.retrieval(folder, split)
    groups = fair.articles(collection) if folder is None else None
    log, made_of = (
        gates.json_value(gates.read_text(log_file), str(log_file)),
        collections.checksums(names[0], collection),
    )
    if log["collections"].get(title) != made_of["collection"]:
        raise ValueError(f"the lists of {title!r} in {lists} were made of other texts; delete them and make them again")
    embedder = load(names[0], dtype=dtype)
    embedded = results.embeddings_of(embedder, collection, folder is None, dtype, report)
    found = read(lists, title, collection, len(embedder.unembedding))
    row = measure(collection, embedder, embedded, found, groups, **options)
    run = {key: value for key, value in log.items() if key != "collections"}
    command = results.command(names[0], title, folder, split, dtype, **options).replace(
        "search", "search --lists FOLDER", 1
    )
    row = {"collection": title, "run": f"{log['settings']['steps']} steps", **row, "log": run, "command": command}
    results.add_result(row, FILE, "run")
    means = {system: round(float(np.mean(values)), 3) for system, values in row["nDCG@10"].items()}
    report(f"{title}: {means}")


def rows(path: Path | None = None) -> list[dict]:
    """What :func:`score` has written."""
    return results.results(path or FILE)


def table(rows: Iterable[Mapping], values: Mapping[str, Mapping], found: Iterable[fair.Comparison]) -> str:
    """For each row what a query reads, then a line for each comparison with the row's collection as its label."""
    lines, found = [], list(found)
    for row in rows:
        read, title = row["postings read"], row["collection"]
        lines.append(f"{title}: K = {row['K']}, M = {row['M']}; a query reads {read[TRAINED]:.0f} postings (trained),"
                     f" {read[ALIGNED]:.0f} (aligned)")  # fmt: skip
        for c in found:
            if c.label == title:
                a, b = (float(np.mean(values[title][system])) for system in (c.a, c.b))
                lines.append(f"   trained {a:.2f}   {c.b:30} {b:.2f}   difference {c.difference:+.2f}   {c.verdict}")
    return "\n".join(lines)


def beside(row: Mapping, stored: Mapping) -> dict[str, np.ndarray]:
    """System -> nDCG@10 of each held-out query: both of the row, and those of lesson 04 on the same queries.

    Raises:
        ValueError: another collection, or other queries.
    """
    if (row["collection"], row["groups"]) != (stored["collection"], stored["groups"]):
        raise ValueError(f"the rows of {row['collection']} and {stored['collection']} are of other queries")
    return {**results.values(stored), **results.values(row)}
