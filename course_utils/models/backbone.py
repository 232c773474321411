"""Backbone: one language model in memory, with the adapters that are put on it.

Several embedders share one backbone and switch its adapters on and off.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from course_utils.models import registry, store


class Backbone:
    """A causal language model with its tokenizer, shared by embedders.

    Attributes:
        source: stored backbone's name, hub id or folder it was loaded from.
        causal: the language model with its output layer.
        transformer: the same weights without the output layer (``f`` of the paper).
        tokenizer: its tokenizer.
    """

    def __init__(
        self,
        source: str,
        dtype: str = "float32",
        device: str | None = None,
        remote_code: bool = False,
        attention: str | None = None,
    ):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype must be 'float32' or 'bfloat16'; got {dtype!r}")
        folder = store.backbone(source) if source in registry.STORED else source
        self.source, self.folder = source, folder
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=remote_code)
        with _no_loading_bar():
            self.causal = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), attn_implementation=attention, trust_remote_code=remote_code
            )
        self.causal = self.causal.to(self.device).eval()
        self.causal.requires_grad_(False)
        self.transformer = self.causal.base_model
        self._peft = None
        self._attached: dict[tuple[str, int], str] = {}

    @property
    def unembedding(self) -> torch.Tensor:
        """The output layer's matrix ``E_g``, ``[V, d]``."""
        return self.causal.get_output_embeddings().weight

    def attach(self, adapter: Path | str) -> str:
        """Put a LoRA adapter (folder or hub id) on the model, switched off until :meth:`using` names it.

        An adapter that has been written again since is read again.

        Returns:
            The name by which PEFT knows it.

        Raises:
            FileNotFoundError: no adapter there.
            ValueError: it was trained on another backbone, or its weights do not fit.
        """
        from peft import PeftConfig, get_peft_model
        from peft.utils import load_peft_weights, set_peft_model_state_dict

        key = (str(adapter), _last_change(adapter))
        if key in self._attached:
            return self._attached[key]
        _check_adapter(adapter, self)
        config = PeftConfig.from_pretrained(str(adapter))
        config.inference_mode = True
        config.base_model_name_or_path = self.causal.name_or_path  # only the hash says whether it is the right one
        weights = load_peft_weights(str(adapter), device="cpu")
        before, name = self._switched_on(), f"adapter{len(self._attached)}"
        if self._peft is None:
            with warnings.catch_warnings():  # the library warns about a call of its own
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                self._peft = get_peft_model(self.causal, config, adapter_name=name)
        else:
            self._peft.add_adapter(name, config)
        result = set_peft_model_state_dict(self._peft, _causal_keys(weights, self.causal), adapter_name=name)
        self._switch_on(*before)  # PEFT switches a new adapter on
        left = result.unexpected_keys + [k for k in result.missing_keys if f".{name}." in k]
        if left:
            self._peft.delete_adapter(name)
            raise ValueError(f"{adapter} does not fit {self.source}: no place, or no weights, for {left[:3]}")
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


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Reading weights from the disk takes a second; its progress bar would stay in every notebook."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _last_change(adapter: Path | str) -> int:
    """When a local adapter was written, in nanoseconds; 0 for a hub id."""
    file = Path(adapter) / "adapter_model.safetensors"
    return file.stat().st_mtime_ns if file.exists() else 0


def _causal_keys(weights: dict[str, torch.Tensor], causal) -> dict[str, torch.Tensor]:
    """Adapters trained without the output layer lack one level of the module path; add it."""
    outer = f"base_model.model.{causal.base_model_prefix}."
    if any(key.startswith(outer) for key in weights):
        return weights
    return {key.replace("base_model.model.", outer, 1): value for key, value in weights.items()}


def _check_adapter(adapter: Path | str, backbone: Backbone) -> None:
    """Refuse an adapter that is absent or was trained on other weights."""
    folder = Path(adapter)
    local = isinstance(adapter, Path) or folder.is_absolute() or folder.is_dir()
    if local and not (folder / "adapter_config.json").exists():
        raise FileNotFoundError(f"no adapter in {folder}: adapter_config.json is missing")
    recorded = folder / "training.json"
    if recorded.exists() and Path(backbone.folder).is_dir():
        expected = json.loads(recorded.read_text(encoding="utf-8"))["backbone_sha256"]
        found = store.fingerprint(backbone.folder)
        if expected != found:
            raise ValueError(
                f"{folder.name} was trained on a backbone with sha256 {expected[:12]}…, but {backbone.source} here has "
                f"{found[:12]}…: its embeddings would be wrong. Fetch the pinned backbone or train the adapter again."
            )
