"""How long a lesson takes, by a rule that anyone can compute again.

A lesson's minutes are the sum of four parts:

* reading: the words of its texts and of its quiz, at 180 a minute, the pace of technical prose;
* code: the lines of its cells that are not empty, at 12 a minute; stubs of exercises are part of the exercises;
* exercises: the minutes that each of them states;
* waiting: the seconds that all cells run.

The seconds come from ``data/lesson_seconds.json``, which ``tools/run_notebooks.py --time`` writes on a quiet machine,
and from the lesson's first cell where it is not in there.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from course_utils import gates
from course_utils.teaching.exercises import find, quiz

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS, SECONDS = ROOT / "notebooks", ROOT / "data" / "lesson_seconds.json"
WORDS_A_MINUTE, LINES_A_MINUTE = 180, 12

_CALL = r"""\b{}\(\s*["'](\d\d\.\w+)["']"""
_DECLARED, _DECLARED_SECONDS = re.compile(r"about (\d+) minutes"), re.compile(r"(?:cells|run).{0,40}?(\d+) s\b")
#: What is shown and not read as words: formulas, addresses, code, HTML.
_NO_WORDS = re.compile(r"```.*?```|\$\$?[^$\n]+\$\$?|\]\([^)]*\)|<[^>]*>", re.DOTALL)
#: Lines between fences of a text are code, wherever they stand.
_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Hours:
    """What a lesson asks of its reader; ``exercises`` in minutes, ``seconds`` of all cells.

    Attributes:
        name: the lesson's file name without its ending.
        declared: the minutes that its first cell states; None where it states none.
    """

    name: str
    cells: int
    words: int
    lines: int
    exercises: int
    seconds: float
    declared: int | None = None

    @property
    def minutes(self) -> float:
        """The minutes by the rule."""
        return self.words / WORDS_A_MINUTE + self.lines / LINES_A_MINUTE + self.exercises + self.seconds / 60

    @property
    def honest(self) -> bool:
        """Whether the declared minutes lie within a tenth, or three minutes, of the rule."""
        return self.declared is not None and abs(self.declared - self.minutes) <= max(3, 0.1 * self.minutes)


def hours(path: Path, seconds: dict[str, float] | None = None) -> Hours:
    """The hours of one lesson.

    Args:
        path: a notebook.
        seconds: how long all cells run, by file name; by default what ``data/lesson_seconds.json`` holds.

    Raises:
        FileNotFoundError: no such notebook.
        ValueError: no JSON.
    """
    notebook = gates.json_value(gates.read_text(path), path.name)
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    texts = [source for kind, source in cells if kind == "markdown"]
    code = [source for kind, source in cells if kind == "code"]
    quizzes = [quiz(quiz_id) for source in code for quiz_id in re.findall(_CALL.format("quiz"), source)]
    checked = {exercise_id for source in code for exercise_id in re.findall(_CALL.format("check"), source)}
    listings = [listing for source in texts for listing in _FENCED.findall(source)]
    read = [source for source in code if not re.search(_CALL.format("check"), source)] + listings
    first = texts[0] if texts else ""
    declared, stated = _DECLARED.search(first), _DECLARED_SECONDS.search(first)
    ran = (measured_seconds() if seconds is None else seconds).get(path.name)
    return Hours(
        path.stem,
        len(cells),
        sum(map(_words, texts)) + sum(_words(repr(found)) for found in quizzes),
        sum(bool(line.strip()) for source in read for line in source.splitlines()),
        sum(find(exercise_id).minutes for exercise_id in checked),
        ran if ran is not None else float(stated[1]) if stated else 0.0,
        int(declared[1]) if declared else None,
    )


def _words(text: str) -> int:
    return len(re.findall(r"\w[\w'’-]*", _NO_WORDS.sub(" ", text)))


def measured_seconds() -> dict[str, float]:
    """Seconds of each notebook, by file name, as they were measured; nothing where nothing was."""
    if not gates.is_file(SECONDS):
        return {}
    return dict(gates.json_value(gates.read_text(SECONDS), SECONDS.name)["seconds"])


def store_seconds(measured: dict[str, float], machine: str) -> None:
    """Add measured seconds to ``data/lesson_seconds.json``, with the machine that took them."""
    known = measured_seconds() | {name: round(value) for name, value in measured.items()}
    with gates.replacing(SECONDS) as file:
        file.write(json.dumps({"machine": machine, "seconds": dict(sorted(known.items()))}, indent=1) + "\n")


def table(folder: Path = NOTEBOOKS) -> str:
    """All lessons and appendices with their parts, in minutes, and what their first cells declare; text.

    Raises:
        FileNotFoundError: no lesson in the folder.
    """
    paths = sorted(folder.glob("[0-9][0-9]*_*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"there are no lessons in {folder}; call this from a clone of the course")
    rows = [f"{'lesson':<32} {'cells':>5} {'reading':>8} {'code':>5} {'exercises':>9} {'waiting':>8} "
            f"{'together':>8} {'declared':>8}"]  # fmt: skip
    for found in map(hours, paths):
        said = "none" if found.declared is None else f"{found.declared}" + ("" if found.honest else " (!)")
        rows.append(
            f"{found.name:<32} {found.cells:>5} {found.words / WORDS_A_MINUTE:>8.0f} "
            f"{found.lines / LINES_A_MINUTE:>5.0f} {found.exercises:>9} {found.seconds / 60:>8.1f} "
            f"{found.minutes:>8.0f} {said:>8}"
        )
    rule = f"minutes: words / {WORDS_A_MINUTE} + lines of code / {LINES_A_MINUTE} + exercises + seconds / 60"
    return "\n".join([*rows, f"{rule}; (!) is more than 3 minutes and a tenth away"])
