"""What ships is what the models of today give for the texts of today."""

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from course_utils.models import registry
from course_utils.models.embedder import load_family
from course_utils.shipped import arrays, collections, files, instructions, kinds
from course_utils.shipped.kinds import KINDS
from course_utils.texts import instruction_texts, parallel
from course_utils.texts.datasets import judged_documents, wikipedia_retrieval, wikipedia_sentences
from course_utils.training import sealed

#: Rows encoded again of every tensor.
SAMPLE = {"sentences": 6, "parallel": 1, "native": 1, "instructions": 2, "judged": 1, "pairs": 4, "retrieval": 3}


def parts(kind: str, name: str):
    """Every tensor of a file: its key, its texts, and how they are put."""
    match kind:
        case "sentences":
            return [("embeddings", wikipedia_sentences(kinds.N_SENTENCES), None, None)]
        case "parallel":
            return [(language, parallel.sentences(language), None, None) for language in parallel.LANGUAGES]
        case "native":
            foreign = [language for language in parallel.LANGUAGES if language != "en"]
            return [(language, parallel.sentences(language), None, None) for language in foreign]
        case "instructions":
            texts = [text.text for text in instruction_texts.read()]
            return [(i or "none", texts, instructions.worded(name, i), None) for i in instructions.INSTRUCTIONS]
        case "judged":
            return [("documents", judged_documents()[0], None, None)]
        case "pairs":
            return [("embeddings", kinds.pair_texts(), None, None)]
        case "retrieval":
            collection, told = wikipedia_retrieval(), collections.INSTRUCTIONS.get(name)
            documents, queries = (list(side.values()) for side in (collection.corpus, collection.queries))
            return [("documents", documents, None, "passage"), ("queries", queries, told, "query")]


def prompted(embedder, prompt):
    return type(embedder)(registry.get(embedder.spec.name, prompt=prompt), embedder.backbone)


def packed(kind: str, name: str, key: str) -> files.Packed:
    with safe_open(arrays.ARRAYS / kind / f"{name}.safetensors", "np") as file:
        return files.Packed(*(file.get_tensor(f"{key}.{part}") for part in files.Packed._fields))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", registry.STORED)
def test_a_random_sample_of_rows_is_reproduced(backbone):
    rng = np.random.default_rng()
    here = [(k, n) for k in KINDS for n in registry.available(KINDS[k].names) if registry.get(n).backbone == backbone]
    family = load_family(list(dict.fromkeys(name for _, name in here)))
    for kind, name in here:
        exact = files.made_from(arrays.ARRAYS / kind / f"{name}.safetensors")["dtype"] == "float32"
        for key, texts, instruction, role in parts(kind, name):
            stored, some = packed(kind, name, key), rng.choice(len(texts), SAMPLE[kind], replace=False)
            assert len(stored.numbers) == len(texts)
            embedder = prompted(family[name], kinds.native(key)) if kind == "native" else family[name]
            fresh = embedder.encode([texts[i] for i in some], instruction, role, progress=False)
            error = np.abs(fresh - files.unpack(stored)[some])
            # Half a step of the rounding, half of float16's last digit, and room for other processors' arithmetic.
            allowed = 0.75 * stored.scale[some, None] * stored.spread + 1e-3 * np.abs(fresh) + 1e-5
            far = np.linalg.norm(error, axis=1) / np.linalg.norm(fresh, axis=1)
            assert (error <= allowed).all() if exact else far.max() < 0.06, f"{kind}, {name}, {key}: rows {some}: {far}"


@pytest.mark.parametrize("kind", KINDS)
def test_everything_ships_and_is_current(kind):
    assert arrays.have(kind) == list(KINDS[kind].names)
    assert arrays.missing_or_stale([kind]) == [], f"run several-tokens arrays --kind {kind}"


def test_nothing_ships_that_no_kind_names():
    named = {f"{kind}/{name}.safetensors" for kind in KINDS for name in KINDS[kind].names}
    named |= {f"sealed/{name}.safetensors" for name in sealed.NAMES}  # measured once: never made again by `arrays`
    found = {path.relative_to(arrays.ARRAYS).as_posix(): path for path in arrays.ARRAYS.rglob("*") if path.is_file()}
    assert set(found) == named
    assert sum(path.stat().st_size for path in found.values()) < 31e6


def test_the_forms_are_those_that_the_table_says():
    d = {"smollm2": 576, "gemma3": 640}
    for name in KINDS["sentences"].names:
        found = arrays.load("sentences", name)
        assert found.shape == (kinds.N_SENTENCES, d[registry.get(name).backbone]) and found.dtype == np.float32
    for name in KINDS["parallel"].names:
        found = arrays.load("parallel", name)
        assert list(found) == list(parallel.LANGUAGES)
        assert {len(h) for h in found.values()} == {len(parallel.sentences("en"))}
    for name in KINDS["native"].names:
        found = arrays.load("native", name)
        assert {"en", *found} == set(parallel.LANGUAGES) and {h.shape for h in found.values()} == {(120, 640)}
    for name in KINDS["instructions"].names:
        found = arrays.load("instructions", name)
        assert tuple(found) == instructions.INSTRUCTIONS
        assert {h.shape for h in found.values()} == {(len(instruction_texts.read()), 576)}
    collection = wikipedia_retrieval()
    for name in KINDS["retrieval"].names:
        found = arrays.load("retrieval", name)
        assert (len(found.documents), len(found.queries)) == (len(collection.corpus), len(collection.queries))


def test_the_log_only_run_says_the_same_in_both_kinds():
    from course_utils.measures.evaluation import cosine

    for name in registry.VARIANTS:
        sources = [files.made_from(arrays.ARRAYS / kind / f"{name}.safetensors") for kind in ("judged", "pairs")]
        assert sources[0]["adapters"] == sources[1]["adapters"] != ""
        found = arrays.load("pairs", name)
        assert list(found) == kinds.pair_texts() and {row.shape for row in found.values()} == {(576,)}
        sentences = ("I like apples.", "I dislike apples.", "The bank has raised its fees.")
        like, *others = (found[text][None] for text in sentences)
        assert cosine(like, others[0])[0] > 0.5 > cosine(like, others[1])[0]


def test_a_collection_is_encoded_by_the_registry_entry_or_not_at_all():
    changed = SimpleNamespace(spec=registry.get("smol-grit", pooling="last_token"), backbone=None)
    with pytest.raises(ValueError, match="smol-grit with other settings than its registry entry"):
        KINDS["retrieval"].encode(changed, print)


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no kind of numbers called 'sentence'; there are: sentences, parallel"):
        kinds.named("sentence")
