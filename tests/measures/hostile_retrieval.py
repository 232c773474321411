"""Generated runs and judgements for ``retrieval_scores``, in a process of their own (see ``test_evaluation.py``).

Prints how many calls ended in an answer and how many in an error of ours. Any other end fails.
"""

import math
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path[:0] = map(str, (Path(__file__).parents[1], Path(__file__).parents[2]))

from ours import outcome  # noqa: E402

from course_utils.measures import evaluation  # noqa: E402

IDS = st.one_of(
    st.sampled_from("abcd"), st.sampled_from("abcd"), st.text(max_size=3), st.integers(0, 3),
    st.sampled_from(["\ud83d", "a\0b", "a\0", "", " ", "a b", "x" * 5000, "é", "e\u0301", None]),
)  # fmt: skip
GRADES = st.one_of(
    st.integers(-2, 4), st.integers(-2, 4).map(np.int64), st.integers(), st.floats(), st.booleans(), st.none(),
    st.sampled_from([2**31 - 1, 2**40, -(2**31), 1000, "1"]),
)  # fmt: skip
SCORES = st.one_of(
    st.floats(), st.floats(-1, 1), st.integers(-5, 5), st.just(np.float32(0.5)), st.none(), st.text(max_size=1)
)
SOUND_IDS, SOUND_GRADES = st.sampled_from("abcd"), st.integers(-1, 3)
MEASURES = st.lists(
    st.sampled_from(["nDCG@10", "R@100", "RR", "AP", "P@5", "P@0", "P", "nope", "Rprec"]), min_size=1, max_size=3
)
ENDS: Counter = Counter()


def tables(ids, values):
    return st.dictionaries(ids, st.dictionaries(ids, values, max_size=4), max_size=3)


def reciprocal_rank(run, judged):
    order = sorted(run, key=lambda d: (-run[d], d))
    return next((1 / (place + 1) for place, d in enumerate(order) if judged.get(d, 0) > 0), 0.0)


def check(run, qrels, measures):
    found = outcome(evaluation.retrieval_scores, run, qrels, measures)
    ENDS[isinstance(found, Exception)] += 1
    if not isinstance(found, Exception):
        assert found.keys() == set(measures)
        assert all(0 <= value <= 1 and math.isfinite(value) for own in found.values() for value in own.values())
        for query, value in found.get("RR", {}).items():
            assert math.isclose(value, reciprocal_rank(run.get(query, {}), qrels[query]), rel_tol=1e-6)


@settings(max_examples=250, derandomize=True, deadline=None, database=None)
@given(tables(IDS, SCORES), tables(IDS, GRADES), MEASURES)
def anything(run, qrels, measures):
    check(run, qrels, measures)


@settings(max_examples=250, derandomize=True, deadline=None, database=None)
@given(tables(SOUND_IDS, st.floats(-1, 1)), tables(SOUND_IDS, SOUND_GRADES), st.just(["RR", "nDCG@10", "AP"]))
def sound(run, qrels, measures):
    check({query: own for query, own in run.items() if query in qrels}, qrels, measures)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # queries without a relevant document, which are counted
        anything()
        sound()
    print(ENDS[False], ENDS[True])
