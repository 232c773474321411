"""Grading: points for the exercises in readers' notebooks.

    several-tokens grade FILES… --out scores.csv

A notebook runs whole, from its first cell to its last, in a process of its own (:mod:`.runner`), because an answer may
need what cells before it made. It runs in an empty folder beside ``data``, as a lesson does. The grader's own process
executes nothing of a notebook: it starts that process, reads verdicts from it, and ends it with all its children. A
cell that fails costs what is answered in it and what depends on it; one that does not come to an end is left out, and
the notebook runs once more without it, within the same time.

The checks are those that the reader sees, taken before the first cell runs: a notebook with a ``check`` of its own, or
with other names in the place of what the checks use, gains nothing. Code that digs deeper, into built-in functions,
into the libraries, or into the memory of its process, can still forge a verdict. What is handed in is a program that
runs on your machine, with your rights: read what is worth points, and grade files of strangers in a container.
"""

import csv
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from course_utils import gates
from course_utils.teaching import exercises
from course_utils.teaching.grading import processes, sheet

#: Seconds that a cell may take, and a notebook; gigabytes of memory.
CELL_SECONDS, NOTEBOOK_SECONDS, MEMORY_GB = 300, 1800, 8.0
#: How many cells of a notebook are left out, one after the other, before the rest is given up.
MOST_LEFT_OUT = 3
#: How much later than a cell's own time its process is ended: the cell may catch what interrupts it.
PATIENCE = 10
#: Seconds until a process must be ready for its first cell.
START_SECONDS = 120
#: How verdicts of a check are called in a table, and what else may have happened.
STATUS = {"right": "right", "wrong": "wrong", "missing": "not answered"}

_RUNNER = "from course_utils.teaching.grading import runner; runner.work()"
#: So much of what a process told is read: a notebook may find the file and fill it.
_MOST_BYTES = 2**24
#: What an event may hold.
_FORM = {"cell": int, "exercise": str, "status": str, "message": str, "error": str,
         "begin": bool, "ready": bool, "done": bool}  # fmt: skip
#: One notebook at a time: what is left behind by one could not be told from the other.
_ONE = threading.Lock()


@dataclass(frozen=True)
class Row:
    """What one exercise of one notebook earns.

    Attributes:
        file: the notebook's path as it was given: readers may have called theirs the same.
        lesson, exercise, title: which; empty for a file that is no notebook of a lesson.
        points, of: what was earned, and what can be: one point for each dot of its difficulty.
        status: ``right``, ``wrong``, ``not answered``, ``error`` (the cell raised), ``too long``, ``ended`` (the
            process did: memory, or an exit), ``no cell`` (the call of its check is gone), ``not reached``,
            ``unreadable``, or ``not graded`` (this machine failed, not the notebook).
        explanation: what the check said, or what went wrong.
        seed: of a reader's own variants, as the notebook's checks name it; empty for the exercises as published. A
            reader can write another seed there: compare it with the one that you gave.
    """

    file: str
    lesson: str
    exercise: str
    title: str
    points: int
    of: int
    status: str
    explanation: str
    seed: str = ""


def grade(
    files: Sequence[Path | str],
    *,
    cell_seconds: float = CELL_SECONDS,
    seconds: float = NOTEBOOK_SECONDS,
    memory_gb: float = MEMORY_GB,
    report: Callable[[str], object] = lambda line: None,
    keep: Callable[[list[Row]], object] = lambda rows: None,
) -> list[Row]:
    """Run notebooks, one after the other, and judge every exercise of their lessons.

    Args:
        files: notebooks of lessons; a copy may have any name, its checks say which lesson it is.
        cell_seconds: what one cell may take.
        seconds: what a notebook may take altogether, with the runs that leave out a cell.
        memory_gb: address space of its process, in 2³⁰ bytes; Linux holds to it, macOS and Windows do not.
        report: called with a line for every notebook.
        keep: called after every notebook with all rows so far, for instance to write them.

    Raises:
        ValueError: no files, one named twice, or limits that are no positive numbers.
        ChildProcessError: no notebook can run here, such as where a package is missing; says what was in the way.
    """
    files = [Path(file) for file in files]
    if not files:
        raise ValueError("no notebooks to grade: name one or more")
    places = [os.path.realpath(file) for file in files]
    for file, place in zip(files, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{_text(str(file))} is named twice; name every notebook once")
    for name, value in (("cell_seconds", cell_seconds), ("seconds", seconds), ("memory_gb", memory_gb)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be larger than 0; got {value}")
    rows = []
    for file in files:
        found = _graded(file, cell_seconds, seconds, memory_gb)
        rows += found
        keep(rows)
        failed = found and found[0].status in ("unreadable", "not graded")
        report(f"{_text(str(file))}: {sum(r.points for r in found)} of {sum(r.of for r in found)} points"
               f"{f' ({found[0].explanation})' if failed else ''}")  # fmt: skip
    return rows


def _graded(file: Path, cell_seconds: float, seconds: float, memory_gb: float) -> list[Row]:
    """The rows of one notebook."""
    name = _text(str(file))
    try:
        cells = sheet.read(file)
        lesson = sheet.lesson(file, cells)
        known = exercises.exercises(lesson)
        wanted = [known[asked] for asked in sheet.expected(file, cells, lesson)]
        seed = sheet.seed(cells)
    except (ValueError, OSError) as error:
        return [Row(name, "", "", "", 0, 0, "unreadable", _text(str(error)))]
    try:
        ran = _run(cells, lesson, cell_seconds, seconds, memory_gb, seed)
    except ChildProcessError:  # no other notebook would run either
        raise
    except OSError as error:  # a full disk, or no process to be had: other notebooks may fare better
        why = _text(f"this machine could not run the notebook ({type(error).__name__}: {error})")
        return [Row(name, lesson, a.id, a.title, 0, a.difficulty, "not graded", why) for a in wanted]
    rows = (_row(name, asked, cells, *ran) for asked in wanted)
    return [replace(row, seed="" if seed is None else str(seed)) for row in rows]


def writable(*files: Path | None) -> None:
    """Make sure, before notebooks run for an hour, that tables can be written where they are wanted.

    Raises:
        FileNotFoundError: no such folder, or a folder in the file's place.
        PermissionError: the folder is closed to us.
    """
    for file in filter(None, files):
        file = gates.expanded(file)
        if not gates.is_folder(file.parent):
            raise FileNotFoundError(f"{file.parent} is no folder (looked for it in {Path.cwd()}); make it first")
        if gates.is_folder(file):
            raise FileNotFoundError(f"{file} is a folder, not a file; give the name of a file")
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(f"nothing can be written into {file.parent}; name another folder")


def write(rows: Sequence[Row], csv_file: Path | None = None, json_file: Path | None = None) -> None:
    """Write a table as CSV, and as JSON with the sum of each file; an older file stays until the new one is whole.

    Raises:
        FileNotFoundError: no such folder.
        OSError: for instance a full disk.
    """
    if csv_file is not None:
        with gates.replacing(csv_file) as out:
            table = csv.DictWriter(out, list(Row.__dataclass_fields__), lineterminator="\n")
            table.writeheader()
            table.writerows({key: _plain(value) for key, value in asdict(row).items()} for row in rows)
    if json_file is not None:
        sums = {name: {"points": 0, "of": 0} for name in dict.fromkeys(row.file for row in rows)}
        for row in rows:
            sums[row.file]["points"] += row.points
            sums[row.file]["of"] += row.of
        with gates.replacing(json_file) as out:
            json.dump({"files": sums, "exercises": [asdict(row) for row in rows]}, out, indent=1, ensure_ascii=False)


def _plain(value):
    """What a spreadsheet would take for a formula, as text: an explanation may quote a reader's answer."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _text(said: str) -> str:
    """A text that a file can hold: half a character, from a message or a file's name, is spelled out."""
    return said.encode("utf-8", "backslashreplace").decode("utf-8")


# --- One notebook ---------------------------------------------------------------------------------


def _run(
    cells: list[str], lesson: str, cell_seconds: float, seconds: float, memory_gb: float, seed: int | None = None
) -> tuple[list[dict], dict[int, str], str]:
    """Events, what was left out (number of a cell → why), and why the rest was not reached, if it was not."""
    left_out: dict[int, str] = {}
    earlier: list[dict] = []
    end = time.monotonic() + seconds
    while True:
        job = {
            "cells": cells, "lesson": lesson, "skip": list(left_out), "cell_seconds": cell_seconds,
            "memory": int(memory_gb * 2**30), "nonce": secrets.token_hex(16), "seed": seed,
        }  # fmt: skip
        events, ended = _once(job, cell_seconds + PATIENCE, end)
        if ended is None:
            return events, left_out, ""
        at = max((event["cell"] for event in events if "cell" in event), default=0)
        stuck = at in left_out  # it ended before the first cell that is not left out
        if not stuck:
            left_out[at] = ended
        if ended == "time":  # what an earlier run came to counts, although this one did not come so far
            return earlier + events, left_out, "time"
        if stuck or len(left_out) > MOST_LEFT_OUT:
            return events, left_out, "stuck" if stuck else "often"
        earlier = events


def _once(job: dict, silence: float, end: float) -> tuple[list[dict], str | None]:
    """Run a notebook in a process of its own; its events, and None or why it did not come to its end.

    Raises:
        ChildProcessError: the process did not come to the first cell.
    """
    # The notebook is not told of the second folder, and what it does to the file there does not reach the open one.
    temporary = {"prefix": "several-tokens-grade-", "ignore_cleanup_errors": True}
    with (
        _ONE, processes.adopting() as before, tempfile.TemporaryDirectory(**temporary) as room,
        tempfile.TemporaryDirectory(**temporary) as own,
    ):  # fmt: skip
        told = os.open(Path(own, "events"), os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with open(Path(own, "errors"), "wb") as errors:
                process = _start(Path(room), Path(own, "events"), errors)
            try:
                _hand_over(process, job, told, Path(own, "errors"))
                ended = _watch(process, told, silence, end)
            finally:
                processes.end(process, before)
                with suppress(OSError):
                    process.stdin.close()
            events = _events(told, job)
        finally:
            os.close(told)
    return events, None if any(event.get("done") for event in events) else ended


def _start(room: Path, events: Path, errors) -> subprocess.Popen:
    """The process, in a folder that looks like a reader's ``workbook``: beside it lies ``data``."""
    work, data = room / "workbook", exercises.QUIZZES.parent
    work.mkdir()
    if data.is_dir():
        try:
            (room / "data").symlink_to(data, target_is_directory=True)
        except OSError:  # Windows lets few users make links
            shutil.copytree(data, room / "data")
    # No history of the teacher's own IPython; no GPU, which reserves more addresses than a limit of memory allows.
    environment = {**os.environ, "PYTHONPATH": _path(), "MPLBACKEND": "Agg", "COURSE_EVENTS": str(events),
                   "IPYTHONDIR": str(room / "ipython"), "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    # What a notebook prints goes nowhere: the verdicts come by a file.
    return subprocess.Popen(
        [sys.executable, "-c", _RUNNER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, cwd=work,
        env=environment, start_new_session=True,
    )  # fmt: skip


def _hand_over(process: subprocess.Popen, job: dict, told: int, errors: Path) -> None:
    """Give the process its job, wait until it is ready and let it begin; its input stays open as long as we live."""
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        last = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < last:
            if os.fstat(told).st_size:
                process.stdin.write(b"go\n")
                process.stdin.flush()
                return
            time.sleep(0.05)
    said = _text(errors.read_text(encoding="utf-8", errors="replace")[-1000:].strip())
    raise ChildProcessError(
        f"notebooks cannot run here: their process {'ended' if process.poll() is not None else 'was not ready'} before "
        f"the first cell. `several-tokens check` looks at the installation. It said: {said or 'nothing'}"
    )


def _watch(process: subprocess.Popen, told: int, silence: float, end: float) -> str:
    """Wait until a process ends, or is to be ended; what it would be called if it had not come to its end."""
    last, size = time.monotonic(), 0
    while process.poll() is None:
        time.sleep(0.05)
        now = time.monotonic()
        if (grown := os.fstat(told).st_size) != size:
            last, size = now, grown
        if now > end:
            return "time"
        if now - last > silence:
            return "too long"
    return "ended"


def _events(told: int, job: dict) -> list[dict]:
    """What the process told, leaving out what has not the form of an event."""
    with open(told, "rb", closefd=False) as file:
        file.seek(0)
        text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    return [event for line in text.split("\n") if (event := _event(line, job))]


def _event(line: str, job: dict) -> dict | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.pop("nonce", None) != job["nonce"]:
        return None
    if any(type(value) is not _FORM.get(key) for key, value in event.items()):
        return None
    if not 0 <= event.get("cell", 0) < len(job["cells"]) or event.get("status", "right") not in STATUS:
        return None
    whole = ("exercise" not in event or {"cell", "status", "message"} <= event.keys()) and (
        "cell" in event or not {"error", "begin"} & event.keys()
    )
    return event if whole else None


def _path() -> str:
    """Where this package is found: the process starts in another folder."""
    here = str(Path(exercises.__file__).resolve().parents[3])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


def _row(
    file: str, asked: exercises.Exercise, cells: list[str], events: list[dict], left_out: dict[int, str], rest: str
) -> Row:
    """The last verdict on an exercise, or what kept its check from being reached."""
    said = [event for event in events if event.get("exercise") == asked.id]
    places = [number for number, cell in enumerate(cells) if asked.id in sheet.checked(cell)]
    failed = {event["cell"]: event["error"] for event in events if "error" in event}
    begun = {event["cell"] for event in events if "begin" in event}
    if said:
        status, why = STATUS[said[-1]["status"]], said[-1]["message"]
    elif not places:
        status, why = "no cell", f"no cell calls check({asked.id!r}, …)"
    elif places[-1] in left_out:
        status, why = _WHY[left_out[places[-1]]]
    elif places[-1] in failed:
        status, why = ("too long" if failed[places[-1]] == _TIME else "error"), failed[places[-1]]
    elif places[-1] in begun:
        status, why = "error", "its cell ran, and never came to the check"
    else:
        status, why = "not reached", _REST.get(rest, _REST["stuck"])
    points = asked.difficulty if status == "right" else 0
    return Row(file, asked.id[:2], asked.id, asked.title, points, asked.difficulty, status, _text(why))


#: What the runner says of a cell that was interrupted.
_TIME = "the cell took too long"
#: Why a run ended in a cell → status and words.
_WHY = {
    "too long": ("too long", _TIME),
    "time": ("too long", "the notebook's time was over in this cell"),
    "ended": ("ended", "the process ended in this cell: not enough memory, or the cell ended it"),
}
#: Why cells were not reached.
_REST = {
    "time": "the notebook took too long before it came to this exercise",
    "stuck": "the process ended before this exercise, also without the cells that were left out",
    "often": f"more than {MOST_LEFT_OUT} cells before this exercise ended the process or took too long",
}
