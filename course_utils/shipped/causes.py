"""What the short runs of lesson 09 left behind: logs that ship, by variant and seed.

``data/causes.json`` is put together by ``several-tokens causes --out`` from finished runs; what a log holds says
:mod:`course_utils.training.causes`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.models import registry

FILE = registry.ADAPTERS.parent / "causes.json"


def read(file: Path = FILE) -> dict[str, list[dict]]:
    """The logs of each variant, in the order of their seeds.

    Raises:
        ValueError: the file does not hold a list of logs.
        FileNotFoundError: there is no such file.
    """
    logs = json.loads(gates.file(file).read_text(encoding="utf-8"))
    needed = {"variant", "seed", "probe"}
    if not isinstance(logs, list) or not all(isinstance(log, dict) and needed <= set(log) for log in logs):
        raise ValueError(f"{file} is no list of runs: make it with `several-tokens causes --out {file}`")
    found: dict[str, list[dict]] = {}
    for log in sorted(logs, key=lambda log: log["seed"]):
        found.setdefault(log["variant"]["name"], []).append(log)
    return found


def over_seeds(logs: Mapping[str, Sequence[dict]], name: str, value: Callable[[dict], float]) -> np.ndarray:
    """One number for each run of a variant, ``[seeds]``.

    Raises:
        ValueError: no run of that name.
    """
    if not logs.get(name):
        raise ValueError(f"no run of {name!r}; there are {', '.join(logs)}")
    return np.array([value(log) for log in logs[name]])


def last(key: str) -> Callable[[dict], float]:
    """Reads ``key`` of the last row of a log's probe."""
    return lambda log: log["probe"][-1][key]


def after(key: str) -> Callable[[dict], float]:
    """Reads ``key`` of what was measured after the last step."""
    return lambda log: log["after"][key]


def shares(logs: Mapping[str, Sequence[dict]], name: str) -> np.ndarray:
    """``v_1`` after the last step as a share of the mean coefficient before the first, ``[seeds]``."""
    return over_seeds(logs, name, lambda log: log["probe"][-1]["v_1"] / log["probe"][0]["alpha"])


def direction(logs: Mapping[str, Sequence[dict]], name: str) -> str:
    """Where the first component went, on average over the seeds: ``"falls"``, ``"rises"`` or ``"stays"``.

    It stays where ``v_1`` is no larger than the largest movement along any other component.
    """
    move, other = (over_seeds(logs, name, last(key)).mean() for key in ("v_1", "largest_other"))
    return "stays" if abs(move) <= other else "falls" if move < 0 else "rises"


def spread(values: Sequence[float], spec: str = ".2f") -> str:
    """Mean and range of the seeds, ``"0.61 [0.59, 0.63]"``."""
    return f"{np.mean(values):{spec}} [{min(values):{spec}}, {max(values):{spec}}]"
