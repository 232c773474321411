"""The tools behind ``make notebooks`` and ``make test``."""

import os
import subprocess
import sys

import nbformat
import pytest
from repo import ROOT, lessons

sys.path.insert(0, str(ROOT / "tools"))

import build_site
import run_notebooks
import run_tests


def _notebook(path, *sources, tags=()):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "other", "display_name": "Other"}})
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {}}
    notebook.cells = [nbformat.v4.new_markdown_cell("# Title"), *(nbformat.v4.new_code_cell(s) for s in sources)]
    for cell in notebook.cells[1:]:
        cell.metadata = {"tags": list(tags), "scrolled": True} if tags else {"scrolled": True}
    nbformat.write(notebook, path)
    return path


def test_a_notebook_is_stored_executed_and_clean(tmp_path):
    path = _notebook(tmp_path / "a.ipynb", "x = 6\nprint(x)\nprint(7)", "import os; sorted(os.listdir())", "6 * 7")
    assert run_notebooks.run(path, timeout=60) is None
    stored = nbformat.read(path, as_version=4)
    code = stored.cells[1:]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert [output.text for output in code[0].outputs] == ["6\n7\n"]
    assert code[1].outputs[0].data["text/plain"] == "['a.ipynb']"
    assert stored.metadata == {"kernelspec": run_notebooks.KERNEL, "language_info": {"name": "python"}}
    assert all(cell.metadata == {} for cell in stored.cells)
    first = path.read_bytes()
    assert run_notebooks.run(path, timeout=60) is None
    assert path.read_bytes() == first, "a second run changes the file"


@pytest.mark.parametrize(
    ("source", "said"), [("1 / 0", "ZeroDivisionError"), ("import sys; print('oh', file=sys.stderr)", "cell 1 writes")]
)
def test_a_notebook_that_fails_or_complains_is_left_as_it_was(tmp_path, source, said):
    path = _notebook(tmp_path / "a.ipynb", source)
    before = path.read_bytes()
    assert said in run_notebooks.run(path, timeout=60)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_standard_error_of_an_ignored_cell_is_dropped(tmp_path):
    path = _notebook(tmp_path / "a.ipynb", "import sys; print('oh', file=sys.stderr)", tags=["nbval-ignore-output"])
    assert run_notebooks.run(path, timeout=60) is None
    cell = nbformat.read(path, as_version=4).cells[1]
    assert cell.outputs == [] and cell.metadata == {"tags": ["nbval-ignore-output"]}


def test_only_with_time_are_the_seconds_of_lessons_stored(tmp_path, monkeypatch):
    from course_utils.teaching import hours

    monkeypatch.setattr(hours, "SECONDS", tmp_path / "seconds.json")
    monkeypatch.setattr(run_notebooks, "run", lambda path, timeout: "failed" if "99" in path.name else None)
    monkeypatch.setenv("COURSE_COMPARED", "")
    places = [
        tmp_path / "notebooks" / "01_a.ipynb",
        tmp_path / "notebooks" / "99_b.ipynb",
        tmp_path / "solutions.ipynb",
    ]
    places[0].parent.mkdir()
    for path in places:
        path.touch()
    names = [str(path) for path in places]
    assert run_notebooks.main(names) == 1 and hours.measured_seconds() == {}
    assert run_notebooks.main(["--time", *names]) == 1
    assert list(hours.measured_seconds()) == ["01_a.ipynb"], "neither solutions nor what failed"


def test_a_notebook_is_run_without_the_readers_predictions(monkeypatch):
    monkeypatch.setenv("COURSE_COMPARED", "")
    monkeypatch.delenv("COURSE_COMPARED")
    seen = []
    monkeypatch.setattr(run_notebooks, "run", lambda path, timeout: seen.append(os.environ.get("COURSE_COMPARED")))
    run_notebooks.main([str(lessons()[0])])
    assert seen == ["1"]


def test_lessons_run_before_solutions():
    names = [path.relative_to(ROOT / "notebooks").as_posix() for path in run_notebooks.all_notebooks()]
    assert names == sorted(names, key=lambda name: ("/" in name, name))


def test_make_test_runs_every_stage_and_fails_when_one_fails(monkeypatch, capfd):
    def stage(status):
        return ("made up", [sys.executable, "-c", f"print('ran'); raise SystemExit({status})"])

    monkeypatch.setattr(run_tests, "STAGES", {"one": stage(0), "two": stage(3), "three": stage(0), "four": stage(0)})
    monkeypatch.setattr(run_tests, "SHORT", ("one", "two", "three"))
    assert run_tests.main([]) == 1
    shown = capfd.readouterr().out
    assert shown.count("ran") == 3 and "two: FAILED (exit status 3)" in shown
    assert run_tests.main(["one", "three"]) == 0
    capfd.readouterr()
    assert run_tests.main(["--long"]) == 0 and capfd.readouterr().out.count("ran") == 1
    assert run_tests.main(["five"]) == 2


def test_make_test_ends_with_the_names_of_what_failed(monkeypatch, tmp_path, capsys):
    kept = tmp_path / "lastfailed"
    kept.write_text('{"tests/test_old.py::test_before": true}')
    monkeypatch.setattr(run_tests, "LAST_FAILED", kept)
    fails = f"open({str(kept)!r}, 'w').write('{{\"tests/test_a.py::test_b\": true}}'); raise SystemExit(1)"
    monkeypatch.setattr(run_tests, "SHORT", ("one",))
    monkeypatch.setattr(run_tests, "STAGES", {"one": ("made up", [sys.executable, "-c", fails])})
    assert run_tests.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED tests/test_a.py::test_b"
    monkeypatch.setattr(run_tests, "STAGES", {"one": ("made up", [sys.executable, "-c", ""])})
    assert run_tests.main([]) == 0 and "FAILED" not in capsys.readouterr().out


def test_every_test_file_is_run_by_exactly_one_stage():
    quick, slow = run_tests.STAGES["unit"][1], run_tests.STAGES["slow"][1]
    assert [part for part in quick if part != "not slow"] == [part for part in slow if part != "slow"]
    own = {part.removeprefix("--ignore=") for part in quick if part.startswith("--ignore=")}
    alone = {run_tests.STAGES[stage][-1][-1] for stage in ("workers", "appendices", "exercises", "browser", "site")}
    assert own == alone
    assert "tests" in quick and all((ROOT / name).exists() for name in own)


def test_every_notebook_is_compared_by_exactly_one_stage():
    given = [part for stage in ("notebooks", "appendices") for part in run_tests.STAGES[stage][1]]
    found = [path for part in given if part.startswith("notebooks") for path in (ROOT / part, *(ROOT / part).glob("*"))]
    compared = [path for path in found if path.suffix == ".ipynb"]
    assert sorted(compared) == sorted(run_notebooks.all_notebooks()) and len(set(compared)) == len(compared)


def test_a_stage_of_two_commands_runs_both_and_fails_with_either(monkeypatch, capfd):
    good, bad = ([sys.executable, "-c", f"print('ran'); raise SystemExit({status})"] for status in (0, 3))
    for commands, status in (((good, good), 0), ((bad, good), 3), ((good, bad), 3)):
        monkeypatch.setattr(run_tests, "STAGES", {"one": ("made up", *commands)})
        assert run_tests.run("one")[0] == status
        assert capfd.readouterr().out.count("ran") == 2


def test_the_lint_stage_checks_the_code_and_who_imports_whom():
    _, ruff, imports = run_tests.STAGES["lint"]
    assert ruff[2:] == ["ruff", "check", "."] and imports[0].endswith("lint-imports")


def test_the_stages_start_only_programs_that_exist():
    programs = {
        tuple(command[:3] if command[1] == "-m" else command[:1])
        for _, *commands in run_tests.STAGES.values()
        for command in commands
    }
    for program in programs:
        assert subprocess.run([*program, "--help"], capture_output=True).returncode == 0, program


@pytest.mark.parametrize("place", [ROOT, ROOT.parent, ROOT / "notebooks", ROOT / "README.md", build_site.STAGED / "x"])
def test_the_site_replaces_nothing_but_a_site(place, monkeypatch, capsys):
    monkeypatch.setattr(build_site, "stage", lambda *_: pytest.fail("it went on"))
    monkeypatch.setattr(sys, "argv", ["build_site.py", "--out", str(place)])
    with pytest.raises(SystemExit, match="2"):
        build_site.main()
    assert "name a folder that is new, empty or an earlier site" in capsys.readouterr().err


def test_an_older_site_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    out, statuses = tmp_path / "site", [0, 1, 0]

    def build(source, place, repository):
        place.mkdir()
        for name in (".buildinfo", f"{len(statuses)}.html"):
            (place / name).touch()
        return statuses.pop(0)

    monkeypatch.setattr(build_site, "stage", lambda *_: 1)
    monkeypatch.setattr(build_site, "build", build)
    monkeypatch.setattr(sys, "argv", ["build_site.py", "--out", str(out)])
    found = []
    for status in (0, 1, 0):
        assert build_site.main() == status
        found.append(sorted(path.name for path in out.iterdir()))
        assert list(tmp_path.iterdir()) == [out], "nothing lies beside it"
    assert found == [[".buildinfo", "3.html"], [".buildinfo", "3.html"], [".buildinfo", "1.html"]]
