"""RNN, GRU and LSTM of LiteRT's own float operators, written with the care that our loops get.

U x before the loop, FULLY_CONNECTED with the bias and, for ReLU, the activation inside an operator; one LOGISTIC for all gates
of a step. They are models of WHILE like ours, and give the last state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.litert.interpreted import Interpreted
from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.generator import SIGNATURE
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.export.tflite.writer import ModelWriter, Value

__all__ = ["float_gru", "float_lstm", "float_rnn"]

_RELU = 1

_Step = Callable[[Code, Value, Variables], Variables]


def float_rnn(weights: Mapping[str, NDArray[np.float32]], x: NDArray[np.float32]) -> Interpreted:
    """The RNN with ReLU of ``weights``, on x ``[T, 1]``."""
    weight, hidden = weights["recurrent_weight"], len(weights["recurrent_weight"])
    nothing = np.zeros(hidden, np.float32)

    def step(code: Code, row: Value, now: Variables) -> Variables:
        product = _fully_connected(code, now["h"], weight, nothing)
        return {"h": code.subgraph.add("ADD", [product, row], np.float32, (1, hidden), fused_activation=_RELU)}

    return _loop(hidden, weights["input_weight"], weights["bias"], x, ("h",), step)


def float_gru(layer: Any, x: NDArray[np.float32]) -> Interpreted:
    """A layer of ``torch.nn.GRU`` on x ``[T, 1]``."""
    input_weight, weight, bias, recurrent_bias = (p.detach().numpy() for p in layer.parameters())
    hidden = layer.hidden_size

    def step(code: Code, row: Value, now: Variables) -> Variables:
        def part(value: Value, place: int) -> Value:
            return code.slice(value, [0, place * hidden], [-1, hidden])

        recalled = _fully_connected(code, now["h"], weight, recurrent_bias)
        gates = _binary(
            code, "ADD", code.slice(recalled, [0, 0], [-1, 2 * hidden]), code.slice(row, [0, 0], [-1, 2 * hidden])
        )
        opened = code.subgraph.add("LOGISTIC", [gates], np.float32, (1, 2 * hidden))
        reset, update = part(opened, 0), part(opened, 1)
        sums = _binary(code, "ADD", part(row, 2), _binary(code, "MUL", reset, part(recalled, 2)))
        candidate = code.subgraph.add("TANH", [sums], np.float32, (1, hidden))
        apart = _binary(code, "MUL", update, _binary(code, "SUB", now["h"], candidate))
        return {"h": _binary(code, "ADD", candidate, apart)}

    return _loop(hidden, input_weight, bias, x, ("h",), step)


def float_lstm(layer: Any, x: NDArray[np.float32]) -> Interpreted:
    """A layer of ``torch.nn.LSTM`` on x ``[T, 1]``. Its rows are sorted, so that one LOGISTIC takes three gates."""
    hidden = layer.hidden_size
    # torch has i, f, g, o.
    order = np.concatenate([np.arange(hidden) + place * hidden for place in (0, 1, 3, 2)])
    input_weight, weight, bias, recurrent_bias = (p.detach().numpy()[order] for p in layer.parameters())

    def step(code: Code, row: Value, now: Variables) -> Variables:
        recalled = _fully_connected(code, now["h"], weight, recurrent_bias)
        sums = _binary(code, "ADD", recalled, row)
        gates, candidate = code.split(sums, [3 * hidden, hidden], 1)
        opened = code.subgraph.add("LOGISTIC", [gates], np.float32, (1, 3 * hidden))
        i, f, o = code.split(opened, [hidden] * 3, 1)
        g = code.subgraph.add("TANH", [candidate], np.float32, (1, hidden))
        c = _binary(code, "ADD", _binary(code, "MUL", f, now["c"]), _binary(code, "MUL", i, g))
        shown = code.subgraph.add("TANH", [c], np.float32, (1, hidden))
        return {"h": _binary(code, "MUL", o, shown), "c": c}

    return _loop(hidden, input_weight, bias, x, ("h", "c"), step)


def _loop(
    hidden: int,
    input_weight: NDArray[Any],
    bias: NDArray[Any],
    x: NDArray[np.float32],
    states: tuple[str, ...],
    step: _Step,
) -> Interpreted:
    """``step`` over all steps of x, from states of zeros; the last one of ``states[0]`` is ``last``."""
    writer = ModelWriter("float")
    number, graph = writer.subgraph("main")
    sequence = graph.input("x", np.float32, (None, 1))
    starts = {name: graph.input(f"{name}0", np.float32, (1, hidden)) for name in states}
    code = Code(graph)
    drive = _fully_connected(code, sequence, input_weight, bias)

    def body(inner: Code, now: Variables, place: Value) -> Variables:
        return step(inner, inner.gather(now["drive"], place), now)

    last = run_steps(code, "loop", drive, {"drive": drive, **starts}, body)[states[0]]
    graph.output(last)
    inputs = {"x": sequence} | {f"{name}0": value for name, value in starts.items()}
    writer.signature(SIGNATURE, number, inputs, {"last": last})
    zeros = {f"{name}0": np.zeros((1, hidden), np.float32) for name in states}
    return Interpreted(writer.to_bytes(), {"x": x} | zeros)


def _fully_connected(code: Code, x: Value, weight: NDArray[Any], bias: NDArray[Any]) -> Value:
    constants = [code.subgraph.constant(array, np.float32) for array in (weight, bias)]
    return code.subgraph.add("FULLY_CONNECTED", [x, *constants], np.float32, (x.shape[0], len(weight)))


def _binary(code: Code, kind: str, one: Value, other: Value) -> Value:
    return code.subgraph.add(kind, [one, other], np.float32, one.shape)
