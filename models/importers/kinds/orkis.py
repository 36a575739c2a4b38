"""Parcollet's kinds of layers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from qdeploy.runtime.errors import InvalidFileError

from ..orkis import orkis_convolution, orkis_linear
from ..products import transposed_convolution
from ..stored import Stored
from .components import (
    CONVOLUTION_ENDS,
    LINEAR_ENDS,
    QUATERNION_CONVOLUTION,
    QUATERNION_LINEAR,
    TRANSPOSED,
    products,
)
from .kind import Kind, Spec, flag
from .real import absent_bias, bias_shape

__all__ = ["KINDS", "grouped_quaternions", "rotations"]


def grouped_quaternions(spec: Spec, key: str) -> int:
    """The quaternions of a group of channels.

    Raises:
        InvalidFileError: groups that do not divide them.
    """
    found, groups = spec[key] // 4, spec["groups"]
    if found % groups:
        raise InvalidFileError(f"{spec.where}: groups={groups}, expected a divisor of the {found} quaternions of {key}")
    return int(found // groups)


def rotations(spec: Spec, stored: Stored, shape: tuple[int, ...], out: int) -> Stored:
    """``products`` of a layer that may rotate: with the scale that the file says of, and zeros."""
    parts = {f"{part}_weight": shape for part in "rijk"}
    if spec["scale"] and not spec["rotation"]:
        raise InvalidFileError(f"{spec.where}: scale=true without rotation, expected both")
    zeros = {"zero_kernel": shape} if spec["rotation"] else {}
    scales = {"scale_param": shape} if spec["scale"] else {}
    absent = (*absent_bias(spec), *(name for name in ("zero_kernel", "scale_param") if name not in {**zeros, **scales}))
    return stored.expecting(parts | zeros | scales | bias_shape(spec, out), absent)


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    return orkis_linear(products(spec, stored, (inputs // 4, out // 4), out))


def _rotating_linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    found = rotations(spec, stored, (inputs // 4, out // 4), out)
    return orkis_linear(found, rotation=spec["rotation"], scale=spec["scale"])


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (out // 4, grouped_quaternions(spec, "in_channels"), *spec.per_axis("kernel_size", rank))
    found = rotations(spec, stored, weight, out)
    return orkis_convolution(spec.window(rank), found, rotation=spec["rotation"], scale=spec["scale"])


def _transposed(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (spec["in_channels"] // 4, grouped_quaternions(spec, "out_channels"), *spec.per_axis("kernel_size", rank))
    found = products(spec, stored, weight, out)
    return transposed_convolution(
        found.components(), found.optional("bias"), spec.window(rank), spec.where, conjugate=True
    )


_ROTATION = {"rotation": flag(default=False), "scale": flag(default=False)}

KINDS: Mapping[str, Kind] = {
    "QuaternionLinear": Kind(_linear, QUATERNION_LINEAR, axes="last", ranks=(0,), ends=LINEAR_ENDS),
    "QuaternionLinearAutograd": Kind(
        _rotating_linear, QUATERNION_LINEAR | _ROTATION, axes="last", ranks=(0,), ends=LINEAR_ENDS
    ),
    "QuaternionConv": Kind(_convolution, QUATERNION_CONVOLUTION | _ROTATION, ends=CONVOLUTION_ENDS),
    "QuaternionTransposeConv": Kind(_transposed, TRANSPOSED, ends=CONVOLUTION_ENDS),
}
"""By the names of the library's classes."""
