"""Products of other libraries as layers of this package; real layers where a library's groups cut quaternions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.models.quaternion_conv import (
    QuaternionConv1d,
    QuaternionConv2d,
    QuaternionConv3d,
    QuaternionConvTranspose1d,
    QuaternionConvTranspose2d,
    QuaternionConvTranspose3d,
)
from qdeploy.models.quaternion_linear import QuaternionLinear, hamilton_matrix
from qdeploy.models.quaternion_rotation import (
    QuaternionRotationConv1d,
    QuaternionRotationConv2d,
    QuaternionRotationLinear,
    rotation_matrix,
)
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

from .stored import conjugated

__all__ = [
    "PADDING_MODES",
    "Window",
    "convolution",
    "linear",
    "real_convolution",
    "rotation_convolution",
    "rotation_linear",
    "same_padding",
    "transposed_convolution",
]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

_CONVOLUTIONS: dict[int, Any] = {1: QuaternionConv1d, 2: QuaternionConv2d, 3: QuaternionConv3d}
_TRANSPOSED: dict[int, Any] = {1: QuaternionConvTranspose1d, 2: QuaternionConvTranspose2d, 3: QuaternionConvTranspose3d}
_ROTATIONS: dict[int, Any] = {1: QuaternionRotationConv1d, 2: QuaternionRotationConv2d}
_REAL: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_REAL_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_PADS: dict[str, Any] = {
    "reflect": {1: nn.ReflectionPad1d, 2: nn.ReflectionPad2d, 3: nn.ReflectionPad3d},
    "replicate": {1: nn.ReplicationPad1d, 2: nn.ReplicationPad2d, 3: nn.ReplicationPad3d},
    "circular": {1: nn.CircularPad1d, 2: nn.CircularPad2d, 3: nn.CircularPad3d},
    "zeros": {1: nn.ZeroPad1d, 2: nn.ZeroPad2d, 3: nn.ZeroPad3d},
}

Sizes = int | Sequence[int]


@dataclass(frozen=True)
class Window:
    """How a convolution goes over its input.

    Attributes:
        stride, dilation, output_padding: one number for all spatial axes, or one for each.
        padding: the same, or ``(before, after)`` for each axis.
        groups: as the library's program hands them to torch.
        padding_mode: of ``PADDING_MODES``.
    """

    stride: Sizes = 1
    padding: Sizes | Sequence[tuple[int, int]] = 0
    dilation: Sizes = 1
    groups: int = 1
    output_padding: Sizes = 0
    padding_mode: str = "zeros"


def linear(parts: Sequence[Tensor], bias: Tensor | None, where: str) -> QuaternionLinear:
    """``w (x) x + b`` of components [out/4, in/4] and a bias [out].

    Raises:
        InvalidFileError: components or a bias of other shapes.
    """
    if parts[0].dim() != 2:
        raise InvalidFileError(
            f"{where}: the components have the shape {list(parts[0].shape)}, expected two dimensions"
        )
    layer = QuaternionLinear(4 * parts[0].shape[1], 4 * parts[0].shape[0], bias=bias is not None)
    _fill(layer, parts, bias, where)
    return layer.eval()


def convolution(parts: Sequence[Tensor], bias: Tensor | None, window: Window, where: str) -> nn.Module:
    """The convolution by ``w (x) x`` of components [n, m, *kernel]: n output quaternions, m input quaternions of a group.

    Libraries hand the expanded kernel [4 n, 4 m, *kernel] to torch's convolution, whose groups take consecutive channels: with
    several groups, a group of the output is a run of rows of L(w), no set of quaternions. Such a layer becomes the real
    grouped convolution that it is, with 4 m groups input channels and four times the weights.

    Raises:
        InvalidFileError: components, a bias or groups that do not fit.
    """
    rank = _rank(parts[0], where)
    if window.groups != 1:
        r, i, j, k = parts
        return real_convolution(hamilton_matrix(r, i, j, k), bias, window, where)
    before, padding = _padding(window, rank, where)
    layer = _made(
        where,
        _CONVOLUTIONS[rank],
        4 * parts[0].shape[1],
        4 * parts[0].shape[0],
        tuple(parts[0].shape[2:]),
        _sizes(window.stride, rank),
        padding,
        _sizes(window.dilation, rank),
        bias=bias is not None,
    )
    _fill(layer, parts, bias, where)
    return _behind(before, layer)


def real_convolution(kernel: Tensor, bias: Tensor | None, window: Window, where: str) -> nn.Module:
    """torch's own convolution by ``kernel`` [out, in/groups, *kernel].

    Raises:
        InvalidFileError: a bias or groups that do not fit.
    """
    rank = _rank(kernel, where)
    out, group = kernel.shape[:2]
    if window.groups < 1 or out % window.groups:
        raise InvalidFileError(f"{where}: groups={window.groups}, expected a divisor of the {out} output channels")
    before, padding = _padding(window, rank, where)
    layer = _REAL[rank](
        group * window.groups,
        out,
        tuple(kernel.shape[2:]),
        _sizes(window.stride, rank),
        padding,
        _sizes(window.dilation, rank),
        window.groups,
        bias=bias is not None,
    )
    _fill_real(layer, kernel, bias, where)
    return _behind(before, layer)


def rotation_linear(
    parts: Sequence[Tensor], scale: Tensor | None, bias: Tensor | None, where: str, normalization: str
) -> QuaternionRotationLinear:
    """``sum of scale w x w^-1`` of components [out/4, in/4], as ``QuaternionRotationLinear`` normalizes them.

    Raises:
        InvalidFileError: components, a scale or a bias of other shapes.
    """
    if parts[0].dim() != 2:
        raise InvalidFileError(
            f"{where}: the components have the shape {list(parts[0].shape)}, expected two dimensions"
        )
    layer = QuaternionRotationLinear(
        4 * parts[0].shape[1],
        4 * parts[0].shape[0],
        bias=bias is not None,
        scale=scale is not None,
        normalization=normalization,
    )
    _fill_scale(layer, parts, scale, where)
    _fill(layer, parts, bias, where)
    return layer.eval()


def rotation_convolution(
    parts: Sequence[Tensor], scale: Tensor | None, bias: Tensor | None, window: Window, where: str
) -> nn.Module:
    """The convolution by rotations of components [out/4, in/4, *kernel]; of volumes or with groups the real one that it is.

    Raises:
        InvalidFileError: components, a scale, a bias or groups that do not fit.
    """
    rank = _rank(parts[0], where)
    if window.groups != 1 or rank not in _ROTATIONS:
        r, i, j, k = parts
        return real_convolution(rotation_matrix(r, i, j, k, scale, "orkis"), bias, window, where)
    before, padding = _padding(window, rank, where)
    layer = _ROTATIONS[rank](
        4 * parts[0].shape[1],
        4 * parts[0].shape[0],
        tuple(parts[0].shape[2:]),
        _sizes(window.stride, rank),
        padding,
        _sizes(window.dilation, rank),
        bias=bias is not None,
        scale=scale is not None,
    )
    _fill_scale(layer, parts, scale, where)
    _fill(layer, parts, bias, where)
    return _behind(before, layer)


def transposed_convolution(
    parts: Sequence[Tensor], bias: Tensor | None, window: Window, where: str, *, conjugate: bool
) -> nn.Module:
    """The transposed convolution of components [n, m, *kernel], n input quaternions and m output quaternions of a group.

    Args:
        parts: r, i, j, k.
        bias: [out] or ``None``.
        window: its padding is one number an axis, its padding mode ``zeros``.
        where: the layer, for messages.
        conjugate: the library multiplies by conj(w): what comes of handing L(w), inputs first, to torch's transposed
            convolution.

    Raises:
        InvalidFileError: components, a bias or sizes that do not fit.
    """
    rank = _rank(parts[0], where)
    product = conjugated(list(parts)) if conjugate else list(parts)
    inputs, outputs = 4 * parts[0].shape[0], 4 * parts[0].shape[1]
    before, padding = _padding(window, rank, where)
    if before is not None:
        raise InvalidFileError(
            f"{where}: padding_mode={window.padding_mode!r} of a transposed convolution, expected zeros"
        )
    sizes: dict[str, Any] = {
        "stride": _sizes(window.stride, rank),
        "padding": padding,
        "output_padding": _sizes(window.output_padding, rank),
        "dilation": _sizes(window.dilation, rank),
        "bias": bias is not None,
    }
    kernel_size = tuple(parts[0].shape[2:])
    if window.groups == 1:
        layer: nn.Module = _made(where, _TRANSPOSED[rank], inputs, outputs, kernel_size, **sizes)
        _fill(layer, product, bias, where)
        return layer
    if window.groups < 1 or inputs % window.groups:
        raise InvalidFileError(f"{where}: groups={window.groups}, expected a divisor of the {inputs} input channels")
    # Inputs first, as torch has it: L(w) with its first two dimensions exchanged.
    r, i, j, k = (part.transpose(0, 1) for part in product)
    kernel = hamilton_matrix(r, i, j, k).transpose(0, 1)
    real: nn.Module = _REAL_TRANSPOSED[rank](
        inputs, outputs * window.groups, kernel_size, groups=window.groups, **sizes
    )
    _fill_real(real, kernel, bias, where)
    return real.eval()


def same_padding(kernel_size: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """What keeps the size at stride 1, the odd one behind, as torch's ``padding="same"`` has it."""
    totals = [reach * (size - 1) for size, reach in zip(kernel_size, dilation, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def _rank(kernel: Tensor, where: str) -> int:
    rank = kernel.dim() - 2
    if rank not in _CONVOLUTIONS:
        raise InvalidFileError(
            f"{where}: a kernel of the shape {list(kernel.shape)}, expected one, two or three spatial dimensions"
        )
    return rank


def _sizes(sizes: Sizes, rank: int) -> tuple[int, ...]:
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def _padding(window: Window, rank: int, where: str) -> tuple[nn.Module | None, tuple[int, ...]]:
    """What pads before the layer, or ``None``, and the padding of the layer itself."""
    given = (window.padding,) * rank if isinstance(window.padding, int) else window.padding
    pairs = [(one, one) if isinstance(one, int) else (one[0], one[1]) for one in given]
    if len(pairs) != rank or any(low < 0 or high < 0 for low, high in pairs):
        raise InvalidFileError(f"{where}: padding={window.padding!r}, expected {rank} numbers or pairs, none negative")
    if window.padding_mode not in PADDING_MODES:
        raise InvalidFileError(
            f"{where}: padding_mode={window.padding_mode!r}, expected one of {', '.join(PADDING_MODES)}"
        )
    even = all(low == high for low, high in pairs)
    if window.padding_mode == "zeros" and even:
        return None, tuple(low for low, _ in pairs)
    if not any(low or high for low, high in pairs):
        return None, (0,) * rank
    # torch lists the last axis first.
    flat = tuple(size for pair in reversed(pairs) for size in pair)
    return _PADS[window.padding_mode][rank](flat), (0,) * rank


def _behind(before: nn.Module | None, layer: nn.Module) -> nn.Module:
    return (layer if before is None else nn.Sequential(before, layer)).eval()


def _made(where: str, make: Any, *sizes: Any, **options: Any) -> Any:
    try:
        return make(*sizes, **options)
    except InvalidInputError as error:
        raise InvalidFileError(f"{where}: {error}") from error


def _fill(layer: Any, parts: Sequence[Tensor], bias: Tensor | None, where: str) -> None:
    with torch.no_grad():
        for parameter, part in zip(layer.components(), parts, strict=True):
            parameter.copy_(part)
    _fill_bias(layer, bias, where)


def _fill_scale(layer: Any, parts: Sequence[Tensor], scale: Tensor | None, where: str) -> None:
    if scale is None:
        return
    if scale.shape != parts[0].shape:
        raise InvalidFileError(f"{where}: the scale is {list(scale.shape)}, expected {list(parts[0].shape)}")
    with torch.no_grad():
        layer.scale.copy_(scale)


def _fill_real(layer: Any, kernel: Tensor, bias: Tensor | None, where: str) -> None:
    with torch.no_grad():
        layer.weight.copy_(kernel)
    _fill_bias(layer, bias, where)


def _fill_bias(layer: Any, bias: Tensor | None, where: str) -> None:
    if bias is None:
        return
    if bias.shape != layer.bias.shape:
        raise InvalidFileError(f"{where}: the bias has the shape {list(bias.shape)}, expected {list(layer.bias.shape)}")
    with torch.no_grad():
        layer.bias.copy_(bias)
