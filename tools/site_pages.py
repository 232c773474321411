"""Pages that the site makes itself: the live figure and the contents of the first page, the package, how to cite."""

import ast
import html
import json
import re
from pathlib import Path

import numpy as np
import site_reproductions
import yaml
from site_sources import Sources

#: Lines of the table that stands in for the figure where there is no JavaScript.
STATIC_STEPS = (0.0, -10.0, -20.0)
#: What stands in the first cell for Colab in the place of the address.
EXAMPLE = "https://github.com/OWNER/NAME"


# --- The first page -------------------------------------------------------------------------------


def finding(numbers: dict, looks: dict[str, tuple[str, str]]) -> str:
    """The figure as HTML: a table that anybody can read, and the numbers with which a script makes it live.

    Args:
        numbers: what `several-tokens site-data` wrote.
        looks: kind of token -> the words of the legend and the colour of a chip.
    """
    shown = {
        **numbers,
        "looks": {kind[0]: {"words": words, "ground": ground} for kind, (words, ground) in looks.items()},
    }
    shown.pop("made_from", None)
    data = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    first = numbers["sentences"][0]
    rows = [(_step_name(amount), *_top(numbers, first, amount)) for amount in STATIC_STEPS]
    trained = (f"after training ({numbers['models']['trained']})", first["trained"], first["trained_kinds"])
    table = "".join(_row(name, _chips(numbers, looks, places, kinds)) for name, places, kinds in (*rows, trained))
    return (
        '<div id="finding" class="finding">'
        f'<p class="finding-text">“{html.escape(first["text"])}”</p>'
        '<table class="finding-static"><caption>The ten tokens with the largest logits</caption>'
        f"<tbody>{table}</tbody></table>"
        f'<p class="finding-legend">{legend(looks)}</p>'
        f'<script type="application/json" id="finding-data">{data}</script></div>'
    )


def _step_name(amount: float) -> str:
    return "the embedding as it is" if amount == 0 else f"moved by λ = {amount:.0f}".replace("-", "−")


def _top(numbers: dict, sentence: dict, amount: float) -> tuple[list[int], str]:
    slopes = np.array([numbers["slopes"][place] for place in sentence["tokens"]])
    order = np.argsort(-(np.array(sentence["logits"]) + amount * slopes), kind="stable")[: numbers["slider"]["k"]]
    return [sentence["tokens"][i] for i in order], "".join(sentence["kinds"][i] for i in order)


def _row(name: str, chips: str) -> str:
    return f'<tr><th scope="row">{html.escape(name)}</th><td>{chips}</td></tr>'


def _chips(numbers: dict, looks: dict, places: list[int], kinds: str) -> str:
    grounds = {kind[0]: ground for kind, (_, ground) in looks.items()}
    tokens = (numbers["tokens"][place] for place in places)
    return " ".join(chip(token, kind, grounds[kind]) for token, kind in zip(tokens, kinds, strict=True))


def chip(token: str, kind: str, ground: str) -> str:
    """A token as a chip; `kind` is the first letter of surface, variant or other."""
    space, word = ("␣", token[1:]) if token.startswith("_") else ("", token)
    shown = f"<bdi>{html.escape(word)}</bdi>"
    shown = {"s": f"<b><u>{shown}</u></b>", "v": f"<u>{shown}</u>", "o": shown}[kind]
    before = f"<small>{space}</small>" if space else ""
    return f'<span class="finding-chip" style="background:{ground}">{before}{shown}</span>'


def legend(looks: dict[str, tuple[str, str]]) -> str:
    """The three kinds of chips and what they mean."""
    samples = (f"{chip('abc', kind[0], ground)} {html.escape(words)}" for kind, (words, ground) in looks.items())
    return " · ".join([*samples, "␣ a space before the token"])


def contents(staged: list[Path], modules: list[Path]) -> str:
    """The tables of contents of all pages, for the first page."""
    names = [page.as_posix() for page in staged]
    lessons = [n for n in names if re.fullmatch(r"notebooks/[^/]+\.ipynb", n)]
    groups = {
        "The course": ["live.md", "README.md", "run.md", *lessons],
        "To look up": [n for n in names if n.startswith("docs/") and not n.startswith("docs/teaching/")],
        "To teach": [n for n in names if n.startswith("docs/teaching/")],
        "Solutions": [n for n in names if n.startswith("notebooks/solutions/")],
        "Data and models": [n for n in names if n.startswith("data/")],
        "The package": [page.as_posix() for page in modules],
        "About": [*(n for n in names if n == "CONTRIBUTING.md"), "cite.md"],
    }
    left_out = set(names) - {"index.md"} - {n for group in groups.values() for n in group}
    if left_out:
        raise ValueError(f"no table of contents holds {', '.join(sorted(left_out))}")
    tables = (
        "```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```"
        for caption, pages in groups.items()
    )
    return "\n\n".join(tables)


# --- The package ----------------------------------------------------------------------------------


def package(root: Path, out: Path) -> list[Path]:
    """Write a page for each room of the package, and for each folder in one; the pages, relative."""
    (out / "package").mkdir(exist_ok=True)
    pages = []
    for room in sorted(path.parent for path in (root / "course_utils").rglob("*/__init__.py")):
        page = Path("package") / f"{'.'.join(room.relative_to(root / 'course_utils').parts)}.md"
        (out / page).write_text(_room(room, root), encoding="utf-8")
        pages.append(page)
    return pages


def _room(room: Path, root: Path) -> str:
    """What a room is for, and what its modules offer; each is described by its own docstrings."""
    parts = [f"# `{'.'.join(room.relative_to(root / 'course_utils').parts)}`", _rst(_docstring(room / "__init__.py"))]
    for path in sorted(room.glob("[a-z]*.py")):
        if _docstring(path):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            parts += [f"## `{name.removeprefix('course_utils.')}`", _rst(f".. automodule:: {name}")]
    return "\n\n".join(parts) + "\n"


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text.strip()}\n```"


# --- Small pages ----------------------------------------------------------------------------------


def cite(citation: dict) -> str:
    """How to cite paper and course, from CITATION.cff."""
    paper = citation["preferred-citation"]
    names = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    arxiv = next(i["value"] for i in paper["identifiers"] if i["value"].startswith("arXiv:"))
    entry = (
        f"@inproceedings{{nie{paper['year']}text,\n"
        f"  title     = {{{{{paper['title']}}}}},\n  author    = {{{names}}},\n"
        f"  booktitle = {{{' '.join(paper['collection-title'].split())}}},\n  year      = {{{paper['year']}}},\n"
        f"  note      = {{{arxiv}}}\n}}"
    )
    return (
        f"# Cite this\n\n{citation['message']}\n\n```bibtex\n{entry}\n```\n\n"
        f"The course itself: *{citation['title']}*, version {citation['version']}, licence {citation['license']}.\n"
    )


def write(sources: Sources, staged: list[Path], numbers: dict, looks: dict[str, tuple[str, str]], colab: str) -> None:
    """Write the pages that nobody wrote by hand, and fill the gaps of those of docs/site."""
    citation = yaml.safe_load((sources.root / "CITATION.cff").read_text(encoding="utf-8"))
    (sources.out / "cite.md").write_text(cite(citation), encoding="utf-8")
    rooms = package(sources.root, sources.out)
    fill(sources.out / "index.md", {"finding": finding(numbers, looks), "contents": contents(staged, rooms)})
    colab = colab.strip().replace(EXAMPLE, sources.address.repository or EXAMPLE)
    fill(sources.out / "run.md", {"colab": f"```python\n{colab}\n```"})
    reproductions = Path("docs", "reproductions")
    if reproductions / "README.md" in staged:
        spread = site_reproductions.spread(sources.root / reproductions)
        fill(sources.out / reproductions / "README.md", {"spread": spread})


def fill(page: Path, parts: dict[str, str]) -> None:
    """Put each part in the place of the comment with its name.

    Raises:
        ValueError: there is no such comment.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        if text.count(f"<!-- {name} -->") != 1:
            raise ValueError(f"{page.name} must have one place for <!-- {name} -->")
        text = text.replace(f"<!-- {name} -->", part)
    page.write_text(text, encoding="utf-8")
