"""HyperNets' kinds of layers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from qdeploy.runtime.errors import InvalidFileError

from ..hypernets import hypernets_convolution, hypernets_linear, kronecker_convolution
from ..stored import Stored
from . import orkis
from .components import CONVOLUTION_ENDS, LINEAR_ENDS, QUATERNION_CONVOLUTION, products
from .kind import DILATION, KERNEL_SIZE, PADDING, STRIDE, Kind, Spec, flag, size
from .orkis import grouped_quaternions

__all__ = ["KINDS"]

_RANKS = {"PHConv": 2, "PHConv1D": 1, "PHConv2d": 2, "PHConv3D": 3}


def _shapes(
    spec: Spec, names: tuple[str, str], ends: tuple[str, str], kernel: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    n = spec["n"]
    for key in ends:
        if spec[key] % n:
            raise InvalidFileError(f"{spec.where}: {key}={spec[key]}, expected a multiple of n={n}")
    return {names[0]: (n, n, n), names[1]: (n, spec[ends[1]] // n, spec[ends[0]] // n, *kernel)}


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    names = ("a", "s") if "a" in stored else ("A", "S")
    shapes = _shapes(spec, names, LINEAR_ENDS, ()) | {"bias": (spec["out_features"],)}
    return hypernets_linear(stored.expecting(shapes))


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank = len(shape) - 1
    kernel = spec.per_axis("kernel_size", rank)
    found = stored.expecting(_shapes(spec, ("A", "F"), CONVOLUTION_ENDS, kernel))
    return hypernets_convolution(spec.kind, spec.window(rank), found)


def _kronecker(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (out // 4, grouped_quaternions(spec, "in_channels"), *spec.per_axis("kernel_size", rank))
    found = products(spec, stored, weight, out)
    return kronecker_convolution(spec.window(rank), found, first_layer=spec["first_layer"])


_CONVOLUTION = {
    "n": size(high=1 << 10),
    "in_channels": size(),
    "out_channels": size(),
    "kernel_size": KERNEL_SIZE,
    "stride": STRIDE,
    "padding": PADDING,
    "dilation": DILATION,
}

KINDS: Mapping[str, Kind] = {
    **orkis.KINDS,
    "PHMLinear": Kind(
        _linear,
        {"n": size(high=1 << 10), "in_features": size(), "out_features": size()},
        axes="last",
        ranks=(0,),
        ends=LINEAR_ENDS,
    ),
    **{kind: Kind(_convolution, _CONVOLUTION, ranks=(rank,), ends=CONVOLUTION_ENDS) for kind, rank in _RANKS.items()},
    "KroneckerConv": Kind(
        _kronecker,
        QUATERNION_CONVOLUTION | {"first_layer": flag(default=False)},
        ranks=(2,),
        ends=CONVOLUTION_ENDS,
    ),
}
"""By the names of the library's classes."""
