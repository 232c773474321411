"""Tiny models with random weights, of the real architectures, in the layout of a model hub.

They take milliseconds, need no download, and go through the same loading code
as the large ones. Their weights are drawn wider than usual, so that attention,
positions and adapters visibly change the result.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch

VOCABULARY = 320
LAYERS, WIDTH = 2, 32
FAMILIES = ("gpt_neo", "opt", "llama", "mistral", "gemma3")

#: What the tokenizer is made from, and what tests embed: of different lengths, with quotes, digits and accents.
SENTENCES = [
    "A man is playing a guitar on stage.",
    "Parrots",
    "The café opened in 1987 and closed again two years later, when its owner moved to Zürich.",
    "I do not like apples.",
    "What diseases are parrots prone to?",
    'She said "maybe" and left.',
    "The old bridge over the river was rebuilt after the flood; it is the longest of the country, and ships pass.",
    "YMCA in South Australia",
    "Rain, rain and rain",
]


def save_tokenizer(folder: Path, bos: bool = False) -> None:
    """A byte-level BPE tokenizer of :data:`SENTENCES`; with ``bos`` it starts every text with ``<s>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    if bos:
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=512
    ).save_pretrained(folder)


def model(family: str, seed: int = 0, tied: bool = True):
    """A causal language model of that family with random weights."""
    import transformers as t

    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "tie_word_embeddings": tied,
    }
    grouped = {"intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2}
    wide = {"initializer_range": 0.2}
    torch.manual_seed(seed)
    if family == "gpt_neo":  # one layer sees everything, one only the last eight tokens
        config = t.GPTNeoConfig(
            **common, **wide, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=8
        )
        return t.GPTNeoForCausalLM(config)
    if family == "opt":
        config = t.OPTConfig(
            **common, init_std=0.2, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=WIDTH
        )
        return t.OPTForCausalLM(config)
    if family == "llama":
        return t.LlamaForCausalLM(t.LlamaConfig(**common, **grouped, **wide))
    if family == "mistral":
        return t.MistralForCausalLM(t.MistralConfig(**common, **grouped, **wide, sliding_window=8))
    if family == "gemma3":
        layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8, "head_dim": 8}
        return t.Gemma3ForCausalLM(t.Gemma3TextConfig(**common, **grouped, **wide, **layers))
    raise ValueError(f"no tiny model of family {family!r}; choose from {FAMILIES}")


def save(
    folder: Path, family: str = "llama", *, bos: bool = False, head: bool = True, seed: int = 0, tied: bool = True
):
    """Save a tiny model with its tokenizer and return the folder's name, as a reader would type it.

    With ``head=False`` only the transformer is saved, as embedders of the paper are on the hub.
    """
    made = model(family, seed, tied)
    (made if head else made.base_model).save_pretrained(folder)
    save_tokenizer(folder, bos)
    return str(folder)


def save_adapter(
    folder: Path, backbone: str, *, headless: bool = False, seed: int = 0, rank: int = 2, **options: object
) -> str:
    """Save a LoRA adapter with random weights for a saved Llama-like model, by PEFT's own ``save_pretrained``.

    With ``headless=True`` it is made on the transformer without the output layer, so its weights' names lack a level.
    ``options`` are further ones of ``LoraConfig``; all weights that such an adapter trains are random.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    torch.manual_seed(seed)
    base = (AutoModel if headless else AutoModelForCausalLM).from_pretrained(backbone, dtype=torch.float32)
    targets = {"target_modules": ["q_proj", "v_proj", "down_proj"]}
    peft = get_peft_model(base, LoraConfig(**{"r": rank, "lora_alpha": rank, **targets, **options}))
    for _, parameter in peft.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    peft.save_pretrained(folder)
    return str(folder)


def run_command(message: str, folder: Path) -> None:
    """Do what a message ends in: ``python -c "…"``, run in ``folder``."""
    code = message.rpartition('python -c "')[2].removesuffix('"')
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# A training set of the course's own making: what somebody does, said again, and denied.
_WHO = ["A man", "A woman", "A child", "An old farmer", "Our neighbour", "A young nurse", "The teacher", "A tall girl"]
_DOES = [
    ("is playing a guitar", "is making music", "is sleeping in a chair"),
    ("is cutting an onion", "is preparing food", "is washing a car"),
    ("is riding a horse", "is on the back of an animal", "is swimming in a lake"),
    ("is reading a newspaper", "is looking at the news", "is painting a wall"),
    ("is running along the beach", "is moving fast by the sea", "is sitting in an office"),
    ("is feeding the ducks", "is giving bread to birds", "is fixing a bicycle"),
    ("is talking on the phone", "is having a conversation", "is alone and silent"),
    ("is planting a tree", "is working in the garden", "is driving through town"),
]
TRIPLETS = [
    {"anchor": f"{who} {does}.", "positive": f"{who} {again}.", "negative": f"{who} {other}."}
    for does, again, other in _DOES
    for who in _WHO
]
