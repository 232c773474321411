"""Whatever a reader hands over ends in a right answer, or in an error of ours that says where and what to do."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.models import prompts, registry
from course_utils.models.embedder import Backbone, Embedder, load

OURS = (ValueError, TypeError, FileNotFoundError)
#: What a message does: it says what to write, give, set or do instead.
REMEDY = re.compile(
    r"\b([Ww]rite|[Gg]ive|choose (from|one of)|[Cc]opy|[Ll]eave|cut it|remove|take it out|raise max|Merge|[Ll]oad|"
    r"Known names|check the spelling|must be|Name the model|Save it|shorten)\b"
)


def few(n):
    return settings(max_examples=n, deadline=None, derandomize=True, database=None)


def outcome(call, place):
    """The answer of ``call``; None where it refuses in words of ours, with a place and a remedy."""
    try:
        return call()
    except OURS as error:
        said = str(error)
        assert type(error) in OURS and re.search(place, said) and REMEDY.search(said), repr(error)
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("model"), "llama", bos=True)


@pytest.fixture(scope="module")
def backbone(folder):
    return Backbone(folder)


@pytest.fixture(scope="module")
def adapter(folder, tmp_path_factory):
    return Path(tiny.save_adapter(tmp_path_factory.mktemp("adapter") / "whole", folder))


CHARACTERS = st.characters() | st.sampled_from("\ud83d\udc00\u200b\x00<>|{}\"'[]\n ")
TEXT = st.text(CHARACTERS, max_size=30)
#: What stands in a list by mistake.
STRAY = st.none() | st.integers() | st.floats() | st.binary(max_size=3) | st.lists(TEXT, max_size=1) | st.booleans()
ENTRIES = st.lists(TEXT, max_size=4) | st.lists(TEXT | STRAY, max_size=4)
LISTS = (
    ENTRIES
    | ENTRIES.map(tuple)
    | ENTRIES.map(iter)
    | ENTRIES.map(lambda values: np.array(values, dtype=object))
    | st.sets(TEXT, max_size=3)
    | st.dictionaries(TEXT, TEXT, max_size=2)
    | TEXT
    | STRAY
)
INSTRUCTION = st.none() | TEXT | LISTS
PROMPTS = st.sampled_from([prompts.NO_PROMPT, prompts.BRACKETS, prompts.ONE_WORD, prompts.GRIT, prompts.LLM2VEC])


@few(100)
@given(texts=LISTS, prompt=PROMPTS, role=st.sampled_from([None, "query", "passage"]), pooling=st.sampled_from(["mean", "last_token"]))  # fmt: skip # noqa: E501
def test_texts(backbone, texts, prompt, role, pooling):
    made = Embedder(registry.get(backbone.source, prompt=prompt, pooling=pooling), backbone)
    kept = list(texts) if hasattr(texts, "__next__") else texts
    found = outcome(lambda: made.encode(iter(kept) if hasattr(texts, "__next__") else kept, None, role), "texts")
    valid = isinstance(kept, list | tuple | np.ndarray) and all(
        isinstance(t, str) and t.strip() and not re.search("[\ud800-\udfff]", t) for t in kept
    )
    assert valid == (found is not None)
    if valid:
        assert found.shape == (len(kept), tiny.WIDTH) and found.dtype == np.float32 and np.isfinite(found).all()


@few(70)
@given(instruction=INSTRUCTION, prompt=PROMPTS)
def test_instructions(backbone, instruction, prompt):
    made = Embedder(registry.get(backbone.source, prompt=prompt), backbone)
    texts = tiny.SENTENCES[:2]
    kept = list(instruction) if hasattr(instruction, "__next__") else instruction
    found = outcome(lambda: made.encode(texts, kept), "instruction")
    each = [kept] * 2 if kept is None or isinstance(kept, str) else kept
    valid = isinstance(each, list | tuple | np.ndarray) and len(each) == 2 and all(
        i is None or isinstance(i, str) and not re.search("[\ud800-\udfff]", i) for i in each
    )  # fmt: skip
    if valid and prompt.instructed is not None:
        alone = [made.encode([text], i or None)[0] for text, i in zip(texts, each, strict=True)]
        np.testing.assert_allclose(found, alone, atol=1e-5)
    elif not valid and found is not None:  # half a character, in an embedder that takes no instruction
        pytest.fail(f"{kept!r} went through")


@few(60)
@given(text=TEXT.filter(str.strip), instruction=st.none() | TEXT | STRAY, prompt=PROMPTS,
       role=st.sampled_from([None, "query", "passage"]) | TEXT | STRAY)  # fmt: skip
def test_wrapping(text, instruction, prompt, role):
    found = outcome(lambda: prompt.wrap(text, instruction, role), "instruction|role")
    if found is not None:
        full, start, end = found
        assert full[start:end] == text
        if isinstance(instruction, str) and instruction.strip():
            assert prompt.instructed is not None and full.count("{instruction}") <= (instruction + text).count("{")


PART = st.text(st.sampled_from("abz.-_~ /\\\x00\ud83d:é"), max_size=12)
LONG = st.sampled_from(["a" * 5000, "/" + "a" * 5000])
PATHS = PART | PART.map(lambda p: f"./{p}") | PART.map(lambda p: f"/{p}/x") | LONG


@few(80)
@given(name=PATHS | STRAY | PART.filter(lambda p: "\0" not in p).map(Path) | st.sampled_from(registry.POCKET))
def test_names(name):
    found = outcome(lambda: registry.get(name), "embedder|name")
    if found is not None:
        known = name in registry.POCKET or Path(name).expanduser().is_dir()
        assert known or re.fullmatch(r"[\w.-]+/[\w.-]+", str(name))


@few(50)
@given(name=PATHS, field=st.sampled_from(["name", "adapters", "backbone", "output_layer"]))
def test_paths(folder, backbone, name, field):
    made = {
        "name": lambda: load(name),
        "adapters": lambda: load(folder, backbone=backbone, adapters=(name,)),
        "backbone": lambda: load("smol-eol", backbone=name),
        "output_layer": lambda: load(folder, backbone=backbone, output_layer=name),
    }[field]
    plain = re.fullmatch(r"[a-z/.]*", name)  # a message spells others in another way
    place = Path(name).name[:20] if plain else ""
    assert outcome(made, re.escape(place)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 99) | TEXT, lambda v: st.lists(v, max_size=2) | st.dictionaries(TEXT, v)
)
KEYS = st.sampled_from(
    ["peft_type", "r", "lora_alpha", "bias", "target_modules", "modules_to_save", "init_lora_weights", "use_dora",
     "rank_pattern", "layers_to_transform", "task_type", "use_rslora", "trainable_token_indices"]
)  # fmt: skip


@few(60)
@given(
    changed=st.dictionaries(KEYS, JSON, max_size=2),
    cut=st.none() | st.integers(0, 4000),
    raw=st.none() | st.binary(max_size=20),
    gone=st.sampled_from(["", "", "", "adapter_config.json", "adapter_model.safetensors"]),
)
def test_adapter_folders(folder, backbone, adapter, tmp_path_factory, changed, cut, raw, gone):
    copy = Path(shutil.copytree(adapter, tmp_path_factory.mktemp("a") / "copy"))
    config, weights = copy / "adapter_config.json", copy / "adapter_model.safetensors"
    config.write_text(json.dumps(json.loads(config.read_text()) | changed))
    if cut is not None:
        weights.write_bytes(weights.read_bytes()[:cut])
    if raw is not None:
        config.write_bytes(raw)
    if gone:
        (copy / gone).unlink()
    plain = Embedder(registry.get(folder), backbone)
    before = plain.encode(tiny.SENTENCES[:1])
    made = outcome(lambda: load(folder, backbone=backbone, adapters=(copy,)), re.escape(str(copy)))
    assert made is None or not gone and raw is None
    if made is not None:
        assert np.isfinite(made.encode(tiny.SENTENCES[:1])).all()
    np.testing.assert_array_equal(plain.encode(tiny.SENTENCES[:1]), before)
