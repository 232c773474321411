"""Answers to the exercises of lesson 02."""

import numpy as np
from exercise_cases import Case


def lar(ranked, surface):
    own = set(surface)
    return len(own & set(ranked[: len(own)])) / len(own)


def from_ten_tokens(ranked, surface):
    own = set(surface)
    return len(own & set(ranked[:10][: len(own)])) / len(own)


def repeats_counted(ranked, surface):
    return len(set(surface) & set(ranked[: len(surface)])) / len(surface)


def places_with_repeats(ranked, surface):
    own = set(surface)
    return len(own & set(ranked[: len(surface)])) / len(own)


def whole_list(ranked, surface):
    return len(set(surface) & set(ranked)) / len(set(surface))


def chance(ranked, surface):
    n = len(ranked)
    return np.mean([np.isin(ranked[i], surface[j]).any() for i in range(n) for j in range(n) if i != j])


def own_texts_too(ranked, surface):
    n = len(ranked)
    return np.mean([np.isin(ranked[i], surface[j]).any() for i in range(n) for j in range(n)])


def own_texts_only(ranked, surface):
    return np.mean([np.isin(row, s).any() for row, s in zip(ranked, surface, strict=True)])


def tokens_instead_of_texts(ranked, surface):
    n = len(ranked)
    return np.mean([np.isin(ranked[i], surface[j]).mean() for i in range(n) for j in range(n) if i != j])


def each_two_once(ranked, surface):
    n = len(ranked)
    return np.mean([np.isin(ranked[i], surface[j]).any() for i in range(n) for j in range(i + 1, n)])


def each_two_from_either_side(ranked, surface):
    n = len(ranked)

    def hit(i, j):
        return np.isin(ranked[i], surface[j]).any()

    return np.mean([hit(i, j) or hit(j, i) for i in range(n) for j in range(i)])


def one_neighbour(ranked, surface):
    return np.mean([np.isin(row, s).any() for row, s in zip(np.roll(ranked, 1, axis=0), surface, strict=True)])


def merged_lar(ranked, surface, classes):
    own = set(classes[surface].tolist())
    order = list(dict.fromkeys(classes[ranked].tolist()))
    return len(own & set(order[: len(own)])) / len(own)


def places_of_raw_tokens(ranked, surface, classes):
    own = set(classes[surface].tolist())
    return len(own & set(classes[ranked[: len(own)]].tolist())) / len(own)


def divided_by_raw_tokens(ranked, surface, classes):
    own = set(classes[surface].tolist())
    order = list(dict.fromkeys(classes[ranked].tolist()))
    return len(own & set(order[: len(surface)])) / len(surface)


def merged_after_counting(ranked, surface, classes):
    own = set(surface.tolist())
    found = own & set(ranked[: len(own)].tolist())
    return len(set(classes[list(found)].tolist())) / len(set(classes[surface].tolist()))


def not_merged(ranked, surface, classes):
    own = set(surface.tolist())
    return len(own & set(ranked[: len(own)].tolist())) / len(own)


CASES = {
    "02.1": Case(
        solution=lambda: lar,
        wrong=[
            lambda: from_ten_tokens,
            lambda: repeats_counted,
            lambda: places_with_repeats,
            lambda: whole_list,
            lambda: 0.5,
        ],
    ),
    "02.2": Case(
        solution=lambda: chance,
        wrong=[
            lambda: own_texts_too,
            lambda: own_texts_only,
            lambda: tokens_instead_of_texts,
            lambda: each_two_once,
            lambda: each_two_from_either_side,
            lambda: one_neighbour,
        ],
    ),
    "02.3": Case(
        solution=lambda: merged_lar,
        wrong=[
            lambda: places_of_raw_tokens,
            lambda: divided_by_raw_tokens,
            lambda: merged_after_counting,
            lambda: not_merged,
        ],
    ),
    "02.4": Case(
        solution=lambda: ([[0, 99]] * 4, [[0, i] for i in (1, 2, 3, 4)]),
        wrong=[
            lambda: ([[0, 1], [0, 2]], [[0, 1], [0, 2]]),  # both rates are 1
            lambda: ([[0, 99]] * 3, [[0, i] for i in (1, 2, 3)]),  # GAR is 1/4: one text too few
            lambda: ([[0, 99]] * 4, [[0, i] for i in (1, 1, 2, 2)]),  # two texts share a word: GAR is 1/3
            lambda: ([[99, 0]] * 4, [[0, i, i + 10] for i in (1, 2, 3, 4)]),  # lists too short
        ],
    ),
}
