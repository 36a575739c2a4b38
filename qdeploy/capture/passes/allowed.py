"""The last pass: nothing is left but what the float layer form holds."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from ..functions import FLOAT_DOMAIN, float_functions
from .access import constant, label

__all__ = ["LAYOUT_OPERATORS", "STANDARD_OPERATORS", "check_allowed", "check_weights"]

LAYOUT_OPERATORS = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat")
_PARAMETRIZED = frozenset(LAYOUT_OPERATORS) - {"Concat"}
STANDARD_OPERATORS = ("Relu", "Tanh", "Sigmoid", "Add", *LAYOUT_OPERATORS)

_SUPPORTED = (
    "Gemm and MatMul with constant weights, RNN (Relu or Tanh, forward), GRU (forward, linear_before_reset 1), "
    "LSTM (forward), Scan whose step is made of these cells, "
    "Relu, Tanh, "
    "Sigmoid, Add of two activations, quaternion matrices (Neg, Concat), Reshape, Flatten, Transpose, Squeeze, "
    "Unsqueeze, "
    "Slice, Gather and Concat with constant parameters, Dropout, Identity, a final Softmax or LogSoftmax"
)

_NEAREST = {
    "BatchNormalization": "fold it into the layer before it",
    "LayerNormalization": "train without normalization layers",
    "Conv": "convolutions are not supported; flatten the image and use Linear layers",
    "Loop": "write the recurrence as an RNN operator or a Scan of one state",
    "Gelu": "use Relu, Tanh or Sigmoid",
    "LeakyRelu": "use Relu, Tanh or Sigmoid",
    "Elu": "use Relu, Tanh or Sigmoid",
    "Softmax": "only a Softmax that ends the model can be dropped; it must be the last node of an output",
    "LogSoftmax": "only a LogSoftmax that ends the model can be dropped; it must be the last node of an output",
    "QuantizeLinear": "the model is quantized already; export the float model",
    "DequantizeLinear": "the model is quantized already; export the float model",
}


def check_allowed(model: ir.Model) -> None:
    """Ensures that the graph is the float layer form.

    Raises:
        UnsupportedModelError: the first node that is not of it, with its name, its operator and what is supported.
    """
    # Parameters first: the operators that compute them would be named otherwise, which helps nobody.
    for node in model.graph:
        _check_parameters(node)
    for node in model.graph:
        if node.domain == FLOAT_DOMAIN:
            if (node.op_type, node.overload) not in float_functions():
                raise UnsupportedModelError(f"{label(node)}: found overload {node.overload!r}, which no function has")
        elif node.domain != "" or node.op_type not in {*STANDARD_OPERATORS, "Identity"}:
            nearest = _NEAREST.get(node.op_type) if node.domain == "" else None
            raise UnsupportedModelError(
                f"{label(node)}: not supported{f'; {nearest}' if nearest else ''}. Supported: {_SUPPORTED}"
            )


def _check_parameters(node: ir.Node) -> None:
    """Layout operators have constant parameters; an Add has none."""
    if node.domain == "" and node.op_type == "Add":
        if any(constant(value) is not None for value in node.inputs):
            raise UnsupportedModelError(
                f"{label(node)}: adds a constant to an activation, expected two activations; a constant can only be "
                "the bias of the Linear before it"
            )
    elif node.domain == "" and node.op_type in _PARAMETRIZED:
        for value in node.inputs[1:]:
            if value is not None and constant(value) is None:
                raise UnsupportedModelError(
                    f"{label(node)}: {value.name} is computed by the graph, expected a constant; reshape with fixed "
                    "numbers and one -1 instead of sizes that are read from a tensor"
                )


def check_weights(model: ir.Model) -> None:
    """Ensures that every weight is finite.

    Raises:
        InvalidFileError: NaN or infinite values, with the tensor's name.
    """
    for name, value in model.graph.initializers.items():
        array = constant(value)
        if array is None or not np.issubdtype(array.dtype, np.floating):
            continue
        if not np.isfinite(array).all():
            raise InvalidFileError(
                f"tensor {name}: found NaN or infinite values, expected finite weights; export the model from a "
                "checkpoint "
                "from before the training diverged"
            )
