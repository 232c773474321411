"""The figure of the site's first page: the same tokens as the model's, and numbers that are not stale."""

import json
import re

import numpy as np
import pytest
import tiny

from course_utils.measures.alignment import readable, special_ids, top_tokens
from course_utils.measures.spectrum import components, shift
from course_utils.models.embedder import load
from course_utils.models.prompts import ONE_WORD
from course_utils.shipped import arrays
from course_utils.teaching.explorers import landing
from course_utils.teaching.explorers.page import spelled
from course_utils.texts.datasets import wikipedia_sentences


@pytest.fixture(scope="module")
def shipped() -> dict:
    return json.loads(landing.NUMBERS.read_text(encoding="utf-8"))


def shown(data: dict, sentence: dict, amount: float) -> list[str]:
    """What the page's script shows, done with the numbers of the file."""
    logits, slopes = np.array(sentence["logits"]), np.array(data["slopes"])[sentence["tokens"]]
    return [data["tokens"][sentence["tokens"][i]] for i in landing.best(logits, slopes, amount)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tiny model and the figure's numbers for it."""
    folder = tmp_path_factory.mktemp("landing")
    origin, trained = load(tiny.save(folder / "a"), prompt=ONE_WORD), load(tiny.save(folder / "b", seed=1))
    texts, sentences = tiny.SENTENCES[:6], tiny.SENTENCES[6:]
    embedded = [embedder.encode(texts) for embedder in (origin, trained)]
    said = []
    return origin, embedded, sentences, landing.numbers(origin, trained, sentences, embedded, said.append)


def test_at_every_position_the_page_shows_what_the_model_would(small):
    origin, embedded, sentences, data = small
    direction, special = components(embedded[0]).directions[0], special_ids(origin.tokenizer, tiny.VOCABULARY)
    for h, sentence in zip(origin.encode(sentences), data["sentences"], strict=True):
        for amount in landing.positions():
            ids, _ = top_tokens(shift(h[None], direction, amount), origin.unembedding, landing.K, special)
            assert shown(data, sentence, amount) == spelled(origin.tokenizer, ids[0]), (sentence["text"], amount)


def test_few_tokens_are_candidates_and_every_one_of_them_is_needed(small):
    *_, data = small
    for sentence in data["sentences"]:
        seen = {token for amount in landing.positions() for token in shown(data, sentence, amount)}
        assert seen == {data["tokens"][place] for place in sentence["tokens"]}


def test_rounding_that_changes_a_token_is_refused():
    exact = np.arange(20.0), np.zeros(20)
    landing._check_rounding("x", exact, exact)
    with pytest.raises(ValueError, match="the rounded numbers show other tokens than the model: 'x'"):
        landing._check_rounding("x", (np.roll(exact[0], 3), exact[1]), exact)


def test_the_numbers_are_made_from_what_is_here_today(shipped):
    assert shipped["made_from"] == landing.source(), "run several-tokens site-data"


def test_the_numbers_are_those_of_the_model(shipped):
    origin, trained = load(landing.ORIGIN), load(landing.TRAINED)
    direction = components(arrays.load("sentences", landing.ORIGIN)).directions[0]
    special = special_ids(origin.tokenizer, len(origin.unembedding))
    some = [shipped["sentences"][n] for n in (0, 17, 39)]
    H, H_hat = (embedder.encode([sentence["text"] for sentence in some]) for embedder in (origin, trained))
    for h, h_hat, sentence in zip(H, H_hat, some, strict=True):
        assert abs(h @ direction - sentence["coefficient"]) < 0.05
        for amount in (0.0, -10.0, shipped["variation"] // 0.5 * 0.5, -30.0, 5.0):
            ids, logits = top_tokens(shift(h[None], direction, amount), origin.unembedding, landing.K + 5, special)
            scored = list(zip(readable(origin.tokenizer, ids[0]), logits[0] - logits[0][landing.K - 1], strict=True))
            clear = {token for token, lead in scored if lead > 0.02}
            allowed = {token for token, lead in scored if lead > -0.02}
            page = set(shown(shipped, sentence, amount))
            assert clear <= page <= allowed, (sentence["text"], amount)
        after, _ = top_tokens(h_hat[None], origin.unembedding, landing.K, special)
        page = {shipped["tokens"][place] for place in sentence["trained"]}
        assert len(page & set(readable(origin.tokenizer, after[0]))) >= landing.K - 1


def test_the_histogram_and_v_1_are_those_of_lesson_03(shipped):
    before, after = (arrays.load("sentences", name) for name in (landing.ORIGIN, landing.TRAINED))
    direction = components(before).directions[0]
    assert shipped["variation"] == pytest.approx(((after - before) @ direction).mean(), abs=0.02)
    assert shipped["means"]["untrained"] == pytest.approx((before @ direction).mean(), abs=0.02)
    for counts in shipped["histogram"].values():
        assert sum(counts) == len(before), "a text lies outside the histogram"


def test_what_the_first_page_says_about_the_figure_is_so(shipped):
    """Function words before; after a step as far as training went, content words of the text: more than elsewhere."""

    def content(amount: float) -> tuple[float, float]:
        tops = [set(shown(shipped, sentence, amount)) for sentence in shipped["sentences"]]
        own = [{shipped["tokens"][place] for place in sentence["content"]} for sentence in shipped["sentences"]]
        hits = np.array([[len(words & top) for top in tops] for words in own])
        return hits.trace() / len(hits), (hits.sum() - hits.trace()) / (len(hits) * (len(hits) - 1))

    before, after = content(0.0), content(-18.5)
    assert before[0] < 0.3 and after[0] > 1.0 and after[1] < 0.1, (before, after)
    function = {"_the", "_in", "_a", "_and", "_to", "_of", "_on", ",", ".", "_", "\\n"}
    assert np.mean([len(function & set(shown(shipped, s, 0.0))) for s in shipped["sentences"]]) > 5


def test_the_sentences_are_our_own_and_none_is_measured_on(shipped):
    texts = [sentence["text"] for sentence in shipped["sentences"]]
    assert len(texts) == len(set(texts)) == 40
    measured = {" ".join(re.findall(r"\w+", text.lower())) for text in wikipedia_sentences(2000)}
    assert not measured & {" ".join(re.findall(r"\w+", text.lower())) for text in texts}


def test_the_page_stays_small():
    assert landing.NUMBERS.stat().st_size < 300_000
