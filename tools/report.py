"""Run the lessons on this machine and write down whether their numbers are the committed ones.

    python tools/report.py [--out FILE] [LESSON ...]
    python tools/report.py --check FILE ...

The first form runs the lessons, all those with key numbers when none is named, in their own folder; no notebook is
changed. Two things are compared with the committed outputs: the key numbers of `docs/reproductions/numbers.toml`, each
within its band, and every other number that a lesson prints, as it is printed. The report is one JSON file with the
machine, the versions of the packages and the hashes of the weights; it holds no name of a person or a computer. A
lesson that has run is kept in `build/report` and does not run again while it and the machine stay the same.

The second form says what is wrong with reports, for instance before they come into `docs/reproductions`.
"""

import argparse
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from nbclient.exceptions import CellExecutionError, CellTimeoutError
from run_notebooks import IGNORED, execute

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = ROOT / "docs" / "reproductions" / "numbers.toml"
KEPT = ROOT / "build" / "report"
FORM = 1
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d[\d,]*\d|\d)(?:\.\d+)?|(?<![\w.])[-+−]?\.\d+")
#: So many differing lines of a lesson are written down.
_MOST_LINES = 20
#: What a report holds: key -> type of its value.
_FORM = {"form": int, "made": str, "course": dict, "machine": dict, "versions": dict, "weights": dict, "lessons": dict,
         "agrees": bool}  # fmt: skip


def key_numbers(file: Path = NUMBERS) -> list[dict]:
    """The declared key numbers: lesson, name, pattern, band.

    Raises:
        ValueError: an entry lacks one of them, has another, or a pattern has not one group.
    """
    found = tomllib.loads(file.read_text(encoding="utf-8"))["number"]
    for entry in found:
        if set(entry) != {"lesson", "name", "pattern", "band"}:
            raise ValueError(f"{file.name}: {entry.get('name')!r} needs lesson, name, pattern and band, no more")
        if re.compile(entry["pattern"]).groups != 1 or entry["band"] < 0:
            raise ValueError(f"{file.name}: {entry['name']!r} needs a pattern with one group and a band of 0 or more")
    return found


def printed(notebook) -> list[tuple[int, list[str]]]:
    """Number and printed lines, none of them empty, of every code cell whose output is the same on every machine.

    A kernel hands over in pieces what a cell prints, and where it cuts is chance: the pieces are put together again.
    """
    cells = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and IGNORED not in cell.metadata.get("tags", []):
            text = ""
            for output in cell.get("outputs", []):
                text += output.get("text") or f"\n{output.get('data', {}).get('text/plain', '')}\n"
            cells.append((number, [line for line in text.splitlines() if line.strip()]))
    return cells


def value_of(entry: dict, cells: list[tuple[int, list[str]]]) -> float:
    """A key number in what a lesson prints.

    Raises:
        ValueError: its pattern matches nowhere, or in more than one place.
    """
    found = re.findall(entry["pattern"], "\n".join(line for _, lines in cells for line in lines))
    if len(found) != 1:
        raise ValueError(f"{entry['lesson']}: the pattern of {entry['name']!r} matches {len(found)} times, not once")
    return float(found[0])


def compared(committed: list[tuple[int, list[str]]], here: list[tuple[int, list[str]]]) -> dict:
    """How many printed numbers are the same, and the lines in which they are not.

    Numbers of a line are compared where the words around them are the same; a line that says other words counts with
    all its numbers as different.
    """
    total, equal, lines = 0, 0, []
    for (cell, old), (_, new) in zip(committed, here, strict=True):
        for i, line in enumerate(old):
            other = new[i] if i < len(new) else ""
            wanted, found = _NUMBER.findall(line), _NUMBER.findall(other)
            total += len(wanted)
            if _words(line) == _words(other) and len(wanted) == len(found):
                same = sum(a == b for a, b in zip(wanted, found, strict=True))
            else:
                same = 0
            equal += same
            if same < len(wanted) or _words(line) != _words(other):
                lines.append({"cell": cell, "committed": line[:300], "here": other[:300]})
    return {"printed_numbers": total, "the_same": equal, "lines_that_differ": lines[:_MOST_LINES]}


def _words(line: str) -> str:
    return " ".join(_NUMBER.sub("#", line).split())


def lesson(path: Path, entries: list[dict], timeout: int) -> dict:
    """What a run of one lesson gave; see the module's text."""
    import nbformat

    committed = printed(nbformat.read(path, as_version=4))
    keys = [{"name": e["name"], "band": e["band"], "committed": value_of(e, committed)} for e in entries]
    start = time.perf_counter()
    try:
        here = printed(execute(path, timeout))
    except (CellExecutionError, CellTimeoutError) as error:
        last = str(error).strip().splitlines()[-1][:300]
        return {"seconds": round(time.perf_counter() - start), "error": last, "keys": keys, "agrees": False}
    for key, entry in zip(keys, entries, strict=True):
        try:
            key["here"] = value_of(entry, here)
            key["agrees"] = abs(key["here"] - key["committed"]) <= key["band"] + 1e-9
        except ValueError as error:
            key |= {"here": None, "agrees": False, "why": str(error)}
    found = {"seconds": round(time.perf_counter() - start), "keys": keys, **compared(committed, here)}
    return found | {"agrees": all(key["agrees"] for key in keys)}


def machine() -> dict:
    """Processor, memory and system, without any name of the computer."""
    info = {"system": platform.system(), "release": platform.release().split("-")[0], "machine": platform.machine()}
    info |= {"python": platform.python_version(), "cores": os.cpu_count()}
    info["processor"] = _processor() or platform.processor() or "unknown"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        info["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    import torch

    info |= {"threads": torch.get_num_threads(), "kernels": torch.backends.cpu.get_cpu_capability()}
    info["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return info


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        return found[1].strip() if found else ""
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> dict[str, str]:
    """The pinned packages as they are installed here; those that are missing are left out."""
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = {}
    for name in (re.split(r"[=<>\[ ]", pin)[0] for pin in pins):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def weights() -> dict[str, str]:
    """The sha256 of the stored models' weights and of every adapter that ships."""
    from course_utils.models import store

    found = {}
    for folder in sorted(path for path in store.cache_folder().glob("*") if (path / store.MANIFEST).is_file()):
        found[folder.name] = store.fingerprint(folder)
    for file in sorted((ROOT / "data" / "adapters").glob("*/adapter_model.safetensors")):
        found[f"adapter {file.parent.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def course() -> dict[str, str]:
    """Version and, in a clone, the commit that was run; ``changed`` where files differ from it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {"version": project["version"]}
    for key, command in (("commit", ["rev-parse", "HEAD"]), ("changed", ["status", "--porcelain", "-uno"])):
        try:
            said = subprocess.run(
                ["git", *command], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            break
        found[key] = said if key == "commit" else ("yes" if said else "no")
    return found


def faults(report: object) -> list[str]:
    """What is wrong with a report; nothing where it can be shown."""
    if not isinstance(report, dict):
        return ["a report is a JSON object"]
    wrong = [f"{key} must be a {kind.__name__}" for key, kind in _FORM.items() if type(report.get(key)) is not kind]
    if wrong:
        return wrong
    if report["form"] != FORM:
        return [f"form must be {FORM}, not {report['form']}"]
    for name, found in report["lessons"].items():
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list):
            wrong.append(f"{name} has no list of keys")
            continue
        for key in keys:
            numbers = [key.get("committed"), key.get("band"), key.get("here")]
            if "error" not in found and not all(_is_number(n) for n in numbers[:2]):
                wrong.append(f"{name}, {key.get('name')}: committed and band must be numbers")
            elif _is_number(numbers[2]) and key.get("agrees") != (abs(numbers[2] - numbers[0]) <= numbers[1] + 1e-9):
                wrong.append(f"{name}, {key.get('name')}: agrees is not what committed, here and band say")
    if report["agrees"] != all(isinstance(f, dict) and f.get("agrees") is True for f in report["lessons"].values()):
        wrong.append("agrees is not what the lessons say")
    return wrong


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def make(names: list[str], timeout: int) -> dict:
    """The report on some lessons; those with key numbers when none is named."""
    entries = key_numbers()
    known = {path.stem: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]*_*.ipynb"))}
    names = [Path(name).stem for name in names] or list(dict.fromkeys(entry["lesson"] for entry in entries))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no lesson {unknown[0]!r}; there are {', '.join(known)}")
    os.environ["COURSE_COMPARED"] = "1"  # a reader's predictions stay out of what is compared
    about = {"form": FORM, "made": datetime.now(UTC).date().isoformat(), "course": course(),
             "machine": machine(), "versions": versions(), "weights": weights()}  # fmt: skip
    lessons = {}
    for name in names:
        own = [entry for entry in entries if entry["lesson"] == name]
        lessons[name] = _kept(known[name], own, {key: about[key] for key in ("machine", "versions")}, timeout)
        found = lessons[name]
        said = found.get("error") or f"{found['the_same']} of {found['printed_numbers']} printed numbers are the same"
        agree = sum(key.get("agrees", False) for key in found["keys"])
        print(f"{name}: {agree} of {len(own)} key numbers agree; {said} ({found['seconds']} s)", flush=True)
    return about | {"lessons": lessons, "agrees": all(found["agrees"] for found in lessons.values())}


def _kept(path: Path, entries: list[dict], about: dict, timeout: int) -> dict:
    """A lesson's result, from an earlier run where lesson, key numbers and machine are the same."""
    asked = hashlib.sha256(path.read_bytes() + json.dumps([entries, about], sort_keys=True).encode()).hexdigest()
    place = KEPT / f"{path.stem}.json"
    if place.is_file():
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["asked"] == asked:
            return kept["found"]
    print(f"{path.stem}: running", flush=True)
    found = lesson(path, entries, timeout)
    if "error" not in found:
        _write(place, {"asked": asked, "found": found})
    return found


def _write(place: Path, content: dict) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f"{place.name}.part")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(place)


def main(arguments: list[str] | None = None) -> int:
    """0 when all key numbers agree, or all checked reports are sound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="lessons, such as 02_alignment_phenomenon; with --check, files")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "report.json")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take (default 600)")
    parser.add_argument("--check", action="store_true", help="run nothing; say what is wrong with the files named")
    options = parser.parse_args(arguments)
    if options.check:
        wrong = [f"{name}: {fault}" for name in options.names for fault in _faults_of(Path(name))]
        print("\n".join(wrong) or "nothing is wrong")
        return int(bool(wrong))
    try:
        found = make(options.names, options.timeout)
    except ValueError as error:
        parser.error(str(error))
    _write(options.out.resolve(), found)
    print(f"{'All' if found['agrees'] else 'NOT all'} key numbers agree. The report is {options.out}.")
    return int(not found["agrees"])


def _faults_of(file: Path) -> list[str]:
    try:
        return faults(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        return [str(error)]


if __name__ == "__main__":
    sys.exit(main())
