"""What layers of quaternion libraries compute, from Hamilton's table, and objects with their classes' names and attributes."""

from __future__ import annotations

import itertools

import torch
from torch import nn

# i j = k and so on: the product of two units, and its sign.
TABLE = {
    "rr": "+r", "ri": "+i", "rj": "+j", "rk": "+k",
    "ir": "+i", "ii": "-r", "ij": "+k", "ik": "-j",
    "jr": "+j", "ji": "-k", "jj": "-r", "jk": "+i",
    "kr": "+k", "ki": "+j", "kj": "-i", "kk": "-r",
}  # fmt: skip


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights(*shape, seed=0):
    """r, i, j, k of one shape."""
    return {f"{part}_weight": drawn(*shape, seed=seed + n) * 0.4 for n, part in enumerate("rijk")}


def conjugate(w):
    return {name: tensor if name.startswith("r") else -tensor for name, tensor in w.items()}


def hamilton(w, x, apply, axis=1):
    """w (x) x: the sum over the sixteen products of units, each by ``apply(weight, component of x)``."""
    parts = dict(zip("rijk", x.chunk(4, axis), strict=True))
    sums = {}
    for a, b in itertools.product("rijk", repeat=2):
        sign, unit = TABLE[a + b]
        term = apply(w[f"{a}_weight"], parts[b])
        sums[unit] = sums.get(unit, 0) + (term if sign == "+" else -term)
    return torch.cat([sums[unit] for unit in "rijk"], axis)


def expanded(w):
    """The real kernel [4 n, 4 m, ...] of components [n, m, ...], entry block by entry block."""
    n, m, *size = w["r_weight"].shape
    kernel = torch.zeros(4 * n, 4 * m, *size)
    for a, b in itertools.product("rijk", repeat=2):
        sign, unit = TABLE[a + b]
        rows, columns = "rijk".index(unit) * n, "rijk".index(b) * m
        kernel[rows : rows + n, columns : columns + m] = w[f"{a}_weight"] * (1 if sign == "+" else -1)
    return kernel


def rotations(w, x, *, scale=None, outside=False):
    """[B, 4 m, L] of x [B, 4 n, L]: the sums over n of w x w^-1 by Rodrigues' formula, w [m, n] nearly of unit length.

    Lengths are sqrt(|w|^2 + 0.0001), |w| + 0.0001 where the small number stands ``outside`` of the root.
    """
    r, *v = (w[f"{part}_weight"] for part in "rijk")
    square = r**2 + sum(part**2 for part in v)
    length = square.sqrt() + 1e-4 if outside else (square + 1e-4).sqrt()
    axis = torch.stack(v, dim=-1) / length[..., None]
    vectors = torch.stack(x.chunk(4, 1)[1:], dim=-1)[:, None]
    axis = axis[None, :, :, None].expand(len(x), -1, -1, x.shape[2], -1)
    vectors = vectors.expand(axis.shape)
    across = torch.linalg.cross(axis, vectors)
    turned = vectors + 2 * (r / length)[None, :, :, None, None] * across + 2 * torch.linalg.cross(axis, across)
    if scale is not None:
        turned = turned * scale[None, :, :, None, None]
    summed = turned.sum(2)
    return torch.cat([torch.zeros_like(summed[..., 0]), *summed.unbind(-1)], dim=1)


def foreign(name, tensors, buffers=None, **attributes):
    """An object of a class of this name that has these parameters, buffers and attributes, and cannot be called."""
    made = type(name, (nn.Module,), {})()
    for key, tensor in tensors.items():
        made.register_parameter(key, nn.Parameter(tensor.clone()))
    for key, tensor in (buffers or {}).items():
        made.register_buffer(key, tensor.clone())
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def close(found, expected, *, atol=2e-5):
    """Two ways to one result in float32, of numbers around 1 to 10."""
    torch.testing.assert_close(found, expected, atol=atol, rtol=1e-5)
