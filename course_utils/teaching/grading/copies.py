"""Copies of the lessons with the variants of one seed, and the solutions that belong to them. Nothing runs here.

    several-tokens variants 17 18 --out FOLDER --solutions

A copy has no outputs. Where an exercise has variants, its text says what is different, and its check is called by the
seed: ``check("02.1/17", lar)``. Everything else is as in the lesson.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from course_utils import gates
from course_utils.teaching.exercises import variants
from course_utils.teaching.grading import sheet

#: What opens the paragraph that tells what is different.
YOURS = "**Your variant.**"
_PUBLISHED = "*What is said below this solution speaks of the exercise as it is published.*"


def write(
    seeds: Iterable[int | str],
    out: Path,
    lessons: Iterable[str] = (),
    solutions: bool = False,
    report: Callable[[str], object] = lambda line: None,
) -> list[Path]:
    """Write ``OUT/SEED/NAME-SEED.ipynb`` for every lesson and seed, and the solutions if they are wanted.

    Args:
        seeds: one for each reader.
        out: folder to write to; a file that is there is replaced.
        lessons: numbers such as "02", by default all; an appendix comes along.
        solutions: also write ``OUT/SEED/solutions/NAME-SEED.ipynb``.
        report: called with a line for every seed.

    Raises:
        ValueError: no seeds, no whole number among them, or no such lesson.
        OSError: the folder cannot be written to.
    """
    numbers, wanted = [variants.whole(seed) for seed in seeds], list(lessons)
    if not numbers:
        raise ValueError("give a seed for every reader, such as 17")
    kinds = [(sheet.NOTEBOOKS, personal)] + [(sheet.NOTEBOOKS / "solutions", solved)] * solutions
    files = [(file, change) for folder, change in kinds for file in shipped(wanted, folder)]
    made = []
    for seed in numbers:
        for file, change in files:
            place = Path(out, str(seed), file.relative_to(sheet.NOTEBOOKS)).with_name(f"{file.stem}-{seed}.ipynb")
            made.append(written(change(notebook(file), seed), place))
        report(f"seed {seed}: {len(files)} notebooks in {Path(out, str(seed))}")
    return made


def shipped(lessons: Iterable[str] = (), folder: Path | None = None) -> list[Path]:
    """The notebooks of some lessons, by default of all, in reading order.

    Raises:
        ValueError: a lesson that there is not.
    """
    lessons, folder = list(lessons), folder or sheet.NOTEBOOKS
    files = sorted(folder.glob("[0-9][0-9]*_*.ipynb"))
    if unknown := [number for number in lessons if not any(file.name[:2] == number for file in files)]:
        raise ValueError(f"there is no lesson {unknown[0]!r} in {folder.name}; a lesson is two digits, such as 02")
    return [file for file in files if not lessons or file.name[:2] in lessons]


def notebook(file: Path) -> dict:
    """A notebook as JSON holds it, with every source as one string and without outputs.

    Raises:
        FileNotFoundError, ValueError: no such file, or no notebook.
    """
    sheet.read(file)
    found = gates.json_value(gates.read_text(file), file.name)
    for cell in found["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return found


def personal(lesson: dict, seed: int) -> dict:
    """A lesson with the variants of a seed; it is changed in place, and returned."""
    return _varied(lesson, seed, _stub)


def solved(solution: dict, seed: int) -> dict:
    """A solution notebook with the answers to the variants of a seed; it is changed in place, and returned."""
    return _varied(solution, seed, _answer, f"\n\n{_PUBLISHED}")


def _varied(found: dict, seed: int, change: Callable[[str, variants.Varied, int], str], note: str = "") -> dict:
    cells = found["cells"]
    for number, cell in enumerate(cells):
        # In the lessons in their own folder these links lead to the solutions; a copy lies beside that folder.
        if cell["cell_type"] == "markdown":
            cell["source"] = cell["source"].replace("](solutions/", "](../notebooks/solutions/")
            continue
        for name in sheet.checked(cell["source"]):
            chosen = variants.varied(name[:2]).get(name)
            if chosen is None:
                continue
            cell["source"] = change(cell["source"], chosen, seed)
            text = next(c for c in reversed(cells[:number]) if c["cell_type"] == "markdown")
            text["source"] += f"\n\n{YOURS} {chosen.task(chosen.option(seed))}{note}"
    found["metadata"]["several_tokens_seed"] = seed
    return found


def _stub(source: str, chosen: variants.Varied, seed: int) -> str:
    if lines := chosen.stub(chosen.option(seed)):
        source = re.sub(chosen.replaces, lambda _: lines, source)
    return re.sub(rf"""(\bcheck\(\s*["']){re.escape(chosen.exercise_id)}(["'])""",
                  rf"\g<1>{chosen.exercise_id}/{seed}\g<2>", source)  # fmt: skip


def _answer(source: str, chosen: variants.Varied, seed: int) -> str:
    before, _ = split(source, chosen.exercise_id)
    return f'{before}{chosen.solution(chosen.option(seed))}\n\n\ncheck("{chosen.exercise_id}/{seed}", variant)'


def split(source: str, name: str) -> tuple[str, str]:
    """What stands before the statement that calls the check of an exercise, and the expression that is checked.

    Raises:
        ValueError: no statement calls it.
    """
    for statement in ast.parse(source).body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and name in sheet.checked(ast.unparse(node)) and len(node.args) == 2:
                called = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
                if called == "check":
                    return "".join(source.splitlines(keepends=True)[: statement.lineno - 1]), ast.unparse(node.args[1])
    raise ValueError(f"no statement calls check({name!r}, …)")


def written(found: dict, place: Path) -> Path:
    """Write a notebook where it belongs, whole or not at all; folders are made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with gates.replacing(place) as stream:
        stream.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return place
