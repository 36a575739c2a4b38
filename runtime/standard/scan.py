"""Scan (opset 9 and later): a loop over the steps of a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.standard.frame import Frame, execute

if TYPE_CHECKING:
    from qdeploy.runtime.standard.node import Array, Build, Kernel, Node

__all__ = ["SCANS"]


def _per_input(node: Node, name: str, count: int) -> list[int]:
    values = [int(v) for v in node.attributes.get(name, [])] or [0] * count
    if len(values) != count:
        msg = f"found {len(values)} {name}, expected {count}"
        raise ValueError(msg)
    return values


def _check_type(found: Array, expected: np.dtype[Any] | None, what: str) -> None:
    if expected is not None and found.dtype != expected:
        msg = f"{what} has type {found.dtype}, the body declares {expected}"
        raise TypeError(msg)


def _build_scan(node: Node) -> Kernel:
    """States first, then scan inputs; gives the final states, then the scan outputs stacked along their axes.

    What the body computes from outer values alone runs once, before the loop. A sequence of no steps is an error
    (onnxruntime fails too).
    """
    body: Frame = node.attributes["body"]
    scans = int(node.attributes["num_scan_inputs"])
    states = len(body.inputs) - scans
    collected = len(body.outputs) - states
    if states < 0 or collected < 0:
        msg = f"found a body of {len(body.inputs)} inputs and {len(body.outputs)} outputs with num_scan_inputs={scans}"
        raise ValueError(msg)
    input_axes = _per_input(node, "scan_input_axes", scans)
    input_directions = _per_input(node, "scan_input_directions", scans)
    output_axes = _per_input(node, "scan_output_axes", collected)
    output_directions = _per_input(node, "scan_output_directions", collected)
    state_inputs, scan_inputs = body.inputs[:states], body.inputs[states:]
    state_outputs, scan_outputs = body.outputs[:states], body.outputs[states:]
    state_types, scan_types = body.input_types[:states], body.input_types[states:]
    tracer = node.tracer

    def kernel(*arguments: Array) -> Any:
        given = len(arguments) - len(body.captures)
        if given != states + scans:
            msg = f"found {given} inputs, expected {states} states and {scans} scan inputs"
            raise ValueError(msg)
        values = body.template.copy()
        for register, captured in zip(body.captures, arguments[given:], strict=True):
            values[register] = captured
        execute(body.prologue, values, tracer)

        current = list(arguments[:states])
        for array, declared in zip(current, state_types, strict=True):
            _check_type(array, declared, "an initial state")
        shapes = [array.shape for array in current]
        dtypes = [array.dtype for array in current]
        sequences: list[Array] = []
        for array, axis, backward, declared in zip(
            arguments[states:given], input_axes, input_directions, scan_types, strict=True
        ):
            _check_type(array, declared, "a scan input")
            moved = np.moveaxis(array, axis, 0)
            sequences.append(moved[::-1] if backward else moved)
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) != 1 or 0 in lengths:
            msg = f"found scan inputs of {sorted(lengths)} steps, expected one length of at least 1"
            raise ValueError(msg)
        (length,) = lengths

        results: list[Array] = []
        for step in range(length):
            for register, array in zip(state_inputs, current, strict=True):
                values[register] = array
            for register, sequence in zip(scan_inputs, sequences, strict=True):
                # A view, also where the row is a single element: [step] would give a NumPy scalar.
                values[register] = sequence[step, ...]
            execute(body.steps, values, tracer)
            for index, register in enumerate(state_outputs):
                array = _present(values[register])
                if array.shape != shapes[index] or array.dtype != dtypes[index]:
                    msg = (
                        f"state {index} became {array.dtype}{list(array.shape)} at step {step}, "
                        f"expected {dtypes[index]}{list(shapes[index])} as at the start"
                    )
                    raise ValueError(msg)
                current[index] = array
            if step == 0:
                firsts = [_present(values[register]) for register in scan_outputs]
                results = [np.empty((length, *first.shape), first.dtype) for first in firsts]
            for index, register in enumerate(scan_outputs):
                array = _present(values[register])
                row = results[index]
                if array.shape != row.shape[1:] or array.dtype != row.dtype:
                    msg = f"scan output {index} changes its shape or type at step {step}"
                    raise ValueError(msg)
                row[step] = array
        stacked = [
            np.moveaxis(row[::-1] if backward else row, 0, axis)
            for row, axis, backward in zip(results, output_axes, output_directions, strict=True)
        ]
        everything = (*current, *stacked)
        return everything[0] if node.outputs == 1 else everything[: node.outputs]

    return kernel


def _present(array: Array | None) -> Array:
    if array is None:
        msg = "the body gives no value for one of its outputs"
        raise ValueError(msg)
    return array


SCANS: dict[str, Build] = {"Scan": _build_scan}
