"""The real matrix of four components."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["hamilton_matrix"]

define("hamilton_matrix(Tensor r, Tensor i, Tensor j, Tensor k, *, str grouping, str layer) -> Tensor")
_NODE = float_op("HamiltonMatrix", 4, 1, ("grouping",))


@torch.library.register_fake("qdeploy_capture::hamilton_matrix")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(r: Tensor, i: Tensor, j: Tensor, k: Tensor, *, grouping: str, layer: str) -> Tensor:
    del i, j, k, grouping, layer
    return r.new_empty((4 * r.shape[0], 4 * r.shape[1], *r.shape[2:]))


@translates("hamilton_matrix")
def _write(r: Any, i: Any, j: Any, k: Any, grouping: str = "", layer: str = "") -> Any:
    return _NODE(r, i, j, k, grouping=grouping, layer=layer)


def hamilton_matrix(components: tuple[Tensor, Tensor, Tensor, Tensor], *, grouping: str, layer: str) -> Tensor:
    """The real matrix [4m, 4n, *kernel] of four components [m, n, *kernel] as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.hamilton_matrix(*components, grouping=grouping, layer=layer)
    return result
