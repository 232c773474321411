"""Yardsticks: what others reach on the very texts that an embedder is scored on.

Beside every score stand two methods without a model (tf-idf and BM25), the untrained origin after centring, and the
small encoder that may be the teacher. How far the embedder is ahead of tf-idf comes with its standard error: a margin
below two of them may be luck.
"""

from collections.abc import Callable, Sequence

import numpy as np

from course_utils.measures import evaluation, lexical
from course_utils.texts.datasets import Pairs, Retrieval

#: The names of the yardsticks, in the order in which cards show them.
NAMES = ("tf-idf", "BM25", "origin, centred", "all-MiniLM-L6-v2")
#: Encodes a list of texts: ``[n, d]``.
Encode = Callable[[Sequence[str]], np.ndarray]
#: Resamples behind a standard error.
N_RESAMPLES = 1000


def of_pairs(own: np.ndarray, pairs: Pairs, origin: Encode, encoder: Encode) -> dict[str, float]:
    """Spearman correlation of every yardstick with the judgements, and the embedder's margin over tf-idf.

    BM25 asks with either side for the other, and adds the two scores.

    Args:
        own: the embedder's similarity of every pair, ``[n]``.
        pairs: the judged pairs.
        origin, encoder: encode texts with the untrained model, and with all-MiniLM-L6-v2.

    Returns:
        ``{yardstick: score}``, and the ``"margin"`` over tf-idf with its ``"standard error"`` over resampled pairs.
    """
    there, back = (np.diagonal(lexical.BM25(b).scores(a)) for a, b in _both_ways(pairs))
    untrained = [origin(side) for side in (pairs.left, pairs.right)]
    mean = np.concatenate(untrained).mean(axis=0)
    similarity = [
        tfidf_of_pairs(pairs),
        there + back,
        evaluation.cosine(*(side - mean for side in untrained)),
        evaluation.cosine(encoder(pairs.left), encoder(pairs.right)),
    ]
    tfidf, gold = similarity[0], pairs.score

    def margin(rows: np.ndarray) -> float:
        return evaluation.spearman(own[rows], gold[rows]) - evaluation.spearman(tfidf[rows], gold[rows])

    result = {name: evaluation.spearman(s, gold) for name, s in zip(NAMES, similarity, strict=True)}
    return {**result, **_margin(margin, len(pairs))}


def tfidf_of_pairs(pairs: Pairs) -> np.ndarray:
    """Cosine of every pair's tf-idf vectors, ``[n]``; what is rare is counted in all texts of the pairs."""
    left, right = lexical.tfidf([*pairs.left, *pairs.right], pairs.left, pairs.right)
    return np.asarray(left.multiply(right).sum(axis=1)).ravel()


def of_retrieval(
    own: np.ndarray, collection: Retrieval, origin: tuple[np.ndarray, np.ndarray], encoder: Encode
) -> dict[str, float]:
    """Mean nDCG@10 of every yardstick, and the embedder's margin over tf-idf.

    Args:
        own: the embedder's nDCG@10 of every query, as :func:`by_query` returns it.
        collection: the collection.
        origin: the untrained model's embeddings of documents and queries; they are centred on the documents' mean.
        encoder: encodes texts with all-MiniLM-L6-v2.

    Returns:
        as :func:`of_pairs`; the standard error is over resampled queries.
    """
    documents, queries = list(collection.corpus.values()), list(collection.queries.values())
    asked, held = lexical.tfidf(documents, queries, documents)
    mean = origin[0].mean(axis=0)
    scores = [
        (asked @ held.T).toarray(),
        lexical.BM25(documents).scores(queries),
        evaluation.cosine_matrix(origin[1] - mean, origin[0] - mean),
        evaluation.cosine_matrix(encoder(queries), encoder(documents)),
    ]
    found = [by_query(s, collection) for s in scores]
    ahead = own - found[0]
    result = {name: float(values.mean()) for name, values in zip(NAMES, found, strict=True)}
    return {**result, **_margin(lambda rows: float(ahead[rows].mean()), len(ahead))}


def by_query(scores: np.ndarray, collection: Retrieval) -> np.ndarray:
    """nDCG@10 of every judged query, for scores ``[n_queries, n_documents]`` in the collection's order."""
    run = evaluation.rank(scores, list(collection.queries), list(collection.corpus))
    return np.array(list(evaluation.retrieval_scores(run, collection.qrels, ("nDCG@10",))["nDCG@10"].values()))


def _both_ways(pairs: Pairs) -> list[tuple[list[str], list[str]]]:
    return [(pairs.left, pairs.right), (pairs.right, pairs.left)]


def _margin(statistic: Callable[[np.ndarray], float], n: int) -> dict[str, float]:
    """A paired difference over rows, and its standard error by the bootstrap (Efron and Tibshirani 1993, chapter 6)."""
    rng = np.random.default_rng(0)
    resampled = [statistic(rng.integers(n, size=n)) for _ in range(N_RESAMPLES)]
    return {"margin": statistic(np.arange(n)), "standard error": float(np.std(resampled, ddof=1))}


def in_words(measure: str, values: dict[str, float]) -> str:
    """Whether an embedder is ahead of tf-idf, as a line of Markdown for its card."""
    margin, error = values["margin"], values["standard error"]
    if abs(margin) < 2 * error:
        verdict = "**not clearly different from tf-idf**: the difference is below two standard errors"
    else:
        verdict = "above tf-idf" if margin > 0 else "**below tf-idf**"
    return f"- {measure}: {verdict} ({margin:+.3f}, standard error {error:.3f})."


def table(scores: dict, yardsticks: dict[str, dict[str, float]]) -> list[str]:
    """The scores of an adapter beside all yardsticks, as lines of Markdown."""
    lines = [f"| measure | this adapter | {' | '.join(NAMES)} |", "|---" * (2 + len(NAMES)) + "|"]
    for measure, values in yardsticks.items():
        cells = [f"{value:.3f}" for value in (scores[measure], *(values[name] for name in NAMES))]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return lines
