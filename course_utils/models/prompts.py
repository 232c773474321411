"""Prompts: what is written around a text before it is embedded.

A prompt has a part before and a part after the text. Which of the two exist,
whether they count in the pooling, and what an instruction does to them differs
between embedders; a :class:`Prompt` holds it as data.
"""

from dataclasses import dataclass, field

from course_utils import gates

_PLACE = "{instruction}"


@dataclass(frozen=True)
class Prompt:
    """Text around the text.

    Attributes:
        prefix, suffix: written before and after the text when no instruction is given.
        instructed: the prefix when an instruction is given; contains ``{instruction}``.
            ``None`` means the embedder takes no instruction. Where the instruction is the prefix's end, a space
            keeps it from the text, unless it ends in white space itself.
        roles: ``{"query": (prefix, suffix), "passage": (prefix, suffix)}`` for embedders
            that mark the two sides of a search differently.
        pooled: whether the prompt's own tokens take part in mean pooling.
    """

    prefix: str = ""
    suffix: str = ""
    instructed: str | None = None
    roles: dict[str, tuple[str, str]] = field(default_factory=dict)
    pooled: bool = False

    def __post_init__(self):
        if self.instructed is not None and _PLACE not in self.instructed:
            raise ValueError(f"instructed must contain {_PLACE}, where the instruction goes; got {self.instructed!r}")

    def wrap(self, text: str, instruction: str | None = None, role: str | None = None) -> tuple[str, int, int]:
        """Return the full string and the start and end of ``text`` within it.

        An instruction that is empty or white space is none.

        Raises:
            TypeError: an instruction that is no string.
            ValueError: an instruction for an embedder that takes none, or an unknown role.
        """
        if not (role is None or isinstance(role, str) and role in ("query", "passage")):
            raise ValueError(f"role must be None, 'query' or 'passage'; got {role!r}: give one for all texts")
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

# The pocket counterpart of GRIT in the markers that SmolLM2 already knows: two tokens instead of twelve.
POCKET_GRIT = Prompt(prefix="<|im_start|><|im_end|>", instructed="<|im_start|>{instruction}<|im_end|>")
