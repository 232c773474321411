"""The kinds of numbers that ship: a table. A new kind is a few lines here.

:mod:`~course_utils.shipped.arrays` reads and makes them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from course_utils.models import registry
from course_utils.models.prompts import Prompt
from course_utils.models.registry import EmbedderSpec
from course_utils.shipped import collections, instructions, words
from course_utils.shipped.files import digest
from course_utils.texts import instruction_texts, minimal_pairs, parallel
from course_utils.texts.datasets import judged_documents, wikipedia_retrieval, wikipedia_sentences

#: Number of Wikipedia sentences embedded.
N_SENTENCES = 2000
#: The pocket family and the untrained models that it is compared with.
FAMILY = ("smollm2", "smollm2-mean", "smollm2-last", "gemma3-last", *registry.POCKET)
#: Languages of the parallel sentences that have a prompt of their own; that in English is the embedder's.
_FOREIGN = tuple(x for x in parallel.LANGUAGES if x != "en")


@dataclass(frozen=True)
class Kind:
    """One kind of numbers.

    Attributes:
        what: what it holds, for messages and help.
        names: the embedders whose numbers ship.
        texts: spec -> checksums of what the embedder reads.
        encode: embedder, report -> the tensors of a file; report is called with a line about progress.
        view: the tensors of a file -> what a lesson gets.
    """

    what: str
    names: tuple[str, ...]
    texts: Callable[[EmbedderSpec], dict[str, str]]
    encode: Callable[..., dict[str, np.ndarray]]
    view: Callable[[dict[str, np.ndarray]], object] = lambda tensors: tensors


def pair_texts() -> list[str]:
    """The distinct sentences of the minimal pairs."""
    return list(dict.fromkeys(text for pair in minimal_pairs.read() for text in (pair.sentence1, pair.sentence2)))


def _of(*texts: str) -> str:
    return digest("\n".join(texts).encode())


def _instructed(spec: EmbedderSpec) -> dict[str, str]:
    worded = (instructions.worded(spec.name, i) for i in instructions.INSTRUCTIONS)
    return {
        "texts": _of(*(text.text for text in instruction_texts.read())),
        "prompts": _of(*(spec.prompt.wrap("x", i)[0] for i in worded)),
    }


def native(language: str) -> Prompt:
    """The one-word prompt in a language of the parallel sentences."""
    return Prompt(*parallel.ONE_WORD[language])


def _prompted(embedder, prompt: Prompt):
    """The same embedder with another prompt."""
    return type(embedder)(replace(embedder.spec, prompt=prompt), embedder.backbone)


def arithmetic(backbone) -> str:
    """``"float32"`` or ``"bfloat16"``: what a language model computes in."""
    return str(backbone.causal.dtype).removeprefix("torch.")


def _collection(embedder, report: Callable[[str], None]) -> dict[str, np.ndarray]:
    name, backbone = embedder.spec.name, embedder.backbone
    if embedder.spec != registry.get(name):
        raise ValueError(
            f"{name} with other settings than its registry entry: its embeddings of the collection are not kept; "
            "encode the texts with it"
        )
    return collections.encode(name, wikipedia_retrieval(), arithmetic(backbone), report, backbone)._asdict()


KINDS = {
    "sentences": Kind(
        f"embeddings of {N_SENTENCES} Wikipedia sentences, [n, d]",
        FAMILY,
        lambda spec: {"sentences": _of(*wikipedia_sentences(N_SENTENCES))},
        lambda embedder, report: {"embeddings": embedder.encode(wikipedia_sentences(N_SENTENCES))},
        lambda tensors: tensors["embeddings"],
    ),
    "parallel": Kind(
        "embeddings of the parallel sentences: language -> [n, d]",
        ("gemma3-last", "gemma-eol", "gemma-eol-cse", "smol-eol"),
        lambda spec: {"sentences": _of(*(line for x in parallel.LANGUAGES for line in (x, *parallel.sentences(x))))},
        lambda embedder, report: {x: embedder.encode(parallel.sentences(x)) for x in parallel.LANGUAGES},
        lambda tensors: {x: tensors[x] for x in parallel.LANGUAGES},
    ),
    "native": Kind(
        "embeddings of the parallel sentences under a prompt in their own language: language but English -> [n, d]",
        ("gemma-eol",),
        lambda spec: {
            "sentences": _of(*(t for x in _FOREIGN for t in (native(x).wrap(" ")[0], *parallel.sentences(x))))
        },
        lambda embedder, report: {x: _prompted(embedder, native(x)).encode(parallel.sentences(x)) for x in _FOREIGN},
        lambda tensors: {x: tensors[x] for x in _FOREIGN},
    ),
    "instructions": Kind(
        "embeddings of the instruction texts: instruction -> [n, d]",
        tuple(name for name in instructions.NAMES if instructions.spec(name).adapters),
        _instructed,
        lambda embedder, report: instructions.encode(embedder, [text.text for text in instruction_texts.read()]),
        instructions.view,
    ),
    "judged": Kind(
        "cosines of judged word pairs, and embeddings of the judged documents",
        (*FAMILY, *registry.VARIANTS),
        lambda spec: {"texts": _of(*words.words(), *judged_documents()[0], words.carried(spec.prompt).wrap("x")[0])},
        lambda embedder, report: words.encode(embedder),
        words.view,
    ),
    "pairs": Kind(
        "embeddings of the sentences of the minimal pairs: sentence -> [d]",
        registry.VARIANTS,
        lambda spec: {"texts": _of(*pair_texts())},
        lambda embedder, report: {"embeddings": embedder.encode(pair_texts())},
        lambda tensors: dict(zip(pair_texts(), tensors["embeddings"], strict=True)),
    ),
    "retrieval": Kind(
        "embeddings of the Wikipedia collection, documents and queries",
        ("smol-sgpt-qa", "smol-grit"),
        lambda spec: collections.checksums(spec.name, wikipedia_retrieval()),
        _collection,
        lambda tensors: collections.Embedded(tensors["documents"], tensors["queries"]),
    ),
}


def named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in KINDS:
        raise ValueError(f"no kind of numbers called {name!r}; there are: {', '.join(KINDS)}")
    return KINDS[name]
