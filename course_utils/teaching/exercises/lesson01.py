"""Exercises of lesson 01: weights along the mask, an embedder of your own, a linear output layer, a lens with hooks."""

from collections.abc import Callable

import numpy as np
import torch

from course_utils.teaching.exercises import as_array, exercise, right

#: Three texts of 5, 3 and 2 tokens: the first fills its row, the others are padded right and left.
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])


class _Words:
    """A tokenizer for the check: every word is one token; texts are padded on the side it is made with."""

    def __init__(self, padding_side="left"):
        self.padding_side = padding_side

    def __call__(self, texts, padding=False, return_tensors=None, **_):
        from transformers import BatchEncoding

        rows = [[2 + sum(map(ord, word)) % 30 for word in text.split()] for text in texts]
        longest = max(map(len, rows))
        ids, mask = (
            torch.tensor([self._padded(r, longest) for r in own]) for own in (rows, [[1] * len(r) for r in rows])
        )
        return BatchEncoding({"input_ids": ids, "attention_mask": mask})

    def _padded(self, row, length):
        padding = [0] * (length - len(row))
        return padding + row if self.padding_side == "left" else row + padding


def _tiny_model():
    """A language model without its output layer: two layers of 16 dimensions, random weights, always the same."""
    from transformers import LlamaConfig, LlamaModel

    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = LlamaModel(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, initializer_range=0.3))
        for weights in model.parameters():
            if weights.ndim == 1:  # the norms: a weight of 1 everywhere would hide a norm that is applied twice
                weights.data = torch.rand_like(weights) + 0.5
    return model.eval()


def _hooks(model) -> int:
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.layers)


@exercise(
    "01.1",
    title="Position weights",
    difficulty=2,
    minutes=6,
    expects="a function weights(mask) that returns [n_texts, n_tokens]",
    accepts=Callable,
)
def weights(answer):
    shorter = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    for mask in (MASK, shorter):
        if wrong := _wrong_weights(as_array(answer(mask.clone()), shape=tuple(mask.shape)), mask.tolist()):
            return wrong
    return right("count along the mask, and the side of the padding no longer matters")


def _wrong_weights(found, mask):
    if np.abs(found[np.array(mask) == 0]).max() > 1e-9:
        return "a padded position must weigh nothing"
    if not np.allclose(found.sum(axis=1), 1):
        return f"the weights of a text sum to 1; yours sum to {found.sum(axis=1).round(3).tolist()}"
    for got, row in zip(found, mask, strict=True):
        n, wanted = sum(row), [0.0] * len(row)
        for position, column in enumerate([c for c, real in enumerate(row) if real], start=1):
            wanted[column] = position / (n * (n + 1) / 2)
        if not np.allclose(got, wanted, atol=1e-6):
            padding = "no" if n == len(row) else "right" if row[0] else "left"
            shown = [round(w, 2) for w in wanted]
            return (
                f"the text with {padding} padding: expected {shown}, yours is {got.round(2).tolist()}; "
                "count tokens, not columns"
            )
    return ""


@exercise(
    "01.2",
    title="An embedder of your own",
    difficulty=3,
    minutes=12,
    expects="a function encode(model, tokenizer, texts) that returns the embeddings, [n_texts, d]",
    accepts=Callable,
)
def encode(answer):
    model, tokenizer = _tiny_model(), _Words()
    texts = ["parrots talk", "the old violin was repaired in Vienna", "rain"]
    with torch.no_grad():  # one text after the other, so that there is no padding to go wrong
        states = [model(**tokenizer([text])).last_hidden_state[0].numpy() for text in texts]
    wanted = np.stack([sum((t + 1) * h for t, h in enumerate(own)) / sum(range(1, len(own) + 1)) for own in states])
    alone = as_array(answer(model, tokenizer, texts[1:2]), shape=(1, 16))
    if not np.allclose(alone[0], wanted[1], atol=1e-4):
        known = {"the plain mean": states[1].mean(axis=0), "the state of the last token": states[1][-1]}
        for name, value in known.items():
            if np.allclose(alone[0], value, atol=1e-4):
                return f"this is {name}; the first token should weigh 1, the second 2, and so on, divided by their sum"
        return "a single text, without any padding, is embedded differently: pool the last hidden state by position"
    for side in ("left", "right"):
        together = as_array(answer(model, _Words(side), texts), shape=(3, 16))
        if not np.allclose(together, wanted, atol=1e-4):
            row = int(np.abs(together - wanted).max(axis=1).argmax())
            return (
                f"right for a text alone, but {texts[row]!r} gets another embedding in a batch, padded on the {side}: "
                "hand the mask to the model, let padding weigh nothing, and count positions along the mask"
            )
    return right("mask, pool, and no text knows what stands beside it: that is `encode` of the course")


@exercise(
    "01.3",
    title="Decode a mixture without decoding it",
    difficulty=1,
    minutes=3,
    expects="a function mixed(logits_a, logits_b, w) that returns an array [V]",
    accepts=Callable,
)
def mixed(answer):
    rng = np.random.default_rng(13)
    a, b, weight = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(9, 4))
    for w in (0.25, 0.9):
        found = as_array(answer(weight @ a, weight @ b, w), shape=(9,))
        wanted = np.array([sum(row[j] * (w * a[j] + (1 - w) * b[j]) for j in range(4)) for row in weight])
        if not np.allclose(found, wanted):
            return f"for w = {w} the first token's logit should be {wanted[0]:.3f}, yours is {found[0]:.3f}"
    return right("the output layer is linear: mixing embeddings mixes logits (not probabilities)")


@exercise(
    "01.4",
    title="A logit lens with hooks",
    difficulty=3,
    minutes=15,
    expects="a function lens_states(model, inputs) that returns [n_layers, d]",
    accepts=Callable,
)
def lens_states(answer):
    model = _tiny_model()
    for text in ("the old violin was repaired", "rain in Vienna"):
        inputs = _Words()([text])
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True)
        own = _hooks(model)  # the library puts some of its own there
        found = as_array(answer(model, inputs), shape=(3, 16))
        if _hooks(model) > own:
            return (
                "your hooks are still on the model; keep what register_forward_hook returns, and remove it in the end"
            )
        with torch.no_grad():
            if wrong := _wrong_states(found, model.norm, [s[0, -1] for s in out.hidden_states]):
                return wrong
    return right("what a layer hands on, brought to the scale of the last one by the final norm, can be decoded")


def _wrong_states(found, norm, states):
    raw, last = torch.stack(states[1:-1]), states[-1]  # after every layer but the last, no norm yet; the last is normed
    wanted = torch.stack([*map(norm, raw), last]).numpy()
    if np.allclose(found, wanted, atol=1e-4):
        return ""
    if np.allclose(found, torch.stack([norm(s) for s in states[:-1]]).numpy(), atol=1e-4):
        return "these are the states before each layer; a forward hook is given what comes out of it"
    if np.allclose(found[:2], raw.numpy(), atol=1e-4):
        return "these states have not been through the final norm, which stands between the layers and E"
    if np.allclose(found[:2], wanted[:2], atol=1e-4) and np.allclose(found[2], norm(last).numpy(), atol=1e-4):
        return (
            "the last state went through the final norm twice: last_hidden_state has it already, a layer's output not"
        )
    if np.allclose(found[:2], wanted[:2], atol=1e-4):
        return "the last layer's state is not right: it needs the final norm exactly once, as all others do"
    return "these are other states: take the last token of what each of the layers hands on, in their order"
