"""Training the upper layers only: what the lower ones give for a text is computed once and remembered.

The lower layers have no adapter and do not change, so their output for a text under an instruction is the same at
every step. A small stock of texts that is drawn from again and again then costs the upper layers only, forwards and
backwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Remembered:
    """The lower layers of a transformer as a function of the token ids, with a memory.

    It stands in for the layers while :func:`remembered` is open. Texts are padded on the right; the key of a text is
    its ids without the padding, so that batches of other lengths find it again.
    """

    def __init__(self, layers: list[torch.nn.Module], states: dict[tuple[int, ...], torch.Tensor]):
        self._forwards = [layer.forward for layer in layers]
        self._states = states
        self._keys: list[tuple[int, ...]] = []

    def look(self, transformer, args, kwargs) -> None:
        """A hook before the transformer: note which texts are coming."""
        ids, positions = kwargs["input_ids"], kwargs["position_ids"]
        lengths = (positions.max(dim=1).values + 1).tolist()
        self._keys = [tuple(row[:n]) for row, n in zip(ids.tolist(), lengths, strict=True)]

    def first(self, hidden: torch.Tensor, **kwargs) -> torch.Tensor:
        """In the place of the lowest layer: all lower layers, ``[n, t, d]`` to ``[n, t, d]``."""
        new = [row for row, key in enumerate(self._keys) if key not in self._states]
        if new:
            chosen = {name: _rows(value, new, len(hidden)) for name, value in kwargs.items()}
            with torch.no_grad():
                states = hidden[new]
                for forward in self._forwards:
                    states = forward(states, **chosen)
            for row, state in zip(new, states, strict=True):
                self._states[self._keys[row]] = state[: len(self._keys[row])].clone()
        known = [self._states[key] for key in self._keys]
        padded = torch.nn.utils.rnn.pad_sequence(known, batch_first=True)
        return torch.nn.functional.pad(padded, (0, 0, 0, hidden.shape[1] - padded.shape[1]))

    def further(self, hidden: torch.Tensor, **kwargs) -> torch.Tensor:
        """In the place of the other lower layers: nothing is left to do."""
        return hidden


def _rows(value, rows: list[int], n: int):
    """The chosen texts of what a layer is handed: a tensor that has one row per text, or several of them."""
    if isinstance(value, tuple):
        return tuple(_rows(part, rows, n) for part in value)
    return value[rows] if isinstance(value, torch.Tensor) and len(value) == n else value


@contextmanager
def remembered(transformer: torch.nn.Module, first_layer: int | None, states: dict | None = None) -> Iterator[None]:
    """Run the transformer with what its layers below ``first_layer`` give remembered; None: as it is.

    Padded positions get zeros instead of what the lower layers would give, which no real token attends to.

    Args:
        states: what was remembered before, by token ids; embedders whose lower layers are the same may share it.

    Raises:
        ValueError: no layer is left to be trained.
    """
    if first_layer is None:
        yield
        return
    if not 1 <= first_layer < len(transformer.layers):
        raise ValueError(f"first_layer must lie between 1 and {len(transformer.layers) - 1}; got {first_layer}")
    lower = list(transformer.layers[:first_layer])
    memory = Remembered(lower, {} if states is None else states)
    hook = transformer.register_forward_pre_hook(memory.look, with_kwargs=True)
    for layer in lower:
        layer.forward = memory.further
    lower[0].forward = memory.first
    try:
        yield
    finally:
        hook.remove()
        for layer in lower:
            del layer.forward
