"""What stored rows of :mod:`course_utils.search.results` say, as numbers and as text: for lesson 04."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from course_utils.measures import clusters
from course_utils.measures.evaluation import Interval
from course_utils.search import costs, dense, fair, results
from course_utils.search.results import Transfer
from course_utils.search.retrieval import KS, MS, Setting

# --- Numbers ----------------------------------------------------------------------------------------


def verdicts(comparisons: Iterable[fair.Comparison]) -> dict[tuple[str, str], tuple[int, int]]:
    """``(a, b)`` -> the number of rows in which a is clearly better, and clearly worse, than b."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for c in comparisons:
        better, worse = found.get((c.a, c.b), (0, 0))
        found[c.a, c.b] = better + (c.verdict == "better"), worse + (c.verdict == "worse")
    return found


def centring(row: Mapping) -> tuple[float, float]:
    """What centring adds to the raw cosine, and the best dense setting to centring, mean nDCG@10, tuning half."""
    means = np.array(row["tuning"]["dense"])
    raw, centred = (float(means[dense.LEVELS.index((centre, 0)), 0]) for centre in (False, True))
    return centred - raw, float(means.max()) - centred


def loss_with(row: Mapping, k: int, m: int) -> float:
    """What K and M from elsewhere cost against the row's own choice, mean nDCG@10 on the held-out half."""
    held_out = np.ravel(row["held out"]["sparse"])
    return float(held_out[results.place(results.chosen(row).sparse)] - held_out[results.place(Setting(k=k, m=m))])


def level_with_dense(row: Mapping) -> tuple[int | None, float, float]:
    """The smallest K, with the chosen M, that reaches the chosen dense setting on the tuning half.

    Returns:
        K, its mean nDCG@10 on the held-out half, and there that of the dense setting; None and NaN where no K does.
    """
    of = results.chosen(row)
    column, at = (
        MS.index(of.sparse.m),
        (dense.LEVELS.index((of.dense.centre, of.dense.remove)), dense.POWERS.index(of.dense.power)),
    )
    tuning, held_out = (
        {side: np.array(row[half][side]) for side in ("sparse", "dense")} for half in ("tuning", "held out")
    )
    enough = np.flatnonzero(tuning["sparse"][:, column] >= tuning["dense"][at])
    goal = float(held_out["dense"][at])
    return (KS[enough[0]], float(held_out["sparse"][enough[0], column]), goal) if len(enough) else (None, np.nan, goal)


def edges(rows: Iterable[Mapping]) -> dict[str, str]:
    """Label -> the edge of the grid of K and M on which the row's best field lies; "inside" where on none.

    K = 128 and M = 0 are edges below, K = 8000 and M = 100 above.
    """
    found = {}
    for row in rows:
        k, m = divmod(int(np.argmax(row["tuning"]["sparse"])), len(MS))
        at = [f"K = {KS[k]}"] * (k in (0, len(KS) - 1)) + [f"M = {MS[m]}"] * (m in (0, len(MS) - 1))
        found[results.label(row)] = ", ".join(at) or "inside"
    return found


def beyond_the_edge(row: Mapping) -> float:
    """What the best larger M adds to the best M of the grid, at the chosen K, mean nDCG@10 on the tuning half."""
    of_grid = row["tuning"]["sparse"][KS.index(results.chosen(row).sparse.k)]
    return float(max(row["larger M"].values()) - max(of_grid))


def beside_the_grids(rows: Iterable[Mapping]) -> pd.DataFrame:
    """One line a row: the edge of K and M on which it is best, what larger M add there, what centring adds,
    and what the best dense setting adds to that; nDCG@10 on the tuning half."""
    found = {}
    for row in rows:
        [(name, edge)], (first, more) = edges([row]).items(), centring(row)
        found[name] = {
            "best at": edge, "larger M adds": beyond_the_edge(row), "centring adds": first, "best over centred": more
        }  # fmt: skip
    return pd.DataFrame(found).T.infer_objects()


def choosing_gained(row: Mapping) -> float:
    """What the dense setting chosen on the tuning half gains over the raw cosine on the held-out half, nDCG@10."""
    return float(np.mean(row["nDCG@10"]["dense, tuned"]) - np.mean(row["nDCG@10"]["dense, raw"]))


def reached(rows: Iterable[Mapping], share: float = 0.8) -> dict[str, tuple[int, int]]:
    """System -> in how many rows it keeps this share of the tuned dense nDCG@10, and with its whole interval."""
    found = dict.fromkeys(results.SPARSE, (0, 0))
    for (_, system), of in results.retentions(rows)["of dense, tuned"].items():
        point, whole = found[system]
        found[system] = point + (of.value >= share), whole + (of.low >= share)
    return found


def literal_of_dense(rows: Iterable[Mapping], part: str) -> dict[str, Interval]:
    """Label -> nDCG@10 of one part of the method over that of the tuned dense cosine."""
    return {results.label(row): _of_dense(row, row["parts"][part]) for row in rows}


def meaningless_kept(rows: Iterable[Mapping], m: int) -> dict[str, dict[str, Interval]]:
    """Label -> what the query's m aligned tokens alone keep of the tuned dense nDCG@10, with the row's K.

    ``"as it is"`` decodes with the output layer, ``"rotated"`` with one that is turned at random, so that no token has
    to do with the text (:func:`course_utils.search.fair.meaningless`).

    Raises:
        KeyError: an m that was not tried.
    """
    return {
        results.label(row): {name: _of_dense(row, v) for name, v in row["meaningless"][f"M = {m}"].items()}
        for row in rows
    }


def meaning_adds(rows: Iterable[Mapping], m: int) -> dict[str, Interval]:
    """Label -> nDCG@10 of the query's m aligned tokens alone minus that of rotated ones, query by query."""
    found = {}
    for row in rows:
        of = row["meaningless"][f"M = {m}"]
        found[results.label(row)] = clusters.bootstrap(np.subtract(of["as it is"], of["rotated"]), groups=row["groups"])
    return found


def _of_dense(row: Mapping, values: Sequence[float]) -> Interval:
    return fair.retention(np.array(values), np.array(row["nDCG@10"]["dense, tuned"]), row["groups"])


def lost_by_transfer(moved: Iterable[Transfer], rows: Iterable[Mapping]) -> dict[str, np.ndarray]:
    """What settings from elsewhere lose against the rows' own, nDCG@10 on the held-out half, one number a row."""
    moved, own = list(moved), {(row["collection"], row["embedder"]): row["nDCG@10"]["dense, tuned"] for row in rows}
    dense_loss = [np.mean(own[t.collection, t.embedder]) - t.dense_value for t in moved]
    return {"aligned tokens": np.array([t.loss for t in moved]), "dense": np.array(dense_loss)}


def ahead(rows: Iterable[Mapping], a: str, others: Iterable[Mapping], b: str) -> int:
    """In how many rows the mean nDCG@10 of system a lies above that of b in the other row that stands beside it."""
    pairs = zip(rows, others, strict=True)
    return sum(bool(np.mean(row["nDCG@10"][a]) > np.mean(other["nDCG@10"][b])) for row, other in pairs)


def longer_than(rows: Iterable[Mapping], size: float) -> int:
    """In how many rows the chosen list takes more bytes than ``size``."""
    return sum(costs.POSTING_BYTES * results.chosen(row).sparse.k > size for row in rows)


def one_per_query(pairs: Iterable[tuple[int, int]], n: int = 3) -> list[tuple[int, int]]:
    """The first n pairs (query, document) that belong to different queries."""
    first: dict[int, int] = {}
    for query, document in pairs:
        first.setdefault(query, document)
    return list(first.items())[:n]


# --- Text -------------------------------------------------------------------------------------------


def choices(rows: Iterable[Mapping]) -> str:
    """What the rule chose on the tuning half, from how many settings."""
    lines = []
    for row in rows:
        of, (sparse, of_dense) = results.chosen(row), (np.array(row["tuning"][side]) for side in ("sparse", "dense"))
        lines += [
            f"{row['embedder']}: {sparse.size} sparse settings: K = {of.sparse.k}, M = {of.sparse.m};"
            f" no larger than dense: K = {of.equal_bytes.k}",
            f"{'':14}{of_dense.size} dense settings: {of.dense} (raw {of_dense[0, 0]:.3f}, best {of_dense.max():.3f})",
        ]
    return "\n".join(lines)


def comparisons(found: Iterable[fair.Comparison]) -> str:
    """A line for each comparison."""
    return "\n".join(
        f"{c.label:30} {c.a:27} − {c.b:13} {c.difference:+.3f}"
        f"   corrected p {results.p_text(c.corrected):7} {c.verdict}"
        for c in found
    )


def shares_reached(found: Mapping[str, tuple[int, int]]) -> str:
    """What :func:`reached` counts, in one line."""
    return "; ".join(f"{system}: {point}, with the whole interval {whole}" for system, (point, whole) in found.items())


def counts(found: Iterable[fair.Comparison], rows: int) -> str:
    """A line for each pair of systems: in how many rows the first is better, in how many worse."""
    return "\n".join(
        f"{a:27} against {b:13} better in {better} of {rows} rows, worse in {worse}"
        for (a, b), (better, worse) in verdicts(found).items()
    )


def retained(rows: Iterable[Mapping]) -> str:
    """For each row what the sparse systems keep of the tuned dense cosine, by nDCG@10 and by R@100."""
    lines = []
    for row in rows:
        kept = results.retentions([row])
        for measure, column in (("nDCG@10", "of dense, tuned"), ("R@100", "R@100 of dense, tuned")):
            name = f"{row['collection']:18} {row['embedder']:13}" if measure == "nDCG@10" else " " * 32
            parts = [f"{np.mean(row[measure][s]):.2f}, kept {v:.2f}" for (_, s), v in kept[column].items()]
            lines.append(f"{name} {measure:8} {'; '.join(parts)}")
    return "\n".join([f"{'':32} {'':8} {'; '.join(results.SPARSE)}", *lines])


def parts(rows: Sequence[Mapping]) -> str:
    """The parts of the method, a table for each collection."""
    names = dict.fromkeys(row["collection"] for row in rows)
    tables = (results.parts_table(row for row in rows if row["collection"] == name) for name in names)
    return "\n".join(f"\n{table.to_string()}" for table in tables)


def millions(table: pd.DataFrame) -> str:
    """A query's share of a table of :func:`course_utils.search.costs.cost_table`, in millions, with bytes."""
    shown = (table[["query: model", "query: scoring"]] / 1e6).round(3)
    shown["% of dense"] = (100 * table["query: total"] / table.loc["dense cosine", "query: total"]).round(2)
    return shown.assign(bytes=table["document: bytes"].round(-1)).to_string()


def meaningless(rows: Sequence[Mapping]) -> str:
    """For each row what :func:`meaningless_kept` finds, for each M that was tried."""
    found = {m: meaningless_kept(rows, m) for m in sorted(fair.NULL_MS, reverse=True)}
    tried, names = list(found.items()), found[max(found)]
    return "\n".join(
        f"{name:23} "
        + "; ".join(f"M = {m}: {of[name]['as it is']:.2f}, rotated {of[name]['rotated']:.2f}" for m, of in tried)
        for name in names
    )


def transfers(moved: Sequence[Transfer]) -> str:
    """A line for each row: the setting chosen there and the one chosen elsewhere, with what they reach."""
    return "\n".join(
        f"{t.collection:18} {t.embedder:13} own {t.own:18} {t.own_value:.2f}   elsewhere {t.elsewhere:17} {t.value:.2f}"
        f"   {t.value / t.dense_value:.2f} of a dense cosine set elsewhere"
        for t in moved
    )


def carried(rows: Iterable[Mapping], home: str) -> str:
    """A line for each embedder: K and M chosen on the collection ``home``, and what they change on the others."""
    rows, lines = list(rows), []
    for row in rows:
        if row["collection"] == home:
            of = results.chosen(row).sparse
            changes = ", ".join(
                f"{-loss_with(other, of.k, of.m):+.2f} on {other['collection']}"
                for other in rows
                if other["embedder"] == row["embedder"] and other is not row
            )
            lines.append(f"{row['embedder']}, chosen on {home}: K = {of.k}, M = {of.m}: nDCG@10 changes by {changes}")
    return "\n".join(lines)


def about(rank: int) -> str:
    """A rank as text: exact among the first ten, below that coarse."""
    return str(rank) if rank <= 10 else f"below {max(n for n in (10, 20, 50, 100, 200, 500) if n < rank)}"


def outside(rows: Iterable[Mapping]) -> str:
    """Rows of an embedder whose tokens mean next to nothing: its dense cosine, BM25, and what its lists keep."""
    systems = ("dense, raw", "dense, tuned", "BM25")
    return "\n".join(
        f"{row['collection']:18} all-MiniLM-L6-v2: "
        + ", ".join(f"{system} {np.mean(row['nDCG@10'][system]):.2f}" for system in systems)
        + "; aligned tokens keep "
        + ", ".join(
            f"{_of_dense(row, row['nDCG@10'][system]).value:.2f} with M = {m}"
            for system, m in ((results.SPARSE[0], results.chosen(row).sparse.m), (results.SPARSE[2], 0))
        )
        for row in rows
        if row["embedder"] == "minilm"
    )
