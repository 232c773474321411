"""How fast one GPU encodes, beside sentence-transformers on the same weights. Without a GPU it says so.

    python benchmarks/scale_gpu.py            # 20 000 paragraphs in bfloat16, less than ten minutes

Both embed the same paragraphs of Wikipedia, each with its number in front so that no two are equal, with the same
position-weighted mean. Before anything is timed the two must agree as well as bfloat16 lets them. The time counts from
text to numbers in the memory of the machine, the loading of the model does not.
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from encode import peer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from course_utils.models.embedder import load
from course_utils.search.scale.encode import GPU_BATCH_TOKENS
from course_utils.texts import datasets

#: Lowest cosine to the peer's embedding of the same text at which figures are told.
AGREEMENT = 0.99


def paragraphs(n: int) -> list[str]:
    source = itertools.cycle(datasets.wikipedia_retrieval().corpus.values())
    return [f"{number}. {text}" for number, text in zip(range(n), source, strict=False)]


def timed(work) -> tuple[float, np.ndarray]:
    torch.cuda.synchronize()
    start = time.perf_counter()
    rows = work()
    torch.cuda.synchronize()
    return time.perf_counter() - start, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedder", default="smollm2", help="a registry entry with a position-weighted mean")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--batch-tokens", type=int, default=GPU_BATCH_TOKENS)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here that PyTorch can use; nothing was measured.")
        return

    made = load(args.embedder, device="cuda", dtype="bfloat16")
    texts = paragraphs(args.documents)
    lengths = [len(e.ids) for e in made.prepare(texts)]
    with tempfile.TemporaryDirectory() as room:
        other = peer(made.backbone.folder, Path(room)).bfloat16().to("cuda")
        other.max_seq_length = 512
        few = texts[:: max(1, len(texts) // 200)]
        ours, theirs = made.encode(few, progress=False), other.encode(few, batch_size=64, show_progress_bar=False)
        theirs = np.asarray(theirs, dtype=np.float32)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        lowest = float(((ours * theirs).sum(axis=1) / norms).min())
        if lowest < AGREEMENT:
            raise SystemExit(
                f"the two do not compute the same thing: the lowest cosine is {lowest:.3f}; nothing is told"
            )
        batch = max(1, args.batch_tokens // int(np.mean(lengths)))
        rivals = {
            f"the course, {args.batch_tokens} tokens in a batch": lambda: made.encode(
                texts, batch_tokens=args.batch_tokens, progress=False
            ),
            f"sentence-transformers, {batch} texts in a batch": lambda: other.encode(
                texts, batch_size=batch, show_progress_bar=False
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in rivals}
        for repeat in range(args.repeats):
            for name in list(rivals) if repeat % 2 == 0 else list(rivals)[::-1]:
                seconds[name].append(timed(rivals[name])[0])
    what = f"{args.embedder} in bfloat16 on {torch.cuda.get_device_name()}, {len(texts)} paragraphs of "
    print(f"{what}{np.mean(lengths):.0f} tokens, {args.repeats} repeats, lowest cosine of the two {lowest:.4f}\n")
    print("| | documents a second, median (lowest to highest) |\n| --- | --- |")
    for name, times in seconds.items():
        rates = sorted(len(texts) / t for t in times)
        print(f"| {name} | {np.median(rates):.0f} ({rates[0]:.0f} to {rates[-1]:.0f}) |")
    ours, theirs = seconds.values()
    print(f"\nThe course / sentence-transformers: {np.median([b / a for a, b in zip(ours, theirs, strict=True)]):.2f}")
    print(f"Memory of the GPU at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB.")


if __name__ == "__main__":
    main()
