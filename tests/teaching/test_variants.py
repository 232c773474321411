"""Variants: the same exercise with other numbers for every reader, and copies of the lessons that hold them."""

import json
import re
from functools import cache

import pytest
from click.testing import CliRunner
from exercise_cases import all_cases
from repo import FINAL, NOTEBOOKS, ROOT, solutions

from course_utils.__main__ import main
from course_utils.teaching import exercises, grading
from course_utils.teaching.exercises import check, variants
from course_utils.teaching.grading import copies, sheet

LESSONS = sorted(path.stem[-2:] for path in (ROOT / "course_utils/teaching/exercises/variants").glob("lesson*.py"))
VARIED = {name: one for lesson in LESSONS for name, one in variants.varied(lesson).items()}
#: Lessons whose solutions train or load models; what answers their variants stands on its own feet.
ON_MODELS = ("05", "06", "07", "08")
every_variant = pytest.mark.parametrize("name", VARIED)


@cache
def solved(lesson: str) -> dict:
    """What the solution notebooks of a lesson define, without the cells that need a model or stored measurements."""
    names: dict = {"np": __import__("numpy")}
    for path in solutions():
        for cell in sheet.read(path) if path.name[:2] == lesson and lesson not in ON_MODELS else []:
            if "store." not in cell and "measured." not in cell:
                exec(cell, names)
    return names


def answer(name: str, option) -> object:
    """The solution's answer to a variant."""
    names = dict(solved(name[:2]))
    exec(VARIED[name].solution(option), names)
    return names["variant"]


def seeds(name: str) -> range:
    """One seed for every option."""
    return range(1, len(VARIED[name].options) + 1)


# What a seed is ---------------------------------------------------------------------------------------------------


def test_every_lesson_in_its_final_form_varies_two_exercises_or_more():
    assert set(FINAL) - {"09"} <= set(LESSONS)
    few = [lesson for lesson in LESSONS if len(variants.varied(lesson)) < 2]
    assert not few


@every_variant
def test_all_options_come_up_and_only_seeds_that_differ_by_their_number_share_one(name):
    one = VARIED[name]
    found = [one.option(seed) for seed in seeds(name)]
    assert (
        len(set(found)) == len(found) == len(one.options) and 7 <= len(found) <= 55
    )  # as docs/teaching/classes.md says
    assert one.option(1) == one.option(str(1 + len(found))) != one.option(2)


def test_a_seed_means_the_same_on_every_machine():
    """Written down once: a change would give every reader another exercise."""
    found = {name: VARIED[name].option(17) for name in ("00.1", "00.2", "02.1", "10.1", "11.2")}
    assert found == {"00.1": 2, "00.2": ("violin", "banana"), "02.1": 6, "10.1": 0.67, "11.2": 7}


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", "1" * 10, None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="a seed is a whole number of one to nine digits"):
        variants.find("00.1", seed)


def test_an_exercise_without_variants_is_the_published_one():
    assert variants.find("02.4", 5) == exercises.find("02.4") and exercises.find("02.4/5").id == "02.4"
    with pytest.raises(ValueError, match=r"there is no exercise '02\.99'"):
        exercises.find("02.99/5")
    assert variants.varied("99") == {}


# Answers ----------------------------------------------------------------------------------------------------------


@every_variant
def test_the_solution_follows_the_seed_and_is_wrong_for_every_other(name):
    """The check's own expectation is written apart from the solution: here one tests the other."""
    one, right = VARIED[name], set()
    for seed in seeds(name):
        given = answer(name, one.option(seed))
        said = check(f"{name}/{seed}", given)
        assert said.status == "right" and said.exercise_id == f"{name}/{seed}", said
        for other in (seed + 1, seed + 2, seed + len(one.options) // 2):
            if one.option(other) != one.option(seed):
                verdict = check(f"{name}/{other}", given)
                assert verdict.status == "wrong", f"the answer for {one.option(seed)} passes for {one.option(other)}"
        right.add(seed)
    assert len(right) == len(one.options)


@every_variant
def test_the_published_solution_is_wrong_for_every_seed_and_hears_why(name):
    for seed in seeds(name):
        said = check(f"{name}/{seed}", all_cases()[name].solution())
        assert said.status == "wrong", (seed, said)
    if name not in ("00.2", "03.3"):  # there the texts themselves are others
        assert "as it is published" in said.message


@every_variant
def test_what_is_wrong_in_the_exercise_is_wrong_in_its_variants(name):
    """One option may be what a wrong answer to the published exercise computes, such as a posting of 4 bytes."""
    for make in all_cases()[name].wrong:
        passed = [seed for seed in seeds(name) if check(f"{name}/{seed}", make()).status == "right"]
        assert len(passed) <= 1, (make(), passed)


@every_variant
def test_answers_of_every_kind_get_a_verdict(name):
    for strange in (None, "x", 7, [1, "a"], {"A": None}, {"A": [1]}, lambda *a: None, lambda *a: "x", lambda *a: 1 / 0):
        assert check(f"{name}/3", strange).status in ("missing", "wrong")


def test_an_answer_for_another_reader_is_called_that():
    said = check("11.2/1", answer("11.2", VARIED["11.2"].option(2)))
    assert "another reader's variant" in said.message and "bytes" in said.message


def test_results_are_compared_by_what_they_are():
    same = variants.same
    assert same([(1, 0.5)], [(1, 0.5)]) and not same([(1, 0.5)], [(2, 0.5)]) and not same([1], [1, 2])
    assert same({"a": [1]}, {"a": [1]}) and not same({"a": [1]}, {"b": [1]}) and not same([], {"a": [1]})
    assert not same(0.5, 0.501) and same(0.5, 0.501, 0.01) and same("d1", "d1") and not same("d2", "d1")
    with pytest.raises(exercises.AnswerError):
        same(None, [1])


# Copies -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    done = CliRunner().invoke(main, ["variants", "1", "2", "--out", str(folder), "--solutions"])
    assert done.exit_code == 0 and done.output.count("notebooks in") == 2, done.output
    return folder


def test_a_copy_calls_every_check_by_its_seed_and_says_what_is_different(written):
    for file in sorted((written / "1").glob("*.ipynb")):
        shipped = NOTEBOOKS / f"{file.stem.removesuffix('-1')}.ipynb"
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (shipped, file))
        assert [cell["id"] for cell in before["cells"]] == [cell["id"] for cell in after["cells"]]
        asked = [name for cell in sheet.read(shipped) for name in sheet.checked(cell)]
        varied = [name for name in asked if name in VARIED]
        text = "\n".join("".join(cell["source"]) for cell in after["cells"])
        assert [name for cell in sheet.read(file) for name in sheet.checked(cell)] == asked
        assert text.count(copies.YOURS) == len(varied)
        for name in varied:
            assert f'check("{name}/1"' in text and VARIED[name].task(VARIED[name].option(1)) in text
        assert all(not cell.get("outputs") for cell in after["cells"]) and sheet.seed(sheet.read(file)) in (1, None)


def test_two_seeds_differ_in_nothing_but_what_varies(written):
    one, other = (
        (written / seed / f"02_alignment_phenomenon-{seed}.ipynb").read_text(encoding="utf-8") for seed in "12"
    )
    differ = [a for a, b in zip(one.splitlines(), other.splitlines(), strict=True) if a != b]
    assert differ and all(re.search(r'Your variant|check\(|"several_tokens_seed"', line) for line in differ), differ


def test_the_same_seed_gives_the_same_files(written, tmp_path):
    copies.write([2], tmp_path, solutions=True)
    for file in (tmp_path / "2").rglob("*.ipynb"):
        assert file.read_bytes() == (written / "2" / file.relative_to(tmp_path / "2")).read_bytes()


@pytest.mark.parametrize("lesson", [lesson for lesson in LESSONS if lesson not in (*ON_MODELS, "01", "11")])
def test_a_solution_notebook_solves_its_own_seed_from_top_to_bottom(written, lesson, monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    [file] = (written / "2" / "solutions").glob(f"{lesson}*.ipynb")
    said = []
    names = {"display": print}
    for cell in sheet.read(file):
        exec(cell.replace("\ncheck(", "\nVERDICT = check("), names)
        said += [names.pop("VERDICT")] if "VERDICT" in names else []
    assert len(said) >= 2 and all(verdict.status == "right" for verdict in said), said


def test_grading_judges_by_the_seed_of_the_notebook(tmp_path):
    """Right for the seed; another reader's answers; and a reader who asks for one exercise by another seed."""

    def code(seed, answers):
        notebook = copies.personal(copies.notebook(NOTEBOOKS / "11a_more_exercises.ipynb"), seed)
        solution = copies.solved(copies.notebook(NOTEBOOKS / "solutions" / "11_scale.ipynb"), answers)
        sources = [c["source"] for c in solution["cells"] if c["cell_type"] == "code" and "measured." not in c["source"]
                   and "11.2" not in c["source"]]  # fmt: skip
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and (asked := sheet.checked(cell["source"])):
                own = next(s for s in sources if asked[0] in sheet.checked(s))
                cell["source"] = own.replace(f'/{answers}"', f'/{seed}"')
        return notebook

    files = []
    for name, seed, answers in (("own", 3, 3), ("copied", 3, 4)):
        files.append(copies.written(code(seed, answers), tmp_path / f"{name}.ipynb"))
    sneaky = code(3, 3)
    for cell in sneaky["cells"]:
        if '"11.3/3"' in cell["source"]:
            published = [s for s in sheet.read(NOTEBOOKS / "solutions" / "11_scale.ipynb") if "11.3" in s][0]
            cell["source"] = published
    files.append(copies.written(sneaky, tmp_path / "sneaky.ipynb"))
    rows = grading.grade(files, cell_seconds=60)
    assert [(row.exercise, row.status, row.seed) for row in rows] == [
        ("11.1", "right", "3"), ("11.3", "right", "3"),
        ("11.1", "wrong", "3"), ("11.3", "wrong", "3"),
        ("11.1", "right", "3"), ("11.3", "wrong", "3"),
    ]  # fmt: skip
    assert "another reader's variant" in rows[2].explanation and "as it is published" in rows[5].explanation


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["x"], "a seed is a whole number"), (["1", "--lesson", "99"], "there is no lesson '99'")],
)
def test_what_cannot_be_written_is_told_in_one_line(arguments, said, tmp_path):
    done = CliRunner().invoke(main, ["variants", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and said in done.output and not (tmp_path / "out").exists()
