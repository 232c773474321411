"""Words alone: BM25 and tf-idf, the baselines that need no model.

The arithmetic is done by the package bm25s (Lù 2024, arXiv 2407.03618), the stems come from the English Snowball
stemmer of PyStemmer (Porter 2001). Stop words are those of bm25s.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from course_utils import gates

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class BM25:
    """An index of documents, scored by BM25.

    ``score(q, d) = Σ_t idf(t) · tf / (tf + k1 (1 − b + b |d| / mean |d|))`` over the stems t of the query, with
    ``idf(t) = log(1 + (n − df + 0.5) / (df + 0.5))`` (Robertson and Zaragoza 2009, "The Probabilistic Relevance
    Framework: BM25 and Beyond", in the form that Lucene uses). A stem that stands twice in a query counts twice.

    Args:
        texts: the documents, in the order in which :meth:`scores` returns them. A document without a word that
            counts (empty, or stop words only) stays in its place and scores 0.
        k1: how soon more occurrences stop to help.
        b: how much a long document is held against its words, 0 to 1.

    Raises:
        ValueError: no documents, none of them with a word, or k1 and b out of range.
        TypeError: no list of texts; see :func:`course_utils.gates.texts`.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75):
        import bm25s

        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"BM25 needs k1 >= 0 and 0 <= b <= 1; got {k1} and {b}")
        words = stems(texts)
        if not any(words):
            raise ValueError(f"none of the {len(words)} documents has a word to index")
        self.n = len(words)
        self.retriever = bm25s.BM25(method="lucene", k1=k1, b=b)
        self.retriever.index(words, show_progress=False)
        self.vocabulary = dict(self.retriever.vocab_dict)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Score of every document for every query, float32 ``[n_queries, n_docs]``; 0 where no stem is shared."""
        asked = stems(queries)
        result = np.zeros((len(asked), self.n), dtype=np.float32)
        for row, words in enumerate(asked):
            known = [word for word in words if word in self.vocabulary]
            if known:
                result[row] = self.retriever.get_scores(known)
        return result


def stems(texts: Sequence[str]) -> list[list[str]]:
    """The words of every text as BM25 sees them: lower case, two or more characters, no stop words, stemmed.

    What a word is, :func:`course_utils.gates.words` says.

    Raises:
        TypeError, ValueError: no list of texts; see :func:`course_utils.gates.texts`.
    """
    import bm25s

    texts = gates.texts(texts, empty=True)
    if not texts:
        return []
    return bm25s.tokenize(
        texts,
        token_pattern=gates.word_pattern(shortest=2),
        stopwords="en",
        stemmer=_stemmer(),
        return_ids=False,
        show_progress=False,
    )


def tfidf(documents: Sequence[str], *sides: Sequence[str]) -> list["csr_matrix"]:
    """Rows of unit length, one sparse matrix ``[n, V]`` for each list of texts; products of rows are cosines.

    A word weighs ``tf · (1 + log((1 + n) / (1 + df)))``, with ``df`` counted in ``documents`` (Salton and Buckley
    1988, "Term-weighting approaches in automatic text retrieval", in the form of scikit-learn). A word has two or more
    characters; no stems, no stop words. A text without a known word is a row of zeros.

    Raises:
        TypeError, ValueError: no list of texts, or no document with a word.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents = gates.texts(documents, "documents", empty=True)
    if not any(gates.is_word(word, 2) for text in documents for word in gates.words(text)):
        raise ValueError(f"none of the {len(documents)} documents has a word of two or more characters")
    words = TfidfVectorizer(token_pattern=gates.word_pattern(shortest=2)).fit(documents)
    none = csr_matrix((0, len(words.vocabulary_)))  # of no text scikit-learn makes an error
    return [words.transform(texts) if texts else none for texts in (gates.texts(side, empty=True) for side in sides)]


@cache
def _stemmer():
    import Stemmer

    return Stemmer.Stemmer("english")
