"""Both sides choose on the tuning half by one rule; the parts add up; whole groups are compared."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from course_utils.measures import clusters, evaluation
from course_utils.search import dense, fair, retrieval, sparse
from course_utils.search.dense import DenseSetting
from course_utils.search.retrieval import KS, MS, Setting
from course_utils.shipped.collections import Embedded
from course_utils.texts import datasets


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(retrieval, "LARGEST_K", 60)
    monkeypatch.setattr(retrieval, "LARGEST_M", 20)


@pytest.fixture
def grids(monkeypatch):
    """A small grid in the place of the large one, for the tiny vocabulary."""
    ks, ms = (5, 20, 60), (0, 5, 20)
    monkeypatch.setattr(retrieval.grid, "__defaults__", (ks, ms))
    monkeypatch.setattr(retrieval.postings_prices, "__defaults__", (ks, ms))
    monkeypatch.setattr(fair.pick_sparse, "__defaults__", (ks, None))
    monkeypatch.setattr(fair, "KS", ks)
    monkeypatch.setattr(fair, "MS", ms)


def test_both_sides_choose_among_as_many_settings():
    assert len(dense.settings()) * len(dense.POWERS) == len(KS) * len(MS) == 42


def test_the_choice_is_that_of_the_tuning_half_and_no_other_query_has_a_say(bench, grids):
    tune, held_out = bench.halves()
    choice = fair.choose(bench)
    chosen, means = choice.chosen, choice.means("sparse", tune)
    row, column = retrieval.cheapest(means, retrieval.postings_prices())
    assert (chosen.sparse.k, chosen.sparse.m) == (fair.KS[row], fair.MS[column])
    assert chosen.dense == fair.pick_dense(choice.means("dense", tune), 16)
    np.testing.assert_allclose(
        choice.means("dense", held_out)[0, 0], bench.judge(bench.dense(), held_out).mean(), atol=1e-9
    )
    for row in held_out:  # other judgements of the held-out half
        bench.collection.qrels[bench.query_ids[row]] = {"d7": 1}
    assert fair.choose(bench).chosen == chosen
    before = fair.choose(bench).means("sparse", tune)
    for row in tune:  # while those of the tuning half have one
        bench.collection.qrels[bench.query_ids[row]] = {"d7": 1}
    assert not np.allclose(fair.choose(bench).means("sparse", tune), before)


def test_equal_bytes_bounds_k():
    means = np.arange(42.0).reshape(7, 6)  # the largest K is the best
    assert fair.pick_sparse(means)["k"] == KS[-1]
    assert fair.largest_k(576) == 288 and fair.pick_sparse(means, largest=288) == {"k": 256, "m": 100}
    with pytest.raises(ValueError, match="every K of the grid is above 5"):
        fair.pick_sparse(means, largest=5)


def test_the_plainest_dense_setting_is_taken_where_it_is_good_enough():
    means = np.full((7, 6), 0.98)
    means[6, 5] = 1.0
    assert fair.pick_dense(means, 16) == DenseSetting()
    means[0, 0] = 0.5
    assert fair.pick_dense(means, 16) == DenseSetting(False, 1)


def test_systems_hold_what_their_names_say(bench, grids):
    chosen = fair.choose(bench).chosen
    found = fair.systems(bench, chosen)
    assert all(s.shape == (4, 9) and np.isfinite(s).all() for s in found.values())
    for name, setting in (
        ("aligned tokens", chosen.sparse),
        ("aligned tokens, equal bytes", chosen.equal_bytes),
        ("aligned tokens, M = 0", Setting(k=chosen.sparse.k, m=0)),
    ):
        np.testing.assert_allclose(found[name], bench.aligned(setting), err_msg=name)
    np.testing.assert_allclose(found["dense, tuned"], fair.dense_side(bench).scores(chosen.dense))
    np.testing.assert_allclose(found["dense, raw"], bench.dense())
    np.testing.assert_array_equal(found["BM25"], bench.lexical())
    expected = evaluation.fuse_scores(found["BM25"], found["dense, tuned"])
    np.testing.assert_array_equal(found["BM25 + dense"], expected)
    named = {name for question in fair.QUESTIONS for name in question}
    assert named <= set(found)


def test_lists_are_cut_by_the_words_of_the_text_in_any_spelling():
    documents = csr_array(np.array([[0.5, 0.5, 0.5, 0.5, 0], [0, 0, 0, 0, 0], [0, 0.6, 0, 0.8, 0]]))
    classes = np.array([0, 0, 1, 2, 3])  # tokens 0 and 1 are spellings of one word
    surface = [np.array([0, 4]), np.array([2]), np.array([], dtype=int)]
    inside, outside = fair.split_lists(documents, surface, classes)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(inside.toarray(), [[half, half, 0, 0, 0], [0] * 5, [0] * 5])
    np.testing.assert_allclose(outside.toarray(), [[0, 0, half, half, 0], [0] * 5, [0, 0.6, 0, 0.8, 0]])
    assert documents.nnz == 6  # the caller's own are as they were
    with pytest.raises(ValueError, match="there are 2 texts"):
        fair.split_lists(documents, surface[:2], classes)


def test_tokens_that_mean_nothing_are_those_of_a_turned_output_layer(bench):
    setting = Setting(k=40, m=5)
    rows = list(range(len(bench.query_ids)))
    found = fair.meaningless(bench, setting, rows)
    assert list(found) == [f"M = {m}" for m in fair.NULL_MS]
    for m, of in zip(fair.NULL_MS, found.values(), strict=True):
        documents = bench.documents(at := Setting(k=40, m=min(m, 20)))
        expected = bench.judge(sparse.scores(bench.queries(at, documents, own=False), documents), rows)
        assert of["rotated"].shape == expected.shape
        if m <= 20:
            np.testing.assert_allclose(of["as it is"], expected)
    one, two = (fair.meaningless(bench, setting, rows, n)["M = 10"]["rotated"] for n in (1, 2))
    assert np.ptp(one - two)  # another rotation is another code
    q = fair._rotation(16, 0)
    np.testing.assert_allclose(q @ q.T, np.eye(16), atol=1e-5)
    assert not np.allclose(q, fair._rotation(16, 1), atol=0.1)


def test_a_meaningless_code_still_finds_what_is_near_and_nothing_else(bench):
    rng = np.random.default_rng(3)
    documents = rng.standard_normal((9, 16)).astype(np.float32)
    wanted = [bench.document_ids.index(next(iter(bench.collection.qrels[q]))) for q in bench.query_ids]
    near = documents[wanted] + 0.05 * rng.standard_normal((4, 16)).astype(np.float32)
    rows = list(range(4))
    quality = {}
    for name, queries in (("near", near), ("anywhere", rng.standard_normal((4, 16)).astype(np.float32))):
        planted = retrieval.Workbench(
            bench.collection, Embedded(documents, queries), bench.unembedding, bench.tokenizer
        )
        quality[name] = fair.meaningless(planted, Setting(k=40, idf="none"), rows)["M = 10"]["rotated"].mean()
    assert quality["near"] > 0.8 > 0.65 > quality["anywhere"]


def test_parts_of_the_whole_method(bench):
    setting = Setting(k=40, m=5)
    found = fair.parts(bench, setting)
    np.testing.assert_allclose(found[fair.WHOLE], bench.aligned(setting), rtol=1e-5, atol=1e-6)
    own, aligned = found["own words → the whole list"], found["aligned tokens → the whole list"]
    np.testing.assert_allclose(own + aligned, found[fair.WHOLE], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own, bench.aligned(Setting(k=40, m=0)), rtol=1e-5, atol=1e-6)
    words = [set(sparse.query_tokens(bench.tokenizer, [text], True)[0]) for text in bench.query_texts]
    stands = [set(bench.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in bench.document_texts]
    shares = np.array([[bool({*bench.classes[list(w)]} & {*bench.classes[list(s)]}) for s in stands] for w in words])
    assert not found["own words → words of the text"][~shares].any()
    assert found["own words → words of the text"].any() and found["own words → tokens beyond the text"].any()


def test_without_expansion_there_are_no_parts_of_it(bench):
    found = fair.parts(bench, Setting(k=40, m=0))
    assert not any(name.startswith("aligned tokens") for name in found) and fair.WHOLE in found


def test_comparisons_are_corrected_together():
    rng = np.random.default_rng(0)
    values = {n: {"a": rng.uniform(size=40) + shift, "b": rng.uniform(size=40)} for n, shift in (("x", 0.5), ("y", 0))}
    groups = {n: np.repeat(np.arange(20), 2) for n in values}
    found = fair.compare(values, groups, [("a", "b"), ("b", "a")])
    assert [(c.label, c.a, c.b) for c in found] == [("x", "a", "b"), ("x", "b", "a"), ("y", "a", "b"), ("y", "b", "a")]
    assert [c.corrected for c in found] == pytest.approx(clusters.holm([c.p for c in found]))
    assert [c.verdict for c in found] == ["better", "worse", "no clear difference", "no clear difference"]
    assert found[0].difference.value == pytest.approx(np.mean(values["x"]["a"] - values["x"]["b"]))
    with pytest.raises(KeyError):
        fair.compare(values, groups, [("a", "c")])


def test_retention_is_the_ratio_of_the_means():
    a = np.array([0.2, 0.4, 0.6, 0.1])
    found = fair.retention(a, 2 * a, "aabb")
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_no_article_is_on_both_sides(bench):
    collection = datasets.wikipedia_retrieval()
    names = fair.articles(collection)
    titles = {section.article for section in datasets.wikipedia_sections()}
    assert set(names) <= titles and len(names) == len(collection.queries)
    rng = np.random.default_rng(0)
    vectors = Embedded(*(rng.normal(size=(len(side), 16)) for side in (collection.corpus, collection.queries)))
    whole = retrieval.Workbench(collection, vectors, bench.unembedding, bench.tokenizer, groups=names)
    tune, held_out = whole.halves()
    assert len(tune) > 100 < len(held_out) and not {names[i] for i in tune} & {names[i] for i in held_out}
