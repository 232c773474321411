"""A fair comparison: both sides choose among as many settings by one rule, and whole articles are held out.

* :func:`choose` picks K and M for aligned tokens and a treatment of the embeddings for the dense cosine, on the tuning
  half of the queries; :func:`systems` scores what was chosen on all queries;
* :func:`parts` takes aligned tokens apart: how much of their quality is the query's literal words?
* :func:`meaningless` is the null of what aligned tokens keep: tokens that have nothing to do with the text;
* :func:`compare` puts differences beside each other, query by query, with intervals and tests that draw whole groups,
  and with p-values corrected for their number.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from course_utils.measures import alignment, clusters, evaluation
from course_utils.measures.evaluation import Interval
from course_utils.search import costs, dense, retrieval, sparse
from course_utils.search.dense import DenseSetting, DenseSide
from course_utils.search.retrieval import KS, MS, Grid, Setting, Workbench
from course_utils.texts.datasets import Retrieval

#: What is compared, a against b. All of them together are corrected for their number.
QUESTIONS = (
    ("aligned tokens", "dense, raw"),
    ("aligned tokens", "dense, tuned"),
    ("aligned tokens, equal bytes", "dense, tuned"),
    ("aligned tokens, M = 0", "dense, tuned"),
    ("aligned tokens, M = 0", "BM25"),
    ("aligned tokens", "BM25"),
    ("BM25 + aligned tokens", "BM25"),
    ("BM25 + aligned tokens", "BM25 + dense"),
)
#: M with which :func:`meaningless` asks: a few tokens, and as many as the grid has.
NULL_MS = (10, 100)
#: The whole method, as :func:`parts` calls it.
WHOLE = "both → the whole list"


def articles(collection: Retrieval) -> list[str]:
    """The article of every query of the Wikipedia sections, which are called "article: heading"."""
    return [text.partition(": ")[0] for text in collection.queries.values()]


# --- Choosing -------------------------------------------------------------------------------------


class Chosen(NamedTuple):
    """The settings that a comparison uses.

    Attributes:
        sparse, equal_bytes: K and M without a bound on K, and with lists no larger than a dense vector.
        dense: what is done to the embeddings.
    """

    sparse: Setting
    equal_bytes: Setting
    dense: DenseSetting

    @property
    def largest(self) -> tuple[int, int]:
        """The largest K and M, for a :class:`course_utils.search.retrieval.Workbench`."""
        return max(self.sparse.k, self.equal_bytes.k), max(self.sparse.m, self.equal_bytes.m)


@dataclass(frozen=True)
class Choice:
    """What was chosen on the tuning half, and everything it was chosen from.

    Attributes:
        chosen: the settings.
        grid: quality and price of every K and M, for all usable queries in the order ``rows``.
        dense_scores: nDCG@10 of every dense setting, ``[level, power, queries]``.
        rows: numbers of the queries.
    """

    chosen: Chosen
    grid: Grid
    dense_scores: np.ndarray
    rows: list[int]

    def means(self, side: str, rows: Sequence[int]) -> np.ndarray:
        """Means of a side's grid over some of the queries, ``[7, 6]``; side is ``"sparse"`` or ``"dense"``."""
        places = [self.rows.index(row) for row in rows]
        scores = {"sparse": self.grid.scores, "dense": self.dense_scores}[side]
        return scores[:, :, places].mean(axis=2)


def choose(bench: Workbench, start: Setting | None = None) -> Choice:
    """Choose a setting of either side by :func:`course_utils.search.retrieval.cheapest` on the tuning half.

    The price of a sparse setting is the number of postings read, that of a dense one the number of fitted numbers.
    Options other than K and M are those of ``start``, by default of :class:`Setting`.
    """
    start = start or Setting()
    tune, held_out = bench.halves()
    rows = sorted([*tune, *held_out])
    grid, dense_scores = retrieval.grid(bench, start, rows), dense_grid(bench, rows)
    places = [rows.index(row) for row in tune]
    sparse_means, dense_means = (scores[:, :, places].mean(axis=2) for scores in (grid.scores, dense_scores))
    width = bench.embedded.documents.shape[1]
    chosen = Chosen(
        sparse=replace(start, **pick_sparse(sparse_means)),
        equal_bytes=replace(start, **pick_sparse(sparse_means, largest=largest_k(width))),
        dense=pick_dense(dense_means, width),
    )
    return Choice(chosen, grid, dense_scores, rows)


def dense_grid(bench: Workbench, rows: Sequence[int]) -> np.ndarray:
    """nDCG@10 of the queries ``rows`` for every dense setting, float64 ``[level, power, len(rows)]``."""
    side = dense_side(bench)
    return np.array([[bench.judge(side.scores(setting), rows) for setting in level] for level in dense.settings()])


def dense_side(bench: Workbench) -> DenseSide:
    """The embeddings of a bench; of its queries only the tuning half is looked at."""
    return DenseSide(bench.embedded.documents, bench.embedded.queries, bench.halves()[0])


def pick_sparse(means: np.ndarray, ks: Sequence[int] = KS, largest: int | None = None) -> dict[str, int]:
    """The chosen ``{"k": …, "m": …}`` from a grid of means ``[K, M]``; with ``largest`` among smaller K only.

    Raises:
        ValueError: no K of the grid is small enough.
    """
    n = len(ks) if largest is None else sum(k <= largest for k in ks)
    if not n:
        raise ValueError(f"every K of the grid is above {largest}; the smallest is {min(ks)}")
    row, column = retrieval.cheapest(means[:n], retrieval.postings_prices(ks[:n]))
    return {"k": ks[row], "m": MS[column]}


def pick_dense(means: np.ndarray, width: int) -> DenseSetting:
    """The chosen setting from a grid of means ``[level, power]`` for embeddings of ``width`` dimensions."""
    options = dense.settings()
    row, column = retrieval.cheapest(means, np.array([[s.fitted(width) for s in level] for level in options]))
    return options[row][column]


def largest_k(width: int) -> int:
    """The K whose list takes as many bytes as a dense vector of ``width`` dimensions; at least the smallest K."""
    return max(min(KS), costs.DENSE_BYTES * width // costs.POSTING_BYTES)


# --- Systems --------------------------------------------------------------------------------------


def systems(bench: Workbench, chosen: Chosen) -> dict[str, np.ndarray]:
    """Scores ``[n_queries, n_docs]`` of all systems by name; hybrids add scores scaled to 0 … 1."""
    tuned, tokens, lexical = dense_side(bench).scores(chosen.dense), bench.aligned(chosen.sparse), bench.lexical()
    return {
        "dense, raw": bench.dense(),
        "dense, tuned": tuned,
        "aligned tokens": tokens,
        "aligned tokens, equal bytes": bench.aligned(chosen.equal_bytes),
        "aligned tokens, M = 0": bench.aligned(replace(chosen.sparse, m=0)),
        "BM25": lexical,
        "BM25 + aligned tokens": evaluation.fuse_scores(lexical, tokens),
        "BM25 + dense": evaluation.fuse_scores(lexical, tuned),
    }


def parts(bench: Workbench, setting: Setting) -> dict[str, np.ndarray]:
    """Scores of aligned tokens taken apart: what of the query meets what of the document.

    A query gives its own words in several spellings, its aligned tokens, or both. A document's list is cut to the
    tokens of its text (in any case, with or without a space before), or to the others, and scaled to length 1 again.
    Everything else, the weights above all, is as in the whole method. ``PromptReps`` is the published weighting
    instead: own tokens on both sides, neither scaled nor weighted by idf (Zhuang et al. 2024, arXiv 2404.18424).
    """
    documents = bench.documents(setting)
    surface = alignment.surface_tokens(bench.tokenizer, bench.document_texts)
    inside, outside = split_lists(documents, surface, bench.classes)
    both = bench.queries(setting, documents)
    own = bench.queries(replace(setting, m=0), documents)
    aligned = bench.queries(setting, documents, own=False) if setting.m else None
    lists = {"words of the text": inside, "tokens beyond the text": outside, "the whole list": documents}
    result = {}
    for label, queries in (("own words", own), ("aligned tokens", aligned), ("both", both)):
        if queries is not None:
            for name, part in lists.items():
                result[f"{label} → {name}"] = sparse.scores(queries, part)
    result["PromptReps' weighting"] = bench.in_text()
    return result


def meaningless(bench: Workbench, setting: Setting, rows: Sequence[int], rotations: int = 3) -> dict:
    """What a search by tokens that mean nothing reaches: the null of every retention.

    A random rotation Q turns the output layer, ``E Q``: the decoded tokens have nothing to do with the text any more,
    but embeddings that are near each other still share them. Aligned tokens of the query alone are scored, with K as
    in ``setting`` and each M of :data:`NULL_MS`: as it is, and rotated, the mean over Q of nDCG@10.

    Args:
        bench: the collection.
        setting: with the chosen K.
        rows: numbers of the queries.
        rotations: how many Q, orthogonal matrices drawn evenly (QR decomposition of a normal matrix), seeds 0, 1, ….

    Returns:
        ``{"M = 10": {"as it is": [len(rows)], "rotated": [len(rows)]}, …}``, float64 arrays.
    """
    unembedding = np.asarray(bench.unembedding, dtype=np.float32)
    found = {f"M = {m}": {"as it is": [], "rotated": []} for m in NULL_MS}
    for seed in (None, *range(rotations)):
        turned = unembedding if seed is None else unembedding @ _rotation(unembedding.shape[1], seed)
        options = {"groups": bench.groups, "ignore_identical_ids": bench.ignore_identical_ids}
        other = Workbench(
            bench.collection, bench.embedded, turned, bench.tokenizer, largest=(setting.k, max(NULL_MS)), **options
        )
        for m in NULL_MS:
            documents = other.documents(at := replace(setting, m=m))
            scores = sparse.scores(other.queries(at, documents, own=False), documents)
            found[f"M = {m}"]["as it is" if seed is None else "rotated"].append(other.judge(scores, rows))
    return {m: {name: np.mean(runs, axis=0) for name, runs in of.items()} for m, of in found.items()}


def _rotation(d: int, seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


def split_lists(
    documents: csr_array, surface: Sequence[np.ndarray], classes: np.ndarray
) -> tuple[csr_array, csr_array]:
    """Cut every list into the tokens that stand in the text and the others; each row is scaled to length 1 again.

    Args:
        documents: ``[n, V]``.
        surface: per document the token ids of its text.
        classes: ``[V]``, tokens of one class count as the same word.

    Raises:
        ValueError: other numbers of documents, or of columns than classes.
    """
    if documents.shape != (len(surface), len(classes)):
        raise ValueError(f"lists have shape {documents.shape}; there are {len(surface)} texts, {len(classes)} classes")
    inside = np.zeros(documents.nnz, dtype=bool)
    stands = np.zeros(int(classes.max()) + 1, dtype=bool)
    for ids, start, end in zip(surface, documents.indptr[:-1], documents.indptr[1:], strict=True):
        stands[classes[ids]] = True
        inside[start:end] = stands[classes[documents.indices[start:end]]]
        stands[classes[ids]] = False
    cut = []
    for mask in (inside, ~inside):
        part = csr_array((documents.data * mask, documents.indices.copy(), documents.indptr.copy()), documents.shape)
        part.eliminate_zeros()
        cut.append(sparse.unit_rows(part))
    return cut[0], cut[1]


# --- Comparing ------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """``a`` minus ``b``: the mean difference with its interval, p, and p corrected for all comparisons."""

    label: str
    a: str
    b: str
    difference: Interval
    p: float
    corrected: float

    @property
    def verdict(self) -> str:
        """In one word or two, at 5 % after the correction."""
        if self.corrected > 0.05:
            return "no clear difference"
        return "better" if self.difference.value > 0 else "worse"


def compare(
    values: Mapping[str, Mapping[str, np.ndarray]],
    groups: Mapping[str, Sequence[Hashable]],
    questions: Sequence[tuple[str, str]] = QUESTIONS,
    swaps: int = 10_000,
) -> list[Comparison]:
    """All comparisons on all collections or embedders, as one family of tests.

    Args:
        values: label -> system -> one number per query.
        groups: label -> what each query belongs to.
        questions: pairs of systems.
        swaps: how many each test draws, where it cannot try all.

    Raises:
        KeyError: a system that is not there.
    """
    found = []
    for label, of in values.items():
        for a, b in questions:
            difference = clusters.bootstrap(np.subtract(of[a], of[b]), groups=groups[label])
            found.append((label, a, b, difference, clusters.paired_permutation(of[a], of[b], groups[label], swaps)))
    corrected = clusters.holm([row[-1] for row in found])
    return [Comparison(*row, float(p)) for row, p in zip(found, corrected, strict=True)]


def retention(part: np.ndarray, whole: np.ndarray, groups: Sequence[Hashable]) -> Interval:
    """``mean(part) / mean(whole)``, the share of the quality that is kept, with an interval over groups."""
    return clusters.bootstrap(part, whole, groups=groups, statistic=lambda a, b: a.mean() / b.mean())
