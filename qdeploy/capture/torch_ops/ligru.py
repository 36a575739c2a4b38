"""A LiGRU layer over a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["ligru"]

define(
    "ligru(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor? h0, *, str candidate, float slope, "
    "str layer) -> (Tensor, Tensor)"
)
_NODE = float_op("LiGRU", 5, 2, ("candidate",), floats=("slope",))


@torch.library.register_fake("qdeploy_capture::ligru")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    h0: Tensor | None,
    *,
    candidate: str,
    slope: float,
    layer: str,
) -> tuple[Tensor, Tensor]:
    del input_weight, bias, h0, candidate, slope, layer
    last = (x.shape[1], recurrent_weight.shape[1])
    return x.new_empty((x.shape[0], *last)), x.new_empty(last)


@translates("ligru")
def _write(
    x: Any, u: Any, w: Any, bias: Any, h0: Any = None, candidate: str = "", slope: float = 0.0, layer: str = ""
) -> Any:
    return _NODE(x, u, w, bias, h0, candidate=candidate, slope=slope, layer=layer)


def ligru(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    h0: Tensor | None,
    *,
    activation: str,
    slope: float,
    layer: str,
) -> tuple[Tensor, Tensor]:
    """A whole LiGRU layer as one node named ``layer``: ``x`` [T, B, I] gives Y [T, B, H] and Y_h [B, H].

    ``activation`` is ``relu``, ``leaky-relu`` (with ``slope``) or ``tanh``.
    """
    result: tuple[Tensor, Tensor] = torch.ops.qdeploy_capture.ligru(
        x,
        input_weight,
        recurrent_weight,
        bias,
        h0,
        candidate="tanh" if activation == "tanh" else "rectifier",
        slope=slope if activation == "leaky-relu" else 0.0,
        layer=layer,
    )
    return result
