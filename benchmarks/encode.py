"""How fast the course embeds, beside a peer and beside what the processor can do at most.

    python benchmarks/encode.py            # about ten minutes on two quiet cores
    python benchmarks/encode.py --quick    # does it work? the figures mean little

Three comparisons, all of them paired: within one repeat the rivals run one
after the other on the same texts, in an order that changes from repeat to
repeat, and only ratios within a repeat are summarised. A machine that is busy
with something else slows both sides.

1. ``Embedder.encode`` against sentence-transformers: the same weights, texts,
   threads and position-weighted mean pooling, both in float32.
2. The floating-point operations of the embedded tokens per second, against bare
   matrix products: with all the model's weights on a batch's tokens, and with one
   block's weights again and again, which then stay in the cache. Padding does not
   count as work.
3. bfloat16 against float32, and how many of the ten first aligned tokens of
   every text stay the same.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.models import embedder
from course_utils.models.embedder import Backbone, Embedder, load
from course_utils.texts import datasets

#: Largest difference to the peer, as a share of the largest value, at which timing is allowed.
AGREEMENT = 1e-4
#: Words of a short sentence: about thirteen tokens.
SHORT = 9


def text_sets(quick: bool, seed: int = 0) -> dict[str, list[str]]:
    """Short sentences, whole sentences, and a mixture of sentences and paragraphs in random order."""
    n = 24 if quick else 320
    sentences = datasets.wikipedia_sentences(n, seed)
    paragraphs = [p for section in datasets.wikipedia_sections() for p in section.paragraphs if len(p.split()) < 250]
    rng = random.Random(seed)
    short = [" ".join(s.split()[:SHORT]) for s in sentences]
    mixed = short[: n // 3] + sentences[n // 3 : 2 * n // 3] + rng.sample(paragraphs, n // 6)
    rng.shuffle(mixed)
    return {"short sentences": short, "sentences": sentences[: n // 2], "mixed lengths": mixed}


def peer(folder: Path | str, room: Path):
    """sentence-transformers on the same weights, without the chat template that it would write around plain texts.

    It decides when loading, so ``room`` becomes a folder that links to all files but the template.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    for file in Path(folder).iterdir():
        if not file.name.startswith("chat_template"):
            (room / file.name).symlink_to(file.resolve())
    transformer = Transformer(str(room))
    if transformer.tokenizer.chat_template is not None:
        raise SystemExit(f"the tokenizer in {folder} keeps its chat template in another file; the peer would apply it")
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="weightedmean")
    return SentenceTransformer(modules=[transformer, pooling], device="cpu")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(rivals: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every rival in every repeat; the order within a repeat goes back and forth."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for work in rivals.values():
        work()  # warm up
    for repeat in range(repeats):
        for name in list(rivals) if repeat % 2 == 0 else list(rivals)[::-1]:
            times[name].append(seconds(rivals[name]))
    return times


def spread(values: Sequence[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def token_flops(made: Embedder, lengths: Sequence[int]) -> float:
    """Operations for texts of these lengths: two per weight and token, and four per pair of tokens and state.

    Attention is counted over all pairs of tokens of a text, as the kernels compute it.
    """
    weights = sum(p.numel() for name, p in made.backbone.transformer.named_parameters() if "embed" not in name)
    config = made.backbone.causal.config
    state = config.num_attention_heads * made.backbone.transformer.layers[0].self_attn.head_dim
    return sum(2 * weights * n + 4 * config.num_hidden_layers * state * n * n for n in lengths)


def matrix_products(made: Embedder, rows: int, one_block: bool = False) -> tuple[Callable[[], object], float]:
    """The model's linear layers as bare products on ``rows`` tokens in the model's number format, and their operations.

    With ``one_block`` the first block's weights are used again and again, so that they stay in the
    processor's cache: no model can do that, and it is the higher limit of the two.
    """
    blocks = list(made.backbone.transformer.layers)
    blocks = [blocks[0]] * len(blocks) if one_block else blocks
    layers = [m for block in blocks for m in block.modules() if isinstance(m, torch.nn.Linear)]
    inputs = {layer.in_features: torch.randn(rows, layer.in_features, dtype=layer.weight.dtype) for layer in layers}

    @torch.inference_mode()
    def work():
        for layer in layers:
            torch.nn.functional.linear(inputs[layer.in_features], layer.weight)

    return work, sum(2.0 * rows * layer.weight.numel() for layer in layers)


def bfloat16_units() -> list[str]:
    """The processor's units for bfloat16 products, by the names that Linux gives them."""
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text(encoding="utf-8").split() if cpu.exists() else []
    return sorted({"avx512_bf16", "amx_bf16", "bf16", "i8mm"} & set(flags))


def check_agreement(made: Embedder, other, texts: Sequence[str]) -> float:
    ours, theirs = made.encode(texts, progress=False), other.encode(texts, show_progress_bar=False)
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    if difference > AGREEMENT:
        raise SystemExit(f"the two do not compute the same thing: they differ by {difference:.1e}; nothing was timed")
    return difference


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def against_the_peer(made: Embedder, sets: dict[str, list[str]], repeats: int) -> None:
    with tempfile.TemporaryDirectory() as room:
        other = peer(made.backbone.folder, Path(room))
    limits = {
        "products": matrix_products(made, embedder.BATCH_TOKENS),
        "cached products": matrix_products(made, 1024, one_block=True),
    }
    rows = []
    for name, texts in sets.items():
        difference = check_agreement(made, other, texts)
        lengths = [len(e.ids) for e in made.prepare(texts)]
        times = paired(
            {
                "ours": lambda texts=texts: made.encode(texts, progress=False),
                "theirs": lambda texts=texts: other.encode(texts, show_progress_bar=False),
                **{key: work for key, (work, _) in limits.items()},
            },
            repeats,
        )
        ratios = [b / a for a, b in zip(times["ours"], times["theirs"], strict=True)]
        done = [token_flops(made, lengths) / t for t in times["ours"]]
        rates = {key: [flops / t for t in times[key]] for key, (_, flops) in limits.items()}
        shares = {key: [100 * d / r for d, r in zip(done, rates[key], strict=True)] for key in limits}
        rows.append(
            [
                name,
                f"{statistics.mean(lengths):.1f}",
                f"{len(texts) / statistics.median(times['ours']):.0f}",
                f"{len(texts) / statistics.median(times['theirs']):.0f}",
                spread(ratios),
                spread(shares["products"], ".0f"),
                spread(shares["cached products"], ".0f"),
                " / ".join(f"{statistics.median(r) / 1e9:.0f}" for r in rates.values()),
                f"{difference:.0e}",
            ]
        )
    print("### float32: the course, sentence-transformers, and bare matrix products\n")
    head = [
        "texts",
        "tokens each",
        "course, per s",
        "peer, per s",
        "course / peer",
        "% of products",
        "% of cached products",
        "the two limits, GFLOP/s",
    ]
    print(table([*head, "difference"], rows))


def against_float32(made: Embedder, sets: dict[str, list[str]], repeats: int) -> None:
    half = Embedder(made.spec, Backbone(made.backbone.source, dtype="bfloat16"))
    exclude = special_ids(made.tokenizer, len(made.unembedding))
    products = {key: matrix_products(e, embedder.BATCH_TOKENS)[0] for key, e in (("full", made), ("half", half))}
    rows = []
    for name, texts in sets.items():
        times = paired(
            {
                "float32": lambda texts=texts: made.encode(texts, progress=False),
                "bfloat16": lambda texts=texts: half.encode(texts, progress=False),
                **products,
            },
            repeats,
        )
        full_ids, half_ids = (
            top_tokens(e.encode(texts, progress=False), made.unembedding, 10, exclude)[0] for e in (made, half)
        )
        shared = [len(set(a) & set(b)) / 10 for a, b in zip(full_ids.tolist(), half_ids.tolist(), strict=True)]
        rows.append(
            [
                name,
                f"{len(texts) / statistics.median(times['bfloat16']):.0f}",
                spread([a / b for a, b in zip(times["float32"], times["bfloat16"], strict=True)]),
                spread([a / b for a, b in zip(times["full"], times["half"], strict=True)]),
                f"{100 * statistics.mean(shared):.1f}",
                f"{100 * min(shared):.0f}",
                f"{100 * float((full_ids[:, 0] == half_ids[:, 0]).mean()):.1f}",
            ]
        )
    units = bfloat16_units()
    print("### bfloat16\n")
    print(f"The processor's units for it: {', '.join(units) if units else 'none found, so expect no gain'}.\n")
    head = [
        "texts",
        "per s",
        "speed-up",
        "of bare products",
        "% of top 10 shared",
        "% in the worst text",
        "% same first token",
    ]
    print(table(head, rows))


def batch_sizes(made: Embedder, sets: dict[str, list[str]], sizes: Sequence[int], repeats: int) -> None:
    rows = []
    for name, texts in sets.items():
        times = paired(
            {
                str(size): lambda texts=texts, size=size: made.encode(texts, batch_tokens=size, progress=False)
                for size in sizes
            },
            repeats,
        )
        rows.append([name, *(f"{len(texts) / statistics.median(times[str(size)]):.0f}" for size in sizes)])
    print("### Texts per second by tokens per batch\n")
    print(table(["texts", *map(str, sizes)], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few texts, two repeats")
    parser.add_argument("--embedder", default="smollm2", help="a registry entry with a position-weighted mean")
    parser.add_argument("--repeats", type=int, help="by default 7, or 2 with --quick")
    parser.add_argument("--batch-tokens", type=int, nargs="*", help="compare these batch sizes, and nothing else")
    args = parser.parse_args()
    repeats = args.repeats or (2 if args.quick else 7)

    made = load(args.embedder, device="cpu")
    if made.spec.pooling != "weighted_mean" or made.spec.adapters:
        raise SystemExit(f"{args.embedder} is not a plain position-weighted mean, so the peer cannot do the same")
    sets = text_sets(args.quick)
    print(
        f"{args.embedder}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"{embedder.BATCH_TOKENS} tokens per batch, {repeats} repeats. Median (lowest to highest).\n"
    )
    if args.batch_tokens:
        batch_sizes(made, sets, args.batch_tokens, repeats)
        return
    against_the_peer(made, sets, repeats)
    against_float32(made, sets, repeats)


if __name__ == "__main__":
    main()
