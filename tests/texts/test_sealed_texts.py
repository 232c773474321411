import json
import math

import pytest

from course_utils.texts import sealed_texts
from course_utils.texts.sealed_texts import ASPECTS


def rows():
    return [json.loads(line) for line in sealed_texts.FILE.read_text(encoding="utf-8").splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_labels_cross_evenly():
    texts = sealed_texts.read()
    assert len(texts) == 90
    for aspect, names in ASPECTS.items():
        found = sealed_texts.labels(texts, aspect)
        assert {found.count(name) for name in names} == {90 // len(names)}
    assert all(6 <= len(text.text.split()) <= 16 for text in texts)


def test_no_text_names_its_label():
    names = tuple(name for of in ASPECTS.values() for name in of)
    assert not [t.text for t in sealed_texts.read() for word in t.text.lower().split() if word.startswith(names)]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda r: r[0].update(topic="cooking"), "line 1: topic must be one of pottery"),
        (lambda r: r[1].update(text=r[0]["text"]), "occur twice"),
        (lambda r: r.pop(), "combinations too rare"),
        (lambda r: r[2].pop("intent"), "intent"),
    ],
)
def test_a_spoiled_file_is_refused(tmp_path, spoil, message):
    spoiled = rows()
    spoil(spoiled)
    with pytest.raises(ValueError, match=message):
        sealed_texts.read(write(tmp_path / "sealed.jsonl", spoiled))


def test_the_second_reader_read_the_same_texts(tmp_path):
    with pytest.raises(ValueError, match="same order"):
        sealed_texts.second_labels(write(tmp_path / "second.jsonl", rows()[::-1]))
    assert sealed_texts.second_labels(write(tmp_path / "same.jsonl", rows())) == sealed_texts.read()


def test_both_readers_agree_far_beyond_chance():
    first, second = sealed_texts.read(), sealed_texts.second_labels()
    for aspect in ASPECTS:
        assert sealed_texts.kappa(sealed_texts.labels(first, aspect), sealed_texts.labels(second, aspect)) > 0.8


def test_kappa_counted_by_hand():
    # 6 of 8 agree; a says x 5 times of 8, b says x 5 times of 8: p_e = 25/64 + 9/64
    a, b = list("xxxxxyyy"), list("xxxxyyyx")
    expected = (6 / 8 - 34 / 64) / (1 - 34 / 64)
    assert math.isclose(sealed_texts.kappa(a, b), expected)
    assert sealed_texts.kappa(a, a) == 1
    assert sealed_texts.kappa(list("xxyy"), list("xyxy")) == 0
    for wrong in ((a, b[1:]), ([], []), (["x"], ["x"])):
        with pytest.raises(ValueError):
            sealed_texts.kappa(*wrong)


def test_content_words_leave_grammar_out():
    assert sealed_texts.content_words(["Who fired the glazes?", "She is glazing it."]) == {"fir", "glaz"}


def test_an_unknown_aspect_is_refused():
    with pytest.raises(ValueError, match="aspect must be one of"):
        sealed_texts.labels([], "tense")
