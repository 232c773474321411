"""Errors of rank correlations that count words."""

import numpy as np
import pytest

from course_utils.measures.evaluation import spearman
from course_utils.measures.word_lists import estimate, influences, variance


def _pairs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n).round(1)  # with ties
    return a, (a + rng.normal(size=n)).round(1)


def test_influences_are_those_of_leaving_each_pair_out():
    a, b = _pairs(25)
    without = np.array([spearman(np.delete(a, i), np.delete(b, i)) for i in range(len(a))])
    f = influences(a, b)
    assert abs(f.sum()) < 1e-12
    jackknife = (len(a) - 1) / len(a) * ((without - without.mean()) ** 2).sum()
    assert np.isclose((f**2).sum(), jackknife)
    assert np.corrcoef(f, -without)[0, 1] > 0.999999


def test_pairs_without_a_common_word_have_the_jackknifes_variance():
    f = influences(*_pairs(40))
    left, right = [f"l{i}" for i in range(40)], [f"r{i}" for i in range(40)]
    assert np.isclose(variance(f, left, right), (f**2).sum())


def test_pairs_that_share_words_count_together_and_each_product_once():
    f = np.array([1.0, 2.0, -0.5, 4.0])
    left, right = ["a", "a", "c", "x"], ["b", "c", "b", "y"]  # the first three share a word with one another
    by_hand = sum(f[i] * f[j] for i in range(3) for j in range(3)) + 16
    assert np.isclose(variance(f, left, right), by_hand)
    twice = np.array([1.0, 2.0])  # the same pair in two lists, in either order: two common words, one product each way
    assert np.isclose(variance(twice, ["a", "b"], ["b", "a"]), 9)


def test_the_interval_covers_where_one_word_spoils_all_of_its_pairs():
    """With an effect of every word, intervals of independent pairs are too narrow and these are not."""
    rng = np.random.default_rng(1)
    words, covered, naive, trials = 40, 0, 0, 150
    sides = np.array([(i, (i + step) % words) for i in range(words) for step in (1, 3, 7)])
    for _ in range(trials):
        x, y = (rng.normal(size=words)[sides].sum(axis=1) + 0.3 * rng.normal(size=len(sides)) for _ in range(2))
        f, rho = influences(x, y), spearman(x, y)
        names = [[str(w) for w in side] for side in sides.T]
        found, _ = estimate(rho, f, *names)
        covered += found.low <= 0 <= found.high
        naive += abs(rho) <= 1.96 * np.sqrt((f**2).sum())
    assert covered / trials > 0.85 > naive / trials


def test_a_p_value_belongs_to_the_interval():
    f = influences(*_pairs(40))
    names = [[f"{side}{i}" for i in range(40)] for side in "lr"]
    error = np.sqrt(variance(f, *names))
    found, p = estimate(1.959964 * error, f, *names)
    assert np.isclose(found.low, 0, atol=1e-9) and np.isclose(p, 0.05, atol=1e-4)
    wider, q = estimate(1.959964 * error, f, *names, more=error**2)
    assert wider.low < 0 and q > p


@pytest.mark.parametrize(
    ("f", "left", "right", "said"),
    [([1.0, 2.0], ["a"], ["b"], "one for each pair"), ([np.nan, 2.0], ["a", "c"], ["b", "d"], "NaN|nan")],
)
def test_what_does_not_fit_is_refused(f, left, right, said):
    with pytest.raises(ValueError, match=said):
        variance(f, left, right)


def test_two_pairs_are_too_few():
    with pytest.raises(ValueError, match="three or more"):
        influences([1.0, 2.0], [2.0, 1.0])
