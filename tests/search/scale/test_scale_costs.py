"""Costs at scale: numbers of parameters and operations against real models, the account against sums by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
import transformers as t

from course_utils.models import registry
from course_utils.models.backbone import Backbone
from course_utils.search.costs import encoder_costs
from course_utils.search.scale import architectures, costs, estimate, measured
from course_utils.search.scale.architectures import Architecture
from course_utils.search.scale.costs import Plan, Prices, Rate

CONFIGS = {
    "llama": t.LlamaConfig,
    "mistral": t.MistralConfig,
    "gemma3": t.Gemma3TextConfig,
    "gpt_neo": t.GPTNeoConfig,
    "opt": t.OPTConfig,
}


def config(a: Architecture):
    """The configuration that transformers knows for these numbers."""
    common = {"vocab_size": a.vocabulary, "hidden_size": a.width, "tie_word_embeddings": a.tied}
    if a.family == "gpt_neo":
        kinds = [[["global", "local"], a.layers // 2]]
        old = {"num_layers": a.layers, "num_heads": a.heads, "intermediate_size": a.inner, "attention_types": kinds}
        return CONFIGS[a.family](**common, **old, max_position_embeddings=a.positions)
    if a.family == "opt":
        old = {"num_hidden_layers": a.layers, "num_attention_heads": a.heads, "ffn_dim": a.inner}
        more = {"word_embed_proj_dim": a.width, "max_position_embeddings": a.positions - 2}
        return CONFIGS[a.family](**common, **old, **more)
    return CONFIGS[a.family](
        **common,
        num_hidden_layers=a.layers,
        num_attention_heads=a.heads,
        num_key_value_heads=a.kv_heads,
        head_dim=a.head_width,
        intermediate_size=a.inner,
    )


@pytest.mark.parametrize("name", architectures.known())
def test_the_number_of_parameters_is_that_of_the_model_itself(name):
    a = architectures.of(name)
    with torch.device("meta"):  # no memory is taken, whatever the size
        model = t.AutoModelForCausalLM.from_config(config(a))
    assert model.num_parameters() == a.parameters


SMALL = {
    "llama": Architecture("x", "llama", 2, 32, 4, 2, 8, 48, 320, True),
    "mistral": Architecture("x", "mistral", 2, 32, 4, 2, 8, 48, 320, True),
    "gemma3": Architecture("x", "gemma3", 2, 32, 4, 2, 8, 48, 320, True),
    "gpt_neo": Architecture("x", "gpt_neo", 2, 32, 4, 4, 8, 128, 320, True, 512),
    "opt": Architecture("x", "opt", 2, 32, 4, 4, 8, 48, 320, True, 514),
}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_operations_are_counted_as_in_a_model_at_hand(family, tmp_path):
    backbone = Backbone(tiny.save(tmp_path / family, family))
    assert SMALL[family].encoder() == encoder_costs(backbone)
    assert SMALL[family].parameters == backbone.causal.num_parameters()


def test_operations_of_a_text_by_hand():
    a = Architecture("x", "llama", 1, 2, 1, 1, 2, 3, 5, True)
    block = 4 * 2 * 2 + 3 * 2 * 3  # query, key, value and output, and three products of the feed-forward part
    assert a.block == block
    # Three tokens: six pairs, each a product of query and key and one of weight and value; the output layer once.
    assert a.flops(3) == 2 * (3 * block + 6 * 2 * 2 + 5 * 2)


def test_the_papers_eight_are_all_known_and_others_are_refused_by_name():
    assert len(registry.PAPER) == 8
    assert [round(architectures.of(n).parameters / 1e9, 1) for n in registry.PAPER] == [1.3] * 4 + [6.7] * 2 + [7.2] * 2
    assert architectures.of("smol-grit").name == "smollm2"
    with pytest.raises(ValueError, match=r"numbers of 'owner/name' are not in architectures.json; it has smollm2"):
        architectures.of("owner/name")
    with pytest.raises(ValueError, match="no embedder called 'smol'"):
        architectures.of("smol")


# The account --------------------------------------------------------------------------------------------------------

A = Architecture("x", "llama", 1, 10, 1, 1, 10, 10, 100, True)
FREE = Prices(0, 0, 0, "today")


def test_an_account_is_what_a_hand_computes():
    each = A.flops(20) / 1000
    plan = Plan(1000, tokens=20, k=50, workers=4, load_seconds=3, ram_gb=1e-4, sort_gb=1e-5, share=0.2)
    a = costs.account(plan, A, Rate(1000, "measured"), Prices(2.0, 9.0, 5.0, "today"))
    assert a.encode_seconds == pytest.approx(4 * 3 + 1000 * each)
    assert a.elapsed_seconds == pytest.approx(3 + 250 * each)
    assert (a.dense_bytes, a.sparse_bytes) == (4 * 10 * 1000, 8 * 50 * 1000)
    assert a.machines == 4 and a.merged_scores == 10 * 4 * 2  # 400 kB on machines of 100 kB
    assert a.merges == 2  # 40 runs of 10 kB: three after the first merge of 16, one after the second
    assert a.postings_read == pytest.approx(1000 * 0.2 * 50 / 128) and a.known == "measured"
    assert a.build_cost == pytest.approx(a.encode_seconds / 3600 * 2)
    assert a.month_cost == pytest.approx(4 * 1e-4 * 5)  # four whole machines, full or not
    gpu = costs.account(plan, A, Rate(1000, "assumed"), Prices(2.0, 9.0, 5.0, "today"), gpu=True)
    assert gpu.build_cost == pytest.approx(a.encode_seconds / 3600 * 9)


def test_what_stays_flat_and_what_does_not():
    table = costs.per_document([10**i for i in range(2, 10)], A, Rate(1e6, "measured"), FREE, k=128, load_seconds=10)
    assert (np.diff(table["encode s"]) <= 0).all()  # loading is shared by more documents
    assert table["encode s"].iloc[-1] == pytest.approx(A.flops(100) / 1e6, rel=1e-4)
    assert table["sparse bytes"].nunique() == table["dense bytes"].nunique() == 1
    assert table["machines"].iloc[-1] == 16 > table["machines"].iloc[0] == 1
    assert table["merges"].is_monotonic_increasing and table["merges"].iloc[-1] == 2
    assert np.allclose(table["postings a query"] / table["documents"], 0.1)


@pytest.mark.parametrize(
    ("size", "memory", "fan_in", "passes"),
    [(0, 5, 16, 0), (5, 5, 16, 0), (6, 5, 16, 1), (80, 5, 16, 1), (81, 5, 16, 2), (10, 1, 2, 4), (8, 1, 2, 3)],
)
def test_merges_step_up_with_the_logarithm(size, memory, fan_in, passes):
    assert costs.merges(size, memory, fan_in) == passes


def test_the_largest_k_fits_and_one_more_does_not():
    for budget, documents in ((10**9, 10**6), (79, 10), (80, 10), (0, 3)):
        k = costs.largest_k(budget, documents)
        assert 8 * k * documents <= budget < 8 * (k + 1) * documents


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Plan(0), "documents must be at least 1; got 0"),
        (lambda: Plan(1.5), "documents must be a whole number"),
        (lambda: Plan(10, tokens=0), "tokens must be larger than 0"),
        (lambda: Plan(10, share=-1), "share must be 0 or more"),
        (lambda: Plan(10, ram_gb=float("nan")), r"ram_gb\[0\] is nan"),
        (lambda: Prices(-1, 0, 0, "today"), "core_hour must be 0 or more"),
        (lambda: costs.merges(5, 0), "memory must be larger than 0"),
        (lambda: costs.merges(5, 1, 1), "fan_in must be at least 2"),
        (lambda: costs.largest_k(-1, 5), "budget_bytes must be 0 or more"),
        (lambda: estimate.estimate("GritLM", tflops=0), "tflops and tokens must be larger than 0"),
    ],
)
def test_numbers_that_are_no_plan_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.5, "0.5 s"), (119, "119 s"), (150, "2.5 min"), (7200, "2 hours"), (3 * 86400, "3 days"), (1e9, "32 years")],
)
def test_seconds_are_readable(seconds, said):
    assert costs.readable_seconds(seconds) == said


def test_bytes_are_readable():
    sizes = [0, 999, 1000, 2.304e9, 1e12, 5e15]
    assert [costs.readable_bytes(s) for s in sizes] == ["0 bytes", "999 bytes", "1 kB", "2.3 GB", "1 TB", "5 PB"]


# What was measured --------------------------------------------------------------------------------------------------


def row(what, name, documents, seconds, flops, threads=1):
    numbers = {"documents": documents, "tokens": 10 * documents, "seconds": seconds, "flops": flops, "load_seconds": 1}
    return {"what": what, "name": name, "threads": threads, **numbers}


MEASURED = {
    "rows": [
        row("model", "smol-eol", 4, 2.0, 100),
        row("model", "smol-eol", 16, 4.0, 400),  # 100 a second: the larger one counts
        row("block", "smollm2", 8, 1.0, 125),
        row("block", "llama-7b", 8, 2.0, 300),
        row("block", "gemma3", 8, 2.0, 300, threads=2),
    ]
}


def test_a_measured_model_counts_before_its_block_and_a_block_is_corrected():
    of = architectures.of
    assert costs.rate(MEASURED, of("smollm2")) == Rate(100, costs.MEASURED)
    assert costs.whole_over_blocks(MEASURED) == {"smollm2": 0.8}
    assert costs.rate(MEASURED, of("llama-7b")) == Rate(pytest.approx(0.8 * 150), costs.ONE_BLOCK)
    assert costs.rate(MEASURED, of("gemma3"), threads=2) == Rate(150, costs.ONE_BLOCK)  # nothing to correct with
    with pytest.raises(ValueError, match=r"gemma3 was not measured with 1 thread\(s\): several-tokens scale measure"):
        costs.rate(MEASURED, of("gemma3"))


def test_curves_hold_measured_points_and_extrapolated_lines():
    models = {"small": architectures.of("smollm2"), "large": architectures.of("llama-7b")}
    lines, points = costs.curves(MEASURED, models, [1, 100], tokens=10)
    assert list(points.itertuples(index=False, name=None)) == [
        ("small", 4, 3 / 3600, costs.MEASURED),
        ("small", 16, 5 / 3600, costs.MEASURED),
    ]
    hours = lines.set_index(["model", "documents"]).hours * 3600
    assert hours["small", 100] == pytest.approx(1 + 100 * models["small"].flops(10) / 100)
    assert hours["large", 1] == pytest.approx(10 + models["large"].flops(10) / 120)
    assert list(lines.known) == [costs.MEASURED] * 2 + [costs.ONE_BLOCK] * 2


def test_one_block_does_the_work_that_is_counted():
    """The block that is timed holds exactly the weights that the formula counts."""
    for family, a in SMALL.items():
        model = measured._one_block(a)
        linear = [m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)]
        assert sum(linear) == a.block, family


@pytest.mark.slow
def test_measuring_gives_rows_for_models_and_blocks_and_puts_the_threads_back(tmp_path):
    before, told = torch.get_num_threads(), []
    found = measured.measure(("smol-eol",), (1, 2), ("smollm2",), threads=(1,), report=told.append)
    assert torch.get_num_threads() == before
    assert [(r["what"], r["documents"]) for r in found["rows"]] == [("model", 1), ("model", 2), ("block", 8)]
    assert len(told) == 3 and all("GFLOP/s" in line for line in told)
    for r in found["rows"][:2]:
        a, n = architectures.of("smollm2"), r["tokens"] / r["documents"]
        assert r["flops"] == pytest.approx(r["documents"] * (a.flops(n) - 2 * a.table), rel=0.02)
    path = measured.write(found, tmp_path / "m.json")
    assert measured.stored(path)["rows"] == found["rows"]
    assert [r["docs_per_second"] for r in measured.stored(path)["gpu"]] == [None] * 3


def test_a_new_measurement_keeps_the_rows_of_a_gpu(tmp_path):
    path = tmp_path / "m.json"
    gpu = [{"what": "gpu", "name": "smollm2", "dtype": "bfloat16", "docs_per_second": 1234.5}]
    measured.write({"rows": [], "gpu": gpu}, path)
    measured.write({"rows": ["new"]}, path)
    assert measured.stored(path) == {"rows": ["new"], "gpu": gpu}


def test_the_stored_measurement_is_whole_and_recomputes():
    found = measured.stored()
    assert set(found["machine"]) == {"processor", "instructions", "cores", "torch"} and found["date"]
    names = {(r["what"], r["name"]) for r in found["rows"] if r["threads"] == 1}
    assert {("model", "smol-sgpt-nli"), ("block", "llama-7b"), ("block", "facebook/opt-1.3b")} <= names
    for r in found["rows"]:
        a, n = architectures.of(r["name"]), r["tokens"] / r["documents"]
        each = a.flops(n) - 2 * a.table
        expected = r["documents"] * (each if r["what"] == "model" else each / a.layers)
        assert r["flops"] == pytest.approx(expected, rel=0.05)  # texts differ in length, attention is not linear


def test_paragraphs_are_short_spread_out_and_always_the_same():
    some = measured.paragraphs(30)
    assert len(some) == 30 and some == measured.paragraphs(30)
    assert max(len(text.split()) for text in some.values()) <= 80
    with pytest.raises(ValueError, match="n must lie between 1 and the"):
        measured.paragraphs(10**6)


# The estimate -------------------------------------------------------------------------------------------------------


def test_an_estimate_says_what_is_enough():
    grit = estimate.estimate("GritLM", texts=10, tokens=20, tflops=1)
    assert grit.weights["float32"] == 4 * grit.parameters and grit.weights["bfloat16"] == 2 * grit.parameters
    assert grit.weights["4bit"] < grit.weights["int8"] < grit.weights["bfloat16"]
    for precision, gb in grit.gpu_gb.items():
        smaller = [g for g in estimate.GPU_GB if g < gb]
        assert gb * 1e9 >= grit.peak[precision] > grit.weights[precision] and all(
            g * 1e9 < grit.peak[precision] for g in smaller
        )
    assert grit.gpu_gb["bfloat16"] == 24 and not grit.second
    a = architectures.of("GritLM")
    assert grit.seconds == pytest.approx(2 * 10 * a.flops(20) / 1e12)  # the embedder and its base model


def test_an_estimate_counts_the_second_model_that_an_output_layer_comes_from():
    sgpt, opt = estimate.estimate("SGPT-nli"), estimate.estimate("OPT-EOL")
    assert sgpt.second == "EleutherAI/gpt-neo-1.3B" and not opt.second
    assert sgpt.peak["bfloat16"] - opt.peak["bfloat16"] == pytest.approx(4 * sgpt.parameters, rel=0.01)


def test_an_estimate_is_told_as_one_for_all_eight(capsys):
    for name in registry.PAPER:
        estimate.tell(name, 200, 40, 100)
        said = capsys.readouterr().out
        assert ("(16 GB just not, within what we assumed)" in said) == (name in ("GritLM", "LLM2Vec")), said
        assert f"audit {name} --dtype int8 or 4bit quantises" in said
        assert "nothing was fetched" in said and "an assumption" in said and said.count("GPU with") >= 3


def test_what_no_single_gpu_holds_is_said(monkeypatch):
    huge = Architecture("llama-7b", "llama", 320, 8192, 64, 64, 128, 28672, 32000, False)
    monkeypatch.setattr(architectures, "of", lambda name: huge)
    found, said = estimate.estimate("LLaMA-EOL"), []
    assert found.gpu_gb["bfloat16"] is None
    estimate.tell("LLaMA-EOL", 200, 40, 100, said.append)
    assert any("more than 141 GB: spread it over several GPUs" in line for line in said)


def test_counting_loads_neither_torch_nor_ray():
    code = (
        "import sys; from course_utils.search.scale import architectures, build, costs, estimate, handover\n"
        "from course_utils.search.scale import measured, parts\n"
        "costs.rate(measured.stored(), architectures.of('smollm2')); estimate.estimate('GritLM')\n"
        "print(sorted({'torch', 'ray', 'transformers', 'qdrant_client'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_numbers_of_the_architectures_are_plain_json():
    stored = json.loads(architectures.FILE.read_text(encoding="utf-8"))
    assert set(stored["same"].values()) <= set(stored["models"])
