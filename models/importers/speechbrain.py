"""Recurrent layers of SpeechBrain (1.0): QRNN, QLSTM, QLiGRU and LiGRU.

Facts of that library, checked against its forward pass:

- components are stored [in/4, out/4]; the product is w (x) x, channels blocked;
- QLSTM is one Hamilton product of H output quaternions whose parts are input gate, forget gate, output gate and candidate, and
  its cell state begins at zero whatever ``hx`` is; QLiGRU's r and i parts are the candidate, j and k parts the gate;
- QRNN and QLSTM have a bias in both products, LiGRU and QLiGRU in none: they normalize W x over batches, QLiGRU with one real
  gamma and variance for each quaternion, which folds into the components, and eps 1e-4;
- ``h_init`` and ``drop_masks`` in a state dict hold nothing that was trained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.models.ligru import LiGRU, QuaternionLiGRU
from qdeploy.models.quaternion_recurrent import QuaternionLSTM, QuaternionRecurrent, QuaternionRNN
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

from .components import components_of, copy_layer, taken
from .conversion import Foreign, convert_layers
from .speechbrain_feedforward import LAYERS
from .stored import Stored

__all__ = ["NONLINEARITIES", "SpeechBrainRecurrent", "convert", "speechbrain_layers"]

_UNTRAINED = frozenset({"h_init", "drop_masks", "drop_mask_te", "norm.num_batches_tracked"})
NONLINEARITIES = {"relu": "relu", "leaky_relu": "leaky-relu", "tanh": "tanh"}
_DEFAULTS = {"QRNN": "tanh", "QLSTM": "tanh", "QLiGRU": "leaky_relu", "LiGRU": "relu"}
_EPS = {"QLiGRU": 1e-4, "LiGRU": 1e-5}


class SpeechBrainRecurrent(nn.Module):
    """Layers on each other with SpeechBrain's interface: batch first, and a pair of outputs and last states."""

    def __init__(self, layers: list[nn.Module]) -> None:
        """Takes time-major layers of this package, the first one first."""
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs over ``inputs`` [B, T, I] (or [B, T, ...], whose last axes are joined) from ``hx`` [L, B, H], zero by default.

        Returns:
            The last layer's states [B, T, H], and each layer's last one [L, B, H].
        """
        states = inputs.flatten(2).transpose(0, 1) if inputs.dim() > 3 else inputs.transpose(0, 1)
        last = []
        for index, layer in enumerate(self.layers):
            initial: Any = None if hx is None else hx[index]
            if initial is not None and isinstance(layer, QuaternionLSTM):
                initial = (initial, torch.zeros_like(initial))
            states, state = layer(states, initial)
            last.append(state[0] if isinstance(state, tuple) else state)
        return states.transpose(0, 1), torch.stack(last)


def speechbrain_layers(
    state: Mapping[str, Tensor],
    *,
    nonlinearity: str | None = None,
    normalization: str = "batchnorm",
    eps: float | None = None,
    prefix: str = "",
) -> SpeechBrainRecurrent:
    """The layers of one QRNN, QLSTM, QLiGRU or LiGRU, found by their names and shapes.

    Args:
        state: the state dict, or a part of a larger one.
        nonlinearity: ``tanh``, ``relu`` or ``leaky_relu``, as given to SpeechBrain's class, which does not store it; by default
            that class's own default.
        normalization: ``batchnorm``, or ``none`` for a QLiGRU that was built so: its state dict has the unused tensors.
        eps: of the batch normalization; by default SpeechBrain's.
        prefix: what stands before ``rnn.0`` in the names, with its dot.

    Raises:
        InvalidInputError: another nonlinearity or normalization.
        InvalidFileError: tensors missing, left over, or of shapes that do not fit.
        UnsupportedModelError: two directions, or layer normalization.
    """
    if nonlinearity is not None and nonlinearity not in NONLINEARITIES:
        raise InvalidInputError(f"nonlinearity={nonlinearity!r}: expected one of {', '.join(NONLINEARITIES)}")
    if normalization not in ("batchnorm", "none"):
        raise InvalidInputError(f"normalization={normalization!r}: expected 'batchnorm' or 'none'")
    by_layer = _by_layer(state, prefix)
    layers: list[nn.Module] = []
    for index, tensors in enumerate(by_layer):
        where = f"{prefix}rnn.{index}"
        kind = _kind(tensors, where)
        activation = NONLINEARITIES[nonlinearity or _DEFAULTS[kind]]
        make = _real_ligru if kind == "LiGRU" else _quaternion
        layer = make(kind, tensors, activation, normalization, _EPS.get(kind, 0.0) if eps is None else eps, where)
        if tensors:
            raise InvalidFileError(
                f"{where} ({kind}): found {', '.join(sorted(tensors))}, which this layer does not have"
            )
        if layers and layer.input_size != layers[-1].hidden_size:
            raise UnsupportedModelError(
                f"{where} ({kind}): found {layer.input_size} inputs behind a layer of {layers[-1].hidden_size} units; expected "
                "as many (a bidirectional layer has twice as many, and is not supported)"
            )
        layers.append(layer)
    return SpeechBrainRecurrent(layers).eval()


def convert(module: nn.Module) -> nn.Module:
    """A copy of a live ``module`` in evaluation mode whose SpeechBrain layers are layers of this package.

    Replaced are QRNN, QLSTM, QLiGRU, LiGRU, QLinear, QConv1d, QConv2d, QBatchNorm and the averages of QPooling2d, known by the
    names of their classes and attributes; the library is not imported. What cannot be told from a state dict (nonlinearity,
    eps, whether a normalization is used, padding) is read off the module.

    Raises:
        UnsupportedModelError: a bidirectional layer, a nonlinearity, normalization or padding without integer form.
        InvalidFileError: tensors of shapes that do not fit, or NaN.
    """
    return convert_layers(module, "SpeechBrain", (*_RECURRENT, *LAYERS))


def _converted_recurrent(module: Any, stored: Stored) -> nn.Module:
    kind, where = type(module).__name__, stored.where
    if module.bidirectional:
        raise UnsupportedModelError(
            f"{where}: bidirectional=True is not supported; train one direction, which also streams"
        )
    nonlinearity = str(getattr(module, "nonlinearity", _DEFAULTS[kind]))
    if nonlinearity not in NONLINEARITIES:
        raise UnsupportedModelError(
            f"{where}: nonlinearity={nonlinearity!r} is not supported; expected one of {', '.join(NONLINEARITIES)}"
        )
    first = module.rnn[0]
    layers = speechbrain_layers(
        stored.state,
        nonlinearity=nonlinearity,
        normalization="batchnorm" if getattr(first, "normalize", True) else "none",
        eps=float(first.norm.eps) if hasattr(first, "norm") else None,
    )
    # They refuse what they do not know, and take nothing out of the state dict that they are given.
    stored.state.clear()
    return layers


_RECURRENT = tuple(Foreign(kind, frozenset({"rnn", "bidirectional"}), _converted_recurrent) for kind in _DEFAULTS)


def _by_layer(state: Mapping[str, Tensor], prefix: str) -> list[dict[str, Tensor]]:
    """The tensors of each layer by their names within it, without those that hold nothing trained."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        matched = re.fullmatch(rf"{re.escape(prefix)}rnn\.(\d+)\.(.+)", name)
        if matched and matched[2] not in _UNTRAINED:
            found.setdefault(int(matched[1]), {})[matched[2]] = tensor
    if sorted(found) != list(range(len(found))) or not found:
        raise InvalidFileError(
            f"found the layers {sorted(found)} under {prefix + 'rnn.'!r}, expected 0, 1, ...; "
            "give the prefix of the recurrent module's names, with its dot"
        )
    return [found[index] for index in range(len(found))]


def _kind(tensors: Mapping[str, Tensor], where: str) -> str:
    if "u.weight" in tensors:
        return "LiGRU"
    recurrent = tensors.get("u.r_weight")
    rows = 0 if recurrent is None or recurrent.dim() != 2 or not len(recurrent) else recurrent.shape[1] / len(recurrent)
    kinds = {1: "QRNN", 2: "QLiGRU", 4: "QLSTM"}
    if rows not in kinds:
        found = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in list(tensors.items())[:6])
        raise InvalidFileError(
            f"{where}: expected u.weight of a LiGRU, or u.r_weight of n rows and n, 2 n or 4 n columns (QRNN, QLiGRU, QLSTM); "
            f"found {found}"
        )
    return kinds[int(rows)]


def _quaternion(
    kind: str, tensors: dict[str, Tensor], activation: str, normalization: str, eps: float, where: str
) -> QuaternionRecurrent:
    given, recurrent = (components_of(tensors, product, where) for product in "wu")
    inputs, hidden = 4 * given[0].shape[1], 4 * recurrent[0].shape[1]
    layer: QuaternionRecurrent
    if kind == "QLiGRU":
        layer = QuaternionLiGRU(inputs, hidden, activation, gate_layout="per-part")
        given, bias = _quaternion_normalized(tensors, given, normalization, eps, where)
    else:
        first, second = (taken(tensors, f"{product}.bias", where) for product in "wu")
        if first.shape != second.shape:
            raise InvalidFileError(
                f"{where} ({kind}): the biases have the shapes {list(first.shape)}, {list(second.shape)}"
            )
        bias = first + second
        if kind == "QLSTM":
            layer = QuaternionLSTM(inputs, hidden, gate_layout="per-part")
            if bias.numel() == 4 * hidden:
                # Stored as input gate, forget gate, output gate, candidate.
                i, f, o, g = bias.chunk(4)
                bias = torch.cat([i, f, g, o])
        elif activation in ("tanh", "relu"):
            layer = QuaternionRNN(inputs, hidden, activation)
        else:
            raise UnsupportedModelError(f"{where} (QRNN): leaky_relu is not supported; expected tanh or relu")
    copy_layer(layer, given, recurrent, {"bias": bias}, where)
    return layer


def _quaternion_normalized(
    tensors: dict[str, Tensor], given: list[Tensor], normalization: str, eps: float, where: str
) -> tuple[list[Tensor], Tensor]:
    """Components and bias with gamma (x - mean) / sqrt(variance + eps) + beta folded in; gamma and variance per quaternion."""
    gamma, beta, mean, variance = (
        taken(tensors, f"norm.{name}", where) for name in ("gamma", "beta", "running_mean", "running_var")
    )
    if normalization == "none":
        return given, torch.zeros_like(beta)
    rows = given[0].shape[0]
    if gamma.shape != (rows,) or variance.shape != (rows,) or beta.shape != (4 * rows,) or mean.shape != beta.shape:
        raise InvalidFileError(
            f"{where}: norm has {list(gamma.shape)} gammas, expected one for each of {rows} quaternions"
        )
    factor = gamma.double() * torch.rsqrt(variance.double() + eps)
    bias = beta.double() - mean.double() * factor.repeat(4)
    return [(part.double() * factor[:, None]).float() for part in given], bias.float()


def _real_ligru(
    kind: str, tensors: dict[str, Tensor], activation: str, normalization: str, eps: float, where: str
) -> LiGRU:
    """W x is normalized, so that the normalization folds into the rows of W and the bias."""
    given, recurrent = taken(tensors, "w.weight", where), taken(tensors, "u.weight", where)
    if "norm.running_mean" not in tensors or normalization != "batchnorm":
        raise UnsupportedModelError(
            f"{where} ({kind}): layer normalization (which SpeechBrain applies for every normalization but 'batchnorm') depends "
            "on its input and is not supported; train with normalization='batchnorm'"
        )
    gamma, beta, mean, variance = (
        taken(tensors, f"norm.{name}", where).double() for name in ("weight", "bias", "running_mean", "running_var")
    )
    factor = gamma * torch.rsqrt(variance + eps)
    layer = LiGRU(given.shape[1], recurrent.shape[1], activation)
    found = {
        "input_weight": (given.double() * factor[:, None]).float(),
        "recurrent_weight": recurrent,
        "bias": (beta - mean * factor).float(),
    }
    with torch.no_grad():
        for name, tensor in found.items():
            parameter = layer.get_parameter(name)
            if parameter.shape != tensor.shape:
                raise InvalidFileError(
                    f"{where} ({kind}): {name} has the shape {list(tensor.shape)}, expected {list(parameter.shape)}"
                )
            parameter.copy_(tensor)
    return layer
