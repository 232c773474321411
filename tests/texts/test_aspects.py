"""Aspects: lexicons, common movement, clusterings and probes, against planted data, hand counts and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import v_measure_score

from course_utils.texts import aspects


@pytest.fixture
def planted():
    """180 texts with two crossing labels; the first is written large into the embeddings, the second small."""
    rng = np.random.default_rng(0)
    first, second = np.repeat(["a", "b", "c"], 60), np.tile(["x", "y"], 90)
    rows = rng.normal(size=(180, 20)) * 0.3
    rows[:, 0] += 8  # common to all
    for i, name in enumerate("abc"):
        rows[first == name, 1 + i] += 4
    rows[second == "x", 5] += 1.0
    return rows, first, second


# Words --------------------------------------------------------------------------------------------------------------


def test_a_label_direction_is_what_the_label_has_more_of():
    rows = np.array([[1.0, 5, 0], [3, 5, 0], [10, 5, 2], [10, 5, 4]])
    found = aspects.label_directions(rows, ["a", "a", "b", "b"])
    assert list(found) == ["a", "b"]
    assert found["a"].tolist() == [-8, 0, -3] and found["b"].tolist() == [8, 0, 3]


def test_what_all_texts_share_and_every_crossed_aspect_cancel(planted):
    rows, first, second = planted
    found, moved = (aspects.label_directions(r, first) for r in (rows, rows + 7 * np.arange(20)))
    assert all(np.allclose(found[name], moved[name]) for name in "abc")
    assert found["a"].argmax() == 1 and found["b"].argmax() == 2 and found["c"].argmax() == 3
    assert all(abs(direction[5]) < 0.1 for direction in found.values())  # the second label's place
    assert aspects.label_directions(rows, second)["x"].argmax() == 5


@pytest.mark.parametrize(("rows", "labels"), [(np.ones((3, 2)), ["a", "b"]), (np.ones((2, 2)), ["a", "a"])])
def test_directions_need_labels_that_fit(rows, labels):
    with pytest.raises(ValueError, match="one label per row and two different labels"):
        aspects.label_directions(rows, labels)


def test_telling_tokens_give_every_direction_the_same_say():
    small, large = np.array([3.0, 2, 0, 0, 0]), 1000 * np.array([0.0, 2, 3, 0, 0])
    assert aspects.telling_tokens([small, large], 3).tolist() == [1, 0, 2]  # 0 and 2 tie: the lower number first
    assert aspects.telling_tokens([small], 2).tolist() == [0, 1]
    assert aspects.telling_tokens([small], 2, exclude=[0]).tolist() == [1, 2]


def test_a_class_counts_by_its_best_token():
    classes = np.array([0, 1, 1, 2, 0])
    assert aspects.telling_tokens([np.array([5.0, -9, 7, 1, 0])], 3, classes).tolist() == [1, 0, 2]
    assert aspects.telling_tokens([np.array([5.0, -9, 7, 1, 0])], 2, classes, exclude=[2]).tolist() == [0, 2]
    assert aspects.telling_tokens([np.array([5.0, -9, 7, 1, 0])], 2, classes, exclude=[1, 2]).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("logits", "k", "said"),
    [([], 1, "got shape"), ([np.ones(4)], 1, "not constant"), ([[0, np.nan]], 1, "finite"), ([[0, 1.0]], 3, "got 3")],
)
def test_telling_tokens_refuse_what_cannot_be_ranked(logits, k, said):
    with pytest.raises(ValueError, match=said):
        aspects.telling_tokens(logits, k)


def test_a_token_that_two_aspects_claim_belongs_to_none():
    chosen = {"topic": {"food": [0, 1], "sport": [2]}, "sentiment": {"good": [1], "bad": [3]}}
    masks = aspects.lexicons(chosen, 5)
    assert np.flatnonzero(masks["topic"]).tolist() == [0, 2]
    assert np.flatnonzero(masks["sentiment"]).tolist() == [3]


def test_lexicon_share_counts_places_of_the_ranking():
    lexicon = np.array([True, False, False, True])
    assert aspects.lexicon_share(np.array([[0, 1], [0, 3], [1, 2]]), lexicon).tolist() == [0.5, 1.0, 0.0]
    for ranked, mask in (([0, 1], lexicon), (np.zeros((0, 3), int), lexicon), ([[0]], np.array([1, 0]))):
        with pytest.raises(ValueError, match="bool mask"):
            aspects.lexicon_share(ranked, mask)


# Movement -----------------------------------------------------------------------------------------------------------


def test_common_share_is_one_for_a_translation_and_zero_for_movements_that_cancel():
    rng = np.random.default_rng(1)
    before = rng.normal(size=(50, 6))
    assert aspects.common_share(before, before + rng.normal(size=6)) == pytest.approx(1)
    moved = rng.normal(size=(50, 6))
    assert aspects.common_share(before, before + moved - moved.mean(axis=0)) == pytest.approx(0, abs=1e-12)
    # Half of the squared length along a common axis, half along an axis of each text's own.
    assert aspects.common_share(np.zeros((4, 5)), np.eye(4, 5) + np.eye(5)[4]) == pytest.approx((1 + 1 / 4) / 2)


def test_common_share_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="nothing moves"):
        aspects.common_share(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(2, 2\)"):
        aspects.common_share(np.ones((3, 2)), np.ones((2, 2)))


def test_turning_up_stretches_the_spanned_space_and_nothing_else():
    rows, mean = np.array([[1.0, 2, 3], [5, 2, 0]]), np.array([3.0, 2, 1])
    found = aspects.turned_up(rows, np.array([[7.0, 0, 0]]), mean, strength=2)
    assert found.tolist() == [[-3, 2, 3], [9, 2, 0]] and found.dtype == np.float32
    dependent = np.array([[1.0, 1, 0], [1, -1, 0], [-2, 0, 0]])  # they span the first two places only
    assert np.allclose(aspects.turned_up(rows, dependent, mean, 1), [[-1, 2, 3], [7, 2, 0]])
    assert np.allclose(aspects.turned_up(rows, dependent, mean, 0), rows)


def test_turning_up_an_aspect_makes_it_prominent_on_texts_it_was_not_fitted_on(planted):
    rows, _, second = planted
    fit, rest = np.arange(180) % 3 == 0, np.arange(180) % 3 != 0
    directions = np.stack(list(aspects.label_directions(rows[fit], second[fit]).values()))
    louder = aspects.turned_up(rows[rest], directions, rows[fit].mean(axis=0), 20)
    before, after = (aspects.v_measure(second[rest], aspects.clusterings(r, 2)) for r in (rows[rest], louder))
    assert before < 0.1 and after > before + 0.5


@pytest.mark.parametrize("directions", [np.zeros((2, 20)), np.ones((2, 3)), np.ones(20)])
def test_turning_up_needs_directions_that_fit(planted, directions):
    said = r"need rows \[n, d\] and directions \[r, d\]|directions must be \[n, d\]; got shape"
    with pytest.raises(ValueError, match=said):
        aspects.turned_up(planted[0], directions, planted[0].mean(axis=0))


# Prominent and present ----------------------------------------------------------------------------------------------


def test_v_measure_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    for n_labels, n_clusters in ((2, 5), (3, 3), (5, 2), (1, 4), (4, 1), (1, 1)):
        labels = rng.integers(n_labels, size=40)
        parts = np.stack([rng.integers(n_clusters, size=40), np.where(labels % n_clusters, 0, n_clusters - 1)])
        expected = [v_measure_score(labels, part) for part in parts]
        assert aspects.v_measure(labels, parts) == pytest.approx(np.mean(expected))
        assert aspects.v_measure([str(x) for x in labels], parts[0]) == pytest.approx(expected[0])


def test_v_measure_takes_resampled_rows_in_which_a_cluster_is_missing():
    assert aspects.v_measure(["a", "a", "b", "b"], np.array([0, 0, 7, 7])) == pytest.approx(1)
    with pytest.raises(ValueError, match="got 3 and 2"):
        aspects.v_measure(["a", "b"], np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="got 0 and 0"):
        aspects.v_measure([], np.array([]))


def test_clusters_find_the_prominent_label_and_neighbours_too(planted):
    rows, first, second = planted
    partitions = aspects.clusterings(rows, 3, n_seeds=4)
    assert partitions.shape == (4, 180)
    assert max(aspects.v_measure(first, part) for part in partitions) > 0.99
    assert aspects.v_measure(second, partitions) < 0.1
    assert aspects.neighbour_right(rows, first).mean() == 1
    assert aspects.neighbour_right(rows, second).mean() < 1


def test_clusters_are_the_same_in_every_run_and_differ_between_starts(planted):
    rows = np.random.default_rng(3).normal(size=(80, 5))
    again = [aspects.clusterings(rows, 5, n_seeds=3) for _ in range(2)]
    assert np.array_equal(*again)
    assert aspects.v_measure(again[0][0], again[0][1]) < 1


def test_the_length_of_a_text_plays_no_role(planted):
    rows, first, _ = planted
    scaled = rows * np.linspace(0.1, 9, 180)[:, None]
    assert np.array_equal(aspects.clusterings(rows, 3, 2), aspects.clusterings(scaled, 3, 2))
    assert np.array_equal(aspects.neighbour_right(rows, first), aspects.neighbour_right(scaled, first))


def test_a_neighbour_is_never_the_text_itself():
    rows = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0]])
    assert aspects.neighbour_right(rows, ["a", "b", "a", "b"], k=1).tolist() == [0, 0, 0, 0]
    assert aspects.neighbour_right(rows, ["a", "a", "b", "b"], k=1).tolist() == [1, 1, 1, 1]


def test_the_nearer_of_two_neighbours_decides_a_tie():
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    assert aspects.neighbour_right(rows, ["a", "a", "b"], k=2)[0] == 1
    assert aspects.neighbour_right(rows, ["a", "b", "a"], k=2)[0] == 0


def test_a_probe_finds_what_is_present_but_not_prominent(planted):
    rows, _, second = planted
    probe = aspects.probe_right(rows, second)
    assert set(probe) <= {0.0, 1.0} and probe.mean() > 0.9
    assert probe.mean() > aspects.neighbour_right(rows, second).mean()
    assert np.array_equal(probe, aspects.probe_right(rows * 50, second))  # the unit of the embeddings plays no role


def test_a_probe_does_not_find_what_is_not_there(planted):
    rows, _, _ = planted
    noise = np.random.default_rng(4).permutation(np.tile(["x", "y"], 90))
    assert 0.25 < aspects.probe_right(rows, noise).mean() < 0.75


def test_too_few_texts_and_broken_rows_are_refused(planted):
    rows, first, second = planted
    with pytest.raises(ValueError, match="k=181"):
        aspects.clusterings(rows, 181)
    for broken in (np.where(rows == rows[3], np.nan, rows), np.where(np.arange(180)[:, None] == 3, 0, rows)):
        with pytest.raises(ValueError, match=r"NaN or infinity in row\(s\) \[3\]|row 3 of embeddings is all zeros"):
            aspects.clusterings(broken, 3)
    with pytest.raises(ValueError, match="179 other texts; got 180"):
        aspects.neighbour_right(rows, first, k=180)
    with pytest.raises(ValueError, match="between 2 and 60"):
        aspects.probe_right(rows, first, folds=61)
