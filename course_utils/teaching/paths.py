"""Ways through the course for classes: which lessons and which cells of them, how long they take, and their notebooks.

    several-tokens path                            all paths, with their minutes
    several-tokens path workshop --out workbook    the notebook of the workshop as well

A path is a part of ``data/paths.toml``: sessions, and in them lessons, whole or as excerpts. Cells are named by a text
that exactly one cell of the lesson holds, since their ids only count them. So an excerpt follows a lesson that is
changed elsewhere, and says so where its own place is gone. Minutes are those of :mod:`course_utils.teaching.hours`.
"""

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils import gates
from course_utils.teaching import hours

FILE = hours.ROOT / "data" / "paths.toml"
#: Key of a notebook's metadata: which path it belongs to.
KEY = "several_tokens_path"

_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
#: The headline of an exercise; its task goes on to the end of the cell.
TASK = re.compile(r"^(?:\*\*|#+ Your turn: )(\d\d\.\w+)(?= )", re.MULTILINE)
_CHECK = r"""\bcheck\(\s*["']{}["']"""
_LESSONS = re.compile(r"\b(\d\d)\b(?:(?: to |–)(\d\d)\b)?")


@dataclass(frozen=True)
class Part:
    """A lesson of a session, whole or as an excerpt.

    Attributes:
        lesson: its number, such as "03".
        take: texts that name cells, or pairs of them that name the first and the last of a range; none for all cells.
        leave_out: texts that are taken out of the cells, because they speak of what the excerpt lacks.
        intro: a text that stands before the excerpt.
        say: pairs of a text of a cell, and what a teacher may say there.
        talk: minutes for talking and breaks.
    """

    lesson: str
    take: tuple[tuple[str, str], ...] = ()
    leave_out: tuple[str, ...] = ()
    intro: str = ""
    say: tuple[tuple[str, str], ...] = ()
    talk: int = 0


@dataclass(frozen=True)
class Session:
    """What happens at one sitting; ``talk`` are minutes beside those of its parts."""

    title: str
    parts: tuple[Part, ...]
    talk: int = 0


@dataclass(frozen=True)
class Way:
    """A way through the course.

    Attributes:
        name: its key in the file.
        audience: for whom it is.
        at_most: minutes that it must not exceed.
        bridged: numbers of lessons that others of the path build on and that it leaves out.
    """

    name: str
    title: str
    audience: str
    aim: str
    at_most: int
    bridged: tuple[str, ...]
    sessions: tuple[Session, ...]


# --- The file -------------------------------------------------------------------------------------


def paths(file: Path = FILE) -> dict[str, Way]:
    """All paths by their names, in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no TOML, or a path that lacks something or has something unknown.
    """
    try:
        found = tomllib.loads(gates.read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file.name} is no TOML: {error}") from None
    try:
        return {name: _path(name, dict(entry)) for name, entry in found.items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file.name}: an entry lacks a key or has an unknown one: {error}") from None


def find(name: str, file: Path = FILE) -> Way:
    """The path of this name.

    Raises:
        ValueError: there is none; the message names those that there are.
    """
    known = paths(file)
    if name not in known:
        raise ValueError(f"there is no path {name!r}; choose from {', '.join(known)}")
    return known[name]


def _path(name: str, entry: dict) -> Way:
    sessions = tuple(_session(session) for session in entry.pop("session"))
    bridged = tuple(entry.pop("bridged", ()))
    return Way(name=name, audience=entry.pop("for"), bridged=bridged, sessions=sessions, **entry)


def _session(entry: dict) -> Session:
    return Session(entry["title"], tuple(_part(part) for part in entry["part"]), entry.get("talk", 0))


def _part(entry: dict) -> Part:
    take = tuple((t, t) if isinstance(t, str) else tuple(t) for t in entry.get("take", ()))
    say, leave_out = tuple(map(tuple, entry.get("say", ()))), tuple(entry.get("leave_out", ()))
    return Part(**entry | {"take": take, "say": say, "leave_out": leave_out})


# --- Lessons --------------------------------------------------------------------------------------


def lesson_file(number: str, folder: Path = hours.NOTEBOOKS) -> Path:
    """The notebook of a lesson, by its number.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(folder.glob(f"{number}_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"there is no lesson {number} in {folder}; call this from a clone of the course")
    return found[0]


def read(number: str, folder: Path = hours.NOTEBOOKS) -> list[dict]:
    """The cells of a lesson, each with its source as one string."""
    path = lesson_file(number, folder)
    cells = gates.json_value(gates.read_text(path), path.name)["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def prerequisites(number: str, folder: Path = hours.NOTEBOOKS) -> tuple[str, ...]:
    """The lessons that a lesson builds on, as its first cell names them.

    Raises:
        ValueError: the first cell has no line *Prerequisites*.
    """
    line = re.search(r"\*\*Prerequisites:\*\*(.*)", read(number, folder)[0]["source"])
    if not line:
        raise ValueError(f"lesson {number} does not say what it builds on: its first cell needs a line Prerequisites")
    named: set[int] = set()
    for first, last in _LESSONS.findall(re.sub(r"\]\([^)]*\)", "]", line[1])):
        named |= set(range(int(first), int(last or first) + 1))
    return tuple(f"{lesson:02d}" for lesson in sorted(named))


def gaps(path: Way, folder: Path = hours.NOTEBOOKS) -> list[tuple[str, str]]:
    """Lessons of a path and what each builds on that stands neither before it nor among the bridged ones."""
    seen, found = set(path.bridged), []
    for part in (part for session in path.sessions for part in session.parts):
        found += [(part.lesson, needed) for needed in prerequisites(part.lesson, folder) if needed not in seen]
        seen.add(part.lesson)
    return found


# --- Excerpts -------------------------------------------------------------------------------------


def excerpt(part: Part, folder: Path = hours.NOTEBOOKS) -> list[dict]:
    """The cells that a part takes, in the order of the lesson, outputs and all.

    A task whose check is not taken is cut off.

    Raises:
        ValueError: a text names no cell or several, a range ends before it begins, or a cell is taken twice.
    """
    cells = read(part.lesson, folder)
    taken: list[int] = []
    for first, last in part.take or ((None, None),):
        low, high = (0, len(cells) - 1) if first is None else (_place(cells, t, part.lesson) for t in (first, last))
        if high < low or taken and low <= taken[-1]:
            raise ValueError(f"lesson {part.lesson}: the cells from {first!r} to {last!r} are out of order")
        taken += range(low, high + 1)
    chosen = [dict(cells[number]) for number in taken]
    code = "\n".join(cell["source"] for cell in chosen if cell["cell_type"] == "code")
    for cell in chosen:
        if cell["cell_type"] == "markdown":
            cell["source"] = _without_tasks(cell["source"], code)
    for text in part.leave_out:
        cell = chosen[_place(chosen, text, part.lesson)]
        cell["source"] = cell["source"].replace(text, "").rstrip()
    return [cell for cell in chosen if cell["source"].strip()]


def _place(cells: Sequence[dict], text: str, lesson: str) -> int:
    found = [number for number, cell in enumerate(cells) if text in cell["source"]]
    if len(found) != 1:
        raise ValueError(f"lesson {lesson}: {text!r} must stand in exactly one cell, and stands in {len(found)}")
    return found[0]


def _without_tasks(source: str, code: str) -> str:
    for task in TASK.finditer(source):
        if not re.search(_CHECK.format(re.escape(task[1])), code):
            return source[: task.start()].rstrip()
    return source


def notebook(path: Way, session: Session, minutes: float, out: Path, folder: Path = hours.NOTEBOOKS) -> dict:
    """The notebook of a session: a title, and its excerpts with their texts before them; outputs stay.

    Args:
        minutes: what its first cell states.
        out: the folder that it is for; its links lead from there.
        folder: where the lessons are.
    """
    title = (
        f"# {path.title}\n\n{path.aim}\n\n**Time:** about {minutes:.0f} minutes, the talk between not counted. Every "
        f"cell is from a lesson; what is left out stands there."
    )
    cells = [_text(title)]
    for part in (part for part in session.parts if part.take):
        own = [_text(part.intro.strip())] * bool(part.intro) + excerpt(part, folder)
        anchors = {_anchor(cell["source"]) for cell in own if cell["source"].startswith("#")}
        for cell in (cell for cell in own if cell["cell_type"] == "markdown"):
            cell["source"] = _LINK.sub(
                lambda m, p=part, a=anchors: _led(m[0], p.lesson, a, out, folder), cell["source"]
            )
        cells += own
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, KEY: path.name}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _anchor(source: str) -> str:
    return "#" + source.splitlines()[0].lstrip("# ").replace(" ", "-")


def _led(target: str, lesson: str, anchors: set[str], out: Path, folder: Path) -> str:
    """A link of a lesson as it must be in a notebook in ``out``."""
    if re.match(r"[a-z]+:", target) or target in anchors:
        return target
    return f"{_up(out, folder)}/{lesson_file(lesson, folder).name if target.startswith('#') else ''}{target}"


def _up(out: Path, folder: Path) -> str:
    return os.path.relpath(folder.resolve(), out.resolve()).replace(os.sep, "/")


# --- Minutes and files ----------------------------------------------------------------------------


def names(path: Way) -> dict[int, str]:
    """File names of the notebooks of a path, by the number of the session; only for sessions with excerpts."""
    with_excerpts = [n for n, session in enumerate(path.sessions) if any(part.take for part in session.parts)]
    return {n: f"{path.name}{f'-{n + 1}' if len(with_excerpts) > 1 else ''}.ipynb" for n in with_excerpts}


def write(path: Way, out: Path, outputs: bool = False, folder: Path = hours.NOTEBOOKS) -> list[Path]:
    """Write the notebooks of a path: one for each session that has excerpts, whole lessons stay where they are.

    Args:
        out: folder to write to.
        outputs: keep what the cells have printed.

    Raises:
        FileExistsError: another notebook of this name is there; it may hold somebody's answers.
        ValueError: an excerpt does not fit its lesson.
        OSError: the folder cannot be written to.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for number, name in names(path).items():
        found = notebook(path, path.sessions[number], excerpt_minutes(path, number, folder), out, folder)
        for cell in found["cells"]:
            if cell["cell_type"] == "code" and not outputs:
                cell |= {"outputs": [], "execution_count": None}
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        if gates.is_file(out / name) and gates.read_text(out / name) != text:
            raise FileExistsError(f"{out / name} is there and may hold answers; rename it, or name another folder")
        with gates.replacing(out / name) as stream:
            stream.write(text)
        made.append(out / name)
    return made


def excerpt_minutes(path: Way, number: int, folder: Path = hours.NOTEBOOKS) -> float:
    """Minutes of the excerpts of a session by the rule; 0 where it has none."""
    if number not in names(path):
        return 0.0
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, names(path)[number])
        made = notebook(path, path.sessions[number], 0, place.parent, folder)
        place.write_text(json.dumps(made), encoding="utf-8")
        return hours.hours(place).minutes


def minutes(path: Way, folder: Path = hours.NOTEBOOKS) -> list[tuple[Session, float, int]]:
    """For each session its minutes of lessons by the rule, and its minutes of talk."""
    found = []
    for number, session in enumerate(path.sessions):
        whole = sum(hours.hours(lesson_file(p.lesson, folder)).minutes for p in session.parts if not p.take)
        talk = session.talk + sum(part.talk for part in session.parts)
        found.append((session, whole + excerpt_minutes(path, number, folder), talk))
    return found


def plan(path: Way, folder: Path = hours.NOTEBOOKS) -> str:
    """What happens in each session of a path, with its minutes; text."""
    rows, sums = [f"{path.name}: {path.title}, for {path.audience}"], [0.0, 0]
    for session, by_rule, talk in minutes(path, folder):
        said = ", ".join(f"{part.lesson}{' (excerpt)' if part.take else ''}" for part in session.parts)
        rows.append(f"  {session.title}: {said}: {by_rule:.0f} + {talk} for talk")
        sums = [sums[0] + by_rule, sums[1] + talk]
    rows.append(f"  together {sums[0] + sums[1]:.0f} minutes ({sums[1]} of them talk), at most {path.at_most}")
    return "\n".join(rows)
