"""Embedder: text in, embeddings out.

An :class:`Embedder` is a registry entry at work on a :class:`~course_utils.models.backbone.Backbone`, which is
one language model in memory.

The path of a text is short enough to keep in mind: wrap it in the prompt,
tokenise, run the transformer, pool. :meth:`Embedder.prepare` does the first
two steps, :meth:`Embedder.forward` the last two, :meth:`Embedder.encode` loops
over batches. Some embedders put layers behind the pooling (Dense, unit length);
:meth:`Embedder.pooled` gives the state before them, which is the one to decode.
"""

import functools
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from course_utils import gates, installed_alone
from course_utils.models import folders, heads, layout, registry
from course_utils.models.backbone import Backbone
from course_utils.models.batches import Encoding, attention, length_batches, padded
from course_utils.models.pooling import POOLINGS
from course_utils.models.prompts import checked_instruction
from course_utils.models.registry import EmbedderSpec

#: Long enough for every text of the course; raise it for longer documents.
MAX_TOKENS = 512
#: Tokens per batch. Few enough that a layer's intermediate values stay in the processor's cache
#: (benchmarks/encode.py --batch-tokens compares sizes); on a GPU pass more.
BATCH_TOKENS = 512


class Embedder:
    """A registry entry at work: ``encode`` turns texts into embeddings.

    Attributes:
        spec: the registry entry.
        backbone: the language model, possibly shared with other embedders.

    Raises:
        FileNotFoundError: an adapter or an output layer that is not there.
        ValueError: an adapter that does not fit, an output layer of another width, or none at all.
    """

    def __init__(self, spec: EmbedderSpec, backbone: Backbone, attach: bool = True):
        self.spec, self.backbone = spec, backbone
        self._attach = attach
        self._head = None
        self._dense = _dense(spec, backbone)
        if not attach:  # in training the adapter is not a file yet: whatever is on the backbone is used
            return
        if missing := spec.missing_adapters():
            raise FileNotFoundError(_no_adapter(spec, missing))
        if spec.output_layer:
            self._head = _output_layer(spec, backbone)
        for adapter in spec.adapter_paths():
            backbone.attach(adapter)  # a damaged one is refused here rather than at the first text
        _ = self.unembedding  # and so is a model that has none

    @property
    def unembedding(self) -> torch.Tensor:
        """The matrix ``E_g`` that decodes its embeddings, ``[V, d]``.

        That of the registry entry's ``output_layer`` if it names one; otherwise the backbone's, as the adapters
        leave it.
        """
        if self._head is not None:
            return self._head.weight
        return self.backbone.unembedding_with(self.spec.adapter_paths()) if self._attach else self.backbone.unembedding

    @property
    def decodes(self) -> str:
        """Which matrix :attr:`unembedding` is, in words."""
        if self._head is not None and self.spec.output_layer != self.spec.backbone:
            return f"{self._head.said} of {self.spec.output_layer}"
        return self.backbone.head.said

    def __repr__(self) -> str:
        size = f"d={self.backbone.width}, V={self.unembedding.shape[0]}"
        if not (self.backbone.encoder or self.spec.dense):
            return f"Embedder({self.spec.name!r}, {size})"
        n, dense = len(self._dense), "a Dense layer" if len(self._dense) == 1 else f"{len(self._dense)} Dense layers"
        behind = " and ".join([dense] * bool(n) + ["Normalize"] * self.spec.normalize)
        state = "the pooled state" + (f" before {behind}" if behind else "")
        return f"Embedder({self.spec.name!r}, {size}, decodes {state} with its {self.decodes})"

    @property
    def tokenizer(self):
        return self.backbone.tokenizer

    def encode(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str | None] | None = None,
        role: str | None = None,
        *,
        batch_tokens: int = BATCH_TOKENS,
        max_tokens: int = MAX_TOKENS,
        padding_side: str = "right",
        progress: bool | None = None,
    ) -> np.ndarray:
        """Embed ``texts``; the result does not depend on how they are batched.

        Args:
            texts: one string per text; surrounding white space is dropped.
            instruction: what the embedding should be about, where the embedder takes one;
                one for all texts, or one per text. None, an empty one and white space are none.
            role: ``"query"`` or ``"passage"`` for embedders that mark the two.
            batch_tokens: padded tokens per batch.
            max_tokens: longer texts are cut (never the prompt), with a warning that counts them; so are texts
                that are longer than a model with learned positions can take, or than its makers allow
                (``spec.max_tokens``), whatever ``max_tokens`` is.
            padding_side: ``"right"`` or ``"left"``; only a test needs to change it.
            progress: show a progress bar; by default from 200 texts on.

        Returns:
            float32 array ``[n_texts, d]``; of another width where a Dense layer behind the pooling changes it.

        Raises:
            TypeError, ValueError: no list of strings, an empty text, one of which the tokenizer makes nothing, or
                one with a token that the model has no row for (with its position).
        """
        encodings = self.prepare(texts, instruction, role, max_tokens)
        return self._batches(encodings, batch_tokens, padding_side, progress, finished=True)

    def pooled(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str | None] | None = None,
        role: str | None = None,
        *,
        batch_tokens: int = BATCH_TOKENS,
        max_tokens: int = MAX_TOKENS,
        padding_side: str = "right",
        progress: bool | None = None,
    ) -> np.ndarray:
        """The pooled states before Dense layers and scaling: what is decoded. float32 ``[n_texts, d]``.

        Arguments and errors as in :meth:`encode`. Multiply ``readout(pooled(texts))`` with :attr:`unembedding`.
        """
        encodings = self.prepare(texts, instruction, role, max_tokens)
        return self._batches(encodings, batch_tokens, padding_side, progress, finished=False)

    def readout(self, h: np.ndarray) -> np.ndarray:
        """What is multiplied with :attr:`unembedding`: float32 ``[n, d]`` to ``[n, d']``.

        For an output layer or an input table these are the hidden states themselves. The head of a masked language
        model first sends them through its transform; a bias is one more value, a 1.

        Raises:
            ValueError: ``h`` is no matrix of floating-point numbers, or of another width than the hidden states.
        """
        h = gates.matrix(h, "h")
        if h.shape[1] != self.backbone.width:
            raise ValueError(f"h must be [n, {self.backbone.width}], as {self.spec.name}'s pooled(texts) gives it; "
                             f"got {h.shape}")  # fmt: skip
        head = self._head or self.backbone.head
        if head.transform is None and not head.bias:
            return h
        weight = head.weight
        with torch.inference_mode():
            return head.readout(torch.from_numpy(h.copy()).to(weight)).float().cpu().numpy()

    def _batches(
        self, encodings: list[Encoding], batch_tokens: int, padding_side: str, progress: bool | None, finished: bool
    ) -> np.ndarray:
        """Many texts through transformer and pooling and, where ``finished``, what stands behind them."""
        batch_tokens = gates.whole(batch_tokens, "batch_tokens")
        width = len(self._dense[-1].weight) if finished and self._dense else self.backbone.width
        result = np.empty((len(encodings), width), dtype=np.float32)
        show = len(encodings) >= 200 if progress is None else progress
        with (
            tqdm(total=len(encodings), desc=self.spec.name, disable=not show, leave=False) as bar,
            self._own_adapters(),
            torch.inference_mode(),
        ):
            for rows in length_batches([len(e.ids) for e in encodings], batch_tokens):
                batch = [encodings[i] for i in rows]
                result[rows] = self.forward(batch, padding_side, finished=finished).float().cpu().numpy()
                bar.update(len(rows))
        return result

    def prepare(
        self,
        texts: Sequence[str],
        instruction: str | Sequence[str | None] | None = None,
        role: str | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> list[Encoding]:
        """Wrap texts in the prompt and tokenise them. Arguments and errors as in :meth:`encode`."""
        texts = [text.strip() for text in gates.texts(texts)]
        instructions = _one_each(instruction, len(texts))
        most = [n for n in (self.backbone.positions.count, self.spec.max_tokens) if n]
        limit = min([gates.whole(max_tokens, "max_tokens"), *most])
        wrapped = [self.spec.prompt.wrap(t, i, role) for t, i in zip(texts, instructions, strict=True)]
        encodings = self._tokenise(wrapped)
        for i, encoding in enumerate(encodings):
            if not any(encoding.pool):
                raise ValueError(f"texts[{i}]: the tokenizer makes no token of {texts[i][:40]!r}; leave this text out")
        too_long = [i for i, e in enumerate(encodings) if len(e.ids) > limit]
        for i in too_long:
            encodings[i] = self._shortened(f"texts[{i}]", texts[i], instructions[i], role, limit)
        if too_long:
            end = "its makers allow" if limit == self.spec.max_tokens else "the model has"
            remedy = "raise max_tokens to keep them whole" if limit == max_tokens else f"{end} no more positions"
            warnings.warn(
                f"{len(too_long)} of {len(texts)} texts were cut to {limit} tokens (first at position {too_long[0]}); "
                f"{remedy}",
                stacklevel=3,
            )
        self._check_ids(encodings)
        return encodings

    def forward(
        self,
        encodings: Sequence[Encoding],
        padding_side: str = "right",
        *,
        pooled: bool = True,
        finished: bool = True,
    ) -> torch.Tensor:
        """One batch through transformer and pooling; differentiable.

        Returns ``[n, d]``; with ``finished=False`` before Dense layers and scaling to unit length, and with
        ``pooled=False`` every token's final state ``[n, longest, d]``.
        """
        ids, real, pool = padded(encodings, padding_side, self.backbone.device)
        positions = (real.cumsum(dim=1) - 1).clamp(min=0) + self.backbone.positions.first
        with self._own_adapters():
            hidden = self.backbone.states(ids, attention(real, self.spec.bidirectional, self.backbone), positions)
        if not pooled:
            return hidden
        embeddings = POOLINGS[self.spec.pooling](hidden.float(), pool)
        if not finished:
            return embeddings
        for layer in self._dense:
            embeddings = layer(embeddings)
        return torch.nn.functional.normalize(embeddings, dim=1) if self.spec.normalize else embeddings

    def _own_adapters(self):
        return self.backbone.using(self.spec.adapter_paths()) if self._attach else nullcontext()

    def _tokenise(self, wrapped: list[tuple[str, int, int]]) -> list[Encoding]:
        if not wrapped:
            return []
        # Not verbose: it would warn of texts that are too long for the model, which are cut afterwards.
        out = self.tokenizer(
            [full for full, _, _ in wrapped],
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        everything = self.spec.prompt.pooled is True or self.spec.pooling in ("last_token", "cls")
        encodings = []
        for i, (full, start, end) in enumerate(wrapped):
            inside = [
                not special and a < end and b > start
                for (a, b), special in zip(out["offset_mapping"][i], out["special_tokens_mask"][i], strict=True)
            ]
            pooled = [True] * len(inside) if everything and any(inside) else inside
            if self.spec.prompt.pooled == "behind" and any(inside):
                first = self._prefix_length(full[:start])
                pooled = [t >= first for t in range(len(inside))]
            encodings.append(Encoding(out["input_ids"][i], pooled))
        return encodings

    @functools.lru_cache(maxsize=64)  # noqa: B019 - an embedder has few prompts
    def _prefix_length(self, prefix: str) -> int:
        """Tokens that a prefix takes by itself, without a special token behind it, as sentence-transformers counts."""
        ids = self.tokenizer(prefix)["input_ids"] if prefix else []
        return len(ids) - (ids[-1:] != [] and ids[-1] in self.tokenizer.all_special_ids)

    def _check_ids(self, encodings: list[Encoding]) -> None:
        """A tokenizer may know more tokens than the model has rows for."""
        for i, encoding in enumerate(encodings):
            if (largest := max(encoding.ids)) >= self.backbone.rows:
                token = self.tokenizer.convert_ids_to_tokens(largest)
                raise ValueError(
                    f"texts[{i}] holds the token {token!r} (id {largest}), but {self.backbone.source} knows only the "
                    f"ids below {self.backbone.rows}; take it out of the text, or give the model its own tokenizer"
                )

    def _shortened(self, place: str, text: str, instruction: str | None, role: str | None, max_tokens: int) -> Encoding:
        """Cut the text, not the prompt, so that everything fits into ``max_tokens``."""
        frame = len(self._tokenise([self.spec.prompt.wrap("a", instruction, role)])[0].ids)
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        for room in range(min(len(offsets), max_tokens - frame + 1), 0, -1):
            encoding = self._tokenise([self.spec.prompt.wrap(text[: offsets[room - 1][1]], instruction, role)])[0]
            if len(encoding.ids) <= max_tokens and any(encoding.pool):
                return encoding
        raise ValueError(
            f"{place}: max_tokens={max_tokens} leaves no room for the text: the prompt alone takes {frame - 1}; raise "
            "max_tokens, or shorten the instruction"
        )


def load(
    name: str | Path,
    *,
    backbone: Backbone | Path | str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    **changes,
) -> Embedder:
    """Load an embedder by registry name, hub id or local folder.

    Args:
        name: for instance ``"smol-eol"``; see :mod:`course_utils.models.registry`.
        backbone: reuse this one instead of loading the weights again; or a folder or hub id to load instead of
            the registry entry's.
        dtype: ``"float32"`` or ``"bfloat16"``; ``"int8"`` or ``"4bit"`` for a model that is too large otherwise
            (needs bitsandbytes).
        device: ``"cpu"``, ``"cuda"`` …; by default a GPU if there is one. ``"auto"`` spreads a model that is larger
            than one GPU over all of them.
        changes: fields of the registry entry to change, e.g. ``pooling="mean"`` or
            ``adapters=("path/to/adapter",)``.

    Raises:
        TypeError, ValueError, FileNotFoundError: as :func:`registry.get`, :class:`Backbone` and :class:`Embedder`.
    """
    if isinstance(backbone, str | Path):
        changes, backbone = {**changes, "backbone": backbone}, None
    spec = _from_a_hub(registry.get(name, **changes), changes)
    if backbone is None:
        backbone = Backbone(spec.backbone, dtype=dtype, device=device, remote_code=spec.remote_code)
    elif not isinstance(backbone, Backbone):
        raise TypeError(f"backbone must be a Backbone, a folder or a hub id; got {type(backbone).__name__}")
    elif backbone.source != spec.backbone:
        raise ValueError(
            f"{name} runs on {spec.backbone!r}; the given backbone is {backbone.source!r}: leave it out, or load that"
        )
    if spec.lowercase:
        _write_small(backbone.tokenizer)
    return Embedder(spec, backbone)


def load_family(names: Sequence[str], dtype: str = "float32", device: str | None = None) -> dict[str, Embedder]:
    """Load several embedders; those with the same backbone share one copy of its weights."""
    backbones: dict[str, Backbone] = {}
    family = {}
    for name in gates.listed(names, "names"):
        spec = registry.get(name)
        if spec.backbone not in backbones:
            backbones[spec.backbone] = Backbone(spec.backbone, dtype, device, spec.remote_code)
        family[name] = load(name, backbone=backbones[spec.backbone])
    return family


def _no_adapter(spec: EmbedderSpec, missing: list[str]) -> str:
    here = next((name for name in missing if folders.is_folder(Path(name))), None)
    return (
        f"{spec.name} needs the adapter {', '.join(missing)}, which is not in {registry.ADAPTERS}. "
        + (f"For the folder of that name here write './{here}'. " if here else "")
        + f"Train it (several-tokens train {missing[0]} --data FOLDER) or choose one of: "
        f"{', '.join(registry.available())}{installed_alone(registry.ADAPTERS)}"
    )


def _from_a_hub(spec: EmbedderSpec, changes: dict) -> EmbedderSpec:
    """An embedder that a hub holds in the layout of sentence-transformers says itself what it is."""
    if spec.name != spec.backbone or "/" not in spec.name or isinstance(folders.located(spec.backbone), Path):
        return spec  # a registry entry is data already, and a folder was read with it
    folder = layout.fetched(spec.backbone)
    if folder is None:
        return spec
    own = layout.read(folder)
    if own.pop("backbone") != str(folder):
        raise ValueError(f"{spec.name} keeps its transformer in a folder below: download all of it, and load(FOLDER)")
    return replace(spec, **{**own, **changes})


def _write_small(tokenizer) -> None:
    """Let a tokenizer turn all letters small first, once, as sentence-transformers does where a folder asks for it."""
    from tokenizers.normalizers import Lowercase, Sequence

    inner = tokenizer.backend_tokenizer
    if tokenizer.tokenize("A") != tokenizer.tokenize("a"):
        inner.normalizer = Sequence([Lowercase(), *([inner.normalizer] if inner.normalizer is not None else [])])


def _dense(spec: EmbedderSpec, backbone: Backbone) -> list[heads.Dense]:
    """The layers behind the pooling, from the folder or the hub that the backbone comes from."""
    if not spec.dense:
        return []
    root = backbone.folder if isinstance(backbone.folder, Path) else layout.fetched(backbone.folder)
    if root is None:
        raise FileNotFoundError(f"{spec.name}: the model hub does not give {', '.join(spec.dense)} of {spec.backbone}; "
                                "download the whole folder and load that")  # fmt: skip
    return heads.dense(root, spec.dense, backbone.width, backbone.device)


def _output_layer(spec: EmbedderSpec, backbone: Backbone) -> heads.Head:
    """What decodes in the model that the registry entry names for it."""
    if spec.output_layer == spec.backbone:
        return backbone.head
    head = Backbone(spec.output_layer, device=backbone.device).head
    if (width := head.weight.shape[1] - head.bias) != backbone.width:
        raise ValueError(
            f"{spec.name}: the output layer of {spec.output_layer} decodes embeddings of {width} values; "
            f"those of {spec.backbone} have {backbone.width}. Name the model that it was trained from"
        )
    return head


def _one_each(instruction: str | Iterable[str | None] | None, n: int) -> list[str | None]:
    if instruction is None or isinstance(instruction, str):
        return [checked_instruction(instruction)] * n
    instructions = gates.listed(instruction, "instruction")
    if len(instructions) != n:
        raise ValueError(f"{len(instructions)} instructions for {n} texts: give one, or one per text")
    return [checked_instruction(each, f"instruction[{i}]") for i, each in enumerate(instructions)]
