"""Variants of lesson 07: hard negatives that count more than once, a gradient at another temperature."""

import math

import numpy as np

from course_utils.teaching.exercises.variants import numbers


def _batch(rng) -> tuple:
    import torch

    rows = rng.normal(size=(11, 6))
    return *(torch.tensor(side) for side in (rows[:4], rows[4:8], rows[8:])), float(rng.uniform(0.2, 1))


def _loss(x: int, anchors, positives, negatives, temperature: float) -> float:
    """InfoNCE, anchor by anchor; every hard negative stands ``x`` times in the sum."""
    terms = []
    for i, anchor in enumerate(anchors.numpy()):
        scores = [float(anchor @ c) / math.sqrt(float(anchor @ anchor) * float(c @ c)) / temperature
                  for c in (*positives.numpy(), *negatives.numpy())]  # fmt: skip
        times = [1] * len(positives) + [x] * len(negatives)
        terms.append(math.log(sum(t * math.exp(s) for t, s in zip(times, scores, strict=True))) - scores[i])
    return sum(terms) / len(terms)


def _slopes(x: float, scores: np.ndarray) -> np.ndarray:
    """How the loss of ``scores / x`` changes with each score, by central differences."""

    def loss(s):
        return np.mean([np.log(np.exp(row / x).sum()) - row[i] / x for i, row in enumerate(s)])

    found, step = np.zeros_like(scores), 1e-5
    for place in np.ndindex(scores.shape):
        nudge = np.zeros_like(scores)
        nudge[place] = step
        found[place] = (loss(scores + nudge) - loss(scores - nudge)) / (2 * step)
    return found


VARIES = (
    numbers(
        "07.1",
        range(2, 14),
        published=1,
        task="Every hard negative counts {x} times: its term stands {x} times in the sum below the fraction.",
        inputs=_batch,
        expected=_loss,
        solution="def variant(anchors, positives, negatives, temperature):\n    import math\n\n    import torch\n\n"
        "    a, p, n = (torch.nn.functional.normalize(side, dim=-1) for side in (anchors, positives, negatives))\n"
        "    scores = torch.cat([a @ p.T, a @ n.T + temperature * math.log({x})], dim=1) / temperature\n"
        "    return torch.nn.functional.cross_entropy(scores, torch.arange(len(a)))",
    ),
    numbers(
        "07.2",
        (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0),
        published=1,
        task="The scores are divided by a temperature of {x} before the softmax; return the gradient with respect to "
        "the scores before they are divided.",
        inputs=lambda rng: (rng.normal(size=(3, 5)),),
        expected=_slopes,
        solution="def variant(scores):\n    import numpy as np\n\n    scaled = scores / {x}\n"
        "    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))\n"
        "    return (odds / odds.sum(axis=1, keepdims=True) - np.eye(*scores.shape)) / len(scores) / {x}",
        tolerance=1e-5,
    ),
)
