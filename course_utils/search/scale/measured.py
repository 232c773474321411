"""Measured: how fast this machine encodes, whole models and single blocks of larger ones, as rows of a file.

    several-tokens scale measure

writes ``data/scale_measured.json``. Two kinds of row:

* ``model``: an embedder of the course encodes real paragraphs, the time to load it stands beside;
* ``block``: one block of an architecture that is not at hand, with random weights. Its products take as long as those
  of trained weights. A model's time is that of its blocks one after the other, so one block says what all take, except
  that a whole model's weights do not fit into the cache: for models at hand both are measured, and compared.

Everything else, such as other numbers of documents, is extrapolated in :mod:`course_utils.search.scale.costs`.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.search.scale import architectures
from course_utils.search.scale.architectures import Architecture
from course_utils.texts import datasets

#: Where ``several-tokens scale measure`` writes.
FILE = Path(__file__).resolve().parents[3] / "data" / "scale_measured.json"
#: Numbers of paragraphs of the rows ``model``, with one thread; with all threads only the largest.
SIZES = (4, 16, 64, 192)
#: Architectures of which one block is measured: the course's two, for comparison, and three sizes of the paper's.
BLOCKS = ("smollm2", "gemma3", "facebook/opt-1.3b", "llama-7b", "mistralai/Mistral-7B-Instruct-v0.2")
#: A block's batch: texts and tokens of each; as many tokens as ``Embedder.encode`` takes at once.
BLOCK_BATCH = (8, 64)


def paragraphs(n: int, longest: int = 80) -> dict[str, str]:
    """Some paragraphs of the course's Wikipedia articles by their ids, spread over all, of at most so many words.

    Raises:
        ValueError: more than there are.
    """
    short = {key: text for key, text in datasets.wikipedia_retrieval().corpus.items() if len(text.split()) <= longest}
    gates.whole(n, "n", 1, len(short), "paragraphs of that length")
    keys = list(short)
    return {keys[i]: short[keys[i]] for i in np.linspace(0, len(keys) - 1, n).round().astype(int)}


def measure(
    names: Sequence[str] = ("smol-sgpt-nli", "gemma-eol-cse"),
    sizes: Sequence[int] = SIZES,
    blocks: Sequence[str] = BLOCKS,
    threads: Sequence[int] | None = None,
    report: Callable[[str], object] = print,
) -> dict:
    """Measure whole models and blocks on this machine; nothing is written.

    Args:
        names: embedders of the registry whose weights are here.
        sizes: numbers of paragraphs.
        blocks: architectures of :mod:`course_utils.search.scale.architectures`.
        threads: of PyTorch; by default one, and as many as there are cores.
        report: called with a line for every row.

    Returns:
        ``machine``, ``date``, and ``rows``: dictionaries with ``what``, ``name``, ``threads``, ``dtype``,
        ``documents``, ``tokens`` (of all documents, prompt included), ``seconds``, ``load_seconds``, ``flops`` (the
        products counted), ``docs_per_second``.
    """
    import torch

    threads = threads or sorted({1, os.cpu_count() or 1})
    before, rows = torch.get_num_threads(), []
    try:
        for count in threads:
            torch.set_num_threads(count)
            for name in names:
                for row in _models(name, sizes if count == threads[0] else sizes[-1:], count):
                    rows.append(row)
                    report(told(row))
            for name in blocks:
                rows.append(_block(architectures.of(name), count))
                report(told(rows[-1]))
    finally:
        torch.set_num_threads(before)
    return {"machine": machine(), "date": date.today().isoformat(), "rows": rows}


def write(measured: dict, path: Path | None = None) -> Path:
    """Write what :func:`measure` returned; rows of a GPU that the file has are kept.

    Where there are none, an empty row for each size of model says that nobody measured it.
    """
    path = path or FILE
    sizes = ("smollm2", "facebook/opt-1.3b", "llama-7b")
    gpu = [{"what": "gpu", "name": name, "dtype": "bfloat16", "docs_per_second": None} for name in sizes]
    if gates.is_file(path):
        gpu = stored(path).get("gpu", gpu)
    with gates.replacing(path) as file:
        json.dump({**measured, "gpu": measured.get("gpu", gpu)}, file, indent=1)
        file.write("\n")
    return path


def stored(path: Path | None = None) -> dict:
    """What ``several-tokens scale measure`` has written.

    Raises:
        FileNotFoundError, ValueError: no such file, or no JSON.
    """
    path = path or FILE
    return gates.json_value(gates.read_text(path), str(path))


def told(row: dict) -> str:
    """One row in words."""
    each = f"{row['tokens'] / row['documents']:.0f} tokens each" if row["documents"] else ""
    return (
        f"{row['what']} {row['name']}, {row['threads']} thread(s): {row['documents']} texts of {each} in "
        f"{row['seconds']:.2f} s, {row['flops'] / row['seconds'] / 1e9:.0f} GFLOP/s"
    )


def machine() -> dict:
    """What the figures depend on: processor, cores, versions."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if gates.is_file(cpuinfo):
        lines = (line.split(":", 1) for line in cpuinfo.read_text(encoding="utf-8").splitlines() if ":" in line)
        model = {key.strip(): value.strip() for key, value in lines}.get("model name", model)
    capability = torch.backends.cpu.get_cpu_capability()
    return {"processor": model, "instructions": capability, "cores": os.cpu_count(), "torch": torch.__version__}


# --- Rows -----------------------------------------------------------------------------------------


def _models(name: str, sizes: Sequence[int], threads: int):
    from course_utils.models.embedder import load

    started = time.perf_counter()
    embedder = load(name)
    embedder.encode(["A first text, so that everything is in memory."])
    loaded = time.perf_counter() - started
    shape = architectures.of(name)
    for size in sizes:
        texts = list(paragraphs(size).values())
        lengths = [len(e.ids) for e in embedder.prepare(texts)]
        started = time.perf_counter()
        embedder.encode(texts, progress=False)
        # Encoding alone: the output layer's product, which flops() counts, comes when vectors are built.
        flops = sum(shape.flops(n) - 2 * shape.table for n in lengths)
        yield _row("model", name, threads, size, sum(lengths), time.perf_counter() - started, flops, loaded)


def _block(shape: Architecture, threads: int) -> dict:
    import torch

    transformer = _one_block(shape)
    texts, tokens = BLOCK_BATCH
    ids = torch.zeros(BLOCK_BATCH, dtype=torch.long)
    seconds = []
    with torch.inference_mode():
        for _ in range(4):  # the first one warms up
            started = time.perf_counter()
            transformer(input_ids=ids, use_cache=False)
            seconds.append(time.perf_counter() - started)
    flops = texts * (shape.flops(tokens) - 2 * shape.table) / shape.layers
    return _row("block", shape.name, threads, texts, texts * tokens, min(seconds[1:]), flops, None)


def _one_block(shape: Architecture):
    """A transformer of that family with one block, random weights and a vocabulary of ten."""
    import torch
    import transformers as t

    common = {"vocab_size": 10, "hidden_size": shape.width, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    new = {
        "intermediate_size": shape.inner,
        "num_hidden_layers": 1,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
    }
    if shape.family == "opt":
        old = {"num_hidden_layers": 1, "num_attention_heads": shape.heads, "ffn_dim": shape.inner}
        config = t.OPTConfig(**common, **old, word_embed_proj_dim=shape.width)
    elif shape.family == "gpt_neo":
        kinds = {"attention_types": [[["global"], 1]], "num_layers": 1, "num_heads": shape.heads}
        config = t.GPTNeoConfig(**common, **kinds, intermediate_size=shape.inner)
    else:
        kinds = {"llama": t.LlamaConfig, "mistral": t.MistralConfig, "gemma3": t.Gemma3TextConfig}
        config = kinds[shape.family](**common, **new)
    torch.manual_seed(0)
    return t.AutoModel.from_config(config, dtype=torch.float32).eval()


def _row(what: str, name: str, threads: int, documents: int, tokens: int, seconds: float, flops: float, loaded) -> dict:
    return {
        "what": what,
        "name": name,
        "threads": threads,
        "dtype": "float32",
        "documents": documents,
        "tokens": int(tokens),
        "seconds": round(seconds, 4),
        "load_seconds": None if loaded is None else round(loaded, 2),
        "flops": int(flops),
        "docs_per_second": round(documents / seconds, 3) if what == "model" else None,
    }
