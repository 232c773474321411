"""How pages are collected: what changes on the way to the site, and what is refused."""

import base64
import json
import re

import pytest
import site_pages
from address import Address
from site_sources import BrokenLink, Sources, collect, html, markdown, notebook, outside_code, slug

PIXEL = base64.b64encode(b"\x89PNG not really").decode()


@pytest.fixture
def course(tmp_path):
    """A small course with a lesson, its solution, a glossary and a data card."""
    root, out = tmp_path / "course", tmp_path / "out"
    files = {
        "notebooks/00_start.ipynb": json.dumps({"cells": [], "metadata": {}}),
        "notebooks/03a_layers.ipynb": json.dumps({"cells": [], "metadata": {}}),
        "notebooks/solutions/00_start.ipynb": json.dumps({"cells": [], "metadata": {}}),
        "docs/glossary.md": "# Glossary\n",
        "docs/site/index.md": "# First\n\n[a card](../../data/README.md)\n",
        "docs/site/run.md": "# Ways\n",
        "docs/badges/binder.svg": "<svg/>",
        "docs/badges/colab.svg": "<svg/>",
        "data/README.md": "# Data\n",
        "data/rows.jsonl": "{}\n",
        "README.md": "# Course\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    out.mkdir()
    return Sources(root, out)


LESSON = "notebooks/00_start.ipynb"


def test_lessons_and_appendices_are_found_not_listed(course):
    found = [page.as_posix() for page in course.pages()]
    assert "notebooks/00_start.ipynb" in found and "notebooks/03a_layers.ipynb" in found and len(found) == 8


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("../docs/glossary.md", "../docs/glossary.md"),
        ("solutions/00_start.ipynb", "solutions/00_start.ipynb"),
        ("#Load-and-play", "#load-and-play"),
        ("#4-·-The-table-of-guests", "#4--the-table-of-guests"),
        ("03a_layers.ipynb#What-we-saw", "03a_layers.ipynb#what-we-saw"),
        ("../data", "../data/README.md"),
        ("../data/rows.jsonl", "../data/rows.jsonl"),
        ("https://arxiv.org/abs/2406.17378", "https://arxiv.org/abs/2406.17378"),
    ],
)
def test_links_take_the_form_of_the_site(course, target, expected):
    page = course.pages()[[p.as_posix() for p in course.pages()].index(LESSON)]
    assert course.rewritten(target, page) == expected


def test_a_page_of_the_site_itself_moves_to_the_top_and_its_links_with_it(course):
    collect(course)
    assert "[a card](data/README.md)" in (course.out / "index.md").read_text(encoding="utf-8")


def test_a_file_that_is_no_page_is_copied_or_linked_in_the_repository(course):
    page = course.pages()[-1]
    course.rewritten("data/rows.jsonl", course.root.joinpath("README.md").relative_to(course.root))
    assert (course.out / "data" / "rows.jsonl").read_text(encoding="utf-8") == "{}\n"
    known = Sources(course.root, course.out, Address("https://github.com/a/b"))
    assert known.rewritten("rows.jsonl", known.root.joinpath("data/README.md").relative_to(known.root)) == (
        "https://github.com/a/b/blob/main/data/rows.jsonl"
    )
    assert page


@pytest.mark.parametrize("target", ["nowhere.md", "../../outside.md", "../docs/glosary.md#Words"])
def test_a_link_to_nothing_stops_the_build_and_is_named(course, target):
    (course.root / LESSON).write_text(
        json.dumps({"cells": [{"cell_type": "markdown", "source": f"[x]({target})", "metadata": {}}]}), encoding="utf-8"
    )
    with pytest.raises(BrokenLink, match=rf"00_start\.ipynb leads to {re.escape(target)}"):
        collect(course)


def test_code_is_left_alone():
    text = "a [x](y) `[x](y)` b\n```python\n[x](y)\n```\n[`f`](y) ``[x](y) ` ``\n"
    changed = outside_code(text, lambda prose: prose.replace("](y)", "](Z)"))
    assert changed == "a [x](Z) `[x](y)` b\n```python\n[x](y)\n```\n[`f`](Z) ``[x](y) ` ``\n"


def test_links_in_html_are_rewritten_too(course):
    page = next(p for p in course.pages() if p.as_posix() == LESSON)
    assert markdown('<a href="#Load-and-play">x</a>', page, course) == '<a href="#load-and-play">x</a>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[x](#Load-and-play "a title")', '[x](#load-and-play "a title")'),
        ("[x](../data 'a title' )", "[x](../data/README.md 'a title' )"),
        ("a [x]\n\n[x]: ../data\n", "a [x]\n\n[x]: ../data/README.md\n"),
        ("[^1]: ../nowhere is said there", "[^1]: ../nowhere is said there"),
    ],
)
def test_links_with_a_title_and_links_by_label_are_rewritten_too(course, text, expected):
    page = next(p for p in course.pages() if p.as_posix() == LESSON)
    assert markdown(text, page, course) == expected


@pytest.mark.parametrize("text", ['[x](nowhere.md "t")', "[x]: nowhere.md"])
def test_such_a_link_to_nothing_is_refused(course, text):
    page = next(p for p in course.pages() if p.as_posix() == LESSON)
    with pytest.raises(BrokenLink, match="nowhere.md"):
        markdown(text, page, course)


def code(*outputs, source="x"):
    return {"cells": [{"cell_type": "code", "source": source, "metadata": {}, "outputs": list(outputs)}]}


def display(**data):
    return {"output_type": "display_data", "metadata": {}, "data": {k.replace("_", "/"): v for k, v in data.items()}}


def test_a_widget_leaves_its_picture_behind_and_nothing_else(course):
    page = next(p for p in course.pages() if p.as_posix() == LESSON)
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox(children=(Text(),))"}
    alone = {"output_type": "display_data", "metadata": {}, "data": view}
    picture = display(text_html=["<p>A picture: run this cell to type and drag here.</p>"], text_plain="picture")
    both = {"output_type": "display_data", "metadata": {}, "data": {**view, "text/html": "<p>twin</p>"}}
    kept = notebook(code(alone, picture, both), page, course)["cells"][0]["outputs"]
    assert [output["data"]["text/html"] for output in kept] == [
        "<p>A picture: in the notebook you can type and drag here.</p>",
        "<p>twin</p>",
    ]
    assert "widget-view" not in json.dumps(kept)


@pytest.mark.parametrize("said", ["Output()", "Button(description='go')", ["Tab()"]])
def test_a_widget_of_any_kind_leaves_no_name_behind(course, said):
    page = next(p for p in course.pages() if p.as_posix() == LESSON)
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": said}
    alone = {"output_type": "display_data", "metadata": {}, "data": view}
    picture = {"output_type": "display_data", "metadata": {}, "data": view | {"image/png": "AA"}}
    [kept] = notebook(code(alone, picture), page, course)["cells"][0]["outputs"]
    assert kept["data"] == {"text/plain": said, "image/png": "AA"}


def test_what_a_cell_printed_stays(course):
    page = next(p for p in course.pages() if p.as_posix() == LESSON)
    printed = {"output_type": "stream", "name": "stdout", "text": ["a\n"]}
    value = display(text_plain="HTML is a language")
    assert notebook(code(printed, value), page, course)["cells"][0]["outputs"] == [printed, value]


def test_solutions_are_folded_and_lessons_are_not(course):
    lesson = next(p for p in course.pages() if p.as_posix() == LESSON)
    solution = next(p for p in course.pages() if "solutions" in p.parts)
    content = code()
    assert notebook(content, solution, course)["cells"][0]["metadata"]["tags"] == ["hide-cell"]
    assert "tags" not in notebook(content, lesson, course)["cells"][0]["metadata"]
    assert content == code(), "the notebook that was given is left as it is"


def test_below_its_title_a_lesson_says_where_it_can_be_run(course):
    lesson = next(p for p in course.pages() if p.as_posix() == LESSON)
    title = {"cells": [{"cell_type": "markdown", "source": ["# Lesson\n", "\n", "Text"], "metadata": {}}]}
    [cell] = notebook(title, lesson, course)["cells"]
    assert cell["source"].startswith(
        "# Lesson\n\nTo run this lesson, [set up the course on your machine](../README.md)"
    )
    assert cell["source"].endswith("[all ways to run it](../run.md).\n\nText")
    known = Sources(course.root, course.out, Address("https://github.com/a/b"))
    [cell] = notebook(title, lesson, known)["cells"]
    assert "[![Open in Binder](../docs/badges/binder.svg)](https://mybinder.org/v2/gh/a/b/main?" in cell["source"]
    assert (course.out / "docs" / "badges" / "colab.svg").is_file()
    solution = next(p for p in course.pages() if "solutions" in p.parts)
    assert "To run this" not in notebook(title, solution, known)["cells"][0]["source"]


def test_an_image_becomes_a_file_and_what_scrolls_has_a_name(course):
    page = next(p for p in course.pages() if "solutions" in p.parts)
    shown = (
        '<div style="overflow-x:auto" tabindex="0"><img class="course-figure" alt="Commas win. across: rank." '
        f'style="width:3px" src="data:image/png;base64,{PIXEL}"></div>'
    )
    made = html(shown, page, course)
    assert 'tabindex="0" role="group" aria-label="Figure: Commas win">' in made and "base64" not in made
    [name] = re.findall(r'loading="lazy" src="\.\./\.\./(_static/figures/[0-9a-f]{16}\.png)"', made)
    assert (course.out / name).read_bytes() == base64.b64decode(PIXEL)


def test_a_heading_has_one_anchor_whoever_writes_it():
    assert slug("Load and play") == slug("Load-and-play") == "load-and-play"
    assert slug("4 · The table of guests") == slug("4-·-The-table-of-guests")
    assert slug("Decoding-every-layer:-the-logit-lens") == "decoding-every-layer-the-logit-lens"


def test_every_page_stands_in_a_table_of_contents(course):
    staged = collect(course)
    made = site_pages.contents(staged, [])
    for page in staged:
        assert page.as_posix() == "index.md" or page.as_posix() in made
    with pytest.raises(ValueError, match="no table of contents holds lost.md"):
        site_pages.contents([*staged, course.root.joinpath("lost.md").relative_to(course.root)], [])


def test_a_gap_that_is_not_there_is_an_error(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("x <!-- here --> y", encoding="utf-8")
    with pytest.raises(ValueError, match="one place for <!-- there -->"):
        site_pages.fill(page, {"there": "z"})
    site_pages.fill(page, {"here": "z"})
    assert page.read_text(encoding="utf-8") == "x z y"
