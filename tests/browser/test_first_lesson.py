"""The first lesson as a reader meets it: every cell run, a sentence typed, a slider moved, the dark theme.

Screenshots are left in ``build/screenshots/`` to be looked at.
"""

import re

import pytest
from browser.lab import REACT_S, WHOLE, closed, keep, opened, prompts, run
from playwright.sync_api import expect

SENTENCE = "Our train to Vienna was late because of the snow."

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lesson(lab, chrome):
    """A browser page on which every cell of the first lesson has run."""
    page = opened(chrome, lab, WHOLE)
    run(page, "notebook:run-all-cells")
    yield page
    closed(page)


def _widget(page):
    """The widget in the middle of the lesson; the one of "Load and play" stands before it."""
    return page.locator(".course-live").last


def _tokens(page):
    """The list of aligned tokens that the widget shows."""
    return _widget(page).locator(".aligned-tokens").first


def _keep(page, name: str):
    keep(page, _tokens(page), name)


def _changed(page, before: str) -> str:
    expect(_tokens(page)).not_to_have_text(before, timeout=REACT_S * 1000)
    return _tokens(page).inner_text()


def test_every_cell_runs_in_the_browser_without_an_error(lesson):
    counts = [int(found) for found in re.findall(r"\[(\d+)\]", prompts(lesson))]
    assert counts == list(range(1, len(counts) + 1)) and len(counts) == lesson.locator(".jp-CodeCell").count()
    broken = lesson.get_by_text(re.compile("Error displaying widget|Click to show javascript error"))
    assert broken.count() == 0


def test_typing_a_sentence_and_moving_the_slider_change_the_tokens(lesson):
    box = _widget(lesson).get_by_placeholder("Your sentence")
    expect(box).to_be_visible(timeout=REACT_S * 1000)
    expect(_tokens(lesson)).not_to_be_empty(timeout=REACT_S * 1000)
    start = _tokens(lesson).inner_text()
    _keep(lesson, "1_before")

    assert box.input_value() != SENTENCE, "the test must type another sentence than the lesson starts with"
    box.fill(SENTENCE)
    box.press("Enter")
    box.press("Tab")
    typed = _changed(lesson, start)
    _keep(lesson, "2_after_typing")

    handle = _widget(lesson).locator(".noUi-handle").last
    handle.scroll_into_view_if_needed()
    handle.focus()
    place = handle.get_attribute("aria-valuenow")
    handle.press("End")
    if handle.get_attribute("aria-valuenow") == place:  # it stood at the end already
        handle.press("Home")
    moved = _changed(lesson, typed)
    _keep(lesson, "3_after_moving")

    assert len({start, typed, moved}) == 3 and all(text.strip() for text in (start, typed, moved))


def test_the_page_can_be_read_in_dark_mode(lesson):
    theme = "JupyterLab Dark"
    lesson.evaluate(
        "t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t}).then(() => null)", theme
    )
    lesson.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'", timeout=30_000)
    # The tokens' own letters must stand out from whatever lies behind them (WCAG 2.1, contrast of large text: 3).
    contrasts = _tokens(lesson).evaluate(CONTRASTS)
    assert contrasts and min(contrasts) >= 3, contrasts
    _keep(lesson, "4_dark")


def test_the_browser_asked_nobody_but_this_computer(lesson):
    assert lesson.foreign == []


#: Contrast of every piece of text below an element with the nearest background that is painted.
CONTRASTS = """root => {
    const channels = c => c.match(/[\\d.]+/g).map(Number);
    const light = c => c.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const over = (top, below) => {
        const a = top[3] ?? 1;
        return [0, 1, 2].map(i => a * top[i] + (1 - a) * below[i]);
    };
    const behind = e => {
        if (!e) return [255, 255, 255];
        const own = channels(getComputedStyle(e).backgroundColor);
        return (own[3] ?? 1) === 1 ? own.slice(0, 3) : over(own, behind(e.parentElement));
    };
    return [root, ...root.querySelectorAll('*')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
        .map(e => {
            const ground = behind(e);
            const [a, b] = [over(channels(getComputedStyle(e).color), ground), ground].map(light);
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        });
}"""
