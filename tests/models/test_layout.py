"""Folders of sentence-transformers: the course embeds as their makers do, and refuses what it does not know by name."""

import json
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import guests
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from course_utils.models import layout, prompts, registry, store
from course_utils.models.embedder import load

TEXTS = tiny.SENTENCES
CLOSE = {"atol": 1e-5, "rtol": 0}
#: Padded tokens in a batch: each text alone, and up to sixteen of them together.
BATCHES = (1, 16 * 40)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of tiny guests, each saved when it is first asked for."""
    root, made = tmp_path_factory.mktemp("guests"), {}

    def of(kind, **options):
        key = (kind, *sorted(options))
        if key not in made:
            made[key] = guests.save(root / "-".join(key), kind, **options)
        return made[key]

    return of


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the guest with Dense layers that a test may damage."""
    return Path(shutil.copytree(saved("gemma3"), tmp_path / "model"))


# --- Agreement with sentence-transformers ------------------------------------------------------------


@pytest.mark.parametrize("kind", guests.KINDS)
def test_embeds_as_sentence_transformers_does(saved, kind):
    made, peer = load(saved(kind)), guests.peer(saved(kind))
    theirs = {None: peer.encode, "query": peer.encode_query, "passage": peer.encode_document}
    for role, encode in theirs.items():
        expected = encode(TEXTS)
        assert np.ptp(expected, axis=0).min() > 1e-3  # the texts differ, so agreement means something
        for batch_tokens in BATCHES:
            np.testing.assert_allclose(made.encode(TEXTS, role=role, batch_tokens=batch_tokens), expected, **CLOSE)
    np.testing.assert_allclose(made.encode(TEXTS, padding_side="left"), peer.encode(TEXTS), **CLOSE)
    np.testing.assert_allclose(made.encode(TEXTS, role="STS"), peer.encode(TEXTS, prompt_name="STS"), **CLOSE)


def test_the_stored_guest_embeds_as_sentence_transformers_does():
    made, expected = load("minilm"), guests.peer(str(store.backbone("minilm"))).encode(TEXTS)
    for batch_tokens in BATCHES:
        np.testing.assert_allclose(made.encode(TEXTS, batch_tokens=batch_tokens), expected, **CLOSE)
    assert repr(made) == (
        "Embedder('minilm', d=384, V=30522, decodes the pooled state before Normalize with its input table "
        "(no head in the folder))"
    )
    own = registry.get(store.backbone("minilm"))  # the entry says what the folder says
    same = ("pooling", "prompt", "dense", "normalize", "max_tokens", "lowercase")
    assert [getattr(made.spec, name) for name in same] == [getattr(own, name) for name in same]


@pytest.mark.filterwarnings("ignore:1 of 2 texts were cut")
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "t5"])
def test_long_texts_are_cut_where_the_folder_says(saved, kind):
    made = load(saved(kind))
    assert made.spec.max_tokens == 100
    long = ["parrots prone to rain " * 60, TEXTS[0]]
    np.testing.assert_allclose(made.encode(long), guests.peer(saved(kind)).encode(long), **CLOSE)
    with pytest.warns(UserWarning, match=r"1 of 2 texts were cut to 100 tokens .*; its makers allow no more positions"):
        made.encode(long)


@pytest.mark.parametrize("kind", ["bert", "qwen3", "t5"])
def test_a_prompt_that_does_not_count_in_the_pooling(saved, kind):
    made, peer = (f(saved(kind, include_prompt=False)) for f in (load, guests.peer))
    assert made.spec.prompt.pooled == "behind"
    np.testing.assert_allclose(made.encode(TEXTS, role="query"), peer.encode_query(TEXTS), **CLOSE)
    np.testing.assert_allclose(made.encode(TEXTS), peer.encode(TEXTS), **CLOSE)
    if kind != "qwen3":  # whose last token is the same either way
        assert np.abs(made.encode(TEXTS, role="query") - load(saved(kind)).encode(TEXTS, role="query")).max() > 1e-3


def test_a_default_prompt_is_written_where_no_role_is_named(folder):
    file = folder / "config_sentence_transformers.json"
    guests.rewrite(file, lambda content: {**content, "default_prompt_name": "STS"})
    made, peer = load(folder), guests.peer(str(folder))
    assert made.spec.prompt.prefix == guests.PROMPTS["STS"]
    np.testing.assert_allclose(made.encode(TEXTS), peer.encode(TEXTS), **CLOSE)
    np.testing.assert_allclose(made.encode(TEXTS, role="query"), peer.encode_query(TEXTS), **CLOSE)
    with pytest.raises(ValueError, match="role must be None, 'query' or 'passage', 'STS', 'document'; got 'topic'"):
        made.encode(TEXTS, role="topic")


def test_letters_are_written_small_where_the_folder_asks_for_it(saved, tmp_path):
    folder = Path(shutil.copytree(saved("xlm-roberta"), tmp_path / "small"))
    assert np.abs(load(folder).encode(["RAIN"]) - load(folder).encode(["rain"])).max() > 1e-3
    guests.rewrite(folder / "sentence_bert_config.json", lambda content: {**content, "do_lower_case": True})
    made = load(folder)
    np.testing.assert_allclose(made.encode(TEXTS), guests.peer(str(folder)).encode(TEXTS), **CLOSE)
    np.testing.assert_array_equal(made.encode(["RAIN"]), made.encode(["rain"]))


def test_old_spellings_mean_the_same(folder, saved):
    """Folders of versions before 5 name other paths of the same types, and a pooling by a row of switches."""
    old = [{**m, "type": f"sentence_transformers.models.{m['type'].split('.')[-1]}"} for m in modules(folder)]
    (folder / "modules.json").write_text(json.dumps(old))
    switches = {"word_embedding_dimension": tiny.WIDTH}
    switches |= {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(switches))
    np.testing.assert_array_equal(load(folder).encode(TEXTS), load(saved("gemma3")).encode(TEXTS))
    switches |= {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(switches))
    assert load(folder).spec.pooling == "cls"
    np.testing.assert_allclose(load(folder).encode(TEXTS), guests.peer(str(folder)).encode(TEXTS), **CLOSE)


def test_a_transformer_in_a_folder_below(folder, saved):
    below = folder / "0_Transformer"
    below.mkdir()
    for file in folder.glob("*.*"):
        if file.name not in ("modules.json", "config_sentence_transformers.json"):
            file.rename(below / file.name)
    guests.rewrite(folder / "modules.json", lambda m: [{**m[0], "path": "0_Transformer"}, *m[1:]])
    made = load(folder)
    assert made.spec.dense == ("../2_Dense", "../3_Dense") and made.backbone.source == str(below)
    np.testing.assert_array_equal(made.encode(TEXTS), load(saved("gemma3")).encode(TEXTS))


# --- What is decoded ---------------------------------------------------------------------------------


def test_the_state_before_the_dense_layers_is_decoded(saved):
    made = load(saved("gemma3"))
    h, z = made.pooled(TEXTS), made.encode(TEXTS)
    assert h.shape == (len(TEXTS), tiny.WIDTH) and np.ptp(np.linalg.norm(h, axis=1)) > 0.1
    weights = [load_file(Path(saved("gemma3")) / name / "model.safetensors") for name in ("2_Dense", "3_Dense")]
    x = torch.tensor(h) @ weights[0]["linear.weight"].T
    x = torch.tanh(x @ weights[1]["linear.weight"].T + weights[1]["linear.bias"])
    np.testing.assert_allclose(torch.nn.functional.normalize(x, dim=1), z, **CLOSE)
    assert repr(made).endswith(
        "d=32, V=320, decodes the pooled state before 2 Dense layers and Normalize with its output layer (tied with "
        "the input table))"
    )
    np.testing.assert_array_equal(made.readout(h), h)
    np.testing.assert_array_equal(made.pooled(TEXTS, role="query"), made.pooled(TEXTS, role="query"))
    assert np.abs(made.pooled(TEXTS, role="query") - h).max() > 1e-2


def test_a_dense_layer_may_change_the_width(saved):
    made = load(saved("t5"))
    assert made.encode(TEXTS).shape == (len(TEXTS), 24) and made.encode([]).shape == (0, 24)
    assert made.pooled(TEXTS).shape == (len(TEXTS), tiny.WIDTH) == (len(TEXTS), made.unembedding.shape[1])


def test_without_layers_behind_it_the_pooled_state_is_the_embedding(tmp_path):
    made = load(tiny.save(tmp_path, "llama"), pooling="weighted_mean")
    np.testing.assert_array_equal(made.pooled(TEXTS), made.encode(TEXTS))
    unit = load(tmp_path, normalize=True)
    h = unit.pooled(TEXTS)
    np.testing.assert_allclose(h / np.linalg.norm(h, axis=1, keepdims=True), unit.encode(TEXTS), **CLOSE)


def test_a_field_named_by_the_reader_wins_over_the_folder(saved):
    made = load(saved("gemma3"), pooling="last_token", normalize=False, dense=())
    assert (made.spec.pooling, made.spec.normalize, made.spec.dense) == ("last_token", False, ())
    assert made.spec.prompt == registry.get(saved("gemma3")).prompt


@pytest.mark.parametrize("flag", [True, False])
def test_a_decoder_sees_what_its_configuration_says(folder, flag):
    guests.rewrite(folder / "config.json", lambda content: {**content, "use_bidirectional_attention": flag})
    made = load(folder)
    first, second = made.prepare(["Rain and rain", "Rain and snow"])
    with torch.inference_mode():
        a, b = (made.forward([e], pooled=False)[0, 1] for e in (first, second))
    assert first.ids[1] == second.ids[1] and ((a - b).abs().max().item() > 1e-3) == flag == made.backbone.sees_all


# --- Faults ------------------------------------------------------------------------------------------


def modules(folder):
    return json.loads((folder / "modules.json").read_text())


def named(kind):
    return lambda m: [*m[:2], {**m[2], "type": f"sentence_transformers.models.{kind}"}, *m[3:]]


@pytest.mark.parametrize(
    "change, message",
    [
        *((named(kind), f"names the module '{kind}' .*the course does not know; it knows Transformer.*Load its")
          for kind in ("CNN", "LSTM", "WordEmbeddings", "Router", "LayerNorm", "BoW")),
        (lambda m: [m[1], m[0], *m[2:]], "in the order Pooling, Transformer, Dense.*the course knows Transformer"),
        (lambda m: [*m[:2], m[4], *m[2:4]], "in the order Transformer, Pooling, Normalize, Dense, Dense"),
        (lambda m: m[:1], "in the order Transformer; the course knows"),
        (lambda m: [], "in the order of none"),
        (lambda m: [{"path": ""}, *m[1:]], "entry 0 has no type and path"),
        (lambda m: [m[0], {**m[1], "path": "../1_Pooling"}, *m[2:]], "entry 1 has no type and path below the folder"),
        (lambda m: {"0": m[0]}, "modules.json holds a dict where JSON has an array"),
        (lambda m: [m[0], {**m[1], "path": "9_Pooling"}], "no pooling in .*9_Pooling: config.json is missing"),
    ],
)  # fmt: skip
def test_modules_that_are_not_known(folder, change, message):
    guests.rewrite(folder / "modules.json", change)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(folder)


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("1_Pooling", {"pooling_mode": "max"}, "unknown pooling 'max'; the course knows mean, cls, lasttoken"),
        ("1_Pooling", {"pooling_mode": ["mean", "cls"]}, "joins the poolings mean, cls: 2 states side by side fit no"),
        ("1_Pooling", {"pooling_mode": "weightedmean", "include_prompt": False}, "counts positions in another way"),
        ("2_Dense", {"activation_function": "torch.nn.modules.activation.Mish"}, "unknown activation .*knows Identity"),
        ("2_Dense", {"activation_function": "os.system"}, "unknown activation 'os.system'"),
        ("2_Dense", {"module_input_name": "token_embeddings"}, "leads from token_embeddings to sentence_embedding"),
        ("2_Dense", {"use_residual": True}, "use_residual=True; the course knows"),
        ("2_Dense", {"bias": True}, "does not hold the weights of one Dense layer.*linear.bias"),
        ("", {"query_expansion": {"length": 3}}, "sets query_expansion to .*does not support"),
        ("", {"config_args": {"is_causal": False}}, "sets config_args to .*into its config.json"),
        ("", {"transformer_task": "fill-mask"}, "sets transformer_task to 'fill-mask'"),
        ("", {"modality_config": {"text": {"method": "get_text_features"}}}, "sets modality_config to"),
        ("", {"processing_kwargs": {"text": {"truncation": False}}}, "sets processing_kwargs to"),
        ("", {"processor_kwargs": {"model_max_length": 8}}, "sets processor_kwargs to"),
        ("1_Pooling", {"pooling_mode": []}, "names no pooling"),
        ("prompts", {"prompts": {"query": 3}}, "every prompt is a text"),
        ("prompts", {"default_prompt_name": "topic"}, "the default prompt 'topic' is none of STS, document, query"),
    ],
)
def test_options_that_are_not_known(folder, file, change, message):
    places = {"": "sentence_bert_config.json", "prompts": "config_sentence_transformers.json"}
    guests.rewrite(folder / places.get(file, f"{file}/config.json"), lambda content: {**content, **change})
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_dense_layers_that_are_not_whole(folder):
    file = folder / "3_Dense" / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "linear.weight": torch.ones(32, 40)}, file)
    with pytest.raises(ValueError, match="3_Dense takes 40 values, and 48 come in"):
        load(folder)
    save_file({**weights, "linear.bias": torch.full((32,), torch.nan)}, file)
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        load(folder)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="model.safetensors is damaged or cut off"):
        load(folder)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="no weights in .*3_Dense"):
        load(folder)
    torch.save(weights, file.with_name("pytorch_model.bin"))
    with pytest.raises(ValueError, match=r"pytorch_model.bin is a pickle.*run in .*3_Dense") as caught:
        load(folder)
    tiny.run_command(str(caught.value), file.parent)
    assert load(folder).encode(TEXTS).shape == (len(TEXTS), 32)
    shutil.rmtree(folder / "3_Dense")
    with pytest.raises(FileNotFoundError, match="no Dense layer in .*3_Dense: config.json is missing"):
        load(folder)


@pytest.mark.slow
def test_an_encoder_published_as_a_pickle_is_converted_by_what_the_message_says(tmp_path):
    folder = Path(guests.save_bare(tmp_path / "bert", "bert"))
    expected = load(folder).encode(TEXTS)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="is a pickle") as caught:
        load(folder)
    tiny.run_command(str(caught.value), folder)
    np.testing.assert_allclose(load(folder).encode(TEXTS), expected, **CLOSE)


# --- A hub -------------------------------------------------------------------------------------------


def test_a_hub_is_read_like_a_folder(saved, monkeypatch):
    """The hub is stood in for by the folder of what was downloaded from it."""
    monkeypatch.setattr("course_utils.models.embedder.layout.fetched", lambda name: Path(saved("gemma3")))
    monkeypatch.setattr("course_utils.models.backbone._folder", lambda source: Path(saved("gemma3")))
    made = load("owner/guest")
    assert made.spec.backbone == "owner/guest" and made.spec.dense == ("2_Dense", "3_Dense")
    np.testing.assert_array_equal(made.encode(TEXTS), load(saved("gemma3")).encode(TEXTS))
    assert load("owner/guest", normalize=False).spec.normalize is False
    assert load("OPT").spec == registry.get("OPT")  # an entry is not asked about


def test_a_hub_that_cannot_be_asked_is_told_of_before_the_transformer_is_read_alone():
    with pytest.warns(UserWarning, match="could not ask the hub whether nobody/nothing has a pooling and prompts"):
        assert layout.fetched("nobody/nothing") is None
    with (
        pytest.warns(UserWarning, match="read with mean pooling and no prompt"),
        pytest.raises(FileNotFoundError, match="the model hub does not give its"),
    ):
        load("nobody/nothing")


@pytest.mark.parametrize("known", [True, False])
def test_a_hub_without_this_layout_gives_none_and_one_that_breaks_off_raises(known, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def download(*_):
        if not known:
            raise RemoteEntryNotFoundError("no modules.json", response=SimpleNamespace(headers={}, request=None))

    def broken(*_, **__):
        raise ConnectionError("cut off")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if known:
            with pytest.raises(ConnectionError, match="cut off"):
                layout.fetched("owner/guest")
        else:
            assert layout.fetched("owner/guest") is None


def test_a_module_of_a_repository_s_own_code_is_refused(folder):
    def renamed(content):
        return [{**content[0], "type": "custom_st.Transformer"}, *content[1:]]

    guests.rewrite(folder / "modules.json", renamed)
    with pytest.raises(ValueError, match="module of its own code, 'custom_st.Transformer', which is never run here"):
        load(folder)


# --- The registry's guests ---------------------------------------------------------------------------

#: Guests by id: architecture of the tiny model, and the same facts as their makers' files hold them.
ENTRIES = {
    "EmbeddingGemma-300M": ("gemma3", ("mean", True, ("2_Dense", "3_Dense"))),
    "Qwen3-Embedding-0.6B": ("qwen3", ("last_token", True, ())),
    "e5-small": ("bert", ("mean", True, ())),
    "multilingual-e5-small": ("bert-multilingual", ("mean", True, ())),
    "bge-small": ("bert-cls", ("cls", True, ())),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_guest_runs_from_a_folder_of_its_architecture(saved, name):
    kind, (pooling, unit, dense) = ENTRIES[name]
    made, peer = load(name, backbone=saved(kind)), guests.peer(saved(kind))
    spec, peer.max_seq_length = registry.get(name), min(peer[0].config.max_position_embeddings, 400)
    assert (spec.pooling, spec.normalize, spec.dense) == (pooling, unit, dense) and spec.prompt.pooled is True
    for role in ("query", "passage"):
        expected = peer.encode(TEXTS, prompt=spec.prompt.roles[role][0])
        np.testing.assert_allclose(made.encode(TEXTS, role=role), expected, **CLOSE)
    np.testing.assert_allclose(made.encode(TEXTS), peer.encode(TEXTS, prompt=spec.prompt.prefix), **CLOSE)
    if spec.prompt.instructed:
        before = spec.prompt.instructed.replace("{instruction}", "Name the topic")
        np.testing.assert_allclose(made.encode(TEXTS, "Name the topic"), peer.encode(TEXTS, prompt=before), **CLOSE)
    assert np.abs(made.encode(TEXTS, role="query") - made.encode(TEXTS, role="passage")).max() > 1e-3


def test_a_guest_whose_origin_has_the_head(saved, tmp_path):
    origin = guests.save_bare(tmp_path / "origin", "bert", head=True, seed=3)
    body = guests.save_bare(tmp_path / "simcse", "bert", seed=4)
    made = load("SimCSE", backbone=body, output_layer=origin)
    assert made.spec.origin == "BERT-base" and made.decodes == f"MLM head with its transform of {origin}"
    bert = load("BERT-base", backbone=origin)
    np.testing.assert_array_equal(made.unembedding, bert.unembedding)
    h = made.pooled(TEXTS)
    np.testing.assert_array_equal(made.readout(h), bert.readout(h))
    assert bert.spec.pooling == made.spec.pooling == "cls"


def test_every_guest_has_an_entry_with_what_a_reader_must_know():
    assert registry.GUESTS[0] == "minilm" and len(set(registry.GUESTS)) == len(registry.GUESTS) == 9
    for spec in map(registry.get, registry.GUESTS):
        assert not spec.remote_code and not spec.adapters and spec.stands_for is None
        assert spec.backbone in registry.STORED_ENCODERS or spec.backbone.count("/") == 1
        origin = registry.get(spec.origin) if spec.origin else spec
        assert origin.pooling == spec.pooling and origin.origin is None
    assert registry.get("Qwen3-Embedding-0.6B").prompt.wrap("a", role="query")[0].endswith("the query\nQuery:a")
    assert prompts.E5.wrap("a")[0] == "query: a" and prompts.BGE.wrap("a")[0] == "a"


def test_an_entry_whose_folder_lacks_its_dense_layers_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no layer in .*2_Dense: config.json is missing"):
        load("EmbeddingGemma-300M", backbone=guests.save_bare(tmp_path / "bare", "gemma3"))
