"""Checks of lesson 04: sparse retrieval. Every expectation is counted by hand or drawn and then summed in a loop."""

import math
from collections.abc import Callable
from itertools import islice

import numpy as np

from course_utils.teaching.exercises import AnswerError, as_array, exercise, right


@exercise(
    "04.1",
    title="A postings list by hand",
    difficulty=1,
    minutes=8,
    expects="a function of documents, a list of dicts {token: weight}, that returns {token: [(document number, "
    "weight), …]}, each list in the order of the documents",
    accepts=Callable,
)
def postings(answer):
    documents = [{"_game": 2.0, "_Xbox": 1.5}, {"_parrot": 3.0}, {}, {"_game": 0.5, "_parrot": 1.0}]
    expected = {"_game": [(0, 2.0), (3, 0.5)], "_Xbox": [(0, 1.5)], "_parrot": [(1, 3.0), (3, 1.0)]}
    result = answer([dict(document) for document in documents])
    if not isinstance(result, dict):
        return f"an index maps every token to its list; your function returns a {type(result).__name__}"
    if set(result) == set(range(4)):
        return "this is still sorted by document: the index has the tokens as keys, not the documents"
    if set(result) != set(expected):
        wrong = sorted(map(str, set(result) ^ set(expected)))
        return f"the keys must be the tokens that occur; yours differ in {', '.join(wrong)}"
    for token, wanted in expected.items():
        got = _pairs(result[token], token)
        if [number for number, _ in got] == [weight for _, weight in wanted]:
            return f"{token}: every entry is (document number, weight), yours are the other way round"
        if sorted(got) != wanted:
            hint = "; documents are numbered from 0" if [(n - 1, w) for n, w in got] == wanted else ""
            return f"{token} stands in {wanted}, your list says {got}{hint}"
        if got != wanted:
            return f"{token}: the list must be in the order of the documents; yours is {got}"
    return right("a query now reads only the lists of its own tokens; an empty document stands in none")


def _pairs(entries, token: str) -> list[tuple]:
    try:
        return [(number, weight) for number, weight in entries]
    except (TypeError, ValueError) as error:
        raise AnswerError(f"{token}: its list must hold pairs (document number, weight); got {entries!r}") from error


@exercise(
    "04.2",
    title="Which tokens tell documents apart?",
    difficulty=1,
    minutes=5,
    expects="a function of weights [n_docs, V] that returns idf [V] = log((n + 1) / (df + 1)), natural logarithm",
    accepts=Callable,
)
def idf(answer):
    weights = np.zeros((9, 5))
    weights[:, 0] = 3.0  # in every document
    weights[[1, 4, 7], 1] = [0.5, 8, 0.25]
    weights[[2], 2] = 2.0
    weights[:4, 3] = 1.0
    frequency = [9, 3, 1, 4, 0]
    result = as_array(answer(weights.copy()), shape=(5,))
    expected = np.array([math.log(10 / (count + 1)) for count in frequency])
    if np.allclose(result, expected):
        return right("a token that stands in every document gets 0: it could only add the same to all of them")
    if np.allclose(result, [math.log(10 / (total + 1)) for total in weights.sum(axis=0)]):
        return "df counts documents that hold the token; you have added up its weights"
    if np.allclose(result, -expected):
        return "the fraction is upside down: a rare token must get the larger number"
    if np.allclose(result, expected / math.log(10)) or np.allclose(result, expected / math.log(2)):
        return "right up to a factor: take the natural logarithm, np.log"
    if np.allclose(result[:4], [math.log(9 / count) for count in frequency[:4]]):
        return "this is log(n / df); without the added ones a token that stands nowhere would have no finite idf"
    return f"token 1 stands in 3 of 9 documents: log(10 / 4) = {expected[1]:.3f}; your function says {result[1]:.3f}"


@exercise(
    "04.3",
    title="From logits to a sparse vector",
    difficulty=2,
    minutes=10,
    expects="a function of logits [V], k and special (a list of token ids) that returns weights [V]: the k largest "
    "logits without the special tokens, none that is not positive, scaled to length 1, and 0 elsewhere",
    accepts=Callable,
)
def sparse_vector(answer):
    rng = np.random.default_rng(2)
    # k below, and then above, the number of tokens with a positive logit.
    for k, lowered in ((4, 0.0), (12, 0.8)):
        logits = rng.normal(2, 1, size=30) - lowered
        special = [int(np.argmax(logits)), 3]
        if lowered:
            logits[8:] -= 5
        result = as_array(answer(logits.copy(), k, list(special)))
        if result.shape != (30,):
            return f"every token keeps its place: expected the shape (30,), yours is {result.shape}"
        if result[special].any():
            return "a special token has got a weight: leave them out before you choose the k largest"
        if (result < 0).any():
            return "a weight is negative: a token with a negative logit does not describe the document; leave it out"
        order = sorted((i for i in range(30) if i not in special and logits[i] > 0), key=lambda i: -logits[i])[:k]
        kept = np.flatnonzero(result)
        if len(kept) != len(order):
            return f"{len(order)} tokens should be kept here (k={k}, positive logits only); yours are {len(kept)}"
        if set(kept.tolist()) != set(order):
            return f"these are not the tokens with the {len(order)} largest logits"
        length = math.sqrt(sum(logits[i] ** 2 for i in order))
        if not np.isclose(np.linalg.norm(result), 1):
            return f"the vector has length {np.linalg.norm(result):.3g}; divide by the length of what you have kept"
        if not np.allclose(result[order], logits[order] / length):
            return "the length is right, but the weights are not in the proportions of the logits"
    return right("at length 1, a long text with large logits cannot win by its length alone")


@exercise(
    "04.4",
    title="Fuse two rankings",
    difficulty=2,
    minutes=10,
    expects="a function of rankings (lists of document ids, best first) and c that returns the ids, best first, by "
    "reciprocal rank fusion Σ 1 / (c + rank); ranks begin with 1; equal scores in the order of the ids",
    accepts=Callable,
)
def fusion(answer):
    dense, words = ["d3", "d1", "d7", "d2"], ["d9", "d2", "d3", "d0"]
    cases = [
        # By hand: d3 1/61 + 1/63, d2 1/64 + 1/62, then single ranks 1, 2, 3 and 4.
        ([dense, words], 60, ["d3", "d2", "d9", "d1", "d7", "d0"]),
        # With c = 0 a first place alone (1) beats second and fourth (3/4); d3 has 1 + 1/3.
        ([dense, words], 0, ["d3", "d9", "d2", "d1", "d7", "d0"]),
        # Ranks from 1: y 1/3 + 1/4 before w and x with 1/2 each. Ranks from 0 would put y third.
        ([["x", "y"], ["w", "z", "y"]], 1, ["y", "w", "x", "z"]),
        ([["b", "a"], ["a", "b"]], 60, ["a", "b"]),
        ([["b", "c"], [], ["a"]], 60, ["a", "b", "c"]),
    ]
    for rankings, c, expected in cases:
        result = answer([list(ranking) for ranking in rankings], c)
        if isinstance(result, dict):
            return "return the ids in order, not their scores: sorted(scores, key=…) gives a list"
        try:
            result = list(islice(result, 100))  # enough to see that it is too long
        except TypeError:
            return f"the answer is a list of ids, yours is a {type(result).__name__}"
        if set(map(str, result)) != set(expected):
            return f"every document of any ranking must appear, once: expected {sorted(expected)}, yours are {result}"
        if len(result) != len(expected):
            return f"a document appears more than once: {result}"
        if result != expected:
            if result == expected[::-1]:
                return "the order is turned round: the largest sum comes first"
            if c < 2:
                return f"with c = {c} a first place gives 1/{c + 1}: is your c fixed, or does rank begin with 0?"
            return f"for the rankings {rankings} and c={c} the order is {expected}, yours is {result}"
    return right("only ranks count: scores of different kinds never have to be brought to one scale")


@exercise(
    "04.5",
    title="What does one query cost?",
    difficulty=3,
    minutes=15,
    expects="a function of query and aligned (lists of token ids), df [V], n_docs, d and per_token (multiply-adds of "
    "the encoder for one token) that returns the multiply-adds of three searches: dense cosine, the query's own "
    "tokens, and its own and aligned tokens together",
    accepts=Callable,
)
def query_cost(answer):
    df = np.array([500, 20, 0, 130, 7, 1000])
    query, aligned, n_docs, d, per_token = [3, 1, 4], [4, 0], 1000, 16, 5000
    result = answer(list(query), list(aligned), df.copy(), n_docs, d, per_token)
    dense, own, expanded = as_array(result, shape=(3,))
    encoder, output_layer, read, more = 3 * 5000, 6 * 16, 130 + 20 + 7, 500
    if dense != encoder + 1000 * 16:
        if dense == 1000 * 16:
            return "dense: the scan is right, but the query has to be encoded first, every token once"
        if dense == 5000 + 1000 * 16:
            return "dense: the encoder works on every token of the query, and this query has three"
        return f"dense: three tokens through the encoder, then d for each document: 31000, yours is {dense:g}"
    if own != read:
        if own == encoder + read:
            return "own tokens: the query is only looked up; no model runs"
        if own == 3 * 1000:
            return (
                "own tokens: you read an entry for every document; a list holds only those with the token, df of them"
            )
        if own == df.sum():
            return "own tokens: only the lists of the query's tokens are read, not the whole index"
        return (
            f"own tokens: the lists of tokens 3, 1 and 4 hold {read} entries, one multiply-add each; yours is {own:g}"
        )
    right_sum = encoder + output_layer + read + more
    if expanded != right_sum:
        if expanded == right_sum - output_layer:
            return "aligned tokens: after the encoder the output layer decodes the embedding, V · d more; V is len(df)"
        if expanded == right_sum - encoder:
            return "aligned tokens: to be decoded, the query must be encoded first, every token once"
        if expanded == read + more:
            return "aligned tokens: they come out of the model: encoder and output layer run as well"
        if expanded == right_sum + 7:
            return "aligned tokens: token 4 is on both sides; its list is read once"
        if expanded == right_sum - more:
            return "aligned tokens: the lists of the aligned tokens are read as well as those of the query's own"
        return (
            f"aligned tokens: encoder {encoder}, output layer {output_layer}, postings {read + more}: {right_sum}; "
            f"yours is {expanded:g}"
        )
    return right(
        f"here {dense:g}, {own:g} and {expanded:g}: with aligned tokens of the query the model is what costs; it saves "
        "the scan, not the encoder"
    )
