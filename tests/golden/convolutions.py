"""The small convolutional networks of the golden bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .networks import Network

CONV_1D = """
g (float[batch, 3, 12] x) => (float[batch, 4, 4] y)
{
  a = Conv <pads = [2, 1], dilations = [2]> (x, w0, b0)
  b = Relu (a)
  y = Conv <strides = [3]> (b, w1)
}"""
CONV_2D = """
g (float[batch, 3, 8, 7] x) => (float[batch, 5] y)
{
  a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
  b = Relu (a)
  c = Conv <strides = [2, 1], pads = [0, 1, 1, 0], group = 2> (b, w1, b1)
  d = Conv (c, w2, b2)
  e = Relu (d)
  f = Flatten (e)
  y = qdeploy.float.Linear (f, w3, b3)
}"""
CONV_3D = """
g (float[batch, 2, 4, 4, 3] x) => (float[batch, 4, 2, 2, 2] y)
{
  a = Conv <pads = [1, 0, 1, 1, 0, 1]> (x, w0, b0)
  b = Relu (a)
  y = Conv <strides = [2, 1, 2]> (b, w1)
}"""
QUATERNION = """
g (float[batch, 4, 6, 6] x) => (float[batch, 8, 3, 3] y)
{
  v = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r0, i0, j0, k0)
  a = Conv <pads = [1, 1, 1, 1]> (x, v, b0)
  b = Relu (a)
  h = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r1, i1, j1, k1)
  rows = qdeploy.float.GateRows <parts = 4, order = [0, 1]> (h)
  by_group = Constant <value = int64[8] {0, 2, 4, 6, 1, 3, 5, 7}> ()
  c = Gather <axis = 1> (b, by_group)
  d = Conv <strides = [2, 2], pads = [1, 1, 1, 1], group = 2> (c, rows, b1)
  blocked = Constant <value = int64[8] {0, 4, 1, 5, 2, 6, 3, 7}> ()
  y = Gather <axis = 1> (d, blocked)
}"""
TRANSPOSED = """
g (float[batch, 4, 2, 3] x) => (float[batch, 2, 4, 6] y)
{
  a = ConvTranspose <strides = [2, 2], pads = [0, 1, 0, 0], group = 2> (x, w0, b0)
  b = Relu (a)
  y = Conv (b, w1)
}"""
SEPARABLE = """
g (float[batch, 4, 5, 5] x) => (float[batch, 8, 3, 3] y)
{
  v = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r0, i0, j0, k0)
  a = Conv (x, v, b0)
  b = Relu (a)
  h = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r1, i1, j1, k1)
  rows = qdeploy.float.GateRows <parts = 4, order = [0, 1]> (h)
  by_group = Constant <value = int64[8] {0, 2, 4, 6, 1, 3, 5, 7}> ()
  c = Gather <axis = 1> (b, by_group)
  d = Conv <group = 2> (c, rows, b1)
  blocked = Constant <value = int64[8] {0, 4, 1, 5, 2, 6, 3, 7}> ()
  e = Gather <axis = 1> (d, blocked)
  f = Relu (e)
  u = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r2, i2, j2, k2)
  y = Conv (f, u)
}"""
# What LiteRT's own kernels take: two bounds behind layers, pads of SAME and others, a pool, channels moved before a Linear.
BUILT_IN = """
g (float[batch, 3, 9, 8] x) => (float[batch, 5] y)
{
  a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
  low = Constant <value = float {-0.25}> ()
  high = Constant <value = float {1.0}> ()
  b = Clip (a, low, high)
  c = Conv <strides = [2, 1], pads = [0, 1, 1, 0], group = 6> (b, w1, b1)
  d = Relu (c)
  e = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (d)
  f = Flatten (e)
  g = qdeploy.float.Linear (f, w2, b2)
  h = Relu (g)
  y = qdeploy.float.Linear (h, w3, b3)
}"""
RESIDUAL = """
g (float[batch, 3, 6, 5] x) => (float[batch, 5] y)
{
  a = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
  b = Relu (a)
  c = Conv <pads = [1, 1, 1, 1]> (b, w1)
  d = Add (c, b)
  e = Relu (d)
  f = Conv <strides = [2, 2]> (e, w2)
  g = Relu (f)
  h = GlobalAveragePool (g)
  i = Flatten (h)
  y = qdeploy.float.Linear (i, w3, b3)
}"""

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    CONV_1D: {"w0": (6, 3, 3), "b0": (6,), "w1": (4, 6, 2)},
    CONV_2D: {
        "w0": (6, 3, 3, 3), "b0": (6,), "w1": (8, 3, 2, 3), "b1": (8,), "w2": (4, 8, 1, 1), "b2": (4,),
        "w3": (5, 4 * 4 * 6), "b3": (5,),
    },
    CONV_3D: {"w0": (4, 2, 2, 2, 2), "b0": (4,), "w1": (4, 4, 2, 3, 2)},
    QUATERNION: {
        **{f"{part}0": (2, 1, 3, 3) for part in "rijk"}, "b0": (8,),
        **{f"{part}1": (2, 1, 3, 3) for part in "rijk"}, "b1": (8,),
    },
    TRANSPOSED: {"w0": (4, 2, 2, 3), "b0": (4,), "w1": (2, 4, 1, 1)},
    BUILT_IN: {
        "w0": (6, 3, 3, 3), "b0": (6,), "w1": (12, 1, 2, 3), "b1": (12,), "w2": (9, 12 * 2 * 3), "b2": (9,), "w3": (5, 9),
        "b3": (5,),
    },
    RESIDUAL: {
        "w0": (4, 3, 3, 3), "b0": (4,), "w1": (4, 4, 3, 3), "w2": (6, 4, 3, 3), "w3": (5, 6), "b3": (5,),
    },
    SEPARABLE: {
        **{f"{part}0": (2, 1, 1, 1) for part in "rijk"}, "b0": (8,),
        **{f"{part}1": (2, 1, 3, 3) for part in "rijk"}, "b1": (8,),
        **{f"{part}2": (2, 2, 1, 1) for part in "rijk"},
    },
}  # fmt: skip
INPUTS = {
    CONV_1D: (3, 12),
    CONV_2D: (3, 8, 7),
    CONV_3D: (2, 4, 4, 3),
    QUATERNION: (4, 6, 6),
    TRANSPOSED: (4, 2, 3),
    SEPARABLE: (4, 5, 5),
    BUILT_IN: (3, 9, 8),
    RESIDUAL: (3, 6, 5),
}


def _network(text: str, *, options: dict[str, Any] | None = None, **recipe: Any) -> Network:
    def weights() -> dict[str, NDArray[Any]]:
        generator = np.random.default_rng(8)
        return {name: generator.uniform(-0.5, 0.5, shape) for name, shape in SHAPES[text].items()}

    return Network(text, weights, INPUTS[text], recipe, options or {})


CONVOLUTIONS = {
    "conv-1d": _network(CONV_1D),
    "conv-2d": _network(CONV_2D),
    "conv-2d-inline": _network(CONV_2D, options={"inline": True}),
    "conv-2d-multiplier1-weights4": _network(CONV_2D, multiplier_bits=1, weight_bits=4),
    "conv-3d": _network(CONV_3D),
    # Since bodies multiply rows.
    "conv-rows-1d": _network(CONV_1D),
    "conv-rows-2d": _network(CONV_2D),
    "conv-rows-2d-multiplier1": _network(CONV_2D, multiplier_bits=1),
    "conv-rows-2d-weights7": _network(CONV_2D, weight_bits=7),
    "conv-rows-3d": _network(CONV_3D),
    "quaternion-conv": _network(QUATERNION),
    "quaternion-conv-rows-weights7": _network(QUATERNION, options={"inline": True}, weight_bits=7),
    "conv-images-2d": _network(CONV_2D),
    "conv-images-2d-narrow": _network(CONV_2D, weight_bits=7, product_multiplier_bits=8),
    "conv-transposed": _network(TRANSPOSED),
    "quaternion-conv-separable": _network(SEPARABLE),
    "quaternion-conv-expanded": _network(QUATERNION, options={"storage": "expanded"}),
    # Convolutions in single precision where it is exact: two of three here, one has groups.
    "qlinear-conv-2d": _network(CONV_2D, weight_bits=7, conv_kernels="qlinear"),
    "qlinear-conv-2d-inline": _network(CONV_2D, weight_bits=7, conv_kernels="qlinear", options={"inline": True}),
    "qlinear-quaternion": _network(QUATERNION, weight_bits=7, conv_kernels="qlinear"),
    # Layers rounded as LiteRT's own kernels round; the one with groups of several channels is not.
    "builtin-conv-2d": _network(BUILT_IN, tflite_kernels="builtin"),
    "builtin-conv-1d": _network(CONV_1D, tflite_kernels="builtin", weight_bits=7),
    "builtin-residual": _network(RESIDUAL, tflite_kernels="builtin"),
    "builtin-quaternion": _network(QUATERNION, tflite_kernels="builtin"),
}
