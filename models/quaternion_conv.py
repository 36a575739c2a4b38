"""Quaternion convolutions and transposed convolutions of one, two and three spatial dimensions.

Every weight is a quaternion that takes the place of a real 4 x 4 block of the kernel. Channels are blocked, all real
parts, then all i, j, k parts, as in ``QuaternionLinear``.

Sources: Gaudet and Maida, "Deep quaternion networks", arXiv 1712.04604; Zhu et al., "Quaternion convolutional neural
networks", ECCV 2018.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .kernel_sizes import Sizes, kernel_sizes
from .quaternion_linear import hamilton_matrix

__all__ = [
    "QuaternionConv1d",
    "QuaternionConv2d",
    "QuaternionConv3d",
    "QuaternionConvTranspose1d",
    "QuaternionConvTranspose2d",
    "QuaternionConvTranspose3d",
]

_CONVOLUTIONS = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}
_TRANSPOSED = {
    1: nn.functional.conv_transpose1d,
    2: nn.functional.conv_transpose2d,
    3: nn.functional.conv_transpose3d,
}


def _grouped_channels(inputs: Tensor, groups: int) -> Tensor:
    """[B, 4 Q, ...] from blocked channels to those of ``groups`` runs of quaternions, each run blocked by itself."""
    batch, channels, *size = inputs.shape
    runs = inputs.reshape(batch, 4, groups, channels // (4 * groups), *size)
    return runs.transpose(1, 2).reshape(inputs.shape)


def _blocked_channels(outputs: Tensor, groups: int) -> Tensor:
    """What ``_grouped_channels`` did, undone."""
    batch, channels, *size = outputs.shape
    runs = outputs.reshape(batch, groups, 4, channels // (4 * groups), *size)
    return runs.transpose(1, 2).reshape(outputs.shape)


class _QuaternionConvolution(nn.Module):
    """What convolutions and transposed ones have in common: checks, components, initialization."""

    dimensions: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes,
        dilation: Sizes,
        groups: int,
        bias: bool,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 4 or value % 4:
                raise InvalidInputError(
                    f"{name}={value}: expected a positive multiple of 4, since four channels make a quaternion"
                )
        if groups < 1 or (in_channels // 4) % groups or (out_channels // 4) % groups:
            raise InvalidInputError(
                f"groups={groups}: expected a divisor of the {in_channels // 4} input and {out_channels // 4} output "
                "quaternions"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_sizes("kernel_size", kernel_size, self.dimensions, 1)
        self.stride = kernel_sizes("stride", stride, self.dimensions, 1)
        self.padding = kernel_sizes("padding", padding, self.dimensions, 0)
        self.dilation = kernel_sizes("dilation", dilation, self.dimensions, 1)
        self.groups = groups
        ends = (in_channels // 4, out_channels // 4) if self.transposed else (out_channels // 4, in_channels // 4)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.r_weight = nn.Parameter(torch.empty(shape))
        self.i_weight = nn.Parameter(torch.empty(shape))
        self.j_weight = nn.Parameter(torch.empty(shape))
        self.k_weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Modulus of chi(4) distribution times ``1/sqrt(2 n_in)`` (He; n in quaternions times the kernel's size)."""
        scale = (2.0 * (self.in_channels // 4 // self.groups) * math.prod(self.kernel_size)) ** -0.5
        for component in self.components():
            nn.init.normal_(component, std=scale)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def components(self) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter, nn.Parameter]:
        """``r, i, j, k``, each [out/4, in/4/groups, *kernel] ([in/4, out/4/groups, *kernel] where transposed)."""
        return self.r_weight, self.i_weight, self.j_weight, self.k_weight

    def kernel(self) -> Tensor:
        """The real kernel; its rows are group after group, each group's blocked."""
        raise NotImplementedError

    def _products(self, inputs: Tensor) -> Tensor:
        """``inputs`` with channels in runs of groups, multiplied by the kernel."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, in, ...] to [B, out, ...]."""
        if inputs.dim() != self.dimensions + 2 or inputs.shape[1] != self.in_channels:
            raise InvalidInputError(
                f"inputs of shape {list(inputs.shape)}: expected [B, {self.in_channels}] and {self.dimensions} spatial "
                "dimensions"
            )
        if self.groups == 1:
            outputs = self._products(inputs)
        else:
            outputs = _blocked_channels(self._products(_grouped_channels(inputs, self.groups)), self.groups)
        return outputs if self.bias is None else outputs + self.bias.reshape(-1, *[1] * self.dimensions)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}"
        )


class _QuaternionConv(_QuaternionConvolution):
    """``y_o = sum_i L(w_oi) * x_i + b_o`` for ``x`` [B, in, ...] and ``y`` [B, out, ...], cross-correlation as in torch.

    Parameters: ``r_weight``, ``i_weight``, ``j_weight``, ``k_weight``, each [out/4, in/4/groups, *kernel]; ``bias`` [out]
    or ``None``. A group is a run of quaternions with all of their four components: with ``groups`` = in/4 = out/4 every
    quaternion is convolved alone (depthwise).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: channels that are not positive multiples of four, sizes out of range, groups that do not
                divide the quaternions.
        """
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)

    def kernel(self) -> Tensor:
        """The real kernel [out, in/groups, *kernel]; its rows are group after group, each group's blocked."""
        if self.groups == 1:
            return hamilton_matrix(*self.components())
        parts = zip(*(component.chunk(self.groups) for component in self.components()), strict=True)
        return torch.cat([hamilton_matrix(*part) for part in parts])

    def _products(self, inputs: Tensor) -> Tensor:
        convolve = _CONVOLUTIONS[self.dimensions]
        return convolve(inputs, self.kernel(), None, self.stride, self.padding, self.dilation, self.groups)


class QuaternionConv1d(_QuaternionConv):
    """The quaternion convolution of [B, in, L]; see ``QuaternionConv2d`` for its parameters."""

    dimensions = 1


class QuaternionConv2d(_QuaternionConv):
    """The quaternion convolution of [B, in, H, W].

    Parameters: ``r_weight``, ``i_weight``, ``j_weight``, ``k_weight``, each [out/4, in/4/groups, kh, kw]; ``bias`` [out] or
    ``None``.
    """

    dimensions = 2


class QuaternionConv3d(_QuaternionConv):
    """The quaternion convolution of [B, in, D, H, W]; see ``QuaternionConv2d`` for its parameters."""

    dimensions = 3


class _QuaternionConvTranspose(_QuaternionConvolution):
    """The transposed convolution whose every tap is the Hamilton product ``w (x) x``, from [B, in, ...] to [B, out, ...].

    Parameters: ``r_weight``, ``i_weight``, ``j_weight``, ``k_weight``, each [in/4, out/4/groups, *kernel]; ``bias`` [out]
    or ``None``. It is no adjoint of ``QuaternionConv``: that would multiply by conj(w), whose matrix is L(w) transposed.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
    ) -> None:
        """Builds the layer, arguments as of ``torch.nn.ConvTranspose2d``.

        Raises:
            InvalidInputError: channels that are not positive multiples of four, sizes out of range, groups that do not
                divide the quaternions, an output padding that reaches both the stride and the dilation.
        """
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.output_padding = kernel_sizes("output_padding", output_padding, self.dimensions, 0)
        limits = [max(pair) for pair in zip(self.stride, self.dilation, strict=True)]
        if any(size >= limit for size, limit in zip(self.output_padding, limits, strict=True)):
            raise InvalidInputError(
                f"output_padding={output_padding!r}: expected less than the stride or the dilation, {limits}"
            )

    def kernel(self) -> Tensor:
        """The real kernel [in, out/groups, *kernel]; its rows are group after group, each group's blocked."""
        groups = zip(*(component.chunk(self.groups) for component in self.components()), strict=True)
        # torch's kernel has inputs first: L(w) with its first two dimensions exchanged.
        return torch.cat(
            [hamilton_matrix(*(part.transpose(0, 1) for part in parts)).transpose(0, 1) for parts in groups]
        )

    def _products(self, inputs: Tensor) -> Tensor:
        convolve = _TRANSPOSED[self.dimensions]
        return convolve(
            inputs, self.kernel(), None, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class QuaternionConvTranspose1d(_QuaternionConvTranspose):
    """The transposed quaternion convolution of [B, in, L]; see ``QuaternionConvTranspose2d``."""

    dimensions = 1


class QuaternionConvTranspose2d(_QuaternionConvTranspose):
    """The transposed quaternion convolution of [B, in, H, W].

    Parameters: ``r_weight``, ``i_weight``, ``j_weight``, ``k_weight``, each [in/4, out/4/groups, kh, kw]; ``bias`` [out] or
    ``None``.
    """

    dimensions = 2


class QuaternionConvTranspose3d(_QuaternionConvTranspose):
    """The transposed quaternion convolution of [B, in, D, H, W]; see ``QuaternionConvTranspose2d``."""

    dimensions = 3
