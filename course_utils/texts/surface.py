"""What the surface of short texts gives away: baselines for measures of aspects that need no language model.

A measure of an embedder says little before it is known what counting words, or counting question marks, would reach.
"""

import re
from collections.abc import Sequence

import numpy as np

from course_utils import gates

#: Punctuation that is counted by itself.
SIGNS = "?!.,;:'’"


def word_counts(texts: Sequence[str]) -> np.ndarray:
    """Bag of words: counts weighted by how rare a word is among the texts, float64 ``[n, words]``.

    Raises:
        TypeError, ValueError: as :func:`course_utils.gates.texts`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True).fit_transform(gates.texts(texts)).toarray()


def sign_counts(texts: Sequence[str]) -> np.ndarray:
    """Punctuation alone: how often each of :data:`SIGNS` occurs, and a constant 1, float64 ``[n, signs + 1]``.

    Raises:
        TypeError, ValueError: as :func:`course_utils.gates.texts`.
    """
    return np.array([[*(text.count(sign) for sign in SIGNS), 1] for text in gates.texts(texts)], dtype=np.float64)


def question_marks(texts: Sequence[str]) -> np.ndarray:
    """Whether a text ends in a question mark, int ``[n]``: a partition in two.

    Raises:
        TypeError, ValueError: as :func:`course_utils.gates.texts`.
    """
    return np.array([text.rstrip().endswith("?") for text in gates.texts(texts)]).astype(int)


def frames_guess(phrases: dict, texts: Sequence[str], aspect: str) -> np.ndarray:
    """Labels that naive Bayes gives after seeing only the frames of the training sentences, ``[n]``.

    Words and punctuation marks are counted; the things that a frame is filled with stay out.

    Args:
        phrases: ``frames`` by sentiment and kind, ``words`` by sentiment, see ``data/aspect_phrases.toml``.
        aspect: ``"sentiment"`` or ``"intent"``.

    Raises:
        TypeError, ValueError: as :func:`course_utils.gates.texts`, or another aspect.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    if aspect not in ("sentiment", "intent"):
        raise ValueError(f"frames have a sentiment and an intent; got {aspect!r}")
    words = {sentiment: " ".join(of) for sentiment, of in phrases["words"].items()}
    rows = [
        (re.sub(r"\{\w\}", " ", frame) + words[sentiment] * ("{w}" in frame), sentiment, kind)
        for sentiment, by_kind in phrases["frames"].items()
        for kind, frames in by_kind.items()
        for frame in frames
    ]
    own = [row[1] if aspect == "sentiment" else row[2] for row in rows]
    counter = CountVectorizer(token_pattern=r"\w+|[?!.,']")
    model = MultinomialNB().fit(counter.fit_transform([row[0] for row in rows]), own)
    return model.predict(counter.transform(gates.texts(texts)))
