"""ChannelAffine and QuaternionAffine: batch normalization that is no part of the layer before it."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.bounds import BoundedOutput, bounded_output
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import INT32_MAX

MATRIX_BITS = 14
"""Of an entry's magnitude: four products with int16 fit int32."""


@lowers("ChannelAffine")
def channel_affine(context: Context, node: onnx.NodeProto) -> None:
    """Factors of 15 or 31 bits with one shift; rectifiers behind it become the bounds."""
    x = context.type_of(node.input[0])
    output = bounded_output(context, node.output[0])
    y = output.type
    scale, shift = (context.floats.constant(node, place, "factor").astype(np.float64) for place in (1, 2))
    # These are weights, which need no power of two.
    bits = max(context.recipe.multiplier_bits, 15)
    factors, constants, places = _integers(scale * x.scale / y.scale, shift / y.scale, bits, 0, node.name)
    reach = np.abs(factors.astype(object)) * x.reach + np.abs(constants.astype(object))
    graph = context.integers
    names = [
        graph.constant(f"{node.name}.multiplier", factors.astype(np.int32), bits=32),
        graph.constant(f"{node.name}.addend", constants.astype(np.int32), bits=32),
    ]
    graph.node(
        "ChannelAffine",
        [node.input[0], *names],
        [output.name],
        node.name,
        **_attributes(node, x, output, places),
    )
    graph.types[output.name] = y
    graph.layers.append(
        {
            "name": node.name,
            "operator": "ChannelAffine",
            "activation_bits": x.bits,
            "parameters": 2 * len(scale),
            "batch_norm": "operator",
            "batch_norm_bytes": 8 * len(scale),
            "product_bits": accumulator_bits(int(reach.max())),
        }
    )


@lowers("QuaternionAffine")
def quaternion_affine(context: Context, node: onnx.NodeProto) -> None:
    """Entries of 14 bits with one shift, rectifiers as bounds; the accumulator is proven for each output."""
    x = context.type_of(node.input[0])
    output = bounded_output(context, node.output[0])
    y = output.type
    matrix, shift = (context.floats.constant(node, place, "matrix").astype(np.float64) for place in (1, 2))
    # Constants stand in rows of components, [4, C] as [C, 4].
    entries, constants, places = _integers(
        matrix * x.scale / y.scale, shift.T / y.scale, MATRIX_BITS, x.reach, node.name
    )
    reach = np.abs(entries).sum(axis=2) * x.reach + np.abs(constants)
    graph = context.integers
    names = [
        graph.constant(f"{node.name}.matrix", entries.astype(np.int16), bits=15),
        graph.constant(f"{node.name}.addend", np.ascontiguousarray(constants.T).astype(np.int32), bits=32),
    ]
    graph.node(
        "QuaternionAffine",
        [node.input[0], *names],
        [output.name],
        node.name,
        **_attributes(node, x, output, places),
    )
    graph.types[output.name] = y
    graph.layers.append(
        {
            "name": node.name,
            "operator": "QuaternionAffine",
            "activation_bits": x.bits,
            "parameters": matrix.size + shift.size,
            "macs": matrix.size,
            "batch_norm": "operator",
            "batch_norm_bytes": 2 * matrix.size + 4 * shift.size,
            "accumulator_bits": accumulator_bits(int(reach.max())),
        }
    )


def _attributes(node: onnx.NodeProto, x: TensorType, output: BoundedOutput, shift: int) -> dict[str, int]:
    low, high = output.integers(output.type)
    return {
        "x_zero_point": x.zero_point,
        "trailing": int(attribute(node, "trailing", 0)),
        "shift": shift,
        "y_zero_point": output.type.zero_point,
        "low": low,
        "high": high,
        "dtype": output.type.onnx_type,
    }


def _integers(
    ratios: NDArray[np.float64], constants: NDArray[np.float64], bits: int, reach: int, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Factors of at most ``bits`` bits and constants of 32 with the largest shift that holds them.

    Args:
        ratios: ``[C]``, or ``[C, 4, 4]`` whose rows are summed.
        constants: in steps of the output, ``[C]`` or ``[C, 4]``.
        bits: of a factor's magnitude.
        reach: the largest |x - x_zero_point| where product sums must fit 32 bits with the constant, else 0.
        where: the node, for errors.
    """
    largest = float(np.abs(ratios).max()) or 2.0**-20
    shift = choose_multiplier(largest, bits, where).shift
    while shift >= 0:
        factors = np.floor(ratios * 2.0**shift + 0.5)
        added = np.floor(constants * 2.0**shift + 0.5)
        products = reach * (np.abs(factors).sum(axis=-1) if factors.ndim > 1 else np.abs(factors))
        if (products + np.abs(added)).max() <= INT32_MAX:
            return factors.astype(np.int64), added.astype(np.int64), shift
        shift -= 1
    raise UnsupportedModelError(
        f"node {where}: its constants reach {np.abs(constants).max():.3g} steps of the output, more than 32 bits hold. Check the "
        "calibration samples."
    )
