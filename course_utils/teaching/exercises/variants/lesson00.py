"""Variants of lesson 00: other ranks, another sentence, another place for the mean."""

from itertools import permutations

import numpy as np

from course_utils.teaching.exercises import right
from course_utils.teaching.exercises.variants import Varied, numbers

#: Nouns, each with its plural and a related word.
_NOUNS = {
    "apple": ("apples", "fruit"),
    "banana": ("bananas", "fruit"),
    "parrot": ("parrots", "bird"),
    "violin": ("violins", "music"),
    "garden": ("gardens", "flower"),
    "bridge": ("bridges", "river"),
    "castle": ("castles", "king"),
    "camera": ("cameras", "photo"),
}


def _sentence(option: tuple[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tokens of "We like A and B", and ten tokens that might come out of its embedding."""
    first, second = option
    text = ("We", "_like", f"_{first}", "_and", f"_{second}")
    top = (f"_{first}", first.title(), f"_{second}", f"_{_NOUNS[first][0]}", first, "We", f"_{_NOUNS[first][1]}",
           f"_{_NOUNS[second][0]}", "we", f"_{second.title()}")  # fmt: skip
    return text, top


def _surface(option: tuple[str, str], answer):
    first, second = option
    _, top = _sentence(option)
    wanted, found = {"We", f"_{first}", f"_{second}"}, set(answer)
    if strangers := sorted(str(token) for token in found - set(top)):
        return f"{strangers[0]!r} is not one of your ten tokens; your text is “We like {first} and {second}”"
    if extra := sorted(found - wanted):
        return f"{extra[0]!r} looks like a word of the text, but it is another token: case and leading space count"
    if lacking := wanted - found:
        return f"there are more: {len(lacking)} of the text's own tokens are still to be named"
    return right("a surface token is exactly one of the text's tokens")


def _lines(option: tuple[str, str]) -> str:
    return "TEXT_TOKENS = {}\nTOP_TOKENS = {}\n".format(*_sentence(option))


VARIES = (
    numbers(
        "00.1",
        range(1, 14),
        published=0,
        task="Leave out the {x} best tokens: after them return the ids of the next `k`, best first.",
        inputs=lambda rng: (rng.normal(size=6), rng.normal(size=(40, 6)), int(rng.integers(2, 6))),
        expected=lambda x, h, E, k: [
            float(i)
            for _, i in sorted((-sum(a * b for a, b in zip(row, h, strict=True)), i) for i, row in enumerate(E))[
                x : x + k
            ]
        ],
        solution="def variant(h, E, k):\n    return np.argsort(-(E @ h))[{x} : {x} + k]",
    ),
    Varied(
        "00.2",
        tuple(pair for pair in permutations(_NOUNS, 2) if pair != ("apple", "banana")),
        task=lambda o: f"Your text is “We like {o[0]} and {o[1]}”; the cell below has its tokens and ten others.",
        judge=_surface,
        solution=lambda o: f"{_lines(o)}variant = [token for token in TOP_TOKENS if token in TEXT_TOKENS]",
        stub=_lines,
        replaces=r"from course_utils\.teaching\.exercises\.lesson00 import TEXT_TOKENS, TOP_TOKENS\n",
    ),
    numbers(
        "00.3",
        (*range(-9, 0), *range(1, 10)),
        published=0,
        task="The step leads towards a mean coefficient of {x} instead of 0: with `share = 1` the mean of `H @ u` is "
        "{x} afterwards, and with another share the mean goes that share of the way.",
        inputs=lambda rng: (rng.normal(size=(7, 3)) + 2, np.array([0.6, 0.0, 0.8]), float(rng.uniform(0.1, 0.9))),
        expected=lambda x, H, u, share: np.array(
            [row - share * (sum(float(r @ u) for r in H) / len(H) - x) * u for row in H]
        ),
        solution="def variant(H, u, share):\n    return H - share * ((H @ u).mean() - ({x})) * u",
    ),
)
