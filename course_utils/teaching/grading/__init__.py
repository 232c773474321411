"""Grading: points for the exercises in readers' notebooks.

    several-tokens grade FILES… --out scores.csv

A notebook runs whole, from its first cell to its last, in a process of its own (:mod:`.runner`), because an answer may
need what cells before it made. The grader's own process executes nothing of a notebook: it starts that process, reads
verdicts from it, and ends it with all its children. A cell that fails costs what is answered in it and what depends on
it; one that does not come to an end is left out, and the notebook runs once more without it.

The checks are those that the reader sees, taken before the first cell runs, so a notebook with a ``check`` of its own
gains nothing. What is handed in is still a program that runs on your machine, with your rights: grade files of
strangers in a container.
"""

import csv
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from course_utils import gates
from course_utils.teaching import exercises
from course_utils.teaching.grading import sheet

#: Seconds that a cell may take, and a notebook; gigabytes of memory.
CELL_SECONDS, NOTEBOOK_SECONDS, MEMORY_GB = 300, 1800, 8.0
#: How many cells of a notebook are left out, one after the other, before the rest is given up.
MOST_LEFT_OUT = 3
#: How much later than a cell's own time its process is ended: the cell may catch what interrupts it.
PATIENCE = 10
#: How verdicts of a check are called in a table, and what else may have happened.
STATUS = {"right": "right", "wrong": "wrong", "missing": "not answered"}

_RUNNER = "from course_utils.teaching.grading import runner; runner.work()"


@dataclass(frozen=True)
class Row:
    """What one exercise of one notebook earns.

    Attributes:
        file: name of the notebook.
        lesson, exercise, title: which; empty for a file that is no notebook of a lesson.
        points, of: what was earned, and what can be: one point for each dot of its difficulty.
        status: ``right``, ``wrong``, ``not answered``, ``error`` (the cell raised), ``too long``, ``ended`` (the
            process did: memory, or an exit), ``no cell`` (the call of its check is gone), ``not reached`` or
            ``unreadable``.
        explanation: what the check said, or what went wrong.
    """

    file: str
    lesson: str
    exercise: str
    title: str
    points: int
    of: int
    status: str
    explanation: str


def grade(
    files: Sequence[Path | str],
    *,
    cell_seconds: float = CELL_SECONDS,
    seconds: float = NOTEBOOK_SECONDS,
    memory_gb: float = MEMORY_GB,
    report: Callable[[str], object] = lambda line: None,
) -> list[Row]:
    """Run notebooks, one after the other, and judge every exercise of their lessons.

    Args:
        files: notebooks of lessons; a copy may have any name, its checks say which lesson it is.
        cell_seconds: what one cell may take.
        seconds: what a notebook may take altogether.
        memory_gb: address space of its process, in 2³⁰ bytes; Linux holds to it, macOS and Windows do not.
        report: called with a line for every notebook.

    Raises:
        ValueError: no files, or limits that are no positive numbers.
    """
    files = [Path(file) for file in files]
    if not files:
        raise ValueError("no notebooks to grade: name one or more")
    for name, value in (("cell_seconds", cell_seconds), ("seconds", seconds), ("memory_gb", memory_gb)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be larger than 0; got {value}")
    rows = []
    for file in files:
        try:
            cells = sheet.read(file)
            lesson = sheet.lesson(file, cells)
        except (ValueError, OSError) as error:
            found = [Row(file.name, "", "", "", 0, 0, "unreadable", str(error))]
        else:
            events, left_out = _run(cells, lesson, cell_seconds, seconds, memory_gb)
            known = exercises.exercises(lesson)
            wanted = [known[name] for name in sheet.expected(file, cells, lesson)]
            found = [_row(file.name, asked, cells, events, left_out) for asked in wanted]
        report(f"{file.name}: {sum(r.points for r in found)} of {sum(r.of for r in found)} points"
               f"{f' ({found[0].explanation})' if found[0].status == 'unreadable' else ''}")  # fmt: skip
        rows += found
    return rows


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


# --- One notebook ---------------------------------------------------------------------------------


def _run(cells: list[str], lesson: str, cell_seconds: float, seconds: float, memory_gb: float) -> tuple[list, dict]:
    """Events of the last run, and what was left out: number of a cell → why."""
    left_out: dict[int, str] = {}
    while True:
        job = {
            "cells": cells, "lesson": lesson, "skip": list(left_out), "cell_seconds": cell_seconds,
            "memory": int(memory_gb * 2**30), "nonce": secrets.token_hex(16),
        }  # fmt: skip
        events, ended = _once(job, cell_seconds + PATIENCE, seconds)
        if ended is None or ended == "time" or len(left_out) == MOST_LEFT_OUT:
            return events, left_out
        at = max((event["cell"] for event in events if "cell" in event), default=0)
        if at in left_out:  # it died before the first cell that is not left out
            return events, left_out
        left_out[at] = ended


def _once(job: dict, silence: float, seconds: float) -> tuple[list[dict], str | None]:
    """Run a notebook in a process of its own; its events, and None or why it did not come to its end."""
    command = [sys.executable, "-c", _RUNNER]
    with tempfile.TemporaryDirectory(prefix="several-tokens-grade-", ignore_cleanup_errors=True) as room:
        events, ended, begin = [], "ended", time.monotonic()
        file = Path(room, "events")
        file.touch()
        environment = {**os.environ, "PYTHONPATH": _path(), "MPLBACKEND": "Agg", "COURSE_EVENTS": str(file)}
        # What a notebook prints goes nowhere: the verdicts come by a file, a line each, with a number it does not know.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=room,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            with process.stdin:
                process.stdin.write(json.dumps(job).encode())
            last, size = begin, 0
            while process.poll() is None:
                time.sleep(0.05)
                now = time.monotonic()
                if (grown := file.stat().st_size) != size:
                    last, size = now, grown
                if now - begin > seconds or now - last > silence:
                    ended = "time" if now - begin > seconds else "too long"
                    break
        except BrokenPipeError:
            pass
        finally:
            _end(process)
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            event = _event(line, job["nonce"])
            if event:
                events.append(event)
        if any(event.get("done") for event in events):
            ended = None
    return events, ended


def _event(line: str, nonce: str) -> dict | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.pop("nonce", None) == nonce else None


def _path() -> str:
    """Where this package is found: the process starts in another folder."""
    here = str(Path(exercises.__file__).resolve().parents[3])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


def _end(process: subprocess.Popen) -> None:
    """End a process and all that it started, if it is still there or they are."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _row(file: str, asked: exercises.Exercise, cells: list[str], events: list[dict], left_out: dict[int, str]) -> Row:
    """The last verdict on an exercise, or what kept its check from being reached."""
    said = [event for event in events if event.get("exercise") == asked.id]
    places = [number for number, cell in enumerate(cells) if asked.id in sheet.checked(cell)]
    failed = {event["cell"]: event["error"] for event in events if "error" in event}
    begun = {event["cell"] for event in events if "begin" in event}
    status, why = "not reached", "the notebook took too long before it came to this exercise"
    if said:
        status, why = STATUS[said[-1]["status"]], said[-1]["message"]
    elif not places:
        status, why = "no cell", f"no cell calls check({asked.id!r}, …)"
    elif places[-1] in left_out:
        status, why = left_out[places[-1]], _WHY[left_out[places[-1]]]
    elif places[-1] in failed:
        status, why = ("too long" if failed[places[-1]] == _TIME else "error"), failed[places[-1]]
    elif places[-1] in begun:
        status, why = "error", "its cell ran, and never came to the check"
    points = asked.difficulty if status == "right" else 0
    return Row(file, asked.id[:2], asked.id, asked.title, points, asked.difficulty, status, why)


#: What the runner says of a cell that was interrupted.
_TIME = "the cell took too long"
_WHY = {
    "too long": _TIME,
    "ended": "the process ended in this cell: not enough memory, or the cell ended it",
}
