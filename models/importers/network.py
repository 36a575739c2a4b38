"""A feed-forward network of an architecture file, made of layers of this package and filled from a state dict."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

from .architecture import RESIDUAL, Architecture, read_architecture
from .channels_last import channels_first, channels_last
from .kinds import QUATERNION_LIBRARIES, Kind, Spec
from .kinds.real import ACTIVATIONS
from .stored import Stored
from .tensors import read_state

__all__ = ["ImportedNetwork", "Residual", "ToChannelsFirst", "ToChannelsLast", "build_network", "import_network"]

# Numbers of one sample between two layers; a network for small machines has a thousandth of it.
_MAX_ELEMENTS = 1 << 26
# Of a sequence of any length, that which sizes are computed with.
_STEPS = 64


class ToChannelsFirst(nn.Module):
    """[B, *S, C] to [B, C, *S]."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, *S, C]."""
        return channels_first(inputs)


class ToChannelsLast(nn.Module):
    """[B, C, *S] to [B, *S, C]."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, C, *S]."""
        return channels_last(inputs)


class Residual(nn.Module):
    """``layers(x) + shortcut(x)``."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        """Takes both branches, whose results have one shape."""
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs``, as the branches take them."""
        total: Tensor = self.layers(inputs) + self.shortcut(inputs)
        return total


class ImportedNetwork(nn.Module):
    """The layers one after the other; samples have the shape and the order of axes that the library gives them."""

    def __init__(self, layers: nn.Sequential, architecture: Architecture) -> None:
        """Takes the layers and what they were made from."""
        super().__init__()
        self.layers = layers
        self.architecture = architecture

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, ...] of the architecture's ``input``."""
        outputs: Tensor = self.layers(inputs)
        return outputs


def import_network(path: str | Path, architecture: str | Path) -> ImportedNetwork:
    """Reads a state dict by the architecture file that describes its network; neither file is executed.

    Args:
        path: ``.pt``, ``.pth``, ``.safetensors``, or ``.h5`` of Keras.
        architecture: a JSON file, see ``Architecture``.

    Raises:
        InvalidFileError: a file that is missing, corrupted or not what it should be, or two that do not fit; the message names
            the layer and the tensor.
        UnsupportedModelError: a layer that has no form here.
    """
    described = read_architecture(architecture)
    return build_network(read_state(path), described, str(path))


def build_network(
    state: Mapping[str, Tensor], architecture: Architecture, source: str = "state dict"
) -> ImportedNetwork:
    """The network in evaluation mode; every tensor of ``state`` has its place in it, or is named as ignored.

    Raises:
        InvalidFileError, UnsupportedModelError: see ``import_network``.
    """
    left = dict(state)
    for name in architecture.ignored:
        if name not in left:
            raise InvalidFileError(f"{architecture.source}: ignored names {name}, which is not in {source}")
        del left[name]
    builder = _Builder(left, architecture)
    layers, shape, last = builder.sequence(architecture.layers, *_first_shape(architecture))
    if not last and len(shape) > 1 and architecture.channels_last:
        layers.add_module("to_channels_last", ToChannelsLast())
    if left:
        raise InvalidFileError(
            f"{source}: tensors {', '.join(sorted(left)[:24])} have no place in the network that {architecture.source} "
            "describes; name those that do not matter under 'ignored'"
        )
    return ImportedNetwork(layers, architecture).eval()


def _first_shape(architecture: Architecture) -> tuple[tuple[int, ...], bool]:
    """[C, *S] of a sample, and whether its axes are in the order [*S, C]."""
    sizes = tuple(_STEPS if one is None else one for one in architecture.input)
    return ((sizes[-1], *sizes[:-1]), True) if architecture.channels_last else (sizes, False)


class _Builder:
    """Makes the layers, and follows the shape of a sample and the place of its channels through them."""

    def __init__(self, state: dict[str, Tensor], architecture: Architecture) -> None:
        self._state = state
        self._kinds = QUATERNION_LIBRARIES[architecture.library].kinds
        self._channels_last = architecture.channels_last
        self._any_length = None in architecture.input

    def sequence(
        self, specs: tuple[Spec, ...], shape: tuple[int, ...], last: bool
    ) -> tuple[nn.Sequential, tuple[int, ...], bool]:
        """The layers from ``shape`` [C, *S] on, the shape behind them, and whether the channels are the last axis then."""
        made = nn.Sequential()
        for index, spec in enumerate(specs):
            label = spec.name.replace(".", "_") or f"{spec.kind.lower()}{index}"
            # Sequential has attributes of its own, and two names may differ in a dot only.
            label = f"layer{index}_{label}" if hasattr(made, label) else label
            if spec.kind == RESIDUAL:
                wanted = last and len(shape) == 1
                layer, after = self._residual(spec, shape, wanted)
            else:
                kind = self._kinds[spec.kind]
                wanted = last if kind.axes == "any" or not self._channels_last else kind.axes == "last"
                _check_before(spec, kind, shape)
                if self._any_length and spec.kind == "Flatten" and len(shape) > 1:
                    raise InvalidFileError(f"{spec.where}: of a sequence of any length, expected an input without null")
                layer = kind.build(spec, shape, Stored(self._state, f"{spec.name}." if spec.name else "", spec.where))
                after = _behind(layer, spec, shape, wanted)
                _check_after(spec, kind, after)
            if wanted != last and len(shape) > 1:
                made.add_module(f"{label}_axes", ToChannelsLast() if wanted else ToChannelsFirst())
            made.add_module(label, layer)
            if spec.activation is not None:
                made.add_module(f"{label}_{spec.activation}", ACTIVATIONS[spec.activation]())
            shape, last = after, wanted
        return made, shape, last

    def _residual(self, spec: Spec, shape: tuple[int, ...], last: bool) -> tuple[nn.Module, tuple[int, ...]]:
        """Both branches, which take and give the channels at the same place, and the shape behind them."""
        branches = []
        for specs in (spec.layers, spec.shortcut):
            layers, after, order = self.sequence(specs, shape, last)
            branches.append((layers, after))
            if order != last and len(after) > 1:
                layers.add_module("axes", ToChannelsLast() if last else ToChannelsFirst())
        (layers, after), (shortcut, other) = branches
        if after != other:
            raise InvalidFileError(
                f"{spec.where}: its layers give {list(after)} and its shortcut {list(other)} (channels first), expected one shape"
            )
        return Residual(layers, shortcut), after


def _check_before(spec: Spec, kind: Kind, shape: tuple[int, ...]) -> None:
    rank = len(shape) - 1
    if rank not in kind.ranks:
        expected = " or ".join(str(one) for one in kind.ranks)
        raise InvalidFileError(
            f"{spec.where}: a sample has the shape {list(shape)} (channels first) here, with {rank} spatial axes; expected "
            f"{expected}"
        )
    if kind.ends is not None and spec[kind.ends[0]] != shape[0]:
        raise InvalidFileError(
            f"{spec.where}: {kind.ends[0]}={spec[kind.ends[0]]}, but what comes to it has {shape[0]} channels"
        )


def _check_after(spec: Spec, kind: Kind, shape: tuple[int, ...]) -> None:
    if kind.ends is not None and spec[kind.ends[1]] != shape[0]:
        raise InvalidFileError(
            f"{spec.where}: {kind.ends[1]}={spec[kind.ends[1]]}, but its tensors give {shape[0]} channels"
        )


def _behind(layer: nn.Module, spec: Spec, shape: tuple[int, ...], last: bool) -> tuple[int, ...]:
    """The shape [C, *S] behind ``layer``, computed without numbers."""
    sample = (*shape[1:], shape[0]) if last else shape
    try:
        with torch.no_grad():
            result = copy.deepcopy(layer).to("meta").eval()(torch.empty((1, *sample), device="meta"))
    except (RuntimeError, ValueError, IndexError, InvalidInputError) as error:
        raise InvalidFileError(
            f"{spec.where}: cannot be applied to a sample of the shape {list(sample)}: {str(error).splitlines()[0]}"
        ) from error
    found = tuple(int(one) for one in result.shape[1:])
    if not found or 0 in found or math.prod(found) > _MAX_ELEMENTS:
        raise InvalidFileError(
            f"{spec.where}: gives the shape {list(found)}, expected sizes above 0 and {_MAX_ELEMENTS} numbers at most"
        )
    return (found[-1], *found[:-1]) if last else found
