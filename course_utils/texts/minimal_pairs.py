"""Minimal pairs: what a pair of sentences must look like, and how far two labelling passes agree.

``several-tokens data check-pairs FILE`` checks a file and names every line that is wrong.
The labels and the relations are explained in the data card, ``data/minimal_pairs.md``.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils.measures import evaluation
from course_utils.texts import readers

#: The pairs that ship with the course, and the second labelling pass over them.
FILE = Path(__file__).resolve().parents[2] / "data" / "minimal_pairs.jsonl"
SECOND = FILE.with_name("minimal_pairs_second.jsonl")

#: How the second sentence of a pair was made from the first.
RELATIONS = (
    "paraphrase",
    "negation",
    "antonym",
    "role swap",
    "number or time",
    "part-whole",
    "same topic",
    "cause-effect",
    "unrelated",
)
#: The five labels; what each stands for is said in the data card.
LABELS = range(5)


class Pair(NamedTuple):
    """Two sentences with labels; ``similarity`` and ``relatedness`` go from 0 (none) to 4 (full)."""

    id: str
    relation: str
    sentence1: str
    sentence2: str
    similarity: int
    relatedness: int
    reason: str


class Labels(NamedTuple):
    """The labels of one pair by somebody who saw neither the relation nor the first labels."""

    id: str
    similarity: int
    relatedness: int


class Agreement(NamedTuple):
    """How far two passes agree on one kind of label.

    Attributes:
        kappa: Cohen's kappa with quadratic weights; 1 = always equal, 0 = as by chance.
        spearman: rank correlation of the two passes.
        exact, within_one: share of pairs whose labels are equal, or differ by one at most.
    """

    kappa: float
    spearman: float
    exact: float
    within_one: float


def read(path: Path | str = FILE) -> list[Pair]:
    """Return the pairs of a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something is wrong; the message lists every problem with its line.
    """
    rows, problems = _check(Path(path))
    _refuse(problems)
    return [Pair(**row) for row in rows]


def read_second(path: Path | str = SECOND) -> list[Labels]:
    """Return the labels of a second pass; errors as :func:`read`."""
    rows, problems = _rows(Path(path), Labels._fields)
    found = [f"{Path(path).name}, line {n}: {what}" for n, row in rows for what in _wrong_values(row)]
    found += _repeated(Path(path).name, rows, "id", lambda row: row.get("id"))
    _refuse(problems + found)
    return [Labels(**row) for _, row in rows]


def validate(path: Path | str) -> list[str]:
    """Return what is wrong with a file of pairs, each problem with file name and line; an empty list is good news."""
    return _check(Path(path))[1]


def agreement(first: Sequence[Pair | Labels], second: Sequence[Pair | Labels]) -> dict[str, Agreement]:
    """Compare two labelling passes over the same pairs, for ``"similarity"`` and for ``"relatedness"``.

    The weighted kappa (Cohen 1968, "Weighted kappa: nominal scale agreement with provision for scaled
    disagreement or partial credit") with quadratic weights comes from scikit-learn. The order of the
    two passes does not matter; they are matched by id.

    Raises:
        ValueError: an id occurs twice or in one pass only, or a pass gives every pair the same label,
            so that no correlation exists.
    """
    from sklearn.metrics import cohen_kappa_score

    for name, labels in (("first", first), ("second", second)):
        twice = [key for key, count in Counter(row.id for row in labels).items() if count > 1]
        if twice:
            raise ValueError(f"the {name} pass labels {twice[0]!r} more than once; keep one of the lines")
    by_id = {row.id: row for row in second}
    alone = sorted({row.id for row in first} ^ set(by_id))
    if alone:
        raise ValueError(f"{len(alone)} ids are in one pass only, such as {alone[:3]}; both must label the same pairs")
    result = {}
    for kind in ("similarity", "relatedness"):
        a = [getattr(row, kind) for row in first]
        b = [getattr(by_id[row.id], kind) for row in first]
        try:
            rho = evaluation.spearman(a, b)  # before kappa, which is NaN where one label fills both passes
        except ValueError as error:
            raise ValueError(f"{kind}: {error}") from None
        distance = [abs(x - y) for x, y in zip(a, b, strict=True)]
        result[kind] = Agreement(
            kappa=float(cohen_kappa_score(a, b, labels=list(LABELS), weights="quadratic")),
            spearman=rho,
            exact=distance.count(0) / len(distance),
            within_one=sum(d <= 1 for d in distance) / len(distance),
        )
    return result


def words_of(sentence: str) -> set[str]:
    """The different words of a sentence, lower-cased, without marks at their ends."""
    return {word.strip(".,;:!?'\"") for word in sentence.lower().split()}


def word_overlap(pairs: Sequence[Pair]) -> np.ndarray:
    """Shared words / all words of both sentences (Jaccard), for every pair; float64 ``[n]``."""
    sides = [(words_of(p.sentence1), words_of(p.sentence2)) for p in pairs]
    return np.array([len(a & b) / len(a | b) for a, b in sides])


# --- The checks -----------------------------------------------------------------------------------


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))


def _check(path: Path) -> tuple[list[dict], list[str]]:
    rows, problems = _rows(path, Pair._fields)
    problems += [f"{path.name}, line {n}: {what}" for n, row in rows for what in _wrong_values(row)]
    problems += _repeated(path.name, rows, "id", lambda row: row.get("id"))
    problems += _repeated(path.name, rows, "pair", _key)
    problems += _unbalanced(path.name, rows)
    return [row for _, row in rows], problems


def _rows(path: Path, keys: tuple[str, ...]) -> tuple[list[tuple[int, dict]], list[str]]:
    """``(line number, row)`` of every line that is an object, and what is wrong with the form of the lines."""
    rows, faults = readers.rows_and_faults(path)
    for number, row in rows:
        faults += [(number, f"{key!r} is missing") for key in keys if key not in row]
        faults += [(number, f"unknown key {key!r}; known keys: {', '.join(keys)}") for key in row if key not in keys]
    return rows, [f"{path.name}, line {number}: {message}" for number, message in sorted(faults)]


def _wrong_values(row: dict) -> list[str]:
    """What is wrong with the values of one row; a missing key was reported before."""
    problems = []
    for key in ("id", "sentence1", "sentence2", "reason"):
        if key in row and (not isinstance(row[key], str) or not row[key].strip()):
            problems.append(f"{key!r} must be a non-empty text, got {row[key]!r}")
    for key in ("similarity", "relatedness"):
        # True equals 1 in Python, and 3.0 equals 3: both are slips of whoever typed them.
        if key in row and (type(row[key]) is not int or row[key] not in LABELS):
            problems.append(f"{key!r} must be a whole number from 0 to 4, got {row[key]!r}")
    if "relation" in row and row["relation"] not in RELATIONS:
        problems.append(f"unknown relation {row['relation']!r}; choose from {', '.join(RELATIONS)}")
    key = _key(row)
    if key and len(set(key)) == 1:
        problems.append(f"both sentences are the same: {row['sentence1']!r}")
    return problems


def _key(row: dict) -> tuple[str, ...] | None:
    """The pair without order, case and spacing; None where a sentence is missing or empty."""
    texts = [row.get("sentence1"), row.get("sentence2")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    return tuple(sorted(" ".join(text.casefold().split()) for text in texts))


def _repeated(name: str, rows: list[tuple[int, dict]], what: str, key) -> list[str]:
    first: dict = {}
    problems = []
    for number, row in rows:
        value = key(row)
        if isinstance(value, str | tuple) and first.setdefault(value, number) != number:
            shown = " / ".join(value) if isinstance(value, tuple) else value
            problems.append(f"{name}, line {number}: the {what} {shown!r} is already in line {first[value]}")
    return problems


def _unbalanced(name: str, rows: list[tuple[int, dict]]) -> list[str]:
    """Relations with another number of pairs than most: the line of the first one too many, or the last one there."""
    lines = {relation: [n for n, row in rows if row.get("relation") == relation] for relation in RELATIONS}
    size, _ = max(Counter(map(len, lines.values())).items(), key=lambda item: (item[1], item[0]))
    problems = []
    for relation, found in lines.items():
        if len(found) != size:
            line = found[size] if len(found) > size else (found or [n for n, _ in rows] or [1])[-1]
            problems.append(
                f"{name}, line {line}: relation {relation!r} has {len(found)} pairs, most relations have {size}; "
                "every relation needs the same number"
            )
    return problems


def summary(path: Path | str = FILE) -> str:
    """What a sound file holds, in words."""
    return f"{len(read(path))} pairs, nothing wrong"
