"""hTorch's kinds of layers; sizes are channels here, four times the numbers of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from ..htorch import htorch_convolution, htorch_linear, htorch_norm, htorch_transposed
from ..stored import Stored
from .components import (
    CONVOLUTION_ENDS,
    LINEAR_ENDS,
    QUATERNION_CONVOLUTION,
    QUATERNION_LINEAR,
    TRANSPOSED,
    products,
)
from .kind import Key, Kind, Spec, flag, quaternions, size
from .orkis import grouped_quaternions

__all__ = ["KINDS"]


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    return htorch_linear(products(spec, stored, (inputs // 4, out // 4), out))


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (grouped_quaternions(spec, "in_channels"), out // 4, *spec.per_axis("kernel_size", rank))
    return htorch_convolution(spec.kind, spec.window(rank), products(spec, stored, weight, out))


def _transposed(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    given = spec.window(rank)
    # The library hands its groups to torch as the dilation, and the other way round.
    window = replace(given, groups=spec["dilation"], dilation=given.groups)
    found = replace(spec, values={**spec.values, "groups": spec["dilation"]})
    weight = (
        grouped_quaternions(found, "out_channels"),
        spec["in_channels"] // 4,
        *spec.per_axis("kernel_size", rank),
    )
    return htorch_transposed(spec.kind, window, products(spec, stored, weight, out))


def _norm(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    channels = spec["num_features"] // 4
    shapes = {"eye": (1, 4, 4), "running_mean": (4, channels), "running_cov": (channels, 4, 4)}
    affine = {"weight": (4, 4, channels), "bias": (4, channels)}
    if spec["affine"]:
        return htorch_norm(stored.expecting(shapes | affine))
    return htorch_norm(stored.expecting(shapes, absent=affine))


KINDS: Mapping[str, Kind] = {
    "QLinear": Kind(_linear, QUATERNION_LINEAR, axes="last", ranks=(0,), ends=LINEAR_ENDS),
    "QConv1d": Kind(_convolution, QUATERNION_CONVOLUTION, ranks=(1,), ends=CONVOLUTION_ENDS),
    "QConv2d": Kind(_convolution, QUATERNION_CONVOLUTION, ranks=(2,), ends=CONVOLUTION_ENDS),
    # The library's class for volumes calls the convolution of images.
    "QConv3d": Kind(_convolution, QUATERNION_CONVOLUTION, ranks=(2,), ends=CONVOLUTION_ENDS),
    **{
        f"QConvTranspose{rank}d": Kind(
            _transposed,
            TRANSPOSED | {"dilation": Key(size(high=1 << 12).read, default=1)},
            ranks=(rank,),
            ends=CONVOLUTION_ENDS,
        )
        for rank in (1, 2)
    },
    "QBatchNorm2d": Kind(
        _norm,
        {"num_features": quaternions(), "affine": flag(default=True)},
        ranks=(2,),
        ends=("num_features", "num_features"),
    ),
}
"""By the names of the library's classes."""
