"""Short runs on tiny models: one thing changed in each, the same probe for all, nothing lost after a cut."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny

from course_utils.training import causes, loop
from course_utils.training.causes import VARIANTS, Variant


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return str(tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1))


@pytest.fixture(scope="module")
def texts():
    """Reading the articles and the triples takes seconds; each seed's are read once."""
    return cache(causes.triples), causes.datasets.wikipedia_sentences(24)


@pytest.fixture(autouse=True)
def small(monkeypatch, texts):
    monkeypatch.setattr(causes, "triples", texts[0])
    monkeypatch.setattr(causes.datasets, "wikipedia_sentences", lambda n=None: texts[1][:n])
    monkeypatch.setattr(causes, "SENTENCES", 24)
    monkeypatch.setattr(causes, "FEWER", 8)
    monkeypatch.setattr(causes, "STEPS", 4)
    monkeypatch.setattr(causes, "PROBED", (0, 1, 2, 4))
    monkeypatch.setattr(causes, "LEARNING_RATE", 2e-2)


PAIRS = [("A bird sings.", "A bird is singing.", 5.0), ("A bird sings.", "Rain fell.", 0.2), ("It is late.", "Late", 3)]


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.startswith(("Gemma", "last token"))])
def test_every_variant_trains_and_leaves_a_log_of_numbers(name, llama):
    log = causes.run_one(replace(VARIANTS[name], embedder=llama), 1, PAIRS)
    assert json.loads(json.dumps(log))["variant"]["name"] == name and len(log["losses"]) == 4
    assert [(row["step"], row["n"]) for row in log["probe"]] == [(0, 24), (1, 8), (2, 8), (4, 24)]
    numbers = [v for row in log["probe"] for v in row.values()] + list(log["after"].values()) + log["losses"]
    assert np.isfinite(numbers).all()
    assert log["probe"][0]["v_1"] == 0 and log["probe"][-1]["v_1"] != 0
    assert ("tau" in log["probe"][-1]) is VARIANTS[name].learned
    assert ("Hit@10, raw" in log["after"]) is VARIANTS[name].final_norm and "STS, centred" in log["after"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_log_and_another_seed_another(llama):
    variant = Variant("x", embedder=llama)
    first, again, other = (causes.run_one(variant, seed) for seed in (1, 1, 2))
    assert first["losses"] == again["losses"] and first["probe"] == again["probe"]
    assert other["losses"] != first["losses"]


def test_the_first_steps_are_those_of_the_whole_run(llama):
    variant = Variant("x", embedder=llama)
    assert causes.run_one(variant, 1, steps=2)["losses"] == causes.run_one(variant, 1)["losses"][:2]


def test_without_the_final_norm_the_embedding_is_the_state_before_it(llama):
    normed, bare = (causes.run_one(Variant("x", embedder=llama, final_norm=f), 1, steps=1) for f in (True, False))
    assert normed["probe"][0]["length"] != bare["probe"][0]["length"]


def test_a_held_coefficient_moves_less_and_a_learned_temperature_moves(llama):
    free = causes.run_one(Variant("x", embedder=llama), 1)
    held = causes.run_one(Variant("x", embedder=llama, hold=1e4), 1)
    change = [abs(log["probe"][-1]["alpha"] - log["probe"][0]["alpha"]) for log in (held, free)]
    assert change[0] < change[1]
    learned = causes.run_one(Variant("x", embedder=llama, learned=True), 1)["probe"]
    assert learned[-1]["tau"] != 0.05


def test_inner_products_are_as_wide_as_cosines_in_the_first_batch(llama):
    wide = causes.run_one(Variant("x", "inner product", embedder=llama), 1, steps=1)["scale"]
    sharper = causes.run_one(Variant("x", "inner product", sharper=4.0, embedder=llama), 1, steps=1)["scale"]
    assert wide == pytest.approx(4 * sharper, rel=1e-6) and wide != 1.0


def test_finished_runs_are_kept_and_missing_ones_are_made(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(causes, "VARIANTS", {n: Variant(n, embedder=llama) for n in ("one", "two")})
    said = []
    causes.run_all(["one"], [1], tmp_path, report=said.append)
    before = (tmp_path / "one.1.json").stat().st_mtime_ns
    causes.run_all([], [1], tmp_path, report=said.append)
    assert (tmp_path / "one.1.json").stat().st_mtime_ns == before and len(said) == 2
    assert {p.name for p in tmp_path.iterdir()} == {"one.1.json", "two.1.json"}
    with pytest.raises(ValueError, match="unknown variant 'three'; choose from one, two"):
        causes.run_all(["three"], [1], tmp_path)
    with pytest.raises(FileNotFoundError):
        causes.run_all(["one"], [1], tmp_path, sts=tmp_path / "no.jsonl")


def test_every_variant_differs_from_the_first_in_little():
    plain = vars(VARIANTS["cosine, τ = .05"])
    for variant in VARIANTS.values():
        changed = [key for key, value in vars(variant).items() if key != "name" and value != plain[key]]
        assert len(changed) <= 2, (variant.name, changed)
    assert len({causes._file_name(name) for name in VARIANTS}) == len(VARIANTS)


class Letters:
    """A teacher that counts letters, in the place of the one that has to be loaded."""

    def __init__(self, *_, **__):
        self.asked = []

    def encode(self, texts):
        self.asked.append(list(texts))
        rows = np.array([[t.lower().count(chr(97 + i)) + 0.1 for i in range(26)] for t in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", causes.TAUGHT)
def test_a_teacher_speaks_beside_the_loss_alone_without_pairs_or_of_other_texts(name, llama, monkeypatch):
    teachers = []
    monkeypatch.setattr(loop, "Teacher", lambda *a, **k: teachers.append(Letters()) or teachers[-1])
    log = causes.run_one(replace(causes.TAUGHT[name], embedder=llama), 1, steps=1)
    (asked,) = teachers[0].asked
    batch = next(causes.examples.batches([causes.triples(1, None, causes.STEPS)], [1.0], causes.BATCH, 4, 1))
    n, own = len(batch), [e.anchor for e in batch] + [e.positive for e in batch]
    own = own[:n] if name == "a teacher, no pairs" else own
    assert sorted(asked) == sorted(own) and log["variant"]["teacher"] == causes.TAUGHT[name].teacher
    plain = causes.run_one(Variant("x", embedder=llama), 1, steps=1)["losses"][0]
    if name == "a teacher of other texts":
        told = zip(asked[:n], asked[n:], strict=True)
        assert not {(e.anchor, e.positive) for e in batch} & set(told), "a right answer stayed on the diagonal"
    else:
        assert asked == own
    assert log["losses"][0] > plain if name == "a teacher beside the loss" else log["losses"][0] != plain


def test_a_taught_run_is_made_only_where_it_is_named(llama, monkeypatch, tmp_path):
    monkeypatch.setattr(causes, "VARIANTS", {"one": Variant("one", embedder=llama)})
    monkeypatch.setattr(causes, "TAUGHT", {"two": causes.Taught("two", embedder=llama, teacher="alone")})
    monkeypatch.setattr(loop, "Teacher", Letters)
    causes.run_all((), work=tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").glob("*.json")] == ["one.1.json"]
    causes.run_all(["two"], work=tmp_path / "a", out=tmp_path / "all.json")
    assert [log["variant"]["name"] for log in json.loads((tmp_path / "all.json").read_text())] == ["one", "two"]
    with pytest.raises(ValueError, match="unknown variant 'three'; choose from one, two"):
        causes.run_all(["three"], work=tmp_path / "a")
