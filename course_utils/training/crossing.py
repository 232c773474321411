"""Training data whose labels cross: the same text belongs to different neighbours under different instructions.

    several-tokens data crossed --data FOLDER

writes to FOLDER: ``crossed.jsonl``, made of ``clinc_aspects.jsonl`` and ``nli_triplets.jsonl`` there, and
``aspect_sentences.jsonl`` and three small files ``listening_….jsonl`` (:func:`held_out`), made of the course's own
``aspect_phrases.toml``. Where one label says all about the other,
as an intent does about its domain, an embedder may ignore the instruction and be right all the same. Here the text that
is near under one instruction is the hard negative under the other:

- **two sentences**, a request and the description of a scene: near is what shares the request, or what shares the
  scene, whichever the instruction names, and the negative shares the other one;
- **topic and kind of sentence**: near is what shares the domain in another kind of sentence, or the kind of
  sentence in another domain;
- **topic, sentiment and intent**: sentences put together from a frame and a thing; near is what shares the label asked
  for and neither of the others, and the negative shares both others.
"""

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path

from course_utils.training.recipes import FORMS, read_rows, write_rows

#: Instructions of the two-sentence texts.
REQUEST, SCENE = "what the speaker wants", "what can be seen"
#: Instructions of the single sentences.
TOPIC, KIND = "topic", "kind of sentence"
#: Words for each aspect of the sentences that are put together.
WORDS = {"topic": (TOPIC,), "sentiment": ("sentiment", "feeling"), "kind": ("intent", KIND)}
#: The one word for each aspect in lesson 06's experiment.
ONE_WORD = {"topic": (TOPIC,), "sentiment": ("sentiment",), "kind": ("intent",)}
#: Frames and things of those sentences; its card is ``data/aspect_phrases.md``.
PHRASES = Path(__file__).resolve().parents[2] / "data" / "aspect_phrases.toml"
#: First words that tell the kind of a sentence in CLINC150, which has no punctuation.
_FIRST = {
    "question": "what what's whats how how's who where when which why is are do does did has have am was",
    "request": "tell set give show find play book please add remove change let make turn read help schedule order call "
    "check remind pay transfer send put look cancel report create update translate convert start stop get use define",
    "statement": "i i'm i've im my we our it it's this that there",
}
_KINDS = {word: kind for kind, words in _FIRST.items() for word in words.split()}
#: Openings of statements that are requests in all but form.
_WISHES = ("i want you", "i need you", "i would like you", "i'd like you", "i'd like to", "i would like to")


def kind_of_sentence(text: str) -> str | None:
    """``"question"``, ``"request"`` or ``"statement"`` by the first word; None where it does not tell."""
    lower = text.lower().strip()
    return None if lower.startswith(_WISHES) else _KINDS.get(lower.split()[0])


def two_sentences(requests: Sequence[dict], scenes: Sequence[dict], rng: random.Random) -> list[dict[str, str]]:
    """Two rows for every scene: a request of CLINC150 beside an SNLI sentence, under either instruction."""
    by_intent: dict[str, list[str]] = {}
    for row in requests:
        by_intent.setdefault(row["intent"], []).append(row["text"])
    rows = []
    for scene in scenes:
        intent, other = rng.sample(sorted(by_intent), 2)
        asked, again, once_more = rng.sample(by_intent[intent], 3)
        elsewhere = rng.choice(scenes)["positive"]
        beside, different = _join(rng, again, elsewhere), _join(rng, rng.choice(by_intent[other]), scene["positive"])
        text, same_request = _join(rng, asked, scene["anchor"]), _join(rng, once_more, scene["negative"])
        rows.append(_row(text, beside, different, REQUEST, intent, other))
        rows.append(_row(text, different, same_request, SCENE))
    return rows


def topic_and_kind(requests: Sequence[dict], rng: random.Random, limit: int) -> list[dict[str, str]]:
    """Two rows for each of ``limit`` requests whose kind of sentence is known: near by topic, near by kind."""
    cells: dict[tuple[str, str], list[str]] = {}
    known = [(row["text"], row["domain"], kind_of_sentence(row["text"])) for row in requests]
    known = [row for row in known if row[2]]
    for text, domain, kind in known:
        cells.setdefault((domain, kind), []).append(text)
    rows = []
    for text, domain, kind in rng.sample(known, min(limit, len(known))):
        other_kinds = [cell for cell in cells if cell[0] == domain and cell[1] != kind]
        other_topics = [cell for cell in cells if cell[0] != domain and cell[1] == kind]
        if other_kinds and other_topics:
            same_topic, same_kind = rng.choice(other_kinds), rng.choice(other_topics)
            by_topic, by_kind = rng.choice(cells[same_topic]), rng.choice(cells[same_kind])
            rows.append(_row(text, by_topic, by_kind, TOPIC, domain, same_kind[0]))
            rows.append(_row(text, by_kind, by_topic, KIND, kind, same_topic[1]))
    return rows


def three_aspects(
    phrases: dict, rng: random.Random, limit: int, words: dict = WORDS, each: int | None = None
) -> list[dict[str, str]]:
    """One row per aspect for each of ``limit`` sentences: near by topic, by sentiment, by kind of sentence.

    Args:
        phrases: ``things`` by topic, ``words`` by sentiment and ``frames`` by sentiment and kind.
        rng: what draws.
        limit: number of sentences that are asked about.
        words: the instructions of each aspect. Without ``"sentiment"`` every sentence is neutral, and none is asked.
        each: draw from a stock of that many sentences per combination of labels; by default each sentence is new.
    """
    labels = {"topic": phrases["things"], "sentiment": phrases["frames"], "kind": phrases["frames"]["neutral"]}
    labels = {aspect: sorted(names) for aspect, names in labels.items() if aspect in words}
    stock: dict[tuple, list[str]] = {}

    def sentence(own: dict[str, str]) -> str:
        whole = {"sentiment": "neutral"} | own
        if each is None:
            return _sentence(phrases, rng, whole)
        key = tuple(sorted(whole.items()))
        if key not in stock:
            stock[key] = [_sentence(phrases, rng, whole) for _ in range(each)]
        return rng.choice(stock[key])

    rows = []
    for _ in range(limit):
        own = {aspect: rng.choice(names) for aspect, names in labels.items()}
        away = {aspect: rng.choice([n for n in names if n != own[aspect]]) for aspect, names in labels.items()}
        text = sentence(own)
        for aspect in labels:
            positive = sentence(away | {aspect: own[aspect]})
            negative = sentence(own | {aspect: away[aspect]})
            rows.append(_row(text, positive, negative, rng.choice(words[aspect]), own[aspect], away[aspect]))
    return rows


def shuffled(rows: Sequence[dict[str, str]], rng: random.Random) -> list[dict[str, str]]:
    """The same rows with their instructions dealt out anew, so that none says which of two texts is near."""
    told = [row["instruction"] for row in rows]
    rng.shuffle(told)
    return [row | {"instruction": words} for row, words in zip(rows, told, strict=True)]


def held_out(phrases: dict, limit: int = 900, each: int = 6) -> dict[str, list[dict[str, str]]]:
    """The training data of lesson 06's experiment, three files of the same number of rows.

    ``without`` asks for topic and intent of neutral sentences, ``shuffled`` deals its instructions out anew, and
    ``practised`` asks for sentiment too; it is there for readers to train. One word per aspect, :data:`ONE_WORD`, so
    that synonyms stay unmet.
    """
    spare = {aspect: words for aspect, words in ONE_WORD.items() if aspect != "sentiment"}
    without = three_aspects(phrases, random.Random(0), limit // len(spare), spare, each)
    practised = three_aspects(phrases, random.Random(0), limit // len(ONE_WORD), ONE_WORD, max(1, each // 3))
    return {"without": without, "shuffled": shuffled(without, random.Random(1)), "practised": practised}


def _sentence(phrases: dict, rng: random.Random, labels: dict[str, str]) -> str:
    """A frame of the sentiment and kind, with a thing of the topic and a word of the sentiment in it."""
    thing = rng.choice(phrases["things"][labels["topic"]])
    word = rng.choice(phrases["words"][labels["sentiment"]])
    frame = rng.choice(phrases["frames"][labels["sentiment"]][labels["kind"]])
    return frame.format(x=thing, X=thing[:1].upper() + thing[1:], w=word)


def _join(rng: random.Random, *sentences: str) -> str:
    """Sentences in random order, each with a capital and a full stop, so that neither order nor form tells them."""
    order = [s.strip().rstrip(" .?!") for s in sentences]
    rng.shuffle(order)
    return " ".join(s[:1].upper() + s[1:] + "." for s in order)


def _row(
    anchor: str, positive: str, negative: str, instruction: str, own: str | None = None, other: str | None = None
) -> dict[str, str]:
    """A row; ``own`` and ``other`` are the labels of anchor and negative where texts of one label occur together."""
    row = {"anchor": anchor, "positive": positive, "negative": negative, "instruction": instruction}
    return row | ({"group": f"{instruction}: {own}", "negative_group": f"{instruction}: {other}"} if own else {})


def write(folder: Path, single: int = 3000, made: int = 3000) -> dict[str, int]:
    """Write ``crossed.jsonl``, ``aspect_sentences.jsonl`` and those of :func:`held_out` into the training folder.

    Args:
        folder: it holds ``clinc_aspects.jsonl`` and ``nli_triplets.jsonl``.
        single: single sentences to use, each under two instructions.
        made: sentences to put together, each used three times.

    Returns:
        ``{file: number of rows}``.

    Raises:
        FileNotFoundError, ValueError: one of the two files is missing, or a row of it is malformed (with its line).
    """
    requests = read_rows(folder / "clinc_aspects.jsonl", ("text", "domain", "intent"))
    scenes = read_rows(folder / "nli_triplets.jsonl", FORMS["triplets"])
    rng = random.Random(0)
    crossed = two_sentences(requests, scenes[::2], rng) + topic_and_kind(requests, rng, single)
    phrases = tomllib.loads(PHRASES.read_text(encoding="utf-8"))
    files = {"crossed.jsonl": crossed, "aspect_sentences.jsonl": three_aspects(phrases, random.Random(0), made)}
    files |= {f"listening_{name}.jsonl": rows for name, rows in held_out(phrases).items()}
    return {name: write_rows(folder / name, rows) for name, rows in files.items()}
