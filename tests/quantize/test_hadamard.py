"""Hadamard recurrences as integers: one bit a unit in the file, the same bits as the matrix in full, near the float."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.calibration import calibrate
from qdeploy.export.onnx import attach_bodies, check_integer_only
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import IntegerModel, load_recipe, quantize
from qdeploy.quantize.lowerings.hadamard_signs import HadamardSigns
from qdeploy.quantize.weights import QuantizedWeight
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.numeric import dequantize
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.ops.hadamard_matrix import pack_signs
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.studies.subject import integer_feeds

torch = pytest.importorskip("torch")

from qdeploy.capture import capture  # noqa: E402  # torch may be missing
from qdeploy.models import build  # noqa: E402  # torch may be missing


def matrix(signs: np.ndarray, block: int) -> np.ndarray:
    """By its definition, entry by entry."""
    size = len(signs)
    rows = range(size)
    return np.array(
        [
            [int(signs[i]) * (-1) ** (i % block & j % block).bit_count() * (i // block == j // block) for j in rows]
            for i in rows
        ],
        np.int8,
    )


def weight(integers: np.ndarray, *, exact: bool = True) -> QuantizedWeight:
    return QuantizedWeight(integers.astype(np.int8), np.array([0.25]), 2, exact, 0.0)


@settings(max_examples=40, deadline=None)
@given(block=st.sampled_from([2, 4, 8, 16]), blocks=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_signs_are_recognised_and_give_the_matrix_back(block: int, blocks: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1, 1], block * blocks)
    integers = matrix(signs, block)
    found = HadamardSigns.of(weight(integers))
    assert found is not None
    assert (found.size, found.block, found.packed.tolist()) == (len(signs), block, pack_signs(signs).tolist())
    # One entry that is another makes it another matrix.
    row, column = generator.integers(0, len(signs), 2)
    changed = integers.copy()
    changed[row, column] = -changed[row, column] if changed[row, column] else 1
    assert HadamardSigns.of(weight(changed)) is None


@pytest.mark.parametrize(
    "other",
    [
        weight(np.eye(4)),
        weight(np.ones((4, 4))),
        weight(matrix(np.ones(4), 4), exact=False),
        weight(matrix(np.ones(4), 4)[:2]),
        weight(2 * matrix(np.ones(4), 4)),
        weight(np.zeros((4, 4))),
        weight(np.kron(np.eye(2), np.ones((3, 3)))),
    ],
)
def test_other_matrices_are_not_recognised(other: QuantizedWeight) -> None:
    assert HadamardSigns.of(other) is None


def network(
    hidden: int, block: int, activation: str = "linear", steps: int = 60, emit: str = "every"
) -> tuple[Any, Any, Any, Any]:
    torch.manual_seed(4)
    module = build(
        "orthogonal-classifier",
        {
            "input_size": 2,
            "hidden_size": hidden,
            "num_classes": 3,
            "activation": activation,
            "output_activation": "relu",
            "weight_bits": 4,
            "orthogonal": "hadamard",
            "block_size": block,
            "steps": emit,
        },
    ).eval()
    with torch.no_grad():
        module.recurrent.bias.uniform_(-0.1, 0.1)
        if activation == "modrelu":
            module.recurrent.modrelu_bias.uniform_(-0.1, 0.1)
    x = np.random.default_rng(5).integers(0, 256, (6, steps, 2)).astype(np.float32) / 256
    captured = capture(module, {"x": x})
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    with torch.no_grad():
        return captured, statistics, feeds, module(torch.from_numpy(feeds["x"])).numpy()


def every_tensor(captured: Any, integers: IntegerModel, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every activation and every state of every step; the reference, the bodies and onnxruntime agree on them."""
    check_integer_only(integers.model)
    given_inputs = integer_feeds(captured, integers, feeds)
    shown = expose(integers.model)
    expected = ReferenceModel(shown).run(given_inputs).outputs
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(given_inputs)
        assert all((found[name] == array).all() for name, array in expected.items()), engine
    return expected


@pytest.mark.parametrize(
    ("hidden", "block", "activation", "recipe", "largest"),
    [
        (64, 64, "linear", "default", 0.02),
        (32, 8, "linear", "default", 0.02),
        (24, 8, "relu", "default", 0.02),
        (16, 16, "modrelu", "default", 0.04),
        (32, 16, "tanh", "default", 0.05),
        (64, 16, "linear", "precise", 0.01),
        (64, 64, "relu", "default", 0.02),
        (128, 128, "relu", "default", 0.02),
        (96, 32, "tanh", "default", 0.05),
        (64, 16, "linear", "fast-loop", 0.3),
    ],
)
def test_signs_and_matrix_give_the_same_bits_near_the_float(
    hidden: int, block: int, activation: str, recipe: str, largest: float
) -> None:
    captured, statistics, feeds, real = network(hidden, block, activation)
    compact, expanded = (
        quantize(captured.model, statistics, load_recipe(recipe), storage=storage)
        for storage in ("compact", "expanded")
    )
    found = every_tensor(captured, compact, feeds)
    for name, array in every_tensor(captured, expanded, feeds).items():
        assert (array == found[name]).all(), name
    kind = compact.graph.types[compact.outputs[0]]
    computed = dequantize(found[compact.outputs[0]], kind.scale, kind.zero_point)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= largest

    stored = {tensor.name: tensor for tensor in compact.model.graph.initializer}
    (name,) = [name for name in stored if name.endswith(".signs")]
    assert len(onnx.numpy_helper.to_array(stored[name])) == hidden // 8
    assert sum(node.op_type == "HadamardMatrix" for node in compact.model.graph.node) == 1
    assert not any(node.op_type == "HadamardMatrix" for node in expanded.model.graph.node)
    (layer,) = [layer for layer in compact.graph.layers if layer["operator"] == "RNN"]
    assert (layer["hadamard_block"], layer["parameters"], layer["sign_bytes"]) == (block, 3 * hidden, 9 * hidden // 8)
    assert layer["orthogonality_integer"] < 1e-6


@pytest.mark.parametrize(
    ("hidden", "block", "activation", "changes", "arrangement"),
    [
        (64, 64, "linear", {}, r"hadamard8x8_linear_gather"),
        (64, 32, "linear", {}, r"hadamard1x32_linear_gather"),
        (128, 128, "linear", {"state_bits": 16}, r"hadamard8x16_linear_multiply"),
        (64, 64, "relu", {}, r"hadamard8x8_relu_divide"),
        (64, 64, "tanh", {}, r"hadamard8x8_table_multiply"),
        (64, 64, "tanh", {"state_bits": 16}, r"hadamard8x8_table_multiply"),
        # Not wide, small, or with a bias of its own for each unit: the matrix as any other.
        (64, 64, "linear", {"state_bits": 8}, r"direct\w*_linear"),
        (32, 32, "linear", {}, r"digits\w*_linear"),
        (64, 64, "modrelu", {}, r"(digits|rows)\w*_modrelu"),
    ],
)
@pytest.mark.parametrize("emit", ["every", "last"])
def test_wide_states_meet_the_factors_of_the_matrix(
    hidden: int, block: int, activation: str, changes: dict[str, Any], arrangement: str, emit: str
) -> None:
    captured, statistics, feeds, _ = network(hidden, block, activation, steps=20, emit=emit)
    integers = quantize(captured.model, statistics, load_recipe("default").changed(**changes))
    every_tensor(captured, integers, feeds)
    with_bodies = attach_bodies(integers.model)
    (body,) = [node.op_type for node in with_bodies.graph.node if node.op_type.startswith("RNN")]
    assert re.search(arrangement, body), body
    given_inputs = integer_feeds(captured, integers, feeds)
    expected = ReferenceModel(integers.model).run(given_inputs).outputs
    for engine in ("bodies", "onnxruntime"):
        for name, array in open_engine(engine, with_bodies).run(given_inputs).items():
            assert (array == expected[name]).all(), (engine, name)


@pytest.mark.parametrize(("block", "multiplier_bits"), [(64, 1), (16, 1), (4, 1), (32, 31), (8, 31)])
def test_blocks_of_a_power_of_four_need_no_multiplier(block: int, multiplier_bits: int) -> None:
    captured, statistics, _, _ = network(64, block, steps=784)
    (layer,) = [
        layer
        for layer in quantize(captured.model, statistics, load_recipe("default")).graph.layers
        if layer["operator"] == "RNN"
    ]
    assert layer["multiplier_bits"] == multiplier_bits
    if multiplier_bits == 1:
        assert layer["multiplier_error"] == layer["gain_error"] == 0.0
    else:
        assert 0.0 <= layer["gain_error"] < 1e-6


def test_a_loop_in_pieces_gives_the_bits_of_the_whole() -> None:
    captured, statistics, feeds, _ = network(32, 16)
    integers = quantize(captured.model, statistics, load_recipe("default"))
    model = ReferenceModel(integers.model)
    inputs = integer_feeds(captured, integers, feeds)
    whole = model.run(inputs).outputs
    (state,) = integers.graph.states
    x = next(name for name in inputs if name != state.input)
    axis = next(spec.time_axis for spec in captured.inputs)
    batch_axis = next(spec.batch_axis for spec in captured.inputs)
    time_axis = next(place for place in range(3) if inputs[x].shape[place] == 60)
    assert axis is not None
    for pieces in ([1] * 60, [7, 30, 23]):
        last, outputs = inputs[state.input], []
        for part in np.split(inputs[x], np.cumsum(pieces)[:-1], axis=time_axis):
            result = model.run({x: part, state.input: last}).outputs
            last = result[state.output]
            outputs.append(result[integers.outputs[0]])
        assert (np.concatenate(outputs, axis=time_axis) == whole[integers.outputs[0]]).all()
        assert (last == whole[state.output]).all()
    single = model.run({x: np.take(inputs[x], [2], axis=batch_axis), state.input: inputs[state.input][2:3]}).outputs
    assert (single[state.output] == whole[state.output][2:3]).all()


def test_reference_matrix_has_sylvesters_entries() -> None:
    signs = np.random.default_rng(6).choice([-1, 1], 24)
    (found,) = OPERATORS["HadamardMatrix"].meaning(Node("w"), pack_signs(signs), size=24, block=8)
    assert (found == matrix(signs, 8)).all()
