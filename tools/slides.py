"""Make the slides of a path: its cells as they are committed, notes for the speaker, one file that asks for nothing.

    python tools/slides.py [workshop ...] [--out build/slides]

reveal.js comes from its npm package, once, checked against the checksum below, and stands inside the page, so that a
deck is one file. Formulas are MathML, which browsers draw themselves. Press S for the notes, ? for all keys.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from docutils.utils.math.latex2mathml import tex2mathml

sys.path.insert(0, str(Path(__file__).resolve().parent))

import npm
import run_notebooks
import site_sources
from run_notebooks import ROOT

sys.path.insert(0, str(ROOT))

from course_utils import gates
from course_utils.teaching import paths

OUT, CACHE = ROOT / "build" / "slides", ROOT / "build" / "npm"
REVEAL = "reveal.js@5.2.1"
SHA512 = "r7//6mIM5p34hFiDMvYfXgyjXqGRta+/psd9YtytsgRlrpRzFv4RbH76TXd2qD+7ZPZEbpBDhdRhJaFgfQ7zNQ=="
#: What a deck needs of the package.
PARTS = {"css": ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css"),
         "js": ("dist/reveal.js", "plugin/notes/notes.js")}  # fmt: skip
#: Formulas of a text: on lines of their own, and within a line; code comes first, so that it is left alone.
_MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|\$(?P<line>[^$\n]+)\$", re.DOTALL)
_FETCHED = re.compile(r"@import[^;]+;")

TEMPLATE = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block header -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{{ resources.deck.title }}</title>
<style>{{ resources.deck.css }}</style>
{{ resources.include_css("static/index.css") }}
{{ resources.include_css("static/theme-light.css") }}
{%- for css in resources.inlining.css -%}<style>{{ css }}</style>{%- endfor -%}
<style>{{ resources.deck.own }}</style>
</head>
{%- endblock header -%}
{%- block footer_js -%}
<script>{{ resources.deck.js }}</script>
<script>Reveal.initialize({hash: true, slideNumber: true, plugins: [RevealNotes], width: 1100, height: 720,
margin: 0.02, center: false, transition: "none"});</script>
{%- endblock footer_js -%}
"""

STYLE = """
:root { --jp-ui-font-size1: 20px; --jp-content-font-size1: 20px; --jp-code-font-size: 16px }
:root { --jp-cell-prompt-width: 0px }
html, body, main { height: 100%; margin: 0 } main { overflow: hidden }
.reveal { font-size: 22px } .reveal .slides { text-align: left }
.reveal .slides section { max-height: 700px; overflow-y: auto }
.reveal h1, .reveal h2, .reveal h3 { text-transform: none; font-weight: 600; letter-spacing: 0; line-height: 1.2 }
.reveal h1 { font-size: 1.9em } .reveal h2 { font-size: 1.5em } .reveal h3 { font-size: 1.2em }
.reveal p, .reveal li { line-height: 1.4 } .reveal table { margin: 0; font-size: 15px }
.reveal pre { box-shadow: none; width: auto }
.reveal .slides img { max-height: 400px; max-width: 100%; width: auto !important; height: auto !important; margin: 0 }
.reveal .slides .jp-Cell { padding: 2px 0 }
.jp-InputPrompt, .jp-OutputPrompt, .jp-InputArea-prompt, .jp-OutputArea-prompt, a.anchor-link { display: none }
.jp-RenderedText pre { font-size: 15px; line-height: 1.3 } .jp-Notebook { padding: 0 }
"""


class SlidesError(RuntimeError):
    """The slides cannot be made; the message says what to do."""


# --- reveal.js ------------------------------------------------------------------------------------


def reveal(cache: Path = CACHE) -> dict[str, str]:
    """Name -> text of the files of reveal.js that a deck needs; the package is fetched with npm when it is not there.

    Raises:
        npm.NpmError: no npm, no package, or another one than expected.
    """
    archive = npm.package(REVEAL, SHA512, cache)
    return {name: data.decode() for name, data in npm.files(archive, (*PARTS["css"], *PARTS["js"])).items()}


def inlined(package: Mapping[str, str], kind: str) -> str:
    """All style sheets, or all scripts, as one text that can stand inside a page and fetches nothing."""
    joined = "\n".join(package[name] for name in PARTS[kind])
    return _FETCHED.sub("", joined) if kind == "css" else joined.replace("</script", "<\\/script")


# --- The deck -------------------------------------------------------------------------------------


def with_math(source: str) -> str:
    """A text with its formulas as MathML, each on one line."""

    def change(match: re.Match) -> str:
        if match["code"]:
            return match[0]
        formula = (match["block"] or match["line"]).strip().replace("…", r"\ldots ")
        made = " ".join(tex2mathml(formula, as_block=bool(match["block"])).split())
        return f"\n\n<div>{made}</div>\n\n" if match["block"] else made

    return _MATH.sub(change, source)


def tasks_apart(cells: list) -> list:
    """The cells with every exercise's task in a cell of its own, so that it gets a slide of its own."""
    made = []
    for cell in cells:
        task = paths.TASK.search(cell.source) if cell.cell_type == "markdown" else None
        if task and task.start():
            made.append(nbformat.v4.new_markdown_cell(cell.source[: task.start()].rstrip()))
            cell.source = cell.source[task.start() :]
        made.append(cell)
    return made


def slide_types(cells: list) -> None:
    """Store with each cell what it is in the deck: as in its lesson, but a task has its slide for itself."""
    after_task = False
    for cell, kind in zip(cells, run_notebooks.slide_types(cells), strict=True):
        kind = "subslide" if after_task and kind == "-" else kind
        after_task = bool(paths.TASK.match(cell.source)) or after_task and kind == "skip"
        cell.metadata = nbformat.from_dict({"slideshow": {"slide_type": kind}})


def with_notes(cells: list, say: dict[str, str]) -> list:
    """The cells with a cell of notes after each that a note is for.

    Raises:
        SlidesError: a note belongs to no cell, or to several.
    """
    made, said = [], []
    for cell in cells:
        made.append(cell)
        for text in (text for text in say if text in cell.source):
            note = nbformat.v4.new_markdown_cell(say[text], metadata={"slideshow": {"slide_type": "notes"}})
            made.append(note)
            said.append(text)
    if sorted(said) != sorted(say):
        wrong = next(text for text in say if said.count(text) != 1)
        raise SlidesError(f"a note belongs to the cell with {wrong!r}, and there are {said.count(wrong)} such cells")
    return made


def deck(notebook: nbformat.NotebookNode, say: dict[str, str], title: str, package: Mapping[str, str]) -> str:
    """A notebook with outputs as slides; HTML.

    Args:
        say: text of a cell -> what the speaker may say there.
        package: the files of reveal.js, see :func:`reveal`.

    Raises:
        SlidesError: a note has no place.
    """
    from nbconvert import SlidesExporter

    notebook.cells = tasks_apart(notebook.cells)
    slide_types(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
    notebook.cells = with_notes(notebook.cells, say)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_math(cell.source)
    shown = {"title": title, "css": inlined(package, "css"), "js": inlined(package, "js"), "own": STYLE}
    exporter = SlidesExporter(raw_template=TEMPLATE, exclude_input=True)
    page, _ = exporter.from_notebook_node(notebook, resources={"deck": shown, "metadata": {"name": title}})
    return page.replace(site_sources.LIVE_NOTE, site_sources.STILL_NOTE)


def _is_shown(output: nbformat.NotebookNode) -> bool:
    """Whether an output says something to those who only look: no error, and no widget that has left its name only."""
    data = output.get("data", {"text/plain": ""})
    only_named = data.keys() <= {"text/plain"} and site_sources.WIDGET_TEXT.match(data.get("text/plain", ""))
    return output.output_type != "error" and output.get("name") != "stderr" and not only_named


def make(name: str, out: Path, package: Mapping[str, str]) -> list[Path]:
    """Write the decks of a path, one for each of its notebooks; the files.

    Raises:
        ValueError: no such path, or an excerpt that does not fit.
        SlidesError: a note has no place.
    """
    path, made = paths.find(name), []
    for number, file in paths.names(path).items():
        session = path.sessions[number]
        found = paths.notebook(path, session, paths.excerpt_minutes(path, number), out)
        say = {text: said for part in session.parts for text, said in part.say}
        page = deck(nbformat.reads(json.dumps(found), as_version=4), say, path.title, package)
        goal = out / file.replace(".ipynb", ".slides.html")
        goal.parent.mkdir(parents=True, exist_ok=True)
        with gates.replacing(goal) as stream:
            stream.write(page)
        made.append(goal)
    return made


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["workshop"], help="paths, by default workshop")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to, by default build/slides")
    options = parser.parse_args(arguments)
    try:
        package = reveal()
        for name in options.names:
            for goal in make(name, options.out, package):
                print(f"{goal}: {goal.stat().st_size / 1e6:.1f} MB; S shows the notes")
    except (npm.NpmError, SlidesError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
