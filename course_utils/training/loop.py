"""Training: how an embedder's adapter is made.

The loop is the usual one for contrastive embedders: encode anchors, positives
and hard negatives, push the cosine of each anchor with its own positive above
its cosine with everybody else's. A teacher may have a say beside it
(:mod:`course_utils.training.teacher`). Only a low-rank adapter (LoRA, Hu et al.
2021, arXiv 2106.09685) learns; the backbone stays as it is.

:mod:`course_utils.training.runs` runs it from the command line.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from course_utils.models import packages, registry, store
from course_utils.models.embedder import Backbone, Embedder, Encoding, length_batches
from course_utils.training import examples, frozen, recipes
from course_utils.training.losses import Score, cosine
from course_utils.training.recipes import Example, Recipe, Stage
from course_utils.training.teacher import Guidance, Teacher

#: Every linear layer of a Llama-like block.
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
#: Share of tokens hidden in masked next-token prediction, as in LLM2Vec (arXiv 2404.05961).
MASKED_SHARE = 0.2
#: What an example consists of, as :attr:`Run.given` names it.
SIDES = ("anchors", "positives", "negatives")
#: Tokens that go through the transformer at once: as many as keep a processor busy and fit into its memory.
PIECE_TOKENS = {"cpu": 1024, "cuda": 8192}


def info_nce(
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor | None = None,
    temperature: float = 0.05,
    same: torch.Tensor | None = None,
    score: Score = cosine,
) -> torch.Tensor:
    """Contrastive loss with in-batch and hard negatives.

    ``L = mean_i −log( exp(cos(a_i, p_i)/τ) / Σ_c exp(cos(a_i, c)/τ) )``, where ``c`` runs over
    all positives and all negatives of the batch (van den Oord et al. 2018, arXiv 1807.03748;
    with hard negatives as in SimCSE, Gao et al. 2021, arXiv 2104.08821).

    Args:
        anchors, positives: ``[n, d]``; negatives: ``[m, d]`` or None.
        temperature: τ.
        same: bool ``[n, n + m]``; True where candidate ``c`` must not count against anchor ``i``.
        score: what stands in the place of the cosine, see :mod:`course_utils.training.losses`.
    """
    candidates = positives if negatives is None else torch.cat([positives, negatives])
    with torch.autocast(anchors.device.type, enabled=False):  # cosines divided by τ need all their digits
        scores = score(anchors, candidates) / temperature
    if same is not None:
        scores = scores.masked_fill(same.to(scores.device), -torch.inf)
    return cross_entropy(scores, torch.arange(len(anchors), device=scores.device))


def false_negatives(batch: Sequence[Example]) -> torch.Tensor:
    """True where a candidate is of the anchor's own group or repeats its positive; bool ``[n, n + m]``.

    Candidates are the ``n`` positives of the batch and then its ``m`` hard negatives, each with the group it is of.
    """
    groups = [e.group for e in batch] + [e.negative_group for e in batch if e.negative]
    same = torch.zeros(len(batch), len(groups), dtype=torch.bool)
    for i, a in enumerate(batch):
        for j, group in enumerate(groups):
            same[i, j] = i != j and a.group is not None and a.group == group
        for j, b in enumerate(batch):
            same[i, j] |= i != j and (a.positive == b.positive or a.anchor == b.anchor)
    return same


def contrastive_loss(
    embedder: Embedder, batch: Sequence[Example], temperature: float, max_tokens: int, guidance: Guidance | None = None
) -> torch.Tensor:
    """InfoNCE of one batch, and a teacher's term beside it where there is one.

    Anchors are queries and positives passages for embedders that mark them.
    """
    return _contrast(embed(embedder, _sides(embedder, batch, max_tokens)), batch, temperature, guidance)


def cached_loss(
    embedder: Embedder, batch: Sequence[Example], temperature: float, max_tokens: int, guidance: Guidance | None = None
) -> torch.Tensor:
    """:func:`contrastive_loss` and its gradients, in the memory that a small piece of the batch takes.

    Gradient caching (Gao et al. 2021, arXiv 2101.06983): embed the whole batch without keeping track, take the
    loss's gradient with respect to the embeddings, then embed piece by piece once more and hand each piece its
    share of that gradient. It costs a second forward pass, and the batch may be as large as you like.

    Returns the loss, already propagated to the parameters.
    """
    encodings = _sides(embedder, batch, max_tokens)
    with torch.no_grad():
        embeddings = embed(embedder, encodings)
    torch.clear_autocast_cache()  # weights that were cast without gradients must not be used again
    embeddings.requires_grad_()
    loss = _contrast(embeddings, batch, temperature, guidance)
    loss.backward()
    for piece in length_batches([len(e.ids) for e in encodings], piece_tokens(embedder)):
        again = embed(embedder, [encodings[i] for i in piece])
        with torch.autocast(again.device.type, enabled=False):
            again.backward(embeddings.grad[piece])
    return loss.detach()


def texts_of(batch: Sequence[Example]) -> tuple[list[str], list[str]]:
    """The anchors of a batch, and its candidates: the positives, then the hard negatives. Texts alone have none."""
    anchors = [e.anchor for e in batch]
    if batch[0].unlabelled:
        return anchors, []
    return anchors, [e.positive for e in batch] + [e.negative for e in batch if e.negative]


def _sides(embedder: Embedder, batch: Sequence[Example], max_tokens: int) -> list[Encoding]:
    """The anchors of a batch, then its candidates; texts without a partner are passages."""
    anchors, candidates = texts_of(batch)
    told = [e.instruction for e in batch]
    if not candidates:
        return prepare(embedder, anchors, told, "passage", max_tokens)
    others = [e.positive_instruction for e in [*batch, *(e for e in batch if e.negative)]]
    queries = prepare(embedder, anchors, told, "query", max_tokens)
    return queries + prepare(embedder, candidates, others, "passage", max_tokens)


def _contrast(
    embeddings: torch.Tensor, batch: Sequence[Example], temperature: float, guidance: Guidance | None = None
) -> torch.Tensor:
    if batch[0].unlabelled:
        if guidance is None:
            raise ValueError("texts without labels teach nothing by themselves: give the recipe a [teacher]")
        return guidance(embeddings, *texts_of(batch))
    anchors, positives, negatives = embeddings.tensor_split([len(batch), 2 * len(batch)])
    loss = info_nce(anchors, positives, negatives, temperature, false_negatives(batch))
    if guidance is None or not batch[0].guided:
        return loss
    return loss + guidance(embeddings, *texts_of(batch))


def masked_next_token_loss(
    embedder: Embedder, texts: Sequence[str], max_tokens: int, generator: torch.Generator
) -> torch.Tensor:
    """Masked next-token prediction (LLM2Vec): hide tokens, predict each from the position before it."""
    encodings = [e for e in prepare(embedder, texts, None, None, max_tokens) if len(e.ids) > 2]
    mask_id = embedder.tokenizer("_", add_special_tokens=False)["input_ids"][0]
    hidden_at, corrupted = [], []
    for e in encodings:
        chosen = torch.rand(len(e.ids) - 1, generator=generator) < MASKED_SHARE
        chosen[torch.randint(len(chosen), (1,), generator=generator)] = True
        at = (chosen.nonzero().flatten() + 1).tolist()
        hidden_at.append(at)
        corrupted.append(Encoding([mask_id if t in set(at) else i for t, i in enumerate(e.ids)], e.pool))
    hidden = token_states(embedder, corrupted)
    before = torch.cat([hidden[row, [t - 1 for t in at]] for row, at in enumerate(hidden_at)])
    targets = torch.tensor(
        [encodings[row].ids[t] for row, at in enumerate(hidden_at) for t in at], device=hidden.device
    )
    return cross_entropy((before @ embedder.unembedding.to(before.dtype).T).float(), targets)


def next_token_loss(embedder: Embedder, texts: Sequence[str], max_tokens: int) -> torch.Tensor:
    """The ordinary language-model loss, causal, on a few texts: it keeps an embedder able to generate."""
    causal = Embedder(replace(embedder.spec, bidirectional=False, adapters=()), embedder.backbone, attach=False)
    all_ids = [ids[:max_tokens] for ids in embedder.tokenizer(list(texts), verbose=False)["input_ids"]]
    encodings = [Encoding(ids, [True] * len(ids)) for ids in all_ids]
    hidden = token_states(causal, encodings)
    rows = [(r, t) for r, e in enumerate(encodings) for t in range(len(e.ids) - 1)]
    states = hidden[[r for r, _ in rows], [t for _, t in rows]]
    targets = torch.tensor([encodings[r].ids[t + 1] for r, t in rows], device=hidden.device)
    return cross_entropy((states @ embedder.unembedding.to(states.dtype).T).float(), targets)


def token_states(embedder: Embedder, encodings: Sequence[Encoding]) -> torch.Tensor:
    """Final hidden state of every token, ``[n, longest, d]``, padded on the right."""
    return embedder.forward(encodings, pooled=False)


def piece_tokens(embedder: Embedder) -> int:
    """Tokens that go through this embedder's transformer at once, see :data:`PIECE_TOKENS`."""
    return PIECE_TOKENS.get(torch.device(embedder.backbone.device).type, PIECE_TOKENS["cpu"])


def embed(embedder: Embedder, encodings: Sequence[Encoding], batch_tokens: int | None = None) -> torch.Tensor:
    """Differentiable embeddings ``[n, d]``, computed in pieces of similar length to save padding."""
    pieces = list(length_batches([len(e.ids) for e in encodings], batch_tokens or piece_tokens(embedder)))
    embeddings = torch.cat([embedder.forward([encodings[i] for i in piece]) for piece in pieces])
    order = torch.tensor([i for piece in pieces for i in piece])
    return embeddings[order.argsort()]


def prepare(embedder: Embedder, texts, instructions, role, max_tokens: int) -> list[Encoding]:
    """:meth:`Embedder.prepare`, for embedders with and without instructions and roles, cutting silently."""
    if embedder.spec.prompt.instructed is None:
        instructions = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cutting long texts is part of the recipe
        return embedder.prepare(texts, instructions, role, max_tokens)


@dataclass
class Run:
    """A training run: adapter, optimiser, position, teacher. Made by :func:`start`, advanced by :func:`train`.

    ``given`` holds checksums of the anchors, positives and negatives that it was trained on at first.
    """

    recipe: Recipe
    embedder: Embedder
    parameters: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    step: int = 0
    guidance: Guidance | None = None
    given: dict[str, str] | None = None


def start(recipe: Recipe, dtype: str = "bfloat16", compiled: bool = False, adapter: str = "default") -> Run:
    """Load the backbone, put a fresh float32 adapter on it, make the optimiser."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    spec = replace(registry.get(recipe.embedder), adapters=(), normalize=False)
    backbone = Backbone(spec.backbone, dtype=dtype, attention="eager")  # its backward pass is the faster one on a CPU
    config = LoraConfig(
        r=recipe.lora_rank, lora_alpha=2 * recipe.lora_rank, lora_dropout=0.0, target_modules=LORA_TARGETS,
        layers_to_transform=recipe.first_layer and list(range(recipe.first_layer, len(backbone.transformer.layers))),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        peft = get_peft_model(backbone.causal, config, adapter_name=adapter)
    backbone._peft = peft
    parameters = {name: p for name, p in peft.named_parameters() if p.requires_grad}
    for p in parameters.values():
        p.data = p.data.float()
    if compiled:
        for layer in backbone.transformer.layers:
            layer.compile(dynamic=True)
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)
    guidance = None
    if term := recipe.teacher:
        guidance = Guidance(Teacher(term.name, device=backbone.device), term.loss, term.weight, term.temperature)
    return Run(recipe, Embedder(spec, backbone, attach=False), parameters, optimizer, guidance=guidance)


def train(
    run: Run,
    datasets: list[list[Example]],
    *,
    until: int | None = None,
    on_step: Callable[[Run, float], None] = lambda run, loss: None,
) -> Run:
    """Advance ``run`` to step ``until`` (by default the recipe's last), calling ``on_step`` after each.

    What the teacher has to encode for these steps it encodes before the first.
    """
    recipe = run.recipe
    run.given = run.given or {side: _checksum(getattr(e, side[:-1]) for d in datasets for e in d) for side in SIDES}
    if run.guidance:
        ahead = islice(_schedule(recipe, datasets), run.step, until)
        batches = [batch for stage, batch, _ in ahead if stage.objective != "mntp" and batch[0].guided]
        if batches:
            run.guidance.teacher.encode(text for batch in batches for side in texts_of(batch) for text in side)
    with frozen.remembered(run.embedder.backbone.transformer, recipe.first_layer):
        for position, (stage, batch, learning_rate) in enumerate(_schedule(recipe, datasets)):
            if position < run.step:
                continue
            if until is not None and position >= until:
                break
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate
            with precision(run):
                loss = _loss(run, stage, batch, position)
            if loss.requires_grad:  # a cached loss has been propagated already
                loss.backward()
            torch.nn.utils.clip_grad_norm_(run.parameters.values(), recipe.max_grad_norm)
            run.optimizer.step()
            run.optimizer.zero_grad()
            run.step = position + 1
            on_step(run, loss.item())
    return run


def _checksum(texts: Iterator[str | None]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def one_cycle(step: int, steps: int, peak: float, warm_up: float = 0.1) -> float:
    """Learning rate of a step: linear up over the first tenth, cosine down to a hundredth of the peak."""
    up = max(1, round(warm_up * steps))
    if step < up:
        return peak * (step + 1) / up
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up))))


def _schedule(recipe: Recipe, datasets: list[list[Example]]) -> Iterator[tuple[Stage, list[Example], float]]:
    for number, stage in enumerate(recipe.stage):
        weights = [d.weight if recipes.in_stage(d, number + 1) else 0.0 for d in recipe.data]
        stream = examples.batches(datasets, weights, stage.batch_size, stage.steps, recipe.seed + 100 * number)
        for step, batch in enumerate(stream):
            yield stage, batch, one_cycle(step, stage.steps, stage.learning_rate)


def _loss(run: Run, stage: Stage, batch: list[Example], position: int) -> torch.Tensor:
    recipe = run.recipe
    texts = [e.positive for e in batch]
    if stage.objective == "mntp":
        generator = torch.Generator().manual_seed(recipe.seed * 100_000 + position)
        return masked_next_token_loss(run.embedder, texts, recipe.max_tokens, generator)
    contrastive = cached_loss if stage.cached else contrastive_loss
    loss = contrastive(run.embedder, batch, recipe.temperature, recipe.max_tokens, run.guidance)
    if stage.objective == "contrastive+lm":
        loss = loss + stage.lm_weight * next_token_loss(run.embedder, texts[:16], recipe.max_tokens)
    return loss


def precision(run: Run) -> ExitStack:
    """The context in which a run computes: bfloat16 where the backbone is, plain otherwise."""
    from peft.helpers import disable_input_dtype_casting

    stack = ExitStack()
    if run.embedder.backbone.causal.dtype != torch.bfloat16:
        return stack
    stack.enter_context(torch.autocast(run.embedder.backbone.device, torch.bfloat16))
    stack.enter_context(disable_input_dtype_casting(run.embedder.backbone._peft))  # autocast does it in one pass
    return stack


def save_checkpoint(run: Run, path: Path) -> None:
    """Write weights, optimiser moments and position, atomically."""
    from safetensors.torch import save_file

    tensors = {f"weight.{name}": p.detach().contiguous() for name, p in run.parameters.items()}
    for name, p in run.parameters.items():
        for key, value in run.optimizer.state.get(p, {}).items():
            tensors[f"{key}.{name}"] = value
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"step": str(run.step), "recipe": json.dumps(recipes.as_dict(run.recipe))})
    os.replace(partial, path)


def load_checkpoint(run: Run, path: Path) -> None:
    """Put a checkpoint back into a fresh run of the same recipe.

    Raises:
        ValueError: the checkpoint belongs to another recipe.
    """
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        meta = file.metadata()
        if json.loads(meta["recipe"]) != json.loads(json.dumps(recipes.as_dict(run.recipe))):
            raise ValueError(f"{path} was written by another recipe; delete it to start again")
        for name, p in run.parameters.items():
            p.data.copy_(file.get_tensor(f"weight.{name}"))
            if f"exp_avg.{name}" in file.keys():
                moments = {k: file.get_tensor(f"{k}.{name}").to(p.device) for k in ("exp_avg", "exp_avg_sq")}
                run.optimizer.state[p] = {"step": file.get_tensor(f"step.{name}"), **moments}
        run.step = int(meta["step"])


def save_adapter(run: Run, folder: Path, log: dict) -> None:
    """Write the adapter (float16 safetensors), its configuration and ``training.json``.

    The path of the backbone on this machine is replaced by its registry name.
    """
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    peft = run.embedder.backbone._peft
    weights = get_peft_model_state_dict(peft, adapter_name=peft.active_adapter)
    save_file({k: v.detach().half().contiguous() for k, v in weights.items()}, folder / "adapter_model.safetensors")
    config = peft.peft_config[peft.active_adapter].to_dict()
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    config["base_model_name_or_path"] = run.embedder.backbone.source
    config["inference_mode"] = True
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, default=str) + "\n", encoding="utf-8")
    record = {
        "backbone_sha256": store.fingerprint(run.embedder.backbone.folder),
        "adapter_sha256": packages.sha256(folder / "adapter_model.safetensors"),
    }
    if run.guidance:
        record["teacher_sha256"] = run.guidance.teacher.fingerprint
    made_on = torch.cuda.get_device_name() if run.embedder.backbone.device.startswith("cuda") else "CPU"
    record |= {"recipe": recipes.as_dict(run.recipe), "made_on": made_on, **log}
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
