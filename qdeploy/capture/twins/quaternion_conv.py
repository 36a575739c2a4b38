"""Quaternion convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.quaternion_conv import QuaternionConv1d, QuaternionConv2d, QuaternionConv3d

__all__ = ["QuaternionConv1dTwin", "QuaternionConv2dTwin", "QuaternionConv3dTwin"]

_Layer = QuaternionConv1d | QuaternionConv2d | QuaternionConv3d


def _convolved(layer: _Layer, inputs: Tensor, convolve: Callable[..., Tensor], path: str) -> Tensor:
    """``HamiltonMatrix``, with groups ``GateRows``, and a convolution: the four components stay the stored weights.

    A group's channels stand side by side for the convolution: inputs, bias and outputs change places, the weights never do.
    """
    kernel = torch_ops.hamilton_matrix(layer.components(), grouping="blocked", layer=f"{path}.matrix")
    sizes = (layer.stride, layer.padding, layer.dilation)
    if layer.groups == 1:
        return convolve(inputs, kernel, layer.bias, *sizes)
    kernel = torch_ops.gate_rows(kernel, parts=4, order=range(layer.groups), layer=f"{path}.rows")
    by_group = grouped(layer.out_channels, layer.groups)
    bias = None if layer.bias is None else layer.bias[by_group]
    chosen = inputs.index_select(1, grouped(layer.in_channels, layer.groups))
    return convolve(chosen, kernel, bias, *sizes, layer.groups).index_select(
        1, blocked(layer.out_channels, layer.groups)
    )


def grouped(channels: int, groups: int) -> Tensor:
    """Where the channels [C] of all groups, one group after the other and each blocked, stand in blocked ones."""
    return torch.arange(channels).reshape(4, groups, -1).transpose(0, 1).reshape(-1)


def blocked(channels: int, groups: int) -> Tensor:
    """The inverse of ``grouped``."""
    return torch.arange(channels).reshape(groups, 4, -1).transpose(0, 1).reshape(-1)


@twin_of(QuaternionConv1d)
class QuaternionConv1dTwin(QuaternionConv1d):
    """One ``Conv`` over sequences."""

    capture_path: str

    def forward(self, inputs: Tensor) -> Tensor:
        return _convolved(self, inputs, nn.functional.conv1d, self.capture_path)


@twin_of(QuaternionConv2d)
class QuaternionConv2dTwin(QuaternionConv2d):
    """One ``Conv`` over images."""

    capture_path: str

    def forward(self, inputs: Tensor) -> Tensor:
        return _convolved(self, inputs, nn.functional.conv2d, self.capture_path)


@twin_of(QuaternionConv3d)
class QuaternionConv3dTwin(QuaternionConv3d):
    """One ``Conv`` over volumes."""

    capture_path: str

    def forward(self, inputs: Tensor) -> Tensor:
        return _convolved(self, inputs, nn.functional.conv3d, self.capture_path)
