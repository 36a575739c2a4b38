"""A simple recurrent layer over a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["rnn"]

define(
    "rnn(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor? modrelu_bias, Tensor? h0, *, "
    "str activation, str layer) -> (Tensor, Tensor)"
)
_NODE = float_op("RNN", 6, 2, ("activation",))


@torch.library.register_fake("qdeploy_capture::rnn")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    modrelu_bias: Tensor | None,
    h0: Tensor | None,
    *,
    activation: str,
    layer: str,
) -> tuple[Tensor, Tensor]:
    del input_weight, bias, modrelu_bias, h0, activation, layer
    hidden = recurrent_weight.shape[0]
    return x.new_empty((x.shape[0], x.shape[1], hidden)), x.new_empty((x.shape[1], hidden))


@translates("rnn")
def _write(
    x: Any,
    u: Any,
    w: Any,
    bias: Any,
    modrelu_bias: Any = None,
    h0: Any = None,
    activation: str = "",
    layer: str = "",
) -> Any:
    return _NODE(x, u, w, bias, modrelu_bias, h0, activation=activation, layer=layer)


def rnn(
    x: Tensor,
    input_weight: Tensor,
    recurrent_weight: Tensor,
    bias: Tensor,
    modrelu_bias: Tensor | None,
    h0: Tensor | None,
    *,
    activation: str,
    layer: str,
) -> tuple[Tensor, Tensor]:
    """A whole recurrent layer as one node named ``layer``: ``x`` [T, B, I] gives Y [T, B, H] and Y_h [B, H]."""
    result: tuple[Tensor, Tensor] = torch.ops.qdeploy_capture.rnn(
        x, input_weight, recurrent_weight, bias, modrelu_bias, h0, activation=activation, layer=layer
    )
    return result
