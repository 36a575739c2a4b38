"""``sgn(x) * relu(|x| + bias)``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["modrelu"]

define("modrelu(Tensor x, Tensor bias, *, str layer) -> Tensor")
_NODE = float_op("ModRelu", 2, 1)


@torch.library.register_fake("qdeploy_capture::modrelu")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(x: Tensor, bias: Tensor, *, layer: str) -> Tensor:
    del bias, layer
    return torch.empty_like(x)


@translates("modrelu")
def _write(x: Any, bias: Any, layer: str = "") -> Any:
    return _NODE(x, bias, layer=layer)


def modrelu(x: Tensor, bias: Tensor, *, layer: str) -> Tensor:
    """``sgn(x) * relu(|x| + bias)`` as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.modrelu(x, bias, layer=layer)
    return result
