"""Retrieval: the systems that lesson 04 compares, on any collection and with any embedder.

A :class:`Workbench` holds one collection as one embedder sees it. Its methods return scores
``[n_queries, n_docs]``, and :meth:`Workbench.judge` turns scores into one number per query.

    several-tokens search --beir FOLDER --title NAME smol-sgpt-qa smol-grit

encodes a collection in BEIR layout (in the cache, resumable), chooses a setting on one half of its queries, scores all
systems on the other half, and writes the rows into ``data/retrieval_results.json`` with what they were made from.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from course_utils import gates
from course_utils.measures import alignment, evaluation, spectrum
from course_utils.measures.evaluation import Interval
from course_utils.measures.lexical import BM25
from course_utils.models import registry
from course_utils.search import sparse
from course_utils.shipped import collections
from course_utils.shipped.collections import Embedded
from course_utils.texts.datasets import Retrieval
from course_utils.texts.readers import retrieval

#: Where ``several-tokens search`` writes.
RESULTS = Path(__file__).resolve().parents[2] / "data" / "retrieval_results.json"
#: The grid of K and M among which is chosen.
KS, MS = (32, 64, 128, 256, 512, 1000, 2000), (0, 5, 10, 25, 50, 100)
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

    Attributes:
        direction: ``u_1`` of the documents' embeddings.
    """

    def __init__(
        self, collection: Retrieval, embedded: Embedded, unembedding, tokenizer, *, ignore_identical_ids: bool = False
    ):
        sizes = (len(collection.corpus), len(collection.queries))
        if (len(embedded.documents), len(embedded.queries)) != sizes:
            raise ValueError(
                f"the collection has {sizes[0]} documents and {sizes[1]} queries, embedded are "
                f"{len(embedded.documents)} and {len(embedded.queries)}"
            )
        self.collection, self.embedded, self.tokenizer = collection, embedded, tokenizer
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
        vectors = _weighted(self._raw(setting)[0], setting.k, setting.log1p)
        return sparse.unit_rows(vectors) if setting.unit else vectors

    def queries(self, setting: Setting, documents: csr_array) -> csr_array:
        """The queries' vectors, ``[n_queries, C]``; token weights come from the documents."""
        expansion = _weighted(self._raw(setting)[1], setting.m, setting.log1p) if setting.m else None
        return sparse.query_vectors(
            self.query_tokens[setting.variants],
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

    def _raw(self, setting: Setting) -> tuple[csr_array, csr_array]:
        """Logits of documents and queries at the largest K and M, before any weighting; kept for the next call."""
        key = (setting.share, setting.merge)
        if key not in self._decoded:
            options = {
                "exclude": self.exclude,
                "direction": self.direction,
                "share": setting.share,
                "unit": False,
                "classes": self.classes if setting.merge else None,
            }
            sides = ((self.embedded.documents, LARGEST_K), (self.embedded.queries, LARGEST_M))
            self._decoded[key] = tuple(sparse.document_vectors(h, self.unembedding, k, **options) for h, k in sides)
        return self._decoded[key]

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
        """Numbers of the queries on which settings are chosen, and of those on which results are reported."""
        usable = [i for i, q in enumerate(self.query_ids) if any(r > 0 for r in self.collection.qrels[q].values())]
        return usable[::2], usable[1::2]


def _weighted(raw: csr_array, k: int, log1p: bool) -> csr_array:
    vectors = sparse.keep_largest(raw, k)
    if log1p:
        vectors.data = np.log1p(vectors.data)
    return vectors


# --- Choosing and comparing -----------------------------------------------------------------------


def grid(bench: Workbench, setting: Setting, rows: Sequence[int], ks=KS, ms=MS) -> np.ndarray:
    """Mean nDCG@10 over the queries ``rows`` for every K and M, float64 ``[len(ks), len(ms)]``."""
    result = np.empty((len(ks), len(ms)))
    for i, k in enumerate(ks):
        documents = bench.documents(replace(setting, k=k))
        index = sparse.inverted_index(documents)
        for j, m in enumerate(ms):
            queries = bench.queries(replace(setting, k=k, m=m), documents)
            result[i, j] = bench.judge(sparse.scores(queries, index=index), rows).mean()
    return result


def cheapest(means: np.ndarray, ks=KS, ms=MS, good_enough: float = GOOD_ENOUGH) -> tuple[int, int]:
    """The smallest ``K · (M + 10)`` among the pairs within ``good_enough`` of the best mean; returns K and M.

    The product stands for the postings that a query reads: lists grow with K, and a query has about ten
    tokens of its own.
    """
    enough = [(k * (m + 10), k, m) for i, k in enumerate(ks) for j, m in enumerate(ms)
              if means[i, j] >= good_enough * means.max()]  # fmt: skip
    return min(enough)[1:]


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


def systems(bench: Workbench, setting: Setting) -> dict[str, np.ndarray]:
    """Scores of all systems by name, single ones first, then hybrids."""
    dense, tokens, lexical = bench.dense(), bench.aligned(setting), bench.lexical()
    return {
        "dense cosine": dense,
        "aligned tokens": tokens,
        "aligned tokens, M = 0": bench.aligned(replace(setting, m=0)),
        "own tokens only": bench.in_text(setting.share),
        "BM25": lexical,
        "BM25 + aligned tokens, ranks": evaluation.fuse_ranks(lexical, tokens),
        "BM25 + aligned tokens, scores": evaluation.fuse_scores(lexical, tokens),
        "BM25 + dense, ranks": evaluation.fuse_ranks(lexical, dense),
        "BM25 + dense, scores": evaluation.fuse_scores(lexical, dense),
    }


def ratio(part: np.ndarray, whole: np.ndarray) -> Interval:
    """``mean(part) / mean(whole)`` with a bootstrap interval over queries: what share of the quality is kept."""
    return evaluation.bootstrap_rows(part, whole, statistic=lambda a, b: a.mean() / b.mean())


# --- Results on any collection --------------------------------------------------------------------


def report(bench: Workbench, setting: Setting, rows: Sequence[int]) -> dict[str, list[float]]:
    """nDCG@10 of all systems for each of the queries ``rows``, rounded to four digits."""
    return {name: bench.judge(s, rows).round(4).tolist() for name, s in systems(bench, setting).items()}


def measure(collection: Retrieval, name: str, dtype: str, **options: bool) -> dict:
    """Choose a setting on one half of a collection's queries, score all systems on the other half.

    ``options`` are those of :class:`Workbench`.
    """
    from course_utils.models.embedder import Backbone

    embedded = collections.encode(name, collection, dtype)
    backbone = Backbone(registry.get(name).backbone)
    bench = Workbench(collection, embedded, backbone.unembedding, backbone.tokenizer, **options)
    tune, held_out = bench.halves()
    k, m = cheapest(grid(bench, Setting(), tune))
    setting = Setting(k=k, m=m)
    return {
        "embedder": name,
        "documents": len(collection.corpus),
        "queries": len(held_out),
        "setting": asdict(setting),
        "made_from": collections.source(name, collection, dtype),
        "nDCG@10": report(bench, setting, held_out),
        **{name: value for name, value in options.items() if value},
    }


def results(path: Path | None = None) -> list[dict]:
    """The rows that ``several-tokens search`` has written, one per collection and embedder; none without a file."""
    path = path or RESULTS
    return gates.json_value(gates.read_text(path), str(path)) if path.exists() else []


def is_current(row: Mapping) -> bool:
    """Whether a row was made with today's backbone and adapter; its collection need not be at hand."""
    name, made_from = row["embedder"], row["made_from"]
    if not registry.available((name,)):
        return False
    today = collections.source(name, Retrieval({}, {}, {}), made_from["dtype"])
    return {**today, "collection": made_from["collection"]} == made_from


def add_result(row: dict, path: Path | None = None) -> None:
    """Put a row into the file, in the place of an older one for the same collection and embedder."""
    path, key = path or RESULTS, (row["collection"], row["embedder"])
    rows = [r for r in results(path) if (r["collection"], r["embedder"]) != key] + [row]
    with gates.replacing(path) as file:
        file.write(json.dumps(sorted(rows, key=lambda r: (r["collection"], r["embedder"])), indent=1) + "\n")


def score(
    names: Iterable[str],
    folder: str,
    title: str,
    split: str = "test",
    dtype: str = "float32",
    report=print,
    **options: bool,
) -> None:
    """Score embedders on a collection in BEIR layout and write a row for each into :data:`RESULTS`.

    Args:
        names: embedders of the registry.
        folder: with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/``; or a hub id.
        title: the collection's name in the table.
        split: which judgements, for instance ``"test"``.
        dtype: ``"float32"``, or ``"bfloat16"`` for a rough result in a fraction of the time.
        report: called with a line of means after every embedder.
        options: those of :class:`Workbench`.
    """
    collection = retrieval(folder, split)
    for name in names:
        row = measure(collection, name, dtype, **options)
        add_result({"collection": title, **row})
        means = {system: round(float(np.mean(values)), 3) for system, values in row["nDCG@10"].items()}
        report(f"{title}, {name}: {json.dumps(means)}")
