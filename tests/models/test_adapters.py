"""Adapters: what is put on a shared backbone, what is refused, and which matrix decodes afterwards."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from course_utils.models import adapters as lora
from course_utils.models.embedder import Backbone, load

TEXTS = tiny.SENTENCES[:3]


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("tied"), "llama", seed=1)


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("untied"), "llama", seed=2, tied=False)


@pytest.fixture(scope="module")
def good(tied, tmp_path_factory):
    return tiny.save_adapter(tmp_path_factory.mktemp("good"), tied, seed=3)


def state(backbone):
    """Every weight of the model, apart from adapters."""
    return {n: p.detach().clone() for n, p in backbone.causal.named_parameters() if "lora_" not in n}


def refused(backbone, adapter, message, error=ValueError):
    """The adapter is refused, and the model is bit by bit what it was; afterwards a good one goes on."""
    before, weights = load(backbone.source, backbone=backbone).encode(TEXTS), state(backbone)
    with pytest.raises(error, match=message):
        load(backbone.source, backbone=backbone, adapters=(adapter,))
    np.testing.assert_array_equal(load(backbone.source, backbone=backbone).encode(TEXTS), before)
    assert weights.keys() == state(backbone).keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in state(backbone).items())


# --- Which matrix decodes -------------------------------------------------------------------------


def logits(folder, adapter, text):
    """What PEFT itself computes for the token after ``text``."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), adapter)
    with torch.no_grad():
        return model(**AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")).logits[0, -1].numpy()


@pytest.mark.parametrize(
    "options",
    [
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "lm_head"], "lora_alpha": 6},
        {"target_modules": ["lm_head"], "use_rslora": True},
        {"target_modules": ["embed_tokens", "v_proj"]},
    ],
    ids=["saved copy", "LoRA", "LoRA alone", "input layer"],
)
def test_the_output_layer_that_an_adapter_changes_decodes_its_embeddings(untied, tmp_path, options):
    adapter = tiny.save_adapter(tmp_path, untied, **options)
    backbone = Backbone(untied)
    plain = load(untied, backbone=backbone, pooling="last_token")
    before, matrix = plain.encode(TEXTS), plain.unembedding.clone()
    made = load(untied, backbone=backbone, adapters=(adapter,), pooling="last_token")
    found = made.encode(TEXTS) @ made.unembedding.detach().numpy().T
    expected = np.stack([logits(untied, adapter, text) for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    own = "lm_head" in str(options)
    assert torch.equal(made.unembedding, matrix) != own
    np.testing.assert_array_equal(plain.encode(TEXTS), before)
    assert torch.equal(plain.unembedding, matrix) and torch.equal(backbone.unembedding, matrix)


def test_a_named_output_layer_comes_before_an_adapters(untied, tmp_path):
    adapter = tiny.save_adapter(tmp_path, untied, modules_to_save=["lm_head"])
    made = load(untied, adapters=(adapter,), output_layer=untied)
    assert torch.equal(made.unembedding, made.backbone.unembedding)


def test_two_output_layers_are_refused(untied, tmp_path):
    pair = [tiny.save_adapter(tmp_path / s, untied, modules_to_save=["lm_head"], seed=i) for i, s in enumerate("ab")]
    with pytest.raises(ValueError, match="more than one of .* brings an output layer: give one"):
        load(untied, adapters=tuple(pair))


@pytest.mark.parametrize(
    "options",
    [{"modules_to_save": ["lm_head"]}, {"target_modules": ["lm_head"]}, {"target_modules": ["embed_tokens", "q_proj"]}],
    ids=["saved copy", "output", "input"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adapter_of_a_matrix_that_is_input_and_output_is_refused(tied, tmp_path, options):
    adapter = tiny.save_adapter(tmp_path, tied, **options)
    refused(Backbone(tied), adapter, "input and output layer are one matrix.*merge_and_unload")


# --- What others would see ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, named",
    [
        ({"bias": "all"}, "bias='all'"),
        ({"bias": "lora_only"}, "bias='lora_only'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"modules_to_save": ["norm"]}, "modules_to_save"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save"),
        ({"trainable_token_indices": [3, 4]}, "trainable_token_indices"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
    ],
    ids=lambda value: next(iter(value.items()))[1] if isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_would_change_the_other_embedders_is_refused(untied, tmp_path, options, named):
    adapter = tiny.save_adapter(tmp_path, untied, **options)
    refused(Backbone(untied), adapter, f"{named}.*would change the backbone for other embedders.*merge_and_unload")


def test_biases_of_a_model_that_has_some_are_refused_too(tmp_path):
    """OPT's layers have biases, which such an adapter would write into the shared weights."""
    folder = tiny.save(tmp_path / "opt", "opt")
    adapter = tiny.save_adapter(tmp_path / "bias", folder, target_modules=["q_proj"], bias="all")
    refused(Backbone(folder), adapter, "bias='all'")


@pytest.mark.parametrize("options", [{"use_dora": True}, {"use_rslora": True}, {"init_lora_weights": "gaussian"}])
def test_kinds_of_lora_that_concern_nobody_else_are_welcome(tied, tmp_path, options):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = tiny.save_adapter(tmp_path, tied, **options)
    backbone = Backbone(tied)
    before = load(tied, backbone=backbone).encode(TEXTS)
    made = load(tied, backbone=backbone, adapters=(adapter,), pooling="last_token")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float32), adapter)
    with torch.no_grad():
        ids = torch.tensor([made.prepare(TEXTS[:1])[0].ids])
        expected = model.base_model.model.model(ids).last_hidden_state[0, -1]
    np.testing.assert_allclose(made.encode(TEXTS[:1])[0], expected, atol=1e-5)
    np.testing.assert_array_equal(load(tied, backbone=backbone).encode(TEXTS), before)


def test_adapters_that_are_no_lora_are_refused_by_their_type(tied, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    kinds = {
        "PROMPT_TUNING": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        "PREFIX_TUNING": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        "IA3": peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
        "VERA": peft.VeraConfig(target_modules=["o_proj"], r=2),
    }
    backbone = Backbone(tied)
    for kind, config in kinds.items():
        made = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tied), config)
        made.save_pretrained(tmp_path / kind)
        refused(backbone, str(tmp_path / kind), f"adapter of type {kind}; only LoRA")
    settings = tmp_path / "IA3" / "adapter_config.json"
    for kind in ("FROM_TOMORROW", None):
        settings.write_text(json.dumps({"peft_type": kind}))
        refused(backbone, str(tmp_path / "IA3"), f"adapter of type {kind}; only LoRA")


# --- All or nothing -------------------------------------------------------------------------------


def spoilt(folder, change):
    """Change the weights of a saved adapter."""
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file)
    return str(folder)


def grow(weights):
    weights["base_model.model.model.embed_tokens.weight"] = torch.ones(tiny.VOCABULARY + 2, tiny.WIDTH)
    weights["base_model.model.lm_head.weight"] = torch.ones(tiny.VOCABULARY + 2, tiny.WIDTH)


def overwrite(weights):
    weights["base_model.model.model.embed_tokens.weight"] = torch.ones(tiny.VOCABULARY, tiny.WIDTH)


UNFIT = {
    "rank": lambda weights: weights.update({k: torch.ones(5, v.shape[1]) for k, v in weights.items() if "lora_A" in k}),
    "grown vocabulary": grow,
    "shared weights": overwrite,
    "too few": lambda weights: [weights.pop(key) for key in sorted(weights)[:2]],
    "too many": lambda weights: weights.update({"base_model.model.model.layers.7.a.lora_A.weight": torch.ones(2, 2)}),
    "none": lambda weights: weights.clear(),
}


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("kind", UNFIT)
def test_an_adapter_that_does_not_fit_leaves_nothing_behind(tied, good, tmp_path, kind, first):
    tiny.save_adapter(tmp_path, tied)
    adapter = spoilt(tmp_path, UNFIT[kind])
    backbone = Backbone(tied)
    if not first:
        load(tied, backbone=backbone, adapters=(good,)).encode(TEXTS)
    refused(backbone, adapter, f"{tmp_path}.* (does not fit|holds model.embed_tokens).*backbone")
    after = load(tied, backbone=backbone, adapters=(good,)).encode(TEXTS)
    np.testing.assert_array_equal(after, load(tied, adapters=(good,)).encode(TEXTS))


def test_an_adapter_for_other_layers_is_refused_first_and_second(tied, good, tmp_path):
    tiny.save(tmp_path / "gpt", "gpt_neo")
    adapter = tiny.save_adapter(tmp_path / "adapter", str(tmp_path / "gpt"), target_modules=["c_fc"])
    backbone = Backbone(tied)
    for _ in range(2):
        refused(backbone, adapter, "does not fit .* Give the backbone that it was trained on")
        load(tied, backbone=backbone, adapters=(good,))


# --- Files ----------------------------------------------------------------------------------------


def test_settings_written_again_are_read_again(tied, tmp_path):
    adapter, backbone = tiny.save_adapter(tmp_path, tied), Backbone(tied)
    first = load(tied, backbone=backbone, adapters=(adapter,)).encode(TEXTS)
    settings = tmp_path / "adapter_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"lora_alpha": 8}))
    second = load(tied, backbone=backbone, adapters=(adapter,)).encode(TEXTS)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(second, load(tied, adapters=(adapter,)).encode(TEXTS))


@pytest.mark.slow
def test_a_pickle_is_refused_with_the_command_that_converts_it(tied, tmp_path):
    adapter = tiny.save_adapter(tmp_path, tied)
    expected = load(tied, adapters=(adapter,)).encode(TEXTS)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    torch.save(weights, tmp_path / "adapter_model.bin")
    np.testing.assert_array_equal(load(tied, adapters=(adapter,)).encode(TEXTS), expected)  # safetensors come first
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"adapter_model\.bin is a pickle.*python -c") as caught:
        load(tied, adapters=(adapter,))
    tiny.run_command(str(caught.value), tmp_path)
    np.testing.assert_array_equal(load(tied, adapters=(adapter,)).encode(TEXTS), expected)


def test_a_record_of_training_must_be_whole(tied, tmp_path):
    adapter = tiny.save_adapter(tmp_path, tied)
    for content, message in [("{", "training.json cannot be read: copy"), ("{}", "has no backbone_sha256: copy")]:
        (tmp_path / "training.json").write_text(content)
        refused(Backbone(tied), adapter, message)


def test_names_of_layers_are_those_of_the_fresh_model(tied, untied, tmp_path):
    assert lora.Layers.of(Backbone(tied).causal) == ("model.embed_tokens", "lm_head", "model", True)
    assert not lora.Layers.of(Backbone(untied).causal).tied


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tied, good, tmp_path, value):
    folder = tmp_path / "broken"
    shutil.copytree(good, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    first = next(iter(weights))
    weights[first].view(-1)[0] = value
    save_file(weights, folder / "adapter_model.safetensors")
    refused(Backbone(tied), folder, "holds NaN, infinity or whole numbers: fetch it or train it again")
