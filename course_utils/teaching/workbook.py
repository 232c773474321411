"""The workbook: a reader's own copies of the lessons, without outputs, which no update ever overwrites.

:func:`refresh` makes ``workbook/`` beside ``notebooks/`` from the lessons as they ship. It may be called at any time:

* a lesson that is not in the workbook arrives, with its outputs empty and its links leading to the same places;
* a lesson that has not changed since stays as the reader left it;
* a lesson that has changed arrives new. Answers, edited cells and notes are carried over, and the reader's file from
  before, if it was ever saved, is kept, byte by byte, in ``workbook/older/``. Cells that the reader had deleted or put
  into another order stand again where the lesson has them.

What belongs together is found by the ids of cells, which Jupyter keeps while a cell is edited or moved. In the
workbook an id says what its cell held when it arrived: ``check-05-1-1a2b3c4d5e`` is the stub of exercise 05.1,
``text-…`` and ``code-…`` are any other cell; the last part is a hash of the source. So an edited cell is told from an
untouched one without a copy of the older lesson. Predictions lie in a file of their own and are left alone.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from course_utils import gates

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS, WORKBOOK = ROOT / "notebooks", ROOT / "workbook"
#: Where a reader's file from before an update is kept, inside the workbook.
OLDER = "older"
#: Key of the notebook's metadata: which lesson it is, and which form of it.
KEY = "several_tokens"

_CHECK = re.compile(r"""\bcheck\(\s*["'](\d\d)\.(\w+)["']""")
_OURS = re.compile(r"((?:check-\d\d-\w+)|text|code|raw)-([0-9a-f]{10})(?:-\d+)?")
_VALID_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHANGED = "*The lesson has changed here. This is your cell from before the update:*"
#: How often a lesson is begun anew because its file is saved meanwhile.
_TRIES = 5
_OTHER_STUB = "*This exercise has changed. This is your answer from before the update:*"


def refresh(
    notebooks: Path = NOTEBOOKS, workbook: Path = WORKBOOK, report: Callable[[str], object] = print
) -> list[str]:
    """Bring the workbook up to date and say what was done; nothing that the reader wrote is lost.

    Two calls at once wait for each other. Every file is written whole or not at all; where one lesson fails, the
    others still arrive.

    Args:
        notebooks: folder of the lessons as they ship.
        workbook: folder to write to; it is made where it is missing.
        report: takes each line of what was done.

    Returns:
        What went wrong, one line for each lesson; nothing where all is well.

    Raises:
        FileNotFoundError: no lessons in ``notebooks``.
        OSError: the folder cannot be made or written to.
    """
    from filelock import FileLock

    lessons = sorted(notebooks.glob("[0-9][0-9]*_*.ipynb"))
    if not lessons:
        raise FileNotFoundError(f"there are no lessons in {notebooks}; call this from a clone of the course")
    workbook.mkdir(parents=True, exist_ok=True)
    problems, done = [], Counter()
    with FileLock(workbook / ".lock", timeout=60):
        for lesson in lessons:
            try:
                done[_refresh_one(lesson, workbook, report)] += 1
            except (OSError, ValueError) as error:
                problems.append(f"{lesson.name}: {error}")
                report(f"{lesson.name} is left as it was: {error}")
    if done["made"]:
        report(f"{done['made']} lessons have arrived in {workbook.name}/, which is yours: no update overwrites it.")
    return problems


class _Saved(Exception):
    """A reader's file was saved between reading and writing it."""


def _refresh_one(lesson: Path, workbook: Path, report: Callable[[str], object]) -> str:
    """Bring one lesson up to date: "made", "kept" or "updated"."""
    fresh = blank(_read(lesson), lesson.name)
    for _ in range(_TRIES):
        with contextlib.suppress(_Saved):
            return _bring(fresh, workbook / lesson.name, report)
    raise OSError("it is being saved again and again; close it in the editor and call this once more")


def _bring(fresh: dict, mine: Path, report: Callable[[str], object]) -> str:
    if not gates.is_file(mine):
        _write(mine, fresh, None)
        return "made"
    before = mine.read_bytes()
    try:
        content = _read(mine)
    except ValueError as error:
        kept = _put_aside(mine)
        _write(mine, fresh, before)
        report(f"{mine.name} could not be read ({error}); your file is kept as {kept}, and the lesson is made new.")
        return "updated"
    if content["metadata"].get(KEY) == fresh["metadata"][KEY]:
        return "kept"
    if before == _as_arrived(content):
        _write(mine, fresh, before)
        return "updated"
    kept = _put_aside(mine)
    if is_untouched(content):
        _write(mine, fresh, before)
        report(f"{mine.name} has changed: the new one is there; your file from before, with its outputs, is {kept}.")
    else:
        _write(mine, updated(fresh, content), before)
        report(f"{mine.name} has changed: the new one holds your answers and notes; your file from before is {kept}.")
    return "updated"


# --- Forms of a lesson ----------------------------------------------------------------------------


def blank(lesson: dict, name: str) -> dict:
    """A lesson as it enters the workbook: no outputs, ids that say what each cell held, links that still lead there.

    Args:
        lesson: the notebook as it ships, as JSON holds it; it is left alone.
        name: its file name.
    """
    cells, seen = [], Counter()
    for cell in lesson["cells"]:
        source = _source(cell)
        if cell["cell_type"] == "markdown":  # the solutions stay where they are
            source = source.replace("](solutions/", "](../notebooks/solutions/")
        seen[stem := _identity(cell["cell_type"], source)] += 1
        cell_id = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"
        cells.append(_bare(cell) | {"id": cell_id, "source": source})
    entry = {"lesson": name, "version": _version(cells)}
    return lesson | {"cells": cells, "metadata": lesson["metadata"] | {KEY: entry}, "nbformat_minor": 5}


def is_untouched(mine: dict) -> bool:
    """Whether a notebook of the workbook holds the lesson as it arrived, outputs aside."""
    cells = mine["cells"]
    arrived = all(_ours(cell) and not _edited(cell) and not cell.get("attachments") for cell in cells)
    return arrived and (mine["metadata"].get(KEY) or {}).get("version") == _version(cells)


def _as_arrived(mine: dict) -> bytes | None:
    """The bytes of a lesson that nobody has saved since it arrived; None where the reader wrote into this one."""
    if not is_untouched(mine):
        return None
    cells = [_bare(cell) | {"source": _source(cell)} for cell in mine["cells"]]
    return _as_json(mine | {"cells": cells}).encode("utf-8")


def updated(fresh: dict, mine: dict) -> dict:
    """The new form of a lesson with all that the reader wrote into an older one.

    An edited cell stands where it did if the lesson still has the cell it was made from. What was written into a cell
    that has changed follows as a note; the reader's own cells follow the cell that they followed.

    Args:
        fresh: the lesson as :func:`blank` makes it.
        mine: the reader's notebook.
    """
    cells = list(fresh["cells"])
    by_id = {cell["id"]: place for place, cell in enumerate(cells)}
    by_stem = {_stem(cell["id"]): place for place, cell in enumerate(cells) if cell["id"].startswith("check-")}
    taken, after, anchor = set(), defaultdict(list), -1
    for cell in mine["cells"]:
        ours = _ours(cell)
        known = cell["id"] if ours else _identity(cell["cell_type"], _source(cell))
        place = by_id.get(known, by_stem.get(_stem(known)))
        anchor = anchor if place is None else place
        if not ours:  # some editors give every cell a new id: what the lesson has anyway need not stand twice
            if known not in by_id:
                after[anchor].append(_bare(cell))
            continue
        if not _edited(cell):
            continue
        if place is None:
            after[anchor].append(_note(cell, _CHANGED))
            continue
        if known == cells[place]["id"] and place not in taken:
            taken.add(place)
            cells[place] = _bare(cell)
        else:
            after[place].append(_note(cell, _OTHER_STUB if known.startswith("check-") else _CHANGED))
    merged = [*after[-1], *(c for place, cell in enumerate(cells) for c in (cell, *after[place]))]
    return fresh | {"cells": list(_with_different_ids(merged))}


def _with_different_ids(cells: list[dict]) -> Iterator[dict]:
    seen = set()
    for cell in cells:
        cell_id = cell.get("id")
        if not isinstance(cell_id, str) or not _VALID_ID.fullmatch(cell_id) or cell_id in seen:
            cell_id = f"mine-{uuid.uuid4().hex[:12]}"
        seen.add(cell_id)
        yield cell | {"id": cell_id}


# --- Cells ----------------------------------------------------------------------------------------


def _source(cell: dict) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _bare(cell: dict) -> dict:
    """A cell without what running it left."""
    return cell | ({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {})


def _note(cell: dict, heading: str) -> dict:
    """A cell of the reader's as text, so that running the notebook does not run it."""
    source = _source(cell)
    if cell["cell_type"] == "code":
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
        source = f"{fence}python\n{source}\n{fence}"
    kept = {key: cell[key] for key in ("attachments",) if key in cell}
    return {"cell_type": "markdown", "id": "", "metadata": {}, "source": f"{heading}\n\n{source}"} | kept


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:10]


def _identity(cell_type: str, source: str) -> str:
    """The id of a cell that arrives with this source."""
    asked = _CHECK.search(source) if cell_type == "code" else None
    kind = f"check-{asked[1]}-{asked[2]}" if asked else {"markdown": "text"}.get(cell_type, cell_type)
    return f"{kind}-{_hash(source)}"


def _ours(cell: dict) -> bool:
    """Whether a cell came with the lesson."""
    return isinstance(cell.get("id"), str) and _OURS.fullmatch(cell["id"]) is not None


def _edited(cell: dict) -> bool:
    """Whether a cell that came with the lesson holds something else now, is of another kind, or has a picture in it."""
    kind, arrived = _OURS.fullmatch(cell["id"]).groups()
    was = {"text": "markdown", "raw": "raw"}.get(kind, "code")
    return was != cell["cell_type"] or arrived != _hash(_source(cell)) or bool(cell.get("attachments"))


def _stem(cell_id: str) -> str:
    """The id without the hash: an exercise stays itself when its stub is worded anew."""
    found = _OURS.fullmatch(cell_id)
    return found[1] if found and found[1].startswith("check-") else cell_id


def _version(cells: list[dict]) -> str:
    return _hash("\n".join(cell["id"] for cell in cells))


# --- Files ----------------------------------------------------------------------------------------


def _read(path: Path) -> dict:
    """A notebook as JSON holds it.

    Raises:
        ValueError: no notebook, or a damaged one.
    """
    content = gates.json_value(gates.read_text(path), path.name)
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise ValueError(f"{path.name} is no notebook of today's form: it has no list of cells")
    for number, cell in enumerate(content["cells"]):
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("markdown", "code", "raw"):
            raise ValueError(f"{path.name}: cell {number} is neither text nor code")
        source = cell.get("source")
        if not isinstance(source, str) and not (isinstance(source, list) and all(isinstance(s, str) for s in source)):
            raise ValueError(f"{path.name}: cell {number} has no source")
    if not isinstance(content.setdefault("metadata", {}), dict):
        raise ValueError(f"{path.name}: its metadata are damaged")
    return content


def _as_json(notebook: dict) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, notebook: dict, before: bytes | None) -> None:
    """Write a notebook in the place of a file that still holds these bytes, or of none.

    Raises:
        _Saved: it holds others now; nothing is written.
    """
    with gates.replacing(path) as file:
        file.write(_as_json(notebook))
        file.flush()
        if (path.read_bytes() if gates.is_file(path) else None) != before:
            raise _Saved


def _put_aside(path: Path) -> str:
    """Copy a file of the reader's to where no update looks, and name the copy; the file itself stays."""
    content = path.read_bytes()
    kept = path.parent / OLDER / f"{path.stem}.{hashlib.sha256(content).hexdigest()[:8]}{path.suffix}"
    kept.parent.mkdir(exist_ok=True)
    partial = kept.with_name(f"{kept.name}.partial")
    try:
        shutil.copy2(path, partial)
        os.replace(partial, kept)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return f"{OLDER}/{kept.name}"
