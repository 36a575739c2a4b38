"""Every operator over random shapes, bits, multipliers, shifts and zero points, with extremes and ties.

Each example is computed by the definition in Python's integers, by the reference, by the reference execution of the body and by
onnxruntime: four voices, one result.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, broadcastable_shapes
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.rnn_arrangement import accumulator_reach, arrange
from qdeploy.runtime.accumulator import gru_reach, recurrent_reach
from qdeploy.runtime.ops import OPERATORS
from qdeploy.runtime.ops.unpack_weights import pack_weights

from . import definitions
from .agreement import ELEMENT_TYPES, agreed, one_node
from .test_weights import shown

Array = NDArray[Any]
TYPES = ("uint8", "int16", "int32")
LARGEST = 2**31 - 1

many = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

COVERED: set[str] = set()


def property_of(operator: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a test as the property test of ``operator``."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        COVERED.add(operator)
        return test

    return mark


def whole(low: int, high: int, *near: int) -> st.SearchStrategy[int]:
    """Integers of [low, high]; its ends, and what stands ``near``, as often as all others together."""
    marked = sorted({min(high, max(low, value + step)) for value in (low, high, *near) for step in (-1, 0, 1)})
    return st.one_of(st.sampled_from(marked), st.integers(low, high))


def filled(
    kind: str, shape: Any, *near: int, low: int | None = None, high: int | None = None
) -> st.SearchStrategy[Array]:
    """Arrays of integers of ``kind`` within bounds."""
    bounds = np.iinfo(kind)
    first = bounds.min if low is None else low
    last = bounds.max if high is None else high
    return arrays(kind, shape, elements=whole(first, last, *near), fill=st.nothing())


@st.composite
def requantizations(draw: st.DrawFn, outputs: int, kind: str, *, positive: bool = False) -> dict[str, Any]:
    """A multiplier for all or for each of ``outputs``, a shift and an output type with bounds; ``tie``: acc M is half of 2^s."""
    shift = draw(whole(0, 30 if kind == "int32" else 46))
    size = draw(st.sampled_from([1, outputs]))
    power = draw(whole(0, 30))
    smallest = 0 if positive else -LARGEST
    multipliers = draw(
        st.one_of(
            st.just(np.full(size, 1 << power, np.int32)),
            arrays("int32", size, elements=whole(smallest, LARGEST, 1), fill=st.nothing()),
            arrays("int32", size, elements=st.integers(1, 2**15 - 1), fill=st.nothing()),
        )
    )
    factor = int(multipliers[0])
    even = (factor & -factor).bit_length() - 1 if factor else 0
    zero_point = draw(whole(0, 255)) if kind == "uint8" else 0
    bounds = np.iinfo(kind)
    low = draw(st.one_of(st.just(int(bounds.min)), st.just(zero_point), whole(bounds.min, bounds.max)))
    high = draw(st.one_of(st.just(int(bounds.max)), whole(low, bounds.max)))
    return {
        "m": multipliers,
        "shift": shift,
        "y_zero_point": zero_point,
        "low": min(low, high),
        "high": high,
        "dtype": ELEMENT_TYPES[kind],
        "tie": min(1 << max(shift - 1 - even, 0), LARGEST),
    }


def attributes_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """What of a requantization stands in the node."""
    return {name: value for name, value in chosen.items() if name not in ("m", "tie")}


def defined(accumulator: Array, chosen: dict[str, Any]) -> Array:
    """The definition of a requantization."""
    return definitions.requantized(
        accumulator, chosen["m"], chosen["shift"], chosen["y_zero_point"], chosen["low"], chosen["high"]
    )


@property_of("Requantize")
@many
@given(st.data(), st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_requantize(data: st.DataObject, x_kind: str, y_kind: str) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=4, max_side=4))
    chosen = data.draw(requantizations(shape[-1], y_kind))
    x_zero_point = data.draw(whole(0, 255)) if x_kind == "uint8" else 0
    # |x - z| < 2^31, as the contract's product needs.
    low = -LARGEST if x_kind == "int32" else None
    x = data.draw(filled(x_kind, shape, x_zero_point, chosen["tie"], -chosen["tie"], 3 * chosen["tie"], low=low))
    model = one_node(
        "Requantize", {"x": x}, {"m": chosen["m"]}, ["x", "m"], {"y": y_kind},
        x_zero_point=x_zero_point, **attributes_of(chosen),
    )  # fmt: skip
    assert (agreed(model, {"x": x})["y"] == defined(x.astype(object) - x_zero_point, chosen)).all()


@property_of("Linear")
@many
@given(st.data(), st.sampled_from(["uint8", "int16"]), st.sampled_from(TYPES), st.integers(1, 8))
def test_linear(data: st.DataObject, x_kind: str, y_kind: str, bits: int) -> None:
    columns, outputs = data.draw(whole(1, 9)), data.draw(whole(1, 5))
    chosen = data.draw(requantizations(outputs, y_kind))
    top = 1 << (bits - 1)
    w = data.draw(filled("int8", (outputs, columns), 0, low=-top, high=max(top - 1, 1)))
    x_zero_point = data.draw(whole(0, 255)) if x_kind == "uint8" else 0
    reach = int(np.abs(w.astype(int)).sum(axis=1).max()) * (255 if x_kind == "uint8" else 2**15)
    room, tie = LARGEST - reach, chosen["tie"]
    b = data.draw(filled("int32", outputs, 0, tie, -tie, 3 * tie, -3 * tie, low=-room, high=room))
    rows = data.draw(array_shapes(min_dims=1, max_dims=2, max_side=3))
    x = data.draw(filled(x_kind, (*rows, columns), x_zero_point))
    model = one_node(
        "Linear", {"x": x}, {"w": w, "b": b, "m": chosen["m"]}, ["x", "w", "b", "m"], {"y": y_kind},
        x_zero_point=x_zero_point, **attributes_of(chosen),
    )  # fmt: skip
    expected = defined(definitions.linear(x, w, b, x_zero_point), chosen)
    assert (agreed(model, {"x": x})["y"] == expected).all()


@property_of("Add")
@many
@given(st.data(), *[st.sampled_from(["uint8", "int16"])] * 3)
def test_add(data: st.DataObject, a_kind: str, b_kind: str, y_kind: str) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=3, max_side=4))
    chosen = data.draw(requantizations(1, y_kind)) | {"m": np.ones(1, np.int32)}
    tie = 1 << max(chosen["shift"] - 1, 0)
    # One of both may be 1 or 0, so that the other's value alone decides the rounding.
    multipliers = [data.draw(whole(0, 2**15 - 1, 1)) for _ in range(2)]
    zero_points = [data.draw(whole(0, 255)) if kind == "uint8" else 0 for kind in (a_kind, b_kind)]
    a = data.draw(filled(a_kind, shape, zero_points[0], tie, -tie))
    other = data.draw(broadcastable_shapes(shape, min_dims=2, max_dims=len(shape), max_side=4))
    assume(len(np.broadcast_shapes(shape, other)) == len(shape))
    b = data.draw(filled(b_kind, other, zero_points[1], tie, -tie))
    model = one_node(
        "Add", {"a": a, "b": b}, {}, ["a", "b"], {"y": y_kind},
        a_zero_point=zero_points[0], b_zero_point=zero_points[1],
        a_multiplier=multipliers[0], b_multiplier=multipliers[1], **attributes_of(chosen),
    )  # fmt: skip
    total = (a.astype(object) - zero_points[0]) * multipliers[0] + (b.astype(object) - zero_points[1]) * multipliers[1]
    assert (agreed(model, {"a": a, "b": b})["y"] == defined(total, chosen)).all()


@property_of("Relu")
@many
@given(st.data(), st.sampled_from(["uint8", "int16"]))
def test_relu(data: st.DataObject, kind: str) -> None:
    zero_point = data.draw(whole(0, 255)) if kind == "uint8" else 0
    x = data.draw(filled(kind, array_shapes(min_dims=1, max_dims=4, max_side=5), zero_point))
    model = one_node("Relu", {"x": x}, {}, ["x"], {"y": kind}, zero_point=zero_point)
    expected = [max(value, zero_point) for value in x.ravel().tolist()]
    assert agreed(model, {"x": x})["y"].ravel().tolist() == expected


@property_of("ModRelu")
@many
@given(st.data())
def test_modrelu(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=3, max_side=5))
    bias = data.draw(filled("int32", shape[-1], 0, 2**15, -(2**15), low=1 - 2**24, high=2**24 - 1))
    near = [sign * value for value in bias.tolist()[:3] for sign in (1, -1) if abs(value) < 2**15]
    x = data.draw(filled("int16", shape, 0, *near))
    model = one_node("ModRelu", {"x": x}, {"b": bias}, ["x", "b"], {"y": "int16"})
    pairs = zip(x.ravel().tolist(), np.broadcast_to(bias, shape).ravel().tolist(), strict=True)
    expected = [min(2**15 - 1, max(-(2**15), definitions.modrelu(value, b))) for value, b in pairs]
    assert agreed(model, {"x": x})["y"].ravel().tolist() == expected


@property_of("Table")
@many
@given(st.data(), st.sampled_from(["uint8", "int16"]), st.integers(1, 12))
def test_table(data: st.DataObject, kind: str, bits: int) -> None:
    wide = data.draw(st.booleans())
    size = 1 << bits if wide else 256
    entries = np.random.default_rng(data.draw(st.integers(0, 2**32))).integers(
        np.iinfo(kind).min, np.iinfo(kind).max, size, np.dtype(kind), endpoint=True
    )
    half = size // 2 if wide else 0
    shape = array_shapes(min_dims=1, max_dims=3, max_side=5)
    x = data.draw(filled("int16" if wide else "uint8", shape, 0, low=-half, high=size - 1 - half))
    model = one_node("Table", {"x": x}, {"t": entries}, ["x", "t"], {"y": kind})
    expected = [entries.tolist()[value + half] for value in x.ravel().tolist()]
    assert agreed(model, {"x": x})["y"].ravel().tolist() == expected


@property_of("UnpackWeights")
@many
@given(st.data(), st.sampled_from([1, 2, 4]))
def test_unpack_weights(data: st.DataObject, bits: int) -> None:
    half = 1 << (bits - 1)
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    weight = data.draw(filled("int8", (rows, columns), 0, low=-half, high=half - 1))
    packed = pack_weights(weight, bits)
    # Field i of the contract, from the bytes as one long integer.
    whole_number = int.from_bytes(packed.tobytes(), "little")
    expected = [(whole_number >> (bits * i) & ((1 << bits) - 1)) - half for i in range(weight.size)]
    assert weight.ravel().tolist() == expected
    for found in shown("UnpackWeights", {"p": packed}, bits=bits, shape=[rows, columns]):
        assert found.ravel().tolist() == expected


@property_of("HamiltonMatrix")
@many
@given(st.data(), st.sampled_from(["blocked", "adjacent"]))
def test_hamilton_matrix(data: st.DataObject, grouping: str) -> None:
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    parts = {name: data.draw(filled("int8", (rows, columns), 0, low=-127, high=127)) for name in "rijk"}
    x = data.draw(filled("int16", (4, columns), 0, low=-255, high=255))
    flat = (x if grouping == "blocked" else x.T).reshape(-1).astype(object)
    expected = np.zeros((4, rows), object)
    for row in range(rows):
        for column in range(columns):
            quaternion = [parts[name][row, column] for name in "rijk"]
            expected[:, row] += definitions.hamilton_product(quaternion, x[:, column])
    for matrix in shown("HamiltonMatrix", parts, grouping=grouping):
        assert matrix.astype(object).dot(flat).tolist() == expected.reshape(-1).tolist()


@property_of("HadamardMatrix")
@many
@given(st.data(), st.sampled_from([1, 2, 4, 8]), st.integers(1, 4))
def test_hadamard_matrix(data: st.DataObject, block: int, blocks: int) -> None:
    size = block * blocks
    signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=size, max_size=size))
    number = sum(1 << i for i, sign in enumerate(signs) if sign < 0)
    packed = np.frombuffer(number.to_bytes(-(-size // 8), "little"), np.uint8)
    expected = [
        [signs[i] * (-1) ** (i % block & j % block).bit_count() if i // block == j // block else 0 for j in range(size)]
        for i in range(size)
    ]
    for matrix in shown("HadamardMatrix", {"s": packed}, size=size, block=block):
        assert matrix.tolist() == expected


@property_of("GateRows")
@many
@given(st.data())
def test_gate_rows(data: st.DataObject) -> None:
    parts, units, columns = (data.draw(st.integers(1, most)) for most in (4, 3, 4))
    order = data.draw(st.permutations(range(data.draw(st.integers(1, 4)))))
    weight = data.draw(filled("int8", (parts * len(order) * units, columns), 0, low=-128, high=127))
    row = weight.tolist()
    expected = [
        row[(part * len(order) + gate) * units + unit]
        for gate in order
        for part in range(parts)
        for unit in range(units)
    ]
    for rows in shown("GateRows", {"g": weight}, parts=parts, order=list(order)):
        assert rows.tolist() == expected


@st.composite
def recurrences(draw: st.DrawFn, product: str, activation: str, finish: str) -> dict[str, Any]:
    """A recurrent layer that is likely to get this arrangement: small weights for digits, channels for multiply, ..."""
    hidden, inputs = draw(whole(1, 6)), draw(whole(1, 3))
    state = "uint8" if product == "direct" else "int16"
    bits = draw(st.integers(1, 8) if product == "direct" else st.integers(9, 15 if activation == "relu" else 16))
    if product == "digits":
        bits = min(bits, 13)
    if state == "uint8":
        high = (1 << bits) - 1
        zero_point = 0 if activation == "relu" else draw(whole(0, high, high // 2))
        low = zero_point if activation == "relu" else 0
    else:
        zero_point = 0
        high = (1 << bits if activation == "relu" else 1 << (bits - 1)) - 1
        low = 0 if activation == "relu" else -high - 1
    lift = draw(st.sampled_from([0, 0, 1, 3]))
    # 2^q W with q = bits - 8 fits a byte, or not.
    weight = {"direct": 127, "digits": max(1, (127 >> (bits - 8)) >> lift if bits > 8 else 1), "rows": 127}[product]
    w = draw(filled("int8", (hidden, hidden), 0, low=-weight, high=weight))
    if product == "rows":
        w[0, 0] = draw(st.sampled_from([-127, 127]))
    x_kind = draw(st.sampled_from(["uint8", "uint8", "int16"]))
    u = draw(filled("int8", (hidden, inputs), 0, low=-128, high=127))
    constants = {"u": u, "w": w}
    x_zero_point = draw(whole(0, 255)) if x_kind == "uint8" else 0
    input_shift = draw(st.sampled_from([0, 0, 1, 4]))
    if draw(st.booleans()):
        input_shift = draw(whole(0, 30))
        size = draw(st.sampled_from([1, hidden]))
        constants["input_multiplier"] = draw(filled("int32", size, low=-(2**15), high=2**15 - 1))
    chosen = draw(requantizations(hidden, "int16", positive=activation == "relu" or finish != "multiply"))
    multiplier, shift, tie = chosen["m"], chosen["shift"], chosen["tie"]
    if finish == "divide":
        multiplier, shift = np.ones(1, np.int32), draw(whole(0, 14))
        tie = 1 << max(shift - 1, 0)
    elif finish == "gather":
        # A table of all accumulators, or one between two saturated ends near by.
        multiplier = multiplier[:1]
        shift = draw(whole(0, 22)) if multiplier[0] < 2**15 else draw(whole(20, 40))
    reach = draw(st.sampled_from([2**12, 2**26, 2**29]))
    constants["b"] = draw(filled("int32", hidden, 0, tie, -tie, 3 * tie, low=-reach, high=reach))
    constants["m"] = multiplier
    if activation == "modrelu":
        constants["rectifier"] = draw(filled("int32", hidden, 0, low=-reach, high=reach))
    if activation == "table":
        generator = np.random.default_rng(draw(st.integers(0, 2**32)))
        constants["table"] = generator.integers(
            low, high, 1 << draw(st.integers(1, 12)), np.dtype(state), endpoint=True
        )
    steps, batch = draw(whole(1, 4)), draw(whole(1, 3))
    return {
        "constants": constants,
        "x": draw(filled(x_kind, (steps, batch, inputs), x_zero_point)),
        "h0": draw(filled(state, (batch, hidden), zero_point, low=low, high=high)),
        "every": draw(st.booleans()),
        "attributes": {
            "activation": activation,
            "x_zero_point": x_zero_point,
            "h_zero_point": zero_point,
            "input_shift": input_shift,
            "recurrent_shift": lift,
            "shift": shift,
            "low": low,
            "high": high,
            "dtype": ELEMENT_TYPES[state],
        },
    }


ARRANGEMENTS = [
    (product, activation, finish)
    for product in ("direct", "digits", "rows")
    for activation in ("relu", "linear", "modrelu", "table")
    for finish in ("gather", "multiply", "divide")
    # A rectifier and a power of two is what a Div can do; digits come from a look-up or a product.
    if finish != "divide" or (activation == "relu" and product != "digits")
]


@property_of("RNN")
@pytest.mark.parametrize(
    ("product", "activation", "finish"), ARRANGEMENTS, ids=["-".join(words) for words in ARRANGEMENTS]
)
def test_rnn(product: str, activation: str, finish: str) -> None:
    reached = []

    @settings(many, max_examples=30)
    @given(recurrences(product, activation, finish))
    def holds(layer: dict[str, Any]) -> None:
        constants, x, h0 = layer["constants"], layer["x"], layer["h0"]
        names = ["x", "h0", "u", "w", "b", "m"]
        names += [name if name in constants else "" for name in ("rectifier", "table", "input_multiplier")]
        while not names[-1]:
            names.pop()
        kinds = {"y": h0.dtype.name if layer["every"] else "", "y_h": h0.dtype.name}
        model = one_node("RNN", {"x": x, "h0": h0}, constants, names, kinds, **layer["attributes"])
        site = next(sites(model))
        assume(accumulator_reach(site) <= LARGEST)
        chosen = arrange(site)
        reached.append((chosen.product, chosen.activation, chosen.finish))
        found = agreed(model, {"x": x, "h0": h0})
        states = definitions.recurrence(x, h0, constants, layer["attributes"])
        assert (found["y_h"] == states[-1]).all()
        if layer["every"]:
            assert (found["y"] == states).all()

    holds()
    assert (product, activation, finish) in reached


@st.composite
def gated_layers(draw: st.DrawFn) -> dict[str, Any]:
    """A layer of GRU of any size, bits, multipliers, shifts, tables and bounds, with its feeds."""
    steps, batch, inputs, hidden = (draw(whole(1, largest)) for largest in (4, 3, 5, 4))
    state_bits, bits = draw(whole(2, 16, 8, 9, 12)), draw(whole(2, 8))
    kind = "uint8" if state_bits <= 8 else "int16"
    half, top = 1 << (state_bits - 1), 1 << (bits - 1)
    zero_point = half if kind == "uint8" else 0
    low, high = zero_point - half, zero_point + half - 1
    state_shift = draw(whole(0, min(14, 16 - state_bits)))
    x_kind = draw(st.sampled_from(["uint8", "int16"]))
    x_zero_point = draw(whole(0, 255)) if x_kind == "uint8" else 0
    sizes = [draw(st.sampled_from([2, 64, 4096])) for _ in range(2)]
    shifts = [draw(whole(0, 30)), draw(whole(0, 30)), draw(whole(0, 17))]
    return {
        "constants": {
            "u": draw(filled("int8", (3 * hidden, inputs), 0, low=-top, high=top - 1)),
            "w": draw(filled("int8", (3 * hidden, hidden), 0, low=-top, high=top - 1)),
            "b": draw(filled("int32", 3 * hidden, 0, low=-(2**30), high=2**30)),
            "c": draw(filled("int32", hidden, 0, low=-(2**30), high=2**30)),
            "input_m": draw(filled("int32", 3 * hidden, 1 << shifts[0], low=0)),
            "m": draw(filled("int32", 3 * hidden, 1 << shifts[1], low=0)),
            "sigmoid": draw(filled("int16", sizes[0], 2**14, low=0)) if sizes[0] < 4096 else _ramp(4096, 0, 2**15 - 1),
            "tanh": (
                draw(filled("int16", sizes[1], 0, low=-half << state_shift, high=(half - 1) << state_shift))
                if sizes[1] < 4096
                else _ramp(4096, -half << state_shift, (half - 1) << state_shift)
            ),
        },
        "x": draw(filled(x_kind, (steps, batch, inputs), x_zero_point)),
        "h0": draw(filled(kind, (batch, hidden), zero_point, low=low, high=high)),
        "attributes": {
            "x_zero_point": x_zero_point,
            "h_zero_point": zero_point,
            **dict(zip(("input_shift", "shift", "candidate_shift"), shifts, strict=True)),
            "state_shift": state_shift,
            "low": low,
            "high": high,
            "dtype": ELEMENT_TYPES[kind],
        },
        "every": draw(st.booleans()),
    }


def _ramp(size: int, low: int, high: int) -> Array:
    """A table whose entries rise from ``low`` to ``high``."""
    return np.rint(np.linspace(low, high, size)).astype(np.int16)


@property_of("GRU")
@many
@given(gated_layers())
def test_gru(layer: dict[str, Any]) -> None:
    constants, attributes, x, h0 = (layer[name] for name in ("constants", "attributes", "x", "h0"))
    reach = gru_reach(
        recurrent_weight=constants["w"],
        input_weight=constants["u"],
        bias=constants["b"],
        recurrent_bias=constants["c"],
        state=attributes["high"] - attributes["low"],
        x=2**15 if x.dtype == np.int16 else 255,
        input_multiplier=constants["input_m"],
        input_shift=attributes["input_shift"],
        drive_limit=2**29,
    )
    assume(reach.max() <= LARGEST)
    kinds = {"y": h0.dtype.name if layer["every"] else "", "y_h": h0.dtype.name}
    names = ["x", "h0", "u", "w", "b", "c", "input_m", "m", "sigmoid", "tanh"]
    model = one_node("GRU", {"x": x, "h0": h0}, constants, names, kinds, **attributes)
    found = agreed(model, {"x": x, "h0": h0})
    states = definitions.gated_recurrence(x, h0, constants, attributes)
    assert (found["y_h"] == states[-1]).all()
    if layer["every"]:
        assert (found["y"] == states).all()


@property_of("GRUResetBefore")
def test_gru_reset_before() -> None:
    finishes = set()

    @many
    @given(gated_layers(), st.booleans())
    def holds(layer: dict[str, Any], powers: bool) -> None:
        constants, attributes, x, h0 = (layer[name] for name in ("constants", "attributes", "x", "h0"))
        del constants["c"], attributes["candidate_shift"]
        if powers:
            # Powers of two are what a Div can do.
            attributes["shift"] = min(attributes["shift"], 12)
            exponents = np.arange(len(constants["m"])) % (attributes["shift"] + 1)
            constants["m"] = np.left_shift(1, exponents).astype(np.int32)
        reach = gru_reach(
            recurrent_weight=constants["w"],
            input_weight=constants["u"],
            bias=constants["b"],
            recurrent_bias=constants["b"][:0],
            state=attributes["high"] - attributes["low"],
            x=2**15 if x.dtype == np.int16 else 255,
            input_multiplier=constants["input_m"],
            input_shift=attributes["input_shift"],
            drive_limit=2**29,
        )
        assume(reach.max() <= LARGEST)
        kinds = {"y": h0.dtype.name if layer["every"] else "", "y_h": h0.dtype.name}
        names = ["x", "h0", "u", "w", "b", "input_m", "m", "sigmoid", "tanh"]
        model = one_node("GRUResetBefore", {"x": x, "h0": h0}, constants, names, kinds, **attributes)
        finishes.add(attach_bodies(model).graph.node[0].op_type.split("_")[3])
        found = agreed(model, {"x": x, "h0": h0})
        states = definitions.reset_before_recurrence(x, h0, constants, attributes)
        assert (found["y_h"] == states[-1]).all()
        if layer["every"]:
            assert (found["y"] == states).all()

    holds()
    assert finishes == {"divide", "multiply"}


@st.composite
def light_gated_layers(draw: st.DrawFn) -> dict[str, Any]:
    """A layer of LiGRU of any size, bits, multipliers, shifts, candidates and bounds, with its feeds."""
    steps, batch, inputs, hidden = (draw(whole(1, largest)) for largest in (4, 3, 5, 4))
    unsigned = draw(st.booleans())
    state_bits, bits = draw(whole(2, 15 if unsigned else 16, 8, 9, 12)), draw(whole(2, 8))
    kind = "uint8" if state_bits <= 8 else "int16"
    top = 1 << (bits - 1)
    half = 0 if unsigned else 1 << (state_bits - 1)
    zero_point = half if kind == "uint8" else 0
    low, high = zero_point - half, zero_point - half + (1 << state_bits) - 1
    state_shift = draw(whole(0, min(14, (15 if unsigned else 16) - state_bits)))
    x_kind = draw(st.sampled_from(["uint8", "int16"]))
    divided = draw(st.booleans())
    input_shift, shift = draw(whole(0, 30)), draw(whole(0, 12 if divided else 30))
    reach = draw(st.sampled_from([2**12, 2**22, 2**30]))
    # Powers of two are what a Div can do.
    powers = draw(st.lists(whole(0, shift), min_size=2 * hidden, max_size=2 * hidden))
    multiplier = np.left_shift(1, powers if draw(st.booleans()) else powers[:1]).astype(np.int32)
    if not divided:
        multiplier = draw(filled("int32", draw(st.sampled_from([1, 2 * hidden])), 1 << shift, low=0))
    constants = {
        "u": draw(filled("int8", (2 * hidden, inputs), 0, low=-top, high=top - 1)),
        "w": draw(filled("int8", (2 * hidden, hidden), 0, low=-top, high=top - 1)),
        "b": draw(filled("int32", 2 * hidden, 0, low=-reach, high=reach)),
        "input_m": draw(filled("int32", draw(st.sampled_from([1, 2 * hidden])), 1 << input_shift, low=0)),
        "m": multiplier,
        "sigmoid": draw(filled("int16", 64, 2**14, low=0)) if draw(st.booleans()) else _ramp(4096, 0, 2**15 - 1),
    }
    table = draw(st.booleans())
    if table:
        # Within the state's range, or far beyond it.
        inside = (low - zero_point) << state_shift, (high - zero_point) << state_shift
        ends = draw(st.sampled_from([inside, (-(2**15), 2**15 - (1 << state_shift))]))
        constants["candidate"] = _ramp(draw(st.sampled_from([2, 4096])), *ends)
    return {
        "constants": constants,
        "x": draw(filled(x_kind, (steps, batch, inputs), 0)),
        "h0": draw(filled(kind, (batch, hidden), zero_point, low=low, high=high)),
        "attributes": {
            "x_zero_point": draw(whole(0, 255)) if x_kind == "uint8" else 0,
            "h_zero_point": zero_point,
            "input_shift": input_shift,
            "shift": shift,
            "gate_shift": draw(whole(0, 15)),
            "candidate_multiplier": draw(whole(0, LARGEST, 1, 2**15)),
            "candidate_shift": draw(whole(0, 46)),
            "slope": 0 if table else draw(whole(0, 2**15 - 1, 328)),
            "state_shift": state_shift,
            "low": low,
            "high": high,
            "dtype": ELEMENT_TYPES[kind],
        },
        "every": draw(st.booleans()),
    }


def small_light_gated_layer(*, table: bool, wide: bool) -> dict[str, Any]:
    """A layer of one unit whose sums are so small that nothing is clipped; its candidates lie among the states, or beyond."""
    ends = (-(2**15), 2**15 - 1) if wide else (-128, 127)
    constants = {
        "u": np.array([[1], [-1]], np.int8),
        "w": np.array([[1], [-1]], np.int8),
        "b": np.array([3, -3], np.int32),
        "input_m": np.array([1], np.int32),
        "m": np.array([1], np.int32),
        "sigmoid": _ramp(4096, 0, 2**15 - 1),
    }
    attributes = {
        "x_zero_point": 7,
        "h_zero_point": 128,
        "input_shift": 0,
        "shift": 0,
        "gate_shift": 0,
        "candidate_multiplier": LARGEST if wide and not table else int(table),
        "candidate_shift": 0 if wide else 8,
        "slope": 0,
        "state_shift": 0,
        "low": 0,
        "high": 255,
        "dtype": ELEMENT_TYPES["uint8"],
    }
    return {
        "constants": {**constants, **({"candidate": _ramp(4096, *ends)} if table else {})},
        "x": np.array([[[0]], [[255]]], np.uint8),
        "h0": np.array([[200]], np.uint8),
        "attributes": attributes,
        "every": True,
    }


@property_of("LiGRU")
def test_ligru() -> None:
    finishes, candidates = set(), set()

    # What is drawn differs with what else is loaded; every arrangement is seen.
    @many
    @example(small_light_gated_layer(table=True, wide=False))
    @example(small_light_gated_layer(table=True, wide=True))
    @example(small_light_gated_layer(table=False, wide=False))
    @example(small_light_gated_layer(table=False, wide=True))
    @given(light_gated_layers())
    def holds(layer: dict[str, Any]) -> None:
        constants, attributes, x, h0 = (layer[name] for name in ("constants", "attributes", "x", "h0"))
        reach = gru_reach(
            recurrent_weight=constants["w"],
            input_weight=constants["u"],
            bias=constants["b"],
            recurrent_bias=constants["b"][:0],
            state=attributes["high"] - attributes["low"],
            x=2**15 if x.dtype == np.int16 else 255,
            input_multiplier=constants["input_m"],
            input_shift=attributes["input_shift"],
            drive_limit=2**29,
        )
        assume(reach.max() <= LARGEST)
        kinds = {"y": h0.dtype.name if layer["every"] else "", "y_h": h0.dtype.name}
        names = ["x", "h0", "u", "w", "b", "input_m", "m", "sigmoid"]
        names += ["candidate"] if "candidate" in constants else []
        model = one_node("LiGRU", {"x": x, "h0": h0}, constants, names, kinds, **attributes)
        words = attach_bodies(model).graph.node[0].op_type.split("_")
        finishes.add(words[3])
        candidates.add(words[4])
        found = agreed(model, {"x": x, "h0": h0})
        states = definitions.light_gated_recurrence(x, h0, constants, attributes)
        assert (found["y_h"] == states[-1]).all()
        if layer["every"]:
            assert (found["y"] == states).all()

    holds()
    assert finishes == {"divide", "dividefree", "multiply"}
    assert candidates == {"table", "tablewide", "rectifier", "rectifierwide"}


@st.composite
def lstm_layers(draw: st.DrawFn) -> dict[str, Any]:
    """An LSTM layer of any types, bounds, shifts and tables, with its input and its states."""
    hidden, inputs, x_kind = draw(whole(1, 4)), draw(whole(1, 4)), draw(st.sampled_from(["uint8", "int16"]))
    rows, state = 4 * hidden, draw(st.sampled_from(["uint8", "int16"]))
    bounds = np.iinfo(state)
    low = draw(whole(bounds.min, bounds.max))
    high = draw(whole(low, bounds.max))
    zero_point = draw(whole(low, high)) if state == "uint8" else 0
    index, cell = 1 << draw(st.integers(1, 12)), 1 << draw(st.integers(1, 12))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    ends = draw(st.booleans())

    def table(size: int, smallest: int, largest: int) -> Array:
        values = generator.integers(smallest, largest, size, endpoint=True)
        return (generator.choice([smallest, largest], size) if ends else values).astype(np.int16)

    def multipliers(smallest: int) -> Array:
        size = draw(st.sampled_from([1, rows]))
        return draw(arrays("int32", size, elements=whole(smallest, LARGEST, 1), fill=st.nothing()))

    constants = {
        "input_weight": draw(filled("int8", (rows, inputs), 0)),
        "recurrent_weight": draw(filled("int8", (rows, hidden), 0)),
        "bias": draw(filled("int32", rows, 0, low=-(2**30), high=2**30)),
        "input_multiplier": multipliers(0),
        "multiplier": multipliers(-LARGEST),
        "gate_table": table(index, 0, 2**14),
        "candidate_table": table(index, -(2**15 - 1), 2**15 - 1),
        "cell_table": table(cell, -(2**15 - 1), 2**15 - 1),
    }
    x_zero_point = draw(whole(0, 255)) if x_kind == "uint8" else 0
    steps, batch = draw(whole(1, 4)), draw(whole(1, 3))
    return {
        "constants": constants,
        "feeds": {
            "x": draw(filled(x_kind, (steps, batch, inputs), x_zero_point)),
            "h0": draw(filled(state, (batch, hidden), zero_point, low=low, high=high)),
            "c0": draw(filled("int16", (batch, hidden), 0)),
        },
        "every": draw(st.booleans()),
        "attributes": {
            "x_zero_point": x_zero_point,
            "h_zero_point": zero_point,
            "input_shift": draw(whole(0, 30)),
            "recurrent_shift": draw(whole(0, 10)),
            "shift": draw(whole(0, 46)),
            "cell_shift": draw(whole(0, 15)),
            "output_shift": draw(whole(0, 30)),
            "low": low,
            "high": high,
            "dtype": ELEMENT_TYPES[state],
        },
    }


@property_of("LSTM")
@many
@given(lstm_layers())
def test_lstm(layer: dict[str, Any]) -> None:
    constants, feeds, attributes = layer["constants"], layer["feeds"], layer["attributes"]
    x_zero_point, zero_point = attributes["x_zero_point"], attributes["h_zero_point"]
    reach = recurrent_reach(
        recurrent_weight=constants["recurrent_weight"],
        input_weight=constants["input_weight"],
        bias=constants["bias"],
        state=max(abs(attributes["low"] - zero_point), abs(attributes["high"] - zero_point)),
        x=max(x_zero_point, 255 - x_zero_point) if feeds["x"].dtype == np.uint8 else 2**15,
        recurrent_shift=attributes["recurrent_shift"],
        input_shift=attributes["input_shift"],
        input_multiplier=constants["input_multiplier"],
    )
    assume(reach.max() <= LARGEST)
    state = feeds["h0"].dtype.name
    kinds = {"y": state if layer["every"] else "", "y_h": state, "y_c": "int16"}
    found = agreed(one_node("LSTM", feeds, constants, [*feeds, *constants], kinds, **attributes), feeds)
    states, cells = definitions.long_short_term_memory(feeds, constants, attributes)
    assert (found["y_h"] == states[-1]).all()
    assert (found["y_c"] == cells[-1]).all()
    if layer["every"]:
        assert (found["y"] == states).all()


def test_every_operator_has_a_property_test() -> None:
    """Also those whose tests stand in a file of their own, ``test_properties_*.py``."""
    for path in Path(__file__).parent.glob("test_properties_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    assert set(OPERATORS) == COVERED
