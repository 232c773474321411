"""Packages of npm, each fetched once and checked against the checksum that the registry gives for its version."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path


class NpmError(RuntimeError):
    """The package cannot be had; the message says what to do."""


def package(name: str, sha512: str, cache: Path) -> Path:
    """The archive of a package such as ``onnxruntime-web@1.30.0``, fetched with npm when it is not there.

    Args:
        name: package and version.
        sha512: of the archive, in base64.
        cache: folder that keeps archives.

    Raises:
        NpmError: no npm, no package, or another one than expected.
    """
    archive = cache / f"{name.replace('@', '-')}.tgz"
    if not archive.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        if not (npm := shutil.which("npm")):
            raise NpmError(f"npm fetches {name}, and there is no npm here: install Node.js, or put {archive.name} into "
                           f"{cache}")  # fmt: skip
        with tempfile.TemporaryDirectory(dir=cache) as beside:
            done = subprocess.run([npm, "pack", name, "--silent"], cwd=beside, capture_output=True, text=True)
            if done.returncode:
                raise NpmError(f"npm did not give {name}: {done.stderr.strip()[-300:] or 'no reason was given'}")
            Path(beside, archive.name).rename(archive)
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").digest()
    if digest != base64.b64decode(sha512):
        raise NpmError(f"{archive} is not {name} as it was published: remove it and try again")
    return archive


def files(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Some files of a package, by their path in it."""
    with tarfile.open(archive) as opened:
        return {name: opened.extractfile(f"package/{name}").read() for name in names}
