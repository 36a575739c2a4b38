"""Where a bundle's layers by LiteRT's own kernels give the bits of its model, by the table of their rounding rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.runtime.litert_interpreter import RESOLVERS
from qdeploy.runtime.litert_rules import (
    CONVOLUTION,
    DEPTHWISE,
    FULLY_CONNECTED,
    MEASURED,
    PROCESSORS,
    KernelUse,
    claim,
    version_ranges,
)
from qdeploy.runtime.ops import DOMAIN, OPERATORS, operator_name
from qdeploy.runtime.rounding import HALF_UP

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

__all__ = ["kernel_uses", "statement"]

_BUILT_IN = {"Linear", "Conv", "RNN"}
"""Operators whose attribute ``rounding`` makes them one of LiteRT's."""


def kernel_uses(model: onnx.ModelProto) -> tuple[KernelUse, ...]:
    """The layers of a model that one of LiteRT's quantized operators computes in its ``model.tflite``; nothing is run."""
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        operator = operator_name(node.op_type) if node.domain == DOMAIN else ""
        attributes = {attribute.name: attribute for attribute in node.attribute}
        rounding = attributes["rounding"].s.decode() if "rounding" in attributes else HALF_UP
        if operator in _BUILT_IN and rounding != HALF_UP:
            given = dict(zip(OPERATORS[operator].inputs, node.input, strict=False))
            shapes = {argument: sizes[name] for argument, name in given.items() if name in sizes}
            name = node.name or node.output[0]
            group = attributes["group"].i if "group" in attributes else 1
            found.append(_use(name, operator, rounding, shapes, group))
    return tuple(found)


def statement(uses: tuple[KernelUse, ...]) -> str:
    """For which runtimes, kernel sets and processors the bits of these layers hold."""
    rules = ", ".join(sorted({use.rounding for use in uses}))
    found = []
    for package in MEASURED:
        for resolver in RESOLVERS:
            alike: dict[tuple[str, ...], tuple[str, str]] = {}
            for first, last in version_ranges(package):
                where = tuple(
                    name for name in PROCESSORS[package] if claim(uses, package, f"{last}.0", resolver, name) is None
                )
                alike[where] = (alike.get(where, (first,))[0], last)
            alike.pop((), None)
            for where, (first, last) in alike.items():
                places = "every processor" if len(where) == len(PROCESSORS[package]) else ", ".join(where)
                versions = first if first == last else f"{first} to {last}"
                found.append(f"{package} {versions}, {resolver} kernels ({places})")
    held = "; ".join(found) or "no runtime that was measured"
    layers = "1 of its layers rounds" if len(uses) == 1 else f"{len(uses)} of its layers round"
    return f"model.tflite: {layers} as LiteRT's own kernels do ({rules}); the bits hold in {held}"


def _use(layer: str, operator: str, rounding: str, shapes: Mapping[str, tuple[int, ...]], group: int) -> KernelUse:
    if operator == "Conv":
        _, inside, *_ = shapes.get("weight", (0, 1))
        return KernelUse(layer, DEPTHWISE if group > 1 and inside == 1 else CONVOLUTION, rounding)
    if operator == "Linear":
        outputs, inputs = shapes.get("weight", (None, None))
        return KernelUse(layer, FULLY_CONNECTED, rounding, outputs, inputs)
    # One step is one row of states and inputs side by side.
    hidden, inputs = shapes.get("input_weight", (None, None))
    width = None if hidden is None or inputs is None else hidden + inputs
    return KernelUse(layer, FULLY_CONNECTED, rounding, hidden, width, 1)
