"""Short texts with three crossing labels: topic, sentiment and intent (``data/instruction_texts.jsonl``).

Every combination of the labels occurs equally often, so no label can be guessed from another. The part
``"lexicon"`` is for choosing words, the part ``"test"`` for measuring; see the data card beside the file.

    several-tokens data check-instructions [FILE]    # prints every fault with its line, exit code 1 if any
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from course_utils import gates
from course_utils.texts import readers

#: The file that comes with the course.
FILE = Path(__file__).resolve().parents[2] / "data" / "instruction_texts.jsonl"
#: The three aspects and their labels.
ASPECTS = {
    "topic": ("food", "sport", "travel", "music", "health"),
    "sentiment": ("positive", "negative", "neutral"),
    "intent": ("question", "request", "statement"),
}
#: What each part of the file is for: choosing words, measuring.
SPLITS = ("lexicon", "test")
#: Words in a text: fewest, most.
WORDS = (6, 16)

_KEYS = {"text": None, **ASPECTS, "split": SPLITS}
_LABELS = tuple(label for labels in ASPECTS.values() for label in labels)


class InstructionText(NamedTuple):
    """One text with its label in each aspect, and the part of the file that it belongs to."""

    text: str
    topic: str
    sentiment: str
    intent: str
    split: str


def read(path: Path | str = FILE, split: str | None = None) -> list[InstructionText]:
    """The texts of a file, or of one part of it, in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown split, or a file with faults; the message lists them with their lines.
    """
    if split not in (None, *SPLITS):
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, or None for all; got {split!r}")
    rows, found = _read(Path(path))
    if found:
        raise ValueError("\n".join(found))
    return [row for _, row in rows if split in (None, row.split)]


def faults(path: Path | str = FILE) -> list[str]:
    """Everything that is wrong with a file, each fault with its line; an empty list for a good file.

    Looked for: empty lines, lines that are no JSON object, missing or strange keys, unknown labels, texts that are
    too short, too long, contain a label or occur twice, and combinations of labels that are rarer or more frequent
    than others.

    Raises:
        FileNotFoundError: no such file.
    """
    return _read(Path(path))[1]


def labels(texts: Sequence[InstructionText], aspect: str) -> list[str]:
    """The label of every text in one aspect.

    Raises:
        ValueError: no such aspect.
    """
    if aspect not in ASPECTS:
        raise ValueError(f"aspect must be one of {', '.join(ASPECTS)}; got {aspect!r}")
    return [getattr(text, aspect) for text in texts]


def _read(path: Path) -> tuple[list[tuple[int, InstructionText]], list[str]]:
    """Sound rows with their line numbers, and the faults of the file."""
    objects, found = readers.rows_and_faults(path)
    rows: list[tuple[int, InstructionText]] = []
    first_line: dict[tuple[str, ...], int] = {}
    for number, values in objects:
        wrong = _wrong_keys(values)
        if not wrong:
            row = InstructionText(**values)
            wrong = list(_wrong_with(row))
            bare = tuple(gates.words(row.text.casefold()))
            if bare in first_line:
                wrong.append(f"the same text as in line {first_line[bare]}; remove one of them: {row.text!r}")
            first_line.setdefault(bare, number)
            rows.append((number, row))
        found += [(number, message) for message in wrong]
    if not found:  # counting makes sense only when every label is sound
        found += _unbalanced(rows)
    return rows, [f"{path.name}, line {number}: {message}" for number, message in sorted(found)]


def _wrong_keys(row: dict) -> list[str]:
    wrong = [f"the key {key!r} is missing" for key in _KEYS if row.get(key) is None]
    wrong += [f"unknown key {key!r}; allowed are {', '.join(_KEYS)}" for key in row if key not in _KEYS]
    return wrong + [f"{k!r} must be a string; got {row[k]!r}" for k in _KEYS if not isinstance(row.get(k) or "", str)]


def _wrong_with(row: InstructionText) -> Iterator[str]:
    for key, allowed in _KEYS.items():
        if allowed and getattr(row, key) not in allowed:
            yield f"{key} must be one of {', '.join(allowed)}; got {getattr(row, key)!r}"
    n_words = len(row.text.split())
    if not WORDS[0] <= n_words <= WORDS[1]:
        yield f"a text has {WORDS[0]} to {WORDS[1]} words; this one has {n_words}: {row.text!r}"
    for word in gates.words(row.text):
        for label in _LABELS:
            if word.casefold().startswith(label):  # "sports" and "healthy" give the label away as well
                yield f"the word {word!r} gives the label {label!r} away; say it differently: {row.text!r}"


def _unbalanced(rows: Sequence[tuple[int, InstructionText]]) -> Iterator[tuple[int, str]]:
    lines = defaultdict(list)
    for number, row in rows:
        lines[row.split, row.topic, row.sentiment, row.intent].append(number)
    for split in SPLITS:
        cells = {labels: lines[split, *labels] for labels in product(*ASPECTS.values())}
        usual = Counter(len(numbers) for numbers in cells.values()).most_common(1)[0][0] or 1
        for names, numbers in cells.items():
            if len(numbers) != usual:
                where = f"lines {', '.join(map(str, numbers))}" if numbers else "none"
                yield (
                    numbers[-1] if numbers else rows[-1][0],
                    f"unbalanced: {' × '.join(names)} has {len(numbers)} texts in the part {split!r} ({where}), "
                    f"most combinations have {usual}",
                )


def summary(path: Path | str = FILE) -> str:
    """What a sound file holds, in words."""
    counts = Counter(text.split for text in read(path=path))
    parts = ", ".join(f"{counts[s]} in the part {s!r}" for s in SPLITS)
    return f"{counts.total()} texts, no fault; {parts}"
