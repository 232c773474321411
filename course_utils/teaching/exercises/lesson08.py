"""Checks of lesson 08 and its appendix. Expectations come from the data, or from another way to compute."""

from collections.abc import Callable

import numpy as np

from course_utils.shipped import arrays
from course_utils.teaching.exercises import as_array, exercise, fresh, right
from course_utils.texts import scripts


@exercise(
    "08.1",
    title="Hits above chance",
    difficulty=1,
    minutes=3,
    expects="a function of found [n, n] that returns two numbers: the share of hits, and the share expected by chance",
    accepts=Callable,
)
def above_chance(answer):
    rng = np.random.default_rng(8)
    for n, drawn in ((6, rng), (25, rng), (200, fresh.generator())):
        found = drawn.random((n, n)) < 0.3
        found[range(n), range(n)] = drawn.random(n) < 0.8
        own = [bool(found[i, i]) for i in range(n)]
        others = [bool(found[i, j]) for i in range(n) for j in range(n) if i != j]
        result = as_array(answer(found.copy()), shape=(2,))
        expected = np.array([sum(own) / n, sum(others) / len(others)])
        if drawn is not rng:
            if fresh.differs(result, expected):
                return fresh.ONLY_THE_SHOWN
            continue
        if np.allclose(result, expected[::-1]):
            return "the two are in the other order: first the share of hits, then chance"
        if not np.isclose(result[0], expected[0]):
            return f"text i with its own key words is found[i, i]: {sum(own)} of {n} hit, yours says {result[0]:.3f}"
        if np.isclose(result[1], found.mean()):
            return "close: but the mean of everything contains the texts' own key words; leave the diagonal out"
        if not np.isclose(result[1], expected[1]):
            return (
                f"chance is how often the tokens of one text hit the key words of *another*: "
                f"{expected[1]:.3f} here, yours is {result[1]:.3f}"
            )
    return right("texts of one language share words, so chance is far from zero, and differs between languages")


@exercise(
    "08.2",
    title="A component that never saw the sentence",
    difficulty=2,
    minutes=5,
    expects="a function of embeddings [n, d] and first_half [n] (true or false) that returns a direction for every "
    "sentence, [n, d]: the first component of the half it is not in",
    accepts=Callable,
)
def crossed(answer):
    rng = np.random.default_rng(4)
    planted = np.zeros((2, 6))
    planted[0, 1], planted[1, [1, 3]] = 1.0, (0.6, 0.8)
    first_half = fresh.generator().permutation(np.arange(40) % 2 == 0)
    which = np.where(first_half, 0, 1)
    embeddings = 30 * planted[which] + rng.normal(size=(40, 6))
    result = as_array(answer(embeddings.copy(), first_half.copy()), shape=(40, 6))
    if not np.allclose(np.linalg.norm(result, axis=1), 1):
        return "every direction has length 1"
    other, same = ((result * planted[w]).sum(axis=1) for w in (1 - which, which))
    if (np.abs(same) > 0.99).all():
        return "this is the component of the sentence's own half: it has seen the sentence"
    if np.ptp(result, axis=0).max() < 1e-9:
        return "all sentences got one direction: this component has seen all of them"
    if (np.abs(other) < 0.99).any():
        return "these are not the first components of the halves; uncentred, and of the rows of one half only?"
    if (other < 0).any():
        return "the direction is right, the sign is not: turn it so that the mean of h·u_1 is positive"
    hindi = arrays.load("parallel", "gemma-eol")["hi"].astype(np.float64)
    half = fresh.generator().permutation(np.arange(len(hindi)) % 2 == 0)
    result = as_array(answer(hindi.copy(), half.copy()), shape=hindi.shape)
    for part in (half, ~half):
        # The first component is the direction that a step of power iteration leaves where it is.
        u = result[~part][0]
        again = hindi[part].T @ (hindi[part] @ u)
        if not np.allclose(again / np.linalg.norm(again), u, atol=1e-4) or (hindi[part] @ u).mean() < 0:
            return (
                "right for the made-up texts, but not for the Hindi sentences: does it depend on their number or order?"
            )
    return right("whatever the shift does to a sentence now, it did not learn it from that sentence")


@exercise(
    "08.3",
    title="Find the translation",
    difficulty=2,
    minutes=4,
    expects="a function of queries [n, d] and candidates [n, d] that returns n times whether the nearest candidate "
    "of query i, by cosine, is candidate i",
    accepts=Callable,
)
def found_translation(answer):
    queries, candidates, expected, by_product, backwards = _translations()
    result = as_array(answer(queries.copy(), candidates.copy()))
    if result.shape == ():
        return "one answer for each query, please: the mean of them is the measure"
    result = as_array(result, shape=(len(queries),))
    if not np.isin(result, (0, 1)).all():
        return "each answer is yes or no; yours holds other numbers (the places of the nearest candidates, perhaps?)"
    if np.array_equal(result, by_product):
        return "these are the largest dot products; a cosine needs both sides at length 1"
    if np.array_equal(result, backwards):
        return "here the candidates look for their query: for each query, search among the candidates"
    if not np.array_equal(result, expected):
        return (
            f"query {int(np.argmax(result != expected))} is judged wrongly: compare it with every candidate by cosine"
        )
    german, english = (arrays.load("parallel", "gemma-eol")[a] for a in ("de", "en"))
    expected = [np.argmax(english @ h / np.linalg.norm(english, axis=1)) == i for i, h in enumerate(german)]
    result = as_array(answer(german.copy(), english.copy()), shape=(len(german),))
    if not np.array_equal(result, expected):
        return (
            f"right for few texts; but of 120 German sentences {sum(expected)} find theirs, yours says {result.sum():g}"
        )
    ways = fresh.generator().normal(size=(2, 60, 4))
    ways[1] += 0.5 * ways[0]
    units = ways / np.linalg.norm(ways, axis=2, keepdims=True)
    if fresh.differs(answer(*ways.copy()), [np.argmax(units[1] @ q) == i for i, q in enumerate(units[0])]):
        return fresh.ONLY_THE_SHOWN
    return right("a long vector wins many dot products; with cosines only the direction counts")


def _translations() -> tuple[np.ndarray, ...]:
    """Unit circles by hand: angles decide by cosine, and one very long candidate wins the dot products."""
    at_query = np.radians([0, 50, 100, 150, 200, 250, 300])
    at_candidate = np.radians([5, 95, 110, 155, 188, 262, 295])
    lengths = np.array([1.0, 1, 1, 8, 1, 1, 1])
    queries = np.stack([np.cos(at_query), np.sin(at_query)], axis=1)
    candidates = lengths[:, None] * np.stack([np.cos(at_candidate), np.sin(at_candidate)], axis=1)
    apart = np.abs((at_query[:, None] - at_candidate[None, :] + np.pi) % (2 * np.pi) - np.pi)
    own = np.arange(len(queries))
    return (
        queries, candidates, (apart.argmin(axis=1) == own).astype(float),
        ((np.cos(apart) * lengths).argmax(axis=1) == own).astype(float), (apart.argmin(axis=0) == own).astype(float),
    )  # fmt: skip


@exercise(
    "08.4",
    title="How many characters begin here?",
    difficulty=1,
    minutes=5,
    expects="a function of bytes that returns how many characters begin in them",
    accepts=Callable,
)
def beginnings(answer):
    text = "a我é𓀀 病!"
    raw, starts, position = text.encode(), [], 0
    for character in text:
        starts.append(position)
        position += len(character.encode())
    for begin in range(len(raw)):
        for end in range(begin + 1, len(raw) + 1):
            piece, expected = raw[begin:end], sum(begin <= s < end for s in starts)
            result = as_array(answer(piece), shape=())
            if result == expected:
                continue
            shown = piece.hex(" ").upper()
            if result == len(piece):
                return f"for {shown} you count {len(piece)} bytes; {expected} character(s) begin in them"
            return f"in {shown} {expected} character(s) begin; you count {int(result)}. Which bytes only continue?"
    drawn = "".join(
        fresh.generator().choice(list("aZ é我病𓀀न"), size=fresh.generator().integers(1_000, 20_000)).tolist()
    )
    if fresh.differs(as_array(answer(drawn.encode()), shape=()), len(drawn)):
        return fresh.ONLY_THE_SHOWN
    return right("a byte 10xxxxxx continues a character, every other byte begins one: no table is needed")


@exercise(
    "08.5",
    title="In which language is the subject named?",
    difficulty=2,
    minutes=8,
    expects="a function of a list of tokens, a dictionary language -> key words and the language of the text, that "
    "returns a list of 'own', 'English', 'third' and 'none', one for each token",
    accepts=Callable,
)
def named_in(answer):
    keys = {"de": ["Hund", "Schnee"], "en": ["dog", "snow"], "fr": ["chien", "neige"], "es": ["perro", "nieve"]}
    tokens = ["_Hund", "dog", " Chien", "the", "nieve", "Schnee", "DOGS", "Hundefutterdose"]
    expected = {
        "de": ["own", "English", "third", "none", "third", "own", "English", "none"],
        "fr": ["third", "English", "own", "none", "third", "third", "English", "none"],
        "en": ["third", "own", "third", "none", "third", "third", "own", "none"],
    }
    tokens[0] = " Hund"
    for language, wanted in expected.items():
        result = answer(list(tokens), {a: list(words) for a, words in keys.items()}, language)
        if not isinstance(result, list | tuple | np.ndarray) or len(result) != len(tokens):
            return f"one word for each token, please: a list of {len(tokens)} here"
        for token, word, right_word in zip(tokens, result, wanted, strict=True):
            if str(word) != right_word:
                return (
                    f"for a text in {language!r} the token {token.strip()!r} is {right_word!r}, yours says {word!r}; "
                    "compare as `scripts.matches` does, own language first, then English, then the others"
                )
    shared = {"en": ["hotel"], "de": ["Hotel"], "sw": ["hoteli"]}
    if list(answer(["hotel"], shared, "de")) != ["own"]:
        return "'hotel' is spelled alike in German and English: for a German text it counts as its own word"
    drawn = ["".join(fresh.generator().choice(list("abc"), 3)) for _ in range(40)]
    words = {"en": drawn[:3], "sw": drawn[3:6], "hi": drawn[6:9]}
    slow = []
    for token in drawn:
        hit = [a for a in ("sw", "en", "hi") if any(scripts.matches(token, word) for word in words[a])]
        slow.append({"sw": "own", "en": "English", "hi": "third"}[hit[0]] if hit else "none")
    if list(map(str, answer(drawn, words, "sw"))) != slow:
        return fresh.ONLY_THE_SHOWN
    return right("each token counts once, so the four shares sum to one")
