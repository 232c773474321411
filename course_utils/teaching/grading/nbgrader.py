"""Export to nbgrader: source notebooks with solutions and hidden tests, from which nbgrader makes students' copies.

    several-tokens nbgrader 02_alignment_phenomenon --out FOLDER --assignment lesson02

writes ``FOLDER/source/lesson02/02_alignment_phenomenon.ipynb`` and ``FOLDER/nbgrader_config.py``; then, in FOLDER,
``nbgrader generate_assignment lesson02``, and ``nbgrader autograde lesson02`` when the answers are handed in.

A stub becomes two cells. The first is the student's: the stub, with a solution that nbgrader cuts out. The second is
locked and worth a point for each dot of the exercise's difficulty: it calls the course's check between the marks of
hidden tests, so that a student's copy has neither solution nor check, and feedback says that an answer is wrong but
not why. The course's package, which students have installed, holds the checks of the published exercises; a seed gives
a class an exercise that no published solution answers.
"""

import ast
from collections.abc import Callable, Iterable
from pathlib import Path

from course_utils import gates
from course_utils.teaching import exercises
from course_utils.teaching.exercises import variants
from course_utils.teaching.grading import copies, sheet

_SOLUTION = "### BEGIN SOLUTION\n{}\n### END SOLUTION"
_TEST = (
    "# Your answer to {0} is checked here when it is graded. Leave this cell as it is.\n"
    "### BEGIN HIDDEN TESTS\nfrom course_utils.teaching.exercises import check as graded\n\n"
    'assert graded("{1}", {2}).status == "right", "the answer to {0} is missing or not right yet"\n'
    "### END HIDDEN TESTS"
)
_CONFIG = '''\
"""Settings of nbgrader for notebooks of the course: a stub stays as it is, and cells may take their time."""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {course!r}
c.ClearSolutions.code_stub = {{"python": "# Your answer stands above this line."}}
c.ExecutePreprocessor.timeout = {seconds}
'''


def export(
    names: Iterable[str],
    out: Path,
    assignment: str,
    seed: int | str | None = None,
    seconds: int = 300,
    report: Callable[[str], object] = lambda line: None,
) -> list[Path]:
    """Write source notebooks of an assignment, and nbgrader's settings where there are none.

    Args:
        names: names of lessons without folder, such as ``02_alignment_phenomenon`` or ``11a_more_exercises``.
        out: the course directory of nbgrader.
        assignment: its name, letters, digits, - and _.
        seed: the exercises as a reader with this seed has them; as published without it.
        seconds: what a cell may take when nbgrader runs it.
        report: called with a line for every notebook.

    Raises:
        ValueError: no names, no such lesson, a lesson without exercises, or a name that no assignment can have.
        OSError: the folder cannot be written to.
    """
    names = [Path(name).stem for name in names]
    if not names:
        raise ValueError("name one or more lessons, such as 02_alignment_phenomenon")
    if not assignment.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"an assignment's name has letters, digits, - and _ only, not {assignment!r}")
    known = {file.stem: file for file in copies.shipped()}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no lesson {unknown[0]!r}; there are {', '.join(known)}")
    made = []
    for name in names:
        found = source(known[name], seed)
        points = [cell["metadata"]["nbgrader"].get("points", 0) for cell in found["cells"]
                  if "nbgrader" in cell["metadata"]]  # fmt: skip
        made.append(copies.written(found, Path(out, "source", assignment, f"{name}.ipynb")))
        report(f"{made[-1]}: {sum(map(bool, points))} exercises, {sum(points)} points")
    settings = Path(out, "nbgrader_config.py")
    if not gates.is_file(settings):
        with gates.replacing(settings) as stream:
            stream.write(_CONFIG.format(course=Path(out).resolve().name, seconds=seconds))
    return made


def source(lesson: Path, seed: int | str | None = None) -> dict:
    """A lesson as nbgrader's source notebook; see :func:`export`.

    Raises:
        ValueError: it has no exercises, or an exercise has no solution.
    """
    found, solutions = copies.notebook(lesson), sheet.NOTEBOOKS / "solutions"
    answers = [copies.notebook(file) for file in sorted(solutions.glob(f"{lesson.name[:2]}*.ipynb"))]
    if seed is not None:
        number = variants.whole(seed)
        copies.personal(found, number)
        answers = [copies.solved(answer, number) for answer in answers]
    code = [cell["source"] for answer in answers for cell in answer["cells"] if cell["cell_type"] == "code"]
    cells: list[dict] = []
    for cell in found["cells"]:
        asked = sheet.checked(cell["source"]) if cell["cell_type"] == "code" else []
        cells += _exercise(cell, asked[0], code, seed) if asked else [cell]
    if len(cells) == len(found["cells"]):
        raise ValueError(f"{lesson.name} has no exercises")
    return found | {"cells": cells, "nbformat_minor": 5}


def _exercise(cell: dict, name: str, code: list[str], seed: int | str | None) -> list[dict]:
    """The two cells that a stub becomes."""
    stub, checked = copies.split(cell["source"], name)
    answer = _answer(name, checked, code)
    asked = exercises.exercises(name[:2])[name]
    varies = seed is not None and name in variants.varied(name[:2])
    test = _TEST.format(name, f"{name}/{seed}" if varies else name, checked)
    mark = name.replace(".", "-")
    first = cell | {"source": f"{stub.rstrip()}\n\n{_SOLUTION.format(answer)}", "metadata": _metadata(f"answer-{mark}")}
    second = cell | {
        "id": f"test-{mark}", "source": test, "metadata": _metadata(f"test-{mark}", asked.difficulty),
    }  # fmt: skip
    return [first, second]


def _metadata(name: str, points: int | None = None) -> dict:
    """nbgrader's own entry, in the third form of its schema: a solution, or with points a locked test."""
    entry = {"grade_id": name, "schema_version": 3, "task": False, "solution": points is None, "locked": True}
    entry |= {"grade": points is not None} | ({"locked": False} if points is None else {"points": points})
    return {"nbgrader": entry}


def _answer(name: str, checked: str, code: list[str]) -> str:
    """Source of the solution with all that it uses from the solution notebook, under the name that is checked."""
    place = next((n for n, cell in enumerate(code) if name in sheet.checked(cell)), None)
    if place is None:
        raise ValueError(f"the solution notebooks have no solution of {name}")
    own, value = copies.split(code[place], name)
    before = [statement for cell in code[:place] for statement in ast.parse(cell).body]
    needed = _needed(f"{own}\n{value}", before)
    same = "" if value == checked else f"{checked} = {value}"
    return "\n\n".join(filter(None, [*needed, own.strip(), same]))


def _needed(source: str, before: list[ast.stmt]) -> list[str]:
    """The imports and functions among some statements that a source uses and has not itself, in order."""
    own = {name for statement in ast.parse(source).body for name in _defined(statement)}
    used, kept = _used(ast.parse(source)) - own, []
    for statement in reversed(before):
        if defined := _defined(statement) & used:
            kept.insert(0, ast.unparse(statement))
            used = used - defined | _used(statement)
    return kept


def _used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _defined(statement: ast.stmt) -> set[str]:
    """Names that an import, a function or an assignment brings; the check itself is none."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names} - {"check"}
    if isinstance(statement, ast.Assign):
        return {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return {statement.name} if isinstance(statement, ast.FunctionDef) else set()
