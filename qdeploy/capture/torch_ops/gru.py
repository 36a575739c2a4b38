"""A GRU layer over a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["gru"]

define(
    "gru(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor recurrent_bias, Tensor? h0, *, "
    "str layer) -> (Tensor, Tensor)"
)
_NODE = float_op("GRU", 6, 2)


@torch.library.register_fake("qdeploy_capture::gru")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    h0: Tensor | None,
    *,
    layer: str,
) -> tuple[Tensor, Tensor]:
    del input_weight, bias, recurrent_bias, h0, layer
    hidden = recurrent_weight.shape[1]
    return x.new_empty((x.shape[0], x.shape[1], hidden)), x.new_empty((x.shape[1], hidden))


@translates("gru")
def _write(x: Any, u: Any, w: Any, bias: Any, recurrent_bias: Any, h0: Any = None, layer: str = "") -> Any:
    return _NODE(x, u, w, bias, recurrent_bias, h0, layer=layer)


def gru(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    h0: Tensor | None,
    *,
    layer: str,
) -> tuple[Tensor, Tensor]:
    """A whole layer of GRU as one node named ``layer``: ``x`` [T, B, I] gives Y [T, B, H] and Y_h [B, H]."""
    result: tuple[Tensor, Tensor] = torch.ops.qdeploy_capture.gru(
        x, input_weight, recurrent_weight, bias, recurrent_bias, h0, layer=layer
    )
    return result
