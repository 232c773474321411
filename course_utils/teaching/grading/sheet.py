"""A reader's notebook as a list of code cells, and which exercises are checked in it. Nothing is executed here."""

import re
from collections import Counter
from pathlib import Path

from course_utils import gates
from course_utils.teaching import exercises

#: Folder of the lessons as they ship.
NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"
#: A call of ``check`` with the id of an exercise, and with a seed where it is a variant.
_CHECK = re.compile(r"""\bcheck\(\s*["'](\d\d\.\w+)(?:/(\d{1,9}))?["']""")


def read(file: Path) -> list[str]:
    """Sources of the code cells, in order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no notebook.
    """
    found = gates.json_value(gates.read_text(gates.file(file)), file.name)
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError(f"{file.name} is no Jupyter notebook: it has no list of cells")
    sources = [cell.get("source", "") for cell in cells if cell.get("cell_type") == "code"]
    return ["".join(map(str, s)) if isinstance(s, list) else str(s) for s in sources]


def checked(cell: str) -> list[str]:
    """Ids of the exercises whose check a cell calls, leaving out lines that are commented out."""
    return [name for name, _ in _calls(cell)]


def seed(cells: list[str]) -> int | None:
    """The seed that most checks of a notebook are called with; None where its exercises are the published ones."""
    counted = Counter(int(number) for cell in cells for _, number in _calls(cell) if number)
    return counted.most_common(1)[0][0] if counted else None


def _calls(cell: str) -> list[tuple[str, str]]:
    lines = (line for line in cell.splitlines() if not line.lstrip().startswith("#"))
    return _CHECK.findall("\n".join(lines))


def lesson(file: Path, cells: list[str]) -> str:
    """Two digits: the lesson that most of its checks belong to, or the one in the file's name.

    Raises:
        ValueError: neither says which lesson it is, or there is no such lesson.
    """
    counted = Counter(name[:2] for cell in cells for name in checked(cell))
    named = re.match(r"\d\d", file.name)
    number = counted.most_common(1)[0][0] if counted else named[0] if named else None
    if number is None:
        raise ValueError(f'{file.name} is not a notebook of a lesson: no cell calls check("NN.N", …)')
    try:
        exercises.exercises(number)
    except ValueError as error:
        raise ValueError(f"{file.name} belongs to no lesson with exercises: {error}") from None
    return number


def expected(file: Path, cells: list[str], number: str) -> list[str]:
    """Ids of the exercises that belong into a notebook, in the order of the lesson.

    They are those of the notebook that ships under this name, or else of the one of the lesson that has most in common
    with it; a lesson's exercises may be shared out between it and an appendix. Where the lessons are not at hand, as
    after an installation that copies the package alone, they are all exercises of the lesson.
    """
    known, own = list(exercises.exercises(number)), {name for cell in cells for name in checked(cell)}
    shipped = {path.name: _all_checked(path) for path in sorted(NOTEBOOKS.glob(f"{number}*.ipynb"))}
    shipped = {name: ids for name, ids in shipped.items() if ids}
    if not shipped:
        return known
    wanted = shipped.get(file.name) or max(shipped.values(), key=lambda ids: len(ids & own))
    return [name for name in known if name in wanted | own]


def _all_checked(path: Path) -> set[str]:
    return {name for cell in read(path) for name in checked(cell)}
