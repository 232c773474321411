"""Registry: every embedder of the course and of the paper, as data.

An entry says which backbone to load, which adapter to put on it, what to write
around the text, which tokens may see which, how to pool, and whose output
layer decodes the result. Changing one name in a notebook changes the model.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from course_utils import gates
from course_utils.models import folders, layout, prompts
from course_utils.models.pooling import POOLINGS
from course_utils.models.prompts import NO_PROMPT, Prompt

#: Folder of the adapters that ship with the course.
ADAPTERS = Path(__file__).resolve().parents[2] / "data" / "adapters"

#: Backbones that come from a Python package (see :mod:`course_utils.models.store`), by name.
STORED = ("smollm2", "gemma3")
#: Text encoders that come from a package in the same way.
STORED_ENCODERS = ("minilm",)


@dataclass(frozen=True)
class EmbedderSpec:
    """How one embedder turns text into an embedding.

    Attributes:
        name: its name in the registry.
        backbone: a stored backbone's name, a hub id, or a local folder; a path is kept as an absolute one.
        pooling: key of :data:`course_utils.models.pooling.POOLINGS`.
        prompt: what is written around the text.
        adapters: LoRA adapters put on the backbone, in order: names of folders below
            ``data/adapters``, hub ids, or local folders (a :class:`~pathlib.Path` is always one).
        bidirectional: whether every token sees every other. An encoder's always do, and those of a decoder whose
            configuration says so (:func:`course_utils.models.heads.sees_all`); all others are causal otherwise.
        normalize: whether the embedder itself scales embeddings to unit length.
        origin: name of the registry entry of the untrained language model ``f``.
        output_layer: where the unembedding matrix ``E_g`` comes from, if not the backbone.
        dense: folders of the layers behind the pooling, in order, as they count from the backbone's folder
            (:func:`course_utils.models.heads.dense`). What is decoded is the state before them.
        max_tokens: how many tokens of a text it reads; None for as many as the call allows.
        lowercase: whether its tokenizer is told to write all letters small.
        stands_for: the paper's embedder that a pocket embedder stands for.
        remote_code: whether its published form needs code from its repository.
        note: one sentence for the reader.
    """

    name: str
    backbone: str
    pooling: str = "mean"
    prompt: Prompt = NO_PROMPT
    adapters: tuple[str, ...] = ()
    bidirectional: bool = False
    normalize: bool = False
    origin: str | None = None
    output_layer: str | None = None
    dense: tuple[str, ...] = ()
    max_tokens: int | None = None
    lowercase: bool = False
    stands_for: str | None = None
    remote_code: bool = False
    note: str = ""

    def __post_init__(self):
        if not isinstance(self.pooling, str) or self.pooling not in POOLINGS:
            raise ValueError(f"{self.name}: unknown pooling {self.pooling!r}; choose from {sorted(POOLINGS)}")
        if not isinstance(self.prompt, Prompt):
            raise TypeError(f"{self.name}: prompt must be a Prompt of course_utils.models.prompts; got {self.prompt!r}")
        if isinstance(self.adapters, str | Path):
            raise ValueError(f"{self.name}: adapters is a tuple; write adapters=({str(self.adapters)!r},)")
        if not isinstance(self.dense, tuple) or not all(isinstance(name, str) for name in self.dense):
            raise TypeError(f"{self.name}: dense must be a tuple of folder names; got {self.dense!r}")
        if self.max_tokens is not None:
            gates.whole(self.max_tokens, f"{self.name}: max_tokens")
        if not isinstance(self.adapters, tuple | list):
            raise TypeError(f"{self.name}: adapters must be a tuple of names and folders; got {self.adapters!r}")
        named = tuple(folders.place(a, f"{self.name}: adapters[{i}]") for i, a in enumerate(self.adapters))
        if len(set(named)) < len(named):
            raise ValueError(f"{self.name}: an adapter stands twice in {named} and would be added twice; name it once")
        object.__setattr__(self, "adapters", named)
        object.__setattr__(self, "backbone", folders.place(self.backbone, f"{self.name}: backbone"))
        if self.output_layer is not None:
            layer = folders.place(self.output_layer, f"{self.name}: output_layer")
            object.__setattr__(self, "output_layer", layer)

    def adapter_paths(self) -> list[Path | str]:
        """Folders of the shipped adapters, hub ids as they are."""
        return [ADAPTERS / a if _is_shipped_name(a) else a for a in self.adapters]

    def missing_adapters(self) -> list[str]:
        """Shipped adapters that this entry needs and ``data/adapters`` does not hold."""
        return [a for a in self.adapters if _is_shipped_name(a) and not _is_there(a)]


def _is_there(adapter: str) -> bool:
    return folders.is_file(ADAPTERS / adapter / "adapter_config.json")


def _is_shipped_name(adapter: str) -> bool:
    return "/" not in adapter and "\\" not in adapter


_ORIGINS = [
    EmbedderSpec("smollm2", "smollm2", "weighted_mean", note="SmolLM2-135M-Instruct as it is, position-weighted mean."),
    EmbedderSpec("gemma3", "gemma3", "weighted_mean", note="Gemma 3 270M as it is, position-weighted mean."),
    EmbedderSpec("smollm2-mean", "smollm2", "mean", origin="smollm2", note="The origin under plain mean pooling."),
    EmbedderSpec("smollm2-last", "smollm2", "last_token", origin="smollm2", note="The origin's next-token state."),
    EmbedderSpec("gemma3-last", "gemma3", "last_token", origin="gemma3", note="The origin's next-token state."),
]

_POCKET = [
    EmbedderSpec(
        "smol-sgpt-nli",
        "smollm2",
        "weighted_mean",
        adapters=("smol-sgpt-nli",),
        origin="smollm2",
        stands_for="SGPT-nli",
        note="Contrastive training on NLI triples.",
    ),
    EmbedderSpec(
        "smol-sgpt-qa",
        "smollm2",
        "weighted_mean",
        prompts.BRACKETS,
        adapters=("smol-sgpt-qa",),
        origin="smollm2",
        stands_for="SGPT-msmarco",
        note="Contrastive training on question-passage pairs, with brackets.",
    ),
    EmbedderSpec(
        "smol-eol",
        "smollm2",
        "last_token",
        prompts.ONE_WORD,
        origin="smollm2-last",
        stands_for="OPT-EOL",
        note="Prompt only: nothing is trained.",
    ),
    EmbedderSpec(
        "smol-eol-cse",
        "smollm2",
        "last_token",
        prompts.ONE_WORD,
        adapters=("smol-eol-cse",),
        origin="smollm2-last",
        stands_for="OPT-EOL+CSE",
        note="The one-word prompt and contrastive training on NLI triples.",
    ),
    EmbedderSpec(
        "gemma-eol",
        "gemma3",
        "last_token",
        prompts.ONE_WORD,
        origin="gemma3-last",
        stands_for="LLaMA-EOL",
        note="Prompt only, on the second backbone.",
    ),
    EmbedderSpec(
        "gemma-eol-cse",
        "gemma3",
        "last_token",
        prompts.ONE_WORD,
        adapters=("gemma-eol-cse",),
        origin="gemma3-last",
        stands_for="LLaMA-EOL+CSE",
        note="Prompt and contrastive training, on the second backbone.",
    ),
    EmbedderSpec(
        "smol-grit",
        "smollm2",
        "mean",
        prompts.POCKET_GRIT,
        adapters=("smol-grit",),
        bidirectional=True,
        normalize=True,
        origin="smollm2-mean",
        stands_for="GritLM",
        note="Bidirectional and instructed; trained to embed and to generate.",
    ),
    EmbedderSpec(
        "smol-llm2vec",
        "smollm2",
        "mean",
        prompts.LLM2VEC,
        adapters=("smol-llm2vec",),
        bidirectional=True,
        origin="smollm2-mean",
        stands_for="LLM2Vec",
        note="Bidirectional; masked next-token prediction, then contrastive.",
    ),
]

# Not of the paper's eight: the same training with one ingredient changed.
_VARIANTS = [
    EmbedderSpec(
        "smol-eol-cse-negation",
        "smollm2",
        "last_token",
        prompts.ONE_WORD,
        adapters=("smol-eol-cse-negation",),
        origin="smollm2-last",
        note="As smol-eol-cse, with negations, antonyms and swapped roles among the hard negatives.",
    ),
]

_NEO, _OPT, _MISTRAL = "EleutherAI/gpt-neo-1.3B", "facebook/opt-1.3b", "mistralai/Mistral-7B-Instruct-v0.2"
_LLAMA = "llama-7b"  # LLaMA-1 is gated: give the folder of your own copy, load("LLaMA", backbone=FOLDER)
_MNTP = "McGill-NLP/LLM2Vec-Mistral-7B-Instruct-v2-mntp"

_PAPER = [
    EmbedderSpec("GPT-Neo", _NEO, "weighted_mean"),
    EmbedderSpec("OPT", _OPT, "last_token"),
    EmbedderSpec("LLaMA", _LLAMA, "last_token", note="Gated: replace the backbone by the folder of your copy."),
    EmbedderSpec("Mistral", _MISTRAL, "mean"),
    EmbedderSpec(
        "SGPT-nli",
        "Muennighoff/SGPT-1.3B-weightedmean-nli",
        "weighted_mean",
        origin="GPT-Neo",
        output_layer=_NEO,
    ),
    EmbedderSpec(
        "SGPT-msmarco",
        "Muennighoff/SGPT-1.3B-weightedmean-msmarco-specb-bitfit",
        "weighted_mean",
        prompts.BRACKETS,
        origin="GPT-Neo",
        output_layer=_NEO,
    ),
    EmbedderSpec("OPT-EOL", _OPT, "last_token", prompts.ONE_WORD, origin="OPT"),
    EmbedderSpec(
        "OPT-EOL+CSE",
        _OPT,
        "last_token",
        prompts.ONE_WORD,
        adapters=("royokong/prompteol-opt-1.3b",),
        origin="OPT",
    ),
    EmbedderSpec("LLaMA-EOL", _LLAMA, "last_token", prompts.ONE_WORD, origin="LLaMA"),
    EmbedderSpec(
        "LLaMA-EOL+CSE",
        _LLAMA,
        "last_token",
        prompts.ONE_WORD,
        adapters=("royokong/prompteol-llama-7b",),
        origin="LLaMA",
    ),
    EmbedderSpec(
        "GritLM",
        "GritLM/GritLM-7B",
        "mean",
        prompts.GRIT,
        bidirectional=True,
        normalize=True,
        origin="Mistral",
        note="Loaded with the library's own Mistral class; its repository's code is not needed.",
    ),
    EmbedderSpec(
        "LLM2Vec",
        _MISTRAL,
        "mean",
        prompts.LLM2VEC,
        adapters=(_MNTP, _MNTP + "-supervised"),
        bidirectional=True,
        origin="Mistral",
        output_layer=_MISTRAL,
        note="The adapters are put on the origin itself; their repository's code is not needed.",
    ),
]

_GUESTS = [
    EmbedderSpec(
        "minilm",
        "minilm",
        prompt=prompts.EVERYTHING,
        bidirectional=True,
        normalize=True,
        max_tokens=256,
        note="all-MiniLM-L6-v2, an encoder trained on a billion pairs; it has no head, its input table decodes.",
    ),
    EmbedderSpec(
        "EmbeddingGemma-300M",
        "google/embeddinggemma-300m",
        prompt=prompts.EMBEDDING_GEMMA,
        bidirectional=True,
        normalize=True,
        dense=("2_Dense", "3_Dense"),
        max_tokens=2048,
        note="Gemma 3's layers, every token seeing every other; its output layer is its input table. Gated on the hub.",
    ),
    EmbedderSpec("Qwen3-0.6B-Base", "Qwen/Qwen3-0.6B-Base", "last_token", note="The origin of Qwen3-Embedding-0.6B."),
    EmbedderSpec(
        "Qwen3-Embedding-0.6B",
        "Qwen/Qwen3-Embedding-0.6B",
        "last_token",
        prompts.QWEN3_EMBEDDING,
        normalize=True,
        origin="Qwen3-0.6B-Base",
        note="Causal; a closing token, at which its tokenizer ends every text, carries the embedding.",
    ),
    EmbedderSpec("BERT-base", "google-bert/bert-base-uncased", "cls", prompts.EVERYTHING, bidirectional=True),
    EmbedderSpec(
        "SimCSE",
        "princeton-nlp/sup-simcse-bert-base-uncased",
        "cls",
        prompts.EVERYTHING,
        bidirectional=True,
        origin="BERT-base",
        output_layer="google-bert/bert-base-uncased",
        note="The [CLS] state before the pooler that its makers put behind it; the head of BERT decodes.",
    ),
    *(
        EmbedderSpec(
            name, f"intfloat/{hub}", prompt=prompts.E5, bidirectional=True, normalize=True, max_tokens=512, note=note
        )
        for name, hub, note in (
            ("e5-small", "e5-small-v2", "BERT's layers; every text is marked as query or passage."),
            ("multilingual-e5-small", "multilingual-e5-small", "BERT's layers over the tokens of XLM-R."),
        )
    ),
    EmbedderSpec(
        "bge-small",
        "BAAI/bge-small-en-v1.5",
        "cls",
        prompts.BGE,
        bidirectional=True,
        normalize=True,
        max_tokens=512,
        note="BERT's layers; queries carry an instruction, passages nothing.",
    ),
]

_ENTRIES = {spec.name: spec for spec in _ORIGINS + _POCKET + _VARIANTS + _PAPER + _GUESTS}

#: Names of the eight pocket embedders, in the order of the paper's eight.
POCKET = tuple(spec.name for spec in _POCKET)
#: Names of pocket embedders with one ingredient of their training changed (lesson 05); they ship as logs only.
VARIANTS = tuple(spec.name for spec in _VARIANTS)
#: Names of the untrained origins of the pocket embedders.
ORIGINS = ("smollm2", "gemma3")
#: Names of the paper's eight embedders and of their origins.
PAPER = tuple(spec.name for spec in _PAPER if spec.origin)
PAPER_ORIGINS = tuple(spec.name for spec in _PAPER if not spec.origin)
#: Embedders that nobody here trained, and the origins of two of them (lesson 10). All but the first need a model hub.
GUESTS = tuple(spec.name for spec in _GUESTS)


def get(name: str | Path, **changes) -> EmbedderSpec:
    """Return the entry called ``name``, with ``changes`` to its fields.

    A hub id (``owner/name``) or a local folder that is no entry becomes a plain
    spec: mean pooling, no prompt, unless ``changes`` says otherwise. A local folder
    in the layout of sentence-transformers says itself what it is
    (:mod:`course_utils.models.layout`).

    Raises:
        TypeError: ``name`` or an entry of ``changes`` is of another kind.
        ValueError: no entry, hub id or folder of that name, or an unknown field; the message lists what there is.
        FileNotFoundError: a path at which there is no folder; further ones as :func:`layout.read`.
    """
    known = [field.name for field in fields(EmbedderSpec)]
    for key in changes:
        if key not in known:
            raise ValueError(f"an embedder has no field {key!r}; choose from {', '.join(known)}")
    if isinstance(name, str) and name in _ENTRIES:
        return replace(_ENTRIES[name], **changes)
    text = folders.place(name, "embedder")
    if "/" not in text and "\\" not in text and not folders.is_folder(Path(text)):
        raise ValueError(f"no embedder called {text!r}. Known names: {', '.join(_ENTRIES)}; or give owner/name or a "
                         "folder")  # fmt: skip
    found = folders.located(text, "embedder")
    own = layout.read(found) if isinstance(found, Path) and layout.holds(found) else {}
    return EmbedderSpec(**{"name": text, "backbone": text, **own, **changes})


def available(names: tuple[str, ...] = POCKET) -> list[str]:
    """Those of ``names`` whose shipped adapters are all present."""
    return [name for name in names if not get(name).missing_adapters()]
