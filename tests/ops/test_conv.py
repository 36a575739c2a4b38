"""Conv: windows, pads, strides, dilations and groups, from integers to integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node


def layer(x: Any, w: Any, *, b: Any = None, m: Any = (1,), y: str = "int32", **changed: Any) -> Any:
    """A model of one Conv node."""
    rank = w.ndim - 2
    bounds = np.iinfo(y)
    attributes: dict[str, Any] = {
        "strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1, "x_zero_point": 0,
        "shift": 0, "y_zero_point": 0, "low": int(bounds.min), "high": int(bounds.max),
        "dtype": {"uint8": 2, "int16": 5, "int32": 6}[y],
    }  # fmt: skip
    bias = np.zeros(w.shape[0], np.int32) if b is None else np.array(b, np.int32)
    constants = {"w": np.asarray(w, np.int8), "b": bias, "m": np.array(m, np.int32)}
    return one_node("Conv", {"x": x}, constants, ["x", "w", "b", "m"], {"y": y}, **attributes | changed)


def test_an_edge_is_found_and_the_border_counts_as_zero_points() -> None:
    """A difference of neighbours: 20 - 10 inside; at the padded end z - 20 with z = 5, so -15."""
    x = np.array([[[10, 10, 20]]], np.uint8)
    model = layer(x, np.array([[[-1, 1]]]), pads=[0, 1], x_zero_point=5)
    assert agreed(model, {"x": x}, onnx_reference=True, inlined=True)["y"].tolist() == [[[0, 10, -15]]]


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_torch_computes_the_same_sums(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 8, 9, 7)).astype(kind)
    w = rng.integers(-127, 128, (12, 2, 3, 2))
    model = layer(x, w, group=4, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2])
    padded = torch.nn.functional.pad(torch.from_numpy(x.astype(np.float64)), (0, 1, 1, 2))
    expected = torch.nn.functional.conv2d(
        padded, torch.from_numpy(w.astype(np.float64)), stride=(2, 1), dilation=(1, 2), groups=4
    )
    assert (agreed(model, {"x": x})["y"] == expected.numpy()).all()


def test_a_batch_gives_the_bits_of_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (5, 3, 6, 6), np.uint8)
    model = layer(x, rng.integers(-127, 128, (4, 3, 3, 3)), y="uint8", m=[3], shift=14, x_zero_point=9)
    whole_batch = agreed(model, {"x": x})["y"]
    for sample, expected in zip(x, whole_batch, strict=True):
        assert (ReferenceModel(model).run({"x": sample[None]}).outputs["y"][0] == expected).all()
    # Two samples' windows at a time.
    monkeypatch.setattr("qdeploy.runtime.ops.convolved.WINDOW_NUMBERS", 2 * 3 * 9 * 16)
    assert (ReferenceModel(model).run({"x": x}).outputs["y"] == whole_batch).all()


def test_the_largest_accumulators_are_exact() -> None:
    """66,000 products of 255 and 127 stay below 2^31, far beyond what single precision counts."""
    x = np.full((1, 7333, 3, 3), 255, np.uint8)
    w = np.full((2, 7333, 3, 3), 127)
    w[1] = -127
    reach = 7333 * 9 * 255 * 127
    assert agreed(layer(x, w), {"x": x})["y"].reshape(-1).tolist() == [reach, -reach]


def test_an_accumulator_that_leaves_32_bits_is_an_error() -> None:
    x = np.full((1, 8000, 3, 3), 255, np.uint8)
    model = layer(x, np.full((1, 8000, 3, 3), 127))
    with pytest.raises(ContractError, match="node node: the accumulator reached 2331720000, outside int32"):
        ReferenceModel(model).run({"x": x})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strides": [0, 1]}, r"strides are \[0, 1\]; expected 2 integers from 1 on"),
        ({"pads": [0, 0]}, r"pads are \[0, 0\]; expected 4 integers from 0 on"),
        ({"pads": [0, 0, -1, 0]}, "pads are"),
        ({"dilations": [3, 3]}, r"x has images of \[5, 5\], smaller than one window of \[3, 3\]"),
        ({"group": 3}, "group is 3; expected a divisor of the 4 outputs"),
        ({"group": 2}, "x has 2 channels; expected 2 for each of 2 groups"),
        ({"m": [1, 2]}, r"multiplier has shape \[2\]"),
    ],
)
def test_what_the_contract_forbids(changed: dict[str, Any], message: str) -> None:
    x = np.zeros((1, 2, 5, 5), np.uint8)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(layer(x, np.ones((4, 2, 3, 3)), **changed)).run({"x": x})


def test_images_of_another_rank_are_an_error() -> None:
    x = np.zeros((1, 2, 5, 5), np.uint8)
    with pytest.raises(ContractError, match=r"x has shape \[2, 5, 5\]; expected \[B, C\] and 2 axes of an image"):
        ReferenceModel(layer(x, np.ones((4, 2, 3, 3)))).run({"x": x[0]})
