"""The project's files, for tests that look at them."""

import subprocess
from functools import cache
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"
#: Lessons in their final form; the others are held to fewer rules until they are rewritten. This list must grow.
FINAL = ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11")


def lessons() -> list[Path]:
    """The lesson notebooks in reading order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def appendices() -> list[Path]:
    """The notebooks for what a core lesson leaves out, such as ``03a_layers.ipynb``."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9][a-z]_*.ipynb"))


def solutions() -> list[Path]:
    """The solution notebooks in reading order."""
    return sorted(SOLUTIONS.glob("[0-9][0-9]_*.ipynb"))


@cache
def read(path: Path) -> nbformat.NotebookNode:
    """A notebook as it is committed; treat it as read-only."""
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook that hold any code."""
    return [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]


def output_text(cell: nbformat.NotebookNode) -> str:
    """Everything a cell printed or showed as plain text."""
    parts = []
    for output in cell.outputs:
        parts.append(output.text if output.output_type == "stream" else output.get("data", {}).get("text/plain", ""))
    return "\n".join(parts)


@cache
def project_files() -> tuple[Path, ...]:
    """All files that git tracks or would track: what a fresh clone of this state would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return tuple(path for name in sorted(set(listed.split("\0"))) if name and (path := ROOT / name).is_file())
