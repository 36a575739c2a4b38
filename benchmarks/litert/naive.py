"""RNN, GRU and LSTM for LiteRT as their contracts read: one operator for each sign, in the order of the formulas.

What a step costs without what our files do about it: U x before the loop, constants added once, zero points before shifts,
bounds that cannot be passed left out. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.c.generated import bundle_of
from qdeploy.export.sample_graph import read_graph
from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.emitter import emitter
from qdeploy.export.tflite.generator import SIGNATURE
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.export.tflite.reader import read_tflite
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.site import Site, open_shape
from qdeploy.export.tflite.writer import ModelWriter, Value
from qdeploy.quantize import IntegerModel
from qdeploy.runtime.numeric import product_bound
from qdeploy.runtime.ops.gru import DRIVE_LIMIT

__all__ = ["naive_file", "operators_of_a_step"]

_OFFSET = 128
_MOST = 2**31 - 1
_Step = Callable[[Site, Code, Value, Variables], Variables]


def operators_of_a_step(content: bytes) -> int:
    """How many operators stand in the body of the only loop of a file."""
    (body,) = (graph for graph in read_tflite(content, "benchmark").subgraphs if graph.name.endswith("_step"))
    return len(body.operators)


def naive_file(integers: IntegerModel, time_axis: int, batch_axis: int) -> bytes:
    """A ``.tflite`` file of a quantized model with one recurrent layer whose hidden states have 8 bits."""
    files = bundle_of(integers, time_axis, batch_axis)
    graph = read_graph(files.model, files.manifest, at_once=True)
    writer = ModelWriter("naive")
    number, subgraph = writer.subgraph("main")
    code = Code(subgraph)
    names = [*graph.inputs, *(state.input for state in graph.states)]
    shapes = {name: open_shape(tensor, single_step=False) for name, tensor in graph.tensors.items()}
    inputs = {name: subgraph.input(name, graph.tensors[name].dtype, shapes[name]) for name in names}
    values = {name: code.cast(value, np.int32) for name, value in inputs.items()}
    for layer in graph.layers:
        site = Site(layer, graph, writer, code, values)
        if layer.operator in _STEPS:
            _run(site, *_STEPS[layer.operator])
        else:
            emitter(layer.operator, layer.name)(site)
    outputs = {}
    for name in [*graph.outputs, *(state.output for state in graph.states)]:
        held = code.reshape(values[graph.root(name)], shapes[name])
        outputs[name] = code.cast(held, graph.tensors[name].dtype)
        subgraph.output(outputs[name])
    writer.signature(SIGNATURE, number, inputs, outputs)
    return writer.to_bytes()


def _run(site: Site, states: tuple[str, ...], step: _Step) -> None:
    x = site.rows("x")

    def body(code: Code, now: Variables, place: Value) -> Variables:
        return step(site, code, code.gather(now["x"], place), now)

    starts = {name: site.state(f"{name}0") for name in states}
    last = run_steps(site.code, site.layer.name, x, {"x": x, **starts}, body)
    for name in states:
        site.set(f"y_{name}", last[name])


def _product(code: Code, weight: NDArray[Any], x: Value, zero_point: int) -> Value:
    """W (x - zero_point) of bytes: int8 holds x - 128, so that W (128 - zero_point) is missing."""
    digits = code.cast(code.subtract(x, _OFFSET), np.int8)
    sums = code.matmul(digits, code.subgraph.constant(weight.T, np.int8))
    return code.add(sums, weight.astype(np.int64).sum(axis=1) * (_OFFSET - zero_point))


def _rounded(
    code: Code, x: Value, shift: int, zero_point: int, low: int, high: int, multiplier: NDArray[Any] | int = 1
) -> Value:
    """clip(floor((x M + 2^(s-1)) / 2^s) + zero_point, low, high)."""
    half = 1 << shift >> 1
    y = code.shift_right(code.add(code.multiply(x, multiplier), half), shift)
    return code.clip(code.add(y, zero_point), low, high)


def _driven(site: Site, code: Code, x: Value, bias: NDArray[Any] | int, limit: int) -> Value:
    """The input's part of one step, requantized."""
    attributes, weight = site.attributes, site.constant("input_weight")
    sums = code.add(_product(code, weight, x, attributes["x_zero_point"]), bias)
    bound = product_bound(weight, 255) + int(np.abs(bias).max())
    low = -(2**31) if limit == _MOST else -limit
    return requantize(
        code, sums, site.constant("input_multiplier"), attributes["input_shift"], 0, low, limit, bound=bound
    )


def _rnn(site: Site, code: Code, x: Value, now: Variables) -> Variables:
    attributes = site.attributes
    zero_point, low, high = (attributes[name] for name in ("h_zero_point", "low", "high"))
    driven = code.multiply(
        _product(code, site.constant("input_weight"), x, attributes["x_zero_point"]), 1 << attributes["input_shift"]
    )
    sums = _product(code, site.constant("recurrent_weight"), now["h"], zero_point)
    total = code.add(code.add(code.multiply(sums, 1 << attributes["recurrent_shift"]), driven), site.constant("bias"))
    rectified = code.maximum(total, 0)
    multiplier = site.constant("multiplier")
    return {"h": _rounded(code, rectified, attributes["shift"], zero_point, low, high, multiplier)}


def _gru(site: Site, code: Code, x: Value, now: Variables) -> Variables:
    attributes, multiplier = site.attributes, site.constant("multiplier")
    zero_point, shift, state_shift = (attributes[name] for name in ("h_zero_point", "shift", "state_shift"))
    hidden = site.constant("recurrent_weight").shape[1]
    sigmoid, tanh = site.constant("sigmoid_table"), site.constant("tanh_table")
    driven = _driven(site, code, x, site.constant("bias"), DRIVE_LIMIT)
    sums = _product(code, site.constant("recurrent_weight"), now["h"], zero_point)
    gate_sums, candidate_sums = code.split(sums, [2 * hidden, hidden], 1)
    gate_drive, candidate_drive = code.split(driven, [2 * hidden, hidden], 1)
    before = code.add(gate_sums, gate_drive)
    index = _rounded(code, before, shift, sigmoid.size // 2, 0, sigmoid.size - 1, multiplier[: 2 * hidden])
    r, z = code.split(_looked_up(code, sigmoid, index), [hidden, hidden], 1)
    reset = code.add(candidate_sums, site.constant("recurrent_bias"))
    recalled = _rounded(code, reset, shift, 0, -(2**15), 2**15 - 1, multiplier[2 * hidden :])
    total = code.add(code.multiply(r, recalled), candidate_drive)
    place = _rounded(code, total, attributes["candidate_shift"], tanh.size // 2, 0, tanh.size - 1)
    n = _looked_up(code, tanh, place)
    one = code.subgraph.constant([2**15])
    kept = code.multiply(z, code.multiply(code.subtract(now["h"], zero_point), 1 << state_shift))
    mixed = code.add(code.multiply(code.subtract(one, z), n), kept)
    return {"h": _rounded(code, mixed, 15 + state_shift, zero_point, attributes["low"], attributes["high"])}


def _lstm(site: Site, code: Code, x: Value, now: Variables) -> Variables:
    attributes = site.attributes
    hidden = site.constant("recurrent_weight").shape[1]
    gate, candidate, cell = (site.constant(f"{name}_table") for name in ("gate", "candidate", "cell"))
    driven = _driven(site, code, x, 0, _MOST)
    sums = _product(code, site.constant("recurrent_weight"), now["h"], attributes["h_zero_point"])
    total = code.add(code.add(code.multiply(sums, 1 << attributes["recurrent_shift"]), driven), site.constant("bias"))
    multiplier = site.constant("multiplier")
    index = _rounded(code, total, attributes["shift"], gate.size // 2, 0, gate.size - 1, multiplier)
    i, f, g, o = code.split(index, [hidden] * 4, 1)
    i, f, o = (_looked_up(code, gate, place) for place in (i, f, o))
    g = _looked_up(code, candidate, g)
    c = _rounded(code, code.add(code.multiply(i, g), code.multiply(f, now["c"])), 14, 0, -(2**15), 2**15 - 1)
    place = _rounded(code, c, attributes["cell_shift"], cell.size // 2, 0, cell.size - 1)
    shown = code.multiply(o, _looked_up(code, cell, place))
    bounds = (attributes[name] for name in ("h_zero_point", "low", "high"))
    return {"h": _rounded(code, shown, attributes["output_shift"], *bounds), "c": c}


def _looked_up(code: Code, table: NDArray[Any], index: Value) -> Value:
    return code.cast(code.gather(table, index, dtype=table.dtype), np.int32)


_STEPS: Mapping[str, tuple[tuple[str, ...], _Step]] = {
    "RNN": (("h",), _rnn),
    "GRU": (("h",), _gru),
    "LSTM": (("h", "c"), _lstm),
}
