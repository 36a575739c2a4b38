"""qytorch's kinds of layers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..qytorch import qytorch_convolution, qytorch_linear
from ..stored import Stored
from .components import CONVOLUTION_ENDS, LINEAR_ENDS, QUATERNION_CONVOLUTION, QUATERNION_LINEAR, products
from .kind import PADDING_MODE, Kind, Spec, sizes
from .orkis import grouped_quaternions

__all__ = ["KINDS"]


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    return qytorch_linear(products(spec, stored, (out // 4, inputs // 4), out))


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    weight = (out // 4, grouped_quaternions(spec, "in_channels"), *spec.per_axis("kernel_size", rank))
    return qytorch_convolution(spec.window(rank), products(spec, stored, weight, out))


_CONVOLUTION = QUATERNION_CONVOLUTION | {
    "padding": sizes(0, least=0, words=("same",)),
    "padding_mode": PADDING_MODE,
}

KINDS: Mapping[str, Kind] = {
    "QLinear": Kind(_linear, QUATERNION_LINEAR, axes="last", ranks=(0,), ends=LINEAR_ENDS),
    **{f"QConv{rank}d": Kind(_convolution, _CONVOLUTION, ranks=(rank,), ends=CONVOLUTION_ENDS) for rank in (1, 2, 3)},
}
"""By the names of the library's classes."""
