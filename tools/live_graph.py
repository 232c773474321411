"""A language model and its adapter as one ONNX graph that a browser runs, for `tools/live.py`.

Beside each weight matrix stands the adapter's, ``W x + t·s·B A x`` (Hu et al. 2021, arXiv 2106.09685), with t = 0 in
the first row of the batch and t = 1 in the second, so that one run gives the model without and with training. The
matrices have four bits, with a scale and a lowest value for each 32 values of a row. Looking tokens up, pooling and
decoding are no part of the graph.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: Weights that share a scale, and tokens that a text may have.
BLOCK, LONGEST = 32, 128


class GraphError(ValueError):
    """This model does not become such a graph; the message says why."""


# --- Numbers in few bits --------------------------------------------------------------------------


def four_bits(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix ``[out, in]`` as ``q·scale + low`` with q from 0 to 15, for each 32 values of a row.

    This is the form Q4_1 of GGUF, so a model that was stored in it comes out as it was, without a loss.

    Returns:
        two q in a byte, the first in its lower half, ``[out, in / 32, 16]``; scale and low, float16 ``[out, in / 32]``.

    Raises:
        GraphError: a row that is no whole number of blocks, or values that float16 cannot hold.
    """
    values = blocks(weight)
    low, high = values.min(axis=-1), values.max(axis=-1)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        scale, low = ((high - low) / 15).astype(np.float16), low.astype(np.float16)
    scale[scale == 0] = 1  # all 32 are equal, or nearly
    if not (np.isfinite(low).all() and np.isfinite(scale).all()):
        raise GraphError("a weight is too large for float16: this model cannot be packed into four bits")
    steps = (values - low[..., None].astype(np.float32)) / scale[..., None].astype(np.float32)
    q = np.clip(np.rint(steps), 0, 15).astype(np.uint8)
    return q[..., ::2] | q[..., 1::2] << 4, scale, low


def eight_bits(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table ``[V, d]`` as ``q·scale`` with q from −127 to 127: int8 ``[V, d]``, float32 ``[V, d / 32]`` (Q8_0)."""
    values = blocks(table)
    scale = (np.abs(values).max(axis=-1) / 127).astype(np.float16).astype(np.float32)
    scale[scale == 0] = 1
    return np.rint(values / scale[..., None]).clip(-127, 127).astype(np.int8).reshape(table.shape), scale


def blocks(weight: np.ndarray) -> np.ndarray:
    """A matrix ``[out, in]`` as ``[out, in / 32, 32]``.

    Raises:
        GraphError: a row that is no whole number of blocks.
    """
    if weight.ndim != 2 or weight.shape[1] % BLOCK:
        raise GraphError(f"weights must be [out, in] with in a multiple of {BLOCK}; got {list(weight.shape)}")
    return weight.reshape(len(weight), -1, BLOCK)


def adapter_of(folder: Path) -> Callable[[str], tuple[np.ndarray, np.ndarray, float] | None]:
    """The LoRA weights A, B and the factor s of a weight by its name, None where the adapter has none there."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    stored, factor = load_file(folder / "adapter_model.safetensors"), config["lora_alpha"] / config["r"]

    def found(name: str) -> tuple[np.ndarray, np.ndarray, float] | None:
        parts = [f"base_model.model.{name.removesuffix('.weight')}.lora_{part}.weight" for part in "AB"]
        return (*(stored[part] for part in parts), factor) if parts[0] in stored else None

    return found


# --- The graph ------------------------------------------------------------------------------------


class Graph:
    """An ONNX graph that grows by one node at a time; a value is a name, and an array becomes a constant."""

    def __init__(self):
        self.nodes, self.constants, self._numbers = [], [], itertools.count()

    def op(self, kind: str, *inputs: str | np.ndarray, domain: str = "", **attributes) -> str:
        """Add a node with one output; the output's name."""
        from onnx import helper

        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        output = f"{kind}_{next(self._numbers)}"
        self.nodes.append(helper.make_node(kind, names, [output], domain=domain, **attributes))
        return output

    def _constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"constant_{next(self._numbers)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def linear(self, x: str, weight: np.ndarray, adapter: tuple[np.ndarray, np.ndarray, float] | None) -> str:
        """``W x``, and in the second row of the batch ``+ s·B A x``; A ``[r, in]``, B ``[out, r]``, s a number."""
        q, scale, low = four_bits(weight)
        scale, low = (self.op("Cast", each, to=1) for each in (scale, low))
        zero = self.op("Neg", self.op("Div", low, scale))  # (q − zero)·scale = q·scale + low
        y = self.op("MatMulNBits", x, q, scale, zero, domain="com.microsoft",
                    K=weight.shape[1], N=weight.shape[0], bits=4, block_size=BLOCK)  # fmt: skip
        if adapter is None:
            return y
        A, B = (self.op("Cast", each.T, to=1) for each in adapter[:2])  # adapters are stored in float16
        branch = self.op("MatMul", self.op("MatMul", x, A), B)
        return self.op("Add", y, self.op("Mul", branch, np.array([[[0]], [[adapter[2]]]], np.float32)))

    def norm(self, x: str, weight: np.ndarray, eps: float) -> str:
        """RMSNorm: ``w · x / √(mean x² + ε)``."""
        square = self.op("ReduceMean", self.op("Mul", x, x), np.array([-1]), keepdims=1)
        return self.op("Mul", self.op("Div", x, self.op("Sqrt", self.op("Add", square, np.float32(eps)))), weight)

    def until(self, array: np.ndarray, length: str, *axes: int) -> str:
        """The first ``length`` entries of a constant along some axes."""
        length = self.op("Concat", *[length] * len(axes), axis=0)
        return self.op("Slice", array, np.zeros(len(axes), np.int64), length, np.array(axes))


def blocks_graph(config, weight: Callable[[str], np.ndarray], adapter: Callable[[str], tuple | None]):
    """A Llama without its table of tokens: ``embedded [1, t, d]`` to final hidden states ``[2, t, d]``, as a model.

    Args:
        config: of the language model.
        weight: name of a weight -> its values.
        adapter: name of a weight -> A, B and s, or None.

    Raises:
        GraphError: another architecture, or weights that do not fit into four bits.
    """
    from onnx import TensorProto, helper

    if config.model_type != "llama" or config.attention_bias or config.mlp_bias:
        raise GraphError(f"only Llama without biases is written as a graph here, not {config.model_type!r}")
    g, d = Graph(), config.hidden_size
    groups, each = config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads
    width = d // config.num_attention_heads
    length = g.op("Shape", "embedded", start=1, end=2)
    angle = np.outer(np.arange(LONGEST), config.rope_parameters["rope_theta"] ** -(np.arange(0, width, 2) / width))
    cos, sin = (g.until(np.tile(f(angle), 2).astype(np.float32), length, 0) for f in (np.cos, np.sin))
    future = g.until(np.triu(np.full((LONGEST, LONGEST), -1e9, np.float32), 1), length, 0, 1)

    def heads(x: str, per_group: int) -> str:  # [2, t, …] -> [2, groups, per_group, t, width]
        split = g.op("Reshape", x, np.array([0, 0, groups, per_group, width]))
        return g.op("Transpose", split, perm=[0, 2, 3, 1, 4])

    def rotated(x: str) -> str:  # the two halves of a head turn by the angle of their position
        first, second = (g.op("Slice", x, np.array([a]), np.array([b]), np.array([-1]))
                         for a, b in ((0, width // 2), (width // 2, width)))  # fmt: skip
        turned = g.op("Concat", g.op("Neg", second), first, axis=-1)
        return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))

    x = g.op("Concat", "embedded", "embedded", axis=0)
    for n in range(config.num_hidden_layers):

        def layer(name: str, value: str, n: int = n) -> str:
            name = f"model.layers.{n}.{name}.weight"
            return g.linear(value, weight(name), adapter(name))

        normed = g.norm(x, weight(f"model.layers.{n}.input_layernorm.weight"), config.rms_norm_eps)
        q = rotated(heads(layer("self_attn.q_proj", normed), each))
        k, v = rotated(heads(layer("self_attn.k_proj", normed), 1)), heads(layer("self_attn.v_proj", normed), 1)
        scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 2, 4, 3]))
        scores = g.op("Add", g.op("Mul", scores, np.float32(width**-0.5)), future)
        mixed = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 3, 1, 2, 4])
        x = g.op("Add", x, layer("self_attn.o_proj", g.op("Reshape", mixed, np.array([0, 0, d]))))
        normed = g.norm(x, weight(f"model.layers.{n}.post_attention_layernorm.weight"), config.rms_norm_eps)
        gate = layer("mlp.gate_proj", normed)
        gated = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), layer("mlp.up_proj", normed))
        x = g.op("Add", x, layer("mlp.down_proj", gated))
    final = g.norm(x, weight("model.norm.weight"), config.rms_norm_eps)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, "t", d])
            for name, rows in (("embedded", 1), (final, 2))]  # fmt: skip
    made = helper.make_graph(g.nodes, "blocks", ends[:1], ends[1:], g.constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)
