"""Prompts: what is written around a text before it is embedded.

A prompt has a part before and a part after the text. Which of the two exist,
whether they count in the pooling, and what an instruction does to them differs
between embedders; a :class:`Prompt` holds it as data.
"""

from dataclasses import dataclass, field

from course_utils import gates

_PLACE = "{instruction}"
#: What embedders call the side of a search that is found; the first of these that one has is its ``"passage"``.
PASSAGE_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Prompt:
    """Text around the text.

    Attributes:
        prefix, suffix: written before and after the text when no instruction is given.
        instructed: the prefix when an instruction is given; contains ``{instruction}``.
            ``None`` means the embedder takes no instruction. Where the instruction is the prefix's end, a space
            keeps it from the text, unless it ends in white space itself.
        roles: ``{"query": (prefix, suffix), "passage": (prefix, suffix)}`` for embedders
            that mark the two sides of a search differently; some know further roles.
        pooled: which tokens take part in mean pooling: the text's own (False), all of them, with the prompt and the
            special ones (True), or those behind the prefix and, where there is no prefix, all (``"behind"``).
    """

    prefix: str = ""
    suffix: str = ""
    instructed: str | None = None
    roles: dict[str, tuple[str, str]] = field(default_factory=dict)
    pooled: bool | str = False

    def __post_init__(self):
        if not (isinstance(self.pooled, bool) or self.pooled == "behind"):
            raise ValueError(f"pooled must be True, False or 'behind'; got {self.pooled!r}")
        if self.instructed is not None and _PLACE not in self.instructed:
            raise ValueError(f"instructed must contain {_PLACE}, where the instruction goes; got {self.instructed!r}")

    def wrap(self, text: str, instruction: str | None = None, role: str | None = None) -> tuple[str, int, int]:
        """Return the full string and the start and end of ``text`` within it.

        An instruction that is empty or white space is none.

        Raises:
            TypeError: an instruction that is no string.
            ValueError: an instruction for an embedder that takes none, or an unknown role.
        """
        if not (role is None or isinstance(role, str) and role in ("query", "passage", *self.roles)):
            more = "".join(f", {name!r}" for name in self.roles if name not in ("query", "passage"))
            raise ValueError(f"role must be None, 'query' or 'passage'{more}; got {role!r}: give one for all texts")
        prefix, suffix = self.roles.get(role, (self.prefix, self.suffix))
        if (instruction := checked_instruction(instruction)) is not None:
            if self.instructed is None:
                raise ValueError(f"this embedder takes no instruction; got {instruction!r}: leave it out")
            if self.instructed.endswith(_PLACE) and not instruction[-1].isspace():
                instruction += " "
            prefix = self.instructed.replace(_PLACE, instruction)
        return prefix + text + suffix, len(prefix), len(prefix) + len(text)


def checked_instruction(instruction: str | None, place: str = "instruction") -> str | None:
    """An instruction in composed Unicode; None where it is None, empty or white space.

    Raises:
        TypeError: something else than a string, such as the NaN that a table holds for nothing.
        ValueError: half a character.
    """
    if instruction is None:
        return None
    if not isinstance(instruction, str):
        raise TypeError(f"{place} is {type(instruction).__name__}, not a string: {instruction!r}; write None for none")
    return gates.unicode_text(instruction, place) if instruction.strip() else None


NO_PROMPT = Prompt()

# Nothing is written, and every token counts, [CLS] and [SEP] too: what sentence-transformers does without a prompt.
EVERYTHING = Prompt(pooled=True)

# "PromptEOL": the embedding is the state that would predict the one word
# (Jiang et al. 2023, "Scaling Sentence Embeddings with Large Language Models", arXiv 2307.16645).
ONE_WORD = Prompt(
    prefix='This sentence : "',
    suffix='" means in one word:"',
    instructed='The {instruction} of this sentence : "',
)

# SGPT for search marks queries with [ ] and documents with { } (arXiv 2202.08904, section 4.1).
BRACKETS = Prompt(roles={"query": ("[", "]"), "passage": ("{", "}")}, pooled=True)

# GritLM's format (Muennighoff et al. 2024, "Generative Representational Instruction Tuning", arXiv 2402.09906).
GRIT = Prompt(prefix="<|embed|>\n", instructed="<|user|>\n{instruction}\n<|embed|>\n")

# LLM2Vec writes the instruction straight before the text (BehnamGhader et al. 2024, arXiv 2404.05961).
LLM2VEC = Prompt(instructed="{instruction}")

# What the makers of these embedders write before a text, as their files and model cards have it.
EMBEDDING_GEMMA = Prompt(
    instructed="task: {instruction} | query: ",
    roles={
        "query": ("task: search result | query: ", ""),
        "passage": ("title: none | text: ", ""),
        "STS": ("task: sentence similarity | query: ", ""),
        "Clustering": ("task: clustering | query: ", ""),
        "Classification": ("task: classification | query: ", ""),
    },
    pooled=True,
)
_QWEN3_TASK = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_EMBEDDING = Prompt(
    instructed="Instruct: {instruction}\nQuery:",
    roles={"query": (f"Instruct: {_QWEN3_TASK}\nQuery:", ""), "passage": ("", "")},
    pooled=True,
)
# E5 marks every text; "query: " where nothing is searched, say its makers (Wang et al. 2022, arXiv 2212.03533).
E5 = Prompt(prefix="query: ", roles={"query": ("query: ", ""), "passage": ("passage: ", "")}, pooled=True)
BGE = Prompt(
    roles={"query": ("Represent this sentence for searching relevant passages: ", ""), "passage": ("", "")}, pooled=True
)

# The pocket counterpart of GRIT in the markers that SmolLM2 already knows: two tokens instead of twelve.
POCKET_GRIT = Prompt(prefix="<|im_start|><|im_end|>", instructed="<|im_start|>{instruction}<|im_end|>")
