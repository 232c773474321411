"""Costs at scale: time, memory and money for a million to a billion documents, from a few measurements.

What is measured stands in ``data/scale_measured.json`` (:mod:`course_utils.search.scale.measured`); everything beyond
is extrapolated by the formulas here, and every figure says which of the two it is:

* *encoding*: ``flops(n) / rate`` for a document of n tokens, with the rate of a measured model or block. The documents
  have nothing to do with each other, so N of them take N times as long, on w workers a w-th of it, plus what every
  worker needs to load the model;
* *index sizes*: dense ``4 · d`` bytes a document, sparse ``8 · K``; engines that compress need less;
* *building the index* sorts ``N · K`` postings: the whole index is written once, and once more for every merge,
  ``⌈log_f(bytes / memory)⌉`` of them when f sorted runs are merged at a time;
* *a query* reads ``N · share · K / 128`` postings, where the share is assumed, and asks as many machines as the index
  needs memory for.

Money is seconds and bytes times prices, which are inputs: those of :data:`PRICES` are round numbers that we assumed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from course_utils import gates
from course_utils.search.costs import DENSE_BYTES, POSTING_BYTES
from course_utils.search.scale.architectures import Architecture

#: Sorted runs that are merged at a time.
FAN_IN = 16
#: K for which :attr:`Plan.share` is given.
USUAL_K = 128
#: Queries that ask for their ten best documents.
BEST = 10
#: How a rate is known.
MEASURED, ONE_BLOCK = "measured", "one block measured"


def _positive(value: float, name: str, zero: bool = False) -> float:
    number = float(gates.vector([value], name)[0])
    if number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be {'0 or more' if zero else 'larger than 0'}; got {value!r}")
    return number


@dataclass(frozen=True)
class Prices:
    """What things cost, in one currency; hours of work, and months of keeping.

    Attributes:
        core_hour, gpu_hour: of computing.
        ram_gb_month: of a GB (10⁹ bytes) of memory in a machine that is kept ready for queries.
        noted: when these numbers were written down.
    """

    core_hour: float
    gpu_hour: float
    ram_gb_month: float
    noted: str

    def __post_init__(self):
        for name in ("core_hour", "gpu_hour", "ram_gb_month"):
            _positive(getattr(self, name), name, zero=True)


#: Round numbers in US dollars, assumed for the examples; no vendor's offer. Put in your own.
PRICES = Prices(core_hour=0.05, gpu_hour=3.0, ram_gb_month=3.0, noted="November 2026, assumed")


class Rate(NamedTuple):
    """Floating-point operations per second of one worker, and how they are known."""

    flops: float
    known: str


def rate(measured: dict, architecture: Architecture, threads: int = 1) -> Rate:
    """The rate at which this architecture works: of the whole model if that was measured, else of one block.

    A whole model is somewhat slower than its blocks, which stay in the cache when measured alone; where models at hand
    tell by how much (:func:`whole_over_blocks`), that is taken into account.

    Raises:
        ValueError: neither was measured with so many threads.
    """
    rows = [row for row in measured["rows"] if row["threads"] == threads]
    whole = [row for row in rows if row["what"] == "model" and _backbone(row) == architecture.name]
    if whole:
        largest = max(whole, key=lambda row: row["documents"])
        return Rate(largest["flops"] / largest["seconds"], MEASURED)
    block = [row for row in rows if row["what"] == "block" and row["name"] == architecture.name]
    if not block:
        raise ValueError(
            f"{architecture.name} was not measured with {threads} thread(s): several-tokens scale measure does it"
        )
    ratios = whole_over_blocks(measured, threads)
    share = sum(ratios.values()) / len(ratios) if ratios else 1.0
    return Rate(share * block[0]["flops"] / block[0]["seconds"], ONE_BLOCK)


def whole_over_blocks(measured: dict, threads: int = 1) -> dict[str, float]:
    """For models of which both were measured: the rate of the whole model over that of one block, by its backbone."""
    rows = [row for row in measured["rows"] if row["threads"] == threads]
    blocks = {row["name"]: row["flops"] / row["seconds"] for row in rows if row["what"] == "block"}
    whole = sorted((row for row in rows if row["what"] == "model"), key=lambda row: row["documents"])
    rates = {_backbone(row): row["flops"] / row["seconds"] for row in whole}  # the largest number of documents counts
    return {name: value / blocks[name] for name, value in rates.items() if name in blocks}


def _backbone(row: dict) -> str:
    from course_utils.search.scale import architectures

    return architectures.of(row["name"]).name


# --- A collection ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A collection and how it is to be searched.

    Attributes:
        documents: how many, N.
        tokens: in a document.
        k: aligned tokens kept of each.
        workers: that encode at the same time.
        load_seconds: until a worker has the model in memory.
        ram_gb: of one machine that serves queries.
        sort_gb: of memory for building the index.
        share: of all documents that hold a query's average token where K is :data:`USUAL_K`, times its number of
            tokens; assumed. Lesson 04 counts it in a collection.
    """

    documents: int
    tokens: float = 100
    k: int = 128
    workers: int = 1
    load_seconds: float = 10
    ram_gb: float = 64
    sort_gb: float = 8
    share: float = 0.1

    def __post_init__(self):
        for name in ("documents", "k", "workers"):
            gates.whole(getattr(self, name), name)
        for name in ("tokens", "ram_gb", "sort_gb"):
            _positive(getattr(self, name), name)
        for name in ("load_seconds", "share"):
            _positive(getattr(self, name), name, zero=True)


class Account(NamedTuple):
    """What a plan needs. Seconds are those of all workers together; bytes are those of the whole index.

    Attributes:
        encode_seconds: encoding and decoding, with loading the model.
        elapsed_seconds: the same on the clock, with the workers side by side.
        dense_bytes, sparse_bytes: the index.
        merges: how often the postings are read and written again while they are sorted.
        machines: that serve the sparse index from memory.
        postings_read: by one query: ``share · K / 128 · N``, as the lists grow in proportion to K. An assumption.
        merged_scores: comparisons to put the machines' ten best together.
        build_cost: of encoding, in the prices' currency.
        month_cost: of the memory of those machines for a month.
        known: whether the rate was measured, and how.
    """

    encode_seconds: float
    elapsed_seconds: float
    dense_bytes: int
    sparse_bytes: int
    merges: int
    machines: int
    postings_read: float
    merged_scores: float
    build_cost: float
    month_cost: float
    known: str


def account(
    plan: Plan, architecture: Architecture, speed: Rate, prices: Prices = PRICES, *, gpu: bool = False, cores: int = 1
) -> Account:
    """Time, memory and money of a plan; all of it follows from the formulas in the module's text.

    Args:
        plan: the collection.
        architecture: of the embedder.
        speed: of one worker, from :func:`rate`, or one that you assume.
        prices: of computing and keeping.
        gpu: whether a worker is a GPU; else it is ``cores`` cores.
        cores: of one worker.
    """
    n, each = plan.documents, architecture.flops(plan.tokens) / speed.flops
    busy = plan.workers * plan.load_seconds + n * each
    elapsed = plan.load_seconds + math.ceil(n / plan.workers) * each
    sparse = POSTING_BYTES * plan.k * n
    machines = math.ceil(sparse / (plan.ram_gb * 1e9))
    hour = prices.gpu_hour if gpu else cores * prices.core_hour
    return Account(
        encode_seconds=busy,
        elapsed_seconds=elapsed,
        dense_bytes=DENSE_BYTES * architecture.width * n,
        sparse_bytes=sparse,
        merges=merges(sparse, plan.sort_gb * 1e9),
        machines=machines,
        postings_read=plan.share * plan.k / USUAL_K * n,
        merged_scores=BEST * machines * math.log2(machines) if machines > 1 else 0.0,
        build_cost=busy / 3600 * hour,
        month_cost=machines * plan.ram_gb * prices.ram_gb_month,
        known=speed.known,
    )


def merges(size: float, memory: float, fan_in: int = FAN_IN) -> int:
    """How often sorted runs must be merged until one is left: ``⌈log_f(⌈size / memory⌉)⌉``; 0 if all fits into memory.

    This is the part of building that does not stay flat: a step up for every factor f (Knuth, "The Art of Computer
    Programming" 3, section 5.4).
    """
    runs, count = math.ceil(_positive(size, "size", zero=True) / _positive(memory, "memory")), 0
    gates.whole(fan_in, "fan_in", 2)
    while runs > 1:
        runs, count = math.ceil(runs / fan_in), count + 1
    return count


def per_document(
    sizes: Sequence[int], architecture: Architecture, speed: Rate, prices: Prices = PRICES, **plan: float
) -> pd.DataFrame:
    """What one document costs in collections of several sizes: what stays flat, and what does not.

    Returns:
        One row for each size, with ``documents``, ``encode s``, ``build cost``, ``sparse bytes``, ``dense bytes``
        (these four stay flat, the first two as soon as loading the model no longer counts), ``merges``, ``machines``
        and ``postings a query`` (these grow).
    """
    rows = []
    for size in sizes:
        a = account(Plan(size, **plan), architecture, speed, prices)
        flat = (a.encode_seconds / size, a.build_cost / size, a.sparse_bytes // size, a.dense_bytes // size)
        rows.append((size, *flat, a.merges, a.machines, a.postings_read))
    names = ["documents", "encode s", "build cost", "sparse bytes", "dense bytes", "merges", "machines"]
    return pd.DataFrame(rows, columns=[*names, "postings a query"])


def curves(
    measured: dict, models: Mapping[str, Architecture], sizes: Sequence[int], tokens: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Core hours to encode collections of several sizes with several models, and what was measured of it, on one core.

    Args:
        measured: rows of :mod:`course_utils.search.scale.measured`.
        models: architectures by the name that a figure shows.
        sizes: numbers of documents.
        tokens: in a document.

    Returns:
        Two tables with the columns ``model``, ``documents``, ``hours``, ``known``: the lines, which are extrapolated
        from the rate of the largest measurement, and the measured points, with the time to load the model.
    """
    lines, points = [], []
    for name, shape in models.items():
        speed = rate(measured, shape)
        whole = [
            r for r in measured["rows"] if r["what"] == "model" and r["threads"] == 1 and _backbone(r) == shape.name
        ]
        load = whole[0]["load_seconds"] if whole else Plan.load_seconds
        plans = [Plan(n, tokens, load_seconds=load) for n in sizes]
        lines += [(name, p.documents, account(p, shape, speed).encode_seconds / 3600, speed.known) for p in plans]
        points += [(name, r["documents"], (load + r["seconds"]) / 3600, MEASURED) for r in whole]
    columns = ["model", "documents", "hours", "known"]
    return pd.DataFrame(lines, columns=columns), pd.DataFrame(points, columns=columns)


def tell(embedder: str, plan: Plan, core_hour: float | None = None, report: Callable[[str], object] = print) -> Account:
    """Print the :class:`Account` of a plan, with how each figure is known; returns it.

    Raises:
        ValueError: an embedder whose numbers or rate are not known, or a price below 0.
    """
    from course_utils.search.scale import architectures, measured

    held, shape = measured.stored(), architectures.of(embedder)
    prices = PRICES if core_hour is None else replace(PRICES, core_hour=core_hour, noted="your core hour, else assumed")
    a = account(plan, shape, rate(held, shape), prices)
    report(f"{plan.documents:,} documents of {plan.tokens:g} tokens, {shape.parameters:,} parameters, K = {plan.k}")
    report(
        f"  rate: {a.known}, on {held['machine']['processor']} ({held['date']}), one core; all below is extrapolated"
    )
    report(f"  encoding: {readable_seconds(a.elapsed_seconds)} with {plan.workers} worker(s) of one core each")
    report(f"  its price: {a.build_cost:,.2f} at {prices.core_hour:g} a core hour ({prices.noted})")
    report(f"  dense index: {readable_bytes(a.dense_bytes)}; sparse index: {readable_bytes(a.sparse_bytes)} at most")
    report(
        f"  {a.machines} machine(s) with {plan.ram_gb:g} GB keep it, for {a.month_cost:,.2f} a month ({prices.noted})"
    )
    report(
        f"  {a.merges} merge(s) while sorting; a query reads {a.postings_read:,.0f} postings (share of lists assumed)"
    )
    return a


def largest_k(budget_bytes: float, documents: int) -> int:
    """The largest K whose index, 8 bytes a posting, fits into a budget; 0 if not even one token a document does."""
    for_one = POSTING_BYTES * gates.whole(documents, "documents")
    return int(_positive(budget_bytes, "budget_bytes", zero=True) // for_one)


def readable_seconds(seconds: float) -> str:
    """Seconds, minutes, hours, days or years, with two digits."""
    seconds = _positive(seconds, "seconds", zero=True)
    units = (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("min", 60), ("s", 1))
    unit, size = next((u for u in units if seconds >= 2 * u[1]), units[-1])
    amount = seconds / size
    return f"{amount:.2g} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def readable_bytes(size: float) -> str:
    """Bytes in powers of ten, with two or three digits."""
    size = _positive(size, "size", zero=True)
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"
