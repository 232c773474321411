"""Prompts: what is written around a text before it is embedded.

A prompt has a part before and a part after the text. Which of the two exist,
whether they count in the pooling, and what an instruction does to them differs
between embedders; a :class:`Prompt` holds it as data.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """Text around the text.

    Attributes:
        prefix, suffix: written before and after the text when no instruction is given.
        instructed: the prefix when an instruction is given; contains ``{instruction}``.
            ``None`` means the embedder takes no instruction.
        roles: ``{"query": (prefix, suffix), "passage": (prefix, suffix)}`` for embedders
            that mark the two sides of a search differently.
        pooled: whether the prompt's own tokens take part in mean pooling.
    """

    prefix: str = ""
    suffix: str = ""
    instructed: str | None = None
    roles: dict[str, tuple[str, str]] = field(default_factory=dict)
    pooled: bool = False

    def wrap(self, text: str, instruction: str | None = None, role: str | None = None) -> tuple[str, int, int]:
        """Return the full string and the start and end of ``text`` within it.

        Raises:
            ValueError: an instruction for an embedder that takes none, or an unknown role.
        """
        if role not in (None, "query", "passage"):
            raise ValueError(f"role must be None, 'query' or 'passage'; got {role!r}")
        prefix, suffix = self.roles.get(role, (self.prefix, self.suffix))
        if instruction is not None:
            if self.instructed is None:
                raise ValueError(f"this embedder takes no instruction; got {instruction!r}")
            prefix = self.instructed.format(instruction=instruction)
        return prefix + text + suffix, len(prefix), len(prefix) + len(text)


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
