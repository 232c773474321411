"""Exercises of lesson 02: LAR without its trap, the level of chance, variants, and what GAR sees that LAR does not."""

from collections.abc import Callable

import numpy as np

from course_utils.teaching.exercises import as_number, exercise, right


@exercise(
    "02.1",
    title="LAR that a perfect ranking can win",
    difficulty=1,
    minutes=5,
    expects="a function lar(ranked, surface) of two lists of token ids that returns a number",
    accepts=Callable,
)
def lar(answer):
    # Expectations are counted by hand: every case is small enough to be read.
    cases = [
        ([7, 8, 9, 1, 2], [7, 1], 0.5, "tokens 7 and 8 fill the two places, and only 7 belongs to the text"),
        ([5, 6, 7, 8], [6, 5, 6, 5], 1.0, "the text has two distinct tokens, however often they occur"),
        ([5, 8, 6, 7], [6, 5, 6, 5], 0.5, "two distinct tokens make two places, and token 6 is ranked third"),
        ([1, 2, 3, 4], [9, 3], 0.0, "token 3 is ranked third, and there are only two places"),
    ]
    for ranked, surface, expected, why in cases:
        found = as_number(answer(list(ranked), list(surface)))
        if abs(found - expected) > 1e-9:
            return f"lar({ranked}, {surface}) should be {expected}, yours is {found:.3g}: {why}"
    for n in (5, 20, 50):
        found = as_number(answer(list(range(80)), list(range(n))[::-1]))
        if abs(found - 1) > 1e-9:
            return f"a perfect ranking of a text of {n} distinct tokens should get 1, yours gets {found:.3g}"
    return right("as many places as the text has distinct tokens: then 1 can be reached at every length")


@exercise(
    "02.2",
    title="The level of chance",
    difficulty=2,
    minutes=8,
    expects="a function chance(ranked, surface) of an array [n, k] and a list of n arrays that returns a number",
    accepts=Callable,
)
def chance(answer):
    # Every list names its own text's token (10 to 14) second, and first a token that other texts may have.
    ranked = np.array([[1, 10], [1, 11], [2, 12], [5, 13], [0, 14]])
    surface = [np.array(own) for own in ([1, 2, 10], [2, 3, 11], [1, 2, 12], [0, 13], [2, 3, 14])]
    found = as_number(answer(ranked.copy(), [s.copy() for s in surface]))
    if abs(found - 7 / 20) < 1e-9:
        uneven = np.array([[1, 2], [3, 4], [5, 6]])
        second = as_number(answer(uneven, [np.array([3]), np.array([1, 5]), np.array([9])]))
        if abs(second - 3 / 6) < 1e-9:
            return right("whatever is hit across different texts is hit by tokens that fit any text")
        return f"three texts with three hits among the six pairs of different texts give 0.5, yours is {second:.3g}"
    # Counted by hand: which lists (rows) hit which texts (columns).
    known = {
        1.0: "1 is Hit@K itself: each text with its own aligned tokens. Pair every text with those of the others",
        0.48: "12 of 25 counts the five texts with their own aligned tokens as well; leave those pairs out",
        0.3: "3 of 10 judges the tokens of i by the words of j for i < j only; the reverse is another pair",
        0.4: "4 of 10 judges the tokens of i by the words of j for i > j only; the reverse is another pair",
        0.5: "5 of 10 takes two texts as one pair, hit from either side; i with j and j with i are two pairs",
        0.2: "1 of 5 gives each text the tokens of one neighbour; the exercise asks for all other texts",
        0.6: "3 of 5 gives each text the tokens of one neighbour; the exercise asks for all other texts",
        0.28: "7 hits, but divided by 25: there are 20 pairs of different texts",
    }
    for value, why in known.items():
        if abs(found - value) < 1e-9:
            return why
    return f"7 of the 20 pairs of different texts are hits, which is {7 / 20:.3f}; yours is {found:.3g}"


@exercise(
    "02.3",
    title="Variants count as one",
    difficulty=3,
    minutes=15,
    expects="a function merged_lar(ranked, surface, classes) that returns a number",
    accepts=Callable,
)
def merged_lar(answer):
    classes = np.array([0, 0, 0, 1, 1, 2, 3, 4])  # tokens 0, 1, 2 are one word, 3 and 4 another
    cases = [
        ([1, 2, 4, 6], [0, 3], 1.0, "places go to words: tokens 1 and 2 are the first, token 4 is the second"),
        ([0, 5, 6, 7], [1, 2, 5], 1.0, "tokens 1 and 2 are one word, so two places are to be filled"),
        ([6, 0, 1, 3], [0, 1, 3], 0.5, "the text has two words, and the first two ranked words are 6 and that of 0"),
        ([0, 3, 6, 7], [0, 1, 2, 7], 0.5, "two words in the text, and of the first two ranked words one is in it"),
    ]
    for ranked, surface, expected, why in cases:
        found = as_number(answer(np.array(ranked), np.array(surface), classes.copy()))
        if abs(found - expected) > 1e-9:
            return f"merged_lar({ranked}, {surface}, classes) should be {expected}, yours is {found:.3g}: {why}"
    return right("map first, then make both sides distinct, then count places in words")


@exercise(
    "02.4",
    title="High LAR, low GAR",
    difficulty=2,
    minutes=4,
    expects="a pair (ranked, surface) of two lists of lists of token ids, one list per text",
    accepts=(tuple, list),
)
def local_not_global(answer):
    if len(answer) != 2 or not all(isinstance(ids, list | tuple) for side in answer for ids in (side, *side)):
        return "give two lists of lists, (ranked, surface), for instance ([[0, 99], [0, 98]], [[0, 1], [0, 2]])"
    if len(answer[0]) != len(answer[1]) or len(answer[0]) < 2:
        return f"give at least two texts, and a ranking for each: yours has {len(answer[0])} and {len(answer[1])}"
    rates, matched, everything = [], set(), set()
    for i, (ranked, surface) in enumerate(zip(*answer, strict=True)):
        own, order = set(surface), list(dict.fromkeys(ranked))
        if not own or len(order) < len(own):
            return f"text {i} has {len(own)} distinct tokens and {len(order)} ranked ones: it needs at least as many"
        top = set(order[: len(own)])
        rates.append(len(top & own) / len(own))
        matched |= top & own
        everything |= own
    local, whole = sum(rates) / len(rates), len(matched) / len(everything)
    if local < 0.5 - 1e-9:
        return f"the mean LAR is {local:.2f}; it should be at least 0.5"
    if whole > 0.2 + 1e-9:
        return f"the mean LAR is {local:.2f}, but GAR is {whole:.2f}; it should be at most 0.2"
    return right(f"LAR {local:.2f}, GAR {whole:.2f}: a few tokens that fit every text carry the first, not the second")
