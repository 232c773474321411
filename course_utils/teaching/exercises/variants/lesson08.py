"""Variants of lesson 08: texts that are left out, a translation among several."""

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _found(rng) -> tuple[np.ndarray]:
    found = rng.random((16, 16)) < 0.3
    found[range(16), range(16)] = rng.random(16) < 0.7
    return (found,)


def _above(x: int, found: np.ndarray) -> np.ndarray:
    kept = range(x, len(found))
    own = [bool(found[i, i]) for i in kept]
    others = [bool(found[i, j]) for i in kept for j in kept if i != j]
    return np.array([sum(own) / len(own), sum(others) / len(others)])


def _sides(rng) -> tuple[np.ndarray, np.ndarray]:
    """Queries and candidates [40, 4] that are a little alike, of very different lengths."""
    queries, candidates = rng.normal(size=(2, 40, 4))
    return queries, (candidates + 0.4 * queries) * rng.uniform(0.2, 5, size=(40, 1))


def _among(x: int, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    said = []
    for i, query in enumerate(queries):
        cosines = [float(query @ c) / float(np.sqrt(c @ c)) for c in candidates]
        said.append(sum(cosine > cosines[i] for cosine in cosines) < x)
    return np.array(said)


VARIES = (
    numbers(
        "08.1",
        range(1, 11),
        published=0,
        task="The first {x} texts are left out, on both sides: neither their tokens nor their key words count.",
        inputs=_found,
        expected=_above,
        solution="def variant(found):\n    found = found[{x}:, {x}:]\n    n = len(found)\n"
        "    own = sum(found[i, i] for i in range(n))\n    return own / n, (found.sum() - own) / (n * (n - 1))",
    ),
    numbers(
        "08.3",
        range(2, 14),
        published=1,
        task="Return whether candidate i is among the {x} nearest candidates of query i.",
        inputs=_sides,
        expected=_among,
        solution="def variant(queries, candidates):\n    import numpy as np\n\n"
        "    cosines = queries @ (candidates / np.linalg.norm(candidates, axis=1, keepdims=True)).T\n"
        "    nearest = np.argsort(-cosines, axis=1)[:, :{x}]\n"
        "    return (nearest == np.arange(len(queries))[:, None]).any(axis=1)",
    ),
)
