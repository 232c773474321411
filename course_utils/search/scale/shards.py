"""Shards: the embeddings of a large corpus, in files of which each is whole or does not count.

A folder holds ``manifest.json``, which says what the embeddings were made from, and ``shard-00000.safetensors`` …, each
with the same number of documents but the last, in the order of the corpus. A shard holds ``embeddings``, float32
``[n, d]``, and ``ids``, UTF-8 with NUL between two. safetensors and not Parquet: the numbers come back bit by bit,
whoever reads them needs none of the packages that encoding needs, and the size of a file follows from its header, so
that one that was cut is noticed without reading it.

A shard is written under another name, brought to the disk, and renamed; it carries a checksum of its own content and
of the manifest. So a shard that was cut, damaged or made from something else never counts.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course_utils import gates
from course_utils.models import folders, registry, store
from course_utils.models.registry import EmbedderSpec
from course_utils.shipped import files

MANIFEST, VERSION = "manifest.json", 1
#: What two runs must share to write into one folder, and how a message calls it.
SOURCES = {
    "embedder": "the embedder",
    "backbone": "the weights of the backbone",
    "adapters": "the weights of the adapters",
    "reading": "what is written around a text, the tokenizer or the pooling",
    "texts": "the corpus",
    "role": "the role of the texts",
    "dtype": "the number format",
    "max_tokens": "the longest text in tokens",
    "rows_per_shard": "the number of documents in a shard",
}
#: Files beside the weights on which the embeddings depend.
_BESIDE = ("config.json", "tokenizer*.json", "vocab*", "merges.txt", "*.model", "modules.json", "[1-9]_*/*")
#: Appended to the name of a shard that is being written.
PARTIAL = ".partial"


class Header(NamedTuple):
    """What a shard says of itself: its rows, the dimension of its embeddings, and checksums."""

    rows: int
    dimension: int
    content: str
    manifest: str


# --- What the embeddings are made from ------------------------------------------------------------


def identity(spec: EmbedderSpec) -> dict[str, str]:
    """Name and checksums of an embedder: the weights of its backbone and its adapters, and how it reads a text.

    Raises:
        FileNotFoundError, ValueError: weights that are not on this machine.
    """
    if missing := spec.missing_adapters():
        raise FileNotFoundError(f"{spec.name} needs the adapter {', '.join(missing)}, which is not here")
    folder = _folder(spec.backbone)
    # The tokenizer, and what sentence-transformers keeps beside the model: the order of its modules, and theirs.
    beside = [p.read_bytes() for form in _BESIDE for p in sorted(folder.glob(form)) if p.is_file()]
    return {
        "embedder": spec.name,
        "backbone": store.fingerprint(folder),
        "adapters": ", ".join(_adapter(_folder(str(a))) for a in spec.adapter_paths()),
        "reading": files.digest(files.reading(spec).encode(), *beside),
    }


def weight(spec: EmbedderSpec) -> int:
    """Bytes of the files that hold the backbone's weights."""
    folder = _folder(spec.backbone)
    return sum(p.stat().st_size for p in [*folder.glob("*.safetensors"), *folder.glob("*.bin")])


def check_embedder(folder: Path | str, spec: EmbedderSpec) -> None:
    """See that an embedder is the one that a folder of shards was made with.

    Raises:
        ValueError: another embedder, or other weights; names both.
    """
    folder = gates.expanded(folder, "folder")
    _check_same(folder, manifest(folder), identity(spec))


def _folder(source: str) -> Path:
    """The folder of a backbone or an adapter on this machine."""
    if source in registry.STORED + registry.STORED_ENCODERS:
        return store.backbone(source)
    place = folders.located(source, "model")
    if isinstance(place, Path):
        return place
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError):
        raise FileNotFoundError(f"{source} is not on this machine; load it once, then run again") from None


def _adapter(folder: Path) -> str:
    held = [folder / name for name in ("adapter_config.json", "adapter_model.safetensors")]
    return files.digest(*(gates.file(path).read_bytes() for path in held))


# --- The manifest ---------------------------------------------------------------------------------


def write_manifest(folder: Path | str, sources: Mapping[str, object], rows: int, rows_per_shard: int) -> dict:
    """Write what a folder of shards is made from, or see that it is the same as before.

    Args:
        folder: made if it is not there.
        sources: values of :data:`SOURCES`, the embedder's from :func:`identity`.
        rows: documents of the whole corpus.
        rows_per_shard: of every shard but the last.

    Returns:
        The manifest: ``version``, the sources, ``rows``, ``shards``. The dimension stands in every shard.

    Raises:
        ValueError: the folder was made from something else; names both.
    """
    folder = gates.expanded(folder, "folder")
    rows, per_shard = gates.whole(rows, "rows"), gates.whole(rows_per_shard, "rows_per_shard")
    wanted = {**sources, "rows_per_shard": per_shard}
    unknown, lacking = wanted.keys() - SOURCES.keys(), SOURCES.keys() - wanted.keys()
    if unknown or lacking:
        raise ValueError(f"sources must hold {', '.join(SOURCES)}; got {', '.join(wanted)}")
    about = {"version": VERSION, **{k: wanted[k] for k in SOURCES}, "rows": rows, "shards": -(-rows // per_shard)}
    folder.mkdir(parents=True, exist_ok=True)
    if gates.is_file(folder / MANIFEST):
        held = manifest(folder)
        _check_same(folder, held, wanted)
        return held
    if strangers := [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.suffix != PARTIAL]:
        raise ValueError(f"{folder} holds {strangers[0]}, but no {MANIFEST}: it is none of ours. Give another folder")
    with gates.replacing(folder / MANIFEST) as file:
        json.dump(about, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return about


def manifest(folder: Path | str) -> dict:
    """What a folder of shards was made from.

    Raises:
        FileNotFoundError: no manifest.
        ValueError: a damaged one, or one of another version.
    """
    path = gates.expanded(folder, "folder") / MANIFEST
    if not gates.is_file(path):
        raise FileNotFoundError(f"{path} is not there: encode a corpus first (several-tokens scale encode)")
    found = gates.json_value(gates.read_text(path), str(path))
    known = isinstance(found, dict) and found.get("version") == VERSION
    if not known or not {*SOURCES, "rows", "shards"} <= found.keys():
        raise ValueError(f"{path} is no manifest of version {VERSION}: encode the corpus again, into another folder")
    return found


def manifest_digest(folder: Path | str) -> str:
    """The checksum of a folder's manifest, which every shard carries.

    Raises:
        FileNotFoundError: no manifest.
    """
    return files.digest(gates.file(gates.expanded(folder, "folder") / MANIFEST).read_bytes())


def _check_same(folder: Path, held: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    for key, what in SOURCES.items():
        if key in wanted and held.get(key) != wanted[key]:
            raise ValueError(
                f"{folder} was made with another value of {what}: {_short(held.get(key))}, and now it is "
                f"{_short(wanted[key])}. Give another folder, or remove this one; embeddings of both are never mixed"
            )


def _short(value: object) -> str:
    """A value for a message; of a checksum the beginning."""
    text = repr(value)
    return f"{text[1:13]}…" if len(text) > 60 else text


# --- Shards ---------------------------------------------------------------------------------------


def name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:05}.safetensors"


def write(
    folder: Path | str, number: int, ids: Sequence[str], embeddings: np.ndarray, digest: str | None = None
) -> None:
    """Write one shard, so that a file of its name is whole. Two processes may write the same one at once.

    Args:
        folder: with a manifest.
        number: of the shard.
        ids: of its documents, one each.
        embeddings: float32 ``[n, d]``.
        digest: of the manifest that the embeddings were made for, from :func:`manifest_digest`; by default that of
            the folder now.

    Raises:
        ValueError: NaN or infinity, not as many rows as the manifest gives this shard, or another manifest in the
            folder by now: a worker of an old run comes too late.
        OSError: for instance a full disk; what was begun is removed.
    """
    from safetensors.numpy import save

    folder = gates.expanded(folder, "folder")
    rows, keys = gates.matrix(embeddings, "embeddings"), gates.identifiers(ids, len(embeddings))
    digest = digest or manifest_digest(folder)
    _check_digest(folder, digest)
    needed = _rows(manifest(folder), number)
    if len(rows) != needed:
        raise ValueError(f"{name(number)} must hold {needed} documents; got {len(rows)}")
    tensors = {"embeddings": rows, "ids": np.frombuffer("\0".join(keys).encode("utf-8"), dtype=np.uint8)}
    packed = save(tensors, {"content": _content(tensors), "manifest": digest})
    path = folder / name(number)
    partial = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        _check_digest(folder, digest)  # writing takes a while
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def is_there(folder: Path | str, number: int) -> bool:
    """Whether a shard is made. Looks at its header and size, not at its numbers. Errors as :func:`missing`."""
    folder = gates.expanded(folder, "folder")
    if not gates.is_file(folder / name(number)):
        return False
    _check_header(folder / name(number), header(folder, number), manifest(folder), number, manifest_digest(folder))
    return True


def missing(folder: Path | str) -> list[int]:
    """Numbers of the shards that are still to be made. Looks at every file's header and size, not at its numbers.

    Raises:
        FileNotFoundError, ValueError: no manifest, or a shard that was cut or belongs to another manifest.
    """
    folder = gates.expanded(folder, "folder")
    about, digest = manifest(folder), manifest_digest(folder)
    there = {path.name for path in folder.iterdir()}
    lacking = []
    for number in range(about["shards"]):
        if name(number) not in there:
            lacking.append(number)
        else:
            _check_header(folder / name(number), header(folder, number), about, number, digest)
    return lacking


def header(folder: Path | str, number: int) -> Header:
    """What a shard says of itself; does not read the numbers.

    Raises:
        FileNotFoundError: no such shard.
        ValueError: one that was cut, or is none.
    """
    from safetensors import SafetensorError, safe_open

    path = gates.file(gates.expanded(folder, "folder") / name(number))
    try:
        with safe_open(path, "np") as file:
            rows, dimension = file.get_slice("embeddings").get_shape()
            about = file.metadata() or {}
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    return Header(rows, dimension, about.get("content", ""), about.get("manifest", ""))


def read(folder: Path | str) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids and embeddings, float32 ``[n, d]``, shard by shard in the order of the corpus; one is in memory at a time.

    Raises:
        FileNotFoundError, ValueError: no manifest, rows that lack (says how many), a shard that is damaged or of
            another dimension than the one before; before the first shard is yielded where its header tells.
    """
    folder = gates.expanded(folder, "folder")
    about = manifest(folder)
    if lacking := missing(folder):
        rows = sum(_rows(about, number) for number in lacking)
        raise ValueError(
            f"{folder} lacks {rows} of {about['rows']} documents ({len(lacking)} of {about['shards']} shards, first "
            f"{name(lacking[0])}): encoding was cut; run it again, what is done is kept"
        )
    dimensions = {header(folder, number).dimension for number in (0, about["shards"] - 1)}
    for number in range(about["shards"]):
        ids, embeddings = _read_one(folder, number)
        dimensions.add(embeddings.shape[1])
        if len(dimensions) > 1:
            raise ValueError(f"the shards of {folder} are of different dimensions: {sorted(dimensions)}; encode again")
        yield ids, embeddings


def load(folder: Path | str) -> tuple[list[str], np.ndarray]:
    """All ids and all embeddings, float32 ``[rows, d]``, for a corpus that fits into memory. Errors as :func:`read`."""
    found = list(read(folder))
    return [key for ids, _ in found for key in ids], np.concatenate([rows for _, rows in found])


def _read_one(folder: Path, number: int) -> tuple[list[str], np.ndarray]:
    from safetensors import SafetensorError, safe_open

    path = folder / name(number)
    about = header(folder, number)
    try:
        with safe_open(path, "np") as file:
            tensors = {key: file.get_tensor(key) for key in ("embeddings", "ids")}
    except SafetensorError as error:
        raise _damaged(path, str(error)) from None
    if _content(tensors) != about.content:
        raise _damaged(path, "its checksum differs")
    return tensors["ids"].tobytes().decode("utf-8").split("\0"), tensors["embeddings"]


def _check_header(path: Path, found: Header, about: Mapping, number: int, manifest_digest: str) -> None:
    if found.manifest != manifest_digest:
        raise ValueError(f"{path} was made from something else than {MANIFEST} says; remove it and run again")
    if found.rows != _rows(about, number):
        raise _damaged(path, f"it holds {found.rows} documents instead of {_rows(about, number)}")


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"{path} is damaged ({why}); remove it and run again")


def _rows(about: Mapping, number: int) -> int:
    return min(about["rows_per_shard"], about["rows"] - number * about["rows_per_shard"])


def _content(tensors: Mapping[str, np.ndarray]) -> str:
    return files.digest(*(np.ascontiguousarray(tensors[key]).tobytes() for key in sorted(tensors)))


def _check_digest(folder: Path, digest: str) -> None:
    if manifest_digest(folder) != digest:
        raise ValueError(
            f"{folder / MANIFEST} has changed since this run began: a new run has taken the folder, nothing was written"
        )
