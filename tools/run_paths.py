"""Run the notebooks of the paths for classes, each alone and in order, and say how long they took.

    python tools/run_paths.py [workshop ...] [--time]

Nothing is kept but, with --time, the seconds, for the minutes that `several-tokens path` prints. They are seconds of
one processor core, so that other work on the machine counts little.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
from pathlib import Path

from nbclient.exceptions import CellExecutionError, CellTimeoutError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from run_notebooks import ROOT, execute

sys.path.insert(0, str(ROOT))

from course_utils.teaching import hours, paths

#: What one cell may take, on the clock; a busy machine is given its time.
SECONDS = 1200


def run(name: str, folder: Path) -> dict[str, float]:
    """Write the notebooks of a path to a folder and run them on one thread; processor seconds by file name.

    Raises:
        ValueError: no such path, or an excerpt that does not fit its lesson.
        CellExecutionError, CellTimeoutError: a cell failed, or took too long.
    """
    os.environ |= {"COURSE_COMPARED": "1", "OMP_NUM_THREADS": "1"}  # a reader's predictions have no part in it
    taken = {}
    for place in paths.write(paths.find(name), folder):
        before = _processor_seconds()
        execute(place, SECONDS)
        taken[place.name] = _processor_seconds() - before
    return taken


def _processor_seconds() -> float:
    """What the kernels that have ended took of a core."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="by default all paths")
    parser.add_argument("--time", action="store_true", help="also store the seconds, for the minutes of the paths")
    options = parser.parse_args(arguments)
    failed = 0
    for name in options.names or paths.paths():
        try:
            with tempfile.TemporaryDirectory() as folder:
                taken = run(name, Path(folder))
        except (CellExecutionError, CellTimeoutError, ValueError) as error:
            print(f"{name}: FAILED\n{error}", file=sys.stderr)
            failed += 1
            continue
        for file, seconds in taken.items():
            print(f"{file}: ok in {seconds:.0f} s", flush=True)
        if options.time:
            hours.store_seconds(taken, f"{os.cpu_count()} cores, {platform.machine()}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
