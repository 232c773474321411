"""Command line and log of training.

    python -m course_utils.training.runs smol-sgpt-nli --data FOLDER --out FOLDER

trains the recipe of that name and writes the adapter. An interrupted run
continues where its last checkpoint was. While it runs, a probe records what
the paper is about: how far the embeddings move along each principal component
of the untrained model, and how many key tokens come out.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from course_utils.measures.alignment import global_alignment, hits, special_ids, surface_tokens, top_tokens
from course_utils.measures.evaluation import cosine, spearman
from course_utils.measures.spectrum import components, variation
from course_utils.models import registry
from course_utils.texts import datasets, instruction_texts
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


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: train one recipe, resume if it was interrupted, write the adapter."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.training.runs", description=main.__doc__)
    parser.add_argument("recipe", help="name of a shipped recipe, or a path to a .toml file")
    parser.add_argument("--data", type=Path, required=True, help="folder with the recipe's data files")
    parser.add_argument("--out", type=Path, default=registry.ADAPTERS, help="the adapter goes to OUT/NAME")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="checkpoints and logs while it runs")
    parser.add_argument("--probe-pairs", type=Path, help="judged sentence pairs (jsonl) for the log")
    parser.add_argument("--keep-out", type=Path, nargs="*", default=[], help="files whose texts must not be trained on")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--compile", action="store_true", help="compile the layers (needs a C++ compiler)")
    args = parser.parse_args(argv)

    path = Path(args.recipe) if args.recipe.endswith(".toml") else recipes.RECIPES / f"{args.recipe}.toml"
    recipe = recipes.read(path)
    evaluation = datasets.wikipedia_sentences() + [text.text for text in instruction_texts.read()]
    for file in args.keep_out:
        evaluation += [v for row in recipes.read_rows(file, ()) for v in row.values() if isinstance(v, str)]
    data, dropped = recipes.load_examples(recipe, args.data, evaluation)
    print("rows left out because they overlap with evaluation text:", dropped)
    pairs = []
    if args.probe_pairs:
        rows = recipes.read_rows(args.probe_pairs, ("sentence1", "sentence2"))
        rows = rows[:: max(1, len(rows) // 125)]
        pairs = [(r["sentence1"], r["sentence2"], r["score"]) for r in rows]

    run = start(recipe, args.dtype, args.compile)
    probe = Probe(run, datasets.wikipedia_sentences(120), pairs)
    work = args.work / path.stem
    work.mkdir(parents=True, exist_ok=True)
    checkpoint, log_file = work / "checkpoint.safetensors", work / "log.json"
    log = {"probe": [probe(run, None)], "losses": [], "seconds": 0.0}
    if checkpoint.exists():
        load_checkpoint(run, checkpoint)
        log = json.loads(log_file.read_text(encoding="utf-8"))
        # A kill between the two files leaves a log that is ahead of the checkpoint.
        log["losses"] = log["losses"][: run.step]
        log["probe"] = [row for row in log["probe"] if row["step"] <= run.step]
        print("resuming at step", run.step)
    total = sum(s.steps for s in recipe.stage)
    look, clock = probe_steps(total), time.monotonic()

    with tqdm(total=total, initial=run.step, desc=path.stem, mininterval=10) as bar:

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

        train(run, data, on_step=on_step)
    save_adapter(run, args.out / path.stem, {**log, "left_out": dropped, "dtype": args.dtype})
    print("adapter written to", args.out / path.stem)


def _write_json(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    main()
