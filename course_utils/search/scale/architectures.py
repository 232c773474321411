"""Architectures: what a language model will need, counted from its published numbers, before any file is fetched.

The numbers stand in ``data/architectures.json``; what follows from them is arithmetic, and the tests compare it with
the models that transformers builds from the same numbers.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

from course_utils import gates
from course_utils.models import registry
from course_utils.search.costs import Encoder

#: The published numbers of the course's backbones and of the paper's.
FILE = Path(__file__).resolve().parents[3] / "data" / "architectures.json"


@dataclass(frozen=True)
class Architecture:
    """The numbers that say how large a language model is.

    Attributes:
        name: of its backbone in the registry.
        family: how a block is built: ``llama``, ``mistral``, ``gemma3``, ``gpt_neo`` or ``opt``.
        layers, width: blocks, and d.
        heads, kv_heads, head_width: attention heads, those of keys and values, and the numbers in each.
        inner: the width inside a block's feed-forward part.
        vocabulary: rows of the unembedding matrix, V.
        tied: whether the input layer is the same matrix.
        positions: rows of a table of positions, 0 where positions are computed.
    """

    name: str
    family: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    tied: bool
    positions: int = 0

    @property
    def block(self) -> int:
        """Weights of the matrices of one block: one multiply-add each for a token."""
        query, other = self.heads * self.head_width, self.kv_heads * self.head_width
        products = 2 if self.family in ("gpt_neo", "opt") else 3  # the newer ones have a gate besides
        return self.width * (2 * query + 2 * other) + products * self.width * self.inner

    @property
    def table(self) -> int:
        """Numbers of the unembedding matrix, ``V · d``."""
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All numbers of the model."""
        w, hidden = self.width, self.inner
        vectors = {
            "llama": 2 * w,
            "mistral": 2 * w,
            "gemma3": 4 * w + 2 * self.head_width,
            "gpt_neo": 4 * w + w + hidden + w,  # two norms with bias; biases of the output, and of both products
            "opt": 4 * w + 4 * w + hidden + w,
        }[self.family]
        last = 2 * w if self.family in ("gpt_neo", "opt") else w
        tables = (1 if self.tied else 2) * self.table + self.positions * w
        return self.layers * (self.block + vectors) + last + tables

    def encoder(self) -> Encoder:
        """Its multiply-adds, as :func:`course_utils.search.costs.encoder_costs` counts them in a model at hand."""
        pairs = 2 * self.layers * self.heads * self.head_width
        return Encoder(self.layers * self.block, pairs, self.table, self.width)

    def flops(self, tokens: float) -> float:
        """Floating-point operations to encode and decode one text: two for each multiply-add.

        ``2 · (n · weights of the blocks + n²/2 · attention + V · d)``, n tokens; a text attends to what precedes.
        """
        count = self.encoder()
        return 2 * (tokens * count.per_token + tokens * (tokens + 1) / 2 * count.per_pair + count.output_layer)


@functools.cache
def known() -> dict[str, Architecture]:
    """All architectures by the name of their backbone."""
    stored = gates.json_value(gates.read_text(FILE), str(FILE))
    found = {name: Architecture(name, **numbers) for name, numbers in stored["models"].items()}
    return found | {name: found[other] for name, other in stored["same"].items()}


def of(name: str) -> Architecture:
    """The architecture of an embedder of the registry, or of a backbone; nothing is loaded or fetched.

    Raises:
        ValueError: no such embedder, or one on a backbone whose numbers are not stored; the message names those that
            are.
    """
    backbone = name if name in known() else registry.get(name).backbone
    if backbone not in known():
        raise ValueError(
            f"the numbers of {backbone!r} are not in {FILE.name}; it has {', '.join(known())}. Add those of its "
            "config.json to estimate it"
        )
    return known()[backbone]
