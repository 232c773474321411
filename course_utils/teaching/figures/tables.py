"""Tables for a page: they scroll sideways where they are too wide, with the names of their rows in sight.

A printed table breaks its lines inside words as soon as the window is narrow. :func:`table` shows the same numbers as
HTML, and carries them as plain text for where there is no page.
"""

import html
from collections.abc import Sequence

import pandas as pd

from course_utils import gates

# The first column stays in place, so it needs a ground of its own that is the page's: JupyterLab names it.
_GROUND = "var(--jp-layout-color0, #fff)"
_STICKY = f"position:sticky;left:0;background:{_GROUND};z-index:1;text-align:left;white-space:nowrap"
_FRAME = "max-width:100%;overflow-x:auto"


class Table:
    """Rows of text with headings; shown as HTML on a page, as plain text elsewhere.

    Attributes:
        rows: the entries as they are shown; the first of each row is its name.
        columns: the headings, the first of them that of the names.
        caption: a sentence above the table, or ``""``.
    """

    def __init__(self, rows: Sequence[Sequence[str]], columns: Sequence[str], caption: str = ""):
        self.rows, self.columns, self.caption = [list(row) for row in rows], list(columns), caption

    def _repr_html_(self) -> str:
        above = f'<caption style="text-align:left">{html.escape(self.caption)}</caption>' if self.caption else ""
        head = "".join(_heading(name, place, "col") for place, name in enumerate(self.columns))
        body = "\n".join(
            f"<tr>{_heading(row[0], 0, 'row')}{''.join(_entry(text) for text in row[1:])}</tr>" for row in self.rows
        )
        inside = f"<table>{above}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
        # A region that scrolls must be reachable by keyboard, and then it needs a name.
        name = html.escape(self.caption or "table", quote=True)
        return (
            f'<div class="course-table" tabindex="0" role="region" aria-label="{name}" style="{_FRAME}">{inside}</div>'
        )

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        shown = []
        for line in lines:
            name, *entries = (f"{text:{'>' if i else '<'}{widths[i]}}" for i, text in enumerate(line))
            shown.append("  ".join([name, *entries]))
        return "\n".join([*([self.caption] if self.caption else []), *(line.rstrip() for line in shown)])


def table(
    rows: Sequence[Sequence] | pd.DataFrame, columns: Sequence[str] = (), caption: str = "", spec: str = ".2f"
) -> Table:
    """A table to end a cell with, or to ``display``.

    Args:
        rows: the entries, a name first; or a data frame, whose index names the rows and whose columns are the
            headings unless others are given.
        columns: headings, one for each entry of a row, that of the names included.
        caption: a sentence above the table.
        spec: how fractions are written; whole numbers, text and intervals stay as they are. A missing one is ``–``.

    Raises:
        ValueError: no row, or a row with another number of entries than there are headings (named).
        TypeError: headings or a caption that are not text.
    """
    if isinstance(rows, pd.DataFrame):
        columns = list(columns) or [str(rows.index.name or ""), *map(str, rows.columns)]
        rows = [(name, *row) for name, row in zip(rows.index, rows.itertuples(index=False), strict=True)]
    columns = gates.texts(columns, "columns", empty=True)
    caption = gates.unicode_text(caption, "caption")
    rows = [list(row) for row in rows]
    if not rows or not columns:
        raise ValueError(f"a table needs rows and headings; got {len(rows)} rows and {len(columns)} headings")
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            raise ValueError(f"row {number} ({row[:1]}) has {len(row)} entries for {len(columns)} headings")
    return Table([[_written(entry, spec) for entry in row] for row in rows], columns, caption)


def _written(entry, spec: str) -> str:
    if hasattr(entry, "low") and hasattr(entry, "high"):  # an interval knows how it is written
        return format(entry, spec)
    if hasattr(entry, "dtype") and entry.ndim == 0:
        entry = entry.item()
    if entry is None or (isinstance(entry, float) and entry != entry):
        return "–"
    return format(entry, spec) if isinstance(entry, float) else str(entry)


def _heading(text: str, place: int, scope: str) -> str:
    look = _STICKY if place == 0 else "text-align:right"
    return f'<th scope="{scope}" style="{look}"><bdi>{html.escape(text)}</bdi></th>'


def _entry(text: str) -> str:
    return f'<td style="text-align:right;white-space:nowrap"><bdi>{html.escape(text)}</bdi></td>'
