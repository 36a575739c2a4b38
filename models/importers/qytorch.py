"""Layers of qytorch (smlab-niser): linear and convolutions.

Facts of that library, checked against its forward pass: sizes are counted in channels; components are [out/4, in/4, *kernel]; the
product is **conj(w) (x) x** of blocked channels. ``groups`` cut the rows of the expanded kernel, as torch's convolution does.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .conversion import Foreign, convert_layers, refused
from .products import Window, convolution, linear, same_padding
from .stored import Stored, conjugated

__all__ = ["LAYERS", "convert", "qytorch_convolution", "qytorch_linear"]


def convert(module: nn.Module) -> nn.Module:
    """A copy of a live ``module`` in evaluation mode whose qytorch layers are layers of this package.

    Replaced are QLinear, QConv1d, QConv2d and QConv3d, known by the names of their classes and attributes; the library is not
    imported.

    Raises:
        UnsupportedModelError: a layer that has no form here.
        InvalidFileError: tensors of shapes that do not fit, or NaN.
    """
    return convert_layers(module, "qytorch", LAYERS)


def qytorch_linear(stored: Stored) -> nn.Module:
    """``QLinear`` of components [out/4, in/4]."""
    return linear(conjugated(stored.components()), stored.optional("bias"), stored.where)


def qytorch_convolution(window: Window, stored: Stored) -> nn.Module:
    """``QConv1d``, ``QConv2d`` or ``QConv3d`` of components [out/4, in/4/groups, *kernel]."""
    return convolution(conjugated(stored.components()), stored.optional("bias"), window, stored.where)


def _live_linear(part: Any, stored: Stored) -> nn.Module:
    del part
    return qytorch_linear(stored)


def _live_convolution(part: Any, stored: Stored) -> nn.Module:
    padding = part.padding
    if isinstance(padding, str):
        padding = same_padding(part.kernel_size, part.dilation) if padding == "same" else 0
    return qytorch_convolution(
        Window(part.stride, padding, part.dilation, part.groups, padding_mode=part.padding_mode), stored
    )


_COMPONENTS = frozenset({"r_weight", "i_weight", "j_weight", "k_weight", "get_weight"})
_ATTENTION = "attention is not supported: its softmax has no integer form here"

LAYERS = (
    Foreign("QLinear", _COMPONENTS | {"in_features"}, _live_linear),
    *(Foreign(f"QConv{rank}d", _COMPONENTS | {"padding_mode"}, _live_convolution) for rank in (1, 2, 3)),
    refused("QMultiheadAttention", _ATTENTION),
)
"""The library's classes of layers."""
