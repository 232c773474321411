"""Tiny guests: models with random weights in the layout that sentence-transformers writes, one for each architecture.

Each is made from transformers' classes and saved by sentence-transformers' own modules, so that a test compares the
course with what others publish. Tokenizers are trained on :data:`tiny.SENTENCES`: WordPiece for BERT and its kin,
SentencePiece's Unigram for XLM-R and T5, byte-level BPE for the rest.
"""

import json
import shutil
from pathlib import Path

import tiny
import torch

#: Architectures, each as published embedders are built: pooling, Dense layers, unit length.
KINDS = {
    "bert": ("mean", (), True),
    "bert-cls": ("cls", (), True),
    "bert-multilingual": ("mean", (), True),
    "distilbert": ("mean", (16,), False),
    "mpnet": ("mean", (), True),
    "xlm-roberta": ("mean", (), True),
    "modernbert": ("mean", (), True),
    "gemma3": ("mean", (48, 32), True),
    "qwen3": ("lasttoken", (), True),
    "t5": ("mean", (24,), True),
}
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: ", "STS": "same: "}


def model(kind: str, seed: int = 0, head: bool = False):
    """A model of that architecture with random weights; ``head`` gives a masked language model its head."""
    import transformers as t

    torch.manual_seed(seed)
    name = {"bert-cls": "bert", "bert-multilingual": "bert", "gemma3": "gemma3_text"}.get(kind, kind)
    sizes = {"vocab_size": tiny.VOCABULARY, "hidden_size": tiny.WIDTH, "initializer_range": 0.2}
    if kind == "t5":
        config = t.T5Config(vocab_size=tiny.VOCABULARY, d_model=tiny.WIDTH, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
        made = t.T5EncoderModel(config)
        for p in made.parameters():
            torch.nn.init.normal_(p, std=0.3)
        return made
    if kind == "distilbert":
        sizes = {"vocab_size": tiny.VOCABULARY, "dim": tiny.WIDTH, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}
        sizes["initializer_range"] = 0.2
    else:
        sizes |= {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes["max_position_embeddings"] = 120
    if kind in ("gemma3", "qwen3"):
        sizes |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "tie_word_embeddings": True}
        sizes |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    if kind == "gemma3":
        sizes |= {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
        sizes["use_bidirectional_attention"] = True
    if kind == "modernbert":
        sizes |= {"global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 2, "decoder_bias": True}
        sizes |= {"bos_token_id": 0, "eos_token_id": 1, "cls_token_id": 0, "sep_token_id": 1}
        sizes |= {"initializer_cutoff_factor": 3.0}
    if kind in ("xlm-roberta", "mpnet"):
        sizes["pad_token_id"] = 1
    made = (t.AutoModelForMaskedLM if head else t.AutoModel).from_config(t.AutoConfig.for_model(name, **sizes))
    with torch.no_grad():
        for key, p in made.named_parameters():
            if key.endswith("bias"):  # zero when fresh, which would hide a bias that is forgotten
                p.normal_(std=0.2)
    return made.eval()


def tokenizer(kind: str):
    """A fast tokenizer of the family's kind, with its special tokens around every text."""
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    size, quiet = tiny.VOCABULARY - 6, {"show_progress": False}  # a few rows belong to no token, as in many models
    if kind in ("bert", "bert-cls", "distilbert"):
        special = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        inner.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, **quiet)
        inner.train_from_iterator(tiny.SENTENCES, trainer)
        around = ("[CLS]", "[SEP]")
        named = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    elif kind in ("xlm-roberta", "t5", "bert-multilingual", "mpnet"):
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        inner = Tokenizer(models.Unigram())
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        inner.train_from_iterator(
            tiny.SENTENCES, trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", **quiet)
        )
        around = (None, "</s>") if kind == "t5" else ("<s>", "</s>")
        named = {"pad": "<pad>", "unk": "<unk>", "eos": "</s>", "bos": "<s>"}
    else:
        special = ["<s>", "</s>", "<pad>"]
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        inner.train_from_iterator(
            tiny.SENTENCES,
            trainers.BpeTrainer(vocab_size=tiny.VOCABULARY, special_tokens=special, initial_alphabet=alphabet, **quiet),
        )
        around = (None if kind == "qwen3" else "<s>", "</s>")
        named = {"pad": "<pad>", "eos": "</s>", "bos": "<s>"}
    first, last = around
    inner.post_processor = processors.TemplateProcessing(
        single=" ".join(filter(None, [first, "$A", last])),
        special_tokens=[(token, inner.token_to_id(token)) for token in filter(None, around)],
    )
    options = {f"{role}_token": token for role, token in named.items()}
    return t.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=100, **options)


def save(folder: Path, kind: str, *, seed: int = 0, include_prompt: bool = True, prompts: dict | None = PROMPTS) -> str:
    """Save a tiny guest by sentence-transformers itself; returns the folder's name."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    pooling, widths, unit = KINDS[kind]
    bare = Path(folder).with_name(f"{Path(folder).name}-bare")
    save_bare(bare, kind, seed=seed)
    torch.manual_seed(seed + 1)
    modules, width = [Transformer(str(bare)), Pooling(tiny.WIDTH, pooling, include_prompt=include_prompt)], tiny.WIDTH
    for i, wider in enumerate(widths):
        activation = torch.nn.Tanh() if i else torch.nn.Identity()
        modules.append(Dense(width, wider, bias=bool(i), activation_function=activation))
        width = wider
    modules += [Normalize()] * unit
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(folder))
    shutil.rmtree(bare)
    return str(folder)


def save_bare(folder: Path, kind: str, *, seed: int = 0, head: bool = False) -> str:
    """Save the transformer and its tokenizer alone, as transformers does."""
    model(kind, seed, head).save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return str(folder)


def peer(folder: str):
    """What sentence-transformers makes of a folder."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu")


def rewrite(file: Path, change) -> None:
    """Change the JSON in a file; ``change`` gets what it holds and returns what it shall hold, or changes it."""
    content = json.loads(file.read_text("utf-8"))
    changed = change(content)
    file.write_text(json.dumps(content if changed is None else changed), "utf-8")
