"""Answers to the exercises of lesson 01."""

import numpy as np
import torch
from exercise_cases import Case


def weights(mask):
    positions = mask * mask.cumsum(dim=1)
    return positions / positions.sum(dim=1, keepdim=True)


def by_column(mask):
    columns = mask * torch.arange(1, mask.shape[1] + 1)
    return columns / columns.sum(dim=1, keepdim=True)


def plain_mean(mask):
    return mask / mask.sum(dim=1, keepdim=True)


def unscaled(mask):
    return mask * mask.cumsum(dim=1)


def over_padding_too(mask):
    positions = mask.cumsum(dim=1)
    return positions / positions.sum(dim=1, keepdim=True)


def encoder(weigh, masked=True):
    """An embedder that pools with the given weights, with or without telling the model what is padding."""

    def encode(model, tokenizer, texts):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            inputs = batch if masked else {"input_ids": batch["input_ids"]}
            states = model(**inputs).last_hidden_state
        return (weigh(batch["attention_mask"])[:, None].float() @ states)[:, 0].numpy()

    return encode


def last_state(model, tokenizer, texts):
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).last_hidden_state[:, -1]


def table_rows(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    states = model.get_input_embeddings()(batch["input_ids"]).detach()
    return (weights(batch["attention_mask"])[:, None].float() @ states)[:, 0]


def mixed(a, b, w):
    return w * a + (1 - w) * b


def mixed_probabilities(a, b, w):
    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    return np.log(w * softmax(a) + (1 - w) * softmax(b))


def lens(normed=True, token=-1, remove=True, pre=False, last_from_the_model=False):
    """A lens with hooks, and what can go wrong in it."""

    def states(model, inputs):
        seen, hooks = [], []
        for layer in model.layers:
            if pre:
                hooks.append(layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])))
            else:
                hooks.append(layer.register_forward_hook(lambda _, args, out: seen.append(out)))
        with torch.no_grad():
            last = model(**inputs).last_hidden_state
            if last_from_the_model:
                seen[-1] = last
            seen = [(s[0] if isinstance(s, tuple) else s)[0, token] for s in seen]
            found = torch.stack([model.norm(s) if normed else s for s in seen])
        for hook in hooks if remove else []:
            hook.remove()
        return found

    return states


CASES = {
    "01.1": Case(lambda: weights, [lambda: by_column, lambda: plain_mean, lambda: unscaled, lambda: over_padding_too]),
    "01.2": Case(
        lambda: encoder(weights),
        [
            lambda: encoder(by_column),
            lambda: encoder(plain_mean),
            lambda: encoder(over_padding_too),
            lambda: encoder(unscaled),
            lambda: encoder(weights, masked=False),
            lambda: last_state,
            lambda: table_rows,
        ],
    ),
    "01.3": Case(
        lambda: mixed,
        [
            lambda: mixed_probabilities,
            lambda: lambda a, b, w: a + b,
            lambda: lambda a, b, w: (a + b) / 2,
            lambda: lambda a, b, w: (1 - w) * a + w * b,
        ],
    ),
    "01.4": Case(
        lambda: lens(),
        [
            lambda: lens(normed=False),
            lambda: lens(token=0),
            lambda: lens(remove=False),
            lambda: lens(pre=True),
            lambda: lens(last_from_the_model=True),
        ],
    ),
}
