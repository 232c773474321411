"""The ways to run the course elsewhere, as far as they can be tried here; what was not tried, the page says."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import address
import newest
import pytest
from address import Address
from bare import without_the_course
from repo import ROOT, project_files

CELL = ROOT / "docs" / "site" / "colab_cell.py"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture
def bare(tmp_path) -> Path:
    return without_the_course(tmp_path / "venv")


def test_the_first_cell_for_colab_makes_the_course_importable(bare, tmp_path):
    program = CELL.read_text(encoding="utf-8") + "\nimport course_utils\nprint(course_utils.__file__)\n"
    work = tmp_path / "content"
    work.mkdir()
    without = subprocess.run([bare, "-c", "import course_utils"], cwd=work, capture_output=True, text=True)
    assert "No module named 'course_utils'" in without.stderr
    # Everything is installed: with the index cut off, a name that would have to be fetched is an error.
    settings = os.environ | {"COURSE_ADDRESS": f"file://{ROOT}", "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}
    settings.pop("PYTHONPATH", None)
    done = subprocess.run([bare, "-c", program], cwd=work, env=settings, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(work / "several-tokens" / "course_utils" / "__init__.py")
    again = subprocess.run([bare, "-c", program], cwd=work, env=settings, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr


def test_the_site_shows_that_cell():
    page = (ROOT / "docs" / "site" / "run.md").read_text(encoding="utf-8")
    assert page.count("<!-- colab -->") == 1 and "colab_cell" not in page


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Name and arguments of every instruction, continued lines put together."""
    lines = re.sub(r"\\\n", " ", dockerfile).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip() and not line.startswith("#")]


def faults(dockerfile: str) -> list[str]:
    """What a linter of Dockerfiles would complain of, as far as this one can go wrong."""
    found, steps = [], instructions(dockerfile)
    names = [name for name, _ in steps]
    if names[:1] != ["FROM"] or re.search(r":latest\b|^[^:]+$", steps[0][1]):
        found.append("the first instruction must be FROM an image with a tag")
    known = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "EXPOSE", "CMD", "ARG", "LABEL"}
    found += [f"unknown instruction {name}" for name in names if name not in known]
    if "USER" not in names or steps[names.index("USER")][1] in ("root", "0"):
        found.append("it must not run as root")
    if names.count("CMD") != 1 or names[-1] != "CMD" or not isinstance(json.loads(steps[-1][1]), list):
        found.append("it must end with one CMD in the form of a list")
    for name, arguments in steps:
        if name == "COPY":
            sources = [word for word in shlex.split(arguments)[:-1] if not word.startswith("--")]
            found += [f"COPY of {source}, which is not there" for source in sources if not (ROOT / source).exists()]
    return found


def test_the_dockerfile_has_no_fault():
    assert faults(DOCKERFILE) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("python:3.11-slim", "python", "with a tag"),
        ("python:3.11-slim", "python:latest", "with a tag"),
        ("USER learner", "USER root", "as root"),
        ("EXPOSE", "EXPOSES", "unknown instruction EXPOSES"),
        ("pyproject.toml README.md", "pyproject.lock README.md", "COPY of pyproject.lock"),
        ("CMD [", "ENTRYPOINT [", "unknown instruction ENTRYPOINT"),
    ],
)
def test_a_fault_of_a_dockerfile_is_noticed(old, new, said):
    assert old in DOCKERFILE
    assert any(said in fault for fault in faults(DOCKERFILE.replace(old, new)))


def test_binder_and_the_dev_container_use_the_one_list_of_versions():
    build = ROOT / ".binder" / "postBuild"
    assert os.access(build, os.X_OK) and subprocess.run(["bash", "-n", build]).returncode == 0
    assert "-e ." in build.read_text(encoding="utf-8")
    assert re.fullmatch(r"python-3\.1[123]\n", (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8"))
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert re.search(r":3\.1[123]$", container["image"]) and "make setup" in container["onCreateCommand"]
    for text in (build.read_text(encoding="utf-8"), json.dumps(container), DOCKERFILE):
        assert "==" not in text, "versions stand in pyproject.toml only"


def test_newest_reads_the_pins_and_says_what_moved(tmp_path):
    pinned = newest.pins()
    assert len(pinned) > 30 and "torch" in pinned and "ray[data]" in pinned
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["torch==2.0"]\n'
        '[project.optional-dependencies]\ntest = ["ray[data]==1.0", "Py_x==3"]',
        encoding="utf-8",
    )
    pinned = newest.pins(project)
    assert pinned == {"torch": "2.0", "ray[data]": "1.0", "Py_x": "3"}
    assert newest.moved(pinned, {"torch": "2.0+cpu", "ray": "1.0", "py-x": "3"}) == []
    assert newest.moved(pinned, {"torch": "2.1+cpu", "ray": "1.0"}) == [
        "torch: 2.0 → 2.1+cpu",
        "Py_x: 3 → not installed",
    ]


def test_what_is_held_stays_at_its_pin():
    assert newest.wanted({"torch": "2.0", "ray[data]": "1.0"}, ["torch"]) == ["torch==2.0", "ray[data]"]
    with pytest.raises(ValueError, match="does not pin tourch"):
        newest.wanted({"torch": "2.0"}, ["tourch"])


def test_what_newest_leaves_out_is_there():
    assert all((ROOT / path).exists() for path in newest.LEFT_OUT)
    assert sys.version_info >= (3, 11)


# Two small builds: what stands above a lesson where the address of the repository is known.


def test_with_a_repository_a_lesson_can_be_launched(tmp_path):
    import build_site

    source, out = tmp_path / "source", tmp_path / "out"
    (source / "notebooks").mkdir(parents=True)
    for name in ("conf.py", "_static"):
        (source / name).symlink_to(ROOT / "docs" / "site" / name)
    (source / "index.md").write_text("# A\n\n```{toctree}\nnotebooks/00_a\n```\n", encoding="utf-8")
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Lesson"}]
    content = {"cells": cells, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}}}
    lesson = json.dumps(content | {"nbformat": 4, "nbformat_minor": 5})
    (source / "notebooks" / "00_a.ipynb").write_text(lesson, encoding="utf-8")
    assert build_site.build(source, out, Address("https://github.com/someone/course")) == 0
    page = (out / "notebooks" / "00_a.html").read_text(encoding="utf-8")
    # The badges and the theme's own buttons lead to the same places.
    for place in Address("https://github.com/someone/course").launches("notebooks/00_a.ipynb").values():
        assert place in page


def test_the_address_stands_in_one_place_and_the_badges_follow_it():
    known, readme = address.read(), address.README.read_text(encoding="utf-8")
    assert address.with_badges(readme, known) == readme, "run tools/address.py: README.md and address.toml differ"
    assert ("mybinder.org" in readme) == bool(known.repository)
    others = [path for path in project_files() if path.suffix in {".md", ".toml", ".cff", ".ipynb"}]
    named = {path.name for path in others if "mybinder.org/v2" in path.read_text(encoding="utf-8")}
    assert named <= {"README.md"}


def test_one_command_writes_the_address_down(tmp_path, monkeypatch):
    setting, readme = tmp_path / "address.toml", tmp_path / "README.md"
    shutil.copy(address.FILE, setting)
    shutil.copy(address.README, readme)
    before = readme.read_text(encoding="utf-8")
    known = Address("https://github.com/someone/course", "v1.2")
    address.write(known, setting, readme)
    assert address.read(setting) == known
    assert "(docs/badges/binder.svg)](https://mybinder.org/v2/gh/someone/course/v1.2?urlpath=lab/tree/notebooks/" in (
        readme.read_text(encoding="utf-8")
    )
    address.write(address.read(), setting, readme)
    assert readme.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("wrong", ["github.com/a/b", "https://gitlab.com/a/b", "https://github.com/a/b.git", "ADDRESS"])
def test_an_address_that_nothing_could_open_is_refused(wrong):
    with pytest.raises(ValueError, match="must have the form https://github.com/OWNER/NAME"):
        Address(wrong)


def test_badges_need_no_other_server():
    for service in ("binder", "colab"):
        picture = (ROOT / "docs" / "badges" / f"{service}.svg").read_text(encoding="utf-8")
        assert service in picture.lower() and "href" not in picture and "url(" not in picture
