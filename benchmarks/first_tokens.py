"""Seconds from starting Python to the first aligned tokens, with the model already in the cache.

    python benchmarks/first_tokens.py

Every measurement is a fresh process; its clock starts before the interpreter
does. The first one also reads the files into the system's page cache, so it is
reported apart.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = "A man is playing a guitar on stage."

# What a reader's first cells do, with the time of day after each part.
CHILD = """
import json, sys, time
marks = {"interpreter": time.time()}
from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.models.embedder import load
marks["imports"] = time.time()
made = load(sys.argv[1])
marks["model"] = time.time()
embedding = made.encode([sys.argv[2]])
marks["embedding"] = time.time()
ids, _ = top_tokens(embedding, made.unembedding, 10, special_ids(made.tokenizer, len(made.unembedding)))
tokens = made.tokenizer.batch_decode(ids[0][:, None])
marks["aligned tokens"] = time.time()
print(json.dumps({"marks": marks, "tokens": tokens}))
"""


def measure(embedder: str) -> tuple[dict[str, float], list[str]]:
    """Seconds after the start at which each part was done, and the tokens."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, embedder, TEXT], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the process failed:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return {name: at - start for name, at in answer["marks"].items()}, answer["tokens"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedder", default="smol-eol", help="a registry entry")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes after the first")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds; more gives exit status 1")
    args = parser.parse_args()

    first, tokens = measure(args.embedder)
    runs = [measure(args.embedder)[0] for _ in range(args.repeats)]
    print(f"{args.embedder}: {TEXT!r} -> {' '.join(repr(token) for token in tokens)}\n")
    print("| done | first process, s | later processes, s: median (lowest to highest) |")
    print("| --- | --- | --- |")
    for name in first:
        values = [run[name] for run in runs]
        print(
            f"| {name} | {first[name]:.1f} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) |"
        )
    median = statistics.median(run["aligned tokens"] for run in runs)
    print(f"\n{median:.1f} s to the first aligned tokens; the limit is {args.limit:.0f} s.")
    return int(median > args.limit)


if __name__ == "__main__":
    sys.exit(main())
