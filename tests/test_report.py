"""`make report`: key numbers and their bands, what a report holds, and the page that draws the reports."""

import json
import re
import sys

import nbformat
import pytest
from repo import FINAL, ROOT, lessons, read

sys.path.insert(0, str(ROOT / "tools"))

import report
import site_reproductions

REPORTS = sorted((ROOT / "docs" / "reproductions").glob("*.json"))


@pytest.fixture
def lesson(tmp_path):
    """A lesson of three cells as it is committed; the last one prints what no two machines print alike."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    sources = {"print('hit rate 0.52 [0.4, 0.6]')\nprint('three words')": "hit rate 0.50 [0.4, 0.6]\nthree words\n",
               "7.25": None, "import time; print(time.time())": "1.5\n"}  # fmt: skip
    for source, text in sources.items():
        cell = nbformat.v4.new_code_cell(source)
        shown = nbformat.v4.new_output("execute_result", data={"text/plain": "7.25"}, execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)] if text else [shown]
        notebook.cells.append(cell)
    notebook.cells[-1].metadata["tags"] = ["nbval-ignore-output"]
    nbformat.write(notebook, tmp_path / "05_hits.ipynb")
    return tmp_path / "05_hits.ipynb"


def entry(band=0.05, pattern=r"hit rate (\d\.\d\d)"):
    return {"lesson": "05_hits", "name": "hits", "pattern": pattern, "band": band}


# Key numbers ------------------------------------------------------------------------------------------------------


def test_every_key_number_stands_once_in_what_its_lesson_prints():
    known = {path.stem: path for path in lessons()}
    for one in report.key_numbers():
        assert isinstance(report.value_of(one, report.printed(read(known[one["lesson"]]))), float)


def test_every_lesson_in_its_final_form_has_key_numbers():
    named = {one["lesson"][:2] for one in report.key_numbers()}
    assert {path.name[:2] for path in lessons()} & set(FINAL) <= named


def test_no_band_is_wider_than_half_of_the_half_width_of_the_interval_beside_it():
    known, seen = {path.stem: path for path in lessons()}, 0
    for one in report.key_numbers():
        text = "\n".join(line for _, lines in report.printed(read(known[one["lesson"]])) for line in lines)
        after = text[re.search(one["pattern"], text).end(1) :]
        if interval := re.match(r"(?:\]|)? ?\[([-+.\d]+), ([-+.\d]+)\]", after):
            seen += 1
            unit = 10.0 ** -len(re.search(one["pattern"], text)[1].partition(".")[2])
            assert one["band"] <= max((float(interval[2]) - float(interval[1])) / 4, unit) + 1e-9, one["name"]
    assert seen >= 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[number]]\nlesson = "a"\nname = "n"\npattern = "x"', "needs lesson, name, pattern and band"),
        ('[[number]]\nlesson = "a"\nname = "n"\npattern = "x"\nband = 1', "a pattern with one group"),
        ('[[number]]\nlesson = "a"\nname = "n"\npattern = "(x)"\nband = -1', "a band of 0 or more"),
    ],
)
def test_an_entry_that_breaks_the_form_is_named(tmp_path, text, said):
    (tmp_path / "numbers.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        report.key_numbers(tmp_path / "numbers.toml")


def test_a_pattern_that_matches_nowhere_or_twice_is_refused():
    for lines in ([], ["hit rate 0.50", "hit rate 0.51"]):
        with pytest.raises(ValueError, match=f"matches {len(lines)} times, not once"):
            report.value_of(entry(), [(0, lines)])


# Runs -------------------------------------------------------------------------------------------------------------


def test_a_number_within_its_band_agrees_and_every_other_is_compared_as_printed(lesson):
    before = lesson.read_bytes()
    found = report.lesson(lesson, [entry()], 60)
    assert found["agrees"] and found["keys"][0]["here"] == 0.52 and found["keys"][0]["committed"] == 0.5
    assert (found["printed_numbers"], found["the_same"]) == (4, 3)
    [line] = found["lines_that_differ"]
    assert line == {"cell": 0, "committed": "hit rate 0.50 [0.4, 0.6]", "here": "hit rate 0.52 [0.4, 0.6]"}
    assert lesson.read_bytes() == before
    assert not report.lesson(lesson, [entry(band=0.01)], 60)["agrees"]


def test_a_lesson_that_fails_or_no_longer_says_it_does_not_agree(lesson):
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells[0].source = "print('nothing')"
    nbformat.write(notebook, lesson)
    found = report.lesson(lesson, [entry()], 60)
    assert not found["agrees"] and found["keys"][0]["here"] is None and "matches 0 times" in found["keys"][0]["why"]
    notebook.cells[0].source = "1 / 0"
    nbformat.write(notebook, lesson)
    found = report.lesson(lesson, [entry()], 60)
    assert not found["agrees"] and "ZeroDivisionError" in found["error"]


def test_where_the_kernel_cuts_what_a_cell_prints_does_not_matter():
    pieces = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("a 1\nb", " 2", "\n\nc 3\n")]
    shown = nbformat.v4.new_output("display_data", data={"text/plain": "d 4"})
    whole = nbformat.v4.new_output("stream", name="stdout", text="a 1\nb 2\n\nc 3\n")
    cells = [nbformat.v4.new_code_cell("x", outputs=[*outputs, shown]) for outputs in (pieces, [whole])]
    one, other = (report.printed(nbformat.v4.new_notebook(cells=[cell])) for cell in cells)
    assert one == other == [(0, ["a 1", "b 2", "c 3", "d 4"])]


def test_a_line_with_other_words_counts_with_all_its_numbers():
    found = report.compared([(3, ["a 1, b 2", "c 3"])], [(3, ["a 1, c 2"])])
    assert (found["printed_numbers"], found["the_same"]) == (3, 0) and len(found["lines_that_differ"]) == 2
    assert report.compared([(0, ["−0.5 1,000 x2"])], [(0, ["−0.5 1,000 x2"])])["the_same"] == 2


@pytest.fixture
def made(lesson, tmp_path, monkeypatch):
    """A report on the small lesson, made by the command."""
    (tmp_path / "notebooks").mkdir()
    lesson.rename(tmp_path / "notebooks" / lesson.name)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1"\ndependencies = ["numpy==1", "no-such==1"]')
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "KEPT", tmp_path / "build" / "report")
    monkeypatch.setattr(report, "key_numbers", lambda: [entry()])
    monkeypatch.setattr(report, "weights", lambda: {"smollm2": "ab"})
    monkeypatch.delenv("COURSE_COMPARED", raising=False)
    assert report.main(["--out", str(tmp_path / "report.json")]) == 0
    return json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def test_a_report_has_the_form_and_names_nobody(made, tmp_path):
    import getpass
    import platform

    assert report.faults(made) == [] and made["agrees"] is True
    assert made["course"] == {"version": "1"} and set(made["versions"]) == {"numpy"}
    text = json.dumps(made)
    assert str(tmp_path) not in text and f'"{platform.node()}"' not in text and f'"{getpass.getuser()}"' not in text


def test_what_has_run_does_not_run_again_while_nothing_changes(made, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(report, "lesson", lambda *a: ran.append(a) or {"seconds": 0, "error": "e", "keys": [],
                                                                      "agrees": False})  # fmt: skip
    assert report.main(["--out", str(tmp_path / "again.json")]) == 0 and not ran
    monkeypatch.setattr(report, "key_numbers", lambda: [entry(band=0.001)])
    assert report.main(["--out", str(tmp_path / "again.json")]) == 1 and len(ran) == 1


def test_an_unknown_lesson_is_refused(made, capsys):
    with pytest.raises(SystemExit):
        report.main(["99_none"])
    assert "there is no lesson '99_none'" in capsys.readouterr().err


# Reports of others ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("machine"), "machine must be a dict"),
        (lambda r: r.update(form=2), "form must be 1"),
        (lambda r: r.update(agrees=False), "agrees is not what the lessons say"),
        (lambda r: r["lessons"]["05_hits"].pop("keys"), "has no list of keys"),
        (lambda r: r["lessons"]["05_hits"]["keys"][0].update(band="x"), "committed and band must be numbers"),
        (lambda r: r["lessons"]["05_hits"]["keys"][0].update(here=9.0), "agrees is not what committed, here and band"),
    ],
)
def test_a_report_that_breaks_the_form_is_told(made, change, said, tmp_path, capsys):
    change(made)
    assert any(said in fault for fault in report.faults(made))
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(made), encoding="utf-8")
    assert report.main(["--check", str(file)]) == 1 and said in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"wrong\.json"):
        (tmp_path / "report.json").unlink()
        site_reproductions.reports(tmp_path)


def test_reports_that_are_there_have_the_form():
    assert not [fault for file in REPORTS for fault in report.faults(json.loads(file.read_text(encoding="utf-8")))]


def test_the_page_draws_what_agrees_and_what_does_not(made, tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    assert site_reproductions.spread(folder) == "*There is no report yet.*"
    (folder / "one.json").write_text(json.dumps(made), encoding="utf-8")
    made["machine"]["processor"] = "<b>odd</b>"
    made["lessons"]["05_hits"]["keys"][0] |= {"here": 0.9, "agrees": False}
    made["lessons"]["05_hits"]["agrees"] = made["agrees"] = False
    (folder / "two.json").write_text(json.dumps(made), encoding="utf-8")
    page = site_reproductions.spread(folder)
    assert page.count("<circle") == 1 and page.count("l8 8m0-8l-8 8") == 1 and "&lt;b&gt;odd" in page
    assert "one: 0.52, agrees; two: 0.9, does not agree" in page and "0.5 ± 0.05" in page
    assert "3 of 4 are the same" in page and "0 of 1 agree" in page
