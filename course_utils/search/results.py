"""Results that are kept: a fair comparison on any collection by command, and settings that transfer.

    several-tokens search --title "Wikipedia sections" smol-sgpt-qa smol-grit minilm
    several-tokens search --beir FOLDER --title NAME smol-sgpt-qa smol-grit minilm

encodes a collection in BEIR layout (in the cache, resumable) or takes the Wikipedia sections of the course, chooses a
setting of either side on the tuning half of its queries (:mod:`course_utils.search.fair`), scores all systems on the
other half, and writes a row for each embedder into ``data/retrieval_results.json`` with what it was made from.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from course_utils import gates
from course_utils.measures import clusters
from course_utils.measures.evaluation import Interval
from course_utils.models import registry
from course_utils.search import costs, dense, fair, retrieval
from course_utils.search.dense import DenseSetting
from course_utils.search.retrieval import KS, MS, Setting, Workbench
from course_utils.shipped import arrays, collections
from course_utils.texts import datasets, readers
from course_utils.texts.datasets import Retrieval

#: Where ``several-tokens search`` writes.
RESULTS = Path(__file__).resolve().parents[2] / "data" / "retrieval_results.json"
#: The title of the collection that ships.
WIKIPEDIA = "Wikipedia sections"
#: The systems that search by aligned tokens.
SPARSE = ("aligned tokens", "aligned tokens, equal bytes", "aligned tokens, M = 0")
#: Texts that are encoded to tell how long the rest will take.
TRIAL = 16
#: M beyond the grid's largest, tried at the chosen K to see whether the grid ends too early; nothing is chosen by them.
LARGER_MS = (200, 400)
#: Swaps that a test of stored rows draws: with ten thousand a corrected p near .05 hangs on the seed.
SWAPS = 100_000


# --- Making a row -----------------------------------------------------------------------------------


def measure(collection: Retrieval, embedder, embedded: collections.Embedded, groups=None, **options: bool) -> dict:
    """Choose on one half of a collection's queries, score all systems on the other: one row, ready for JSON.

    Args:
        collection: documents, queries, judgements.
        embedder: from the registry, loaded.
        embedded: the collection's embeddings.
        groups: per query what it belongs to, see :class:`course_utils.search.retrieval.Workbench`.
        options: ``ignore_identical_ids``.
    """
    row = {
        "embedder": embedder.spec.name,
        "documents": len(collection.corpus),
        **{k: v for k, v in options.items() if v},
    }
    bench = Workbench(
        collection, embedded, embedder.unembedding, embedder.tokenizer, groups=groups,
        largest=(retrieval.LARGEST_K, max(LARGER_MS)), **options,
    )  # fmt: skip
    choice = fair.choose(bench)
    chosen = choice.chosen
    tune, held_out = bench.halves()
    scores = fair.systems(bench, chosen)
    parts = fair.parts(bench, chosen.sparse)
    nulls = fair.meaningless(bench, chosen.sparse, held_out)
    return {
        **row,
        **halves(bench, tune, held_out),
        "chosen": {
            "sparse": asdict(chosen.sparse),
            "equal bytes": asdict(chosen.equal_bytes),
            "dense": asdict(chosen.dense),
        },
        "tuning": {side: _rounded(choice.means(side, tune)) for side in ("sparse", "dense")},
        "held out": {side: _rounded(choice.means(side, held_out)) for side in ("sparse", "dense")},
        "larger M": larger(bench, chosen.sparse, tune),
        "postings read": _rounded(choice.grid.read),
        "tokens in a list": _rounded(choice.grid.held),
        "nDCG@10": {name: _rounded(bench.judge(s, held_out)) for name, s in scores.items()},
        "R@100": {name: _rounded(bench.judge(s, held_out, "R@100")) for name, s in scores.items()},
        "parts": {name: _rounded(bench.judge(s, held_out)) for name, s in parts.items()},
        "meaningless": {m: {name: _rounded(v) for name, v in of.items()} for m, of in nulls.items()},
    }


def larger(bench: Workbench, setting: Setting, rows: Sequence[int]) -> dict[str, float]:
    """Mean nDCG@10 of the queries ``rows`` with each M of :data:`LARGER_MS`, the rest as in ``setting``."""
    settings = {str(m): replace(setting, m=m) for m in LARGER_MS}
    return {m: round(float(bench.judge(bench.aligned(s), rows).mean()), 4) for m, s in settings.items()}


def halves(bench: Workbench, tune: Sequence[int], held_out: Sequence[int]) -> dict:
    """How many queries either half of a row has, and which group each of the held-out ones belongs to."""
    number = {group: n for n, group in enumerate(dict.fromkeys(bench.groups))}
    return {
        "tuning queries": len(tune),
        "queries": len(held_out),
        "groups": [number[bench.groups[i]] for i in held_out],
    }


def _rounded(values: np.ndarray) -> list:
    return np.round(values, 4).tolist()


# --- The command ------------------------------------------------------------------------------------


def score(
    names: Iterable[str],
    folder: str | None,
    title: str,
    split: str = "test",
    dtype: str = "float32",
    report: Callable[[str], object] = print,
    **options: bool,
) -> None:
    """Score embedders on a collection and write a row for each into :data:`RESULTS`.

    Before it encodes anything it measures how long 1 000 documents take here, and says so.

    Args:
        names: embedders of the registry.
        folder: with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/``; or a hub id; None: the Wikipedia sections
            of the course, whose embeddings ship.
        title: the collection's name in the table.
        split: which judgements, for instance ``"test"``.
        dtype: ``"float32"``, or ``"bfloat16"`` for a rough result in a fraction of the time.
        report: called with lines about progress and results.
        options: those of :func:`measure`.
    """
    from course_utils.models.embedder import load

    collection = datasets.wikipedia_retrieval() if folder is None else readers.retrieval(folder, split)
    groups = fair.articles(collection) if folder is None else None
    for name in names:
        embedder = load(name, dtype=dtype)
        embedded = embeddings_of(embedder, collection, folder is None, dtype, report)
        row = measure(collection, embedder, embedded, groups, **options)
        made_from = collections.source(name, collection, dtype)
        add_result(
            {
                "collection": title,
                **row,
                "made_from": made_from,
                "command": command(name, title, folder, split, dtype, **options),
            }
        )
        means = {system: round(float(np.mean(values)), 3) for system, values in row["nDCG@10"].items()}
        report(f"{title}, {name}: {json.dumps(means)}")


def command(name: str, title: str, folder: str | None, split: str, dtype: str, **options: bool) -> str:
    """How the row is made again; where the collection lies is everybody's own business."""
    parts = ["several-tokens search", "" if folder is None else "--beir FOLDER", f'--title "{title}"']
    parts += [f"--split {split}" if split != "test" else "", f"--dtype {dtype}" if dtype != "float32" else ""]
    parts += ["--" + option.replace("_", "-") for option, said in options.items() if said]
    return " ".join([part for part in parts if part] + [name])


def embeddings_of(embedder, collection: Retrieval, ships: bool, dtype: str, report) -> collections.Embedded:
    """A collection's embeddings: those that ship, those in the cache, or made now, after an estimate of the time."""
    name = embedder.spec.name
    if ships and name in arrays.have("retrieval") and dtype == "float32":
        return arrays.load("retrieval", name)
    left = collections.left(name, collection, dtype)
    if left:
        report(estimate(embedder, collection, left))
    with tqdm(desc=name, unit=f" × {collections.PIECE} texts", disable=not left, mininterval=1) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return collections.encode(name, collection, dtype, report, embedder.backbone, show)


def estimate(embedder, collection: Retrieval, left: int) -> str:
    """How long 1 000 documents and the texts that are left will take here, from a trial of :data:`TRIAL` documents."""
    texts = list(collection.corpus.values())
    trial = [texts[i] for i in np.linspace(0, len(texts) - 1, min(TRIAL, len(texts))).astype(int)]
    embedder.encode(trial[:1], role="passage", progress=False)  # the first call prepares what later ones find
    started = time.perf_counter()
    embedder.encode(trial, role="passage", progress=False)
    each = (time.perf_counter() - started) / len(trial)
    return (
        f"{embedder.spec.name}: about {_duration(1000 * each)} for 1 000 documents here, {_duration(left * each)} for "
        f"the {left} texts that are left; what is done is kept, a cut run goes on"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


# --- The file ---------------------------------------------------------------------------------------


def results(path: Path | None = None) -> list[dict]:
    """The rows that ``several-tokens search`` has written, one per collection and embedder; none without a file."""
    path = path or RESULTS
    return gates.json_value(gates.read_text(path), str(path)) if path.exists() else []


def is_current(row: Mapping) -> bool:
    """Whether a row was made with today's backbone and adapter, and, of the Wikipedia sections, with today's texts.

    Another collection need not be at hand, and is not looked at.
    """
    name, made_from = row["embedder"], row["made_from"]
    if not registry.available((name,)):
        return False
    ships = row.get("collection") == WIKIPEDIA
    texts = datasets.wikipedia_retrieval() if ships else Retrieval({}, {}, {})
    today = collections.source(name, texts, made_from["dtype"])
    return (today if ships else {**today, "collection": made_from["collection"]}) == made_from


def add_result(row: dict, path: Path | None = None, kind: str = "embedder") -> None:
    """Put a row into the file, in the place of an older one for the same collection and embedder (or other kind)."""
    path, key = path or RESULTS, (row["collection"], row[kind])
    rows = [r for r in results(path) if (r["collection"], r[kind]) != key] + [row]
    with gates.replacing(path) as file:
        lines = [json.dumps(r, ensure_ascii=False) for r in sorted(rows, key=lambda r: (r["collection"], r[kind]))]
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


# --- Settings that transfer -------------------------------------------------------------------------


class Transfer(NamedTuple):
    """One row, judged with a setting that was chosen on the other collections only.

    Attributes:
        collection, embedder: which row.
        own, elsewhere: the setting chosen on its own tuning half, and that chosen on the other collections, as text.
        own_value, value: nDCG@10 on its held-out half, with either.
        dense_value: nDCG@10 of the dense setting that was chosen on the other collections.
    """

    collection: str
    embedder: str
    own: str
    elsewhere: str
    own_value: float
    value: float
    dense_value: float

    @property
    def loss(self) -> float:
        """What it costs not to tune here."""
        return self.own_value - self.value


def recommended(rows: Sequence[Mapping], side: str = "sparse") -> tuple[int, int]:
    """Row and column of the grid to use on a collection that nobody has tuned on.

    The tuning means of every row count as shares of that row's best, so that an easy collection does not outvote a
    hard one; the rule is that of :func:`course_utils.search.retrieval.cheapest`, on the mean of the shares.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("there are no rows to choose from; several-tokens search writes them")
    grids = np.array([row["tuning"][side] for row in rows])
    shares = (grids / grids.max(axis=(1, 2), keepdims=True)).mean(axis=0)
    return retrieval.cheapest(shares, _prices(side))


def leave_one_out(rows: Sequence[Mapping]) -> list[Transfer]:
    """Choose on all collections but one, for all embedders together; judge on the held-out half of that one.

    Args:
        rows: of :func:`results`, with the grids of both sides; of at least two collections.

    Raises:
        ValueError: rows of one collection only.
    """
    if len({row["collection"] for row in rows}) < 2:
        raise ValueError("leaving one collection out takes at least two")
    found = []
    for row in rows:
        others = [r for r in rows if r["collection"] != row["collection"]]
        at, dense_at = recommended(others), recommended(others, "dense")
        own = row["chosen"]["sparse"]["k"], row["chosen"]["sparse"]["m"]
        values, dense_values = (np.array(row["held out"][side]) for side in ("sparse", "dense"))
        own_value = values[KS.index(own[0]), MS.index(own[1])]
        named = named_setting(*at)
        found.append(
            Transfer(row["collection"], row["embedder"], f"K = {own[0]}, M = {own[1]}", named, float(own_value),
                     float(values[at]), float(dense_values[dense_at]))
        )  # fmt: skip
    return found


def named_setting(row: int, column: int, side: str = "sparse") -> str:
    """A field of the grid as text: "K = 1000, M = 25", or what is done to the embeddings."""
    return f"K = {KS[row]}, M = {MS[column]}" if side == "sparse" else str(dense.settings()[row][column])


def chosen(row: Mapping) -> fair.Chosen:
    """The settings that a row chose."""
    of = row["chosen"]
    return fair.Chosen(Setting(**of["sparse"]), Setting(**of["equal bytes"]), DenseSetting(**of["dense"]))


def _prices(side: str) -> np.ndarray:
    if side == "sparse":
        return retrieval.postings_prices()
    return np.array([[s.fitted(1000) for s in level] for level in dense.settings()])


# --- Reading rows -----------------------------------------------------------------------------------


def place(setting: Setting) -> int:
    """Where a setting stands in a grid that is laid out flat, row by row."""
    return KS.index(setting.k) * len(MS) + MS.index(setting.m)


def values(row: Mapping, block: str = "nDCG@10") -> dict[str, np.ndarray]:
    """System -> one number per held-out query; ``block`` is ``"nDCG@10"``, ``"R@100"`` or ``"parts"``."""
    return {name: np.array(numbers) for name, numbers in row[block].items()}


def label(row: Mapping) -> str:
    """The embedder, and the collection where it is not the one of the course."""
    return row["embedder"] if row["collection"] == WIKIPEDIA else f"{row['collection']}, {row['embedder']}"


def table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Text: per system nDCG@10 with its interval over groups, and R@100; two columns for every row."""
    columns = {}
    for row in rows:
        ndcg = {n: clusters.bootstrap(v, groups=row["groups"]) for n, v in values(row).items()}
        columns[label(row), "nDCG@10"] = {n: format(v, ".2f") for n, v in ndcg.items()}
        columns[label(row), "R@100"] = {n: f"{v.mean():.2f}" for n, v in values(row, "R@100").items()}
    return pd.DataFrame(columns).fillna("")


def retentions(rows: Iterable[Mapping], systems: Sequence[str] = SPARSE) -> pd.DataFrame:
    """:class:`Interval` of every sparse system over the dense one: index ``(label, system)``.

    Columns: ``of dense, raw`` and ``of dense, tuned`` by nDCG@10, and ``R@100 of dense, tuned``.
    """
    found = {}
    for row in rows:
        ndcg, recall = values(row), values(row, "R@100")
        for name in systems:
            found[label(row), name] = {
                "of dense, raw": fair.retention(ndcg[name], ndcg["dense, raw"], row["groups"]),
                "of dense, tuned": fair.retention(ndcg[name], ndcg["dense, tuned"], row["groups"]),
                "R@100 of dense, tuned": fair.retention(recall[name], recall["dense, tuned"], row["groups"]),
            }
    return pd.DataFrame(found).T


def compare(rows: Iterable[Mapping]) -> list[fair.Comparison]:
    """:func:`course_utils.search.fair.compare` on rows: all of them are one family of tests."""
    rows = list(rows)
    data, groups = {label(row): values(row) for row in rows}, {label(row): row["groups"] for row in rows}
    return fair.compare(data, groups, swaps=SWAPS)


def p_text(p: float) -> str:
    """A p-value as it is printed."""
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def parts_table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Text: nDCG@10 of every part of the method, and which share of the whole method's that is."""
    columns = {}
    for row in rows:
        parts = values(row, "parts")
        whole = parts[fair.WHOLE]
        columns[label(row), "nDCG@10"] = {n: f"{v.mean():.2f}" for n, v in parts.items()}
        columns[label(row), "of the whole"] = {
            n: format(fair.retention(v, whole, row["groups"]), ".2f") for n, v in parts.items()
        }
    return pd.DataFrame(columns).fillna("")


def part_differences(rows: Iterable[Mapping]) -> dict[str, dict[str, Interval]]:
    """Label -> part -> its nDCG@10 minus that of the whole method, query by query."""
    found = {}
    for row in rows:
        parts = values(row, "parts")
        whole = parts.pop(fair.WHOLE)
        found[label(row)] = {n: clusters.bootstrap(v - whole, groups=row["groups"]) for n, v in parts.items()}
    return found


class Curve(NamedTuple):
    """What settings cost and how good they are; ``labels`` name the points, if any do."""

    cost: Sequence[float]
    quality: Sequence[float]
    labels: Sequence[str] = ()


def pareto(row: Mapping, m: int, dense_cost: Mapping[str, float], model: float, n: int) -> list[dict[str, Curve]]:
    """nDCG@10 on the held-out half against bytes per document, and against multiply-adds per query.

    Args:
        row: of :func:`results`.
        m: the M of the second curve; the first has M = 0.
        dense_cost: the row ``dense cosine`` of :func:`course_utils.search.costs.cost_table` for n documents.
        model: multiply-adds that a query with M > 0 costs in encoder and output layer.
        n: size of the collection; postings read grow in proportion.
    """
    quality, read = (np.array(numbers) for numbers in (row["held out"]["sparse"], row["postings read"]))
    size, labels = costs.POSTING_BYTES * np.array(row["tokens in a list"]), [f"K={k}" for k in KS]
    memory, work = {}, {}
    for each, extra in ((0, 0.0), (m, model)):
        column, name = MS.index(each), f"aligned tokens, M = {each}"
        memory[name] = Curve(size, quality[:, column], labels)
        work[name] = Curve(read[:, column] / row["documents"] * n + extra, quality[:, column])
    for system in ("dense, raw", "dense, tuned"):
        mean = [float(np.mean(row["nDCG@10"][system]))]
        memory[system] = Curve([dense_cost["document: bytes"]], mean)
        work[system] = Curve([dense_cost["query: total"]], mean)
    return [memory, work]
