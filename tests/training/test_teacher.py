"""The teacher: what it encodes, its losses against naive ones, the negatives it finds, and training with it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from course_utils.models import store
from course_utils.training import loop, teacher
from course_utils.training.recipes import Data, Example, Recipe, Stage, TeacherTerm
from course_utils.training.teacher import Guidance, Teacher, batch_cosines, distribution_matching, margin_mse

TRIPLETS = [Example(**row) for row in tiny.TRIPLETS]
ALONE = [Example(e.anchor, e.anchor, unlabelled=True) for e in TRIPLETS]
TEXTS = ["A man plays a guitar.", "Somebody makes music.", "The bank raised its rates.", "A man plays a guitar."]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    return Teacher("minilm", cache=tmp_path_factory.mktemp("teacher"), device="cpu")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1)


# --- Encoding --------------------------------------------------------------------------------------


def test_it_is_what_sentence_transformers_makes_of_the_same_folder(minilm):
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, "Zürich", "rain and " * 400]
    expected = SentenceTransformer(str(store.backbone("minilm")), device="cpu").encode(texts)
    found = minilm.encode(texts)
    assert found.dtype == np.float32 and found.shape == (6, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(found, expected, atol=5e-4)  # a number takes two bytes
    assert found[0] @ found[1] > 0.4 > found[0] @ found[2] and np.array_equal(found[0], found[3])


def test_an_interrupted_run_encodes_nothing_again(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "FILE_TEXTS", 2)
    first, calls = Teacher("minilm", tmp_path, "cpu"), []
    encode = first._encode

    def dies_after_two_files(texts):
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(texts)

    monkeypatch.setattr(first, "_encode", dies_after_two_files)
    texts = [f"text number {i}" for i in range(6)]
    with pytest.raises(KeyboardInterrupt):
        first.encode(texts)
    assert len(list(tmp_path.iterdir())) == 2
    second, again = Teacher("minilm", tmp_path, "cpu"), []
    monkeypatch.setattr(second, "_encode", lambda part: again.append(part) or encode(part))
    rows = second.encode(texts)
    assert again == [texts[4:]]
    third = Teacher("minilm", tmp_path, "cpu")
    assert np.array_equal(third.encode(texts[::-1]), rows[::-1]) and third._model is None
    assert np.array_equal(first.encode(texts[:4]), rows[:4])  # fresh or from the disk, to the last bit
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors"}


def test_no_texts_and_wrong_texts(minilm):
    assert minilm.encode([]).shape == (0, 384)
    for wrong, message in (("one", "single string"), (["a", " "], r"texts\[1\] is empty"), ([3], r"texts\[0\] is int")):
        with pytest.raises((TypeError, ValueError), match=message):
            minilm.encode(wrong)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00")
    with pytest.raises(ValueError, match=r"cut.safetensors is damaged .*: delete it"):
        Teacher("minilm", tmp_path)


def test_the_students_arithmetic_does_not_reach_the_teacher(minilm):
    with torch.autocast("cpu", torch.bfloat16):
        inside = minilm._encode(TEXTS)
    np.testing.assert_array_equal(inside, minilm._encode(TEXTS))


# --- Losses ----------------------------------------------------------------------------------------


def cosines(seed, shape):
    return np.random.default_rng(seed).uniform(-1, 1, size=shape)


def naive_distribution(s, t, tau_s, tau_t):
    total = 0.0
    for row_s, row_t in zip(s, t, strict=True):
        p = np.exp(row_t / tau_t) / np.exp(row_t / tau_t).sum()
        q = np.exp(row_s / tau_s) / np.exp(row_s / tau_s).sum()
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(s)


def naive_margin(s, t):
    squares = [
        ((s[i, i] - s[i, c]) - (t[i, i] - t[i, c])) ** 2 for i in range(len(s)) for c in range(s.shape[1]) if c != i
    ]
    return sum(squares) / len(squares)


@pytest.mark.parametrize("shape", [(4, 4), (5, 8), (3, 2 * 3)])
@pytest.mark.parametrize("tau_s, tau_t", [(0.05, 0.05), (0.1, 0.02), (1.0, 0.5)])
def test_distribution_matching_is_the_divergence_written_out(shape, tau_s, tau_t):
    s, t = cosines(1, shape), cosines(2, shape)
    found = distribution_matching(torch.tensor(s), torch.tensor(t), tau_s, tau_t)
    assert found.item() == pytest.approx(naive_distribution(s, t, tau_s, tau_t), rel=1e-9) and found > 0


@pytest.mark.parametrize("shape", [(4, 4), (5, 8), (1, 2)])
def test_margin_mse_is_the_double_loop(shape):
    s, t = cosines(3, shape), cosines(4, shape)
    assert margin_mse(torch.tensor(s), torch.tensor(t)).item() == pytest.approx(naive_margin(s, t), rel=1e-9)
    shifted = torch.tensor(t + 0.25)  # only margins count
    assert margin_mse(shifted, torch.tensor(t)).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("loss", [distribution_matching, margin_mse])
def test_a_loss_is_zero_where_student_and_teacher_agree_and_pulls_them_together(loss):
    t = torch.tensor(cosines(5, (4, 7)), dtype=torch.float32)
    assert loss(t, t).item() == pytest.approx(0, abs=1e-6)
    s = torch.tensor(cosines(6, (4, 7)), dtype=torch.float32, requires_grad=True)
    before = loss(s, t)
    before.backward()
    assert torch.isfinite(s.grad).all() and s.grad.abs().max() > 0
    assert loss(s.detach() - 1e-3 * s.grad, t) < before
    extreme = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)  # as far apart as cosines can be
    loss(extreme, -extreme.detach()).backward()
    assert torch.isfinite(extreme.grad).all()


def test_batch_cosines():
    rows = np.random.default_rng(0).normal(size=(5, 3))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    every = unit @ unit.T
    np.testing.assert_allclose(batch_cosines(torch.tensor(rows), 2), every[:2, 2:], atol=1e-6)
    alone = batch_cosines(torch.tensor(rows), 5)
    np.testing.assert_allclose(alone, [[every[i, j] for j in range(5) if j != i] for i in range(5)], atol=1e-6)


@pytest.mark.parametrize("loss, naive", [("distribution", naive_distribution), ("margin", naive_margin)])
def test_guidance_holds_the_students_cosines_against_the_teachers(minilm, loss, naive):
    anchors, candidates = TEXTS[:2], [TEXTS[1], TEXTS[2], TEXTS[0]]
    student = np.random.default_rng(1).normal(size=(5, 6))
    unit = student / np.linalg.norm(student, axis=1, keepdims=True)
    rows = minilm.encode([*anchors, *candidates]).astype(float)
    taus = (0.1, 0.1) if loss == "distribution" else ()
    expected = 3 * naive(unit[:2] @ unit[2:].T, rows[:2] @ rows[2:].T / np.linalg.norm(rows[0]) ** 2, *taus)
    found = Guidance(minilm, loss, 3.0, 0.1)(torch.tensor(student), anchors, candidates)
    assert found.item() == pytest.approx(expected, rel=5e-3)
    with pytest.raises(ValueError, match="unknown loss 'mse' of the teacher; choose from .*distribution"):
        Guidance(minilm, "mse")


# --- Hard negatives --------------------------------------------------------------------------------


def naive_negatives(queries, passages, positives, k, margin):
    found = []
    for query, own in zip(queries, positives, strict=True):
        scores = [float(query @ p) for p in passages]
        allowed = [i for i, s in enumerate(scores) if i != own and s <= margin * scores[own]]
        found.append(sorted(allowed, key=lambda i: (-scores[i], i))[:k])
    return found


@pytest.mark.parametrize("k, margin", [(1, 0.95), (3, 0.5), (50, 1.0)])
def test_mined_negatives_are_the_nearest_that_are_not_too_near(k, margin):
    rng = np.random.default_rng(k)
    passages = rng.normal(size=(30, 5)).astype(np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    positives = rng.integers(30, size=12)
    queries = passages[positives] + 0.3 * rng.normal(size=(12, 5)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = teacher.mine_negatives(queries, passages, positives, k, margin)
    assert [row.tolist() for row in found] == naive_negatives(queries, passages, positives, k, margin)
    assert any(len(row) for row in found) and all(own not in row for own, row in zip(positives, found, strict=True))


def test_what_the_teacher_finds_as_good_as_the_answer_is_no_negative():
    passages = np.array([[1, 0], [0.999, 0.0447], [0.6, 0.8], [0, 1]])
    (found,) = teacher.mine_negatives(np.array([[1.0, 0]]), passages, [0], k=9)
    assert found.tolist() == [2, 3]
    (none,) = teacher.mine_negatives(np.array([[1.0, 0]]), passages[:2], [0])
    assert none.tolist() == []  # rather none than a wrong one


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"positives": [0, 7]}, "positives must be numbers of the 3 passages; got 0 to 7"),
        ({"positives": [0, -1]}, "numbers of the 3 passages; got -1 to 0"),
        ({"positives": [0]}, "n positives; got"),
        ({"passages": np.ones((3, 4))}, r"need queries \[n, d\], passages \[m, d\]"),
        ({"k": 0}, "k must be at least 1; got 0"),
        ({"margin": 1.5}, "margin must lie between 0 and 1; got 1.5"),
        ({"queries": np.full((2, 2), np.nan)}, "queries hold NaN"),
    ],
)
def test_mining_refuses_what_makes_no_sense(changes, message):
    good = {"queries": np.ones((2, 2)), "passages": np.ones((3, 2)), "positives": [0, 1]}
    with pytest.raises(ValueError, match=message):
        teacher.mine_negatives(**{**good, **changes})


# --- Training with a teacher -----------------------------------------------------------------------


class Letters:
    """A teacher that counts letters: its cosines are known, and it takes no time."""

    fingerprint = "ab" * 32

    def __init__(self, *_, **__):
        self.asked = []

    def encode(self, texts):
        texts = list(texts)
        self.asked.append(texts)
        rows = np.array([[1 + t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setattr(loop, "Teacher", Letters)


def recipe(folder, *stages, term=None, **changes):
    stages = list(stages) or [Stage("contrastive", 8, 1e-2, batch_size=16)]
    term = term or TeacherTerm("minilm")
    return Recipe(folder, stages, [Data("mini.jsonl", "triplets")], lora_rank=4, teacher=term, **changes)


def run_for(wanted, examples=TRIPLETS, **arguments):
    losses = []
    run = loop.start(wanted, dtype="float32")
    loop.train(run, [examples], on_step=lambda run, loss: losses.append(loss), **arguments)
    return run, losses


@pytest.mark.parametrize("cached", [False, True])
def test_a_batch_that_keeps_the_teacher_out_is_plain_info_nce(llama, letters, cached):
    """It is not even asked, neither ahead of time nor in the step."""
    quiet = [e._replace(guided=False) for e in TRIPLETS]
    stages = [Stage("contrastive", 3, 1e-2, batch_size=16, cached=cached)]
    run, losses = run_for(recipe(llama, *stages), quiet)
    plain = run_for(replace(recipe(llama, *stages), teacher=None), quiet)[1]
    assert losses == plain and run.guidance.teacher.asked == []
    assert run_for(recipe(llama, *stages))[1] != plain


@torch.no_grad()
def distance(run, batch=ALONE[::4]):
    """How far student and teacher are apart on texts alone."""
    embeddings = loop.embed(run.embedder, loop._sides(run.embedder, batch, 96))
    return Guidance(Letters(), "distribution")(embeddings, *loop.texts_of(batch)).item()


def test_the_loss_of_a_batch_is_info_nce_and_the_teachers_term(llama, letters):
    batch = [*TRIPLETS[:5], TRIPLETS[9]._replace(negative=None), TRIPLETS[20]]
    run = loop.start(recipe(llama, term=TeacherTerm("minilm", weight=0.5)), dtype="float32")
    found = loop._loss(run, run.recipe.stage[0], batch, 0).item()
    sides = loop._sides(run.embedder, batch, 96)
    with torch.no_grad():
        embeddings = loop.embed(run.embedder, sides)
        plain = loop.contrastive_loss(run.embedder, batch, 0.05, 96).item()
    texts = [e.anchor for e in batch] + [e.positive for e in batch] + [e.negative for e in batch if e.negative]
    assert len(texts) == len(sides) == 20
    unit = embeddings.double().numpy() / np.linalg.norm(embeddings.double().numpy(), axis=1, keepdims=True)
    rows = Letters().encode(texts).astype(float)
    term = naive_distribution(unit[:7] @ unit[7:].T, rows[:7] @ rows[7:].T, 0.05, 0.05)
    assert found == pytest.approx(plain + 0.5 * term, rel=1e-4) and term > 0.01


@pytest.mark.parametrize("loss", ["distribution", "margin"])
@pytest.mark.parametrize("objective", ["contrastive", "contrastive+lm"])
@pytest.mark.parametrize("alone", [False, True])
def test_cached_gradients_are_those_of_the_whole_batch(llama, letters, monkeypatch, loss, objective, alone):
    if alone and loss == "margin":
        loss = "distribution"  # texts alone have no candidate of their own to measure a margin from
    monkeypatch.setattr(loop, "PIECE_TOKENS", {"cpu": 24})
    batch = ALONE[:40:7] if alone else [*TRIPLETS[:6], TRIPLETS[9]._replace(negative=None)]
    found = {}
    for cached in (False, True):
        run = loop.start(recipe(llama, term=TeacherTerm("minilm", loss)), dtype="float32")
        for number, p in enumerate(run.parameters.values()):
            torch.manual_seed(number)
            p.data.normal_(std=0.1)
        total = loop._loss(run, Stage(objective, 1, 1e-3, batch_size=len(batch), cached=cached), batch, 0)
        if total.requires_grad:
            total.backward()
        found[cached] = total.item(), torch.cat([p.grad.flatten() for p in run.parameters.values()])
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-5)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-4, atol=1e-6)
    assert found[True][1].abs().max() > 1e-3


def test_texts_alone_teach_what_the_teacher_says(llama, letters):
    run, losses = run_for(recipe(llama, Stage("contrastive", 20, 1e-2, batch_size=16)), ALONE)
    assert losses[-1] < 0.7 * losses[0]
    assert distance(run) < 0.7 * distance(loop.start(run.recipe, dtype="float32"))


def test_texts_alone_need_a_teacher(llama):
    plain = Recipe(llama, [Stage("contrastive", 2, 1e-2, 16)], [Data("a.jsonl", "unlabelled")], lora_rank=4)
    with pytest.raises(ValueError, match=r"give the recipe a \[teacher\]"):
        run_for(plain, ALONE)


def test_texts_alone_serve_masked_prediction(llama, letters):
    _, losses = run_for(recipe(llama, Stage("mntp", 3, 1e-2, 16)), ALONE)
    assert np.isfinite(losses).all()


def test_the_teacher_is_asked_before_the_first_step_and_for_nothing_else(llama, letters):
    stages = [Stage("mntp", 2, 1e-2, 8), Stage("contrastive", 4, 1e-2, 8)]
    run = loop.start(recipe(llama, *stages), dtype="float32")
    loop.train(run, [TRIPLETS], until=3)
    ahead, *used = run.guidance.teacher.asked
    assert len(used) == 1 and set(used[0]) == set(ahead)  # one contrastive step, after two of masked prediction
    loop.train(run, [TRIPLETS], until=5)
    ahead, *used = run.guidance.teacher.asked[2:]
    assert len(used) == 2 and {t for texts in used for t in texts} == set(ahead)


def test_a_weightless_teacher_changes_nothing(llama, letters):
    with_one, losses = run_for(recipe(llama, term=TeacherTerm("minilm", weight=0.0)), until=3)
    plain = Recipe(llama, with_one.recipe.stage, with_one.recipe.data, lora_rank=4)
    without, same = run_for(plain, until=3)
    assert losses == same
    assert all(torch.equal(with_one.parameters[name], p) for name, p in without.parameters.items())
    heavier, other = run_for(recipe(llama), until=3)
    assert other != same and without.guidance is None


def test_resuming_with_a_teacher_equals_not_stopping(llama, letters, tmp_path):
    wanted = recipe(llama, Stage("contrastive", 4, 1e-2, batch_size=8))
    whole, losses = run_for(wanted)
    first, before = run_for(wanted, until=2)
    loop.save_checkpoint(first, tmp_path / "c.safetensors")
    second, after = loop.start(wanted, dtype="float32"), []
    loop.load_checkpoint(second, tmp_path / "c.safetensors")
    loop.train(second, [TRIPLETS], on_step=lambda run, loss: after.append(loss))
    assert before + after == losses
    heavier = recipe(llama, *wanted.stage, term=TeacherTerm("minilm", weight=2.0))
    other = loop.start(heavier, dtype="float32")
    with pytest.raises(ValueError, match="written by another recipe"):
        loop.load_checkpoint(other, tmp_path / "c.safetensors")


def test_the_record_names_the_teacher(llama, letters, tmp_path):
    run, _ = run_for(recipe(llama), until=1)
    loop.save_adapter(run, tmp_path / "mine", {"losses": []})
    record = json.loads((tmp_path / "mine" / "training.json").read_text(encoding="utf-8"))
    assert record["teacher_sha256"] == Letters.fingerprint
    assert record["recipe"]["teacher"] == {
        "name": "minilm", "loss": "distribution", "weight": 1.0, "temperature": 0.05
    }  # fmt: skip
    plain, _ = run_for(Recipe(llama, run.recipe.stage, run.recipe.data, lora_rank=4), until=1)
    loop.save_adapter(plain, tmp_path / "plain", {"losses": []})
    record = json.loads((tmp_path / "plain" / "training.json").read_text(encoding="utf-8"))
    assert "teacher_sha256" not in record and "teacher" not in record["recipe"]


@pytest.mark.slow
def test_the_real_teacher_in_half_precision(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "Teacher", lambda name, device: Teacher(name, tmp_path, device))
    losses = []
    run = loop.start(recipe(llama, Stage("contrastive", 4, 1e-2, batch_size=16)), dtype="bfloat16")
    loop.train(run, [TRIPLETS], on_step=lambda run, loss: losses.append(loss))
    assert np.isfinite(losses).all() and len(list(tmp_path.iterdir())) == 1
