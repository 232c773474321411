"""Words and what lies near them: MiniLM's embeddings of single words, for semantic hits.

The threshold is fixed on Wikipedia sentences that no audit reads by default: at it, a word of another sentence counts
for a sentence in :data:`SHARE` of the cases.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from course_utils import gates
from course_utils.measures.semantic import closeness, semantic_hits, threshold
from course_utils.texts.datasets import wikipedia_sentences

#: How often a word of another text may count: the level of chance for each aligned token.
SHARE = 0.02
#: Sentences that the threshold is fixed on: after the 500 and more that the lessons measure.
CALIBRATION = slice(1000, 1200)


def content_words(text: str) -> list[str]:
    """The distinct content words of a text, in lower case: two characters or more, and no English stop word."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = dict.fromkeys(word.casefold() for word in gates.words(text))
    return [word for word in words if len(word) >= 2 and word not in ENGLISH_STOP_WORDS]


def word_of(tokenizer, token: int) -> str:
    """What a token says, in lower case and without white space around it."""
    return tokenizer.decode([token]).strip().casefold()


class Meaning:
    """Embeddings of words, each computed once, and the threshold at which two words count as near.

    Args:
        embedder: what embeds a word; by default MiniLM.
        share: the level of chance for one token.
    """

    def __init__(self, embedder=None, share: float = SHARE):
        self._embedder, self.share = embedder, share
        self._rows: dict[str, np.ndarray] = {}

    @property
    def embedder(self):
        """MiniLM, loaded when it is first asked."""
        if self._embedder is None:
            from course_utils.models.embedder import load

            self._embedder = load("minilm")
        return self._embedder

    def vectors(self, words: Sequence[str]) -> np.ndarray:
        """Embeddings of words, float32 ``[n, d]``."""
        new = [word for word in dict.fromkeys(words) if word not in self._rows]
        if new:
            self._rows |= dict(zip(new, self.embedder.encode(new, progress=False), strict=True))
        return np.stack([self._rows[word] for word in words])

    def close(self, tokens: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Cosine of each token with the nearest content word of each text, ``[u, n]``."""
        own = [content_words(text) for text in texts]
        words, owners = zip(*((word, i) for i, row in enumerate(own) for word in row), strict=True)
        return closeness(self.vectors(tokens), self.vectors(words), owners, len(texts))

    @cached_property
    def threshold(self) -> float:
        """The cosine from which on a word counts; about three seconds, once."""
        texts = wikipedia_sentences(CALIBRATION.stop)[CALIBRATION]
        words, own = zip(*((word, i) for i, text in enumerate(texts) for word in content_words(text)), strict=True)
        return threshold(self.close(words, texts), own, self.share)

    def near(self, tokenizer, texts: Sequence[str], ranked: np.ndarray) -> np.ndarray:
        """Which aligned tokens of text i are near a content word of text j; bool ``[n, n, k]``.

        A token counts only if it reads as a word, of two characters or more and no stop word. Signs never do, nor do
        pieces that are marked as such (``##rica``). A byte-pair piece of letters looks like a word and is embedded
        like one, so tokenizers of the two kinds are not judged quite alike.
        """
        said = {token: word_of(tokenizer, token) for token in np.unique(ranked).tolist()}
        words = sorted({word for word in said.values() if gates.is_word(word, 2) and content_words(word)})
        if not words:
            return np.zeros((len(texts), len(texts), ranked.shape[1]), dtype=bool)
        row = {word: i for i, word in enumerate(words)}
        places = np.array([[row.get(said[token], -1) for token in tokens] for tokens in ranked.tolist()])
        return semantic_hits(self.close(words, texts), places, self.threshold)
