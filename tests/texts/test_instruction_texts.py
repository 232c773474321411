"""Texts with crossing labels: the shipped file, and that the validator finds every kind of fault, with its line."""

import json
import re
from collections import Counter
from itertools import product

import pytest
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.texts import datasets
from course_utils.texts import instruction_texts as it
from course_utils.training import recipes


@pytest.fixture(scope="module")
def rows():
    return it.read()


@pytest.fixture
def lines():
    return it.FILE.read_text(encoding="utf-8").splitlines()


def _faults(tmp_path, lines) -> list[str]:
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return it.faults(path)


def _changed(line: str, **changes) -> str:
    return json.dumps(json.loads(line) | changes)


# The shipped file ---------------------------------------------------------------------------------------------------


def test_the_shipped_file_is_sound_and_fully_crossed(rows):
    assert it.faults() == []
    counts = Counter(rows_split[1:] for rows_split in rows)
    for *labels, (split, n) in product(*it.ASPECTS.values(), (("test", 4), ("lexicon", 2))):
        assert counts[*labels, split] == n
    assert len(it.read(split="test")) == 180 and len(it.read(split="lexicon")) == 90


def test_labels_cannot_be_told_from_each_other(rows):
    for split, (a, b) in product(it.SPLITS, (("topic", "sentiment"), ("topic", "intent"), ("sentiment", "intent"))):
        part = [row for row in rows if row.split == split]
        counts = Counter(zip(it.labels(part, a), it.labels(part, b), strict=True))
        assert len(set(counts.values())) == 1, (split, a, b)


def test_texts_are_sentences_and_the_last_sign_does_not_tell_the_intent(rows):
    for row in rows:
        assert re.fullmatch(r"[A-Z].*\w[.?!]", row.text), row
        assert row.text == " ".join(row.text.split())
    ends = Counter((row.intent, row.text[-1]) for row in rows)
    assert all(row.text.endswith("?") for row in rows if row.intent == "question")
    assert ends["request", "?"] >= 25 and ends["request", "."] >= 25


def test_the_two_parts_share_no_text_and_nothing_comes_from_the_wikipedia_sentences(rows):
    words = {s: {" ".join(re.findall(r"\w+", r.text.lower())) for r in rows if r.split == s} for s in it.SPLITS}
    assert not words["test"] & words["lexicon"]
    forbidden = set().union(*(recipes.shingles(text) for text in datasets.wikipedia_sentences()))
    assert not [row for row in rows if recipes.shingles(row.text) & forbidden]


def test_every_part_of_the_file_holds_every_label(rows):
    for start in range(0, len(rows), 45):
        part = rows[start : start + 45]
        assert len({row[1:4] for row in part}) == 45 and len({row.split for row in part}) == 1


def test_the_data_card_tells_origin_licence_limits_and_numbers():
    card = it.FILE.with_suffix(".md").read_text(encoding="utf-8")
    for promised in ("CC BY 4.0", "large language model", "no human", "must not be used for", "270", "180", "90"):
        assert promised in card, promised
    for label in (label for labels in it.ASPECTS.values() for label in labels):
        assert label in card, label


# What the validator finds -------------------------------------------------------------------------------------------


def test_a_duplicate_is_found_also_with_other_signs_and_case(tmp_path, lines):
    first = json.loads(lines[0])["text"]
    lines[9] = _changed(lines[9], text=first.upper()[:-1] + "...")
    (fault,) = _faults(tmp_path, lines)
    assert fault.startswith("texts.jsonl, line 10: the same text as in line 1;")


def test_one_text_too_few_is_found(tmp_path, lines):
    gone = json.loads(lines.pop(3))
    (fault,) = _faults(tmp_path, lines)
    same = [n for n, line in enumerate(lines, 1) if _same_cell(json.loads(line), gone)]
    assert f"line {same[-1]}: unbalanced: {gone['topic']} × {gone['sentiment']} × {gone['intent']} has 3" in fault
    assert f"(lines {', '.join(map(str, same))}), most combinations have 4" in fault


def test_one_text_too_many_is_found_at_its_line(tmp_path, lines):
    lines.append(_changed(lines[0], text="Quite another sentence that nobody has written before."))
    (fault,) = _faults(tmp_path, lines)
    assert f"line {len(lines)}: unbalanced" in fault and "has 5 texts" in fault


def test_a_combination_without_any_text_is_found(tmp_path, lines):
    first = json.loads(lines[0])
    kept = [line for line in lines if not _same_cell(json.loads(line), first)]
    (fault,) = _faults(tmp_path, kept)
    assert f"line {len(kept)}: unbalanced" in fault and "has 0 texts in the part 'test' (none)" in fault


def test_a_missing_part_is_found(tmp_path, lines):
    found = _faults(tmp_path, [line for line in lines if json.loads(line)["split"] == "test"])
    assert len(found) == 45 and all("in the part 'lexicon'" in fault for fault in found)


def _same_cell(a: dict, b: dict) -> bool:
    return all(a[key] == b[key] for key in ("topic", "sentiment", "intent", "split"))


@pytest.mark.parametrize("key", ["topic", "sentiment", "intent", "split"])
def test_an_unknown_label_is_found(tmp_path, lines, key):
    lines[6] = _changed(lines[6], **{key: "weather"})
    (fault,) = _faults(tmp_path, lines)
    assert re.match(rf"texts.jsonl, line 7: {key} must be one of .*; got 'weather'", fault)


@pytest.mark.parametrize("key", ["text", "topic", "sentiment", "intent", "split"])
def test_a_missing_field_is_found(tmp_path, lines, key):
    row = json.loads(lines[6])
    del row[key]
    lines[6] = json.dumps(row)
    assert _faults(tmp_path, lines) == [f"texts.jsonl, line 7: the key {key!r} is missing"]
    lines[6] = json.dumps(row | {key: None})
    assert f"texts.jsonl, line 7: the key {key!r} is missing" in _faults(tmp_path, lines)


@pytest.mark.parametrize(
    ("text", "word", "label"),
    [
        ("There is far too much food on the table tonight.", "food", "food"),
        ("May I ask a Question about the opening hours here?", "Question", "question"),
        ("Such a breakfast is tasty and healthy at the same time.", "healthy", "health"),
    ],
)
def test_a_label_in_the_text_is_found(tmp_path, lines, text, word, label):
    lines[1] = _changed(lines[1], text=text)
    (fault,) = _faults(tmp_path, lines)
    assert fault.startswith(f"texts.jsonl, line 2: the word {word!r} gives the label {label!r} away")


@pytest.mark.parametrize("text", ["Too short a sentence here.", "word " * 17, "   "])
def test_a_text_of_the_wrong_length_is_found(tmp_path, lines, text):
    lines[1] = _changed(lines[1], text=text)
    (fault,) = _faults(tmp_path, lines)
    assert fault.startswith("texts.jsonl, line 2: a text has 6 to 16 words; this one has ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the line is empty; remove it"),
        ("   ", "the line is empty; remove it"),
        ('{"text": "no end', "the line is not valid JSON"),
        ('["a", "list"]', "the line must hold a JSON object"),
    ],
)
def test_a_malformed_or_empty_line_is_found(tmp_path, lines, line, said):
    lines[4] = line
    (fault,) = _faults(tmp_path, lines)
    assert fault.startswith(f"texts.jsonl, line 5: {said}")


def test_strange_keys_and_values_of_another_type_are_found(tmp_path, lines):
    lines[0] = _changed(lines[0], note="?")
    lines[1] = _changed(lines[1], text=7)
    first, second = _faults(tmp_path, lines)
    assert first.startswith("texts.jsonl, line 1: unknown key 'note'")
    assert second == "texts.jsonl, line 2: 'text' must be a string; got 7"


def test_all_faults_are_told_at_once_in_the_order_of_the_lines(tmp_path, lines):
    lines[30], lines[2], lines[11] = "", _changed(lines[2], topic="x"), _changed(lines[11], intent="y")
    assert [int(re.search(r"line (\d+)", f)[1]) for f in _faults(tmp_path, lines)] == [3, 12, 31]


def test_an_empty_file_is_a_fault(tmp_path):
    (tmp_path / "texts.jsonl").write_text("", encoding="utf-8")
    assert it.faults(tmp_path / "texts.jsonl") == [
        "texts.jsonl, line 1: the file is empty; expected one JSON object per line"
    ]


# Reading and the command line ---------------------------------------------------------------------------------------


def test_read_refuses_a_faulty_file_and_a_strange_split(tmp_path, lines):
    lines[4] = ""
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 5: the line is empty"):
        it.read(tmp_path / "texts.jsonl")
    with pytest.raises(ValueError, match="must be one of lexicon, test, or None for all; got 'train'"):
        it.read(split="train")
    with pytest.raises(ValueError, match="aspect must be one of topic, sentiment, intent; got 'mood'"):
        it.labels(it.read(), "mood")
    with pytest.raises(FileNotFoundError):
        it.read(tmp_path / "nothing.jsonl")


def test_the_command_line_tells_faults_and_fails(tmp_path, lines):
    def run(*files):
        return CliRunner().invoke(main, ["data", "check-instructions", *map(str, files)])

    good = run()
    assert good.exit_code == 0 and "270 texts, no fault; 90 in the part 'lexicon'" in good.stdout
    lines[4] = "{"
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    bad = run(tmp_path / "texts.jsonl")
    assert bad.exit_code == 1 and bad.stdout.startswith("texts.jsonl, line 5: the line is not valid JSON")
    (tmp_path / "latin.jsonl").write_bytes(b"caf\xe9\n")
    latin = run(tmp_path / "latin.jsonl")
    assert latin.exit_code == 1 and "latin.jsonl, line 1 is not UTF-8" in latin.output
    missing = run(tmp_path / "nothing.jsonl")
    assert missing.exit_code == 1 and "nothing.jsonl does not exist" in missing.stderr and not missing.stdout
