"""Retrieval: the systems that lesson 04 compares, on any collection and with any embedder.

A :class:`Workbench` holds one collection as one embedder sees it. Its methods return scores
``[n_queries, n_docs]``, and :meth:`Workbench.judge` turns scores into one number per query.

:mod:`course_utils.search.fair` compares the systems, each with a setting chosen on the tuning half;
:mod:`course_utils.search.results` does it by command for any collection and keeps the results.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from course_utils.measures import alignment, evaluation, spectrum
from course_utils.measures.lexical import BM25
from course_utils.search import sparse
from course_utils.search.costs import postings_read
from course_utils.shipped.collections import Embedded
from course_utils.texts.datasets import Retrieval

#: The grid of K and M among which is chosen. Its largest K makes a list twenty-eight times as large as a dense vector.
KS, MS = (128, 256, 512, 1000, 2000, 4000, 8000), (0, 5, 10, 25, 50, 100)
#: The largest K and M for which logits are kept; all smaller ones are cut from these.
LARGEST_K, LARGEST_M = max(KS), max(MS)
#: A setting counts as good enough when its mean is at least this share of the best one's.
GOOD_ENOUGH = 0.97


@dataclass(frozen=True)
class Setting:
    """How aligned tokens are weighted; the options of :mod:`course_utils.search.sparse` by name.

    Attributes:
        k, m: tokens kept per document, aligned tokens added to a query.
        share: part of the first component that is taken away.
        log1p, unit: weights flattened, documents scaled to length 1.
        idf: rare tokens of a query count more: ``"texts"`` counts in how many texts a token stands (in any spelling),
            ``"lists"`` in how many documents' vectors, ``"none"`` counts all tokens alike.
        expansion_weight: the largest weight of an added token; the query's own tokens have 1.
        variants: a query's words are looked up with and without a leading space and in other case, too.
        merge: tokens that differ only in these two ways share a column, for documents and queries.
    """

    k: int = 512
    m: int = 25
    share: float = 1.0
    log1p: bool = True
    unit: bool = True
    idf: str = "texts"
    expansion_weight: float = 0.5
    variants: bool = True
    merge: bool = False


class Workbench:
    """One collection as one embedder sees it.

    Args:
        collection: documents, queries and judgements.
        embedded: their embeddings, in the order of the collection.
        unembedding: ``E_g``, ``[V, d]``.
        tokenizer: the embedder's.
        ignore_identical_ids: judge without the document whose id is the query's, see
            :func:`course_utils.measures.evaluation.rank`.
        groups: per query what it belongs to, for instance its article; by default every query is on its own.
            :meth:`halves` keeps groups together.
        largest: the largest K and M that will be asked for; less than :data:`LARGEST_K` and :data:`LARGEST_M` saves
            memory. A K beyond the tokens that there are keeps all of them.

    Attributes:
        direction: ``u_1`` of the documents' embeddings.
    """

    def __init__(
        self,
        collection: Retrieval,
        embedded: Embedded,
        unembedding,
        tokenizer,
        *,
        ignore_identical_ids: bool = False,
        groups: Sequence[Hashable] | None = None,
        largest: tuple[int, int] | None = None,
    ):
        sizes = (len(collection.corpus), len(collection.queries))
        if (len(embedded.documents), len(embedded.queries)) != sizes:
            raise ValueError(
                f"the collection has {sizes[0]} documents and {sizes[1]} queries, embedded are "
                f"{len(embedded.documents)} and {len(embedded.queries)}"
            )
        if groups is not None and len(groups) != sizes[1]:
            raise ValueError(f"{len(groups)} groups for {sizes[1]} queries; give one for each query")
        self.collection, self.embedded, self.tokenizer = collection, embedded, tokenizer
        self.groups = list(collection.queries) if groups is None else list(groups)
        self.largest = largest
        self.ignore_identical_ids = ignore_identical_ids
        self.unembedding = unembedding.detach().float() if hasattr(unembedding, "detach") else unembedding
        self.query_ids, self.document_ids = list(collection.queries), list(collection.corpus)
        self.query_texts, self.document_texts = list(collection.queries.values()), list(collection.corpus.values())
        self.direction = spectrum.components(embedded.documents).directions[0]
        self.exclude = alignment.special_ids(tokenizer, len(unembedding))
        self._decoded: dict[tuple, tuple[csr_array, csr_array]] = {}

    # --- Vectors ---

    def documents(self, setting: Setting) -> csr_array:
        """The documents' vectors, ``[n_docs, C]``."""
        vectors = _weighted(self._raw(setting, k=setting.k)[0], setting.k, setting.log1p)
        return sparse.unit_rows(vectors) if setting.unit else vectors

    def queries(self, setting: Setting, documents: csr_array, own: bool = True) -> csr_array:
        """The queries' vectors, ``[n_queries, C]``; token weights come from the documents.

        Without their ``own`` tokens only the aligned ones are left, with the same weights.
        """
        expansion = _weighted(self._raw(setting, m=setting.m)[1], setting.m, setting.log1p) if setting.m else None
        return sparse.query_vectors(
            self.query_tokens[setting.variants] if own else [()] * len(self.query_ids),
            len(self.unembedding),
            token_weights=self.token_weights(setting, documents),
            expansion=expansion,
            expansion_weight=setting.expansion_weight,
            classes=self.classes if setting.merge else None,
        )

    def token_weights(self, setting: Setting, documents: csr_array) -> np.ndarray | None:
        """The weight of every column in a query, ``[C]``."""
        if setting.idf == "texts":
            if not setting.merge:
                return self.text_idf
            by_class = np.empty(documents.shape[1], dtype=np.float32)
            by_class[self.classes] = self.text_idf  # equal for all tokens of a class
            return by_class
        if setting.idf not in ("lists", "none"):
            raise ValueError(f"idf must be 'texts', 'lists' or 'none'; got {setting.idf!r}")
        return sparse.idf(documents) if setting.idf == "lists" else None

    def _raw(self, setting: Setting, k: int = 0, m: int = 0) -> tuple[csr_array, csr_array]:
        """Logits of documents and queries at the largest K and M, before any weighting; kept for the next call."""
        key, largest = (setting.share, setting.merge), self.largest or (LARGEST_K, LARGEST_M)
        if k > largest[0] or m > largest[1]:
            raise ValueError(
                f"{f'K = {k}' if k else f'M = {m}'} exceeds the largest of this workbench, K = {largest[0]}, "
                f"M = {largest[1]}"
            )
        if key not in self._decoded:
            sides = zip((self.embedded.documents, self.embedded.queries), largest, strict=True)
            self._decoded[key] = tuple(self._logits(h, setting, k) for h, k in sides)
        return self._decoded[key]

    def _logits(self, embeddings: np.ndarray, setting: Setting, k: int) -> csr_array:
        usable = int(self.classes.max()) + 1 if setting.merge else len(self.unembedding) - len(set(self.exclude))
        return sparse.document_vectors(
            embeddings,
            self.unembedding,
            max(1, min(k, usable)),
            exclude=self.exclude,
            direction=self.direction,
            share=setting.share,
            unit=False,
            classes=self.classes if setting.merge else None,
        )

    def decoded(self, embeddings: np.ndarray, setting: Setting, k: int) -> csr_array:
        """The k aligned tokens of embeddings ``[n, d]`` of your own, weighted as in the setting, not scaled."""
        return _weighted(self._logits(embeddings, setting, k), k, setting.log1p)

    def forget(self) -> None:
        """Give back the memory of the logits that are kept for further settings."""
        self._decoded.clear()

    @cached_property
    def classes(self) -> np.ndarray:
        """Class of every token: those that differ only in case or a leading space share one."""
        return alignment.variant_classes(self.tokenizer, len(self.unembedding))

    @cached_property
    def text_idf(self) -> np.ndarray:
        """In how few of the documents' texts each token stands, ``[V]``."""
        return sparse.text_idf(alignment.surface_tokens(self.tokenizer, self.document_texts), self.classes)

    @cached_property
    def query_tokens(self) -> dict[bool, list[np.ndarray]]:
        """The queries' own tokens, with variants (``True``) and without."""
        return {v: sparse.query_tokens(self.tokenizer, self.query_texts, v) for v in (True, False)}

    # --- Systems ---

    def aligned(self, setting: Setting) -> np.ndarray:
        """Aligned tokens: ``Σ_t q_t d_t``."""
        documents = self.documents(setting)
        return sparse.scores(self.queries(setting, documents), documents)

    def dense(self) -> np.ndarray:
        """Cosine of the same embeddings."""
        return evaluation.cosine_matrix(self.embedded.queries, self.embedded.documents)

    @cached_property
    def bm25(self) -> BM25:
        """The index of the lexical baseline."""
        return BM25(self.document_texts)

    def lexical(self) -> np.ndarray:
        """BM25 with stems; needs no model."""
        return self.bm25.scores(self.query_texts)

    def in_text(self, share: float = 0.0) -> np.ndarray:
        """A document's *own* tokens with weights ``log(1 + logit)``, on both sides, and nothing else.

        After PromptReps (Zhuang et al. 2024, arXiv 2404.18424), which weights the words of the text by the
        logits of one prompt; here the embedder's own embedding is decoded, without that prompt.
        """
        sides = []
        for h, texts in ((self.embedded.queries, self.query_texts), (self.embedded.documents, self.document_texts)):
            only = alignment.surface_tokens(self.tokenizer, texts)
            options = {"exclude": self.exclude, "direction": self.direction, "share": share, "only": only}
            sides.append(sparse.document_vectors(h, self.unembedding, None, log1p=True, unit=False, **options))
        return sparse.scores(*sides)

    # --- Judging ---

    def judge(self, scores: np.ndarray, rows: Sequence[int] | None = None, measure: str = "nDCG@10") -> np.ndarray:
        """One number for each of the queries ``rows`` (default: all), float64."""
        rows = range(len(self.query_ids)) if rows is None else rows
        ids = [self.query_ids[i] for i in rows]
        ignore = {"ignore_identical_ids": self.ignore_identical_ids}
        run = evaluation.rank(scores[list(rows)], ids, self.document_ids, k=100, **ignore)
        per_query = evaluation.retrieval_scores(run, {i: self.collection.qrels[i] for i in ids}, [measure])[measure]
        return np.array([per_query[i] for i in ids if i in per_query])

    def halves(self) -> tuple[list[int], list[int]]:
        """Numbers of the queries on which settings are chosen, and of those on which results are reported.

        Every second group goes to either half, whole, so that no article is on both sides. Queries without a relevant
        document are in neither.
        """
        usable = [i for i, q in enumerate(self.query_ids) if any(r > 0 for r in self.collection.qrels[q].values())]
        number = {group: n for n, group in enumerate(dict.fromkeys(self.groups[i] for i in usable))}
        tune, held_out = ([i for i in usable if number[self.groups[i]] % 2 == half] for half in (0, 1))
        return tune, held_out


def _weighted(raw: csr_array, k: int, log1p: bool) -> csr_array:
    vectors = sparse.keep_largest(raw, k)
    if log1p:
        vectors.data = np.log1p(vectors.data)
    return vectors


# --- Choosing and comparing -----------------------------------------------------------------------


class Grid(NamedTuple):
    """Quality and price of every K and M.

    Attributes:
        scores: nDCG@10, float64 ``[len(ks), len(ms), queries]``.
        read: postings that a query reads, means, ``[len(ks), len(ms)]``.
        held: tokens that a document's list holds, means, ``[len(ks)]``; at most K, since only positive logits count.
    """

    scores: np.ndarray
    read: np.ndarray
    held: np.ndarray


def grid(bench: Workbench, setting: Setting, rows: Sequence[int], ks=KS, ms=MS) -> Grid:
    """Every K and M for the queries ``rows``, the rest as in ``setting``."""
    found = Grid(np.empty((len(ks), len(ms), len(rows))), np.empty((len(ks), len(ms))), np.empty(len(ks)))
    for i, k in enumerate(ks):
        documents = bench.documents(replace(setting, k=k))
        index, found.held[i] = sparse.inverted_index(documents), documents.nnz / documents.shape[0]
        for j, m in enumerate(ms):
            queries = bench.queries(replace(setting, k=k, m=m), documents)
            found.scores[i, j] = bench.judge(sparse.scores(queries, index=index), rows)
            found.read[i, j] = postings_read(documents, csr_array(queries[list(rows)])).mean()
    return found


def cheapest(means: np.ndarray, prices: np.ndarray, good_enough: float = GOOD_ENOUGH) -> tuple[int, int]:
    """Row and column of the lowest price among the fields within ``good_enough`` of the best mean.

    Of equal prices the better mean is taken. One rule for both sides of a comparison.

    Args:
        means, prices: ``[rows, columns]``.

    Raises:
        ValueError: other shapes than each other, or a mean that is not finite.
    """
    means, prices = (np.asarray(a, dtype=np.float64) for a in (means, prices))
    if means.shape != prices.shape or not np.isfinite(means).all():
        raise ValueError(f"need a finite mean and a price for every field; got shapes {means.shape}, {prices.shape}")
    enough = means >= good_enough * means.max()
    return min(zip(*np.nonzero(enough), strict=True), key=lambda at: (prices[at], -means[at]))


def postings_prices(ks=KS, ms=MS) -> np.ndarray:
    """``K · (M + 10)`` for every K and M: the postings that a query reads, up to a factor.

    Lists grow with K, and a query has about ten tokens of its own.
    """
    return np.outer(ks, np.add(ms, 10))


def weightings(setting: Setting = Setting()) -> dict[str, Setting]:
    """Every option of a setting changed on its own, by a name that says what was changed."""
    return {
        "as chosen": setting,
        "first component kept": replace(setting, share=0.0),
        "half of it removed": replace(setting, share=0.5),
        "plain logits as weights": replace(setting, log1p=not setting.log1p),
        "idf of the lists instead of the texts": replace(setting, idf="lists"),
        "no idf": replace(setting, idf="none"),
        "documents not unit length": replace(setting, unit=not setting.unit),
        "no variants of the query": replace(setting, variants=not setting.variants),
        "variants merged on both sides": replace(setting, variants=False, merge=True),
        "expansion weight 1": replace(setting, expansion_weight=1.0),
    }
