"""Layers and recurrent networks in the layout of Parcollet's library (Pytorch-Quaternion-Neural-Networks).

Known are its facts alone, no line of its code:

- ``QuaternionLinear`` and ``QuaternionLinearAutograd`` have components [in/4, out/4], the product is w (x) x of blocked
  channels; ``QuaternionConv`` has [out/4, in/4, *kernel] and the same product; ``QuaternionTransposeConv`` has
  [in/4, out/4, *kernel] and multiplies by conj(w). With several groups a convolution takes ``groups`` times the channels it was
  built for, and a group is a run of rows of the expanded kernel;
- with ``rotation`` the product is scale w x w^-1 of the vector parts, w normalized by sqrt(|w|^2 + 0.0001), and the real part
  of the output is the bias; ``zero_kernel`` are the zeros of that matrix. A rotating ``QuaternionTransposeConv`` does not run;
- recurrent networks have sub-modules ``wfx, ufh, wix, uih, wox, uoh, wcx, uch`` for the products of the LSTM's gates with the
  input and the state, ``wx, uh`` for the RNN, those of the input with a bias, and a real output layer ``fco``. Source of the
  equations: ICLR 2019, 11 to 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.models.quaternion_recurrent import QuaternionLSTM, QuaternionRecurrent, QuaternionRNN
from qdeploy.models.recurrent_classifier import RecurrentClassifier
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .components import components_of, copy_layer, taken
from .conversion import Foreign, convert_layers
from .products import (
    Window,
    convolution,
    linear,
    rotation_convolution,
    rotation_linear,
    transposed_convolution,
)
from .stored import Stored

__all__ = [
    "LAYERS",
    "OrkisRecurrent",
    "convert",
    "orkis_classifier",
    "orkis_convolution",
    "orkis_layer",
    "orkis_linear",
]

_LSTM = (("wix", "uih"), ("wfx", "ufh"), ("wcx", "uch"), ("wox", "uoh"))
"""In the layer's order of gates: input, forget, candidate, output."""

_RNN = (("wx", "uh"),)


class OrkisRecurrent(nn.Module):
    """A recurrent layer and its output layer with the interface of Parcollet's networks: ``inputs`` [T, B, I] to [T, B, C]."""

    def __init__(self, layer: QuaternionRecurrent, output: nn.Linear) -> None:
        """Takes a layer of this package and the output layer."""
        super().__init__()
        self.layer = layer
        self.output = output

    def forward(self, inputs: Tensor) -> Tensor:
        """Every step's outputs."""
        states, _ = self.layer(inputs)
        outputs: Tensor = self.output(states)
        return outputs


def convert(module: nn.Module) -> nn.Module:
    """A copy of a live ``module`` in evaluation mode whose layers of this library are layers of this package.

    Replaced are ``QuaternionLinear``, ``QuaternionLinearAutograd``, ``QuaternionConv``, ``QuaternionTransposeConv`` and the
    published ``QLSTM``, known by the names of their classes and attributes; the library is not imported.

    Raises:
        UnsupportedModelError: a layer that has no form here.
        InvalidFileError: tensors of shapes that do not fit, or NaN.
    """
    return convert_layers(module, "Pytorch-Quaternion-Neural-Networks", LAYERS)


def orkis_layer(state: Mapping[str, Tensor], *, activation: str = "tanh", prefix: str = "") -> QuaternionRecurrent:
    """The recurrent layer; ``fco`` is left aside.

    Args:
        state: the state dict.
        activation: ``tanh`` or ``relu`` of an RNN, which is not stored.
        prefix: what stands before the names, with its dot.

    Raises:
        InvalidFileError: tensors missing, left over, or of shapes that do not fit.
    """
    found = _named(state, prefix)
    for name in ("fco.weight", "fco.bias"):
        found.pop(name, None)
    return _layer(found, activation, prefix or "model")


def orkis_classifier(
    state: Mapping[str, Tensor], *, activation: str = "tanh", readout: str = "every", prefix: str = ""
) -> RecurrentClassifier:
    """The layer with its output layer ``fco``: a classifier of inputs [B, T, I].

    Args:
        state: the state dict.
        activation: ``tanh`` or ``relu`` of an RNN, which is not stored.
        readout: ``every``, ``last`` or ``mean`` (see ``RecurrentClassifier``).
        prefix: what stands before the names, with its dot.

    Raises:
        InvalidFileError: tensors missing, left over, or of shapes that do not fit.
    """
    found, where = _named(state, prefix), prefix or "model"
    weight = taken(found, "fco.weight", where)
    bias = taken(found, "fco.bias", where) if "fco.bias" in found else torch.zeros(len(weight))
    layer = _layer(found, activation, where)
    if weight.dim() != 2 or weight.shape[1] != layer.hidden_size or bias.shape != weight.shape[:1]:
        raise InvalidFileError(
            f"{where}: fco has the shapes {list(weight.shape)} and {list(bias.shape)}, expected [C, {layer.hidden_size}] and [C]"
        )
    cell = "quaternion-lstm" if isinstance(layer, QuaternionLSTM) else f"quaternion-rnn-{activation}"
    classifier = RecurrentClassifier(layer.input_size, layer.hidden_size, len(weight), cell, readout=readout)
    classifier.layers[0].load_state_dict(layer.state_dict())
    with torch.no_grad():
        classifier.output.weight.copy_(weight)
        classifier.output.bias.copy_(bias)
    return classifier.eval()


def _named(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _layer(found: dict[str, Tensor], activation: str, where: str) -> QuaternionRecurrent:
    products = _LSTM if "wfx.r_weight" in found else _RNN
    given = [components_of(found, w, where) for w, _ in products]
    recurrent = [components_of(found, u, where) for _, u in products]
    inputs, hidden = 4 * given[0][0].shape[1], 4 * given[0][0].shape[0]
    for (w, u), of_input, of_state in zip(products, given, recurrent, strict=True):
        if of_input[0].shape != given[0][0].shape or of_state[0].shape != (hidden // 4, hidden // 4):
            raise InvalidFileError(
                f"{where}: the components of {w} and {u} are {list(of_input[0].t().shape)} and {list(of_state[0].t().shape)}, "
                f"expected [{inputs // 4}, {hidden // 4}] and [{hidden // 4}, {hidden // 4}]"
            )
    biases = []
    for names in products:
        # Products without a bias have none stored, or zeros.
        parts = [taken(found, f"{name}.bias", where) for name in names if f"{name}.bias" in found]
        if any(part.shape != (hidden,) for part in parts):
            raise InvalidFileError(f"{where}: biases of {', '.join(names)}: expected [{hidden}] each")
        biases.append(sum(parts, torch.zeros(hidden)))
    if found:
        raise InvalidFileError(f"{where}: found {', '.join(sorted(found)[:12])}, which this layer does not have")
    layer = QuaternionLSTM(inputs, hidden) if products is _LSTM else QuaternionRNN(inputs, hidden, activation)
    copy_layer(
        layer,
        [torch.cat(parts) for parts in zip(*given, strict=True)],
        [torch.cat(parts) for parts in zip(*recurrent, strict=True)],
        {"bias": torch.cat(biases)},
        where,
    )
    return layer.eval()


def orkis_linear(stored: Stored, *, rotation: bool = False, scale: bool = False) -> nn.Module:
    """``QuaternionLinear`` of components [in/4, out/4], or its rotations with a trained ``scale_param`` or none."""
    parts = [part.t() for part in stored.components()]
    if not rotation:
        return linear(parts, stored.optional("bias"), stored.where)
    _drop_zeros(stored)
    factors = stored.take("scale_param", None, None).t() if scale else None
    return rotation_linear(parts, factors, stored.optional("bias"), stored.where, "orkis")


def orkis_convolution(window: Window, stored: Stored, *, rotation: bool = False, scale: bool = False) -> nn.Module:
    """``QuaternionConv`` of components [out/4, in/4, *kernel], or its rotations with a trained ``scale_param`` or none."""
    parts = stored.components()
    if not rotation:
        return convolution(parts, stored.optional("bias"), window, stored.where)
    _drop_zeros(stored)
    factors = stored.take("scale_param") if scale else None
    return rotation_convolution(parts, factors, stored.optional("bias"), window, stored.where)


def _drop_zeros(stored: Stored) -> None:
    """The zeros that rotations store for the real row and column of their matrices."""
    zeros = stored.optional("zero_kernel")
    if zeros is not None and bool(zeros.any()):
        raise InvalidFileError(f"{stored.where}: zero_kernel is not zero, expected the zeros that it was made with")


def _window(part: Any) -> Window:
    return Window(part.stride, part.padding, part.dilatation, part.groups, getattr(part, "output_padding", 0))


def _check_format(part: Any, stored: Stored) -> None:
    if part.rotation and not part.quaternion_format:
        raise UnsupportedModelError(
            f"{stored.where}: quaternion_format=False, rotations of vectors of three, are not supported; use "
            "quaternion_format=True, whose real parts are zero"
        )


def _live_linear(part: Any, stored: Stored) -> nn.Module:
    if not hasattr(part, "rotation"):
        return orkis_linear(stored)
    _check_format(part, stored)
    return orkis_linear(stored, rotation=part.rotation, scale="scale_param" in stored)


def _live_convolution(part: Any, stored: Stored) -> nn.Module:
    _check_format(part, stored)
    return orkis_convolution(_window(part), stored, rotation=part.rotation, scale="scale_param" in stored)


def _live_transposed(part: Any, stored: Stored) -> nn.Module:
    if part.rotation:
        raise UnsupportedModelError(
            f"{stored.where}: rotation=True is not supported: the library's own forward pass of it does not run"
        )
    return transposed_convolution(
        stored.components(), stored.optional("bias"), _window(part), stored.where, conjugate=True
    )


def _live_recurrent(part: Any, stored: Stored) -> nn.Module:
    del part
    weight, bias = stored.take("fco.weight", None, None), stored.optional("fco.bias")
    layer = _layer(stored.state, "tanh", stored.where)
    if weight.shape[1] != layer.hidden_size:
        raise InvalidFileError(
            f"{stored.where}: fco.weight has the shape {list(weight.shape)}, expected [C, {layer.hidden_size}]"
        )
    output = nn.Linear(layer.hidden_size, len(weight), bias=bias is not None)
    output.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return OrkisRecurrent(layer, output)


_COMPONENTS = frozenset({"r_weight", "i_weight", "j_weight", "k_weight"})

LAYERS = (
    Foreign("QuaternionLinear", _COMPONENTS | {"init_criterion"}, _live_linear),
    Foreign("QuaternionLinearAutograd", _COMPONENTS | {"rotation"}, _live_linear),
    Foreign("QuaternionConv", _COMPONENTS | {"dilatation", "rotation"}, _live_convolution),
    Foreign("QuaternionTransposeConv", _COMPONENTS | {"dilatation", "output_padding"}, _live_transposed),
    Foreign("QLSTM", frozenset({"wfx", "ufh", "uch", "fco"}), _live_recurrent),
)
"""The library's classes of layers."""
