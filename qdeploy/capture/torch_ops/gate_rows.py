"""The rows of stacked gates in a recurrent layer's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["gate_rows"]

define("gate_rows(Tensor weight, *, int parts, int[] order, str layer) -> Tensor")
_NODE = float_op("GateRows", 1, 1, integers=("parts",), lists=("order",))


@torch.library.register_fake("qdeploy_capture::gate_rows")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(weight: Tensor, *, parts: int, order: Sequence[int], layer: str) -> Tensor:
    del parts, order, layer
    return torch.empty_like(weight)


@translates("gate_rows")
def _write(weight: Any, parts: int = 1, order: Sequence[int] = (), layer: str = "") -> Any:
    return _NODE(weight, parts=parts, order=list(order), layer=layer)


def gate_rows(weight: Tensor, *, parts: int, order: Sequence[int], layer: str) -> Tensor:
    """Rows [P G n, ...] by part, then gate, as rows by gate in ``order``, as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.gate_rows(weight, parts=parts, order=list(order), layer=layer)
    return result
