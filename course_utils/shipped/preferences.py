"""Which of two embedders follows similarity better, held against every pair of word lists.

A preference is a difference of two rank correlations: with a list that asked for similarity, and with one that asked
for relatedness. There are three lists of each kind, so nine preferences; a claim about embedders has to hold for more
than the pair of lists it was made on. Intervals count words (:mod:`course_utils.measures.word_lists`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures.clusters import holm
from course_utils.measures.evaluation import Interval, spearman
from course_utils.measures.word_lists import estimate, influences
from course_utils.shipped import arrays, words
from course_utils.texts import word_lists
from course_utils.texts.datasets import Pairs
from course_utils.texts.word_lists import LISTS, PAIRS_OF_LISTS

#: The two embedders whose comparison is the question of lesson 05.
FIRST, SECOND = "smol-sgpt-nli", "smol-sgpt-qa"
#: The numbers that ship.
FILE = Path(__file__).resolve().parents[2] / "data" / "word_lists.json"


@dataclass(frozen=True, eq=False)
class Followed:
    """How one embedder, or the mean of several, follows each list.

    Attributes:
        rho: list -> Spearman's correlation of cosines and judgements.
        f: list -> what every pair contributes to it, ``[n]``.
    """

    rho: dict[str, float]
    f: dict[str, np.ndarray]


def followed(cosines: Mapping[str, np.ndarray], lists: Mapping[str, Pairs]) -> Followed:
    """Correlations and contributions of one embedder's cosines, ``[n]`` for every list."""
    return Followed(
        {name: spearman(cosines[name], pairs.score) for name, pairs in lists.items()},
        {name: influences(cosines[name], pairs.score) for name, pairs in lists.items()},
    )


def mean(several: Sequence[Followed]) -> Followed:
    """The mean over embedders that differ in their seed only."""
    names = several[0].rho
    return Followed(
        {n: float(np.mean([one.rho[n] for one in several])) for n in names},
        {n: np.mean([one.f[n] for one in several], axis=0) for n in names},
    )


def difference(one: Followed, other: Followed, lists: Mapping[str, Pairs], seeds: Sequence[tuple] = ()) -> list[dict]:
    """By how much one embedder prefers similarity more than another does, for all pairs of lists.

    Args:
        seeds: of both sides, where they are means: what was averaged, as ``(ones, others)``. The spread over seeds
            then widens the interval.

    Returns:
        rows with ``similarity`` and ``relatedness`` (the lists), ``value``, ``low``, ``high``, ``p``, and ``p, Holm``
        over the rows.
    """
    rows = []
    for s, r in PAIRS_OF_LISTS:
        value = (one.rho[s] - one.rho[r]) - (other.rho[s] - other.rho[r])
        f = np.concatenate([one.f[s] - other.f[s], other.f[r] - one.f[r]])
        left, right = ([w.lower() for n in (s, r) for w in getattr(lists[n], side)] for side in ("left", "right"))
        between = sum(np.var([x.rho[s] - x.rho[r] for x in side], ddof=1) / len(side) for side in seeds)
        found, p = estimate(value, f, left, right, more=between)
        rows.append({"similarity": s, "relatedness": r, "value": value, "low": found.low, "high": found.high, "p": p})
    corrected = holm([row["p"] for row in rows])
    return [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in (row | {"p, Holm": float(p)}).items()}
        for row, p in zip(rows, corrected, strict=True)
    ]


def cosines_of(name: str, lists: Mapping[str, Pairs], backbones: dict) -> dict[str, np.ndarray]:
    """An embedder's cosines of every list; what the shipped arrays hold is taken from there.

    Args:
        backbones: language models by name; the one that was needed is kept there, and no other.
    """
    from course_utils.models import registry
    from course_utils.models.embedder import load

    spec, shipped = registry.get(name), arrays.load("judged", name).cosines
    of_pair = {}
    for known in shipped:
        for a, b, c in zip(lists[known].left, lists[known].right, shipped[known], strict=True):
            of_pair[frozenset((a.lower(), b.lower()))] = float(c)
    found, rest = dict(shipped), {}
    for key, pairs in lists.items():
        asked = [frozenset((a.lower(), b.lower())) for a, b in zip(pairs.left, pairs.right, strict=True)]
        if key not in found and all(pair in of_pair for pair in asked):
            found[key] = np.array([of_pair[pair] for pair in asked])
        elif key not in found:
            rest[key] = pairs
    if rest:
        embedder = load(name, backbone=backbones.get(spec.backbone), prompt=words.carried(spec.prompt))
        backbones.clear()
        backbones[spec.backbone] = embedder.backbone
        found |= words.word_cosines(embedder, lists=rest)
    return found


def compare_all(
    cosines: Mapping[str, Mapping[str, np.ndarray]],
    lists: Mapping[str, Pairs],
    first: str = FIRST,
    second: str = SECOND,
) -> dict:
    """What ships: correlations of all embedders, the comparison of two, and every other comparison in short.

    Args:
        cosines: embedder -> list -> ``[n]``.
        first, second: the two embedders whose comparison is the question.
    """
    by_name = {name: followed(found, lists) for name, found in cosines.items()}
    every = {pair: difference(by_name[pair[0]], by_name[pair[1]], lists) for pair in combinations(by_name, 2)}
    p = holm([row["p"] for rows in every.values() for row in rows]).reshape(len(every), len(PAIRS_OF_LISTS))
    return {
        "lists": {n: {"pairs": len(x), "words": len({*x.left, *x.right})} for n, x in lists.items()},
        "rho": {name: {n: round(v, 4) for n, v in x.rho.items()} for name, x in by_name.items()},
        "first": first, "second": second,
        "comparison": difference(by_name[first], by_name[second], lists),
        "all comparisons": [
            {"first": a, "second": b, "value": [row["value"] for row in rows],
             "survives": [bool(q < 0.05) for q in p[i]]}
            for i, ((a, b), rows) in enumerate(every.items())
        ],
    }  # fmt: skip


def write(folder: Path, names: Sequence[str] = (), out: Path = FILE, report: Callable[[str], None] = print) -> Path:
    """Measure the family (or ``names``) on all lists and write what ships.

    Raises:
        FileNotFoundError, ValueError: a list that is missing or wrong.
    """
    from course_utils.shipped.kinds import FAMILY

    lists, backbones, cosines = word_lists.read(folder), {}, {}
    for name in names or FAMILY:
        cosines[name] = cosines_of(name, lists, backbones)
        report(f"{name}: {', '.join(f'{n} {spearman(cosines[name][n], x.score):.2f}' for n, x in lists.items())}")
    made = {"command": "several-tokens study words --lists FOLDER", **compare_all(cosines, lists)}
    with gates.replacing(out) as file:
        json.dump(made, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return out


def read(path: Path = FILE) -> dict:
    """The numbers that ship."""
    return gates.json_value(gates.read_text(path), path.name)


def title(row: Mapping) -> str:
    """The pair of lists of a row, as tables and figures call it."""
    return f"{LISTS[row['similarity']].title} − {LISTS[row['relatedness']].title}"


def gaps(rows: Sequence[Mapping]) -> dict[str, Interval]:
    """The differences of rows with their intervals, by pair of lists."""
    return {title(row): Interval(row["value"], row["low"], row["high"]) for row in rows}


def asked(rows: Sequence[Mapping]) -> list[dict]:
    """The rows of :func:`difference` whose similarity list asked its judges for similarity, corrected for their number.

    WS-353-SIM did not ask: it holds pairs of WordSim-353 that were picked later (Agirre et al. 2009), with the scores
    for relatedness that they have there. Similarity stands in the choice of its pairs, not in its scores.
    """
    kept = [row for row in rows if row["similarity"] != "ws-sim"]
    corrected = holm([row["p"] for row in kept])
    return [{**row, "p, Holm": round(float(p), 4)} for row, p in zip(kept, corrected, strict=True)]


def verdict(rows: Sequence[Mapping], level: float = 0.05) -> dict[str, list[str]]:
    """The pairs of lists by what survives the correction: ``"first"``, ``"second"`` or ``"open"``."""
    found: dict[str, list[str]] = {"first": [], "second": [], "open": []}
    for row in rows:
        side = "open" if row["p, Holm"] >= level else "first" if row["value"] > 0 else "second"
        found[side].append(title(row))
    return found
