"""Short runs that are equal in everything but their data.

Two shipped embedders differ in a dozen settings, so what they do differently cannot be laid on their data. Here one
fresh adapter after the other is trained by one recipe: the same model, steps, batch, temperature, longest text, seeds.
An arm is named after what its pairs are. Each run keeps a log only: what it scores on word lists, on the minimal pairs
and on the probe of :mod:`course_utils.training.causes`.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures.evaluation import cosine, spearman
from course_utils.models import registry, store
from course_utils.shipped import preferences, words
from course_utils.texts import datasets, minimal_pairs, word_lists
from course_utils.training import recipes
from course_utils.training.causes import Probe, judged_pairs
from course_utils.training.examples import Example
from course_utils.training.loop import precision, start, train
from course_utils.training.recipes import Data, Recipe, Stage

#: What all runs share: the untrained model, and the settings.
EMBEDDER = "smollm2"
STEPS, BATCH, LEARNING_RATE, TEMPERATURE, MAX_TOKENS = 30, 16, 5e-4, 0.05, 32
#: Sentences of the probe.
SENTENCES = 60
DATA = registry.ADAPTERS.parent
#: The two arms whose comparison is the question of lesson 05.
COMPARED = ("entailment", "question–passage")
COMMAND = "several-tokens study runs --data FOLDER --lists FOLDER"
#: The logs that ship.
FILE = DATA / "data_runs.json"


@dataclass(frozen=True)
class Arm:
    """What one run is trained on.

    Attributes:
        file, form: a data file, in the form of a recipe.
        negatives: ``"none"``, ``"own"`` (each example's hard negative) or ``"shuffled"`` (another example's).
        ships: whether the file comes with the course.
    """

    file: str
    form: str
    negatives: str = "none"
    ships: bool = False


#: The arms by name. Those of negation train on the same sentences and differ in the hard negatives alone.
ARMS = {
    "entailment": Arm("nli_triplets.jsonl", "triplets"),
    "question–passage": Arm("question_passage.jsonl", "pairs"),
    "entailment, contradictions as negatives": Arm("nli_triplets.jsonl", "triplets", "own"),
    "negation: no hard negatives": Arm("negation_triplets.jsonl", "triplets", "none", ships=True),
    "negation: the right hard negatives": Arm("negation_triplets.jsonl", "triplets", "own", ships=True),
    "negation: shuffled hard negatives": Arm("negation_triplets.jsonl", "triplets", "shuffled", ships=True),
}


def run_all(
    names: Iterable[str] = (),
    seeds: Sequence[int] = (1, 2, 3),
    data: Path | None = None,
    work: Path = Path("runs/data"),
    lists: Path | None = None,
    *,
    sts: Path | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Run every arm, or those ``names``, with each seed; logs and cosines of finished runs are kept in ``work``.

    Args:
        data: folder of the files that do not ship.
        lists: folder of the word lists that do not ship; without it, those that do.
        sts: judged sentence pairs; every tenth is scored.

    Raises:
        ValueError: an unknown name, or a file that is wrong; the message names it.
        FileNotFoundError: a missing file.
    """
    names, work = list(names) or list(ARMS), gates.expanded(work)
    if unknown := [name for name in names if name not in ARMS]:
        raise ValueError(f"unknown arm {unknown[0]!r}; choose from {', '.join(ARMS)}")
    pairs, judged = judged_pairs(sts) if sts else [], word_lists.read(lists)
    work.mkdir(parents=True, exist_ok=True)
    probe: list[Probe] = []
    for seed in seeds:
        for name in names:
            file = work / f"{''.join(c if c.isalnum() else '-' for c in name)}.{seed}.json"
            if file.exists():
                continue
            log, cosines = run_one(name, seed, data, judged, pairs, probe=probe)
            np.savez(file.with_suffix(".npz"), **cosines)
            with gates.replacing(file) as out:
                json.dump(log, out, ensure_ascii=False)
            report(f"{name}, seed {seed}: loss {log['losses'][0]:.2f} to {log['losses'][-1]:.2f}, {log['seconds']} s")


def run_one(
    name: str,
    seed: int,
    data: Path | None = None,
    lists: dict | None = None,
    pairs: Sequence[tuple[str, str, float]] = (),
    *,
    steps: int | None = None,
    probe: list[Probe] | None = None,
) -> tuple[dict, dict[str, np.ndarray]]:
    """Train one arm; its log, ready for JSON, and its cosines of the word lists and the minimal pairs.

    Args:
        lists: judged word pairs by name; by default those that ship.
        steps: how many of the thirty steps to take; the schedule is that of all thirty.
        probe: a list that holds the probe of the untrained model after the first run.
    """
    begun, arm, probe = time.monotonic(), ARMS[name], [] if probe is None else probe
    recipe = recipe_of(name, seed)
    examples, dropped = examples_of(name, seed, data)
    run = start(recipe, "float32")
    if not probe:
        probe.append(Probe(run, datasets.wikipedia_sentences(SENTENCES), pairs))
    losses: list[float] = []
    train(run, [examples], until=steps, on_step=lambda run, loss: losses.append(round(loss, 5)))
    h = probe[0].embed(run, probe[0].texts)
    lists = {} if arm.ships else word_lists.read() if lists is None else lists
    cosines = cosines_of(run, lists)
    return {
        "arm": name, **asdict(arm), "seed": seed, "recipe": recipes.as_dict(recipe),
        "rows left out": sum(dropped.values()),
        "losses": losses, "probe": [probe[0].row(0, probe[0].h), probe[0].row(len(losses), h)],
        "before": probe[0].before, "after": probe[0].measures(run, h),
        "lists": {key: round(spearman(cosines[key], judged.score), 4) for key, judged in lists.items()},
        "backbone_sha256": store.fingerprint(run.embedder.backbone.folder),
        "seconds": round(time.monotonic() - begun),
    }, cosines  # fmt: skip


def recipe_of(name: str, seed: int) -> Recipe:
    """What all arms share, and the data of one."""
    arm = ARMS[name]
    return Recipe(
        EMBEDDER, [Stage("contrastive", STEPS, LEARNING_RATE, BATCH)], [Data(arm.file, arm.form)], seed=seed,
        temperature=TEMPERATURE, max_tokens=MAX_TOKENS,
    )  # fmt: skip


def examples_of(name: str, seed: int, data: Path | None = None) -> tuple[list[Example], dict[str, int]]:
    """The examples of one arm in the order that the seed gives, and how many rows were left out of which file.

    Left out is what shares eight words with a text that is measured on: Wikipedia sentences and minimal pairs. Larger
    files give as many examples as the run has places for.

    Raises:
        FileNotFoundError: no such file, or no folder for one that does not ship.
    """
    arm = ARMS[name]
    if not arm.ships and data is None:
        raise FileNotFoundError(f"{arm.file} does not come with the course; give its folder")
    measured = [text for pair in minimal_pairs.read() for text in (pair.sentence1, pair.sentence2)]
    folder = DATA if arm.ships else gates.expanded(data)
    (found,), dropped = recipes.load_examples(recipe_of(name, seed), folder, datasets.wikipedia_sentences() + measured)
    found = found[: STEPS * BATCH]
    if arm.negatives == "own":
        return found, dropped
    others = [e.negative if arm.negatives == "shuffled" else None for e in found[1:] + found[:1]]
    return [e._replace(negative=other) for e, other in zip(found, others, strict=True)], dropped


def cosines_of(run, lists: dict) -> dict[str, np.ndarray]:
    """Cosines of every list's word pairs (words after the carrier) and, as ``"pairs"``, of the minimal pairs."""
    pairs, embedder = minimal_pairs.read(), run.embedder
    reader = type(embedder)(
        replace(embedder.spec, prompt=words.carried(embedder.spec.prompt)), embedder.backbone, attach=False
    )
    with precision(run):
        found = words.word_cosines(reader, lists=lists) if lists else {}
        sides = [
            embedder.encode([getattr(p, side) for p in pairs], progress=False) for side in ("sentence1", "sentence2")
        ]
    return {**found, "pairs": cosine(*sides).astype(np.float32)}


def collect(work: Path, lists: Path | None = None, out: Path = FILE) -> Path:
    """All logs in ``work`` as one file that ships, with what the first two arms differ in on word lists.

    With one seed each the intervals count words only: no claim about training can rest on them.

    Raises:
        FileNotFoundError: no logs there.
    """
    work = gates.expanded(work)
    logs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*.json"))]
    if not logs:
        raise FileNotFoundError(f"no logs in {work}")
    cosines = [dict(np.load(path)) for path in sorted(work.glob("*.npz"))]
    made = {
        "command": COMMAND,
        "recipe": {k: v for k, v in logs[0]["recipe"].items() if k not in ("data", "seed")},
        "runs": [_shipped(log, found["pairs"]) for log, found in zip(logs, cosines, strict=True)],
    }
    if lists is not None:
        judged = word_lists.read(lists)
        sides = [
            [preferences.followed(found, judged) for log, found in zip(logs, cosines, strict=True) if log["arm"] == arm]
            for arm in COMPARED
        ]
        means = [preferences.mean(side) for side in sides]
        made |= {
            "first": COMPARED[0],
            "second": COMPARED[1],
            "comparison": preferences.difference(*means, judged, sides if min(map(len, sides)) > 1 else ()),
        }
    with gates.replacing(out) as file:
        json.dump(made, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return out


def _shipped(log: dict, pairs: np.ndarray) -> dict:
    """A log with its cosines of the minimal pairs, without what all logs share."""
    kept = {key: value for key, value in log.items() if key not in ("file", "form", "ships", "recipe")}
    return kept | {"pairs": [round(float(c), 4) for c in pairs]}


def read(path: Path = FILE) -> dict:
    """The logs that ship."""
    return gates.json_value(gates.read_text(path), path.name)


def by_arm(made: dict) -> dict[str, list[dict]]:
    """The logs of each arm of :data:`ARMS` that was run, in the order of their seeds."""
    runs = sorted(made["runs"], key=lambda log: log["seed"])
    return {arm: found for arm in ARMS if (found := [log for log in runs if log["arm"] == arm])}


def correlations(made: dict, arm: str) -> dict[str, np.ndarray]:
    """What the runs of one arm reach on each word list, ``[seeds]``.

    Raises:
        ValueError: an arm that was not run or not measured on word lists.
    """
    found = by_arm(made).get(arm, [])
    if not found or not found[0]["lists"]:
        raise ValueError(f"no run of {arm!r} was measured on word lists; choose from {', '.join(by_arm(made))}")
    return {name: np.array([log["lists"][name] for log in found]) for name in found[0]["lists"]}


def indices(made: dict, rows: Sequence[Mapping]) -> np.ndarray:
    """By how much the first arm's preference is above the second's, ``[pairs of lists, seeds]``.

    Args:
        rows: with ``similarity`` and ``relatedness``, as in ``made["comparison"]``.
    """
    one, other = (correlations(made, made[side]) for side in ("first", "second"))
    return np.array(
        [one[r["similarity"]] - one[r["relatedness"]] - other[r["similarity"]] + other[r["relatedness"]] for r in rows]
    )
