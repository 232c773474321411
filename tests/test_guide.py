"""The instructor guide follows the lessons: minutes, what builds on what, expected answers, numbers, exercises."""

import re
import sys
import xml.etree.ElementTree as ET
from html import unescape

import pytest
from repo import NOTEBOOKS, ROOT, appendices, lessons, output_text, read

sys.path.insert(0, str(ROOT / "tools"))

import guide

from course_utils.teaching import exercises, paths

NOTES = (guide.FOLDER / "lessons.md").read_text(encoding="utf-8")
FRONT = (guide.FOLDER / "README.md").read_text(encoding="utf-8")
HANDOUT = (guide.FOLDER / "handout.html").read_text(encoding="utf-8")
NUMBERS = [path.name[:2] for path in lessons()]
SECTIONS = {part[:2]: part for part in re.split(r"^## ", NOTES, flags=re.MULTILINE)[1:]}
every_lesson = pytest.mark.parametrize("number", NUMBERS)
#: A share, a measured value: anything that a lesson computes. Numbers of exercises are not.
VALUE = re.compile(r"(?<![\d.])\d*\.\d+(?!\w|\.\d)|\d+ ?%")
EXERCISE = re.compile(r"\b(\d\d\.\d)\b")


def by_hand(section: str) -> str:
    """A section without the block that the tool writes."""
    return re.sub(r"<!-- begin .*?<!-- end [^>]*-->", "", section, flags=re.DOTALL)


def outputs(number: str) -> str:
    return "\n".join(output_text(cell) for cell in read(paths.lesson_file(number)).cells if cell.cell_type == "code")


def values(text: str) -> list[str]:
    return [found.replace(" ", "") for found in VALUE.findall(EXERCISE.sub("", text))]


def unbacked(text: str, shown: str) -> list[str]:
    """Values of a text that stand in no output."""
    known = set(values(re.sub(r"(\d) %", r"\1%", shown)))
    return [value for value in values(text) if value not in known and f"0{value}" not in known]


# The blocks -------------------------------------------------------------------------------------------------------


def test_every_block_says_what_the_lessons_say_today():
    for page, text in guide.made().items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name} is out of date: python tools/guide.py"


@every_lesson
def test_every_prediction_of_a_lesson_is_answered_in_its_notes(number):
    code = "\n".join(cell.source for cell in read(paths.lesson_file(number)).cells if cell.cell_type == "code")
    asked = set(re.findall(r"predictions\.outcome\(\s*\"([\d.]+)\"", code))
    block = re.search(rf"<!-- begin expected {number} -->(.*?)<!-- end", SECTIONS[number], re.DOTALL)[1]
    assert set(re.findall(r"^- \*\*([\d.]+)\*\* .+ → \*\*.+\*\*$", block, re.MULTILINE)) == asked
    assert "minutes by the rule" in block


def test_a_block_that_nobody_knows_or_that_does_not_end_says_so():
    with pytest.raises(ValueError, match="no block 'other'"):
        guide.filled("<!-- begin other -->\n<!-- end other -->")
    with pytest.raises(ValueError, match="does not end"):
        guide.filled("<!-- begin graph -->\n")
    assert guide.filled("nothing to fill") == "nothing to fill"


def test_the_check_of_the_tool_writes_nothing(monkeypatch, tmp_path, capsys):
    page = guide.FOLDER / "absent.md"
    monkeypatch.setattr(guide, "made", lambda: {page: "new"})
    assert guide.main(["--check"]) == 1 and not page.exists()
    assert "out of date" in capsys.readouterr().out


# What was written by hand -----------------------------------------------------------------------------------------


@every_lesson
def test_a_lesson_has_aim_start_errors_discussion_and_what_to_skip(number):
    section = by_hand(SECTIONS[number])
    for part in ("**Aim.**", "**Open.**", "**Errors, and how to react.**", "**Discuss.**", "**Skip.**"):
        assert section.count(part) == 1, part
    assert section.split("**Errors")[1].split("**Discuss")[0].count("\n- ") >= 2
    assert section.split("**Discuss.**")[1].split("**Skip")[0].count("?") >= 1


def test_there_are_notes_for_lessons_only():
    assert list(SECTIONS) == NUMBERS
    for number, section in SECTIONS.items():
        assert section.splitlines()[0].startswith(f"{number} · ")


@every_lesson
def test_no_number_of_the_notes_is_without_an_output(number):
    assert not unbacked(by_hand(SECTIONS[number]), outputs(number))


def test_a_number_that_no_output_holds_is_found():
    assert unbacked("a share of .41, 12 % and 03.1", "0.41 and 12%") == []
    assert unbacked("a share of .42, 13 % and 3.5", "0.41 and 12%") == [".42", "13%", "3.5"]


@every_lesson
def test_exercises_and_appendices_that_the_notes_name_are_there(number):
    known, section = exercises.exercises(number), by_hand(SECTIONS[number])
    named = EXERCISE.findall(section)
    assert all(name in known for name in named), named
    core = "\n".join(cell.source for cell in read(paths.lesson_file(number)).cells)
    assert all(f'check("{name}"' in core for name in named), "the notes are about what is done in class"
    there = {path.name[:3] for path in appendices()}
    assert set(re.findall(r"\b(\d\d[a-z])\b", section)) <= there


def test_the_guide_names_every_project_and_what_it_needs_as_the_project_does():
    rows = dict(re.findall(r"^\| \[[^\]]+\]\(\.\./projects/(\w+\.md)\) \| ([^|]+) \|", FRONT, re.MULTILINE))
    there = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "projects").glob("*.md")}
    assert rows.keys() == there.keys()
    for name, needs in rows.items():
        stated = re.search(r"\*\*Needs:\*\*(.*?)\n\n", there[name], re.DOTALL)
        assert not stated or set(re.findall(r"\b\d\d\b", needs)) <= set(re.findall(r"\b\d\d\b", stated[1])), name
        assert "of twelve" in there[name], "the guide speaks of twelve points"


# What builds on what ----------------------------------------------------------------------------------------------


def test_the_graph_says_what_the_lessons_say_and_the_guide_what_the_graph_says():
    needs = {number: paths.prerequisites(number) for number in NUMBERS}
    assert all(before < number for number, found in needs.items() for before in found)
    after = {number: set(found) - {"00", "01", "02", "03"} for number, found in needs.items()}
    assert {number for number, more in after.items() if more} == {"09", "11"}
    assert "only 09 and 11 ask for one\nmore" in FRONT


def test_the_picture_is_one_box_a_lesson_with_its_words_inside():
    tree = ET.fromstring((guide.FOLDER / guide.GRAPH).read_text(encoding="utf-8"))
    space = {"s": "http://www.w3.org/2000/svg"}
    boxes = tree.findall("s:rect[@rx]", space)
    said = [text.text for text in tree.findall("s:text", space)]
    assert len(boxes) == len(NUMBERS) and [text for text in said if text in NUMBERS] == NUMBERS
    assert all(len(text) <= 20 for text in said)
    assert len(tree.findall("s:path", space)) >= len(NUMBERS) - 1


def test_what_follows_from_the_rest_is_not_drawn_and_circles_are_told():
    needs = {"00": (), "01": ("00",), "02": ("00", "01"), "03": ("00", "01", "02"), "05": ("00", "02")}
    assert guide.reduced(needs) == {"00": [], "01": ["00"], "02": ["01"], "03": ["02"], "05": ["02"]}
    assert guide.depths(needs) == {"00": 0, "01": 1, "02": 2, "03": 3, "05": 3}
    with pytest.raises(ValueError, match="in a circle: 00 → 01 → 00"):
        guide.depths({"00": ("01",), "01": ("00",)})


# The handout ------------------------------------------------------------------------------------------------------


def test_every_number_of_the_handout_is_printed_by_the_lesson_that_it_names():
    sections = re.findall(r'<section data-lesson="(\d\d)">(.*?)</section>', HANDOUT, re.DOTALL)
    assert [number for number, _ in sections] == ["00", "03"]
    for number, section in sections:
        plain = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"lesson \d\d", "", section)))
        found = values(plain)
        assert len(found) >= 5 and not unbacked(plain, outputs(number))
    outside = re.sub(
        r"<section.*?</section>|<style.*?</style>|<!-- begin.*?<!-- end[^>]*>", "", HANDOUT, flags=re.DOTALL
    )
    assert not [v for v in values(re.sub(r"<[^>]+>|arXiv [\d.]+", " ", outside)) if v != "2.0"]  # Apache 2.0


def test_rows_of_the_handout_are_rows_of_the_lessons():
    printed = outputs("00")
    for name, label in (("as it is", "as it is"), ("three quarters taken away", "three quarters")):
        row = re.search(rf"<tr><td>{name}</td>(.*?)</tr>", HANDOUT)[1]
        said = re.findall(r"<td>([\d.]+)</td>", row)
        line = next(line for line in printed.splitlines() if line.startswith(label) and line.count(".") >= 4)
        assert said == re.findall(r"\d\.\d\d", re.sub(r"\[[^\]]*\]", "", line))
    heads = re.findall(r"<th>((?:untrained|embedder)[^<]*)</th>", HANDOUT)
    said = re.search(r"embedder − v_1 u_1</th></tr>\n<tr>(.*?)</tr>", HANDOUT)[1]
    for head, value in zip(heads, re.findall(r"<td>([\d.]+)</td>", said), strict=True):
        line = next(x for x in outputs("03").splitlines() if re.match(rf"{re.escape(head)}\s+\d", x))
        assert line.removeprefix(head).split()[0] == value
    [verdict] = re.findall(r"sufficient: (\d of 8); necessary: (.*)", outputs("03"))
    assert f"<b>{verdict[0]}</b> embedders" in HANDOUT
    assert " and\n".join(verdict[1].split()) in re.sub("smol-llm2vec</", "smol-llm2vec</", HANDOUT)
    row = next(line for line in outputs("03").splitlines() if re.match(r"smol-sgpt-nli\s+26", line))
    assert "0.73 [" in row and "0.75 to 0.79" in row and "0 of 8 embedders" in outputs("03")


def test_the_handout_fetches_nothing_and_is_written_for_print():
    assert not re.search(r"""(?:src|href)=["']|@import|url\(""", HANDOUT)
    assert HANDOUT.count('<div class="page">') == 2 and "@page" in HANDOUT and "break-after: page" in HANDOUT


def test_the_pages_are_short_enough_to_read_and_lead_to_what_is_there():
    for text, name in ((FRONT, "README.md"), (NOTES, "lessons.md")):
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith("https:"):
                assert (guide.FOLDER / target).resolve().exists(), f"{name} leads to {target}"
    assert NOTEBOOKS.is_dir() and len(by_hand(NOTES).split()) < 4000
