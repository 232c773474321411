"""Training on tiny models, and a few steps on the real default one."""

import json
import math

import numpy as np
import pytest
import tiny
import torch
from torch.nn.functional import cross_entropy

from course_utils.models import embedder, packages, store
from course_utils.models.embedder import load
from course_utils.training import loop, recipes
from course_utils.training.recipes import Data, Example, Recipe, Stage
from course_utils.training.runs import Probe

TRIPLETS = [Example(**row) for row in tiny.TRIPLETS]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1)


def recipe(folder, *stages, seed=0, **changes):
    stages = list(stages) or [Stage("contrastive", 12, 1e-2, batch_size=16)]
    return Recipe(folder, stages, [Data("mini.jsonl", "triplets")], seed=seed, lora_rank=4, **changes)


def run_for(recipe, examples=TRIPLETS, **arguments):
    losses = []
    run = loop.start(recipe, dtype="float32")
    loop.train(run, [examples], on_step=lambda run, loss: losses.append(loss), **arguments)
    return run, losses


@torch.no_grad()
def mean_loss(run, examples=TRIPLETS):
    return loop.contrastive_loss(run.embedder, examples, run.recipe.temperature, run.recipe.max_tokens).item()


def same_weights(a, b):
    assert a.parameters.keys() == b.parameters.keys()
    return all(torch.equal(a.parameters[name], b.parameters[name]) for name in a.parameters)


# --- The loss --------------------------------------------------------------------------------------


def naive_info_nce(anchors, positives, negatives, temperature, skip=()):
    def cosine(a, b):
        return sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))

    total = 0.0
    for i, anchor in enumerate(anchors):
        scores = []
        for c, candidate in enumerate([*positives, *negatives]):
            if (i, c) not in skip:
                scores.append(math.exp(cosine(anchor, candidate) / temperature))
        total -= math.log(math.exp(cosine(anchor, positives[i]) / temperature) / sum(scores))
    return total / len(anchors)


@pytest.mark.parametrize("n_negatives", [0, 3, 5])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_info_nce_is_the_double_loop(n_negatives, temperature):
    rng = np.random.default_rng(n_negatives)
    a, p, n = (rng.normal(size=(k, 7)) for k in (5, 5, n_negatives))
    tensors = [torch.tensor(x) for x in (a, p, n)]
    negatives = tensors[2] if n_negatives else None
    found = loop.info_nce(tensors[0], tensors[1], negatives, temperature)
    assert found.item() == pytest.approx(naive_info_nce(a, p, n, temperature), rel=1e-9)
    skip = {(0, 2), (3, 1)} | ({(2, 6)} if n_negatives else set())
    same = torch.zeros(5, 5 + n_negatives, dtype=torch.bool)
    for i, c in skip:
        same[i, c] = True
    masked = loop.info_nce(tensors[0], tensors[1], negatives, temperature, same)
    assert masked.item() == pytest.approx(naive_info_nce(a, p, n, temperature, skip), rel=1e-9)
    assert masked < found  # fewer rivals


def test_info_nce_ignores_length_but_not_direction():
    torch.manual_seed(0)
    a, p = torch.randn(4, 6), torch.randn(4, 6)
    torch.testing.assert_close(loop.info_nce(a, p), loop.info_nce(3 * a, 0.1 * p))
    assert loop.info_nce(a, a) < loop.info_nce(a, -a)


def test_false_negatives():
    batch = [
        Example("a", "p", "n", group="x"),
        Example("b", "q", "n", group="x"),  # of the same group as the first
        Example("c", "p", None, group="y"),  # repeats the first's positive
        Example("a", "r", "n"),  # repeats the first's anchor
        Example("d", "s", "n"),  # no group is not a group
    ]
    same = loop.false_negatives(batch)
    assert same.shape == (5, 9)
    pairs = {(0, 1), (0, 2), (0, 3)}
    assert {tuple(ij) for ij in same.nonzero().tolist()} == pairs | {(j, i) for i, j in pairs}


def test_a_hard_negative_is_none_for_anchors_of_its_own_label():
    batch = [
        Example("a", "p", "n", group="question", negative_group="request"),
        Example("b", "q", None, group="request"),  # what is far from the first is of this one's kind
        Example("c", "r", "m", group="request", negative_group="question"),
        Example("d", "s", "l"),
    ]
    same = loop.false_negatives(batch)[:, 4:]  # candidates: the hard negatives n, m, l
    assert {tuple(ij) for ij in same.nonzero().tolist()} == {(0, 1), (1, 0), (2, 0)}


def test_a_stage_draws_only_from_its_files():
    stages = [Stage("contrastive", 5, 1e-3, 2), Stage("contrastive", 30, 1e-3, 2)]
    entries = [
        Data("a.jsonl", "triplets", stages=[1]),
        Data("b.jsonl", "triplets", stages=[2]),
        Data("c.jsonl", "triplets"),
    ]
    plan = Recipe("smollm2", stages, entries)
    examples = [[Example(f"{name}{i}", "p") for i in range(4)] for name in "abc"]
    drawn = [batch[0].anchor[0] for _, batch, _ in loop._schedule(plan, examples)]
    assert set(drawn[:5]) <= set("ac") and set(drawn[5:]) == set("bc")


def test_contrastive_loss_is_info_nce_of_the_embeddings(llama):
    run = loop.start(recipe(llama), dtype="float32")
    batch = [*TRIPLETS[:5], TRIPLETS[9]._replace(negative=None), TRIPLETS[20]]
    parts = [[e.anchor for e in batch], [e.positive for e in batch], [e.negative for e in batch if e.negative]]
    encode = [load(llama).encode(texts).astype(float) for texts in parts]
    skip = {(i, j) for i in range(7) for j in range(7) if i != j and batch[i].positive == batch[j].positive}
    expected = naive_info_nce(*encode, 0.05, skip)
    assert mean_loss(run, batch) == pytest.approx(expected, abs=1e-4)  # an untrained adapter changes nothing


def test_cached_gradients_are_those_of_the_whole_batch(llama, monkeypatch):
    """In pieces of two or three texts, with and without hard negatives, and beside the next-token loss."""
    monkeypatch.setattr(loop, "PIECE_TOKENS", {"cpu": 24})
    batch = [*TRIPLETS[:6], TRIPLETS[9]._replace(negative=None)]
    for objective in ("contrastive", "contrastive+lm"):
        found = {}
        for cached in (False, True):
            run = loop.start(recipe(llama), dtype="float32")
            for number, p in enumerate(
                run.parameters.values()
            ):  # a fresh adapter has zeros, and so no gradient, in half
                torch.manual_seed(number)
                p.data.normal_(std=0.1)
            stage = Stage(objective, 1, 1e-3, batch_size=len(batch), cached=cached)
            loss = loop._loss(run, stage, batch, 0)
            if loss.requires_grad:
                loss.backward()
            found[cached] = loss.item(), torch.cat([p.grad.flatten() for p in run.parameters.values()])
        assert found[True][0] == pytest.approx(found[False][0], rel=1e-5)
        torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-4, atol=1e-6)
        assert found[True][1].abs().max() > 1e-3


def test_training_with_cached_gradients_goes_the_same_way(llama):
    plain, losses = run_for(recipe(llama, Stage("contrastive", 4, 1e-2, batch_size=16)))
    cached, cached_losses = run_for(recipe(llama, Stage("contrastive", 4, 1e-2, batch_size=16, cached=True)))
    assert cached_losses == pytest.approx(losses, rel=1e-4)


@torch.no_grad()
def test_masked_next_token_loss_predicts_hidden_tokens_from_the_position_before(llama):
    """The loss is that of one of the ways to hide tokens of the text, each tried in a plain forward pass."""
    run = loop.start(recipe(llama), dtype="float32")
    made = run.embedder
    generator = torch.Generator().manual_seed(3)
    found = loop.masked_next_token_loss(made, ["Rain, rain"], 96, generator).item()
    ids = made.prepare(["Rain, rain"])[0].ids
    assert 3 < len(ids) < 8
    mask = made.tokenizer("_", add_special_tokens=False)["input_ids"][0]
    candidates = set()
    for hidden in range(1, 2 ** (len(ids) - 1)):
        at = [t for t in range(1, len(ids)) if hidden >> (t - 1) & 1]
        seen = torch.tensor([[mask if t in at else i for t, i in enumerate(ids)]])
        states = made.backbone.transformer(input_ids=seen).last_hidden_state[0]
        logits = states[[t - 1 for t in at]] @ made.unembedding.T
        candidates.add(round(cross_entropy(logits, torch.tensor([ids[t] for t in at])).item(), 4))
    assert len(candidates) > 1 and min(abs(found - c) for c in candidates) < 1e-3


@torch.no_grad()
def test_next_token_loss_is_the_librarys(llama):
    run = loop.start(recipe(llama), dtype="float32")
    texts = tiny.SENTENCES[:4]
    total, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([run.embedder.tokenizer(text)["input_ids"]])
        total += run.embedder.backbone.causal(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert loop.next_token_loss(run.embedder, texts, 96).item() == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_one_cycle(steps):
    rates = [loop.one_cycle(step, steps, 3e-4) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(3e-4) and min(rates) > 0
    assert peak <= 0.1 * steps + 1
    assert all(a < b for a, b in zip(rates[:peak], rates[1 : peak + 1], strict=True))
    assert all(a > b for a, b in zip(rates[peak + 1 :], rates[peak + 2 :], strict=False))
    if steps == 200:
        assert rates[9] == pytest.approx(1.5e-4)  # halfway up
        assert rates[110] == pytest.approx((1 + 0.01) / 2 * 3e-4)  # halfway down
        assert rates[-1] < 0.012 * 3e-4


# --- The loop --------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_leaves_the_backbone(llama):
    run = loop.start(recipe(llama), dtype="float32")
    frozen = {n: p.clone() for n, p in run.embedder.backbone.causal.named_parameters() if "lora_" not in n}
    before, probe = mean_loss(run), Probe(run, tiny.SENTENCES, [(*tiny.SENTENCES[i : i + 2], i) for i in range(6)])
    first = probe(run, None)
    loop.train(run, [TRIPLETS])
    assert mean_loss(run) < 0.8 * before
    last = probe(run, 1.0)
    assert (run.step, first["step"], last["step"]) == (12, 0, 12)
    assert first["v_1"] == 0 and first["max_other_v"] == 0 and last["v_1"] != 0
    assert probe.rows == [first, last] and -1 <= last["spearman"] <= 1 and 0 <= last["gar"] <= 1
    after = dict(run.embedder.backbone.causal.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in frozen.items())
    assert set(run.parameters) and all("lora_" in name and p.requires_grad for name, p in run.parameters.items())


def test_the_seed_decides(llama):
    one, losses = run_for(recipe(llama), until=3)
    again, same = run_for(recipe(llama), until=3)
    other, different = run_for(recipe(llama, seed=1), until=3)
    assert losses == same and same_weights(one, again)
    assert losses != different and not same_weights(one, other)


def test_a_run_knows_which_side_of_its_examples_differs_from_that_of_another_run(llama):
    plan = recipe(llama, Stage("contrastive", 1, 1e-2, batch_size=16))
    shuffled = [e._replace(positive=f.positive) for e, f in zip(TRIPLETS, TRIPLETS[::-1], strict=True)]
    given = [run_for(plan, x)[0].given for x in (TRIPLETS, shuffled, [e._replace(negative=None) for e in TRIPLETS])]
    differ = [[side for side in loop.SIDES if given[0][side] != other[side]] for other in given]
    assert differ == [[], ["positives"], ["negatives"]]
    run, _ = run_for(plan)
    assert loop.train(run, [shuffled]).given == given[0]  # nothing is left to train on


def test_encoding_during_training_disturbs_nothing(llama):
    """A lesson looks at the embeddings while they are trained: with ``encode``, or beside the untrained model."""
    plain, losses = run_for(recipe(llama), until=4)
    run = loop.start(recipe(llama), dtype="float32")
    untrained = embedder.Embedder(run.embedder.spec, run.embedder.backbone)
    seen = []

    def look(run, loss):
        seen.append((loss, run.embedder.encode(tiny.SENTENCES), untrained.encode(tiny.SENTENCES)))

    loop.train(run, [TRIPLETS], until=4, on_step=look)
    assert [loss for loss, _, _ in seen] == losses and same_weights(run, plain)
    origin = load(llama).encode(tiny.SENTENCES)
    for _, _, beside in seen:
        np.testing.assert_allclose(beside, origin, atol=1e-5)
    assert np.abs(seen[-1][1] - origin).max() > np.abs(seen[0][1] - origin).max() > 1e-4


@pytest.mark.parametrize(
    "stages",
    [
        [Stage("contrastive", 6, 1e-2, 16)],
        [Stage("mntp", 3, 1e-2, 16), Stage("contrastive+lm", 4, 5e-3, 8)],
    ],
    ids=["one stage", "two stages"],
)
@pytest.mark.parametrize("killed_at", [1, 3, 4])
def test_resuming_equals_not_stopping(llama, tmp_path, stages, killed_at):
    wanted = recipe(llama, *stages)
    whole, losses = run_for(wanted)
    first, before = run_for(wanted, until=killed_at)
    loop.save_checkpoint(first, tmp_path / "checkpoint.safetensors")
    loop.train(first, [TRIPLETS], until=killed_at + 1)  # what was done after the checkpoint is lost
    second = loop.start(wanted, dtype="float32")
    torch.manual_seed(12345)
    loop.load_checkpoint(second, tmp_path / "checkpoint.safetensors")
    assert second.step == killed_at
    after = []
    loop.train(second, [TRIPLETS], on_step=lambda run, loss: after.append(loss))
    assert before + after == losses and same_weights(second, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]  # nothing partial is left


def test_a_checkpoint_of_another_recipe_is_refused(llama, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    loop.save_checkpoint(loop.start(recipe(llama), dtype="float32"), path)
    for other in (recipe(llama, seed=1), recipe(llama, temperature=0.1), recipe(llama, Stage("contrastive", 13, 1e-2))):
        with pytest.raises(ValueError, match="checkpoint.safetensors was written by another recipe; delete it"):
            loop.load_checkpoint(loop.start(other, dtype="float32"), path)


def test_the_saved_adapter_reproduces_the_embeddings(llama, tmp_path):
    run, _ = run_for(recipe(llama))
    loop.save_adapter(run, tmp_path / "mine", {"losses": [1.0]})
    made = load(llama, adapters=(str(tmp_path / "mine"),))
    trained = run.embedder.encode(tiny.SENTENCES)
    origin = load(llama).encode(tiny.SENTENCES)
    assert np.abs(trained - origin).max() > 0.1
    np.testing.assert_allclose(made.encode(tiny.SENTENCES), trained, atol=5e-3)  # its weights are float16
    config = (tmp_path / "mine" / "adapter_config.json").read_text(encoding="utf-8")
    assert json.loads(config)["base_model_name_or_path"] == llama
    assert config.count(str(tmp_path.parent.parent)) == config.count(llama)  # no path but the one it was given
    record = json.loads((tmp_path / "mine" / "training.json").read_text(encoding="utf-8"))
    assert len(record["backbone_sha256"]) == 64 and record["losses"] == [1.0]
    assert record["adapter_sha256"] == packages.sha256(tmp_path / "mine" / "adapter_model.safetensors")
    assert record["recipe"]["stage"][0]["steps"] == 12


def test_an_adapter_of_the_default_model_names_no_path(tmp_path, monkeypatch):
    folder = tiny.save(tmp_path / "smollm2", "llama", seed=2)
    monkeypatch.setattr(store, "backbone", lambda name: tmp_path / name)
    run = loop.start(recipe("smollm2"), dtype="float32")
    loop.save_adapter(run, tmp_path / "out" / "mine", {})
    for path in (tmp_path / "out" / "mine").glob("*.json"):
        content = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in content and folder not in content, path.name
    config = json.loads((tmp_path / "out" / "mine" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "smollm2" and config["inference_mode"] is True


@pytest.mark.parametrize("objective, drop", [("mntp", 0.95), ("contrastive+lm", 0.9)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_objectives(llama, objective, drop, dtype):
    wanted = recipe(llama, Stage(objective, 20, 2e-2, 16, lm_weight=1.0))
    losses = []
    run = loop.start(wanted, dtype=dtype)
    loop.train(run, [TRIPLETS], on_step=lambda run, loss: losses.append(loss))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < drop * np.mean(losses[:5])
    assert all(p.dtype == torch.float32 for p in run.parameters.values())


@pytest.mark.slow
def test_an_embedder_that_keeps_its_next_token_loss_still_generates(llama):
    wanted = recipe(llama, Stage("contrastive+lm", 40, 2e-2, 16, lm_weight=1.0))
    run, _ = run_for(wanted)
    texts = [e.positive for e in TRIPLETS]
    fresh = loop.start(wanted, dtype="float32")
    with torch.no_grad():
        before, after = (loop.next_token_loss(r.embedder, texts, 96).item() for r in (fresh, run))
    assert after < 0.7 * before
    tokens = run.embedder.tokenizer(["A man is"], return_tensors="pt")
    out = run.embedder.backbone.causal.generate(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], max_new_tokens=5, do_sample=False
    )
    assert out.shape[1] > tokens["input_ids"].shape[1]
    assert torch.equal(out[:, : tokens["input_ids"].shape[1]], tokens["input_ids"])


def test_bidirectional_training_sees_both_sides(llama, monkeypatch):
    spec = loop.registry.get(llama, bidirectional=True)
    monkeypatch.setattr(loop.registry, "get", lambda name: spec)
    run, losses = run_for(recipe(llama, Stage("contrastive", 12, 1e-2, 16)))
    assert run.embedder.spec.bidirectional and losses[-1] < losses[0]
    first, second = run.embedder.prepare(["Rain and rain", "Rain and snow"])
    assert first.ids[1] == second.ids[1]
    with torch.no_grad():
        states = [run.embedder.forward([e], pooled=False)[0, 1] for e in (first, second)]
    assert (states[0] - states[1]).abs().max() > 1e-3


def test_long_texts_are_cut_without_a_warning(llama, recwarn):
    run = loop.start(recipe(llama, max_tokens=12), dtype="float32")
    encodings = loop.prepare(run.embedder, [tiny.SENTENCES[2]], None, None, 12)
    assert len(encodings[0].ids) == 12
    assert not [w for w in recwarn if "were cut" in str(w.message)]


# --- The real default model ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_few_steps_on_the_default_model_lower_the_loss():
    """Contrastive training on the course's own 64 triples; the loss is taken on the same 16 before and after."""
    wanted = Recipe(
        "smollm2", [Stage("contrastive", 5, 1e-3, batch_size=16)], [Data("mini.jsonl", "triplets")], max_tokens=32
    )
    run = loop.start(wanted, dtype="float32")
    watched = TRIPLETS[::4]
    before = mean_loss(run, watched)
    loop.train(run, [TRIPLETS])
    after = mean_loss(run, watched)
    print(f"loss {before:.3f} -> {after:.3f}")
    assert after < 0.8 * before


def test_the_triplets_of_the_tests_are_a_training_file(tmp_path):
    tiny.write_jsonl(tmp_path / "mini.jsonl", tiny.TRIPLETS)
    (examples,), dropped = recipes.load_examples(recipe("smollm2"), tmp_path)
    assert sorted(examples) == sorted(TRIPLETS) and len(TRIPLETS) == 64 and dropped == {"mini.jsonl": 0}
