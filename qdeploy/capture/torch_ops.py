"""Torch operators that stand for whole layers during export, and how each becomes one ONNX node.

They have a schema and a shape function and no kernel: ``torch.export`` only needs to know what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxscript
import torch
from torch import Tensor

from .functions import FLOAT_DOMAIN

__all__ = ["gru", "hamilton_matrix", "linear", "lstm", "modrelu", "rnn", "translations"]

_LIBRARY = torch.library.Library("qdeploy_capture", "FRAGMENT")
_LIBRARY.define("linear(Tensor x, Tensor weight, Tensor? bias, *, str layer) -> Tensor")
_LIBRARY.define("modrelu(Tensor x, Tensor bias, *, str layer) -> Tensor")
_LIBRARY.define("hamilton_matrix(Tensor r, Tensor i, Tensor j, Tensor k, *, str grouping, str layer) -> Tensor")
_LIBRARY.define(
    "rnn(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor? modrelu_bias, Tensor? h0, *, "
    "str activation, str layer) -> (Tensor, Tensor)"
)
_LIBRARY.define(
    "gru(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor recurrent_bias, Tensor? h0, *, "
    "str layer) -> (Tensor, Tensor)"
)
_LIBRARY.define(
    "lstm(Tensor x, Tensor input_weight, Tensor recurrent_weight, Tensor bias, Tensor? h0, Tensor? c0, *, str layer) "
    "-> (Tensor, Tensor, Tensor)"
)


@torch.library.register_fake("qdeploy_capture::linear")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _(x: Tensor, weight: Tensor, bias: Tensor | None, *, layer: str) -> Tensor:
    del bias, layer
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.register_fake("qdeploy_capture::modrelu")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _(x: Tensor, bias: Tensor, *, layer: str) -> Tensor:
    del bias, layer
    return torch.empty_like(x)


@torch.library.register_fake("qdeploy_capture::hamilton_matrix")  # type: ignore[untyped-decorator]  # as above
def _(r: Tensor, i: Tensor, j: Tensor, k: Tensor, *, grouping: str, layer: str) -> Tensor:
    del i, j, k, grouping, layer
    return r.new_empty((4 * r.shape[0], 4 * r.shape[1]))


@torch.library.register_fake("qdeploy_capture::rnn")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _(
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


@torch.library.register_fake("qdeploy_capture::gru")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _(
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


@torch.library.register_fake("qdeploy_capture::lstm")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _(
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


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, layer: str) -> Tensor:
    """``x W^T + b`` as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.linear(x, weight, bias, layer=layer)
    return result


def modrelu(x: Tensor, bias: Tensor, *, layer: str) -> Tensor:
    """``sgn(x) * relu(|x| + bias)`` as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.modrelu(x, bias, layer=layer)
    return result


def hamilton_matrix(components: tuple[Tensor, Tensor, Tensor, Tensor], *, grouping: str, layer: str) -> Tensor:
    """The real matrix [4m, 4n] of four components [m, n] as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.hamilton_matrix(*components, grouping=grouping, layer=layer)
    return result


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


def _float_op(name: str, inputs: int, outputs: int, attributes: tuple[str, ...]) -> Any:
    """An onnxscript operator that records one node of the float domain, with any of its inputs absent."""
    schema = onnx.defs.OpSchema
    optional = schema.FormalParameterOption.Optional
    operator = schema(
        name,
        FLOAT_DOMAIN,
        1,
        inputs=[schema.FormalParameter(f"in{n}", "T", param_option=optional) for n in range(inputs)],
        outputs=[schema.FormalParameter(f"out{n}", "T") for n in range(outputs)],
        type_constraints=[("T", ["tensor(float)"], "")],
        attributes=[schema.Attribute(attribute, schema.AttrType.STRING) for attribute in (*attributes, "layer")],
    )
    return onnxscript.values.Op(onnxscript.values.Opset(FLOAT_DOMAIN, 1), name, operator)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The table that tells ``torch.onnx.export`` how to write these operators.

    Absent inputs stay empty in the middle of a node's inputs; the pass ``complete_float_nodes`` removes them.
    """
    ops = torch.ops.qdeploy_capture
    linear_op = _float_op("Linear", 3, 1, ())
    modrelu_op = _float_op("ModRelu", 2, 1, ())
    hamilton_op = _float_op("HamiltonMatrix", 4, 1, ("grouping",))
    rnn_op = _float_op("RNN", 6, 2, ("activation",))
    gru_op = _float_op("GRU", 6, 2, ())
    lstm_op = _float_op("LSTM", 6, 3, ())

    def write_linear(x: Any, weight: Any, bias: Any = None, layer: str = "") -> Any:
        return linear_op(x, weight, bias, layer=layer)

    def write_modrelu(x: Any, bias: Any, layer: str = "") -> Any:
        return modrelu_op(x, bias, layer=layer)

    def write_hamilton(r: Any, i: Any, j: Any, k: Any, grouping: str = "", layer: str = "") -> Any:
        return hamilton_op(r, i, j, k, grouping=grouping, layer=layer)

    def write_rnn(
        x: Any,
        u: Any,
        w: Any,
        bias: Any,
        modrelu_bias: Any = None,
        h0: Any = None,
        activation: str = "",
        layer: str = "",
    ) -> Any:
        return rnn_op(x, u, w, bias, modrelu_bias, h0, activation=activation, layer=layer)

    def write_gru(x: Any, u: Any, w: Any, bias: Any, recurrent_bias: Any, h0: Any = None, layer: str = "") -> Any:
        return gru_op(x, u, w, bias, recurrent_bias, h0, layer=layer)

    def write_lstm(x: Any, u: Any, w: Any, bias: Any, h0: Any = None, c0: Any = None, layer: str = "") -> Any:
        return lstm_op(x, u, w, bias, h0, c0, layer=layer)

    return {
        ops.linear.default: write_linear,
        ops.modrelu.default: write_modrelu,
        ops.hamilton_matrix.default: write_hamilton,
        ops.rnn.default: write_rnn,
        ops.gru.default: write_gru,
        ops.lstm.default: write_lstm,
    }
