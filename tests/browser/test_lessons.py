"""Every lesson's widget after its cell of "Load and play" alone: typed into, dragged, chosen from, by key and mouse.

Lessons are found, not listed. Screenshots are left in ``build/screenshots/`` to be looked at.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.lab import REACT_S, choose_cell, closed, keep, opened, run
from playwright.sync_api import expect
from repo import lessons, read

PLAY = "## Load and play"
PLAY_S = 180
#: One for each box of a widget. None is a text of a lesson.
TYPED = ("Our train to Vienna was late because of the snow.", "The train arrived on time.")
#: Lessons whose live page is searched for what keeps people out.
CHECKED = ("00", "03", "04")
#: What JupyterLab itself complains of, whatever is open.
OF_JUPYTERLAB = ("favicon", "[Intervention]")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=lessons(), ids=lambda path: path.name[:2])
def lesson(request, lab, chrome):
    """A page on which one lesson is open and its cell of "Load and play" has run, no other."""
    page = opened(chrome, lab, request.param.name)
    page.name = request.param.name[:2]
    page.played = choose_cell(page, PLAY)
    run(page, "notebook:run-cell", PLAY_S)
    expect(page.locator(".course-live")).to_have_count(1, timeout=REACT_S * 1000)
    yield page
    closed(page)


class Widget:
    """What one explorer shows, and hands to change it with."""

    def __init__(self, page):
        self.page, self.box = page, page.locator(".course-live")
        self.shown, self.status = (self.box.locator(f".course-{part}") for part in ("page", "status"))
        self.texts = self.box.locator("input[type=text], textarea")
        self.lists, self.handles = self.box.locator("select"), self.box.locator(".noUi-handle")

    def answer(self) -> str:
        """What the page says, without the line that says how long it took; pictures count by their contents."""
        return self.shown.evaluate(
            "e => [e.lastElementChild.innerText, ...[...e.querySelectorAll('img')].map(i => i.src.slice(-400))].join()"
        )

    def answers(self, before: str) -> str:
        """Wait until the page says something else than before, and is at rest."""
        expect(self.status).to_contain_text("answered in", timeout=REACT_S * 1000)
        for _ in range(4 * REACT_S):
            if self.answer() != before and "answered in" in self.status.inner_text():
                return self.answer()
            self.page.wait_for_timeout(250)
        raise AssertionError(f"the widget still says {before[:300]!r}; its line says {self.status.inner_text()!r}")


def test_the_widget_answers_to_keys_lists_and_the_mouse(lesson):
    widget, said = Widget(lesson), []
    said.append(widget.answer())
    keep(lesson, widget.box, f"{lesson.name}_1_loaded")
    for number, text in zip(range(widget.texts.count()), TYPED, strict=False):
        widget.texts.nth(number).fill("")
        widget.texts.nth(number).press_sequentially(text)
        widget.texts.nth(number).press("Enter")
    if widget.texts.count():
        said.append(widget.answers(said[-1]))
        keep(lesson, widget.box, f"{lesson.name}_2_typed")
    for number in range(widget.handles.count()):
        _slide(widget, widget.handles.nth(number), said)
        keep(lesson, widget.box, f"{lesson.name}_3_dragged")
    for number in range(widget.lists.count()):
        _choose(widget, widget.lists.nth(number), said)
        keep(lesson, widget.box, f"{lesson.name}_4_chosen")
    assert len(said) > 1, "there is nothing to change in this widget"
    assert all(text.strip() and "Traceback" not in text for text in said), said


def _slide(widget, handle, said: list[str]):
    """Move a slider by key to its other end, and drag it half-way back."""
    place = handle.get_attribute("aria-valuenow")
    handle.focus()
    handle.press("Home")
    if handle.get_attribute("aria-valuenow") == place:
        handle.press("End")
    said.append(widget.answers(said[-1]))
    handle.scroll_into_view_if_needed()
    track, knob = (
        handle.locator("xpath=ancestor::*[contains(@class, 'noUi-target')]").bounding_box(),
        handle.bounding_box(),
    )
    mouse, height = widget.page.mouse, knob["y"] + knob["height"] / 2
    mouse.move(knob["x"] + knob["width"] / 2, height)
    mouse.down()
    mouse.move(track["x"] + track["width"] / 2, height, steps=5)
    mouse.up()
    said.append(widget.answers(said[-1]))


def _choose(widget, chooser, said: list[str]):
    """Choose the next of a list by key, or the one before where it stands at the last."""
    names = chooser.locator("option").all_inner_texts()
    at = chooser.evaluate("e => e.selectedIndex")
    if len(names) > 1:
        chooser.focus()
        chooser.press("ArrowDown" if at + 1 < len(names) else "ArrowUp")
        assert chooser.evaluate("e => e.selectedIndex") != at, f"the arrow keys do not move in the list {names}"
        said.append(widget.answers(said[-1]))


def test_keys_on_the_widget_leave_the_notebook_alone(lesson):
    # JupyterLab deletes, cuts and changes cells at single letters wherever the focus is outside a text field.
    widget, count = Widget(lesson), "() => window.jupyterapp.shell.currentWidget.content.widgets.map(w => w.model.type)"
    before = lesson.evaluate(count)
    for hand in [*widget.lists.all(), *widget.handles.all()]:
        hand.focus()
        for key in ("x", "m", "d", "d", "a", "b"):
            hand.press(key)
    assert lesson.evaluate(count) == before


def test_the_page_has_no_complaint_and_asked_nobody(lesson):
    ours = [said for said in lesson.complaints if not any(known in said for known in OF_JUPYTERLAB)]
    assert not ours and not lesson.foreign
    assert lesson.get_by_text("Error displaying widget").count() == 0


def test_nothing_that_the_course_draws_keeps_anybody_out(lesson):
    if lesson.name not in CHECKED:
        pytest.skip("checked on the live pages of lessons " + ", ".join(CHECKED))
    found = Axe().run(lesson, context=".course-live").response["violations"]
    grave = [
        f"{violation['id']} ({violation['impact']}): {violation['help']}; {violation['nodes'][0]['html'][:200]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
    assert not grave, "\n".join(grave)


@pytest.mark.parametrize("path", lessons(), ids=lambda path: path.name[:2])
def test_the_cell_stands_near_the_top(path):
    sources = [cell.source for cell in read(path).cells]
    assert any(source.startswith(PLAY) for source in sources[:5]), f"{path.name} has no {PLAY!r} near the top"
