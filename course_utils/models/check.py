"""Is this machine ready for the course? ``several-tokens check``

Every line says [OK], [FAIL] with what to do, or [--] for something that the
course can do without. Nothing is fetched or changed, and it also runs where the
packages are missing.
"""

import importlib.metadata
import os
import platform
import re
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

from course_utils import clone
from course_utils.models import store

OK, FAIL, OPTIONAL = "OK", "FAIL", "--"

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

#: The version of PyTorch whose wheels :func:`check_platform` speaks of.
TORCH = "2.13.0"

#: Peak of what a lesson needs, in bytes.
MEMORY_BYTES = 4_000_000_000

#: Room left over for notebooks, figures and temporary files, in bytes.
SPARE_BYTES = 500_000_000


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        topic: "Python", "packages", "model", "disk", "memory" or "processor".
        status: :data:`OK`, :data:`FAIL` or :data:`OPTIONAL`.
        found: what was found, in words.
        remedy: what to do about it; empty when nothing.
    """

    topic: str
    status: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n       {self.remedy}" if self.remedy else ""
        return f"{f'[{self.status}]':6} {self.found}{remedy}"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    text = "Python " + ".".join(map(str, version))
    if not (3, 11) <= version[:2] <= (3, 13):
        remedy = "The course needs Python 3.11, 3.12 or 3.13: install one and run make lab PYTHON=python3.12, say."
        return Check("Python", FAIL, text, remedy)
    return Check("Python", OK, text)


def this_platform() -> tuple[str, str, str]:
    """System, processor architecture of this Python, and version of what wheels depend on.

    The architecture is the one that pip goes by: a Python for Intel on an ARM machine counts as Intel.
    """
    if sys.platform == "darwin":
        return sys.platform, platform.machine(), platform.mac_ver()[0]
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # Windows has no confstr, musl no such value
        version = ""
    return sys.platform, sysconfig.get_platform().rpartition("-")[2], version


def check_platform(system: str, machine: str, version: str) -> Check:
    """Whether there is a PyTorch wheel for a platform, as :func:`this_platform` names it.

    Args:
        system: ``sys.platform``.
        machine: architecture, as in ``arm64``, ``x86_64``, ``amd64``.
        version: of macOS (``14.5``), or of the C library on Linux (``glibc 2.36``, empty for another one).
    """
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    machine = machine.lower()
    if system == "darwin":
        wrong = "an Intel Mac, or a Python for Intel" if machine == "x86_64" else ""
        old = number and number < (14, 0) and number != (10, 16)  # an old Python reads every later version as 10.16
        wrong = wrong or (f"macOS {version}, older than 14" if old else "")
        remedy = "It needs macOS 14 on an Apple chip, and a Python for Apple chips."
    elif system == "win32":
        wrong = "" if machine == "amd64" else f"Windows with a Python for {machine}"
        remedy = "It needs Windows on an Intel or AMD processor, and a 64-bit Python for it."
    elif system == "linux":
        wrong = "" if machine in ("x86_64", "aarch64") else f"Linux on {machine}"
        old = not version.startswith("glibc") or number < (2, 28)
        wrong = wrong or (f"Linux with {version or 'another C library than glibc'}" if old else "")
        remedy = "It needs Linux on x86_64 or aarch64 with glibc 2.28 or later (Debian 10, Ubuntu 20.04, RHEL 8)."
    else:
        wrong, remedy = system, "It needs Linux, macOS or Windows."
    if wrong:
        remedy += " Another way: the course in a Linux container or virtual machine, or on another machine."
        return Check("Python", FAIL, f"PyTorch {TORCH} has no package for this machine ({wrong})", remedy)
    return Check("Python", OK, f"PyTorch {TORCH} has a package for {system} {machine}")


def refuse_platform() -> None:
    """Leave Python, saying why, where PyTorch cannot be installed; the set-up asks before it downloads anything."""
    if (found := check_platform(*this_platform())).status == FAIL:
        sys.exit(str(found))


def pins(pyproject: Path = PYPROJECT) -> dict[str, str | None]:
    """Required packages and their pinned versions (None: any version) from ``[project] dependencies``.

    Extras such as ``name[extra]==1.0`` are read as ``name``; a requirement with an environment
    marker (``; sys_platform == …``) is left out, as it may not concern this machine.
    Where the package was installed alone, its own metadata says them; where there is neither, the dictionary is empty.
    """
    if pyproject.is_file():
        wanted = tomllib.loads(pyproject.read_text("utf-8")).get("project", {}).get("dependencies", [])
    elif pyproject == PYPROJECT and not clone():
        wanted = _own_metadata()
    else:
        wanted = []
    found = {}
    for requirement in wanted:
        if match := re.fullmatch(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*(?:==\s*([\w.+!-]+)\s*)?([^;]*)", requirement):
            found[match[1]] = match[2]
    return found


def _own_metadata() -> list[str]:
    try:
        required = importlib.metadata.requires("several-tokens") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in required if "extra ==" not in requirement]


def check_course() -> list[Check]:
    """Nothing in a clone of the course; elsewhere what cannot be done, and what to do about it."""
    if clone():
        return []
    found = "the package was installed without the lessons, adapters and data of the course"
    remedy = "To have them, get the whole course with git clone, and in its folder run: python -m pip install -e ."
    return [Check("packages", OPTIONAL, found, remedy)]


def check_packages(pyproject: Path = PYPROJECT) -> list[Check]:
    """One check per required package."""
    wanted = pins(pyproject)
    if not wanted:
        return [Check("packages", OPTIONAL, f"no list of packages in {pyproject}", "Versions were not compared.")]
    return [_check_package(name, version) for name, version in wanted.items()]


def _check_package(name: str, wanted: str | None) -> Check:
    requirement = f"{name}=={wanted}" if wanted else name
    remedy = f'Run: {sys.executable} -m pip install "{requirement}"'
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", FAIL, f"{name} is not installed", remedy)
    # "2.13.0+cpu" is a build of 2.13.0; a pin without such a suffix accepts every build, as pip does.
    if wanted and wanted not in (found, found.partition("+")[0]):
        return Check("packages", FAIL, f"{name} {found}, the course is written for {wanted}", remedy)
    return Check("packages", OK, f"{name} {found}")


def check_models(cache: Path | None = None) -> list[Check]:
    """The default model must be there; the second one is fetched when a cell first asks for it."""
    try:
        cache = cache or store.cache_folder()
    except store.StoreError as error:
        return [Check("model", FAIL, "there is no folder for the models", str(error))]
    default, *others = store.SOURCES
    if (wrong := store.damage(cache / default, store.SOURCES[default])) is None:
        checks = [Check("model", OK, f"{default} in {cache / default}")]
    else:
        remedy = f"Run: {sys.executable} -m course_utils fetch {default}"
        checks = [Check("model", FAIL, f"{default} in {cache / default}: {wrong}", remedy)]
    for name in others:
        if store.ready(name, cache):
            checks.append(Check("model", OK, f"{name} in {cache / name}"))
        else:
            size = f"{store.SOURCES[name].download_bytes / 1e6:.0f} MB"
            checks.append(Check("model", OPTIONAL, f"{name} not fetched yet ({size}, fetched on first use)"))
    return checks


def check_disk(cache: Path | None = None, free: int | None = None) -> Check:
    """Room in the cache for the models that are not there yet."""
    try:
        cache = cache or store.cache_folder()
    except store.StoreError as error:
        return Check("disk", OPTIONAL, "disk: no folder to look at", str(error))
    free = store.free_bytes(cache) if free is None else free
    missing = [source.disk_bytes for name, source in store.SOURCES.items() if not store.ready(name, cache)]
    needed = sum(missing) + SPARE_BYTES
    text = f"{free / 1e9:.1f} GB free in {cache}, {needed / 1e9:.1f} GB needed"
    if free < needed:
        return Check("disk", FAIL, text, "Free some space, or set COURSE_CACHE to a folder on another disk.")
    return Check("disk", OK, text)


def available_memory() -> int | None:
    """Memory that programs can still take, in bytes; None where it cannot be told."""
    try:
        import psutil
    except ImportError:
        return None
    limit = Path("/sys/fs/cgroup/memory.max")  # a container may allow less than the machine has
    allowed = limit.read_text().strip() if limit.is_file() else ""
    available = psutil.virtual_memory().available
    return min(available, int(allowed)) if allowed.isdigit() else available


def check_memory(available: int | None = None) -> Check:
    available = available_memory() if available is None else available
    if available is None:
        return Check("memory", OPTIONAL, "memory: cannot be told without the package psutil")
    text = f"{available / 1e9:.1f} GB of memory available, {MEMORY_BYTES / 1e9:.0f} GB needed"
    if available < MEMORY_BYTES:
        return Check("memory", FAIL, text, "Close other programs and other notebooks' kernels.")
    return Check("memory", OK, text)


def check_processor(cores: int | None = None) -> Check:
    cores = cores or os.cpu_count() or 1
    if cores < 2:
        return Check("processor", OPTIONAL, "1 CPU core: everything takes about twice the minutes stated")
    return Check("processor", OK, f"{cores} CPU cores (the minutes stated are for 2)")


def checks(cache: Path | None = None, pyproject: Path = PYPROJECT) -> list[Check]:
    """Everything, in the order in which it matters."""
    return [
        check_python(),
        check_platform(*this_platform()),
        *check_course(),
        *check_packages(pyproject),
        *check_models(cache),
        check_disk(cache),
        check_memory(),
        check_processor(),
    ]


def report(brief: bool = False, found: list[Check] | None = None) -> bool:
    """Print the checks and return whether none failed.

    Args:
        brief: one line per topic, without versions, sizes and paths, so that every
            machine that is ready prints the same; what fails is still told in full.
        found: what :func:`checks` returned; looked up if not given.
    """
    found = checks() if found is None else found
    failed = [check for check in found if check.status == FAIL]
    if brief:
        for topic in dict.fromkeys(check.topic for check in found if check.topic != "processor"):
            print(topic, f"[{FAIL if any(check.topic == topic for check in failed) else OK}]")
    for check in failed if brief else found:
        print(check)
    return not failed
