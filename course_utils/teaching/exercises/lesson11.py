"""Checks of lesson 11: from a laptop to a cluster. Expectations are counted by hand, on small round numbers."""

from collections.abc import Callable
from itertools import islice

from course_utils.teaching.exercises import AnswerError, as_number, exercise, fresh, right


@exercise(
    "11.1",
    title="Estimate before you measure",
    difficulty=1,
    minutes=10,
    expects="a function of documents, tokens (of each), weights (of the blocks), table (V · d), rate (floating-point "
    "operations per second of one worker), workers and load (seconds) that returns the hours on the clock",
    accepts=Callable,
)
def hours(answer):
    # 4 · (10 · 90 + 100) · 2 = 8000 operations: 4 documents on 2 workers at 10 a second each take 400 s, loading 32 s.
    asked = {"documents": 4, "tokens": 10, "weights": 90, "table": 100, "rate": 10.0, "workers": 2, "load": 32.0}
    seconds = 3600 * as_number(answer(*asked.values()))
    tries = {
        432 * 3600: "your result is in seconds, the answer is in hours",
        232: "a multiply-add is two floating-point operations: one product and one addition",
        392: "after the blocks the output layer decodes each text once: V · d multiply-adds more",
        1832: "the output layer runs once for each text, not once for each token of it",
        832: "the workers share the documents; each does its part of them",
        864: "the seconds of loading pass on all workers at once, side by side; count hours on the clock",
        416: "the workers load side by side: loading is not divided among them",
        400: "before the first document every worker has to load the model",
        464: "the workers load side by side, so the clock counts loading once",
        72: "weights work on every token of a text, and a text here has ten",
    }
    for wrong, why in tries.items():
        if abs(seconds - wrong) < 1e-6 * wrong:
            return why
    if abs(seconds - 432) > 1e-6:
        return (
            f"for {asked} the clock shows 32 s + 2 · 2 · (10 · 90 + 100) / 10 s = 432 s = 0.12 h; yours is "
            f"{seconds / 3600:g} h"
        )
    alone = 3600 * as_number(answer(6, 5, 20, 0, 4.0, 3, 0.0))  # two documents a worker, 2 · 5 · 20 / 4 = 50 s each
    if abs(alone - 100) > 1e-6:
        return f"6 documents on 3 workers are 2 each, 50 s a document and nothing to load: 100 s, yours is {alone:g} s"
    n, t, w, v, workers, load = (int(x) for x in fresh.generator().integers(2, 50, size=6))
    clock = (load + n * 2 * (t * w + v) / 3) / 3600
    if fresh.differs(as_number(answer(n * workers, t, w, v, 3.0, workers, load)), clock):
        return fresh.ONLY_THE_SHOWN
    return right(
        "two for each weight and token, plus the output layer: good to a factor of two, before anything has run"
    )


@exercise(
    "11.2",
    title="Choose K for a byte budget",
    difficulty=2,
    minutes=8,
    expects="a function of budget (bytes), documents and vocabulary (tokens that there are) that returns the largest K "
    "whose postings of 8 bytes fit into the budget: a whole number from 0 to vocabulary",
    accepts=Callable,
)
def largest_k(answer):
    cases = [
        ((10_000, 10, 50_000), 125, "10 000 bytes hold 1 250 postings, that is 125 for each of 10 documents"),
        ((10_079, 10, 50_000), 125, "a posting is kept whole or not at all: round down"),
        ((79, 10, 50_000), 0, "79 bytes hold nine postings, which is not one for each of ten documents"),
        ((10**9, 1, 49_152), 49_152, "a document cannot keep more tokens than the vocabulary has"),
        ((64 * 10**9, 10**7, 49_152), 800, "64 GB for ten million documents are 6 400 bytes each"),
    ]
    for asked, wanted, why in cases:
        given = answer(*asked)
        number = as_number(given)
        if number != wanted:
            hint = _hint(asked, number)
            return f"budget {asked[0]}, {asked[1]} documents, vocabulary {asked[2]}: {hint or why}; yours is {number:g}"
        if number != int(number) or isinstance(given, float):
            return f"K counts tokens: return a whole number, not {given!r}"
    documents, k, rest = (int(x) for x in fresh.generator().integers(2, 40_000, size=3))
    if fresh.differs(as_number(answer(8 * documents * k + rest % (8 * documents), documents, 50_000)), k):
        return fresh.ONLY_THE_SHOWN
    return right("the budget is a budget for N · K: ten times the documents leave a tenth of the tokens for each")


def _hint(asked: tuple[int, int, int], number: float) -> str:
    budget, documents, _ = asked
    if number == budget // 8:
        return "all documents share the budget"
    if number == budget // (4 * documents):
        return "a posting is a document's number and a weight, 4 bytes each"
    return ""


@exercise(
    "11.3",
    title="What is left after a kill?",
    difficulty=2,
    minutes=12,
    expects="a function of rows (of the whole collection), rows_per_shard and found (a dict {number of the shard: rows "
    "that could be read, or None where the file is damaged}) that returns the numbers of the shards to be made, in "
    "order",
    accepts=Callable,
)
def left_over(answer):
    cases = [
        ((10, 4, {}), [0, 1, 2], "nothing is there: all three are to be made, the last one with two rows"),
        ((10, 4, {0: 4, 1: 4, 2: 2}), [], "all three are whole: the last shard has only the two rows that are left"),
        ((10, 4, {0: 4, 2: 2}), [1], "shard 1 is missing between two that are there"),
        ((10, 4, {0: 4, 1: 3, 2: 2}), [1], "shard 1 holds three rows of four: half a shard does not count"),
        ((10, 4, {0: 4, 1: 4, 2: None}), [2], "shard 2 is damaged: what cannot be read does not count"),
        ((8, 4, {0: 4, 1: 4}), [], "8 rows are two shards: there is no empty third one"),
        ((8, 4, {0: 4}), [1], "of two shards the second is missing"),
    ]
    for (rows, size, found), wanted, why in cases:
        given = answer(rows, size, dict(found))
        try:
            numbers = [int(n) for n in islice(given, 10)]  # no case has more; a range may have a trillion
        except (TypeError, ValueError) as error:
            raise AnswerError(f"return the numbers of the shards, such as [0, 2]; yours is {given!r}") from error
        if numbers != wanted:
            order = "; in order, each once" if sorted(set(numbers)) == wanted else ""
            return f"{rows} rows, {size} a shard, found {found}: {why}{order}; yours is {numbers}"
    damaged = sorted(fresh.generator().choice(40, size=8, replace=False).tolist())
    found = {n: (None if n in damaged[:4] else 10) for n in range(40) if n not in damaged[4:]}
    if fresh.differs(answer(400, 10, dict(found)), damaged):
        return fresh.ONLY_THE_SHOWN
    return right("a run that may stop at any moment needs only this: to know what is whole, and do the rest")
