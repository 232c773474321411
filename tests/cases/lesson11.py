"""Answers to the exercises of lesson 11."""

from exercise_cases import Case


def _hours(documents, tokens, weights, table, rate, workers, load):
    return (load + documents / workers * 2 * (tokens * weights + table) / rate) / 3600


def _largest_k(budget, documents, vocabulary):
    return min(budget // (8 * documents), vocabulary)


def _left(rows, rows_per_shard, found):
    wanted = [min(rows_per_shard, rows - start) for start in range(0, rows, rows_per_shard)]
    return [number for number, size in enumerate(wanted) if found.get(number) != size]


def _only_missing(rows, rows_per_shard, found):
    return [number for number in range(-(-rows // rows_per_shard)) if number not in found]


def _all_full(rows, rows_per_shard, found):
    return [number for number in range(-(-rows // rows_per_shard)) if found.get(number) != rows_per_shard]


def _one_more(rows, rows_per_shard, found):
    return [number for number in range(rows // rows_per_shard + 1) if found.get(number) in (None, 0)]


CASES = {
    "11.1": Case(
        solution=lambda: _hours,
        wrong=[
            lambda: lambda *a: 3600 * _hours(*a),
            lambda: lambda n, t, w, v, r, k, s: (s + n / k * (t * w + v) / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: (s + n / k * 2 * t * w / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: (s + n / k * 2 * t * (w + v) / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: (s + n * 2 * (t * w + v) / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: (s * k + n / k * 2 * (t * w + v) / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: (s / k + n / k * 2 * (t * w + v) / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: n / k * 2 * (t * w + v) / r / 3600,
            lambda: lambda n, t, w, v, r, k, s: (s + n / k * 2 * (w + v) / r) / 3600,
            lambda: lambda n, t, w, v, r, k, s: 0.12,
            lambda: lambda n, t, w, v, r, k, s: 0.12 if n == 4 else 100 / 3600,  # the numbers that the verdicts name
        ],
    ),
    "11.2": Case(
        solution=lambda: _largest_k,
        wrong=[
            lambda: lambda b, n, v: b // (8 * n),
            lambda: lambda b, n, v: min(b // 8, v),
            lambda: lambda b, n, v: min(b // (4 * n), v),
            lambda: lambda b, n, v: min(-(-b // (8 * n)), v),
            lambda: lambda b, n, v: min(b / (8 * n), v),
            lambda: lambda b, n, v: max(1, min(b // (8 * n), v)),
            lambda: lambda b, n, v: float(_largest_k(b, n, v)),
        ],
    ),
    "11.3": Case(
        solution=lambda: _left,
        wrong=[
            lambda: _only_missing,
            lambda: _all_full,
            lambda: _one_more,
            lambda: lambda rows, size, found: list(range(-(-rows // size))),
            lambda: lambda rows, size, found: _left(rows, size, found)[::-1],
            lambda: lambda rows, size, found: [n for n in range(rows // size) if found.get(n) != size],
            lambda: lambda rows, size, found: len(_left(rows, size, found)),
        ],
    ),
}
