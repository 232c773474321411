"""What the sealed texts of lesson 06 share with files of training data.

    several-tokens data sealed-overlap --data FOLDER

writes ``data/sealed_overlap.json``: for every file of the folder, into which ``data crossed`` and ``data docstrings``
have written before, how many sealed texts share eight consecutive words
with it, and for each label how many of the words that only its texts use occur there.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from course_utils import gates
from course_utils.texts import readers, sealed_texts
from course_utils.training.recipes import shingles

OVERLAP = Path(__file__).resolve().parents[2] / "data" / "sealed_overlap.json"


def own_words(texts: Sequence[sealed_texts.SealedText], aspect: str) -> dict[str, set[str]]:
    """Per label of an aspect the content words that its texts use and no text of another label does."""
    words = {
        label: sealed_texts.content_words(t.text for t in texts if getattr(t, aspect) == label)
        for label in sealed_texts.ASPECTS[aspect]
    }
    return {
        label: own - set().union(*(other for name, other in words.items() if name != label))
        for label, own in words.items()
    }


def overlap(texts: Sequence[sealed_texts.SealedText], others: Iterable[str]) -> dict:
    """What other texts share with the sealed ones.

    Returns:
        ``runs``, the number of sealed texts that share eight consecutive words with them, and under each aspect
        ``{label: [words that occur there, words in all]}`` of :func:`own_words`.

    Raises:
        ValueError: no other texts.
    """
    others = gates.texts(list(others), "others")
    forbidden = set().union(*map(shingles, others))
    seen = sealed_texts.content_words(others)
    result: dict = {"runs": sum(bool(shingles(t.text) & forbidden) for t in texts)}
    for aspect in sealed_texts.ASPECTS:
        result[aspect] = {label: [len(own & seen), len(own)] for label, own in own_words(texts, aspect).items()}
    return result


def write(folder: Path, out: Path = OVERLAP) -> dict[str, dict]:
    """:func:`overlap` with every JSON Lines file of a folder; writes and returns ``{file: result}``.

    Raises:
        FileNotFoundError: the folder holds no such file.
    """
    found = sorted(folder.glob("*.jsonl"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no .jsonl file: give the folder of the training data with --data")
    texts = sealed_texts.read()
    results = {}
    for path in found:
        strings = (v for row in readers.read_jsonl(path, ()) for v in row.values() if isinstance(v, str) and v.strip())
        results[path.name] = overlap(texts, strings)
    with gates.replacing(out) as file:
        file.write(json.dumps(results, indent=1) + "\n")
    return results
