"""Adapters: LoRA weights that are put on a backbone, and taken off again when they do not fit.

Embedders share a backbone, so an adapter may change nothing that another embedder sees. That leaves LoRA on single
layers, ``W + s·B·A`` (Hu et al. 2021, arXiv 2106.09685), and a whole output layer of the adapter's own, which the
transformer does not use. Every other kind and option is refused by name.
"""

import warnings
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import torch

from course_utils.models import folders, store

#: Options of LoRA that concern one adapter's own layers, its training, or nothing.
_OWN = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "use_rslora",
    "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
    "megatron_core", "loftq_config", "eva_config", "use_dora", "lora_bias", "qalora_group_size",
}  # fmt: skip
#: First values of A and B that leave W as it is; the others (PiSSA, OLoRA, LoftQ …) take their part out of W.
_INITIAL = (True, False, "gaussian", "eva", "orthogonal")
_REMEDY = (
    "Merge it into a backbone of its own: PeftModel.from_pretrained(BACKBONE, ADAPTER).merge_and_unload()"
    ".save_pretrained(FOLDER), the tokenizer too, and load(FOLDER)"
)


class Adapter(NamedTuple):
    """An adapter in memory: PEFT's configuration, LoRA weights by name, and an output layer of its own or None."""

    config: object
    weights: dict[str, torch.Tensor]
    output_layer: torch.Tensor | None


class Layers(NamedTuple):
    """Names of a language model's input and output layer, the prefix of its transformer, and whether the two are tied.

    Taken when the model is fresh: afterwards adapters may wrap its layers.
    """

    inputs: str
    output: str
    prefix: str
    tied: bool

    @classmethod
    def of(cls, causal) -> "Layers":
        ends = causal.get_input_embeddings(), causal.get_output_embeddings()
        names = {id(module): name for name, module in causal.named_modules()}
        return cls(*(names[id(end)] for end in ends), causal.base_model_prefix, ends[0].weight is ends[1].weight)


def version(adapter: Path | str) -> tuple[int, ...]:
    """When the files of a local adapter were written, in nanoseconds, and their sizes; nothing for a hub id."""
    files = (Path(adapter) / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    stats = [file.stat() for file in files if folders.is_file(file)]
    return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size))


def read(adapter: Path | str, layers: Layers, ends: tuple[torch.Tensor, torch.Tensor]) -> Adapter:
    """Read a LoRA adapter from a folder or a hub.

    A hub may still hold a pickle, as two of the paper's adapters are; it is read as numbers only (``weights_only``).

    Args:
        adapter: folder or hub id.
        layers: of the model that it is for.
        ends: that model's input and output matrix, each ``[V, d]``.

    Raises:
        FileNotFoundError: no adapter there, or the hub does not give it.
        ValueError: a kind or option that would change what embedders share, or files that are not whole.
    """
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    found = folders.located(adapter, "adapter")
    if isinstance(found, Path):
        _check_kind(adapter, folders.check_adapter(found).get("peft_type"))
    try:
        config = PeftConfig.from_pretrained(str(found))
        weights = load_peft_weights(str(found), device="cpu") if config.peft_type == "LORA" else {}
    except Exception as error:  # many kinds: of the hub, of the network, of the file's form
        if isinstance(found, Path):
            raise folders.unreadable(found, "adapter", error) from error
        raise FileNotFoundError(
            f"adapter {adapter!r}: no folder of that name here, and the model hub does not give it "
            f"({folders.reason(error)})"
        ) from error
    _check_kind(adapter, config.peft_type)
    wrong = next((key for key, w in weights.items() if not (w.is_floating_point() and torch.isfinite(w).all())), None)
    if wrong is not None:
        raise ValueError(f"adapter {adapter}: {wrong} holds NaN, infinity or whole numbers: fetch it or train it again")
    weights = _causal_keys(weights, layers)
    _check_options(adapter, config, weights, layers)
    own = _own_output(adapter, config, weights, layers, ends[1].shape)
    for name, weight in zip((layers.inputs, layers.output), ends, strict=True):
        _drop_copies(adapter, weights, name, weight)
    config.modules_to_save, config.inference_mode = None, True
    return Adapter(config, weights, own)


def _own_output(adapter, config, weights: dict[str, torch.Tensor], layers: Layers, shape) -> torch.Tensor | None:
    """Take an output layer of the adapter's own out of its weights."""
    if not config.modules_to_save:
        return None
    own = weights.pop(f"base_model.model.{layers.output}.weight", None)
    if own is None or own.shape != shape:
        found = "lacks it" if own is None else f"holds it as {list(own.shape)}; the backbone's is {list(shape)}"
        raise ValueError(f"{adapter} names an output layer of its own, but {found}. Save it again, or: {_REMEDY}")
    return own


def _drop_copies(adapter, weights: dict[str, torch.Tensor], layer: str, weight: torch.Tensor) -> None:
    """PEFT saves a copy of an input or output layer whose size was changed or on which there is an adapter.

    One that is the backbone's is of no use; another one would be written over what embedders share.
    """
    for ending in ("weight", "base_layer.weight"):
        copy = weights.pop(f"base_model.model.{layer}.{ending}", None)
        if copy is None:
            continue
        weight = weight.cpu()
        same = copy.shape == weight.shape
        if not (same and (torch.equal(copy.to(weight.dtype), weight) or torch.equal(copy, weight.to(copy.dtype)))):
            raise ValueError(
                f"{adapter} holds {layer} as {list(copy.shape)}, and the backbone's, {list(weight.shape)}, is another "
                f"one: the vocabulary has grown, or it was trained on another model. {_REMEDY}"
            )


class _Unfit(ValueError):
    """Weights that do not fit, in our words; what a library says gets its kind of error in front."""


def _check_kind(adapter: Path | str, kind: object) -> None:
    if kind != "LORA":
        raise ValueError(
            f"{adapter} is an adapter of type {getattr(kind, 'value', kind)}; only LoRA adapters can be put on a "
            "backbone that embedders share. Give a LoRA adapter, or the folder of a model with this one merged in"
        )


def _check_options(adapter: Path | str, config, weights: dict[str, torch.Tensor], layers: Layers) -> None:
    """Refuse what reaches beyond the adapter's own layers."""
    plain = type(config)()
    unusual = [
        f.name for f in fields(config) if f.name not in _OWN and getattr(config, f.name) != getattr(plain, f.name)
    ]
    if config.init_lora_weights not in _INITIAL:
        unusual.append("init_lora_weights")
    if config.use_dora and any(f".{layers.output}.lora_" in key for key in weights):
        unusual.append("use_dora")  # its output layer is no sum W + s·B·A
    if config.modules_to_save and [*config.modules_to_save] not in ([layers.output], [layers.output.split(".")[-1]]):
        unusual.append("modules_to_save")
    if unusual:
        values = ", ".join(f"{name}={getattr(config, name)!r}" for name in unusual)
        raise ValueError(
            f"{adapter} has {values}, which would change the backbone for other embedders too, or is not supported. "
            f"{_REMEDY}"
        )
    ends = (layers.inputs, layers.output)
    touched = [name for name in ends if any(f".{name}.lora_" in key for key in weights)]
    touched += config.modules_to_save or ()
    if layers.tied and touched:
        raise ValueError(
            f"{adapter} changes {' and '.join(touched)}, but this backbone's input and output layer are one matrix: "
            f"which of them would decode is undefined. {_REMEDY}"
        )


def _causal_keys(weights: dict[str, torch.Tensor], layers: Layers) -> dict[str, torch.Tensor]:
    """Adapters trained without the output layer lack one level of the module path; add it."""
    inner, outer = "base_model.model.", f"base_model.model.{layers.prefix}."
    whole = (outer, f"{inner}{layers.output}.")
    if any(key.startswith(whole) for key in weights):
        return weights
    return {key.replace(inner, outer, 1): value for key, value in weights.items()}


def put_on(causal, peft, name: str, adapter: Adapter):
    """Put an adapter on a language model; all of it, or nothing.

    Args:
        causal: the language model.
        peft: what PEFT made of it, or None when this is the first adapter.
        name: a new name for the adapter.
        adapter: from :func:`read`.

    Returns:
        what PEFT made of the model.

    Raises:
        ValueError: it does not fit; the model is as it was.
    """
    from peft import get_peft_model
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    made = peft
    adapter.config.base_model_name_or_path = causal.name_or_path  # only the hash says whether it is the right one
    try:
        with warnings.catch_warnings():  # the library warns about a call of its own
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            if made is None:
                made = get_peft_model(causal, adapter.config, adapter_name=name)
            else:
                made.add_adapter(name, adapter.config)
        wanted = get_peft_model_state_dict(made, adapter_name=name, save_embedding_layers=False)
        _check_fit({key: value.shape for key, value in wanted.items()}, adapter.weights)
        set_peft_model_state_dict(made, adapter.weights, adapter_name=name)
    except Exception as error:
        take_off(causal, peft, name)
        raise ValueError(error if isinstance(error, _Unfit) else folders.reason(error)) from error
    return made


def _check_fit(wanted: dict[str, torch.Size], weights: dict[str, torch.Tensor]) -> None:
    """Every weight must have its place, and every place its weight."""
    for key in sorted(wanted.keys() | weights.keys()):
        if key not in wanted:
            raise _Unfit(f"no place for its {key}")
        if key not in weights:
            raise _Unfit(f"no weights for {key}")
        if wanted[key] != weights[key].shape:
            raise _Unfit(f"{key} is {list(weights[key].shape)} where {list(wanted[key])} is needed")


def take_off(causal, peft, name: str) -> None:
    """Undo :func:`put_on`, finished or not: remove one adapter, and PEFT's layers where it was the first."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, module in [m for m in causal.named_modules() if isinstance(m[1], BaseTunerLayer)]:
        if peft is None:
            parent, _, own = path.rpartition(".")
            setattr(causal.get_submodule(parent), own, module.get_base_layer())
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Adapter .* was active which is now deleted")
            module.delete_adapter(name)
    if peft is None:
        vars(causal).pop("peft_config", None)
    else:
        peft.peft_config.pop(name, None)


def check_training(adapter: Path | str, folder: Path | str, source: str) -> None:
    """Refuse an adapter of the course that was trained on other weights than those in ``folder``.

    Raises:
        ValueError: the sha256 that ``training.json`` holds is not that of the backbone, or there is none.
    """
    recorded = Path(adapter) / "training.json"
    if not recorded.exists() or not Path(folder).is_dir():
        return
    expected = folders.json_object(recorded).get("backbone_sha256")
    if not isinstance(expected, str):
        raise ValueError(f"{recorded} has no backbone_sha256: copy it again")
    found = store.fingerprint(folder)
    if expected != found:
        raise ValueError(
            f"{Path(adapter).name} was trained on a backbone with sha256 {expected[:12]}…, but {source} here has "
            f"{found[:12]}…: its embeddings would be wrong. Fetch the pinned backbone or train the adapter again."
        )
