"""Different mistakes get different words: what a check of lessons 00 to 02 says is wrong is what is wrong."""

import numpy as np
import pytest
from cases import lesson00, lesson01, lesson02

from course_utils.teaching.exercises import check


def says(exercise_id, *answers):
    verdicts = [check(exercise_id, answer) for answer in answers]
    assert all(v.status == "wrong" for v in verdicts), verdicts
    return [v.message for v in verdicts]


def test_chance_over_one_neighbour_and_over_pairs_taken_once_are_told_apart():
    shifted = [
        lambda ranked, surface, step=step: np.mean(
            [np.isin(row, own).any() for row, own in zip(np.roll(ranked, step, axis=0), surface, strict=True)]
        )
        for step in (1, -1)
    ]
    each_once = [lesson02.each_two_once, lesson02.each_two_from_either_side, lesson02.own_texts_too]
    *neighbours, once, either, diagonal = says("02.2", *shifted, *each_once)
    assert all("one neighbour" in said for said in neighbours)
    assert "i < j" in once and "either side" in either and "leave those pairs out" in diagonal


def test_repeats_that_are_counted_as_places_are_found():
    [said] = says("02.1", lesson02.places_with_repeats)
    assert "two distinct tokens make two places" in said


def test_an_answer_that_ignores_k_hears_of_k():
    [said] = says("00.1", lesson00.five_whatever_k)
    assert "k = 2" in said and said.endswith("use k")


def test_a_step_by_the_size_of_the_coefficients_hears_of_their_sign_and_a_fixed_share_of_the_share():
    size, fixed = says("00.3", lesson00.by_size, lesson00.always_four_fifths)
    assert "has a sign" in size and "share = 0.25" in fixed


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"normed": False}, "have not been through the final norm"),
        ({"remove": False}, "still on the model"),
        ({"pre": True}, "before each layer"),
        ({"last_from_the_model": True}, "twice"),
        ({"token": 0}, "last token"),
    ],
)
def test_every_mistake_with_hooks_is_named(wrong, word):
    [said] = says("01.4", lesson01.lens(**wrong))
    assert word in said


def test_a_batch_that_changes_an_embedding_is_told_from_the_wrong_pooling():
    columns, plain = says("01.2", lesson01.encoder(lesson01.by_column), lesson01.encoder(lesson01.plain_mean))
    assert "in a batch" in columns and "plain mean" in plain
