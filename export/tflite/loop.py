"""Recurrences: WHILE with two subgraphs, or their body alone where a subgraph takes one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.writer import Value

if TYPE_CHECKING:
    from qdeploy.export.tflite.writer import Subgraph

__all__ = ["Body", "Variables", "run_steps"]

Variables: TypeAlias = "Mapping[str, Value]"

Body: TypeAlias = "Callable[[Code, Variables, Value], Variables]"
"""One step: where operators go, the variables, and the step's number, int32 ``[1]``, to the variables that change."""

_STEP, _STEPS = "step", "steps"


def run_steps(code: Code, name: str, sequence: Value, variables: Variables, body: Body) -> Variables:
    """Runs ``body`` once for every entry of the first axis of ``sequence``.

    A loop of LiteRT sees nothing but its variables and constants: ``variables`` holds all that the body reads. What it does
    not give back goes on as it is.

    Args:
        code: where the loop goes.
        name: of its subgraphs.
        sequence: its first axis counts the steps; of a fixed size of 1 no loop is written.
        variables: before the first step.
        body: one step.

    Returns:
        the variables behind the last step.
    """
    # Its name keeps it apart from other zeros: inside a loop it is a variable.
    first = code.subgraph.constant([0], name=f"{name}_first")
    if sequence.shape[0] == 1:
        return {**variables, **body(code, variables, first)}
    model = code.subgraph.model
    sizes = code.subgraph.add("SHAPE", [sequence], np.int32, (len(sequence.shape),), out_type=2)
    carried = {_STEP: first, _STEPS: code.slice(sizes, [0], [1]), **variables}
    condition_number, condition = model.subgraph(f"{name}_condition")
    inside = {key: _variable(code, condition, key, value) for key, value in carried.items()}
    going_on = condition.add("LESS", [inside[_STEP], inside[_STEPS]], np.bool_, (1,))
    condition.output(going_on)
    body_number, subgraph = model.subgraph(f"{name}_step")
    inner = Code(subgraph, in_loop=True)
    given = {key: _variable(code, subgraph, key, value) for key, value in carried.items()}
    changed = body(inner, {key: given[key] for key in variables}, given[_STEP])
    after = {**given, **changed, _STEP: inner.add(given[_STEP], 1)}
    for value in after.values():
        subgraph.output(value)
    results = {
        key: code.subgraph.tensor(f"{name}_{key}", value.dtype, value.shape, **_steps(code, value))
        for key, value in carried.items()
    }
    code.subgraph.add_several(
        "WHILE", list(carried.values()), list(results.values()), cond=condition_number, body=body_number
    )
    return {key: results[key] for key in variables}


def _variable(code: Code, subgraph: Subgraph, key: str, value: Value) -> Value:
    """The input of a loop's subgraph for a variable: with its scale, which quantized operators ask of it."""
    return subgraph.input(key, value.dtype, value.shape, **_steps(code, value))


def _steps(code: Code, value: Value) -> dict[str, Any]:
    """Scale and zero point of a tensor."""
    tensor = code.subgraph.tensors[value.index]
    return {"scale": tensor.scale, "zero_point": tensor.zero_point}
