"""Run notebooks from top to bottom in a fresh kernel and store them clean.

    python tools/run_notebooks.py [NOTEBOOK ...]

Without arguments: all lessons in order, then all solutions. A notebook is
written only when every cell has run without an error, and without writing to
standard error: nbval would compare that text, and it is rarely the same twice.
"""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
IGNORED = "nbval-ignore-output"


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
        kept.append(output)
    return kept


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
    unfinished = path.with_suffix(".ipynb.part")
    nbformat.write(notebook, unfinished)
    unfinished.replace(path)
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks in order; 0 when all of them went through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of them when none is named")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take (default 600)")
    options = parser.parse_args(arguments)
    missing = [path for path in options.notebooks if not path.is_file()]
    if missing:
        parser.error(f"there is no {missing[0]}")
    failed = 0
    for path in options.notebooks or all_notebooks():
        print(f"{path}: ", end="", flush=True)
        start = time.perf_counter()
        problem = run(path.resolve(), options.timeout)
        print(f"{'FAILED' if problem else 'ok'} in {time.perf_counter() - start:.0f} s", flush=True)
        if problem:
            print(problem, file=sys.stderr)
            failed += 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
