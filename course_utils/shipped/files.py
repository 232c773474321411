"""The file format: tensors with one byte a number, and what they were made from.

An embedding of ``d`` numbers takes ``d`` bytes and a scale (:func:`pack`). Every file remembers what it was made
from, as checksums: texts, backbone, adapters. A file whose sources have changed is stale; it is made again, never
trusted. Which files there are says :mod:`~course_utils.shipped.kinds`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import gates
from course_utils.models.registry import EmbedderSpec


class Packed(NamedTuple):
    """Rows ``[n, d]`` with one byte a number.

    Attributes:
        numbers: int8 ``[n, d]``.
        scale: float32 ``[n]``, of every row.
        middle: float32 ``[d]``, the mean of every column.
        spread: float32 ``[d]``, the root mean square around it; 1 for a column that is constant.
    """

    numbers: np.ndarray
    scale: np.ndarray
    middle: np.ndarray
    spread: np.ndarray


def pack(rows: np.ndarray) -> Packed:
    """Rows ``[n, d]`` with one byte a number: ``row ≈ middle + spread · scale · numbers``.

    A few columns of an untrained model's embeddings are twenty times as large as the rest (Dettmers et al. 2022,
    arXiv 2208.07339), and all rows share a mean. One step for all columns would be too coarse for most of them; so the
    columns are standardised first, and a number is off by ``spread · scale / 2`` at most.

    Raises:
        ValueError: not two-dimensional, or NaN or infinity (with the row).
    """
    rows = gates.matrix(rows, "rows", dtype=np.float64, whole=True)
    middle = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    spread = np.sqrt(((rows - middle) ** 2).mean(axis=0)) if len(rows) else np.ones(rows.shape[1])
    spread[spread == 0] = 1
    standard = (rows - middle) / spread
    scale = np.abs(standard).max(axis=1, initial=0) / 127
    numbers = np.divide(standard, scale[:, None], out=np.zeros_like(standard), where=scale[:, None] > 0)
    return Packed(np.rint(numbers).astype(np.int8), *(part.astype(np.float32) for part in (scale, middle, spread)))


def unpack(packed: Packed) -> np.ndarray:
    """The inverse of :func:`pack`, up to rounding: float32 ``[n, d]``."""
    return packed.middle + packed.spread * (packed.scale[:, None] * packed.numbers)


def write(path: Path, tensors: dict[str, np.ndarray], made_from: dict[str, str]) -> None:
    """Write tensors and what they were made from, atomically: a reader sees the old file or the new one.

    Raises:
        ValueError: as :func:`pack`, by which every two-dimensional tensor goes; others are stored as they are.
    """
    from safetensors.numpy import save_file

    stored = {}
    for key, tensor in tensors.items():
        parts = pack(tensor)._asdict() if tensor.ndim == 2 else {}
        stored |= {f"{key}.{part}": values for part, values in parts.items()} or {key: tensor}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        # The library writes memory as it lies: what is not row by row would be read as other numbers.
        whole = {key: np.ascontiguousarray(values) for key, values in stored.items()}
        save_file(whole, partial, {"made_from": json.dumps(made_from)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, unpacked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no whole safetensors file.
    """
    stored, _ = _contents(path, numbers=True)
    tensors = {}
    for key in stored:
        name, _, part = key.rpartition(".")
        if not name:
            tensors[key] = stored[key]
        elif part == "numbers":
            tensors[name] = unpack(Packed(*(stored[f"{name}.{field}"] for field in Packed._fields)))
    return tensors


def made_from(path: Path) -> dict[str, str]:
    """What a file was made from; does not read the numbers. Errors as :func:`read`."""
    return _contents(path, numbers=False)[1]


def _contents(path: Path, numbers: bool) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(gates.file(path), "np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()} if numbers else {}
            return tensors, json.loads((file.metadata() or {})["made_from"])
    except (KeyError, json.JSONDecodeError):
        raise ValueError(f"{path} does not say what it was made from: fetch it or make it again") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch it or make it again") from None


def digest(*parts: bytes) -> str:
    """SHA-256 of the parts put together, in hexadecimal."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def weights(spec: EmbedderSpec) -> dict[str, str]:
    """Checksums of an embedder's backbone and adapters."""
    from course_utils.models import store

    return {
        "backbone": store.fingerprint(store.backbone(spec.backbone)),
        "adapters": ", ".join(_adapter(Path(folder)) for folder in spec.adapter_paths()),
    }


def reading(spec: EmbedderSpec) -> str:
    """Checksum of how an embedder reads a text: what it writes around it, pooling, attention, scaling."""
    prompt = [spec.prompt.wrap("x", None, role) for role in (None, "query", "passage")]
    told = spec.prompt.wrap("x", "y") if spec.prompt.instructed else None
    parts = (spec.pooling, spec.bidirectional, spec.normalize, spec.prompt.pooled, prompt, told)
    return digest(repr(parts).encode())


def _adapter(folder: Path) -> str:
    """The checksum of an adapter's weights; of one that ships as a log only, what its log says; "" if unknown."""
    file, log = folder / "adapter_model.safetensors", folder / "training.json"
    if file.exists():
        return digest(file.read_bytes())
    return json.loads(gates.read_text(log)).get("adapter_sha256", "") if log.exists() else ""
