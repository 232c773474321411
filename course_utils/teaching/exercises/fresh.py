"""Inputs that no answer can have seen, for the end of a check.

What a check says about fixed inputs names their results, so that a learner can find the mistake. A function that only
returns those results passes all of them. So the last input of a check is drawn anew each time it runs, and the verdict
on it names no number: two runs of one answer say the same.
"""

import numpy as np

#: What is said of a function that is right for the fixed inputs only.
ONLY_THE_SHOWN = "right for the inputs that the check shows, wrong for others drawn at random: what does it not use?"


def generator() -> np.random.Generator:
    """A source of random numbers without a seed."""
    return np.random.default_rng()


def differs(value, expected, tolerance: float = 1e-6) -> bool:
    """Whether a result for a drawn input is wrong: another shape, or further away than the tolerance."""
    found, wanted = np.asarray(value, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return found.shape != wanted.shape or not np.allclose(found, wanted, rtol=tolerance, atol=tolerance)
