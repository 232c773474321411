"""The course's own training set: its form, and that it holds nothing of what the course evaluates on."""

import re

import pytest
from repo import ROOT

from course_utils.texts import datasets
from course_utils.training import recipes
from course_utils.training.recipes import Data, Recipe, Stage

FILE = ROOT / "data" / "mini_triplets.jsonl"
KEYS = ("anchor", "positive", "negative")


@pytest.fixture(scope="module")
def rows():
    return recipes.read_rows(FILE, KEYS)


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def test_every_line_is_a_triple_of_sentences_and_nothing_else(rows):
    assert len(rows) == 320
    for number, row in enumerate(rows, 1):
        assert tuple(row) == KEYS, f"line {number}: keys {list(row)}"
        for text in row.values():
            assert re.fullmatch(r"[A-Z].*\w\.", text), f"line {number}: no sentence: {text!r}"
            assert text == " ".join(text.split()), f"line {number}: stray white space in {text!r}"
            assert 8 <= len(text.split()) <= 14, f"line {number}: {len(text.split())} words in {text!r}"


def test_no_sentence_occurs_twice(rows):
    texts = [" ".join(words(text)) for row in rows for text in row.values()]
    repeated = sorted({text for text in texts if texts.count(text) > 1})
    assert not repeated, f"more than once: {repeated[:3]}"


def test_nothing_overlaps_with_the_sentences_the_course_evaluates_on(rows):
    forbidden = set().union(*(recipes.shingles(text) for text in datasets.wikipedia_sentences()))
    shared = [text for row in rows for text in row.values() if recipes.shingles(text) & forbidden]
    assert not shared, f"also in Wikipedia: {shared[:3]}"


def test_the_overlap_check_would_notice_a_wikipedia_sentence():
    sentence = datasets.wikipedia_sentences(1)[0]
    assert recipes.shingles("As we know, " + sentence) & recipes.shingles(sentence)


def test_negatives_are_hard_they_share_more_words_with_the_anchor_than_positives_do(rows):
    def shared(a: str, b: str) -> float:
        a, b = set(words(a)), set(words(b))
        return len(a & b) / len(a | b)

    with_positive = sum(shared(row["anchor"], row["positive"]) for row in rows) / len(rows)
    with_negative = sum(shared(row["anchor"], row["negative"]) for row in rows) / len(rows)
    assert with_negative > 2 * with_positive, (with_positive, with_negative)


def test_every_part_of_the_file_holds_all_subjects(rows):
    # The subjects were written one after the other and mixed; a cut must not separate them.
    subjects = ("kitchen|cook|soup|bread|cake", "rain|snow|wind|storm|weather|ice", "school|teacher|exam|student|pupil")
    for start in range(0, len(rows), 80):
        part = " ".join(row["anchor"].lower() for row in rows[start : start + 80])
        assert all(re.search(subject, part) for subject in subjects), f"lines {start + 1} to {start + 80}"


def test_a_recipe_reads_it_and_leaves_nothing_out():
    recipe = Recipe("smollm2", [Stage("contrastive", 1, 1e-4, 16)], [Data("mini_triplets.jsonl", "triplets")])
    (examples,), dropped = recipes.load_examples(recipe, FILE.parent, datasets.wikipedia_sentences(200))
    assert len(examples) == 320 and dropped == {"mini_triplets.jsonl": 0}


def test_the_data_card_tells_origin_licence_and_limits():
    card = FILE.with_suffix(".md").read_text(encoding="utf-8")
    for promised in ("CC BY 4.0", "written for this course", "must not be used for", "320"):
        assert promised in card
