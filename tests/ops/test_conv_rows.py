"""Which body a convolution takes, and that products of rows are exact where a pair of weights could leave 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies

from .agreement import agreed
from .test_conv import layer


def body_of(x: NDArray[Any], w: NDArray[Any], **attributes: Any) -> str:
    return attach_bodies(layer(x, w, **attributes)).graph.node[0].op_type


IMAGE = np.zeros((1, 2, 5, 5), np.uint8)


@pytest.mark.parametrize(
    ("x", "largest", "kernel", "attributes", "body"),
    [
        (IMAGE, 63, (3, 3), {}, "Conv_u8_rows3x3_s8_int32"),
        (IMAGE, 127, (3, 3), {}, "Conv_u8_rows3x3_sum_int32"),
        (IMAGE, 63, (3, 2), {"pads": [1, 0, 0, 0]}, "Conv_u8_rows3x2_padded_s8_int32"),
        (IMAGE, 63, (1, 3), {"strides": [2, 1], "y": "uint8"}, "Conv_u8_rows1sx3_s8_narrow_uint8"),
        # 18 * 63 * 255 * 7426 is the largest that stays below 2^31.
        (IMAGE, 63, (3, 3), {"m": [7426], "shift": 9, "y": "uint8"}, "Conv_u8_rows3x3_s8_narrow_uint8"),
        (IMAGE, 63, (3, 3), {"m": [7427], "shift": 9, "y": "uint8"}, "Conv_u8_rows3x3_s8_uint8"),
        (IMAGE, 63, (3, 3), {"m": [1], "shift": 31, "y": "uint8"}, "Conv_u8_rows3x3_s8_uint8"),
        (IMAGE, 63, (1, 1), {"y": "int16"}, "Conv_u8_rows1x1_s8_int16"),
        (IMAGE[0], 63, (3,), {}, "Conv_u8_rows3_s8_int32"),
        (IMAGE, 63, (3, 3), {"group": 2}, "Conv_u8_2d_images_int32"),
        (IMAGE.astype(np.int16), 63, (3, 3), {}, "Conv_s16_2d_images_int32"),
    ],
)
def test_the_form(
    x: NDArray[Any], largest: int, kernel: tuple[int, ...], attributes: dict[str, Any], body: str
) -> None:
    channels = x.shape[1] // attributes.get("group", 1)
    assert body_of(x, np.full((4, channels, *kernel), largest), **attributes) == body


@pytest.mark.parametrize("weights", [(127, -128), (-128, -127), (65, 65), (64, -64)])
def test_every_pair_at_the_bounds(weights: tuple[int, int]) -> None:
    """Each position sums 18 products of 255 and the weights, whatever pairs a processor makes of them."""
    w = np.empty((2, 2, 3, 3), np.int64)
    w[0], w[1] = weights
    x = np.full((2, 2, 4, 3), 255, np.uint8)
    y = agreed(layer(x, w), {"x": x})["y"]
    assert y.shape == (2, 2, 2, 1)
    assert (y == np.array([18 * 255 * weight for weight in weights]).reshape(1, 2, 1, 1)).all()


@pytest.mark.parametrize("multiplier", [7426, -7426, 7427])
def test_requantizations_at_the_bound_of_32_bits(multiplier: int) -> None:
    """Sums of both signs, and ties, on either side of it."""
    w = np.full((3, 2, 3, 3), 63)
    w[1], w[2] = -63, np.resize([63, -63], (2, 3, 3))
    model = layer(IMAGE, w, m=[multiplier], shift=23, y="uint8", y_zero_point=3)
    rng = np.random.default_rng(5)
    x = np.where(rng.random((4, 2, 5, 5)) < 0.5, 255, rng.integers(0, 256, (4, 2, 5, 5))).astype(np.uint8)
    x[0] = 255
    y = agreed(model, {"x": x})["y"]
    exact = 18 * 63 * 255 * multiplier
    assert y[0, 0, 0, 0] == np.clip((exact + (1 << 22) >> 23) + 3, 0, 255)
    assert y[0, 1, 0, 0] == np.clip((-exact + (1 << 22) >> 23) + 3, 0, 255)


def test_images_of_other_sizes_pass_through_the_same_file() -> None:
    rng = np.random.default_rng(3)
    w = rng.integers(-127, 128, (3, 2, 3, 2))
    for size in ((3, 2), (5, 9), (8, 4)):
        x = rng.integers(0, 256, (2, 2, *size)).astype(np.uint8)
        model = layer(x, w, strides=[1, 2], pads=[1, 0, 1, 1], dilations=[2, 1], x_zero_point=7)
        assert agreed(model, {"x": x})["y"].shape[:2] == (2, 3)
