"""Make the page "Your own sentence" of a built site live: put a model beside it that the visitor's browser runs.

    python tools/live.py [--site build/site]

The untrained model and the embedder made from it become one graph (`tools/live_graph.py`); the table of tokens, with
eight bits a value, and all that is known of a token become files of their own, which the page's script reads. The
graph is compared with the model in PyTorch first: where the two do not agree, nothing is written. onnxruntime-web comes
from its npm package, once, checked against the checksum below.
"""

import argparse
import hashlib
import html
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

import live_graph
import npm
from site_sources import ROOT

sys.path.insert(0, str(ROOT))

from course_utils import gates

SITE, NPM = ROOT / "build" / "site", ROOT / "build" / "npm"
PAGE, FOLDER, GAP = "live.html", Path("_static", "live"), 'data-settings=""'
RUNTIME = "onnxruntime-web@1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
PARTS = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
#: What the graph must reach on the sentences of the first page: the smallest cosine, the mean number of shared tokens.
LEAST_COSINE, LEAST_SHARED = 0.99, 8.0


class LiveError(RuntimeError):
    """The page cannot be made live; the message says what to do."""


# --- What the page's script reads -----------------------------------------------------------------


def vocabulary(tokenizer, rows: int) -> dict:
    """Everything the script has to know of a byte-level BPE tokenizer and its tokens.

    Returns:
        ``bytes``: the token of each byte, −1 for none; ``merges``: left, right and merged token, one after the other,
        best first; ``added``: tokens that are found in a text before anything else; ``shown``: every token as people
        read it; ``stems``: tokens of one stem share a number, 0 is no stem; ``content``: 1 for content words;
        ``special``: tokens that are never shown.

    Raises:
        LiveError: a tokenizer of another kind.
    """
    from course_utils.measures import alignment
    from course_utils.teaching.explorers.page import spelled
    from course_utils.teaching.figures.tokens import stem

    made = json.loads(tokenizer.backend_tokenizer.to_str())
    model, before = made["model"], made["pre_tokenizer"] or {}
    if model["type"] != "BPE" or before.get("type") != "ByteLevel" or made["normalizer"] or before["add_prefix_space"]:
        raise LiveError("the script of the page knows byte-level BPE only; this tokenizer is of another kind")
    ids, numbers, shown = model["vocab"], {"": 0}, spelled(tokenizer, np.arange(rows))
    content = np.isin(np.arange(rows), alignment.content_tokens(tokenizer, [np.arange(rows)])[0])
    return {
        "bytes": [ids.get(_letter(byte), -1) for byte in range(256)],
        "merges": [ids[part] for left, right in model["merges"] for part in (left, right, left + right)],
        "added": {each["content"]: each["id"] for each in made["added_tokens"]},
        "shown": shown,
        "stems": [numbers.setdefault(stem(token), len(numbers)) for token in shown],
        "content": "".join(map(str, content.astype(int))),
        "special": alignment.special_ids(tokenizer, rows),
    }


def _letter(byte: int) -> str:
    """The letter that stands for a byte in byte-level BPE: itself where it can be printed, otherwise one of its own."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [each for each in range(256) if each not in plain]
    return chr(byte) if byte in plain else chr(256 + others.index(byte))


# --- Making and comparing -------------------------------------------------------------------------


def compared(graph: bytes, table: tuple, family: dict, sentences: list[str], direction: np.ndarray) -> dict:
    """What the graph gives for some sentences beside what the model gives.

    Returns:
        per model its smallest cosine, the mean number of shared tokens among the first ten, and ``chance``, how many
        of a sentence's ten are content words of another one on average: for the untrained model at the place of the
        slider where these are most, for the trained one as it is.

    Raises:
        LiveError: the two do not agree.
    """
    import onnxruntime
    import torch

    from course_utils.measures import alignment, spectrum
    from course_utils.models.pooling import POOLINGS
    from course_utils.teaching.explorers import landing

    options, tokenizer = onnxruntime.SessionOptions(), next(iter(family.values())).tokenizer
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options)
    q, scale = table
    packed = (live_graph.blocks(q) * scale[..., None]).reshape(q.shape)
    special, found = alignment.special_ids(tokenizer, len(q)), {name: [] for name in family}
    for sentence in sentences:
        (states,) = session.run(None, {"embedded": packed[tokenizer(sentence)["input_ids"]][None]})
        for row, (name, embedder) in enumerate(family.items()):
            hidden = torch.from_numpy(states[row : row + 1])
            found[name].append(POOLINGS[embedder.spec.pooling](hidden, torch.ones(hidden.shape[:2]))[0].numpy())
    content = alignment.content_tokens(tokenizer, alignment.surface_tokens(tokenizer, sentences))
    result = {"sentences": len(sentences), "models": {}}
    for name, embedder in family.items():
        exact, ours = embedder.encode(sentences), np.stack(found[name])
        cosine = (exact * ours).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(ours, axis=1)
        tops = [alignment.top_tokens(H, E, landing.K, special)[0]
                for H, E in ((exact, embedder.unembedding.numpy()), (ours, packed))]  # fmt: skip
        shared = np.mean([len(np.intersect1d(*rows)) for rows in zip(*tops, strict=True)])
        if cosine.min() < LEAST_COSINE or shared < LEAST_SHARED:
            raise LiveError(f"the graph does not do what {name} does: cosine {cosine.min():.3f} at the least, "
                            f"{shared:.1f} of {landing.K} tokens shared")  # fmt: skip
        steps = [0.0] if embedder.spec.origin else landing.positions()
        moved = (alignment.top_tokens(spectrum.shift(ours, direction, step), packed, landing.K, special)[0]
                 for step in steps)  # fmt: skip
        chance = max(_of_others(top, content) for top in moved)
        result["models"][name] = {"cosine": float(cosine.min()), "shared": float(shared), "chance": chance}
    return result


def _of_others(tops: np.ndarray, content: list[np.ndarray]) -> float:
    """How many of the tokens ``[n, k]`` of a text are content words of another one, on average."""
    counts = np.array([np.isin(tops, own).sum(axis=1) for own in content])
    return float(counts[~np.eye(len(counts), dtype=bool)].mean())


def make(site: Path, say: Callable[[str], None] = print) -> dict:
    """Write everything beside the page, and into the page what its script has to know; the settings.

    Raises:
        LiveError: no site, packages that are missing, or a model that does not become a graph.
    """
    page = site / PAGE
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if "data-settings=" not in text:
        raise LiveError(f"{site} holds no {PAGE} to make live: build the site first, make site LIVE=1")
    if GAP not in text:
        raise LiveError(f"{page} is live already; build the site again to make it anew")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        raise LiveError(f'{error.name} is missing: python -m pip install -e ".[live]"') from error
    parts = npm.files(npm.package(RUNTIME, SHA512, NPM), (f"dist/{name}" for name in PARTS))
    say("reading the model and writing its graph …")
    files, settings = _files(say)
    files |= {Path(name).name: data for name, data in parts.items()}
    settings["files"] = {name: [len(data), hashlib.sha256(data).hexdigest()[:12]] for name, data in files.items()}
    with tempfile.TemporaryDirectory(dir=site / "_static") as beside:
        made = Path(beside, "live")
        made.mkdir()
        for name, data in files.items():
            (made / name).write_bytes(data)
        shutil.rmtree(site / FOLDER, ignore_errors=True)
        made.rename(site / FOLDER)
    filled = f'data-settings="{html.escape(json.dumps(settings, ensure_ascii=False))}"'
    with gates.replacing(page) as out:
        out.write(text.replace(GAP, filled))
    return settings


def _files(say: Callable[[str], None]) -> tuple[dict[str, bytes], dict]:
    """The model's files by name, and what the page says and needs besides."""
    from safetensors import safe_open

    from course_utils.measures.spectrum import components
    from course_utils.models.embedder import load_family
    from course_utils.shipped import arrays
    from course_utils.teaching.explorers import landing
    from course_utils.teaching.figures import tokens

    names = (landing.ORIGIN, landing.TRAINED)
    family = load_family(names)
    origin, trained = family.values()
    for embedder in family.values():
        prompt, pooling = embedder.spec.prompt, embedder.spec.pooling
        if prompt.prefix or prompt.suffix or pooling not in ("mean", "weighted_mean") or embedder.spec.bidirectional:
            raise LiveError(f"{embedder.spec.name} has a prompt, sees both ways or pools by {pooling}: the page cannot")
    (adapter,) = trained.spec.adapter_paths()
    with safe_open(Path(origin.backbone.folder) / "model.safetensors", "np") as stored:
        graph = live_graph.blocks_graph(
            origin.backbone.causal.config, stored.get_tensor, live_graph.adapter_of(Path(adapter))
        )
    graph, table = graph.SerializeToString(), live_graph.eight_bits(origin.unembedding.numpy())
    before, after = (arrays.load("sentences", name) for name in names)
    direction = components(before).directions[0]
    sentences = gates.read_text(landing.SENTENCES).split("\n")[:-1]
    say(f"comparing it with PyTorch on {len(sentences)} sentences …")
    check = compared(graph, table, family, sentences, direction.astype(np.float32))
    known = vocabulary(origin.tokenizer, len(table[0])) | {"direction": direction.tolist()}
    settings = {
        "names": dict(zip(("untrained", "trained"), names, strict=True)),
        "poolings": [embedder.spec.pooling for embedder in family.values()],
        "slider": {"lowest": landing.LOWEST, "highest": landing.HIGHEST, "step": landing.STEP, "k": landing.K},
        "variation": round(float(((after - before) @ direction).mean()), 2),
        "width": origin.backbone.width,
        "longest": live_graph.LONGEST,
        "looks": {kind[0]: {"words": tokens.KINDS[kind], "ground": tokens.GROUND[kind]} for kind in tokens.KINDS},
        "first": sentences[1],
        "check": check,
    }
    data = {"blocks.onnx": graph, "table.bin": table[1].tobytes() + table[0].tobytes()}
    data["tokens.json"] = json.dumps(known, ensure_ascii=False, separators=(",", ":")).encode()
    data |= {f"{path.name}.txt": path.read_bytes() for path in Path(origin.backbone.folder).glob("LICENSE")}
    return data, settings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=SITE, help="folder of a built site, by default build/site")
    options = parser.parse_args(arguments)
    try:
        settings = make(options.site.resolve())
    except (LiveError, npm.NpmError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, found in settings["check"]["models"].items():
        print(f"{name}: smallest cosine {found['cosine']:.4f}, {found['shared']:.1f} of the first "
              f"{settings['slider']['k']} tokens shared with PyTorch")  # fmt: skip
    size = sum(length for length, _ in settings["files"].values())
    print(f"{options.site / PAGE}: {size / 1e6:.0f} MB to load; serve it: python -m http.server -d {options.site}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
