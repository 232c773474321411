"""Files of numbers that ship with the course, and how they stay true.

Encoding thousands of texts takes minutes, and a lesson would spend them waiting. So embeddings lie in
``data/arrays`` as safetensors, and every file remembers what it was made from, as checksums: texts, backbone,
adapters. A file whose sources have changed is stale; it is made again, never trusted.

:mod:`~course_utils.shipped.arrays`, :mod:`~course_utils.shipped.parallel_arrays`, :mod:`~course_utils.shipped.instruction_arrays`,
:mod:`~course_utils.shipped.retrieval_arrays` and :mod:`~course_utils.shipped.judged` each ship one kind of numbers this way.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from course_utils.models import registry
from course_utils.models.registry import EmbedderSpec

#: Folder of all files.
ARRAYS = Path(__file__).resolve().parents[2] / "data" / "arrays"


def digest(*parts: bytes) -> str:
    """SHA-256 of the parts put together, in hexadecimal."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def weights(spec: EmbedderSpec) -> dict[str, str]:
    """Checksums of an embedder's backbone and adapters."""
    from course_utils.models import store

    adapters = [Path(a) / "adapter_model.safetensors" for a in spec.adapter_paths()]
    return {
        "backbone": store.fingerprint(store.backbone(spec.backbone)),
        "adapters": digest(*(a.read_bytes() for a in adapters)),
    }


def present(names: Sequence[str], folder: Path) -> list[str]:
    """Those of the names whose file lies in the folder and whose adapters are there to encode with."""
    return [name for name in names if (folder / f"{name}.safetensors").exists() and registry.available((name,))]


def source_of(name: str, sentences: str) -> dict[str, str]:
    """What embeddings of sentences depend on, as checksums: the sentences' digest, backbone, adapters."""
    return {"embedder": name, "sentences": sentences, **weights(registry.get(name))}


def write(path: Path, tensors: dict[str, np.ndarray], made_from: dict[str, str]) -> None:
    """Write tensors and what they were made from, atomically: a reader sees the old file or the new one."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"made_from": json.dumps(made_from)})
    os.replace(partial, path)


def read(path: Path, maker: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a file and what they were made from; ``maker`` is the module of the course that makes it.

    Raises:
        FileNotFoundError: no such file; the message lists those in the folder and says how to make it.
    """
    from safetensors import safe_open

    if not path.exists():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors"))) or "none"
        raise FileNotFoundError(
            f"no shipped numbers for {path.stem!r}; there are: {there}. "
            f"To make them, run python -m course_utils.{maker} {path.stem}"
        )
    with safe_open(path, "np") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["made_from"])


def made_from(path: Path) -> dict[str, str] | None:
    """What a file was made from; None when there is no file. Does not read the numbers."""
    from safetensors import safe_open

    if not path.exists():
        return None
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["made_from"])


def half(name: str, rows: np.ndarray) -> np.ndarray:
    """Rows as float16.

    Raises:
        ValueError: an entry that float16 cannot hold.
    """
    largest = np.abs(rows).max(initial=0)
    if not largest <= np.finfo(np.float16).max:  # also true for NaN
        raise ValueError(f"{name}: an entry of {largest:.0f} does not fit into float16")
    return rows.astype(np.float16)


def pack(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``[n, d]`` as int8 ``[n, d]`` and float32 scales ``[n]``: ``row ≈ scale · q``, ``scale = max |row| / 127``.

    No entry is off by more than half a scale; a row of zeros has scale 0.

    Raises:
        ValueError: not two-dimensional, NaN or infinity.
    """
    rows = np.asarray(rows, dtype=np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"rows must be finite and [n, d]; got shape {rows.shape}")
    scales = np.abs(rows).max(axis=1, initial=0) / 127
    numbers = np.divide(rows, scales[:, None], out=np.zeros_like(rows), where=scales[:, None] > 0)
    return np.rint(numbers).astype(np.int8), scales.astype(np.float32)


def unpack(numbers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The inverse of :func:`pack`, up to rounding: float32 ``[n, d]``."""
    return numbers.astype(np.float32) * scales[:, None].astype(np.float32)


def make_each(names: Sequence[str], make: Callable, folder: Path) -> None:
    """Call ``make(name, backbone)`` for every name, those on one language model after each other, and say so."""
    from course_utils.models.embedder import Backbone

    by_backbone: dict[str, list[str]] = {}
    for name in names:
        by_backbone.setdefault(registry.get(name).backbone, []).append(name)
    for source, group in by_backbone.items():
        backbone = Backbone(source)
        for name in group:
            make(name, backbone)
            print(f"{name}: written to {folder.name}/{name}.safetensors", flush=True)
