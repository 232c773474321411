"""The embedder against one-text-at-a-time references, on tiny models of the real architectures."""

import json
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from course_utils.measures.alignment import surface_tokens
from course_utils.models import embedder as module
from course_utils.models import prompts, registry, store
from course_utils.models.embedder import Backbone, Embedder, load, load_family

TEXTS = tiny.SENTENCES
CLOSE = {"atol": 1e-5, "rtol": 0}


def plain_model(folder, adapters=(), merge=False):
    """The transformer without output layer, loaded by transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    transformer = whole.base_model
    for path in adapters:
        names = next(iter(weight_names(path)))
        headless = not names.startswith(f"base_model.model.{whole.base_model_prefix}.")
        wrapped = PeftModel.from_pretrained(transformer if headless else whole, path)
        if merge:
            wrapped.merge_and_unload()
    return transformer.eval()


def weight_names(adapter):
    from safetensors import safe_open

    with safe_open(f"{adapter}/adapter_model.safetensors", "pt") as file:
        return list(file.keys())


@torch.no_grad()
def naive(model, folder, texts, pooling, prompt=("", ""), pooled=False, bidirectional=False, normalize=False):
    """Embed one text at a time, without padding, pooling token by token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        text = text.strip()
        tokens = tokenizer(prompt[0] + text + prompt[1])
        ids = torch.tensor([tokens["input_ids"]])
        extra = {}
        if bidirectional:  # nothing is blocked: zeros are added to all attention scores
            extra["attention_mask"] = torch.zeros(1, 1, ids.shape[1], ids.shape[1])
        states = model(input_ids=ids, **extra).last_hidden_state[0].double()
        kept = []
        for t in range(ids.shape[1]):
            span = tokens.token_to_chars(t)
            inside = span is not None and span.end > len(prompt[0]) and span.start < len(prompt[0]) + len(text)
            if pooled or inside or pooling == "last_token":
                kept.append(states[t])
        if pooling == "last_token":
            row = kept[-1]
        else:
            weights = [t + 1 if pooling == "weighted_mean" else 1 for t in range(len(kept))]
            row = sum(w * s for w, s in zip(weights, kept, strict=True)) / sum(weights)
        rows.append(row / row.norm() if normalize else row)
    return torch.stack(rows).numpy()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One saved model per family, without and with a token that begins every text."""
    root = tmp_path_factory.mktemp("models")
    made = {}
    for number, family in enumerate(tiny.FAMILIES):
        for bos in (False, True):
            made[family, bos] = tiny.save(root / f"{family}-{bos}", family, bos=bos, seed=number)
    return made


@pytest.fixture(scope="module")
def llama(folders):
    return folders["llama", False]


@pytest.fixture(scope="module")
def adapters(llama, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return {
        "causal": tiny.save_adapter(root / "causal", llama, seed=1),
        "headless": tiny.save_adapter(root / "headless", llama, seed=2, headless=True),
    }


# --- Agreement with the naive reference ------------------------------------------------------------


@pytest.mark.parametrize("bos", [False, True], ids=["plain", "bos"])
@pytest.mark.parametrize("pooling", ["mean", "weighted_mean", "last_token"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_agrees_with_one_text_at_a_time(folders, family, pooling, bos):
    folder = folders[family, bos]
    result = load(folder, pooling=pooling).encode(TEXTS)
    assert result.dtype == np.float32 and result.shape == (len(TEXTS), tiny.WIDTH)
    reference = naive(plain_model(folder), folder, TEXTS, pooling)
    np.testing.assert_allclose(result, reference, **CLOSE)
    assert np.ptp(reference, axis=0).min() > 0.1  # the texts differ, so agreement means something


@pytest.mark.parametrize(
    "prompt, arguments, around, pooled",
    [
        (prompts.ONE_WORD, {}, ('This sentence : "', '" means in one word:"'), False),
        (prompts.BRACKETS, {"role": "query"}, ("[", "]"), True),
        (prompts.BRACKETS, {"role": "passage"}, ("{", "}"), True),
        (prompts.GRIT, {"instruction": "Find the topic"}, ("<|user|>\nFind the topic\n<|embed|>\n", ""), False),
        (prompts.LLM2VEC, {"instruction": "Find the topic: "}, ("Find the topic: ", ""), False),
    ],
    ids=["one-word", "query", "passage", "grit", "llm2vec"],
)
@pytest.mark.parametrize("pooling", ["mean", "weighted_mean", "last_token"])
def test_prompts_agree_too(folders, prompt, arguments, around, pooled, pooling):
    folder = folders["llama", True]
    result = load(folder, pooling=pooling, prompt=prompt).encode(TEXTS, **arguments)
    reference = naive(plain_model(folder), folder, TEXTS, pooling, around, pooled)
    np.testing.assert_allclose(result, reference, **CLOSE)


@pytest.mark.parametrize("layout", ["causal", "headless"])
def test_adapter_in_both_layouts(llama, adapters, layout):
    if layout == "headless":
        assert not any(".model.model." in name for name in weight_names(adapters[layout]))
    result = load(llama, adapters=(adapters[layout],)).encode(TEXTS)
    reference = naive(plain_model(llama, [adapters[layout]]), llama, TEXTS, "mean")
    np.testing.assert_allclose(result, reference, **CLOSE)
    assert np.abs(result - load(llama).encode(TEXTS)).max() > 0.1


def test_two_adapters_at_once_are_the_two_merged_in_turn(llama, adapters):
    both = [adapters["causal"], adapters["headless"]]
    result = load(llama, adapters=tuple(both)).encode(TEXTS)
    reference = naive(plain_model(llama, both, merge=True), llama, TEXTS, "mean")
    np.testing.assert_allclose(result, reference, **CLOSE)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
def test_bidirectional_agrees_with_one_text_at_a_time(folders, family):
    folder = folders[family, True]
    short = [text[:20] for text in TEXTS] if family != "llama" else TEXTS
    result = load(folder, bidirectional=True, normalize=True).encode(short)
    reference = naive(plain_model(folder), folder, short, "mean", bidirectional=True, normalize=True)
    np.testing.assert_allclose(result, reference, **CLOSE)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, atol=1e-6)


# --- Agreement with sentence-transformers ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "pooling, theirs", [("mean", "mean"), ("weighted_mean", "weightedmean"), ("last_token", "lasttoken")]
)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_agrees_with_sentence_transformers(folders, family, pooling, theirs):
    result = load(folders[family, False], pooling=pooling).encode(TEXTS)
    np.testing.assert_allclose(result, peer(folders[family, False], theirs).encode(TEXTS), **CLOSE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_begin_token_is_pooled_only_with_the_prompt(folders):
    folder = folders["llama", True]
    theirs = peer(folder, "mean").encode(TEXTS)  # sentence-transformers pools every token
    ours = load(folder).encode(TEXTS)
    assert np.abs(ours - theirs).max() > 0.1
    everything = load(folder, prompt=prompts.Prompt(pooled=True)).encode(TEXTS)
    np.testing.assert_allclose(everything, theirs, **CLOSE)


def peer(folder, pooling):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(folder)
    assert transformer.tokenizer.chat_template is None  # it would be written around plain texts
    return SentenceTransformer(modules=[transformer, Pooling(tiny.WIDTH, pooling_mode=pooling)], device="cpu")


# --- Batches, padding, attention -------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_independent_of_batch_order_and_padding_side(folders, family, bidirectional):
    if bidirectional and family in ("gpt_neo", "opt"):
        with pytest.raises(ValueError, match=f"bidirectional attention is not supported for '{family}'"):
            load(folders[family, True], bidirectional=True).encode(TEXTS)
        return
    for pooling in ("weighted_mean", "last_token"):
        made = load(folders[family, True], pooling=pooling, bidirectional=bidirectional)
        together = made.encode(TEXTS)
        np.testing.assert_allclose(made.encode(TEXTS, batch_tokens=1), together, **CLOSE)
        np.testing.assert_allclose(made.encode(TEXTS, batch_tokens=70), together, **CLOSE)
        np.testing.assert_allclose(made.encode(TEXTS, padding_side="left"), together, **CLOSE)
        np.testing.assert_allclose(made.encode(TEXTS[::-1])[::-1], together, **CLOSE)
        np.testing.assert_allclose(made.encode([TEXTS[3]])[0], together[3], **CLOSE)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
@pytest.mark.parametrize("texts", [1, 2])
def test_only_bidirectional_attention_sees_what_follows(folders, family, texts):
    ends = ["Rain and rain", "Rain and snow"]
    for bidirectional in (False, True):
        made = load(folders[family, False], bidirectional=bidirectional)
        first, second = made.prepare(ends)
        common = next(t for t, (a, b) in enumerate(zip(first.ids, second.ids, strict=False)) if a != b)
        assert common > 0
        with torch.inference_mode():  # every text alone or, with 2, beside a longer one, so that there is padding
            beside = made.prepare([TEXTS[0]])[: texts - 1]
            a, b = (made.forward([e, *beside], pooled=False)[0, :common] for e in (first, second))
        assert ((a - b).abs().max().item() > 1e-3) == bidirectional


def test_batches_hold_everything_once_and_no_more_than_allowed():
    lengths = [5, 90, 3, 40, 41, 7, 200, 1]
    pieces = list(module.length_batches(lengths, 90))
    assert sorted(i for piece in pieces for i in piece) == list(range(len(lengths)))
    for piece in pieces:
        assert len(piece) == 1 or len(piece) * max(lengths[i] for i in piece) <= 90
    assert list(module.length_batches([], 90)) == []


def test_a_batch_ends_early_rather_than_pad_much():
    assert list(module.length_batches([20, 20, 20, 10, 10], 200)) == [[0, 1, 2, 3, 4]]  # only half full: go on
    lengths = [20] * 5 + [19, 10, 10, 10, 5]
    assert list(module.length_batches(lengths, 200)) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    assert list(module.length_batches([300, 10, 10], 200)) == [[0], [1, 2]]


def test_progress_bar_on_long_work_only(llama, capsys):
    made = load(llama)
    capsys.readouterr()  # loading has a bar of its own
    made.encode(TEXTS)
    assert capsys.readouterr().err == ""
    made.encode(TEXTS * 23)
    assert "/207 " in capsys.readouterr().err
    made.encode(TEXTS * 23, progress=False)
    assert capsys.readouterr().err == ""


def test_bfloat16_is_close(llama):
    full, half = load(llama).encode(TEXTS), load(llama, dtype="bfloat16").encode(TEXTS)
    assert half.dtype == np.float32
    cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.999
    assert np.abs(full - half).max() > 1e-5  # it really ran in the other precision


# --- Output layer, sharing, adapters ---------------------------------------------------------------


def test_the_output_layer_of_a_headless_checkpoint_is_the_origins(tmp_path):
    origin = tiny.save(tmp_path / "origin", "gpt_neo", seed=3)
    trained = tiny.save(tmp_path / "trained", "gpt_neo", seed=4, head=False)
    assert json.loads((tmp_path / "trained" / "config.json").read_text())["architectures"] == ["GPTNeoModel"]
    made = load(trained, pooling="weighted_mean", output_layer=origin)
    expected = plain_model(origin).get_input_embeddings().weight  # the two are tied
    torch.testing.assert_close(made.unembedding, expected, rtol=0, atol=0)
    reference = naive(plain_model(trained), trained, TEXTS, "weighted_mean")
    np.testing.assert_allclose(made.encode(TEXTS), reference, **CLOSE)


def test_an_output_layer_of_its_own_is_kept(tmp_path):
    folder = tiny.save(tmp_path / "untied", "llama", tied=False)
    made = load(folder)
    inputs = made.backbone.transformer.get_input_embeddings().weight
    assert made.unembedding.shape == inputs.shape and not torch.equal(made.unembedding, inputs)
    assert repr(made) == f"Embedder({folder!r}, d={tiny.WIDTH}, V={tiny.VOCABULARY})"


@pytest.fixture
def pocket(tmp_path, monkeypatch):
    """A tiny model in the place of the default backbone, and two of its adapters in the place of the shipped ones."""
    folder = tiny.save(tmp_path / "smollm2", "llama", bos=True, seed=5)
    monkeypatch.setattr(store, "backbone", lambda name: tmp_path / name)
    monkeypatch.setattr(registry, "ADAPTERS", tmp_path / "adapters")
    for seed, name in enumerate(["smol-sgpt-nli", "smol-llm2vec"]):
        made = tmp_path / "adapters" / name
        tiny.save_adapter(made, folder, seed=seed)
        (made / "training.json").write_text(json.dumps({"backbone_sha256": store.fingerprint(folder)}))
    return tmp_path


def test_a_family_shares_one_copy_of_the_weights(pocket):
    names = ["smollm2", "smol-sgpt-nli", "smol-eol", "smol-llm2vec"]
    family = load_family(names)
    assert list(family) == names
    pointers = {made.unembedding.data_ptr() for made in family.values()}
    for made in family.values():
        pointers |= {made.backbone.transformer.get_input_embeddings().weight.data_ptr()}
    assert len(pointers) == 1
    assert len({id(made.backbone) for made in family.values()}) == 1
    for name in names:  # sharing changes nothing
        np.testing.assert_allclose(family[name].encode(TEXTS), load(name).encode(TEXTS), **CLOSE)


def test_adapters_do_not_leak(pocket):
    family = load_family(["smollm2", "smol-sgpt-nli", "smol-llm2vec"])
    first = {name: made.encode(TEXTS) for name, made in family.items()}
    for name in ["smol-llm2vec", "smollm2", "smol-sgpt-nli", "smollm2", "smol-llm2vec"]:
        np.testing.assert_array_equal(family[name].encode(TEXTS), first[name])
    assert np.abs(first["smollm2"] - first["smol-sgpt-nli"]).max() > 0.1
    np.testing.assert_allclose(first["smollm2"], load("smollm2").encode(TEXTS), **CLOSE)


def test_forward_uses_the_embedders_own_adapter_and_leaves_the_model_as_it_was(pocket):
    family = load_family(["smollm2", "smol-sgpt-nli"])
    origin, trained = family.values()
    ids = origin.prepare(TEXTS[:1])
    with torch.inference_mode():
        before = origin.backbone.transformer(torch.tensor([ids[0].ids])).last_hidden_state
        changed = trained.forward(ids, pooled=False)
        np.testing.assert_array_equal(origin.forward(ids, pooled=False), before)
        np.testing.assert_array_equal(origin.backbone.transformer(torch.tensor([ids[0].ids])).last_hidden_state, before)
    assert (changed - before).abs().max() > 0.1


def test_an_adapter_written_again_is_read_again(llama, tmp_path):
    path = tmp_path / "again"
    backbone = Backbone(llama)
    tiny.save_adapter(path, llama, seed=1)
    first = load(llama, backbone=backbone, adapters=(str(path),)).encode(TEXTS)
    tiny.save_adapter(path, llama, seed=2)
    second = load(llama, backbone=backbone, adapters=(str(path),)).encode(TEXTS)
    np.testing.assert_allclose(second, load(llama, adapters=(str(path),)).encode(TEXTS), **CLOSE)
    assert np.abs(first - second).max() > 0.1


def test_an_adapter_of_other_weights_is_refused(pocket):
    load("smol-sgpt-nli")
    tiny.save(pocket / "smollm2", "llama", bos=True, seed=6)
    with pytest.raises(ValueError, match=r"smol-sgpt-nli was trained on a backbone with sha256 \w{12}….*but smollm2"):
        load("smol-sgpt-nli")
    load("smol-eol")  # needs no adapter


def test_an_adapter_of_another_folder_is_refused(llama, tmp_path):
    path = tmp_path / "adapter"
    tiny.save_adapter(path, llama)
    (path / "training.json").write_text(json.dumps({"backbone_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="adapter was trained on a backbone with sha256 000000000000…"):
        load(llama, adapters=(str(path),))
    (path / "training.json").write_text(json.dumps({"backbone_sha256": store.fingerprint(llama)}))
    load(llama, adapters=(str(path),))


def test_a_missing_adapter_is_named(pocket):
    with pytest.raises(FileNotFoundError, match=r"needs the adapter smol-grit.*several-tokens train smol-grit"):
        load("smol-grit")
    with pytest.raises(FileNotFoundError, match="smol-sgpt-nli, smol-eol, gemma-eol, smol-llm2vec"):
        load("smol-grit")  # what is there is listed
    with pytest.raises(FileNotFoundError, match="nothing': no such folder"):
        load("smollm2", adapters=(str(pocket / "nothing"),))
    (pocket / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="adapter_config.json is missing"):
        load("smollm2", adapters=(str(pocket / "nothing"),))


def test_an_adapter_of_another_architecture_is_refused(folders, adapters):
    with pytest.raises(ValueError, match="does not fit|not found in the base model"):
        load(folders["gpt_neo", False], adapters=(adapters["causal"],))


def test_a_backbone_of_another_model_is_refused(llama, folders):
    with pytest.raises(ValueError, match="the given backbone is"):
        load(folders["opt", False], backbone=Backbone(llama))


def test_unknown_precision_is_refused(llama):
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', .*; got 'float16'"):
        load(llama, dtype="float16")


# --- Texts and instructions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts, error, message",
    [
        ("A man", TypeError, r"got a single string: write \[text\]"),
        (["A man", ""], ValueError, r"texts\[1\] is empty"),
        (["A man", "a", " \n\t"], ValueError, r"texts\[2\] is empty"),
        (["A man", None], TypeError, r"texts\[1\] is NoneType \(a missing value\), not a string: None"),
        ([3.5], TypeError, r"texts\[0\] is float, not a string: 3.5"),
    ],
)
def test_texts_are_checked(llama, texts, error, message):
    with pytest.raises(error, match=message):
        load(llama).encode(texts)


@pytest.mark.parametrize(
    "texts, error, message",
    [
        ({"a": "A man"}, TypeError, r"write list\(texts\.values\(\)\)"),
        ({"A man", "Rain"}, TypeError, "which has no order"),
        (b"A man", TypeError, "got bytes"),
        ([b"A man"], TypeError, r"texts\[0\] is bytes"),
        (pd.DataFrame({"text": ["A man"]}), TypeError, "a table .* name a column"),
        (pd.Series(["A man", None], dtype=object), TypeError, r"texts\[1\] is NoneType \(a missing value\)"),
        (pd.Series(["A man", float("nan")]), TypeError, r"texts\[1\] is .*a missing value"),
        (["A man", "half \ud83d"], ValueError, r"texts\[1\] is not valid Unicode"),
        (None, TypeError, "texts must be a list"),
    ],
    ids=["dict", "set", "bytes", "bytes inside", "table", "gap", "NaN", "surrogate", "None"],
)
def test_what_looks_like_a_list_of_texts_is_refused(llama, texts, error, message):
    with pytest.raises(error, match=message):
        load(llama).encode(texts)


def test_every_kind_of_list_gives_the_same(llama):
    made = load(llama)
    expected = made.encode(TEXTS)
    arrays = np.array(TEXTS), np.array(TEXTS, dtype=object), pd.Series(TEXTS, index=TEXTS)
    for texts in (tuple(TEXTS), iter(TEXTS), *arrays):
        np.testing.assert_array_equal(made.encode(texts), expected)
    decomposed = [unicodedata.normalize("NFD", text) for text in TEXTS]
    assert decomposed != TEXTS
    np.testing.assert_array_equal(made.encode(decomposed), expected)


@pytest.mark.parametrize("name", ["max_tokens", "batch_tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "512", None])
def test_numbers_of_tokens_are_checked(llama, name, value):
    with pytest.raises(ValueError, match=f"{name} must be (a whole number|at least 1); got"):
        load(llama).encode(TEXTS, **{name: value})


def test_no_texts_give_no_rows(llama):
    assert load(llama).encode([]).shape == (0, tiny.WIDTH)


def test_white_space_around_a_text_does_not_count(llama):
    made = load(llama, pooling="weighted_mean")
    np.testing.assert_allclose(made.encode([f"  {TEXTS[0]}\n"]), made.encode(TEXTS[:1]), **CLOSE)


def test_instructions(llama):
    made = load(llama, prompt=prompts.LLM2VEC)
    mixed = made.encode(TEXTS[:3], ["Topic: ", None, "Mood: "])
    np.testing.assert_allclose(mixed[0], made.encode(TEXTS[:1], "Topic: ")[0], **CLOSE)
    np.testing.assert_allclose(mixed[1], made.encode(TEXTS[1:2])[0], **CLOSE)
    np.testing.assert_allclose(mixed[2], made.encode(TEXTS[2:3], "Mood: ")[0], **CLOSE)
    assert np.abs(made.encode(TEXTS[:1], "Mood: ")[0] - mixed[0]).max() > 1e-3
    with pytest.raises(ValueError, match="2 instructions for 3 texts"):
        made.encode(TEXTS[:3], ["Topic: ", None])
    np.testing.assert_array_equal(made.encode(TEXTS[:3], ["", None, " "]), made.encode(TEXTS[:3]))
    np.testing.assert_array_equal(made.encode(TEXTS[:3], ""), made.encode(TEXTS[:3]))
    np.testing.assert_array_equal(load(llama).encode(TEXTS, ""), load(llama).encode(TEXTS))
    np.testing.assert_array_equal(made.encode(TEXTS, "Topic:"), made.encode(TEXTS, "Topic: "))
    with pytest.raises(TypeError, match=r"instruction\[1\] is float, not a string: nan; write None for none"):
        made.encode(TEXTS[:2], pd.Series(["Topic: ", float("nan")], dtype=object))
    with pytest.raises(TypeError, match=r"instruction must be a list; got a dict"):
        made.encode(TEXTS[:1], {"Topic: ": 1})
    with pytest.raises(TypeError, match="instruction must be a list; got float"):
        made.encode(TEXTS, float("nan"))
    with pytest.raises(ValueError, match="takes no instruction; got 'Topic: '"):
        load(llama).encode(TEXTS, "Topic: ")


def test_long_texts_are_cut_with_a_warning_and_keep_the_prompt(llama):
    made = load(llama, pooling="last_token", prompt=prompts.ONE_WORD)
    long = " ".join(["parrots"] * 300)
    frame = len(made.tokenizer('This sentence : "a" means in one word:"')["input_ids"]) - 1
    with pytest.warns(UserWarning, match=r"2 of 4 texts were cut to 90 tokens \(first at position 1\)"):
        encodings = made.prepare(["A man", long, "Rain", long], max_tokens=90)
    assert len(encodings[0].ids) < 90 and len(encodings[1].ids) == 90
    kept = made.tokenizer.decode(encodings[1].ids)
    assert kept.startswith('This sentence : "parrots parrots') and kept.endswith('" means in one word:"')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(made.prepare([long], max_tokens=1000)[0].ids) > 300  # nothing to report below the limit
    with pytest.raises(ValueError, match=f"max_tokens={frame} leaves no room.* prompt alone takes {frame}"):
        made.encode([long], max_tokens=frame)


@pytest.mark.parametrize("family", ["opt", "gpt_neo"])
def test_a_text_longer_than_the_positions_a_model_learned_is_cut(tmp_path, family):
    folder = tiny.save(tmp_path, family, bos=True)
    made = load(folder, pooling="last_token", prompt=prompts.ONE_WORD)
    assert made.backbone.positions == (0, 512)
    long = "parrots " * 400
    with pytest.warns(UserWarning, match=r"1 of 2 texts were cut to 512 tokens .* position 1\); the model has no"):
        encodings = made.prepare(["A man", long], max_tokens=2000)
    assert len(encodings[1].ids) == 512
    with pytest.warns(UserWarning, match="cut to 100 tokens .*; raise max_tokens to keep them whole"):
        made.encode([long], max_tokens=100)
    with pytest.warns(UserWarning, match="cut to 512 tokens"):
        assert np.isfinite(made.encode(["A man", long], max_tokens=2000)).all()
    with pytest.raises(ValueError, match=r"texts\[1\]: max_tokens=512 leaves no room for the text.*shorten"):
        made.encode(["Rain", "Rain"], ["topic", "topic " * 600], max_tokens=2000)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3"])
def test_a_model_that_computes_its_positions_takes_longer_texts(folders, family):
    made = load(folders[family, False])
    assert made.backbone.positions == (0, None)
    encodings = made.prepare(["parrots " * 400], max_tokens=2000)
    assert len(encodings[0].ids) > 512 == made.backbone.causal.config.max_position_embeddings
    assert np.isfinite(made.encode(["parrots " * 400], max_tokens=2000)).all()


def test_nothing_is_said_of_texts_that_are_cut_afterwards(llama, caplog):
    """The tokenizer would say that they "will result in indexing errors", once; a reader's own call still says so."""
    from transformers.utils import logging

    made, long = load(llama), "parrots " * 400
    assert made.tokenizer.model_max_length == 512
    logging.enable_propagation()
    try:
        with pytest.warns(UserWarning, match="cut to 64 tokens"):
            made.encode([long], max_tokens=64)
        assert len(surface_tokens(made.tokenizer, [long])[0]) < 10
        assert caplog.text == ""
        made.tokenizer(long)
    finally:
        logging.disable_propagation()
    assert "longer than the specified maximum sequence length" in caplog.text


@pytest.mark.parametrize("pooling", ["mean", "last_token"])
def test_a_token_that_the_model_has_no_row_for_is_named(tmp_path, pooling):
    from transformers import AutoTokenizer

    folder = tiny.save(tmp_path, "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<image>"])
    tokenizer.add_special_tokens({"pad_token": "<beyond>"})
    tokenizer.save_pretrained(folder)
    made = load(folder, pooling=pooling)
    assert made.tokenizer.pad_token_id == tiny.VOCABULARY + 1 and made.backbone.rows == tiny.VOCABULARY
    assert np.isfinite(made.encode(TEXTS)).all()  # padding does not need its id
    for text, token in [("An <image> here", "<image>"), ("<beyond>", "<beyond>")]:
        with pytest.raises(ValueError, match=rf"texts\[1\] holds the token '{token}' \(id 32.\), but .* below 320; "):
            made.encode(["A man", text])


@pytest.mark.parametrize("pooling", ["mean", "last_token"])
def test_a_text_of_which_nothing_is_left_is_refused_with_its_position(tmp_path, pooling):
    from tokenizers import Tokenizer, normalizers
    from transformers import PreTrainedTokenizerFast

    folder = tiny.save(tmp_path, "llama", bos=True)
    inner = Tokenizer.from_file(f"{folder}/tokenizer.json")
    inner.normalizer = normalizers.Replace("\u200b", "")
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>").save_pretrained(folder)
    for prompt in (prompts.NO_PROMPT, prompts.ONE_WORD):
        with pytest.raises(ValueError, match=r"texts\[1\]: the tokenizer makes no token of .*; leave this text out"):
            load(folder, pooling=pooling, prompt=prompt).encode(["A man", "\u200b"])


def test_cutting_where_prompt_and_text_share_tokens(llama):
    """Around "a" this prompt makes one token, "Parrots"; around other texts it takes more than it seemed to."""
    made = load(llama, prompt=prompts.Prompt(prefix="P", suffix="rrots"))
    assert len(made.prepare(["a"])[0].ids) == 1
    for text in [text for text in TEXTS if " " in text]:
        whole = made.prepare([text])[0].ids
        with pytest.warns(UserWarning, match="1 of 1 texts were cut"):
            cut = made.prepare([text], max_tokens=len(whole) - 1)[0].ids
        assert 1 < len(cut) < len(whole)


def test_an_embedder_knows_its_parts(llama):
    made = load(llama)
    assert isinstance(made, Embedder) and made.tokenizer is made.backbone.tokenizer
    assert not any(p.requires_grad for p in made.backbone.causal.parameters())
