"""How many answers of a classifier are right."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["count_right", "evaluate"]

# Sequences a forward pass of an evaluation: enough for the matrix products, little memory at 784 steps.
EVALUATION_BATCH = 200


def evaluate(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """Part of right classes, over samples (or over samples and steps where ``y`` is [N, T])."""
    return count_right(module, x, y, lambda rows: rows)[0] / y.numel()


def count_right(module: nn.Module, x: Tensor, y: Tensor, prepare: Callable[[Tensor], Tensor]) -> tuple[int, float]:
    """How many classes are right, and the sum of all cross-entropies in bits; ``prepare`` makes inputs of rows of x."""
    was_training = module.training
    module.eval()
    right, bits = 0, 0.0
    with torch.no_grad():
        for start in range(0, len(x), EVALUATION_BATCH):
            logits = module(prepare(x[start : start + EVALUATION_BATCH]))
            classes = y[start : start + EVALUATION_BATCH].to(logits.device, torch.int64)
            right += int((logits.argmax(dim=-1) == classes).sum())
            losses = nn.functional.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none")
            bits += float(losses.double().sum()) / math.log(2)
    module.train(was_training)
    return right, bits
