"""Examples: what a batch of training is made of.

Which texts belong together, which are hard negatives, and which examples share a batch. Where they come from is a
recipe's business, see :mod:`course_utils.training.recipes`.
"""

import random
from typing import NamedTuple


class Example(NamedTuple):
    """One training example: pull ``anchor`` and ``positive`` together.

    Attributes:
        anchor, positive: the two texts; ``negative`` a text to push away, or None.
        instruction: for the anchor and, in labelled data, for all three; or None.
        group: examples of the same group are not each other's negatives.
        negative_group: the group of ``negative``, which is no negative for that group either.
        topic: batches are made of examples of the same topic, where a data set has several.
        unlabelled: a text alone, anchor and positive in one, which only the teacher has something to say about.
        guided: whether the teacher, where there is one, has a say.
    """

    anchor: str
    positive: str
    negative: str | None = None
    instruction: str | None = None
    positive_instruction: str | None = None
    group: str | None = None
    topic: int = 0
    negative_group: str | None = None
    unlabelled: bool = False
    guided: bool = True


def mine_negatives(examples: list[Example], rng: random.Random, depth: int = 10) -> list[Example]:
    """Give pairs hard negatives: another pair's positive that BM25 finds for the anchor.

    One of the second to ``depth``-th best foreign passages is drawn. The best is left out, because
    in small collections it answers the question too often (Karpukhin et al. 2020, arXiv 2004.04906,
    mine with BM25; Qu et al. 2021, arXiv 2010.08191, on false negatives).
    """
    import bm25s

    passages = sorted({e.positive for e in examples})
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages, stopwords="en", show_progress=False), show_progress=False)
    questions = bm25s.tokenize([e.anchor for e in examples], stopwords="en", show_progress=False)
    found, _ = index.retrieve(questions, k=min(depth + 1, len(passages)), show_progress=False)
    mined = []
    for example, row in zip(examples, found, strict=True):
        foreign = [passages[i] for i in row if passages[i] != example.positive][1:depth]
        mined.append(example._replace(negative=example.negative or (rng.choice(foreign) if foreign else None)))
    return mined


def mine_with_teacher(
    examples: list[Example], rng: random.Random, name: str = "minilm", k: int = 4, margin: float = 0.95
) -> list[Example]:
    """Give pairs hard negatives: another pair's positive that a teacher finds near, but not too near.

    One of the ``k`` that :func:`course_utils.training.teacher.mine_negatives` allows is drawn. A passage is no
    negative for the other questions of the batch that it answers: passages are groups.
    """
    from course_utils.training import teacher

    guide = teacher.Teacher(name)
    passages = sorted({e.positive for e in examples})
    number = {text: i for i, text in enumerate(passages)}
    found = teacher.mine_negatives(
        guide.encode(e.anchor for e in examples),
        guide.encode(passages),
        [number[e.positive] for e in examples],
        k,
        margin,
    )
    mined = []
    for example, row in zip(examples, found, strict=True):
        negative = example.negative or (passages[rng.choice(row)] if len(row) else None)
        mined.append(example._replace(negative=negative, group=example.positive, negative_group=negative))
    return mined


def by_topic(examples: list[Example], size: int, seed: int) -> list[Example]:
    """Number the topics of the positives, about ``size`` examples each, so that batches can be made of one topic.

    Then the other passages of a batch are hard negatives, and cost nothing more (topic-aware sampling,
    Hofstätter et al. 2021, arXiv 2104.06967). Topics are k-means clusters of TF-IDF vectors in 64 dimensions.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit_transform([e.positive for e in examples])
    reduced = TruncatedSVD(min(64, *(n - 1 for n in words.shape)), random_state=seed).fit_transform(words)
    clusters = KMeans(max(1, len(examples) // size), n_init=1, random_state=seed).fit_predict(normalize(reduced))
    return [e._replace(topic=int(topic)) for e, topic in zip(examples, clusters, strict=True)]


def by_instruction(examples: list[Example]) -> list[Example]:
    """Number the instructions as topics: in a batch of one instruction, whatever it does to all texts tells nothing."""
    numbers = {words: n for n, words in enumerate(sorted({e.instruction or "" for e in examples}))}
    return [e._replace(topic=numbers[e.instruction or ""]) for e in examples]


def batches(datasets: list[list[Example]], weights: list[float], batch_size: int, steps: int, seed: int):
    """``steps`` batches, each from one data set, of examples of similar length.

    The order depends on the seed alone, so a resumed run sees the same batches.
    """
    rng = random.Random(seed)
    pools = [_epochs(examples, batch_size, rng.random()) for examples in datasets]
    for _ in range(steps):
        (which,) = rng.choices(range(len(datasets)), weights)
        yield next(pools[which])


def _epochs(examples: list[Example], batch_size: int, seed: float):
    if len(examples) < batch_size:
        raise ValueError(f"{len(examples)} examples are fewer than one batch of {batch_size}")
    rng = random.Random(seed)
    while True:
        order = examples[:]
        rng.shuffle(order)
        parts = _topics(order, rng) if any(e.topic for e in order) else _lengths(order, 16 * batch_size)
        chunks = [p[i : i + batch_size] for p in parts for i in range(0, len(p) - batch_size + 1, batch_size)]
        rng.shuffle(chunks)
        yield from chunks


def _lengths(order: list[Example], bucket: int) -> list[list[Example]]:
    parts = [order[start : start + bucket] for start in range(0, len(order), bucket)]
    return [sorted(part, key=lambda e: len(e.anchor) + len(e.positive)) for part in parts]


def _topics(order: list[Example], rng: random.Random) -> list[list[Example]]:
    """One list in which the examples of a topic stand together, the topics in random order."""
    topics: dict[int, list[Example]] = {}
    for e in order:
        topics.setdefault(e.topic, []).append(e)
    rest = list(topics.values())
    rng.shuffle(rest)
    return [[e for topic in rest for e in topic]]
