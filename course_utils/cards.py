"""Model cards: measure a trained adapter on held-out data and write down how it was made.

    python -m course_utils.cards smol-sgpt-nli --sts FILE --beir FOLDER

writes ``scores.json`` and ``README.md`` into ``data/adapters/NAME``. ``FILE`` holds
judged sentence pairs (``sentence1``, ``sentence2``, ``score``), for instance the STS
benchmark's dev split; ``FOLDER`` is a test collection in BEIR layout, for instance
Cranfield. Neither ships with the course.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course_utils import datasets, evaluation, registry
from course_utils.alignment import global_alignment, hits, local_alignment, special_ids, surface_tokens, top_tokens
from course_utils.embedder import Embedder, load
from course_utils.spectrum import components, variation

#: Sentences for the alignment scores: the first of ``wikipedia_sentences``.
N_SENTENCES = 300

DATA_SOURCES = {
    "nli_triplets.jsonl": ("SNLI dev and test: premise, entailed and contradicted sentence", "CC BY-SA 4.0"),
    "question_passage.jsonl": ("QNLI dev, XQuAD-en and SciFact train", "CC BY-SA 4.0, CC BY 4.0 / ODC-By"),
    "title_body.jsonl": ("Debian package descriptions", "free, per package"),
    "clinc_aspects.jsonl": ("CLINC150 train", "CC BY 3.0"),
    "banking_intents.jsonl": ("BANKING77 train", "CC BY 4.0"),
    "question_answers.jsonl": ("XQuAD-en", "CC BY-SA 4.0"),
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
    left, right = (embedder.encode(side, progress=False) for side in (pairs.left, pairs.right))
    return evaluation.spearman(evaluation.cosine(left, right), pairs.score)


def retrieval(embedder: Embedder, collection: datasets.Retrieval, instruction: str | None = None) -> float:
    """Mean nDCG@10 of dense retrieval by cosine."""
    if embedder.spec.prompt.instructed is None:
        instruction = None
    documents = embedder.encode(list(collection.corpus.values()), role="passage")
    queries = embedder.encode(list(collection.queries.values()), instruction, role="query")
    run = evaluation.rank(
        evaluation.cosine_matrix(queries, documents), list(collection.queries), list(collection.corpus)
    )
    return float(np.mean(list(evaluation.retrieval_scores(run, collection.qrels, ("nDCG@10",))["nDCG@10"].values())))


def alignment(embedder: Embedder, origin: Embedder) -> dict[str, dict[str, float]]:
    """Alignment of the embedder and of its untrained origin, and the variation between them."""
    sentences = datasets.wikipedia_sentences(N_SENTENCES)
    embeddings = {"trained": embedder.encode(sentences), "origin": origin.encode(sentences)}
    surface = surface_tokens(embedder.tokenizer, sentences)
    special = special_ids(embedder.tokenizer, len(embedder.unembedding))
    result = {}
    for which, h in embeddings.items():
        ranked, _ = top_tokens(h, embedder.unembedding, max(map(len, surface)), special)
        result[which] = {
            "Hit@10": float(hits(ranked, surface).mean()),
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


def measure(name: str, sts_file: Path | None, beir: Path | None, dtype: str) -> dict:
    """All scores of an adapter, as they go into ``scores.json``. Only those whose data are given."""
    embedder = load(name, dtype=dtype)
    # the origin under the same pooling, scale and backbone, so that the difference is the training (and the prompt)
    origin = load(embedder.spec.origin, backbone=embedder.backbone, normalize=embedder.spec.normalize)
    scores: dict = {"dtype": dtype, "alignment": alignment(embedder, origin)}
    if sts_file:
        scores["STS dev Spearman"] = sts(embedder, datasets.pairs(sts_file))
    if beir:
        scores[f"{beir.name} nDCG@10"] = retrieval(
            embedder, datasets.retrieval(beir), "passage that answers the question"
        )
    return scores


def card(name: str, record: dict, scores: dict) -> str:
    """The model card as Markdown, from ``training.json`` and ``scores.json``."""
    spec, recipe = registry.get(name), record["recipe"]
    aligned, moved = scores["alignment"], scores["alignment"]["variation"]
    lines = [
        f"# {name}",
        "",
        f"A LoRA adapter (rank {recipe['lora_rank']}, float16) for {spec.backbone}. It stands for the paper's "
        f"{spec.stands_for}: {spec.note}",
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
        f"{record['seconds'] / 60:.0f} minutes on a busy CPU, {record['dtype']}. Repeat it with",
        "",
        f"    python -m course_utils.train {name} --data FOLDER",
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


def main(argv: Sequence[str] | None = None) -> None:
    """Command line: measure one adapter and write its card."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.cards", description=main.__doc__)
    parser.add_argument("name")
    parser.add_argument("--sts", type=Path)
    parser.add_argument("--beir", type=Path)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    args = parser.parse_args(argv)
    folder = registry.ADAPTERS / args.name
    scores = measure(args.name, args.sts, args.beir, args.dtype)
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(card(args.name, record, scores), encoding="utf-8")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
