"""Every layer has weights of its own."""

from __future__ import annotations

import onnx_ir as ir

from ..elementwise import ELEMENTWISE
from ..functions import FLOAT_DOMAIN, float_functions
from .access import constant, new_initializer

__all__ = ["give_own_weights"]


def give_own_weights(model: ir.Model) -> None:
    """Copies an initializer that a second layer reads; exporters merge equal ones, such as two biases of zeros.

    A bias is quantized at the scale of its layer's accumulator, so that two layers cannot share one. Requires: nodes
    have names. Ensures: an initializer is read by at most one node of the float domain or ``Conv``, at one place.
    """
    taken: set[str] = set()
    for node in model.graph:
        if node.domain == FLOAT_DOMAIN and node.op_type != ELEMENTWISE:
            parameters = list(float_functions()[node.op_type, node.overload].input)
        elif node.domain == "" and node.op_type == "Conv":
            parameters = ["x", "weight", "bias"]
        else:
            continue
        for index, (value, parameter) in enumerate(zip(node.inputs, parameters, strict=False)):
            array = constant(value) if value is not None and value.is_initializer() else None
            if value is None or array is None or value.name is None:
                continue
            if value.name in taken:
                value = new_initializer(model.graph, f"{node.name}.{parameter}", array)  # noqa: PLW2901  # the copy
                node.replace_input_with(index, value)
            taken.add(str(value.name))
