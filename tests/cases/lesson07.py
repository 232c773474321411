"""Answers to the exercises of lesson 07."""

import numpy as np
import torch
from exercise_cases import Case
from torch.nn.functional import cross_entropy, normalize


def info_nce(anchors, positives, negatives, temperature):
    candidates = normalize(torch.cat([positives, negatives]), dim=1)
    scores = normalize(anchors, dim=1) @ candidates.T / temperature
    return cross_entropy(scores, torch.arange(len(anchors)))


def without_negatives(anchors, positives, negatives, temperature):
    return info_nce(anchors, positives, negatives[:0], temperature)


def without_temperature(anchors, positives, negatives, temperature):
    return info_nce(anchors, positives, negatives, 1.0)


def not_normalised(anchors, positives, negatives, temperature):
    scores = anchors @ torch.cat([positives, negatives]).T / temperature
    return cross_entropy(scores, torch.arange(len(anchors)))


def own_negative_only(anchors, positives, negatives, temperature):
    # Each anchor against its own pair alone, as if the rest of the batch did not exist.
    cosines = [torch.cosine_similarity(anchors, x) for x in (positives, negatives[:1].expand_as(anchors))]
    return cross_entropy(torch.stack(cosines, dim=1) / temperature, torch.zeros(len(anchors), dtype=torch.long))


def mask(anchors, positives):
    a, p = np.array(anchors), np.array(positives)
    same = (a[:, None] == a) | (p[:, None] == p)
    return same & ~np.eye(len(a), dtype=bool)


def mask_with_diagonal(anchors, positives):
    return mask(anchors, positives) | np.eye(len(anchors), dtype=bool)


def mask_by_positives_only(anchors, positives):
    p = np.array(positives)
    return (p[:, None] == p) & ~np.eye(len(p), dtype=bool)


def mask_by_anchors_only(anchors, positives):
    return mask_by_positives_only(positives, anchors)


def mask_by_first_word(anchors, positives):
    firsts = [text.split()[0] for text in anchors]
    return mask(firsts, positives)


def push(cosines, temperature):
    odds = np.exp((cosines - cosines.max()) / temperature)
    return odds / odds.sum()


def push_without_care(cosines, temperature):
    with np.errstate(over="ignore", invalid="ignore"):
        odds = np.exp(cosines / temperature)
        return odds / odds.sum()


def log(*v, last_step=20):
    steps = np.linspace(0, last_step, len(v)).astype(int)
    return [{"step": int(step), "v_1": x} for step, x in zip(steps, v, strict=True)]


def runs(claim="nearer to zero", **changes):
    answer = {
        "ingredient": "temperature",
        "base": log(0.0, -3.0, -8.0),
        "changed": log(0.0, -1.0, -2.0),
        "claim": claim,
    }
    return {**answer, **changes}


CASES = {
    "07.1": Case(
        solution=lambda: info_nce,
        wrong=[
            lambda: without_negatives,
            lambda: without_temperature,
            lambda: not_normalised,
            lambda: own_negative_only,
        ],
    ),
    "07.2": Case(
        solution=lambda: mask,
        wrong=[
            lambda: mask_with_diagonal,
            lambda: mask_by_positives_only,
            lambda: mask_by_anchors_only,
            lambda: mask_by_first_word,
        ],
    ),
    "07.3": Case(
        solution=lambda: push,
        wrong=[
            lambda: push_without_care,
            lambda: lambda cosines, temperature: push(cosines * temperature, 1.0),
            lambda: lambda cosines, temperature: cosines / temperature,
        ],
    ),
    "07.4": Case(
        solution=lambda: runs(),
        wrong=[
            lambda: runs("further from zero"),
            lambda: runs("about the same"),
            lambda: runs(changed=log(0.0, -3.0, -8.0)),
            lambda: runs(changed=log(0.0, -1.0, -2.0, last_step=40)),
            lambda: runs(base=log(0.0, -3.0, last_step=5), changed=log(0.0, -1.0, last_step=5)),
            lambda: runs(changed=log(-1.0, -2.0)),
            lambda: runs(ingredient="luck"),
            lambda: runs(changed=-2.0),
        ],
    ),
}
