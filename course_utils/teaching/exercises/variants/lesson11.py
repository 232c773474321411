"""Variants of lesson 11: workers that load again, postings of another size, shards that somebody else makes."""

from course_utils.teaching.exercises.variants import numbers


def _plan(rng) -> tuple:
    documents, tokens, weights, table, workers, load = (int(n) for n in rng.integers(2, 60, size=6))
    return documents * workers, tokens, weights, table, 3.0, workers, load


def _hours(x: int, documents, tokens, weights, table, rate, workers, load) -> float:
    each = (tokens * weights + tokens * weights + table + table) / rate
    return ((x + 1) * load + each * documents / workers) / 3600


def _found(rng) -> tuple[int, int, dict]:
    drawn = rng.choice(30, size=15, replace=False).tolist()
    return 295, 10, {n: (None if n in drawn[:5] else 5 if n == 29 else 10) for n in range(30) if n not in drawn[5:]}


def _left(x: int, rows: int, size: int, found: dict) -> list[int]:
    wanted = {n: min(size, rows - n * size) for n in range(-(-rows // size))}
    return [n for n in sorted(wanted) if n >= x and found.get(n) != wanted[n]]


VARIES = (
    numbers(
        "11.1",
        range(1, 12),
        published=0,
        task="Every worker is ended {x} times and has to load the model again each time; no document is lost.",
        inputs=_plan,
        expected=_hours,
        solution="def variant(documents, tokens, weights, table, rate, workers, load):\n"
        "    return hours(documents, tokens, weights, table, rate, workers, ({x} + 1) * load)",
    ),
    numbers(
        "11.2",
        (3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 16, 18, 20),
        published=8,
        task="A posting takes {x} bytes in the place of 8.",
        inputs=lambda rng: (
            int(rng.integers(10**6, 10**8)),
            int(rng.integers(2, 400)),
            int(rng.integers(10**3, 10**5)),
        ),
        expected=lambda x, budget, documents, vocabulary: min(budget // documents // x, vocabulary),
        solution="def variant(budget, documents, vocabulary):\n    return min(budget // ({x} * documents), vocabulary)",
    ),
    numbers(
        "11.3",
        range(2, 16),
        published=0,
        task="The first {x} shards, numbers 0 to {x} − 1, are made by somebody else: leave them out.",
        inputs=_found,
        expected=_left,
        solution="def variant(rows, rows_per_shard, found):\n"
        "    return [n for n in left_over(rows, rows_per_shard, found) if n >= {x}]",
    ),
)
