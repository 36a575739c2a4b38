"""Parcollet's kinds of layers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from qdeploy.runtime.errors import InvalidFileError

from ..orkis import orkis_linear
from ..products import convolution, transposed_convolution
from ..stored import Stored
from .components import (
    CONVOLUTION_ENDS,
    LINEAR_ENDS,
    QUATERNION_CONVOLUTION,
    QUATERNION_LINEAR,
    TRANSPOSED,
    products,
)
from .kind import Kind, Spec

__all__ = ["KINDS", "grouped_quaternions"]


def grouped_quaternions(spec: Spec, key: str) -> int:
    """The quaternions of a group of channels.

    Raises:
        InvalidFileError: groups that do not divide them.
    """
    found, groups = spec[key] // 4, spec["groups"]
    if found % groups:
        raise InvalidFileError(f"{spec.where}: groups={groups}, expected a divisor of the {found} quaternions of {key}")
    return int(found // groups)


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    return orkis_linear(products(spec, stored, (inputs // 4, out // 4), out))


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (out // 4, grouped_quaternions(spec, "in_channels"), *spec.per_axis("kernel_size", rank))
    found = products(spec, stored, weight, out)
    return convolution(found.components(), found.optional("bias"), spec.window(rank), spec.where)


def _transposed(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (spec["in_channels"] // 4, grouped_quaternions(spec, "out_channels"), *spec.per_axis("kernel_size", rank))
    found = products(spec, stored, weight, out)
    return transposed_convolution(
        found.components(), found.optional("bias"), spec.window(rank), spec.where, conjugate=True
    )


_LINEAR = Kind(_linear, QUATERNION_LINEAR, axes="last", ranks=(0,), ends=LINEAR_ENDS)

KINDS: Mapping[str, Kind] = {
    "QuaternionLinear": _LINEAR,
    "QuaternionLinearAutograd": _LINEAR,
    "QuaternionConv": Kind(_convolution, QUATERNION_CONVOLUTION, ends=CONVOLUTION_ENDS),
    "QuaternionTransposeConv": Kind(_transposed, TRANSPOSED, ends=CONVOLUTION_ENDS),
}
"""By the names of the library's classes."""
