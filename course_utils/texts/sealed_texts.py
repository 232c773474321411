"""The sealed texts of lesson 06: nothing was trained or chosen on them, and they are measured once.

90 short texts in ``data/sealed_texts.jsonl``, each with a topic, a sentiment and an intent that cross, and the labels
that a second reader gave without seeing the first ones in ``data/sealed_labels.jsonl``. None of the five topics occurs
in a training file of the course; see the data card beside the files.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import gates
from course_utils.texts import readers
from course_utils.texts.instruction_texts import labels as labels  # the aspects have the same names

_DATA = Path(__file__).resolve().parents[2] / "data"
#: The texts with the labels that their writer intended, and the labels of the second reader in the same order.
FILE, SECOND = _DATA / "sealed_texts.jsonl", _DATA / "sealed_labels.jsonl"
#: The three aspects and their labels.
ASPECTS = {
    "topic": ("pottery", "archaeology", "chess", "justice", "firefighting"),
    "sentiment": ("positive", "negative", "neutral"),
    "intent": ("question", "request", "statement"),
}
#: Words that say nothing about what a text is about.
_FUNCTION = set(
    "a an the and or of to in on at for with from by is are was were be been am have has had do does did it its this "
    "that these those i me my we us our you your he she her his they them their who whose whom what which when where "
    "why how so such as not no any all could would will can must may please let get out up down off before after "
    "about than more then if while until there here us every one two first".split()
)


class SealedText(NamedTuple):
    """One text with its label in each aspect."""

    text: str
    topic: str
    sentiment: str
    intent: str


def read(path: Path | str = FILE) -> list[SealedText]:
    """The texts in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a malformed line, an unknown label, a text that occurs twice, or labels that do not cross evenly.
    """
    rows = [SealedText(*(row[key] for key in SealedText._fields)) for row in _rows(path, SealedText._fields)]
    twice = [text for text, n in Counter(row.text for row in rows).items() if n > 1]
    cells = Counter(row[1:] for row in rows)
    uneven = [names for names in product(*ASPECTS.values()) if cells[names] != cells.most_common(1)[0][1]]
    if twice or uneven:
        raise ValueError(f"{Path(path).name}: texts that occur twice: {twice}; combinations too rare: {uneven}")
    return rows


def second_labels(path: Path | str = SECOND) -> list[SealedText]:
    """The second reader's labels, in the order of :func:`read`; errors as there, and texts that are not the same."""
    rows = [SealedText(*(row[key] for key in SealedText._fields)) for row in _rows(path, SealedText._fields)]
    if [row.text for row in rows] != [row.text for row in read()]:
        raise ValueError(f"{Path(path).name} must hold the texts of {FILE.name} in the same order")
    return rows


def kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Agreement of two readers beyond chance: ``κ = (p_o − p_e) / (1 − p_e)`` (Cohen 1960).

    ``p_o`` is the share of texts with equal labels, ``p_e`` what two readers of these habits would share by chance.

    Raises:
        ValueError: different lengths, no labels, or a single label used by both, where κ is not defined.
    """
    a, b = np.asarray(gates.listed(first, "first")), np.asarray(gates.listed(second, "second"))
    if a.shape != b.shape or not len(a):
        raise ValueError(f"need two lists of labels of equal length, not empty; got {len(a)} and {len(b)}")
    expected = sum((a == name).mean() * (b == name).mean() for name in np.union1d(a, b))
    if expected == 1:
        raise ValueError("both readers used one label for everything: agreement beyond chance is not defined")
    return float(((a == b).mean() - expected) / (1 - expected))


def content_words(texts: Iterable[str]) -> set[str]:
    """Words that say what texts are about: without function words, small, cut back to their stem by a rough rule."""
    words = (word.lower() for text in texts for word in gates.words(text))
    return {re.sub(r"(ing|ed|es|s|ly)$", "", w) for w in words if w.isalpha() and w not in _FUNCTION and len(w) > 1}


def _rows(path: Path | str, keys: Sequence[str]) -> list[dict]:
    rows = readers.read_jsonl(path, keys)
    for number, row in enumerate(rows, 1):
        for aspect, allowed in ASPECTS.items():
            if row[aspect] not in allowed:
                place = f"{Path(path).name}, line {number}"
                raise ValueError(f"{place}: {aspect} must be one of {', '.join(allowed)}; got {row[aspect]!r}")
    return rows
