"""Words that people have judged, as an embedder reads them: after a short phrase, or with nothing around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from course_utils.measures.evaluation import cosine
from course_utils.models.prompts import Prompt
from course_utils.texts.datasets import Pairs, judged_documents, word_pairs

#: The judged word pairs: similarity and relatedness.
WORD_SETS = ("simlex999", "wordsim353")
#: Written before a word for embedders whose own prompt puts nothing after the text; not pooled.
CARRIER = "Word: "


@dataclass(frozen=True, eq=False)
class Judged:
    """What one embedder says about the pairs that people have judged.

    Attributes:
        cosines: for ``"simlex999"`` and ``"wordsim353"`` the cosine of every pair, float32 ``[n]``, each word after
            the carrier.
        bare: the same for words with nothing around them but the embedder's own prompt; equal to ``cosines`` where
            :func:`carried` changes nothing.
        documents: embeddings of the judged documents, float32 ``[50, d]``.
    """

    cosines: dict[str, np.ndarray]
    bare: dict[str, np.ndarray]
    documents: np.ndarray


def carried(prompt: Prompt) -> Prompt:
    """The prompt with the carrier, unpooled, before the word; unchanged where it ends in words of its own.

    A lone word is the first token that a causal model reads, often cut into pieces for want of a leading space, and
    a state at the first position says little about its token. One short phrase in front mends both.
    """
    return prompt if prompt.suffix else replace(prompt, prefix=prompt.prefix + CARRIER, pooled=False)


def words() -> list[str]:
    """The distinct words of both sets, in order of first appearance."""
    pairs = [word_pairs(name) for name in WORD_SETS]
    return list(dict.fromkeys(word for p in pairs for word in p.left + p.right))


def word_cosines(
    embedder, rows: Sequence[int] | None = None, lists: Mapping[str, Pairs] | None = None
) -> dict[str, np.ndarray]:
    """The cosine of every judged pair of words, float32 ``[n]`` for each list; with ``rows`` only of those pairs.

    Args:
        embedder: what reads the words.
        rows: which pairs of each list; all by default.
        lists: other lists than the two that ship.
    """
    chosen = {}
    for name, pairs in ({name: word_pairs(name) for name in WORD_SETS} if lists is None else lists).items():
        rows_here = range(len(pairs)) if rows is None else rows
        chosen[name] = [(pairs.left[i], pairs.right[i]) for i in rows_here]
    vocabulary = list(dict.fromkeys(word for pairs in chosen.values() for pair in pairs for word in pair))
    embeddings = embedder.encode(vocabulary, progress=False)
    place = {word: i for i, word in enumerate(vocabulary)}
    return {
        name: cosine(*(embeddings[[place[pair[side]] for pair in pairs]] for side in (0, 1))).astype(np.float32)
        for name, pairs in chosen.items()
    }


def encode(embedder) -> dict[str, np.ndarray]:
    """Cosines of the words, with carrier and (as ``SET-bare``, where it differs) without, and the documents."""
    from course_utils.models.embedder import Embedder

    spec, documents = embedder.spec, embedder.encode(judged_documents()[0], progress=False)
    prompt = carried(spec.prompt)
    if prompt == spec.prompt:
        return {**word_cosines(embedder), "documents": documents}
    in_carrier = Embedder(replace(spec, prompt=prompt), embedder.backbone)
    bare = {f"{name}-bare": values for name, values in word_cosines(embedder).items()}
    return {**word_cosines(in_carrier), **bare, "documents": documents}


def view(tensors: dict[str, np.ndarray]) -> Judged:
    """What :func:`encode` returns, by name."""
    cosines = {name: tensors[name] for name in WORD_SETS}
    return Judged(cosines, {n: tensors.get(f"{n}-bare", cosines[n]) for n in WORD_SETS}, tensors["documents"])
