"""Heads: which matrix decodes a model's hidden states, and what happens to an embedding behind the pooling.

Three kinds of matrix come in question, by what a folder holds:

* a decoder's output layer, which is often the input table itself (*tied*);
* an encoder's head for masked language modelling (MLM): a small network, its *transform*, and then a matrix with a
  bias (Devlin et al. 2018, arXiv 1810.04805, appendix A.1; Warner et al. 2024, arXiv 2412.13663 for ModernBERT);
* the input table, the matrix of word embeddings, where an encoder was published without its head.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.functional import gelu

from course_utils.models import folders

#: Encoders trained by masked language modelling: from the model with its head to the head's transform.
TRANSFORMS: dict[str, Callable] = {
    "bert": lambda model: model.cls.predictions.transform,
    "distilbert": lambda model: lambda h: model.vocab_layer_norm(model.activation(model.vocab_transform(h))),
    "modernbert": lambda model: model.head,
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert", "mpnet"),
        lambda model: lambda h: model.lm_head.layer_norm(gelu(model.lm_head.dense(h))),
    ),
}
#: Models of an encoder and a decoder, of which the encoder embeds.
HALVES = ("t5", "mt5")
#: The functions that may follow a Dense layer.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "torch.nn.modules.linear.Identity": lambda x: x,
    "torch.nn.modules.activation.Tanh": torch.tanh,
    "torch.nn.modules.activation.ReLU": torch.relu,
    "torch.nn.modules.activation.GELU": gelu,
    "torch.nn.modules.activation.SiLU": torch.nn.functional.silu,
}


# --- Which matrix decodes -------------------------------------------------------------------------


class Head(NamedTuple):
    """What decodes a hidden state ``h``: its logits are ``weight @ readout(h)``.

    Attributes:
        weight: ``[V, d']``.
        transform: from hidden states ``[n, d]`` to ``[n, d]``; None for the identity.
        bias: whether the last of the ``d'`` columns is a bias, which ``readout`` multiplies by 1.
        said: which matrix this is, in words.
    """

    weight: torch.Tensor
    transform: Callable[[torch.Tensor], torch.Tensor] | None
    bias: bool
    said: str

    def readout(self, h: torch.Tensor) -> torch.Tensor:
        """What is multiplied with ``weight``: ``[n, d]`` to ``[n, d']``."""
        h = h if self.transform is None else self.transform(h)
        return torch.cat([h, torch.ones_like(h[:, :1])], dim=1) if self.bias else h


def kind(config) -> str:
    """``"decoder"``, ``"masked"`` (an encoder with or without its head) or ``"half"`` (of an encoder-decoder).

    Raises:
        ValueError: an architecture that is none of these.
    """
    from transformers.models.auto import modeling_auto as known

    named = [str(name) for name in getattr(config, "architectures", None) or ()]
    writes = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in named)
    if config.model_type in TRANSFORMS and not writes:
        return "masked"
    if config.model_type in HALVES:
        return "half"
    masked = config.model_type in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES  # of these some can be made to write
    both = getattr(config, "is_encoder_decoder", False)
    if config.model_type in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not both and (writes or not masked):
        return "decoder"
    raise ValueError(
        f"Unrecognized architecture {config.model_type!r}{f' ({named[0]})' if named else ''}: nothing here knows which "
        f"matrix decodes it. Give a decoder language model, or an encoder of these families: "
        f"{', '.join([*TRANSFORMS, *HALVES])}"
    )


def sees_all(config) -> bool:
    """Whether every token sees every other without being asked to: encoders, and decoders whose configuration says so.

    ``use_bidirectional_attention`` is Gemma 3's word for it (EmbeddingGemma), ``is_causal`` everybody else's.
    """
    if config.model_type in (*TRANSFORMS, *HALVES) and kind(config) != "decoder":
        return True
    return bool(getattr(config, "use_bidirectional_attention", False)) or not getattr(config, "is_causal", True)


def of_encoder(model, source: str, missing: list[str]) -> Head:
    """The head of an encoder, or its input table where weights of the head are ``missing`` from the files.

    Raises:
        ValueError: an input table of another width than the hidden states.
    """
    config = model.config
    if config.model_type in TRANSFORMS and not missing:
        output, transform = model.get_output_embeddings(), TRANSFORMS[config.model_type](model)
        weight = output.weight if output.bias is None else torch.cat([output.weight, output.bias[:, None]], dim=1)
        return Head(weight.detach(), transform, output.bias is not None, "MLM head with its transform")
    weight = model.get_input_embeddings().weight
    if weight.shape[1] != config.hidden_size:
        raise ValueError(
            f"{source} holds no head, and its input table is {list(weight.shape)}: it cannot decode hidden states of "
            f"{config.hidden_size} values. Name the model that it was trained from: load(…, output_layer='owner/origin "
            "or folder')"
        )
    return Head(weight, None, False, "input table (no head in the folder)")


# --- Behind the pooling ---------------------------------------------------------------------------


class Dense(NamedTuple):
    """One layer that an embedder puts behind its pooling: ``x -> activation(W x + b)``, with ``W`` ``[out, in]``."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    activation: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(torch.nn.functional.linear(x, self.weight, self.bias))


def dense(root: Path, names: tuple[str, ...], width: int, device: str) -> list[Dense]:
    """The Dense layers of a sentence-transformers folder, in float32.

    Args:
        root: folder of the transformer, from which ``names`` count.
        names: their folders, in order.
        width: values of the pooled state, which the first one takes.
        device: where they compute.

    Raises:
        FileNotFoundError: a folder, configuration or weight file that is not there.
        ValueError: a damaged file, a pickle, an unknown activation, or a layer of another width than what comes in.
    """
    layers = []
    for name in names:
        settings = folders.check_layer(root / name)
        activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
        if activation not in ACTIVATIONS:
            raise ValueError(f"{root / name}: unknown activation {activation!r}; the course knows "
                             f"{', '.join(key.split('.')[-1] for key in ACTIVATIONS)}")  # fmt: skip
        weights = _dense_weights(root / name, bool(settings.get("bias", True)))
        if weights[0].shape[1] != width:
            raise ValueError(
                f"{root / name} takes {weights[0].shape[1]} values, and {width} come in: copy the whole folder again"
            )
        width = len(weights[0])
        layers.append(Dense(*(w if w is None else w.to(device) for w in weights), ACTIVATIONS[activation]))
    return layers


def _dense_weights(folder: Path, bias: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    from safetensors.torch import load_file

    file = folder / "model.safetensors"
    stored = {key: value.float() for key, value in load_file(file).items()}
    weight, shift = stored.pop("linear.weight", None), stored.pop("linear.bias", None)
    fits = weight is not None and weight.ndim == 2 and (shift is None or shift.shape == weight.shape[:1])
    if stored or not fits or bias != (shift is not None):
        raise ValueError(f"{file} does not hold the weights of one Dense layer, linear.weight [out, in] and "
                         f"{'linear.bias [out]' if bias else 'no bias'}: copy it again")  # fmt: skip
    if not all(torch.isfinite(w).all() for w in (weight, shift) if w is not None):
        raise ValueError(f"{file} holds NaN or infinity: copy it again")
    return weight, shift
