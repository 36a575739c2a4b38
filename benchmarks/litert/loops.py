"""Recurrent layers in LiteRT, 784 steps, batch 1, one thread: ours, LiteRT's own float operators, and onnxruntime, in turns.

LiteRT's integers are compared with the reference's before they are timed; its float layers have the weights of onnxruntime's,
and about the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gated
from benchmarks.litert.float_loops import float_gru, float_lstm, float_rnn
from benchmarks.litert.interpreted import Interpreted, checked, integer_file, same_floats
from benchmarks.litert.naive import naive_file, operators_of_a_step
from benchmarks.loops import (
    CALLS,
    Contender,
    Timed,
    drawn_weights,
    float_operator,
    integer_loop,
    medians,
    one_thread_session,
)
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import IntegerModel, Recipe, load_recipe
from qdeploy.runtime.errors import UnsupportedModelError

__all__ = [
    "BUILTIN",
    "FLOAT",
    "NAIVE",
    "ONNX",
    "ONNX_FLOAT",
    "PORTABLE",
    "MeasuredLoop",
    "measure_gated",
    "measure_rnn",
]

FLOAT = "LiteRT's float loop"
PORTABLE, BUILTIN, ONNX = "portable", "builtin", "onnx"
ONNX_FLOAT = "onnxruntime's float operator"
NAIVE = "a literal translation of the contract"

_Quantized = Callable[[Recipe], tuple[IntegerModel, Mapping[str, NDArray[Any]]]]


@dataclass(frozen=True)
class MeasuredLoop:
    """One layer.

    Attributes:
        microseconds: a step, by contender.
        bytes: of LiteRT's files.
        operators: of a step in the loop of our file and of NAIVE.
        absent: contenders that there are none of, and why.
    """

    microseconds: Mapping[str, float]
    bytes: Mapping[str, int]
    operators: Mapping[str, int]
    absent: Mapping[str, str]


def measure_rnn(hidden: int) -> MeasuredLoop:
    """The RNN with ReLU, states of 8 bits; in LiteRT also ``s12-exact``, with 12 bits and a trained grid.

    Args:
        hidden: H.
    """
    operator = float_operator(hidden)
    floats = float_rnn(drawn_weights(hidden, on_grid=False), np.asarray(operator.feeds["x"]).reshape(-1, 1))
    same_floats(floats.call()["last"], operator.session.run(None, dict(operator.feeds))[0])
    wide, wide_feeds = integer_loop(hidden, load_recipe("default"), on_grid=True)
    others = {
        FLOAT: floats,
        ONNX_FLOAT: operator,
        "s12-exact": checked(wide, wide_feeds, integer_file(wide, 0, 1)),
    }
    return _measured(others, lambda recipe: integer_loop(hidden, recipe, on_grid=False), load_recipe("fast-loop"), 0, 1)


def measure_gated(kind: str, hidden: int) -> MeasuredLoop:
    """GRU or LSTM, states of 8 bits; in LiteRT also ``s12``, with those of the default recipe.

    Args:
        kind: ``GRU`` or ``LSTM``.
        hidden: H.
    """
    layer, operator, x = gated.drawn_layer(kind, hidden)
    real = (x.astype(np.float32) / 256).transpose(1, 0, 2)
    session = one_thread_session(operator)
    floats = {"GRU": float_gru, "LSTM": float_lstm}[kind](layer, real.reshape(-1, 1))
    same_floats(floats.call()["last"], session.run(None, {"x": real})[0])
    default = load_recipe("default")
    wide, wide_feeds = gated.quantized_layer(layer, default, x)
    others = {
        FLOAT: floats,
        ONNX_FLOAT: Contender(session, {"x": real}),
        "s12": checked(wide, wide_feeds, integer_file(wide, 1, 0)),
    }
    narrow = default.changed(state_bits=8)
    return _measured(others, lambda recipe: gated.quantized_layer(layer, recipe, x), narrow, 1, 0)


def _measured(
    others: Mapping[str, Timed], quantized: _Quantized, recipe: Recipe, time_axis: int, batch_axis: int
) -> MeasuredLoop:
    """All forms of the layer with this recipe beside others, in turns."""
    contenders, absent = dict(others), {}
    integers, feeds = quantized(recipe)
    contenders[ONNX] = Contender(one_thread_session(attach_bodies(integers.model)), feeds)
    ours = checked(integers, feeds, integer_file(integers, time_axis, batch_axis))
    naive = checked(integers, feeds, naive_file(integers, time_axis, batch_axis))
    contenders |= {PORTABLE: ours, NAIVE: naive}
    try:
        builtin, builtin_feeds = quantized(recipe.changed(tflite_kernels="builtin"))
    except UnsupportedModelError as error:
        absent[BUILTIN] = str(error)
    else:
        contenders[BUILTIN] = checked(builtin, builtin_feeds, integer_file(builtin, time_axis, batch_axis))
    files = {name: len(made.content) for name, made in contenders.items() if isinstance(made, Interpreted)}
    operators = {name: operators_of_a_step(made.content) for name, made in ((PORTABLE, ours), (NAIVE, naive))}
    return MeasuredLoop(medians(contenders, CALLS), files, operators, absent)
