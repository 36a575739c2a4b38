"""Recognises by their numbers the kernels of convolutions that are made of quaternion components."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN, HAMILTON_ROWS
from .access import attribute_int, constant, insert, new_initializer

__all__ = ["hamilton_components", "insert_hamilton", "recognise_quaternion_kernels"]

Components = tuple[NDArray[np.float32], ...]


def recognise_quaternion_kernels(model: ir.Model) -> list[str]:
    """Replaces constant kernels of ``Conv`` by ``HamiltonMatrix`` of their components, with ``GateRows`` where there are groups.

    A file from elsewhere has them as plain kernels, however its exporter made them; that every number stands at four
    places with the right signs, to the last bit, does not happen by chance. The kernel of ``w (x) x`` is read, and with it
    that of conj(w) (x) x, which is another quaternion's.

    Requires: constants are folded, ``make_conv`` is done. Ensures: nothing where a kernel has no such form, or is zero
    everywhere.

    Returns:
        A note for every kernel that was recognised.
    """
    notes = []
    for node in list(model.graph):
        if node.domain != "" or node.op_type != "Conv":
            continue
        kernel = constant(node.inputs[1])
        if kernel is None or kernel.dtype != np.float32 or not kernel.any():
            continue
        group = attribute_int(node, "group", 1)
        components = hamilton_components(kernel, group)
        if components is not None:
            value, note = insert_hamilton(node, components, group)
            node.replace_input_with(1, value)
            notes.append(note)
    return notes


def hamilton_components(kernel: NDArray[np.float32], group: int = 1) -> Components | None:
    """r, i, j, k ``[N/4, C/4, *kernel]`` of a kernel ``[N, C, *kernel]``, or None.

    Of ``group`` groups each has a quaternion kernel of its own; the components have one group's rows after the other.
    """
    outputs, channels = kernel.shape[:2]
    if outputs % (4 * group) or channels % 4:
        return None
    rest = kernel.shape[2:]
    blocks = kernel.reshape(group, 4, outputs // (4 * group), 4, channels // 4, *rest)
    parts = {name: blocks[:, part, :, 0] for part, name in enumerate("rijk")}
    for part, row in enumerate(HAMILTON_ROWS):
        for column, entry in enumerate(row):
            expected = parts[entry[-1]]
            if not np.array_equal(blocks[:, part, :, column], -expected if entry.startswith("-") else expected):
                return None
    return tuple(part.reshape(outputs // 4, channels // 4, *rest) for part in parts.values())


def insert_hamilton(
    node: ir.Node, components: Components, group: int = 1, grouping: str = "blocked"
) -> tuple[ir.Value, str]:
    """The matrix or kernel that these components make, as nodes before ``node``, and a note of it.

    Args:
        node: a Linear or a Conv.
        components: r, i, j, k ``[N/4, C/4, *kernel]``.
        group: of a Conv: each group has rows of its own.
        grouping: the order of the input's channels.
    """
    if not isinstance(node.graph, ir.Graph):
        raise TypeError(f"node {node.name} is in no graph")
    outputs, channels, *rest = components[0].shape
    shape = ir.Shape((4 * outputs, 4 * channels, *rest))
    values = [
        new_initializer(node.graph, f"{node.name}.{part}_weight", array)
        for part, array in zip("rijk", components, strict=True)
    ]
    made = insert(
        node,
        "HamiltonMatrix",
        values,
        domain=FLOAT_DOMAIN,
        overload=grouping,
        name=f"{node.name}.matrix",
        attributes={"grouping": grouping},
    )
    if group > 1:
        made.outputs[0].type, made.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), shape
        made = insert(
            node,
            "GateRows",
            [made.outputs[0]],
            domain=FLOAT_DOMAIN,
            name=f"{node.name}.rows",
            attributes={"parts": 4, "order": list(range(group))},
        )
    made.outputs[0].type, made.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), shape
    note = (
        f"{node.name}: the weight repeats the components of {outputs} x {channels} quaternions, to the last bit: it is "
        "stored as these"
    )
    return made.outputs[0], note
