"""Collect the pages of the site: the committed notebooks and documents, made ready for Sphinx.

Every page keeps its place (`notebooks/03_….ipynb`, `data/README.md`), so links between them stay as they are. What
changes on the way is only how a page is shown: a widget that needs a kernel leaves its picture behind, solutions are
folded, images become files, and links to a heading take the form that the site gives it.
"""

import base64
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from address import NOWHERE, Address

ROOT = Path(__file__).resolve().parent.parent
#: Where documents lie that become pages; those of docs/site go to the top.
PAGES = ("notebooks/[0-9]*.ipynb", "notebooks/solutions/[0-9]*.ipynb", "README.md", "CONTRIBUTING.md", "docs/**/*.md",
         "data/**/*.md")  # fmt: skip
OWN = "docs/site"

_FENCE = re.compile(r"^( *)(```+|~~~+)")
_CODE_SPAN = re.compile(r"(`+)(?:.+?)\1(?!`)", re.DOTALL)
#: What a link leads to: in brackets, with or without a title, or after a label at the beginning of a line.
_TARGET = re.compile(r"""(?<=\]\()([^)\s]+)(?=(?:\s+(?:"[^"]*"|'[^']*'))?\s*\))""")
_LABELLED = re.compile(r"^( {0,3}\[(?!\^)[^\]\n]+\]:[ \t]+)(\S+)", re.MULTILINE)
_IN_HTML = re.compile(r"""(?<=\bhref=")([^"]+)(?=")|(?<=\bsrc=")([^"]+)(?=")""")
_IMAGE = re.compile(r'src="data:image/png;base64,([^"]+)"')
_SCROLLS = re.compile(r'<div style="overflow-x:auto" tabindex="0">(?=<img[^>]*?\balt="([^"]*)")')
_WIDGET = "application/vnd.jupyter.widget-view+json"
#: How a widget prints itself where nobody draws it.
WIDGET_TEXT = re.compile(r"^\w+\((?:children|value)=")
#: What stands above the picture of a widget: in a notebook, and where nothing can be run.
LIVE_NOTE = "A picture: run this cell to type and drag here."
STILL_NOTE = "A picture: in the notebook you can type and drag here."


class BrokenLink(ValueError):
    """A page leads to something that is not there."""


@dataclass(frozen=True)
class Sources:
    """The pages of the site and where they are collected.

    Attributes:
        root: the top folder of the course.
        out: the folder that they are collected in.
        address: where the course lies for everybody.
    """

    root: Path
    out: Path
    address: Address = NOWHERE

    def pages(self) -> list[Path]:
        """The documents that become pages, relative to the top folder, in order."""
        found = {path.relative_to(self.root) for pattern in PAGES for path in self.root.glob(pattern)}
        return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)

    def staged(self, page: Path) -> Path:
        """Where a page, or a file beside one, stands in the site; relative."""
        return page.relative_to(OWN) if page.is_relative_to(OWN) else page

    def rewritten(self, target: str, page: Path) -> str:
        """The same link as the site needs it.

        Raises:
            BrokenLink: it leads to nothing.
        """
        if re.match(r"[a-z][a-z+.-]*:|//", target):
            return target
        path, _, fragment = target.partition("#")
        fragment = f"#{slug(fragment)}" if fragment else ""
        if not path:
            return fragment
        goal = Path(os.path.normpath(page.parent / path))
        for candidate in (goal, goal / "README.md"):
            if candidate in self._known:
                return self._from(page, self.staged(candidate)) + fragment
        if not (self.root / goal).exists() or goal.parts[:1] == ("..",):
            raise BrokenLink(f"{page} leads to {target}, which is not there")
        return self._file(goal, page)

    @functools.cached_property
    def _known(self) -> set[Path]:
        return set(self.pages())

    def _from(self, page: Path, goal: Path) -> str:
        return os.path.relpath(goal, self.staged(page).parent).replace(os.sep, "/")

    def _file(self, goal: Path, page: Path) -> str:
        """A link to what is no page: in the repository where that is known, otherwise to a copy."""
        if self.address.repository and goal.suffix not in {".png", ".svg"}:
            return self.address.file(goal.as_posix())
        if (self.root / goal).is_dir():
            raise BrokenLink(f"{page} leads to the folder {goal}, which is no page of the site")
        copy = self.out / self.staged(goal)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / goal, copy)
        return self._from(page, self.staged(goal))

    def picture(self, data: bytes, page: Path) -> str:
        """The address of an image that stood inside a page, now a file of its own."""
        file = Path("_static") / "figures" / f"{hashlib.sha256(data).hexdigest()[:16]}.png"
        (self.out / file).parent.mkdir(parents=True, exist_ok=True)
        (self.out / file).write_bytes(data)
        return self._from(page, file)


def slug(heading: str) -> str:
    """The anchor of a heading on the site, from its text or from the anchor that JupyterLab gives it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace(" ", "-"))


# --- Markdown -------------------------------------------------------------------------------------


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with ``change`` applied to what stands neither in a fenced block nor in a code span."""
    pieces, prose, fence = [], [], ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            pieces.append(line)
            if mark and mark[2].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark:
            pieces += [_around_spans("".join(prose), change), line]
            prose, fence = [], mark[2]
        else:
            prose.append(line)
    return "".join([*pieces, _around_spans("".join(prose), change)])


def _around_spans(text: str, change: Callable[[str], str]) -> str:
    # A link may hold a code span in its text, so spans are set aside rather than split at.
    spans: list[str] = []

    def aside(match: re.Match) -> str:
        spans.append(match[0])
        return f"\0{len(spans) - 1}\0"

    changed = change(_CODE_SPAN.sub(aside, text))
    return re.sub("\0(\\d+)\0", lambda match: spans[int(match[1])], changed)


def markdown(text: str, page: Path, sources: Sources) -> str:
    """A document, or a cell of a notebook, with the links of the site."""

    def change(prose: str) -> str:
        linked = _TARGET.sub(lambda match: sources.rewritten(match[0], page), prose)
        labelled = _LABELLED.sub(lambda match: match[1] + sources.rewritten(match[2], page), linked)
        return _IN_HTML.sub(lambda match: sources.rewritten(match[0], page), labelled)

    return outside_code(text, change)


# --- Notebooks ------------------------------------------------------------------------------------


def notebook(content: dict, page: Path, sources: Sources) -> dict:
    """A notebook as the site shows it; the one given is left as it is."""
    content = json.loads(json.dumps(content))
    folded = page.parent.name == "solutions"
    for n, cell in enumerate(content["cells"]):
        source = _joined(cell["source"])
        if n == 0 and not folded:
            source = _with_ways(source, page, sources.address)
        if cell["cell_type"] == "markdown":
            cell["source"] = markdown(source, page, sources)
        elif cell["cell_type"] == "code":
            kept = (_shown(output, page, sources) for output in cell["outputs"])
            cell["outputs"] = [output for output in kept if output]
            if folded and source.strip():
                cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-cell"]
    return content


def _with_ways(source: str, page: Path, address: Address) -> str:
    """The first cell of a lesson with what opens it where it can be run, below its title."""
    up = os.path.relpath(".", page.parent)
    badges = address.badges(page.as_posix(), f"{up}/docs/badges")
    ways = f"[set up the course on your machine]({up}/README.md), or see [all ways to run it]({up}/{OWN}/run.md)"
    title, end, rest = source.partition("\n")
    return f"{title}{end or chr(10)}\n{badges}{badges and ' '}To run this lesson, {ways}.\n{rest}"


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _shown(output: dict, page: Path, sources: Sources) -> dict | None:
    """One output as the site shows it; None for what only a kernel could show."""
    data = output.get("data", {})
    view = data.pop(_WIDGET, None)
    if "text/html" in data:
        data["text/html"] = html(_joined(data["text/html"]), page, sources)
    elif view is not None and data.keys() <= {"text/plain"} or WIDGET_TEXT.match(_joined(data.get("text/plain", ""))):
        return None
    return output if data or output["output_type"] in ("stream", "error") else None


def html(shown: str, page: Path, sources: Sources) -> str:
    """HTML of an output: images as files, what scrolls with a name, and no promise of controls."""

    def linked(match: re.Match) -> str:
        return f'loading="lazy" src="{sources.picture(base64.b64decode(match[1]), page)}"'

    named = _SCROLLS.sub(
        lambda m: f'<div style="overflow-x:auto" tabindex="0" role="group" aria-label="{_title(m[1])}">', shown
    )
    # Tables share one name: as landmarks of the page they would stand in a row without telling which is which.
    grouped = named.replace('role="region" aria-label="table"', 'role="group" aria-label="table"')
    return _IMAGE.sub(linked, grouped).replace(LIVE_NOTE, STILL_NOTE)


def _title(alternative: str) -> str:
    """What a figure is called: the first sentence of its alternative text."""
    return "Figure: " + re.split(r"(?<=[.;:?!])\s", alternative, maxsplit=1)[0].rstrip(".;:")


# --- All of them ----------------------------------------------------------------------------------


def collect(sources: Sources) -> list[Path]:
    """Write all pages into the folder, those of docs/site as they are; the staged places, relative.

    Raises:
        BrokenLink: a page leads to something that is not there; all such links are named.
    """
    broken, staged = [], []
    for page in sources.pages():
        goal = sources.out / sources.staged(page)
        goal.parent.mkdir(parents=True, exist_ok=True)
        text = (sources.root / page).read_text(encoding="utf-8")
        try:
            if page.suffix == ".ipynb":
                made = json.dumps(notebook(json.loads(text), page, sources), indent=1, ensure_ascii=False) + "\n"
            else:
                made = markdown(text, page, sources)
        except BrokenLink as error:
            broken.append(str(error))
            continue
        goal.write_text(made, encoding="utf-8")
        staged.append(sources.staged(page))
    if broken:
        raise BrokenLink("\n".join(broken))
    return staged
