"""Layers over a learned algebra: the algebra and its components stay the stored weights."""

from __future__ import annotations

from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.hypercomplex import PHMConv1d, PHMConv2d, PHMConv3d, PHMLinear

__all__ = ["PHMConv1dTwin", "PHMConv2dTwin", "PHMConv3dTwin", "PHMLinearTwin"]


class _MatrixNode:
    """The real weight as one node ``HypercomplexMatrix``."""

    capture_path: str
    a: nn.Parameter
    s: nn.Parameter

    def matrix(self) -> Tensor:
        return torch_ops.hypercomplex_matrix(self.a, self.s, layer=f"{self.capture_path}.matrix")


@twin_of(PHMLinear)
class PHMLinearTwin(_MatrixNode, PHMLinear):
    """``HypercomplexMatrix`` and ``Linear``."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch_ops.linear(inputs, self.matrix(), self.bias, layer=self.capture_path)


@twin_of(PHMConv1d)
class PHMConv1dTwin(_MatrixNode, PHMConv1d):
    """``HypercomplexMatrix`` and ``Conv``, as the other two."""


@twin_of(PHMConv2d)
class PHMConv2dTwin(_MatrixNode, PHMConv2d):
    """Of two dimensions."""


@twin_of(PHMConv3d)
class PHMConv3dTwin(_MatrixNode, PHMConv3d):
    """Of three dimensions."""
