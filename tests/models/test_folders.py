"""Names and folders: what is a path, what is asked of a hub, and what must be in a folder."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from course_utils.models import folders, prompts, registry
from course_utils.models.embedder import Backbone, load

TEXTS = tiny.SENTENCES[:2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("whole"), "llama", seed=1)


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


@pytest.fixture
def no_hub(monkeypatch):
    """A hub that must not be asked."""
    import huggingface_hub

    def asked(*args, **kwargs):
        raise AssertionError(f"a hub was asked for {args}")

    monkeypatch.setattr(huggingface_hub.file_download, "hf_hub_download", asked)
    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", asked)


# --- Names ----------------------------------------------------------------------------------------


def test_a_folder_in_every_spelling(whole, tmp_path, monkeypatch, no_hub):
    shutil.copytree(whole, tmp_path / "home" / "mine")
    adapter = tiny.save_adapter(tmp_path / "home" / "mybare", whole)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    expected = load(whole, adapters=(adapter,)).encode(TEXTS)
    here = Path.cwd() / "mine"
    for name in (Path("mine"), "mine", "./mine", "mine/", "~/mine", Path("~/mine"), "../home/mine", here):
        for own in (Path("mybare"), "./mybare", "~/mybare", "mybare/", adapter):
            assert (load(name, adapters=(own,)).encode(TEXTS) == expected).all(), (name, own)
    with pytest.raises(FileNotFoundError, match=r"mybare, which is not in .* write './mybare'"):
        load("mine", adapters=("mybare",))  # a bare name is a shipped adapter's


@pytest.mark.parametrize("name", ["./no-such", "/no/such", "~/no-such", "no/such/folder", "no-such/", Path("no-such")])
def test_a_mistyped_folder_is_no_hub_id(whole, no_hub, name):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(name)
    with pytest.raises(FileNotFoundError, match=r"adapter .*no such folder"):
        load(whole, adapters=(name,))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(whole, output_layer=name)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load("LLaMA", backbone=name)


def test_a_file_is_no_folder(whole):
    with pytest.raises(FileNotFoundError, match="config.json' is a file; give the folder that holds it"):
        load(f"{whole}/config.json")


def test_a_hub_that_cannot_be_reached_is_told_from_a_folder(whole):
    with pytest.raises(FileNotFoundError, match="'nobody/nothing': no folder of that name here, and the model hub"):
        load("nobody/nothing")
    with pytest.raises(FileNotFoundError, match="adapter 'nobody/nothing': no folder of that name here, and the model"):
        load(whole, adapters=("nobody/nothing",))


def test_other_things_than_names_are_refused(whole):
    with pytest.raises(TypeError, match="embedder must be a name, owner/name or a folder; got int: 3"):
        load(3)
    for empty in ("", " ", "a\0b"):
        with pytest.raises(ValueError, match="give a name, owner/name or a folder"):
            load(empty)
    with pytest.raises(TypeError, match=r"adapters\[1\] must be a name"):
        load(whole, adapters=("a/b", None))
    with pytest.raises(TypeError, match="adapters must be a tuple of names and folders; got None"):
        load(whole, adapters=None)
    with pytest.raises(TypeError, match="prompt must be a Prompt"):
        load(whole, prompt="query: ")
    with pytest.raises(ValueError, match="no field 'poling'; choose from name, backbone, pooling"):
        load(whole, poling="mean")
    with pytest.raises(TypeError, match="backbone must be a Backbone, a folder or a hub id; got dict"):
        load(whole, backbone={})
    with pytest.raises(ValueError, match="device 'gpu' is unknown: write 'cpu'"):
        load(whole, device="gpu")


def test_a_gated_model_runs_from_a_folder_of_ones_own(whole):
    with pytest.raises(FileNotFoundError, match=r"'llama-7b': no such folder.*load\(NAME, backbone='its folder'\)"):
        load("LLaMA-EOL")
    made = load("LLaMA-EOL", backbone=whole)
    assert made.spec.prompt == prompts.ONE_WORD and made.backbone.source == whole
    assert registry.get("LLaMA-EOL").backbone == "llama-7b"
    assert load("LLaMA-EOL", backbone=Path(whole)).encode(TEXTS).shape == (2, tiny.WIDTH)


def test_nobodys_home(monkeypatch):
    import os

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert os.path.expanduser("~/x") == "~/x"
    with pytest.raises(ValueError, match="Write the path in full"):
        load("~/x")


# --- Files ----------------------------------------------------------------------------------------

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 1234\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_the_pointer_of_a_large_file_is_told_from_the_file(folder, name):
    (folder / name).write_text(POINTER)
    with pytest.raises(ValueError, match=rf"{name} is a pointer of Git's large file storage.*git lfs pull"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_weights_that_were_cut_off_are_named(folder, whole, tmp_path, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or cut off \(\d+ bytes\): copy or download"):
        load(folder)
    adapter = Path(tiny.save_adapter(tmp_path / "adapter", whole)) / "adapter_model.safetensors"
    for content, message in [(adapter.read_bytes()[:keep], "is damaged"), (POINTER.encode(), "is a pointer")]:
        adapter.write_bytes(content)
        with pytest.raises(ValueError, match=rf"adapter_model\.safetensors {message}"):
            load(whole, adapters=(adapter.parent,))


@pytest.mark.parametrize(
    "name, message",
    [
        ("config.json", "no model in .*config.json is missing"),
        ("model.safetensors", "no weights in .*copy or download it again"),
        ("tokenizer.json", "no tokenizer in .*tokenizer.json is missing; copy it from where the model came from"),
    ],
)
def test_what_is_missing_in_a_folder_is_named(folder, name, message):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load(folder)


def test_what_is_missing_in_an_adapter_is_named(whole, tmp_path):
    adapter = Path(tiny.save_adapter(tmp_path / "adapter", whole))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights in .*adapter: there is no safetensors file"):
        load(whole, adapters=(adapter,))
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="no adapter in .*adapter_config.json is missing"):
        load(whole, adapters=(adapter,))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "{}"])
def test_settings_that_cannot_be_read_are_named(folder, name, content):
    """``{}`` as tokenizer_config.json is a tokenizer without special tokens, and welcome."""
    (folder / name).write_text(content)
    if (name, content) == ("tokenizer_config.json", "{}"):
        assert load(folder).encode(TEXTS).shape == (2, tiny.WIDTH)
        return
    with pytest.raises(ValueError, match=rf"{folder}.*(copy|Copy)"):
        load(folder)


def test_an_adapter_is_no_model(whole, tmp_path):
    adapter = tiny.save_adapter(tmp_path / "adapter", whole)
    with pytest.raises(ValueError, match="holds an adapter .*not a model: load the backbone it was trained on"):
        load(adapter)


@pytest.mark.slow
def test_a_model_in_pickles_is_refused_with_the_command_that_converts_it(folder, whole):
    expected = load(whole).encode(TEXTS)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle") as caught:
        load(folder)
    tiny.run_command(str(caught.value), folder)
    assert (load(folder).encode(TEXTS) == expected).all()


def test_a_model_in_parts_needs_all_of_them(folder, whole):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for part, keys in parts.items():
        save_file({key: weights[key] for key in keys}, folder / part, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: part for part, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    assert (load(folder).encode(TEXTS) == load(whole).encode(TEXTS)).all()
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights are missing in .*: model-2\.safetensors; copy"):
        load(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="index.json has no weight_map"):
        load(folder)


# --- Weights --------------------------------------------------------------------------------------


def rewritten(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop(DOWN), f"{DOWN} is missing"),
        (lambda w: w.update({DOWN: torch.ones(32, 40)}), rf"{DOWN} is \[32, 40\] instead of \[32, 48\]"),
        (lambda w: w.update({DOWN.replace("1", "2"): torch.ones(32, 48)}), "2.mlp.down_proj.weight has no place"),
        (lambda w: w.update({"model.layers.1.self_attn.q_proj.bias": torch.ones(32)}), "q_proj.bias has no place"),
    ],
    ids=["missing", "other shape", "a layer more", "a bias more"],
)
def test_weights_that_would_be_random_or_left_out_are_refused(folder, change, message):
    rewritten(folder, change)
    with pytest.raises(ValueError, match=f"not those of its config.json: .*{message}.*embeddings would be wrong"):
        load(folder)


def test_parts_that_a_language_model_does_not_use_do_no_harm(folder, whole):
    rewritten(folder, lambda weights: weights.update({"score.weight": torch.ones(2, 32), "pooler.w": torch.ones(2)}))
    assert (load(folder).encode(TEXTS) == load(whole).encode(TEXTS)).all()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_an_output_layer_that_is_not_there_must_be_named(tmp_path, family):
    alone = tiny.save(tmp_path / "alone", family, head=False, tied=False)
    with pytest.raises(ValueError, match=r"holds no output layer \(lm_head.weight\).*output_layer='owner/origin"):
        load(alone)
    with pytest.raises(ValueError, match="holds no output layer"):
        load(alone, output_layer=alone)
    origin = tiny.save(tmp_path / "origin", family, seed=4, tied=False)
    first, second = (load(alone, output_layer=origin) for _ in range(2))
    assert torch.equal(first.unembedding, second.unembedding)
    assert torch.equal(first.unembedding, Backbone(origin).unembedding)


def bert(folder, kind):
    import transformers as t

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    sizes |= {"vocab_size": 320, "max_position_embeddings": 40, "pad_token_id": 2, "initializer_range": 0.2}
    settings = t.AutoConfig.for_model(kind.rpartition("-")[0], **sizes)
    (t.AutoModel if kind.endswith("body") else t.AutoModelForMaskedLM).from_config(settings).save_pretrained(folder)
    tiny.save_tokenizer(folder)
    return str(folder)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_masked_language_model_without_its_head_can_borrow_one(tmp_path, family):
    whole, body = (bert(tmp_path / kind, f"{family}-{kind}") for kind in ("whole", "body"))
    assert load(whole).unembedding.shape == (320, 33)  # the last column is a bias
    alone = load(body)
    assert alone.unembedding.shape == (320, 32) and "input table" in alone.decodes
    assert load(body, output_layer=whole).decodes == f"MLM head with its transform of {whole}"
    assert torch.equal(load(body, output_layer=whole).unembedding, Backbone(whole).unembedding)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_positions_of_a_masked_language_model_start_where_it_starts(tmp_path, family):
    from transformers import AutoModel

    made = load(bert(tmp_path, f"{family}-whole"), pooling="last_token")
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    for text in TEXTS:
        with torch.no_grad():
            expected = model(torch.tensor([made.prepare([text])[0].ids])).last_hidden_state[0, -1]
        assert abs(made.encode([text])[0] - expected.numpy()).max() < 1e-5


def test_an_output_layer_of_another_width_is_refused(whole, tmp_path):
    import transformers as t

    sizes = {"intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    t.LlamaForCausalLM(t.LlamaConfig(vocab_size=320, hidden_size=16, **sizes)).save_pretrained(tmp_path)
    tiny.save_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="decodes embeddings of 16 values; those of .* have 32"):
        load(whole, output_layer=tmp_path)


def test_a_model_that_predicts_no_tokens_is_refused(tmp_path):
    import transformers as t

    sizes = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    t.ElectraModel(t.ElectraConfig(**sizes)).save_pretrained(tmp_path)
    tiny.save_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="the language model in .* cannot be read: ValueError: Unrecognized"):
        load(tmp_path)


def test_a_safetensors_file_is_known_by_its_first_bytes(tmp_path):
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(3)}, file)
    folders.check_safetensors(file)
    for content in (b"[]", b"{}x", b'{"a": 1}', b'{"a": {"data_offsets": [0]}}', b"\xff\xff"):
        file.write_bytes(len(content).to_bytes(8, "little") + content)
        if content == b"{}x":
            file.write_bytes(len(b"{}").to_bytes(8, "little") + content)
        with pytest.raises(ValueError, match="x.safetensors is damaged"):
            folders.check_safetensors(file)
