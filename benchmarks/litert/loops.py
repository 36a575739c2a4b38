"""Recurrent layers in LiteRT, 784 steps, batch 1, one thread: ours, LiteRT's own float operators, and onnxruntime, in turns.

Integers of both runtimes are compared bit for bit before they are timed; LiteRT's float layers have the weights of
onnxruntime's, and about its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gated
from benchmarks.litert.float_loops import float_gru, float_lstm, float_rnn
from benchmarks.litert.interpreted import Interpreted, checked, same_floats
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

__all__ = ["FLOAT", "ONNX", "ONNX_FLOAT", "PORTABLE", "MeasuredLoop", "measure_gated", "measure_rnn"]

FLOAT = "LiteRT's float loop"
PORTABLE, ONNX = "portable", "onnx"
ONNX_FLOAT = "onnxruntime's float operator"


@dataclass(frozen=True)
class MeasuredLoop:
    """Median microseconds a step by contender, and the bytes of LiteRT's files."""

    microseconds: Mapping[str, float]
    bytes: Mapping[str, int]


def measure_rnn(hidden: int) -> MeasuredLoop:
    """The RNN with ReLU: PORTABLE and ONNX with states of 8 bits, ``s12-exact`` with 12 bits and a trained grid in LiteRT.

    Args:
        hidden: H.
    """
    operator = float_operator(hidden)
    floats = float_rnn(drawn_weights(hidden, on_grid=False), np.asarray(operator.feeds["x"]).reshape(-1, 1))
    same_floats(floats.call()["last"], operator.session.run(None, dict(operator.feeds))[0])
    integers, feeds = integer_loop(hidden, load_recipe("fast-loop"), on_grid=False)
    wide, wide_feeds = integer_loop(hidden, load_recipe("default"), on_grid=True)
    contenders: dict[str, Timed] = {FLOAT: floats, ONNX_FLOAT: operator, ONNX: _onnxruntime(integers, feeds)}
    contenders[PORTABLE] = checked(integers, feeds, time_axis=0, batch_axis=1)
    contenders["s12-exact"] = checked(wide, wide_feeds, time_axis=0, batch_axis=1)
    return _measured(contenders)


def measure_gated(kind: str, hidden: int) -> MeasuredLoop:
    """GRU or LSTM: PORTABLE and ONNX with states of 8 bits, ``s12`` with those of the default recipe in LiteRT.

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
    contenders: dict[str, Timed] = {FLOAT: floats, ONNX_FLOAT: Contender(session, {"x": real})}
    for name, recipe in _recipes(default).items():
        integers, feeds = gated.quantized_layer(layer, recipe, x)
        contenders[name] = checked(integers, feeds, time_axis=1, batch_axis=0)
        if name == PORTABLE:
            contenders[ONNX] = _onnxruntime(integers, feeds)
    return _measured(contenders)


def _recipes(default: Recipe) -> dict[str, Recipe]:
    return {PORTABLE: default.changed(state_bits=8), "s12": default}


def _onnxruntime(integers: IntegerModel, feeds: Mapping[str, NDArray[Any]]) -> Contender:
    return Contender(one_thread_session(attach_bodies(integers.model)), feeds)


def _measured(contenders: Mapping[str, Timed]) -> MeasuredLoop:
    files = {name: len(made.content) for name, made in contenders.items() if isinstance(made, Interpreted)}
    return MeasuredLoop(medians(contenders, CALLS), files)
