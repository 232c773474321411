"""What several workers bring: Ray on this machine, and on two nodes of a cluster that is simulated here.

    python benchmarks/scale.py            # some minutes on two quiet cores
    python benchmarks/scale.py --quick    # does it work? the figures mean little

The rivals encode the same paragraphs in float32, one after the other, in an order that changes from repeat to repeat:

* plain: one process, a loop over ``Embedder.encode``, with as many threads as there are workers;
* two workers: ``scale.encode`` on this machine, one thread each;
* two nodes: the same on a cluster of two nodes with one core each, which Ray simulates on this machine.

Documents a second count from the first text on; the start of Ray and the loading of the model, which a large corpus
does not notice, stand beside it. Before anything is timed, all must agree to 1e-6 of the largest value.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from course_utils.models.embedder import load
from course_utils.search.scale import cluster, corpus, encode, measured, shards

#: Largest difference to the plain loop, as a share of the largest value, at which figures are told.
AGREEMENT = 1e-6


@contextmanager
def two_nodes(workers: int) -> Iterator[str]:
    """The address of a cluster that Ray simulates: so many nodes with a core each."""
    ray = cluster.package()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": cluster.STORE, "include_dashboard": False}
    with cluster.light_processes():
        nodes = Cluster(initialize_head=True, head_node_args=node)
        try:
            for _ in range(workers - 1):
                nodes.add_node(**node)
            nodes.wait_for_nodes()
            yield nodes.address
        finally:
            ray.shutdown()
            nodes.shutdown()


def plain(name: str, texts: list[str], per_shard: int) -> tuple[float, np.ndarray]:
    embedder = load(name, device="cpu")
    embedder.encode(texts[:2], role="passage", progress=False)  # warm up
    start = time.perf_counter()
    pieces = range(0, len(texts), per_shard)
    rows = [embedder.encode(texts[i : i + per_shard], role="passage", progress=False) for i in pieces]
    return len(texts) / (time.perf_counter() - start), np.concatenate(rows)


def by_workers(args, folder: Path, out: Path, address: str | None) -> tuple[encode.Encoded, np.ndarray]:
    made = encode.encode(
        folder,
        args.embedder,
        out,
        address=address,
        workers=args.workers,
        rows_per_shard=args.per_shard,
        device="cpu",
        report=lambda line: None,
    )
    return made, shards.load(out)[1]


def check(name: str, rows: np.ndarray, expected: np.ndarray) -> None:
    difference = float(np.abs(rows - expected).max() / np.abs(expected).max())
    if difference > AGREEMENT:
        raise SystemExit(
            f"{name} differs from the plain loop by {difference:.1e} of the largest value; nothing is told"
        )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few paragraphs, one repeat")
    parser.add_argument("--embedder", default="smol-sgpt-nli")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--documents", type=int, help="by default 512, or 32 with --quick")
    parser.add_argument("--per-shard", type=int, help="documents in a shard; by default a sixteenth of them")
    parser.add_argument("--repeats", type=int, help="by default 3, or 1 with --quick")
    args = parser.parse_args()
    n, repeats = args.documents or (32 if args.quick else 512), args.repeats or (1 if args.quick else 3)
    args.per_shard = args.per_shard or max(1, n // 16)

    # On a busy machine threads wait for each other, so that the plain loop loses far more than the workers do.
    print(f"Load of the machine before: {os.getloadavg()[0]:.1f}; the ratios mean something below 0.5 only.\n")
    documents = measured.paragraphs(n)
    torch.set_num_threads(args.workers)
    rates: dict[str, list[float]] = {"plain": [], "workers": [], "nodes": []}
    begin: dict[str, list[float]] = {"workers": [], "nodes": []}
    memory = 0
    with tempfile.TemporaryDirectory() as room:
        corpus.write(Path(room, "beir"), documents)
        for repeat in range(repeats):
            order = list(rates) if repeat % 2 == 0 else list(rates)[::-1]
            found = {}
            for rival in order:
                if rival == "plain":
                    rate, found[rival] = plain(args.embedder, list(documents.values()), args.per_shard)
                    rates[rival].append(rate)
                    continue
                start = time.perf_counter()
                with two_nodes(args.workers) if rival == "nodes" else cluster.running(workers=args.workers) as address:
                    out = Path(room, f"{rival}{repeat}")
                    made, found[rival] = by_workers(args, Path(room, "beir"), out, address)
                rates[rival].append(made.rate)
                begin[rival].append(time.perf_counter() - start - made.made / made.rate)
                memory = max(memory, *(f.memory for f in made.shards))
            for rival in ("workers", "nodes"):
                check(rival, found[rival], found["plain"])
    print(f"{args.embedder}, {n} paragraphs in shards of {args.per_shard}, {repeats} repeat(s), float32\n")
    print("| | documents a second | of the plain loop | start, loading and end, s |\n| --- | --- | --- | --- |")
    names = {"plain": f"plain loop, {args.workers} threads", "workers": f"{args.workers} workers of 1 thread",
             "nodes": f"{args.workers} simulated nodes of 1 core"}  # fmt: skip
    for rival, values in rates.items():
        ratios = [a / b for a, b in zip(values, rates["plain"], strict=True)]
        beside = "" if rival == "plain" else f"{statistics.median(begin[rival]):.0f}"
        print(f"| {names[rival]} | {spread(values)} | {'1' if rival == 'plain' else spread(ratios)} | {beside} |")
    print(f"\nMemory of a worker: at most {memory / 2**30:.2f} GiB.")


if __name__ == "__main__":
    main()
