"""How the lessons in their final form speak: short paragraphs, acronyms expanded before they are used, no riddles."""

import re
from pathlib import Path

import pytest
from repo import FINAL, NOTEBOOKS, ROOT, appendices, lessons, output_text, read

TEXTS = [path for path in sorted([*lessons(), *appendices()]) if path.name[:2] in FINAL]
FAMILY = ROOT / "docs" / "family.md"
#: Longest paragraph, in words and in sentences.
WORDS, SENTENCES = 90, 5

#: What an acronym stands for; where it first stands in a lesson, this must stand before it or beside it.
EXPANSIONS = {
    "STS": "semantic textual similarity",
    "NLI": "natural language inference",
    "EOL": "explicit one-word limitation",
    "CSE": "contrastive sentence embedding",
    "SGPT": "GPT sentence embeddings?",
    "GRIT": "generative representational instruction tuning",
    "MNTP": "masked next[- ]token prediction",
    "LoRA": "low-rank adaptation",
    "nDCG": "normali[sz]ed discounted cumulative gain",
    "GAR": "global alignment rate",
    "LAR": "local alignment rate",
    "SVD": "singular value decomposition",
    "BM25": "best[- ]match(ing)? 25",
}

#: Wordings that sound translated, hide the subject, or leave the reader to find out what was found.
FORBIDDEN = (
    r"compare the (two |three )?lines? above",
    r"made afresh",
    r"\bin company\b",
    r"\blies? to (the|this|that)\b.*\?",
    r"other people's tokens",
    r"put together of frames",
    r"who norms the last",
    r"rewarded is not learned",
    r"not yet: none",
    r"lends? (its|their) component",
    r"tells the true story",
    r"as it stands here",
    r"\bstale\b",
    r"how does this step lie",
    r"numbers? of places of the embedding",
)


def paragraphs(source: str) -> list[str]:
    """The paragraphs of a text: no headings, tables, code, formulas or quotations; every item of a list is one."""
    source = re.sub(r"```.*?```|\$\$.*?\$\$|<style.*?</style>|<!--.*?-->", "\n\n", source, flags=re.DOTALL)
    source = re.sub(r"\]\([^)]*\)", "]", source)
    source = re.sub(r"^\s*(?:[-*+]|\d+[.)])\s+", "\n\n", source, flags=re.MULTILINE)
    source = re.sub(r"<(p|li|summary|details|/p|/li|/summary|/details|br)[^>]*>", "\n\n", source)
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", source)]
    return [block for block in blocks if block and block[0] not in "#|"]


def sentences(paragraph: str) -> int:
    """How many sentences a paragraph has: a full stop inside a number, an abbreviation or brackets ends none."""
    plain = re.sub(r"\([^)]*\)|`[^`]*`|\$[^$]*\$|\b(?:e\.g|i\.e|vs|cf|Fig|al|approx|ca|St|Dr)\.", " x ", paragraph)
    return len(re.findall(r"[.!?][\"”»*_]*(?=\s+[\"“«*_]*[A-Z`$\d\[]|\s*$)", plain))


def prose(source: str) -> str:
    """A text without code, formulas and targets of links."""
    return re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)", " ", source, flags=re.DOTALL)


def markdown(path: Path) -> list[str]:
    """The texts of a notebook's cells, or of a page."""
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    return [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]


every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)


@every_text
def test_no_paragraph_is_longer_than_ninety_words_or_five_sentences(path):
    long = [
        f"{len(p.split())} words, {sentences(p)} sentences: {p[:100]} …"
        for source in markdown(path)
        for p in paragraphs(source)
        if len(p.split()) > WORDS or sentences(p) > SENTENCES
    ]
    assert not long, f"{path.name}:\n" + "\n".join(long)


@every_text
def test_no_forbidden_phrase(path):
    shown = [*markdown(path), *(output_text(cell) for cell in read(path).cells if cell.cell_type == "code")]
    found = [m[0] for text in shown for phrase in FORBIDDEN for m in re.finditer(phrase, text, re.IGNORECASE)]
    assert not found, f"{path.name}: {found}"


def too_early(texts: list[tuple[str, list[str]]]) -> list[str]:
    """Acronyms that stand in a text before what they stand for: in no cell up to there, nor in a text before it."""
    read_so_far, found = "", []
    for name, cells in texts:
        for cell in cells:
            read_so_far += "\n" + " ".join(cell.split())
            for acronym, expansion in EXPANSIONS.items():
                used = re.search(rf"(?<![\w-]){acronym}(?![a-z0-9])", prose(cell))
                if used and not re.search(expansion, read_so_far, re.IGNORECASE):
                    found.append(f"{name}: {acronym}")
    return list(dict.fromkeys(found))


def test_no_acronym_stands_before_its_expansion():
    order = [(path.name, markdown(path)) for path in TEXTS]
    if FAMILY.exists():  # to be read before lesson 02
        order.insert(next(n for n, (name, _) in enumerate(order) if name >= "02"), ("family.md", markdown(FAMILY)))
    found = too_early(order)
    assert not found, f"expand these where they first stand: {found}"


# The rules themselves -----------------------------------------------------------------------------------------------


def test_the_rules_see_what_they_are_for():
    assert too_early([("a", ["NLI data."]), ("b", ["natural language inference (NLI)"])]) == ["a: NLI"]
    assert not too_early([("a", ["Natural\nlanguage inference (NLI), `STS`"]), ("b", ["NLI-trained"])])
    assert paragraphs("# T\n\nOne.\nTwo.\n\n- three\n- four\n\n| a |\n\n```python\nx = 1\n```") == [
        "One. Two.",
        "three",
        "four",
    ]
    assert sentences('It is .5 (see e.g. B. C.). Then 3.2 times, et al. 2020. "Really?" Yes.') == 4
    assert sentences("`a. B` is code. The $x.$ ends.") == 2
    assert re.search(FORBIDDEN[0], "Compare the two lines above.", re.IGNORECASE)


def test_every_expansion_stands_in_the_glossary():
    glossary = " ".join((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split())
    lacking = [a for a, e in EXPANSIONS.items() if not re.search(e, glossary, re.IGNORECASE)]
    assert not lacking, f"docs/glossary.md does not spell out {lacking}"


def test_every_lesson_is_final_or_known_to_be_not():
    rest = {path.name[:2] for path in lessons()} - set(FINAL)
    assert rest <= {"05", "06", "07", "08"}, f"{rest} must be brought to the final form: add them to FINAL in repo.py"
    assert NOTEBOOKS.exists()
