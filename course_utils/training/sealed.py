"""The one measurement on lesson 06's sealed texts: embed, freeze, measure once.

    several-tokens train data/recipes/listening/without.toml --data FOLDER --out ADAPTERS     # shuffled, practised
    several-tokens data sealed-embed --adapters ADAPTERS
    several-tokens data sealed-measure

The first two steps look at no label and may be repeated. The third compares clusters with labels, writes
``data/sealed_measurement.json`` and refuses to run again without a written reason, which the file then keeps beside
the earlier results.

The rule for the verdict was written before the measurement. An embedder **follows** an instruction if the V-measure of
the asked aspect is higher than under every control, each 95 % interval above 0: no instruction, each of the two other
aspects, and the mean of the nonsense words that it
was given. It **reacts** if it gains over no instruction only. Otherwise: **no gain**.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures import evaluation
from course_utils.models import registry
from course_utils.models.registry import EmbedderSpec
from course_utils.shipped import files, instructions
from course_utils.texts import aspects, sealed_texts

_DATA = Path(__file__).resolve().parents[2] / "data"
#: Embeddings and partitions, one file per embedder, and the log of the measurement.
ARRAYS, LOG = _DATA / "arrays" / "sealed", _DATA / "sealed_measurement.json"
#: Recipe, losses and checksum of the three runs, whose adapters do not ship.
TRAINING = _DATA / "listening_runs.json"
#: The runs: nothing about sentiment, the same with shuffled instructions, and with sentiment asked for too.
RUNS = ("without", "shuffled", "practised")
#: What is told instructions before the text: the runs, their base model, and ``smol-grit``, trained for longer.
TOLD = (instructions.UNTRAINED, "shuffled", "without", "practised", "smol-grit")
#: All embedders that are measured.
NAMES = (*TOLD, "smol-eol", "smol-eol-cse", "smol-llm2vec")
#: Words that ask for nothing that a text of the set has. The first is the control of the older texts too.
NONSENSE = ("purple", "marble", "seventeen", "umbrella", "walnut", "gravel", "banjo", "oval", "turnip", "velvet")
#: Other words for each aspect. None of them is an instruction of any training file.
SYNONYMS = {"topic": ("subject", "theme"), "sentiment": ("mood", "attitude"), "intent": ("purpose", "speech act")}
#: Instructions that every embedder gets; the instruction-trained ones get more.
MAIN = (None, *sealed_texts.ASPECTS, NONSENSE[0])
N_STARTS, N_RESAMPLES = 10, 300


def told(name: str) -> tuple[str | None, ...]:
    """The instructions that an embedder gets.

    All nonsense words for the runs, and the synonyms for ``smol-grit``, which practised all three aspects.
    """
    if name == "smol-grit":
        return MAIN + tuple(word for words in SYNONYMS.values() for word in words)
    return MAIN + NONSENSE[1:] if name in RUNS else MAIN


def spec(name: str, adapters: Path | None = None) -> EmbedderSpec:
    """The registry entry of an embedder; of the runs, that of smol-grit with the run's adapter.

    Raises:
        ValueError: a run, and no folder of adapters.
    """
    if name not in RUNS:
        return instructions.spec(name)
    if adapters is None:
        raise ValueError(f"{name} is a run of lesson 06: give the folder of its adapter with --adapters")
    return replace(registry.get("smol-grit"), name=name, adapters=(str((adapters / name).resolve()),))


def embed(
    adapters: Path,
    names: Sequence[str] = NAMES,
    report: Callable[[str], None] = print,
    first_layer: int | None = None,
    out: Path = ARRAYS,
) -> None:
    """Write embeddings and partitions of the sealed texts, one file per embedder; looks at no label.

    What is there already, made from the same texts, instructions and weights, is left as it is.

    Args:
        adapters: folder that holds the adapters of the runs.
        first_layer: lower layers that the runs and the untrained model share are computed once.
    """
    from course_utils.models.embedder import Backbone, Embedder
    from course_utils.training import frozen

    backbone, states = Backbone("smollm2"), {}
    texts = [row.text for row in sealed_texts.read()]
    for name in gates.listed(names, "names"):
        shared = first_layer if name in (*RUNS, instructions.UNTRAINED) else None
        embedder = Embedder(spec(name, adapters), backbone)
        source = {"texts": _digest(sealed_texts.FILE), "instructions": json.dumps(told(name))}
        source |= files.weights(embedder.spec)
        if (path := out / f"{name}.safetensors").exists() and files.made_from(path) == source:
            report(f"{name}: there already")
            continue
        with frozen.remembered(backbone.transformer, shared, states):
            rows = {i: embedder.encode(texts, instructions.worded(name, i), progress=False) for i in told(name)}
        tensors = {i or "none": rows[i] for i in MAIN}
        rows |= {i: files.unpack(files.pack(rows[i])) for i in MAIN}  # what is measured is what ships
        tensors["partitions"] = np.stack([_partitions(rows[i]) for i in told(name)]).astype(np.uint8)
        files.write(path, tensors, source)
        report(f"{name}: {len(texts)} texts under {len(told(name))} instructions")


def keep_logs(adapters: Path, out: Path = TRAINING) -> None:
    """Copy what the logs of the runs say into one file that ships.

    Raises:
        FileNotFoundError: an adapter's ``training.json`` is missing.
    """
    logs = {}
    for run in RUNS:
        log = gates.json_value(gates.read_text(adapters / run / "training.json"), f"{run}/training.json")
        logs[run] = {key: log[key] for key in ("recipe", "adapter_sha256", "losses", "left_out", "dtype")}
    with gates.replacing(out) as file:
        file.write(json.dumps(logs, indent=1) + "\n")


def _partitions(rows: np.ndarray) -> np.ndarray:
    """k-means partitions for each aspect, ``[3, starts, n]``."""
    return np.stack([aspects.clusterings(rows, len(names), N_STARTS) for names in sealed_texts.ASPECTS.values()])


def load(name: str, folder: Path = ARRAYS) -> tuple[dict[str | None, np.ndarray], dict[str | None, np.ndarray]]:
    """What ships of one embedder: embeddings by instruction ``[n, d]``, partitions by instruction ``[3, starts, n]``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it was made from other texts.
    """
    path = folder / f"{name}.safetensors"
    made_from = files.made_from(path)
    if made_from["texts"] != _digest(sealed_texts.FILE):
        raise ValueError(f"{path.name} was made from other texts: several-tokens data sealed-embed makes it again")
    tensors = files.read(path)
    asked = json.loads(made_from["instructions"])
    return {i: tensors[i or "none"] for i in MAIN}, dict(zip(asked, tensors["partitions"], strict=True))


def gains(partitions: dict[str | None, np.ndarray], aspect: str, labels: Sequence[str], asked: str | None = None):
    """How much asking for an aspect gains in V-measure over each control, with 95 % intervals.

    Texts and random starts are resampled together; the partitions themselves are not computed again.

    Args:
        partitions: instruction -> ``[3, starts, n]``, see :func:`load`.
        labels: one per text ``[n]``.
        asked: another word for the aspect.

    Returns:
        control -> :class:`course_utils.measures.evaluation.Interval`.
    """
    at = list(sealed_texts.ASPECTS).index(aspect)
    true = np.unique(list(labels), return_inverse=True)[1]
    of = {i: parts[at] for i, parts in partitions.items()}
    wrong = {other: of[other] for other in sealed_texts.ASPECTS if other != aspect}
    nonsense = np.concatenate([of[word] for word in NONSENSE if word in of])
    own = of[asked or aspect]
    controls = {"none": of[None], **wrong, "nonsense": nonsense}
    return {control: _gain(true, own, parts) for control, parts in controls.items()}


def _gain(true: np.ndarray, own: np.ndarray, other: np.ndarray) -> evaluation.Interval:
    rng = np.random.default_rng(1)

    def difference(rows: np.ndarray) -> float:
        starts, others = rng.integers(len(own), size=N_STARTS), rng.integers(len(other), size=N_STARTS)
        return aspects.v_measure(true[rows], own[starts][:, rows]) - aspects.v_measure(
            true[rows], other[others][:, rows]
        )

    drawn = evaluation.bootstrap_indices(len(true), difference, n_resamples=N_RESAMPLES)
    value = aspects.v_measure(true, own) - aspects.v_measure(true, other)
    return evaluation.Interval(value, drawn.low, drawn.high)


def verdict(found: dict[str, evaluation.Interval]) -> str:
    """``"follows"``, ``"reacts"`` or ``"no gain"``, by the rule at the top of this module."""
    if all(interval.low > 0 for interval in found.values()):
        return "follows"
    return "reacts" if found["none"].low > 0 else "no gain"


def measure(log: Path = LOG, folder: Path = ARRAYS, reason: str | None = None) -> dict:
    """Compare clusters with labels, once, and write the log.

    Every number is given for all texts with the writer's labels, and for the texts whose label in that aspect both
    readers share.

    Raises:
        FileExistsError: it was measured before, and no reason is given for measuring again.
        FileNotFoundError, ValueError: as :func:`load`.
    """
    earlier = json.loads(gates.read_text(log)) if log.exists() else None
    if earlier and not (reason and reason.strip()):
        raise FileExistsError(
            f"{log.name} holds the measurement of {earlier['date']}. The texts were sealed so that they are measured "
            "once; to measure again, write down why: --again REASON"
        )
    first, second = sealed_texts.read(), sealed_texts.second_labels()
    result = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "reason": reason,
        "rule": __doc__.split("measurement. ")[-1].replace("\n", " ").strip(),
        "texts": _digest(sealed_texts.FILE),
        "second_labels": _digest(sealed_texts.SECOND),
        "recipes": {run: _digest(_DATA / "recipes" / "listening" / f"{run}.toml") for run in RUNS},
        "embedders": {name: _measured(load(name, folder)[1], first, second) for name in NAMES},
        "earlier": earlier,
    }
    with gates.replacing(log) as file:
        file.write(json.dumps(result, indent=1) + "\n")
    return result


def _measured(partitions: dict[str | None, np.ndarray], first, second) -> dict:
    """Per aspect: V under every instruction, gains and verdict, for all texts and for those with one label."""
    found = {}
    for at, aspect in enumerate(sealed_texts.ASPECTS):
        own, other = (np.array(sealed_texts.labels(texts, aspect)) for texts in (first, second))
        found[aspect] = {}
        for which, kept in (("all", np.ones(len(own), dtype=bool)), ("agreed", own == other)):
            if which == "agreed" and kept.all():  # the readers agree on every text
                found[aspect][which] = found[aspect]["all"]
                continue
            parts = {i: stack[:, :, kept] for i, stack in partitions.items()}
            over = gains(parts, aspect, own[kept])
            found[aspect][which] = {
                "n": int(kept.sum()),
                "v": {i or "none": round(aspects.v_measure(own[kept], p[at]), 4) for i, p in parts.items()},
                "gains": {control: [round(x, 4) for x in (i.value, i.low, i.high)] for control, i in over.items()},
                "verdict": verdict(over),
            }
    return found


def _digest(path: Path) -> str:
    return files.digest(path.read_bytes())
