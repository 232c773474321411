"""Placement: in which precision weights are read, and on which device they lie.

One device and 32 or 16 bits are the ordinary case. A model that is too large for one GPU is spread over all of them
(accelerate's ``device_map="auto"``), or its blocks are read with eight or four bits a weight (bitsandbytes).
"""

import time
from functools import cache
from importlib.util import find_spec

import torch

#: The device that stands for all GPUs together.
SPREAD = "auto"
#: What weights may be read as: bits of a weight in the blocks.
PRECISIONS = {"float32": 32, "bfloat16": 16, "int8": 8, "4bit": 4}


def options(precision: str, device: str) -> dict:
    """What ``from_pretrained`` is told: ``dtype``, and where needed ``device_map`` and ``quantization_config``.

    With a ``device_map`` the library places the weights itself, and they may not be moved afterwards.

    Raises:
        ValueError: an unknown precision.
        ModuleNotFoundError: eight or four bits, and bitsandbytes is not installed.
    """
    if precision not in PRECISIONS:
        known = ", ".join(repr(name) for name in PRECISIONS)
        raise ValueError(f"dtype must be one of {known}; got {precision!r}")
    bits = PRECISIONS[precision]
    found: dict = {"dtype": torch.float32 if bits == 32 else torch.bfloat16}
    if bits <= 8:
        if find_spec("bitsandbytes") is None:
            raise ModuleNotFoundError(
                f"dtype={precision!r} needs bitsandbytes: pip install 'several-tokens[quantised]', or "
                "'.[quantised]' in the folder of the course; 'bfloat16' does without"
            )
        found["quantization_config"] = _quantised(bits)
    if device == SPREAD:
        found["device_map"] = SPREAD
    elif bits <= 8:
        found["device_map"] = {"": device}
    return found


@cache
def faster(device: str | None = None) -> str:
    """``"bfloat16"`` or ``"float32"``: in which of them this machine multiplies matrices faster.

    What has bfloat16 arithmetic takes half the time in 16 bits; anything else translates every number there and back,
    and takes several times as long. A GPU says which it is, a processor shows it on products of the size of SmolLM2's.

    Args:
        device: ``"cpu"``, ``"cuda"`` …; by default a GPU if there is one.
    """
    kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")).type
    if kind != "cpu":
        told = kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if told else "float32"
    seconds = {}
    for name in ("float32", "bfloat16"):
        rows, weight = (torch.ones(n, 576, dtype=getattr(torch, name)) for n in (512, 1536))
        trials = []
        for _ in range(4):  # the best of them: the first one sets up, and others may be interrupted
            begun = time.perf_counter()
            torch.nn.functional.linear(rows, weight)
            trials.append(time.perf_counter() - begun)
        seconds[name] = min(trials)
    return min(seconds, key=seconds.__getitem__)


def _quantised(bits: int):
    from transformers import BitsAndBytesConfig

    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    # NF4, which fits weights that are normally distributed (Dettmers et al. 2023, arXiv 2305.14314, section 3)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def first_device(source: str, model, asked: str = SPREAD) -> str:
    """Where a model that the library has placed takes its texts: the device of its input layer.

    Args:
        source: the model's name, for messages.
        model: as the library gives it.
        asked: the device that was asked for. The CPU is no fault where it was named, or where there is no GPU.

    Raises:
        ValueError: a part of it found no room on the GPUs. The library would keep that part elsewhere and fetch it for
            every batch, and its output layer might not be there to decode with.
    """
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    wanted = {"cpu"} if places == {"cpu"} and (asked != SPREAD or not torch.cuda.is_available()) else set()
    if outside := (places & {"cpu", "disk"}) - wanted:
        share = "all" if places == {"cpu"} else "a part"
        raise ValueError(
            f"{source} does not fit on the GPUs that are here: {share} of it lies on the "
            f"{' and the '.join(sorted(outside))}. "
            "Read it with fewer bits (dtype='int8' or '4bit'), or take larger or more GPUs; "
            "`several-tokens scale estimate NAME` says how large"
        )
    return str(model.get_input_embeddings().weight.device)
