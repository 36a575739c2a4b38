"""Which layers of a model LiteRT's own kernels compute, and what is said of where their bits hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.litert_claims import kernel_uses, statement
from qdeploy.runtime.litert_rules import CONVOLUTION, DEPTHWISE, FULLY_CONNECTED, KernelUse
from tests.ops.agreement import one_node


def model(operator: str, weight: list[int], **changed: Any) -> Any:
    """One layer."""
    attributes: dict[str, Any] = {
        "x_zero_point": 0, "shift": 1, "y_zero_point": 0, "low": 0, "high": 255, "dtype": 2,
    }  # fmt: skip
    x = np.zeros((1, 16) if operator == "Linear" else (1, 16, 5, 5), np.uint8)
    if operator == "Conv":
        attributes |= {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    constants = {
        "w": np.ones(weight, np.int8),
        "b": np.zeros(weight[0], np.int32),
        "m": np.ones(1, np.int32),
    }
    return one_node(operator, {"x": x}, constants, ["x", "w", "b", "m"], {"y": "uint8"}, **attributes | changed)


def test_layers_with_a_rule_of_their_own_are_listed_with_their_sizes() -> None:
    assert kernel_uses(model("Linear", [10, 16])) == ()
    assert kernel_uses(model("Linear", [10, 16], rounding="half_up")) == ()
    (linear,) = kernel_uses(model("Linear", [10, 16], rounding="gemmlowp"))
    assert (linear.operator, linear.rounding, linear.outputs, linear.inputs) == (FULLY_CONNECTED, "gemmlowp", 10, 16)
    assert linear.one_row == (True, False)
    (conv,) = kernel_uses(model("Conv", [4, 16, 3, 3], rounding="half_even"))
    assert (conv.operator, conv.one_row) == (CONVOLUTION, (False,))
    (depthwise,) = kernel_uses(model("Conv", [16, 1, 3, 3], group=16, rounding="half_even"))
    assert depthwise.operator == DEPTHWISE
    (grouped,) = kernel_uses(model("Conv", [8, 4, 3, 3], group=4, rounding="half_even"))
    assert grouped.operator == CONVOLUTION


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        (
            (KernelUse("a", FULLY_CONNECTED, "half_even", 10, 16),),
            (
                "1 of its layers rounds as LiteRT's own kernels do (half_even); the bits hold in ai-edge-litert 1.1 to 2.3, "
                "default kernels (every processor)"
            ),
        ),
        (
            (KernelUse("a", FULLY_CONNECTED, "gemmlowp", 10, 16), KernelUse("b", CONVOLUTION, "gemmlowp")),
            (
                "2 of its layers round as LiteRT's own kernels do (gemmlowp); the bits hold in ai-edge-litert 1.1 to 1.2, "
                "reference kernels (every processor); tflite-runtime 2.14, reference kernels (every processor)"
            ),
        ),
        (
            (KernelUse("a", CONVOLUTION, "double_half_up"),),
            (
                "the bits hold in ai-edge-litert 1.1 to 2.3, plain kernels (x86-64 with AVX); tflite-runtime 2.14, "
                "default kernels (x86-64 with AVX); tflite-runtime 2.14, plain kernels (x86-64 with AVX)"
            ),
        ),
        (
            (KernelUse("a", CONVOLUTION, "half_even"), KernelUse("b", CONVOLUTION, "gemmlowp")),
            "(gemmlowp, half_even); the bits hold in no runtime that was measured",
        ),
    ],
)
def test_the_statement_names_runtime_version_kernels_and_processors(uses: tuple[KernelUse, ...], expected: str) -> None:
    assert statement(uses).endswith(expected)
