"""An LSTM layer over a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["lstm"]

define(
    "lstm(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor? h0, Tensor? c0, *, str layer) "
    "-> (Tensor, Tensor, Tensor)"
)
_NODE = float_op("LSTM", 6, 3)


@torch.library.register_fake("qdeploy_capture::lstm")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    *,
    layer: str,
) -> tuple[Tensor, Tensor, Tensor]:
    del input_weight, bias, h0, c0, layer
    last = (x.shape[1], recurrent_weight.shape[1])
    return x.new_empty((x.shape[0], *last)), x.new_empty(last), x.new_empty(last)


@translates("lstm")
def _write(x: Any, u: Any, w: Any, bias: Any, h0: Any = None, c0: Any = None, layer: str = "") -> Any:
    return _NODE(x, u, w, bias, h0, c0, layer=layer)


def lstm(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    states: tuple[Tensor, Tensor] | None,
    *,
    layer: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """A whole LSTM layer as one node named ``layer``: ``x`` [T, B, I] gives Y [T, B, H], Y_h [B, H] and Y_c [B, H]."""
    h0, c0 = states or (None, None)
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.qdeploy_capture.lstm(
        x, input_weight, recurrent_weight, bias, h0, c0, layer=layer
    )
    return result
