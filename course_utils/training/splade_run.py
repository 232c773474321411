"""One run of the sparse head of :mod:`course_utils.training.splade`, and the lists that it gives collections.

    several-tokens study splade --data FOLDER --out FOLDER

trains, writes adapter, bias and log, and then ``TITLE.npz`` for each collection: the largest weights of its documents
and queries. ``several-tokens search --lists FOLDER`` puts them beside aligned tokens.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from course_utils import gates
from course_utils.models import registry
from course_utils.models.embedder import load
from course_utils.shipped import collections
from course_utils.texts.datasets import Retrieval
from course_utils.training import loop, recipes, runs, splade
from course_utils.training.examples import Example, batches
from course_utils.training.recipes import Recipe, Stage

#: The embedder whose adapter the run begins with, and whose data it is trained on.
EMBEDDER = "smol-sgpt-qa"
#: Examples of a file that are used at most. The two forms of the first file count as one.
MOST = 2600
#: Weights that are kept of a document and of a query.
KEEP = {"documents": 128, "queries": 64}
#: Steps from one line of progress, and one line of the log, to the next.
EVERY = 5


@dataclass(frozen=True)
class Settings:
    """What a run can differ in.

    Attributes:
        steps: of batches of ``batch`` examples; 0 keeps the embedder's adapter and the first threshold, as a control.
        flops: λ of queries and of documents; both grow over the first half of the steps.
        terms: words that a training passage keeps on average before the first step.
        seed: of the order of the examples.
        dtype: arithmetic of the frozen weights while it trains.
    """

    steps: int = 240
    flops: tuple[float, float] = (0.01, 0.003)
    terms: int = 500
    batch: int = 48
    learning_rate: float = 4e-4
    seed: int = 1
    dtype: str = "bfloat16"


def recipe(settings: Settings) -> Recipe:
    """The recipe of :data:`EMBEDDER` with the run's own stage, and products instead of cosines over a temperature."""
    stage = Stage("contrastive", max(1, settings.steps), settings.learning_rate, settings.batch)
    base = recipes.read(recipes.RECIPES / f"{EMBEDDER}.toml")
    return replace(base, embedder=EMBEDDER, stage=[stage], seed=settings.seed, temperature=1.0)


def examples_of(plan: Recipe, data: Path, measured: Mapping[str, Retrieval]) -> tuple[list[list[Example]], dict]:
    """The run's examples by file, and how many rows were left out for what they share with a text that is measured."""
    texts = runs.evaluation_texts()
    for collection in measured.values():
        texts += [*collection.corpus.values(), *collection.queries.values()]
    found, dropped = recipes.load_examples(plan, data, texts)
    first = plan.data[0].file
    return [each if of.file == first else each[:MOST] for of, each in zip(plan.data, found, strict=True)], dropped


def train(
    out: Path,
    plan: Recipe,
    examples: list[list[Example]],
    settings: Settings,
    adapter: Path | None,
    report: Callable[[str], object] = print,
    noted: Mapping[str, object] | None = None,
) -> None:
    """Train one head, and write its adapter, ``bias.npy`` (float16 ``[V]``) and ``log.json`` to ``out``.

    Args:
        adapter: where the run begins, see :func:`course_utils.training.splade.start`.
        report: called with a line now and then.
        noted: goes into the log as it is.
    """
    begun, rows = time.monotonic(), []
    passages = [e.positive for each in examples for e in each[:8]]
    run, bias = splade.start(plan, adapter, settings.terms, passages, settings.dtype)
    threshold = -bias[torch.isfinite(bias)][0].item()

    def on_step(step: int, log: dict[str, float]) -> None:
        if step % EVERY == 0 or step in (1, settings.steps):
            rows.append({"step": step, **{k: round(v, 4) for k, v in log.items()}})
            report(f"step {step} of {settings.steps}: {json.dumps(rows[-1])}")

    if settings.steps:
        weights = [of.weight for of in plan.data]
        stream = batches(examples, weights, settings.batch, settings.steps, settings.seed)
        penalty = splade.Penalty(*settings.flops, max(1, settings.steps // 2))
        splade.train(run, bias, stream, penalty, on_step)
    loop.save_adapter(run, out, {})
    np.save(out / "bias.npy", bias.detach().half().cpu().numpy())
    log = {"settings": settings.__dict__, "threshold": round(threshold, 3), **(noted or {}), "steps": rows,
           "seconds": round(time.monotonic() - begun), "collections": {}}  # fmt: skip
    _write_log(out, log)


def encode(out: Path, plan: Recipe, measured: Mapping[str, Retrieval], report: Callable[[str], object] = print) -> None:
    """Write ``TITLE.npz`` for each collection that has none, with the stored weights in float32.

    The file holds, as a row of compressed sparse rows each, ``documents`` and ``queries``: ``.ends``, ``.words`` (token
    ids) and ``.weights`` (float16), at most :data:`KEEP` of a text, which is cut to 512 tokens.

    Raises:
        FileNotFoundError: there is no trained head in ``out``.
    """
    log = read_log(out)
    run = loop.Run(plan, load(plan.embedder, adapters=(str(out.resolve()),)), {}, optimizer=None)
    bias = torch.from_numpy(np.load(out / "bias.npy")).float().to(run.embedder.unembedding.device)
    for title, collection in measured.items():
        file, begun = out / f"{title.replace(' ', '-')}.npz", time.monotonic()
        if file.exists():
            continue
        arrays = {}
        for side, texts, role in (
            ("documents", collection.corpus, "passage"),
            ("queries", collection.queries, "query"),
        ):
            lists = splade.encode(run, bias, list(texts.values()), role, min(KEEP[side], len(bias)))
            arrays |= {f"{side}.ends": lists.indptr.astype(np.int32), f"{side}.words": lists.indices.astype(np.int32),
                       f"{side}.weights": lists.data.astype(np.float16)}  # fmt: skip
        with gates.replacing(file) as opened:
            np.savez_compressed(opened.buffer, **arrays)
        log["collections"][title] = collections.checksums(EMBEDDER, collection)["collection"]
        _write_log(out, log)
        held = len(arrays["documents.words"]) / len(collection.corpus)
        report(f"{title}: {held:.0f} words a document, {time.monotonic() - begun:.0f} s")


def read_log(out: Path) -> dict:
    """The log of a run.

    Raises:
        FileNotFoundError: there is none.
    """
    file = out / "log.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; several-tokens study splade writes it")
    return gates.json_value(gates.read_text(file), str(file))


def study(
    data: Path,
    out: Path,
    measured: Mapping[str, Retrieval],
    settings: Settings = Settings(),
    report: Callable[[str], object] = print,
) -> None:
    """Train in ``out`` unless a run of the same settings is there, then encode the collections by title.

    Raises:
        ValueError: ``out`` holds a run of other settings; data that do not fit.
        FileNotFoundError: a missing data file.
    """
    out, plan = gates.expanded(out), recipe(settings)
    if (out / "log.json").exists():
        there = read_log(out)["settings"]
        if there != json.loads(json.dumps(settings.__dict__)):
            raise ValueError(f"{out} holds a run of other settings, {there}; give another --out")
    else:
        out.mkdir(parents=True, exist_ok=True)
        examples, dropped = examples_of(plan, gates.expanded(data), measured)
        noted = {"examples": [len(each) for each in examples], "left out": dropped}
        train(out, plan, examples, settings, registry.ADAPTERS / EMBEDDER, report, noted)
    encode(out, plan, measured, report)


def _write_log(out: Path, log: dict) -> None:
    with gates.replacing(out / "log.json") as file:
        json.dump(log, file, indent=1)
        file.write("\n")
