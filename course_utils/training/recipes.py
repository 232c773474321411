"""Recipes: what an adapter is trained on, as small TOML files in ``data/recipes``.

A recipe names the embedder, the data files and the stages of training. Reading
one checks everything that can be checked before the first step: an unknown
key, a missing file, an empty or malformed line.
"""

import json
import os
import random
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple, get_origin

from course_utils.texts.readers import read_jsonl

#: Folder of the recipes that ship with the course.
RECIPES = Path(__file__).resolve().parents[2] / "data" / "recipes"

#: What a line of each form of data file must hold.
FORMS = {
    "triplets": ("anchor", "positive", "negative"),
    "pairs": ("query", "positive"),
    "cloze": ("positive",),
    "labelled": ("text",),
    "answers": ("context", "question", "answer"),
}
OBJECTIVES = ("contrastive", "mntp", "contrastive+lm")


class Example(NamedTuple):
    """One training example: pull ``anchor`` and ``positive`` together.

    Attributes:
        anchor, positive: the two texts; ``negative`` a text to push away, or None.
        instruction: for the anchor and, in labelled data, for all three; or None.
        group: examples of the same group are not each other's negatives.
        negative_group: the group of ``negative``, which is no negative for that group either.
        topic: batches are made of examples of the same topic, where a data set has several.
    """

    anchor: str
    positive: str
    negative: str | None = None
    instruction: str | None = None
    positive_instruction: str | None = None
    group: str | None = None
    topic: int = 0
    negative_group: str | None = None


@dataclass(frozen=True)
class Data:
    """One data file of a recipe.

    Attributes:
        weight: its share of the batches.
        instruction: what the embeddings of this file should be about.
        label, within: columns of a labelled file, see :func:`_labelled`.
        limit: use that many rows at most.
        mine: give pairs hard negatives, see :func:`mine_negatives`.
        topics: make batches of one topic, see :func:`by_topic`.
        one_instruction: make batches of one instruction, where the rows bring their own, see :func:`by_instruction`.
        stages: numbers, from 1, of the stages that draw from this file; an empty list means all.
    """

    file: str
    form: str
    weight: float = 1.0
    instruction: str | None = None
    label: str | None = None
    within: str | None = None
    limit: int | None = None
    mine: bool = False
    topics: bool = False
    one_instruction: bool = False
    stages: list[int] = field(default_factory=list)


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
class Recipe:
    """All that decides the outcome of a training run."""

    embedder: str
    stage: list[Stage]
    data: list[Data]
    seed: int = 0
    lora_rank: int = 8
    temperature: float = 0.05
    max_tokens: int = 96
    max_grad_norm: float = 1.0
    notes: list[str] = field(default_factory=list)


def read(path: Path | str) -> Recipe:
    """Read and check a recipe.

    Raises:
        FileNotFoundError: no such file; the message lists the recipes that ship.
        ValueError: an unknown key, objective or form; the message names the place.
    """
    path = Path(path)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise FileNotFoundError(f"no recipe {path}; recipes that ship with the course: {known}")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name}: {error}") from None
    stages = [_build(Stage, s, f"{path.name}, stage {i}") for i, s in enumerate(raw.pop("stage", []), 1)]
    data = [_build(Data, d, f"{path.name}, data {i}") for i, d in enumerate(raw.pop("data", []), 1)]
    recipe = _build(Recipe, {**raw, "stage": stages, "data": data}, path.name)
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
        if d.mine and d.topics:
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
    return recipe


def in_stage(data: Data, number: int) -> bool:
    """Whether stage ``number``, counted from 1, draws from a data file."""
    return not data.stages or number in data.stages


def _build(kind: type, values: dict, where: str):
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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, n = path.with_name(f"{path.name}.partial"), 0
    with partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            n += 1
    os.replace(partial, path)
    return n


def load_examples(
    recipe: Recipe, folder: Path, evaluation_texts: Iterable[str] = ()
) -> tuple[list[list[Example]], dict[str, int]]:
    """Read every data file of a recipe and leave out what overlaps with evaluation text.

    Returns:
        One list of examples per ``[[data]]`` entry, and ``{file: number of rows left out}``.
    """
    forbidden = set().union(*(shingles(text) for text in evaluation_texts))
    datasets, dropped = [], {}
    for number, data in enumerate(recipe.data):
        required = FORMS[data.form] + tuple(k for k in (data.label, data.within) if k)
        rows = read_rows(folder / data.file, required)
        kept = [row for row in rows if not any(shingles(v) & forbidden for v in row.values() if isinstance(v, str))]
        dropped[data.file] = len(rows) - len(kept)
        rng = random.Random(recipe.seed * 1000 + number)
        rng.shuffle(kept)
        examples = _examples(kept[: data.limit], data, rng)
        largest = max(stage.batch_size for stage in recipe.stage)
        examples = mine_negatives(examples, rng) if data.mine else examples
        examples = by_instruction(examples) if data.one_instruction else examples
        datasets.append(by_topic(examples, largest, recipe.seed) if data.topics else examples)
        if len(datasets[-1]) < largest:
            raise ValueError(f"{data.file} gives {len(datasets[-1])} examples, fewer than one batch of {largest}")
    return datasets, dropped


def shingles(text: str, n: int = 8) -> set[tuple[str, ...]]:
    """Runs of ``n`` words, lower-cased; a shorter text is one run of its own."""
    words = re.findall(r"\w+", text.lower())
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


def mine_negatives(examples: list[Example], rng: random.Random, depth: int = 10) -> list[Example]:
    """Give pairs hard negatives: another pair's positive that BM25 finds for the anchor.

    One of the second to ``depth``-th best foreign passages is drawn. The best is left out, because
    in small collections it answers the question too often (Karpukhin et al. 2020, arXiv 2004.04906,
    mine with BM25; Qu et al. 2021, arXiv 2010.08191, on false negatives).
    """
    import bm25s

    passages = sorted({e.positive for e in examples})
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages, stopwords="en", show_progress=False), show_progress=False)
    questions = bm25s.tokenize([e.anchor for e in examples], stopwords="en", show_progress=False)
    found, _ = index.retrieve(questions, k=min(depth + 1, len(passages)), show_progress=False)
    mined = []
    for example, row in zip(examples, found, strict=True):
        foreign = [passages[i] for i in row if passages[i] != example.positive][1:depth]
        mined.append(example._replace(negative=example.negative or (rng.choice(foreign) if foreign else None)))
    return mined


def by_topic(examples: list[Example], size: int, seed: int) -> list[Example]:
    """Number the topics of the positives, about ``size`` examples each, so that batches can be made of one topic.

    Then the other passages of a batch are hard negatives, and cost nothing more (topic-aware sampling,
    Hofstätter et al. 2021, arXiv 2104.06967). Topics are k-means clusters of TF-IDF vectors in 64 dimensions.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit_transform([e.positive for e in examples])
    reduced = TruncatedSVD(min(64, *(n - 1 for n in words.shape)), random_state=seed).fit_transform(words)
    clusters = KMeans(max(1, len(examples) // size), n_init=1, random_state=seed).fit_predict(normalize(reduced))
    return [e._replace(topic=int(topic)) for e, topic in zip(examples, clusters, strict=True)]


def by_instruction(examples: list[Example]) -> list[Example]:
    """Number the instructions as topics: in a batch of one instruction, whatever it does to all texts tells nothing."""
    numbers = {words: n for n, words in enumerate(sorted({e.instruction or "" for e in examples}))}
    return [e._replace(topic=numbers[e.instruction or ""]) for e in examples]


def batches(datasets: list[list[Example]], weights: list[float], batch_size: int, steps: int, seed: int):
    """``steps`` batches, each from one data set, of examples of similar length.

    The order depends on the seed alone, so a resumed run sees the same batches.
    """
    rng = random.Random(seed)
    pools = [_epochs(examples, batch_size, rng.random()) for examples in datasets]
    for _ in range(steps):
        (which,) = rng.choices(range(len(datasets)), weights)
        yield next(pools[which])


def _epochs(examples: list[Example], batch_size: int, seed: float):
    if len(examples) < batch_size:
        raise ValueError(f"{len(examples)} examples are fewer than one batch of {batch_size}")
    rng = random.Random(seed)
    while True:
        order = examples[:]
        rng.shuffle(order)
        parts = _topics(order, rng) if any(e.topic for e in order) else _lengths(order, 16 * batch_size)
        chunks = [p[i : i + batch_size] for p in parts for i in range(0, len(p) - batch_size + 1, batch_size)]
        rng.shuffle(chunks)
        yield from chunks


def _lengths(order: list[Example], bucket: int) -> list[list[Example]]:
    parts = [order[start : start + bucket] for start in range(0, len(order), bucket)]
    return [sorted(part, key=lambda e: len(e.anchor) + len(e.positive)) for part in parts]


def _topics(order: list[Example], rng: random.Random) -> list[list[Example]]:
    """One list in which the examples of a topic stand together, the topics in random order."""
    topics: dict[int, list[Example]] = {}
    for e in order:
        topics.setdefault(e.topic, []).append(e)
    rest = list(topics.values())
    rng.shuffle(rest)
    return [[e for topic in rest for e in topic]]
