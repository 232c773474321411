"""Layout: how sentence-transformers writes an embedder into a folder, read as data.

``modules.json`` names the modules that a text goes through, in order. Here they must be

    Transformer, Pooling, any number of Dense layers, Normalize

with the last two left out at will. ``config_sentence_transformers.json`` holds prompts, ``sentence_bert_config.json``
how long a text may be. The names of types are those of old and of new versions of that library: their last part counts.
Anything else is refused by name, modules of a repository's own code above all, because leaving it out would give other
embeddings without saying so.
"""

import os.path
import warnings
from pathlib import Path

from course_utils.models import folders
from course_utils.models.prompts import PASSAGE_NAMES, Prompt

MODULES = "modules.json"
#: Their names of the poolings, and ours.
_POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last_token", "weightedmean": "weighted_mean"}
#: How older versions wrote each pooling down.
_OLD = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
#: Options of the transformer that change nothing here, or that are read.
_HARMLESS = {"max_seq_length", "do_lower_case", "unpad_inputs"}
_HARMLESS_TOKENIZER = {"padding_side", "use_fast"}
#: What a transformer does with a text, where that is written down; anything else gives other states.
_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
#: What such a folder needs besides the transformer itself.
_PATTERNS = ["*.json", "*/config.json", "*/model.safetensors"]
_REMEDY = "Load its transformer alone: load(FOLDER without modules.json, pooling='mean')"


def holds(folder: Path) -> bool:
    """Whether a folder is in this layout."""
    return folders.is_file(folder / MODULES)


def read(folder: Path) -> dict[str, object]:
    """Fields of a registry entry, from a folder in this layout; reads no weights.

    Returns:
        ``backbone``, ``pooling``, ``prompt``, ``dense``, ``normalize``, ``max_tokens`` and ``lowercase``.

    Raises:
        FileNotFoundError: a file that ``modules.json`` speaks of is missing.
        ValueError: a file that is no JSON, or a module, pooling or option that is not supported (by name).
    """
    transformer, pooling, dense, normalize = _modules(folder)
    root = folder / transformer
    settings = _transformer(root)
    mode, include_prompt = _pooling(folder / pooling)
    for name in dense:
        _check_inputs(folder / name)
    prompt = _prompt(folder, include_prompt)
    if mode == "weighted_mean" and prompt.pooled != True:  # noqa: E712 - "behind" is true too
        raise ValueError(f"{folder}: weighted mean pooling without the prompt counts positions in another way than "
                         f"the course. {_REMEDY}")  # fmt: skip
    return {
        "backbone": str(root),
        "pooling": mode,
        "prompt": prompt,
        "dense": tuple(os.path.relpath(folder / name, root) for name in dense),
        "normalize": normalize,
        "max_tokens": _length(root, settings),
        "lowercase": settings.get("do_lower_case") is True,
    }


def fetched(hub_id: str) -> Path | None:
    """The small files of this layout from a model hub, in the hub's own cache; None where it has none of this layout.

    Warns:
        UserWarning: the hub cannot be asked; the transformer alone may be in the cache, and would be read by itself.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(hub_id, MODULES)
    except Exception as error:  # many kinds, of the hub and of the network
        if not isinstance(error, EntryNotFoundError) or isinstance(error, LocalEntryNotFoundError):
            warnings.warn(
                f"could not ask the hub whether {hub_id} has a pooling and prompts of its own; without an answer it is "
                "read with mean pooling and no prompt",
                stacklevel=4,
            )
        return None
    return Path(snapshot_download(hub_id, allow_patterns=_PATTERNS, ignore_patterns=["onnx/*", "openvino/*"]))


# --- The modules ----------------------------------------------------------------------------------


def _modules(folder: Path) -> tuple[str, str, list[str], bool]:
    """Folders of the transformer, the pooling and the Dense layers, and whether the end is scaled to unit length."""
    steps = []
    for i, module in enumerate(folders.json_list(folder / MODULES)):
        fields = [module.get(key) for key in ("type", "path")] if isinstance(module, dict) else [None]
        if not all(isinstance(field, str) for field in fields) or ".." in Path(fields[-1]).parts:
            raise ValueError(f"{folder / MODULES}: entry {i} has no type and path below the folder: copy it again")
        if fields[0].split(".")[0] != "sentence_transformers":
            raise ValueError(
                f"{folder / MODULES} names a module of its own code, {fields[0]!r}, which is never run here. {_REMEDY}"
            )
        steps.append((fields[0].split(".")[-1], fields[1]))
    steps = [(kind, path) for kind, path in steps if kind != "Dropout"]  # of use in training only
    known = ("Transformer", "Pooling", "Dense", "Normalize")
    for kind, path in steps:
        if kind not in known:
            raise ValueError(
                f"{folder / MODULES} names the module {kind!r} ({path or 'top folder'}), which the course does not "
                f"know; it knows {', '.join(known)}. {_REMEDY}"
            )
    kinds = [kind for kind, _ in steps]
    middle = kinds[2:-1] if kinds[-1:] == ["Normalize"] else kinds[2:]
    if kinds[:2] != ["Transformer", "Pooling"] or set(middle) - {"Dense"}:
        raise ValueError(
            f"{folder / MODULES} has the modules in the order {', '.join(kinds) or 'of none'}; the course knows "
            f"Transformer, Pooling, Dense …, Normalize. {_REMEDY}"
        )
    return steps[0][1], steps[1][1], [path for kind, path in steps if kind == "Dense"], kinds[-1] == "Normalize"


def _transformer(root: Path) -> dict[str, object]:
    """What ``sentence_bert_config.json``, under one of its names, says; refuses what would change the states."""
    file = next(iter(sorted(root.glob("sentence_*_config.json"))), None)
    settings = folders.json_object(file) if file else {}
    usual = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
    for key, value in settings.items():
        fine = key in _HARMLESS or not value or usual.get(key) == value
        if key in ("tokenizer_args", "processor_kwargs") and isinstance(value, dict):
            fine = set(value) <= _HARMLESS_TOKENIZER
        if key == "modality_config" and isinstance(value, dict):
            fine = value == _TEXT
        if not fine:
            raise ValueError(
                f"{file} sets {key} to {value!r}, which the course does not support: write what belongs to the "
                "transformer into its config.json, or load its transformer alone"
            )
    return settings


def _length(root: Path, settings: dict[str, object]) -> int | None:
    """The longest text in tokens: what the folder says, or what its tokenizer and its positions allow."""
    if isinstance(own := settings.get("max_seq_length"), int):
        return own
    known = []
    for name, key in (("tokenizer_config.json", "model_max_length"), ("config.json", "max_position_embeddings")):
        content = folders.json_object(root / name) if folders.is_file(root / name) else {}
        known += [content[key]] if isinstance(content.get(key), int) else []
    return min((n for n in known if 0 < n < 10**9), default=None)  # "none" is written as 10³⁰


def _pooling(folder: Path) -> tuple[str, bool]:
    """Our name of the pooling, and whether the prompt's tokens count."""
    settings = folders.settings(folder, "config.json", "pooling")
    modes = settings.get("pooling_mode", [mode for key, mode in _OLD.items() if settings.get(key)] or ["mean"])
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes:
        raise ValueError(f"{folder} names no pooling: copy it again")
    if len(modes) > 1:
        raise ValueError(
            f"{folder} joins the poolings {', '.join(map(str, modes))}: {len(modes)} states side by side fit no matrix "
            f"that decodes one. {_REMEDY}"
        )
    if modes[0] not in _POOLINGS:
        raise ValueError(f"{folder}: unknown pooling {modes[0]!r}; the course knows {', '.join(_POOLINGS)}. {_REMEDY}")
    return _POOLINGS[modes[0]], settings.get("include_prompt", True) is not False


def _check_inputs(folder: Path) -> None:
    """A Dense layer must take the embedding and give the next one."""
    settings = folders.settings(folder, "config.json", "Dense layer")
    names = [settings.get(key) or "sentence_embedding" for key in ("module_input_name", "module_output_name")]
    if names != ["sentence_embedding"] * 2 or settings.get("use_residual"):
        raise ValueError(f"{folder} leads from {names[0]} to {names[1]}, with "
                         f"use_residual={settings.get('use_residual', False)}; the course knows Dense layers from one "
                         f"embedding to the next. {_REMEDY}")  # fmt: skip


def _prompt(folder: Path, include: bool) -> Prompt:
    """The prompts by name: ``role="query"``, ``role="passage"`` (also where the folder calls it document), any other.

    Without a role the folder's default prompt is written, if it has one.
    """
    file = folder / "config_sentence_transformers.json"
    settings = folders.json_object(file) if folders.is_file(file) else {}
    named = {key: value for key, value in (settings.get("prompts") or {}).items() if value is not None}
    if not all(isinstance(value, str) for value in named.values()):
        raise ValueError(f"{file}: every prompt is a text; got {named!r}: copy it again")
    default = settings.get("default_prompt_name")
    if default is not None and default not in named:
        known = f"none of {', '.join(named)}" if named else "not there: the file has no prompts"
        raise ValueError(f"{file}: the default prompt {default!r} is {known}; copy the folder again")
    roles = {key: (value, "") for key, value in named.items()}
    passage = next((key for key in PASSAGE_NAMES if key in roles), None)
    if passage:
        roles["passage"] = roles[passage]
    return Prompt(prefix=named.get(default, ""), roles=roles, pooled=True if include else "behind")
