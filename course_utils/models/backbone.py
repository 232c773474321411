"""Backbone: one language model in memory, with the adapters that are put on it.

Several embedders share one backbone and switch its adapters on and off. Most are decoders, which write text; an encoder
(BERT and its kin) is a backbone too, without adapters and with a head of its own (:mod:`course_utils.models.heads`).
"""

import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from course_utils.models import adapters as lora
from course_utils.models import folders, heads, placement, registry, store


class Backbone:
    """A language model with its tokenizer, shared by embedders.

    Attributes:
        precision: ``"float32"``, ``"bfloat16"``, ``"int8"`` or ``"4bit"``.
        device: where texts go in and hidden states come out: of a model that is spread over GPUs, the first.
        source: stored backbone's name, hub id or folder it was loaded from.
        folder: the folder itself, or the hub id.
        causal: the language model with its output layer; of an encoder, the encoder with its head.
        transformer: the same weights without the output layer (``f`` of the paper).
        encoder: whether it is an encoder, which writes no text.
        sees_all: whether each token sees every other without being asked to.
        tokenizer: its tokenizer.
        positions: how many tokens a text may have at most.
        rows: number of tokens that the input layer knows; a tokenizer may know more.

    Weights of eight or four bits (bitsandbytes: Dettmers et al. 2022, arXiv 2208.07339; 2023, arXiv 2305.14314) are
    those of the blocks only: tables, norms and output layer stay in bfloat16, in which the model works then.

    Raises:
        FileNotFoundError: no such folder, something missing in it, or a hub that does not give it.
        ModuleNotFoundError: weights of eight or four bits, and no bitsandbytes.
        ValueError: a file that is not whole, weights that are missing or do not fit, no language model, or GPUs that
            are too small together.
    """

    def __init__(
        self,
        source: str | Path,
        dtype: str = "float32",
        device: str | None = None,
        remote_code: bool = False,
        attention: str | None = None,
    ):
        self.precision, place = dtype, _checked_device(device)
        placed = placement.options(dtype, place)
        self.source = folders.place(source, "backbone")
        self.folder = _folder(self.source)
        kind, self.tokenizer, self.causal, found = _read(
            self.folder, attn_implementation=attention, trust_remote_code=remote_code, **placed
        )
        if "device_map" not in placed:
            self.causal.to(place)
        self.causal.eval().requires_grad_(False)
        self.device = placement.first_device(self.source, self.causal, place) if "device_map" in placed else place
        self.transformer = self.causal.base_model
        self._new_output = _check_weights(self.source, self.causal, found)
        self.encoder, self.sees_all = kind != "decoder", heads.sees_all(self.causal.config)
        self._input = self.causal.get_input_embeddings().weight
        if self.encoder:
            self._head = heads.of_encoder(self.causal, self.source, self._new_output)
        else:
            self._layers = lora.Layers.of(self.causal)
            output = self.causal.get_output_embeddings().weight
            self._output = output if output is self._input else output.to(self.device)  # GPUs may share the model
        self.rows = len(self._input)
        self._takes = inspect.signature(self.transformer.forward).parameters.keys()
        self.positions = _positions(self.transformer)
        self._peft = None
        self._numbers = itertools.count()
        self._attached: dict[tuple, str] = {}
        self._own_output: dict[str, torch.Tensor] = {}

    @property
    def unembedding(self) -> torch.Tensor:
        """The output layer's matrix ``E_g``, ``[V, d]``.

        Raises:
            ValueError: the files hold no output layer, so that the one in memory is random.
        """
        return self.head.weight

    @property
    def head(self) -> heads.Head:
        """What decodes its hidden states: the output layer; of an encoder, its head or else its input table.

        Raises:
            ValueError: as :attr:`unembedding`.
        """
        if self.encoder:
            return self._head
        if self._new_output:
            raise ValueError(
                f"{self.source} holds no output layer ({', '.join(self._new_output[:2])}): a random one would decode. "
                "Name the model that it was trained from: load(…, output_layer='owner/origin or folder')"
            )
        tied = " (tied with the input table)" if self._output is self._input else ""
        return heads.Head(self._output, None, False, f"output layer{tied}")

    @property
    def width(self) -> int:
        """Number of values ``d`` of a hidden state."""
        return self.transformer.config.hidden_size if self.encoder else self._output.shape[1]

    def states(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Final hidden states ``[n, t, d]`` of token ids ``[n, t]``, after the final norm where there is one.

        Args:
            ids: token ids ``[n, t]``.
            mask: real tokens ``[n, t]``, or what is added to the attention scores ``[n, 1, t, t]``.
            positions: the place of every token, ``[n, t]``; models that count distances only do without.
        """
        options = {"position_ids": positions, "use_cache": False}
        options = {key: value for key, value in options.items() if not self.encoder or key in self._takes}
        return self.transformer(input_ids=ids, attention_mask=mask, **options).last_hidden_state.to(ids.device)

    def unembedding_with(self, adapters: Sequence[Path | str]) -> torch.Tensor:
        """The matrix that decodes when these adapters are on, ``[V, d]``: ``E_g + s·B·A``, or one of their own.

        Raises:
            ValueError: as :attr:`unembedding`, or two adapters that each bring a whole output layer.
        """
        names = [self.attach(adapter) for adapter in adapters]
        if not names:
            return self.unembedding
        own = [self._own_output[name] for name in names if name in self._own_output]
        if len(own) > 1:
            raise ValueError(f"more than one of {[str(a) for a in adapters]} brings an output layer: give one of them")
        weight = own[0] if own else self.unembedding
        layer = self.causal.get_submodule(self._layers.output)
        for name in (n for n in names if n in getattr(layer, "lora_A", ())):
            weight = weight + layer.get_delta_weight(name).detach().to(weight.device)
        return weight

    def attach(self, adapter: Path | str) -> str:
        """Put a LoRA adapter (folder or hub id) on the model, switched off until :meth:`using` names it.

        An adapter that has been written again since is read again. One that is refused leaves nothing behind.

        Returns:
            The name by which PEFT knows it.

        Raises:
            FileNotFoundError: no adapter there.
            ValueError: it was trained on another backbone, its weights do not fit, or it is of a kind that would
                change what other embedders share (see :mod:`course_utils.models.adapters`).
        """
        if self.encoder:
            raise ValueError(f"{self.source} is an encoder, and adapters are put on decoders only: merge {adapter} "
                             "into a model of its own (peft's merge_and_unload) and load its folder")  # fmt: skip
        key = (str(adapter), lora.version(adapter))
        if key in self._attached:
            return self._attached[key]
        read = lora.read(adapter, self._layers, (self._input, self._output))
        lora.check_training(adapter, self.folder, self.source)
        before, name = self._switched_on(), f"adapter{next(self._numbers)}"
        try:
            self._peft = lora.put_on(self.causal, self._peft, name, read)
        except ValueError as error:
            raise ValueError(
                f"{adapter} does not fit {self.source}: {error}. Give the backbone that it was trained on"
            ) from error
        finally:
            self._switch_on(*before)  # PEFT switches a new adapter on
        if read.output_layer is not None:
            self._own_output[name] = read.output_layer.to(self._output)
        self._attached[key] = name
        return name

    @contextmanager
    def using(self, adapters: Sequence[Path | str]) -> Iterator[None]:
        """Run the model with these adapters switched on and all others off; afterwards it is as it was."""
        names = tuple(self.attach(adapter) for adapter in adapters)
        before = self._switched_on()
        if before[0] == names:
            yield
            return
        self._switch_on(names)
        try:
            yield
        finally:
            self._switch_on(*before)

    def _switched_on(self) -> tuple[tuple[str, ...], bool]:
        """Names of the adapters that are on, and whether they are being trained: one layer speaks for all."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        modules = self._peft.modules() if self._peft is not None else ()
        layer = next((m for m in modules if isinstance(m, BaseTunerLayer)), None)
        if layer is None or layer.disable_adapters:
            return (), False
        trained = any(p.requires_grad for name, p in layer.named_parameters() if "lora_" in name)
        return tuple(layer.active_adapters), trained

    def _switch_on(self, names: tuple[str, ...], trained: bool = False) -> None:
        if self._peft is None:
            return
        layers = self._peft.base_model
        if names:
            layers.enable_adapter_layers()
            layers.set_adapter(list(names), inference_mode=not trained)
        else:
            layers.disable_adapter_layers()


# --- Reading --------------------------------------------------------------------------------------


def _checked_device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == placement.SPREAD:
        return device
    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {device!r} is unknown: write 'cpu', 'cuda' or 'mps', or leave it out") from error
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}.get(asked.type, lambda: True)
    if not there() or asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device!r}: PyTorch finds no such GPU here; leave device out for what there is")
    return str(device)


def _folder(source: str) -> Path | str:
    """Where the model's files are: a folder, or a hub id."""
    if source in registry.STORED + registry.STORED_ENCODERS:
        return store.backbone(source)
    try:
        return folders.located(source, "backbone")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. For a copy of your own: load(NAME, backbone='its folder')") from None


def _read(folder: Path | str, trust_remote_code: bool, **options):
    """Kind (:func:`heads.kind`), tokenizer, model, and what transformers says about its weights."""
    import transformers as t

    if isinstance(folder, Path):
        folders.check_model(folder)
    what = "tokenizer"
    try:
        tokenizer = t.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
        what = "language model"
        kind = heads.kind(t.AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code))
        loaders = {"masked": t.AutoModelForMaskedLM, "half": t.AutoModelForTextEncoding}
        with silence(), torch.random.fork_rng(devices=[]):  # a head that is not there would draw random numbers
            # Weights that do not fit are named with all others that are wrong, by _check_weights.
            causal, found = loaders.get(kind, t.AutoModelForCausalLM).from_pretrained(
                str(folder), trust_remote_code=trust_remote_code, output_loading_info=True,
                ignore_mismatched_sizes=True, **options,
            )  # fmt: skip
    except Exception as error:  # many kinds: of the hub, of the network, of the files' forms
        if isinstance(folder, Path):
            raise folders.unreadable(folder, what, error) from error
        raise FileNotFoundError(
            f"backbone {folder!r}: no folder of that name here, and the model hub does not give its {what} "
            f"({folders.reason(error)})"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"the tokenizer of {folder} does not tell which characters a token covers: save it as "
                         "tokenizer.json (AutoTokenizer.from_pretrained(FOLDER, use_fast=True))")  # fmt: skip
    return kind, tokenizer, causal, found


@contextmanager
def silence() -> Iterator[None]:
    """Reading weights from the disk takes a second; its progress bar would stay in every notebook.

    So would a table of the weights that are missing or too many, which :func:`_check_weights` looks at.
    """
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _check_weights(source: str, causal, found: dict) -> list[str]:
    """Names of missing weights of the output layer.

    Raises:
        ValueError: the transformer has weights that the files lack (they would be random), that are of another
            shape, or the files hold weights of its layers for which it has no place (they would be left out).
    """
    prefix = "" if causal.base_model is causal else causal.base_model_prefix + "."
    children = {name for name, _ in causal.base_model.named_children()}
    mismatched = {name: (held, needed) for name, held, needed in found["mismatched_keys"]}
    missing = sorted(set(found["missing_keys"]) - set(mismatched))
    wrong = [f"{name} is missing" for name in missing if name.startswith(prefix)]
    wrong += [f"{n} is {list(held)} instead of {list(needed)}" for n, (held, needed) in sorted(mismatched.items())]
    unexpected = sorted(n for n in found["unexpected_keys"] if n.removeprefix(prefix).split(".")[0] in children)
    wrong += [f"{name} has no place" for name in unexpected]
    if wrong:
        raise ValueError(
            f"the weights of {source} are not those of its config.json: {'; '.join(wrong[:3])}"
            f"{f'; {len(wrong) - 3} more' if len(wrong) > 3 else ''}. Its embeddings would be wrong: copy or download "
            "the whole folder again"
        )
    return [name for name in missing if not name.startswith(prefix)]


# --- Positions ------------------------------------------------------------------------------------


class Positions(NamedTuple):
    """Where positions start, and how many there are (None: any number)."""

    first: int
    count: int | None


def _positions(transformer: torch.nn.Module) -> Positions:
    """Models that learn a vector for each position (OPT, GPT-2, BERT) have no vector for later ones: a hard limit.

    Models that compute rotations or slopes from the position (Llama, Gemma) have none. What their ``config.json``
    gives as ``max_position_embeddings`` is the length they were trained on, and they are not cut there.
    """
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Embedding) and re.search(r"(position\w*|wpe)$", name):
            # RoBERTa counts from behind its padding token; OPT adds its offset itself.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return Positions(first, module.num_embeddings - first - getattr(module, "offset", 0))
    tables = [b for name, b in transformer.named_buffers() if re.search(r"embed_positions$", name) and b.ndim == 2]
    return Positions(0, min((len(table) for table in tables), default=None))
