"""Seconds until each explorer has answered: to a sentence that is typed, and to a step of its other controls.

    python benchmarks/widgets.py [--only NAME ...]

The clock runs from the moment when the new value reaches the kernel to the moment when the page is handed to the
browser, which adds a few milliseconds of its own. A typed sentence is always a new one; a step keeps the sentence.
"Long" is a text of 3 000 characters, more than an embedder reads.
"""

import argparse
import gc
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # behind PYTHONPATH: another state of the course can be measured

import numpy as np  # noqa: E402

#: Budget in seconds on two quiet cores.
TYPED, STEP = 1.0, 0.1
SENTENCE = "The doctor gave my grandmother a new medicine for her heart"
LONG = ("The violinist practised for three hours before the concert in Vienna, and then went home by tram. " * 40)[
    :3000
]


def boxes(names: list[str]):
    """Each explorer of the lessons with its name, on the models and collections of the lessons."""
    from course_utils.measures.contributions import token_frame
    from course_utils.measures.spectrum import components
    from course_utils.models.embedder import load_family
    from course_utils.models.prompts import NO_PROMPT, ONE_WORD
    from course_utils.teaching.explorers import (
        alignment,
        instructions,
        multilingual,
        search,
        similarity,
        spectrum,
        tokens,
        training,
    )
    from course_utils.texts.datasets import wikipedia_sentences

    family = load_family(["smollm2", "smol-sgpt-nli", "smol-eol"])
    plain, trained, prompted = family.values()
    H = plain.encode(wikipedia_sentences(48), progress=False)
    u = components(H).directions[0]
    mean = float((H @ u).mean())
    view = tokens.TokenView(plain, u, mean)

    def searching():
        from course_utils.measures import alignment as measures
        from course_utils.search import sparse
        from course_utils.search.retrieval import Setting, Workbench
        from course_utils.shipped import arrays
        from course_utils.texts import datasets

        name = arrays.have("retrieval")[0]
        embedder = load_family([name])[name]
        bench = Workbench(
            datasets.wikipedia_retrieval(),
            arrays.load("retrieval", name),
            embedder.unembedding,
            embedder.tokenizer,
            largest=(Setting().k, Setting().m),
        )
        setting = Setting()
        documents = bench.documents(setting)
        weights = bench.token_weights(setting, documents)
        written = measures.readable(embedder.tokenizer, np.arange(len(embedder.unembedding)))

        def vector(text):
            h, size = embedder.encode([text]), len(embedder.unembedding)
            own = sparse.query_tokens(embedder.tokenizer, [text], setting.variants)
            added = sparse.document_vectors(h, embedder.unembedding, 32, exclude=bench.exclude, unit=False)
            return sparse.query_vectors(own, size, token_weights=weights, expansion=added, expansion_weight=0.5)

        three = {
            "dense": search.dense_method(bench.embedded.documents, lambda q: embedder.encode([q])[0]),
            "tokens": search.sparse_method(documents, vector, written),
            "BM25": search.bm25_method(bench.bm25),
        }
        return search.search_explorer(bench.document_texts, bench.document_ids, three, "illness of the mind")

    def replayed():
        rows = [{"step": s, "v_1": -0.1 * s, "max_other_v": 0.5} for s in range(0, 31, 2)]
        shown = {row["step"]: ["_the", "_violin"] for row in rows}
        return training.replay([3.0] * 30, rows, shown, ["_violin"])

    asked = instructions.InstructionView(prompted) if prompted.spec.prompt.instructed else None
    spectral = spectrum.SpectrumView(plain, trained, u)

    def paired():
        frame = token_frame(plain.unembedding.detach().float().numpy())
        pairs = {n: similarity.PairView(e, frame, {}) for n, e in (("a", trained), ("b", prompted))}
        return similarity.pair_explorer(pairs, SENTENCE, SENTENCE, ("a", "b"))

    makers = {
        "tokens": lambda: tokens.token_explorer({"plain": view}, SENTENCE),
        "layers": lambda: tokens.layer_explorer(plain.backbone, SENTENCE, {"none": NO_PROMPT, "one word": ONE_WORD}),
        "comparison": lambda: alignment.comparison_explorer(
            {"a": view, "b": tokens.TokenView(prompted)}, SENTENCE, "a", "b"
        ),
        "shift": lambda: spectrum.shift_explorer(spectral, SENTENCE, -5, -30, 5),
        "contribution": lambda: spectrum.contribution_explorer(spectral, SENTENCE),
        "pair": paired,
        "scripts": lambda: multilingual.script_explorer(
            {"a": multilingual.ScriptView(plain, u, -5.0), "b": multilingual.ScriptView(plain)}, SENTENCE
        ),
        "search": searching,
        "replay": replayed,
    }
    if asked:
        makers["instruction"] = lambda: instructions.instruction_explorer({"a": asked, "b": asked}, SENTENCE, "topic")
    for name, make in makers.items():
        if not names or name in names:
            yield name, make()


def leaves(box) -> list:
    """All controls and the page of an explorer, from top to bottom."""
    return [leaf for child in box.children for leaf in ([child] if hasattr(child, "value") else leaves(child))]


def seconds(control, value, clock) -> float:
    """How long the page takes to follow a control."""
    start = clock()
    control.value = value
    return clock() - start


def steps(control, repeats: int) -> list:
    """Values to move a control to, none of them the one that it has."""
    if hasattr(control, "options"):
        values = [v[1] if isinstance(v, tuple) else v for v in control.options]
    else:
        values = np.linspace(control.min, control.max, 12).tolist()
        values = [type(control.value)(v) for v in values]
    values = [v for v in dict.fromkeys(values) if v != control.value]
    return (values * repeats)[:repeats]


def _median(values) -> float | None:
    values = list(values)
    return statistics.median(values) if values else None


def main() -> int:
    """Measure and print; 1 when an answer takes longer than the budget and ``--strict`` is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="names of explorers")
    parser.add_argument("--repeats", type=int, default=5, help="sentences, and steps of each control")
    parser.add_argument("--cpu", action="store_true", help="count seconds of processor, where others use the machine")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a median is over its budget")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    clock = time.process_time if options.cpu else time.perf_counter
    print(f"medians of {options.repeats}, in seconds; budget: {TYPED} for a typed sentence, {STEP} for a step")
    print(f"{'explorer':13} {'typed':>7} {'step':>7} {'long':>7} {'step, long':>11}", flush=True)
    over = []
    for name, box in boxes(options.only):
        *controls, _ = leaves(box)
        typed = [c for c in controls if isinstance(c.value, str) and not hasattr(c, "options")]
        moved = [c for c in controls if c not in typed]
        row = []
        for count, text in ((options.repeats, SENTENCE), (2, LONG)):
            new = [f"{n} {text}" for n in range(count)] if typed else []
            row.append(_median(seconds(typed[0], each, clock) for each in new))
            row.append(_median(seconds(c, v, clock) for c in moved for v in steps(c, options.repeats)))
        shown = ("–" if value is None else f"{value:.3f}" for value in row)
        print(
            f"{name:13} " + " ".join(f"{text:>{w}}" for text, w in zip(shown, (7, 7, 7, 11), strict=True)), flush=True
        )
        limits = (("typed", row[0], TYPED), ("step", row[1], STEP))
        over += [f"{name}, {what}" for what, value, limit in limits if value and value > limit]
        gc.collect()
    print("over the budget:", "; ".join(over) or "none")
    return int(options.strict and bool(over))


if __name__ == "__main__":
    sys.exit(main())
