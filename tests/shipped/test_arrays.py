"""Shipped numbers are read, refused when they are missing or stale, and made one language model at a time."""

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course_utils.models import registry
from course_utils.models.prompts import NO_PROMPT
from course_utils.shipped import arrays, files, kinds
from course_utils.shipped.kinds import Kind

NAME = "smol-eol"


class Counter:
    """Stands for an embedder: a text's embedding counts its letters."""

    def __init__(self, name=NAME, dtype=torch.float32):
        self.spec, self.backbone, self.asked = registry.get(name), backbone(dtype), []

    def encode(self, texts, instruction=None, progress=None):
        self.asked += [(text, instruction) for text in texts]
        return np.array([[1 + f"{instruction}{t}".count(c) for c in "abcdefgh"] for t in texts], dtype=np.float32)


def backbone(dtype=torch.float32):
    return SimpleNamespace(causal=SimpleNamespace(dtype=dtype))


def loaded_counter(name, backbone):
    return Counter(name, backbone.causal.dtype)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """One kind of three texts, in an empty folder; the texts may be changed."""
    texts = ["abc", "bad", "cab"]
    kind = Kind(
        "three words",
        (NAME, "gemma-eol", "smollm2"),
        lambda spec: {"texts": files.digest("\n".join(texts).encode())},
        lambda embedder, report: {"embeddings": embedder.encode(texts)},
        lambda tensors: tensors["embeddings"],
    )
    monkeypatch.setattr(arrays, "ARRAYS", tmp_path / "arrays")
    only = {"small": kind}  # another table: what is taken out of the real one would come back in another order
    for module in (arrays, kinds):
        monkeypatch.setattr(module, "KINDS", only)
    monkeypatch.setattr("course_utils.models.embedder.load", loaded_counter)
    return texts


def test_what_is_made_is_current_and_read(small):
    lines = []
    assert arrays.have("small") == [] and not arrays.is_current("small", NAME)
    arrays.make("small", NAME, backbone(torch.bfloat16), lines.append)
    assert lines == [f"{NAME}: written to small/{NAME}.safetensors"]
    assert arrays.have("small") == [NAME] and arrays.is_current("small", NAME)
    assert arrays.missing_or_stale() == [("small", "gemma-eol"), ("small", "smollm2")]
    np.testing.assert_allclose(arrays.load("small", NAME), Counter().encode(small), atol=0.01)
    made_from = files.made_from(arrays.ARRAYS / "small" / f"{NAME}.safetensors")
    assert made_from == {**arrays.source("small", registry.get(NAME)), "dtype": "bfloat16"}
    assert set(made_from) == {"embedder", "texts", "reading", "backbone", "adapters", "dtype"}


def test_missing_and_stale_numbers_are_refused_with_the_remedy(small):
    remedy = "To make them, run several-tokens arrays --kind small gemma-eol$"
    with pytest.raises(FileNotFoundError, match=f"no shipped small for 'gemma-eol'; there are: none. {remedy}"):
        arrays.load("small", "gemma-eol")
    arrays.make("small", NAME, backbone(), print)
    with pytest.raises(FileNotFoundError, match=f"there are: {NAME}. {remedy}"):
        arrays.load("small", "gemma-eol")
    small.append("dad")
    assert not arrays.is_current("small", NAME)
    with pytest.raises(ValueError, match=f"from other texts. To make them, .* --kind small {NAME}$"):
        arrays.load("small", NAME)
    for call in (arrays.load, arrays.is_current):
        with pytest.raises(ValueError, match="no kind of numbers called 'large'; there are: small"):
            call("large", NAME)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "somebody-else"},
        {"prompt": NO_PROMPT},
        {"pooling": "mean"},
        {"bidirectional": True},
        {"normalize": True},
        {"adapters": ("smol-eol-cse",)},
        {"backbone": "gemma3"},
        {"backbone": "owner/name"},
    ],
)
def test_numbers_of_another_embedder_are_not_current(small, changes):
    arrays.make("small", NAME, backbone(), print)
    spec = registry.get(NAME)
    assert arrays.is_current("small", spec)
    assert not arrays.is_current("small", replace(spec, **changes))


def test_current_numbers_are_read_and_others_computed(small):
    embedder = Counter()
    np.testing.assert_array_equal(arrays.get("small", embedder), embedder.encode(small))
    arrays.make("small", NAME, backbone(), print)
    embedder.asked.clear()
    np.testing.assert_allclose(arrays.get("small", embedder), Counter().encode(small), atol=0.01)
    assert embedder.asked == []
    embedder.spec = replace(embedder.spec, prompt=NO_PROMPT)
    arrays.get("small", embedder)
    assert [text for text, _ in embedder.asked] == small


def test_numbers_that_are_not_finite_are_not_written(small, monkeypatch):
    monkeypatch.setattr(Counter, "encode", lambda self, texts: np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="rows hold NaN or infinity"):
        arrays.make("small", NAME, backbone(), print)
    assert not arrays.ARRAYS.exists() or not list(arrays.ARRAYS.rglob("*.*"))


# --- Making what is missing or stale --------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch):
    """What is loaded: at every load, the language model and which others are still in memory."""
    seen, alive = [], weakref.WeakSet()

    class Backbone:
        def __init__(self, source, dtype):
            gc.collect()
            seen.append((source, dtype, [b.source for b in alive]))
            self.source, self.causal = source, SimpleNamespace(dtype=getattr(torch, dtype))
            alive.add(self)

    monkeypatch.setattr("course_utils.models.backbone.Backbone", Backbone)
    return seen


def test_each_language_model_is_loaded_once_and_alone(small, loaded):
    lines = []
    arrays.make_stale(report=lines.append)
    assert [(source, dtype) for source, dtype, _ in loaded] == [("smollm2", "float32"), ("gemma3", "float32")]
    assert all(others == [] for *_, others in loaded)
    assert [line.split(":")[0] for line in lines] == [NAME, "smollm2", "gemma-eol"]
    assert arrays.missing_or_stale() == []
    loaded.clear()
    arrays.make_stale((), (), report=lines.append)
    assert loaded == [] and len(lines) == 3  # nothing to do


def test_named_embedders_are_made_again_in_the_arithmetic_asked_for(small, loaded):
    arrays.make_stale(report=print)
    loaded.clear()
    arrays.make_stale(["small"], ["gemma-eol"], "bfloat16", report=print)
    assert loaded == [("gemma3", "bfloat16", [])]
    assert files.made_from(arrays.ARRAYS / "small" / "gemma-eol.safetensors")["dtype"] == "bfloat16"
    assert arrays.is_current("small", "gemma-eol")


def test_what_cannot_be_made_is_refused_or_left_out(small, loaded, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=f"no numbers of 'smol-grit' ship in small; .*: {NAME}, gemma-eol, smollm2"):
        arrays.make_stale(["small"], ["smol-grit"])
    with pytest.raises(ValueError, match="no kind of numbers called 'large'"):
        arrays.make_stale(["large"])
    monkeypatch.setitem(kinds.KINDS, "small", replace(kinds.KINDS["small"], names=("smol-eol-cse", NAME)))
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path)
    lines = []
    arrays.make_stale(report=lines.append)
    assert lines[0].startswith("smol-eol-cse: left out of small; train its adapter first, with several-tokens train")
    assert arrays.have("small") == [NAME]


def test_the_arithmetic_is_called_by_its_name():
    assert [kinds.arithmetic(backbone(t)) for t in (torch.float32, torch.bfloat16)] == ["float32", "bfloat16"]
