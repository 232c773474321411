"""Paths for classes: what they take from the lessons, that nothing dangles, and that the minutes add up."""

import json
import re

import pytest
from click.testing import CliRunner
from repo import NOTEBOOKS, ROOT

from course_utils.__main__ import main
from course_utils.teaching import hours, paths

ALL = paths.paths()
every_path = pytest.mark.parametrize("path", ALL.values(), ids=list(ALL))
KIND = {"markdown": {}, "code": {"outputs": [{"output_type": "stream", "name": "stdout", "text": "1\n"}]}}


@pytest.fixture
def lessons(tmp_path):
    """A function that writes lessons of a few cells, by their numbers, and returns their folder."""
    folder = tmp_path / "lessons"
    folder.mkdir()

    def write(**cells):
        for name, sources in cells.items():
            listed = [
                {"cell_type": kind, "metadata": {}, "source": source, **KIND[kind]}
                for kind, source in (("markdown" if s[0] in "#*T" else "code", s) for s in sources)
            ]
            text = json.dumps({"cells": listed, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
            (folder / f"{name.strip('_')}_some.ipynb").write_text(text, encoding="utf-8")
        return folder

    return write


def sources(part, folder):
    return [cell["source"] for cell in paths.excerpt(part, folder)]


# The paths that ship ----------------------------------------------------------------------------------------------


def test_there_are_a_workshop_half_a_day_and_a_unit_of_two_weeks():
    assert list(ALL) == ["workshop", "half-day", "two-weeks"] and ALL["workshop"].at_most == 90


@every_path
def test_the_minutes_of_a_path_stay_within_its_time(path):
    found = paths.minutes(path)
    assert all(by_rule > 0 for _, by_rule, _ in found)
    together = sum(by_rule + talk for _, by_rule, talk in found)
    assert 0.8 * path.at_most <= together <= path.at_most, together


@every_path
def test_every_lesson_of_a_path_finds_what_it_builds_on_before_it(path):
    assert paths.gaps(path) == []


def test_what_a_path_leaves_out_and_uses_is_said_before_it_is_used():
    for path in ALL.values():
        intros = "\n".join(part.intro for session in path.sessions for part in session.parts)
        for lesson in path.bridged:
            assert f"[lesson {lesson}]({paths.lesson_file(lesson).name})" in intros


@every_path
def test_the_seconds_of_excerpts_are_measured_and_at_most_three_minutes(path):
    measured = hours.measured_seconds()
    for name in paths.names(path).values():
        assert 1 < measured[name] <= 180, f"python tools/run_paths.py {path.name} --time"


@every_path
def test_every_name_of_an_excerpt_is_set_in_it(path, tmp_path):
    """Before the cells run, which takes minutes: what a cell reads must be set in a cell before it, or be built in."""
    import ast
    import builtins

    for file in paths.write(path, tmp_path):
        known = set(dir(builtins)) | {"display"}
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                names = [n for n in ast.walk(ast.parse(cell["source"]))]
                for node in names:
                    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                        known.add(node.id)
                    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                        known.add(node.name)
                    elif isinstance(node, ast.arg):
                        known.add(node.arg)
                    elif isinstance(node, ast.Import | ast.ImportFrom):
                        known |= {(a.asname or a.name).split(".")[0] for a in node.names}
                read = {n.id for n in names if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
                assert read <= known, (read - known, cell["source"][:80])


@every_path
def test_links_of_an_excerpt_lead_to_files_and_anchors_to_its_own_headings(path, tmp_path):
    for file in paths.write(path, tmp_path / "out"):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
        headings = {"#" + line.lstrip("# ").replace(" ", "-") for line in text.splitlines() if line.startswith("#")}
        targets = re.findall(r"\]\(([^)\s]+)\)", text)
        assert targets
        for target in targets:
            if target.startswith("#"):
                assert target in headings
            elif not target.startswith("https:"):
                assert (file.parent / target.partition("#")[0]).resolve().exists(), target


@every_path
def test_a_path_is_written_without_outputs_and_says_its_time(path, tmp_path):
    made = paths.write(path, tmp_path)
    assert [file.name for file in made] == list(paths.names(path).values())
    for file in made:
        found = json.loads(file.read_text(encoding="utf-8"))
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found["cells"])
        assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])
        assert found["metadata"][paths.KEY] == path.name and hours.hours(file).honest
        shown = "\n".join(cell["source"] for cell in found["cells"] if cell["cell_type"] == "markdown")
        code = "\n".join(cell["source"] for cell in found["cells"] if cell["cell_type"] == "code")
        for task in paths.TASK.findall(shown):
            assert f'check("{task}"' in code, f"the task of {task} has no place for an answer"


def test_the_workshop_shows_the_finding_the_null_and_a_training_run():
    [session] = ALL["workshop"].sessions
    code = "\n".join(c["source"] for part in session.parts for c in paths.excerpt(part) if c["cell_type"] == "code")
    for shown in ("model.encode([museum])", "nulls.movement(", "reader.judge(rows)", "loop.train("):
        assert shown in code


def test_every_note_for_the_speaker_belongs_to_one_cell():
    for path in ALL.values():
        for part in (part for session in path.sessions for part in session.parts):
            found = [cell["source"] for cell in paths.excerpt(part)] if part.take else []
            for text, said in part.say:
                assert sum(text in source for source in found) == 1 and 5 <= len(said.split()) <= 90, text


# The command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_paths_and_writes_notebooks(tmp_path):
    printed = CliRunner().invoke(main, ["path"])
    assert printed.exit_code == 0 and all(f"{name}: {path.title}" in printed.output for name, path in ALL.items())
    written = CliRunner().invoke(main, ["path", "workshop", "--out", str(tmp_path / "new")])
    assert written.exit_code == 0 and (tmp_path / "new" / "workshop.ipynb").is_file(), written.output
    wrong = CliRunner().invoke(main, ["path", "holiday"])
    assert wrong.exit_code == 1 and "choose from workshop, half-day, two-weeks" in wrong.output


def test_a_notebook_that_somebody_has_worked_in_is_not_replaced(tmp_path):
    [place] = paths.write(ALL["workshop"], tmp_path)
    assert paths.write(ALL["workshop"], tmp_path) == [place], "the same file again does no harm"
    answered = place.read_text(encoding="utf-8").replace("answer = None", "answer = 7")
    place.write_text(answered, encoding="utf-8")
    refused = CliRunner().invoke(main, ["path", "workshop", "--out", str(tmp_path)])
    assert refused.exit_code == 1 and "may hold answers" in refused.output
    assert place.read_text(encoding="utf-8") == answered


def test_minutes_are_the_sum_of_rule_and_talk():
    for path in ALL.values():
        said = paths.plan(path)
        total = sum(by_rule + talk for _, by_rule, talk in paths.minutes(path))
        assert f"together {total:.0f} minutes" in said and f"at most {path.at_most}" in said


# What can go wrong ------------------------------------------------------------------------------------------------

LESSON = ["# Title\n**Prerequisites:** lesson 00.", "## One\n\nTold.\n\n**05.1 A task** · now", "check('05.1', None)",
          "x = 1", "The last [one](#One)."]  # fmt: skip


def test_a_range_takes_all_cells_between_and_a_task_goes_with_its_check(lessons):
    folder = lessons(_05=LESSON)
    assert sources(paths.Part("05", (("## One", "x = 1"),)), folder) == LESSON[1:4]
    assert sources(paths.Part("05", (("## One", "## One"), ("x = 1", "x = 1"))), folder) == ["## One\n\nTold.", "x = 1"]
    assert sources(paths.Part("05", (("The last", "The last"),), ("[one](#One)",)), folder) == ["The last ."]


@pytest.mark.parametrize(
    ("take", "said"),
    [
        ((("nothing like it", "x = 1"),), "stands in 0"),
        (((" ", " "),), "stands in 5"),
        ((("x = 1", "## One"),), "out of order"),
        ((("x = 1", "x = 1"), ("## One", "## One")), "out of order"),
        ((("## One", "x = 1"), ("x = 1", "x = 1")), "out of order"),
    ],
)
def test_an_excerpt_that_does_not_fit_its_lesson_says_what_is_wrong(lessons, take, said):
    with pytest.raises(ValueError, match=said):
        paths.excerpt(paths.Part("05", take), lessons(_05=LESSON))


def test_a_link_leads_from_where_the_notebook_lies(lessons, tmp_path):
    folder = lessons(_05=LESSON)
    session = paths.Session("s", (paths.Part("05", (("The last", "The last"),)),))
    way = paths.Way("w", "T", "all", "Aim.", 90, (), (session,))
    [place] = paths.write(way, tmp_path / "a" / "b", folder=folder)
    assert "[one](../../lessons/05_some.ipynb#One)" in place.read_text(encoding="utf-8")
    both = paths.Session("s", (paths.Part("05", (("## One", "The last"),)),))
    [place] = paths.write(paths.Way("w", "T", "all", "Aim.", 90, (), (both,)), tmp_path, True, folder)
    text = place.read_text(encoding="utf-8")
    assert "[one](#One)" in text and '"text": "1\\n"' in text


def test_lessons_that_a_lesson_builds_on_are_read_from_its_first_cell(lessons):
    said = {"_05": "lessons 00–02; a rank of 17 things", "_06": "lessons 02 (words) and 04 ($v_1$)",
            "_07": "lessons 00 to 01 and [03](03_a.ipynb)", "_08": "Python."}  # fmt: skip
    folder = lessons(
        **{name: [f"# T\n\n**Prerequisites:** {line}\n\n**Time:** 45 minutes"] for name, line in said.items()}
    )
    found = {name[1:]: paths.prerequisites(name[1:], folder) for name in said}
    assert found["05"][:3] == ("00", "01", "02") and found["06"] == ("02", "04")
    assert found["07"] == ("00", "01", "03") and found["08"] == ()
    with pytest.raises(ValueError, match="lesson 09 does not say what it builds on"):
        paths.prerequisites("09", lessons(_09=["# T"]))
    with pytest.raises(FileNotFoundError, match="there is no lesson 33"):
        paths.prerequisites("33", folder)


HEAD = "[a]\ntitle='x'\nfor='y'\naim='z'\nat_most=9"


def test_a_lesson_without_what_it_builds_on_is_a_gap(lessons):
    folder = lessons(_00=["# T\n**Prerequisites:** none"], _03=["# T\n**Prerequisites:** lessons 00–02"])
    way = paths.Way("w", "T", "all", "a", 9, ("01",), (paths.Session("s", (paths.Part("00"), paths.Part("03"))),))
    assert paths.gaps(way, folder) == [("03", "02")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a", "is no TOML"),
        ("[a]\ntitle = 'x'", "lacks a key"),
        (f"{HEAD}\nwrong=1\n[[a.session]]\ntitle='s'\n[[a.session.part]]\nlesson='00'", "unknown one"),
        (f"{HEAD}\n[[a.session]]\ntitle='s'\n[[a.session.part]]\nlessen='00'", "unknown one"),
    ],
)
def test_a_file_of_another_form_says_so(tmp_path, text, said):
    (tmp_path / "paths.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        paths.paths(tmp_path / "paths.toml")


def test_the_readme_of_the_data_names_the_file():
    assert "`paths.toml`" in (ROOT / "data" / "README.md").read_text(encoding="utf-8") and NOTEBOOKS.is_dir()
