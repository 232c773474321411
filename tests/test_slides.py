"""`make slides`: a deck asks nobody for anything, has its notes, and holds what the lessons have computed.

reveal.js itself is a stand-in here, so that no test needs npm; the command fetches the real one, by its checksum.
"""

import base64
import hashlib
import io
import re
import sys
import tarfile
from html.parser import HTMLParser

import nbformat
import pytest
from repo import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import npm
import slides

from course_utils.teaching import paths

#: Attributes by which a page fetches something; a link that somebody must click fetches nothing by itself.
FETCHES = {"src", "srcset", "data", "poster", "background", "action", "formaction", "ping", "manifest"}


class Fetches(HTMLParser):
    """Addresses that a page loads by itself."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in FETCHES or (name == "href" and tag not in ("a", "area")):
                self.found.append(value or "")
            if name == "style":
                self.found += re.findall(r"url\(['\"]?([^)'\"]+)", value or "")


def fetches(page: str) -> list[str]:
    styles = "\n".join(re.findall(r"<style[^>]*>(.*?)</style>", page, re.DOTALL))
    found = Fetches(page).found + re.findall(r"url\(\s*['\"]?([^)'\"\s]+)", styles)
    found += re.findall(r"@import\s+[^;]+", styles)
    return [address for address in found if not address.startswith(("data:", "#"))]


@pytest.fixture(scope="module")
def package():
    """The files of reveal.js that a deck needs, with almost nothing in them."""
    style, script = "@import url(./fonts/a.css);\n.a { b: c }", "var a = '</script>';"
    return dict.fromkeys(slides.PARTS["css"], style) | dict.fromkeys(slides.PARTS["js"], script)


@pytest.fixture(scope="module")
def workshop(package, tmp_path_factory):
    [made] = slides.make("workshop", tmp_path_factory.mktemp("decks"), package)
    return made.read_text(encoding="utf-8")


def small(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def text(source):
    return nbformat.v4.new_markdown_cell(source)


def printed(source, said):
    return nbformat.v4.new_code_cell(source, outputs=[nbformat.v4.new_output("stream", text=said)])


# The deck of the workshop -----------------------------------------------------------------------------------------


def test_a_deck_fetches_nothing(workshop):
    assert fetches(workshop) == []
    assert "cdn" not in re.sub(r"data:[^\"')]+", "", workshop).lower()


def test_what_fetches_something_is_found():
    page = (
        '<img src="https://a/b.png"><script src="x.js"></script><link href="//c"><a href="https://d">d</a>'
        "<style>@import 'e.css'; p { background: url(http://f) } q { background: url(data:x) }</style>"
    )
    assert fetches(page) == ["https://a/b.png", "x.js", "//c", "http://f", "@import 'e.css'"]


def test_every_note_is_in_the_deck_and_every_figure_of_the_cells(workshop):
    [session] = paths.find("workshop").sessions
    said = [note for part in session.parts for _, note in part.say]
    assert workshop.count('<aside class="notes">') == len(said) >= 12
    cells = [cell for part in session.parts for cell in paths.excerpt(part)]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = {"".join(o["data"]["image/png"]).strip() for o in outputs if "image/png" in o.get("data", {})}
    assert workshop.count("data:image/png;base64,") >= len(pictures)


def test_no_code_and_no_formula_is_left_as_its_source(workshop):
    shown = re.sub(r"<(script|style|pre|code|td|th)\b.*?</\1>", "", workshop, flags=re.DOTALL)
    assert "import numpy" not in workshop and "$u_1$" not in shown and "<math" in shown
    assert not re.findall(r"(?<!\w)\$[^$<>\n]{1,60}\$", shown)


def test_there_are_slides_below_slides_and_an_exercise_stands_on_its_own(workshop):
    assert workshop.count("<section") > 30
    for section in workshop.split("<section")[1:]:
        task = re.search(r"<(?:h3|strong)[^>]*>(?:Your turn: )?\d\d\.\d", section)
        assert not task or "image/png" not in section


# Parts of a deck --------------------------------------------------------------------------------------------------


def test_formulas_become_mathml_and_code_is_left_alone():
    made = slides.with_math("A $u_1$ and `$HOME` and\n\n$$L = \\frac{1}{n}$$\n\n```\n$x$\n```")
    assert made.count("<math") == 2 and "`$HOME`" in made and "```\n$x$\n```" in made
    assert "\n" not in re.search(r"<math.*?</math>", made, re.DOTALL)[0]


def test_scripts_and_styles_can_stand_inside_a_page(package):
    assert "</script" not in slides.inlined(package, "js") and "@import" not in slides.inlined(package, "css")


def test_notes_stand_behind_their_cells_and_are_not_shown(package):
    cells = [text("# T\n\nOne."), text("## Two\n\nMore."), printed("print(1)", "1")]
    page = slides.deck(small(*cells), {"## Two": "Say this."}, "T", package)
    second = page.split("<section")[-1]
    assert '<aside class="notes">' in second and "Say this." in second.split("<aside")[1].split("</aside>")[0]
    assert "print(1)" not in page and "<pre>1</pre>" in second


@pytest.mark.parametrize(("note", "said"), [("absent", "0 such cells"), ("T", "2 such cells")])
def test_a_note_without_its_one_cell_says_so(package, note, said):
    with pytest.raises(slides.SlidesError, match=said):
        slides.deck(small(text("# T"), text("## T again")), {note: "Say."}, "T", package)


def test_a_task_gets_a_slide_of_its_own():
    cells = slides.tasks_apart([text("Reading.\n\n**03.1 Do it** · now"), text("**03.2 At once**"), text("None here")])
    assert [cell.source for cell in cells] == ["Reading.", "**03.1 Do it** · now", "**03.2 At once**", "None here"]


# Where reveal.js comes from ---------------------------------------------------------------------------------------


def archive(path):
    names = [*slides.PARTS["css"], *slides.PARTS["js"], "../outside"]
    with tarfile.open(path, "w:gz") as made:
        for name in names:
            info = tarfile.TarInfo(f"package/{name}")
            info.size = 1
            made.addfile(info, io.BytesIO(b"x"))
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def test_what_a_deck_needs_is_read_from_a_package_whose_checksum_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "SHA512", archive(tmp_path / f"{slides.REVEAL.replace('@', '-')}.tgz"))
    assert set(slides.reveal(tmp_path)) == {*slides.PARTS["css"], *slides.PARTS["js"]}
    assert len(list(tmp_path.iterdir())) == 1  # nothing is unpacked


def test_a_package_with_another_checksum_is_refused(tmp_path):
    archive(tmp_path / f"{slides.REVEAL.replace('@', '-')}.tgz")
    with pytest.raises(npm.NpmError, match="remove it and try again"):
        slides.reveal(tmp_path)


def test_without_npm_or_network_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    reveal = slides.reveal
    monkeypatch.setattr(slides, "reveal", lambda: reveal(tmp_path))
    for found, said in ((None, "install Node.js"), ("/bin/false", "npm did not give reveal.js")):
        monkeypatch.setattr(npm.shutil, "which", lambda name, found=found: found)
        assert slides.main([]) == 1 and said in capsys.readouterr().err


def test_the_command_tells_an_error_in_one_line(tmp_path, monkeypatch, package, capsys):
    monkeypatch.setattr(slides, "reveal", lambda: package)
    assert slides.main(["nowhere", "--out", str(tmp_path)]) == 1
    assert "there is no path 'nowhere'" in capsys.readouterr().err
    assert slides.main(["--out", str(tmp_path / "new")]) == 0
    assert "workshop.slides.html" in capsys.readouterr().out
