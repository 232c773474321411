"""The family page says of every embedder what the registry says."""

import re

import pytest
from repo import ROOT

from course_utils import gates
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


def test_the_page_quotes_scores_and_yardsticks_as_the_cards_have_them():
    paragraph = " ".join(PAGE.split("## How good they are")[1].split("\n\n")[1].split())
    scores = {
        name: gates.json_value(gates.read_text(registry.ADAPTERS / name / "scores.json"), name)
        for name in registry.POCKET
        if registry.get(name).adapters
    }
    sts, found = "STS dev Spearman", "cranfield nDCG@10"
    assert len(scores) == 6
    yardstick = scores["smol-sgpt-qa"]["yardsticks"]
    for value in (
        *(pick(s[sts] for s in scores.values()) for pick in (min, max)),
        *(yardstick[sts][name] for name in ("tf-idf", "all-MiniLM-L6-v2")),
        *(scores[name][found] for name in ("smol-sgpt-qa", "smol-grit")),
        *(yardstick[found][name] for name in ("tf-idf", "BM25")),
    ):
        assert f"{value:.3f}".lstrip("0") in paragraph, value
    for name in ("smol-sgpt-qa", "smol-grit"):  # neither is clearly ahead of tf-idf
        values = scores[name]["yardsticks"][found]
        assert values["margin"] < 2 * values["standard error"]
    assert all(s["yardsticks"][sts]["margin"] > 0 for s in scores.values())
