"""Run the unit tests against the newest releases of the packages that the course pins; say what differs and what fails.

    python tools/newest.py [--hold torch] [--venv .venv-newest] [--pip-args "…"] [-- ARGUMENTS OF PYTEST]

A virtual environment of its own is made, or brought up to date; the one of the course stays as it is. A package whose
newest release cannot be installed together with the others stays at the newest one that can; one that is held stays at
its pin, such as PyTorch, whose download is several GB where it brings libraries for GPUs along.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Stages of their own elsewhere: they take minutes, and what they open is not made of our packages alone.
LEFT_OUT = ("tests/browser", "tests/site", "tests/teaching/test_exercises.py", "tests/search/scale/test_encode.py")


def pins(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """Requirement without its version, such as ``ray[data]`` -> the pinned version; of course and tests."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return dict(re.fullmatch(r"([\w.\[\]-]+)==(\S+)", requirement).groups() for requirement in wanted)


def wanted(pinned: dict[str, str], held: Iterable[str] = ()) -> list[str]:
    """What pip is asked for: every package by its name, and those that are held by their pin.

    Raises:
        ValueError: a package is held that the course does not pin.
    """
    if unknown := sorted(set(held) - pinned.keys()):
        raise ValueError(f"the course does not pin {', '.join(unknown)}; see pyproject.toml for the names")
    return [f"{name}=={version}" if name in held else name for name, version in pinned.items()]


def moved(pinned: dict[str, str], installed: dict[str, str]) -> list[str]:
    """One line for each package whose installed version is not the pinned one."""
    lines = []
    for requirement, version in pinned.items():
        now = installed.get(_plain(requirement), "not installed")
        if now.split("+")[0] != version:
            lines.append(f"{requirement}: {version} → {now}")
    return lines


def _plain(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement.partition("[")[0]).lower()


def _installed(python: Path) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    return {_plain(row["name"]): row["version"] for row in json.loads(listed.stdout)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-newest")
    parser.add_argument("--hold", nargs="*", default=[], metavar="NAME", help="packages that stay at their pins")
    parser.add_argument("--pip-args", default="", help="more arguments for pip, such as an index of your own")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest instead of the unit tests")
    options = parser.parse_args()
    python = options.venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(options.venv, with_pip=True)
    pinned, more = pins(), shlex.split(options.pip_args)
    try:
        names = wanted(pinned, options.hold)
    except ValueError as error:
        parser.error(str(error))
    install = [python, "-m", "pip", "install", "--quiet", "--upgrade", "--upgrade-strategy", "eager", *more]
    for command in ([*install, *names], [*install, "--no-deps", "-e", str(ROOT)]):
        if status := subprocess.run(command).returncode:
            print("The newest releases cannot be installed together; pip says why above.", file=sys.stderr)
            return status
    tests = options.pytest or ["tests", *(f"--ignore={path}" for path in LEFT_OUT)]
    status = subprocess.run([python, "-m", "pytest", "-q", "--numprocesses=2", *tests], cwd=ROOT).returncode
    changed = moved(pinned, _installed(python))
    print(f"\n{len(changed)} of {len(pinned)} packages have a newer release than the course pins:")
    if options.hold:
        print(f"  held at their pins: {', '.join(options.hold)}")
    print("\n".join(f"  {line}" for line in changed) or "  none")
    print("The unit tests " + ("pass with them." if status == 0 else "fail with them; the names stand above."))
    return status


if __name__ == "__main__":
    sys.exit(main())
