"""Quaternion RNN and LSTM in the layout of Parcollet's published models (Pytorch-Quaternion-Neural-Networks).

Known are its facts alone, no line of its code: sub-modules ``wfx, ufh, wix, uih, wox, uoh, wcx, uch`` for the products of the
LSTM's gates with the input and the state, ``wx, uh`` for the RNN, each with components [in/4, out/4] and, those of the input,
a bias; a real output layer ``fco``; products w (x) x of blocked channels. Source of the equations: ICLR 2019, 11 to 15.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from qdeploy.models.quaternion_recurrent import QuaternionLSTM, QuaternionRecurrent, QuaternionRNN
from qdeploy.models.recurrent_classifier import RecurrentClassifier
from qdeploy.runtime.errors import InvalidFileError

from .components import components_of, copy_layer, taken

__all__ = ["orkis_classifier", "orkis_layer"]

_LSTM = (("wix", "uih"), ("wfx", "ufh"), ("wcx", "uch"), ("wox", "uoh"))
"""In the layer's order of gates: input, forget, candidate, output."""

_RNN = (("wx", "uh"),)


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
