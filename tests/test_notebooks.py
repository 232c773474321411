"""The form of every notebook, and that comparing them with nbval really compares.

What the cells compute is compared by nbval itself (``make test``). Here is checked what
nbval does not see: that outputs are there to be compared, that nothing in them belongs
to one machine, and that a reader finds what every lesson promises.
"""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from nbval.plugin import find_comment_markers, find_metadata_tags, get_sanitize_patterns
from repo import FINAL, NOTEBOOKS, ROOT, SOLUTIONS, appendices, code_cells, lessons, output_text, read, solutions

from course_utils.teaching.hours import hours

sys.path.insert(0, str(ROOT / "tools"))

import run_notebooks

SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
WIDGET = "application/vnd.jupyter.widget-view+json"
IMAGES = ("image/png", "image/jpeg")
FIGURE, PICTURE = 'class="course-figure"', 'class="course-picture"'
ASKED = 'class="course-asked"'
ALL = [*lessons(), *appendices(), *solutions()]

every_notebook = pytest.mark.parametrize("path", ALL, ids=lambda p: p.relative_to(NOTEBOOKS).as_posix())
every_lesson = pytest.mark.parametrize("path", lessons(), ids=lambda p: p.name)


# What a notebook compares -------------------------------------------------------------------------------------------


def _is_compared(cell) -> bool:
    """Whether nbval compares a text of this cell that says something.

    nbval skips images and widget views, but compares the text that stands for them,
    such as ``<Figure size 640x480 with 1 Axes>``: that does not count here.
    """
    options = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    if options.get("skip") or not options.get("check", True) or cell.execution_count is None:
        return False
    return any(_text_of(output).strip() for output in cell.outputs)


def _text_of(output) -> str:
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    page = data.get("text/html", "")
    if WIDGET in data or any(image in data for image in IMAGES) or any(c in page for c in (FIGURE, PICTURE, ASKED)):
        return ""
    return "".join(value for value in data.values() if isinstance(value, str))


def _is_question(cell) -> bool:
    """Whether a cell only asks for a prediction, so that there is nothing to compare."""
    return any(ASKED in output.get("data", {}).get("text/html", "") for output in cell.outputs)


def _shows(cell, *mime_types: str) -> bool:
    return any(mime in output.get("data", {}) for output in cell.outputs for mime in mime_types)


def _has_figure(cell) -> bool:
    """Whether a cell shows a figure: an image, or HTML that holds one with its alternative text."""
    return _shows(cell, *IMAGES) or any(FIGURE in o.get("data", {}).get("text/html", "") for o in cell.outputs)


def test_the_course_has_its_first_lessons():
    names = [path.name[:2] for path in lessons()]
    assert names[:3] == ["00", "01", "02"], names
    assert len(set(names)) == len(names), f"two lessons share a number: {names}"
    assert (NOTEBOOKS / "00_start_here.ipynb").exists()


@every_notebook
def test_at_least_half_of_the_code_cells_are_compared(path):
    cells = [cell for cell in code_cells(path) if not _is_question(cell)]
    compared = [cell for cell in cells if _is_compared(cell)]
    assert 2 * len(compared) >= len(cells), (
        f"{path.name}: nbval compares a text of only {len(compared)} of {len(cells)} code cells; "
        f"silent ones start with {[cell.source.splitlines()[0] for cell in cells if not _is_compared(cell)]}"
    )


def test_a_figure_alone_or_an_ignored_cell_does_not_count_as_compared():
    def cell(output, **more):
        new = nbformat.v4.new_code_cell("1", execution_count=1, outputs=[output])
        new.update(more)
        return new

    result = nbformat.v4.new_output
    assert _is_compared(cell(result("stream", text="0.5\n")))
    assert _is_compared(cell(result("execute_result", data={"text/plain": "0.5"})))
    assert not _is_compared(cell(result("stream", text=" \n")))
    assert not _is_compared(cell(result("display_data", data={"text/plain": "<Figure>", "image/png": "x"})))
    assert not _is_compared(cell(result("display_data", data={"text/html": f"<img {FIGURE}>", "text/plain": "F"})))
    assert not _is_compared(cell(result("display_data", data={"text/html": f"<p {ASKED}>", "text/plain": "Which?"})))
    assert not _is_compared(cell(result("display_data", data={"text/plain": "IntSlider()", WIDGET: {"model_id": "x"}})))
    assert not _is_compared(cell(result("stream", text="0.5\n"), metadata={"tags": ["nbval-ignore-output"]}))
    assert not _is_compared(cell(result("stream", text="0.5\n"), source="# NBVAL_IGNORE_OUTPUT\n1"))
    assert not _is_compared(cell(result("stream", text="0.5\n"), execution_count=None))


# A clean file -------------------------------------------------------------------------------------------------------


@every_notebook
def test_it_was_run_from_top_to_bottom_in_a_fresh_kernel(path):
    counts = [cell.execution_count for cell in read(path).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), (
        f"{path.name}: {counts}; run `make notebooks ONLY={path.relative_to(ROOT)}`"
    )


@every_notebook
def test_no_cell_is_empty_failed_or_complains(path):
    for number, cell in enumerate(read(path).cells):
        assert cell.source.strip(), f"{path.name}: cell {number} is empty"
        for output in cell.get("outputs", []):
            assert output.output_type != "error", f"{path.name}: cell {number} raised {output.ename}"
            assert output.get("name") != "stderr" or "nbval-ignore-output" in cell.metadata.get("tags", []), (
                f"{path.name}: cell {number} writes to standard error: {output.text[:200]!r}"
            )


@every_notebook
def test_metadata_is_clean(path):
    metadata = read(path).metadata
    assert set(metadata) == {"kernelspec", "language_info"}, f"{path.name} stores {sorted(metadata)}"
    assert metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert metadata.language_info == {"name": "python"}
    for number, cell in enumerate(read(path).cells):
        extra = set(cell.metadata) - {"tags", "slideshow"}
        assert not extra, f"{path.name}: cell {number} stores {sorted(extra)}"


@every_notebook
def test_the_stored_form_is_valid_and_in_the_format_of_jupyter(path):
    nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
    assert (read(path).nbformat, read(path).nbformat_minor) == (4, 5)


@every_notebook
def test_outputs_do_not_depend_on_one_machine(path):
    foreign = re.compile(r"0x[0-9a-f]{6,}|/(?:home|root|Users|tmp|work|private|var/folders)/[\w.-]+|[A-Z]:\\\\Users")
    for number, cell in enumerate(read(path).cells):
        shown = json.dumps([_text_of(output) for output in cell.get("outputs", [])])
        assert not foreign.search(shown), f"{path.name}: cell {number} shows {foreign.search(shown)[0]!r}"


@every_notebook
def test_no_cell_uses_what_cannot_be_compared(path):
    forbidden = re.compile(r"\b(interact\w*|clear_output)\s*\(|^\s*[%!](?!matplotlib inline)|;\s*$", re.MULTILINE)
    for cell in code_cells(path):
        assert not forbidden.search(cell.source), f"{path.name}: {forbidden.search(cell.source)[0]!r} in\n{cell.source}"
        assert "raises-exception" not in cell.metadata.get("tags", []), f"{path.name}: assert the exception in code"


# What a reader is promised ------------------------------------------------------------------------------------------


@every_lesson
def test_a_lesson_opens_with_aims_prerequisites_minutes_and_download_size(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for promised in (r"you will be able to", r"prerequisites?", r"\d+\s+minutes?", r"download|\bMB\b"):
        assert re.search(promised, first.source, re.IGNORECASE), f"{path.name}: the first cell lacks {promised!r}"


@pytest.mark.parametrize("path", [*lessons(), *appendices()], ids=lambda p: p.name)
def test_the_declared_minutes_are_those_of_the_rule(path):
    found = hours(path)
    assert found.honest, (
        f"{path.name} declares {found.declared} minutes; by the rule it is {found.minutes:.0f}: write "
        f"'about {5 * round(found.minutes / 5)} minutes', or see `several-tokens hours` for what to shorten"
    )


@every_lesson
def test_a_core_lesson_has_at_most_45_minutes_and_40_cells(path):
    found = hours(path)
    short = found.minutes <= 45.5 and found.cells <= 40
    if path.name[:2] not in FINAL:
        assert not short, f"{path.name} is short enough now: add it to FINAL in repo.py"
        return
    assert short, f"{path.name}: {found.cells} cells, {found.minutes:.0f} minutes by the rule; move some to an appendix"


def _calls(path, name: str) -> list[tuple[int, str]]:
    """Number of the cell and first argument of every call of a function of predictions, in their order."""
    call = re.compile(rf"""\b{name}\(\s*["']([^"']+)["']""")
    return [(n, i) for n, c in enumerate(read(path).cells) if c.cell_type == "code" for i in call.findall(c.source)]


@pytest.mark.parametrize("path", [*lessons(), *appendices()], ids=lambda p: p.name)
def test_every_prediction_is_asked_before_its_outcome_and_the_lesson_ends_with_calibration(path):
    asked, told = _calls(path, "predict"), _calls(path, "outcome")
    places = {key: n for n, key in asked}
    assert len(places) == len(asked), f"{path.name}: an id is asked for twice: {[key for _, key in asked]}"
    assert sorted(places) == sorted(key for _, key in told), f"{path.name}: asked {sorted(places)}, told {told}"
    early = [key for n, key in told if n <= places[key]]
    assert not early, f"{path.name}: the outcomes of {early} do not follow their questions"
    assert all(key.startswith(f"{path.name[:2]}.") for key in places), f"{path.name}: ids of another lesson"
    ends = _calls(path, "calibration")
    assert (ends and ends[-1][0] > max(n for n, _ in told)) if asked else not ends, f"{path.name}: calibration is amiss"


@every_lesson
def test_a_lesson_in_its_final_form_asks_for_predictions(path):
    if path.name[:2] in FINAL:
        assert len(_calls(path, "predict")) >= 2, f"{path.name} asks for no predictions"


def _has_explorer(cell) -> bool:
    """Whether a cell shows a widget, or the picture that stands for one where there is no kernel."""
    return _shows(cell, WIDGET) or any(PICTURE in o.get("data", {}).get("text/html", "") for o in cell.outputs)


@every_lesson
def test_a_lesson_has_a_widget_a_quiz_and_a_solution(path):
    cells = code_cells(path)
    assert any(_has_explorer(cell) for cell in cells), f"{path.name}: no widget"
    assert any(re.search(r"\bquiz\(", cell.source) for cell in cells), f"{path.name}: no quiz"
    twins = list(SOLUTIONS.glob(f"{path.name[:2]}_*.ipynb"))
    assert len(twins) == 1, f"{path.name}: expected one solution notebook, found {[t.name for t in twins]}"


@every_notebook
def test_a_notebook_opens_with_a_title(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")


@every_notebook
def test_every_figure_is_followed_by_a_sentence_of_reading(path):
    cells = read(path).cells
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and _has_figure(cell) and not _has_explorer(cell):
            below = next((c.source for c in cells[number + 1 : number + 2] if c.cell_type == "markdown"), "")
            sentence = re.search(r"\w[^#\n]{20,}[.!?:]", below)
            assert sentence, f"{path.name}: no reading below the figure of\n{cell.source}"


@every_notebook
def test_every_widget_is_followed_by_something_that_can_be_printed(path):
    cells = read(path).cells
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and _has_explorer(cell) and "%|" not in output_text(cell):
            next_code = [c for c in cells[number + 1 : number + 4] if c.cell_type == "code"]
            assert any(_is_compared(c) or _has_figure(c) for c in next_code), (
                f"{path.name}: no static output in the three cells after the widget of\n{cell.source}"
            )


@every_notebook
def test_links_to_files_lead_somewhere(path):
    for cell in read(path).cells:
        if cell.cell_type != "markdown":
            continue
        targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", cell.source)
        targets += re.findall(r"""(?:src|href)=["']([^"']+)""", cell.source)
        for target in targets:
            if not re.match(r"[a-z]+:|#", target):
                assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: there is no {target}"


# Moving about -------------------------------------------------------------------------------------------------------


def _targets(cell) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)", cell.source)


@every_lesson
def test_a_lesson_leads_to_its_neighbours_its_solutions_and_the_glossary(path):
    names = [p.name for p in lessons()]
    at = names.index(path.name)
    neighbours = names[max(0, at - 1) : at] + names[at + 1 : at + 2]
    wanted = [*neighbours, f"solutions/{path.name}", "../docs/glossary.md"]
    lacking = [target for target in wanted if target not in _targets(read(path).cells[0])]
    assert not lacking, f"{path.name}: the first cell does not link {lacking}"


@pytest.mark.parametrize("path", solutions(), ids=lambda p: p.name)
def test_solutions_lead_back_to_their_lesson(path):
    assert f"../{path.name}" in _targets(read(path).cells[0])


def test_every_data_card_is_linked_where_its_data_is_used():
    linked = {target for path in lessons() for cell in read(path).cells for target in _targets(cell)}
    # What the first page of the site shows is used nowhere else.
    index = (ROOT / "docs" / "site" / "index.md").read_text(encoding="utf-8")
    linked |= {target.removeprefix("../") for target in re.findall(r"\]\(([^)]+)\)", index)}
    cards = {f"../data/{card.name}" for card in (ROOT / "data").glob("*.md")}
    assert cards <= linked, f"no lesson links {sorted(cards - linked)}"


@every_lesson
def test_what_a_widget_is_for_stands_under_a_heading_that_exists(path):
    headings = {
        line.lstrip("# ").replace(" ", "-")
        for cell in read(path).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    }
    inside = [target[1:] for cell in read(path).cells for target in _targets(cell) if target.startswith("#")]
    assert inside and set(inside) <= headings, f"{path.name}: no heading for {sorted(set(inside) - headings)}"


#: Capitals that are no terms of the field: units, machines, and names that the text explains where they stand.
NO_TERMS = re.compile(
    r"CPU|GPUs?|MB|GB|URL|AMX|ACL|FOLDER|NAME|SmolLM2|GritLM|LLM2Vec|LLaMA.*|OPT-EOL|PyTorch|NumPy|JupyterLab|"
    r"SimLex-999|WordSim-353|CLINC150|SciFact|NFCorpus|FiQA|ArguAna|EmbedFilter|PromptReps|WiSE-FT|SNLI|MultiNLI|"
    r"EmbeddingGemma|MiniLM.*|OpenSearch|NLI-trained|PromptBERT"
)


def test_every_abbreviation_of_the_lessons_stands_in_the_glossary():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    lacking = set()
    for path in lessons():
        for cell in read(path).cells:
            if cell.cell_type == "markdown":
                prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|\$[^$]*\$", " ", cell.source, flags=re.DOTALL)
                words = re.findall(r"\b(?:[A-Za-z]*[A-Z]){2,}[A-Za-z0-9@-]*\b", prose)
                lacking |= {f"{path.name[:2]}: {w}" for w in words if not NO_TERMS.fullmatch(w) and w not in glossary}
    assert not lacking, f"docs/glossary.md does not explain {sorted(lacking)}"


def test_the_glossary_leads_to_lessons_that_exist_and_explains_nothing_twice():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert all((ROOT / "docs" / target).exists() for target in re.findall(r"\]\((\.\./[^)]+)\)", text))
    terms = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    assert len(terms) > 60 and len(terms) - len(set(terms)) == 0, [t for t in set(terms) if terms.count(t) > 1]


# Slides -------------------------------------------------------------------------------------------------------------


def _slides(cells) -> list[list]:
    """The cells of each slide of a deck, those that are skipped left out."""
    deck = []
    for cell in cells:
        if (kind := cell.metadata.slideshow.slide_type) in ("slide", "subslide"):
            deck.append([cell])
        elif kind == "-":
            deck[-1].append(cell)
    return deck


@every_lesson
def test_a_lesson_is_a_deck_with_one_picture_at_most_on_a_slide(path):
    cells = read(path).cells
    assert [cell.metadata.slideshow.slide_type for cell in cells] == run_notebooks.slide_types(cells), (
        f"{path.name}: run `make notebooks ONLY={path.relative_to(ROOT)}`"
    )
    deck = _slides(cells)
    for slide in deck:
        shown = [cell for cell in slide if cell.cell_type == "code"]
        assert len(shown) <= 1, f"{path.name}: one slide shows {[cell.source[:60] for cell in shown]}"
    in_deck = {id(cell) for slide in deck for cell in slide}
    for cell in cells:
        heading = cell.cell_type == "markdown" and cell.source.startswith("## ")
        assert not heading or cell.metadata.slideshow.slide_type == "slide", cell.source
        figure = cell.cell_type == "code" and _has_figure(cell)
        assert id(cell) in in_deck or not (figure or cell.cell_type == "markdown"), cell.source
    assert len(deck) > 20


def test_a_figure_joins_a_short_text_and_not_a_long_one():
    def kinds(*cells):
        return run_notebooks.slide_types(list(cells))

    text, output = nbformat.v4.new_markdown_cell, nbformat.v4.new_output
    figure = nbformat.v4.new_code_cell("draw()", outputs=[output("display_data", data={"image/png": "x"})])
    printed = nbformat.v4.new_code_cell("print(1)", outputs=[output("stream", text="1\n")])
    silent, stub = nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell('check("00.1", answer)')
    stub.outputs = [output("execute_result", data={"text/plain": "not answered"})]
    assert kinds(text("# T"), silent, figure, text("Reading."), figure) == ["slide", "skip", "-", "-", "subslide"]
    assert kinds(text("# T"), text("## A"), text("more"), printed) == ["slide", "slide", "subslide", "-"]
    long = text("## A " + "word " * 100)
    assert kinds(long, figure, text("### B"), stub) == ["slide", "subslide", "subslide", "skip"]


@pytest.mark.slow
def test_a_lesson_can_be_exported_as_slides(tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "slides", "--no-input", f"--output-dir={tmp_path}"]
    subprocess.run([*command, str(lessons()[0])], check=True, capture_output=True, timeout=120)
    page = next(tmp_path.glob("*.html")).read_text(encoding="utf-8")
    assert page.count("<section") > len(_slides(read(lessons()[0]).cells))


# The comparison itself ----------------------------------------------------------------------------------------------


def test_every_sanitise_rule_loads_and_changes_what_it_is_for():
    text = SANITIZE.read_text(encoding="utf-8")
    rules = get_sanitize_patterns(text)
    # nbval reads pairs of lines only; an empty replacement without its trailing space would be dropped silently.
    for key in ("regex", "replace"):
        assert len(rules) == len(re.findall(rf"^{key}", text, re.MULTILINE)) == 2
    (bar, replacement), (figure, its_replacement) = rules
    assert re.sub(bar, replacement, "Encoding:  12%|█▎   | 3/24 [00:01<00:07,  2.9it/s]") == "Encoding:  (progress bar)"
    for kept in ("12%", "v_1 = -22.4", "| 3 | 4 | [0, 1]", "Hit@10 .96 | 3/24"):
        assert re.sub(bar, replacement, kept) == kept == re.sub(figure, its_replacement, kept)
    page = f'<p>7</p><img {FIGURE} alt="v_1" src="data:image/png;base64,AAAA"><img src="other.png">'
    assert re.sub(figure, its_replacement, page) == '<p>7</p>(figure)<img src="other.png">'


def _tiny_notebook(path, stored: str):
    notebook = nbformat.v4.new_notebook()
    for count, (source, text) in enumerate([("x = 0.5\nprint(x)", stored), ("print(2 * x)", "1.0\n")], start=1):
        output = nbformat.v4.new_output("stream", name="stdout", text=text)
        notebook.cells.append(nbformat.v4.new_code_cell(source, execution_count=count, outputs=[output]))
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}"]
    command += ["-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={path.parent}", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_nbval_passes_on_equal_and_fails_on_changed_output(tmp_path):
    same = _tiny_notebook(tmp_path / "same.ipynb", "0.5\n")
    assert same.returncode == 0 and "2 passed" in same.stdout, same.stdout + same.stderr
    changed = _tiny_notebook(tmp_path / "changed.ipynb", "0.6\n")
    assert changed.returncode == 1 and "1 failed, 1 passed" in changed.stdout, changed.stdout + changed.stderr
    assert "Cell outputs differ" in changed.stdout


# The package below the notebooks ------------------------------------------------------------------------------------


def test_importing_the_package_is_quick_and_does_no_work():
    program = (
        "import sys, time; start = time.perf_counter()\n"
        "import course_utils\n"
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True).stdout
        for _ in range(3)
    ]
    assert all(out.split()[1:] == ["False", "False"] for out in runs), runs
    assert min(float(out.split()[0]) for out in runs) < 1, runs


def test_exercises_load_neither_torch_nor_a_lesson_before_they_are_asked_for():
    program = (
        "import sys, course_utils.teaching.exercises; print([m for m in sys.modules if m == 'torch' or '.lesson' in m])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert out.strip() == "[]"
