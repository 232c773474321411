"""The whole family: all recipes one after the other, and a quick look at what came out.

    several-tokens family --data FOLDER --dry-run

says what would be trained and for how long; without ``--dry-run`` it is trained. What is finished is kept, what was
interrupted goes on, so the same command may be given again after any cut.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TextIO

from course_utils import gates
from course_utils.models import registry
from course_utils.training import recipes
from course_utils.training.recipes import Recipe

#: What a cached batch costs beside a plain one: it is embedded a second time (three passes become four).
CACHED = 4 / 3
#: What :mod:`course_utils.training.runs` leaves of a run in its work folder.
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Plan:
    """One recipe of the family, and what there is to do.

    Attributes:
        state: ``"finished"``, ``"interrupted"`` or ``"to do"``.
        minutes: how long all its steps take, as on the processor that the adapters' records speak of.
    """

    name: str
    recipe: Recipe
    state: str
    minutes: float

    def __str__(self) -> str:
        steps = " + ".join(f"{s.steps} × {s.batch_size}" for s in self.recipe.stage)
        teacher = f", teacher {self.recipe.teacher.name}" if self.recipe.teacher else ""
        return f"{self.name:24} {self.state:12} about {self.minutes:4.0f} min   steps × batch: {steps}{teacher}"


def plans(
    names: Sequence[str] = (), out: Path | None = None, work: Path = Path("runs"), folder: Path = recipes.RECIPES
) -> list[Plan]:
    """Read all recipes (or the named ones) and see which are finished, in the order of their names.

    An adapter is finished when its ``training.json`` was written by today's recipe. The minutes are those of earlier
    runs, example by example; a recipe without a run of its own takes the median of the others.

    Raises:
        FileNotFoundError, ValueError: a recipe that is missing or wrong; nothing has been trained then.
    """
    out = out or registry.ADAPTERS
    found = {name: recipes.read(folder / f"{name}.toml") for name in names or _names(folder)}
    speed = {name: _seconds_per_example(registry.ADAPTERS / name / "training.json") for name in _names(folder)}
    known = [seconds for seconds in speed.values() if seconds]
    usual = median(known) if known else 1.0
    made = []
    for name, recipe in found.items():
        seconds = _examples(recipe) * (speed.get(name) or usual)
        made.append(Plan(name, recipe, _state(recipe, out / name, work / name), seconds / 60))
    return made


def train_family(
    data: Path,
    names: Sequence[str] = (),
    out: Path | None = None,
    work: Path = Path("runs"),
    *,
    keep_out: Sequence[Path] = (),
    probe_pairs: Path | None = None,
    dry_run: bool = False,
    folder: Path = recipes.RECIPES,
    report: Callable[[str], None] = print,
) -> list[Path]:
    """Train every recipe that is not finished, one after the other.

    The frozen weights are held in the arithmetic that is faster here, on a GPU where there is one. What a run says goes
    to ``work/NAME.log``.

    Args:
        data: folder with the recipes' data files.
        names: only these recipes; by default all of them.
        out: adapters go to ``out/NAME``; by default to the course's own ``data/adapters``.
        work: checkpoints and logs; an interrupted run continues from there.
        keep_out: files whose texts must not be trained on, besides the course's own evaluation texts.
        probe_pairs: judged sentence pairs (JSON Lines) for the logs.
        dry_run: say what would be done, and do nothing.
        folder: where the recipes lie.
        report: called with a line for each recipe.

    Returns:
        the folders of the adapters that were trained now.

    Raises:
        FileNotFoundError, ValueError: a recipe or data file that is missing or does not fit; adapters that were
            trained before it stay.
    """
    todo = plans(names, out, work, folder)
    for plan in todo:
        report(str(plan))
    left = [plan for plan in todo if plan.state != "finished"]
    report(f"{len(left)} of {len(todo)} to train, at most {sum(p.minutes for p in left):.0f} minutes where the records "
           "come from (two busy cores in bfloat16); a GPU takes a small part of it")  # fmt: skip
    if dry_run:
        return []
    missing = sorted({d.file for plan in left for d in plan.recipe.data if not (data / d.file).is_file()})
    if missing:
        raise FileNotFoundError(f"{data} lacks {', '.join(missing)}; give the folder with the recipes' data files")
    work.mkdir(parents=True, exist_ok=True)
    trained = []
    for plan in left:
        report(f"{plan.name}: training, see {work / plan.name}.log")
        with open(work / f"{plan.name}.log", "a", encoding="utf-8") as log:
            path = _train(str(folder / f"{plan.name}.toml"), data, out, work, keep_out, probe_pairs, log)
        (work / plan.name / CHECKPOINT).unlink(missing_ok=True)  # a later recipe of that name starts afresh
        report(f"{plan.name}: written to {path}")
        trained.append(path)
    return trained


def _train(recipe: str, data: Path, out: Path | None, work: Path, keep_out, probe_pairs, log: TextIO) -> Path:
    from course_utils.training.runs import train_recipe

    with redirect_stdout(log), redirect_stderr(log):
        return train_recipe(recipe, data, out, work, probe_pairs=probe_pairs, keep_out=keep_out)


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def _state(recipe: Recipe, adapter: Path, work: Path) -> str:
    if _record(adapter / "training.json")[0] == recipe:  # it is written last; some runs ship as nothing else
        return "finished"
    checkpoint = work / CHECKPOINT
    if not checkpoint.is_file():
        return "to do"
    from safetensors import safe_open

    with safe_open(checkpoint, "np") as file:
        written_by = recipes.from_dict(json.loads(file.metadata()["recipe"]), str(checkpoint))
    if written_by != recipe:
        raise ValueError(f"{checkpoint} was written by another recipe; delete it to start again")
    return "interrupted"


def _record(path: Path) -> tuple[Recipe | None, float]:
    """The recipe that an adapter was trained by, and the seconds it took; None where there is no record."""
    if not path.is_file():
        return None, 0.0
    record = gates.json_value(gates.read_text(path), str(path))
    return recipes.from_dict(record["recipe"], str(path)), record["seconds"]


def _examples(recipe: Recipe) -> float:
    """Examples that the steps of a recipe see; those of cached batches count for more."""
    return sum(s.steps * s.batch_size * (CACHED if s.cached else 1) for s in recipe.stage)


def _seconds_per_example(path: Path) -> float | None:
    recipe, seconds = _record(path)
    return seconds / _examples(recipe) if recipe else None


# --- A quick look at one adapter ------------------------------------------------------------------


def dev(
    name: str,
    training: str,
    kept: str,
    *,
    adapter: Path | None = None,
    sts: Path | None = None,
    collections: Sequence[Path] = (),
    words: Sequence[Path] = (),
    dtype: str = "bfloat16",
    tried: Path | None = None,
) -> dict[str, float]:
    """Score one adapter on data for development, and add a row to the table of what was tried.

    Args:
        name: the embedder.
        training: how the adapter was trained, in words.
        kept: whether it is kept, and why, in words.
        adapter: its folder, if not the one that ships.
        sts: judged sentence pairs (JSON Lines: ``sentence1``, ``sentence2``, ``score``).
        collections: test collections in BEIR layout.
        words: judged word pairs (JSON Lines: ``word1``, ``word2``, ``score``).
        dtype: arithmetic; bfloat16 is good enough for comparing.
        tried: the table, by default ``data/adapters/tried.jsonl``.

    Returns:
        the scores by the names of files and folders: Spearman correlation of pairs, nDCG@10 of collections.

    Raises:
        FileNotFoundError, ValueError: files that are missing or wrong, or none given; the table stays as it was.
    """
    from course_utils.models.embedder import load
    from course_utils.texts import readers
    from course_utils.training import cards

    tried = tried or cards.TRIED
    if not (sts or collections or words):
        raise ValueError("nothing to score on: give sts, collections or words")
    pairs = {Path(path).stem: _judged(Path(path), kind) for kind, path in _judged_files(sts, words)}
    searched = {Path(path).name: readers.retrieval(path) for path in collections}
    before = readers.read_jsonl(tried, ("adapter", "training", "score", "kept")) if tried.is_file() else []
    embedder = load(name, dtype=dtype, **({"adapters": (Path(adapter),)} if adapter else {}))
    scores = {key: cards.sts(embedder, judged) for key, judged in pairs.items()}
    for key, collection in searched.items():
        scores[key] = _searched(embedder, collection)
    shown = ", ".join(f"{key} {value:.3f}" for key, value in scores.items())
    shown += "" if dtype == "float32" else f" (all {dtype})"
    recipes.write_rows(tried, [*before, {"adapter": name, "training": training, "score": shown, "kept": kept}])
    return scores


def _judged_files(sts: Path | None, words: Sequence[Path]) -> list[tuple[str, Path]]:
    return ([("sentence", sts)] if sts else []) + [("word", path) for path in words]


def _judged(path: Path, kind: str):
    """Judged pairs of sentences or words, from the columns ``KIND1``, ``KIND2`` and ``score``."""
    import numpy as np

    from course_utils.texts.datasets import Pairs

    sides = f"{kind}1", f"{kind}2"
    rows = recipes.read_rows(path, sides)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("score"), int | float):
            raise ValueError(f"{path}, line {number}: needs a number under 'score'; got {row.get('score')!r}")
    left, right = ([row[side] for row in rows] for side in sides)
    return Pairs(left, right, np.array([row["score"] for row in rows], dtype=float))


def _searched(embedder, collection) -> float:
    """Mean nDCG@10 of dense search; queries are told what those of the course's own collection are told."""
    from course_utils.measures.evaluation import cosine_matrix
    from course_utils.shipped.collections import INSTRUCTIONS
    from course_utils.training.yardsticks import by_query

    told = INSTRUCTIONS.get(embedder.spec.name)
    queries = embedder.encode(list(collection.queries.values()), told, "query", progress=False)
    documents = embedder.encode(list(collection.corpus.values()), None, "passage", progress=False)
    return float(by_query(cosine_matrix(queries, documents), collection).mean())
