"""The card of any embedder: does it align, how much of that is chance, and what does its first component hide?

    several-tokens audit minilm --out data/audits/minilm.json
    several-tokens audit smol-eol --origin smollm2-last

A card is a dictionary that is written as JSON (:func:`audit`) and read by people (:func:`text_card`). The cards that
ship lie in ``data/audits``; an embedder that could not be run has none, and nothing is guessed in its place.

What is measured, everywhere beside the same with the words of other texts: Hit@10 on content words, LAR and GAR as in
lesson 02 (variants merged), the places among the ten aligned tokens that are words of the text, and those that are
*near* one (:mod:`course_utils.measures.semantic`). All of it three times: as it is, and after half or all of the first
component is taken away. The component comes from the half of the texts that it is not applied to.
"""

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from course_utils import gates
from course_utils.measures import semantic
from course_utils.measures.alignment import (
    content_tokens,
    distinct_tops,
    global_alignment,
    local_alignment,
    readable,
    special_ids,
    surface_tokens,
    top_tokens,
    variant_classes,
)
from course_utils.measures.evaluation import Interval, bootstrap, bootstrap_indices, bootstrap_rows
from course_utils.measures.nulls import Beside, above_chance, movement, pair_counts, pair_hits
from course_utils.measures.spectrum import components, shift
from course_utils.models import registry
from course_utils.shipped import arrays, files
from course_utils.shipped.kinds import N_SENTENCES
from course_utils.shipped.near import Meaning, word_of
from course_utils.texts import parallel
from course_utils.texts.datasets import wikipedia_sentences

#: Folder of the cards that ship, and the file of figures that others measured.
AUDITS = Path(__file__).resolve().parents[2] / "data" / "audits"
QUOTED = AUDITS.parent / "quoted_audits.json"
#: Sentences that an audit reads if none are given.
N_TEXTS = 200
#: Shares of the first component that are taken away.
REMOVED = (0.0, 0.5, 1.0)
#: Sentence i is compared with the aligned tokens of sentence i − s·n, for these s.
SHIFTS = (0.1, 0.3, 0.5, 0.7, 0.9)


# --- The card -------------------------------------------------------------------------------------


def audit(
    embedder,
    origin=None,
    texts: Sequence[str] | None = None,
    meaning: Meaning | None = None,
    role: str | None = None,
    report: Callable[[str], object] = lambda line: None,
) -> dict:
    """Measure an embedder; the dictionary can be written as JSON.

    Args:
        embedder: what :func:`course_utils.models.embedder.load` returns.
        origin: the untrained model that it was made from, loaded as well; without it nothing is said of ``v_1``.
        texts: what it reads; by default 200 Wikipedia sentences. Those without a content word are left out.
        meaning: word embeddings for semantic hits; loaded if not given.
        role: ``"query"`` or ``"passage"`` for embedders that mark the two; neither by default.
        report: called with a line about progress.

    Raises:
        ValueError: fewer than ten texts with content words, or an origin with embeddings of another width.
        TypeError: no list of texts.
    """
    start = time.perf_counter()
    read = _Read(embedder, wikipedia_sentences(N_TEXTS) if texts is None else gates.texts(texts))
    h, state = states(embedder, read.texts, role, report)
    encoded = time.perf_counter() - start
    meaning = meaning or Meaning()
    report(f"{embedder.spec.name}: decoding")
    settings, decoded = zip(*(_setting(read, removed(h, share), share, meaning) for share in REMOVED), strict=True)
    card = {
        "name": _named(embedder.spec.name),
        "command": _command(embedder, origin and origin.spec.name, "FILE" if texts is not None else None, role),
        "state": state,
        "decodes": embedder.decodes,
        "d": int(h.shape[1]),
        "vocabulary": len(embedder.unembedding),
        "made_from": source(embedder.spec, texts),
        "texts": len(read.texts),
        "semantic": {"threshold": round(meaning.threshold, 4), "chance per token": meaning.share},
        "first component": _first(h),
        "settings": settings,
        "hit per text": "".join("01"[int(hit)] for hit in decoded[0][1]),
        "v_1": None if origin is None else _moved(read, origin, h, report),
        "translations": _translations(embedder),
        "examples": [
            {"text": text, "tokens": readable(embedder.tokenizer, row)}
            for text, row in zip(read.texts[:10], decoded[0][0][:10], strict=True)
        ],
        "seconds": {"encoding": round(encoded, 1), "all": round(time.perf_counter() - start, 1)},
    }
    return json.loads(json.dumps(card), parse_float=lambda digits: round(float(digits), 5))


def _named(name: str) -> str:
    """A registry name or hub id as it is, of a folder its last part: a card is read on other machines."""
    return Path(name).name if Path(name).is_absolute() else name


def _command(embedder, origin: str | None, texts, role: str | None, backbone=None) -> str:
    """What makes the card again, without the folders of one machine; an origin that the registry knows goes unsaid."""
    spec, dtype = embedder.spec, embedder.backbone.precision
    said = {"--origin": None if origin == spec.origin else origin, "--backbone": backbone, "--texts": texts}
    said |= {"--role": role, "--dtype": None if dtype == "float32" else dtype}
    words = [word for key, value in said.items() if value for word in (key, _named(str(value)))]
    return shlex.join(["several-tokens", "audit", _named(spec.name), *words])


class _Read:
    """Texts with content words, their tokens, and how this embedder's states are decoded."""

    def __init__(self, embedder, texts: Sequence[str]):
        self.embedder, tokenizer = embedder, embedder.tokenizer
        surface = surface_tokens(tokenizer, texts)
        content = content_tokens(tokenizer, surface)
        kept = [i for i, tokens in enumerate(content) if len(tokens)]
        if len(kept) < 10:
            raise ValueError(f"an audit needs ten texts with content words; {len(kept)} of {len(texts)} have one")
        self.texts, self.surface, self.content = ([each[i] for i in kept] for each in (texts, surface, content))
        self.special = special_ids(tokenizer, len(embedder.unembedding))
        self.classes = variant_classes(tokenizer, len(embedder.unembedding))
        longest = max(map(len, self.surface))
        # Variants of one word fill several places, so the list is longer than the longest text.
        self.deep = min(len(embedder.unembedding) - len(self.special), max(256, 6 * longest))

    def top(self, h: np.ndarray, k: int) -> np.ndarray:
        """Aligned tokens of pooled states, ``[n, k]``."""
        return top_tokens(self.embedder.readout(h), self.embedder.unembedding, k, self.special)[0]


def states(
    embedder, texts: Sequence[str], role: str | None = None, report: Callable[[str], object] = print
) -> tuple[np.ndarray, str]:
    """The states of texts that are decoded, float32 ``[n, d]``, and in words which those are.

    Where the texts are sentences whose embeddings ship and are current, they are read: one byte a number, which moves
    near ties and nothing else. An embedder that scales to unit length is always asked afresh, as its scale is lost.
    """
    spec = embedder.spec
    shipped = dict(zip(wikipedia_sentences(N_SENTENCES), range(N_SENTENCES), strict=True))
    as_shipped = not (role or spec.normalize) and embedder.backbone.precision == "float32"
    if as_shipped and all(t in shipped for t in texts) and spec.name in arrays.have("sentences"):
        if spec == registry.get(spec.name) and arrays.is_current("sentences", spec):
            rows = arrays.load("sentences", spec.name)[[shipped[text] for text in texts]]
            return rows, f"pooled ({spec.pooling}), read from the arrays that ship, one byte a number"
    report(f"{spec.name}: encoding {len(texts)} texts")
    said = f", texts marked as {role}" if role else ""
    return embedder.pooled(texts, role=role), f"pooled ({spec.pooling}), before any Dense layer and scaling{said}"


def removed(h: np.ndarray, share: float) -> np.ndarray:
    """States ``[n, d]`` without ``share`` of their own first component; float32.

    ``h_i − share · (u_1ᵀ h_i) u_1``, with ``u_1`` of the texts with even numbers for those with odd ones, and the
    other way round: no text has a say in its own direction.
    """
    if not share:
        return h.astype(np.float32)
    result = np.empty(h.shape, dtype=np.float32)
    for part, u in _crossed(h):
        result[part] = shift(h[part], u, -share * (h[part] @ u))
    return result


def _crossed(h: np.ndarray, centre: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each half of the texts with the first component of the other."""
    parity = np.arange(len(h)) % 2
    return [(parity == half, components(h[parity != half], centre).directions[0]) for half in (0, 1)]


def _first(h: np.ndarray) -> dict:
    """Shares of the first component on texts that it was not computed from, with intervals over texts."""
    h = h.astype(np.float64)
    shares = {}
    for name, centre in (("of the squared norm", False), ("of the centred variance", True)):
        along, total = np.empty(len(h)), np.empty(len(h))
        for part, u in _crossed(h, centre):
            rows = h[part] - (h[part].mean(axis=0) if centre else 0)
            along[part], total[part] = (rows @ u) ** 2, (rows**2).sum(axis=1)
        shares[name] = asdict(bootstrap_rows(along, total, statistic=lambda a, t: a.sum() / t.sum()))
    return shares


def _setting(read: _Read, h: np.ndarray, share: float, meaning: Meaning) -> tuple[dict, tuple[np.ndarray, np.ndarray]]:
    """All measures of one setting, the ten aligned tokens of each text, and which texts are hit."""
    ranked = read.top(h, read.deep)
    found = pair_hits(ranked, read.content, 10, read.classes)
    own = pair_counts(ranked, read.content, 10, read.classes) / 10
    near = meaning.near(read.embedder.tokenizer, read.texts, ranked[:, :10])
    measures = {
        "content Hit@10": above_chance(found),
        "LAR": _lar(read, ranked),
        "GAR": _gar(read, ranked),
        "own of ten": above_chance(own),
        "near of ten": above_chance(near.mean(axis=2)),
        "semantic Hit@10": above_chance(near.any(axis=2)),
    }
    ten = ranked[:, :10]
    setting = {"removed": share, **{key: asdict(value) for key, value in measures.items()}}
    return setting | {"different tokens": len(np.unique(ten))}, (ten, np.diagonal(found))


def _shifted(measure: Callable, ranked: np.ndarray) -> list:
    """A measure of the aligned tokens of other texts, once for each of :data:`SHIFTS`."""
    return [measure(np.roll(ranked, max(1, int(s * len(ranked))), axis=0)) for s in SHIFTS]


def _lar(read: _Read, ranked: np.ndarray) -> Beside:
    def rate(top):
        return local_alignment(top, read.surface, read.classes)

    own, others = rate(ranked), np.mean(_shifted(rate, ranked), axis=0)
    return Beside(bootstrap(own), float(others.mean()), bootstrap(own - others))


def _gar(read: _Read, ranked: np.ndarray) -> Beside:
    """GAR and its interval as lesson 02 computes it: a drawn set repeats texts, so the draws are moved back."""
    chance = float(np.mean(_shifted(lambda top: global_alignment(top, read.surface, read.classes), ranked)))
    own = [np.unique(read.classes[t]) for t in read.surface]
    matched = [
        np.intersect1d(a, b) for a, b in zip(own, distinct_tops(ranked, read.surface, read.classes), strict=True)
    ]
    columns = np.unique(np.concatenate(own))
    there, right = (_grid(sets, columns) for sets in (own, matched))
    drawn = []

    def rate(rows: np.ndarray) -> float:
        drawn.append(right[rows].any(axis=0).sum() / there[rows].any(axis=0).sum())
        return drawn[-1]

    raw = bootstrap_indices(len(own), rate, 300)
    off = np.median(drawn) - raw.value
    value = Interval(raw.value, raw.low - off, raw.high - off)
    return Beside(value, chance, Interval(*(end - chance for end in (value.value, value.low, value.high))))


def _grid(sets: Sequence[np.ndarray], columns: np.ndarray) -> np.ndarray:
    grid = np.zeros((len(sets), len(columns)), dtype=bool)
    for row, ids in zip(grid, sets, strict=True):
        row[np.searchsorted(columns, ids)] = True
    return grid


def _moved(read: _Read, origin, h: np.ndarray, report: Callable[[str], object]) -> dict:
    """``v_1`` and its share beside a random rotation of the embedder's states."""
    before, _ = states(origin, read.texts, None, report)
    if before.shape != h.shape:
        raise ValueError(
            f"{origin.spec.name} has states of {before.shape[1]} values, {read.embedder.spec.name} of {h.shape[1]}: "
            "it is not what the embedder was made from"
        )
    moved = movement(before, h, components(before).directions[0])
    return {"origin": _named(origin.spec.name), "v": asdict(moved.v)} | {
        name: asdict(part) | {"excess": part.excess, "found": part.found}
        for name, part in (("share of the mean movement", moved.mean), ("share per text", moved.texts))
    }


def _translations(embedder) -> dict:
    """English sentences of lesson 08: does a key word come out, and does one in another language?"""
    texts, english = parallel.sentences("en"), parallel.keys("en")
    others = [parallel.keys(language) for language in parallel.LANGUAGES if language != "en"]
    spelled_alike = [{word.casefold() for word in own} for own in english]
    translated = [
        sorted({word for keys in others for word in keys[i] if word.casefold() not in spelled_alike[i]})
        for i in range(len(texts))
    ]
    special = special_ids(embedder.tokenizer, len(embedder.unembedding))
    ids, _ = top_tokens(embedder.readout(embedder.pooled(texts)), embedder.unembedding, 10, special)
    tokens = [[word_of(embedder.tokenizer, t) for t in row] for row in ids.tolist()]
    return {
        "sentences": len(texts),
        "key word": asdict(above_chance(semantic.dictionary_hits(tokens, english))),
        "translation": asdict(above_chance(semantic.dictionary_hits(tokens, translated))),
    }


# --- Cards that ship ------------------------------------------------------------------------------


def source(spec, texts: Sequence[str] | None = None) -> dict[str, str]:
    """What a card depends on, as checksums: texts, how they are read, weights (where the course stores them)."""
    read = wikipedia_sentences(N_TEXTS) if texts is None else gates.texts(texts)
    parts = {"texts": files.digest("\n".join(read).encode()), "reading": files.reading(spec)}
    try:
        return parts | files.weights(spec)
    except (KeyError, ValueError, OSError):  # a folder or a hub's model: the reader knows which it was
        return parts | {"backbone": _named(str(spec.backbone)), "adapters": ""}


def have() -> list[str]:
    """Names of the embedders whose cards ship."""
    return sorted(path.stem for path in AUDITS.glob("*.json"))


def card(name: str) -> dict:
    """The card of an embedder that ships.

    Raises:
        FileNotFoundError: there is none; the message lists those there are.
        ValueError: a damaged file.
    """
    if name not in have():
        raise FileNotFoundError(f"no card of {name!r} in data/audits; there are: {', '.join(have()) or 'none'}. "
                                f"To make it, run several-tokens audit {name} --out FILE.json")  # fmt: skip
    return gates.json_value(gates.read_text(AUDITS / f"{name}.json"), f"{name}.json")


def quoted() -> list[dict]:
    """Figures that others measured on embedders that are not here, each with its conditions."""
    return gates.json_value(gates.read_text(QUOTED), QUOTED.name)


def is_current(name: str) -> bool:
    """Whether a card was made from today's texts, weights and way of reading."""
    return card(name)["made_from"] == source(registry.get(name))


def write(path: Path | str, measured: dict) -> None:
    """Write a card as JSON, atomically."""
    with gates.replacing(path) as file:
        file.write(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")


def run(
    name: str | Path,
    origin: str | None = None,
    backbone: Path | None = None,
    texts: Path | None = None,
    role: str | None = None,
    out: Path | None = None,
    dtype: str = "float32",
    device: str | None = None,
    report: Callable[[str], object] = print,
) -> dict:
    """Load, measure, print and write: what the command line does. A file of texts has one text a line.

    The origin is that of the registry entry unless another one is named. Both are loaded in that precision.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError, TypeError: as
            :func:`course_utils.models.embedder.load` and :func:`audit`.
    """
    from course_utils.models.embedder import load

    lines = None if texts is None else [line for _, line in gates.lines(texts)]
    options = {"dtype": dtype, "device": device}
    embedder = load(name, **options, **({} if backbone is None else {"backbone": backbone}))
    origin = origin or embedder.spec.origin
    shares = bool(origin) and registry.get(origin).backbone == embedder.spec.backbone
    before = load(origin, backbone=embedder.backbone if shares else None, **options) if origin else None
    measured = audit(embedder, before, lines, role=role, report=report)
    measured["command"] = _command(embedder, origin, texts, role, backbone)
    report(text_card(measured))
    if out is not None:
        write(out, measured)
        report(f"written to {out}")
    return measured


# --- For people -----------------------------------------------------------------------------------


def text_card(measured: dict) -> str:
    """A card as text, at most 100 columns wide but for the examples."""
    first = measured["first component"]
    lines = [
        f"{measured['name']}: {measured['texts']} texts, d = {measured['d']}, V = {measured['vocabulary']}",
        f"decoded: {measured['state']}; with: {measured['decodes']}",
        "",
        f"first component, of the squared norm:     {shown(first['of the squared norm'])}",
        f"first component, of the centred variance: {shown(first['of the centred variance'])}",
        "",
        f"{'u_1 taken away':16}" + "".join(f"{share:>28}" for share in ("nothing", "half", "all")),
    ]
    for key in [key for key, value in measured["settings"][0].items() if isinstance(value, dict)]:
        cells = [f"{shown(s[key]['value'])} ({s[key]['chance']:.2f})" for s in measured["settings"]]
        lines.append(f"{key:16}" + "".join(f"{cell:>28}" for cell in cells))
    counts = "".join(f"{s['different tokens']:>28}" for s in measured["settings"])
    lines += [f"{'different tokens':16}{counts}", "in brackets [95 % interval], (chance: the words of other texts)", ""]
    lines += _said_of_movement(measured["v_1"])
    told = measured["translations"]
    for key in ("key word", "translation"):
        lines.append(f"{key + ' among ten':24} {shown(told[key]['value'])} (chance {told[key]['chance']:.2f}), "
                     f"{told['sentences']} English sentences of lesson 08")  # fmt: skip
    lines += ["", *(f"{row['text']}\n    {' '.join(row['tokens'])}" for row in measured["examples"]), ""]
    took = measured["seconds"]
    return "\n".join([*lines, f"{took['all']:.0f} s, of which {took['encoding']:.0f} s encoding"])


def shown(interval: dict) -> str:
    """An interval of a card as ``0.72 [0.65, 0.78]``."""
    return format(Interval(interval["value"], interval["low"], interval["high"]), ".2f")


def _said_of_movement(moved: dict | None) -> list[str]:
    if moved is None:
        return ["v_1: no origin is known", ""]
    lines = [f"v_1 against {moved['origin']}: {shown(moved['v'])}"]
    for key in ("share of the mean movement", "share per text"):
        part = moved[key]
        judged = "above the null" if part["found"] else "not above the null"
        null = f"a random rotation gives {part['low']:.2f} to {part['high']:.2f}"
        lines.append(f"  {key}: {shown(part['value'])}; {null}: {judged}, excess {part['excess']:+.2f}")
    return [*lines, ""]
