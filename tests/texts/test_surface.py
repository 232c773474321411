import numpy as np
import pytest

from course_utils.texts import surface

PHRASES = {
    "words": {"positive": ["lovely"], "negative": ["awful"], "neutral": ["green"]},
    "frames": {
        "positive": {"statement": ["I adore {x}.", "{X} is {w}."], "question": ["Is {x} not {w}?"]},
        "negative": {"statement": ["I loathe {x}.", "{X} is {w}."], "question": ["Is {x} so {w}?"]},
        "neutral": {"statement": ["The label of {x} is {w}."], "question": ["Where is {x}?"]},
    },
}


def test_signs_are_counted_and_no_row_is_empty():
    counts = surface.sign_counts(["Why? Oh, why?", "No sign"])
    assert counts[0, surface.SIGNS.index("?")] == 2 and counts[0, surface.SIGNS.index(",")] == 1
    assert counts[1].tolist() == [0] * len(surface.SIGNS) + [1]


def test_question_marks_count_at_the_end_only():
    assert surface.question_marks(["Why? I see.", "Why? ", "So."]).tolist() == [0, 1, 0]


def test_words_are_compared_without_their_case():
    rows = surface.word_counts(["The kiln is hot", "the KILN is hot", "A rook moves"])
    assert np.allclose(rows[0], rows[1]) and rows[0] @ rows[2] == 0


def test_naive_bayes_knows_the_frames_only():
    texts = ["We adore the kiln.", "They loathe the rook.", "Where is the judge?"]
    assert surface.frames_guess(PHRASES, texts, "sentiment").tolist() == ["positive", "negative", "neutral"]
    assert surface.frames_guess(PHRASES, texts, "intent").tolist() == ["statement", "statement", "question"]
    with pytest.raises(ValueError, match="sentiment and an intent"):
        surface.frames_guess(PHRASES, texts, "topic")
