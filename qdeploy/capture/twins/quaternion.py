"""Quaternion layers."""

from __future__ import annotations

from torch import Tensor

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.quaternion_linear import QuaternionLinear

__all__ = ["QuaternionTwin"]


@twin_of(QuaternionLinear)
class QuaternionTwin(QuaternionLinear):
    """``HamiltonMatrix`` and ``Linear``: the four components stay the stored weights."""

    capture_path: str

    def forward(self, inputs: Tensor) -> Tensor:
        components = (self.r_weight, self.i_weight, self.j_weight, self.k_weight)
        grouping = str(self.grouping)
        matrix = torch_ops.hamilton_matrix(components, grouping=grouping, layer=f"{self.capture_path}.matrix")
        return torch_ops.linear(inputs, matrix, self.bias, layer=self.capture_path)
