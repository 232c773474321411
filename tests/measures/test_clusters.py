"""Groups are drawn and swapped whole; the correction is Holm's."""

import numpy as np
import pytest
from scipy import stats

from course_utils.measures import clusters, evaluation

RNG = np.random.default_rng(4)


def test_with_one_query_a_group_the_interval_is_the_ordinary_one():
    values = RNG.uniform(size=40)
    found = clusters.bootstrap(values, groups=range(40))
    expected = evaluation.bootstrap_rows(values, statistic=np.mean)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_copies_within_a_group_do_not_make_the_interval_narrower():
    values = RNG.uniform(size=30)
    once = clusters.bootstrap(values, groups=range(30))
    copied, groups = np.repeat(values, 20), np.repeat(np.arange(30), 20)
    grouped, loose = clusters.bootstrap(copied, groups=groups), evaluation.bootstrap(copied)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low)
    assert loose.high - loose.low < 0.5 * (grouped.high - grouped.low)


def test_a_ratio_is_taken_of_the_same_drawn_queries():
    a = RNG.uniform(size=20)
    found = clusters.bootstrap(a, 2 * a, groups=[*"aabbccddeeffgghhiijj"], statistic=lambda x, y: x.mean() / y.mean())
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_few_groups_are_swapped_in_every_way():
    a, b = np.array([3.0, 1.0, 2.0, 0.5]), np.array([1.0, 0.0, 2.5, 0.0])
    by_hand = [
        abs(s @ (a - b)) >= abs((a - b).sum()) - 1e-12 for s in np.array(np.meshgrid(*[[1, -1]] * 4)).reshape(4, -1).T
    ]
    assert clusters.paired_permutation(a, b, range(4)) == pytest.approx(np.mean(by_hand))
    assert clusters.paired_permutation(a, b, range(4)) == pytest.approx(evaluation.paired_permutation(a, b))
    # Two groups: only both together or one of them can swap; the total is the largest in 2 of 4 ways.
    assert clusters.paired_permutation([1.0, 1, 1, 1], [0.0, 0, 0, 0], "aabb") == 0.5


def test_many_groups_agree_with_the_test_of_single_pairs_where_every_query_is_alone():
    a = RNG.normal(0.25, 1, size=60)
    p = clusters.paired_permutation(a, np.zeros(60), range(60))
    assert p == pytest.approx(evaluation.paired_permutation(a, np.zeros(60)), abs=0.02)
    assert clusters.paired_permutation(a + 9, np.zeros(60), range(60)) == pytest.approx(1 / 10_001)


def test_copies_are_no_evidence():
    a = RNG.normal(0.2, 1, size=20)
    copied, groups = np.repeat(a, 30), np.repeat(np.arange(20), 30)
    alone = clusters.paired_permutation(a, np.zeros(20), range(20))
    assert clusters.paired_permutation(copied, np.zeros(600), groups) == pytest.approx(alone)
    assert evaluation.paired_permutation(copied, np.zeros(600)) < alone / 10


def test_with_a_true_hypothesis_p_is_below_five_percent_in_about_five_percent():
    groups = np.repeat(np.arange(12), 5)
    found = []
    for _ in range(300):
        shared = RNG.normal(size=12)[groups]  # an article's luck, shared by its queries
        found.append(clusters.paired_permutation(shared + 0.1 * RNG.normal(size=60), np.zeros(60), groups))
    assert 0.01 < np.mean(np.array(found) <= 0.05) < 0.1


def test_holm_by_hand_and_never_below_the_value_itself():
    assert clusters.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    p = RNG.uniform(size=50)
    found = clusters.holm(p)
    assert (found >= p).all() and (found <= 1).all()
    assert (np.argsort(found, kind="stable")[:1] == np.argsort(p)[:1]).all()
    assert (found >= stats.false_discovery_control(p)).all()  # controls more, so it cannot be smaller


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clusters.holm([0.5, 1.5]), "between 0 and 1; got 1.5"),
        (lambda: clusters.bootstrap([1.0, 2.0], groups=[1]), "the same length; got \\[2\\] and 1 groups"),
        (lambda: clusters.bootstrap(groups=[1]), "same length"),
        (lambda: clusters.paired_permutation([1.0], [0.0], ["a"]), "at least two groups"),
        (lambda: clusters.paired_permutation([1.0, np.nan], [0.0, 1.0], "ab"), "is nan"),
    ],
)
def test_what_cannot_be_computed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
