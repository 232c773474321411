"""Cross-fitting: what is done to one half of the texts was estimated on the other half.

Pure functions on arrays. Row 0 of everything with two rows belongs to the texts that ``first_half`` marks, row 1 to the
rest. (Estimating on one part and applying to the other, then the other way round, is known from Stone 1974,
"Cross-validatory choice and assessment of statistical predictions".)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils import gates
from course_utils.measures.alignment import tensor
from course_utils.measures.spectrum import components


@dataclass(frozen=True)
class Crossed:
    """A direction for each half of the texts, and how far the *other* half lies out along it.

    Attributes:
        directions: ``[2, d]``, length 1; row 0 is for the first half and was estimated on the second.
        coefficients: mean of ``h · u`` over the half of the estimate, ``[2]``.
    """

    directions: np.ndarray
    coefficients: np.ndarray

    def steps(self, share: float | np.ndarray = 1.0, lengths: Sequence[float] | None = None) -> np.ndarray:
        """What to add to take a direction away, ``[2, d]``: ``− share · length · u``; lengths are the coefficients.

        Raises:
            ValueError: not two lengths, or NaN.
        """
        lengths = self.coefficients if lengths is None else gates.vector(lengths, "lengths")
        if lengths.shape != (2,):
            raise ValueError(f"one length for each half, [2]; got {lengths.shape}")
        return -share * lengths[:, None] * self.directions


def first_components(source: np.ndarray, first_half: np.ndarray) -> Crossed:
    """The first component (uncentred) of each half of ``source [n, d]``, for use on the other half.

    Raises:
        ValueError: ``first_half`` does not mark n texts or leaves a half with fewer than two.
    """
    source = gates.matrix(source, "source", dtype=np.float64, whole=True)
    parts = _parts(first_half, len(source))
    directions = np.stack([components(source[other]).directions[0] for other in reversed(parts)])
    means = np.stack([source[other].mean(axis=0) for other in reversed(parts)])
    return Crossed(directions, (means * directions).sum(axis=1))


def two_by_two(
    own: Crossed, other: Crossed, directions: np.ndarray, share: float = 1.0, names: tuple[str, str] = ("own", "other")
) -> dict[object, np.ndarray]:
    """Steps that separate a direction from a length: both directions with both lengths, and controls; ``[2, d]`` each.

    Args:
        own, other: two cross-fitted components.
        directions: control directions of length 1, ``[r, d]``, drawn at random for instance.
        share: which share of the coefficients is taken away.
        names: what the two are called in the names of the steps.

    Returns:
        ``"before"`` (no step), ``"own direction, own length"`` and so on, and for each control direction
        ``("own", i)`` and ``("other", i)``: a step along it with that length.

    Raises:
        ValueError: directions of another width.
    """
    directions = gates.matrix(directions, "directions", "[r, d]", dtype=np.float64, whole=True)
    if directions.shape[1] != own.directions.shape[1]:
        raise ValueError(f"directions must be [r, {own.directions.shape[1]}]; got {directions.shape}")
    both = dict(zip(names, (own, other), strict=True))
    steps: dict[object, np.ndarray] = {"before": np.zeros_like(own.directions)}
    for a, along in both.items():
        for b, far in both.items():
            steps[f"{a} direction, {b} length"] = along.steps(share, far.coefficients)
    for name, far in both.items():
        for i, u in enumerate(directions):
            steps[name, i] = -share * far.coefficients[:, None] * u
    return steps


def stepped(embeddings: np.ndarray, first_half: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """``h + step`` with the step of each text's half; float32 ``[n, d]`` from ``[n, d]`` and ``[2, d]``.

    Raises:
        ValueError: shapes that do not fit.
    """
    embeddings, steps = gates.matrix(embeddings), _steps(steps, "steps", np.shape(embeddings)[-1])
    result = embeddings.astype(np.float64)
    for part, step in zip(_parts(first_half, len(embeddings)), steps, strict=True):
        result[part] += step
    return result.astype(np.float32)


def top_tokens(
    embeddings: np.ndarray,
    unembedding: np.ndarray,
    first_half: np.ndarray,
    steps: Mapping[object, np.ndarray],
    k: int = 10,
    exclude: Sequence[int] = (),
) -> dict[object, np.ndarray]:
    """The k aligned tokens of every text after each of several steps, best first: name -> int64 ``[n, k]``.

    ``E_g (h + step) = E_g h + E_g step``: the logits of the texts are computed once, a step costs an addition.

    Args:
        embeddings: ``[n, d]``.
        unembedding: ``E_g [V, d]``.
        first_half: which texts are the first half, bool ``[n]``.
        steps: name -> what is added to the embeddings of each half, ``[2, d]``.
        k: how many tokens.
        exclude: tokens that are never aligned.

    Raises:
        ValueError: shapes that do not fit, or k or a token out of range.
    """
    import torch

    embeddings, weight = gates.matrix(embeddings), gates.matrix(unembedding, "unembedding", "[V, d]")
    if embeddings.shape[1] != weight.shape[1]:
        raise ValueError(f"embeddings {embeddings.shape} and unembedding {weight.shape} differ in width")
    excluded = gates.token_ids(exclude, len(weight), "exclude")
    k = gates.whole(k, "k", 1, len(weight) - len(np.unique(excluded)), "tokens that may appear")
    moves = {name: _steps(step, f"step {name!r}", weight.shape[1]) for name, step in steps.items()}
    found = {name: np.empty((len(embeddings), k), dtype=np.int64) for name in moves}
    weight = tensor(weight)
    flat = np.concatenate([*moves.values(), np.zeros((0, weight.shape[1]))]).astype(np.float32)
    slopes = (tensor(flat) @ weight.T).reshape(len(moves), 2, len(weight))
    for number, part in enumerate(_parts(first_half, len(embeddings))):
        logits = tensor(embeddings[part]) @ weight.T
        logits[:, excluded] = -torch.inf
        room = torch.empty_like(logits)
        for name, slope in zip(moves, slopes, strict=True):
            found[name][part] = torch.add(logits, slope[number], out=room).topk(k, dim=1).indices.numpy()
    return found


def _steps(steps: np.ndarray, name: str, d: int) -> np.ndarray:
    steps = gates.matrix(steps, name, "[2, d]", dtype=np.float64, whole=True)
    if steps.shape != (2, d):
        raise ValueError(f"{name} must be [2, {d}], a row for each half; got {steps.shape}")
    return steps


def _parts(first_half: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the texts of both halves."""
    first = np.asarray(first_half)
    if first.shape != (n,) or first.dtype != bool:
        raise ValueError(f"first_half must be {n} times true or false; got {first.dtype} {first.shape}")
    parts = np.flatnonzero(first), np.flatnonzero(~first)
    if min(map(len, parts)) < 2:
        raise ValueError(f"each half needs two texts; got {len(parts[0])} and {len(parts[1])}")
    return parts
