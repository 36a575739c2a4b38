"""Rows of a table by their indices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["embedding"]

define("embedding(Tensor indices, Tensor table, *, str layer) -> Tensor")
_NODE = float_op("Embedding", 2, 1, indices=(0,))


@torch.library.register_fake("qdeploy_capture::embedding")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(indices: Tensor, table: Tensor, *, layer: str) -> Tensor:
    del layer
    return table.new_empty((*indices.shape, table.shape[1]))


@translates("embedding")
def _write(indices: Any, table: Any, layer: str = "") -> Any:
    return _NODE(indices, table, layer=layer)


def embedding(indices: Tensor, table: Tensor, *, layer: str) -> Tensor:
    """``table[indices]`` as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.embedding(indices, table, layer=layer)
    return result
