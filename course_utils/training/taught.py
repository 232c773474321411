"""What a teacher adds: adapters that were trained with one, beside the shipped ones without, measured alike.

    several-tokens train data/recipes/taught/smol-eol-cse.toml --data FOLDER --out ADAPTERS
    several-tokens study taught --adapters ADAPTERS --sts FILE

What is kept is a row of measures for every adapter, not the adapter.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures import evaluation
from course_utils.models import registry
from course_utils.models.embedder import load
from course_utils.texts import readers
from course_utils.training import cards, recipes, yardsticks
from course_utils.training.teacher import Teacher

COMMAND = "several-tokens study taught --adapters FOLDER --sts FILE"
#: The rows that ship.
FILE = registry.ADAPTERS.parent / "taught.json"
#: The recipes that these adapters were trained by.
RECIPES = registry.ADAPTERS.parent / "recipes" / "taught"


def run_all(adapters: Path, sts: Path, out: Path = FILE, report: Callable[[str], None] = print) -> Path:
    """Measure every adapter in ``adapters``, and the shipped ones of the same embedders; write all rows.

    Args:
        adapters: folder of adapters' folders, each with its ``training.json``.
        sts: judged sentence pairs (JSON Lines: ``sentence1``, ``sentence2``, ``score``).

    Raises:
        FileNotFoundError: no such folder or file, or no adapter in the folder.
        ValueError: a record or file of another kind.
    """
    found = {path.parent: _recipe(path) for path in sorted(gates.expanded(adapters).resolve().glob("*/training.json"))}
    if not found:
        raise FileNotFoundError(
            f"{adapters} holds no folder with a training.json: train the recipes in {RECIPES} first"
        )
    pairs, rows, own = readers.pairs(gates.expanded(sts)), [], {}
    for name in sorted({recipe["embedder"] for recipe in found.values()}):
        folders = [registry.ADAPTERS / name, *(path for path, recipe in found.items() if recipe["embedder"] == name)]
        for folder in folders:
            row, own[folder] = measured(folder, pairs)
            row["gain"] = _gain(own[folder], own[folders[0]], pairs.score) if folder != folders[0] else None
            rows.append(row)
            report(f"{folder.name}: STS dev {row['STS dev']:.3f}, GAR {row['alignment']['GAR']:.3f}")
    beside = {
        "tf-idf": evaluation.spearman(yardsticks.tfidf_of_pairs(pairs), pairs.score),
        "all-MiniLM-L6-v2": _of_teacher(pairs),
    }
    with gates.replacing(out) as file:
        json.dump({"command": COMMAND, "pairs": len(pairs), "yardsticks": beside, "rows": rows}, file, indent=1)
        file.write("\n")
    return out


def measured(folder: Path, pairs) -> tuple[dict, np.ndarray]:
    """A row on the adapter in ``folder``, ready for JSON, and its cosine of every judged pair ``[n]``."""
    record = gates.json_value(gates.read_text(folder / "training.json"), f"{folder.name}/training.json")
    recipe = record["recipe"]
    embedder = load(recipe["embedder"], adapters=(folder,))
    cosines = evaluation.cosine(*(embedder.encode(side, progress=False) for side in (pairs.left, pairs.right)))
    aligned = _alignment(folder, embedder)
    return {
        "embedder": recipe["embedder"], "ships": folder.parent == registry.ADAPTERS, "teacher": recipe.get("teacher"),
        "seed": recipe["seed"], "steps": [[s["objective"], s["steps"], s["batch_size"]] for s in recipe["stage"]],
        "made_on": record.get("made_on", "not recorded"), "adapter_sha256": record.get("adapter_sha256"),
        "STS dev": evaluation.spearman(cosines, pairs.score),
        "alignment": aligned["trained"], "movement": aligned["variation"],
    }, cosines  # fmt: skip


def _alignment(folder: Path, embedder) -> dict:
    """What the folder's ``scores.json`` says, where there is one (:func:`cards.measure`); measured otherwise."""
    if (file := folder / "scores.json").is_file():
        scores = gates.json_value(gates.read_text(file), str(file))
        if not isinstance(scores, dict) or "alignment" not in scores:
            raise ValueError(f"{file} holds no 'alignment': delete it, and it is measured again")
        return scores["alignment"]
    origin = load(embedder.spec.origin, backbone=embedder.backbone, normalize=embedder.spec.normalize)
    return cards.alignment(embedder, origin)


def _recipe(file: Path) -> dict:
    record = gates.json_value(gates.read_text(file), str(file))
    recipe = record.get("recipe") if isinstance(record, dict) else None
    if not isinstance(recipe, dict) or recipe.get("embedder") not in registry.POCKET:
        raise ValueError(
            f"{file} is no record of a pocket embedder's training; choose from {', '.join(registry.POCKET)}"
        )
    recipes.from_dict(recipe, str(file))
    if not recipe.get("teacher"):
        raise ValueError(f"{file}: this adapter had no teacher; --adapters takes those that had one")
    return recipe


def _gain(taught, plain, gold) -> list[float]:
    """Correlation with the teacher minus that without: value and 95 % interval, the same pairs drawn for both.

    Args:
        taught, plain: cosines of the pairs; gold: their scores; ``[n]`` each.
    """
    found = evaluation.bootstrap_rows(
        taught, plain, gold, statistic=lambda a, b, g: evaluation.spearman(a, g) - evaluation.spearman(b, g)
    )
    return [found.value, found.low, found.high]


def _of_teacher(pairs) -> float:
    encode = Teacher().encode
    return evaluation.spearman(evaluation.cosine(encode(pairs.left), encode(pairs.right)), pairs.score)
