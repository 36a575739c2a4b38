"""Requantize: one activation at another scale."""

from __future__ import annotations

from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import TensorType


def _within(found: TensorType, wanted: TensorType) -> bool:
    """Whether the integers mean the same and fit."""
    same = found.scale == wanted.scale and found.zero_point == wanted.zero_point
    return same and wanted.low <= found.low and found.high <= wanted.high


def rescale(context: Context, name: str, wanted: TensorType, where: str, *, clip: bool = False) -> str:
    """Adds a Requantize of tensor ``name`` to type ``wanted`` where it is needed, and returns the tensor to read.

    With ``clip`` it is always needed: what a user feeds is held to its element type only, not to the type's bounds.
    """
    found = context.type_of(name)
    same = found == wanted or (found.dtype == wanted.dtype == "int16" and _within(found, wanted))
    if same and not clip:
        return name
    multiplier = choose_multiplier(found.scale / wanted.scale, context.recipe.multiplier_bits, where)
    graph = context.integers
    result = graph.fresh(f"{where}.rescaled")
    factors = graph.constant(f"{where}.multiplier", multiplier.values, bits=32)
    graph.node(
        "Requantize",
        [name, factors],
        [result],
        f"{where}.rescale",
        x_zero_point=found.zero_point,
        shift=multiplier.shift,
        y_zero_point=wanted.zero_point,
        low=wanted.low,
        high=wanted.high,
        dtype=wanted.onnx_type,
    )
    graph.types[result] = wanted
    return result
