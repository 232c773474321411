"""Model cards: what they measure, and what they say."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.models import registry
from course_utils.shipped.collections import Embedded
from course_utils.texts import datasets
from course_utils.texts.datasets import Retrieval
from course_utils.training import cards

SHIPPED = registry.POCKET + registry.VARIANTS


class WordCounter:
    """An embedder that counts letters, so that equal texts are nearest to each other."""

    def encode(self, texts, progress=None):
        return np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


def test_wikipedia_sample_is_a_small_whole_collection():
    sample, whole = cards.wikipedia_sample(), datasets.wikipedia_retrieval()
    assert 50 < len(sample.queries) < len(whole.queries) / 4
    for query, text in sample.queries.items():
        assert whole.queries[query] == text
        assert sample.qrels[query] == whole.qrels[query] and set(sample.qrels[query]) <= set(sample.corpus)
    articles = {text.split(":")[0] for text in sample.queries.values()}
    left = {text for q, text in whole.queries.items() if q not in sample.queries}
    assert not articles & {text.split(":")[0] for text in left}  # articles are taken whole


def test_retrieval_scores(monkeypatch):
    def encode(name, collection, dtype):
        assert (name, dtype) == ("smol-eol", "bfloat16")
        count = WordCounter().encode
        return Embedded(count(collection.corpus.values()), count(collection.queries.values()))

    monkeypatch.setattr(cards.collections, "encode", encode)
    collection = Retrieval({"d1": "aab", "d2": "xyz"}, {"q1": "baa", "q2": "yz"}, {"q1": {"d1": 1}, "q2": {"d2": 1}})
    assert cards.retrieval("smol-eol", collection, "bfloat16") == pytest.approx(1)
    wrong = Retrieval(collection.corpus, collection.queries, {"q1": {"d2": 1}, "q2": {"d1": 1}})
    assert cards.retrieval("smol-eol", wrong, "bfloat16") < 0.7


def test_sts_is_a_rank_correlation():
    pairs = datasets.Pairs(["aa", "ab", "ab"], ["aa", "abb", "xy"], np.array([5.0, 3.0, 0.0]))
    assert cards.sts(WordCounter(), pairs) == pytest.approx(1)
    assert cards.sts(WordCounter(), datasets.Pairs(pairs.left, pairs.right, -pairs.score)) == pytest.approx(-1)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cards_say_what_the_records_say(name):
    for adapter in registry.get(name).adapters:
        folder = registry.ADAPTERS / adapter
        record, scores = (
            json.loads((folder / f).read_text(encoding="utf-8")) for f in ("training.json", "scores.json")
        )
        assert (folder / "README.md").read_text(encoding="utf-8") == cards.card(adapter, record, scores)
        assert record["recipe"]["embedder"] == name and len(record["losses"]) == record["probe"][-1]["step"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_holds_data_licences_command_and_limits(name):
    for adapter in registry.get(name).adapters:
        text = (registry.ADAPTERS / adapter / "README.md").read_text(encoding="utf-8")
        command = f"several-tokens train {adapter} --data FOLDER"
        for part in ("## Data", "licence", command, "## Limits", "seed", "v_1 ="):
            assert part in text
        assert ("Gemma Terms of Use" in text) == (registry.get(name).backbone == "gemma3")


@pytest.mark.slow
def test_scores_are_measured_with_their_yardsticks_and_the_card_says_so(tmp_path, monkeypatch):
    """Alignment and embeddings stand in for the models; what is put together is the card's."""
    record, scores = (
        json.loads((registry.ADAPTERS / "smol-sgpt-nli" / f).read_text(encoding="utf-8"))
        for f in ("training.json", "scores.json")
    )
    asked = []

    def encode(name, collection, dtype):
        asked.append((name, dtype))
        count = WordCounter().encode
        return Embedded(count(collection.corpus.values()), count(collection.queries.values()))

    class Loaded(WordCounter):
        spec = registry.get("smol-sgpt-nli")

    monkeypatch.setattr(cards, "_with_origin", lambda name, dtype: (Loaded(), WordCounter()))
    monkeypatch.setattr(cards, "alignment", lambda *_: scores["alignment"])
    monkeypatch.setattr(cards, "Teacher", WordCounter)
    monkeypatch.setattr(cards.collections, "encode", encode)
    subjects = ["heron", "badger", "falcon", "otter", "lynx", "weasel"]
    rows = [
        {"sentence1": f"the {a} sleeps", "sentence2": f"{article} {b} rests", "score": float(a == b) + (a < b) / 4}
        for a in subjects
        for b, article in zip(subjects, ["the", "one"] * 3, strict=True)
    ]
    (tmp_path / "sts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    found = cards.measure("smol-sgpt-nli", tmp_path / "sts.jsonl", None, "float32", "bfloat16")
    sts, wikipedia = found["yardsticks"]
    assert sts == "STS dev Spearman" and wikipedia.endswith("nDCG@10 (bfloat16)")
    assert asked == [("smol-sgpt-nli", "bfloat16"), ("smollm2", "bfloat16")]  # what is scored, and its origin
    for measure, values in found["yardsticks"].items():
        assert values["margin"] == pytest.approx(found[measure] - values["tf-idf"])
    assert json.loads(json.dumps(found)) == found
    text = cards.card("smol-sgpt-nli", record, found)
    section = text[text.index("## Beside yardsticks") : text.index("## Limits")]
    assert "| measure | this adapter | tf-idf | BM25 | origin, centred | all-MiniLM-L6-v2 |" in section
    assert section.count("standard error") >= 2 and f"| {sts} | {found[sts]:.3f} |" in section
    assert "Beside yardsticks" not in cards.card("smol-sgpt-nli", record, scores)


def aligned(trained, origin, v=(-8.0, 2.0)):
    keys = ("Hit@10", "Hit@10 by chance", "Hit@10 of content words", "GAR", "distinct tokens")
    sides = {which: dict(zip(keys, side, strict=True)) for which, side in (("trained", trained), ("origin", origin))}
    return {**sides, "variation": {"v_1": v[0], "largest other |v_j|": v[1]}}


def test_a_card_says_what_is_above_the_origin_and_what_is_not():
    origin = (0.95, 0.9, 0.25, 0.125, 200)
    better = cards.against_origin(aligned((0.96, 0.01, 0.96, 0.25, 201), origin))
    assert better == [
        "- Hit@10: above the origin's, 0.960 to 0.950.",
        "- GAR: above the origin's, 0.250 to 0.125.",
        "- distinct tokens: above the origin's, 201 to 200.",
        f"- |v_1|: 4.00 times the next largest |v_j|, which is no verdict. {cards.NO_VERDICT}",
    ]
    worse = cards.against_origin(aligned((0.95, 0.01, 0.9, 0.1, 200), origin, (-5.9, 2.0)))
    assert worse[0].startswith("- Hit@10: **not above** the origin's, 0.950 to 0.950. The origin hits with tokens that")
    assert "0.900 of *other* sentences as well, this embedder's 0.010" in worse[0]
    assert worse[1:3] == [
        "- GAR: **not above** the origin's, 0.100 to 0.125.",
        "- distinct tokens: **not above** the origin's, 200 to 200.",
    ]
    assert worse[3].startswith("- |v_1|: 2.95 times the next largest |v_j|, which is no verdict.")


@pytest.mark.parametrize("trained", [(0.9, 0.85, 0.9, 0.2, 300), (0.9, 0.01, 0.2, 0.2, 300)])
def test_a_card_gives_no_reason_that_the_numbers_do_not(trained):
    (line, *_) = cards.against_origin(aligned(trained, (0.95, 0.9, 0.25, 0.125, 200)))
    assert line == "- Hit@10: **not above** the origin's, 0.900 to 0.950. Why is not known."


def test_the_overview_is_current():
    names = sorted(path.parent.name for path in registry.ADAPTERS.glob("*/scores.json"))
    assert (registry.ADAPTERS / "README.md").read_text(encoding="utf-8") == cards.overview(names)
    assert set(names) == {adapter for name in SHIPPED for adapter in registry.get(name).adapters}


def test_the_overview_quotes_the_records(tmp_path, monkeypatch):
    folder = tmp_path / "one"
    folder.mkdir()
    side = {"Hit@10": 0.5, "GAR": 0.25, "distinct tokens": 12}
    scores = {
        "alignment": {"trained": side, "origin": side, "variation": {"v_1": -8.0, "largest other |v_j|": 2.0}},
        "STS dev Spearman": 0.8125,
        "cranfield nDCG@10 (bfloat16)": 0.3,
    }
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    tried = {"adapter": "one", "training": "ten steps", "score": "STS .81", "kept": "yes"}
    (tmp_path / "tried.jsonl").write_text(json.dumps(tried) + "\n", encoding="utf-8")
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path)
    monkeypatch.setattr(cards, "TRIED", tmp_path / "tried.jsonl")
    done = CliRunner().invoke(main, ["card"])
    assert done.exit_code == 0 and str(tmp_path / "README.md") in done.stdout, done.output
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| one | 0.8"))
    assert row == (
        "| one | 0.812 |  | 0.300 (bfloat16) | 0.50 (origin 0.50) | 0.25 (origin 0.25) | 12 (origin 12) | -8.0 | 4.0 |"
    )
    assert "| one | ten steps | STS .81 | yes |" in text
