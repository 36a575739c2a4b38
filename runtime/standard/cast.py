"""Cast between integers, and to QLinearConv's scales; the operators of float borders: QuantizeLinear, DequantizeLinear."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, require_kind

__all__ = ["CASTS", "element_dtype"]

_DTYPES: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.BOOL: np.dtype(np.bool_),
    onnx.TensorProto.INT8: np.dtype(np.int8),
    onnx.TensorProto.UINT8: np.dtype(np.uint8),
    onnx.TensorProto.INT16: np.dtype(np.int16),
    onnx.TensorProto.UINT16: np.dtype(np.uint16),
    onnx.TensorProto.INT32: np.dtype(np.int32),
    onnx.TensorProto.UINT32: np.dtype(np.uint32),
    onnx.TensorProto.INT64: np.dtype(np.int64),
    onnx.TensorProto.UINT64: np.dtype(np.uint64),
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
}


def element_dtype(element_type: int) -> np.dtype[Any]:
    """NumPy's dtype of an ONNX element type; those that no body needs (half, double, strings) raise TypeError."""
    try:
        return _DTYPES[element_type]
    except KeyError:
        name = onnx.TensorProto.DataType.Name(element_type)
        known = ", ".join(str(d) for d in _DTYPES.values())
        msg = f"found element type {name}, expected one of {known}"
        raise TypeError(msg) from None


def _build_cast(node: Node) -> Kernel:
    """Keeps the low bits, as a C cast does; to bool: whether it is not 0. To float32: the nearest, ties to even.

    Of floats there is no Cast: what a body makes of integers, QLinearConv reads as its scales.
    """
    dtype = element_dtype(int(node.attributes["to"]))

    def kernel(x: Array) -> Array:
        if x.dtype.kind == "f":
            require_kind(x, "iub")
        return x.astype(dtype)

    return kernel


def _along(parameter: Array, rank: int, axis: int) -> Array:
    """A per-axis scale or zero point, shaped to broadcast along ``axis``; a scalar stays one."""
    if parameter.size == 1:
        return parameter.reshape(())
    if parameter.ndim != 1:
        msg = f"found a scale or zero point of shape {parameter.shape}, expected a scalar or one dimension"
        raise ValueError(msg)
    shape = [1] * rank
    shape[axis] = parameter.size
    return parameter.reshape(shape)


def _build_quantize(node: Node) -> Kernel:
    """``saturate(rint(x / y_scale) + y_zero_point)`` in float32, ties to even."""
    axis = int(node.attributes.get("axis", 1))
    wanted = int(node.attributes.get("output_dtype", 0))

    def kernel(x: Array, scale: Array, zero_point: Array | None = None) -> Array:
        require_kind(x, "f")
        dtype = zero_point.dtype if zero_point is not None else element_dtype(wanted) if wanted else np.dtype(np.uint8)
        if dtype.kind not in "iu" or dtype.itemsize > 2:
            msg = f"found an output type of {dtype}, expected an integer of 8 or 16 bits"
            raise TypeError(msg)
        if np.isnan(x).any():
            msg = "found NaN, expected numbers"
            raise ValueError(msg)
        offset = np.asarray(0 if zero_point is None else _along(zero_point, x.ndim, axis), np.int64)
        limits = np.iinfo(dtype)
        quotient = np.rint(x / _along(scale, x.ndim, axis))
        # Clipped while still float: a quotient of 1e30 has no integer.
        clipped = np.clip(quotient, limits.min - offset, limits.max - offset)
        return (clipped.astype(np.int64) + offset).astype(dtype)

    return kernel


def _build_dequantize(node: Node) -> Kernel:
    """``float32(x - x_zero_point) * x_scale``, the difference in integers."""
    axis = int(node.attributes.get("axis", 1))

    def kernel(x: Array, scale: Array, zero_point: Array | None = None) -> Array:
        require_kind(x, "iu")
        require_kind(scale, "f")
        difference = x.astype(np.int64)
        if zero_point is not None:
            difference = difference - _along(zero_point, x.ndim, axis).astype(np.int64)
        return difference.astype(np.float32) * _along(scale, x.ndim, axis)

    return kernel


CASTS: dict[str, Build] = {
    "Cast": _build_cast,
    "DequantizeLinear": _build_dequantize,
    "QuantizeLinear": _build_quantize,
}
