"""The golden networks whose inputs are indices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .network import Network, Weights

ROWS, SIZE = 7, 6

SEQUENCE = """
g (int64[batch, time] x) => (float[time, batch, 4] y)
{
  turned = Transpose <perm = [1, 0]> (x)
  e = qdeploy.float.Embedding (turned, t)
  states, last = qdeploy.float.GRU <hidden_size = 12> (e, u, w, b, r)
  y = qdeploy.float.Linear (states, v, c)
}"""
ALONE = """
g (int32[batch] x) => (float[batch, 4] y, float[batch, 6] z)
{
  z = qdeploy.float.Embedding (x, t)
  e = qdeploy.float.Embedding (x, t2)
  y = qdeploy.float.Linear (e, v, c)
}"""


def weights(shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Tables and matrices; the first row of a table is that of a padding, of zeros."""
    generator = np.random.default_rng(11)
    found = {name: generator.standard_normal(shape) / 2 for name, shape in shapes.items()}
    for name in found.keys() & {"t", "t2"}:
        found[name][0] = 0
        # Rows of different size, so that a scale for each of them differs.
        found[name] *= np.linspace(0.2, 1, ROWS)[:, None]
    return found


def sequence_weights() -> Weights:
    """Of a GRU behind a table."""
    table = {"t": (ROWS, SIZE), "u": (36, SIZE), "w": (36, 12), "b": (36,), "r": (12,)}
    return weights(table | {"v": (4, 12), "c": (4,)})


def alone_weights() -> Weights:
    """Of a table whose rows are given back, and of one before a Linear."""
    return weights({"t": (ROWS, SIZE), "t2": (ROWS, SIZE), "v": (4, SIZE), "c": (4,)})


def indices(*shape: int) -> NDArray[np.int64]:
    """Sixteen samples of indices of every row."""
    return np.random.default_rng(5).integers(0, ROWS, (16, *shape))


INDEX_NETWORKS = {
    "embedding-gru": Network(SEQUENCE, sequence_weights, (10,), indices=indices),
    "embedding-rows-4bit": Network(ALONE, alone_weights, (), {"weight_bits": 4}, indices=indices),
}
