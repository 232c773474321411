"""Model cards: what they measure, and what they say."""

import json

import numpy as np
import pytest
import tiny
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


class Loaded(WordCounter):
    spec, backbone = registry.get("smol-sgpt-nli"), None


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
    without = {key: value for key, value in scores.items() if key != "yardsticks"}
    assert "Beside yardsticks" not in cards.card("smol-sgpt-nli", record, without)


def test_other_seeds_stand_in_the_card_with_their_range(tmp_path, monkeypatch):
    record, scores = (
        json.loads((registry.ADAPTERS / "smol-sgpt-nli" / f).read_text(encoding="utf-8"))
        for f in ("training.json", "scores.json")
    )
    moved = {**scores["alignment"], "variation": {"v_1": -30.0}}
    monkeypatch.setattr(cards, "_with_origin", lambda name, dtype: (Loaded(), Loaded()))
    loaded = []
    monkeypatch.setattr(cards, "load", lambda name, backbone, adapters: loaded.append(adapters) or Loaded())
    monkeypatch.setattr(cards, "alignment", lambda *_: moved)
    tiny.write_jsonl(
        tmp_path / "sts.jsonl",
        [{"sentence1": "aa", "sentence2": b, "score": i} for i, b in enumerate(("xb", "ab", "aa"))],
    )
    (tmp_path / "two").mkdir()
    again = {**record, "recipe": {**record["recipe"], "seed": 2}, "made_on": "a GPU", "adapter_sha256": "2"}
    (tmp_path / "two" / "training.json").write_text(json.dumps(again))
    found = cards.other_seeds("smol-sgpt-nli", [tmp_path / "two"], tmp_path / "sts.jsonl")
    (row,) = found["seeds"]["rows"]
    assert found["alignment"] == scores["alignment"] and loaded == [(tmp_path / "two",)]
    assert row["seed"] == 2 and row["made on"] == "a GPU" and row["STS dev Spearman"] == pytest.approx(1)
    text = cards.card("smol-sgpt-nli", record, found)
    section = text[text.index("## Other seeds") : text.index("## Limits")]
    assert "| 1 | ships |" in section and "| 2 | a GPU | 1.000 |" in section
    assert f"Range over 2 runs: STS dev Spearman {scores['STS dev Spearman']:.3f} to 1.000;" in section
    assert "v_1 -30.000 to" in section
    again["recipe"]["temperature"] = 0.5
    (tmp_path / "two" / "training.json").write_text(json.dumps(again))
    with pytest.raises(ValueError, match="two was trained by another recipe than smol-sgpt-nli"):
        cards.other_seeds("smol-sgpt-nli", [tmp_path / "two"], tmp_path / "sts.jsonl")
    with pytest.raises(ValueError, match="smol-sgpt-nli is an adapter that is in the table already: name each once"):
        cards.other_seeds("smol-sgpt-nli", [registry.ADAPTERS / "smol-sgpt-nli"], tmp_path / "sts.jsonl")
    for given in ([], ["--sts", str(tmp_path / "sts.jsonl"), "--text-only"]):
        done = CliRunner().invoke(main, ["card", "smol-sgpt-nli", "--other-seed", str(tmp_path / "two"), *given])
        assert done.exit_code == 2 and "--other-seed needs NAME and --sts" in done.output


def test_other_seeds_need_the_score_of_the_adapter_that_ships(tmp_path, monkeypatch):
    files = {"scores.json": {"dtype": "float32"}, "training.json": {"recipe": {}}}
    monkeypatch.setattr(cards, "_record", lambda name, file: files[file])
    tiny.write_jsonl(tmp_path / "sts.jsonl", [{"sentence1": "a", "sentence2": "b", "score": i} for i in range(2)])
    with pytest.raises(ValueError, match="one has no score 'STS dev Spearman': run `several-tokens card one --sts"):
        cards.other_seeds("one", [tmp_path], tmp_path / "sts.jsonl")


def test_measuring_again_keeps_the_other_seeds_of_this_adapter_only(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path)
    monkeypatch.setattr(cards, "card", lambda *_: "card")
    (tmp_path / "one").mkdir()
    seeds, scores = {"adapter_sha256": "a", "rows": [{"seed": 2}]}, tmp_path / "one" / "scores.json"
    for sha, kept in (("a", {"seeds": seeds}), ("b", {})):
        scores.write_text(json.dumps({"a": 1.0, "seeds": seeds}))
        (tmp_path / "one" / "training.json").write_text(json.dumps({"adapter_sha256": sha}))
        cards.write_card("one", {"a": 2.0})
        assert json.loads(scores.read_text()) == {**kept, "a": 2.0}


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
        "yardsticks": {
            "STS dev Spearman": {"tf-idf": 0.75, "BM25": 0.5, "origin, centred": 0.6, "all-MiniLM-L6-v2": 0.875},
            "cranfield nDCG@10 (bfloat16)": dict.fromkeys(cards.yardsticks.NAMES, 0.25),
        },
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
    after = text[text.index(row) + len(row) :].splitlines()[1:4]
    assert after[0] == "| *tf-idf* | 0.750 |  | 0.250 (bfloat16) | | | | | |" and row.count("|") == after[0].count("|")
    assert [line.split("*")[1] for line in after] == ["tf-idf", "BM25", "all-MiniLM-L6-v2"]
