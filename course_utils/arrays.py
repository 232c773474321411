"""Arrays: embeddings of the Wikipedia sentences that ship with the course.

Encoding 2 000 sentences takes a laptop about a minute per embedder; the lessons
would spend their time waiting. The embeddings therefore lie in ``data/arrays``
as safetensors, two bytes a number or one (:func:`pack`), made by

    python -m course_utils.arrays            # what is missing or stale
    python -m course_utils.arrays smol-eol   # one embedder again

and every lesson that uses them encodes a few sentences afresh and compares.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course_utils import registry
from course_utils.datasets import wikipedia_sentences

#: Folder of the arrays.
ARRAYS = Path(__file__).resolve().parent.parent / "data" / "arrays"
#: Number of sentences embedded.
N_SENTENCES = 2000
#: The embedders whose arrays ship: the pocket family and the origins they are compared with.
NAMES = ("smollm2", "smollm2-mean", "smollm2-last", "gemma3-last", *registry.POCKET)


#: Those stored with one byte a number. Untrained embedders are not among them: a few of their coordinates are
#: twenty times as large as the rest, and a step that fits those is too coarse for the others.
ONE_BYTE = ("smol-sgpt-qa", "smol-grit", "smol-llm2vec")


def load(name: str, n: int | None = None) -> np.ndarray:
    """Embeddings of ``wikipedia_sentences(n)`` by the embedder ``name``, float32 ``[n, d]``.

    Raises:
        FileNotFoundError: no array of that name; the message lists those present.
        ValueError: ``n`` out of range, or the array was made from other sentences.
    """
    from safetensors import safe_open

    path = ARRAYS / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"no shipped embeddings for {name!r}; there are: {', '.join(have()) or 'none'}")
    n = N_SENTENCES if n is None else n
    if not 1 <= n <= N_SENTENCES:
        raise ValueError(f"n must lie between 1 and {N_SENTENCES}; got {n}")
    with safe_open(path, "np") as file:
        made_from = json.loads(file.metadata()["made_from"])
        embeddings = file.get_tensor("embeddings")
        if embeddings.dtype == np.int8:
            embeddings = unpack(embeddings, file.get_tensor("embeddings.scale"))
    if made_from["sentences"] != _digest("\n".join(wikipedia_sentences(N_SENTENCES)).encode()):
        raise ValueError(f"{path.name} was made from other sentences: run python -m course_utils.arrays {name}")
    return embeddings[:n].astype(np.float32)


def have() -> list[str]:
    """Names of the embedders whose array and adapters are present."""
    return [name for name in NAMES if (ARRAYS / f"{name}.safetensors").exists() and registry.available((name,))]


def source(name: str) -> dict[str, str]:
    """What an array depends on, as checksums: sentences, backbone, adapters."""
    from course_utils import store

    spec = registry.get(name)
    weights = [Path(a) / "adapter_model.safetensors" for a in spec.adapter_paths()]
    return {
        "embedder": name,
        "sentences": _digest("\n".join(wikipedia_sentences(N_SENTENCES)).encode()),
        "backbone": store.fingerprint(store.backbone(spec.backbone)),
        "adapters": _digest(*(w.read_bytes() for w in weights)),
    }


def is_current(name: str) -> bool:
    """Whether the array exists and was made from today's sentences, backbone and adapter."""
    from safetensors import safe_open

    path = ARRAYS / f"{name}.safetensors"
    if not path.exists():
        return False
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["made_from"]) == source(name)


def make(name: str, backbone=None) -> None:
    """Encode the sentences and write the array, atomically."""
    from safetensors.numpy import save_file

    from course_utils.embedder import load as load_embedder

    embeddings = load_embedder(name, backbone=backbone).encode(wikipedia_sentences(N_SENTENCES))
    if np.abs(embeddings).max() > np.finfo(np.float16).max:
        raise ValueError(f"{name}: an entry of {np.abs(embeddings).max():.0f} does not fit into float16")
    if name in ONE_BYTE:
        tensors = dict(zip(("embeddings", "embeddings.scale"), pack(embeddings), strict=True))
    else:
        tensors = {"embeddings": embeddings.astype(np.float16)}
    ARRAYS.mkdir(parents=True, exist_ok=True)
    partial = ARRAYS / f"{name}.partial"
    save_file(tensors, partial, {"made_from": json.dumps(source(name))})
    os.replace(partial, ARRAYS / f"{name}.safetensors")


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


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def main(names: Sequence[str]) -> None:
    """Make the named arrays, or all that are missing or stale."""
    from course_utils.embedder import Backbone

    wanted = list(names) or [n for n in registry.available(NAMES) if not is_current(n)]
    for source_name in dict.fromkeys(registry.get(n).backbone for n in wanted):
        backbone = Backbone(source_name)
        for name in [n for n in wanted if registry.get(n).backbone == source_name]:
            make(name, backbone)
            print(f"{name}: written to {ARRAYS.name}/{name}.safetensors", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
