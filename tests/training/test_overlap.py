import json
import tomllib

import pytest

from course_utils.texts import readers, sealed_texts
from course_utils.training import crossing, overlap, recipes
from course_utils.training.overlap import OVERLAP


def strings(value):
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(part)


PHRASES = tomllib.loads(crossing.PHRASES.read_text(encoding="utf-8"))


def test_what_is_shared_is_counted():
    first = "The kiln reaches a thousand degrees after eight hours."
    text = sealed_texts.SealedText(first, "pottery", "neutral", "statement")
    other = sealed_texts.SealedText("The jury rests after a thousand lies.", "justice", "negative", "statement")
    found = overlap.overlap([text, other], ["My kiln is hot.", "My kiln reaches a thousand degrees after eight hours"])
    assert found["runs"] == 1
    assert found["topic"]["pottery"] == [5, 5] and found["topic"]["justice"] == [0, 3]  # "thousand" is of both
    assert found["topic"]["chess"] == [0, 0]


@pytest.mark.parametrize("path", sorted(crossing.PHRASES.parent.glob("*_triplets.jsonl")), ids=lambda p: p.name)
def test_no_training_file_of_the_course_shares_a_run_of_eight_words(path):
    others = [v for row in readers.read_jsonl(path, ()) for v in strings(row)]
    assert overlap.overlap(sealed_texts.read(), others)["runs"] == 0


def test_the_phrases_of_the_training_sentences_give_nothing_away():
    found = overlap.overlap(sealed_texts.read(), list(strings(PHRASES)))
    assert found["runs"] == 0
    for shared, own in [*found["topic"].values(), *found["sentiment"].values()]:
        assert shared <= 0.15 * own
    filled_in = sealed_texts.content_words(strings(PHRASES["words"]))
    assert not filled_in & sealed_texts.content_words(t.text for t in sealed_texts.read())


def test_the_stored_overlap_is_of_these_texts():
    stored = json.loads(OVERLAP.read_text(encoding="utf-8"))
    sizes = {label: len(words) for label, words in overlap.own_words(sealed_texts.read(), "topic").items()}
    assert stored and all(each["runs"] == 0 for each in stored.values())
    for each in stored.values():
        assert {label: n for label, (_, n) in each["topic"].items()} == sizes
    trained_on = {data.file for data in recipes.read(recipes.RECIPES / "smol-grit.toml").data}
    runs = {f"listening_{run}.jsonl" for run in ("without", "shuffled", "practised")}
    assert trained_on | runs <= set(stored)


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data"):
        overlap.write(tmp_path, tmp_path / "out.json")
    (tmp_path / "a.jsonl").write_text('{"text": "Where is the kiln, please?"}\n', encoding="utf-8")
    assert overlap.write(tmp_path, tmp_path / "out.json") == json.loads((tmp_path / "out.json").read_text())
