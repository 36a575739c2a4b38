"""HypercomplexMatrix of any algebra, sizes, kernels, orders, factors and shifts: every voice gives the definition's bits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.engines import open_engine

from .test_properties import filled, property_of, whole
from .test_weights import computed, shown

EXAMPLES = settings(max_examples=60, deadline=None)


def definition(algebra: Any, components: Any, factors: Any, *, grouping: str, output_grouping: str, shift: int) -> Any:
    """The contract in Python's integers, entry by entry."""
    count, p_count, u_count = algebra.shape
    q_count, v_count, *kernel = components.shape[1:]
    weight = np.zeros((p_count * q_count, u_count * v_count, *kernel), object)
    for p, q, u, v in itertools.product(*map(range, (p_count, q_count, u_count, v_count))):
        row = p * q_count + q if output_grouping == "blocked" else q * p_count + p
        column = u * v_count + v if grouping == "blocked" else v * u_count + u
        factor = int(factors[row if factors.size > 1 else 0])
        for tap in np.ndindex(*kernel):
            total = sum(int(algebra[i, p, u]) * int(components[i, q, v, *tap]) for i in range(count))
            rounded = (total * factor + (2 ** (shift - 1) if shift else 0)) // 2**shift
            weight[row, column, *tap] = min(max(rounded, -127), 127)
    return weight


@st.composite
def matrices(draw: st.DrawFn, kernels: list[tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constants and attributes; factors near what brings the sums to int8, and shifts with ties, as often as any."""
    count, p, u, q, v = (draw(st.integers(1, most)) for most in (5, 3, 3, 3, 3))
    kind = draw(st.sampled_from(["int8", "int16"]))
    largest = int(np.iinfo(kind).max)
    algebra = draw(
        st.one_of(
            filled(kind, (count, p, u), 0, low=-1, high=1), filled(kind, (count, p, u), 0, low=-largest, high=largest)
        )
    )
    components = draw(filled("int8", (count, q, v, *draw(st.sampled_from(kernels))), 0, low=-127, high=127))
    size = draw(st.sampled_from([1, p * q]))
    factors = draw(st.one_of(st.just(np.ones(size, np.int16)), filled("int16", (size,), 1, 2**14, low=0)))
    attributes = {
        "grouping": draw(st.sampled_from(["blocked", "adjacent"])),
        "output_grouping": draw(st.sampled_from(["blocked", "adjacent"])),
        "shift": draw(whole(0, 46, 15, 30)),
    }
    return {"a": algebra, "s": components, "f": factors}, attributes


@property_of("HypercomplexMatrix")
@EXAMPLES
@given(matrices([()]))
def test_hypercomplex_matrix(chosen: tuple[dict[str, Any], dict[str, Any]]) -> None:
    constants, attributes = chosen
    expected = definition(*constants.values(), **attributes)
    for matrix in shown("HypercomplexMatrix", constants, **attributes):
        assert matrix.tolist() == expected.tolist()


@EXAMPLES
@given(matrices([(3,), (2, 2), (1, 2, 2)]))
def test_hypercomplex_kernels(chosen: tuple[dict[str, Any], dict[str, Any]]) -> None:
    constants, attributes = chosen
    expected = definition(*constants.values(), **attributes)
    for kernel in (computed("HypercomplexMatrix", constants, **attributes), by_bodies(constants, attributes)):
        assert kernel.tolist() == expected.tolist()


def by_bodies(constants: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """The kernel by the reference execution of the body; it is added to zeros, for a model needs an input."""
    nodes = [
        onnx.helper.make_node("HypercomplexMatrix", list(constants), ["w"], name="w", domain="qdeploy", **attributes),
        onnx.helper.make_node("Cast", ["w"], ["w32"], to=6),
        onnx.helper.make_node("Add", ["w32", "x"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [onnx.helper.make_tensor_value_info("x", 6, [1])],
        [onnx.helper.make_tensor_value_info("y", 6, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    model = attach_bodies(onnx.helper.make_model(graph, opset_imports=opsets))
    return open_engine("bodies", model).run({"x": np.zeros(1, np.int32)})["y"]
