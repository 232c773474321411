"""Watching a run, and reading the logs that ship."""

import numpy as np
import pytest
import tiny

from course_utils.measures.alignment import hits
from course_utils.measures.spectrum import components
from course_utils.models import registry
from course_utils.training import loop, watch
from course_utils.training.recipes import Data, Example, Recipe, Stage
from course_utils.training.watch import Watch, step_of

EXAMPLES = [Example(**row) for row in tiny.TRIPLETS]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("model") / "llama", "llama", bos=True, seed=1)


@pytest.fixture(scope="module")
def watched(llama):
    recipe = Recipe(llama, [Stage("contrastive", 6, 2e-2, 16)], [Data("x.jsonl", "triplets")], lora_rank=4)
    run, seen = loop.start(recipe, "float32"), []
    directions = components(np.random.default_rng(0).normal(size=(50, tiny.WIDTH)) + 2).directions
    found = Watch(run, tiny.SENTENCES, directions, at=(2, 6), on_look=lambda w: seen.append(w.rows[-1]["step"]))
    loop.train(run, [EXAMPLES], on_step=found)
    return run, found, seen


def test_it_looks_before_the_first_step_and_after_those_asked_for(watched):
    _, found, seen = watched
    assert seen == [0, 2, 6] == list(found.embedded) and len(found.losses) == 6
    assert found.rows[0]["v_1"] == found.rows[0]["max_other_v"] == 0


def test_its_numbers_are_those_of_the_embeddings_it_keeps(watched):
    run, found, _ = watched
    moved = (found.embedded[6] - found.embedded[0]).mean(axis=0) @ found.directions.T
    assert found.rows[-1]["v_1"] == pytest.approx(moved[0], rel=1e-4)
    assert found.rows[-1]["max_other_v"] == pytest.approx(np.abs(moved[1:]).max(), rel=1e-4)
    assert found.rows[-1]["beside"].value.value == hits(found._ranked[6], found.content).mean()
    encodings = loop.prepare(run.embedder, tiny.SENTENCES, None, None, 96)
    assert np.allclose(loop.embed(run.embedder, encodings).detach().numpy(), found.embedded[6], atol=1e-5)


def test_tokens_are_kept_by_step(watched):
    _, found, _ = watched
    assert [len(row) for row in found.tokens(0, k=5).values()] == [5, 5, 5]
    assert len(found.own(1)) == len(found.surface[1])


def test_a_run_is_watched_from_its_beginning(watched):
    run, found, _ = watched
    with pytest.raises(ValueError, match="has had 6 steps"):
        Watch(run, tiny.SENTENCES, found.directions, at=(8,))


def test_a_way_is_measured_from_the_first_row_to_the_last():
    rows = [{"step": s, "x": x} for s, x in ((0, 2.0), (5, 1.0), (9, -3.0), (20, -8.0))]
    assert [step_of(rows, "x", share) for share in (0.1, 0.5, 0.51, 1.0)] == [5, 9, 20, 20]
    back = [*rows[:3], {"step": 12, "x": 0.0}, rows[3]]  # half of the way at 9, given up at 12
    assert [step_of(back, "x", 0.5, kept=kept) for kept in (False, True)] == [9, 20]
    assert step_of(rows, "x", 0.5, kept=True) == 9
    with pytest.raises(ValueError, match="ends where it began"):
        step_of(rows[:1], "x", 0.5)
    with pytest.raises(ValueError, match="a share above 0"):
        step_of(rows, "x", 1.5)


def test_every_shipped_adapter_has_a_log():
    for name in (name for name in registry.POCKET if registry.get(name).adapters):
        record = watch.log(name)
        assert len(record["losses"]) == record["probe"][-1]["step"]
    with pytest.raises(FileNotFoundError, match="nobody"):
        watch.log("nobody")
