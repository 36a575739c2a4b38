"""``torch.nn.Linear``."""

from __future__ import annotations

from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of

__all__ = ["LinearTwin"]


@twin_of(nn.Linear)
class LinearTwin(nn.Linear):
    """One ``Linear``."""

    capture_path: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        return torch_ops.linear(input, self.weight, self.bias, layer=self.capture_path)
