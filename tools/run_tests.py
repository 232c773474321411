"""Run the checks of ``make test``, one stage after the other, and say how long each took.

    python tools/run_tests.py [--long] [STAGE ...]

Without a stage: lint, unit, notebooks and exercises, which is ``make test``; with ``--long`` all others,
``make test-long``. All stages run even when one fails, so that one run tells everything. Unit tests
and notebooks run in two processes with half the threads each: a model leaves a core
idle while a kernel starts, a figure is drawn or a text tokenised.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where pytest keeps the names of what failed.
LAST_FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
PYTEST = [sys.executable, "-m", "pytest", "--durations=5", "--durations-min=5"]
TWO_PROCESSES = ["--numprocesses=2", "--dist=loadfile"]
# Each of these is a stage of its own.
EXERCISES, BROWSER, WORKERS = "tests/teaching/test_exercises.py", "tests/browser", "tests/search/scale/test_encode.py"
SITE, PATHS = "tests/site", "tests/teaching/test_path_runs.py"
NBVAL = [
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with=tests/nbval_sanitize.cfg",
    "--nbval-cell-timeout=900",
]

# A name that starts with two digits and an underscore is a lesson's; a letter after the digits makes it an appendix.
LESSONS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
APPENDICES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "notebooks").glob("[0-9][0-9][a-z]_*.ipynb"))
SOLUTIONS = "notebooks/solutions"

RUFF = [sys.executable, "-m", "ruff", "check", "."]
#: The rooms of the package and who may import whom, as pyproject.toml says it.
LINT_IMPORTS = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]

UNIT = ["tests", *(f"--ignore={path}" for path in (EXERCISES, BROWSER, WORKERS, SITE, PATHS))]

#: Stage name → what it is called, one command or more.
STAGES = {
    "lint": ("ruff and import-linter", RUFF, LINT_IMPORTS),
    "unit": ("unit tests", [*PYTEST, *TWO_PROCESSES, "-m", "not slow", *UNIT]),
    "notebooks": (
        "the lessons, compared with what is committed",
        [*PYTEST, *NBVAL, *TWO_PROCESSES, *LESSONS],
    ),
    "exercises": ("exercises and quizzes", [*PYTEST, EXERCISES]),
    "slow": ("the slow ones of the unit tests", [*PYTEST, *TWO_PROCESSES, "-m", "slow", *UNIT]),
    "appendices": (
        "appendices and solutions, compared with what is committed, and the excerpts of the paths for classes",
        [*PYTEST, *NBVAL, *TWO_PROCESSES, *APPENDICES, SOLUTIONS],
        [*PYTEST, PATHS],
    ),
    "workers": ("workers that encode together, killed on the way", [*PYTEST, WORKERS]),
    "browser": ("the lessons in a browser", [*PYTEST, BROWSER]),
    "site": ("the site, in a browser without a network", [*PYTEST, SITE]),
}

#: What `make test` runs, within 25 minutes on two cores; the other stages are `make test-long`.
SHORT = ("lint", "unit", "notebooks", "exercises")


def run(stage: str) -> tuple[int, float]:
    """Run all commands of one stage; the exit status of the last that failed, and the seconds."""
    title, *commands = STAGES[stage]
    print(f"\n==> {stage}: {title}", flush=True)
    start = time.perf_counter()
    halved = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2))}
    status = 0
    for command in commands:
        threads = halved if TWO_PROCESSES[0] in command else {}
        status = subprocess.run(command, cwd=ROOT, env=threads | os.environ).returncode or status
    seconds = time.perf_counter() - start
    print(f"==> {stage}: {'ok' if status == 0 else f'FAILED (exit status {status})'} in {seconds:.0f} s", flush=True)
    return status, seconds


def main(wanted: list[str]) -> int:
    """Run the wanted stages, by default the short ones, with ``--long`` first the others; 0 when all passed."""
    if "--long" in wanted:
        wanted = [stage for stage in STAGES if stage not in SHORT] + [stage for stage in wanted if stage != "--long"]
    unknown = [stage for stage in wanted if stage not in STAGES]
    if unknown:
        print(f"There is no stage {unknown[0]!r}; choose from {', '.join(STAGES)}.", file=sys.stderr)
        return 2
    results, failures = {}, []
    for stage in wanted or [name for name in STAGES if name in SHORT]:
        LAST_FAILED.unlink(missing_ok=True)
        results[stage] = run(stage)
        if LAST_FAILED.exists():
            failures += json.loads(LAST_FAILED.read_text(encoding="utf-8"))
    print("\nStage        seconds  result")
    for stage, (status, seconds) in results.items():
        print(f"{stage:<11} {seconds:>8.0f}  {'ok' if status == 0 else 'FAILED'}")
    print(f"{'together':<11} {sum(seconds for _, seconds in results.values()):>8.0f}")
    for name in failures:
        print("FAILED", name)  # at the very end, where the last lines of a log show them
    return int(any(status for status, _ in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
