"""Recognises modReLU that was written with Sign, Abs, Add, Relu and Mul."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN
from .access import constant, insert, new_initializer, replace

__all__ = ["make_modrelu", "match_modrelu"]


def make_modrelu(model: ir.Model) -> None:
    """Replaces ``Sign(x) * Relu(Abs(x) + b)`` of a constant ``b`` [H] by ``qdeploy.float::ModRelu``.

    Requires: constants are folded. Ensures: constants that were added one after the other are one bias.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type != "Mul":
            continue
        match = match_modrelu(node.outputs[0])
        if match is None:
            continue
        x, bias = match
        name = node.name or "modrelu"
        value = new_initializer(model.graph, f"{name}.bias", bias)
        written = insert(node, "ModRelu", [x, value], domain=FLOAT_DOMAIN, name=name)
        replace(node.outputs[0], written.outputs[0])
        model.graph.remove(node, safe=True)


def match_modrelu(value: ir.Value) -> tuple[ir.Value, NDArray[np.float32]] | None:
    """``x`` and ``b`` [H] where ``value`` is ``Sign(x) * Relu(Abs(x) + b)``."""
    product = _standard(value.producer(), "Mul")
    if product is None:
        return None
    for signed, rectified in (product.inputs, tuple(reversed(product.inputs))):
        if signed is None or rectified is None:
            continue
        sign, relu = _standard(signed.producer(), "Sign"), _standard(rectified.producer(), "Relu")
        if sign is None or relu is None or sign.inputs[0] is None or relu.inputs[0] is None:
            continue
        bias = _shift_of_modulus(relu.inputs[0], sign.inputs[0])
        if bias is not None and bias.ndim == 1:
            return sign.inputs[0], bias
    return None


def _shift_of_modulus(value: ir.Value, x: ir.Value) -> NDArray[np.float32] | None:
    """The constant ``c`` of ``Abs(x) + c``."""
    absolute = _standard(value.producer(), "Abs")
    if absolute is not None:
        return np.zeros((), np.float32) if absolute.inputs[0] is x else None
    added = _standard(value.producer(), "Add")
    if added is None:
        return None
    for inner, shift in (added.inputs, tuple(reversed(added.inputs))):
        array = constant(shift)
        if inner is None or array is None or array.dtype != np.float32:
            continue
        rest = _shift_of_modulus(inner, x)
        if rest is not None:
            total: NDArray[np.float32] = rest + array
            return total
    return None


def _standard(node: ir.Node | None, op_type: str) -> ir.Node | None:
    return node if node is not None and node.domain == "" and node.op_type == op_type else None
