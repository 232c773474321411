"""Judged words and documents: what the embedders say about pairs that people have judged.

Encoding 1 341 words and 50 documents with every embedder takes a laptop some minutes; the lesson would spend its
time waiting. So the cosines of the word pairs and the document embeddings lie in ``data/arrays/judged``, made by

    python -m course_utils.shipped.judged            # what is missing or stale
    python -m course_utils.shipped.judged smol-eol   # one embedder again

:func:`get` takes them from there when they were made from today's texts and adapter, and otherwise encodes.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from course_utils.measures.evaluation import cosine
from course_utils.models import registry
from course_utils.models.prompts import Prompt
from course_utils.models.registry import EmbedderSpec
from course_utils.shipped import arrays, files
from course_utils.texts.datasets import judged_documents, word_pairs

#: Folder of the arrays.
JUDGED = files.ARRAYS / "judged"
#: The judged word pairs: similarity and relatedness.
WORD_SETS = ("simlex999", "wordsim353")
#: Written before a word for embedders whose own prompt puts nothing after the text; not pooled.
CARRIER = "Word: "
#: The embedders whose arrays ship.
NAMES = (*arrays.NAMES, *registry.VARIANTS)


@dataclass(frozen=True, eq=False)
class Judged:
    """What one embedder says about the judged pairs.

    Attributes:
        cosines: for ``"simlex999"`` and ``"wordsim353"`` the cosine of every pair, float32 ``[n]``, each word after
            the carrier.
        bare: the same for words with nothing around them but the embedder's own prompt; equal to ``cosines`` where
            :func:`carried` changes nothing.
        documents: embeddings of the judged documents, float32 ``[50, d]``, rounded to float16.
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


def get(embedder) -> Judged:
    """The shipped numbers of an embedder if they are current, otherwise computed now (a minute or two)."""
    return load(embedder.spec) if is_current(embedder.spec) else compute(embedder)


def load(spec: EmbedderSpec) -> Judged:
    """Read the shipped numbers of the embedder that ``spec`` names, whether current or not.

    Raises:
        FileNotFoundError: there are none.
    """
    stored, _ = files.read(JUDGED / f"{spec.name}.safetensors", "judged")
    cosines = {name: stored[name] for name in WORD_SETS}
    bare = {name: stored.get(f"{name}-bare", cosines[name]) for name in WORD_SETS}
    return Judged(cosines, bare, stored["documents"].astype(np.float32))


def compute(embedder) -> Judged:
    """Encode the words, with carrier and without, and the documents."""
    from course_utils.models.embedder import Embedder

    spec = embedder.spec
    in_carrier = Embedder(replace(spec, prompt=carried(spec.prompt)), embedder.backbone)
    cosines = word_cosines(in_carrier)
    bare = cosines if carried(spec.prompt) == spec.prompt else word_cosines(embedder)
    documents = embedder.encode(judged_documents()[0], progress=False)
    return Judged(cosines, bare, files.half(spec.name, documents).astype(np.float32))


def word_cosines(embedder, rows: Sequence[int] | None = None) -> dict[str, np.ndarray]:
    """The cosine of every judged pair of words, float32 ``[n]`` for each set; with ``rows`` only of those pairs."""
    chosen = {}
    for name in WORD_SETS:
        pairs = word_pairs(name)
        rows_here = range(len(pairs)) if rows is None else rows
        chosen[name] = [(pairs.left[i], pairs.right[i]) for i in rows_here]
    vocabulary = list(dict.fromkeys(word for pairs in chosen.values() for pair in pairs for word in pair))
    embeddings = embedder.encode(vocabulary, progress=False)
    place = {word: i for i, word in enumerate(vocabulary)}
    return {
        name: cosine(*(embeddings[[place[pair[side]] for pair in pairs]] for side in (0, 1))).astype(np.float32)
        for name, pairs in chosen.items()
    }


def source(spec: EmbedderSpec) -> dict[str, str]:
    """What the numbers depend on, as checksums: texts, carrier, prompt, backbone, adapters."""
    texts = [*words(), *judged_documents()[0], repr(carried(spec.prompt))]
    return {"embedder": spec.name, "texts": files.digest("\n".join(texts).encode()), **files.weights(spec)}


def is_current(spec: EmbedderSpec) -> bool:
    """Whether numbers ship for this embedder and were made from today's texts, backbone and adapters."""
    if spec.backbone not in registry.STORED:
        return False
    made_from = files.made_from(JUDGED / f"{spec.name}.safetensors")
    return made_from is not None and made_from == source(spec)


def make(name: str, backbone=None) -> None:
    """Compute the numbers of one embedder and write them, atomically."""
    from course_utils.models.embedder import load as load_embedder

    embedder = load_embedder(name, backbone=backbone)
    found = compute(embedder)
    tensors = {**found.cosines, "documents": found.documents.astype(np.float16)}
    if carried(embedder.spec.prompt) != embedder.spec.prompt:
        tensors |= {f"{key}-bare": values for key, values in found.bare.items()}
    files.write(JUDGED / f"{name}.safetensors", tensors, source(embedder.spec))


def main(names: Sequence[str]) -> None:
    """Make the numbers of the named embedders, or all that are missing or stale."""
    stale = [n for n in registry.available(NAMES) if not is_current(registry.get(n))]
    files.make_each(names or stale, make, JUDGED)


if __name__ == "__main__":
    main(sys.argv[1:])
