"""LSTM in LiteRT by the operator that it has built in, integer and float, and by our portable loop: the same weights, in turns.

The integer operator is what ``--tflite-kernels builtin`` takes; all four have their states as inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gated
from benchmarks.litert.interpreted import Interpreted, checked, integer_file, same_floats
from benchmarks.loops import CALLS, medians, one_thread_session
from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.generator import SIGNATURE
from qdeploy.export.tflite.writer import ModelWriter, Subgraph, Value
from qdeploy.quantize import load_recipe

__all__ = ["BUILT_IN", "FLOAT_OPERATOR", "PORTABLE", "WIDE", "drawn", "measure_built_in"]

BUILT_IN, PORTABLE, WIDE = "built-in", "portable", "s12"
FLOAT_OPERATOR = "LiteRT's float LSTM operator"

_TANH = 4
_GATES = 4


def drawn(hidden: int) -> dict[str, Interpreted]:
    """Files of one layer by contender; the integers were compared with onnxruntime's, the floats with its float operator's.

    PORTABLE has states of 8 bits, as BUILT_IN has, WIDE those of the default recipe.

    Args:
        hidden: H.
    """
    layer, operator, x = gated.drawn_layer("LSTM", hidden)
    real = (x.astype(np.float32) / 256).transpose(1, 0, 2)
    floats = _float_operator(layer, real)
    same_floats(floats.call()["last"], one_thread_session(operator).run(None, {"x": real})[0])
    default = load_recipe("default")
    recipes = {
        BUILT_IN: default.changed(tflite_kernels="builtin"),
        PORTABLE: default.changed(state_bits=8),
        WIDE: default,
    }
    found = {}
    for name, recipe in recipes.items():
        integers, feeds = gated.quantized_layer(layer, recipe, x)
        found[name] = checked(integers, feeds, integer_file(integers, 1, 0))
    return {**found, FLOAT_OPERATOR: floats}


def measure_built_in(hidden: int) -> tuple[Mapping[str, float], Mapping[str, int]]:
    """Median microseconds a step, and the bytes of the files, by contender."""
    contenders = drawn(hidden)
    return medians(contenders, CALLS), {name: len(made.content) for name, made in contenders.items()}


def _float_operator(layer: Any, x: NDArray[np.float32]) -> Interpreted:
    """A layer of ``torch.nn.LSTM`` on x ``[T, 1, I]``, from states of zeros; ``last`` is its last hidden state."""
    input_weight, weight, bias, recurrent_bias = (p.detach().numpy() for p in layer.parameters())
    hidden, inputs = layer.hidden_size, input_weight.shape[1]
    writer = ModelWriter("float operator")
    number, graph = writer.subgraph("main")
    code = Code(graph)
    sequence = graph.input("x", np.float32, (None, 1, inputs))
    starts = {name: graph.input(name, np.float32, (1, hidden)) for name in ("h0", "c0")}
    states = [_variable(graph, start) for start in starts.values()]
    y = graph.tensor("y", np.float32, (None, 1, hidden))
    gates = [*_parts(graph, input_weight), *_parts(graph, weight), *[None] * 3, *_parts(graph, bias + recurrent_bias)]
    graph.append(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [sequence, *gates, *[None] * 2, *states, *[None] * 4],
        [y],
        {"fused_activation": _TANH, "time_major": 1},
    )
    last = code.gather(code.reverse(y, 0), graph.constant([0]))
    graph.output(last)
    writer.signature(SIGNATURE, number, {"x": sequence, **starts}, {"last": last})
    zeros = {name: np.zeros((1, hidden), np.float32) for name in starts}
    return Interpreted(writer.to_bytes(), {"x": x, **zeros})


def _variable(graph: Subgraph, start: Value) -> Value:
    """A variable tensor that begins with ``start`` in every call."""
    held = graph.tensor("", start.dtype, start.shape, variable=True)
    graph.append("RESHAPE", [start, graph.constant(list(start.shape))], [held], {})
    return held


def _parts(graph: Subgraph, values: NDArray[np.float32]) -> list[Value]:
    return [graph.constant(part, np.float32) for part in np.split(values, _GATES)]
