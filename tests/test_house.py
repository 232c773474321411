"""The house: seven rooms that import downwards only, small modules, nothing written twice, nothing loaded early."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest
from repo import NOTEBOOKS, ROOT, appendices, code_cells, lessons, read, solutions

PACKAGE = ROOT / "course_utils"
MODULES = sorted(PACKAGE.rglob("*.py"))
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
#: From the top of the house to the ground; rooms of one floor stand beside each other.
FLOORS = [floor.split(" | ") for floor in CONTRACT["layers"] if floor not in ("__main__", "gates")]
ROOMS = [room for floor in FLOORS for room in floor]
#: Longest module, in lines, and longest run of equal lines that two modules may share.
LONGEST, LONGEST_RUN = 450, 5


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def python(program: str, folder: Path = ROOT) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300).stdout


# Imports ------------------------------------------------------------------------------------------------------------


def test_imports_point_downwards():
    found = lint_imports(ROOT)
    assert found.returncode == 0 and "0 broken" in found.stdout, found.stdout + found.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(PACKAGE, folder / "course_utils", ignore=shutil.ignore_patterns("__pycache__"))
    assert lint_imports(folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("module", "imports"),
    [
        ("measures/upwards.py", "from course_utils.models import registry"),
        ("models/upwards.py", "def later():\n    from course_utils.teaching.figures import style"),
        ("training/upwards.py", "import course_utils.search.sparse"),
        ("gates.py", "from course_utils.texts import datasets"),
        ("teaching/figures/upwards.py", "from course_utils.teaching.explorers import tokens"),
        ("loose.py", "import json"),
    ],
)
def test_an_import_upwards_or_a_module_outside_the_rooms_is_caught_by_name(copy, module, imports):
    path = copy / "course_utils" / module
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text(f"{before or ''}\n{imports}\n", encoding="utf-8")
    found = lint_imports(copy)
    if before is None:
        path.unlink()
    else:
        path.write_text(before, encoding="utf-8")
    name = module.removesuffix(".py").replace("/", ".")
    assert found.returncode == 1, found.stdout
    said = found.stdout + found.stderr
    assert name in said and ("1 broken" in said or "exhaustive" in said), said


def test_the_package_holds_rooms_gates_and_the_command_line_only():
    assert {p.stem for p in PACKAGE.glob("*.py")} == {"__init__", "__main__", "gates"}
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} == set(ROOMS) and len(ROOMS) == 7


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_every_room_says_what_it_is_for_and_where_to_start(path):
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said and len(said.split()) >= 5
    if path.parent.name in ROOMS:
        named = re.findall(r":mod:`~?course_utils\.([\w.]+)`", said)
        assert named, f"{path.parent.name} names no module to open first"
        for name in named:
            place = PACKAGE / name.replace(".", "/")
            assert place.is_dir() or place.with_suffix(".py").exists(), f"there is no course_utils.{name}"


# Size and repetition ------------------------------------------------------------------------------------------------


def test_every_module_fits_on_a_few_screens():
    lengths = {p.relative_to(PACKAGE).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert not {name: n for name, n in lengths.items() if n > LONGEST}


def lines_of_code(source: str) -> list[tuple[int, str]]:
    """Number and content of every line that is neither empty nor part of an import."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    left_out = {line for node in imports for line in range(node.lineno, node.end_lineno + 1)}
    lines = [(number, line.strip()) for number, line in enumerate(source.splitlines(), start=1)]
    return [(number, line) for number, line in lines if line and number not in left_out]


def repeated(sources: dict[str, str], length: int = LONGEST_RUN + 1) -> list[str]:
    """The places where two modules share a run of so many equal lines."""
    places = defaultdict(dict)
    for name, source in sources.items():
        lines = lines_of_code(source)
        for i in range(len(lines) - length + 1):
            run = tuple(line for _, line in lines[i : i + length])
            places[run].setdefault(name, lines[i][0])
    shared = (pair for found in places.values() for pair in combinations(found.items(), 2))
    return [f"{a}:{i} ~ {b}:{j}" for (a, i), (b, j) in shared]


def test_no_two_modules_share_six_lines():
    found = repeated({p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in MODULES})
    assert not found, "\n".join(found)


def test_a_shared_run_is_found_whatever_its_indentation_and_imports_do_not_count():
    six = [f"x{i} = {i}" for i in range(6)]
    one, other = "\n".join(["import os", *six]), "if True:\n    " + "\n\n    ".join(six)
    assert repeated({"a": one, "b": other}) == ["a:2 ~ b:2"]
    assert repeated({"a": one, "b": "\n".join(six[:5])}) == []
    imports = "from os import (\n    a,\n    b,\n    c,\n    d,\n    e,\n)\n"
    assert repeated({"a": imports, "b": imports}) == []


# What an import costs -----------------------------------------------------------------------------------------------


def test_importing_the_package_takes_under_a_tenth_of_a_second():
    def seconds(program: str) -> float:
        start = time.perf_counter()
        python(program)
        return time.perf_counter() - start

    bare, loaded = zip(*((seconds("pass"), seconds("import course_utils")) for _ in range(5)), strict=True)
    assert min(loaded) - min(bare) < 0.1


@pytest.mark.parametrize("room", ["measures", "search"])
def test_no_module_of_a_room_of_arrays_loads_torch(room):
    names = [f"course_utils.{room}.{p.stem}" for p in (PACKAGE / room).glob("[a-z]*.py")]
    program = "import sys\nfor n in {}:\n    __import__(n)\n    print(n, 'torch' in sys.modules)"
    loaded = python(program.format(names)).splitlines()
    assert len(loaded) == len(names) >= 4 and all(line.endswith(" False") for line in loaded), loaded


# The rooms, as a reader meets them ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [*lessons(), *appendices(), *solutions()], ids=lambda p: p.relative_to(NOTEBOOKS).as_posix()
)
def test_the_import_cell_has_at_most_two_lines_for_a_room(path):
    cell = next(c.source for c in code_cells(path) if "from course_utils." in c.source)
    rooms = re.findall(r"^from course_utils\.(\w+)", cell, re.MULTILINE)
    assert rooms and all(rooms.count(room) <= 2 for room in rooms), rooms
    assert set(rooms) <= set(ROOMS)


@pytest.mark.parametrize(
    "path", [*lessons(), *appendices(), *solutions()], ids=lambda p: p.relative_to(NOTEBOOKS).as_posix()
)
def test_every_name_that_a_notebook_imports_is_there(path):
    """Also in the lines that a text shows to be copied; running a notebook takes minutes, this seconds."""
    sources = [cell.source for cell in code_cells(path)]
    for cell in read(path).cells:
        sources += re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL) if cell.cell_type == "markdown" else []
    nodes = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    nodes = [node for node in nodes if node.module.split(".")[0] == "course_utils"]
    assert nodes
    for node in nodes:
        module = importlib.import_module(node.module)
        for alias in node.names:
            assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}"), (
                f"{path.name}: {node.module} has no {alias.name}"
            )


@pytest.fixture(scope="module")
def house() -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.split("\n## The house\n")[1].split("\n## ")[0]


def test_the_map_of_the_readme_shows_every_room_and_where_to_start(house):
    lines = [line for line in house.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [re.findall(r"`(\w+)`", row[0])[0] for row in rows] == ROOMS
    for room, _, start in rows:
        floor = next(floor for floor in FLOORS if re.findall(r"`(\w+)`", room)[0] in floor)
        assert sorted(re.findall(r"`(\w+)`", room)) == sorted(floor), f"{room} stands beside others in pyproject.toml"
        files = re.findall(r"`([\w/]+\.py)`", start)
        assert files and all((PACKAGE / re.findall(r"`(\w+)`", room)[0] / name).exists() for name in files), start


@pytest.mark.slow
def test_the_walk_from_a_name_to_the_hits_goes_down_through_three_rooms_at_most(house, tmp_path):
    [block] = re.findall(r"```python\n(.*?)```", house, re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    assert all(f"{step}(" in block for step in ("load", "encode", "top_tokens", "hits"))
    said = "import json, sys\nprint(json.dumps([m for m in sys.modules if m.startswith('course_utils.')]))"
    *shown, modules = python(f"{block}\n{said}", tmp_path).splitlines()
    assert len(shown) == 2 and all(line.endswith("among them: True") for line in shown), shown
    rooms = list(dict.fromkeys(name.split(".")[1] for name in json.loads(modules)))  # in the order of their import
    floors = [next(i for i, floor in enumerate(FLOORS) if room in floor) for room in rooms if room != "gates"]
    assert 2 <= len(floors) <= 3 and floors == sorted(floors), rooms
