"""A layer of FastRNN or FastGRNN over a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["fast_grnn", "fast_rnn"]

_INPUTS = (
    "Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor mix, Tensor? factor, Tensor? h0, *, "
    "str activation, str rank"
)
define(f"fast_rnn({_INPUTS}, str layer) -> (Tensor, Tensor)")
define(f"fast_grnn({_INPUTS}, str gate, str layer) -> (Tensor, Tensor)")
_RNN_NODE = float_op("FastRNN", 7, 2, ("activation", "rank"))
_GRNN_NODE = float_op("FastGRNN", 7, 2, ("activation", "rank", "gate"))


@torch.library.register_fake("qdeploy_capture::fast_rnn")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _rnn_shapes(x: Tensor, input_weight: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    hidden = input_weight.shape[0]
    return x.new_empty((x.shape[0], x.shape[1], hidden)), x.new_empty((x.shape[1], hidden))


@torch.library.register_fake("qdeploy_capture::fast_grnn")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _grnn_shapes(x: Tensor, input_weight: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return _rnn_shapes(x, input_weight)  # type: ignore[no-any-return]  # the decorator leaves it untyped


@translates("fast_rnn")
def _write_rnn(
    x: Any,
    u: Any,
    w: Any,
    bias: Any,
    mix: Any,
    factor: Any = None,
    h0: Any = None,
    activation: str = "",
    rank: str = "",
    layer: str = "",
) -> Any:
    return _RNN_NODE(x, u, w, bias, mix, factor, h0, activation=activation, rank=rank, layer=layer)


@translates("fast_grnn")
def _write_grnn(
    x: Any,
    u: Any,
    w: Any,
    bias: Any,
    mix: Any,
    factor: Any = None,
    h0: Any = None,
    activation: str = "",
    rank: str = "",
    gate: str = "",
    layer: str = "",
) -> Any:
    return _GRNN_NODE(x, u, w, bias, mix, factor, h0, activation=activation, rank=rank, gate=gate, layer=layer)


def fast_rnn(
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None],
    bias: Tensor,
    mix: Tensor,
    h0: Tensor | None,
    *,
    activation: str,
    layer: str,
) -> tuple[Tensor, Tensor]:
    """A whole layer of FastRNN as one node named ``layer``: ``x`` [T, B, I] gives Y [T, B, H] and Y_h [B, H].

    ``weights`` are U, W and the factor of a W of low rank.
    """
    rank = "full" if weights[2] is None else "low"
    result: tuple[Tensor, Tensor] = torch.ops.qdeploy_capture.fast_rnn(
        x, weights[0], weights[1], bias, mix, weights[2], h0, activation=activation, rank=rank, layer=layer
    )
    return result


def fast_grnn(
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None],
    bias: Tensor,
    mix: Tensor,
    h0: Tensor | None,
    *,
    activation: str,
    gate: str,
    layer: str,
) -> tuple[Tensor, Tensor]:
    """A whole layer of FastGRNN as one node named ``layer``; see ``fast_rnn``."""
    rank = "full" if weights[2] is None else "low"
    result: tuple[Tensor, Tensor] = torch.ops.qdeploy_capture.fast_grnn(
        x, weights[0], weights[1], bias, mix, weights[2], h0, activation=activation, rank=rank, gate=gate, layer=layer
    )
    return result
