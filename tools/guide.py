"""Fill the blocks of the instructor guide from the lessons: minutes, what builds on what, expected answers.

    python tools/guide.py            writes docs/teaching anew
    python tools/guide.py --check    says what is out of date, writes nothing

A block stands between two comments, `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between them is replaced.
"""

import argparse
import html
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from run_notebooks import ROOT

sys.path.insert(0, str(ROOT))

from course_utils import gates
from course_utils.teaching import exercises, hours, paths

FOLDER = ROOT / "docs" / "teaching"
GRAPH = "lessons.svg"
_BLOCK = re.compile(r"(<!-- begin ([\w -]+?) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_ASKED = re.compile(r"^Prediction (\d\d\.\w+)\. (?!Measured|You said)(.+)$", re.MULTILINE)
_MEASURED = re.compile(r"^Prediction (\d\d\.\w+)\. Measured: (.+)\.$", re.MULTILINE)
#: Width and height of a box, and the gaps between boxes, in pixels.
BOX, GAP = (158, 52), (66, 18)


def lessons() -> list[str]:
    """Numbers of the core lessons, in order."""
    return [path.name[:2] for path in sorted(hours.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]


def title(number: str) -> str:
    """What a lesson is called in a short line: its heading without what stands after a colon."""
    heading = paths.read(number)[0]["source"].splitlines()[0]
    return heading.lstrip("# ").partition(" · ")[2].partition(":")[0]


# --- Blocks ---------------------------------------------------------------------------------------


def ways() -> str:
    """A table of every path with its sittings and their minutes."""
    parts = []
    for path in paths.paths().values():
        found = paths.minutes(path)
        together = sum(by_rule + talk for _, by_rule, talk in found)
        rows = "\n".join(
            f"| {session.title} | {_links(session)} | {by_rule:.0f} | {talk} |" for session, by_rule, talk in found
        )
        parts.append(
            f"### {path.title}\n\nFor {path.audience}. {path.aim}\n\n| sitting | lessons | minutes | talk |\n"
            f"|---|---|---|---|\n{rows}\n\nTogether {together:.0f} minutes."
        )
    return "\n\n".join(parts)


def _links(session: paths.Session) -> str:
    return ", ".join(
        f"[{part.lesson}](../../notebooks/{paths.lesson_file(part.lesson).name})" + " (excerpt)" * bool(part.take)
        for part in session.parts
    )


def expected(number: str) -> str:
    """The minutes of a lesson, its exercises, and its predictions with what its committed outputs measured."""
    shown = "\n".join(map(_output, paths.read(number)))
    asked, measured = dict(_ASKED.findall(shown)), dict(_MEASURED.findall(shown))
    rows = [f"- **{name}** {asked.get(name, '')} → **{value.strip()}**" for name, value in measured.items()]
    length = hours.hours(paths.lesson_file(number))
    said = f"*{length.minutes:.0f} minutes by the rule. {_tasks(number)}*"
    return "\n".join([said, "", "Predictions, and what the lesson measures:", "", *rows] if rows else [said])


def _tasks(number: str) -> str:
    """The exercises of a lesson with their minutes, and where their solutions are."""
    code = "\n".join(cell["source"] for cell in paths.read(number) if cell["cell_type"] == "code")
    listed = ", ".join(f"{name} ({exercises.find(name).minutes})" for name in re.findall(r'\bcheck\("([\d.]+)"', code))
    where = f"../../notebooks/solutions/{paths.lesson_file(number).name}"
    return f"Exercises, with minutes: {listed}; [solutions]({where})."


def _output(cell: dict) -> str:
    texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", []))
    return "\n".join("".join(text) for text in texts)


def graph_block() -> str:
    """The picture of what builds on what, with the same in words as its alternative text."""
    needs = {number: paths.prerequisites(number) for number in lessons()}
    words = "; ".join(f"{n} needs {', '.join(before)}" for n, before in needs.items() if before)
    return f"![Which lesson builds on which. {words}.]({GRAPH})"


def schedule() -> str:
    """The parts of the workshop and what each is about, as rows of an HTML table."""
    path = paths.find("workshop")
    [(session, by_rule, talk)] = paths.minutes(path)
    rows = []
    for part in session.parts:
        heading = part.intro.strip().splitlines()[0].lstrip("# ")
        rows.append(f"<li>{html.escape(heading)} (lesson {part.lesson})</li>")
    return "\n".join([*rows, f"<li>together {by_rule + talk:.0f} minutes, {talk} of them talk</li>"])


def letters() -> str:
    """The last table of the glossary as an HTML table."""
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("## Letters")[1].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows if row.startswith("| `")]
    made = "\n".join(f"<tr><td>{_html(letter)}</td><td>{_html(said)}</td></tr>" for letter, said in cells)
    return f"<table>\n{made}\n</table>"


def _html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text.strip("| ")))


# --- The graph ------------------------------------------------------------------------------------


def reduced(needs: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """What each lesson needs, without what follows from the rest, as 03 needs 00 because it needs 02."""

    def all_before(number: str) -> set[str]:
        return {n for before in needs.get(number, ()) for n in (before, *all_before(before))}

    return {number: [b for b in before if not any(b in all_before(o) for o in before if o != b)]
            for number, before in needs.items()}  # fmt: skip


def depths(needs: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """How many steps lie before each lesson: 0 where nothing is needed.

    Raises:
        ValueError: a lesson needs itself, by way of others.
    """

    def depth(number: str, above: tuple[str, ...]) -> int:
        if number in above:
            raise ValueError(f"lessons need each other in a circle: {' → '.join((*above, number))}")
        return max((1 + depth(before, (*above, number)) for before in needs.get(number, ())), default=0)

    return {number: depth(number, ()) for number in needs}


def graph(needs: dict[str, tuple[str, ...]], names: dict[str, str]) -> str:
    """The lessons as boxes from left to right, with a line for everything that is needed; SVG.

    Args:
        needs: lesson -> the lessons that it builds on.
        names: lesson -> its title.
    """
    columns: dict[int, list[str]] = {}
    for number, depth in depths(needs).items():
        columns.setdefault(depth, []).append(number)
    tallest = max(map(len, columns.values()))
    width = len(columns) * (BOX[0] + GAP[0]) - GAP[0] + 20
    height = tallest * (BOX[1] + GAP[1]) - GAP[1] + 20
    place = {
        number: (10 + depth * (BOX[0] + GAP[0]), 10 + (row + (tallest - len(column)) / 2) * (BOX[1] + GAP[1]))
        for depth, column in columns.items() for row, number in enumerate(column)
    }  # fmt: skip
    lines = [_line(place[before], place[number]) for number, found in reduced(needs).items() for before in found]
    boxes = [_box(number, names[number], *place[number]) for number in needs]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="sans-serif"><title>Which lesson builds on which</title>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )
    return "\n".join([head, *lines, *boxes, "</svg>"]) + "\n"


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (start[0] + BOX[0], start[1] + BOX[1] / 2), (end[0], end[1] + BOX[1] / 2)
    middle = to_x - GAP[0] / 2
    curve = f"M{x:g},{y:g} H{to_x - GAP[0]:g} C{middle:g},{y:g} {middle:g},{to_y:g} {to_x:g},{to_y:g}"
    return f'<path d="{curve}" fill="none" stroke="#5b6470" stroke-width="1.5"/>'


def _box(number: str, name: str, x: float, y: float) -> str:
    words, lines = name.split(), [""]
    for word in words:
        if len(f"{lines[-1]} {word}") > 20:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    text = "".join(
        f'<text x="{x + 34:g}" y="{y + BOX[1] / 2 + 4 + 14 * (i - (len(lines) - 1) / 2):g}" font-size="11">'
        f"{html.escape(line)}</text>"
        for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="#eaf2fb" stroke="#0072b2"/>'
        f'<text x="{x + 9:g}" y="{y + BOX[1] / 2 + 5:g}" font-size="14" font-weight="bold">{number}</text>{text}'
    )


# --- All of it ------------------------------------------------------------------------------------


def filled(text: str) -> str:
    """A page with all its blocks written anew.

    Raises:
        ValueError: a block that nobody knows, or one that does not end.
    """

    def block(match: re.Match) -> str:
        name, _, number = match[2].partition(" ")
        makers = {"paths": ways, "graph": graph_block, "schedule": schedule, "letters": letters,
                  "expected": lambda: expected(number)}  # fmt: skip
        if name not in makers:
            raise ValueError(f"there is no block {match[2]!r}; choose from {', '.join(makers)}")
        gap = "" if name in ("schedule", "letters") else "\n"
        return f"{match[1]}{gap}{makers[name]()}\n{gap}{match[3]}"

    if text.count("<!-- begin ") != len(_BLOCK.findall(text)):
        raise ValueError("a block begins and does not end: every <!-- begin NAME --> needs <!-- end NAME -->")
    return _BLOCK.sub(block, text)


def made() -> dict[Path, str]:
    """Every file of the guide that this tool writes, as it should be."""
    pages = sorted([*FOLDER.glob("*.md"), *FOLDER.glob("*.html")])
    found = {page: filled(page.read_text(encoding="utf-8")) for page in pages if "<!-- begin " in page.read_text()}
    needs = {number: paths.prerequisites(number) for number in lessons()}
    return found | {FOLDER / GRAPH: graph(needs, {number: title(number) for number in needs})}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something is out of date")
    options = parser.parse_args(arguments)
    try:
        found = made()
    except ValueError as error:  # such as an excerpt that no longer fits its lesson
        print(error, file=sys.stderr)
        return 1
    old = [page for page, text in found.items() if not page.is_file() or page.read_text(encoding="utf-8") != text]
    for page in old:
        print(f"{page.relative_to(ROOT)} {'is out of date: run python tools/guide.py' if options.check else 'written'}")
        if not options.check:
            with gates.replacing(page) as stream:
                stream.write(found[page])
    return int(options.check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
