"""The sparse head against plain loops, what must not change it, a short run, and what is refused."""

import numpy as np
import pytest
import tiny
import torch

from course_utils.training import examples, loop, splade
from course_utils.training.examples import Example
from course_utils.training.recipes import Data, Recipe, Stage
from course_utils.training.splade import Penalty

TEXTS = tiny.SENTENCES


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1)


def recipe(folder, steps=30, **options):
    stage = Stage("contrastive", steps, options.pop("learning_rate", 5e-3), batch_size=4)
    data = [Data("x.jsonl", "pairs")]
    return Recipe(folder, [stage], data, lora_rank=2, temperature=1.0, max_tokens=32, **options)


def begun(folder, terms=40, **options):
    return splade.start(recipe(folder, **options), None, terms, TEXTS, dtype="float32")


PAIRS = [Example(text.split()[0], text) for text in TEXTS]


# --- Against plain loops ---------------------------------------------------------------------------


def test_votes_and_weights_are_what_loops_over_texts_tokens_and_words_give():
    hidden, unembedding = torch.randn(3, 4, 5), torch.randn(7, 5)
    real, bias = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]).bool(), torch.randn(7)
    found = splade.weights(splade.votes(hidden, unembedding, real), bias)
    for i in range(3):
        for j in range(7):
            of_tokens = [
                np.log1p(max(0.0, float(hidden[i, t] @ unembedding[j] + bias[j]))) for t in range(4) if real[i, t]
            ]
            assert float(found[i, j]) == pytest.approx(max(of_tokens), abs=1e-5)
    assert (found == 0).any() and (found > 0).any()


def test_flops_is_what_loops_give_and_equals_the_products_of_all_pairs():
    lists = torch.rand(4, 6)
    by_word = sum(float(sum(lists[i, j] for i in range(4)) / 4) ** 2 for j in range(6))
    by_pair = float((lists @ lists.T).mean())
    assert float(splade.flops(lists)) == pytest.approx(by_word) == pytest.approx(by_pair)


def test_flops_makes_a_word_that_all_texts_hold_dearer_than_words_of_their_own():
    shared, own = torch.zeros(4, 4), torch.eye(4)
    shared[:, 0] = 1
    assert shared.sum() == own.sum() and splade.flops(shared) == 4 * splade.flops(own)


def test_the_penalty_grows_as_a_square_and_stays():
    penalty = Penalty(1.0, 1.0, 10)
    assert [penalty.share(step) for step in (0, 5, 10, 99)] == [0, 0.25, 1, 1]
    assert Penalty(1.0, 1.0, 0).share(1) == 1


@pytest.mark.parametrize("terms", [1, 10, 100])
def test_so_many_words_are_above_the_threshold_on_average(terms):
    best = torch.randn(6, 300)
    assert int((best > splade.threshold(best, terms)).sum()) == 6 * terms


# --- What must not change it -----------------------------------------------------------------------


def test_lists_depend_neither_on_padding_nor_on_pieces_nor_on_order(llama, monkeypatch):
    run, _ = begun(llama)
    encodings = loop.prepare(run.embedder, TEXTS, None, "passage", 64)
    together = splade.best_votes(run.embedder, encodings)
    monkeypatch.setattr(splade, "PIECE_TOKENS", 1)
    alone = splade.best_votes(run.embedder, encodings)
    reverse = splade.best_votes(run.embedder, encodings[::-1]).flip(0)
    assert torch.allclose(together, alone, atol=1e-4) and torch.allclose(alone, reverse, atol=1e-4)


def test_what_a_token_votes_for_ignores_hidden_states_that_do_not_count():
    hidden, unembedding, real = torch.randn(2, 3, 4), torch.randn(6, 4), torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    other = hidden.clone()
    other[0, 2] = 1e3
    assert torch.equal(splade.votes(hidden, unembedding, real), splade.votes(other, unembedding, real))
    assert torch.equal(splade.votes(hidden, unembedding, real), splade.votes(hidden[:, :3], unembedding, real))


def test_gradients_through_the_checkpoint_are_those_without_it(llama, monkeypatch):
    found = []
    for kept in (splade.checkpoint, lambda function, *args, use_reentrant: function(*args)):
        run, bias = begun(llama)
        monkeypatch.setattr(splade, "checkpoint", kept)
        total, _ = splade.batch_loss(run, bias, PAIRS[:4], Penalty(1.0, 1.0, 0))
        total.backward()
        found.append([bias.grad, *(p.grad for p in run.parameters.values())])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


# --- A run -----------------------------------------------------------------------------------------


def trained(folder, penalty, steps=30, seed=0):
    run, bias = begun(folder, steps=steps, seed=seed)
    log = []
    batches = examples.batches([PAIRS], [1.0], 4, steps, seed)
    splade.train(run, bias, batches, penalty, lambda step, row: log.append(row))
    return run, bias, log


@pytest.mark.slow
def test_a_run_learns_and_the_dearer_list_is_the_shorter_one(llama):
    run, bias, free = trained(llama, Penalty(0.0, 0.0, 10))
    *_, dear = trained(llama, Penalty(0.3, 0.3, 10))
    assert run.step == 30 and np.mean([r["loss"] for r in free[-5:]]) < np.mean([r["loss"] for r in free[:5]])
    assert dear[-1]["document terms"] < 0.7 * free[-1]["document terms"]
    assert dear[0]["loss"] == free[0]["loss"] and dear[0]["share of the penalty"] == 0
    special = splade.special_ids(run.embedder.tokenizer, len(bias))
    assert (
        len(special) and torch.isneginf(bias[special]).all() and torch.isfinite(bias).sum() == len(bias) - len(special)
    )


def test_the_same_seed_gives_the_same_run_and_another_another(llama):
    first, again, other = (trained(llama, Penalty(0.1, 0.1, 2), 4, seed)[2] for seed in (1, 1, 2))
    assert first == again != other


def test_encoded_texts_are_the_largest_weights_without_special_tokens(llama):
    run, bias = begun(llama)
    with torch.no_grad():
        encodings = loop.prepare(run.embedder, TEXTS, None, "passage", 512)
        whole = splade.weights(splade.best_votes(run.embedder, encodings), bias).numpy()
    vectors = splade.encode(run, bias, TEXTS, "passage", 10)
    assert vectors.shape == whole.shape and np.diff(vectors.indptr).max() <= 10 and vectors.has_sorted_indices
    for row, dense in zip(vectors.toarray(), whole, strict=True):
        assert np.allclose(np.sort(row)[::-1][:10], np.sort(dense)[::-1][:10], atol=1e-4)
        assert np.allclose(row[row > 0], dense[row > 0], atol=1e-4)
    assert not vectors.toarray()[:, splade.special_ids(run.embedder.tokenizer, len(bias))].any()


def test_a_text_that_no_word_fits_has_an_empty_list(llama):
    run, bias = begun(llama)
    bias.data -= 1e4
    assert splade.encode(run, bias, TEXTS, "query", 5).nnz == 0


def test_a_run_begins_with_the_weights_of_an_adapter(llama, tmp_path):
    run, _, _ = trained(llama, Penalty(0.0, 0.0, 1), 3)
    loop.save_adapter(run, tmp_path, {})
    again, _ = splade.start(recipe(llama), tmp_path, 40, TEXTS, dtype="float32")
    assert any(p.abs().max() > 1e-4 for name, p in again.parameters.items() if "lora_B" in name)
    for name, p in again.parameters.items():
        assert torch.allclose(p, run.parameters[name], atol=1e-3), name


# --- Refused ---------------------------------------------------------------------------------------


def test_shapes_that_do_not_fit_are_named():
    hidden, unembedding, real = torch.randn(2, 3, 4), torch.randn(6, 4), torch.ones(2, 3).bool()
    for wrong in ((hidden[0], unembedding, real), (hidden, unembedding[:, :3], real), (hidden, unembedding, real[:1])):
        with pytest.raises(ValueError, match="need hidden"):
            splade.votes(*wrong)
    with pytest.raises(ValueError, match="text 1 has no token"):
        splade.votes(hidden, unembedding, torch.tensor([[1, 1, 1], [0, 0, 0]]).bool())


@pytest.mark.parametrize("terms", [0, -1, 300, 1.5])
def test_terms_that_no_text_can_keep_are_refused(terms):
    with pytest.raises(ValueError, match="terms must"):
        splade.threshold(torch.randn(2, 300), terms)


def test_more_weights_than_words_are_refused(llama):
    run, bias = begun(llama)
    with pytest.raises(ValueError, match="keep must"):
        splade.encode(run, bias, TEXTS, "query", len(bias) + 1)


@pytest.mark.parametrize("options", [{"rank": 3}, {"target_modules": ["q_proj"]}])
def test_an_adapter_of_another_shape_is_refused(options, llama, tmp_path):
    tiny.save_adapter(tmp_path / "other", llama, **options)
    with pytest.raises(ValueError, match="other"):
        splade.start(recipe(llama), tmp_path / "other", 40, TEXTS, dtype="float32")


def test_a_loss_that_is_not_finite_stops_the_run(llama):
    run, bias = begun(llama)
    bias.data[5] = torch.nan
    with pytest.raises(FloatingPointError, match="fewer terms"):
        splade.train(run, bias, [PAIRS[:4]], Penalty(0.0, 0.0, 1))
