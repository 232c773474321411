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
from repo import NOTEBOOKS, ROOT, SOLUTIONS, code_cells, lessons, output_text, read, solutions

SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
WIDGET = "application/vnd.jupyter.widget-view+json"
IMAGES = ("image/png", "image/jpeg")
ALL = [*lessons(), *solutions()]

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
    if WIDGET in data or any(image in data for image in IMAGES):
        return ""
    return "".join(value for value in data.values() if isinstance(value, str))


def _shows(cell, *mime_types: str) -> bool:
    return any(mime in output.get("data", {}) for output in cell.outputs for mime in mime_types)


def test_the_course_has_its_first_lessons():
    names = [path.name[:2] for path in lessons()]
    assert names[:3] == ["00", "01", "02"], names
    assert len(set(names)) == len(names), f"two lessons share a number: {names}"
    assert (NOTEBOOKS / "00_start_here.ipynb").exists()


@every_notebook
def test_at_least_half_of_the_code_cells_are_compared(path):
    cells = code_cells(path)
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
        extra = set(cell.metadata) - {"tags"}
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


@every_lesson
def test_a_lesson_has_a_widget_a_quiz_and_a_solution(path):
    cells = code_cells(path)
    assert any(_shows(cell, WIDGET) for cell in cells), f"{path.name}: no widget"
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
        if cell.cell_type == "code" and _shows(cell, *IMAGES):
            below = next((c.source for c in cells[number + 1 : number + 2] if c.cell_type == "markdown"), "")
            sentence = re.search(r"\w[^#\n]{20,}[.!?:]", below)
            assert sentence, f"{path.name}: no reading below the figure of\n{cell.source}"


@every_notebook
def test_every_widget_is_followed_by_something_that_can_be_printed(path):
    cells = read(path).cells
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and _shows(cell, WIDGET) and "%|" not in output_text(cell):
            next_code = [c for c in cells[number + 1 : number + 4] if c.cell_type == "code"]
            assert any(_is_compared(c) or _shows(c, *IMAGES) for c in next_code), (
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


# The comparison itself ----------------------------------------------------------------------------------------------


def test_every_sanitise_rule_loads_and_changes_what_it_is_for():
    text = SANITIZE.read_text(encoding="utf-8")
    rules = get_sanitize_patterns(text)
    # nbval reads pairs of lines only; an empty replacement without its trailing space would be dropped silently.
    for key in ("regex", "replace"):
        assert len(rules) == len(re.findall(rf"^{key}", text, re.MULTILINE)) == 1
    [(bar, replacement)] = rules
    assert re.sub(bar, replacement, "Encoding:  12%|█▎   | 3/24 [00:01<00:07,  2.9it/s]") == "Encoding:  (progress bar)"
    for kept in ("12%", "v_1 = -22.4", "| 3 | 4 | [0, 1]", "Hit@10 .96 | 3/24"):
        assert re.sub(bar, replacement, kept) == kept


def _tiny_notebook(path, stored: str):
    notebook = nbformat.v4.new_notebook()
    for count, (source, text) in enumerate([("x = 0.5\nprint(x)", stored), ("print(2 * x)", "1.0\n")], start=1):
        output = nbformat.v4.new_output("stream", name="stdout", text=text)
        notebook.cells.append(nbformat.v4.new_code_cell(source, execution_count=count, outputs=[output]))
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}"]
    command += ["-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={path.parent}", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


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
        "import sys, course_utils.teaching.exercises; "
        "print([m for m in sys.modules if m == 'torch' or '.lesson' in m])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert out.strip() == "[]"
