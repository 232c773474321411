"""Which matrix decodes: against the logits of transformers' own heads."""

from types import SimpleNamespace

import guests
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from course_utils.measures.alignment import special_ids, top_tokens
from course_utils.models import heads, registry
from course_utils.models.embedder import Backbone, Embedder, load

TEXTS = tiny.SENTENCES
MASKED = ("bert", "distilbert", "mpnet", "xlm-roberta", "modernbert")


@pytest.mark.parametrize("kind", MASKED)
def test_the_head_of_a_masked_language_model_gives_its_logits(tmp_path, kind):
    from transformers import AutoModelForMaskedLM

    folder = guests.save_bare(tmp_path / kind, kind, head=True)
    made, theirs = load(folder, pooling="last_token"), AutoModelForMaskedLM.from_pretrained(folder).eval()
    assert made.decodes == "MLM head with its transform" and made.unembedding.shape == (tiny.VOCABULARY, tiny.WIDTH + 1)
    h = made.pooled(TEXTS)
    logits = made.readout(h) @ made.unembedding.numpy().T
    for text, own in zip(TEXTS, logits, strict=True):
        with torch.no_grad():
            expected = theirs(input_ids=torch.tensor([made.prepare([text])[0].ids])).logits[0, -1]
        np.testing.assert_allclose(own, expected, atol=1e-4)
    assert np.abs(made.readout(h)[:, :-1] - h).max() > 0.1  # the transform is none in name only
    assert (made.readout(h)[:, -1] == 1).all() and made.unembedding[:, -1].abs().max() > 0.1
    ids, _ = top_tokens(made.readout(h), made.unembedding, 5, special_ids(made.tokenizer, len(made.unembedding)))
    assert ids.shape == (len(TEXTS), 5)


@pytest.mark.parametrize("kind", [*MASKED, "t5"])
def test_an_encoder_without_its_head_is_decoded_by_its_input_table(tmp_path, kind):
    made = load(guests.save_bare(tmp_path / kind, kind))
    assert made.decodes == "input table (no head in the folder)"
    torch.testing.assert_close(made.unembedding, made.backbone.transformer.get_input_embeddings().weight)
    h = made.pooled(TEXTS)
    np.testing.assert_array_equal(made.readout(h), h)
    assert repr(made) == (
        f"Embedder({made.spec.name!r}, d=32, V=320, decodes the pooled state with its input table (no head in the "
        "folder))"
    )


def test_loading_an_encoder_draws_no_random_numbers_and_prints_nothing(tmp_path, capfd, caplog):
    folder = guests.save_bare(tmp_path / "bert", "bert")
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    capfd.readouterr()
    load(folder)
    assert torch.equal(torch.rand(3), expected)
    assert "".join(capfd.readouterr()) == caplog.text == ""


def test_a_decoder_says_whether_its_output_layer_is_tied(tmp_path):
    tied, free = (load(tiny.save(tmp_path / str(tied), "llama", tied=tied)) for tied in (True, False))
    assert (tied.decodes, free.decodes) == ("output layer (tied with the input table)", "output layer")
    other = load(tied.spec.name, output_layer=free.spec.name)
    assert other.decodes == f"output layer of {free.spec.name}"


@pytest.mark.parametrize("flag, value", [("use_bidirectional_attention", True), ("is_causal", False)])
def test_what_a_configuration_says_about_attention(flag, value):
    config = SimpleNamespace(model_type="qwen3", architectures=["Qwen3Model"])
    assert heads.kind(config) == "decoder" and not heads.sees_all(config)
    setattr(config, flag, value)
    assert heads.sees_all(config)


@pytest.mark.parametrize(
    "kind, name, found",
    [
        ("bert", "BertModel", "masked"),
        ("bert", "BertLMHeadModel", "decoder"),
        ("t5", "T5EncoderModel", "half"),
        ("gemma3_text", None, "decoder"),
        ("electra", "ElectraModel", None),
        ("bart", "BartModel", None),
        ("vit", "ViTModel", None),
    ],
)
def test_kinds_of_models(kind, name, found):
    config = SimpleNamespace(model_type=kind, architectures=name and [name], is_encoder_decoder=kind == "bart")
    if found:
        assert heads.kind(config) == found
        return
    with pytest.raises(ValueError, match=rf"Unrecognized architecture '{kind}' \({name}\): .*families: bert, distil"):
        heads.kind(config)


def test_encoders_take_no_adapters(tmp_path):
    folder = guests.save_bare(tmp_path / "bert", "bert")
    with pytest.raises(ValueError, match="is an encoder, and adapters are put on decoders only: merge"):
        load(folder, adapters=("owner/adapter",))


def test_an_input_table_of_another_width_cannot_decode(tmp_path):
    config = SimpleNamespace(model_type="bert", hidden_size=64)
    table = torch.nn.Embedding(320, 32)
    model = SimpleNamespace(config=config, get_input_embeddings=lambda: table)
    with pytest.raises(ValueError, match=r"mine holds no head, and its input table is \[320, 32\]: .*64 values. Name"):
        heads.of_encoder(model, "mine", ["cls.predictions.bias"])


def test_half_a_head_is_none(tmp_path):
    folder = tmp_path / "bert"
    guests.save_bare(folder, "bert", head=True)
    weights = load_file(folder / "model.safetensors")
    save_file({k: w for k, w in weights.items() if "transform.dense" not in k}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    assert load(folder).decodes == "input table (no head in the folder)"


def test_an_encoder_with_a_weight_missing_is_refused(tmp_path):
    for kind, key in (("bert", "encoder.layer.1.output.dense.bias"), ("t5", "encoder.final_layer_norm.weight")):
        folder = tmp_path / kind
        guests.save_bare(folder, kind)
        weights = load_file(folder / "model.safetensors")
        assert weights.pop(key) is not None
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"not those of its config.json: .*{key} is missing"):
            load(folder)


@pytest.mark.parametrize("h, message", [
    (np.ones((2, 5), dtype=np.float32), r"h must be \[n, 32\], as .* pooled\(texts\) gives it; got \(2, 5\)"),
    (np.ones((2, 32), dtype=int), "h must hold floating-point numbers"),
    (np.full((2, 32), np.nan, dtype=np.float32), r"h hold NaN or infinity in row\(s\) \[0, 1\]"),
])  # fmt: skip
def test_what_is_read_out_are_hidden_states(tmp_path, h, message):
    made = Embedder(registry.EmbedderSpec("a", str(tmp_path)), Backbone(tiny.save(tmp_path, "llama")))
    with pytest.raises(ValueError, match=message):
        made.readout(h)


def test_a_gpu_that_is_not_there_is_named():
    for device in {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.items():
        if not device[1]:
            with pytest.raises(ValueError, match=f"device '{device[0]}': PyTorch finds no such GPU here"):
                load("smollm2", device=device[0])
