"""Run notebooks from top to bottom in a fresh kernel and store them clean.

    python tools/run_notebooks.py [NOTEBOOK ...]

Without arguments: all lessons in order, then all solutions. A notebook is
written only when every cell has run without an error, and without writing to
standard error: nbval would compare that text, and it is rarely the same twice.

A lesson also gets its slides: `jupyter nbconvert --to slides --no-input LESSON` makes
a deck of it, with one idea, at most one figure or table, on each.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
IGNORED = "nbval-ignore-output"
WIDGET = "application/vnd.jupyter.widget-view+json"
#: What fills a slide by itself.
PICTURES = {"image/png", "image/jpeg", "text/html", WIDGET}
#: More words than this fill a slide, so that what a cell shows goes to the next.
FULL_SLIDE = 80


def all_notebooks() -> list[Path]:
    """Every notebook of the course, lessons before solutions."""
    folder = ROOT / "notebooks"
    return sorted(folder.glob("*.ipynb")) + sorted((folder / "solutions").glob("*.ipynb"))


def execute(path: Path, timeout: int) -> nbformat.NotebookNode:
    """A notebook with the outputs of a fresh run in its own folder.

    Raises:
        CellExecutionError: a cell raised an error.
        CellTimeoutError: a cell took longer than ``timeout`` seconds.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    return client.execute()


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what belongs to one run or one machine; its outputs stay."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    for number, cell in enumerate(notebook.cells):
        # Ids by position: a re-run changes no line that says nothing new.
        cell.id = f"cell-{number:03d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = _clean_outputs(cell)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
    return notebook


def _clean_outputs(cell) -> list:
    kept = []
    for output in cell.outputs:
        if output.output_type == "stream":
            if output.name == "stderr" and IGNORED in cell.metadata.get("tags", []):
                continue
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
                continue
        else:
            output.metadata = nbformat.from_dict({})
            if set(output.get("data", {})) == {WIDGET}:
                continue  # a widget without its kernel shows an error; the picture that it brought along stays
        kept.append(output)
    return kept


def slide_types(cells: list) -> list[str]:
    """What each cell of a lesson is in a deck: "slide", "subslide", "skip", or "-" for more of the same slide.

    A heading opens a slide. What a cell shows joins the text above it while that is short and no other output is
    on the slide; the paragraph below a picture joins the picture, every other paragraph opens a slide of its own.
    Cells that show nothing, exercises' stubs and what differs from run to run are left out.
    """
    types, words, shown, picture = [], 0, False, False
    for number, cell in enumerate(cells):
        outputs = [set(output.get("data", {"text/plain": ""})) for output in cell.get("outputs", [])]
        is_picture = any(mimes & PICTURES for mimes in outputs)
        if cell.cell_type == "code":
            stub = "check(" in cell.source or (IGNORED in cell.metadata.get("tags", []) and not is_picture)
            if stub or not outputs:
                types.append("skip")
                continue
            joins, own_words = not shown and words <= FULL_SLIDE, 0
            picture = is_picture
        else:
            own_words = len(cell.source.split())
            joins = picture and not cell.source.startswith("#") and own_words <= 2 * FULL_SLIDE
            picture = False
        if number and joins:
            types.append("-")
            words += own_words
            shown = shown or cell.cell_type == "code"
        else:
            types.append("slide" if not number or cell.source.startswith("## ") else "subslide")
            words, shown = own_words, cell.cell_type == "code"
    return types


def add_slides(notebook: nbformat.NotebookNode) -> None:
    """Store with each cell of a clean lesson what it is in a deck."""
    for cell, slide_type in zip(notebook.cells, slide_types(notebook.cells), strict=True):
        cell.metadata.slideshow = nbformat.from_dict({"slide_type": slide_type})


def complaints(notebook: nbformat.NotebookNode) -> list[str]:
    """Cells whose output cannot be compared, with the remedy."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                found.append(
                    f"cell {number} writes to standard error: {output.text.strip()[:300]!r}; "
                    f"prevent it, or tag the cell {IGNORED}"
                )
    return found


def run(path: Path, timeout: int) -> str | None:
    """Run one notebook and store it; what went wrong, or None."""
    try:
        notebook = clean(execute(path, timeout))
    except (CellExecutionError, CellTimeoutError) as error:
        return str(error)
    wrong = complaints(notebook)
    if wrong:
        return "\n".join(wrong)
    if path.parent.name == "notebooks":
        add_slides(notebook)
    unfinished = path.with_suffix(".ipynb.part")
    nbformat.write(notebook, unfinished)
    unfinished.replace(path)
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks in order; 0 when all of them went through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take (default 600)")
    parser.add_argument("--time", action="store_true", help="also store how long each lesson took, for its hours")
    options = parser.parse_args(arguments)
    missing = [path for path in options.notebooks if not path.is_file()]
    if missing:
        parser.error(f"there is no {missing[0]}")
    os.environ["COURSE_COMPARED"] = "1"  # a reader's predictions stay out of the stored outputs
    failed = 0
    for path in options.notebooks or all_notebooks():
        print(f"{path}: ", end="", flush=True)
        start = time.perf_counter()
        problem = run(path.resolve(), options.timeout)
        seconds = time.perf_counter() - start
        print(f"{'FAILED' if problem else 'ok'} in {seconds:.0f} s", flush=True)
        if problem:
            print(problem, file=sys.stderr)
            failed += 1
        elif options.time and path.resolve().parent.name == "notebooks":
            from course_utils.teaching import hours

            hours.store_seconds({path.name: seconds}, f"{os.cpu_count()} cores, {platform.machine()}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
