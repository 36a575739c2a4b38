"""Recurrent layers for LiteRT's own int8 kernels: which can take them, and scales that make single precision exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize import builtin_kernels
from qdeploy.quantize.builtin_kernels import BECAUSE
from qdeploy.quantize.multiplier import Multiplier, choose_multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.single_precision import EXACT_BITS, exact_multiplier, few_bits
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.ops.rounded import SATURATED
from qdeploy.runtime.ops.rounded_loop import half_even_hindrance, input_copies, single_precision_hindrance
from qdeploy.runtime.rounding import HALF_EVEN, SINGLE_PRECISION

__all__ = ["LoopKernel", "exact_scales", "hindrance", "loop_kernel", "record", "say_which_have_no_kernel"]

_LARGEST_WEIGHT = 127
_MOST_COPIES = 16
_LARGEST_TABLE = 2**16
"""Of accumulators that do not saturate, either way: the body of a loop in single precision is a table of them."""
_FEW_COLUMNS = 64
"""Columns of the input that cost a step nothing worth mentioning, however few units there are."""

_WITHOUT_KERNEL = ("GRU", "GRUResetBefore", "LiGRU", "FastRNN", "FastGRNN")


def hindrance(activation: str, x: TensorType, state: TensorType) -> str | None:
    """Why a recurrent layer stays portable whatever its numbers are, or None where they decide (:func:`loop_kernel`)."""
    if activation not in ("linear", "relu"):
        return f"its activation is {activation}, and LiteRT's kernels have bounds alone"
    if x.dtype != "uint8":
        return f"it takes {x.dtype}"
    if state.dtype != "uint8":
        return f"its states have {state.bits} bits, and LiteRT's kernels take 8 (--state-bits 8)"
    return None


def exact_scales(scale: NDArray[np.float64], lift: int) -> NDArray[np.float64]:
    """Scales of W, each raised to what multipliers of so few bits say exactly that single precision holds every product.

    The loop's gain is the scale of W, whatever the state's is, so that a raised scale costs nothing but a part of W's range.

    Args:
        scale: ``[1]`` or ``[H]``.
        lift: by how many bits the accumulator may be finer.
    """
    ratios = scale / 2.0**lift
    return few_bits(ratios, builtin_kernels.saturating(ratios)) * 2.0**lift


@dataclass(frozen=True)
class LoopKernel:
    """What a recurrent layer takes of LiteRT's kernels.

    Attributes:
        rounding: the rule's name, None where the layer stays portable.
        multiplier: of the loop, where it does not.
        reason: why it stays portable.
    """

    rounding: str | None
    multiplier: Multiplier | None = None
    reason: str | None = None


def loop_kernel(
    ratio: NDArray[np.float64],
    where: str,
    *,
    recurrent_weight: NDArray[np.int8],
    recurrent_shift: int,
    input_weight: NDArray[np.int8],
    input_shift: int,
    requantized_input: bool,
    reach: NDArray[np.object_],
) -> LoopKernel:
    """The kernel of a loop: by ties to even where its products are exact, else in single precision, which costs no more.

    Args:
        ratio: ``[1]`` or ``[H]``, of the accumulator's scale and the state's.
        where: the node, for errors.
        recurrent_weight, recurrent_shift, input_weight, input_shift: of the operator.
        requantized_input: whether U x is requantized before the loop.
        reach: Python integers ``[H]``, of the accumulators.
    """
    if requantized_input:
        return LoopKernel(None, reason="its input meets the state's scale by a multiplier of its own")
    lifted = int(np.abs(recurrent_weight.astype(np.int64)).max(initial=0)) << recurrent_shift
    if lifted > _LARGEST_WEIGHT or int(input_weight.min(initial=0)) < -_LARGEST_WEIGHT:
        largest = max(lifted, _LARGEST_WEIGHT + 1)
        return LoopKernel(
            None, reason=f"its weights reach {largest} at the accumulator's scale, and LiteRT's kernels take up to 127"
        )
    copies = input_copies(input_weight, input_shift)
    columns = copies * input_weight.shape[1]
    if copies > _MOST_COPIES or columns > max(_FEW_COLUMNS, len(recurrent_weight)):
        return LoopKernel(
            None, reason=f"its input would stand in {columns} columns beside {len(recurrent_weight)} states"
        )
    exact = exact_multiplier(ratio, where)
    if exact is not None and half_even_hindrance(reach, exact.values, exact.shift) is None:
        return LoopKernel(HALF_EVEN, exact)
    wide = choose_multiplier(ratio, EXACT_BITS, where)
    problem = single_precision_hindrance(reach, wide.values, wide.shift)
    if problem is None and wide.values.size > 1:
        problem = "its rows have scales of their own, which its body in model.onnx has no table for"
    if problem is None and SATURATED / float(ratio.min()) >= _LARGEST_TABLE <= int(reach.max()):
        problem = "the table of its accumulators would be too large for its body in model.onnx"
    return LoopKernel(SINGLE_PRECISION, wide) if problem is None else LoopKernel(None, reason=problem)


def record(recipe: Recipe, kernel: LoopKernel) -> dict[str, str]:
    """What a layer's record says of its kernel."""
    if not builtin_kernels.wanted(recipe):
        return {}
    return {BECAUSE: str(kernel.reason)} if kernel.rounding is None else {"rounding": kernel.rounding}


def say_which_have_no_kernel(recipe: Recipe, layers: list[dict[str, Any]]) -> None:
    """Adds the reason to the records of recurrent layers that LiteRT has no operator for, where its kernels are asked for."""
    if builtin_kernels.wanted(recipe):
        for layer in layers:
            if layer["operator"] in _WITHOUT_KERNEL:
                layer[BECAUSE] = f"LiteRT has no kernel for {layer['operator']}"
