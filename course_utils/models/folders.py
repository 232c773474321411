"""What a reader names as a model or an adapter, and whether a folder holds what it must.

A name is a folder where it looks like one (``./mine``, ``~/mine``, ``/data/mine``, a :class:`~pathlib.Path`) or where
a folder of that name is there; ``owner/name`` is a model hub's otherwise. A hub is never asked for a path.

Folders are looked through before a library reads them: a file that was cut off, the pointer that Git's large file
storage leaves in the place of a file, or a missing file is named, with what to do about it.
"""

import json
import re
from pathlib import Path

from course_utils import gates
from course_utils.gates import is_file, is_folder

#: Owner and name, as model hubs allow them.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
#: Any of these is a tokenizer's vocabulary.
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
                 "sentencepiece.bpe.model", "tekken.json")  # fmt: skip
_POINTER = b"version https://git-lfs"
#: What turns a pickle into safetensors, run in its folder. ``weights_only`` reads numbers and runs no program.
_CONVERT_MODEL = "from transformers import {0} as M; M.from_pretrained('.', weights_only=True).save_pretrained('.')"
_CONVERT_LAYER = (
    "import torch; from safetensors.torch import save_file; "
    "save_file(torch.load('pytorch_model.bin', weights_only=True), 'model.safetensors')"
)
_CONVERT_ADAPTER = (
    "import torch; from safetensors.torch import save_file; "
    "save_file(torch.load('adapter_model.bin', weights_only=True), 'adapter_model.safetensors')"
)


# --- Names ----------------------------------------------------------------------------------------


def place(name: Path | str, what: str = "model") -> str:
    """A name as it is kept: a path as an absolute one, with ``~`` expanded; anything else as it is.

    Raises:
        TypeError: neither string nor path.
        ValueError: empty, not valid Unicode, or ``~`` where nobody's home folder is known.
    """
    if not isinstance(name, str | Path):
        raise TypeError(f"{what} must be a name, owner/name or a folder; got {type(name).__name__}: {name!r}")
    text = str(name)
    if not text.strip() or "\0" in text:
        raise ValueError(f"{what} is {text!r}: give a name, owner/name or a folder")
    if not (isinstance(name, Path) or looks_like_path(text)):
        gates.unicode_text(text, what)
        return text
    return str(gates.expanded(name, what).absolute())


def looks_like_path(name: str) -> bool:
    """Whether this can only be a path: it starts or ends like one, or has more than one slash or a backslash."""
    return name.startswith((".", "/", "~")) or name.endswith("/") or "\\" in name or name.count("/") > 1


def located(name: Path | str, what: str = "model") -> Path | str:
    """The folder that ``name`` means, or a hub id.

    Raises:
        TypeError, ValueError: as :func:`place`.
        FileNotFoundError: no such folder, and no hub id either.
    """
    text = place(name, what)
    path = Path(text)
    if is_folder(path):
        return path
    if not path.is_absolute() and _HUB_ID.fullmatch(text):
        return text
    if path.is_absolute() and is_file(path):
        raise FileNotFoundError(f"{what} {text!r} is a file; give the folder that holds it")
    raise FileNotFoundError(
        f"{what} {text!r}: no such folder (looked for it in {Path.cwd()}); check the spelling, or give owner/name"
    )


# --- What must be in a folder ---------------------------------------------------------------------


def check_model(folder: Path) -> None:
    """Refuse a folder that is no whole model with its tokenizer.

    Raises:
        FileNotFoundError: something is missing; says what, and what to do.
        ValueError: a file that is cut off, a pointer, damaged, or of a form that can carry programs.
    """
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{folder} holds an adapter (adapter_config.json), not a model: load the backbone it was trained on, with "
            f"adapters=({str(folder)!r},)"
        )
    named = settings(folder, "config.json", "model").get("architectures")
    kind = named[0] if isinstance(named, list) and named and str(named[0]).isidentifier() else "AutoModelForCausalLM"
    files = _shards(folder)
    if not files:
        raise _no_weights(folder, "pytorch_model*.bin", _CONVERT_MODEL.format(kind))
    for file in files:
        check_safetensors(file)
    found = [folder / name for name in _VOCABULARIES if (folder / name).exists()]
    if not found and not any(folder.glob("*.tiktoken")):
        raise FileNotFoundError(
            f"no tokenizer in {folder}: {_VOCABULARIES[0]} is missing; copy it from where the model came from "
            "(tokenizer.save_pretrained(FOLDER) writes it)"
        )
    for file in (*found, *folder.glob("*.json")):
        _no_pointer(file)


def unreadable(folder: Path, what: str, error: Exception) -> ValueError:
    """The error for a folder that is whole and that a library yet cannot read; names a file that is no JSON."""
    for file in sorted(folder.glob("*.json")):
        try:
            json_object(file)
        except ValueError as found:
            return found
    return ValueError(f"the {what} in {folder} cannot be read: {reason(error)}. Copy or download the folder again")


def reason(error: Exception) -> str:
    """What a library says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def check_adapter(folder: Path) -> dict[str, object]:
    """The settings of an adapter (``adapter_config.json``). Errors as :func:`check_model`."""
    found = settings(folder, "adapter_config.json", "adapter")
    file = folder / "adapter_model.safetensors"
    if not file.exists():
        raise _no_weights(folder, "adapter_model.bin", _CONVERT_ADAPTER)
    check_safetensors(file)
    return found


def check_layer(folder: Path) -> dict[str, object]:
    """The settings of a layer behind the pooling (``config.json``). Errors as :func:`check_model`."""
    found = settings(folder, "config.json", "layer")
    file = folder / "model.safetensors"
    if not file.exists():
        raise _no_weights(folder, "pytorch_model.bin", _CONVERT_LAYER)
    check_safetensors(file)
    return found


def check_safetensors(path: Path) -> None:
    """Refuse a file that is no whole safetensors file: its first bytes say how long it must be.

    Raises:
        ValueError: it is a pointer, cut off, or something else; names the file.
    """
    _no_pointer(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if length < size else b""
    damaged = f"{path} is damaged or cut off ({size} bytes): copy or download it again"
    try:
        tensors = json.loads(head)
        ends = [entry["data_offsets"][1] for key, entry in tensors.items() if key != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ValueError(damaged) from None
    if size != 8 + length + max(ends, default=0):
        raise ValueError(f"{damaged}. Its first bytes speak of {8 + length + max(ends, default=0)} bytes")


def settings(folder: Path, name: str, what: str) -> dict[str, object]:
    """The JSON object that says what the weights are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`json_object`.
    """
    file = folder / name
    if not file.exists():
        raise FileNotFoundError(f"no {what} in {folder}: {name} is missing; give the folder that holds it")
    return json_object(file)


def json_object(file: Path) -> dict[str, object]:
    """The JSON object in a file that came with a model.

    Raises:
        ValueError: a pointer, no valid JSON, or something else than an object; names the file.
    """
    return _json(file, dict, "an object")


def json_list(file: Path) -> list:
    """The JSON array in a file that came with a model. Errors as :func:`json_object`."""
    return _json(file, list, "an array")


def _json(file: Path, kind: type, what: str):
    _no_pointer(file)
    try:
        content = gates.json_value(gates.read_text(file), str(file))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: copy or download it again ({error})") from None
    if not isinstance(content, kind):
        raise ValueError(f"{file} holds a {type(content).__name__} where JSON has {what}: copy or download it again")
    return content


def _shards(folder: Path) -> list[Path]:
    """The weight files that transformers reads."""
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return []
    content = settings(folder, index.name, "model").get("weight_map")
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        raise ValueError(f"{index} has no weight_map of file names: copy it again")
    files = [folder / name for name in sorted(set(content.values()))]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise FileNotFoundError(f"weights are missing in {folder}: {', '.join(missing)}; copy or download them again")
    return files


def _no_weights(folder: Path, pickles: str, command: str) -> ValueError | FileNotFoundError:
    """The error for a folder without safetensors. A .bin file is a pickle, which can carry programs."""
    found = sorted(file.name for file in folder.glob(pickles))
    if found:
        return ValueError(
            f"{folder / found[0]} is a pickle, a form that can carry programs, and is not read here. Write it as "
            f'safetensors once; run in {folder}: python -c "{command}"'
        )
    return FileNotFoundError(
        f"no weights in {folder}: there is no safetensors file beside the configuration; copy or download it again"
    )


def _no_pointer(path: Path) -> None:
    with open(path, "rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ValueError(
                f"{path} is a pointer of Git's large file storage, not the file itself: run git lfs pull in its "
                "repository, or download the file"
            )
