"""Model cards: measure a trained adapter on held-out data and write down how it was made.

    several-tokens card smol-sgpt-nli --sts FILE --beir FOLDER

writes ``scores.json`` and ``README.md`` into ``data/adapters/NAME``; without a name it
writes the table of all. ``FILE`` holds judged sentence pairs (``sentence1``,
``sentence2``, ``score``), for instance the STS benchmark's dev split; ``FOLDER`` is a test
collection in BEIR layout, for instance Cranfield. Neither ships with the course. Beside each of these scores
stand the yardsticks of :mod:`course_utils.training.yardsticks`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures import evaluation
from course_utils.measures.alignment import (
    content_tokens,
    global_alignment,
    hits,
    local_alignment,
    special_ids,
    surface_tokens,
    top_tokens,
)
from course_utils.measures.spectrum import components, variation
from course_utils.models import registry
from course_utils.models.embedder import Embedder, load
from course_utils.shipped import collections
from course_utils.texts import datasets, readers
from course_utils.training import recipes, yardsticks
from course_utils.training.teacher import Teacher

#: Sentences for the alignment scores: the first of ``wikipedia_sentences``.
N_SENTENCES = 300
#: Every list is held against the tokens of the sentence so many places further on, which is from another article:
#: what hits there hits by chance.
SHIFTS = (1, 2, 3, 5, 8)
#: The key of the correlation with judged sentence pairs.
STS = "STS dev Spearman"
#: What was tried on the way to the shipped adapters, with what came out.
TRIED = registry.ADAPTERS / "tried.jsonl"
#: Why a card does not judge by the size of v_1.
NO_VERDICT = (
    "Any embedder that loses its origin's mean moves as far along u_1: in lesson 03 the share of v_1 is above random "
    "rotations for none of eight embedders. What a step along u_1 does to the tokens is tested there too."
)
#: Wikipedia retrieval uses one article in so many: the whole collection takes each adapter a quarter of an hour.
EVERY_ARTICLE = 8

DATA_SOURCES = {
    "nli_triplets.jsonl": ("SNLI dev and test: premise, entailed and contradicted sentence", "CC BY-SA 4.0"),
    "question_passage.jsonl": ("QNLI dev, XQuAD-en and SciFact train", "CC BY-SA 4.0, CC BY 4.0 / ODC-By"),
    "title_body.jsonl": ("Debian package descriptions", "free, per package"),
    "clinc_aspects.jsonl": ("CLINC150 train", "CC BY 3.0"),
    "banking_intents.jsonl": ("BANKING77 train", "CC BY 4.0"),
    "negation_triplets.jsonl": ("written for this course, see data/negation_triplets.md", "CC BY 4.0"),
    "question_answers.jsonl": ("XQuAD-en", "CC BY-SA 4.0"),
    "docstrings.jsonl": (
        "docstrings of NumPy, SciPy, scikit-learn, pandas, SymPy and NetworkX: several-tokens data docstrings",
        "BSD 3-clause",
    ),
    "wordnet_gloss.jsonl": ("WordNet 3.0: lemmas and glosses", "WordNet licence"),
    "crossed.jsonl": (
        "CLINC150 and SNLI with crossing labels: several-tokens data crossed",
        "CC BY 3.0 and CC BY-SA 4.0",
    ),
    "aspect_sentences.jsonl": (
        "sentences put together of data/aspect_phrases.toml, with crossing labels: several-tokens data crossed",
        "CC BY 4.0",
    ),
}
LICENCES = {
    "smollm2": "Apache-2.0, like the backbone SmolLM2-135M-Instruct",
    "gemma3": (
        "Gemma Terms of Use: this adapter is a derivative of Gemma 3 270M. Gemma is provided under and subject to "
        "the Gemma Terms of Use found at ai.google.dev/gemma/terms"
    ),
}


def sts(embedder: Embedder, pairs: datasets.Pairs) -> float:
    """Spearman correlation of cosine and human score."""
    return evaluation.spearman(_similarity(embedder, pairs), pairs.score)


def _similarity(embedder: Embedder, pairs: datasets.Pairs) -> np.ndarray:
    return evaluation.cosine(*(embedder.encode(side, progress=False) for side in (pairs.left, pairs.right)))


def retrieval(name: str, collection: datasets.Retrieval, dtype: str) -> float:
    """Mean nDCG@10 of dense retrieval by cosine. What was encoded stays in the cache, so a cut run goes on."""
    return float(_by_query(name, collection, dtype).mean())


def _by_query(name: str, collection: datasets.Retrieval, dtype: str) -> np.ndarray:
    embedded = collections.encode(name, collection, dtype)
    return yardsticks.by_query(evaluation.cosine_matrix(embedded.queries, embedded.documents), collection)


def wikipedia_sample(every: int = EVERY_ARTICLE) -> datasets.Retrieval:
    """The section-heading queries of one article in ``every``, over the paragraphs of those articles' sections."""
    whole = datasets.wikipedia_retrieval()
    article = {query: text.split(":")[0] for query, text in whole.queries.items()}
    chosen = set(list(dict.fromkeys(article.values()))[::every])
    queries = {query: text for query, text in whole.queries.items() if article[query] in chosen}
    relevant = set().union(*(whole.qrels[query] for query in queries))
    corpus = {document: text for document, text in whole.corpus.items() if document in relevant}
    return datasets.Retrieval(corpus, queries, {query: whole.qrels[query] for query in queries})


def alignment(embedder: Embedder, origin: Embedder) -> dict[str, dict[str, float]]:
    """Alignment of the embedder and of its untrained origin, and the variation between them."""
    sentences = datasets.wikipedia_sentences(N_SENTENCES)
    embeddings = {"trained": embedder.encode(sentences), "origin": origin.encode(sentences)}
    surface = surface_tokens(embedder.tokenizer, sentences)
    special = special_ids(embedder.tokenizer, len(embedder.unembedding))
    content = content_tokens(embedder.tokenizer, surface)
    kept = [i for i, own in enumerate(content) if len(own)]
    result = {}
    for which, h in embeddings.items():
        ranked, _ = top_tokens(h, embedder.unembedding, max(map(len, surface)), special)
        result[which] = {
            "Hit@10": float(hits(ranked, surface).mean()),
            "Hit@10 by chance": float(np.mean([hits(np.roll(ranked, s, axis=0), surface) for s in SHIFTS])),
            "Hit@10 of content words": float(hits(ranked[kept], [content[i] for i in kept]).mean()),
            "LAR": float(local_alignment(ranked, surface).mean()),
            "GAR": global_alignment(ranked, surface),
            "distinct tokens": len(np.unique(ranked[:, :10])),
        }
    u = components(embeddings["origin"]).directions
    v = variation(embeddings["origin"], embeddings["trained"], u).mean(axis=0)
    result["variation"] = {
        "v_1": float(v[0]),
        "largest other |v_j|": float(np.abs(v[1:]).max()),
        "share of v_1": float(v[0] ** 2 / (v**2).sum()),
    }
    return result


def measure(name: str, sts_file: Path | None, beir: Path | None, dtype: str, retrieval_dtype: str) -> dict:
    """All scores of an adapter whose data are given, with their yardsticks, as they go into ``scores.json``."""
    embedder, origin = _with_origin(name, dtype)
    scores: dict = {"dtype": dtype, "alignment": alignment(embedder, origin)}
    beside, encoder = {}, Teacher().encode
    if sts_file:
        pairs, key = readers.pairs(sts_file), STS
        own = _similarity(embedder, pairs)
        scores[key] = evaluation.spearman(own, pairs.score)
        beside[key] = yardsticks.of_pairs(own, pairs, lambda texts: origin.encode(texts, progress=False), encoder)
    sample, end = wikipedia_sample(), "nDCG@10" + ("" if retrieval_dtype == dtype else f" ({retrieval_dtype})")
    key = f"Wikipedia sections ({len(sample.queries)} queries, {len(sample.corpus)} paragraphs) {end}"
    searched = {key: sample}
    if beir:
        searched[f"{beir.name} {end}"] = readers.retrieval(beir)
    for key, collection in searched.items():
        own = _by_query(name, collection, retrieval_dtype)
        scores[key] = float(own.mean())
        untrained = collections.encode(embedder.spec.origin, collection, retrieval_dtype)
        beside[key] = yardsticks.of_retrieval(own, collection, untrained, encoder)
    return {**scores, "yardsticks": beside}


def other_seeds(name: str, folders: Sequence[Path], sts_file: Path) -> dict:
    """The scores in an adapter's ``scores.json``, with a row of ``"seeds"`` for each adapter in ``folders``.

    Raises:
        ValueError: an adapter that was trained by another recipe, apart from the seed, or that is named twice or ships;
            or shipped scores that other seeds cannot be held against.
        FileNotFoundError: no such file, or no record of a training in a folder.
    """
    scores, shipped, pairs = _record(name, "scores.json"), _record(name, "training.json"), readers.pairs(sts_file)
    if STS not in scores:
        raise ValueError(f"{name} has no score {STS!r}: run `several-tokens card {name} --sts FILE` first")
    records, known = {folder: _of_same_recipe(folder, name, shipped["recipe"]) for folder in folders}, set()
    for folder, sha in [(name, shipped["adapter_sha256"]), *((f, r["adapter_sha256"]) for f, r in records.items())]:
        if sha in known:
            raise ValueError(f"{folder} is an adapter that is in the table already: name each once")
        known.add(sha)
    embedder, origin = _with_origin(name, scores["dtype"])
    rows = []
    for folder, record in records.items():
        trained = load(name, backbone=embedder.backbone, adapters=(folder,))
        rows.append({"seed": record["recipe"]["seed"], "made on": record.get("made_on", "not recorded"),
                     STS: sts(trained, pairs), **_of_seed(alignment(trained, origin))})  # fmt: skip
    return {**scores, "seeds": {"adapter_sha256": shipped["adapter_sha256"], "rows": rows}}


def _of_same_recipe(folder: Path, name: str, own: dict) -> dict:
    record = gates.json_value(gates.read_text(folder / "training.json"), f"{folder}/training.json")
    recipe = record.get("recipe") if isinstance(record, dict) else None
    if not isinstance(recipe, dict):
        raise ValueError(f"{folder}/training.json is no record of a training")
    if recipes.from_dict({**recipe, "seed": own["seed"]}, str(folder)) != recipes.from_dict(own, name):
        raise ValueError(f"{folder} was trained by another recipe than {name}: its scores say nothing of the seed")
    return record


def _of_seed(aligned: dict) -> dict[str, float]:
    """What is shown of every seed, besides its scores."""
    rates = {key: aligned["trained"][key] for key in ("Hit@10 of content words", "GAR")}
    return {**rates, "v_1": aligned["variation"]["v_1"]}


def _with_origin(name: str, dtype: str) -> tuple[Embedder, Embedder]:
    """An embedder and its origin under the same pooling, scale and backbone: the difference is training and prompt."""
    embedder = load(name, dtype=dtype)
    return embedder, load(embedder.spec.origin, backbone=embedder.backbone, normalize=embedder.spec.normalize)


def card(name: str, record: dict, scores: dict) -> str:
    """The model card as Markdown, from ``training.json`` and ``scores.json``."""
    spec, recipe = registry.get(name), record["recipe"]
    aligned, moved = scores["alignment"], scores["alignment"]["variation"]
    lines = [
        f"# {name}",
        "",
        f"A LoRA adapter (rank {recipe['lora_rank']}, float16) for {spec.backbone}. {_standing(spec)}",
        "",
        "## Data",
        "",
        "| file | source | licence | rows left out: overlap with evaluation text |",
        "|---|---|---|---|",
    ]
    for file in dict.fromkeys(d["file"] for d in recipe["data"]):
        lines.append(f"| {file} | {' | '.join(DATA_SOURCES[file])} | {record['left_out'][file]} |")
    stages = "; ".join(
        f"{s['objective']}: {s['steps']} steps of batch {s['batch_size']}, peak learning rate {s['learning_rate']}"
        for s in recipe["stage"]
    )
    lines += [
        "",
        "## Training",
        "",
        f"{stages}; temperature {recipe['temperature']}; seed {recipe['seed']}; "
        f"{record['seconds'] / 60:.0f} minutes on {_machine(record)}, {record['dtype']}. "
        "Repeat it with",
        "",
        f"    several-tokens train {name} --data FOLDER --dtype {record['dtype']}",
        "",
        "Loss and probe of every step: `training.json`. The last rows of the probe:",
        "",
        "| step | loss | v_1 | largest other | Hit@10 | GAR |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["probe"][:1] + record["probe"][-4:]:
        loss = "" if row["loss"] is None else row["loss"]
        lines.append(
            f"| {row['step']} | {loss} | {row['v_1']:.1f} | {row['max_other_v']:.1f} | {row['hit@10']:.2f} "
            f"| {row['gar']:.2f} |"
        )
    lines += ["", f"## Scores ({scores['dtype']})", "", "| measure | trained | origin |", "|---|---|---|"]
    for key, value in aligned["trained"].items():
        shown = [f"{x:.3f}" if isinstance(x, float) else str(x) for x in (value, aligned["origin"][key])]
        lines.append(f"| {key}, {N_SENTENCES} Wikipedia sentences | {shown[0]} | {shown[1]} |")
    for key, value in scores.items():
        if isinstance(value, float):
            lines.append(f"| {key} | {value:.3f} | |")
    lines += [
        "",
        f"v_1 = {moved['v_1']:.2f}, largest other |v_j| = {moved['largest other |v_j|']:.2f}, "
        f"share of v_1 in |v|² = {moved['share of v_1']:.2f}.",
        "",
        "## Against its origin",
        "",
        *against_origin(aligned),
        "",
        *_beside(scores),
        *_over_seeds(scores, recipe),
        "## Limits",
        "",
        "A 135M or 270M backbone and minutes of training: good enough to study, not to deploy. English only. "
        "Short texts: training saw at most "
        f"{recipe['max_tokens']} tokens.",
        "",
        "## Licence",
        "",
        LICENCES[spec.backbone] + ".",
        "",
    ]
    return "\n".join(lines)


def _machine(record: dict) -> str:
    """Records that do not name it are of one, which was busy with other work."""
    return {None: "a busy CPU", "CPU": "a CPU"}.get(record.get("made_on"), f"one {record.get('made_on')}")


def _standing(spec: registry.EmbedderSpec) -> str:
    if spec.name in registry.VARIANTS:
        return (
            f"{spec.note} The run supports a comparison of lesson 05: its log ships and, in `data/arrays`, the numbers "
            "that the lesson needs; its weights do not."
        )
    return f"It stands for the paper's {spec.stands_for}: {spec.note}"


def _beside(scores: dict) -> list[str]:
    """The section on yardsticks; nothing where the scores were measured without them."""
    if not (measured := scores.get("yardsticks")):
        return []
    words = [yardsticks.in_words(measure, values) for measure, values in measured.items()]
    return ["## Beside yardsticks", "", *yardsticks.table(scores, measured), "", *words, ""]


def _over_seeds(scores: dict, recipe: dict) -> list[str]:
    """The section on other seeds; nothing where none was measured."""
    if not (rows := scores.get("seeds", {}).get("rows")):
        return []
    shipped = {"seed": recipe["seed"], "made on": "ships", STS: scores[STS],
               **_of_seed(scores["alignment"])}  # fmt: skip
    rows, keys = [shipped, *rows], list(shipped)[2:]
    lines = ["## Other seeds", "", "The same recipe; seed, machine or arithmetic differ.", "",
             f"| seed | made on | {' | '.join(keys)} |", "|---" * (len(keys) + 2) + "|"]  # fmt: skip
    for row in rows:
        lines.append(f"| {row['seed']} | {row['made on']} | {' | '.join(f'{row[key]:.3f}' for key in keys)} |")
    ranges = (f"{key} {min(r[key] for r in rows):.3f} to {max(r[key] for r in rows):.3f}" for key in keys)
    return [*lines, "", f"Range over {len(rows)} runs: {'; '.join(ranges)}.", ""]


def against_origin(aligned: dict[str, dict[str, float]]) -> list[str]:
    """What training an embedder should do by the paper, and whether it did: one line of Markdown for each point.

    Args:
        aligned: as :func:`alignment` returns it.
    """
    trained, origin, moved = (aligned[key] for key in ("trained", "origin", "variation"))
    lines = []
    for key, form in (("Hit@10", ".3f"), ("GAR", ".3f"), ("distinct tokens", "d")):
        verdict = "above" if trained[key] > origin[key] else "**not above**"
        lines.append(f"- {key}: {verdict} the origin's, {trained[key]:{form}} to {origin[key]:{form}}.")
        if key == "Hit@10" and trained[key] <= origin[key]:
            lines[-1] += " " + _why_no_more_hits(trained, origin)
    ratio = abs(moved["v_1"]) / moved["largest other |v_j|"]
    lines.append(f"- |v_1|: {ratio:.2f} times the next largest |v_j|, which is no verdict. {NO_VERDICT}")
    return lines


def _why_no_more_hits(trained: dict[str, float], origin: dict[str, float]) -> str:
    chance, content = "Hit@10 by chance", "Hit@10 of content words"
    if origin[chance] - trained[chance] < 0.1 or origin[content] >= trained[content]:
        return "Why is not known."
    return (
        f"The origin hits with tokens that fit any text: its lists hit {origin[chance]:.3f} of *other* "
        f"sentences as well, this embedder's {trained[chance]:.3f}. Of content words alone, the origin hits "
        f"{origin[content]:.3f}, this embedder {trained[content]:.3f}."
    )


def overview(names: Sequence[str]) -> str:
    """All adapters in one table, from their ``scores.json`` and ``training.json``, and what was tried (Markdown)."""
    lines = [
        "# The adapters, side by side",
        "",
        "Written by `several-tokens card` from the records in the folders; each folder has its own card.",
        "Retrieval is nDCG@10 of dense search; Hit@10, GAR and distinct tokens are of 300 Wikipedia sentences.",
        f"The last column is no verdict. {NO_VERDICT}",
        "Rows in italics are methods without our training, on the same texts.",
        "Some recipes below were dropped for a small v_1 before we knew that.",
        "",
        "| adapter | STS dev | Wikipedia | Cranfield | Hit@10 | GAR | distinct tokens | v_1 | to largest other |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        scores = json.loads((registry.ADAPTERS / name / "scores.json").read_text(encoding="utf-8"))
        trained, origin, v = (scores["alignment"][key] for key in ("trained", "origin", "variation"))
        cells = [_score(scores, start) for start in ("STS", "Wikipedia", "cranfield")]
        for key, form in (("Hit@10", ".2f"), ("GAR", ".2f"), ("distinct tokens", "d")):
            cells.append(f"{trained[key]:{form}} (origin {origin[key]:{form}})")
        cells += [f"{v['v_1']:.1f}", f"{abs(v['v_1']) / v['largest other |v_j|']:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += _yardstick_rows(names)
    lines += ["", "## What was tried", "", "| adapter | training | score | kept |", "|---|---|---|---|"]
    for row in readers.read_jsonl(TRIED, ("adapter", "training", "score", "kept")):
        lines.append(f"| {row['adapter']} | {row['training']} | {row['score']} | {row['kept']} |")
    return "\n".join(lines) + "\n"


def _yardstick_rows(names: Sequence[str]) -> list[str]:
    """What methods without our training reach on the same texts, as rows of the table of all adapters."""
    measured = [_record(name, "scores.json").get("yardsticks", {}) for name in names]
    rows = []
    for yardstick in yardsticks.NAMES:
        if yardstick != "origin, centred":  # there is one for each origin: see the cards
            scores = {key: values[yardstick] for own in measured for key, values in own.items()}
            cells = [_score(scores, start) for start in ("STS", "Wikipedia", "cranfield")]
            rows += [f"| *{yardstick}* | {' | '.join(cells)} |" + " |" * 5] if scores else []
    return rows


def _score(scores: dict, start: str) -> str:
    found = [(key, value) for key, value in scores.items() if key.startswith(start)]
    return "".join(f"{value:.3f}" + (" (bfloat16)" if "bfloat16" in key else "") for key, value in found[:1])


def remeasured(name: str) -> dict:
    """The scores that an adapter's ``scores.json`` holds, with the alignment measured again."""
    scores = _record(name, "scores.json")
    scores["alignment"] = alignment(*_with_origin(name, scores["dtype"]))
    return scores


def write_card(name: str, scores: dict | None = None) -> Path:
    """Write an adapter's card, and ``scores.json`` where new scores are given; returns the card's path.

    Raises:
        FileNotFoundError: no such adapter, or no record of its training or scores.
    """
    folder, record = registry.ADAPTERS / name, _record(name, "training.json")
    if scores is not None:
        before = _record(name, "scores.json") if (folder / "scores.json").is_file() else {}
        if (kept := before.get("seeds")) and kept["adapter_sha256"] == record[
            "adapter_sha256"
        ]:  # else of an earlier one
            scores = {"seeds": kept, **scores}
    text = card(name, record, scores or _record(name, "scores.json"))
    if scores is not None:
        with gates.replacing(folder / "scores.json") as file:
            file.write(json.dumps(scores, indent=1) + "\n")
    with gates.replacing(folder / "README.md") as file:
        file.write(text)
    return folder / "README.md"


def write_overview() -> Path:
    """Write the table of all adapters that have scores; returns its path."""
    path = registry.ADAPTERS / "README.md"
    path.write_text(overview(measured()), encoding="utf-8")
    return path


def measured() -> list[str]:
    """Names of the adapters that have a ``scores.json``."""
    return sorted(path.parent.name for path in registry.ADAPTERS.glob("*/scores.json"))


def _record(name: str, file: str) -> dict:
    path = registry.ADAPTERS / name / file
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; adapters with scores: {', '.join(measured())}")
    return json.loads(path.read_text(encoding="utf-8"))
