"""Variants of lesson 03: an adapter turned down, the table in another order, the share of another component."""

from itertools import permutations

import numpy as np

from course_utils.teaching.exercises import lesson03, missing, right
from course_utils.teaching.exercises.variants import Varied, numbers

_NAMES = tuple(lesson03.CLAIMS)
#: What the numbers of the published table say; its test reads them off by the rule.
ANSWERS = {"A": "sufficient", "B": "necessary", "C": "both", "D": "neither"}
_HEAD = "| | untrained | + $v_1u_1$ | + control | embedder | − $v_1u_1$ | − control |\n|---|---|---|---|---|---|---|"


def _table(option: tuple[str, ...]) -> str:
    rows = ["| {} | {} |".format(name, " | ".join(f"{x:.2f}"[1:] for x in lesson03.CLAIMS[source]))
            for name, source in zip(_NAMES, option, strict=True)]  # fmt: skip
    return "Your embedders have these numbers:\n\n" + "\n".join([_HEAD, *rows])


def _read(option: tuple[str, ...], answer):
    if lacking := [name for name in _NAMES if answer.get(name) is None]:
        return missing(f"there is no word yet for {', '.join(lacking)}")
    for name, source in zip(_NAMES, option, strict=True):
        if answer[name] != ANSWERS[source]:
            return f"{name} is not {answer[name]!r}: compare each step with half of the gap, then with its control"
    last = _NAMES[option.index("D")]
    return right(f"{last} moves as far, but any push of this length does it: without a control it would pass as both")


def _clouds(rng) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [40, 8] around a direction, before training and after."""
    before = rng.normal(20, 2, size=(40, 1)) * np.eye(8)[3] + rng.normal(size=(40, 8)) * np.arange(1, 9)
    return before, before + rng.normal(size=(40, 8)) + 6 * rng.normal(size=8)


def _share(x: int, before: np.ndarray, after: np.ndarray) -> float:
    """Of component ``x`` by the eigenvectors of ``HᵀH``, both sides at unit length."""
    one, other = (np.array([row / np.sqrt(sum(v * v for v in row)) for row in side]) for side in (before, after))
    _, vectors = np.linalg.eigh(one.T @ one)
    v = [float((other.mean(axis=0) - one.mean(axis=0)) @ column) for column in vectors.T[::-1]]
    return v[x - 1] ** 2 / sum(value**2 for value in v)


VARIES = (
    numbers(
        "03.1",
        tuple(round(0.05 * n, 2) for n in range(1, 20)),
        published=1,
        task="The adapter is turned down: every text goes only {x} of its way from `before` to `after`. Return $v_j$ "
        "of this shorter movement.",
        inputs=lambda rng: (rng.normal(size=(20, 5)), rng.normal(size=(20, 5)), rng.normal(size=(3, 5))),
        expected=lambda x, before, after, directions: np.array(
            [
                sum(x * float((b - a) @ row) for a, b in zip(before, after, strict=True)) / len(before)
                for row in directions
            ]
        ),
        solution="def variant(before, after, directions):\n    return {x} * variation(before, after, directions)",
    ),
    Varied(
        "03.3",
        tuple(order for order in permutations(_NAMES) if order != _NAMES),
        task=_table,
        judge=_read,
        solution=lambda option: f"variant = { {name: ANSWERS[s] for name, s in zip(_NAMES, option, strict=True)} }",
    ),
    numbers(
        "03.6",
        range(2, 9),
        published=1,
        task="Return the share of component number {x} instead of the first: $v_j^2 / |v|^2$ with j = {x}.",
        inputs=_clouds,
        expected=_share,
        solution="def variant(before, after):\n"
        "    before = before / np.linalg.norm(before, axis=1, keepdims=True)\n"
        "    after = after / np.linalg.norm(after, axis=1, keepdims=True)\n"
        "    _, _, directions = np.linalg.svd(before, full_matrices=False)\n"
        "    v = variation(before, after, directions)\n    return v[{x} - 1] ** 2 / (v @ v)",
    ),
)
