"""What stored rows of :mod:`course_utils.search.results` say, as numbers and as text: for lesson 04."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

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


def beyond_centring(row: Mapping) -> float:
    """What the best dense setting of the grid adds to plain centring, mean nDCG@10 on the tuning half."""
    return float(np.max(row["tuning"]["dense"]) - row["tuning"]["dense"][dense.LEVELS.index((True, 0))][0])


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


def reached(rows: Iterable[Mapping], share: float = 0.8) -> dict[str, tuple[int, int]]:
    """System -> in how many rows it keeps this share of the tuned dense nDCG@10, and with its whole interval."""
    found = dict.fromkeys(results.SPARSE, (0, 0))
    for (_, system), of in results.retentions(rows)["of dense, tuned"].items():
        point, whole = found[system]
        found[system] = point + (of.value >= share), whole + (of.low >= share)
    return found


def literal_of_dense(rows: Iterable[Mapping], part: str) -> dict[str, float]:
    """Label -> mean nDCG@10 of one part of the method over that of the tuned dense cosine."""
    return {results.label(r): float(np.mean(r["parts"][part]) / np.mean(r["nDCG@10"]["dense, tuned"])) for r in rows}


def longer_than(rows: Iterable[Mapping], size: float) -> int:
    """In how many rows the chosen list takes more bytes than ``size``."""
    return sum(costs.POSTING_BYTES * results.chosen(row).sparse.k > size for row in rows)


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


def transfers(moved: Sequence[Transfer]) -> str:
    """A line for each row: the setting chosen there and the one chosen elsewhere, with what they reach."""
    return "\n".join(
        f"{t.collection:18} {t.embedder:13} own {t.own:18} {t.own_value:.2f}   elsewhere {t.elsewhere:17} {t.value:.2f}"
        f"   {t.value / t.dense_value:.2f} of a dense cosine set elsewhere"
        for t in moved
    )


def outside(rows: Iterable[Mapping]) -> str:
    """Rows of an embedder that has no aligned tokens to speak of: its dense cosine beside BM25."""
    systems = ("dense, raw", "dense, tuned", "BM25")
    return "\n".join(
        f"{row['collection']:18} all-MiniLM-L6-v2: "
        + ", ".join(f"{system} {np.mean(row['nDCG@10'][system]):.2f}" for system in systems)
        for row in rows
        if row["embedder"] == "minilm"
    )
