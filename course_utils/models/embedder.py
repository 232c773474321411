"""Embedder: text in, embeddings out.

An :class:`Embedder` is a registry entry at work on a :class:`~course_utils.models.backbone.Backbone`, which is
one language model in memory.

The path of a text is short enough to keep in mind: wrap it in the prompt,
tokenise, run the transformer, pool. :meth:`Embedder.prepare` does the first
two steps, :meth:`Embedder.forward` the last two, :meth:`Embedder.encode` loops
over batches.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from course_utils import gates
from course_utils.models import folders, registry
from course_utils.models.backbone import Backbone
from course_utils.models.pooling import POOLINGS
from course_utils.models.prompts import checked_instruction
from course_utils.models.registry import EmbedderSpec

#: Long enough for every text of the course; raise it for longer documents.
MAX_TOKENS = 512
#: Tokens per batch. Few enough that a layer's intermediate values stay in the processor's cache
#: (benchmarks/encode.py --batch-tokens compares sizes); on a GPU pass more.
BATCH_TOKENS = 512


class Encoding(NamedTuple):
    """One tokenised text: token ids, and which of the tokens are pooled."""

    ids: list[int]
    pool: list[bool]


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
        self._output = None
        if not attach:  # in training the adapter is not a file yet: whatever is on the backbone is used
            return
        if missing := spec.missing_adapters():
            raise FileNotFoundError(_no_adapter(spec, missing))
        if spec.output_layer:
            self._output = _output_layer(spec, backbone)
        for adapter in spec.adapter_paths():
            backbone.attach(adapter)  # a damaged one is refused here rather than at the first text
        _ = self.unembedding  # and so is a model that has none

    @property
    def unembedding(self) -> torch.Tensor:
        """The matrix ``E_g`` that decodes its embeddings, ``[V, d]``.

        That of the registry entry's ``output_layer`` if it names one; otherwise the backbone's, as the adapters
        leave it.
        """
        if self._output is not None:
            return self._output
        return self.backbone.unembedding_with(self.spec.adapter_paths()) if self._attach else self.backbone.unembedding

    def __repr__(self) -> str:
        return f"Embedder({self.spec.name!r}, d={self.unembedding.shape[1]}, V={self.unembedding.shape[0]})"

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
                that are longer than a model with learned positions can take, whatever ``max_tokens`` is.
            padding_side: ``"right"`` or ``"left"``; only a test needs to change it.
            progress: show a progress bar; by default from 200 texts on.

        Returns:
            float32 array ``[n_texts, d]``.

        Raises:
            TypeError, ValueError: no list of strings, an empty text, one of which the tokenizer makes nothing, or
                one with a token that the model has no row for (with its position).
        """
        batch_tokens = gates.whole(batch_tokens, "batch_tokens")
        encodings = self.prepare(texts, instruction, role, max_tokens)
        result = np.empty((len(encodings), self.backbone.width), dtype=np.float32)
        show = len(encodings) >= 200 if progress is None else progress
        with (
            tqdm(total=len(encodings), desc=self.spec.name, disable=not show, leave=False) as bar,
            self._own_adapters(),
            torch.inference_mode(),
        ):
            for rows in length_batches([len(e.ids) for e in encodings], batch_tokens):
                batch = [encodings[i] for i in rows]
                result[rows] = self.forward(batch, padding_side).float().cpu().numpy()
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
        limit = min(gates.whole(max_tokens, "max_tokens"), self.backbone.positions.count or max_tokens)
        wrapped = [self.spec.prompt.wrap(t, i, role) for t, i in zip(texts, instructions, strict=True)]
        encodings = self._tokenise(wrapped)
        for i, encoding in enumerate(encodings):
            if not any(encoding.pool):
                raise ValueError(f"texts[{i}]: the tokenizer makes no token of {texts[i][:40]!r}; leave this text out")
        too_long = [i for i, e in enumerate(encodings) if len(e.ids) > limit]
        for i in too_long:
            encodings[i] = self._shortened(f"texts[{i}]", texts[i], instructions[i], role, limit)
        if too_long:
            remedy = "raise max_tokens to keep them whole" if limit == max_tokens else "the model has no more positions"
            warnings.warn(
                f"{len(too_long)} of {len(texts)} texts were cut to {limit} tokens (first at position {too_long[0]}); "
                f"{remedy}",
                stacklevel=3,
            )
        self._check_ids(encodings)
        return encodings

    def forward(
        self, encodings: Sequence[Encoding], padding_side: str = "right", *, pooled: bool = True
    ) -> torch.Tensor:
        """One batch through transformer and pooling; differentiable.

        Returns ``[n, d]``, or with ``pooled=False`` every token's final state ``[n, longest, d]``.
        """
        ids, real, pool = _pad(encodings, padding_side, self.backbone.device)
        positions = (real.cumsum(dim=1) - 1).clamp(min=0) + self.backbone.positions.first
        with self._own_adapters():
            hidden = self.backbone.transformer(
                input_ids=ids,
                attention_mask=_attention(real, self.spec.bidirectional, self.backbone),
                position_ids=positions,
                use_cache=False,
            ).last_hidden_state  # the library has already applied the final norm
        if not pooled:
            return hidden
        embeddings = POOLINGS[self.spec.pooling](hidden.float(), pool)
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
        everything = self.spec.prompt.pooled or self.spec.pooling == "last_token"
        encodings = []
        for i, (_, start, end) in enumerate(wrapped):
            inside = [
                not special and a < end and b > start
                for (a, b), special in zip(out["offset_mapping"][i], out["special_tokens_mask"][i], strict=True)
            ]
            pooled = [True] * len(inside) if everything and any(inside) else inside
            encodings.append(Encoding(out["input_ids"][i], pooled))
        return encodings

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
        dtype: ``"float32"`` or ``"bfloat16"``.
        device: ``"cpu"``, ``"cuda"`` …; by default a GPU if there is one.
        changes: fields of the registry entry to change, e.g. ``pooling="mean"`` or
            ``adapters=("path/to/adapter",)``.

    Raises:
        TypeError, ValueError, FileNotFoundError: as :func:`registry.get`, :class:`Backbone` and :class:`Embedder`.
    """
    if isinstance(backbone, str | Path):
        changes, backbone = {**changes, "backbone": backbone}, None
    spec = registry.get(name, **changes)
    if backbone is None:
        backbone = Backbone(spec.backbone, dtype=dtype, device=device, remote_code=spec.remote_code)
    elif not isinstance(backbone, Backbone):
        raise TypeError(f"backbone must be a Backbone, a folder or a hub id; got {type(backbone).__name__}")
    elif backbone.source != spec.backbone:
        raise ValueError(
            f"{name} runs on {spec.backbone!r}; the given backbone is {backbone.source!r}: leave it out, or load that"
        )
    return Embedder(spec, backbone)


def load_family(names: Sequence[str], dtype: str = "float32", device: str | None = None) -> dict[str, Embedder]:
    """Load several embedders; those with the same backbone share one copy of its weights."""
    backbones: dict[str, Backbone] = {}
    family = {}
    for name in gates.listed(names, "names"):
        source = registry.get(name).backbone
        if source not in backbones:
            backbones[source] = Backbone(source, dtype=dtype, device=device)
        family[name] = load(name, backbone=backbones[source])
    return family


def _no_adapter(spec: EmbedderSpec, missing: list[str]) -> str:
    here = next((name for name in missing if folders.is_folder(Path(name))), None)
    return (
        f"{spec.name} needs the adapter {', '.join(missing)}, which is not in {registry.ADAPTERS}. "
        + (f"For the folder of that name here write './{here}'. " if here else "")
        + f"Train it (several-tokens train {missing[0]} --data FOLDER) or choose one of: "
        f"{', '.join(registry.available())}"
    )


def _output_layer(spec: EmbedderSpec, backbone: Backbone) -> torch.Tensor:
    """The unembedding matrix of the model that the registry entry names for it."""
    if spec.output_layer == spec.backbone:
        return backbone.unembedding
    weight = Backbone(spec.output_layer, device=backbone.device).unembedding
    if weight.shape[1] != backbone.width:
        raise ValueError(
            f"{spec.name}: the output layer of {spec.output_layer} decodes embeddings of {weight.shape[1]} values; "
            f"those of {spec.backbone} have {backbone.width}. Name the model that it was trained from"
        )
    return weight


def _one_each(instruction: str | Iterable[str | None] | None, n: int) -> list[str | None]:
    if instruction is None or isinstance(instruction, str):
        return [checked_instruction(instruction)] * n
    instructions = gates.listed(instruction, "instruction")
    if len(instructions) != n:
        raise ValueError(f"{len(instructions)} instructions for {n} texts: give one, or one per text")
    return [checked_instruction(each, f"instruction[{i}]") for i, each in enumerate(instructions)]


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Positions of similar length together, so that little padding is computed; longest first.

    A batch holds at most ``batch_tokens`` tokens, padding included, or a single longer text. One that
    is half full ends where the texts become more than a twentieth shorter.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        end = min(len(order), start + max(1, batch_tokens // longest))
        half = start + -(-batch_tokens // (2 * longest))
        end = next((i for i in range(half, end) if lengths[order[i]] < 0.95 * longest), end)
        yield order[start:end]
        start = end


def _pad(encodings: Sequence[Encoding], side: str, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, real-token mask and pooling mask, each ``[n, longest]``."""
    if side not in ("left", "right"):
        raise ValueError(f"padding_side must be 'left' or 'right'; got {side!r}")
    shape = (len(encodings), max(len(e.ids) for e in encodings))
    ids, real, pool = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for row, e in enumerate(encodings):
        n = len(e.ids)
        columns = slice(0, n) if side == "right" else slice(shape[1] - n, shape[1])
        ids[row, columns] = torch.tensor(e.ids)
        real[row, columns] = 1
        pool[row, columns] = torch.tensor(e.pool, dtype=torch.long)
    return ids.to(device), real.to(device), pool.to(device)


def _attention(real: torch.Tensor, bidirectional: bool, backbone: Backbone) -> torch.Tensor:
    """The mask the transformer needs.

    Causal: the padding mask; the library adds the causal part. Bidirectional: an
    explicit ``[n, 1, t, t]`` additive mask, because a two-dimensional one may be
    dropped when nothing is padded, which would silently leave the model causal.
    """
    if not bidirectional:
        return real
    family = backbone.causal.config.model_type
    if family not in ("llama", "mistral", "gemma3_text", "qwen2", "qwen3"):
        raise ValueError(f"bidirectional attention is not supported for {family!r} models, which add their own mask")
    dtype = backbone.causal.dtype
    blocked = torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill(real == 0, torch.finfo(dtype).min)
    return blocked[:, None, None, :].expand(-1, 1, real.shape[1], -1)
