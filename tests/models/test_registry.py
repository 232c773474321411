"""The registry as data: every entry resolves, and the two families match one to one."""

import dataclasses
from pathlib import Path

import pytest

from course_utils.models import prompts, registry
from course_utils.models.pooling import POOLINGS

EVERY = registry.ORIGINS + registry.POCKET + registry.VARIANTS + registry.PAPER + registry.PAPER_ORIGINS

# From the paper and the model cards of its embedders: backbone, pooling, prompt, bidirectional, unit length, origin.
PAPER = {
    "SGPT-nli": ("Muennighoff/SGPT-1.3B-weightedmean-nli", "weighted_mean", prompts.NO_PROMPT, False, False, "GPT-Neo"),
    "SGPT-msmarco": (
        "Muennighoff/SGPT-1.3B-weightedmean-msmarco-specb-bitfit",
        "weighted_mean",
        prompts.BRACKETS,
        False,
        False,
        "GPT-Neo",
    ),
    "OPT-EOL": ("facebook/opt-1.3b", "last_token", prompts.ONE_WORD, False, False, "OPT"),
    "OPT-EOL+CSE": ("facebook/opt-1.3b", "last_token", prompts.ONE_WORD, False, False, "OPT"),
    "LLaMA-EOL": ("llama-7b", "last_token", prompts.ONE_WORD, False, False, "LLaMA"),
    "LLaMA-EOL+CSE": ("llama-7b", "last_token", prompts.ONE_WORD, False, False, "LLaMA"),
    "GritLM": ("GritLM/GritLM-7B", "mean", prompts.GRIT, True, True, "Mistral"),
    "LLM2Vec": ("mistralai/Mistral-7B-Instruct-v0.2", "mean", prompts.LLM2VEC, True, False, "Mistral"),
}
ADAPTERS = {
    "OPT-EOL+CSE": ("royokong/prompteol-opt-1.3b",),
    "LLaMA-EOL+CSE": ("royokong/prompteol-llama-7b",),
    "LLM2Vec": (
        "McGill-NLP/LLM2Vec-Mistral-7B-Instruct-v2-mntp",
        "McGill-NLP/LLM2Vec-Mistral-7B-Instruct-v2-mntp-supervised",
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_entry(name):
    spec = registry.get(name)
    assert spec.name == name and spec.pooling in POOLINGS
    assert not spec.remote_code  # none of them needs code from its repository
    if spec.origin:
        origin = registry.get(spec.origin)
        assert origin.adapters == () and origin.prompt == prompts.NO_PROMPT
        assert origin.pooling == spec.pooling and not origin.bidirectional
        # The aligned tokens are those of the origin's output layer.
        assert (spec.output_layer or spec.backbone) == origin.backbone or name == "GritLM"


@pytest.mark.parametrize("name", PAPER)
def test_paper_entry(name):
    spec = registry.get(name)
    found = (spec.backbone, spec.pooling, spec.prompt, spec.bidirectional, spec.normalize, spec.origin)
    assert found == PAPER[name]
    assert spec.adapters == ADAPTERS.get(name, ())
    assert spec.missing_adapters() == []  # hub ids are fetched, not shipped


def test_eight_stand_for_eight_in_the_same_order():
    assert registry.PAPER == tuple(PAPER)
    assert tuple(registry.get(name).stands_for for name in registry.POCKET) == registry.PAPER
    assert set(registry.PAPER_ORIGINS) == {registry.get(name).origin for name in registry.PAPER}


@pytest.mark.parametrize("name", registry.POCKET)
def test_pocket_entry_is_built_like_the_one_it_stands_for(name):
    pocket = registry.get(name)
    paper = registry.get(pocket.stands_for)
    assert pocket.backbone in registry.STORED
    for attribute in ("pooling", "bidirectional", "normalize"):
        assert getattr(pocket, attribute) == getattr(paper, attribute), attribute
    if name != "smol-grit":  # its markers are shorter ones
        assert pocket.prompt == paper.prompt
    trained = paper.adapters or paper.backbone != registry.get(paper.origin).backbone
    assert pocket.adapters == ((name,) if trained else ())


def test_missing_adapters_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path)
    assert registry.available() == ["smol-eol", "gemma-eol"]
    assert registry.get("smol-grit").missing_adapters() == ["smol-grit"]
    (tmp_path / "smol-grit").mkdir()
    assert registry.get("smol-grit").missing_adapters() == ["smol-grit"]  # an empty folder is no adapter
    (tmp_path / "smol-grit" / "adapter_config.json").write_text("{}")
    assert registry.available() == ["smol-eol", "gemma-eol", "smol-grit"]
    assert registry.get("smol-grit").adapter_paths() == [tmp_path / "smol-grit"]


def test_any_hub_id_or_folder_is_an_embedder(tmp_path):
    spec = registry.get("somebody/some-model", pooling="last_token")
    assert (spec.backbone, spec.pooling, spec.prompt) == ("somebody/some-model", "last_token", prompts.NO_PROMPT)
    spec = registry.get(str(tmp_path), adapters=("a/b", str(tmp_path)))
    assert (spec.backbone, spec.pooling) == (str(tmp_path), "mean")
    assert spec.adapter_paths() == ["a/b", str(tmp_path)] and spec.missing_adapters() == []


def test_a_path_is_a_local_folder_and_never_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = registry.get("smollm2", adapters=(Path("smol-grit"), "smol-grit"))
    assert spec.adapter_paths() == [str(tmp_path / "smol-grit"), registry.ADAPTERS / "smol-grit"]
    for alone in ("smol-grit", Path("smol-grit")):
        with pytest.raises(ValueError, match=r"smollm2: adapters is a tuple; write adapters=\('smol-grit',\)"):
            registry.get("smollm2", adapters=alone)


def test_an_adapter_is_named_once():
    with pytest.raises(ValueError, match="an adapter stands twice in .* name it once"):
        registry.get("smollm2", adapters=("smol-grit", "smol-grit"))


def test_one_changed_field_keeps_the_rest():
    changed = registry.get("smol-grit", pooling="last_token")
    assert dataclasses.replace(changed, pooling="mean") == registry.get("smol-grit")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"no embedder called 'smol-sgpt'.*smol-sgpt-nli.*GritLM"):
        registry.get("smol-sgpt")
    with pytest.raises(ValueError, match=r"smol-eol: unknown pooling 'max'; choose from .*'weighted_mean'"):
        registry.get("smol-eol", pooling="max")
