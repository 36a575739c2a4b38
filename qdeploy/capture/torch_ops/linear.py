"""``x W^T + b``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["linear"]

define("linear(Tensor x, Tensor weight, Tensor? bias, *, str layer) -> Tensor")
_NODE = float_op("Linear", 3, 1)


@torch.library.register_fake("qdeploy_capture::linear")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(x: Tensor, weight: Tensor, bias: Tensor | None, *, layer: str) -> Tensor:
    del bias, layer
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@translates("linear")
def _write(x: Any, weight: Any, bias: Any = None, layer: str = "") -> Any:
    return _NODE(x, weight, bias, layer=layer)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, layer: str) -> Tensor:
    """``x W^T + b`` as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.linear(x, weight, bias, layer=layer)
    return result
