"""The family page says of every embedder what the registry says."""

import re

import pytest
from repo import ROOT

from course_utils.models import registry
from course_utils.models.prompts import ONE_WORD

PAGE = (ROOT / "docs" / "family.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]
BY_NAME = {row[0].strip("`| "): row for row in ROWS}


@pytest.mark.parametrize("name", registry.POCKET)
def test_the_page_agrees_with_the_entry_of_an_embedder(name):
    spec, (_, stands_for, origin, prompt, training) = registry.get(name), BY_NAME[name]
    assert (stands_for, origin.strip("`")) == (spec.stands_for, spec.origin)
    assert (prompt == "one word") == (spec.prompt == ONE_WORD)
    assert (training.strip(" |") == "none") == (not spec.adapters)
    assert (name in PAGE.split("see a text in both")[0].rpartition("\n\n")[2]) == spec.bidirectional


def test_every_origin_of_an_embedder_stands_on_the_page_with_its_model_and_pooling():
    for name in {registry.get(n).origin for n in registry.POCKET}:
        _, model, pooling, paper = [row for row in ROWS if row[0].strip("`| ") == name][-1]
        spec = registry.get(name)
        assert (model.strip("`"), re.match(r"`(\w+)`", pooling)[1]) == (spec.backbone, spec.pooling)
        ours = [registry.get(n).stands_for for n in registry.POCKET if registry.get(n).origin == name]
        assert {registry.get(n).origin for n in ours} == {paper.strip(" |")}


def test_the_one_word_prompt_is_quoted_as_it_is():
    assert f"`{ONE_WORD.prefix}…{ONE_WORD.suffix}`" in PAGE


def test_links_lead_somewhere_and_every_abbreviation_stands_in_the_glossary_too():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    letters = re.findall(r"^\| ([A-Z][A-Za-z0-9]+) \| ", PAGE.split("## What the names say")[1], re.MULTILINE)
    assert len(letters) >= 8 and all(f"| {name} |" in glossary for name in letters), letters
