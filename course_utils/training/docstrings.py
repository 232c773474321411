"""Training pairs from the documentation of installed packages: a summary line and the paragraphs below it.

    several-tokens data docstrings --out FOLDER

writes ``docstrings.jsonl``, a few thousand pairs of technical English, for the recipes that name it. The source
files are parsed, not imported, so nothing is run; the pinned versions give the same file everywhere.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from course_utils.training.recipes import write_rows

#: Packages of the course's own list (or needed by one of it) that describe science, statistics and mathematics.
#: All are under the BSD 3-clause licence.
PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "sympy", "networkx")
#: Words of a summary, and of the text below it.
SUMMARY, BODY = (4, 30), (25, 220)
#: Sections that describe arguments or code, not the subject.
_SECTION = re.compile(r"\n([A-Z][\w ]+)\n[-=]{3,}\n")
_SUBJECT = ("Notes", "Explanation", "Overview", "Description")
#: Markup: roles, emphasis, citations, directives, code.
_MARKUP = [
    (r"^\s*>>>.*$", ""),
    (r"^\s*\.\. .*$", ""),
    (r":[\w:]+:`~?([^`]*)`", r"\1"),
    (r"\[\d+\]_", ""),
    (r"[`*]+", ""),
]


def pairs(packages: Sequence[str] = PACKAGES) -> list[dict[str, str]]:
    """Rows ``{"query", "positive", "source"}``, in the order of the files; no passage and no query occurs twice.

    Raises:
        ModuleNotFoundError: a package that is not installed.
    """
    rows, seen = [], set()
    for package in packages:
        for doc in _docstrings(package):
            query, positive = summary_and_body(doc)
            long_enough = SUMMARY[0] <= len(query.split()) <= SUMMARY[1] and len(positive.split()) >= BODY[0]
            if long_enough and not {query, positive} & seen:
                seen |= {query, positive}
                rows.append({"query": query, "positive": positive, "source": package})
    return rows


def summary_and_body(doc: str) -> tuple[str, str]:
    """First paragraph of a docstring, and what it says about its subject further down; both without markup."""
    first, _, rest = inspect.cleandoc(doc).partition("\n\n")
    before, *sections = _SECTION.split("\n" + rest)
    told = [before, *(text for name, text in zip(sections[::2], sections[1::2], strict=True) if name in _SUBJECT)]
    return _plain(first), " ".join(_plain(" ".join(told)).split()[: BODY[1]])


def _plain(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return " ".join(text.split())


def _docstrings(package: str) -> Iterator[str]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {package} is not installed here: pip install {package}")
    root = Path(spec.submodule_search_locations[0])
    for file in sorted(root.rglob("*.py")):
        if {"tests", "testing", "externals", "vendored"} & set(file.relative_to(root).parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module):
                doc = ast.get_docstring(node)
                if doc and "\n\n" in doc:
                    yield doc


def write(folder: Path) -> int:
    """Write ``folder/docstrings.jsonl``, atomically; return the number of pairs."""
    return write_rows(folder / "docstrings.jsonl", pairs())
