"""Crossed training data: what is near under one instruction is the hard negative under the other."""

import itertools
import json
import random
import re
import tomllib

import pytest
import tiny
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.texts import datasets, instruction_texts
from course_utils.training import crossing, recipes
from course_utils.training.recipes import Data, Recipe, Stage

REQUESTS = [
    {"text": f"{opening} {thing} {i}", "domain": domain, "intent": f"{domain} {thing}"}
    for domain, things in {"bank": ("balance", "card"), "travel": ("hotel", "flight")}.items()
    for thing in things
    for opening in ("what is my", "show me the", "i lost the")
    for i in range(3)
]
SCENES = [
    {"anchor": f"Dog {i} runs on grass.", "positive": f"An animal {i} moves.", "negative": f"Cat {i} sleeps."}
    for i in range(20)
]


@pytest.mark.parametrize(
    "text, kind",
    [
        ("what is my balance", "question"),
        ("How much is it", "question"),
        ("please book a table", "request"),
        ("i lost my card", "statement"),
        ("i need you to book a table", None),
        ("banana", None),
    ],
)
def test_kind_of_sentence(text, kind):
    assert crossing.kind_of_sentence(text) == kind


def test_two_sentences_pull_a_text_in_opposite_directions():
    rows = crossing.two_sentences(REQUESTS, SCENES, random.Random(0))
    intents = {row["text"]: row["intent"] for row in REQUESTS}

    def parts(text):
        sentences = [s for s in text.lower().split(".") if s.strip()]
        (intent,) = {intents[s.strip()] for s in sentences if s.strip() in intents}
        return intent, {word for s in sentences if s.strip() not in intents for word in s.split() if word.isdigit()}

    assert len(rows) == 2 * len(SCENES)
    for request, scene in zip(rows[::2], rows[1::2], strict=True):
        assert request["anchor"] == scene["anchor"]
        assert (request["instruction"], scene["instruction"]) == (crossing.REQUEST, crossing.SCENE)
        assert parts(request["positive"])[0] == parts(request["anchor"])[0] != parts(request["negative"])[0]
        assert request["negative"] == scene["positive"]  # near by scene is far by request
        assert parts(scene["positive"])[1] == parts(scene["anchor"])[1]
        assert parts(scene["negative"])[0] == parts(scene["anchor"])[0] and "Cat" in scene["negative"]


def test_topic_and_kind_cross():
    domain = {row["text"]: row["domain"] for row in REQUESTS}
    rows = crossing.topic_and_kind(REQUESTS, random.Random(0), limit=12)
    assert len(rows) == 24
    for topic, kind in zip(rows[::2], rows[1::2], strict=True):
        assert (topic["instruction"], kind["instruction"]) == (crossing.TOPIC, crossing.KIND)
        assert (topic["positive"], topic["negative"]) == (kind["negative"], kind["positive"])
        a, near = topic["anchor"], topic["positive"]
        assert domain[a] == domain[near] and crossing.kind_of_sentence(a) != crossing.kind_of_sentence(near)
        a, near = kind["anchor"], kind["positive"]
        assert domain[a] != domain[near] and crossing.kind_of_sentence(a) == crossing.kind_of_sentence(near)


def test_what_is_put_together_has_the_labels_it_is_said_to_have():
    phrases = {
        "things": {"garden": ["the hedge"], "cars": ["the van"], "books": ["the novel"]},
        "words": {"positive": ["lovely"], "negative": ["awful"], "neutral": ["green"]},
        "frames": {
            sentiment: {kind: [f"{kind} {sentiment} {{x}} {{w}}"] for kind in ("question", "request", "statement")}
            for sentiment in ("positive", "negative", "neutral")
        },
    }
    topic_of = {"hedge": "garden", "van": "cars", "novel": "books"}

    def labels(sentence):
        kind, sentiment, _, thing, _ = sentence.split()
        return {"topic": topic_of[thing], "sentiment": sentiment, "kind": kind}

    rows = crossing.three_aspects(phrases, random.Random(0), limit=30)
    assert len(rows) == 90
    for number, row in enumerate(rows):
        asked = ("topic", "sentiment", "kind")[number % 3]
        text, near, far = (labels(row[side]) for side in ("anchor", "positive", "negative"))
        assert row["instruction"] in crossing.WORDS[asked]
        for aspect in text:
            assert (near[aspect] == text[aspect]) == (aspect == asked) != (far[aspect] == text[aspect])
        assert row["group"].endswith(": " + text[asked]) and row["negative_group"].endswith(": " + far[asked])


@pytest.mark.slow
def test_the_phrases_are_whole_and_none_of_them_is_measured_on():
    phrases = tomllib.loads(crossing.PHRASES.read_text(encoding="utf-8"))
    assert set(phrases["words"]) == set(phrases["frames"]) == set(instruction_texts.ASPECTS["sentiment"])
    frames = [f for kinds in phrases["frames"].values() for several in kinds.values() for f in several]
    things = [t for several in phrases["things"].values() for t in several]
    assert len(things) == len(set(things))
    assert all("{w}" in frame for frame in frames if frames.count(frame) > 1)  # then the word tells the sentiment
    assert all("{x}" in frame or "{X}" in frame for frame in frames)
    assert not set(phrases["things"]) & set(instruction_texts.ASPECTS["topic"])
    for kinds in phrases["frames"].values():
        assert set(kinds) == set(instruction_texts.ASPECTS["intent"])
    measured = set().union(*(recipes.shingles(text.text, 5) for text in instruction_texts.read()))
    for sentiment, kinds in phrases["frames"].items():
        words = phrases["words"][sentiment]
        for frame, thing, word in itertools.product(itertools.chain(*kinds.values()), things, words):
            sentence = frame.format(x=thing, X=thing, w=word)
            assert not recipes.shingles(sentence, 5) & measured, sentence


def test_the_order_of_the_two_sentences_tells_nothing():
    rows = crossing.two_sentences(REQUESTS, SCENES * 10, random.Random(1))
    first = sum("Dog" in row["anchor"].split(".")[0] for row in rows) / len(rows)
    assert 0.4 < first < 0.6


def test_the_command_writes_what_the_recipes_read(tmp_path):
    tiny.write_jsonl(tmp_path / "clinc_aspects.jsonl", REQUESTS)
    tiny.write_jsonl(tmp_path / "nli_triplets.jsonl", SCENES)
    made = CliRunner().invoke(main, ["data", "crossed", "--data", str(tmp_path), "--single", "10", "--made", "5"])
    assert made.exit_code == 0, made.output
    out = made.stdout
    assert "40 rows written" in out and "15 rows written" in out  # ten scenes and ten requests twice, five made thrice
    entries = [Data(f, "triplets", one_instruction=True) for f in ("crossed.jsonl", "aspect_sentences.jsonl")]
    recipe = Recipe("smollm2", [Stage("contrastive", 4, 1e-3, 4)], entries)
    (crossed, made), dropped = recipes.load_examples(recipe, tmp_path, datasets.wikipedia_sentences(50))
    assert set(dropped.values()) == {0} and (len(crossed), len(made)) == (40, 15)
    told = {crossing.REQUEST, crossing.SCENE, crossing.TOPIC, crossing.KIND}
    assert {e.instruction for e in crossed} == told
    assert {e.instruction for e in made} <= {w for words in crossing.WORDS.values() for w in words}
    assert all(e.negative_group != e.group for e in crossed + made if e.group)
    assert not list(tmp_path.glob("*.partial"))


def test_a_malformed_row_is_named(tmp_path):
    tiny.write_jsonl(tmp_path / "clinc_aspects.jsonl", [{"text": "x", "domain": "bank"}])
    (tmp_path / "nli_triplets.jsonl").write_text(json.dumps(SCENES[0]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="clinc_aspects.jsonl, line 1: .*'intent'"):
        crossing.write(tmp_path)
    assert not (tmp_path / "crossed.jsonl").exists()


PHRASES = tomllib.loads(crossing.PHRASES.read_text(encoding="utf-8"))


def test_held_out_sentiment_is_in_no_row_of_the_run_without_it():
    made = crossing.held_out(PHRASES, limit=300)
    feeling = {w for s in ("positive", "negative") for w in PHRASES["words"][s]}
    frames = [f for s in ("positive", "negative") for by_kind in PHRASES["frames"][s].values() for f in by_kind]
    openings = {f.split("{")[0] for f in frames if len(f.split("{")[0]) > 12}
    for name in ("without", "shuffled"):
        texts = [row[side] for row in made[name] for side in ("anchor", "positive", "negative")]
        assert not [t for t in texts if feeling & set(re.findall(r"\w+", t.lower()))]
        assert not [t for t in texts for opening in openings if t.startswith(opening)]
        assert {row["instruction"] for row in made[name]} == {"topic", "intent"}
    assert {row["instruction"] for row in made["practised"]} == {"topic", "sentiment", "intent"}
    assert len({len(rows) for rows in made.values()}) == 1


def test_shuffled_instructions_say_nothing_and_change_nothing_else():
    made = crossing.held_out(PHRASES, limit=600)
    without, shuffled = made["without"], made["shuffled"]
    bare = [[{k: v for k, v in row.items() if k != "instruction"} for row in rows] for rows in (without, shuffled)]
    assert bare[0] == bare[1]
    assert sorted(r["instruction"] for r in without) == sorted(r["instruction"] for r in shuffled)
    asked = [(row["group"].split(":")[0], row["instruction"]) for row in shuffled]
    assert 0.4 < sum(a == b for a, b in asked) / len(asked) < 0.6  # the label that is near, and the one that is named


def test_a_stock_is_drawn_from_again_and_again():
    rows = crossing.held_out(PHRASES, limit=900, each=2)["without"]
    assert len({row[side] for row in rows for side in ("anchor", "positive", "negative")}) <= 2 * 16 * 3
