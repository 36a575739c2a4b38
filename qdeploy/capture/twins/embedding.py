"""``torch.nn.Embedding``."""

from __future__ import annotations

from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of

__all__ = ["EmbeddingTwin"]


@twin_of(nn.Embedding)
class EmbeddingTwin(nn.Embedding):
    """One ``Embedding``. The row of ``padding_idx`` is read like any other: what is special of it is its training."""

    capture_path: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        return torch_ops.embedding(input, self.weight, layer=self.capture_path)
