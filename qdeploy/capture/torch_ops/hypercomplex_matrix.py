"""The real matrix of an algebra and components."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["hypercomplex_matrix"]

define("hypercomplex_matrix(Tensor a, Tensor s, *, str layer) -> Tensor")
_NODE = float_op("HypercomplexMatrix", 2, 1, ("grouping", "output_grouping"))


@torch.library.register_fake("qdeploy_capture::hypercomplex_matrix")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(a: Tensor, s: Tensor, *, layer: str) -> Tensor:
    del layer
    return s.new_empty((a.shape[1] * s.shape[1], a.shape[2] * s.shape[2], *s.shape[3:]))


@translates("hypercomplex_matrix")
def _write(a: Any, s: Any, layer: str = "") -> Any:
    return _NODE(a, s, grouping="blocked", output_grouping="blocked", layer=layer)


def hypercomplex_matrix(a: Tensor, s: Tensor, *, layer: str) -> Tensor:
    """The real matrix [P Q, U V, *kernel] of a [d, P, U] and s [d, Q, V, *kernel], channels blocked, as one node."""
    result: Tensor = torch.ops.qdeploy_capture.hypercomplex_matrix(a, s, layer=layer)
    return result
