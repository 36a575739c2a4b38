"""What every ONNX operator of a step does to normal forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...functions import FLOAT_DOMAIN
from ..access import attribute_float, attribute_int
from .algebra import Algebra, StepError
from .layout_operators import LAYOUT, apply_layout
from .rows import BATCH, Rows, Value, broadcast, constant_rows, multiplied

__all__ = ["apply_operator"]

# Operators of one input that become atoms, with the attributes that change what they compute and their defaults.
_ACTIVATIONS: dict[str, dict[str, float]] = {
    "Abs": {},
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "Erf": {},
    "Exp": {},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "HardSwish": {},
    "LeakyRelu": {"alpha": 0.01},
    "Log": {},
    "Reciprocal": {},
    "Relu": {},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Sigmoid": {},
    "Sign": {},
    "Softplus": {},
    "Softsign": {},
    "Sqrt": {},
    "Tanh": {},
    "ThresholdedRelu": {"alpha": 1.0},
}
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Sum"})


def apply_operator(algebra: Algebra, node: ir.Node, values: list[Value | None], samples: int | None) -> list[Value]:
    """The results of ``node``.

    Args:
        algebra: of the step.
        node: of the loop's body.
        values: its inputs; absent ones are ``None``.
        samples: the number of samples where the file fixes it.

    Raises:
        StepError: an operator that no normal form is known of, or one that mixes samples.
    """
    if node.domain == FLOAT_DOMAIN and node.op_type == "Linear":
        return [_linear(algebra, values)]
    if node.domain != "":
        raise StepError(f"{node.domain}::{node.op_type} in the step")
    if node.op_type in LAYOUT:
        return apply_layout(algebra, node, values, samples)
    first = values[0] if values else None
    if first is None:
        raise StepError(f"{node.op_type} has no input")
    if node.op_type in _ARITHMETIC:
        result = first
        for other in values[1:]:
            result = _arithmetic(algebra, node.op_type, result, other)
        return [result]
    if node.op_type == "MatMul":
        return [_product(algebra, first, values[1])]
    if node.op_type == "Gemm":
        return [_gemm(algebra, node, values)]
    return [_unary(algebra, node, first, values)]


def _unary(algebra: Algebra, node: ir.Node, value: Value, values: list[Value | None]) -> Value:
    kind = node.op_type
    if kind in {"Identity", "Dropout"} or (kind == "Cast" and isinstance(value, Rows)):
        if kind == "Cast" and attribute_int(node, "to", 0) != ir.DataType.FLOAT:
            raise StepError("Cast to another type than float32")
        if kind == "Dropout" and any(one is None or np.any(one) for one in values[2:] if not isinstance(one, Rows)):
            raise StepError("Dropout in training mode")
        return value
    if kind == "Shape":
        return _shape(node, value)
    if not isinstance(value, Rows):
        return _of_constants(algebra, node, value)
    if kind == "Neg":
        return _arithmetic(algebra, "Mul", value, np.array(-1.0))
    if kind == "Clip":
        limits = [_scalar(one) for one in (*values[1:], None, None)[:2]]
        bounds = (
            ("low", -np.inf if limits[0] is None else limits[0]),
            ("high", np.inf if limits[1] is None else limits[1]),
        )
        return Rows(value.axes, algebra.apply("Clip", bounds, value.value))
    if kind not in _ACTIVATIONS:
        raise StepError(f"{kind} in the step")
    defaults = _ACTIVATIONS[kind]
    parameters = tuple((name, attribute_float(node, name, default)) for name, default in defaults.items())
    return Rows(value.axes, algebra.apply(kind, parameters, value.value))


def _scalar(value: Value | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, Rows) or value.size != 1:
        raise StepError("Clip between limits that are no constants")
    return float(value.reshape(-1)[0])


def _shape(node: ir.Node, value: Value) -> NDArray[Any]:
    sizes: list[object] = list(value.axes if isinstance(value, Rows) else value.shape)
    stop = node.attributes.get("end")
    part = sizes[attribute_int(node, "start", 0) : None if stop is None else stop.as_int()]
    if None in part:
        return np.array([BATCH if size is None else size for size in part], dtype=object)
    return np.array(part, dtype=np.int64)


def _of_constants(algebra: Algebra, node: ir.Node, array: NDArray[Any]) -> NDArray[Any]:
    if node.op_type == "Neg":
        return -array
    if node.op_type == "Cast":
        kind = ir.DataType(attribute_int(node, "to", 1)).numpy()
        return array if array.dtype == object else array.astype(kind)
    if node.op_type == "ConstantOfShape":
        # Along the batch axis one sample stands for all.
        sizes = [1 if size == BATCH else int(size) for size in array.reshape(-1).tolist()]
        algebra.check_size(1, int(np.prod(sizes, dtype=np.float64)))
        fill = node.attributes.get("value")
        number = np.zeros(1, np.float32) if fill is None else fill.as_tensor().numpy().reshape(-1)
        return np.full(sizes, number[0], number.dtype)
    raise StepError(f"{node.op_type} of constants in the step")


def _arithmetic(algebra: Algebra, kind: str, first: Value, second: Value | None) -> Value:
    if second is None:
        raise StepError(f"{kind} has no second operand")
    if not isinstance(first, Rows) and not isinstance(second, Rows):
        return _of_arrays(algebra, kind, first, second)
    if kind == "Div":
        if isinstance(second, Rows):
            raise StepError("a division by what the step computes")
        kind, second = "Mul", 1.0 / second.astype(np.float64)
    pair = [one if isinstance(one, Rows) else constant_rows(algebra, one) for one in (first, second)]
    left, right = broadcast(algebra, *pair)
    axes = left.axes if left.batch is not None else right.axes
    if kind == "Mul":
        return Rows(axes, algebra.multiply(left.value, right.value))
    return Rows(axes, algebra.add(left.value, right.value, -1.0 if kind == "Sub" else 1.0))


def _of_arrays(algebra: Algebra, kind: str, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    if object in {first.dtype, second.dtype}:
        raise StepError("arithmetic with the number of samples")
    shape = np.broadcast_shapes(first.shape, second.shape)
    algebra.check_size(1, int(np.prod(shape, dtype=np.float64)))
    if kind == "Div":
        quotient = np.floor_divide(first, second) if np.issubdtype(first.dtype, np.integer) else first / second
        return np.asarray(quotient, first.dtype)
    function = {"Add": np.add, "Sum": np.add, "Sub": np.subtract, "Mul": np.multiply}[kind]
    return np.asarray(function(first, second), first.dtype)


def _product(algebra: Algebra, first: Value | None, second: Value | None) -> Value:
    if isinstance(first, Rows) and isinstance(second, Rows):
        raise StepError("a product of two matrices that the step computes")
    if isinstance(first, Rows) and second is not None and not isinstance(second, Rows):
        return multiplied(algebra, first, second.astype(np.float64), left=False)
    if isinstance(second, Rows) and first is not None and not isinstance(first, Rows):
        return multiplied(algebra, second, first.astype(np.float64), left=True)
    if first is None or second is None or isinstance(first, Rows) or isinstance(second, Rows):
        raise StepError("a product with a missing operand")
    if first.ndim != 2 or second.ndim != 2:
        raise StepError("a product of constants that are no matrices")
    algebra.check_size(first.shape[0], second.shape[1])
    return np.asarray(first @ second, first.dtype)


def _gemm(algebra: Algebra, node: ir.Node, values: list[Value | None]) -> Value:
    operands = [
        _transposed(algebra, value) if attribute_int(node, name, 0) else value
        for name, value in zip(("transA", "transB"), values, strict=False)
    ]
    result = _product(algebra, operands[0], operands[1])
    alpha, beta = attribute_float(node, "alpha", 1.0), attribute_float(node, "beta", 1.0)
    if alpha != 1.0:
        result = _arithmetic(algebra, "Mul", result, np.array(alpha))
    added = values[2] if len(values) > 2 else None
    if added is None:
        return result
    if beta != 1.0:
        added = _arithmetic(algebra, "Mul", added, np.array(beta))
    return _arithmetic(algebra, "Add", result, added)


def _transposed(algebra: Algebra, value: Value | None) -> Value | None:
    if value is None:
        return None
    if not isinstance(value, Rows):
        return value.T
    transpose = ir.Node("", "Transpose", [], [ir.AttrInt64s("perm", (1, 0))])
    return apply_layout(algebra, transpose, [value], None)[0]


def _linear(algebra: Algebra, values: list[Value | None]) -> Value:
    """A layer that torch's exporter wrote as one node."""
    weight = values[1]
    if weight is None or isinstance(weight, Rows):
        raise StepError("Linear with weights that the step computes")
    result = _product(algebra, values[0], weight.T)
    bias = values[2] if len(values) > 2 else None
    return result if bias is None else _arithmetic(algebra, "Add", result, bias)
