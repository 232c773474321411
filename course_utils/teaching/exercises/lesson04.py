"""Checks of lesson 04: sparse retrieval. Every expectation is counted by hand or drawn and then summed in a loop."""

import math
from collections.abc import Callable
from itertools import islice

import numpy as np

from course_utils.shipped import arrays
from course_utils.teaching.exercises import AnswerError, as_array, exercise, fresh, right


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
    drawn = fresh.generator().uniform(0.1, 1, size=(6, 4)).round(3)
    other = [{f"_t{j}": w for j, w in enumerate(row.tolist()) if w > 0.4} for row in drawn]
    held = {f"_t{j}": [(n, row[f"_t{j}"]) for n, row in enumerate(other) if f"_t{j}" in row] for j in range(4)}
    result = answer([dict(document) for document in other])
    if not isinstance(result, dict) or {t: _pairs(e, t) for t, e in result.items()} != {
        t: e for t, e in held.items() if e
    }:
        return fresh.ONLY_THE_SHOWN
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
        other = fresh.generator().uniform(size=(30, 7)) * (fresh.generator().uniform(size=(30, 7)) < 0.4)
        counts = [sum(value > 0 for value in column) for column in other.T.tolist()]
        if fresh.differs(as_array(answer(other.copy())), [math.log(31 / (count + 1)) for count in counts]):
            return fresh.ONLY_THE_SHOWN
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
    logits = fresh.generator().normal(1, 1, size=25)
    order = sorted((i for i in range(1, 25) if logits[i] > 0), key=lambda i: -logits[i])[:5]
    length = math.sqrt(sum(logits[i] ** 2 for i in order))
    if fresh.differs(as_array(answer(logits.copy(), 5, [0])), [logits[i] / length * (i in order) for i in range(25)]):
        return fresh.ONLY_THE_SHOWN
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
    a, b = ([f"d{i}" for i in fresh.generator().permutation(8)] for _ in range(2))
    sums = {d: 1 / (7 + a.index(d)) + 1 / (7 + b.index(d)) for d in a}
    result = list(islice(answer([list(a), list(b)], 6), 100))
    if [round(sums.get(str(d), -1.0), 9) for d in result] != sorted((round(v, 9) for v in sums.values()), reverse=True):
        return fresh.ONLY_THE_SHOWN
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
    other, width, one = fresh.generator().integers(1, 900, size=8), *fresh.generator().integers(10, 90, size=2).tolist()
    held = [int(other[i]) for i in (2, 5, 6)]  # tokens 2 and 5 are the query's own, 5 and 6 are aligned
    expected = [2 * one + 1000 * width, held[0] + held[1], 2 * one + 8 * width + sum(held)]
    if fresh.differs(as_array(answer([2, 5], [5, 6], other.copy(), 1000, width, one), shape=(3,)), expected):
        return fresh.ONLY_THE_SHOWN
    return right(
        f"here {dense:g}, {own:g} and {expanded:g}: with aligned tokens of the query the model is what costs; it saves "
        "the scan, not the encoder"
    )


@exercise(
    "04.6",
    title="The same chance for the dense side",
    difficulty=2,
    minutes=8,
    expects="a function of documents [n, d], queries [m, d] and tune (numbers of the tuning queries) that returns the "
    "cosines [m, n] after the documents' mean is taken from the documents, the tuning queries' mean from all queries",
    accepts=Callable,
)
def centred(answer):
    embedded = arrays.load("retrieval", "smol-sgpt-qa")
    documents, queries = (np.array(side[:n], dtype=np.float64) for side, n in zip(embedded, (40, 12), strict=True))
    tune = [0, 3, 4, 8, 11]
    result = as_array(answer(documents.copy(), queries.copy(), list(tune)), shape=(12, 40))
    means = [sum(row[j] for row in documents) / 40 for j in range(documents.shape[1])]
    asked = [sum(queries[i][j] for i in tune) / 5 for j in range(documents.shape[1])]

    def cosines(query_mean, document_mean) -> np.ndarray:
        q, d = queries - query_mean, documents - document_mean
        return np.array([[x @ y / math.sqrt((x @ x) * (y @ y)) for y in d] for x in q])

    if np.allclose(result, cosines(asked, means), atol=1e-5):
        d, q = fresh.generator().normal(1, 1, size=(9, 5)), fresh.generator().normal(2, 1, size=(4, 5))
        d_0, q_0 = d - sum(d) / 9, q - (q[1] + q[2]) / 2
        wanted = [[x @ y / math.sqrt((x @ x) * (y @ y)) for y in d_0] for x in q_0]
        if fresh.differs(as_array(answer(d.copy(), q.copy(), [1, 2])), wanted):
            return fresh.ONLY_THE_SHOWN
        return right("what all texts share is gone from both sides, and no held-out query was looked at")
    if np.allclose(result, cosines(0, 0), atol=1e-5):
        return "these are the raw cosines: nothing was taken away"
    if np.allclose(result, cosines(queries.mean(axis=0), means), atol=1e-5):
        return "your mean of the queries has seen the held-out ones; take it over queries[tune] only"
    if np.allclose(result, cosines(means, means), atol=1e-5):
        return "queries have a mean of their own: questions share other things than paragraphs do"
    if np.allclose(result, cosines(0, means), atol=1e-5):
        return "the documents are centred, the queries are not"
    if np.allclose(result, cosines(asked, 0), atol=1e-5):
        return "the queries are centred, the documents are not"
    if np.abs(result).max() > 1 + 1e-6:
        return "a cosine lies between -1 and 1: divide by both lengths, after the means are gone"
    return f"query 0 and document 0: the cosine is {cosines(asked, means)[0, 0]:.3f}, yours is {result[0, 0]:.3f}"
