"""Where inside a layer's body two voices part: the first standard operator whose results differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner

from qdeploy.runtime.engines import available, open_engine
from qdeploy.runtime.errors import QdeployError

if TYPE_CHECKING:
    from .voices import Voice

__all__ = ["locate_in_body", "opened_body"]

Array = npt.NDArray[Any]
_SHOWN_SUFFIX = "__shown"


def locate_in_body(
    model: onnx.ModelProto,
    position: int,
    judge: Callable[[Mapping[str, Array]], tuple[dict[str, Array], Any]],
    feeds: Mapping[str, Array],
    voice: Voice,
) -> str | None:
    """Runs the node at ``position`` alone, on the judge's own inputs, with everything inside its body shown.

    Returns a sentence: the first standard operator at which ``voice`` and another executor of standard operators part
    (inside a loop: its earliest step), or that both compute the same, so that the body itself is not what the contract
    says. None where the body cannot be opened.
    """
    node = model.graph.node[position]
    if not any((f.domain, f.name) == (node.domain, node.op_type) for f in model.functions):
        return None
    tensors, _ = judge(feeds)
    try:
        opened, inputs = opened_body(model, position, tensors)
        partner = "bodies" if voice.runtime != "bodies" else "onnxruntime"
        if available()[partner] is None:
            return _contract(node, tensors, voice.open(opened).run(inputs))
        expected = open_engine(partner, opened).run(inputs)
        found = voice.open(opened).run(inputs)
    except (QdeployError, ValueError, RuntimeError):
        return None
    first = _first(opened.graph, expected, found)
    if first is not None:
        return f"{first} than {partner} gives"
    return _contract(node, tensors, expected)


def _contract(node: onnx.NodeProto, tensors: Mapping[str, Array], computed: Mapping[str, Array]) -> str:
    body = f"{node.op_type}{f' ({node.overload})' if node.overload else ''}"
    if all(np.array_equal(tensors[name], computed[name]) for name in node.output if name in computed):
        return f"the body of {body} alone gives the reference's integers; the runtimes part only in the whole graph"
    return f"the standard operators agree with each other: the body of {body} does not compute the operator's contract"


def opened_body(
    model: onnx.ModelProto, position: int, tensors: Mapping[str, Array]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The node alone as a flat graph of standard operators that shows every result, and its inputs from ``tensors``.

    What a Scan computes in each step becomes one more output of the loop, stacked.
    """
    node = model.graph.node[position]
    single = onnx.ModelProto()
    single.CopyFrom(model)
    graph = single.graph
    for repeated in (graph.node, graph.input, graph.output, graph.initializer, graph.value_info):
        del repeated[:]
    graph.node.append(node)
    inputs: dict[str, Array] = {}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in dict.fromkeys(node.input):
        if name in initializers:
            graph.initializer.append(initializers[name])
        elif name:
            array = tensors[name]
            element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, element, [None] * array.ndim))
            inputs[name] = array
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    flat: onnx.ModelProto = inliner.inline_local_functions(single)
    shown = {value.name for value in flat.graph.output}
    for inner in flat.graph.node:
        if inner.op_type == "Scan":
            _show_steps(inner)
        if inner.op_type != "Constant":
            flat.graph.output.extend(onnx.ValueInfoProto(name=n) for n in inner.output if n and n not in shown)
            shown.update(inner.output)
    return flat, inputs


def _show_steps(scan: onnx.NodeProto) -> None:
    body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
    given = {value.name for value in body.output}
    for index, name in enumerate(n for inner in body.node for n in inner.output if n):
        if name in given:
            continue
        body.output.append(onnx.ValueInfoProto(name=name))
        scan.output.append(f"{scan.name or scan.output[0]}/{index}/{name}{_SHOWN_SUFFIX}")
    for attribute in list(scan.attribute):
        # Given for the old outputs only; the new ones are stacked forward along the first axis, like these.
        if attribute.name in {"scan_output_axes", "scan_output_directions"}:
            attribute.ints.extend([0] * (len(scan.output) - len(given)))


def _first(graph: onnx.GraphProto, expected: Mapping[str, Array], found: Mapping[str, Array]) -> str | None:
    for node in graph.node:
        wrong = [n for n in node.output if n in expected and not np.array_equal(expected[n], found[n])]
        if not wrong:
            continue
        if node.op_type != "Scan":
            return f"{node.op_type} (tensor {wrong[0]}) is the first standard operator with another result"
        body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
        # Outputs of the body and of the node correspond by position.
        inner = dict(zip((value.name for value in body.output), node.output, strict=True))
        states = {v.name for v in body.output[: len(body.input) - _scan_inputs(node)]}
        places: list[tuple[int, int, onnx.NodeProto, str]] = []
        for order, step_node in enumerate(body.node):
            for name in step_node.output:
                outer = inner.get(name)
                if outer is not None and outer in wrong and name not in states:
                    step = int(np.argwhere(expected[outer] != found[outer])[0][0])
                    places.append((step, order, step_node, name))
        if places:
            step, _, step_node, name = min(places, key=lambda place: place[:2])
            return f"{step_node.op_type} (tensor {name}) in the loop, step {step}, is the first with another result"
        return f"{node.op_type} (tensor {wrong[0]}) is the first standard operator with another result"
    return None


def _scan_inputs(node: onnx.NodeProto) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "num_scan_inputs")
