"""What an architecture file says of a layer, and what a kind of layer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from qdeploy.runtime.errors import InvalidFileError

from ..json_object import JsonObject
from ..products import PADDING_MODES, Window, same_padding
from ..stored import Stored

__all__ = [
    "BIAS",
    "CONVOLUTION",
    "DILATION",
    "EPS",
    "GROUPS",
    "KERNEL_SIZE",
    "OUTPUT_PADDING",
    "PADDING",
    "PADDING_MODE",
    "STRIDE",
    "Axes",
    "Key",
    "Kind",
    "Spec",
    "choice",
    "flag",
    "number",
    "quaternions",
    "size",
    "sizes",
]

MAX_CHANNELS = 1 << 20
MAX_SIZE = 1 << 12
MAX_RANK = 3

Axes = Literal["first", "last", "any"]
"""Where a layer has the channels: ``first`` [B, C, *S], ``last`` [B, *S, C]; ``any`` is number by number."""


@dataclass(frozen=True)
class Key:
    """A key of a layer's object.

    Attributes:
        read: gives the value, or raises with the key.
        required: whether there is no default.
        default: the value where the key is missing.
    """

    read: Callable[[JsonObject, str], Any]
    required: bool = False
    default: Any = None


@dataclass(frozen=True)
class Spec:
    """A layer of an architecture file.

    Attributes:
        kind: its name among the library's kinds.
        name: what its tensors' names begin with, without the dot; empty where it has none.
        values: of its keys.
        activation: number by number behind it, or ``None``.
        where: the place in the file, for messages.
        layers, shortcut: of a ``Residual``.
    """

    kind: str
    name: str
    values: Mapping[str, Any]
    activation: str | None
    where: str
    layers: tuple[Spec, ...] = ()
    shortcut: tuple[Spec, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def per_axis(self, key: str, rank: int) -> tuple[int, ...]:
        """One number for each of ``rank`` axes.

        Raises:
            InvalidFileError: the file lists another number of them.
        """
        found = self.values[key]
        if isinstance(found, int):
            return (found,) * rank
        if len(found) != rank:
            raise InvalidFileError(f"{self.where}: {key}={list(found)}, expected one number or {rank} of them")
        return tuple(found)

    def window(self, rank: int) -> Window:
        """Of a convolution, of its keys that are there."""
        axes = {key: self.per_axis(key, rank) for key in ("stride", "dilation", "output_padding") if key in self.values}
        padding: Any = self.values.get("padding", 0)
        if padding == "same":
            if any(step != 1 for step in axes.get("stride", ())):
                raise InvalidFileError(
                    f"{self.where}: padding='same' with stride={self['stride']}, expected a stride of 1"
                )
            padding = same_padding(self.per_axis("kernel_size", rank), axes["dilation"])
        else:
            padding = self.per_axis("padding", rank) if "padding" in self.values else 0
        return Window(
            padding=padding,
            groups=self.values.get("groups", 1),
            padding_mode=self.values.get("padding_mode", "zeros"),
            **axes,
        )


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Attributes:
        keys: besides ``kind``, ``name`` and ``activation``.
        build: gives the layer, from the file's words, the shape [C, *S] of a sample and the tensors.
        named: whether it has tensors, and so a name; ``None`` where the name may be empty.
        axes: where ``build``'s layer has its channels.
        ranks: the numbers of spatial axes that it works with.
        ends: keys of the channels that it takes and gives.
    """

    build: Callable[[Spec, tuple[int, ...], Stored], nn.Module]
    keys: Mapping[str, Key] = field(default_factory=dict)
    named: bool | None = True
    axes: Axes = "first"
    ranks: tuple[int, ...] = (1, 2, 3)
    ends: tuple[str, str] | None = None


def size(*, multiple: int = 1, high: int = MAX_CHANNELS) -> Key:
    """A required positive integer."""

    def read(values: JsonObject, key: str) -> int:
        found = values.values.get(key)
        if type(found) is not int or not 1 <= found <= high or found % multiple:
            raise values.wrong(
                key, f"a positive multiple of {multiple}" if multiple > 1 else f"an integer in [1, {high}]"
            )
        return found

    return Key(read, required=True)


def quaternions() -> Key:
    """A required number of channels, four to a quaternion."""
    return size(multiple=4)


def sizes(default: int | None, *, least: int = 1, words: tuple[str, ...] = ()) -> Key:
    """A number for all axes or a list of one for each, or one of ``words``; required where ``default`` is ``None``."""

    def read(values: JsonObject, key: str) -> Any:
        found = values.values.get(key)
        if isinstance(found, str) and found in words:
            return found
        numbers = found if isinstance(found, list) else [found]
        fits = 1 <= len(numbers) <= MAX_RANK and all(type(one) is int and least <= one <= MAX_SIZE for one in numbers)
        if not fits:
            raise values.wrong(
                key,
                f"an integer in [{least}, {MAX_SIZE}] or a list of one for each axis"
                + (f", or {' or '.join(repr(word) for word in words)}" if words else ""),
            )
        return found if isinstance(found, int) else tuple(numbers)

    return Key(read, required=default is None, default=default)


def flag(*, default: bool) -> Key:
    """true or false."""

    def read(values: JsonObject, key: str) -> bool:
        found = values.values.get(key)
        if not isinstance(found, bool):
            raise values.wrong(key, "true or false")
        return found

    return Key(read, default=default)


def number(default: float | None, *, low: float, high: float) -> Key:
    """A number from ``low`` to ``high``."""

    def read(values: JsonObject, key: str) -> float:
        found = values.values.get(key)
        if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
            raise values.wrong(key, f"a number in [{low:g}, {high:g}]")
        return float(found)

    return Key(read, default=default)


def choice(default: str, allowed: tuple[str, ...]) -> Key:
    """One of ``allowed``."""
    return Key(lambda values, key: values.choice(key, allowed), default=default)


BIAS = flag(default=True)
EPS = number(1e-5, low=0, high=1)
KERNEL_SIZE = sizes(None)
STRIDE = sizes(1)
DILATION = sizes(1)
PADDING = sizes(0, least=0)
OUTPUT_PADDING = sizes(0, least=0)
GROUPS = Key(size().read, default=1)
PADDING_MODE = choice("zeros", PADDING_MODES)
CONVOLUTION = {
    "kernel_size": KERNEL_SIZE,
    "stride": STRIDE,
    "padding": PADDING,
    "dilation": DILATION,
    "groups": GROUPS,
    "bias": BIAS,
}
"""The keys of most convolutions, besides the channels."""
