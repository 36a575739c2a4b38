"""The golden networks with images, and of what stands between convolutions."""

from __future__ import annotations

import numpy as np

from .network import Network, Weights

CLIPS = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.RNN <activation = "linear"> (x, u, w, b)
  wide = Clip (last, low, high)
  a = qdeploy.float.Linear (wide, v, c)
  narrow = Clip (a, low, high)
  t = Tanh (a)
  s = Add (narrow, t)
  y = Clip (s, low, high)
}"""

# Bytes between the layers: windows that overlap, hang over the end, count pads or leave them out.
POOLS = """
g (float[batch, 4, 9, 8] x) => (float[batch, 4] y, float[batch, 4, 6, 4] z)
{
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
  r = Relu (a)
  m = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (r)
  n = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 0, 1, 0], ceil_mode = 1> (a)
  both = Concat <axis = 1> (m, n)
  c = Conv <kernel_shape = [1, 1]> (both, v)
  p = AveragePool <kernel_shape = [2, 1], pads = [1, 0, 0, 0], count_include_pad = 1> (c)
  d = Conv <kernel_shape = [1, 1]> (p, u)
  q = Pad (p, around)
  z = MaxPool <kernel_shape = [2, 2], dilations = [2, 1]> (q)
  mean = GlobalAveragePool (d)
  largest = GlobalMaxPool (p)
  t = Concat <axis = 1> (mean, largest)
  e = Conv <kernel_shape = [1, 1]> (t, v)
  axes = Constant <value = int64[2] {2, 3}> ()
  y = Squeeze (e, axes)
}"""
# What leaves the network has 16 bits, and so has what pools and pads make of it; over one and three axes.
WIDE_POOLS = """
g (float[batch, 4, 3, 4, 5] x) => (float[batch, 4, 2, 2, 3] y, float[batch, 4, 1, 1, 1] z, float[batch, 4, 4, 4, 6] p)
{
  a = Conv <kernel_shape = [1, 1, 1]> (x, w)
  y = MaxPool <kernel_shape = [2, 3, 2], strides = [1, 2, 2], pads = [0, 1, 1, 0, 1, 1]> (a)
  b = Conv <kernel_shape = [1, 1, 1]> (x, w)
  z = GlobalMaxPool (b)
  c = Conv <kernel_shape = [1, 1, 1]> (x, w)
  p = Pad (c, around)
}"""
POOLS_1D = """
g (float[batch, 4, 12] x) => (float[batch, 4, 1] y)
{
  a = Conv <kernel_shape = [3]> (x, w)
  m = MaxPool <kernel_shape = [3], strides = [2], pads = [1, 1]> (a)
  n = AveragePool <kernel_shape = [2], strides = [2]> (m)
  y = GlobalAveragePool (n)
}"""

ACTIVATIONS = """
g (float[batch, 4, 5, 5] x) => (float[batch, 4, 5, 5] y)
{
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
  p = PRelu (a, slopes)
  s = Sigmoid (p)
  m = Mul (p, s)
  c = Conv <kernel_shape = [1, 1]> (m, u)
  h = HardSwish (c)
  l = LeakyRelu <alpha = 0.2> (a)
  y = Add (h, l)
}"""
RESIDUAL = """
g (float[batch, 4, 5, 5] x) => (float[batch, 4, 5, 5] y)
{
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
  s = Add (a, x)
  r = Relu (s)
  c = Conv <kernel_shape = [1, 1]> (r, u)
  t = Add (c, r)
  y = Conv <kernel_shape = [1, 1]> (t, u)
}"""
WIDE_ACTIVATIONS = """
g (float[time, batch, 3] x) => (float[batch, 12] y)
{
  states, last = qdeploy.float.RNN <activation = "linear"> (x, u, w, b)
  l = LeakyRelu <alpha = 0.2> (last)
  e = Elu (last)
  y = Add (l, e)
}"""


def pool_weights() -> Weights:
    """Of four channels that a convolution makes of four, and pads around images."""
    generator = np.random.default_rng(8)
    shapes = {"w": (4, 4, 3, 3), "b": (4,), "v": (4, 8, 1, 1), "u": (4, 4, 1, 1)}
    found = {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()}
    return found | {"around": np.array([0, 0, 1, 0, 0, 0, 2, 1])}


def wide_pool_weights() -> Weights:
    """A convolution over three axes and pads around them."""
    weight = np.random.default_rng(9).standard_normal((4, 4, 1, 1, 1))
    return {"w": weight, "around": np.array([0, 0, 0, 0, 1, 0, 0, 1, 0, 0])}


def activation_weights() -> Weights:
    """Convolutions of four channels, and a slope for each."""
    found = {name: array for name, array in pool_weights().items() if name in {"w", "b"}}
    found["u"] = np.random.default_rng(10).standard_normal((4, 4, 1, 1))
    return found | {"slopes": np.array([0.25, -0.5, 1.5, 0.0]).reshape(4, 1, 1)}


def residual_weights() -> Weights:
    """The convolutions of the activations."""
    return {name: array for name, array in activation_weights().items() if name != "slopes"}


def wide_activation_weights() -> Weights:
    """Of the recurrence of the clips."""
    return {name: array for name, array in clip_weights().items() if name in {"u", "w", "b"}}


def clip_weights() -> Weights:
    """A linear recurrence whose states lie on both sides of the bounds, as the sums behind it do."""
    generator = np.random.default_rng(7)
    turned = np.eye(12)[np.roll(np.arange(12), 1)] * np.where(np.arange(12) % 3, 0.9, -0.9)
    shapes = {"u": (12, 3), "b": (12,), "v": (4, 12), "c": (4,)}
    found = {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()}
    return found | {"w": turned, "low": np.array(-0.4), "high": np.array(0.7)}


IMAGE_NETWORKS = {
    "pools": Network(POOLS, pool_weights, (4, 9, 8)),
    "pools-multiplier31": Network(POOLS, pool_weights, (4, 9, 8), {"multiplier_bits": 31}),
    "pools-wide-3d": Network(WIDE_POOLS, wide_pool_weights, (4, 3, 4, 5)),
    "pools-1d": Network(POOLS_1D, lambda: {"w": np.random.default_rng(9).standard_normal((4, 4, 3))}, (4, 12)),
    "activations": Network(ACTIVATIONS, activation_weights, (4, 5, 5)),
    "residual": Network(RESIDUAL, residual_weights, (4, 5, 5)),
    "activations-wide": Network(WIDE_ACTIVATIONS, wide_activation_weights, (10, 3), {}, {"time_axis": 0}),
    "clips": Network(CLIPS, clip_weights, (10, 3), {}, {"time_axis": 0}),
}
