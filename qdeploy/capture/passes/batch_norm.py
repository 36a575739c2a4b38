"""Batch normalization in evaluation becomes ``qdeploy.float::ChannelAffine``, beside the layer that it normalizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from ..functions import FLOAT_DOMAIN, TRAILING, affine_overload
from .access import (
    attribute_float,
    attribute_int,
    attribute_ints,
    constant,
    insert,
    new_initializer,
    only_consumer,
    replace,
)
from .access import label as named
from .activations import activation_in_front

__all__ = ["AFFINE_OPERATORS", "insert_affine", "level_matrices", "make_affines", "move_affines"]

_LAYERS = ("Linear", "Conv", "ConvTranspose")

_NEAR = 8.0
"""Three of sixteen bits that a component may lose to its quaternion's largest."""

AFFINE_OPERATORS = ("ChannelAffine", "QuaternionAffine")


def make_affines(model: ir.Model) -> None:
    """Replaces BatchNormalization by ``ChannelAffine``.

    Requires: constants are folded, shapes are inferred. Ensures: no BatchNormalization.

    Raises:
        UnsupportedModelError: training mode, statistics that the graph computes, an unknown number of axes.
        InvalidFileError: running statistics without a finite factor.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "BatchNormalization":
            _affine(node)


def move_affines(model: ir.Model) -> None:
    """Moves affine maps of channels in front of Transpose and Reshape, to the layer that writes the channels; activations too.

    A layer over [batch, steps, channels] is normalized between two Transposes, or with batch and steps as one axis.

    Requires: Reshapes have constant shapes. Ensures: no affine map behind a Transpose, or behind a Reshape that leaves the
    channels last, which nothing else reads; Transposes between which nothing stands are one, or none where they cancel.
    """
    for node in list(model.graph):
        if node.domain == FLOAT_DOMAIN and node.op_type in AFFINE_OPERATORS:
            while (moved := _in_front(node)) is not None:
                node = moved  # noqa: PLW2901  # the node that took its place
        else:
            while (moved := activation_in_front(node)) is not None:
                node = moved  # noqa: PLW2901  # the node that took its place
    for node in list(model.graph):
        _join_transposes(node)


def level_matrices(model: ir.Model) -> None:
    """Takes powers of two out of the columns of a ``QuaternionAffine`` behind a layer, and gives them to that layer.

    What is normalized has one scale for all channels as an integer, and channels may differ by orders of magnitude: in units of
    the matrix that evens them out, each uses that scale's bits. Powers of two leave every float bit as it is. The four
    components of a quaternion get one power where theirs are near, so that its weights stay components.

    Requires: layers are made. Ensures: a ``ChannelAffine`` between such a pair, its constants zero; the largest entry of every
    column of the matrix lies within a factor of ``_NEAR`` of 1.
    """
    for node in list(model.graph):
        if node.domain != FLOAT_DOMAIN or node.op_type != "QuaternionAffine":
            continue
        x, matrix = node.inputs[0], constant(node.inputs[1])
        layer = None if x is None else x.producer()
        if x is None or matrix is None or layer is None or layer.op_type not in _LAYERS or only_consumer(x) is not node:
            continue
        largest = np.abs(matrix.astype(np.float64)).max(axis=1).T
        powers = np.rint(np.log2(np.where(largest > 0, largest, 1.0)))
        near = powers.max(axis=0) - powers.min(axis=0) <= np.log2(_NEAR)
        powers = np.where(near, np.rint(powers.mean(axis=0)), powers)
        if not powers.any():
            continue
        scale = 2.0**powers
        constants = [
            new_initializer(model.graph, f"{node.name}.{part}", array.astype(np.float32))
            for part, array in (("scale", scale.reshape(-1)), ("no_shift", np.zeros(scale.size)))
        ]
        levelled = _insert(node, "ChannelAffine", x, constants, attribute_int(node, "trailing", 0))
        levelled.name = f"{node.name}.scale"
        columns = (matrix / scale.T[:, None, :]).astype(np.float32)
        node.replace_input_with(0, levelled.outputs[0])
        node.replace_input_with(1, new_initializer(model.graph, f"{node.name}.matrix", columns))


def _affine(node: ir.Node) -> None:
    graph, x = node.graph, node.inputs[0]
    if not isinstance(graph, ir.Graph) or x is None:
        return
    label = named(node)
    if attribute_int(node, "training_mode", 0):
        raise UnsupportedModelError(
            f"{label}: found training mode, which normalizes by the batch's own statistics, expected running statistics; "
            "export the model after model.eval()"
        )
    constants = [constant(value) for value in node.inputs[1:5]]
    if len(constants) != 4 or any(array is None for array in constants):
        raise UnsupportedModelError(
            f"{label}: found statistics that the network computes, expected constants; give the layer running statistics "
            "(track_running_stats=True) and train them"
        )
    weight, bias, mean, variance = (np.asarray(array, np.float64) for array in constants)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = weight / np.sqrt(variance + attribute_float(node, "epsilon", 1e-5))
        shift = bias - scale * mean
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise InvalidFileError(
            f"{label}: its running statistics give factors that are not finite, expected variances that are not negative "
            "and an epsilon above 0; export the model from a checkpoint from before the training diverged"
        )
    shape = x.shape or node.outputs[0].shape
    trailing = None if shape is None else len(shape) - 2
    if trailing not in TRAILING:
        found = "an unknown number of" if shape is None else len(shape)
        raise UnsupportedModelError(
            f"{label}: found an input of {found} axes, expected 2 to 5: [batch, channels, ...]; export the model with shapes"
        )
    # What torch calls a functional one says nothing.
    name = "batch_norm" if not node.name or "native_batch_norm" in node.name else node.name
    values = [new_initializer(graph, f"{name}.{part}", array.astype(np.float32)) for part, array in
              (("scale", scale), ("shift", shift))]  # fmt: skip
    written = _insert(node, "ChannelAffine", x, values, trailing)
    written.name = name
    replace(node.outputs[0], written.outputs[0])
    graph.remove(node, safe=True)


def insert_affine(before: ir.Node, x: ir.Value, constants: list[ir.Value], trailing: int) -> ir.Node:
    """A ``ChannelAffine`` of scale and shift in front of ``before``, whose name it takes."""
    return _insert(before, "ChannelAffine", x, constants, trailing)


def _insert(before: ir.Node, operator: str, x: ir.Value, constants: list[ir.Value], trailing: int) -> ir.Node:
    written = insert(
        before,
        operator,
        [x, *constants],
        domain=FLOAT_DOMAIN,
        overload=affine_overload(trailing),
        name=before.name,
        attributes={"trailing": trailing},
    )
    written.outputs[0].shape, written.outputs[0].type = x.shape, x.type
    return written


def _in_front(node: ir.Node) -> ir.Node | None:
    """Moves ``node`` in front of the layout operator that it reads, and returns the node that took its place."""
    graph, x = node.graph, node.inputs[0]
    layout = None if x is None else x.producer()
    if not isinstance(graph, ir.Graph) or x is None or layout is None or layout.domain != "":
        return None
    source = layout.inputs[0] if layout.inputs else None
    if source is None or only_consumer(x) is not node or constant(source) is not None:
        return None
    trailing = _trailing_before(node, layout, source)
    if trailing is None:
        return None
    constants = [value for value in node.inputs[1:] if value is not None]
    moved = _insert(layout, node.op_type, source, constants, trailing)
    moved.name = node.name
    again = insert(
        node, layout.op_type, [moved.outputs[0], *layout.inputs[1:]], name=layout.name, attributes=_attributes(layout)
    )
    again.outputs[0].shape, again.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    replace(node.outputs[0], again.outputs[0])
    graph.remove(node, safe=True)
    graph.remove(layout, safe=True)
    return moved


def _join_transposes(node: ir.Node) -> None:
    """Transpose(Transpose(x)) that nothing else reads is one Transpose."""
    source = node.inputs[0] if node.inputs else None
    first = None if source is None else source.producer()
    if source is None or first is None or {node.op_type, first.op_type} != {"Transpose"}:
        return
    inner, outer = attribute_ints(first, "perm"), attribute_ints(node, "perm")
    if inner is None or outer is None or only_consumer(source) is not node:
        return
    order, x = [inner[place] for place in outer], first.inputs[0]
    if x is None or not isinstance(node.graph, ir.Graph) or not isinstance(first.graph, ir.Graph):
        return
    if order == sorted(order) and not node.outputs[0].is_graph_output():
        replace(node.outputs[0], x)
        node.graph.remove(node, safe=True)
    else:
        node.replace_input_with(0, x)
        node.attributes["perm"] = ir.AttrInt64s("perm", order)
    first.graph.remove(first, safe=True)


def _trailing_before(node: ir.Node, layout: ir.Node, source: ir.Value) -> int | None:
    """How many axes stand behind the channels of ``source``, where ``layout`` leaves the channels whole."""
    trailing = attribute_int(node, "trailing", 0)
    if layout.op_type == "Transpose":
        order = attribute_ints(layout, "perm")
        if order is None or trailing >= len(order):
            return None
        axis = order[len(order) - 1 - trailing]
        before = len(order) - 1 - axis
        # The first axis holds samples.
        return before if axis > 0 and before in TRAILING else None
    if layout.op_type == "Reshape" and trailing == 0 and source.shape is not None and len(source.shape) > 1:
        sizes = constant(layout.inputs[1])
        whole = sizes is not None and sizes.size > 1 and int(sizes[-1]) == source.shape[-1] == _channels(node)
        return 0 if whole and not attribute_int(layout, "allowzero", 0) else None
    return None


def _channels(node: ir.Node) -> int:
    factors: NDArray[Any] | None = constant(node.inputs[1])
    if factors is None:
        return -1
    return len(factors) if node.op_type == "ChannelAffine" else 4 * len(factors)


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {name: attribute.value for name, attribute in node.attributes.items()}
