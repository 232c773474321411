"""Short texts with three crossing labels: topic, sentiment and intent (``data/instruction_texts.jsonl``).

Every combination of the labels occurs equally often, so no label can be guessed from another. The part
``"lexicon"`` is for choosing words, the part ``"test"`` for measuring; see the data card beside the file.

    python -m course_utils.texts.instruction_texts [FILE]    # prints every fault with its line, exit code 1 if any
"""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

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
    rows: list[tuple[int, InstructionText]] = []
    found: list[tuple[int, str]] = []
    first_line: dict[str, int] = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        row, wrong = _parse(line)
        if row is not None:
            wrong = list(_wrong_with(row))
            bare = " ".join(re.findall(r"\w+", row.text.casefold()))
            if bare in first_line:
                wrong.append(f"the same text as in line {first_line[bare]}; remove one of them: {row.text!r}")
            first_line.setdefault(bare, number)
            rows.append((number, row))
        found += [(number, message) for message in wrong]
    if not rows and not found:
        found.append((1, "the file is empty; expected one JSON object per line"))
    if not found:  # counting makes sense only when every label is sound
        found += _unbalanced(rows)
    return rows, [f"{path.name}, line {number}: {message}" for number, message in sorted(found)]


def _parse(line: str) -> tuple[InstructionText | None, list[str]]:
    if not line.strip():
        return None, ["empty; remove it"]
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return None, [f"not valid JSON ({error.msg}): {line[:80]!r}"]
    if not isinstance(row, dict):
        return None, [f"expected a JSON object like {{...}}; got {line[:80]!r}"]
    wrong = [f"the key {key!r} is missing" for key in _KEYS if row.get(key) is None]
    wrong += [f"unknown key {key!r}; allowed are {', '.join(_KEYS)}" for key in row if key not in _KEYS]
    wrong += [f"{key!r} must be a string; got {row[key]!r}" for key in _KEYS if not isinstance(row.get(key, ""), str)]
    return (None, wrong) if wrong else (InstructionText(**row), [])


def _wrong_with(row: InstructionText) -> Iterator[str]:
    for key, allowed in _KEYS.items():
        if allowed and getattr(row, key) not in allowed:
            yield f"{key} must be one of {', '.join(allowed)}; got {getattr(row, key)!r}"
    n_words = len(row.text.split())
    if not WORDS[0] <= n_words <= WORDS[1]:
        yield f"a text has {WORDS[0]} to {WORDS[1]} words; this one has {n_words}: {row.text!r}"
    for word in re.findall(r"\w+", row.text):
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


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong with a file, or how many texts it holds."""
    path = Path(arguments[0]) if arguments else FILE
    try:
        rows, found = _read(path)
    except FileNotFoundError:
        found = [f"{path} does not exist"]
    except UnicodeDecodeError as error:
        found = [f"{path.name} is not UTF-8 text ({error.reason} at byte {error.start})"]
    if found:
        print(*found, sep="\n")
        return 1
    counts = Counter(row.split for _, row in rows)
    print(f"{path.name}: {len(rows)} texts, no fault;", ", ".join(f"{counts[s]} in the part {s!r}" for s in SPLITS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
