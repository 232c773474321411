"""The audit of an embedder: what it measures, what it writes, and that the cards that ship are true."""

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from course_utils.measures.alignment import content_tokens, hits, surface_tokens
from course_utils.models import registry
from course_utils.models.embedder import load
from course_utils.shipped import audit
from course_utils.shipped.near import Meaning, content_words
from course_utils.texts.datasets import wikipedia_sentences

TEXTS = [f"{text} {word}" for text in tiny.SENTENCES[:5] for word in ("stage", "river flood", "owner 1987")]
SETTINGS = ["content Hit@10", "LAR", "GAR", "own of ten", "near of ten", "semantic Hit@10"]


class Drawn:
    """Stands for MiniLM: every word has a random direction of its own, the same every time."""

    def encode(self, words, progress=None):
        seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) for word in words]
        return np.stack([np.random.default_rng(seed).normal(size=16) for seed in seeds]).astype(np.float32)


@pytest.fixture(scope="module")
def meaning():
    made = Meaning(Drawn())
    made.threshold = 0.99  # only the word itself
    return made


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return load(Path(tiny.save(tmp_path_factory.mktemp("m") / "tiny")))


@pytest.fixture(scope="module")
def card(embedder, meaning):
    return audit.audit(embedder, load(embedder.spec.name, pooling="last_token"), TEXTS, meaning)


def test_a_card_holds_every_measure_three_times_beside_chance_and_can_be_written(card, tmp_path):
    assert [s["removed"] for s in card["settings"]] == [0, 0.5, 1]
    for setting in card["settings"]:
        for key in SETTINGS:
            value, chance, difference = setting[key]["value"], setting[key]["chance"], setting[key]["difference"]
            assert value["low"] <= value["value"] <= value["high"], key
            assert 0 <= chance <= 1 and difference["value"] == pytest.approx(value["value"] - chance, abs=1e-4), key
    audit.write(tmp_path / "card.json", card)
    assert json.loads((tmp_path / "card.json").read_text("utf-8")) == card
    assert len(card["hit per text"]) == card["texts"] == len(TEXTS)
    assert card["name"] == "tiny" and "/" not in json.dumps(card["made_from"])  # no path of one machine


def test_hits_are_those_of_the_plain_measure(card, embedder):
    from course_utils.measures.alignment import special_ids, top_tokens, variant_classes

    surface = content_tokens(embedder.tokenizer, surface_tokens(embedder.tokenizer, TEXTS))
    size = len(embedder.unembedding)
    ids, _ = top_tokens(embedder.encode(TEXTS), embedder.unembedding, 10, special_ids(embedder.tokenizer, size))
    own = hits(ids, surface, 10, variant_classes(embedder.tokenizer, size))
    assert card["hit per text"] == "".join("01"[int(hit)] for hit in own)
    assert card["settings"][0]["content Hit@10"]["value"]["value"] == pytest.approx(own.mean(), abs=1e-5)


def test_with_a_threshold_of_the_word_itself_near_is_no_more_than_own(card):
    for setting in card["settings"]:
        assert setting["near of ten"]["value"]["value"] <= setting["own of ten"]["value"]["value"] + 1e-5


def test_half_and_all_of_a_component_that_the_text_had_no_say_in_are_taken_away():
    rng = np.random.default_rng(0)
    h = 9 * np.eye(6)[0] + rng.normal(size=(40, 6))
    half, everything = audit.removed(h, 0.5), audit.removed(h, 1.0)
    assert np.allclose(half[:, 0].mean(), h[:, 0].mean() / 2, atol=0.3) and abs(everything[:, 0].mean()) < 0.3
    changed = h.copy()
    changed[0] = 100 * np.eye(6)[3]  # an outlier turns the direction of the other half only
    there = audit.removed(changed, 1.0)
    assert np.allclose(there[2::2], everything[2::2]) and not np.allclose(there[1::2], everything[1::2])
    assert np.allclose(audit.removed(h, 0.0), h)


def test_a_component_that_is_there_is_found_with_its_share():
    rng = np.random.default_rng(1)
    h = 3 * np.eye(20)[0] + rng.normal(size=(200, 20))
    first = audit._first(h)
    assert first["of the squared norm"]["value"] == pytest.approx(10 / 29, abs=0.03)
    assert first["of the centred variance"]["value"] == pytest.approx(1 / 20, abs=0.03)  # not the largest of 20


def test_the_origin_must_have_the_same_width_and_without_one_nothing_is_said(embedder, meaning, card):
    assert set(card["v_1"]) == {"origin", "v", "share of the mean movement", "share per text"}
    alone = audit.audit(embedder, None, TEXTS, meaning)
    assert alone["v_1"] is None and "no origin is known" in audit.text_card(alone)

    class Narrow:
        spec, backbone = embedder.spec, embedder.backbone

        def pooled(self, texts, role=None):
            return np.ones((len(texts), 5), dtype=np.float32)

    with pytest.raises(ValueError, match="not what the embedder was made from"):
        audit.audit(embedder, Narrow(), TEXTS, meaning)


def test_the_command_of_a_card_names_what_was_asked_for(embedder, meaning, tmp_path, monkeypatch, card):
    assert card["command"] == "several-tokens audit tiny --origin tiny --texts FILE"
    assert audit.audit(embedder, None, TEXTS, meaning)["command"] == "several-tokens audit tiny --texts FILE"
    monkeypatch.setattr(audit, "Meaning", lambda: meaning)
    (tmp_path / "my texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    made = audit.run(embedder.spec.name, texts=tmp_path / "my texts.txt", role="query", report=lambda line: None)
    assert made["command"] == "several-tokens audit tiny --texts 'my texts.txt' --role query"

    def said(origin, *rest, precision="float32"):
        like = SimpleNamespace(spec=registry.get("smol-eol"), backbone=SimpleNamespace(precision=precision))
        return audit._command(like, origin, *rest)

    assert said(registry.get("smol-eol").origin, None, None) == "several-tokens audit smol-eol"
    assert said("smollm2", None, None).endswith("smol-eol --origin smollm2")
    assert said(None, None, None, tmp_path / "w").endswith("smol-eol --backbone w")
    assert said(None, None, None, precision="4bit").endswith("smol-eol --dtype 4bit")


def test_a_model_in_another_precision_is_asked_afresh(meaning, monkeypatch):
    """Embeddings that ship are those of float32: a card of fewer bits must not show them."""
    monkeypatch.setattr(audit.arrays, "load", lambda *a: pytest.fail("read what ships"))
    asked = []
    like = SimpleNamespace(
        spec=registry.get("smol-eol"), backbone=SimpleNamespace(precision="int8"), tokenizer=None,
        pooled=lambda texts, role=None: asked.append(texts) or np.ones((len(texts), 4), dtype=np.float32),
    )  # fmt: skip
    audit.states(like, audit.wikipedia_sentences(12))
    assert len(asked) == 1


def test_a_role_is_written_around_the_texts_and_said(embedder, meaning):
    from course_utils.models.prompts import BRACKETS

    marked = load(embedder.spec.name, prompt=BRACKETS)
    plain, query = (audit.audit(marked, None, TEXTS, meaning, role=role) for role in (None, "query"))
    assert "--role query" in query["command"] and "marked as query" in query["state"]
    assert plain["first component"] != query["first component"]


def test_too_few_texts_are_refused_and_texts_without_content_left_out(embedder, meaning):
    with pytest.raises(ValueError, match="ten texts with content words"):
        audit.audit(embedder, None, TEXTS[:4], meaning)
    with pytest.raises(TypeError):
        audit.audit(embedder, None, "A man", meaning)
    assert audit.audit(embedder, None, [*TEXTS, "of the"], meaning)["texts"] == len(TEXTS)


def test_the_text_says_what_the_card_holds(card):
    text = audit.text_card(card)
    for key in SETTINGS:
        assert key in text
    assert card["examples"][0]["text"] in text and "chance" in text and "null" in text


def test_content_words_are_words_that_say_something():
    assert content_words("The old violin, the VIOLIN of 1987 x") == ["old", "violin", "1987"]


def test_a_token_that_is_no_word_is_near_nothing(embedder, meaning):
    ranked = np.zeros((2, 3), dtype=int)  # the begin token
    assert not meaning.near(embedder.tokenizer, ["old bridge", "river"], ranked).any()


def test_the_command_reads_a_file_and_writes_a_card(embedder, meaning, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "Meaning", lambda: meaning)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    said = []
    made = audit.run(embedder.spec.name, texts=tmp_path / "texts.txt", out=tmp_path / "card.json", report=said.append)
    assert made["texts"] == len(TEXTS) and json.loads((tmp_path / "card.json").read_text("utf-8")) == made
    assert [example["text"] for example in made["examples"]] == TEXTS[:10]  # the lines themselves, not their places
    assert "written to" in said[-1]


# The cards that ship ------------------------------------------------------------------------------------------------

SHIPPED = ("minilm", *registry.POCKET, "smollm2", "smollm2-last", "smollm2-mean", "gemma3-last")


def test_the_cards_of_everything_that_runs_here_ship_and_no_other():
    assert set(audit.have()) == set(SHIPPED)
    assert all(row["quoted"] and row["conditions"] for row in audit.quoted())
    with pytest.raises(FileNotFoundError, match="no card of 'nobody'"):
        audit.card("nobody")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_was_made_from_todays_texts_and_weights(name):
    assert audit.is_current(name), f"run: several-tokens audit {name} --out data/audits/{name}.json"
    assert audit.card(name)["name"] == name


def test_the_worked_example_says_what_the_card_of_minilm_says():
    card = audit.card("minilm")
    page = (audit.AUDITS.parents[1] / "docs" / "projects" / "audit.md").read_text("utf-8")
    form, example = page.partition("## A worked example")[::2]
    rows = [line.split("|")[1:3] for line in example.splitlines() if line.startswith("| ") and "|---|" not in line]
    told, part = {}, ""
    for head, says in rows:
        part = head.strip() or part  # a row without a head goes on with the one above
        told[part] = told.get(part, "") + says
    asked = re.findall(r"^\| ([\w ]+) \|", form.partition("## The page")[2].partition("## How")[0], re.MULTILINE)
    assert asked == list(told) and len(asked) == 9

    def beside(measure, with_difference=True):
        text = f"{audit.shown(measure['value'])}, chance {measure['chance']:.2f}"
        return text + f", difference {audit.shown(measure['difference'])}" * with_difference

    plain, half, gone = card["settings"]
    first, other = card["first component"], card["translations"]
    expected = {
        "expected and measured": [
            f"content Hit@10 {beside(plain['content Hit@10'])}",
            f"own words of ten {beside(plain['own of ten'])}",
            f"whole own words included, {beside(plain['near of ten'])}",
            f"LAR {beside(plain['LAR'], False)}; GAR {beside(plain['GAR'], False)}",
        ],
        "your own text": [f"tokens in {beside(other['key word'], False)}",
                          f"translation in {beside(other['translation'], False)}"],
        "first component": [f"{audit.shown(first['of the squared norm'])} of the squared norm",
                            f"{audit.shown(first['of the centred variance'])} of the centred variance",
                            f"half of it {audit.shown(half['content Hit@10']['value'])}",
                            f"all of it {audit.shown(gone['content Hit@10']['value'])}"],
        "verdict": [f"in {plain['content Hit@10']['value']['value']:.2f} of the sentences, "
                    f"chance {plain['content Hit@10']['chance']:.2f}",
                    f"{plain['near of ten']['value']['value']:.2f} are near one, "
                    f"chance {plain['near of ten']['chance']:.2f}"],
    }  # fmt: skip
    for part, sayings in expected.items():
        for said in sayings:
            assert said in told[part], (part, said)
    number = r"\d\.\d\d"
    counted = [found for sayings in expected.values() for said in sayings for found in re.findall(number, said)]
    assert sorted(counted) == sorted(re.findall(number, example))  # no figure but those of the card
    assert card["v_1"] is None and "no origin is known" in told["movement"]
    assert f"of {card['texts']} Wikipedia" in example and f"{other['sentences']} English" in example
    lists = {" ".join(row["tokens"][:5]) for row in card["examples"]}
    assert set(re.findall(r"`([^`]+)`", told["twenty lists"])) <= lists


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "smol-eol"])
def test_a_few_rows_measured_again_are_those_of_the_card(name):
    """The rows are a sample; a card with one hit of another embedder would be found out by the tokens."""
    from course_utils.measures.alignment import readable, special_ids, top_tokens, variant_classes

    card, embedder = audit.card(name), load(name)
    texts = wikipedia_sentences(audit.N_TEXTS)
    assert card["texts"] == len(texts)
    rows = [0, 1, 2, 3, 51, 90, 133, 180]
    chosen, size = [texts[i] for i in rows], len(embedder.unembedding)
    states = embedder.readout(embedder.pooled(chosen))
    ids, _ = top_tokens(states, embedder.unembedding, 10, special_ids(embedder.tokenizer, size))
    again = hits(
        ids,
        content_tokens(embedder.tokenizer, surface_tokens(embedder.tokenizer, chosen)),
        10,
        variant_classes(embedder.tokenizer, size),
    )
    stored = [card["hit per text"][i] == "1" for i in rows]
    assert again.tolist() == stored and 0 < sum(stored)
    for row, example in zip(ids[:4], card["examples"][:4], strict=True):
        assert len(set(readable(embedder.tokenizer, row)) & set(example["tokens"])) >= 9  # a near tie at rank ten
