"""Shipped recipes with other seeds: how much of what a lesson prints about an adapter is the seed's?

    several-tokens study seeds --data FOLDER --lists FOLDER --work FOLDER

Each run trains a shipped recipe once more; only the seed differs, and with it the adapter's first numbers, the order
of the examples and the batches. What is kept is a row of measures, not the adapter.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures import nulls
from course_utils.measures.alignment import (
    content_tokens,
    global_alignment,
    hits,
    special_ids,
    surface_tokens,
    top_tokens,
)
from course_utils.measures.evaluation import spearman
from course_utils.measures.spectrum import components
from course_utils.models import placement, registry
from course_utils.models.embedder import load
from course_utils.shipped import words
from course_utils.texts import datasets, word_lists
from course_utils.training import recipes
from course_utils.training.loop import save_adapter, start, train
from course_utils.training.runs import evaluation_texts

#: What is trained again by default, and with which seeds.
RUNS = {"smol-eol-cse": (1, 2, 3, 4, 5), "smol-sgpt-nli": (1, 2, 3)}
#: Sentences that directions are estimated on, and others that are judged.
ESTIMATE, JUDGE = slice(150, 300), slice(0, 150)
COMMAND = "several-tokens study seeds --data FOLDER --lists FOLDER"
#: The rows that ship.
FILE = registry.ADAPTERS.parent / "family_seeds.json"


def run_all(
    names: Sequence[str] = (),
    data: Path | None = None,
    lists: Path | None = None,
    work: Path = Path("runs/family_seeds"),
    out: Path = FILE,
    report: Callable[[str], None] = print,
) -> Path:
    """Train what is not in ``work`` yet, measure it, and write all rows, with the shipped adapters' beside them.

    Args:
        names: recipes, by default those of :data:`RUNS`.
        data: folder with the recipes' data files; without it only what has been trained is measured.
        lists: folder of the word lists that do not ship; without it, those that do.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: no such folder or file.
    """
    if unknown := [name for name in names if name not in RUNS]:
        raise ValueError(f"no seeds are known for {unknown[0]!r}; choose from {', '.join(RUNS)}")
    work, judged, made = gates.expanded(work), word_lists.read(lists), []
    for name in names or RUNS:
        folders = [registry.ADAPTERS / name]
        for seed in RUNS[name]:
            folder = work / f"{name}.{seed}"
            if data is not None and not (folder / "training.json").exists():
                report(f"{name}, seed {seed}: training")
                train_again(name, seed, data, folder)
            folders += [folder] if (folder / "training.json").exists() else []
        for folder in folders:
            made.append(row := measured(name, folder, judged))
            report(f"{name}, seed {row['seed']}: v_1 {row['v_1']}, GAR {row['GAR']}")
    with gates.replacing(out) as file:
        json.dump({"command": COMMAND, "runs": made}, file, indent=1)
        file.write("\n")
    return out


def train_again(name: str, seed: int, data: Path, folder: Path, steps: int | None = None) -> None:
    """Train the shipped recipe ``name`` with another seed; adapter and ``training.json`` go to ``folder``."""
    recipe = replace(recipes.read(recipes.RECIPES / f"{name}.toml"), seed=seed)
    examples, dropped = recipes.load_examples(recipe, gates.expanded(data), evaluation_texts())
    shipped = registry.ADAPTERS / name / "training.json"
    dtype = gates.json_value(gates.read_text(shipped), name)["dtype"] if shipped.is_file() else placement.faster()
    run, losses, begun = start(recipe, dtype), [], time.monotonic()
    train(run, examples, until=steps, on_step=lambda run, loss: losses.append(round(loss, 5)))
    log = {"losses": losses, "seconds": round(time.monotonic() - begun), "dtype": dtype, "left_out": dropped}
    save_adapter(run, folder, log)


def measured(name: str, folder: Path, judged: dict) -> dict:
    """What lessons 03 and 05 say of an adapter, of the one in ``folder``: a row, ready for JSON.

    ``v_1`` and its share in the mean movement stand beside random rotations
    (:func:`course_utils.measures.nulls.movement`); words are read in the carrier of :mod:`course_utils.shipped.words`.
    """
    record = gates.json_value(gates.read_text(folder / "training.json"), f"{folder.name}/training.json")
    which, texts = record["recipe"]["embedder"], datasets.wikipedia_sentences(300)
    embedder = load(which, adapters=(folder,))
    origin = load(embedder.spec.origin or which, backbone=embedder.backbone, adapters=())
    before, (after, cosines) = origin.encode(texts, progress=False), _embedded(embedder, folder, texts, judged)
    u = components(before[ESTIMATE]).directions[0]
    moved = nulls.movement(before[JUDGE], after[JUDGE], u, n_draws=100)
    surface = surface_tokens(embedder.tokenizer, texts)
    content = content_tokens(embedder.tokenizer, surface)
    weight = embedder.unembedding.detach()
    special = special_ids(embedder.tokenizer, len(weight))
    ranked, _ = top_tokens(after, weight, max(map(len, surface)), special)
    rho = {key: spearman(cosines[key], pairs.score) for key, pairs in judged.items()}
    numbers = {
        "v_1": moved.v.value, "share": moved.mean.value.value, "null": [moved.mean.low, moved.mean.high],
        "excess": moved.mean.found, "GAR": global_alignment(ranked, surface),
        "content Hit@10": hits(ranked, content)[[len(c) > 0 for c in content]].mean(), "lists": rho,
        "preference": {f"{s} - {r}": rho[s] - rho[r] for s, r in word_lists.PAIRS_OF_LISTS if {s, r} <= set(rho)},
    }  # fmt: skip
    return {
        "name": name, "seed": record["recipe"]["seed"], "ships": folder.parent == registry.ADAPTERS,
        "made_on": record.get("made_on", "CPU"), "seconds": record["seconds"], "last loss": record["losses"][-1],
        **_rounded(numbers),
    }  # fmt: skip


def _embedded(embedder, folder: Path, texts: Sequence[str], judged: dict) -> tuple[np.ndarray, dict]:
    """Embeddings of the sentences and cosines of the words; those of a run are kept beside its adapter."""
    kept = folder / "measured.npz"
    if kept.exists():
        with np.load(kept) as file:
            if set(file) == {"wikipedia", *judged} and len(file["wikipedia"]) == len(texts):
                return file["wikipedia"], {name: file[name] for name in judged}
    prompt = words.carried(embedder.spec.prompt)
    reader = type(embedder)(replace(embedder.spec, prompt=prompt), embedder.backbone)
    found = embedder.encode(texts, progress=False), words.word_cosines(reader, lists=judged)
    if folder.parent != registry.ADAPTERS:
        np.savez_compressed(kept, wikipedia=found[0], **found[1])
    return found


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value if isinstance(value, bool) else round(float(value), 4)


def read(path: Path = FILE) -> list[dict]:
    """The rows that ship."""
    return gates.json_value(gates.read_text(path), path.name)["runs"]
