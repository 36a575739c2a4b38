"""Parameterized hypercomplex multiplication: layers over an algebra of n components that is learned with them.

A matrix of N x K real numbers is ``W = sum_i kron(a_i, s_i)``, i = 1...n: ``a`` [n, n, n] says how n components of the input
make n of the output, and ``s`` [n, N/n, K/n] holds one matrix for each component, so that the layer has about N K / n
weights. Complex numbers (n = 2), quaternions (n = 4) and octonions (n = 8) are special algebras. Channels are blocked: all
first components, then all second ones, and so on.

Sources: Zhang et al., "Beyond fully-connected layers with quaternions: parameterization of hypercomplex multiplications
with 1/n parameters", ICLR 2021, arXiv 2102.08597; Grassucci, Zhang, Comminiello, "PHNNs: lightweight neural networks via
parameterized hypercomplex convolutions", arXiv 2110.04176.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .kernel_sizes import Sizes, kernel_sizes

__all__ = ["PHMConv1d", "PHMConv2d", "PHMConv3d", "PHMLinear", "hypercomplex_matrix"]

_CONVOLUTIONS = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}


def hypercomplex_matrix(a: Tensor, s: Tensor) -> Tensor:
    """``sum_i kron(a_i, s_i)`` [P Q, U V, *kernel] of ``a`` [d, P, U] and ``s`` [d, Q, V, *kernel].

    Block row p and block column u hold ``sum_i a[i, p, u] s_i``.
    """
    rows, columns = a.shape[1] * s.shape[1], a.shape[2] * s.shape[2]
    blocks = torch.einsum("ipu,iqvk->pquvk", a, s.flatten(3) if s.dim() > 3 else s.unsqueeze(3))
    return blocks.reshape(rows, columns, *s.shape[3:])


class _Hypercomplex(nn.Module):
    """What the layers have in common: checks, parameters, initialization."""

    def __init__(
        self, n: int, ends: tuple[tuple[str, int], tuple[str, int]], kernel: tuple[int, ...], bias: bool
    ) -> None:
        super().__init__()
        if n < 1:
            raise InvalidInputError(f"n={n}: expected a positive number of components")
        for name, value in ends:
            if value < n or value % n:
                raise InvalidInputError(f"{name}={value}: expected a positive multiple of n={n}, the components")
        (_, inputs), (_, outputs) = ends
        self.n = n
        self.a = nn.Parameter(torch.empty(n, n, n))
        self.s = nn.Parameter(torch.empty(n, outputs // n, inputs // n, *kernel))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform as Glorot's: every ``a_i`` of variance 1/n, ``s`` of that of the real matrix, and so the matrix itself.

        The bias is uniform within 1/sqrt(fan_in), as torch draws it.
        """
        taps = math.prod(self.s.shape[3:])
        fan_out, fan_in = self.n * self.s.shape[1] * taps, self.n * self.s.shape[2] * taps
        nn.init.uniform_(self.a, -math.sqrt(3.0 / self.n), math.sqrt(3.0 / self.n))
        reach = math.sqrt(6.0 / (fan_in + fan_out))
        nn.init.uniform_(self.s, -reach, reach)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1.0 / math.sqrt(fan_in), 1.0 / math.sqrt(fan_in))

    def matrix(self) -> Tensor:
        """W, the real weight [out, in, *kernel]."""
        return hypercomplex_matrix(self.a, self.s)


class PHMLinear(_Hypercomplex):
    """``y = W x + b`` with ``W = sum_i kron(a_i, s_i)``, for ``x`` [..., in] and ``y`` [..., out].

    Parameters: ``a`` [n, n, n], ``s`` [n, out/n, in/n], ``bias`` [out] or ``None``.
    """

    def __init__(self, n: int, in_features: int, out_features: int, bias: bool = True) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: n below one, or features that are not positive multiples of it.
        """
        super().__init__(n, (("in_features", in_features), ("out_features", out_features)), (), bias)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [..., in] to [..., out]."""
        return nn.functional.linear(inputs, self.matrix(), self.bias)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"n={self.n}, {self.in_features}, {self.out_features}, bias={self.bias is not None}"


class _PHMConv(_Hypercomplex):
    """The convolution with the kernel ``sum_i kron(a_i, s_i)``: a_i[p, u] multiplies all of a block's kernels."""

    dimensions: ClassVar[int]

    def __init__(
        self,
        n: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        bias: bool = True,
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: n below one, channels that are not positive multiples of it, sizes out of range.
        """
        self.kernel_size = kernel_sizes("kernel_size", kernel_size, self.dimensions, 1)
        super().__init__(n, (("in_channels", in_channels), ("out_channels", out_channels)), self.kernel_size, bias)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = kernel_sizes("stride", stride, self.dimensions, 1)
        self.padding = kernel_sizes("padding", padding, self.dimensions, 0)
        self.dilation = kernel_sizes("dilation", dilation, self.dimensions, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, in, ...] to [B, out, ...]."""
        convolve = _CONVOLUTIONS[self.dimensions]
        return convolve(inputs, self.matrix(), self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"n={self.n}, {self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}"
        )


class PHMConv1d(_PHMConv):
    """The convolution of [B, in, L]; ``a`` [n, n, n], ``s`` [n, out/n, in/n, k], ``bias`` [out] or ``None``."""

    dimensions = 1


class PHMConv2d(_PHMConv):
    """The convolution of [B, in, H, W]; ``a`` [n, n, n], ``s`` [n, out/n, in/n, kh, kw], ``bias`` [out] or ``None``."""

    dimensions = 2


class PHMConv3d(_PHMConv):
    """The convolution of [B, in, D, H, W]; ``a`` [n, n, n], ``s`` [n, out/n, in/n, kd, kh, kw], ``bias`` or ``None``."""

    dimensions = 3
