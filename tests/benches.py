"""A collection of nine texts whose right answers are known, as a workbench with made-up embeddings."""

import numpy as np
from tiny import SENTENCES, save_tokenizer

from course_utils.search.retrieval import Workbench
from course_utils.shipped.collections import Embedded
from course_utils.texts.datasets import Retrieval

V, D = 320, 16


def tiny_tokenizer(folder):
    """The tokenizer of the tiny models."""
    from transformers import AutoTokenizer

    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def tiny_collection() -> Retrieval:
    """Nine documents and four queries; each query has a document that shares a word with it."""
    corpus = {f"d{i}": text for i, text in enumerate(SENTENCES)}
    queries = {"q0": "guitar on stage", "q1": "parrots", "q2": "rain", "q3": "a flood and a bridge"}
    return Retrieval(corpus, queries, {"q0": {"d0": 1}, "q1": {"d1": 1, "d4": 1}, "q2": {"d8": 1}, "q3": {"d6": 1}})


def tiny_bench(collection: Retrieval, tokenizer) -> Workbench:
    """Random embeddings with a large common part; each query lies close to a document that is relevant to it."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=D) * 4
    documents = (rng.normal(size=(len(collection.corpus), D)) + common).astype(np.float32)
    queries = (documents[[0, 1, 8, 6]] + 0.1 * rng.normal(size=(4, D))).astype(np.float32)
    unembedding = rng.normal(size=(V, D)).astype(np.float32)
    return Workbench(collection, Embedded(documents, queries), unembedding, tokenizer)
