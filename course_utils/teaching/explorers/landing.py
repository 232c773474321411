"""The figure on the site's first page: what a browser needs to follow λ without a model.

Decoding is linear: after a step along the first component the logits are ``E_g (h + λ u_1) = E_g h + λ E_g u_1``, as in
:func:`course_utils.measures.spectrum.shift` and lesson 03, without a norm in between. Of a sentence only the tokens
count that are among the first ten somewhere on the slider; with their logits at λ = 0 and their slopes ``E_g u_1`` the
browser finds the same ten for every position as the model would. The numbers are made by

    several-tokens site-data
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures.alignment import content_tokens, special_ids, surface_tokens, top_tokens
from course_utils.measures.spectrum import components, shift
from course_utils.models.embedder import Embedder, load_family
from course_utils.shipped import arrays, files
from course_utils.teaching.explorers.page import spelled
from course_utils.teaching.figures.tokens import kinds

DATA = Path(__file__).resolve().parents[3] / "data"
#: The sentences, one a line; and the numbers.
SENTENCES, NUMBERS = DATA / "landing_sentences.txt", DATA / "landing.json"
#: The untrained model, and the embedder made from it: those of lesson 03.
ORIGIN, TRAINED = "smollm2", "smol-sgpt-nli"
#: Ends and step of the slider, and tokens shown.
LOWEST, HIGHEST, STEP, K = -30.0, 5.0, 0.5, 10
#: Ends of the histogram of ``h·u_1``; its bins are 1 wide.
BINS = (-20, 50)
#: Digits after the point of a logit, and of the slope, which λ multiplies by up to 30.
_DIGITS, _SLOPE_DIGITS = 4, 6


def positions() -> np.ndarray:
    """Every λ that the slider can take, lowest first."""
    return np.arange(round((HIGHEST - LOWEST) / STEP) + 1) * STEP + LOWEST


def candidates(h: np.ndarray, direction: np.ndarray, unembedding, exclude: Sequence[int], k: int = K) -> np.ndarray:
    """Ids of the tokens that are among the first ``k`` at any position, in order of first appearance, ``[m]``.

    Args:
        h: an embedding, ``[d]``.
        direction: ``u_1``, ``[d]``.
    """
    steps = positions()[::-1]
    along = shift(np.repeat(h[None], len(steps), axis=0), direction, steps)
    return np.array(list(dict.fromkeys(top_tokens(along, unembedding, k, exclude)[0].ravel().tolist())))


def best(logits: np.ndarray, slopes: np.ndarray, amount: float, k: int = K) -> np.ndarray:
    """What the page's script does: the places of the k largest ``logit + λ slope``, best first, ``[k]``."""
    return np.argsort(-(logits + amount * slopes), kind="stable")[:k]


def numbers(
    origin: Embedder, trained: Embedder, sentences: Sequence[str], embedded: Sequence[np.ndarray], report: Callable
) -> dict:
    """Everything the figure shows, rounded, as JSON takes it.

    Args:
        sentences: what can be chosen.
        embedded: embeddings of other texts by the origin and by the embedder, two ``[n, d]``: ``u_1`` and the
            histograms come from them.
        report: called with a line for every ten sentences.

    Raises:
        ValueError: rounding would show other tokens than the model.
    """
    direction = components(embedded[0]).directions[0]
    weight = origin.unembedding.detach().float().cpu().numpy()
    special = special_ids(origin.tokenizer, len(weight))
    H = origin.encode(sentences)
    tops = top_tokens(trained.encode(sentences), weight, K, special)[0]
    chosen = []
    for n, h in enumerate(H, start=1):
        chosen.append(candidates(h, direction, weight, special))
        if n % 10 == 0:
            report(f"{n} of {len(sentences)} sentences")
    table = _Table(origin.tokenizer, np.unique(np.concatenate([*chosen, *tops])), weight, direction)
    surface = surface_tokens(origin.tokenizer, sentences)
    own = zip(surface, content_tokens(origin.tokenizer, surface), strict=True)
    rows = [table.row(*each) for each in zip(sentences, H, chosen, own, tops, strict=True)]
    return {
        "models": {"untrained": origin.spec.name, "trained": trained.spec.name},
        "slider": {"lowest": LOWEST, "highest": HIGHEST, "step": STEP, "k": K},
        **_spread(*(rows @ direction for rows in embedded)),
        "tokens": table.tokens,
        "slopes": table.rounded.tolist(),
        "sentences": rows,
    }


def _spread(before: np.ndarray, after: np.ndarray) -> dict:
    """Where other texts lie along ``u_1``, without and with training, each ``[n]``: means, ``v_1``, histograms."""
    both = {"untrained": before, "trained": after}
    edges = np.arange(BINS[0], BINS[1] + 1)
    return {
        "texts": len(before),
        "variation": round(float((after - before).mean()), 2),
        "means": {name: round(float(values.mean()), 2) for name, values in both.items()},
        "bins": list(BINS),
        "histogram": {name: np.histogram(values, edges)[0].tolist() for name, values in both.items()},
    }


class _Table:
    """The tokens of the figure: each stands once, and sentences name it by its place."""

    def __init__(self, tokenizer, vocabulary: np.ndarray, weight: np.ndarray, direction: np.ndarray):
        self.weight, self.direction, self.tokenizer = weight, direction.astype(np.float32), tokenizer
        self.place = {int(i): p for p, i in enumerate(vocabulary)}
        self.tokens = spelled(tokenizer, vocabulary)
        self.slopes = (weight[vocabulary] @ self.direction).astype(float)
        self.rounded = np.round(self.slopes, _SLOPE_DIGITS)

    def row(self, sentence: str, h: np.ndarray, ids: np.ndarray, own: tuple[np.ndarray, ...], top: np.ndarray) -> dict:
        """What the page keeps of one sentence: its tokens anywhere on the slider, and those after training.

        ``own`` are the tokens that the sentence consists of, and the content tokens among them.
        """
        texts, places = spelled(self.tokenizer, own[0]), [self.place[i] for i in ids.tolist()]
        exact = (self.weight[ids] @ h).astype(float)
        logits = np.round(exact, _DIGITS)
        _check_rounding(sentence, (logits, self.rounded[places]), (exact, self.slopes[places]))
        after = [self.place[i] for i in top.tolist()]
        return {
            "text": sentence,
            "coefficient": round(float(h @ self.direction), 2),
            "tokens": places,
            "logits": logits.tolist(),
            "kinds": self._kinds(places, texts),
            "content": [self.place[i] for i in own[1].tolist() if i in self.place],
            "trained": after,
            "trained_kinds": self._kinds(after, texts),
        }

    def _kinds(self, places: Sequence[int], texts: Sequence[str]) -> str:
        """The first letter of each token's kind."""
        return "".join(kind[0] for kind in kinds([self.tokens[p] for p in places], texts))


def _check_rounding(sentence: str, rounded: tuple[np.ndarray, np.ndarray], exact: tuple[np.ndarray, np.ndarray]):
    """Raise where rounded logits and slopes show other tokens than exact ones, or another order beyond a tie."""
    for amount in positions():
        logits = exact[0] + amount * exact[1]
        if np.abs(logits[best(*rounded, amount)] - np.sort(logits)[::-1][:K]).max() > 1e-3:
            raise ValueError(f"at λ = {amount} the rounded numbers show other tokens than the model: {sentence!r}")


def source() -> dict[str, str]:
    """What the numbers depend on, as checksums: sentences, the texts behind ``u_1``, both embedders."""
    from course_utils.models import registry

    made_from = {"sentences": files.digest(SENTENCES.read_bytes())}
    for name in (ORIGIN, TRAINED):
        made_from |= {f"{name}: {key}": value for key, value in arrays.source("sentences", registry.get(name)).items()}
    return made_from


def write(report: Callable[[str], None] = print) -> Path:
    """Make the numbers and write them, atomically; the path."""
    family = load_family([ORIGIN, TRAINED])
    sentences = gates.read_text(SENTENCES).split("\n")[:-1]
    embedded = [arrays.load("sentences", name) for name in (ORIGIN, TRAINED)]
    made = numbers(family[ORIGIN], family[TRAINED], sentences, embedded, report)
    with gates.replacing(NUMBERS) as out:
        json.dump({"made_from": source()} | made, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")
    return NUMBERS
