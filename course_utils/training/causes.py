"""Short runs that ask why the first component moves: one thing changed in each, the same probe for all.

    several-tokens causes --seeds 1 --seeds 2 --sts FILE

Each run trains a fresh adapter for thirty steps on the course's own pairs (``data/mini_triplets.jsonl``), under one of
the scores of :mod:`course_utils.training.losses`, and keeps a log only: how far the embeddings of 120 Wikipedia
sentences have moved along the untrained model's first component, how long they are, and what they decode to. A run
that is finished is kept, so the command goes on after a cut.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import softplus

from course_utils import gates
from course_utils.measures.alignment import (
    content_tokens,
    global_alignment,
    hits,
    special_ids,
    surface_tokens,
    top_tokens,
)
from course_utils.measures.evaluation import cosine as pair_cosine
from course_utils.measures.evaluation import spearman
from course_utils.measures.spectrum import components
from course_utils.models import registry, store
from course_utils.texts import datasets
from course_utils.training import examples, losses, recipes
from course_utils.training.loop import Run, embed, info_nce, one_cycle, precision, prepare, start
from course_utils.training.recipes import Data, Example, Recipe, Stage

#: Pairs to train on, pairs in a batch, steps, peak learning rate. Sixteen pairs keep a run at two minutes on one core.
PAIRS, BATCH, STEPS, LEARNING_RATE = 256, 16, 30, 5e-4
#: Steps after which the probe looks.
PROBED = (0, 1, 2, 4, 8, 15, 30, 60, 100, 150, 200, 250)
#: Sentences of the probe at the first and the last step, and in between.
SENTENCES, FEWER = 120, 40
DATA = registry.ADAPTERS.parent


@dataclass(frozen=True)
class Variant:
    """One way to train, different from the first in as little as possible.

    Attributes:
        name: as tables and figures call it.
        score: a key of :data:`course_utils.training.losses.SCORES`.
        temperature: τ; what it starts from where it is learned.
        sharper: inner products are as wide as cosines at the start, times this.
        final_norm: whether the model keeps its last normalisation; without it the embedding is the state before it.
        embedder: registry entry of the untrained model: backbone, prompt, pooling.
        negatives: ``"batch"``, ``"hard"`` (only the pair's own contradiction) or ``"none"`` (``1 − score``).
        learned: τ is a parameter, with a learning rate of its own.
        hold: weight of a penalty ``(α / α_0 − 1)²`` that holds the mean coefficient at its start.
    """

    name: str
    score: str = "cosine"
    temperature: float = 0.05
    sharper: float = 1.0
    final_norm: bool = True
    embedder: str = "smollm2"
    negatives: str = "batch"
    learned: bool = False
    hold: float = 0.0


@dataclass(frozen=True)
class Taught(Variant):
    """A variant with a teacher: all-MiniLM-L6-v2's in-batch distribution (:mod:`course_utils.training.teacher`).

    Attributes:
        teacher: ``"beside"`` adds its term to the loss; all others put it in the loss's place, so that no pair is
            called right or wrong. ``"alone"`` compares anchors with positives, ``"no pairs"`` anchors with each other,
            so that no text has a partner in the batch, and ``"of other texts"`` speaks of other texts than the
            student's.
    """

    teacher: str = "beside"


#: The teacher's term: weight and temperature, which is that of the usual loss.
TEACHER = recipes.TeacherTerm("minilm", weight=3.0, temperature=0.05)

#: What is run, by name. The first is the usual loss.
VARIANTS = {
    v.name: v
    for v in (
        Variant("cosine, τ = .05"),
        Variant("cosine, τ = .2", temperature=0.2),
        Variant("cosine, τ = .02", temperature=0.02),
        Variant("cosine, τ = .01", temperature=0.01),
        Variant("centred cosine", "centred cosine"),
        Variant("cosine without u", "cosine without u"),
        Variant("cosine, α levelled", "cosine, α levelled"),
        Variant("cosine, |x| fixed", "cosine, |x| fixed"),
        Variant("inner product", "inner product"),
        Variant("inner product, α levelled", "inner product, α levelled"),
        Variant("inner product, four times sharper", "inner product", sharper=4.0),
        Variant("no final norm: cosine", final_norm=False),
        Variant("no final norm: centred cosine", "centred cosine", final_norm=False),
        Variant("no final norm: inner product", "inner product", final_norm=False),
        Variant("no final norm: inner product, α levelled", "inner product, α levelled", final_norm=False),
        Variant("cosine, τ learned", learned=True),
        Variant("cosine, hard negatives only", negatives="hard"),
        Variant("cosine, no negatives", negatives="none"),
        Variant("cosine, α held", hold=100.0),
        Variant("last token: cosine", embedder="smollm2-last"),
        Variant("last token: centred cosine", "centred cosine", embedder="smollm2-last"),
        Variant("Gemma: cosine", embedder="gemma3"),
        Variant("Gemma: centred cosine", "centred cosine", embedder="gemma3"),
    )
}
#: What is run where it is named: the runs of lesson 09a, which ask what a teacher teaches.
TAUGHT = {
    v.name: v
    for v in (
        Taught("a teacher beside the loss", teacher="beside"),
        Taught("a teacher alone", teacher="alone"),
        Taught("a teacher, no pairs", teacher="no pairs"),
        Taught("a teacher of other texts", teacher="of other texts"),
    )
}


def run_all(
    names: Iterable[str] = (),
    seeds: Sequence[int] = (1,),
    work: Path = Path("runs/causes"),
    *,
    sts: Path | None = None,
    data: Path | None = None,
    steps: int | None = None,
    out: Path | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Run every one of :data:`VARIANTS`, or those ``names``, with each seed; finished runs are kept in ``work``.

    With ``out`` all runs in ``work`` are put into one file, which :mod:`course_utils.shipped.causes` reads.

    Args:
        sts: judged sentence pairs, see :func:`judged_pairs`.
        data: folder with ``nli_triplets.jsonl``, for runs on more than the course's own triples.
        steps: how many steps a run has, by default thirty; the learning rate falls over all of them.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: no file ``sts``, or none in ``data``.
    """
    known, names = {**VARIANTS, **TAUGHT}, list(names) or list(VARIANTS)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown variant {unknown[0]!r}; choose from {', '.join(known)}")
    pairs = judged_pairs(sts) if sts else []
    work = gates.expanded(work)
    work.mkdir(parents=True, exist_ok=True)
    probes: dict[tuple[str, bool], Probe] = {}
    for seed in seeds:
        for name in names:
            file = work / f"{_file_name(name)}.{seed}.json"
            if file.exists():
                continue
            log = run_one(known[name], seed, pairs, probes=probes, data=data, total=steps)
            with gates.replacing(file) as stream:
                json.dump(log, stream, ensure_ascii=False)
            end = log["probe"][-1]
            report(f"{name}, seed {seed}: v_1 {end['v_1']:.2f}, largest other {end['largest_other']:.2f}, "
                   f"{log['seconds']:.0f} s")  # fmt: skip
    if out:
        order = {name: number for number, name in enumerate(known)}
        logs = [json.loads(file.read_text(encoding="utf-8")) for file in work.glob("*.json")]
        logs.sort(key=lambda log: (order.get(log["variant"]["name"], len(order)), log["seed"]))
        with gates.replacing(out) as stream:
            stream.write("[\n" + ",\n".join(json.dumps(log, ensure_ascii=False) for log in logs) + "\n]\n")


def run_one(
    variant: Variant,
    seed: int,
    pairs: Sequence[tuple[str, str, float]] = (),
    steps: int | None = None,
    dtype: str = "float32",
    probes: dict | None = None,
    report: Callable[[dict], None] | None = None,
    data: Path | None = None,
    total: int | None = None,
) -> dict:
    """Train one variant and return its log, ready for JSON.

    Args:
        pairs: judged sentence pairs; the log then has their Spearman correlation, raw and centred.
        steps: how many of the ``total`` steps to take, by default all; the schedule is that of all.
        probes: untrained models that were measured already; this run's is added.
        report: called with every new row of the probe.
        data, total: see :func:`run_all`.
    """
    total = STEPS if total is None else total
    begun, steps = time.monotonic(), total if steps is None else steps
    pairs_to_train = triples(seed, data, total)
    term = TEACHER if isinstance(variant, Taught) else None
    recipe = Recipe(variant.embedder, [Stage("contrastive", total, LEARNING_RATE, BATCH)], [], seed=seed, teacher=term)
    run = start(recipe, dtype)
    if not variant.final_norm:
        run.embedder.backbone.transformer.norm = torch.nn.Identity()
    probes, untrained = {} if probes is None else probes, (variant.embedder, variant.final_norm)
    if untrained not in probes:
        probes[untrained] = Probe(run, datasets.wikipedia_sentences(SENTENCES), pairs)
    probe = probes[untrained]
    rows, losses_seen = [probe.row(0, probe.h)], []
    loss_of = Objective(variant, probe, run)
    stream = examples.batches([pairs_to_train], [1.0], BATCH, total, seed)
    for step, batch in zip(range(1, steps + 1), stream, strict=False):
        for group in run.optimizer.param_groups:
            group["lr"] = one_cycle(step - 1, total, LEARNING_RATE)
        with precision(run):
            loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.parameters.values(), recipe.max_grad_norm)
        run.optimizer.step()
        run.optimizer.zero_grad()
        loss_of.advance()
        losses_seen.append(round(loss.item(), 5))
        if step in PROBED or step == total:
            last = probe.embed(run, probe.texts if step == total else probe.texts[:FEWER])
            rows.append(probe.row(step, last) | loss_of.state())
            if report:
                report(rows[-1])
    return {
        "variant": asdict(variant), "seed": seed, "losses": losses_seen, "probe": rows,
        "before": probe.before, "after": probe.measures(run, last) if steps == total else {},
        "scale": loss_of.scale, "dtype": dtype,
        "backbone_sha256": store.fingerprint(run.embedder.backbone.folder),
        "seconds": round(time.monotonic() - begun),
    }  # fmt: skip


def judged_pairs(file: Path, every: int = 10) -> list[tuple[str, str, float]]:
    """Every tenth judged pair of a JSON Lines file (``sentence1``, ``sentence2``, ``score``)."""
    rows = recipes.read_rows(gates.file(file), ("sentence1", "sentence2"))
    return [(row["sentence1"], row["sentence2"], row["score"]) for row in rows[::every]]


def triples(seed: int, folder: Path | None = None, steps: int | None = None) -> list[Example]:
    """The course's own triples, or those in ``folder``, in the order of the seed, without the texts of the probe."""
    data = Data("nli_triplets.jsonl" if folder else "mini_triplets.jsonl", form="triplets")
    recipe = Recipe("smollm2", [Stage("contrastive", steps or STEPS, LEARNING_RATE, BATCH)], [data], seed=seed)
    (rows,), _ = recipes.load_examples(recipe, folder or DATA, datasets.wikipedia_sentences())
    return rows if folder else rows[:PAIRS]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


# --- The loss -------------------------------------------------------------------------------------


class Objective:
    """The loss of a variant on a batch; it knows τ, where that is learned, and the widths at the start.

    Attributes:
        scale: what inner products are divided by, so that their spread in the first batch is that of cosines.
    """

    def __init__(self, variant: Variant, probe: "Probe", run: Run):
        self.variant, self.run, device = variant, run, run.embedder.backbone.device
        self.u = torch.from_numpy(probe.u).float().to(device)
        self.start = float(probe.alpha0)
        self.scale: float | None = None
        self.rest = probe.rest0
        self.log_tau = torch.tensor(float(np.log(variant.temperature)), device=device, requires_grad=variant.learned)
        self.tau_optimizer = torch.optim.Adam([self.log_tau], lr=0.05) if variant.learned else None

    def __call__(self, batch: list[Example]) -> torch.Tensor:
        variant = self.variant
        hard = variant.negatives == "hard"
        texts = [e.anchor for e in batch] + [e.positive for e in batch] + [e.negative for e in batch if hard]
        embedder = self.run.embedder
        h = embed(embedder, prepare(embedder, texts, None, None, self.run.recipe.max_tokens)).float()
        anchors, positives, negatives = h.tensor_split([len(batch), 2 * len(batch)])
        if self.scale is None:
            self.scale = as_wide(variant.score, self.u, anchors.detach(), positives.detach(), variant.sharper)
        score = losses.score(variant.score, self.u, self.rest, self.scale)
        loss = contrast(variant.negatives, score, self.log_tau.exp(), anchors, positives, negatives)
        if isinstance(variant, Taught):
            asked, candidates = _told(variant.teacher, batch)
            told = self.run.guidance(h[: len(asked) + len(candidates)], asked, candidates)
            loss = loss + told if variant.teacher == "beside" else told
        if variant.hold:
            loss = loss + variant.hold * ((h @ self.u).mean() / self.start - 1) ** 2
        return loss

    def advance(self) -> None:
        """One step of τ, where it is learned."""
        if self.tau_optimizer:
            self.tau_optimizer.step()
            self.tau_optimizer.zero_grad()

    def state(self) -> dict:
        return {"tau": round(float(self.log_tau.detach().exp()), 5)} if self.tau_optimizer else {}


def contrast(
    kind: str,
    score: losses.Score,
    tau: torch.Tensor | float,
    anchors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of pairs whose wrong answers are the batch, the pair's own contradiction, or nothing.

    Args:
        kind: ``"batch"`` is InfoNCE; ``"hard"`` asks every anchor to choose between its positive and its negative;
            ``"none"`` is ``(1 − score) / τ``.
        anchors, positives, negatives: ``[n, d]``; row i of each belongs to pair i.
    """  # fmt: skip
    if kind == "none":
        return (1 - score(anchors, positives).diagonal()).mean() / tau
    if kind == "hard":
        margin = score(anchors, negatives).diagonal() - score(anchors, positives).diagonal()
        return softplus(margin / tau).mean()
    return info_nce(anchors, positives, None, tau, score=score)


def _told(teacher: str, batch: list[Example]) -> tuple[list[str], list[str]]:
    """Anchors and positives of which the teacher speaks; those of other pairs where it speaks of other texts."""
    anchors, positives = [e.anchor for e in batch], [e.positive for e in batch]
    if teacher == "no pairs":
        return anchors, []
    if teacher != "of other texts":
        return anchors, positives
    return anchors[1:] + anchors[:1], positives[3:] + positives[:3]  # not even the right answer stays on the diagonal


def as_wide(name: str, u: torch.Tensor, anchors: torch.Tensor, positives: torch.Tensor, sharper: float = 1.0) -> float:
    """What the score called ``name`` is divided by, so that its spread is that of cosines; 1 for cosines."""
    if "inner" not in name:
        return 1.0
    return float(losses.score(name, u)(anchors, positives).std() / losses.cosine(anchors, positives).std() / sharper)


# --- The probe ------------------------------------------------------------------------------------


class Probe:
    """What a run does to fixed sentences: movement along the untrained components, lengths, aligned tokens."""

    def __init__(self, run: Run, texts: Sequence[str], pairs: Sequence[tuple[str, str, float]] = ()):
        self.texts, self.pairs = list(texts), list(pairs)
        tokenizer = run.embedder.tokenizer
        self.surface = surface_tokens(tokenizer, self.texts)
        self.content = content_tokens(tokenizer, self.surface)
        self.special = special_ids(tokenizer, len(run.embedder.unembedding))
        self.h = self.embed(run, self.texts)
        self.directions = components(self.h).directions
        self.u = self.directions[0]
        self.alpha0 = (self.h @ self.u).mean()
        self.rest0 = float(np.linalg.norm(self.h - np.outer(self.h @ self.u, self.u), axis=1).mean())
        self.before = self.measures(run, self.h)

    def row(self, step: int, now: np.ndarray) -> dict:
        """Movement of the first sentences' mean along the components, and mean lengths; ``now`` is ``[n, d]``.

        ``share`` is ``v_1² / |v|²``, ``share_by_text`` the same of what moved from text to text; ``mean`` is the length
        of the mean embedding, ``cosine`` its angle with the untrained one: a null can be made from them. ``unit`` is
        v_1 of embeddings that are cut to unit length on both sides, as GritLM's are.
        """
        n = len(now)
        change, means = now - self.h[:n], (self.h[:n].mean(axis=0), now.mean(axis=0))
        v, own = self.directions @ change.mean(axis=0), change - change.mean(axis=0)
        alpha = now @ self.u
        rest = np.linalg.norm(now - np.outer(alpha, self.u), axis=1)
        row = {
            "step": step, "n": n, "v_1": v[0], "largest_other": np.abs(v[1:]).max(), "alpha": alpha.mean(),
            "alpha_sd": alpha.std(), "length": np.linalg.norm(now, axis=1).mean(), "rest": rest.mean(),
            "share": v[0] ** 2 / max(float(change.mean(axis=0) @ change.mean(axis=0)), 1e-12),
            "share_by_text": ((own @ self.u) ** 2).sum() / max(float((own**2).sum()), 1e-12),
            "unit": (_along(now, self.u) - _along(self.h[:n], self.u)).mean(),
            "mean": np.linalg.norm(means[1]), "cosine": pair_cosine(means[0][None], means[1][None])[0],
        }  # fmt: skip
        return {key: round(float(value), 4) if key not in ("step", "n") else value for key, value in row.items()}

    def measures(self, run: Run, h: np.ndarray) -> dict:
        """Alignment with and without the first component, similarity raw and centred; ``h`` is ``[n, d]``."""
        found = {}
        if run.embedder.backbone.transformer.norm.__class__ is not torch.nn.Identity:
            removed = h - np.outer(h @ self.u, self.u)
            for name, states in (("raw", h), ("u_1 removed", removed)):
                found |= {f"{key}, {name}": value for key, value in self._alignment(run, states).items()}
        if self.pairs:
            left, right, gold = zip(*self.pairs, strict=True)
            both = self.embed(run, left + right)
            removed = both - np.outer(both @ self.u, self.u)
            for name, states in (("raw", both), ("centred", both - both.mean(axis=0)), ("u_1 removed", removed)):
                found[f"STS, {name}"] = spearman(pair_cosine(*np.split(states, 2)), np.array(gold))
        return {key: round(float(value), 4) for key, value in found.items()}

    def _alignment(self, run: Run, states: np.ndarray) -> dict:
        ranked, _ = top_tokens(
            states.astype(np.float32), run.embedder.unembedding, max(10, *map(len, self.surface)), self.special
        )
        other = [*self.content[1:], self.content[0]]  # another sentence's content words: what chance gives
        return {
            "Hit@10": hits(ranked, self.content).mean(),
            "chance": hits(ranked, other).mean(),
            "GAR": global_alignment(ranked, self.surface),
            "distinct": len(np.unique(ranked[:, :10])),
        }

    def embed(self, run: Run, texts: Sequence[str]) -> np.ndarray:
        with precision(run), torch.no_grad():
            h = embed(run.embedder, prepare(run.embedder, list(texts), None, None, run.recipe.max_tokens))
        return h.float().cpu().numpy().astype(np.float64)


def _along(h: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Cosine of every embedding with ``u``."""
    return h @ u / np.linalg.norm(h, axis=1)
