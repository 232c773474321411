"""The page "Your own sentence": its script computes what the course computes, with and without the model beside it."""

import functools
import http.server
import json
import os
import random
import re
import shutil
import sys
import threading
import time

import inspection
import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from repo import ROOT
from test_site import DARKEN, PHONE, WIDE, Visit

from course_utils.measures.alignment import content_tokens, special_ids, surface_tokens, top_tokens
from course_utils.measures.spectrum import components, shift
from course_utils.models.embedder import load_family
from course_utils.models.pooling import POOLINGS
from course_utils.shipped import arrays
from course_utils.teaching.explorers import landing
from course_utils.teaching.explorers.page import own_tokens, spelled
from course_utils.teaching.figures.tokens import kinds

sys.path.insert(0, str(ROOT / "tools"))

import live
import live_graph
import npm

SCRIPT = ROOT / "docs" / "site" / "_static" / "live.js"
#: Sentences that nobody tuned anything on; the last is cut on the page.
TYPED = (
    "Crocodiles sleep with one eye open.",
    "Der Zug nach Zürich hatte 45 Minuten Verspätung.",
    "  It's 3 p.m. — the café 😀 isn't open yet!  ",
    "今天天气很好",
    "word " * 150,
)


# --- Weights and graph ----------------------------------------------------------------------------


def unpacked(q: np.ndarray, scale: np.ndarray, low: np.ndarray) -> np.ndarray:
    """What the packed numbers stand for, from their description alone."""
    halves = np.stack([q & 15, q >> 4], axis=-1).reshape(*q.shape[:2], -1).astype(np.float32)
    blocks = halves * scale[..., None].astype(np.float32) + low[..., None].astype(np.float32)
    return blocks.reshape(len(q), -1)


@pytest.fixture(scope="session")
def family():
    return load_family([landing.ORIGIN, landing.TRAINED])


def test_four_bits_are_as_near_as_sixteen_steps_between_the_ends_can_be():
    weight = np.random.default_rng(0).normal(size=(6, 96)).astype(np.float32)
    weight[0, :32] = 0.25  # no step at all
    packed = live_graph.four_bits(weight)
    step = np.repeat(np.ptp(weight.reshape(6, 3, 32), axis=-1) / 15, 32, axis=1)
    assert packed[0].shape == (6, 3, 16) and packed[0].dtype == np.uint8
    assert (np.abs(unpacked(*packed) - weight) <= 0.52 * step + 2e-3).all()
    assert np.abs(unpacked(*packed)[0, :32] - 0.25).max() == 0
    with pytest.raises(live_graph.GraphError, match="multiple of 32"):
        live_graph.four_bits(weight[:, :40])
    with pytest.raises(live_graph.GraphError, match="too large"):
        live_graph.four_bits(weight * 1e6)


def test_the_default_model_loses_nothing(family):
    """The page says so: it was stored with four bits in its blocks and eight in its table."""
    weights = dict(family[landing.ORIGIN].backbone.transformer.named_parameters())
    blocks = {n: w.numpy() for n, w in weights.items() if w.ndim == 2 and "layers." in n and "lora" not in n}
    assert len(blocks) == 7 * 30
    lossy = [name for name, weight in blocks.items() if (unpacked(*live_graph.four_bits(weight)) != weight).any()]
    table = family[landing.ORIGIN].unembedding.numpy()
    q, scale = live_graph.eight_bits(table)
    assert not lossy
    assert (q.reshape(len(q), -1, 32) * scale[..., None]).reshape(table.shape).tobytes() == table.tobytes()


def small_llama(seed: int = 0):
    """A Llama with three heads for each key, whose weights fit into four bits, and LoRA for some of them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 96, "intermediate_size": 64, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=50, num_hidden_layers=2, initializer_range=0.3, rope_theta=1000.0, **sizes)
    model = LlamaForCausalLM(config).eval()
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "layers." in name:
            weight.data = torch.from_numpy(unpacked(*live_graph.four_bits(weight.detach().numpy())))
        elif weight.ndim == 1:
            weight.data = 1 + 0.3 * torch.randn_like(weight)
    draw = np.random.default_rng(seed).normal
    weights = {n: w.detach().numpy().copy() for n, w in model.named_parameters()}
    lora = {n: (0.2 * draw(size=(4, w.shape[1])), 0.2 * draw(size=(len(w), 4)), 1.5)
            for n, w in weights.items() if w.ndim == 2 and "layers." in n and "k_proj" not in n}  # fmt: skip
    return model, weights, {n: (A.astype(np.float16), B.astype(np.float16), s) for n, (A, B, s) in lora.items()}


def test_the_graph_does_what_the_model_does_without_and_with_an_adapter():
    onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install -e ".[live]"')
    model, weights, lora = small_llama()
    graph = live_graph.blocks_graph(model.config, weights.get, lora.get).SerializeToString()
    session = onnxruntime.InferenceSession(graph)
    for length in (1, 2, 17):
        ids = torch.randint(50, (1, length))
        (states,) = session.run(None, {"embedded": weights["model.embed_tokens.weight"][ids[0].numpy()][None]})
        expected = []
        for trained in (False, True):
            changed = {n: torch.from_numpy(weights[n].copy()) for n in lora}
            for name, (A, B, s) in lora.items() if trained else ():
                changed[name] += s * torch.from_numpy(B.astype(np.float32) @ A.astype(np.float32))
            model.load_state_dict(changed, strict=False)
            with torch.inference_mode():
                expected.append(model.model(ids).last_hidden_state[0].numpy())
        assert states.shape == (2, length, 96)
        assert np.abs(states - np.stack(expected)).max() < 1e-4 * np.abs(expected).max()
        assert np.abs(expected[0] - expected[1]).max() > 0.01
    model.config.model_type = "gpt2"
    with pytest.raises(live_graph.GraphError, match="only Llama"):
        live_graph.blocks_graph(model.config, weights.get, lora.get)


# --- The script -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def known(family) -> dict:
    embedder = family[landing.ORIGIN]
    return live.vocabulary(embedder.tokenizer, len(embedder.unembedding))


@pytest.fixture(scope="session")
def script(chrome, known):
    """An empty page with the script of the live one and the tokenizer's data."""
    page = chrome.new_page()
    page.add_script_tag(path=SCRIPT)
    page.evaluate("(known) => { window.known = known; window.cut = SeveralTokens.tokenizer(known); }", known)
    yield page
    page.close()


def varied_sentences(n: int = 500) -> list[str]:
    """Sentences of everything that may stand in one, put together by chance."""
    draw = random.Random(7)
    pieces = [
        *landing.SENTENCES.read_text(encoding="utf-8").split(),
        *("antidisestablishmentarianism", "XVII", "SHOUTED", "iPhone", "kilometre-long"),
        *("it's", "they'll", "I'd", "WE'RE", "don't", "'tis", "naïve", "Zürich", "e\u0301te\u0301", "ÅNGSTRÖM", "ﬁne"),
        *("今天天气很好", "日本語のテキスト", "한국어", "Привет", "مرحبا", "नमस्ते", "ไทย", "ελληνικά", "עברית"),
        *(
            "😀",
            "👩‍👩‍👧",
            "🇨🇭",
            "☕️",
            "—",
            "…",
            "“quoted”",
            "!?",
            "::",
            "a_b-c",
            "https://example.org/x?y=1",
            "C++",
            "#1",
        ),
        *("3", "1987", "3.14", "１２", "²", "½", "Ⅷ", "١٢٣", "1,000,000", "2e-5"),
        *("\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\x85", "\ufeff", "\x1f", "\x00", "  ", "    "),
        *("<|endoftext|>", "<|im_start|>", "<repo_name>x", "<|im_", "\U0010ffff", "\u0378", "\ue000"),
    ]
    made = ("".join(draw.choice(pieces) + draw.choice(["", " ", " ", "  "]) for _ in range(draw.randint(1, 14)))
            for _ in range(10 * n))  # fmt: skip
    return list(dict.fromkeys(text for text in made if text.strip()))[:n]


@pytest.mark.browser
def test_the_script_cuts_texts_into_the_same_tokens(family, script):
    tokenizer, texts = family[landing.ORIGIN].tokenizer, varied_sentences()
    found = script.evaluate("(texts) => texts.map(cut)", texts)
    expected = [tokenizer(text)["input_ids"] for text in texts]
    assert len(texts) == 500 and len({i for ids in expected for i in ids}) > 400
    wrong = [text for text, ours, theirs in zip(texts, found, expected, strict=True) if ours != theirs]
    assert not wrong, f"{len(wrong)} of {len(texts)} differ, such as {wrong[:3]!r}"


@pytest.mark.browser
def test_the_script_knows_what_a_token_has_to_do_with_a_text(family, known, script):
    tokenizer, draw = family[landing.ORIGIN].tokenizer, np.random.default_rng(3)
    special = set(known["special"])
    for text in ("The releases were repaired by the museums.", "Crocodiles SLEEP; sleeping crocodile", "今天天气很好"):
        own = [i for i in dict.fromkeys(tokenizer(text)["input_ids"]) if i not in special]
        near = [i for i in range(17, 49152) if known["stems"][i] in {known["stems"][j] for j in own}]
        asked = [*near[:200], *draw.integers(17, 49152, 200).tolist()]
        found = script.evaluate("([tokens, own]) => SeveralTokens.kinds(known, tokens, own)", [asked, own])
        assert found == [kind[0] for kind in kinds(spelled(tokenizer, asked), own_tokens(tokenizer, text))], text
    assert [i for i, mark in enumerate(known["content"]) if mark == "1"] == content_tokens(
        tokenizer, [np.arange(len(known["content"]))]
    )[0].tolist()


@pytest.mark.browser
@pytest.mark.parametrize("pooling", ["mean", "weighted_mean"])
def test_the_script_pools_looks_up_and_decodes_as_the_course_does(script, pooling):
    draw = np.random.default_rng(5)
    table, states = draw.normal(size=(40, 64)).astype(np.float32), draw.normal(size=(2, 5, 64)).astype(np.float32)
    q, scale = live_graph.eight_bits(table)
    exact = (live_graph.blocks(q) * scale[..., None]).reshape(40, 64)
    rows, embedding, logits, best = script.evaluate(
        """([bytes, states, pooling]) => {
             const table = SeveralTokens.readTable(new Uint8Array(bytes).buffer, 64);
             const h = SeveralTokens.pool(states, 5 * 64, 5, 64, pooling), logits = SeveralTokens.decode(table, h);
             const slopes = SeveralTokens.decode(table, states.slice(0, 64));
             return [[...SeveralTokens.lookUp(table, [3, 0, 39])], [...h], [...logits],
                     SeveralTokens.best(logits, slopes, -0.5, 7, new Set([2, 5]))];
           }""",
        [list(scale.tobytes() + q.tobytes()), states.ravel().tolist(), pooling],
    )
    h = POOLINGS[pooling](torch.from_numpy(states[1:]), torch.ones(1, 5))[0].numpy()
    assert np.allclose(rows, exact[[3, 0, 39]].ravel(), atol=1e-6)
    assert np.allclose(embedding, h, atol=1e-5) and np.allclose(logits, exact @ h, atol=1e-4)
    assert best == top_tokens((h - 0.5 * states[0, 0])[None], exact, 7, [2, 5])[0][0].tolist()


# --- What is fetched and where it goes ------------------------------------------------------------


def test_a_package_that_was_changed_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a-1.0.0.tgz").write_bytes(b"something else")
    with pytest.raises(npm.NpmError, match="not a@1.0.0 as it was published"):
        npm.package("a@1.0.0", live.SHA512, tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(npm.NpmError, match="install Node.js, or put b-2.0.0.tgz into"):
        npm.package("b@2.0.0", live.SHA512, tmp_path)


def test_a_folder_without_the_page_is_refused(tmp_path, capsys):
    assert live.main(["--site", str(tmp_path)]) == 1
    assert "build the site first, make site LIVE=1" in capsys.readouterr().err
    (tmp_path / live.PAGE).write_text('<div data-settings="{}">', encoding="utf-8")
    assert live.main(["--site", str(tmp_path)]) == 1
    assert "live already" in capsys.readouterr().err


# --- The page -------------------------------------------------------------------------------------


@pytest.mark.browser
def test_without_the_model_the_page_says_how_to_get_it(chrome, address):
    opened = Visit(chrome, address, WIDE)
    page = opened.open("live.html")
    expect(page.locator("#live")).to_contain_text("make site LIVE=1")
    assert page.locator("#live button").count() == 0
    assert opened.foreign == [] and opened.complaints == []
    opened.open("index.html").get_by_role("link", name="Type a sentence of your own").click()
    expect(opened.page.locator("article h1")).to_contain_text("Your own sentence")
    opened.context.close()


@pytest.fixture(scope="module")
def live_address(site, tmp_path_factory):
    """The site with the model beside it, served on this machine. COURSE_LIVE_SITE=FOLDER names one that has it."""
    folder = os.environ.get("COURSE_LIVE_SITE")
    if not folder:
        for name in ("onnx", "onnxruntime"):
            pytest.importorskip(name, reason='needs pip install -e ".[live]"')
        if not (live.NPM / f"{live.RUNTIME.replace('@', '-')}.tgz").is_file():
            pytest.skip(f"{live.RUNTIME} is not here yet; make site LIVE=1 fetches it")
        folder = tmp_path_factory.mktemp("live") / "site"
        shutil.copytree(site, folder, ignore=shutil.ignore_patterns("notebooks", "_sources", "figures"))
        began = time.perf_counter()
        assert live.main(["--site", str(folder)]) == 0
        print(f"made live in {time.perf_counter() - began:.0f} s")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def opened(chrome, live_address):
    """The live page, loaded by keyboard; how long it took is printed."""
    visit = Visit(chrome, live_address, WIDE)
    page = visit.open("live.html")
    page.set_default_timeout(inspection.PATIENCE_MS)
    button = page.get_by_role("button", name=re.compile(r"Load the model \(\d+ MB\)"))
    button.focus()
    began = time.perf_counter()
    page.keyboard.press("Enter")
    page.wait_for_selector("#live[data-state=ready]", timeout=3 * inspection.PATIENCE_MS)
    print(f"from the button to the first tokens: {time.perf_counter() - began:.1f} s")
    yield visit
    assert visit.foreign == [] and visit.complaints == []
    visit.context.close()


def chips(page, box: str) -> list[str]:
    return page.locator(f"#live-{box} .finding-chip").evaluate_all("all => all.map(chip => chip.textContent)")


def expected(embedder, embedding: np.ndarray) -> list[str]:
    """The ten tokens of an embedding as chips show them, best first."""
    special = special_ids(embedder.tokenizer, len(embedder.unembedding))
    tokens = spelled(embedder.tokenizer, top_tokens(embedding[None], embedder.unembedding, landing.K, special)[0][0])
    return [f"␣{token[1:]}" if token.startswith("_") else token for token in tokens]


def type_and_wait(page, text: str):
    """Type a text by keyboard in the place of the one that is there, and wait for its tokens."""
    page.get_by_label("Your sentence").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Enter")
    said = page.locator("#live-said")
    expect(said).to_contain_text("Computing")
    expect(said).to_contain_text("Content words", timeout=inspection.PATIENCE_MS)


@pytest.mark.browser
def test_a_typed_sentence_decodes_to_the_tokens_that_the_course_gives(opened, family):
    page, agreed = opened.page, []
    licence = page.request.get(f"{opened.address}/_static/live/LICENSE.txt")
    assert "Apache License" in licence.text()
    assert page.evaluate("document.activeElement.id") == "live-text"
    for text in TYPED:
        type_and_wait(page, text)
        kept = family[landing.ORIGIN].tokenizer(text.strip())["input_ids"][: live_graph.LONGEST]
        cut = family[landing.ORIGIN].tokenizer.decode(kept)
        for box, name in (("untrained", landing.ORIGIN), ("trained", landing.TRAINED)):
            own = spelled(family[name].tokenizer, kept)
            assert page.locator("#live-cut .finding-chip").count() == len(own)
            shown, wanted = chips(page, box), expected(family[name], family[name].encode([cut])[0])
            assert len(shown) == landing.K
            agreed.append(len(set(shown) & set(wanted)))
    assert "Only its first 128 tokens were read" in page.locator("#live-said").inner_text()
    print("tokens shared with Python, of ten:", agreed)
    assert np.mean(agreed) > 9.5 and min(agreed) >= 8


@pytest.mark.browser
def test_the_slider_moves_the_embedding_and_the_words_are_counted(opened, family):
    page, text, embedder = opened.page, TYPED[0], family[landing.ORIGIN]
    type_and_wait(page, text)
    u = components(arrays.load("sentences", landing.ORIGIN)).directions[0]
    page.get_by_role("button", name="as far as training went").press("Enter")
    amount = float(page.get_by_label("λ, a step").input_value())
    h = embedder.encode([text])
    assert amount < -5
    assert len(set(chips(page, "untrained")) & set(expected(embedder, shift(h, u, amount)[0]))) >= 9
    (own,) = content_tokens(embedder.tokenizer, surface_tokens(embedder.tokenizer, [text]))
    words = {f"␣{token[1:]}" if token.startswith("_") else token for token in spelled(embedder.tokenizer, own)}
    counts = [len(words & set(chips(page, box))) for box in ("untrained", "trained")]
    said = page.locator("#live-said").inner_text()
    assert re.search(rf": {counts[0]} before training at λ = −[\d.]+, {counts[1]} after it\.", said), said
    page.get_by_label("λ, a step").focus()
    page.keyboard.press("Home")
    assert len(set(chips(page, "untrained")) & set(expected(embedder, shift(h, u, landing.LOWEST)[0]))) >= 9


@pytest.mark.browser
def test_what_cannot_be_decoded_is_said(opened):
    page = opened.page
    page.get_by_label("Your sentence").fill("   ")
    page.keyboard.press("Enter")
    expect(page.locator("#live-said")).to_have_text("Type a sentence first.")


@pytest.mark.browser
def test_the_loaded_page_keeps_nobody_out(opened):
    page = opened.page
    type_and_wait(page, TYPED[0])
    page.add_style_tag(content=inspection.STILL)
    page.evaluate(inspection.AXE_SCRIPT)
    assert inspection.violations(page)[0] == []
    opened.keep("live_light")
    page.evaluate(DARKEN)
    assert inspection.violations(page, inspection.CONTRAST)[0] == []
    opened.keep("live_dark")
    page.set_viewport_size(PHONE)
    assert page.evaluate(inspection.TOO_WIDE) == []
    opened.keep("live_phone_dark", whole=True)
    page.evaluate("() => Object.assign(document.documentElement.dataset, {theme: 'light', mode: 'light'})")
    opened.keep("live_phone_light", whole=True)
    page.set_viewport_size(WIDE)


@pytest.mark.browser
def test_a_file_that_is_not_whole_is_said_and_can_be_tried_again(chrome, live_address):
    visit = Visit(chrome, live_address, WIDE)
    page = visit.open("live.html")
    page.route("**/tokens.json*", lambda route: route.fulfill(body=json.dumps({})))
    page.get_by_role("button", name="Load the model").click()
    expect(page.locator("#live")).to_contain_text("This did not work", timeout=inspection.PATIENCE_MS)
    expect(page.get_by_role("button", name="Load the model")).to_be_enabled()
    visit.context.close()
