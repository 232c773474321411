"""Answers to the exercises of lesson 07 and its appendix."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import tiny
import torch
from exercise_cases import Case
from torch.nn.functional import cross_entropy, normalize

from course_utils.training import loop
from course_utils.training.recipes import Data, Example, Recipe, Stage


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


def gradient(scores):
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True) - np.eye(*scores.shape)) / len(scores)


def gradient_without_care(scores):
    with np.errstate(over="ignore", invalid="ignore"):
        odds = np.exp(scores)
        return (odds / odds.sum(axis=1, keepdims=True) - np.eye(*scores.shape)) / len(scores)


def gradient_of_the_wrong_answers(scores):
    return gradient(scores) + np.eye(*scores.shape) / len(scores)


def gradient_by_columns(scores):
    odds = np.exp(scores - scores.max(axis=0))
    return (odds / odds.sum(axis=0) - np.eye(*scores.shape)) / len(scores)


def gradient_of_one_softmax(scores):
    odds = np.exp(scores - scores.max())
    return (odds / odds.sum() - np.eye(*scores.shape)) / len(scores)


def wrong_loss(row, losses):
    return row["step"] > 0 and row["loss"] != losses[row["step"] - 1]


def wrong_share(row, slack=1e-3):
    v, other = row["v_1"] ** 2, row["max_other_v"] ** 2
    return row["step"] > 0 and row["share_v1"] > v / (v + other) + slack


def tampered(record):
    return [r["step"] for r in record["probe"] if wrong_loss(r, record["losses"]) or wrong_share(r)]


def tampered_by_losses(record):
    return [r["step"] for r in record["probe"] if wrong_loss(r, record["losses"])]


def tampered_by_shares(record):
    return [r["step"] for r in record["probe"] if wrong_share(r)]


def tampered_a_step_late(record):
    losses = [*record["losses"], None]
    return [r["step"] for r in record["probe"] if r["step"] and r["loss"] != losses[r["step"]]]


def tampered_as_rows(record):
    steps = [row["step"] for row in record["probe"]]
    return [steps.index(step) for step in tampered(record)]


def tampered_if_share_is_not_exact(record):
    # As if v_1 and the largest other were the only two components.
    rows = [r for r in record["probe"] if r["step"]]
    exact = {r["step"]: r["v_1"] ** 2 / (r["v_1"] ** 2 + r["max_other_v"] ** 2) for r in rows}
    return [r["step"] for r in rows if abs(r["share_v1"] - exact[r["step"]]) > 1e-3]


def tampered_if_the_loss_rises(record):
    rows = record["probe"][1:]
    return [b["step"] for a, b in zip(rows, rows[1:], strict=False) if b["loss"] > a["loss"]]


@cache
def folder():
    return tiny.save(Path(tempfile.mkdtemp()) / "llama", "llama", bos=True, seed=1)


@cache
def trained(steps=10, temperature=0.05, seed=0, shuffled=False, rank=4, copy=0, hard=False):
    """A tiny run; ``copy`` makes the same one again."""
    examples = [Example(**row) for row in tiny.TRIPLETS]
    examples = examples if hard else [e._replace(negative=None) for e in examples]
    if shuffled:
        others = examples[9:] + examples[:9]
        examples = [e._replace(positive=f.positive) for e, f in zip(examples, others, strict=True)]
    recipe = Recipe(
        folder(), [Stage("contrastive", steps, 2e-2, 16)], [Data("mini.jsonl", "triplets")],
        seed=seed, temperature=temperature, lora_rank=rank,
    )  # fmt: skip
    return loop.train(loop.start(recipe, dtype="float32"), [examples])


def movement(run):
    from course_utils.teaching.exercises import lesson07

    return abs(lesson07._movement(run))


def claim(base, changed, wrong=False):
    """What the two runs show, or something else."""
    ratio = movement(changed) / movement(base)
    said = "nearer to zero" if ratio < 0.8 else "about the same" if ratio < 1.25 else "further from zero"
    return said if not wrong else "about the same" if said != "about the same" else "nearer to zero"


def runs(wrong=False, **changes):
    answer = {"ingredient": "temperature", "base": trained(), "changed": trained(temperature=1.0)}
    return {**answer, "claim": claim(answer["base"], answer["changed"], wrong), **changes}


def typed(*v):
    """A log as somebody types it who has trained nothing."""
    return [{"step": 5 * n, "v_1": x, "max_other_v": abs(x) / 4, "loss": 2.5} for n, x in enumerate(v)]


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
        solution=lambda: gradient,
        wrong=[
            lambda: gradient_without_care,
            lambda: gradient_of_the_wrong_answers,
            lambda: gradient_by_columns,
            lambda: gradient_of_one_softmax,
            lambda: lambda scores: -gradient(scores),
            lambda: lambda scores: len(scores) * gradient(scores),
        ],
    ),
    "07.3": Case(
        solution=lambda: tampered,
        wrong=[
            lambda: tampered_by_losses,
            lambda: tampered_by_shares,
            lambda: tampered_a_step_late,
            lambda: tampered_as_rows,
            lambda: tampered_if_share_is_not_exact,
            lambda: tampered_if_the_loss_rises,
            lambda: lambda record: [],
        ],
    ),
    "07.4": Case(
        solution=lambda: mask,
        wrong=[
            lambda: mask_with_diagonal,
            lambda: mask_by_positives_only,
            lambda: mask_by_anchors_only,
            lambda: mask_by_first_word,
            lambda: lambda anchors, positives: ~mask_with_diagonal(anchors, positives),
            lambda: lambda anchors, positives: np.triu(mask(anchors, positives)),
            lambda: lambda anchors, positives: np.array(anchors)[:, None] == np.array(positives),
            lambda: lambda a, p: mask(a, p) | ((np.array(a)[:, None] == np.array(p)) & ~np.eye(len(a), dtype=bool)),
        ],
    ),
    "07.5": Case(
        solution=lambda: runs(),
        wrong=[
            lambda: runs(wrong=True),
            lambda: runs(base=typed(0.0, -3.0, -8.0), changed=typed(0.0, -1.0, -2.0)),
            lambda: runs(changed=trained()),
            lambda: runs(changed=trained(copy=1)),  # nothing was changed
            lambda: runs(changed=trained(temperature=1.0, steps=12)),
            lambda: runs(base=trained(steps=4), changed=trained(steps=4, temperature=1.0)),
            lambda: runs(changed=trained(temperature=1.0, seed=1)),  # two things were changed
            lambda: runs(ingredient="data"),  # the recipe says that it was the temperature
            lambda: runs(ingredient="luck"),
            lambda: runs(changed=trained(shuffled=True)),  # the data were changed, not the temperature
            lambda: runs(changed=trained(temperature=1.0, shuffled=True)),  # the data as well
            lambda: runs(ingredient="data", changed=trained(hard=True)),  # it was the negatives
            lambda: runs(ingredient="data", changed=trained(hard=True, shuffled=True)),  # both
        ],
    ),
}
