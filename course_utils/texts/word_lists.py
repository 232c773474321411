"""Lists of judged word pairs: the two that come with gensim, and four that stand in files of your own.

What a list asked its judges for decides what it can show: similarity ("the same kind of thing?") or relatedness ("do
they belong together?"). One of the six asked nothing anew: WS-353-SIM holds pairs of WordSim-353 that were picked for
being similar or unrelated, with the scores for relatedness. No list but the first two ships with the course.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import gates
from course_utils.texts.datasets import Pairs, word_pairs
from course_utils.texts.readers import read_jsonl


class Source(NamedTuple):
    """Where a list stands, and what its judges were asked for (``"similarity"`` or ``"relatedness"``)."""

    title: str
    asks: str
    file: str | None = None


#: The lists by name. A file holds JSON Lines with ``word1``, ``word2`` and ``score``.
LISTS = {
    "simlex999": Source("SimLex-999", "similarity"),
    "simverb": Source("SimVerb-3500", "similarity", "SimVerb-3500.jsonl"),
    "ws-sim": Source("WS-353-SIM", "similarity", "WS-353-SIM.jsonl"),
    "wordsim353": Source("WordSim-353", "relatedness"),
    "men": Source("MEN", "relatedness", "MEN-TR-3k.jsonl"),
    "ws-rel": Source("WS-353-REL", "relatedness", "WS-353-REL.jsonl"),
}
#: Every similarity list with every relatedness list.
PAIRS_OF_LISTS = tuple(
    (s, r) for s in LISTS for r in LISTS if (LISTS[s].asks, LISTS[r].asks) == ("similarity", "relatedness")
)


def read(folder: Path | str | None = None) -> dict[str, Pairs]:
    """All lists, or without a folder those that ship with gensim.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or has a line without two words and a number.
    """
    if folder is None:
        return {name: word_pairs(name) for name, source in LISTS.items() if source.file is None}
    folder = gates.expanded(folder)
    return {name: _file(folder / source.file) if source.file else word_pairs(name) for name, source in LISTS.items()}


def _file(path: Path) -> Pairs:
    rows = read_jsonl(path, ("word1", "word2", "score"))
    for number, row in enumerate(rows, start=1):
        if isinstance(row["score"], bool) or not isinstance(row["score"], int | float):
            raise ValueError(f"{path.name}, line {number}: needs a number under 'score'; got {row['score']!r}")
    left, right = (gates.texts([row[side] for row in rows], f"{path.name}: {side}") for side in ("word1", "word2"))
    return Pairs(left, right, np.array([row["score"] for row in rows], dtype=np.float64))
