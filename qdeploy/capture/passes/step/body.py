"""Evaluates the body of a loop symbolically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ..access import constant, label
from .algebra import Algebra, Polynomial, StepError
from .operators import apply_operator
from .rows import Rows, Value

__all__ = ["evaluate", "through_identity"]

# What numpy raises for shapes that contradict each other: such a file is wrong, and named as what cannot be read.
_SHAPE_ERRORS = (ValueError, IndexError, TypeError, KeyError, np.exceptions.AxisError)


def evaluate(
    algebra: Algebra,
    body: ir.Graph,
    given: Mapping[ir.Value, Value],
    known: Sequence[tuple[Polynomial, Polynomial]],
    samples: int | None,
) -> list[Value | StepError]:
    """The normal form of every output of ``body``, or why it has none.

    Args:
        algebra: of the step.
        body: of a Scan or a Loop, its nodes sorted.
        given: what is known of its inputs, and of results that are read off a sequence.
        known: polynomials that stand for themselves, and what to write in their place: states that an operator gives.
        samples: the number of samples where the file fixes it.
    """
    found: dict[ir.Value, Value | StepError] = dict(given)

    def of(value: ir.Value) -> Value | StepError:
        if value in found:
            return found[value]
        array = constant(value)
        if array is not None:
            return array
        return StepError(f"{value.name} comes from outside of the loop and is no constant")

    for node in body:
        if any(output in given for output in node.outputs):
            continue
        values: list[Value | None] = []
        failure: StepError | None = None
        for operand in node.inputs:
            result = None if operand is None else of(operand)
            if isinstance(result, StepError):
                failure = failure or result
            else:
                values.append(result)
        results: list[Value] = []
        if failure is None:
            try:
                results = apply_operator(algebra, node, values, samples)
            except StepError as error:
                failure = StepError(f"{error} ({label(node)})")
            except _SHAPE_ERRORS as error:
                failure = StepError(f"{label(node)} does not fit its operands: {str(error)[:120]}")
        for place, output in enumerate(node.outputs):
            if place < len(results):
                found[output] = _recognised(algebra, results[place], known)
            else:
                found[output] = failure or StepError(f"the second result of {label(node)}")
    return [of(output) for output in body.outputs]


def _recognised(algebra: Algebra, value: Value, known: Sequence[tuple[Polynomial, Polynomial]]) -> Value:
    if isinstance(value, Rows):
        for polynomial, replacement in known:
            if algebra.equal(value.value, polynomial):
                return Rows(value.axes, replacement)
    return value


def through_identity(value: ir.Value) -> ir.Value:
    """What ``value`` is a copy of."""
    producer = value.producer()
    while producer is not None and producer.domain == "" and producer.op_type == "Identity":
        source = producer.inputs[0]
        if source is None:
            break
        value, producer = source, source.producer()
    return value
