"""Loops and image classifiers in LiteRT, one thread: our integers against LiteRT's own float operators in the same run.

The float loops are written with the same care: U x before the loop, FULLY_CONNECTED with the bias and, for ReLU, the
activation inside an operator. They are models of WHILE like ours; both give the last state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gated
from benchmarks.c.generated import bundle_of
from benchmarks.loops import CALLS, STEPS, Contender, Timed, integer_loop, medians
from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.generator import SIGNATURE, tflite_file
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.export.tflite.writer import ModelWriter, Value
from qdeploy.quantize import IntegerModel, Recipe, load_recipe

__all__ = ["FLOAT", "measure_litert_gru", "measure_litert_loop"]

FLOAT = "LiteRT's float loop"
_RELU = 1
_Step = Callable[[Code, Value, Value], Value]


class Interpreted:
    """A .tflite file and the feeds of one call of its signature, through the interpreter's tensors."""

    def __init__(self, content: bytes, feeds: Mapping[str, NDArray[Any]]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        self._feeds = dict(feeds)

    def microseconds(self) -> float:
        """One call, per step."""
        return Contender.timed(self.call)

    def call(self) -> dict[str, NDArray[Any]]:
        """One call."""
        results: dict[str, NDArray[Any]] = self._runner(**self._feeds)
        return results


def measure_litert_loop(hidden: int) -> dict[str, float]:
    """Median microseconds a step of LiteRT's float RNN with ReLU (FLOAT) and of our integer loops: ``u8``, ``s12-exact``.

    Args:
        hidden: H.
    """
    drawn = {
        "u8": integer_loop(hidden, load_recipe("fast-loop"), on_grid=False),
        "s12-exact": integer_loop(hidden, load_recipe("default"), on_grid=True),
    }
    contenders: dict[str, Timed] = {FLOAT: _float_rnn(hidden)}
    contenders |= {name: _ours(integers, feeds, 0, 1) for name, (integers, feeds) in drawn.items()}
    return medians(contenders, CALLS)


def measure_litert_gru(hidden: int, recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Median microseconds a step of LiteRT's float GRU (FLOAT) and of ours, by name of the recipe."""
    layer, _, x = gated.drawn_layer("GRU", hidden)
    contenders: dict[str, Timed] = {FLOAT: _float_gru(layer, x)}
    for name, recipe in recipes.items():
        integers, feeds = gated.quantized_layer(layer, recipe, x)
        contenders[name] = _ours(integers, feeds, 1, 0)
    return medians(contenders, CALLS)


def _ours(integers: IntegerModel, feeds: Mapping[str, NDArray[Any]], time_axis: int, batch_axis: int) -> Interpreted:
    files = bundle_of(integers, time_axis, batch_axis)
    return Interpreted(tflite_file(files.model, files.manifest), feeds)


def _float_rnn(hidden: int) -> Interpreted:
    generator = np.random.default_rng(hidden)
    weight = np.linalg.qr(generator.standard_normal((hidden, hidden)))[0].astype(np.float32)
    driven = generator.uniform(-0.3, 0.3, (hidden, 1)).astype(np.float32)
    bias = np.zeros(hidden, np.float32)

    def step(code: Code, row: Value, h: Value) -> Value:
        product = _fully_connected(code, h, weight, bias)
        return code.subgraph.add("ADD", [product, row], np.float32, (1, hidden), fused_activation=_RELU)

    return _float_loop(hidden, driven, bias, step)


def _float_gru(layer: Any, x: NDArray[Any]) -> Interpreted:
    input_weight, weight, bias, recurrent_bias = (p.detach().numpy() for p in layer.parameters())
    hidden = layer.hidden_size

    def step(code: Code, row: Value, h: Value) -> Value:
        def binary(kind: str, one: Value, other: Value) -> Value:
            return code.subgraph.add(kind, [one, other], np.float32, (1, hidden))

        def part(value: Value, place: int) -> Value:
            return code.slice(value, [0, place * hidden], [-1, hidden])

        recalled = _fully_connected(code, h, weight, recurrent_bias)
        gates = code.subgraph.add(
            "ADD",
            [code.slice(recalled, [0, 0], [-1, 2 * hidden]), code.slice(row, [0, 0], [-1, 2 * hidden])],
            np.float32,
            (1, 2 * hidden),
        )
        opened = code.subgraph.add("LOGISTIC", [gates], np.float32, (1, 2 * hidden))
        reset, update = part(opened, 0), part(opened, 1)
        sums = binary("ADD", part(row, 2), binary("MUL", reset, part(recalled, 2)))
        candidate = code.subgraph.add("TANH", [sums], np.float32, (1, hidden))
        return binary("ADD", candidate, binary("MUL", update, binary("SUB", h, candidate)))

    del x
    return _float_loop(hidden, input_weight, bias, step)


def _float_loop(hidden: int, input_weight: NDArray[Any], bias: NDArray[Any], step: _Step) -> Interpreted:
    """``step`` over STEPS steps of one input, from a zero state."""
    writer = ModelWriter("float")
    number, graph = writer.subgraph("main")
    x = graph.input("x", np.float32, (None, 1))
    start = graph.input("h0", np.float32, (1, hidden))
    code = Code(graph)
    drive = _fully_connected(code, x, input_weight, bias)

    def body(inner: Code, now: Variables, place: Value) -> Variables:
        return {"h": step(inner, inner.gather(now["drive"], place), now["h"])}

    last = run_steps(code, "loop", drive, {"drive": drive, "h": start}, body)["h"]
    graph.output(last)
    writer.signature(SIGNATURE, number, {"x": x, "h0": start}, {"last": last})
    samples = np.random.default_rng(2).uniform(0, 1, (STEPS, 1)).astype(np.float32)
    return Interpreted(writer.to_bytes(), {"x": samples, "h0": np.zeros((1, hidden), np.float32)})


def _fully_connected(code: Code, x: Value, weight: NDArray[Any], bias: NDArray[Any]) -> Value:
    constants = [code.subgraph.constant(array, np.float32) for array in (weight, bias)]
    return code.subgraph.add("FULLY_CONNECTED", [x, *constants], np.float32, (x.shape[0], len(weight)))
