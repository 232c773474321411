"""The printed handout has two pages, on the paper of both halves of the world."""

import re

import pytest
from repo import ROOT

MARGINS = dict.fromkeys(("top", "bottom"), "13mm") | dict.fromkeys(("left", "right"), "15mm")


@pytest.mark.browser
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_handout_is_two_pages(chrome, paper):
    page = chrome.new_page()
    page.goto((ROOT / "docs" / "teaching" / "handout.html").as_uri())
    printed = page.pdf(format=paper, margin=MARGINS)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2
