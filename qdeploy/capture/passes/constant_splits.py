"""Splits of constants become constants: the constant folding leaves nodes with several results alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .access import attribute_int, constant, new_initializer, replace

__all__ = ["fold_constant_splits"]


def fold_constant_splits(model: ir.Model) -> None:
    """Replaces every Split of a constant, such as a weight that is cut into its groups.

    Ensures: no Split whose input and sizes are constants, but for those that do not fit their input.
    """
    for node in list(model.graph):
        array = constant(node.inputs[0]) if node.domain == "" and node.op_type == "Split" else None
        axis = attribute_int(node, "axis", 0)
        if array is None or not -array.ndim <= axis < array.ndim:
            continue
        sizes = constant(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
        length, count = array.shape[axis], len(node.outputs)
        if sizes is None:
            # Equal parts, the last one smaller where they do not divide.
            step = -(-length // count)
            lengths = [step] * (count - 1) + [length - step * (count - 1)]
        else:
            lengths = [int(size) for size in sizes.reshape(-1)]
        if len(lengths) != count or min(lengths) < 0 or sum(lengths) != length:
            continue
        source = node.inputs[0]
        name = "constant" if source is None else source.name
        parts = np.split(array, np.cumsum(lengths)[:-1], axis=axis)
        for index, (output, part) in enumerate(zip(node.outputs, parts, strict=True)):
            replace(output, new_initializer(model.graph, f"{name}.{index}", np.ascontiguousarray(part)))
        model.graph.remove(node, safe=True)
