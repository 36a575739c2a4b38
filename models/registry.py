"""The architectures that ``qdeploy.models`` builds by name, and the strict check of their hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError

from .conv_net import DEPTHS, ConvNet
from .fast_rnn import NONLINEARITIES
from .image_layers import BATCH_NORMS, KINDS
from .lenet import HypercomplexLenet300100, Lenet300100, QuaternionLenet300100
from .mobilenet import MobileNet
from .orthogonal_classifier import OUTPUT_ACTIVATIONS, PARAMETRIZATIONS, STEPS, OrthogonalClassifier
from .quantizer import MAX_WEIGHT_BITS
from .recurrence import ACTIVATIONS
from .recurrent_classifier import CELLS, READOUTS, RecurrentClassifier
from .resnet import ResNet

__all__ = ["ARCHITECTURES", "build", "check_hyperparameters"]

# Larger than any network this project is made for; a file that asks for more asks for a gigabyte and more of weights.
MAX_SIZE = 16_384


@dataclass(frozen=True)
class _Size:
    """An integer in [low, high]; ``None`` too where ``optional``; a multiple of ``multiple``."""

    low: int = 1
    high: int = MAX_SIZE
    multiple: int = 1
    optional: bool = False
    required: bool = True

    def check(self, value: Any) -> bool:
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and value % self.multiple == 0

    def __str__(self) -> str:
        multiple = f", a multiple of {self.multiple}" if self.multiple > 1 else ""
        return f"an integer in [{self.low}, {self.high}]{multiple}" + (" or null" if self.optional else "")


@dataclass(frozen=True)
class _Choice:
    """One of ``values``."""

    values: tuple[str | None, ...]
    required: bool = False

    def check(self, value: Any) -> bool:
        return (value is None or isinstance(value, str)) and value in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join("null" if value is None else value for value in self.values)


@dataclass(frozen=True)
class _Number:
    """One of a few integers."""

    values: tuple[int, ...]
    required: bool = False

    def check(self, value: Any) -> bool:
        return type(value) is int and value in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(map(str, self.values))


_Rule = _Size | _Choice | _Number

COMPONENTS = (2, 4)
"""Of hypercomplex layers of 300 and 100 units."""

_LENET: dict[str, _Rule] = {"in_features": _Size(required=False), "num_classes": _Size(required=False)}
_IMAGES: dict[str, _Rule] = {
    "in_channels": _Size(high=64, required=False),
    "num_classes": _Size(required=False),
    "kind": _Choice(KINDS),
    "width": _Size(low=4, high=256, multiple=4, required=False),
}
_NORMALIZED: dict[str, _Rule] = {**_IMAGES, "batch_norm": _Choice(BATCH_NORMS)}
_RULES: dict[str, dict[str, _Rule]] = {
    "conv-net": {**_IMAGES, "depth": _Number(DEPTHS), "image_size": _Size(high=256, required=False)},
    "resnet": {**_NORMALIZED, "blocks": _Size(high=8, required=False)},
    "mobilenet": _NORMALIZED,
    "lenet-300-100": _LENET,
    "quaternion-lenet-300-100": {**_LENET, "in_features": _Size(low=4, multiple=4, required=False)},
    "hypercomplex-lenet-300-100": {
        **_LENET,
        "in_features": _Size(low=4, multiple=4, required=False),
        "components": _Number(COMPONENTS),
    },
    "orthogonal-classifier": {
        "input_size": _Size(),
        "hidden_size": _Size(),
        "num_classes": _Size(),
        "activation": _Choice(ACTIVATIONS),
        "weight_bits": _Size(high=MAX_WEIGHT_BITS, optional=True, required=False),
        "steps": _Choice(STEPS),
        "output_activation": _Choice((None, *OUTPUT_ACTIVATIONS)),
        "orthogonal": _Choice(PARAMETRIZATIONS),
        "output_weight_bits": _Size(high=MAX_WEIGHT_BITS, optional=True, required=False),
        "block_size": _Size(optional=True, required=False),
    },
    "recurrent-classifier": {
        "input_size": _Size(),
        "hidden_size": _Size(),
        "num_classes": _Size(),
        "cell": _Choice(tuple(CELLS), required=True),
        "layers": _Size(high=16, required=False),
        "readout": _Choice(READOUTS),
        "activation": _Choice((None, *NONLINEARITIES)),
        "gate_activation": _Choice((None, *NONLINEARITIES)),
        "input_rank": _Size(optional=True, required=False),
        "recurrent_rank": _Size(optional=True, required=False),
        "embedding_size": _Size(optional=True, required=False),
    },
}

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "conv-net": ConvNet,
    "hypercomplex-lenet-300-100": HypercomplexLenet300100,
    "lenet-300-100": Lenet300100,
    "mobilenet": MobileNet,
    "resnet": ResNet,
    "quaternion-lenet-300-100": QuaternionLenet300100,
    "orthogonal-classifier": OrthogonalClassifier,
    "recurrent-classifier": RecurrentClassifier,
}


def check_hyperparameters(architecture: str, hyperparameters: Mapping[str, Any]) -> None:
    """Refuses what ``build`` would refuse, without building (and so before any memory is taken).

    Raises:
        UnsupportedModelError: no architecture of this name.
        InvalidInputError: unknown, missing, ill-typed or out-of-bounds hyper-parameters.
    """
    if architecture not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {architecture!r} is not known; known are {', '.join(sorted(ARCHITECTURES))}"
        )
    rules = _RULES[architecture]
    unknown = sorted(str(key) for key in set(hyperparameters) - set(rules))
    if unknown:
        raise InvalidInputError(
            f"{architecture}: unknown hyper-parameters {', '.join(unknown)}; known are {', '.join(rules)}"
        )
    for name, rule in rules.items():
        if name not in hyperparameters:
            if rule.required:
                raise InvalidInputError(f"{architecture}: hyper-parameter {name} is missing, expected {rule}")
            continue
        if not rule.check(hyperparameters[name]):
            raise InvalidInputError(f"{architecture}: {name}={hyperparameters[name]!r}, expected {rule}")


def build(architecture: str, hyperparameters: Mapping[str, Any]) -> nn.Module:
    """A freshly initialized module, in training mode; its weights come from torch's global generator.

    Raises:
        UnsupportedModelError: no architecture of this name.
        InvalidInputError: unknown, missing, ill-typed or out-of-bounds hyper-parameters.
    """
    check_hyperparameters(architecture, hyperparameters)
    return ARCHITECTURES[architecture](**hyperparameters)
