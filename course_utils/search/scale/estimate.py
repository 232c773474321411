"""Estimate: what an embedder of the registry takes on a machine, before anything is downloaded.

    several-tokens scale estimate GritLM

counts the weights from the published numbers of its backbone. Memory is the weights in the precision that is asked
for, and what working with them takes besides; time is floating-point operations over a rate that is an input.
"""

from collections.abc import Callable
from dataclasses import dataclass

from course_utils import gates
from course_utils.models import registry
from course_utils.search.scale import architectures
from course_utils.search.scale.costs import readable_bytes, readable_seconds
from course_utils.search.sparse import CHUNK_BYTES

#: Bytes of one weight. Quantised weights have scales besides, one for every 64 weights or so.
BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0 + 4 / 64, "4bit": 0.5 + 4 / 64}
#: Memory of GPUs in GB (10⁹ bytes) as they are sold.
GPU_GB = (8, 12, 16, 24, 40, 48, 80, 141)
#: What the libraries hold on a GPU before a model comes, in bytes; a round number that we assumed.
LIBRARIES = 1e9
#: Floating-point operations per second, in 10¹²: assumed for one large GPU in bfloat16, about a third of what the data
#: sheet of an 80 GB card of 2020 gives. Put in what you measure.
TFLOPS = 100.0
#: A GPU this much too small is told as one that just does not do: the assumptions decide.
NEAR = 1.05


@dataclass(frozen=True)
class Estimate:
    """What an embedder needs.

    Attributes:
        name, backbone: of the registry.
        parameters: of the backbone.
        weights: bytes of the weights by precision.
        peak: bytes on the GPU at the worst moment, by precision: weights, one batch, a part of the logits, libraries,
            and a second model where the unembedding matrix comes from one.
        second: name of that second model, or "".
        gpu_gb: the smallest of :data:`GPU_GB` that is enough, by precision; None if none is.
        seconds: to encode and decode the texts, at ``tflops``.
    """

    name: str
    backbone: str
    parameters: int
    weights: dict[str, float]
    peak: dict[str, float]
    second: str
    gpu_gb: dict[str, int | None]
    seconds: float


def estimate(
    name: str, texts: int = 200, tokens: float = 40, tflops: float = TFLOPS, batch_tokens: int = 4096
) -> Estimate:
    """What it takes to audit an embedder: to encode some texts with it and with the model it was made from, and decode.

    Args:
        name: of the registry.
        texts, tokens: how many texts, and how long each is with its prompt.
        tflops: the rate in 10¹² floating-point operations per second.
        batch_tokens: tokens in memory at once.

    Raises:
        ValueError: an unknown name, or a backbone whose numbers are not stored.
    """
    gates.whole(texts, "texts")
    gates.whole(batch_tokens, "batch_tokens")
    if not tflops > 0 or not tokens > 0:
        raise ValueError(f"tflops and tokens must be larger than 0; got {tflops} and {tokens}")
    shape, spec = architectures.of(name), registry.get(name)
    second = spec.output_layer if spec.output_layer and spec.output_layer != spec.backbone else ""
    blocks = shape.layers * shape.block
    # Where the blocks are quantised, tables and norms stay in 16 bits.
    weights = {p: size * blocks + max(size, 2.0) * (shape.parameters - blocks) for p, size in BYTES.items()}
    peak = {}
    for precision, size in weights.items():
        number = 4 if precision == "float32" else 2
        # A block holds its input, queries, keys, values and output, and twice the width inside its feed-forward part.
        batch = batch_tokens * number * (6 * shape.width + 3 * shape.inner)
        other = 4.0 * architectures.of(second).parameters if second else 0.0  # loaded in float32, for one matrix of it
        peak[precision] = size + batch + CHUNK_BYTES + LIBRARIES + other
    enough = {p: next((gb for gb in GPU_GB if size <= gb * 1e9), None) for p, size in peak.items()}
    models = 2 if spec.origin else 1
    seconds = models * texts * shape.flops(tokens) / (tflops * 1e12)
    return Estimate(name, spec.backbone, shape.parameters, weights, peak, second, enough, seconds)


def tell(name: str, texts: int, tokens: float, tflops: float, report: Callable[[str], object] = print) -> None:
    """Print an :class:`Estimate`, marked as what it is."""
    found = estimate(name, texts, tokens, tflops)
    report(f"{found.name} on {found.backbone}: {found.parameters:,} parameters (estimated, nothing was fetched)")
    for precision, size in found.weights.items():
        gpu = found.gpu_gb[precision]
        spread = f"more than {GPU_GB[-1]} GB: spread it over several GPUs (--device auto)"
        room = f"a GPU with {gpu} GB is enough" if gpu else spread
        if just := [gb for gb in GPU_GB if gb * 1e9 < found.peak[precision] <= NEAR * gb * 1e9]:
            room += f" ({just[0]} GB just not, within what we assumed)"
        peak = readable_bytes(found.peak[precision])
        report(f"  {precision:9} weights {readable_bytes(size):>8}, about {peak:>8} at the peak: {room}")
    report(f"  several-tokens audit {found.name} --dtype int8 or 4bit quantises; --device auto takes all GPUs together")
    if found.second:
        report(f"  its output layer comes from {found.second}, which is loaded too (in float32) for one matrix")
    report(
        f"  {texts} texts of {tokens:g} tokens, with the model it was made from, decoded: "
        f"{readable_seconds(found.seconds)} at {tflops:g} TFLOP/s, which is an assumption"
    )
