"""How many tokens is a text worth: documents written down with K rows of the unembedding matrix, then searched.

Three ways to choose the K tokens of a document: by orthogonal matching pursuit, by the largest logits (the aligned
tokens of the paper), at random. Each document becomes what its K rows can express of it; the queries stay as they are.

Pursuit chooses out of tens of thousands of rows, and a random token is not chosen at all. So what pursuit gains may be
owed to the choice, not to the rows being those of tokens. :func:`nulls` lets the null choose too.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures import evaluation, pursuit
from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.shipped import arrays
from course_utils.texts.datasets import Retrieval, wikipedia_retrieval

#: The numbers that ship.
FILE = Path(__file__).resolve().parents[2] / "data" / "worth_tokens.json"
#: How many tokens.
KS = (1, 2, 4, 8, 16, 32, 64)
#: The ways to choose them.
WAYS = ("pursuit", "aligned tokens", "random tokens")
#: What they are held against: see :func:`nulls`.
NULLS = ("another text's tokens", "pursuit, turned rows", "pursuit, rows spread alike")


def chosen_tokens(
    embeddings: np.ndarray, unembedding: np.ndarray, k: int, exclude: Sequence[int] = (), seed: int = 0
) -> dict[str, np.ndarray]:
    """The first ``k`` tokens of every text by each of :data:`WAYS`, ``[n, k]``: the first k' of them are those for k'.

    Args:
        embeddings: ``[n, d]``.
        unembedding: ``[V, d]``.
        exclude: ids that must not be chosen.
        seed: of the random tokens.
    """
    rng, allowed = np.random.default_rng(seed), np.setdiff1d(np.arange(len(unembedding)), exclude)
    return {
        "pursuit": pursuit.pursue(embeddings, unembedding, k, exclude),
        "aligned tokens": top_tokens(embeddings, unembedding, k, exclude)[0],
        "random tokens": np.stack([rng.choice(allowed, k, replace=False) for _ in embeddings]),
    }


def nulls(
    embeddings: np.ndarray, unembedding: np.ndarray, k: int, exclude: Sequence[int] = (), seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each of :data:`NULLS` the rows to write with, ``[V, d]``, and which of them every text takes, ``[n, k]``.

    - another text's tokens: those that pursuit takes for the text half a collection away,
    - turned rows: pursuit over ``E_g`` after a random rotation, which keeps the lengths of its rows and all angles
      between them, and loses where they point,
    - rows spread alike: pursuit over as many Gaussian rows with the mean and the covariance of ``E_g``.

    Args and shapes as :func:`chosen_tokens`.
    """
    rng, (size, d) = np.random.default_rng(seed), unembedding.shape
    orthogonal, triangle = np.linalg.qr(rng.normal(size=(d, d)))
    turned = (unembedding @ (orthogonal * np.sign(np.diag(triangle)))).astype(np.float32)
    values, vectors = np.linalg.eigh(np.cov(unembedding, rowvar=False))
    spread = rng.normal(size=(size, d)) @ (vectors * np.sqrt(np.maximum(values, 0))).T + unembedding.mean(axis=0)
    own = pursuit.pursue(embeddings, unembedding, k, exclude)
    others = [(rows, pursuit.pursue(embeddings, rows, k, exclude)) for rows in (turned, spread.astype(np.float32))]
    return dict(zip(NULLS, [(unembedding, np.roll(own, len(own) // 2, axis=0)), *others], strict=True))


def search(
    documents: np.ndarray,
    queries: np.ndarray,
    unembedding: np.ndarray,
    collection: Retrieval,
    exclude: Sequence[int] = (),
    report: Callable[[str], None] = print,
) -> dict:
    """nDCG@10 of every query when each document is written with K tokens or rows, ready for JSON.

    Args:
        documents, queries: their embeddings, ``[n, d]`` and ``[m, d]``, in the collection's order.

    Returns:
        ``"k"``, ``"whole"`` (each query's nDCG@10 with the embeddings as they are), and for each way the ``"nDCG@10"``
        of every K and query and the mean ``"cosine"`` of a document with what was rebuilt of it.
    """
    chosen = chosen_tokens(documents, unembedding, max(KS), exclude)
    written = {way: (unembedding, ids) for way, ids in chosen.items()}
    written |= nulls(documents, unembedding, max(KS), exclude)
    result: dict = {"k": list(KS), "queries": len(collection.queries), "documents": len(collection.corpus),
                    "whole": _by_query(queries, documents, collection)}  # fmt: skip
    for way, (matrix, ids) in written.items():
        rows = {"nDCG@10": [], "cosine": []}
        for k in KS:
            rebuilt = pursuit.rebuilt(documents, matrix, ids[:, :k])
            rows["nDCG@10"].append(_by_query(queries, rebuilt, collection))
            rows["cosine"].append(round(float(evaluation.cosine(documents, rebuilt).mean()), 4))
            report(f"{way}, {k}: cosine {rows['cosine'][-1]:.2f}, nDCG@10 {np.mean(rows['nDCG@10'][-1]):.3f}")
        result[way] = rows
    return result


def write(
    collection: Retrieval, names: Sequence[str] = (), out: Path = FILE, report: Callable[[str], None] = print
) -> Path:
    """Search part of the Wikipedia collection with every embedder that has retrieval arrays, and write what ships.

    Args:
        collection: that part; its ids are those of the whole.
        names: the embedders; by default all that have arrays.
    """
    from course_utils.models.embedder import load

    whole, made = wikipedia_retrieval(), {}
    for name in names or arrays.have("retrieval"):
        embedder, stored = load(name), arrays.load("retrieval", name)
        unembedding = embedder.unembedding.detach().float().numpy()
        documents = stored.documents[rows_of(list(collection.corpus), list(whole.corpus))]
        queries = stored.queries[rows_of(list(collection.queries), list(whole.queries))]
        special = special_ids(embedder.tokenizer, len(unembedding))
        made[name] = search(documents, queries, unembedding, collection, special, report)
    with gates.replacing(out) as file:
        json.dump({"command": "several-tokens study tokens", **made}, file)
        file.write("\n")
    return out


def _by_query(queries: np.ndarray, documents: np.ndarray, collection: Retrieval) -> list[float]:
    run = evaluation.rank(
        evaluation.cosine_matrix(queries, documents), list(collection.queries), list(collection.corpus)
    )
    found = evaluation.retrieval_scores(run, collection.qrels, ("nDCG@10",))["nDCG@10"]
    return [round(found[query], 4) for query in collection.queries]


def rows_of(ids: Sequence[str], whole: Sequence[str]) -> list[int]:
    """Places of some ids in a longer list.

    Raises:
        ValueError: an id that the list does not have.
    """
    place = {key: i for i, key in enumerate(gates.listed(whole, "whole"))}
    if unknown := [key for key in ids if key not in place]:
        raise ValueError(f"no {unknown[0]!r} among the {len(place)} ids")
    return [place[key] for key in ids]


def read(path: Path = FILE) -> dict:
    """The numbers that ship: embedder -> what :func:`search` returns, and the command."""
    return gates.json_value(gates.read_text(path), path.name)


def kept(by_query: Sequence[float], whole: Sequence[float], n_resamples: int = 1000) -> evaluation.Interval:
    """The mean of ``by_query`` as a part of the mean of ``whole``, both ``[queries]``.

    The interval draws queries again, the same for both (seed 0), and holds 95 % of the ratios.

    Raises:
        ValueError: the two do not have a value for the same queries.
    """
    one, other = np.asarray(by_query, float), np.asarray(whole, float)
    if one.shape != other.shape or one.ndim != 1 or not one.size:
        raise ValueError(f"a value for each query on both sides is needed; got shapes {one.shape} and {other.shape}")
    drawn = np.random.default_rng(0).integers(len(one), size=(n_resamples, len(one)))
    low, high = np.quantile(one[drawn].mean(axis=1) / other[drawn].mean(axis=1), [0.025, 0.975])
    return evaluation.Interval(one.mean() / other.mean(), low, high)
