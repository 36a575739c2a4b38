"""FastRNN and FastGRNN beside GRU, 784 steps, batch 1, one thread, all integers with the same recipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gated import integer_layer
from benchmarks.loops import CALLS, STEPS, medians
from qdeploy.quantize import Recipe

GRU = "GRU"
LOW_RANK = "FastGRNN of low rank"


def measure_fast(hidden: int, rank: int, recipe: Recipe) -> dict[str, float]:
    """Median microseconds a step of ``FastRNN``, ``FastGRNN``, one with a recurrent matrix of low rank, and ``GRU``.

    Args:
        hidden: H.
        rank: of the recurrent matrix of the third.
        recipe: of all.
    """
    import torch

    from qdeploy.models import FastGRNN, FastRNN

    class BatchFirst(torch.nn.Module):
        def __init__(self, layer: torch.nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Any) -> Any:
            return self.layer(inputs.transpose(0, 1))

    torch.manual_seed(hidden)
    layers = {
        "FastRNN": BatchFirst(FastRNN(1, hidden)),
        "FastGRNN": BatchFirst(FastGRNN(1, hidden)),
        LOW_RANK: BatchFirst(FastGRNN(1, hidden, recurrent_rank=rank)),
    }
    x = np.random.default_rng(2).integers(0, 256, (1, STEPS, 1)).astype(np.uint8)
    contenders = {name: integer_layer(layer, recipe, x) for name, layer in layers.items()}
    contenders[GRU] = integer_layer(torch.nn.GRU(1, hidden, batch_first=True).eval(), recipe, x)
    return medians(contenders, CALLS if hidden < 400 else CALLS // 2)
