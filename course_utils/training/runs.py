"""A whole training run, with its checkpoints and its log.

    several-tokens train smol-sgpt-nli --data FOLDER --out FOLDER

trains the recipe of that name and writes the adapter. An interrupted run
continues where its last checkpoint was. While it runs, a probe records what
the paper is about: how far the embeddings move along each principal component
of the untrained model, and how many key tokens come out.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from course_utils import gates
from course_utils.measures.alignment import global_alignment, hits, special_ids, surface_tokens, top_tokens
from course_utils.measures.evaluation import cosine, spearman
from course_utils.measures.spectrum import components, variation
from course_utils.models import placement, registry
from course_utils.texts import datasets, instruction_texts, sealed_texts
from course_utils.training import recipes
from course_utils.training.loop import (
    Run,
    embed,
    load_checkpoint,
    precision,
    prepare,
    save_adapter,
    save_checkpoint,
    start,
    train,
)


class Probe:
    """What training does to the embeddings of a fixed set of texts.

    At every call it records ``v_1``, the largest other ``|v_j|`` (variation along the principal
    components of the untrained embeddings, uncentred), Hit@10, the global alignment rate and, where
    judged pairs are given, their Spearman correlation.
    """

    def __init__(self, run: Run, texts: Sequence[str], pairs: Sequence[tuple[str, str, float]] = ()):
        self.texts, self.pairs = list(texts), list(pairs)
        self.surface = surface_tokens(run.embedder.tokenizer, self.texts)
        self.special = special_ids(run.embedder.tokenizer, len(run.embedder.unembedding))
        self.start = self._embed(run, self.texts)
        self.directions = components(self.start).directions
        self.rows: list[dict] = []

    def __call__(self, run: Run, loss: float | None) -> dict:
        now = self._embed(run, self.texts)
        v = variation(self.start, now, self.directions).mean(axis=0)
        ranked, _ = top_tokens(now, run.embedder.unembedding, max(10, *map(len, self.surface)), self.special)
        row = {
            "step": run.step,
            "loss": None if loss is None else round(loss, 4),
            "v_1": round(float(v[0]), 3),
            "max_other_v": round(float(np.abs(v[1:]).max()), 3),
            "share_v1": round(float(v[0] ** 2 / max(1e-12, (v**2).sum())), 4),
            "hit@10": round(float(hits(ranked, self.surface, 10).mean()), 4),
            "gar": round(global_alignment(ranked, self.surface), 4),
            "distinct_top10": len(np.unique(ranked[:, :10])),
        }
        if self.pairs:
            left, right, gold = zip(*self.pairs, strict=True)
            a, b = self._embed(run, left), self._embed(run, right)
            row["spearman"] = round(spearman(cosine(a, b), np.array(gold)), 4)
        self.rows.append(row)
        return row

    def _embed(self, run: Run, texts: Sequence[str]) -> np.ndarray:
        with precision(run), torch.no_grad():
            return embed(run.embedder, prepare(run.embedder, texts, None, None, run.recipe.max_tokens)).cpu().numpy()


def probe_steps(total: int, every: int = 40) -> set[int]:
    """Steps after which the probe looks: densely at first, where the first component moves, then at intervals."""
    early = {1, 2, 4, 8, 15, 25}
    return {s for s in early if s <= total} | set(range(every, total + 1, every)) | {total}


def train_recipe(
    recipe: str,
    data: Path,
    out: Path | None = None,
    work: Path = Path("runs"),
    *,
    probe_pairs: Path | None = None,
    keep_out: Sequence[Path] = (),
    dtype: str | None = None,
    compiled: bool = False,
) -> Path:
    """Train one recipe, resume if it was interrupted, write the adapter.

    Args:
        recipe: name of a recipe that ships, or a path to a ``.toml`` file.
        data: folder with the recipe's data files.
        out: the adapter goes to ``out/NAME``; by default to the course's own ``data/adapters``.
        work: checkpoint and log lie in ``work/NAME`` while it runs.
        probe_pairs: judged sentence pairs (JSON Lines); the log then has their Spearman correlation.
        keep_out: files whose texts must not be trained on, besides the course's own evaluation texts.
        dtype: arithmetic of the frozen weights, ``"bfloat16"`` or ``"float32"``; by default that of the interrupted
            run, or the faster one here (:func:`course_utils.models.placement.faster`).
        compiled: compile the layers, which needs a C++ compiler.

    Returns:
        the adapter's folder.

    Raises:
        FileNotFoundError, ValueError: a recipe, data file or checkpoint that is missing or does not fit.
    """
    path = Path(recipe) if recipe.endswith(".toml") else recipes.RECIPES / f"{recipe}.toml"
    plan = recipes.read(path)
    examples, dropped = recipes.load_examples(plan, data, evaluation_texts(keep_out))
    print("rows left out because they overlap with evaluation text:", dropped)
    judged = _judged(probe_pairs) if probe_pairs else []
    begun_in = _begun_in(work / path.stem)
    if dtype and begun_in and dtype != begun_in:
        raise ValueError(f"{work / path.stem} was begun in {begun_in}: go on with that, or delete it to start again")
    dtype = dtype or begun_in or placement.faster()
    run = start(plan, dtype, compiled)
    probe = Probe(run, datasets.wikipedia_sentences(120), judged)
    log = _logged_steps(run, examples, probe, work / path.stem, dtype)
    folder = (out or registry.ADAPTERS) / path.stem
    save_adapter(run, folder, {**log, "left_out": dropped})
    return folder


def evaluation_texts(keep_out: Sequence[Path] = ()) -> list[str]:
    """Texts that nothing is trained on: the Wikipedia sentences, those of lesson 06, all strings in ``keep_out``."""
    found = datasets.wikipedia_sentences()
    found += [text.text for text in (*instruction_texts.read(), *sealed_texts.read())]
    for file in keep_out:
        found += [v for row in recipes.read_rows(file, ()) for v in row.values() if isinstance(v, str)]
    return found


def _judged(file: Path, n: int = 125) -> list[tuple[str, str, float]]:
    """About ``n`` judged pairs, spread evenly over a file."""
    rows = recipes.read_rows(file, ("sentence1", "sentence2"))
    return [(r["sentence1"], r["sentence2"], r["score"]) for r in rows[:: max(1, len(rows) // n)]]


def _begun_in(work: Path) -> str | None:
    """The arithmetic of the run that was interrupted here; None where there is none."""
    if not (work / "checkpoint.safetensors").exists():
        return None
    return gates.json_value(gates.read_text(work / "log.json"), str(work / "log.json")).get("dtype")


def _logged_steps(run: Run, examples: list[list[recipes.Example]], probe: Probe, work: Path, dtype: str) -> dict:
    """Train to the last step, from the checkpoint in ``work`` if there is one; the log of all steps."""
    work.mkdir(parents=True, exist_ok=True)
    checkpoint, log_file = work / "checkpoint.safetensors", work / "log.json"
    log = _resumed(run, checkpoint, log_file) or {"probe": [probe(run, None)], "losses": [], "seconds": 0.0}
    log["dtype"] = dtype
    total = sum(s.steps for s in run.recipe.stage)
    look, clock = probe_steps(total), time.monotonic()

    with tqdm(total=total, initial=run.step, desc=work.name, mininterval=10) as bar:

        def on_step(run: Run, loss: float) -> None:
            nonlocal clock
            bar.update()
            log["losses"].append(round(loss, 4))
            if run.step in look:
                log["probe"].append(probe(run, loss))
                print(json.dumps(log["probe"][-1]), flush=True)
            if run.step % 20 == 0 or run.step == total:
                log["seconds"] += round(time.monotonic() - clock, 1)
                clock = time.monotonic()
                _write_json(log_file, log)
                save_checkpoint(run, checkpoint)

        train(run, examples, on_step=on_step)
    return log


def _resumed(run: Run, checkpoint: Path, log_file: Path) -> dict | None:
    """Put a checkpoint back into the run and return its log; None where there is no checkpoint."""
    if not checkpoint.exists():
        return None
    load_checkpoint(run, checkpoint)
    log = json.loads(log_file.read_text(encoding="utf-8"))
    # A kill between the two files leaves a log that is ahead of the checkpoint.
    log["losses"] = log["losses"][: run.step]
    log["probe"] = [row for row in log["probe"] if row["step"] <= run.step]
    print("resuming at step", run.step)
    return log


def _write_json(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)
