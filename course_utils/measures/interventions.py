"""Interventions: what a change of embeddings does to alignment, beside chance, text by text.

Pure functions on arrays. A :class:`Reader` decodes, :func:`judge` reads the aligned tokens of n texts once and keeps
what every comparison needs: for each text whether it is hit and its local alignment rate (LAR), both beside the mean of
the same measure with the aligned tokens of *other* texts, and the table of found tokens behind the global rate (GAR).
:func:`both_ways` steps along the first component from both sides; :func:`claim` holds the rule by which such a step is
called *sufficient* or *necessary*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils import gates
from course_utils.measures import spectrum
from course_utils.measures.alignment import (
    content_tokens,
    distinct_tops,
    special_ids,
    surface_tokens,
    tensor,
    variant_classes,
)
from course_utils.measures.evaluation import Interval, bootstrap
from course_utils.measures.nulls import pair_hits

#: Quantile of the normal distribution for an interval of 95 %.
_Z = 1.959964
#: How many shifts of the texts stand for "another text" in the chance level of GAR.
_SHIFTS = 10


@dataclass(frozen=True)
class Judged:
    """Alignment of n texts; w tokens belong to at least one of them.

    Attributes:
        hit: whether one of the first k aligned tokens belongs to the text, bool ``[n]``.
        hit_chance: share of the *other* texts' lists that hit this text, ``[n]``.
        lar: local alignment rate, ``[n]``.
        lar_chance: its mean over the other texts' lists, ``[n]``.
        found: which of its own tokens a text finds among its first ``|T_i|`` distinct places, bool ``[n, w]``.
        owned: which tokens belong to a text, bool ``[n, w]``.
        gar_chance: GAR when every text gets the list of another one; mean over ten shifts.
    """

    hit: np.ndarray
    hit_chance: np.ndarray
    lar: np.ndarray
    lar_chance: np.ndarray
    found: np.ndarray
    owned: np.ndarray
    gar_chance: float

    @property
    def hit_excess(self) -> np.ndarray:
        """Hit@K minus chance, text by text, ``[n]``."""
        return self.hit - self.hit_chance

    @property
    def lar_excess(self) -> np.ndarray:
        """LAR minus chance, text by text, ``[n]``."""
        return self.lar - self.lar_chance

    @property
    def gar(self) -> float:
        """``|∪_i (T_i ∩ T̂_i)| / |∪_i T_i|``, as :func:`course_utils.measures.alignment.global_alignment`."""
        return float(self.found.any(axis=0).sum() / self.owned.any(axis=0).sum())


def judge(ranked: np.ndarray, surface: Sequence[np.ndarray], k: int = 10, classes: np.ndarray | None = None) -> Judged:
    """Alignment of n texts beside chance, from their aligned tokens.

    Args:
        ranked: aligned tokens, best first, int ``[n, at least k]``. Every row must hold as many distinct tokens as the
            longest text has, because chance asks every list for the tokens of every text.
        surface: the tokens ``T_i`` that count for each text (all of them, or its content tokens), none empty.
        k: length of the list for Hit@K.
        classes: class of every token, so that variants count as one, int ``[V]``.

    Raises:
        ValueError: fewer than two texts, a row that is too short, or as in
            :func:`course_utils.measures.alignment.local_alignment`.
    """
    distinct_tops(ranked, surface, classes)  # refuses what does not fit
    ranked = np.asarray(ranked)
    n, k = len(ranked), gates.whole(k, "k", 1, ranked.shape[1], "aligned tokens that are ranked")
    if n < 2:
        raise ValueError("chance needs the words of another text: two texts or more")
    read = (lambda ids: np.asarray(ids)) if classes is None else (lambda ids: classes[ids])
    own = [np.unique(read(ids)) for ids in surface]
    columns = np.unique(np.concatenate(own))
    sets = [np.searchsorted(columns, ids) for ids in own]
    sizes = np.array([len(ids) for ids in sets])
    place, turn = _places(read(ranked), columns, int(sizes.max()))
    hits, rates = np.empty((n, n), dtype=bool), np.empty((n, n))
    for j, ids in enumerate(sets):
        hits[:, j] = (place[:, ids] < k).any(axis=1)
        rates[:, j] = (turn[:, ids] < sizes[j]).mean(axis=1)
    owner, column = np.repeat(np.arange(n), sizes), np.concatenate(sets)
    owned = np.zeros((n, len(columns)), dtype=bool)
    owned[owner, column] = True
    shifts = np.unique(np.linspace(1, n - 1, _SHIFTS).astype(int))
    by_others = [turn[(owner - shift) % n, column] < sizes[owner] for shift in shifts]
    chance = [len(np.unique(column[found])) / len(columns) for found in by_others]
    found = np.zeros_like(owned)
    found[owner, column] = turn[owner, column] < sizes[owner]
    return Judged(*_apart(hits), *_apart(rates), found, owned, float(np.mean(chance)))


def _places(ranked: np.ndarray, columns: np.ndarray, needed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each column's token stands in each list, and where among its distinct tokens; int ``[n, w]`` each.

    A token that is not ranked stands behind every place.
    """
    place = np.full((len(ranked), len(columns)), np.iinfo(np.int32).max, dtype=np.int32)
    turn = place.copy()
    for i, row in enumerate(ranked):
        tokens, first = np.unique(row, return_index=True)
        if len(tokens) < needed:
            raise ValueError(
                f"the longest text has {needed} distinct tokens, but only {len(tokens)} distinct aligned tokens are "
                f"ranked for text {i}; decode with a larger k"
            )
        at = np.searchsorted(columns, tokens).clip(max=len(columns) - 1)
        known = columns[at] == tokens
        place[i, at[known]] = first[known]
        turn[i, at[known]] = np.argsort(np.argsort(first))[known]
    return place, turn


def _apart(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The diagonal of ``pairs [n, n]``, and for every column the mean of the rest."""
    own = np.diagonal(pairs).copy()
    return own, (pairs.sum(axis=0) - own) / (len(pairs) - 1)


# --- A step along a direction, both ways ----------------------------------------------------------


class Reader:
    """How the embeddings of n texts are decoded and judged: the output layer, the tokens that count, the variants.

    A step along a direction moves every logit along a straight line, ``E_g (h + λ u) = E_g h + λ E_g u``: the logits of
    the texts are computed once, and each step costs an addition.

    Args:
        unembedding: ``E_g [V, d]``.
        surface: the tokens that count for each text, none empty.
        exclude: tokens that are never aligned, such as special ones.
        classes: class of every token, so that variants count as one, int ``[V]``.
        k: length of the list for Hit@K.
    """

    def __init__(
        self,
        unembedding: np.ndarray,
        surface: Sequence[np.ndarray],
        exclude: Sequence[int] = (),
        classes: np.ndarray | None = None,
        k: int = 10,
    ):
        self.weight = tensor(gates.matrix(unembedding, "unembedding", "[V, d]"))
        self.surface, self.classes, self.k = list(surface), classes, k
        self.exclude = gates.token_ids(exclude, len(self.weight), "exclude")
        read = np.unique if classes is None else lambda ids: np.unique(classes[ids])
        self.longest = max(len(read(gates.token_ids(ids, len(self.weight), "surface"))) for ids in self.surface)

    def logits(self, embeddings: np.ndarray):
        """``E_g h`` of every text, a tensor ``[n, V]``; excluded tokens are at minus infinity and stay there."""
        logits = tensor(gates.matrix(embeddings)) @ self.weight.T
        logits[:, self.exclude] = -float("inf")
        return logits

    def slope(self, direction: np.ndarray):
        """``E_g u [V]``: what a step of length 1 along a direction ``[d]`` adds to every logit."""
        return self.weight @ tensor(gates.vector(direction, "direction").astype(np.float32))

    def judge(self, logits) -> Judged:
        """Alignment of the texts with these logits, beside chance."""
        most = len(self.weight) - len(self.exclude)
        ranks = min(max(self.k, 2 * self.longest), most)
        while True:
            ranked = logits.topk(ranks, dim=1).indices.numpy()
            read = ranked if self.classes is None else self.classes[ranked]
            # Variants of one word fill places of the list, more of them in a large vocabulary.
            if ranks == most or min(len(np.unique(row)) for row in read) >= self.longest:
                return judge(ranked, self.surface, self.k, self.classes)
            ranks = min(2 * ranks, most)

    def hit_excess(self, logits) -> np.ndarray:
        """Hit@K minus chance alone, text by text, ``[n]``: a fraction of the time of :meth:`judge`."""
        found = pair_hits(logits.topk(self.k, dim=1).indices.numpy(), self.surface, self.k, self.classes)
        own, others = _apart(found)
        return own - others


def reading(tokenizer, unembedding: np.ndarray, texts: Sequence[str]) -> tuple[list[int], Reader]:
    """Which texts have content words, and the :class:`Reader` of those texts that counts just these, in any spelling.

    Args:
        tokenizer: of the model whose output layer decodes.
        unembedding: ``E_g [V, d]``.
        texts: what was embedded.

    Raises:
        ValueError: no text has a content word, or as in :class:`Reader`.
    """
    content = content_tokens(tokenizer, surface_tokens(tokenizer, texts))
    kept = [i for i, tokens in enumerate(content) if len(tokens)]
    if not kept:
        raise ValueError(f"none of the {len(texts)} texts has a content word")
    size = len(unembedding)
    special, classes = special_ids(tokenizer, size), variant_classes(tokenizer, size)
    return kept, Reader(unembedding, [content[i] for i in kept], special, classes)


@dataclass(frozen=True)
class BothWays:
    """An untrained model and its embedder, each after a step of the length of v_1 towards the other.

    Attributes:
        v_1: mean movement along ``u_1`` on the texts of the estimate.
        start: ``"untrained"`` and ``"embedder"`` as they are.
        stepped: for each start what a step along ``u_1`` gives: ``+ v_1 u_1`` from the untrained model, ``− v_1 u_1``
            from the embedder.
        controls: for each start and control the Hit@K minus chance, ``[m, n]``, after m steps of the same length:
            ``"u_2"`` and ``"c_1"`` with both signs, and ``"random"`` directions.
    """

    v_1: float
    start: dict[str, Judged]
    stepped: dict[str, Judged]
    controls: dict[str, dict[str, np.ndarray]]

    def control(self, start: str, kind: str) -> np.ndarray:
        """Of a control its step that goes furthest, of the random directions the one in the middle; ``[n]``."""
        found = self.controls[start][kind]
        order = np.argsort(found.mean(axis=1), kind="stable")
        return found[order[len(order) // 2 if kind == "random" else -1 if start == "untrained" else 0]]


def both_ways(
    before: np.ndarray, after: np.ndarray, fit: slice, held_out: Sequence[int], reader: Reader, n_random: int = 20
) -> BothWays:
    """Add the movement of the first component to an untrained model; take it from the embedder.

    ``u_1``, ``u_2`` (uncentred), ``c_1`` (the first component after centring) and ``v_1`` are estimated on the rows
    ``fit`` and used on the rows ``held_out``, which ``reader`` judges. The random directions are those of seed 0.

    Raises:
        ValueError: shapes that do not fit, rows that are in both, or as in :class:`Reader`.
    """
    before, after = gates.matrix(before, "before"), gates.matrix(after, "after")
    held_out = np.asarray(held_out)
    if np.isin(held_out, np.arange(len(before))[fit]).any():
        raise ValueError("a text of the estimate is among those that are judged: choose held-out rows")
    fitted = spectrum.components(before[fit])
    u_1, u_2 = fitted.directions[:2]
    v_1 = float(spectrum.variation(before[fit], after[fit], u_1).mean())
    c_1 = spectrum.components(before[fit], centre=True).directions[0]
    drawn = np.random.default_rng(0).normal(size=(gates.whole(n_random, "n_random"), before.shape[1]))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    directions = {"u_2": (u_2, -u_2), "c_1": (c_1, -c_1), "random": drawn}
    slopes = {kind: [reader.slope(direction) for direction in group] for kind, group in directions.items()}
    start, stepped, controls = {}, {}, {}
    for name, states, amount in (("untrained", before, v_1), ("embedder", after, -v_1)):
        logits = reader.logits(states[held_out])
        start[name], stepped[name] = reader.judge(logits), reader.judge(logits + amount * reader.slope(u_1))
        controls[name] = {
            kind: np.stack([reader.hit_excess(logits + amount * slope) for slope in group])
            for kind, group in slopes.items()
        }
    return BothWays(v_1, start, stepped, controls)


# --- Paired differences ---------------------------------------------------------------------------


def global_difference(after: Judged, before: Judged) -> Interval:
    """GAR after minus GAR before, on the same texts, with its 95 % interval.

    A bootstrap draws some texts twice and so has fewer different tokens: it would be off centre. The interval is the
    jackknife's, which leaves out one text at a time: ``s² = (n − 1)/n Σ_i (θ_(i) − θ̄)²`` (Efron and Stein 1981, "The
    jackknife estimate of variance").

    Raises:
        ValueError: other texts on the two sides, or fewer than three.
    """
    _same_texts(after, before)
    n = len(after.found)
    if n < 3:
        raise ValueError(f"the jackknife needs three texts or more; got {n}")
    left_out = _without_each(after) - _without_each(before)
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    value = after.gar - before.gar
    return Interval(value, value - _Z * error, value + _Z * error)


def as_good_as_best(judged: Sequence[Judged], measure: str = "hit") -> tuple[int, np.ndarray]:
    """Which of several states of the same texts is best, and which cannot be told from it.

    A state is worse only where the 95 % interval of the paired difference lies above zero. No correction is made for
    the choice of the best among many, so the answer errs on the side of "worse".

    Args:
        judged: the states.
        measure: ``"hit"`` or ``"lar"``, both above chance, or ``"gar"``.

    Returns:
        the number of the best state, and for every state whether it is as good, bool ``[m]``.

    Raises:
        ValueError: another measure, no states, or other texts in one of them.
    """
    if measure not in ("hit", "lar", "gar") or not judged:
        raise ValueError(f"measure is 'hit', 'lar' or 'gar', of one state or more; got {measure!r} of {len(judged)}")
    if measure == "gar":
        best = int(np.argmax([j.gar for j in judged]))
        gaps = [global_difference(judged[best], j) for j in judged]
    else:
        values = [getattr(j, f"{measure}_excess") for j in judged]
        best = int(np.argmax([v.mean() for v in values]))
        gaps = [bootstrap(values[best] - v) for v in values]
    return best, np.array([not gap.low > 0 for gap in gaps])


def _without_each(judged: Judged) -> np.ndarray:
    """GAR of all texts but the i-th, ``[n]``: what goes is what this text alone found, or alone owned."""
    rest = []
    for table in (judged.found, judged.owned):
        counts = table.sum(axis=0)
        rest.append((counts > 0).sum() - (table & (counts == 1)).sum(axis=1))
    return rest[0] / rest[1]


@dataclass(frozen=True)
class Halfway:
    """How far a change has gone from one state of the embeddings to another.

    Attributes:
        gap: the whole way, ``mean(end − start)``, paired by text.
        way: what the change has gone of it, ``mean(changed − start)``.
        more: the way minus half of the gap, in the direction of the gap.
        answer: ``"yes"`` where the whole interval of ``more`` lies above zero, ``"no"`` where it lies below,
            ``"open"`` where it holds zero, and ``"no gap"`` where the interval of the gap holds zero.
    """

    gap: Interval
    way: Interval
    more: Interval
    answer: str


def halfway(start: np.ndarray, end: np.ndarray, changed: np.ndarray, seed: int = 0) -> Halfway:
    """Has a change gone at least half of the way from ``start`` to ``end``? One value for each text, ``[n]`` each.

    With the untrained model as start and the embedder as end it asks whether a change is *sufficient*; with the two
    exchanged, whether undoing it takes the effect away, so whether it is *necessary*.

    Raises:
        ValueError: different lengths, fewer than two texts, or NaN.
    """
    start, end, changed = (gates.vector(v, name) for v, name in ((start, "start"), (end, "end"), (changed, "changed")))
    if not len(start) == len(end) == len(changed) or len(start) < 2:
        raise ValueError(
            f"start, end and changed must hold one value for each of the same texts, two at least; "
            f"got {len(start)}, {len(end)} and {len(changed)}"
        )
    gap, way = bootstrap(end - start, seed=seed), bootstrap(changed - start, seed=seed)
    side = 1.0 if gap.value >= 0 else -1.0
    more = bootstrap(side * ((changed - start) - (end - start) / 2), seed=seed)
    if gap.low <= 0 <= gap.high:
        answer = "no gap"
    else:
        answer = "yes" if more.low > 0 else "no" if more.high < 0 else "open"
    return Halfway(gap, way, more, answer)


def _same_texts(after: Judged, before: Judged) -> None:
    if after.owned.shape != before.owned.shape or (after.owned != before.owned).any():
        raise ValueError("a paired difference needs the same texts, with the same tokens, on both sides")


@dataclass(frozen=True)
class Claim:
    """Whether a step along ``u_1`` is sufficient (from the untrained model) or necessary (from the embedder).

    Attributes:
        way: how far the step goes, see :class:`Halfway`.
        edge: how much further it goes than the better of ``u_2`` and ``c_1``, paired by text.
        random: share of the random directions that go at least as far.
        answer: that of ``way``; but ``"unspecific"`` for a yes that a control reaches as well: where the interval of
            ``edge`` does not lie above zero, or more than one in twenty random directions goes as far.
    """

    way: Halfway
    edge: Interval
    random: float
    answer: str


def claim(found: BothWays, start: str) -> Claim:
    """The rule, on Hit@K minus chance: at least half of the gap, and further than the controls.

    Args:
        found: what the steps give.
        start: ``"untrained"`` asks whether ``+ v_1 u_1`` is sufficient; ``"embedder"`` whether the movement is
            necessary, that is, whether ``− v_1 u_1`` takes the alignment away.

    Raises:
        ValueError: another start.
    """
    if start not in found.start:
        raise ValueError(f"start is one of {', '.join(found.start)}; got {start!r}")
    [end] = set(found.start) - {start}
    stepped, side = found.stepped[start].hit_excess, 1 if start == "untrained" else -1
    way = halfway(found.start[start].hit_excess, found.start[end].hit_excess, stepped)
    best = max((found.control(start, kind) for kind in ("u_2", "c_1")), key=lambda values: side * values.mean())
    edge = bootstrap(side * (stepped - best))
    as_far = side * found.controls[start]["random"].mean(axis=1) >= side * stepped.mean()
    unspecific = way.answer == "yes" and not (edge.low > 0 and as_far.mean() <= 0.05)
    return Claim(way, edge, float(as_far.mean()), "unspecific" if unspecific else way.answer)
