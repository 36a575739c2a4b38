"""The last pass: nothing is left but what the float layer form holds."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from ..elementwise import ELEMENTWISE, TABLES
from ..functions import FLOAT_DOMAIN, float_functions
from .access import attribute_int, constant, label
from .pools import POOLS, image_sizes

__all__ = ["LAYOUT_OPERATORS", "STANDARD_OPERATORS", "check_allowed", "check_weights"]

LAYOUT_OPERATORS = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat")
_PARAMETRIZED = frozenset({*LAYOUT_OPERATORS, "Clip"}) - {"Concat"}
_FIXED_NUMBERS = "reshape with fixed numbers and one -1 instead of sizes that are read from a tensor"
_OVER_TIME = {"ReduceMean": "mean", "ReduceMax": "maximum"}
STANDARD_OPERATORS = (
    "Conv",
    *POOLS,
    "Pad",
    "Relu",
    "Clip",
    "Tanh",
    "Sigmoid",
    *TABLES,
    "Add",
    "Mul",
    *_OVER_TIME,
    *LAYOUT_OPERATORS,
)

_SUPPORTED = (
    "Gemm and MatMul with constant weights, Conv and ConvTranspose over one to three axes, "
    "Gather of a constant table by an integer input, "
    "RNN (Relu or Tanh, forward), GRU (forward), "
    "LSTM (forward), Scan and Loop whose step is made of these cells, "
    "Relu, Clip, Tanh, LeakyRelu, PRelu, Elu, HardSwish and other functions of one value, "
    "Sigmoid, Add and Mul of two activations or with a constant for each channel, BatchNormalization, "
    "ReduceMean and ReduceMax of one axis or of a whole image, MaxPool, AveragePool, "
    "GlobalMaxPool, GlobalAveragePool, Pad of images, Resize to the nearest number by whole factors, Split, DepthToSpace, "
    "quaternion matrices (Neg, Concat), Reshape, Flatten, Transpose, Squeeze, "
    "Unsqueeze, "
    "Slice, Gather and Concat with constant parameters, Dropout, Identity, a final Softmax or LogSoftmax"
)

_NO_STATISTICS = (
    "it divides by a deviation of the sample itself, for which there is no integer form; train without it, or with batch "
    "normalization, which folds into the layer before it"
)

_NEAREST = {
    "LayerNormalization": _NO_STATISTICS,
    "InstanceNormalization": _NO_STATISTICS,
    "GroupNormalization": _NO_STATISTICS,
    "LpNormalization": _NO_STATISTICS,
    "MeanVarianceNormalization": _NO_STATISTICS,
    "Softmax": "only a Softmax that ends the model can be dropped; it must be the last node of an output",
    "LogSoftmax": "only a LogSoftmax that ends the model can be dropped; it must be the last node of an output",
    "QuantizeLinear": "the model is quantized already; export the float model",
    "DequantizeLinear": "the model is quantized already; export the float model",
}


_CONSTANT_OPERAND = {
    "Add": ("adds a constant to", "the bias of the Linear before it"),
    "Mul": ("multiplies a constant with", "a factor of the weights of a Linear beside it"),
}
"""What an Add or a Mul with a constant does, and where that constant belongs."""


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
            if node.op_type != ELEMENTWISE and (node.op_type, node.overload) not in float_functions():
                raise UnsupportedModelError(f"{label(node)}: found overload {node.overload!r}, which no function has")
        elif node.domain != "" or node.op_type not in {*STANDARD_OPERATORS, "Identity"}:
            nearest = _NEAREST.get(node.op_type) if node.domain == "" else None
            raise UnsupportedModelError(
                f"{label(node)}: not supported{f'; {nearest}' if nearest else ''}. Supported: {_SUPPORTED}"
            )


def _check_parameters(node: ir.Node) -> None:
    """Layout operators have constant parameters; what Add and Mul have left is no affine map; a mean is of one axis."""
    if node.domain == "" and node.op_type in _CONSTANT_OPERAND:
        if any(constant(value) is not None for value in node.inputs):
            does, place = _CONSTANT_OPERAND[node.op_type]
            raise UnsupportedModelError(
                f"{label(node)}: {does} an activation that is not one number for each entry of one axis (of a known length, not "
                f"that of the samples), expected two activations; such a constant can only be {place}"
            )
    elif node.domain == "" and node.op_type in _OVER_TIME:
        _check_reduction(node)
    elif node.domain == "" and node.op_type in {*POOLS, "Pad"}:
        _check_image(node)
    elif node.domain == "" and node.op_type in _PARAMETRIZED:
        for value in node.inputs[1:]:
            if value is not None and constant(value) is None:
                advice = "give its bounds as numbers" if node.op_type == "Clip" else _FIXED_NUMBERS
                raise UnsupportedModelError(
                    f"{label(node)}: {value.name} is computed by the graph, expected a constant; {advice}"
                )


def _check_reduction(node: ir.Node) -> None:
    """One constant axis, and not that of the samples."""
    kind = _OVER_TIME[node.op_type]
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    source = node.inputs[0]
    rank = None if source is None or source.shape is None else len(source.shape)
    if axes is None or axes.size != 1:
        found = "all axes" if axes is None else f"the axes {axes.reshape(-1).tolist()}"
        raise UnsupportedModelError(
            f"{label(node)}: a {kind} over {found}, expected one axis, that of the steps, or all axes of an image whose sizes "
            "are fixed"
        )
    if int(axes.reshape(-1)[0]) == 0 and rank == 2:
        raise UnsupportedModelError(
            f"{label(node)}: a {kind} over the samples, expected the axis of the steps; every sample is computed alone"
        )


def _check_image(node: ir.Node) -> None:
    """A pool has one result and an image of fixed sizes where they matter; a Pad has zeros around the axes of an image."""
    problem = ""
    if node.op_type == "Pad":
        pads, value = constant(node.inputs[1]), constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if pads is None or len(node.inputs) > 3:
            problem = "the pads are computed by the graph or the rank is not known, expected constant pads"
        elif pads.min(initial=0) < 0 or pads.reshape(2, -1)[:, :2].any():
            problem = f"pads {pads.tolist()}, expected zeros added behind samples and channels; crop with a slice"
        elif len(node.inputs) > 2 and (value is None or value.any()):
            problem = f"pads with {value if value is None else value.item()}, expected zeros"
    elif len([value for value in node.outputs if value.uses() or value.is_graph_output()]) > 1:
        problem = "the places of the maxima are read, expected the maxima alone"
    elif image_sizes(node.inputs[0]) is None and _needs_sizes(node):
        problem = (
            "the sizes of the image are not fixed, which its padding needs; export with a fixed size, or pad with zeros"
        )
    if problem:
        raise UnsupportedModelError(f"{label(node)}: {problem}")


def _needs_sizes(node: ir.Node) -> bool:
    """Whether what a pool computes at its ends depends on the sizes of the image."""
    if "auto_pad" in node.attributes or node.op_type == "GlobalAveragePool" or attribute_int(node, "ceil_mode", 0):
        return True
    pads = node.attributes.get("pads")
    padded = pads is not None and any(pads.as_ints())
    return node.op_type == "AveragePool" and padded and not attribute_int(node, "count_include_pad", 0)


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
