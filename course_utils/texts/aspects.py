"""Aspects: which side of a text an embedding shows, its topic, its sentiment or its intent.

Pure functions on arrays. ``labels`` is one label per text, ``[n]``; ``embeddings`` float ``[n, d]``; ``ranked`` int
``[n, k]``: aligned tokens, best first (:func:`course_utils.measures.alignment.top_tokens`).

An aspect can be *prominent* without training anything on top (:func:`clusterings`, :func:`v_measure`,
:func:`neighbour_right`), or merely *present*, so that a trained probe finds it (:func:`probe_right`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from course_utils import gates
from course_utils.measures.evaluation import cosine_matrix, unit_rows

# --- Words ----------------------------------------------------------------------------------------


def label_directions(embeddings: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """What the texts of each label have more of than the others: ``mean_{i in l} h_i − mean_{i not in l} h_i``.

    Whatever all texts share cancels, the mean and a common instruction included; so does every other aspect, if the
    labels are crossed and balanced. Averaging over texts leaves little of what is special to one of them.

    Returns:
        label -> float64 ``[d]``, in the order of first appearance.

    Raises:
        ValueError: one label per text expected, and at least two different ones.
    """
    rows, labels = _rows(embeddings), _labels(labels)
    names = list(dict.fromkeys(labels.tolist()))
    if len(rows) != len(labels) or len(names) < 2:
        raise ValueError(f"need one label per row and two different labels; got {rows.shape}, {len(labels)}, {names}")
    return {name: rows[labels == name].mean(axis=0) - rows[labels != name].mean(axis=0) for name in names}


def telling_tokens(
    logits: Sequence[np.ndarray], k: int, classes: np.ndarray | None = None, exclude: Sequence[int] = ()
) -> np.ndarray:
    """The k tokens that several decoded directions favour most, best first, int64 ``[k]``.

    Every direction's logits are brought to mean 0 and standard deviation 1 before they are averaged, so that neither
    a long direction nor an embedder of large logits decides alone.

    Args:
        logits: one array ``E_g d`` per direction, each ``[V]``.
        classes: class number of each token, ``[V]``: a class counts by its best token, and classes are returned.
        exclude: token ids that may not appear.

    Raises:
        ValueError: no logits, arrays of different length, a constant one, or k out of range.
    """
    table = gates.numbers(logits, "logits", "arrays of one length").astype(np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or (table.std(axis=1) == 0).any():
        raise ValueError(f"logits must be arrays of one length, finite and not constant; got shape {table.shape}")
    score = ((table - table.mean(axis=1, keepdims=True)) / table.std(axis=1, keepdims=True)).mean(axis=0)
    score[gates.token_ids(exclude, len(score), "exclude")] = -np.inf
    if classes is not None:
        best = np.full(int(np.max(classes)) + 1, -np.inf)
        np.maximum.at(best, classes, score)
        score = best
    k = gates.whole(k, "k", 1, int(np.isfinite(score).sum()), "tokens that may appear")
    return np.argsort(-score, kind="stable")[:k]


def lexicons(chosen: Mapping[str, Mapping[str, np.ndarray]], n_classes: int) -> dict[str, np.ndarray]:
    """One lexicon per aspect, as a mask over tokens: those of all its labels, without those that two aspects claim.

    Args:
        chosen: aspect -> label -> token (or class) numbers, see :func:`telling_tokens`.

    Returns:
        aspect -> bool ``[n_classes]``.
    """
    masks = {aspect: np.zeros(n_classes, dtype=bool) for aspect in chosen}
    for aspect, by_label in chosen.items():
        for ids in by_label.values():
            masks[aspect][gates.token_ids(ids, n_classes, f"chosen[{aspect!r}]")] = True
    claimed = np.sum(list(masks.values()), axis=0)
    return {aspect: mask & (claimed == 1) for aspect, mask in masks.items()}


def lexicon_share(ranked: np.ndarray, lexicon: np.ndarray) -> np.ndarray:
    """Share of each text's aligned tokens that the lexicon holds, float64 ``[n]``: ``|T̂_i^k ∩ L| / k``.

    Args:
        lexicon: bool ``[V]``.

    Raises:
        ValueError: ``ranked`` is no table of token numbers, or ``lexicon`` no mask.
    """
    ranked, lexicon = gates.numbers(ranked, "ranked", "[n, k]"), np.asarray(lexicon)
    if ranked.ndim != 2 or not ranked.size or lexicon.ndim != 1 or lexicon.dtype != bool:
        raise ValueError(
            f"ranked must be [n, k] and lexicon a bool mask [V]; got {ranked.shape}, {lexicon.shape} {lexicon.dtype}"
        )
    gates.token_ids(ranked, len(lexicon), "ranked")
    return lexicon[ranked].mean(axis=1)


# --- What an instruction moves --------------------------------------------------------------------


def common_share(before: np.ndarray, after: np.ndarray) -> float:
    """Which part of a movement is the same for all texts: ``|mean_i δ_i|² / mean_i |δ_i|²`` with ``δ_i = h'_i − h_i``.

    1 if every text moves by the same vector, 0 if the movements cancel. It is the share of variance that
    one vector explains (the rest is the variance of ``δ`` around its mean).

    Raises:
        ValueError: different shapes, or nothing moves.
    """
    before, after = _rows(before, "before"), _rows(after, "after")
    if before.shape != after.shape:
        raise ValueError(f"before and after must both be [n, d]; got {before.shape} and {after.shape}")
    moved = after - before
    total = (moved**2).sum(axis=1).mean()
    if not total:
        raise ValueError("before and after are the same: nothing moves")
    return float((moved.mean(axis=0) ** 2).sum() / total)


def turned_up(embeddings: np.ndarray, directions: np.ndarray, mean: np.ndarray, strength: float = 4.0) -> np.ndarray:
    """Make what lies within some directions ``1 + strength`` times as large: ``h + s P (h − m)``, float32 ``[n, d]``.

    ``P`` projects on the space that the directions span, ``m`` is the mean of a corpus, so that texts move away from
    what is common to all. With the label directions of an aspect it does by hand what an instruction should do.

    Args:
        directions: ``[r, d]``, of any length and possibly dependent (the directions of all labels of an aspect are).

    Raises:
        ValueError: shapes that do not fit, or directions that are all zero.
    """
    rows, directions, mean = _rows(embeddings), _rows(directions, "directions"), gates.vector(mean, "mean")
    if not directions.shape[1:] == rows.shape[1:] == mean.shape or not directions.any():
        raise ValueError(f"need rows [n, d] and directions [r, d], not all zero; got {rows.shape}, {directions.shape}")
    _, sizes, basis = np.linalg.svd(directions, full_matrices=False)
    basis = basis[sizes > 1e-6 * sizes[0]]
    return (rows + strength * ((rows - mean) @ basis.T) @ basis).astype(np.float32)


# --- Prominent ------------------------------------------------------------------------------------


def clusterings(embeddings: np.ndarray, k: int, n_seeds: int = 10) -> np.ndarray:
    """k-means partitions of the unit-length embeddings from ``n_seeds`` random starts, int ``[n_seeds, n]``.

    Adding the same vector to all rows would not change k-means; scaling to unit length afterwards may.

    Raises:
        ValueError: fewer texts than clusters, NaN, or a row of zeros.
    """
    from sklearn.cluster import KMeans

    rows = unit_rows(embeddings)
    if not 2 <= k <= len(rows):
        raise ValueError(f"need 2 <= k <= {len(rows)} texts; got k={k}")
    return np.stack([KMeans(k, n_init=1, random_state=seed).fit_predict(rows) for seed in range(n_seeds)])


def v_measure(labels: Sequence[str], clusters: np.ndarray) -> float:
    """V-measure of one partition ``[n]``, or mean over several ``[s, n]``.

    The harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg 2007, "V-Measure", EMNLP-CoNLL), which
    equals ``2 I(C; L) / (H(C) + H(L))``. The same number as scikit-learn's ``v_measure_score``, fast enough to be
    resampled. It is not adjusted for chance: with few texts a random partition scores a little above 0.

    Raises:
        ValueError: lengths that differ, or no texts.
    """
    partitions, labels = np.atleast_2d(gates.numbers(clusters, "clusters", "[n]")), _labels(labels)
    if partitions.shape[1] != len(labels) or not len(labels):
        raise ValueError(f"one cluster per label expected; got {partitions.shape[1]} and {len(labels)}")
    numbers, own = np.unique(labels, return_inverse=True)
    return float(np.mean([_v_measure(own, len(numbers), part) for part in partitions]))


def _v_measure(own: np.ndarray, n_labels: int, part: np.ndarray) -> float:
    table = np.bincount(own * (int(part.max()) + 1) + part, minlength=n_labels * (int(part.max()) + 1))
    joint = table.reshape(n_labels, -1) / len(own)
    of_labels, of_clusters, of_both = (_entropy(p) for p in (joint.sum(axis=1), joint.sum(axis=0), joint.ravel()))
    total = of_labels + of_clusters
    return 2 * (total - of_both) / total if total > 0 else 1.0  # one label and one cluster agree perfectly


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def neighbour_right(embeddings: np.ndarray, labels: Sequence[str], k: int = 5) -> np.ndarray:
    """Whether the k most similar other texts (cosine) vote for a text's own label, float64 0/1 ``[n]``.

    Votes are weighted by the cosine, so that ties are rare. The mean is a leave-one-out accuracy.

    Raises:
        ValueError: fewer than k other texts, NaN, or a row of zeros.
    """
    names, own = np.unique(_labels(labels), return_inverse=True)
    if len(own) != len(embeddings):
        raise ValueError(f"need one label per row; got {len(embeddings)} rows, {len(own)} labels")
    k = gates.whole(k, "k", 1, len(own) - 1, "other texts")
    similar = cosine_matrix(embeddings, embeddings)
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    votes = np.zeros((len(own), len(names)))
    for column in nearest.T:
        rows = np.arange(len(own))
        votes[rows, own[column]] += 2 + similar[rows, column]  # 2 keeps a vote positive, whatever the cosine
    return (votes.argmax(axis=1) == own).astype(np.float64)


# --- Present --------------------------------------------------------------------------------------


def probe_right(embeddings: np.ndarray, labels: Sequence[str], folds: int = 5, penalty: float = 0.1) -> np.ndarray:
    """Whether a ridge classifier trained on the other folds finds a text's label, float64 0/1 ``[n]``.

    The texts are centred and scaled to a mean squared length of 1 with the numbers of the training folds, so that
    embedders of different length get the same penalty.

    Raises:
        ValueError: fewer texts of a label than folds.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold

    rows, labels = _rows(embeddings), _labels(labels)
    fewest = np.unique(labels, return_counts=True)[1].min(initial=len(rows))
    if len(rows) != len(labels):
        raise ValueError(f"need one label per row; got {len(rows)} rows, {len(labels)} labels")
    if not 2 <= folds <= fewest:
        raise ValueError(f"folds must lie between 2 and {fewest}, the texts of the rarest label; got {folds}")
    right = np.zeros(len(labels))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(rows, labels):
        mean = rows[train].mean(axis=0)
        size = np.sqrt(((rows[train] - mean) ** 2).sum(axis=1).mean())
        probe = RidgeClassifier(alpha=penalty).fit((rows[train] - mean) / size, labels[train])
        right[test] = probe.predict((rows[test] - mean) / size) == labels[test]
    return right


def _rows(embeddings: np.ndarray, name: str = "embeddings") -> np.ndarray:
    return gates.matrix(embeddings, name, dtype=np.float64, whole=True)


def _labels(labels: Sequence[str]) -> np.ndarray:
    return np.asarray(gates.listed(labels, "labels"))
