"""The page of reproductions: each key number of the lessons, and where the reports of other machines put it."""

import html
import json
from pathlib import Path

import report

#: Width and height of a row's drawing, and how many bands it reaches to each side.
WIDTH, HEIGHT, REACH = 260, 26, 3.0


def reports(folder: Path) -> dict[str, dict]:
    """The reports of a folder, by file name without ending.

    Raises:
        ValueError: a file is no report; says which and why.
    """
    found = {}
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        if wrong := report.faults(content):
            raise ValueError(f"{file.name}: {wrong[0]}")
        found[file.stem] = content
    return found


def spread(folder: Path) -> str:
    """The reports as HTML: a table of the machines, and for each key number a drawing with its band."""
    found = reports(folder)
    if not found:
        return "*There is no report yet.*"
    machines = "".join(_machine(name, content) for name, content in found.items())
    head = "".join(f'<th scope="col">{title}</th>' for title in ("report", "machine", "key numbers", "printed numbers"))
    rows = "".join(_row(*key, found) for key in _keys(found))
    titles = ("lesson and key number", "committed ± band", f"±{REACH:.0f} bands around the committed number")
    top = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        f'<table class="reproductions"><caption>Machines</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{machines}</tbody></table>\n\n"
        '<table class="reproductions"><caption>Where each report puts each key number. Grey: the band. A disc agrees, '
        f"a cross does not.</caption><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _keys(found: dict[str, dict]) -> list[tuple[str, str]]:
    """Lesson and name of every key number of any report, in the order of the lessons."""
    keys = {(lesson, key["name"]): None for content in found.values()
            for lesson, own in content["lessons"].items() for key in own["keys"]}  # fmt: skip
    return sorted(keys, key=lambda key: key[0])


def _machine(name: str, content: dict) -> str:
    about, lessons = content["machine"], content["lessons"].values()
    keys = [key for own in lessons for key in own["keys"]]
    same = sum(own.get("the_same", 0) for own in lessons), sum(own.get("printed_numbers", 0) for own in lessons)
    cells = (name, f"{about.get('processor')}, {about.get('system')}, Python {about.get('python')}",
             f"{sum(bool(key.get('agrees')) for key in keys)} of {len(keys)} agree",
             f"{same[0]} of {same[1]} are the same")  # fmt: skip
    return "<tr>" + "".join(f'<td style="padding-right:1em">{html.escape(str(cell))}</td>' for cell in cells) + "</tr>"


def _row(lesson: str, name: str, found: dict[str, dict]) -> str:
    """One key number: what is committed, and a drawing of what the reports say."""
    places = {report_name: key for report_name, content in found.items()
              for key in content["lessons"].get(lesson, {}).get("keys", []) if key["name"] == name}  # fmt: skip
    last = list(places.values())[-1]
    committed = f"{last['committed']:g} ± {last['band']:g}"
    return (
        f'<tr><th scope="row" style="text-align:left;font-weight:normal"><b>{html.escape(lesson)}</b><br>'
        f"{html.escape(name)}</th>"
        f"<td>{committed}</td><td>{_drawing(places)}</td></tr>"
    )


def _drawing(places: dict[str, dict]) -> str:
    """Each report's number, in bands around the committed one; what lies further out stands at the rim."""
    half, middle = WIDTH / 2, HEIGHT / 2
    said, marks = [], []
    for name, key in places.items():
        if key.get("here") is None:
            said.append(f"{name}: none")
            continue
        away, band = key["here"] - key["committed"], key["band"]
        bands = away / band if band else (0.0 if away == 0 else REACH * (1 if away > 0 else -1))
        x = half + max(-REACH, min(REACH, bands)) * (half - 8) / REACH
        said.append(f"{name}: {key['here']:g}, {'agrees' if key['agrees'] else 'does not agree'}")
        marks.append(
            f'<circle cx="{x:.1f}" cy="{middle}" r="4" fill="currentColor" fill-opacity=".6"/>'
            if key["agrees"]
            else f'<path d="M{x - 4:.1f} {middle - 4}l8 8m0-8l-8 8" stroke="currentColor" stroke-width="2"/>'
        )
    text = html.escape("; ".join(said))
    grey = (half - 8) / REACH
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{text}"><title>{text}</title>'
        f'<rect x="{half - grey:.1f}" y="3" width="{2 * grey:.1f}" height="{HEIGHT - 6}" fill="#8888" />'
        f'<path d="M{half} 2V{HEIGHT - 2}M4 {middle}H{WIDTH - 4}" stroke="currentColor" stroke-opacity=".5"/>'
        f"{''.join(marks)}</svg>"
    )
