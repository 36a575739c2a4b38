"""UnpackWeights, HamiltonMatrix, GateRows and HadamardMatrix: constants that runtimes fold at load."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.ops.hadamard_matrix import hadamard_transform, pack_signs
from qdeploy.runtime.ops.unpack_weights import pack_weights


def shown(operator: str, constants: dict[str, np.ndarray], **attributes: object) -> list[np.ndarray]:
    """The operator's result by its meaning, by its body, and by onnxruntime (a Linear reads it: weights never leave a graph)."""
    meaning = OPERATORS[operator].meaning(Node("node"), *constants.values(), **attributes)[0]
    rows, columns = meaning.shape
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node(operator, list(constants), ["w"], name="weights", domain="qdeploy", **attributes),
        onnx.helper.make_node(
            "Linear",
            ["x", "w", "b", "m"],
            ["y"],
            name="linear",
            domain="qdeploy",
            x_zero_point=0,
            shift=0,
            y_zero_point=0,
            low=-(2**31),
            high=2**31 - 1,
            dtype=6,
        ),
    ]
    initializers = {**constants, "b": np.zeros(rows, np.int32), "m": np.ones(1, np.int32)}
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [value("x", 2, ["n", columns])],
        [value("y", 6, ["n", rows])],
        [onnx.numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    model = attach_bodies(onnx.helper.make_model(graph, opset_imports=opsets))
    one_hot = np.eye(columns, dtype=np.uint8)
    found = [open_engine(name, model).run({"x": one_hot})["y"].T for name in ("numpy", "bodies", "onnxruntime")]
    return [meaning, *found]


def computed(operator: str, constants: dict[str, np.ndarray], **attributes: object) -> np.ndarray:
    """What onnxruntime makes of the operator's body, of any number of dimensions."""
    node = onnx.helper.make_node(operator, list(constants), ["w"], name="weights", domain="qdeploy", **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "test",
        [],
        [onnx.helper.make_tensor_value_info("w", onnx.TensorProto.INT8, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    model = attach_bodies(onnx.helper.make_model(graph, opset_imports=opsets))
    (weight,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})
    return weight


@settings(max_examples=25, deadline=None)
@given(bits=st.sampled_from([1, 2, 4]), rows=st.integers(1, 7), columns=st.integers(1, 7), seed=st.integers(0, 999))
def test_weights_come_back_from_their_bytes(bits: int, rows: int, columns: int, seed: int) -> None:
    half = 2 ** (bits - 1)
    weight = np.random.default_rng(seed).integers(-half, half, (rows, columns)).astype(np.int8)
    packed = pack_weights(weight, bits)
    assert packed.nbytes == -(-weight.size * bits // 8)
    for found in shown("UnpackWeights", {"p": packed}, bits=bits, shape=[rows, columns]):
        assert (found == weight).all()


def hamilton(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The product of two quaternions, as every textbook has it."""
    a1, b1, c1, d1 = w
    a2, b2, c2, d2 = x
    return np.array(
        [
            a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
            a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
            a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
            a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
        ]
    )


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
def test_the_matrix_is_the_hamilton_product(grouping: str) -> None:
    generator = np.random.default_rng(0)
    parts = {name: generator.integers(-127, 128, (3, 2)).astype(np.int8) for name in "rijk"}
    x = generator.integers(-50, 50, (4, 2))
    flat = x.reshape(-1) if grouping == "blocked" else x.T.reshape(-1)
    quaternions = np.stack(list(parts.values())).astype(int)
    expected = sum(hamilton(quaternions[:, :, column], x[:, column : column + 1]) for column in range(2)).reshape(-1)
    for matrix in shown("HamiltonMatrix", parts, grouping=grouping):
        assert (matrix.astype(int) @ flat == expected).all()


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
@pytest.mark.parametrize("kernel", [(3,), (2, 3), (1, 2, 2)])
def test_a_kernel_is_a_matrix_at_every_tap(grouping: str, kernel: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    parts = {name: generator.integers(-127, 128, (3, 2, *kernel)).astype(np.int8) for name in "rijk"}
    meaning = OPERATORS["HamiltonMatrix"].meaning(Node("q"), *parts.values(), grouping=grouping)[0]
    for whole in (meaning, computed("HamiltonMatrix", parts, grouping=grouping)):
        assert whole.shape == (12, 8, *kernel)
        for tap in np.ndindex(*kernel):
            taps = {name: part[:, :, *tap] for name, part in parts.items()}
            (matrix,) = OPERATORS["HamiltonMatrix"].meaning(Node("q"), *taps.values(), grouping=grouping)
            assert (whole[:, :, *tap] == matrix).all()


def test_minus_128_has_no_negative() -> None:
    parts = [np.full((1, 1), value, np.int8) for value in (1, -128, 2, 3)]
    with pytest.raises(ContractError, match="-128"):
        OPERATORS["HamiltonMatrix"].meaning(Node("q"), *parts, grouping="blocked")


@pytest.mark.parametrize(("parts", "order"), [(4, [0, 1, 2]), (1, [0, 1, 3, 2]), (2, [1, 0])])
def test_rows_of_gates(parts: int, order: list[int]) -> None:
    units = 2
    # Each row says where it stands: a hundred times its part, ten times its gate, and its unit.
    rows = [
        30 * part + 10 * gate + unit for part in range(parts) for gate in range(len(order)) for unit in range(units)
    ]
    expected = [30 * part + 10 * gate + unit for gate in order for part in range(parts) for unit in range(units)]
    for found in shown("GateRows", {"g": np.array(rows, np.int8)[:, None]}, parts=parts, order=order):
        assert found[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("parts", "order", "words"),
    [
        (4, [0, 0], "permutation"),
        (4, [1, 2], "permutation"),
        (4, [], "permutation"),
        (4, [0, 1], "12 rows; expected a multiple of 4 parts of 2"),
        (0, [0, 1], "multiple of 0 parts"),
    ],
)
def test_rows_that_are_no_gates(parts: int, order: list[int], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        OPERATORS["GateRows"].meaning(Node("g"), np.zeros((12, 3), np.int8), parts=parts, order=order)


@pytest.mark.parametrize(("size", "block"), [(1, 1), (2, 2), (5, 1), (8, 8), (12, 4), (64, 64), (96, 32)])
def test_signs_become_a_hadamard_matrix(size: int, block: int) -> None:
    signs = np.random.default_rng(size).choice([-1, 1], size)
    sylvester = np.ones((1, 1), int)
    while len(sylvester) < block:
        sylvester = np.block([[sylvester, sylvester], [sylvester, -sylvester]])
    expected = np.diag(signs) @ np.kron(np.eye(size // block, dtype=int), sylvester)
    assert (expected @ expected.T == block * np.eye(size)).all()
    packed = pack_signs(signs)
    assert packed.nbytes == -(-size // 8)
    for found in shown("HadamardMatrix", {"s": packed}, size=size, block=block):
        assert (found == expected).all()


@pytest.mark.parametrize(
    ("signs", "size", "block", "words"),
    [
        ([0], 8, 3, "power of two that divides"),
        ([0], 6, 4, "power of two that divides"),
        ([0], 8, 0, "power of two that divides"),
        ([0], -8, 8, "power of two that divides"),
        ([0], 16, 8, "signs has shape"),
        ([0, 0], 8, 8, "signs has shape"),
        ([16], 4, 4, "unused bit"),
        ([0] * 2048, 16384, 16384, "expected at most"),
    ],
)
def test_signs_that_are_no_matrix(signs: list[int], size: int, block: int, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        OPERATORS["HadamardMatrix"].meaning(Node("h"), np.array(signs, np.uint8), size=size, block=block)


def test_transform_is_the_product_with_the_matrix() -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (3, 5, 32))
    (sylvester,) = OPERATORS["HadamardMatrix"].meaning(Node("h"), np.zeros(4, np.uint8), size=32, block=32)
    assert (hadamard_transform(values) == values @ sylvester.astype(int)).all()
