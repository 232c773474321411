"""Cross-fitting: each half gets what the other half says; steps of many texts decode as one by one."""

import numpy as np
import pytest

from course_utils.measures import alignment, crossfit, spectrum


def texts(n=20, d=6, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.permutation(np.arange(n) % 2 == 0)
    planted = np.eye(d)[[1, 3]]
    return (30 * planted[np.where(first, 0, 1)] + rng.normal(size=(n, d))).astype(np.float32), first, planted


def test_each_half_gets_the_component_and_the_length_of_the_other():
    rows, first, planted = texts()
    found = crossfit.first_components(rows, first)
    assert (np.abs((found.directions * planted[::-1]).sum(axis=1)) > 0.99).all()
    for number, other in enumerate((~first, first)):
        u = spectrum.components(rows[other]).directions[0]
        np.testing.assert_allclose(found.directions[number], u, atol=1e-6)
        assert found.coefficients[number] == pytest.approx((rows[other] @ u).mean(), rel=1e-5)


def test_the_step_takes_a_share_of_the_length_away_and_can_have_another_length():
    rows, first, _ = texts()
    found = crossfit.first_components(rows, first)
    np.testing.assert_allclose(found.steps(0.5), -0.5 * found.coefficients[:, None] * found.directions)
    np.testing.assert_allclose(found.steps(lengths=[2.0, 3.0]), -np.array([[2.0], [3.0]]) * found.directions)
    moved = crossfit.stepped(rows, first, found.steps())
    np.testing.assert_allclose(moved[first], rows[first] + found.steps()[0], atol=1e-4)
    np.testing.assert_allclose(moved[~first], rows[~first] + found.steps()[1], atol=1e-4)
    with pytest.raises(ValueError, match=r"one length for each half, \[2\]; got \(3,\)"):
        found.steps(lengths=[1, 2, 3])


def test_the_two_by_two_crosses_direction_and_length_beside_random_directions():
    one, two = (crossfit.first_components(texts(seed=seed)[0], texts(seed=seed)[1]) for seed in (0, 5))
    drawn = np.eye(6)[:3]
    steps = crossfit.two_by_two(one, two, drawn, 0.5, ("own", "English"))
    assert len(steps) == 1 + 4 + 2 * 3 and not steps["before"].any()
    np.testing.assert_allclose(steps["own direction, own length"], one.steps(0.5))
    np.testing.assert_allclose(
        steps["own direction, English length"], -0.5 * two.coefficients[:, None] * one.directions
    )
    np.testing.assert_allclose(steps["English direction, English length"], two.steps(0.5))
    for name, step in steps.items():
        if name != "before":
            owner = one if "own" in (name[0], str(name).split()[-2]) else two
            np.testing.assert_allclose(np.linalg.norm(step, axis=1), 0.5 * owner.coefficients, rtol=1e-5)
    with pytest.raises(ValueError, match=r"directions must be \[r, 6\]"):
        crossfit.two_by_two(one, two, np.eye(5))


def test_many_steps_decode_as_one_by_one():
    rows, first, _ = texts()
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(50, 6)).astype(np.float32)
    steps = {"none": np.zeros((2, 6)), 7: rng.normal(size=(2, 6)) * 9, ("a", 1): -np.ones((2, 6))}
    found = crossfit.top_tokens(rows, weight, first, steps, k=8, exclude=[3, 4])
    assert list(found) == list(steps)
    for name, step in steps.items():
        expected, _ = alignment.top_tokens(crossfit.stepped(rows, first, step), weight, 8, [3, 4])
        np.testing.assert_array_equal(found[name], expected)
    assert (found["none"] != found[7]).any() and not np.isin(found[7], [3, 4]).any()
    assert crossfit.top_tokens(rows, weight, first, {}) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first_half": np.zeros(20)}, "20 times true or false; got float64"),
        ({"first_half": np.ones(20, dtype=bool)}, "each half needs two texts; got 20 and 0"),
        ({"first_half": np.ones(7, dtype=bool)}, "20 times true or false"),
        ({"steps": {"x": np.zeros((1, 6))}}, r"step 'x' must be \[2, 6\]"),
        ({"steps": {"x": np.full((2, 6), np.nan)}}, "step 'x'"),
        ({"unembedding": np.ones((50, 5), np.float32)}, "differ in width"),
        ({"k": 51}, "k must"),
        ({"exclude": [50]}, "exclude"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    rows, first, _ = texts()
    given = {"embeddings": rows, "unembedding": np.ones((50, 6), np.float32), "first_half": first, "steps": {}} | change
    with pytest.raises(ValueError, match=said):
        crossfit.top_tokens(**given)
