"""Recurrent kinds of layers: SpeechBrain's, and the published networks of Parcollet's library with their output layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidFileError

from ..orkis import orkis_classifier
from ..speechbrain import NONLINEARITIES, SpeechBrainRecurrent, speechbrain_layers
from ..stored import Stored
from .kind import Key, Kind, Spec, choice, number, size

__all__ = ["ORKIS", "SPEECHBRAIN", "States"]

_READOUTS = ("every", "last")
_SIZES = {"input_size": size(), "hidden_size": size()}


class States(nn.Module):
    """The states [B, T, H] of SpeechBrain's layers over [B, T, I], or the last one [B, H]."""

    def __init__(self, layers: SpeechBrainRecurrent, readout: str) -> None:
        """Takes the layers, and ``every`` or ``last``."""
        super().__init__()
        self.layers = layers
        self.readout = readout

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, T, I]."""
        states, _ = self.layers(inputs)
        result: Tensor = states if self.readout == "every" else states[:, -1]
        return result


def _taken(stored: Stored, beginning: str) -> dict[str, Tensor]:
    """The tensors whose names begin so behind the prefix, taken out of the state dict."""
    names = [name for name in stored.state if name.startswith(f"{stored.prefix}{beginning}")]
    return {name: stored.state.pop(name) for name in names}


def _speechbrain(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    layers = speechbrain_layers(
        _taken(stored, "rnn."),
        nonlinearity=spec["nonlinearity"] or None,
        normalization=spec["normalization"],
        eps=spec["eps"],
        prefix=stored.prefix,
    )
    found = [type(layer).__name__.removeprefix("Quaternion") for layer in layers.layers]
    wanted = spec.kind if spec.kind == "LiGRU" else spec.kind.removeprefix("Q")
    if len(found) != spec["num_layers"] or any(one != wanted for one in found):
        raise InvalidFileError(
            f"{spec.where}: its tensors are those of {', '.join(found)} (without the Q), expected "
            f"num_layers={spec['num_layers']} of {wanted}"
        )
    return States(layers, spec["readout"])


def _orkis(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    names = (
        ("wfx", "ufh", "wix", "uih", "wox", "uoh", "wcx", "uch", "fco") if spec.kind == "QLSTM" else ("wx", "uh", "fco")
    )
    state = {name: tensor for one in names for name, tensor in _taken(stored, f"{one}.").items()}
    classifier = orkis_classifier(
        state,
        activation=spec.values.get("nonlinearity", "tanh"),
        readout=spec["readout"],
        prefix=stored.prefix,
    )
    if classifier.hidden_size != spec["hidden_size"]:
        raise InvalidFileError(
            f"{spec.where}: hidden_size={spec['hidden_size']}, but its tensors have {classifier.hidden_size} units"
        )
    return classifier


_SPEECHBRAIN: Mapping[str, Key] = _SIZES | {
    "num_layers": Key(size(high=256).read, default=1),
    "nonlinearity": choice("", tuple(NONLINEARITIES)),
    "normalization": choice("batchnorm", ("batchnorm", "none")),
    "eps": number(None, low=0, high=1),
    "readout": choice("every", _READOUTS),
}
_ORKIS = _SIZES | {"num_classes": size(), "readout": choice("every", (*_READOUTS, "mean"))}

SPEECHBRAIN: Mapping[str, Kind] = {
    kind: Kind(_speechbrain, _SPEECHBRAIN, axes="last", ranks=(1,), ends=("input_size", "hidden_size"))
    for kind in ("QRNN", "QLSTM", "QLiGRU", "LiGRU")
}
ORKIS: Mapping[str, Kind] = {
    "QRNN": Kind(
        _orkis,
        _ORKIS | {"nonlinearity": choice("tanh", ("tanh", "relu"))},
        named=None,
        axes="last",
        ranks=(1,),
        ends=("input_size", "num_classes"),
    ),
    "QLSTM": Kind(_orkis, _ORKIS, named=None, axes="last", ranks=(1,), ends=("input_size", "num_classes")),
}
