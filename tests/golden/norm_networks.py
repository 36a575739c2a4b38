"""The golden networks with batch normalization: beside layers, alone, of quaternions, between the axes of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .network import Network, Weights

CHANNELS = 16

BEHIND = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  before = qdeploy.float.ChannelAffine <trailing = 0> (x, s0, t0)
  w = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (wr, wi, wj, wk)
  a = qdeploy.float.Linear (before, w, b)
  n = qdeploy.float.ChannelAffine <trailing = 0> (a, s1, t1)
  h = Relu (n)
  y = qdeploy.float.Linear (h, v, c)
}"""
MATRICES = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  before = qdeploy.float.QuaternionAffine <trailing = 0> (x, m0, k0)
  w = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (wr, wi, wj, wk)
  a = qdeploy.float.Linear (before, w, b)
  n = qdeploy.float.QuaternionAffine <trailing = 0> (a, m1, k1)
  h = Relu (n)
  y = qdeploy.float.Linear (h, v, c)
}"""
IMAGES = """
g (float[batch, 16, %s] x) => (float[batch, 16, %s] y)
{
  a = qdeploy.float.ChannelAffine <trailing = %d> (x, s0, t0)
  h = Relu (a)
  y = qdeploy.float.QuaternionAffine <trailing = %d> (h, m0, k0)
}"""


def weights() -> Weights:
    """Factors of both signs, one of them zero, and variances that differ by a thousand."""
    generator = np.random.default_rng(11)
    found = {f"w{part}": generator.standard_normal((4, 4)) / 2 for part in "rijk"}
    found |= {"b": generator.standard_normal(16), "v": generator.standard_normal((5, 16)) / 4}
    found |= {"c": generator.standard_normal(5)}
    for place in "01":
        found[f"s{place}"] = generator.standard_normal(16) * 10.0 ** generator.uniform(-2, 1, 16)
        found[f"t{place}"] = generator.standard_normal(16)
        found[f"m{place}"] = generator.standard_normal((4, 4, 4)) * 2.0 ** generator.integers(-3, 4, (4, 1, 4))
        found[f"k{place}"] = generator.standard_normal((4, 4))
    found["s1"][5] = 0.0
    return found


def _used(text: str, **recipe: Any) -> Network:
    names = [name for name in weights() if f"{name}," in text or f"{name})" in text]
    return Network(text, lambda: {name: weights()[name] for name in names}, (CHANNELS,), recipe)


def _images(shape: tuple[int, ...], **recipe: Any) -> Network:
    sizes = ", ".join(map(str, shape))
    text = IMAGES % (sizes, sizes, len(shape), len(shape))
    names = ("s0", "t0", "m0", "k0")
    return Network(text, lambda: {name: weights()[name] for name in names}, (CHANNELS, *shape), recipe)


NORM_NETWORKS = {
    "batch-norm": _used(BEHIND),
    "batch-norm-fold": _used(BEHIND, batch_norm="fold"),
    "batch-norm-multiplier1": _used(BEHIND, multiplier_bits=1),
    "batch-norm-multiplier31": _used(BEHIND, multiplier_bits=31, weight_bits=4),
    "batch-norm-matrices": _used(MATRICES, batch_norm="stage"),
    "batch-norm-matrices-fold": _used(MATRICES, batch_norm="fold", weight_bits=4),
    "batch-norm-sequences": _images((3,)),
    "batch-norm-images": _images((3, 2)),
    "batch-norm-volumes": _images((2, 3, 2), multiplier_bits=31),
}
