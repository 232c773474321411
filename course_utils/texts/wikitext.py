"""Wikitext: from the markup of a Wikipedia article to clean sentences.

A plain reader for the parts of the markup that occur in the course's articles.
Where something that a reader would miss cannot be turned into text (a formula, a
rare template), it leaves a mark, and the sentence with the mark is not used.
"""

import html
import re
from collections.abc import Callable, Sequence

#: Stands where something was removed that a reader would miss, such as a formula.
_HOLE = "\ufffc"
#: Templates that print a footnote, a pronunciation or a remark to the editors, but no text.
_SILENT = re.compile(
    r"(cit(e|ation)|harv|sfn|refn|efn|#tag|rp$|cn$|fact$|clarify|when$|which$|who$|where$|by whom|according to|vague"
    r"|full$|dubious|disputed|page needed|dead link|fail|better|unreliable|verify|relevance|update|weasel|ipa|respell"
    r"|anchor|flagicon|flagdeco|oclc|qualify|wayback|sic$|note$|increase|decrease|wikisource-inline|main|see also)"
)
#: Templates that show their last argument.
_LAST_ARGUMENT = frozenset(
    "lang transl nowrap small smaller nobold noitalic resize linktext angbr script big sc music keypress ill railgauge"
    " pow sup large rtl-lang unicode val nts".split()
)
#: Templates that show their first argument.
_FIRST_ARGUMENT = frozenset("nihongo tooltip abbr flag vanchor quote quotation cquote blockquote marriage".split())
_CHARACTERS = {
    "nbsp": " ", "space": " ", "spaces": " ", "thinsp": " ", "·": "·", "ndash": "–", "mdash": "—", "mdashb": "—",
    "snd": " – ", "snds": " – ", "spaced ndash": " – ", "'": "'", "'s": "'s", "' \"": "' \"", "-\"": "\"", "!": "|",
    "pipe": "|", "=": "=",
}  # fmt: skip


def _until_stable(pattern: str, replacement: str | Callable[[re.Match], str], text: str) -> str:
    """Replace from the inside out, because markup nests."""
    while (shorter := re.sub(pattern, replacement, text, flags=re.DOTALL | re.MULTILINE)) != text:
        text = shorter
    return text


def clean(markup: str) -> list[str]:
    """Turn wiki markup into plain lines: one for each paragraph or list item."""
    text = re.sub(r"<!--.*?-->", "", markup, flags=re.DOTALL)
    text = re.sub(r"<ref[^<>]*/>|<ref\b.*?</ref\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"<(math|source|timeline|score)\b.*?</\1>", _HOLE, text, flags=re.DOTALL)
    text = re.sub(r"<(gallery|imagemap)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = _until_stable(r"\{\{([^{}]*)\}\}", _template, text)
    text = _until_stable(r"^[\s:*]*\{\|(?:(?!^[\s:*]*\{\|).)*?^\s*\|\}", "\n", text)
    text = re.sub(r"\[(?:\w+:)?//[^\s\]]*\s*([^\]]*)\]", r"\1", text)
    text = _until_stable(r"\[\[((?:(?!\[\[|\]\]).)*)\]\]", _link, text)
    text = re.sub(r"(?<=[\w)'])<sup>\s*([-−–+\d]+)\s*</sup>", r"^\1", text)
    text = re.sub(r"</?(br|p|li|ul|ol|blockquote|poem|div|center|hr)\b[^<>]*>", "\v", text, flags=re.IGNORECASE)
    text = re.sub(r"</?[a-zA-Z][^<>\n]*>", "", text)
    text = re.sub(r"(?<=\w)'''s\b", "'s", text)
    text = html.unescape(text)
    text = re.sub(r"'{2,}|__[A-Z]+__|[\[\]]", "", text)
    # A single line break does not end a paragraph, unless a list item or a table row is on either side.
    text = re.sub(r"^([^\s*#:;|!=].*)\n(?=[^\s*#:;|!=])", r"\1 ", text, flags=re.MULTILINE)
    text = re.sub(r"\n(?=[a-z])", " ", text)
    return [line for line in map(_clean_line, re.split(r"[\n\v]", text)) if line]


def _template(match: re.Match) -> str:
    """What a template (without other templates in it) shows in the running text."""
    name, *arguments = (part.strip() for part in match[1].split("|"))
    name = name.lower().replace("_", " ")
    shown = [re.sub(r"^(1|2|text)\s*=", "", a) for a in arguments]
    shown = [a for a in shown if not re.match(r"[\w -]+=", a)]
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    if _SILENT.match(name):
        return ""
    if shown and name in ("convert", "cvt"):
        return _measure(shown)
    if shown and name == "as of":
        return ("as of " if any(a.startswith("lc=") for a in arguments) else "As of ") + shown[0]
    if shown and name in ("uss", "hms"):
        return f"{name.upper()} {shown[0]}"
    if name == "frac" and len(shown) <= 2:
        return "/".join(shown if len(shown) == 2 else ["1", *shown])
    if name == "chem":
        return "".join(shown)
    if name == "simplenuclide2" and len(shown) == 2:
        return "-".join(shown)
    if shown and name in _FIRST_ARGUMENT:
        return shown[0]
    if len(shown) == len(arguments) > 0 and name in _LAST_ARGUMENT or shown and name.startswith("lang"):
        return shown[-1]
    # At the start of a line it is a box beside the text; inside a line the sentence has lost a part.
    return "" if match.start() == 0 or match.string[match.start() - 1] == "\n" else _HOLE


_UNITS = {"sqmi": "square miles", "km2": "square kilometres", "F": "°F", "C": "°C", "MT": "tonnes", "LT": "long tons"}


def _measure(shown: Sequence[str]) -> str:
    """``500|km|mi`` -> ``500 km``; ``5|-|10|km`` -> ``5–10 km``; a hole when the unit is a rare code."""
    for i, word in enumerate(shown):
        if re.match(r"[\d.,−-]+$|to$|and$|or$|–$|by$|x$|\+/-$", word):
            continue
        unit = _UNITS.get(word, word)
        if word in _UNITS or re.match(r"°?[A-Za-z]{1,4}[23]?(/[smhd])?$|acre$", word):
            return re.sub(r" [-–] ", "–", " ".join([*shown[:i], unit]))
        break
    return _HOLE


def _link(match: re.Match) -> str:
    target, *labels = match[1].split("|")
    namespace = target.strip().lower().partition(":")[0] if ":" in target else ""
    if namespace in ("file", "image", "category", "media") or (
        not labels and re.match(r"[a-z]{2,3}(-\w+)?$", namespace)
    ):
        return ""
    return (labels[-1] if labels and labels[-1].strip() else target).lstrip(":")


def _clean_line(line: str) -> str:
    """Tidy one line; an empty string when nothing readable is in it."""
    if re.match(r"\s*(\||!|=)", line):
        return ""  # rest of a table or a subheading
    line = re.sub(r"^[\s*#:;" + _HOLE + "]+", "", line)
    line = re.sub(r"[\u200b-\u200f\u202a-\u202e\ufeff\xad]", "", line)
    line = re.sub(r"\s*\([^()]*" + _HOLE + r"[^()]*\)", "", line)
    line = re.sub(r"\((\s|[,;:](?=[\s,;:)])|[.–-]\s)+", "(", line)
    line = re.sub(r"[\s,;:]+\)", ")", line)
    line = re.sub(r"\s*\(\W*\)", "", line)
    line = re.sub(r"[“”]", '"', line)
    line = re.sub(r"[‘’]", "'", line)
    line = re.sub(r"\s+([,;:.!?])(?=\s|$)", r"\1", line)
    line = re.sub(r",(?:\s*,)+", ",", line)
    line = re.sub(r",(?=\.)", "", line)
    line = re.sub(r"(?<=[a-z]{3}\.)(?<!www\.)(?=[A-Z][a-z])", " ", line)
    return " ".join(line.split())


#: Abbreviations that a sentence does not end with.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sts rev fr gen col lt capt cpt maj sgt adm gov sen rep hon pres mt vs cf e.g i.e approx cit"
    " viz resp illus est ie eg incl hdt".split()
)
#: Words that are abbreviations when a number follows.
_BEFORE_NUMBER = frozenset(
    "no nos vol vols p pp ed fig figs c ca v art sect ch eq b d fl r jan feb mar apr jun jul aug sep sept oct nov"
    " dec".split()
)
#: Abbreviations that may end a sentence; as with initials and ``U.S.``, the word that follows decides.
_OPEN_ABBREVIATIONS = frozenset("al etc inc ltd co corp jr sr bros dept ph.d".split())
_STARTERS = frozenset(
    "The In It He She They This These That Those An At On By As For From After Before During However But And If When"
    " While Although There Its His Her Their Some Many Most Other With Since Under To We Such One Both Also".split()
)


def split_sentences(text: str) -> list[str]:
    """Split a paragraph at sentence ends; ``U.S.``, ``e.g.``, ``Dr.``, initials and ``c. 1850`` do not end one."""
    sentences, start = [], 0
    for end in re.finditer(r"""[.!?]["')]*\s+(?=["'(]*[A-Z0-9À-Þ])""", text):
        word = re.split(r"[\s(\"—–]", text[start : end.start()])[-1]
        following = re.match(r"[\"'(]*(\w+)", text[end.end() :])
        if text[end.start()] == "." and not _ends_sentence(word, following[1] if following else ""):
            continue
        sentences.append(text[start : end.end()].strip())
        start = end.end()
    return [s for s in [*sentences, text[start:].strip()] if s]


def _ends_sentence(word: str, following: str) -> bool:
    """Whether the full stop after ``word`` ends a sentence, given the word that follows it."""
    if word.lower() in _ABBREVIATIONS or word.lower() in _BEFORE_NUMBER and following[:1].isdigit():
        return False
    if word.lower() in _OPEN_ABBREVIATIONS or re.fullmatch(r"[A-Z]|(\w\.)+\w", word):
        return following in _STARTERS
    return True


def is_complete(sentence: str) -> bool:
    """Whether a piece of cleaned text is a whole sentence with nothing cut out of it."""
    return (
        re.match(r"[\"'(]*[A-Z0-9À-Þ]", sentence) is not None
        and re.search(r"[.!?][\"')]*$", sentence) is not None
        and re.search(_HOLE + r"|https?:|[{}|<>\\]|={2}|\"\"|\bthumb\b|^\W*\(", sentence) is None
        and sentence.count("(") == sentence.count(")")
        and sum(c.isascii() and c.isalpha() or c == " " for c in sentence) >= 0.7 * len(sentence)
    )
