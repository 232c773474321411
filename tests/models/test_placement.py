from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from course_utils.models import placement
from course_utils.models.embedder import load

TEXTS = ["a cat sat on the mat", "the old library had a smell of dust", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("placed"), "llama")


def test_without_a_gpu_spreading_means_the_processor(folder):
    one, spread = load(folder, device="cpu"), load(folder, device="auto")
    assert spread.backbone.device == ("cuda:0" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        np.testing.assert_array_equal(spread.encode(TEXTS), one.encode(TEXTS))


def test_a_model_in_several_parts_gives_the_same_bits(folder, monkeypatch, tmp_path):
    """Without GPUs a part of the model lies on the disk instead: the library moves states and weights all the same."""

    def parts(precision, device):
        here = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head", "model.layers.1")
        places = {"model.layers.0": "disk", **dict.fromkeys(here, "cpu")}
        return {"dtype": torch.float32, "device_map": places, "offload_folder": str(tmp_path / "parts")}

    whole = load(folder, device="cpu")
    monkeypatch.setattr(placement, "options", parts)
    with pytest.raises(ValueError, match="does not fit on the GPUs that are here: a part of it lies on the"):
        load(folder, device="auto")
    monkeypatch.setattr(placement, "first_device", lambda source, model, asked: "cpu")
    split = load(folder, device="auto")
    assert len(split.backbone.causal.hf_device_map) == 6
    np.testing.assert_array_equal(split.encode(TEXTS), whole.encode(TEXTS))
    np.testing.assert_array_equal(split.unembedding, whole.unembedding)


@pytest.mark.parametrize("elsewhere", ["cpu", "disk"])
def test_gpus_that_are_too_small_together_are_told(elsewhere):
    model = SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.1": elsewhere})
    with pytest.raises(ValueError, match=rf"big does not fit .* lies on the {elsewhere}\. Read it with fewer"):
        placement.first_device("big", model)


def test_a_model_that_lies_on_the_processor_although_there_is_a_gpu_is_told(monkeypatch):
    weight = torch.zeros(1)
    model = SimpleNamespace(
        hf_device_map={"": "cpu"}, get_input_embeddings=lambda: SimpleNamespace(weight=weight)
    )  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="big does not fit on the GPUs that are here: all of it lies on the cpu"):
        placement.first_device("big", model, "auto")
    assert placement.first_device("big", model, "cpu") == "cpu", "it was asked for"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert placement.first_device("big", model, "auto") == "cpu"


def test_a_gpu_with_a_number_that_is_not_there_is_told(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="device 'cuda:7': PyTorch finds no such GPU here"):
        load(folder, device="cuda:7")


def test_unknown_precisions_and_devices_are_told(folder):
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', 'int8', '4bit'; got 'float16'"):
        load(folder, dtype="float16")
    with pytest.raises(ValueError, match="device 'gpu' is unknown"):
        load(folder, device="gpu")


def test_few_bits_without_the_library_say_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"dtype='4bit' needs bitsandbytes: pip install 'several-tokens\[qua"):
        load(folder, dtype="4bit")


@pytest.mark.parametrize(("precision", "kind", "near"), [("int8", "Linear8bitLt", 0.999), ("4bit", "Linear4bit", 0.9)])
def test_the_blocks_alone_are_read_with_few_bits(folder, tmp_path, precision, kind, near):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes, an extra, is not installed")
    adapter = tiny.save_adapter(tmp_path / "adapter", str(folder))
    full = load(folder, device="cpu", adapters=(adapter,))
    few = load(folder, device="cpu", dtype=precision, adapters=(adapter,))
    kinds = {name.split(".")[-1]: type(m).__name__ for name, m in few.backbone.causal.named_modules()}
    assert kind in kinds.values() and few.backbone.precision == precision
    assert few.unembedding.dtype in (np.float32, torch.bfloat16) and few.unembedding.shape == full.unembedding.shape
    a, b = few.encode(TEXTS), full.encode(TEXTS)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cosines > near).all() and not np.array_equal(a, b)


@pytest.mark.parametrize(("cost", "found"), [({torch.bfloat16: 7, torch.float32: 1}, "float32"),
                                             ({torch.bfloat16: 1, torch.float32: 2}, "bfloat16")])  # fmt: skip
def test_the_faster_arithmetic_is_found_by_trial(monkeypatch, cost, found):
    clock, seen = [0.0], []

    def linear(rows, weight):
        assert rows.dtype == weight.dtype
        clock[0] += cost[rows.dtype] + (rows.dtype not in seen) * 100 / cost[rows.dtype]  # the first one sets up
        seen.append(rows.dtype)

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr(placement.time, "perf_counter", lambda: clock[0])
    placement.faster.cache_clear()
    assert placement.faster("cpu") == found
    placement.faster.cache_clear()


@pytest.mark.parametrize(("able", "found"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_says_whether_it_has_bfloat16(monkeypatch, able, found):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    placement.faster.cache_clear()
    assert placement.faster("cuda:1") == found
    placement.faster.cache_clear()
