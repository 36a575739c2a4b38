"""What torch's recurrent layers have in common: several layers, one direction or both, two layouts of their arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["run_layers", "suffixes"]

OneLayer = Callable[[Tensor, str, "tuple[Tensor, ...] | None", str], tuple[Tensor, ...]]


def suffixes(module: nn.RNNBase) -> Iterator[str]:
    """What the names of the parameters of each layer and direction end in: ``l0``, ``l0_reverse``, ``l1`` ..."""
    for layer in range(module.num_layers):
        yield f"l{layer}"
        if module.bidirectional:
            yield f"l{layer}_reverse"


def run_layers(
    module: nn.RNNBase, inputs: Any, start: tuple[Tensor, ...] | None, one: OneLayer
) -> tuple[Tensor, list[Tensor]]:
    """All layers of ``module`` over ``inputs``, which are [T, B, I], or [B, T, I] of a ``batch_first`` module.

    The layer of the reverse direction reads the sequence from its end, and its states are turned round again.

    Args:
        module: the layer of torch, with ``capture_path``.
        inputs: what its ``forward`` got.
        start: initial states, each [layers and directions, B, H], or None for zeros.
        one: ``(states, *last) = one(sequence, suffix, start, name)`` of one layer in one direction.

    Returns:
        All states in the layout of the inputs, [.., directions H]; the last ones, stacked as torch does.

    Raises:
        UnsupportedModelError: a packed sequence, or a sequence without a batch axis.
    """
    path = str(vars(module)["capture_path"])
    if not isinstance(inputs, Tensor) or inputs.dim() != 3:
        found = f"rank {inputs.dim()}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise UnsupportedModelError(
            f"layer {path} (torch.nn.{module.mode.split('_')[0]}): found an input of {found}, expected a tensor of rank 3; "
            "give it a batch axis, and sequences of one length instead of a packed sequence"
        )
    sequence = inputs.transpose(0, 1) if module.batch_first else inputs
    names = list(suffixes(module))
    parts: list[Tensor] = []
    lasts: list[tuple[Tensor, ...]] = []
    for index, suffix in enumerate(names):
        reverse = suffix.endswith("_reverse")
        given = None if start is None else tuple(state[index] for state in start)
        name = f"{path}_{suffix}" if len(names) > 1 else path
        states, *last = one(torch.flip(sequence, [0]) if reverse else sequence, suffix, given, name)
        parts.append(torch.flip(states, [0]) if reverse else states)
        lasts.append(tuple(last))
        if reverse or not module.bidirectional:
            sequence = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
            parts = []
    stacked = [torch.stack(column) for column in zip(*lasts, strict=True)]
    return sequence.transpose(0, 1) if module.batch_first else sequence, stacked
