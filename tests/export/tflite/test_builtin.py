"""Layers by LiteRT's own int8 operators, against the reference with ``==``: what they are made of, and their bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies
from qdeploy.export.tflite.generator import SIGNATURE, tflite_file
from qdeploy.runtime.engines.litert import interpreter_module
from qdeploy.runtime.errors import ContractError, UnsupportedModelError
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec
from qdeploy.runtime.reference import ReferenceModel
from tests.ops.agreement import one_node

# In the default kernels of the other package layers round by other rules.
pytestmark = [pytest.mark.litert, pytest.mark.needs("ai_edge_litert")]

Array = NDArray[Any]
EDGES = [0, 1, 127, 128, 254, 255]
EXACT = 2**24


def manifest_of(x: Array, y: Array, *, timed: bool) -> Manifest:
    """Of a network with one input and one output, whose scales nobody asks for; ``timed``: axis 1 counts the steps."""
    x_shape, y_shape = (("batch", "time", *a.shape[2:]) if timed else ("batch", *a.shape[1:]) for a in (x, y))
    inputs = (InputSpec("x", "x", "uint8", x_shape, 1.0, 0, batch_axis=0, time_axis=1 if timed else None),)
    outputs = (OutputSpec("y", "uint8", y_shape, 1.0, 0),)
    return Manifest(
        schema=1, qdeploy="0", created_from={}, recipe={}, rounding="half_up", inputs=inputs, outputs=outputs, states=(),
        tensors={}, layers=(), files={},
    )  # fmt: skip


def in_litert(model: onnx.ModelProto, x: Array, *, timed: bool = False) -> tuple[Array, Array, list[str]]:
    """The reference's y, LiteRT's by its default kernels, and the operators of the file."""
    complete = attach_bodies(model)
    wanted = ReferenceModel(complete).run({"x": x}).outputs["y"]
    content = tflite_file(complete, manifest_of(x, wanted, timed=timed))
    interpreter = interpreter_module().Interpreter(model_content=content, num_threads=1)
    found: Array = interpreter.get_signature_runner(SIGNATURE)(x=x)["y"]
    return wanted, found, [operator["op_name"] for operator in interpreter._get_ops_details()]


def numbers(data: st.DataObject, generator: np.random.Generator, rows: Array) -> dict[str, Any]:
    """Bias, multipliers and attributes of a layer that single precision computes exactly, saturated sums among them."""
    outputs = len(rows)
    bits = data.draw(st.integers(1, 8))
    shift = data.draw(st.integers(max(1, bits - 4), 20))
    odd = (1 << (bits - 1)) | 1
    # Within what saturates 2^24 is not passed, however large the accumulator.
    free = 4 <= shift <= 16 - bits
    reach = int(np.abs(rows.astype(int)).sum(axis=1).max()) * 255
    room = (EXACT - 1) // odd - reach
    large = [1 << 25, -(1 << 25)] if free else [room, -room] if room > 0 else [0]
    y_zero_point = data.draw(st.sampled_from([0, 0, 3, 128, 255]))
    low = data.draw(st.sampled_from([0, y_zero_point, min(7, y_zero_point)]))
    return {
        "b": generator.choice([0, 1, -1, *large], outputs) if room > 0 or free else np.zeros(outputs, int),
        "m": odd << generator.integers(0, 1 if free else 3, data.draw(st.sampled_from([1, outputs]))),
        "x_zero_point": data.draw(st.sampled_from([0, 0, 5, 128, 255])),
        "shift": shift,
        "y_zero_point": y_zero_point,
        "low": low,
        "high": data.draw(st.sampled_from([255, 255, max(low, 200)])),
    }


def layer(operator: str, x: Array, w: Array, b: Any, m: Any, **attributes: Any) -> onnx.ModelProto:
    constants = {"w": np.asarray(w, np.int8), "b": np.asarray(b, np.int32), "m": np.asarray(m, np.int32)}
    attributes = {"dtype": 2, "rounding": "half_even"} | attributes
    return one_node(operator, {"x": x}, constants, ["x", "w", "b", "m"], {"y": "uint8"}, **attributes)


def tried(model: onnx.ModelProto, x: Array, *, timed: bool = False) -> tuple[Array, Array, list[str]]:
    """As in_litert; a layer that the rule's reach forbids is not an example."""
    try:
        return in_litert(model, x, timed=timed)
    except ContractError:
        reject()


def weights(generator: np.random.Generator, *shape: int) -> Array:
    return generator.choice([-127, -64, -1, 0, 1, 63, 127], shape).astype(np.int8)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_linear_is_one_fully_connected(data: st.DataObject, seed: int) -> None:
    generator = np.random.default_rng(seed)
    outputs, inputs = data.draw(st.integers(1, 33)), data.draw(st.integers(1, 70))
    w, x = weights(generator, outputs, inputs), generator.choice(EDGES, (1, inputs)).astype(np.uint8)
    model = layer("Linear", x, w, **numbers(data, generator, w))
    wanted, found, operators = tried(model, x)
    assert (found == wanted).all()
    assert "FULLY_CONNECTED" in operators
    assert "BATCH_MATMUL" not in operators


@settings(max_examples=80, deadline=None)
@given(
    st.data(),
    st.integers(1, 2),
    st.sampled_from(["plain", "groups", "depthwise", "multiplied"]),
    st.integers(0, 2**32 - 1),
)
def test_conv_is_one_convolution(data: st.DataObject, rank: int, kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    group = 1 if kind == "plain" else data.draw(st.integers(2, 4))
    inside = data.draw(st.integers(1, 5)) if kind in ("plain", "groups") else 1
    multiple = {"plain": 9, "groups": 5, "depthwise": 1, "multiplied": 2}[kind]
    channels, outputs = group * inside, group * (multiple if inside == 1 else data.draw(st.integers(1, multiple)))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(rank)]
    ends = 2 * rank
    both: dict[str, int] = {"min_size": ends, "max_size": ends}
    windows = {
        "strides": [data.draw(st.integers(1, 3)) for _ in range(rank)],
        # None, those of SAME, others.
        "pads": data.draw(st.one_of(st.just([0] * ends), st.just([1] * ends), st.lists(st.integers(0, 2), **both))),
        "dilations": [data.draw(st.sampled_from([1, 1, 2])) for _ in range(rank)],
    }
    sizes = [windows["dilations"][a] * (kernel[a] - 1) + data.draw(st.integers(1, 6)) for a in range(rank)]
    w = weights(generator, outputs, channels // group, *kernel)
    x = generator.choice(EDGES, (1, channels, *sizes)).astype(np.uint8)
    model = layer("Conv", x, w, group=group, **windows, **numbers(data, generator, w.reshape(outputs, -1)))
    wanted, found, operators = tried(model, x)
    assert (found == wanted).all()
    assert ("DEPTHWISE_CONV_2D" if group > 1 and inside == 1 else "CONV_2D") in operators
    assert "BATCH_MATMUL" not in operators


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_linear_over_a_sequence_of_any_length(data: st.DataObject, seed: int) -> None:
    generator = np.random.default_rng(seed)
    outputs, inputs, steps = data.draw(st.integers(1, 17)), data.draw(st.integers(2, 17)), data.draw(st.integers(1, 9))
    w, x = weights(generator, outputs, inputs), generator.choice(EDGES, (1, steps, inputs)).astype(np.uint8)
    model = layer("Linear", x, w, **numbers(data, generator, w))
    wanted, found, operators = tried(model, x, timed=True)
    assert (found == wanted).all()
    assert "FULLY_CONNECTED" in operators
    assert "RESHAPE" not in operators


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_a_max_pool_behind_a_convolution_stays_in_bytes(data: st.DataObject, rank: int, seed: int) -> None:
    """Pads of SAME, of torch and others; other than SAME, with a zero point above 0, it is portable and has the same bits."""
    generator = np.random.default_rng(seed)
    channels, zero_point = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([0, 0, 128]))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [data.draw(st.integers(1, 2)) for _ in range(rank)]
    pads = data.draw(st.sampled_from([[0] * (2 * rank), [size // 2 for size in kernel] * 2, [0] * rank + [1] * rank]))
    pads = [min(pad, kernel[axis % rank] - 1) for axis, pad in enumerate(pads)]
    x = generator.choice(EDGES, (1, channels, *[data.draw(st.integers(4, 7)) for _ in range(rank)])).astype(np.uint8)
    w = np.where(np.eye(channels)[(...,) + (None,) * rank], 1, 0)
    windows = {"strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1}
    bounds = {"x_zero_point": zero_point, "shift": 0, "y_zero_point": zero_point, "low": 0, "high": 255}
    model = layer("Conv", x, w, np.zeros(channels), [1], **windows, **bounds)
    model.graph.node[0].output[0] = "convolved"
    pool = onnx.helper.make_node(
        "MaxPool", ["convolved"], ["y"], name="pool", domain="qdeploy", kernel=kernel, strides=strides, pads=pads,
        dilations=[1] * rank,
    )  # fmt: skip
    model.graph.node.append(pool)
    wanted, found, operators = in_litert(model, x)
    assert (found == wanted).all()
    assert "MAX_POOL_2D" in operators or (zero_point and any(pads))


def test_three_axes_are_refused() -> None:
    x = np.zeros((1, 2, 2, 2, 2), np.uint8)
    windows = {"strides": [1] * 3, "pads": [0] * 6, "dilations": [1] * 3, "group": 1}
    numbers_ = {"x_zero_point": 0, "shift": 4, "y_zero_point": 0, "low": 0, "high": 255}
    model = layer("Conv", x, np.ones((2, 2, 1, 1, 1)), np.zeros(2), [1], **windows, **numbers_)
    with pytest.raises(UnsupportedModelError, match=r"node node .*expected one or two axes.*--tflite-kernels portable"):
        in_litert(model, x)


@pytest.mark.parametrize(
    ("w", "m", "shift", "message"),
    [
        ([[-128, 1]], [1], 4, "weights of -128"),
        ([[1, 1]], [1], 32, "multipliers reach from 2.3.* LiteRT takes 2"),
    ],
)
def test_numbers_that_its_kernels_do_not_take_are_refused(w: Any, m: Any, shift: int, message: str) -> None:
    x = np.zeros((1, 2), np.uint8)
    numbers_ = {"x_zero_point": 0, "shift": shift, "y_zero_point": 0, "low": 0, "high": 255}
    with pytest.raises(UnsupportedModelError, match=message):
        in_litert(layer("Linear", x, w, [0], m, **numbers_), x)
