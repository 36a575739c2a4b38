"""A Scan whose step is made of cells that have an operator becomes those operators."""

from __future__ import annotations

import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from .access import attribute_int, attribute_ints, label
from .step import Carried, Loop, Scanned, Stacked, convert_loop

__all__ = ["convert_scans"]


def convert_scans(model: ir.Model) -> None:
    """Replaces every Scan by ``RNN``, ``GRU``, ``LSTM`` ... of the float domain and layout operators around them.

    Ensures: no Scan is left. What its body looks like does not matter, only what it computes: see ``step.algebra``.

    Raises:
        UnsupportedModelError: a state that no operator computes.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Scan":
            convert_loop(_loop(node))


def _loop(node: ir.Node) -> Loop:
    body = node.attributes["body"].as_graph()
    scanned = attribute_int(node, "num_scan_inputs", 1)
    count = len(node.inputs) - scanned
    if len(body.inputs) != len(node.inputs) or count < 0 or len(body.outputs) < max(count, len(node.outputs)):
        raise UnsupportedModelError(
            f"{label(node)}: {len(node.inputs)} inputs and a step of {len(body.inputs)} inputs and {len(body.outputs)} "
            "outputs do not go together; export the model again"
        )
    stacked = len(body.outputs) - count
    turned = attribute_ints(node, "scan_input_directions") or [0] * scanned
    output_turned = attribute_ints(node, "scan_output_directions") or [0] * stacked
    axes = attribute_ints(node, "scan_input_axes") or [0] * scanned
    output_axes = attribute_ints(node, "scan_output_axes") or [0] * stacked
    given = [_present(node, place) for place in range(len(node.inputs))]
    results = [value if value.name != "" else None for value in node.outputs]
    results += [None] * (len(body.outputs) - len(results))
    return Loop(
        node,
        body,
        tuple(Carried(body.inputs[place], body.outputs[place], given[place], results[place]) for place in range(count)),
        tuple(
            Scanned(body.inputs[count + place], given[count + place], axis, bool(turned[place]))
            for place, axis in enumerate(axes)
        ),
        tuple(
            Stacked(body.outputs[count + place], sequence, axis, bool(output_turned[place]))
            for place, axis in enumerate(output_axes)
            if (sequence := results[count + place]) is not None
        ),
    )


def _present(node: ir.Node, place: int) -> ir.Value:
    value = node.inputs[place]
    if value is None:
        raise UnsupportedModelError(f"{label(node)}: input {place} is missing; export the model again")
    return value
