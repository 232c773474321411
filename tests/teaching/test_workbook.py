"""The workbook: identical to the lessons but for outputs, and nothing that a reader wrote is ever lost."""

import copy
import json
import os
import re
import threading
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repo import NOTEBOOKS, ROOT

from course_utils import gates
from course_utils.teaching import workbook
from course_utils.teaching.workbook import KEY, OLDER, blank, is_untouched, refresh, updated

NAME = "00_first.ipynb"


def text(source: str) -> dict:
    return {"cell_type": "markdown", "id": f"cell-{abs(hash(source)) % 1000:03d}", "metadata": {}, "source": source}


def code(source: str) -> dict:
    output = {"output_type": "stream", "name": "stdout", "text": "the answer\n"}
    return text(source) | {"cell_type": "code", "outputs": [output], "execution_count": 3}


LESSON = [
    text("# Lesson\n\n[solutions](solutions/00_first.ipynb), [next](01_second.ipynb), [words](../docs/glossary.md)"),
    code("print(the_answer)"),
    text("Read this."),
    text("**00.1** Answer."),
    code('answer = None\ncheck("00.1", answer)'),
    code('quiz("00.1")'),
]
#: The lesson after an update: a cell more on top, a text changed, a stub worded anew, the first code cell the same.
LATER = [
    LESSON[0],
    text("New here."),
    LESSON[1],
    text("Read this, with care."),
    LESSON[3],
    code('answer = None  # a number\ncheck("00.1", answer)'),
    LESSON[5],
]


def notebook(cells: list[dict]) -> dict:
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": copy.deepcopy(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def course(tmp_path):
    """A course of one lesson, with its workbook made."""
    (tmp_path / "notebooks").mkdir()
    ship(tmp_path, LESSON)
    assert bring(tmp_path) == []
    return tmp_path


def ship(course: Path, cells: list[dict], name: str = NAME) -> None:
    (course / "notebooks" / name).write_text(json.dumps(notebook(cells)), encoding="utf-8")


def bring(course: Path, said: list[str] | None = None) -> list[str]:
    return refresh(course / "notebooks", course / "workbook", ([] if said is None else said).append)


def read(course: Path) -> dict:
    return json.loads((course / "workbook" / NAME).read_text(encoding="utf-8"))


def save(course: Path, content: dict) -> None:
    """Save as Jupyter does: sources as lists of lines, outputs of what was run."""
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell["execution_count"] = 7
    (course / "workbook" / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def edit(course: Path, number: int, source: str) -> None:
    content = read(course)
    content["cells"][number]["source"] = source
    save(course, content)


def sources(content: dict) -> list[str]:
    return ["".join(cell["source"]) for cell in content["cells"]]


def older(course: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((course / "workbook" / OLDER).glob("*"))]


# Made once ----------------------------------------------------------------------------------------------------------


def test_a_lesson_arrives_without_outputs_and_with_links_that_lead_there(course):
    made = read(course)
    nbformat.validate(nbformat.from_dict(made))
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in made["cells"] if "outputs" in cell)
    assert "](../notebooks/solutions/00_first.ipynb)" in sources(made)[0] and "](01_second.ipynb)" in sources(made)[0]
    assert sources(made)[1:] == [cell["source"] for cell in LESSON[1:]]
    assert made["cells"][4]["id"].startswith("check-00-1-") and made["metadata"]["kernelspec"]["name"] == "python3"
    assert is_untouched(made) and not (course / "workbook" / OLDER).exists()


def test_the_real_lessons_differ_from_the_workbook_in_outputs_ids_and_links_to_solutions_only():
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]*.ipynb")):
        lesson = json.loads(path.read_text(encoding="utf-8"))
        made = blank(lesson, path.name)
        nbformat.validate(nbformat.from_dict(made))
        assert sources(made) == [s.replace("](solutions/", "](../notebooks/solutions/") for s in sources(lesson)]
        assert [c["metadata"] for c in made["cells"]] == [c["metadata"] for c in lesson["cells"]]
        assert is_untouched(made)
        prose = "\n".join("".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "markdown")
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose):
            if not re.match("[a-z]+:", target):
                # The workbook lies beside notebooks/, and holds the other lessons itself, but no other file from there.
                beside = NOTEBOOKS if re.fullmatch(r"[^/]+\.ipynb", target) else ROOT / "workbook"
                goal = Path(os.path.normpath(beside / target))
                assert goal.exists(), f"{path.name}: {target} leads nowhere"


def test_twice_is_once(course):
    before, said = (course / "workbook" / NAME).read_bytes(), []
    edit(course, 1, "print(my_answer)")
    mine = (course / "workbook" / NAME).read_bytes()
    assert bring(course, said) == [] and not said
    assert (course / "workbook" / NAME).read_bytes() == mine != before


def test_an_update_of_a_lesson_that_nobody_opened_leaves_no_older_copy(course):
    ship(course, LATER)
    assert bring(course) == []
    assert "New here." in sources(read(course)) and is_untouched(read(course))
    assert not (course / "workbook" / OLDER).exists()


def test_an_update_of_a_lesson_that_was_run_keeps_its_outputs_in_the_older_copy(course):
    save(course, read(course))  # run, but not written into
    mine, said = (course / "workbook" / NAME).read_bytes(), []
    ship(course, LATER)
    assert bring(course, said) == []
    assert "New here." in sources(read(course)) and is_untouched(read(course))
    assert older(course) == [mine] and "with its outputs" in said[0]


@pytest.mark.parametrize("edited", [False, True])
def test_what_is_saved_while_a_lesson_is_brought_up_to_date_is_not_lost(course, monkeypatch, edited):
    """The editor saves between our reading and our writing, once; the lesson is then begun anew."""
    if edited:
        edit(course, 1, "print(the_answer + 1)  # mine")
    ship(course, LATER)
    whole, saves = workbook._read, [lambda: edit(course, 2, "Read this. SAVED MEANWHILE")]

    def reads(path):
        content = whole(path)
        if path.parent.name == "workbook" and saves:
            saves.pop()()
        return content

    monkeypatch.setattr(workbook, "_read", reads)
    assert bring(course) == [] and not saves
    together = "\n".join(sources(read(course)))
    assert "SAVED MEANWHILE" in together and "New here." in together
    assert ("# mine" in together) is edited


def test_a_file_that_is_saved_again_and_again_is_left_alone(course, monkeypatch):
    ship(course, LATER)
    whole, saves = workbook._read, iter(range(100))

    def reads(path):
        content = whole(path)
        if path.parent.name == "workbook":
            edit(course, 2, f"saved {next(saves)}")
        return content

    monkeypatch.setattr(workbook, "_read", reads)
    [problem] = bring(course)
    monkeypatch.undo()
    assert "again and again" in problem and sources(read(course))[2] == "saved 4"


@pytest.mark.parametrize(("number", "kind"), [(1, "markdown"), (2, "code"), (4, "markdown"), (2, "raw")])
def test_a_cell_that_was_turned_into_another_kind_is_an_edit(course, number, kind):
    content = read(course)
    cell = content["cells"][number] | {"cell_type": kind}
    for name in ("outputs", "execution_count"):
        cell.pop(name, None)
    content["cells"][number] = cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})
    save(course, content)
    assert not is_untouched(read(course))
    ship(course, [*LESSON, text("New here.")])
    assert bring(course) == []
    new = read(course)
    nbformat.validate(nbformat.from_dict(new))
    assert new["cells"][number]["cell_type"] == kind and sources(new)[-1] == "New here."


# What a reader wrote ------------------------------------------------------------------------------------------------


def test_answers_edits_and_notes_are_carried_over(course):
    content = read(course)
    content["cells"][1]["source"] = "print(the_answer + 1)  # mine"
    content["cells"][2]["source"] = "Read this. MY THOUGHT"
    content["cells"][4]["source"] = 'answer = 42\ncheck("00.1", answer)'
    content["cells"].insert(2, {"cell_type": "markdown", "id": "f00ba4", "metadata": {}, "source": "a note",
                                "attachments": {"a.png": {"image/png": "AAAA"}}})  # fmt: skip
    content["cells"].append({"cell_type": "code", "id": "f00ba5", "metadata": {}, "source": "my = 'cell'",
                             "outputs": [], "execution_count": 1})  # fmt: skip
    save(course, content)
    mine, said = (course / "workbook" / NAME).read_bytes(), []
    ship(course, LATER)
    assert bring(course, said) == []
    new = read(course)
    nbformat.validate(nbformat.from_dict(new))
    shown = sources(new)
    assert shown[1:4] == ["New here.", "print(the_answer + 1)  # mine", "a note"]
    assert new["cells"][3]["attachments"] == {"a.png": {"image/png": "AAAA"}}
    assert "MY THOUGHT" in shown[4] and "lesson has changed here" in shown[4] and shown[5] == "Read this, with care."
    stub = shown.index('answer = None  # a number\ncheck("00.1", answer)')
    assert 'answer = 42\ncheck("00.1", answer)' in shown[stub + 1] and "```python" in shown[stub + 1]
    assert new["cells"][stub + 1]["cell_type"] == "markdown", "an answer to another question is not run"
    assert shown[-1] == "my = 'cell'" and new["cells"][-1]["outputs"] == []
    assert older(course) == [mine] and any(OLDER in line for line in said)
    assert bring(course) == [] and older(course) == [mine], "once is enough"


def test_an_answer_stays_in_its_cell_while_the_stub_is_the_same(course):
    edit(course, 4, 'answer = 42\ncheck("00.1", answer)')
    ship(course, [*LATER[:5], LESSON[4], LATER[6]])
    bring(course)
    assert sources(read(course)).count('answer = 42\ncheck("00.1", answer)') == 1
    assert 'answer = None\ncheck("00.1", answer)' not in sources(read(course))


def test_deleted_and_reordered_cells_stand_again_where_the_lesson_has_them(course):
    content = read(course)
    first, second, third, *rest = content["cells"]
    third["source"] = "Read this. MY THOUGHT"
    save(course, content | {"cells": [third, *reversed(rest)]})
    mine = (course / "workbook" / NAME).read_bytes()
    ship(course, LESSON[:2] + [text("Between.")] + LESSON[2:])
    bring(course)
    assert sources(read(course))[1:4] == ["print(the_answer)", "Between.", "Read this. MY THOUGHT"]
    assert older(course) == [mine]


def test_cells_that_lost_their_ids_are_known_by_what_they_hold(course):
    content = read(course)
    content["cells"][4]["source"] = 'answer = 42\ncheck("00.1", answer)'
    for cell in content["cells"]:
        cell.pop("id")
    save(course, content)
    ship(course, LATER)
    bring(course)
    shown = sources(read(course))
    assert shown.count("print(the_answer)") == 1
    at = shown.index('answer = None  # a number\ncheck("00.1", answer)')
    assert shown[at + 1] == 'answer = 42\ncheck("00.1", answer)'
    nbformat.validate(nbformat.from_dict(read(course)))


WRITTEN = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_was_written_is_in_the_new_lesson(data):
    """Edited, added, moved, deleted and copied cells, in any order, under any of three updates."""
    mine = blank(notebook(LESSON), NAME)
    written = []
    for number in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, max(0, len(mine["cells"]) - 1)))
        what = data.draw(st.sampled_from(["edit", "add", "move", "delete", "copy"]))
        wrote = f"{number} " + data.draw(WRITTEN)
        if what == "add":
            kind = data.draw(st.sampled_from([text, code]))
            mine["cells"].insert(at, kind(wrote) | {"id": f"new-{number}"})
            written.append(wrote)
        elif not mine["cells"]:
            continue
        elif what == "edit":
            overwritten = "".join(mine["cells"][at]["source"])
            written = [w for w in written if w != overwritten]
            mine["cells"][at] = mine["cells"][at] | {"source": wrote}
            written.append(wrote)
        elif what == "copy":
            mine["cells"].insert(at, dict(mine["cells"][at]))
        else:
            cell = mine["cells"].pop(at)
            if what == "move":
                mine["cells"].insert(data.draw(st.integers(0, len(mine["cells"]))), cell)
            elif not any(c["source"] == cell["source"] for c in mine["cells"]):
                written = [w for w in written if w != cell["source"]]
    fresh = blank(notebook(data.draw(st.sampled_from([LATER, LESSON[::-1], LESSON[:1]]))), NAME)
    new = updated(fresh, mine)
    nbformat.validate(nbformat.from_dict(new))
    together, ids = "\n".join(sources(new)), [cell["id"] for cell in new["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(wrote in together for wrote in written)
    fresh_ids = [cell["id"] for cell in fresh["cells"]]
    assert [cell["id"] for cell in new["cells"] if cell["id"] in fresh_ids] == fresh_ids, "the lesson is whole"


def test_two_edited_copies_of_one_cell_are_both_kept(course):
    content = read(course)
    for source in ("print(the_answer, 1)", "print(the_answer, 2)"):
        content["cells"].insert(1, content["cells"][1] | {"source": source})  # both with the id of the lesson's cell
    save(course, content)
    ship(course, LATER)
    bring(course)
    together = "\n".join(sources(read(course)))
    assert "print(the_answer, 1)" in together and "print(the_answer, 2)" in together
    ids = [cell["id"] for cell in read(course)["cells"]]
    assert len(set(ids)) == len(ids)


def test_predictions_are_left_alone(course):
    (course / "workbook" / "predictions.json").write_text("{}")
    edit(course, 1, "mine")
    ship(course, LATER)
    bring(course)
    assert (course / "workbook" / "predictions.json").read_text() == "{}"


def test_a_lesson_that_no_longer_ships_stays(course):
    edit(course, 1, "mine")
    ship(course, LESSON, "01_second.ipynb")
    (course / "notebooks" / NAME).unlink()
    assert bring(course) == [] and "mine" in sources(read(course))


# When something is in the way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cells": [1]}', b'{"cells": [{"cell_type": "code"}]}',
                                     b'{"worksheets": []}', b"\xff\xfe{\x00}\x00"])  # fmt: skip
def test_a_damaged_file_is_kept_byte_by_byte_and_the_lesson_made_new(course, content):
    (course / "workbook" / NAME).write_bytes(content)
    said = []
    assert bring(course, said) == []
    assert older(course) == [content] and is_untouched(read(course)) and "could not be read" in said[0]


@pytest.mark.parametrize("step", ["copy", "write"])
def test_on_a_full_disk_the_readers_file_stays_and_other_lessons_still_arrive(course, monkeypatch, step):
    edit(course, 1, "mine")
    mine, said = (course / "workbook" / NAME).read_bytes(), []
    ship(course, LATER)
    ship(course, LESSON, "01_second.ipynb")
    whole = gates.replacing

    def full(*_):
        raise OSError(28, "No space left on device")

    if step == "copy":
        monkeypatch.setattr(workbook.shutil, "copy2", full)
    else:
        monkeypatch.setattr(gates, "replacing", lambda path: full() if path.name == NAME else whole(path))
    [problem] = bring(course, said)
    assert NAME in problem and "No space left" in problem and any("left as it was" in line for line in said)
    assert (course / "workbook" / NAME).read_bytes() == mine and (course / "workbook" / "01_second.ipynb").exists()
    assert not list((course / "workbook").rglob("*.partial"))
    monkeypatch.undo()
    assert bring(course) == [] and older(course) == [mine] and "mine" in sources(read(course))


def test_a_folder_that_cannot_be_made_is_said(course):
    (course / "elsewhere").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        refresh(course / "notebooks", course / "elsewhere" / "workbook")
    with pytest.raises(FileNotFoundError, match="no lessons in .*nowhere; call this from a clone"):
        refresh(course / "nowhere", course / "workbook")


def test_a_damaged_lesson_of_the_course_spoils_nothing(course):
    edit(course, 1, "mine")
    (course / "notebooks" / NAME).write_text("{")
    [problem] = bring(course)
    assert "not valid JSON" in problem and "mine" in sources(read(course))


def test_two_at_once_make_one_update(course):
    edit(course, 1, "print(the_answer + 1)  # mine")
    mine = (course / "workbook" / NAME).read_bytes()
    ship(course, LATER)
    problems = []
    threads = [threading.Thread(target=lambda: problems.extend(bring(course))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and older(course) == [mine]
    assert sources(read(course)).count("print(the_answer + 1)  # mine") == 1


def test_the_command_makes_the_workbook_and_says_so(course, monkeypatch):
    from click.testing import CliRunner

    from course_utils.__main__ import main

    monkeypatch.setattr(workbook.refresh, "__defaults__", (course / "notebooks", course / "mine", print))
    done = CliRunner().invoke(main, ["workbook"])
    assert done.exit_code == 0 and done.output == (
        "1 lessons have arrived in mine/, which is yours: no update overwrites it.\n"
    )
    (course / "notebooks" / NAME).write_text("{")
    assert CliRunner().invoke(main, ["workbook"]).exit_code == 1


def test_the_metadata_name_the_form_of_the_lesson(course):
    assert read(course)["metadata"][KEY]["lesson"] == NAME
    ship(course, LATER)
    assert blank(notebook(LATER), NAME)["metadata"][KEY] != read(course)["metadata"][KEY]
