"""Evaluation: correlations, retrieval measures and how sure we can be of them.

Pure functions on arrays. Every function refuses values that are not finite, because
a NaN that slips through an average makes a table that looks fine.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from course_utils import gates

#: What a lesson reports for retrieval: quality of the first ten, coverage of the first hundred, place of the first hit.
MEASURES = ("nDCG@10", "R@100", "RR")
#: The names of trec_eval's measures. It ends the interpreter at a cutoff of 0, and other measures want other programs.
_MEASURE = re.compile(
    r"(nDCG|(AP|RR|P|R|Success)(\(rel=[1-9]\d{0,2}\))?)@[1-9]\d{0,5}|(AP|RR|Rprec)(\(rel=[1-9]\d{0,2}\))?|nDCG|Bpref"
)
#: Numbers drawn at a time by the bootstrap; bounds its memory to tens of megabytes.
_CHUNK = 2_000_000

#: Smallest and largest relevance of a document. TREC marks what was not judged with −1 and spam with −2; trec_eval
#: lays out a table as long as the largest number, for every query, so that 2³¹ would fill the memory.
RELEVANCES = (-2, 1000)

Run = dict[str, dict[str, float]]


# --- Similarity and correlation -------------------------------------------------------------------


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation of ``a [n]`` and ``b [n]``; ties share their mean rank.

    Raises:
        ValueError: other shapes, fewer than two values, NaN or infinity, or a constant side.
    """
    a, b = gates.vector(a, "a"), gates.vector(b, "b")
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} values, b has {len(b)}; they must be pairs")
    for name, side in (("a", a), ("b", b)):
        if len(side) < 2 or np.all(side == side[0]):
            raise ValueError(f"{name} has {len(side)} values, all equal: no rank correlation exists")
    return float(stats.spearmanr(a, b).statistic)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of row i of ``a [n, d]`` with row i of ``b [n, d]``: ``a_i · b_i / (|a_i| |b_i|)``, float64 ``[n]``.

    Raises:
        ValueError: other shapes, NaN or infinity, or a row of zeros (with its number).
    """
    a, b = unit_rows(a, "a"), unit_rows(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape}, b has {b.shape}; they must be equal (or use cosine_matrix)")
    return np.einsum("nd,nd->n", a, b)


def cosine_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of every row of ``a [n, d]`` with every row of ``b [m, d]``, float64 ``[n, m]``.

    Errors as :func:`cosine`.
    """
    a, b = unit_rows(a, "a"), unit_rows(b, "b")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"rows of a have {a.shape[1]} values, rows of b have {b.shape[1]}; they must be equal")
    return a @ b.T


# --- Uncertainty ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval; prints as ``0.748 [0.713, 0.782]``, or in a format of your choice."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


def bootstrap(
    values: Sequence[float],
    statistic: Callable[..., np.ndarray] = np.mean,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of ``values [n]``.

    Draw n of the n values with replacement, compute the statistic, repeat; the interval
    holds the middle ``confidence`` of the results (Efron and Tibshirani, 1993, "An
    Introduction to the Bootstrap", chapter 13).

    Args:
        statistic: called as ``statistic(x, axis=1)`` on many resamples at once, e.g. ``np.median``.

    Raises:
        ValueError: no values, NaN or infinity in them or in the results, or a nonsensical setting.
    """
    values = gates.vector(values, "values")
    _check_resampling(len(values), n_resamples, confidence)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    results = [
        statistic(values[rng.integers(len(values), size=(min(rows, n_resamples - done), len(values)))], axis=1)
        for done in range(0, n_resamples, rows)
    ]
    return _percentiles(float(statistic(values[None, :], axis=1)[0]), np.concatenate(results), confidence)


def bootstrap_indices(
    n: int,
    statistic: Callable[[np.ndarray], float],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap for a statistic of a whole set of rows, such as GAR.

    Args:
        n: number of rows.
        statistic: called with row numbers ``[n]``, in which some repeat and others lack.

    With the same seed the resamples are those of :func:`bootstrap`. Errors as there.
    """
    _check_resampling(n, n_resamples, confidence)
    rng = np.random.default_rng(seed)
    results = np.array([statistic(rng.integers(n, size=n)) for _ in range(n_resamples)], dtype=np.float64)
    return _percentiles(float(statistic(np.arange(n))), results, confidence)


def bootstrap_rows(
    *arrays: Sequence,
    statistic: Callable[..., float],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap that draws the same rows of several arrays, e.g. ``statistic=spearman`` on pairs.

    Args:
        arrays: each with n rows.
        statistic: called with the resampled arrays, in the same order.

    Raises:
        ValueError: no arrays or different numbers of rows; otherwise as :func:`bootstrap`.
    """
    arrays = tuple(np.asarray(a) for a in arrays)
    lengths = [len(a) for a in arrays]
    if len(set(lengths)) != 1:
        raise ValueError(f"the arrays must have the same number of rows; got {lengths}")
    return bootstrap_indices(
        lengths[0], lambda rows: statistic(*(a[rows] for a in arrays)), n_resamples, confidence, seed
    )


def paired_permutation(a: Sequence[float], b: Sequence[float], n_resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value for the hypothesis that ``a [n]`` and ``b [n]`` have the same mean, pair by pair.

    If it does not matter which of the two a value came from, swapping within pairs changes
    nothing: p is the share of random swaps with a mean difference at least as large as the
    observed one (Fisher, 1935, "The Design of Experiments", section 21). With few pairs all
    swaps are tried and p is exact; otherwise it is never below ``1 / (n_resamples + 1)``.

    Raises:
        ValueError: different lengths, fewer than two pairs, NaN or infinity.
    """
    a, b = gates.vector(a, "a"), gates.vector(b, "b")
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"a and b must be at least two pairs of values; got {len(a)} and {len(b)}")
    n_resamples = gates.whole(n_resamples, "n_resamples")
    result = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=n_resamples,
        batch=max(1, _CHUNK // len(a)),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


# --- Retrieval ------------------------------------------------------------------------------------


def rank(
    scores: np.ndarray,
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    k: int = 1000,
    *,
    ignore_identical_ids: bool = False,
) -> Run:
    """Turn scores ``[n_queries, n_docs]`` into a run: for each query its ``k`` best documents, best first.

    Equal scores are put in the order of the document ids, so that the result does not
    depend on the order of the documents.

    Args:
        ignore_identical_ids: leave out a document whose id is the query's. In collections such as ArguAna every
            query stands among the documents too, and would be found first (the option has its name from BEIR).

    Raises:
        ValueError: shape and ids do not fit, an id occurs twice, a NaN, or ``k < 1``.
        TypeError: ids that are no list of strings.
    """
    query_ids, doc_ids = gates.identifiers(query_ids, name="query_ids"), gates.identifiers(doc_ids, name="doc_ids")
    scores = gates.numbers(scores, "scores", "[n_queries, n_docs]").astype(np.float64)
    if scores.shape != (len(query_ids), len(doc_ids)):
        raise ValueError(
            f"scores have shape {scores.shape}; there are {len(query_ids)} queries, {len(doc_ids)} documents"
        )
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise ValueError(f"the score of query {query_ids[row]!r} and document {doc_ids[column]!r} is NaN")
    k = gates.whole(k, "k")
    by_id = np.array(sorted(range(len(doc_ids)), key=lambda i: doc_ids[i]), dtype=np.int64)
    run = {}
    for query, row in zip(query_ids, scores, strict=True):
        best = by_id[np.argsort(-row[by_id], kind="stable")[: k + ignore_identical_ids]]
        kept = [i for i in best if not ignore_identical_ids or doc_ids[i] != query][:k]
        run[query] = {doc_ids[i]: float(row[i]) for i in kept}
    return run


def retrieval_scores(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = MEASURES,
) -> dict[str, dict[str, float]]:
    """Score a run query by query, as trec_eval does: ``measure -> query id -> score``.

    The measures have the names of the package ir-measures (MacAvaney, Macdonald and Ounis,
    2022, "Streamlining Evaluation with ir-measures"): ``nDCG@10`` with linear gain
    ``sum_i rel_i / log2(i + 1)`` over that of the ideal order (Järvelin and Kekäläinen,
    2002), ``R@100`` the share of relevant documents among the first hundred, ``RR`` one
    over the rank of the first relevant document, ``AP``, ``P@5`` …

    Equal scores count in the order of the document ids, as in :func:`rank`. A judged query
    that is missing in the run scores 0. Queries without a relevant document cannot be
    scored: they are left out with a warning that counts them.

    Raises:
        ValueError: an unknown measure, a NaN score, a query of the run without judgements, an id or a relevance
            that :mod:`course_utils.gates` refuses, or no query left to score.
        TypeError: no dictionaries, ids that are no strings, or scores that are no numbers.
    """
    import ir_measures

    parsed = {name: _measure(name) for name in gates.texts(measures, "measures")}
    if not parsed:
        raise ValueError("measures is empty; name at least one, for instance nDCG@10")
    _check_table(run, "run", "score")
    _check_table(qrels, "qrels", "relevance")
    unjudged = [query for query in run if query not in qrels]
    if unjudged:
        raise ValueError(f"{len(unjudged)} queries of the run have no judgements, for instance {unjudged[0]!r}")
    graded = {q: {d: relevance(r, f"qrels[{q!r}][{d!r}]") for d, r in own.items()} for q, own in qrels.items()}
    judged = {q: own for q, own in graded.items() if any(r > 0 for r in own.values())}
    if not judged:
        raise ValueError(f"none of the {len(qrels)} queries has a relevant document")
    if len(judged) < len(qrels):
        message = f"{len(qrels) - len(judged)} of {len(qrels)} queries have no relevant document and were left out"
        warnings.warn(message, stacklevel=2)
    ordered = {query: _without_ties(run[query], query) for query in judged if run.get(query)}
    result = {name: dict.fromkeys(judged, 0.0) for name in parsed}
    names = {measure: name for name, measure in parsed.items()}
    for metric in ir_measures.iter_calc(list(names), judged, ordered) if ordered else ():
        result[names[metric.measure]][metric.query_id] = float(metric.value)
    return result


def relevance(value: object, place: str) -> int:
    """How relevant a document is: a whole number within :data:`RELEVANCES`, of Python's or numpy's kinds.

    Raises:
        ValueError: no whole number, or one out of range.
    """
    whole = isinstance(value, int | np.integer | np.bool_)
    if not whole and not (isinstance(value, float | np.floating) and float(value).is_integer()):
        raise ValueError(f"{place}: the score must be a whole number; got {value!r}")
    low, high = RELEVANCES
    if not low <= value <= high:
        raise ValueError(f"{place}: the score must lie between {low} and {high}; got {value!r}: use a scale of grades")
    return int(value)


def _measure(name: str):
    import ir_measures

    if not _MEASURE.fullmatch(name):
        raise ValueError(f"unknown measure {name!r}; use nDCG@10, R@100, P@5, Success@1, RR, AP, Rprec or Bpref, "
                         "with any cutoff from 1 on, and for graded judgements P(rel=2)@5")  # fmt: skip
    return ir_measures.parse_measure(name)


def _check_table(table: Mapping[str, Mapping], name: str, what: str) -> None:
    """Whether a table maps query ids to document ids to something; trec_eval dies of ids that are no strings."""
    if not isinstance(table, Mapping) or not all(isinstance(own, Mapping) for own in table.values()):
        raise TypeError(f"{name} must be a dictionary of dictionaries, query id -> document id -> {what}")
    gates.identifiers(list(table), name=f"query ids of {name}")
    documents = dict.fromkeys(document for own in table.values() for document in own)
    gates.identifiers(list(documents), name=f"document ids of {name}")


def _without_ties(scores: Mapping[str, float], query: str) -> dict[str, float]:
    """The same order with distinct scores: trec_eval rounds scores to single precision and breaks ties its own way."""
    for document, score in scores.items():
        if not isinstance(score, float | int | np.number):
            raise TypeError(f"run[{query!r}][{document!r}] must be a number; got {score!r}: leave it out")
        if np.isnan(score):
            raise ValueError(f"the score of query {query!r} and document {document!r} is NaN")
    order = sorted(scores, key=lambda document: (-scores[document], document))
    return {document: float(len(order) - place) for place, document in enumerate(order)}


# --- Checks ---------------------------------------------------------------------------------------


def unit_rows(a: np.ndarray, name: str = "embeddings") -> np.ndarray:
    """Every row of ``a [n, d]`` scaled to length 1, float64.

    Raises:
        ValueError: other shapes, NaN or infinity, or a row of zeros (with its number).
    """
    a = gates.matrix(a, name, dtype=np.float64, whole=True)
    norms = np.linalg.norm(a, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(f"row {int(np.argmin(norms[:, 0]))} of {name} is all zeros: it has no direction")
    return a / norms


def _check_resampling(n: int, n_resamples: int, confidence: float) -> None:
    if n < 1:
        raise ValueError("there is nothing to resample: no values")
    gates.whole(n_resamples, "n_resamples")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence}")


def _percentiles(value: float, results: np.ndarray, confidence: float) -> Interval:
    bad = int(np.sum(~np.isfinite(results))) + (not np.isfinite(value))
    if bad:
        raise ValueError(f"the statistic is NaN or infinite for {bad} of {len(results)} resamples: too few rows?")
    low, high = np.quantile(results, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


# --- Fusion ---------------------------------------------------------------------------------------


def fuse_ranks(*systems: np.ndarray, k: int = 60) -> np.ndarray:
    """Reciprocal rank fusion of several systems' scores, each ``[n_queries, n_docs]``: ``Σ 1 / (k + rank)``.

    Only the order within a query counts, so the systems need no common scale (Cormack, Clarke and Büttcher 2009,
    "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods"; k = 60 is theirs). Documents
    with equal scores share the last of their places: a system that finds nothing has no say about the documents it
    does not find, and the order of the documents does not matter.

    Raises:
        ValueError: no systems, different shapes, NaN, or a negative k.
    """
    matrices = _score_matrices(systems)
    if k < 0:
        raise ValueError(f"k must not be negative; got {k}")
    return sum(1 / (k + stats.rankdata(-scores, method="max", axis=1)) for scores in matrices)


def fuse_scores(*systems: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """Weighted sum of several systems' scores, each ``[n_queries, n_docs]``, brought to 0 … 1 within every query.

    ``Σ_i w_i (s_i − min s_i) / (max s_i − min s_i)``; a query for which a system gives all documents the same score
    gets nothing from it. Equal weights by default. (Lee 1997, "Analyses of Multiple Evidence Combination".)

    Raises:
        ValueError: no systems, different shapes, NaN or infinity, or another number of weights.
    """
    matrices = _score_matrices(systems)
    weights = np.full(len(matrices), 1 / len(matrices)) if weights is None else gates.vector(weights, "weights")
    if len(weights) != len(matrices):
        raise ValueError(f"{len(weights)} weights for {len(matrices)} systems: give one for each")
    total = np.zeros(matrices[0].shape)
    for weight, scores in zip(weights, matrices, strict=True):
        low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
        total += weight * np.divide(scores - low, high - low, out=np.zeros_like(scores), where=high > low)
    return total


def _score_matrices(systems: Sequence[np.ndarray]) -> list[np.ndarray]:
    matrices = [gates.numbers(s, f"system {i}", "[n_queries, n_docs]").astype(float) for i, s in enumerate(systems)]
    shapes = [m.shape for m in matrices]
    if not matrices or len(set(shapes)) > 1 or matrices[0].ndim != 2 or not matrices[0].shape[1]:
        raise ValueError(f"give the scores of one or more systems, all [n_queries, n_docs]; got shapes {shapes}")
    for number, scores in enumerate(matrices):
        if not np.isfinite(scores).all():
            row, column = np.argwhere(~np.isfinite(scores))[0]
            raise ValueError(
                f"system {number}: the score of query {row} and document {column} is {scores[row, column]}"
            )
    return matrices
