"""One visit of a page in a browser: axe-core in both themes, the width on a phone, and what it asked of other servers.

Contrast is what takes axe-core long: it follows the ground of every piece of text. A page of a lesson has thousands of
pieces, mostly words of code, in a few dozen looks. Two pieces look the same when their letters have the same colour,
size and weight and all that they lie in has the same ground, and lies in the flow of the page; of each look the first,
the middle and the last visible piece are examined. All other rules see the whole page.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from axe_playwright_python.base import AXE_SCRIPT
from browser.lab import BROWSER_FLAGS, chromium
from playwright.sync_api import Page, sync_playwright

#: Where a browser may go: nowhere but to this machine. Names of other hosts resolve to nothing.
CUT_OFF = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
SEVERE = ("serious", "critical")
#: For a page to load, beside other work on a slow machine.
PATIENCE_MS = 120_000
WIDE = {"width": 1280, "height": 900}
#: A phone, and what is left of a window of 1280 pixels at 200 %.
NARROW = {"on a phone of 400 px": 400, "at 200 %": 640}

#: Mark three pieces of text for each look; how many pieces and looks there are.
MARK = """() => {
  const chains = new Map(), seen = new Map();
  const ground = (element) => {
    if (!element) return "";
    if (!chains.has(element)) {
      const style = getComputedStyle(element);
      const flows = ["static", "relative"].includes(style.position) && style.float === "none" &&
        style.transform === "none";
      chains.set(element, [ground(element.parentElement), style.backgroundColor, style.backgroundImage, style.opacity,
        flows ? "" : `alone ${chains.size}`].join("|").replace(/(\\|rgba\\(0, 0, 0, 0\\)\\|none\\|1\\|)+$/, ""));
    }
    return chains.get(element);
  };
  document.querySelectorAll("[data-look]").forEach((old) => delete old.dataset.look);
  let pieces = 0;
  for (const element of document.body.querySelectorAll("*")) {
    const field = /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName);
    const said = field || [...element.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
    const box = element.getBoundingClientRect();
    const shown = element.checkVisibility({opacityProperty: true, visibilityProperty: true});
    if (!said || !shown || !box.width || !box.height) continue;
    const style = getComputedStyle(element);
    const look = [field ? element.outerHTML : "", style.color, style.fontSize, style.fontWeight, style.textShadow,
      element.closest(":disabled, [aria-disabled=true]") !== null, ground(element)].join("|");
    if (!seen.has(look)) seen.set(look, []);
    seen.get(look).push(element);
    pieces += 1;
  }
  for (const all of seen.values())
    for (const n of [0, all.length >> 1, all.length - 1]) all[n].dataset.look = "";
  return [pieces, seen.size];
}"""
AXE = """async (options) => {
  axe.configure({rules: [{id: "color-contrast", selector: "[data-look]"}]});
  const found = await axe.run(document, options);
  return found.violations.map((v) => [v.id, v.impact, v.nodes.map((n) => `${n.html.slice(0, 160)} … ${n.target}`)]);
}"""
OPTIONS = {"resultTypes": ["violations"], "preload": False}
#: The other theme changes colours only.
CONTRAST = OPTIONS | {"runOnly": ["color-contrast"]}
#: Colours that glide from one theme to the other would be measured half way.
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"
UNFOLD = "() => document.querySelectorAll('details').forEach((each) => { each.open = true; })"
#: What reaches over the right edge of the window and cannot be scrolled to in a frame of its own.
TOO_WIDE = """() => {
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= edge + 1) return [];
  const found = [...document.body.querySelectorAll("*")].filter((element) => {
    if (element.getBoundingClientRect().right <= edge + 1 || !element.checkVisibility()) return false;
    for (let a = element.parentElement; a; a = a.parentElement)
      if (a !== document.body && getComputedStyle(a).overflowX !== "visible") return false;
    return true;
  });
  const first = found.slice(0, 3).map((element) => element.outerHTML.slice(0, 160));
  return [`${document.documentElement.scrollWidth} px wide`, ...first];
}"""

#: How wide each figure is shown, as a share of the width that it was drawn for.
SHRUNK = """() => [...document.querySelectorAll("img.course-figure")].filter((each) => each.checkVisibility())
  .map((each) => each.getBoundingClientRect().width / parseFloat(each.style.width))"""


@dataclass
class Seen:
    """What one visit found; every list is empty when all is well.

    Attributes:
        light, dark: serious or critical violations in the theme, one line for each.
        lesser: rules of axe-core that are violated with a lower impact.
        narrow: a width's name -> what is too wide there.
        smallest: the smallest share of its own width that a figure is shown at in a narrow window; 1 is as drawn.
        foreign: addresses on other servers that the page asked for.
        complaints: errors of its scripts.
        pieces, looks: how many pieces of text it has, and in how many looks.
    """

    light: list[str] = field(default_factory=list)
    dark: list[str] = field(default_factory=list)
    lesser: list[str] = field(default_factory=list)
    narrow: dict[str, list[str]] = field(default_factory=dict)
    smallest: float = 1.0
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    pieces: int = 0
    looks: int = 0


def violations(page: Page, options: dict = OPTIONS) -> tuple[list[str], list[str]]:
    """What axe-core finds on an open page that has `AXE_SCRIPT`: what is serious or critical, the rules of the rest."""
    page.evaluate(MARK)
    found = page.evaluate(AXE, options)
    severe = [f"{rule} ({impact}): {node}" for rule, impact, nodes in found if impact in SEVERE for node in nodes[:3]]
    return severe, [rule for rule, impact, _ in found if impact not in SEVERE]


def visit(page: Page, address: str, darken: str) -> Seen:
    """Open a page and look at it in every way.

    Args:
        page: of a browser; its theme is light.
        address: what to open; all else on the same server may be asked for.
        darken: a script that changes to the dark theme, or "" where there is none.
    """
    seen, own = Seen(), "/".join(address.split("/")[:3])

    def asked(request):
        if not request.url.startswith((own, "data:", "blob:", "file:")):
            seen.foreign.append(request.url)

    def said(message):
        if message.type == "error" and not message.location["url"].endswith("/favicon.ico"):
            seen.complaints.append(message.text)

    listeners = {"request": asked, "pageerror": lambda error: seen.complaints.append(str(error)), "console": said}
    for event, listener in listeners.items():
        page.on(event, listener)
    page.set_viewport_size(WIDE)
    page.goto(address, wait_until="load")
    page.add_style_tag(content=STILL)
    page.evaluate(UNFOLD)
    page.evaluate(AXE_SCRIPT)
    seen.pieces, seen.looks = page.evaluate(MARK)
    seen.light, seen.lesser = violations(page)
    for name, width in NARROW.items():
        page.set_viewport_size({"width": width, "height": 800})
        if found := page.evaluate(TOO_WIDE):
            seen.narrow[name] = found
        seen.smallest = min(seen.smallest, *page.evaluate(SHRUNK), 1.0)
    if darken:
        page.set_viewport_size(WIDE)
        page.evaluate(darken)
        seen.dark, _ = violations(page, CONTRAST)
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    return seen


def visit_all(
    addresses: dict[str, str], darken: str, prepare: Callable | None = None, side: int = 2
) -> dict[str, Seen]:
    """Visit many pages with some browsers side by side; name of a page -> what was seen.

    Args:
        addresses: name -> address.
        darken: as for `visit`.
        prepare: is called with the context of a browser before its first page.
        side: how many browsers.
    """

    def some(names: Iterable[str]) -> dict[str, Seen]:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=[*BROWSER_FLAGS, CUT_OFF])
            context = browser.new_context(viewport=WIDE)
            if prepare:
                prepare(context)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            found = {name: visit(page, addresses[name], darken) for name in names}
            browser.close()
        return found

    names = list(addresses)
    with ThreadPoolExecutor(side) as browsers:
        parts = browsers.map(some, [names[n::side] for n in range(side)])
        return dict(sorted(chain.from_iterable(part.items() for part in parts)))


def table(seen: dict[str, Seen]) -> str:
    """A line for each page: pieces of text, looks, violations in both themes, whether it fits a narrow window."""
    wide = max(map(len, seen), default=4)
    lines = [f"{'page':<{wide}} {'pieces':>6} {'looks':>5} {'light':>5} {'dark':>5} {'shrunk':>6}  too wide"]
    for name, each in seen.items():
        counts = f"{each.pieces:>6} {each.looks:>5} {len(each.light):>5} {len(each.dark):>5} {each.smallest:>6.2f}"
        lines.append(f"{name:<{wide}} {counts}  {', '.join(each.narrow) or 'no'}")
    light, dark = (sum(len(getattr(each, theme)) for each in seen.values()) for theme in ("light", "dark"))
    lesser = sorted(set(chain.from_iterable(each.lesser for each in seen.values())))
    lines.append(f"{len(seen)} pages; serious or critical: {light} in the light theme, {dark} in the dark one")
    return "\n".join([*lines, f"of lower impact: {', '.join(lesser) or 'none'}"])


def told(seen: dict[str, Seen], what: str) -> list[str]:
    """One line for each finding of a kind, with the page that it is on."""
    return [f"{name}: {finding}" for name, each in seen.items() for finding in getattr(each, what)]
