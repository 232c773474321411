"""The built site as a visitor meets it: whole, alone on this machine, and readable for everybody."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import inspection
import pytest
from playwright.sync_api import expect
from repo import NOTEBOOKS, ROOT, lessons, solutions

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "build" / "screenshots" / "site"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 400, "height": 800}


class Page(HTMLParser):
    """Anchors of a page, and everything that it names: links, images, scripts, styles."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors, self.targets = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        self.targets |= {found[key] for key in ("href", "src") if found.get(key)}


@pytest.fixture(scope="session")
def read(site, pages) -> dict[str, Page]:
    return {name: Page((site / name).read_text(encoding="utf-8")) for name in pages}


# --- What was built -------------------------------------------------------------------------------


def test_every_lesson_solution_card_and_room_has_a_page(pages):
    wanted = [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (*lessons(), *solutions())]
    wanted += [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (ROOT / "data").rglob("*.md")]
    wanted += [f"package/{room.parent.name}.html" for room in (ROOT / "course_utils").glob("*/__init__.py")]
    wanted += ["index.html", "run.html", "cite.html", "README.html", "docs/glossary.html", "search.html"]
    assert len(wanted) > 45 and not set(wanted) - set(pages)


def test_every_internal_link_leads_somewhere(site, read):
    broken = []
    for name, page in read.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            goal = urlsplit(urljoin(f"/{name}", target)).path.lstrip("/") or name
            goal = unquote(goal) + ("index.html" if goal.endswith("/") else "")
            if not (site / goal).is_file():
                broken.append(f"{name} → {target}")
            elif parts.fragment and goal in read and unquote(parts.fragment) not in read[goal].anchors:
                broken.append(f"{name} → {target} (no such place on the page)")
    assert not broken, "\n".join(sorted(broken)[:40])


def test_nothing_that_a_page_loads_lies_elsewhere(site):
    """Links may lead away; scripts, styles, fonts and images may not."""
    loads = re.compile(r"""<(?:script|img|iframe|link|source)\b[^>]*?\b(?:src|href)="(?:https?:)?//[^"]+""")
    styles = re.compile(r"""(?:url\(|@import\s+)["']?(?:https?:)?//[^)"']+""")
    found = [f"{p.name}: {m[:120]}" for p in site.rglob("*.html") for m in loads.findall(p.read_text(encoding="utf-8"))]
    found += [f"{p.name}: {m}" for p in site.rglob("*.css") for m in styles.findall(p.read_text(encoding="utf-8"))]
    assert not [line for line in found if 'rel="canonical"' not in line]


def test_no_widget_is_left_without_its_picture(site):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "(children=" not in text and "widget-view+json" not in text, path.name


def test_every_figure_says_what_it_shows(site):
    figures = 0
    for path in (site / "notebooks").rglob("*.html"):
        for image in re.findall(r"<img\b[^>]*>", path.read_text(encoding="utf-8")):
            if "course-figure" in image:
                figures += 1
                assert len(re.search(r'alt="([^"]*)"', image)[1].split()) >= 5, (path.name, image[:200])
    assert figures > 30


def test_formulas_are_drawn_by_the_browser(site):
    drawn = 0
    for path in (site / "notebooks").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        drawn += text.count("<math")
        prose = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.findall(r"\$[^$<>\n]{1,80}\$", prose), path.name
    assert drawn > 20


def test_solutions_are_folded_and_the_download_is_what_is_committed(site):
    for path in solutions():
        text = (site / "notebooks" / "solutions" / path.with_suffix(".html").name).read_text(encoding="utf-8")
        cells = len(re.findall(r'<div class="[^"]*\bcell\b[^"]*docutils', text))
        assert text.count("<details") >= cells > 0 and not re.search(r"<details[^>]*\bopen\b", text), path.name
    for path in (*lessons(), *solutions()):
        offered = site / "_sources" / path.relative_to(ROOT)
        assert offered.read_bytes() == path.read_bytes()
        page = (site / path.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        assert f"_sources/notebooks/{path.relative_to(NOTEBOOKS).as_posix()}" in page


def test_a_lesson_can_be_launched_where_the_course_has_an_address_and_only_there(site):
    import address

    known = address.read()
    for path in lessons():
        text = (site / path.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        places = known.launches(path.relative_to(ROOT).as_posix())
        assert all(place in text for place in places.values()), path.name
        assert ("colab.research" in text, "mybinder" in text) == (bool(places), bool(places)), path.name
        assert "set up the course on your machine" in text


# --- In a browser without a network ---------------------------------------------------------------


class Visit:
    """A page in the browser; what it asked of others and what it complained of."""

    def __init__(self, chrome, address: str, size: dict, theme: str = "light", scripts: bool = True):
        self.context = chrome.new_context(viewport=size, java_script_enabled=scripts)
        self.page, self.address = self.context.new_page(), address
        self.foreign, self.complaints = [], []
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        if scripts:
            self.context.add_init_script(
                f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
            )

    def _asked(self, url: str):
        if not url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(url)

    def open(self, name: str):
        self.page.goto(f"{self.address}/{name}", wait_until="load")
        return self.page

    def keep(self, name: str, whole: bool = False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)


@pytest.fixture
def visit(chrome, address):
    """Open pages; at the end nothing may have been asked of another server."""
    made = []

    def begin(size=WIDE, theme="light", scripts=True) -> Visit:
        made.append(Visit(chrome, address, size, theme, scripts))
        return made[-1]

    yield begin
    for each in made:
        each.context.close()
        assert not each.foreign, each.foreign
        assert not each.complaints, each.complaints


#: What the button of the theme does; a page that is loaded in the dark is met by the tests of the figure.
DARKEN = "() => Object.assign(document.documentElement.dataset, {theme: 'dark', mode: 'dark'})"


@pytest.fixture(scope="session")
def seen(pages, address) -> dict[str, inspection.Seen]:
    """Every page, visited once; the table of what was found is kept, and printed by the first test."""

    def bright(context):
        context.add_init_script("localStorage.setItem('mode', 'light'); localStorage.setItem('theme', 'light')")

    return inspection.visit_all({name: f"{address}/{name}" for name in pages}, DARKEN, bright)


def test_no_page_keeps_anybody_out_in_either_theme(seen, capsys):
    with capsys.disabled():
        print("", inspection.table(seen), sep="\n")
    assert len(seen) > 75
    assert not inspection.told(seen, "light") + inspection.told(seen, "dark")


def test_no_page_asks_another_server_or_complains(seen):
    assert not inspection.told(seen, "foreign") + inspection.told(seen, "complaints")


@pytest.mark.parametrize("window", inspection.NARROW)
def test_no_page_slides_sideways(seen, window):
    assert not {name: each.narrow[window] for name, each in seen.items() if window in each.narrow}


def test_figures_keep_their_letters_legible_on_a_phone(seen):
    """Drawn at 90 dots an inch, letters of 10 points are 12.5 pixels high; three quarters of that can be read."""
    assert any(each.smallest < 1 for each in seen.values())
    assert {name: each.smallest for name, each in seen.items() if each.smallest < 0.72} == {}


def test_search_finds_anisotropy(visit):
    page = visit().open("search.html?q=anisotropy")
    expect(page.locator("#search-results ul.search li").first).to_be_visible(timeout=20_000)
    links = page.locator("#search-results ul.search li a").evaluate_all("all => all.map(a => a.href)")
    assert any("glossary" in link or "notebooks/03" in link for link in links), links


def test_a_phone_is_photographed(visit):
    """Pictures for people to look at; `test_no_page_slides_sideways` measures."""
    for theme in ("light", "dark"):
        opened = visit(PHONE, theme)
        for name in ("index", "notebooks/00_start_here", "notebooks/03_first_principal_component"):
            page = opened.open(f"{name}.html")
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            opened.keep(f"phone_{theme}_{name.split('/')[-1]}")


# --- The live figure ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data() -> dict:
    return json.loads((ROOT / "data" / "landing.json").read_text(encoding="utf-8"))


def written(token: str) -> str:
    """A token as a chip shows it."""
    return f"␣{token[1:]}" if token.startswith("_") else token


def expected(data: dict, n: int, amount: float) -> list[str]:
    """The ten tokens of sentence n at λ, best first."""
    sentence = data["sentences"][n]
    pairs = zip(sentence["tokens"], sentence["logits"], strict=True)
    logits = [logit + amount * data["slopes"][place] for place, logit in pairs]
    best = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[: data["slider"]["k"]]
    return [written(data["tokens"][sentence["tokens"][i]]) for i in best]


def tokens(page) -> list[str]:
    return page.locator("#finding-tokens .finding-chip").evaluate_all("all => all.map(chip => chip.textContent)")


def test_the_figure_follows_the_keyboard(visit, data):
    opened = visit()
    page = opened.open("index.html")
    slider, step = page.get_by_label("λ, a step"), data["slider"]["step"]
    assert tokens(page) == expected(data, 0, 0.0)
    before = page.locator(".finding-picture").inner_html()
    slider.focus()
    for n in range(1, 25):
        page.keyboard.press("ArrowLeft")
        assert tokens(page) == expected(data, 0, -n * step), n
    assert page.locator(".finding-picture").inner_html() != before
    expect(slider).to_have_attribute("aria-valuetext", f"λ = −{24 * step:.1f}")
    page.keyboard.press("Home")
    assert tokens(page) == expected(data, 0, data["slider"]["lowest"])
    page.get_by_label("A sentence").focus()
    for _ in range(17):
        page.keyboard.press("ArrowDown")
    assert tokens(page) == expected(data, 17, data["slider"]["lowest"])
    opened.keep("figure_keyboard")


def test_the_figure_follows_the_mouse_and_its_buttons(visit, data):
    opened = visit(theme="dark")
    page = opened.open("index.html")
    page.get_by_role("button", name="as far as training went").click()
    amount = round(data["variation"] / data["slider"]["step"]) * data["slider"]["step"]
    assert tokens(page) == expected(data, 0, amount)
    own = page.locator(".finding-said").inner_text()
    page.get_by_role("button", name="as it is").click()
    assert tokens(page) == expected(data, 0, 0.0) and page.locator(".finding-said").inner_text() != own
    box = page.get_by_label("λ, a step").bounding_box()
    page.mouse.move(box["x"] + 0.85 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    value = float(page.get_by_label("λ, a step").input_value())
    assert data["slider"]["lowest"] < value < -15 and tokens(page) == expected(data, 0, value)
    opened.keep("figure_dark")


def test_the_figure_counts_hits_beside_what_other_sentences_give(visit, data):
    page = visit().open("index.html")
    page.get_by_role("button", name="as far as training went").click()
    amount = float(page.get_by_label("λ, a step").input_value())
    n = len(data["sentences"])
    tops = [expected(data, i, amount) for i in range(n)]
    content = [{written(data["tokens"][place]) for place in s["content"]} for s in data["sentences"]]
    found = [[sum(token in own for token in top) for top in tops] for own in content]
    own = sum(found[i][i] for i in range(n))
    others = sum(map(sum, found)) - own
    said = page.locator(".finding-said").inner_text()
    numbers = re.fullmatch(r"Of the 10, (\d+) .* sentences: ([\d.]+) on average; .* words: ([\d.]+)\.", said)
    assert int(numbers[1]) == found[0][0]
    assert float(numbers[2]) == pytest.approx(own / n, abs=0.0051)
    assert float(numbers[3]) == pytest.approx(others / (n * (n - 1)), abs=0.0051)


def test_without_scripts_the_page_has_a_table(visit, data):
    page = visit(scripts=False).open("index.html")
    rows = page.locator(".finding-static tr")
    assert rows.count() == 4
    shown = rows.nth(0).locator(".finding-chip").all_inner_texts()
    assert [text.strip() for text in shown] == [text.strip() for text in expected(data, 0, 0.0)]
