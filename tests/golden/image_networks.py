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


def clip_weights() -> Weights:
    """A linear recurrence whose states lie on both sides of the bounds, as the sums behind it do."""
    generator = np.random.default_rng(7)
    turned = np.eye(12)[np.roll(np.arange(12), 1)] * np.where(np.arange(12) % 3, 0.9, -0.9)
    shapes = {"u": (12, 3), "b": (12,), "v": (4, 12), "c": (4,)}
    found = {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()}
    return found | {"w": turned, "low": np.array(-0.4), "high": np.array(0.7)}


IMAGE_NETWORKS = {
    "clips": Network(CLIPS, clip_weights, (10, 3), {}, {"time_axis": 0}),
}
