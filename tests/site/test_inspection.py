"""Looking at one piece of text for each look misses nothing that looking at all of them would find."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from inspection import CONTRAST, MARK, NARROW, TOO_WIDE, violations

pytestmark = pytest.mark.browser

GOOD, PALE = "<span>word</span>", '<span style="color:#bbb">pale</span>'
FLOOD = GOOD * 300
#: What is on the page, and what axe-core finds when it looks at every piece.
PAGES = {
    "nothing": (FLOOD, 0),
    "a pale word among many": (FLOOD + PALE + FLOOD, 1),
    "a hundred pale words": (FLOOD + PALE * 100, 100),
    "the same letters on a dark ground": (f'{FLOOD}<div style="background:#333">{GOOD}</div>', 1),
    "a ground that a grandparent gives": (f'<div style="background:#444"><p><b>{GOOD}</b></p></div>{FLOOD}', 1),
    "the same letters over a box that was moved": (
        f'{FLOOD}<div style="position:absolute;top:0;left:0;width:90px;height:9px;font-size:9px">{GOOD}</div>'
        '<div style="position:absolute;top:0;left:0;width:90px;height:30px;background:#222;z-index:-1"></div>',
        1,
    ),
    "a pale word that nobody sees": (f'{FLOOD}<div style="display:none">{PALE}</div>{PALE}', 1),
    "a pale field": (f'{FLOOD}<input aria-label="a" value="x" style="color:#bbb">', 1),
}


@pytest.fixture(scope="module")
def blank(chrome):
    page = chrome.new_page()
    yield page
    page.close()


def whole(page) -> int:
    """How many pieces without enough contrast axe-core finds when nothing is left out."""
    code = """async (options) => {
      axe.configure({rules: [{id: "color-contrast", selector: "*"}]});
      const found = await axe.run(document, options);
      return found.violations.flatMap((v) => v.nodes).length;
    }"""
    return page.evaluate(code, CONTRAST)


@pytest.mark.parametrize("name", PAGES)
def test_one_piece_of_each_look_is_enough(blank, name):
    content, faults = PAGES[name]
    blank.set_content(f'<!DOCTYPE html><html lang="en"><title>a</title><body><main>{content}</main></body></html>')
    blank.evaluate(AXE_SCRIPT)
    everything, (severe, _) = whole(blank), violations(blank, CONTRAST)
    if name != "the same letters over a box that was moved":  # how far that box reaches under others is axe's business
        assert everything == faults
    assert bool(severe) == bool(everything), severe
    pieces, looks = blank.evaluate(MARK)
    assert looks <= 4 < 300 <= pieces


def test_other_rules_still_see_the_whole_page(blank):
    blank.set_content(
        '<!DOCTYPE html><html lang="en"><title>a</title><body><main><img src="data:,"></main></body></html>'
    )
    blank.evaluate(AXE_SCRIPT)
    severe, _ = violations(blank)
    assert [line.split()[0] for line in severe] == ["image-alt"]


def test_what_is_too_wide_is_named_unless_it_scrolls_by_itself(blank):
    wide = '<div class="wide" style="width:900px">x</div>'
    blank.set_viewport_size({"width": min(NARROW.values()), "height": 800})
    blank.set_content(f"<!DOCTYPE html><body>{wide}</body>")
    width, *found = blank.evaluate(TOO_WIDE)
    assert width.startswith("9") and 'class="wide"' in found[0]
    blank.set_content(f'<!DOCTYPE html><body><div style="overflow-x:auto">{wide}</div></body>')
    assert blank.evaluate(TOO_WIDE) == []
