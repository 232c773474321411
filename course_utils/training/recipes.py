"""Recipes: what an adapter is trained on, as small TOML files in ``data/recipes``.

A recipe names the embedder, the data files and the stages of training. Reading
one checks everything that can be checked before the first step: an unknown
key, a missing file, an empty or malformed line.
"""

import json
import random
import re
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import get_origin

from course_utils import gates, installed_alone
from course_utils.models.weights import ENCODERS
from course_utils.texts.readers import read_jsonl
from course_utils.training.examples import Example, by_instruction, by_topic, mine_negatives, mine_with_teacher

#: Folder of the recipes that ship with the course.
RECIPES = Path(__file__).resolve().parents[2] / "data" / "recipes"

#: What a line of each form of data file must hold.
FORMS = {
    "triplets": ("anchor", "positive", "negative"),
    "pairs": ("query", "positive"),
    "cloze": ("positive",),
    "labelled": ("text",),
    "answers": ("context", "question", "answer"),
    "unlabelled": ("text",),
}
OBJECTIVES = ("contrastive", "mntp", "contrastive+lm")
TEACHER_LOSSES = ("distribution", "margin")
#: Keys that recipes did not have from the start. Records leave them out where they are unset, so that a run of a
#: recipe without them writes what it always wrote, and its older checkpoints still fit.
LATER_KEYS = ("teacher", "column", "first_layer")


@dataclass(frozen=True)
class Mine:
    """Hard negatives by the teacher's eye: one of the ``k`` nearest passages that are not too near.

    Attributes:
        name: the encoder that looks for them.
        k, margin: see :func:`course_utils.training.teacher.mine_negatives`.
    """

    name: str = "minilm"
    k: int = 4
    margin: float = 0.95


@dataclass(frozen=True)
class Data:
    """One data file of a recipe.

    Attributes:
        weight: its share of the batches.
        instruction: what the embeddings of this file should be about.
        label, within: columns of a labelled file, see :func:`_labelled`.
        limit: use that many rows at most.
        mine: give pairs hard negatives: ``true`` those of BM25, a table, even an empty one, those of a teacher (see
            :class:`Mine`, and :func:`~course_utils.training.examples.mine_negatives`).
        topics: make batches of one topic, see :func:`~course_utils.training.examples.by_topic`.
        one_instruction: make batches of one instruction, where the rows bring their own.
        stages: numbers, from 1, of the stages that draw from this file; an empty list means all.
        column: where an unlabelled file's text stands, if not under ``text``.
        teacher: ``false`` keeps the recipe's teacher out of these batches, for instance where an instruction decides
            what is near: it knows of none.
    """

    file: str
    form: str
    weight: float = 1.0
    instruction: str | None = None
    label: str | None = None
    within: str | None = None
    limit: int | None = None
    mine: bool | Mine = False
    topics: bool = False
    one_instruction: bool = False
    stages: list[int] = field(default_factory=list)
    column: str | None = None
    teacher: bool | None = None


@dataclass(frozen=True)
class Stage:
    """A stretch of training under one objective with its own one-cycle schedule.

    Attributes:
        cached: contrast large batches in little memory, see :func:`course_utils.training.cached_loss`.
    """

    objective: str
    steps: int
    learning_rate: float
    batch_size: int = 32
    lm_weight: float = 0.1
    cached: bool = False


@dataclass(frozen=True)
class TeacherTerm:
    """What a teacher adds to the contrastive loss, ``weight`` times.

    Attributes:
        name: a stored encoder, see :data:`course_utils.models.weights.ENCODERS`.
        loss: ``"distribution"`` or ``"margin"``, see :mod:`course_utils.training.teacher`.
        temperature: τ of both sides in the loss ``"distribution"``.
    """

    name: str
    loss: str = "distribution"
    weight: float = 1.0
    temperature: float = 0.05


@dataclass(frozen=True)
class Recipe:
    """All that decides the outcome of a training run.

    Attributes:
        first_layer: layers below it, counted from 0, stay as they are; see :mod:`course_utils.training.frozen`.
    """

    embedder: str
    stage: list[Stage]
    data: list[Data]
    seed: int = 0
    lora_rank: int = 8
    temperature: float = 0.05
    max_tokens: int = 96
    max_grad_norm: float = 1.0
    notes: list[str] = field(default_factory=list)
    teacher: TeacherTerm | None = None
    first_layer: int | None = None


def as_dict(recipe: Recipe) -> dict:
    """A recipe as records hold it: all its keys, :data:`LATER_KEYS` only where they are set."""
    return asdict(recipe, dict_factory=lambda pairs: {k: v for k, v in pairs if v is not None or k not in LATER_KEYS})


def from_dict(values: dict, where: str) -> Recipe:
    """A recipe from the tables of its file, or from a record; what an older record does not name has its default.

    Raises:
        ValueError: an unknown key, or a value of another kind; the message names the place.
    """
    stages = [_build(Stage, s, f"{where}, stage {i}") for i, s in enumerate(values.get("stage", []), 1)]
    data = [_data(d, f"{where}, data {i}") for i, d in enumerate(values.get("data", []), 1)]
    whole = {**values, "stage": stages, "data": data}
    if "teacher" in values:
        whole["teacher"] = _build(TeacherTerm, values["teacher"], f"{where}, teacher")
    return _build(Recipe, whole, where)


def read(path: Path | str) -> Recipe:
    """Read and check a recipe.

    Raises:
        FileNotFoundError: no such file; the message lists the recipes that ship.
        ValueError: an unknown key, objective or form; the message names the place.
    """
    path = gates.expanded(path)
    if not gates.is_file(path):
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        ships = f"recipes that ship with the course: {known}{installed_alone(path)}"
        raise FileNotFoundError(f"no recipe {path}; {ships}")
    try:
        raw = tomllib.loads(gates.read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name}: {error}") from None
    recipe = from_dict(raw, path.name)
    stages, data = recipe.stage, recipe.data
    if not stages or not data:
        raise ValueError(f"{path.name}: a recipe needs at least one [[stage]] and one [[data]]")
    for stage in stages:
        if stage.objective not in OBJECTIVES:
            raise ValueError(f"{path.name}: unknown objective {stage.objective!r}; choose from {OBJECTIVES}")
    for number in range(1, len(stages) + 1):
        if not any(in_stage(d, number) for d in data):
            raise ValueError(f"{path.name}: no [[data]] entry is for stage {number}; see their key 'stages'")
    for d in data:
        if not all(isinstance(n, int) and 1 <= n <= len(stages) for n in d.stages):
            raise ValueError(f"{path.name}: stages of {d.file} must be numbers from 1 to {len(stages)}; got {d.stages}")
        if d.form not in FORMS:
            raise ValueError(f"{path.name}: unknown form {d.form!r} of {d.file}; choose from {sorted(FORMS)}")
        if d.mine is True and d.topics:
            raise ValueError(f"{path.name}: {d.file} has both 'mine' and 'topics'; choose one kind of hard negatives")
        if d.one_instruction and (d.topics or d.form != "triplets"):
            raise ValueError(
                f"{path.name}: {d.file} has 'one_instruction', which is for 'triplets' that bring their instructions "
                "and excludes 'topics'"
            )
        if d.mine and d.form != "pairs":
            raise ValueError(f"{path.name}: {d.file} has the form {d.form!r}; negatives are mined for 'pairs' only")
        if d.form == "labelled" and not d.label:
            raise ValueError(f"{path.name}: {d.file} has the form 'labelled', which needs the key 'label'")
        if d.column and d.form != "unlabelled":
            raise ValueError(f"{path.name}: {d.file} has the form {d.form!r}; 'column' is for 'unlabelled' only")
    _check_teacher(recipe, path.name)
    return recipe


def _check_teacher(recipe: Recipe, name: str) -> None:
    """The encoders that are named exist, and texts without labels have somebody to speak for them."""
    named = [d.mine.name for d in recipe.data if isinstance(d.mine, Mine)]
    term = recipe.teacher
    for teacher in named + ([term.name] if term else []):
        if teacher not in ENCODERS:
            raise ValueError(f"{name}: unknown teacher {teacher!r}; choose from {sorted(ENCODERS)}")
    if term and term.loss not in TEACHER_LOSSES:
        raise ValueError(f"{name}: unknown loss {term.loss!r} of the teacher; choose from {TEACHER_LOSSES}")
    contrasted = [n for n, stage in enumerate(recipe.stage, 1) if stage.objective != "mntp"]
    for d in recipe.data:
        if d.form == "unlabelled" and any(in_stage(d, n) for n in contrasted):
            if not term or term.loss == "margin" or d.teacher is False:
                raise ValueError(
                    f"{name}: {d.file} has the form 'unlabelled': it needs a [teacher] with the loss 'distribution'"
                )


def in_stage(data: Data, number: int) -> bool:
    """Whether stage ``number``, counted from 1, draws from a data file."""
    return not data.stages or number in data.stages


def _data(values: dict, where: str) -> Data:
    if isinstance(values.get("mine"), dict):
        values = {**values, "mine": _build(Mine, values["mine"], f"{where}, mine")}
    return _build(Data, values, where)


def _build(kind: type, values: dict, where: str):
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a table of keys; got {values!r}")
    known = {f.name: f.type for f in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}; known keys: {', '.join(sorted(known))}")
        wanted = get_origin(known[key]) if get_origin(known[key]) is list else known[key]
        if not isinstance(value, int | float if wanted is float else wanted):
            raise ValueError(f"{where}: {key} must be {getattr(wanted, '__name__', wanted)}; got {value!r}")
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and value <= 0
            and key not in ("seed", "lm_weight")
        ):
            raise ValueError(f"{where}: {key} must be positive; got {value}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def read_rows(path: Path, required: Iterable[str]) -> list[dict]:
    """Rows of a JSONL file, read by :func:`course_utils.texts.readers.read_jsonl`; every ``required`` key holds a text.

    Raises:
        FileNotFoundError, ValueError: no such file, or a line that is empty, no JSON
            object, or lacks a text; the message names file and line.
    """
    if not path.exists():
        raise FileNotFoundError(f"data file {path} does not exist; give its folder with --data")
    rows = read_jsonl(path, ())
    for number, row in enumerate(rows, 1):
        for key in required:
            if not isinstance(row.get(key), str) or not row[key].strip():
                raise ValueError(f"{path}, line {number}: needs a non-empty text under {key!r}; got {row.get(key)!r}")
    return rows


def write_rows(path: Path, rows: Iterable[dict]) -> int:
    """Write rows as a JSONL file that :func:`read_rows` reads, atomically; return how many."""
    path = gates.expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    n = 0
    with gates.replacing(path) as file:
        for n, row in enumerate(rows, start=1):
            line = json.dumps(row, ensure_ascii=False)
            gates.unicode_text(line, f"{path.name}, row {n}")
            file.write(line + "\n")
    return n


def load_examples(
    recipe: Recipe, folder: Path, evaluation_texts: Iterable[str] = ()
) -> tuple[list[list[Example]], dict[str, int]]:
    """Read every data file of a recipe and leave out what overlaps with evaluation text.

    Returns:
        One list of examples per ``[[data]]`` entry, and ``{file: number of rows left out}``.
    """
    forbidden = set().union(*(shingles(text) for text in gates.texts(evaluation_texts, "evaluation_texts", empty=True)))
    datasets, dropped = [], {}
    for number, data in enumerate(recipe.data):
        required = (data.column,) if data.column else FORMS[data.form]
        required += tuple(k for k in (data.label, data.within) if k)
        rows = read_rows(folder / data.file, required)
        kept = [row for row in rows if not any(shingles(v) & forbidden for v in row.values() if isinstance(v, str))]
        dropped[data.file] = len(rows) - len(kept)
        rng = random.Random(recipe.seed * 1000 + number)
        rng.shuffle(kept)
        examples = _examples(kept[: data.limit], data, rng)
        largest = max(stage.batch_size for stage in recipe.stage)
        if isinstance(data.mine, Mine):
            examples = mine_with_teacher(examples, rng, **asdict(data.mine))
        elif data.mine:
            examples = mine_negatives(examples, rng)
        examples = by_instruction(examples) if data.one_instruction else examples
        examples = [e._replace(guided=False) for e in examples] if data.teacher is False else examples
        datasets.append(by_topic(examples, largest, recipe.seed) if data.topics else examples)
        if len(datasets[-1]) < largest:
            raise ValueError(f"{data.file} gives {len(datasets[-1])} examples, fewer than one batch of {largest}")
    return datasets, dropped


def shingles(text: str, n: int = 8) -> set[tuple[str, ...]]:
    """Runs of ``n`` words (:func:`course_utils.gates.words`), lower-cased; a shorter text is one run of its own."""
    words = gates.words(text.lower())
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def _examples(rows: list[dict], data: Data, rng: random.Random) -> list[Example]:
    if data.form == "triplets":
        told = [r.get("instruction", data.instruction) for r in rows]
        sides = [(r["anchor"], r["positive"], r["negative"]) for r in rows]
        groups = [{"group": r.get("group"), "negative_group": r.get("negative_group")} for r in rows]
        return [Example(*s, i, i, **g) for s, i, g in zip(sides, told, groups, strict=True)]
    if data.form == "pairs":
        return [Example(r["query"], r["positive"], r.get("negative"), data.instruction) for r in rows]
    if data.form == "cloze":
        return [e for r in {r["positive"]: r for r in rows}.values() for e in _cloze(r["positive"], data, rng)]
    if data.form == "answers":
        return [Example(r["context"], r["answer"], None, r["question"], group=r["answer"]) for r in rows]
    if data.form == "unlabelled":
        found = dict.fromkeys(r[data.column or "text"] for r in rows)
        return [Example(t, t, None, data.instruction, data.instruction, unlabelled=True) for t in found]
    return _labelled(rows, data, rng)


def _cloze(passage: str, data: Data, rng: random.Random, drawn: int = 2, kept: float = 0.1) -> list[Example]:
    """Sentences of a passage as queries for the rest of it: the inverse cloze task.

    The sentence stays in the passage with probability ``kept``, so that equal words count too
    (Lee et al. 2019, arXiv 1906.00300). Passages of fewer than four sentences give nothing.
    """
    sentences = [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])", passage) if len(s.split()) > 4]
    if len(sentences) < 4:
        return []
    chosen = rng.sample(range(len(sentences)), drawn)
    whole = [rng.random() < kept for _ in chosen]
    rest = [passage if w else " ".join(sentences[:i] + sentences[i + 1 :]) for i, w in zip(chosen, whole, strict=True)]
    return [Example(sentences[i], r, None, data.instruction, group=passage) for i, r in zip(chosen, rest, strict=True)]


def _labelled(rows: list[dict], data: Data, rng: random.Random) -> list[Example]:
    """Pairs of texts with the same label.

    With ``within`` (a second label) the negative shares the second label but not the
    first; so under "intent" the nearest neighbours by "domain" are pushed away.
    """
    by_label: dict[str, list[dict]] = {}
    by_within: dict[str, list[dict]] = {}
    for row in rows:
        by_label.setdefault(row[data.label], []).append(row)
        if data.within:
            by_within.setdefault(row[data.within], []).append(row)
    examples = []
    for row in rows:
        label = row[data.label]
        positive = rng.choice(by_label[label])
        negative = negative_label = None
        if data.within:
            near = by_within[row[data.within]]
            others = [r for r in rng.sample(near, min(8, len(near))) if r[data.label] != label]
            negative, negative_label = (others[0]["text"], others[0][data.label]) if others else (None, None)
        if positive["text"] != row["text"]:
            examples.append(
                Example(
                    row["text"],
                    positive["text"],
                    negative,
                    data.instruction,
                    data.instruction,
                    group=label,
                    negative_group=negative_label,
                )
            )
    return examples
