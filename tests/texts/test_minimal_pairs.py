"""The course's own minimal pairs, the checks on them, and the training triples that must stay apart from them."""

import json
import re
from collections import Counter

import pytest
from click.testing import CliRunner
from repo import ROOT

from course_utils.__main__ import main
from course_utils.texts import datasets, minimal_pairs
from course_utils.texts.minimal_pairs import RELATIONS, Labels
from course_utils.training import recipes
from course_utils.training.recipes import Data, Recipe, Stage, shingles

FILE = ROOT / "data" / "minimal_pairs.jsonl"
TRIPLES = ROOT / "data" / "negation_triplets.jsonl"
KEYS = ("anchor", "positive", "negative")
RUN = 4  # words that evaluation and training text may not share in a row


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def shared_runs(texts: list[str], others: list[str], n: int) -> list[str]:
    """Texts of which a run of ``n`` words, or all where they are shorter, occurs in one of the others.

    ``shingles`` makes one run of a short text, which no longer text can equal; so a short text is
    searched for in the words of the others.
    """
    runs = set().union(*(shingles(other, n) for other in others))
    everything = " | ".join(" " + " ".join(re.findall(r"\w+", other.lower())) + " " for other in others)

    def occurs(text: str) -> bool:
        own = re.findall(r"\w+", text.lower())
        return f" {' '.join(own)} " in everything if len(own) < n else bool(shingles(text, n) & runs)

    return [text for text in texts if occurs(text)]


@pytest.fixture(scope="module")
def pairs():
    return minimal_pairs.read()


@pytest.fixture(scope="module")
def triples():
    return recipes.read_rows(TRIPLES, (*KEYS, "contrast"))


@pytest.fixture(scope="module")
def evaluated(pairs):
    return [text for pair in pairs for text in (pair.sentence1, pair.sentence2)]


# --- The file that ships --------------------------------------------------------------------------


def test_the_shipped_file_passes_and_is_balanced(pairs):
    assert minimal_pairs.validate(FILE) == []
    assert Counter(pair.relation for pair in pairs) == dict.fromkeys(RELATIONS, 30)


def test_sentences_are_clean_and_of_three_to_fourteen_words(pairs):
    for pair in pairs:
        for text in (pair.sentence1, pair.sentence2):
            assert re.fullmatch(r"[A-Z].*\w[.?!]", text), f"{pair.id}: no sentence: {text!r}"
            assert text == " ".join(text.split()), f"{pair.id}: stray white space in {text!r}"
            assert 4 <= len(text.split()) <= 14 or text in (
                "I like apples.",
                "I dislike apples.",
                "The twins look alike.",
            )


def test_the_sentences_of_the_paper_are_there(pairs):
    labels = {(p.sentence1, p.sentence2): (p.relation, p.similarity, p.relatedness) for p in pairs}
    assert labels["I like apples.", "I dislike apples."] == ("antonym", 0, 4)
    assert labels["I like apples.", "I do not like apples."] == ("negation", 0, 4)


def test_no_other_sentence_occurs_twice_and_no_reason_does(pairs, evaluated):
    assert [text for text, count in Counter(map(str.lower, evaluated)).items() if count > 1] == ["i like apples."]
    assert len({pair.reason for pair in pairs}) == len(pairs)


def test_labels_follow_the_guide_relatedness_is_never_below_similarity(pairs):
    assert [pair.id for pair in pairs if pair.relatedness < pair.similarity] == []


def test_relations_differ_in_their_labels_as_the_scale_says(pairs):
    def mean(relation, kind):
        return sum(getattr(p, kind) for p in pairs if p.relation == relation) / 30

    assert mean("paraphrase", "similarity") > 3 > 1 > mean("negation", "similarity")
    assert mean("negation", "relatedness") > 3 > 1 > mean("unrelated", "relatedness")
    spread = {r: {p.similarity for p in pairs if p.relation == r} for r in RELATIONS if r != "unrelated"}
    assert all(len(labels) >= 3 for labels in spread.values()), spread


def test_no_first_word_run_serves_as_a_template(pairs):
    starts = Counter(tuple(words(p.sentence1)[:4]) for p in pairs)
    assert [start for start, count in starts.items() if count > 2] == []


def test_every_part_of_the_file_holds_all_relations(pairs):
    for start in range(0, len(pairs), 27):
        assert {pair.relation for pair in pairs[start : start + 27]} == set(RELATIONS)


def test_nothing_overlaps_with_the_sentences_the_course_evaluates_on(evaluated):
    assert shared_runs(evaluated, datasets.wikipedia_sentences(), 8) == []


def test_the_overlap_check_would_notice_long_and_short_sentences():
    wikipedia = datasets.wikipedia_sentences(1)
    assert shared_runs(["As we know, " + wikipedia[0]], wikipedia, 8)
    short = " ".join(wikipedia[0].split()[2:6])
    assert shared_runs([short], wikipedia, 8) == [short]
    assert not shingles(short) & shingles(wikipedia[0]), "the plain comparison misses it, hence shared_runs"


# --- The validator --------------------------------------------------------------------------------


def good(number: int, **changed) -> dict:
    row = {
        "id": f"x{number}",
        "relation": RELATIONS[(number - 1) % len(RELATIONS)],
        "sentence1": f"The boat has {number} sails.",
        "sentence2": f"There are {number} masts.",
        "similarity": 1,
        "relatedness": 2,
        "reason": f"sails need masts, case {number}",
    }
    return {key: value for key, value in (row | changed).items() if value is not ...}


def written(folder, rows, name="broken.jsonl"):
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def test_a_sound_file_is_accepted_and_read_as_pairs(tmp_path):
    path = written(tmp_path, [good(n) for n in range(1, 10)])
    assert minimal_pairs.validate(path) == []
    assert minimal_pairs.read(path)[2].reason == "sails need masts, case 3"


ROWS = {
    "duplicate id": (good(4, id="x2"), "the id 'x2' is already in line 2"),
    "unknown relation": (good(4, relation="hyponym"), "unknown relation 'hyponym'"),
    "relation no text": (good(4, relation=["negation"]), "unknown relation ['negation']"),
    "similarity too high": (good(4, similarity=5), "'similarity' must be a whole number from 0 to 4, got 5"),
    "relatedness too low": (good(4, relatedness=-1), "'relatedness' must be a whole number from 0 to 4, got -1"),
    "label a fraction": (good(4, similarity=2.0), "got 2.0"),
    "label a text": (good(4, similarity="2"), "got '2'"),
    "label true": (good(4, relatedness=True), "got True"),
    "label missing": (good(4, similarity=...), "'similarity' is missing"),
    "reason missing": (good(4, reason=...), "'reason' is missing"),
    "reason empty": (good(4, reason="  "), "'reason' must be a non-empty text"),
    "sentence empty": (good(4, sentence2=""), "'sentence2' must be a non-empty text"),
    "sentence a number": (good(4, sentence1=7), "'sentence1' must be a non-empty text, got 7"),
    "identical sentences": (good(4, sentence2="the boat  has 4 SAILS."), "both sentences are the same"),
    "unknown key": (good(4, note="?"), "unknown key 'note'"),
    "malformed": ('{"id": "x4",', "the line is not valid JSON"),
    "empty line": ("", "the line is empty"),
    "no object": ("[1, 2]", "must hold a JSON object"),
}


@pytest.mark.parametrize(("row", "said"), ROWS.values(), ids=ROWS)
def test_a_broken_line_is_named_with_its_number(tmp_path, row, said):
    rows = [good(n) for n in range(1, 10)]
    rows[3] = row
    path = written(tmp_path, rows)
    problems = minimal_pairs.validate(path)
    assert any(p.startswith("broken.jsonl, line 4: ") and said in p for p in problems), problems
    with pytest.raises(ValueError, match=re.escape(said)):
        minimal_pairs.read(path)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_duplicate_pair_is_found_in_either_order_and_whatever_the_case(tmp_path, swapped):
    a, b = "the  BOAT has 1 sails.", "there are 1 MASTS."
    rows = [good(n) for n in range(1, 10)]
    rows[6] |= {"sentence1": b, "sentence2": a} if swapped else {"sentence1": a, "sentence2": b}
    (problem,) = minimal_pairs.validate(written(tmp_path, rows))
    assert problem.startswith("broken.jsonl, line 7: the pair ") and problem.endswith("already in line 1")


def test_one_relation_too_often_is_named_with_the_line_that_is_too_many(tmp_path):
    rows = [good(n) for n in range(1, 10)] + [good(10, relation="antonym")]
    (problem,) = minimal_pairs.validate(written(tmp_path, rows))
    assert problem.startswith("broken.jsonl, line 10: relation 'antonym' has 2 pairs, most relations have 1")


def test_one_relation_too_seldom_is_named_with_its_last_line(tmp_path):
    rows = [good(n) for n in range(1, 18)]
    (problem,) = minimal_pairs.validate(written(tmp_path, rows))
    assert problem.startswith("broken.jsonl, line 9: relation 'unrelated' has 1 pairs, most relations have 2")


def test_an_absent_relation_and_an_empty_file_are_refused(tmp_path):
    problems = minimal_pairs.validate(written(tmp_path, [good(n) for n in range(1, 9)]))
    assert len(problems) == 1 and "line 8: relation 'unrelated' has 0 pairs" in problems[0]
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert minimal_pairs.validate(tmp_path / "empty.jsonl") == [
        "empty.jsonl, line 1: the file is empty; expected one JSON object per line"
    ]


def test_a_line_that_is_no_utf8_is_named(tmp_path):
    path = written(tmp_path, [good(n) for n in range(1, 10)])
    path.write_bytes(path.read_bytes() + b'{"id": "caf\xe9"}\n')
    with pytest.raises(ValueError, match="broken.jsonl, line 10 is not UTF-8 text"):
        minimal_pairs.validate(path)


def test_all_problems_are_told_at_once(tmp_path):
    rows = [good(1, similarity=9), good(2, reason=""), *(good(n) for n in range(3, 10))]
    assert len(minimal_pairs.validate(written(tmp_path, rows))) == 2


def test_the_command_prints_every_problem_and_tells_by_its_status(tmp_path):
    def run(*files):
        return CliRunner().invoke(main, ["data", "check-pairs", *map(str, files)])

    sound = run()
    assert sound.exit_code == 0 and "270 pairs, nothing wrong" in sound.stdout
    path = written(tmp_path, [good(1, similarity=9), *(good(n) for n in range(2, 10))])
    bad = run(FILE, path)
    assert bad.exit_code == 1 and "270 pairs" in bad.stdout and "broken.jsonl, line 1: 'similarity'" in bad.stdout
    missing = run(tmp_path / "none.jsonl")
    assert missing.exit_code == 1 and "does not exist" in missing.stderr


# --- Two passes -----------------------------------------------------------------------------------


def labels(similarity, relatedness=(0, 1, 2, 3)):
    return [Labels(f"x{i}", s, r) for i, (s, r) in enumerate(zip(similarity, relatedness, strict=True))]


def test_agreement_of_a_pass_with_itself_is_full_whatever_the_order():
    first = labels([0, 2, 2, 4])
    assert set(minimal_pairs.agreement(first, first[::-1])["similarity"]) == {1.0}


def test_agreement_by_hand():
    # kappa = 1 - observed / expected squared difference; expected: every first with every second label.
    found = minimal_pairs.agreement(labels([0, 1, 2, 4]), labels([0, 2, 2, 2]))["similarity"]
    expected = sum((a - b) ** 2 for a in (0, 1, 2, 4) for b in (0, 2, 2, 2))
    assert found.kappa == pytest.approx(1 - (5 / 4) / (expected / 16))
    assert (found.exact, found.within_one) == (0.5, 0.75)
    # ranks 1 2 3 4 against 1 3 3 3: covariance 3, variances 5 and 3
    assert found.spearman == pytest.approx(3 / (5 * 3) ** 0.5)


def test_opposite_labels_agree_less_than_chance():
    found = minimal_pairs.agreement(labels([0, 1, 3, 4]), labels([4, 3, 1, 0]))["similarity"]
    assert found.kappa == pytest.approx(-1) and found.spearman == pytest.approx(-1) and found.exact == 0


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (labels([0, 1, 2, 3])[:3], "1 ids are in one pass only"),
        (labels([0, 1, 2, 3]) + labels([0, 1, 2, 3])[:1], "second pass labels 'x0' more than once"),
        (labels([2, 2, 2, 2]), "similarity: b has 4 values, all equal"),
    ],
)
def test_passes_that_cannot_be_compared_are_refused(second, said):
    with pytest.raises(ValueError, match=said):
        minimal_pairs.agreement(labels([0, 1, 2, 3]), second)


def test_a_second_pass_is_read_and_checked_line_by_line(tmp_path):
    sound = written(tmp_path, [{"id": "x1", "similarity": 0, "relatedness": 4}], "second.jsonl")
    assert minimal_pairs.read_second(sound) == [Labels("x1", 0, 4)]
    bad = [{"id": "x1", "similarity": 7, "relatedness": 4}, {"id": "x1", "similarity": 0}]
    with pytest.raises(ValueError) as error:
        minimal_pairs.read_second(written(tmp_path, bad, "second.jsonl"))
    for said in (
        "line 1: 'similarity'",
        "line 2: 'relatedness' is missing",
        "line 2: the id 'x1' is already in line 1",
    ):
        assert f"second.jsonl, {said}" in str(error.value)


# --- The training triples -------------------------------------------------------------------------


def test_the_triples_hold_three_kinds_of_contrast_and_clean_sentences(triples):
    assert Counter(row["contrast"] for row in triples) == {"negation": 100, "antonym": 60, "role swap": 40}
    for number, row in enumerate(triples, 1):
        assert tuple(row) == (*KEYS, "contrast"), f"line {number}: keys {list(row)}"
        for text in (row[key] for key in KEYS):
            assert re.fullmatch(r"[A-Z].*\w\.", text), f"line {number}: no sentence: {text!r}"
            assert 3 <= len(text.split()) <= 14, f"line {number}: {len(text.split())} words in {text!r}"
    texts = [row[key].lower() for row in triples for key in KEYS]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


@pytest.mark.parametrize("contrast", ["negation", "antonym", "role swap"])
def test_negatives_share_most_words_with_their_anchor_and_positives_few(triples, contrast):
    def shared(a: str, b: str) -> float:
        a, b = set(words(a)), set(words(b))
        return len(a & b) / len(a | b)

    rows = [row for row in triples if row["contrast"] == contrast]
    assert sum(shared(row["anchor"], row["positive"]) for row in rows) / len(rows) < 0.15
    assert sum(shared(row["anchor"], row["negative"]) for row in rows) / len(rows) > 0.5


def test_no_run_of_four_words_is_in_training_and_in_evaluation(triples, evaluated):
    trained = [row[key] for row in triples for key in KEYS]
    assert shared_runs(trained, evaluated, RUN) == []
    assert shared_runs(evaluated, trained, RUN) == []
    assert shared_runs(trained[:1], [f"It is said: {trained[0]}"], RUN), "the check must notice a copy"


def test_the_training_set_of_lesson_07_holds_no_run_of_six_words_of_the_pairs(evaluated):
    rows = recipes.read_rows(ROOT / "data" / "mini_triplets.jsonl", KEYS)
    assert shared_runs(evaluated, [row[key] for row in rows for key in KEYS], 6) == []


def test_no_antonym_is_trained_that_is_evaluated(triples, pairs):
    def contrast(a: str, b: str) -> frozenset:
        a, b = set(words(a)), set(words(b))
        return frozenset([frozenset(a - b), frozenset(b - a)])

    trained = {contrast(row["anchor"], row["negative"]) for row in triples if row["contrast"] == "antonym"}
    assert [p.id for p in pairs if p.relation == "antonym" and contrast(p.sentence1, p.sentence2) in trained] == []
    forbidden = {"like", "likes", "liked", "dislike", "dislikes", "apple", "apples"}
    assert [row for row in triples if forbidden & set(words(" ".join(row[key] for key in KEYS)))] == []


def test_nothing_of_the_triples_is_in_the_sentences_the_course_evaluates_on(triples):
    assert shared_runs([row[key] for row in triples for key in KEYS], datasets.wikipedia_sentences(), 8) == []


def test_a_recipe_reads_the_triples_and_leaves_nothing_out(evaluated):
    recipe = Recipe("smollm2", [Stage("contrastive", 1, 1e-4, 16)], [Data(TRIPLES.name, "triplets")])
    (examples,), dropped = recipes.load_examples(recipe, TRIPLES.parent, evaluated)
    assert len(examples) == 200 and dropped == {TRIPLES.name: 0}


@pytest.mark.parametrize("file", [FILE, TRIPLES])
def test_the_data_cards_tell_origin_licence_and_limits(file):
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    for promised in ("CC BY 4.0", "written for this course", "must not be used for", "language model"):
        assert promised in card


def test_overlap_is_shared_words_by_all_words_whatever_case_and_marks():
    pair = minimal_pairs.read()[0]._replace(sentence1="Tea, please!", sentence2="More tea please.")
    assert minimal_pairs.words_of("Tea, please!") == {"tea", "please"}
    assert minimal_pairs.word_overlap([pair, pair._replace(sentence2="No.")]).tolist() == [2 / 3, 0]
