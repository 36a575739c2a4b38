"""Layers of rotations: every weight is a quaternion w that turns the vector part of an input quaternion, w x w^-1.

The rotation of a unit quaternion q = r + i i + j j + k k is the matrix ::

    R(q) = [[1 - 2 (j j + k k), 2 (i j - r k),     2 (i k + r j)    ],
            [2 (i j + r k),     1 - 2 (i i + k k), 2 (j k - r i)    ],
            [2 (i k - r j),     2 (j k + r i),     1 - 2 (i i + j j)]]

of the parts i, j, k; the real part of the input is not read, that of the output is the bias. Sums of rotations grow with
the number of inputs, so that every rotation may have a trained factor, its ``scale``. Channels are blocked, all real parts,
then all i, j and k parts.

The quaternions are not of unit length: q = w / sqrt(|w|^2 + 0.0001) in Parcollet's quaternion networks and in
SpeechBrain's convolutions, q = w / (|w| + 0.0001) in SpeechBrain's linear layer (``normalization``); tiny ones turn less
and shrink. SpeechBrain's linear layer multiplies by R transposed, which is the rotation of the conjugate.

Source: Parcollet, "Quaternion neural networks", thesis, Avignon 2019, and the two libraries' documentation.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .kernel_sizes import Sizes, kernel_sizes

__all__ = [
    "NORMALIZATIONS",
    "QuaternionRotationConv1d",
    "QuaternionRotationConv2d",
    "QuaternionRotationLinear",
    "rotation_matrix",
]

NORMALIZATIONS = ("orkis", "speechbrain")
EPSILON = 0.0001


def rotation_matrix(r: Tensor, i: Tensor, j: Tensor, k: Tensor, scale: Tensor | None, normalization: str) -> Tensor:
    """The real weight [4 m, 4 n, *kernel] of components [m, n, *kernel]: zeros in the real row and column, else scale R(q).

    Raises:
        InvalidInputError: an unknown normalization.
    """
    square = r * r + i * i + j * j + k * k
    if normalization == "orkis":
        norm = torch.sqrt(square + EPSILON)
    elif normalization == "speechbrain":
        norm = torch.sqrt(square) + EPSILON
    else:
        raise InvalidInputError(f"normalization={normalization!r}: expected one of {', '.join(NORMALIZATIONS)}")
    r, i, j, k = (part / norm for part in (r, i, j, k))
    rows = [
        [1 - 2 * (j * j + k * k), 2 * (i * j - r * k), 2 * (i * k + r * j)],
        [2 * (i * j + r * k), 1 - 2 * (i * i + k * k), 2 * (j * k - r * i)],
        [2 * (i * k - r * j), 2 * (j * k + r * i), 1 - 2 * (i * i + j * j)],
    ]
    if scale is not None:
        rows = [[scale * entry for entry in row] for row in rows]
    zeros = torch.zeros_like(r)
    return torch.cat([torch.cat(row, 1) for row in ([zeros] * 4, *([zeros, *row] for row in rows))])


class _QuaternionRotation(nn.Module):
    """What the layers have in common: checks, parameters, initialization."""

    def __init__(
        self, ends: tuple[tuple[str, int], tuple[str, int]], kernel: tuple[int, ...], bias: bool, scale: bool, form: str
    ) -> None:
        super().__init__()
        for name, value in ends:
            if value < 4 or value % 4:
                raise InvalidInputError(
                    f"{name}={value}: expected a positive multiple of 4, since four channels make a quaternion"
                )
        if form not in NORMALIZATIONS:
            raise InvalidInputError(f"normalization={form!r}: expected one of {', '.join(NORMALIZATIONS)}")
        (_, inputs), (_, outputs) = ends
        self.normalization = form
        shape = (outputs // 4, inputs // 4, *kernel)
        self.r_weight = nn.Parameter(torch.empty(shape))
        self.i_weight = nn.Parameter(torch.empty(shape))
        self.j_weight = nn.Parameter(torch.empty(shape))
        self.k_weight = nn.Parameter(torch.empty(shape))
        self.scale = nn.Parameter(torch.empty(shape)) if scale else None
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Directions uniform over the sphere, lengths chi(4): four normal components; the scale as Glorot's."""
        for component in self.components():
            nn.init.normal_(component)
        if self.scale is not None:
            nn.init.xavier_uniform_(self.scale)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def components(self) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter, nn.Parameter]:
        """``r, i, j, k``, each [out/4, in/4, *kernel]."""
        return self.r_weight, self.i_weight, self.j_weight, self.k_weight

    def matrix(self) -> Tensor:
        """The real weight [out, in, *kernel]."""
        return rotation_matrix(*self.components(), self.scale, self.normalization)


class QuaternionRotationLinear(_QuaternionRotation):
    """``y_m = sum_n scale_mn w_mn x_n w_mn^-1 + b_m`` for ``x`` [..., in] and ``y`` [..., out].

    Parameters: ``r_weight``, ``i_weight``, ``j_weight``, ``k_weight``, each [out/4, in/4]; ``scale`` [out/4, in/4] or
    ``None``; ``bias`` [out] or ``None``.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, scale: bool = True, normalization: str = "orkis"
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: features that are not positive multiples of four, or an unknown normalization.
        """
        super().__init__((("in_features", in_features), ("out_features", out_features)), (), bias, scale, normalization)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [..., in] to [..., out]."""
        return nn.functional.linear(inputs, self.matrix(), self.bias)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, scale={self.scale is not None}, "
            f"normalization={self.normalization!r}"
        )


class _QuaternionRotationConv(_QuaternionRotation):
    """The convolution whose every tap is a rotation."""

    dimensions: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        bias: bool = True,
        scale: bool = True,
        normalization: str = "orkis",
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: channels that are not positive multiples of four, sizes out of range, an unknown
                normalization.
        """
        self.kernel_size = kernel_sizes("kernel_size", kernel_size, self.dimensions, 1)
        ends = (("in_channels", in_channels), ("out_channels", out_channels))
        super().__init__(ends, self.kernel_size, bias, scale, normalization)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = kernel_sizes("stride", stride, self.dimensions, 1)
        self.padding = kernel_sizes("padding", padding, self.dimensions, 0)
        self.dilation = kernel_sizes("dilation", dilation, self.dimensions, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, in, ...] to [B, out, ...]."""
        convolve = nn.functional.conv1d if self.dimensions == 1 else nn.functional.conv2d
        return convolve(inputs, self.matrix(), self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}, "
            f"scale={self.scale is not None}, normalization={self.normalization!r}"
        )


class QuaternionRotationConv1d(_QuaternionRotationConv):
    """The convolution of [B, in, L] by rotations; parameters as of ``QuaternionRotationLinear``, with a kernel [k]."""

    dimensions = 1


class QuaternionRotationConv2d(_QuaternionRotationConv):
    """The convolution of [B, in, H, W] by rotations; parameters as of ``QuaternionRotationLinear``, with a kernel [kh, kw]."""

    dimensions = 2
