"""Interventions: against the measures of alignment, against counting by hand, and on texts of which it is known."""

from dataclasses import replace

import numpy as np
import pytest

from course_utils.measures.alignment import global_alignment, hits, local_alignment
from course_utils.measures.interventions import (
    BothWays,
    Reader,
    as_good_as_best,
    both_ways,
    claim,
    global_difference,
    halfway,
    judge,
    reading,
)
from course_utils.measures.nulls import above_chance, pair_hits

RNG = np.random.default_rng(0)
RANKED = np.stack([RNG.permutation(80)[:40] for _ in range(12)])
SURFACE = [RNG.choice(80, size=size, replace=False) for size in (3, 1, 2, 7, 2, 5, 4, 6, 8, 3, 9, 2)]
CLASSES = np.arange(80) // 2
readings = pytest.mark.parametrize("classes", [None, CLASSES], ids=["exact", "merged"])


@readings
def test_what_is_judged_agrees_with_the_measures_of_alignment(classes):
    judged = judge(RANKED, SURFACE, 10, classes)
    assert judged.hit.tolist() == hits(RANKED, SURFACE, 10, classes).tolist()
    assert np.allclose(judged.lar, local_alignment(RANKED, SURFACE, classes))
    assert judged.gar == pytest.approx(global_alignment(RANKED, SURFACE, classes))
    beside = above_chance(pair_hits(RANKED, SURFACE, 10, classes))
    assert judged.hit_excess.mean() == pytest.approx(beside.difference.value)
    assert judged.hit_chance.mean() == pytest.approx(beside.chance)


@readings
def test_chance_is_the_same_measure_with_the_lists_of_other_texts(classes):
    judged, n = judge(RANKED, SURFACE, 10, classes), len(RANKED)
    for j, own in enumerate(SURFACE):
        others = [i for i in range(n) if i != j]
        rates = local_alignment(RANKED[others], [own] * (n - 1), classes)
        assert judged.lar_chance[j] == pytest.approx(rates.mean())
        assert judged.lar_excess[j] == pytest.approx(judged.lar[j] - rates.mean())
    rolled = [
        global_alignment(np.roll(RANKED, s, axis=0), SURFACE, classes)
        for s in np.unique(np.linspace(1, n - 1, 10).astype(int))
    ]
    assert judged.gar_chance == pytest.approx(np.mean(rolled))


def test_lists_that_know_their_text_are_above_chance_and_lists_that_do_not_are_at_it():
    rng = np.random.default_rng(1)
    surface = [rng.choice(2000, size=5, replace=False) for _ in range(200)]
    knowing = np.stack([np.concatenate([own, np.setdiff1d(rng.permutation(2000)[:40], own)[:20]]) for own in surface])
    blind = np.stack([rng.permutation(2000)[:25] for _ in surface])
    good, none = judge(knowing, surface), judge(blind, surface)
    assert good.hit.all() and good.lar.mean() == 1 and good.gar == 1 and good.hit_chance.mean() < 0.1
    assert abs(none.hit_excess.mean()) < 0.06 and abs(none.lar_excess.mean()) < 0.01
    assert abs(none.gar - none.gar_chance) < 0.02
    assert global_difference(good, none).low > 0.9
    same = global_difference(none, none)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("ranked", "surface", "k", "said"),
    [
        (RANKED[:1], SURFACE[:1], 10, "another text"),
        (RANKED, SURFACE, 41, "k must"),
        (RANKED, [*SURFACE[:-1], np.array([], dtype=int)], 10, "no surface tokens"),
        (RANKED[:, :8], SURFACE, 5, "larger k"),
        (np.tile([1, 1, 1, 2, 2, 3, 3, 3, 4], (2, 1)), [np.arange(3), np.arange(5)], 3, "larger k"),
        (RANKED, SURFACE[1:], 10, "one row per text"),
    ],
)
def test_what_cannot_be_judged_is_refused(ranked, surface, k, said):
    with pytest.raises(ValueError, match=said):
        judge(ranked, surface, k)


# Differences ------------------------------------------------------------------------------------------------------


def test_leaving_a_text_out_is_what_leaving_it_out_gives():
    from course_utils.measures.interventions import _without_each

    whole = judge(RANKED, SURFACE)
    for i, rate in enumerate(_without_each(whole)):
        rest = [j for j in range(len(RANKED)) if j != i]
        assert rate == pytest.approx(global_alignment(RANKED[rest], [SURFACE[j] for j in rest]))


def _drawn(rng, texts, skill):
    """Texts of five tokens out of 300; a list names each of them first with probability ``skill``."""
    surface = [rng.choice(300, size=5, replace=False) for _ in range(texts)]
    ranked = []
    for own in surface:
        lead = own[rng.random(5) < skill]
        ranked.append(np.concatenate([lead, rng.permutation(np.setdiff1d(np.arange(300), lead))[: 30 - len(lead)]]))
    return np.stack(ranked), surface


@pytest.mark.slow
def test_the_interval_of_a_difference_of_global_rates_holds_the_truth_as_often_as_it_says():
    rng, values, intervals = np.random.default_rng(5), [], []
    for _ in range(120):
        ranked, surface = _drawn(rng, 60, 0.2)
        better = np.stack(
            [
                np.concatenate([own[:2], np.setdiff1d(row, own[:2])[:28]])
                for row, own in zip(ranked, surface, strict=True)
            ]
        )
        intervals.append(global_difference(judge(better, surface), judge(ranked, surface)))
        values.append(intervals[-1].value)
    held = np.mean([i.low <= np.mean(values) <= i.high for i in intervals])
    assert held >= 0.9 and np.mean(values) > 0.1


def test_a_difference_needs_the_same_texts():
    one, other = judge(RANKED, SURFACE), judge(RANKED[::-1], SURFACE[::-1])
    with pytest.raises(ValueError, match="same texts"):
        global_difference(one, other)
    with pytest.raises(ValueError, match="three texts"):
        global_difference(judge(RANKED[:2], SURFACE[:2]), judge(RANKED[:2], SURFACE[:2]))


@pytest.mark.parametrize(("share", "answer"), [(0.9, "yes"), (0.1, "no"), (0.5, "open"), (-0.5, "no"), (1.3, "yes")])
@pytest.mark.parametrize("side", [1, -1])
def test_half_of_the_way_is_told_from_less_and_from_more(share, answer, side):
    rng = np.random.default_rng(2)
    start = rng.normal(size=400)
    end = start + side * (1 + 0.5 * rng.normal(size=400))
    changed = start + share * (end - start) + 0.01 * rng.normal(size=400)
    found = halfway(start, end, changed)
    assert found.answer == answer
    assert found.gap.value == pytest.approx(side, abs=0.1) and found.way.value == pytest.approx(share * side, abs=0.15)


def test_where_there_is_no_gap_nothing_is_sufficient():
    rng = np.random.default_rng(3)
    start = rng.normal(size=200)
    end = start + rng.normal(size=200)
    end -= (end - start).mean()
    assert halfway(start, end, end).answer == "no gap"


@pytest.mark.parametrize("sides", [([1.0], [1.0], [1.0]), ([1.0, 2.0], [1.0], [1.0, 2.0])])
def test_half_of_the_way_needs_the_same_texts(sides):
    with pytest.raises(ValueError, match="same texts"):
        halfway(*sides)


# Steps both ways --------------------------------------------------------------------------------------------------


def _world(strength, texts=120, d=200, seed=0):
    """Texts whose own token is planted, function tokens along the mean, and an embedder that lowers the mean.

    Token i is the unit vector of dimension i + 1; the first four tokens ("function words") lie along dimension 0.
    ``strength`` is how far the embedder lifts the text's own token besides.
    """
    rng = np.random.default_rng(seed)
    E = np.zeros((d + 3, d))
    E[:4, 0] = 1 + 0.1 * rng.random(4)
    E[4:, 1:] = np.eye(d - 1)
    own = rng.permutation(np.arange(4, len(E)))[:texts]
    before = 0.5 * rng.normal(size=(texts, d)) + 14 * E[own]
    before[:, 0] = 20 + rng.normal(size=texts)
    after = before + strength * E[own]
    after[:, 0] -= 20
    return before, after, E, [np.array([o]) for o in own]


def _both(strength, k=1, **more):
    before, after, E, surface = _world(strength)
    held = list(range(60))
    return both_ways(before, after, slice(60, 120), held, Reader(E, surface[:60], k=k), **more)


def test_taking_the_common_part_away_is_sufficient_and_necessary_where_nothing_else_changed():
    found = _both(strength=0)
    assert found.v_1 == pytest.approx(-20, abs=0.5)
    assert found.start["untrained"].hit.mean() < 0.1 and found.start["embedder"].hit.mean() > 0.9
    assert [claim(found, start).answer for start in ("untrained", "embedder")] == ["yes", "yes"]
    assert claim(found, "untrained").random == 0


def test_it_is_not_necessary_where_the_embedder_lifts_the_words_as_well():
    found = _both(strength=60)
    assert claim(found, "untrained").answer == "yes"
    kept = claim(found, "embedder")
    assert kept.answer == "no" and found.stepped["embedder"].hit.mean() > 0.9
    with pytest.raises(ValueError, match="start is one of"):
        claim(found, "trained")


def test_a_step_that_a_control_takes_as_well_is_unspecific():
    found = _both(strength=0)
    stepped = found.stepped["untrained"].hit_excess
    for kind in ("u_2", "random"):
        controls = found.controls["untrained"] | {kind: np.tile(stepped, (2, 1))}
        as_far = replace(found, controls=found.controls | {"untrained": controls})
        assert claim(as_far, "untrained").answer == "unspecific"


def test_the_control_in_the_middle_and_the_one_that_goes_furthest():
    rows = np.array([[0.1, 0.1], [0.3, 0.3], [0.2, 0.2]])
    found = BothWays(-1.0, {}, {}, {s: {"random": rows, "u_2": rows[:2]} for s in ("untrained", "embedder")})
    assert found.control("untrained", "random")[0] == 0.2
    assert found.control("untrained", "u_2")[0] == 0.3 and found.control("embedder", "u_2")[0] == 0.1


def test_texts_of_the_estimate_are_not_judged():
    before, after, E, surface = _world(0)
    with pytest.raises(ValueError, match="held-out"):
        both_ways(before, after, slice(50, 120), range(60), Reader(E, surface[:60], k=1))


def test_a_reader_never_names_what_is_excluded_and_finds_enough_distinct_tokens():
    weight = np.eye(12)
    surface, classes = [np.array([0, 1, 2, 3]), np.array([8])], np.arange(12) // 3
    reader = Reader(weight, surface, exclude=[5], classes=classes, k=2)
    logits = reader.logits(np.eye(12)[[5, 8]])
    assert (logits[:, 5] == -np.inf).all() and ((logits + 3.0 * reader.slope(np.ones(12)))[:, 5] == -np.inf).all()
    judged = reader.judge(logits)
    assert judged.hit.tolist() == [True, True] or judged.hit[1]
    assert np.allclose(reader.hit_excess(logits), judged.hit_excess)
    with pytest.raises(ValueError, match="surface"):
        Reader(weight, [np.array([12])])


class _Words:
    """A tokenizer of whole words."""

    words = ("the", "of", "museum", "guitar", "and", "<s>")
    all_special_ids, added_tokens_decoder = (5,), {}

    def __len__(self):
        return len(self.words)

    def __call__(self, texts, **_):
        return {"input_ids": [[self.words.index(w) for w in text.split()] for text in texts]}

    def decode(self, ids):
        return self.words[ids[0]]


def test_only_texts_with_content_words_are_read():
    texts = ["the and of", "museum guitar", "the guitar"]
    kept, reader = reading(_Words(), np.eye(6), texts)
    assert kept == [1, 2] and [set(own.tolist()) for own in reader.surface] == [{2, 3}, {3}]
    assert reader.exclude.tolist() == [5]
    with pytest.raises(ValueError, match="none of the 1 texts"):
        reading(_Words(), np.eye(6), texts[:1])


def test_what_is_as_good_as_the_best_is_what_cannot_be_told_from_it():
    rng = np.random.default_rng(8)
    ranked, surface = _drawn(rng, 80, 0.1)
    better, surface_better = (
        np.stack(
            [np.concatenate([own, np.setdiff1d(row, own)[:25]]) for row, own in zip(ranked, surface, strict=True)]
        ),
        surface,
    )
    states = [judge(ranked, surface), judge(better, surface_better), judge(better, surface_better)]
    for measure in ("hit", "lar", "gar"):
        best, as_good = as_good_as_best(states, measure)
        assert best == 1 and as_good.tolist() == [False, True, True]
    with pytest.raises(ValueError, match="measure is"):
        as_good_as_best(states, "Hit@10")
    with pytest.raises(ValueError, match="measure is"):
        as_good_as_best([])
