"""Functions of one value: what standard ONNX operators compute, in float64, and what a chain of them computes.

A table of an 8-bit value has 256 entries and holds any such function exactly, whatever it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["ELEMENTWISE", "ELEMENTWISE_OPERATORS", "TABLES", "elementwise_function", "evaluate"]

ELEMENTWISE = "Elementwise"
"""The float operator whose overloads are functions of one value, with a body of the operators below."""

Array = NDArray[Any]
_Operator = Callable[..., Array]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, 0.0)


def _celu(x: Array, alpha: float = 1.0) -> Array:
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(np.minimum(x, 0) / alpha), 0)


def _selu(x: Array, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Array:
    return np.asarray(gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    raised = x if low is None else np.maximum(x, low)
    return raised if high is None else np.minimum(raised, high)


def _hard_sigmoid(x: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return np.clip(alpha * x + beta, 0.0, 1.0)


_OPERATORS: dict[str, _Operator] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Atan": np.arctan,
    "Ceil": np.ceil,
    "Celu": _celu,
    "Clip": _clip,
    "Cos": np.cos,
    "Div": np.divide,
    "Elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "Equal": np.equal,
    "Erf": _erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x: x * _hard_sigmoid(x, 1 / 6),
    "Identity": lambda x: x,
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "Min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "PRelu": lambda x, slope: np.where(x < 0, slope * x, x),
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Round": np.rint,
    "Selu": _selu,
    "Sigmoid": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)),
    "Sign": np.sign,
    "Sin": np.sin,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1.0 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "ThresholdedRelu": lambda x, alpha=1.0: np.where(x > alpha, x, 0),
    "Where": np.where,
}

TABLES = (
    "Abs",
    "Atan",
    "Celu",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "PRelu",
    "Reciprocal",
    "Selu",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "ThresholdedRelu",
)
"""Operators on one activation that are a layer by themselves; Relu, Clip, Tanh and Sigmoid are layers of their own kind."""

ELEMENTWISE_OPERATORS = frozenset(_OPERATORS)
"""Standard operators that compute every element of their result from the elements in its place."""


def elementwise_function(
    node: onnx.NodeProto, constants: Mapping[str, Array], body: onnx.FunctionProto | None
) -> Callable[[Array], Array]:
    """The function of one value that ``node`` computes, in float64.

    Args:
        node: a standard operator whose inputs behind the first are constants, or one of Elementwise.
        constants: by name, those that the node reads.
        body: the function that a node of Elementwise calls.
    """
    if body is None:
        return lambda x: evaluate([node], {**constants, node.input[0]: x}, node.output[0])
    nodes, known = [], {}
    for inner in body.node:
        if inner.op_type == "Constant":
            known[inner.output[0]] = onnx.numpy_helper.to_array(inner.attribute[0].t)
        else:
            nodes.append(inner)
    return lambda x: evaluate(nodes, {**known, body.input[0]: x}, body.output[0])


def evaluate(nodes: list[onnx.NodeProto], values: Mapping[str, Array], wanted: str) -> Array:
    """What ``nodes``, in their order, make of ``values``: the tensor ``wanted``, in float64.

    Where a function is not defined, such as the logarithm of a negative number, it is NaN.
    """
    known = {name: _wide(value) for name, value in values.items()}
    with np.errstate(all="ignore"):
        for node in nodes:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs = [known[name] if name else None for name in node.input]
            known[node.output[0]] = _wide(_OPERATORS[node.op_type](*inputs, **attributes))
    return known[wanted]


def _wide(value: Array) -> Array:
    return value if value.dtype == bool else value.astype(np.float64)
