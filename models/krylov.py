"""The last state of a linear recurrence over a whole sequence, by doubling in place of stepping.

``h_T = sum_t W^(T-1-t) (U x_t + b)`` is linear in the sequence, so that its T products ``W^n [U, b]`` (the block Krylov
sequence of ``W``) serve every sequence of a batch. ``W^n B`` for n < 2m is ``B_n`` for n < m and ``W^m`` times these:
log2(T) matrix products replace T steps that wait for one another. At 784 steps, 170 units and 256 sequences an epoch of
sequential MNIST takes some hundredth of the time of the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["doubling_pays", "krylov_sequence", "linear_last_state"]

# Values that the products W^n [U, b] may take: 256 MB of float32.
MAX_SEQUENCE = 1 << 26


def doubling_pays(inputs_shape: Sequence[int], hidden_size: int) -> bool:
    """Whether doubling takes fewer multiplications than the loop over inputs [T, B, I], within bounded memory."""
    steps, batch, size = inputs_shape
    squarings = max(steps - 1, 1).bit_length()
    if steps * hidden_size * (size + 1) > MAX_SEQUENCE:
        return False
    return steps * batch > 2 * hidden_size * squarings


def krylov_sequence(weight: Tensor, block: Tensor, steps: int, powers: list[Tensor] | None = None) -> Tensor:
    """``W^n B`` for n = 0 .. steps - 1, differentiable in both.

    Args:
        weight: ``W`` [H, H].
        block: ``B`` [H, K].
        steps: at least 1.
        powers: the first of ``W, W^2, W^4, ...``; those that are missing are added to the list. For a ``W`` that rests
            they are two thirds of the work.

    Returns:
        [steps, H, K].
    """
    kept = [] if powers is None else powers
    sequence, level = block.unsqueeze(0), 0
    while len(sequence) < steps:
        if level == len(kept):
            kept.append(kept[-1] @ kept[-1] if kept else weight)
        power = kept[level]
        level += 1
        wanted = sequence[: steps - len(sequence)]
        # One product for all: the blocks side by side, [H, n K].
        columns = wanted.permute(1, 0, 2).reshape(weight.shape[0], -1)
        further = (power @ columns).reshape(weight.shape[0], len(wanted), -1).permute(1, 0, 2)
        sequence = torch.cat([sequence, further])
    return sequence


def linear_last_state(
    inputs: Tensor, weight: Tensor, input_weight: Tensor, bias: Tensor, powers: list[Tensor] | None = None
) -> Tensor:
    """``h_T`` [B, H] of ``h_t = W h_{t-1} + U x_t + b`` over ``inputs`` [T, B, I] from ``h_0 = 0``.

    Args:
        inputs: [T, B, I], T at least 1.
        weight: ``W`` [H, H].
        input_weight: ``U`` [H, I].
        bias: ``b`` [H].

    It equals the loop up to rounding, of which it makes less: log2(T) products in a row instead of T.
    """
    steps, batch, size = inputs.shape
    sequence = krylov_sequence(weight, torch.cat([input_weight, bias.unsqueeze(1)], dim=1), steps, powers)
    # The newest input has been multiplied by W least often.
    kernel = sequence[:, :, :size].flip(0).permute(0, 2, 1).reshape(steps * size, -1)
    flat = inputs.permute(1, 0, 2).reshape(batch, steps * size)
    return torch.addmm(sequence[:, :, size].sum(dim=0), flat, kernel)
