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


def one_direction_only(anchors, positives, negatives, temperature):
    # A term of its own for the hard negatives, instead of more columns of the same softmax.
    hard = normalize(anchors, dim=1) @ normalize(negatives, dim=1).T / temperature
    return info_nce(anchors, positives, negatives[:0], temperature) + hard.exp().mean()


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
    """The rows of a probe for a run whose v_1 goes through these values."""
    rows = []
    for step, x in zip(np.linspace(0, last_step, len(v)).astype(int), v, strict=True):
        other, rest = abs(x) / 4, abs(x) / 2  # the largest other |v_j|, and the length of all others
        rows.append({
            "step": int(step), "loss": 2.5 if step else None, "v_1": x, "max_other_v": round(other, 3),
            "share_v1": round(x**2 / max(1e-12, x**2 + rest**2), 4), "hit@10": 0.5, "gar": 0.1, "distinct_top10": 90,
        })  # fmt: skip
    return rows


def typed(*v, last_step=20):
    """A log as somebody types it who has trained nothing."""
    return [{"step": row["step"], "v_1": row["v_1"]} for row in log(*v, last_step=last_step)]


def changed_rows(rows, **values):
    return [rows[0], *(row | values for row in rows[1:])]


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
            lambda: one_direction_only,
            lambda: lambda a, p, n, t: info_nce(p, a, n, t),  # the positives ask
            lambda: lambda a, p, n, t: info_nce(a, p, n, t) * len(a),
        ],
    ),
    "07.2": Case(
        solution=lambda: mask,
        wrong=[
            lambda: mask_with_diagonal,
            lambda: mask_by_positives_only,
            lambda: mask_by_anchors_only,
            lambda: mask_by_first_word,
            lambda: lambda anchors, positives: ~mask_with_diagonal(anchors, positives),
            lambda: lambda anchors, positives: np.triu(mask(anchors, positives)),
            lambda: lambda anchors, positives: np.array(anchors)[:, None] == np.array(positives),
        ],
    ),
    "07.3": Case(
        solution=lambda: push,
        wrong=[
            lambda: push_without_care,
            lambda: lambda cosines, temperature: push(cosines * temperature, 1.0),
            lambda: lambda cosines, temperature: cosines / temperature,
            lambda: lambda cosines, temperature: push(cosines, 1.0),
            lambda: lambda cosines, temperature: push(cosines, temperature) / temperature,
            lambda: lambda cosines, temperature: (cosines == cosines.max()).astype(float),
            lambda: lambda cosines, temperature: np.abs(cosines) / np.abs(cosines).sum(),
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
            lambda: runs(base=typed(0.0, -3.0, -8.0), changed=typed(0.0, -1.0, -2.0)),
            lambda: runs(base=[{"step": 0, "v_1": 0}, {"step": 20, "v_1": -8}]),
            lambda: runs(changed=changed_rows(log(0.0, -1.0, -2.0), share_v1=0.99)),
            lambda: runs(changed=changed_rows(log(0.0, -1.0, -2.0), loss=None)),
            lambda: runs(
                changed=[{**row, "hit@10": 0.9} for row in log(0.0, -1.0, -2.0)]
            ),  # another model at the start
        ],
    ),
}
