"""Light gated recurrent layers, real and quaternion."""

from __future__ import annotations

from torch import Tensor

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.quaternion_recurrent import QuaternionMatrices
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.ligru import LiGRU, QuaternionLiGRU

__all__ = ["LiGRUTwin", "QuaternionLiGRUTwin"]


@twin_of(LiGRU, recurrent=True)
class LiGRUTwin(LiGRU):
    """One ``LiGRU``."""

    capture_path: str

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.ligru(
            inputs,
            self.input_weight,
            self.recurrent_weight,
            self.bias,
            initial,
            activation=self.activation,
            slope=self.slope,
            layer=self.capture_path,
        )


@twin_of(QuaternionLiGRU, recurrent=True)
class QuaternionLiGRUTwin(QuaternionMatrices, QuaternionLiGRU):
    """One ``LiGRU`` whose matrices are made of components."""

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.ligru(
            inputs,
            self.input_matrix(),
            self.recurrent_matrix(),
            self.bias,
            initial,
            activation=self.activation,
            slope=self.slope,
            layer=self.capture_path,
        )
