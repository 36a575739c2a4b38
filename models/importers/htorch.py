"""Layers of hTorch (ispamm): linear, convolutions, transposed convolutions and batch normalization.

Facts of that library, checked against its forward pass:

- sizes are counted in quaternions; components are [in, out] and [in, out, *kernel], in the transposed classes too; the product
  is w (x) x of blocked channels. An integer ``kernel_size`` is a square, so that ``QConv1d`` works with ``(k,)`` only;
- ``QConv3d`` calls torch's two-dimensional convolution: it works with kernels of two dimensions only, as a ``QConv2d``;
- the transposed classes hand [out, in, *kernel] of L(w) to torch, which reads it as inputs first: they multiply by conj(w) and
  take as many channels as they are said to give. They also hand ``dilation`` over as the groups and ``groups`` as the
  dilation, and that is what they compute. The published ``QConvTranspose2d`` cannot be built (it forgets ``bias``; here it is
  read as if it did not), and no ``QConvTranspose3d`` takes a volume;
- ``groups`` of a convolution cut the rows of the expanded kernel, which then takes ``groups`` times the input channels;
- ``QBatchNorm2d`` multiplies by (L^T)^-1, L the lower Cholesky factor of the covariance [C, 4, 4] with eps on its diagonal, and
  by a matrix [4, 4, C] of sixteen trained numbers a channel. eps stands in the buffer ``eye`` alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from qdeploy.models.quaternion_batch_norm import QuaternionWhiteningBatchNorm
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .conversion import Foreign, convert_layers, refused
from .products import Window, convolution, linear, transposed_convolution
from .stored import Stored, positive_definite

__all__ = ["LAYERS", "convert", "htorch_convolution", "htorch_linear", "htorch_norm", "htorch_transposed"]

_RANKS = {"QConv1d": 1, "QConv2d": 2, "QConv3d": 2}
_TRANSPOSED_RANKS = {"QConvTranspose1d": 1, "QConvTranspose2d": 2}


def convert(module: nn.Module) -> nn.Module:
    """A copy of a live ``module`` in evaluation mode whose hTorch layers are layers of this package.

    Replaced are QLinear, QConv1d, QConv2d, QConvTranspose1d, QConvTranspose2d and QBatchNorm2d, known by the names of their
    classes and attributes; the library is not imported. The result works on plain tensors instead of ``QuaternionTensor``.

    Raises:
        UnsupportedModelError: a layer that has no form here.
        InvalidFileError: tensors of shapes that do not fit, or NaN.
    """
    return convert_layers(module, "hTorch", LAYERS)


def htorch_linear(stored: Stored) -> nn.Module:
    """``QLinear`` of components [in, out]."""
    return linear([part.t() for part in stored.components()], stored.optional("bias"), stored.where)


def htorch_convolution(kind: str, window: Window, stored: Stored) -> nn.Module:
    """The class ``kind`` of components [in, out, *kernel].

    Raises:
        InvalidFileError: a kernel of other dimensions than those in which the class works.
    """
    parts = stored.components()
    _check_rank(kind, parts[0].dim() - 2, _RANKS[kind], stored)
    return convolution([part.transpose(0, 1) for part in parts], stored.optional("bias"), window, stored.where)


def htorch_transposed(kind: str, window: Window, stored: Stored) -> nn.Module:
    """The transposed class ``kind`` of components [out, in, *kernel], as it works; ``window`` is what torch is handed."""
    parts = stored.components()
    _check_rank(kind, parts[0].dim() - 2, _TRANSPOSED_RANKS[kind], stored)
    return transposed_convolution(
        [part.transpose(0, 1) for part in parts], stored.optional("bias"), window, stored.where, conjugate=True
    )


def htorch_norm(stored: Stored) -> QuaternionWhiteningBatchNorm:
    """``QBatchNorm2d`` with running statistics.

    Raises:
        InvalidFileError: tensors of other shapes, or a covariance that is not positive definite.
    """
    mean = stored.take("running_mean", 4, None)
    channels = mean.shape[1]
    eye = stored.take("eye", 1, 4, 4)
    eps = float(eye[0, 0, 0])
    if eps < 0 or not torch.equal(eye[0], eps * torch.eye(4)):
        raise InvalidFileError(f"{stored.where}: eye is {eye.tolist()}, expected one number on its diagonal, eps")
    layer = QuaternionWhiteningBatchNorm(4 * channels, eps, whitening="htorch", symmetric=False)
    covariance = stored.take("running_cov", channels, 4, 4)
    if not positive_definite(covariance + eye):
        raise InvalidFileError(
            f"{stored.where}: running_cov is not positive definite; the normalization was never trained, or diverged"
        )
    # affine=False is neither a matrix nor a shift.
    weight = stored.optional("weight", 4, 4, channels)
    bias = stored.optional("bias", 4, channels)
    layer.load_state_dict(
        {
            "weight": torch.eye(4)[:, :, None].repeat(1, 1, channels) if weight is None else weight,
            "bias": torch.zeros(4, channels) if bias is None else bias,
            "running_mean": mean,
            "running_cov": covariance.permute(1, 2, 0),
            "num_batches_tracked": torch.tensor(0),
        }
    )
    return layer.eval()


def _check_rank(kind: str, found: int, expected: int, stored: Stored) -> None:
    if found != expected:
        raise InvalidFileError(
            f"{stored.where}: a kernel of {found} dimensions, with which hTorch's {kind} cannot be computed; expected {expected}"
        )


def _live_linear(part: Any, stored: Stored) -> nn.Module:
    del part
    return htorch_linear(stored)


def _live_convolution(part: Any, stored: Stored) -> nn.Module:
    return htorch_convolution(
        type(part).__name__, Window(part.stride, part.padding, part.dilation, part.groups), stored
    )


def _live_transposed(part: Any, stored: Stored) -> nn.Module:
    # As the library hands them over: its dilation is torch's groups, and the other way round.
    window = Window(part.stride, part.padding, part.groups, part.dilation, part.output_padding)
    return htorch_transposed(type(part).__name__, window, stored)


def _live_norm(part: Any, stored: Stored) -> nn.Module:
    if part.running_mean is None:
        raise UnsupportedModelError(
            f"{stored.where}: track_running_stats=False, so that it normalizes every batch by itself; expected running statistics"
        )
    return htorch_norm(stored)


_COMPONENTS = frozenset({"r_weight", "i_weight", "j_weight", "k_weight", "spinor", "in_channels"})
_AUTOGRAD = "hTorch's experimental autograd layers are not supported; use the plain ones, which compute the same"

LAYERS = (
    Foreign("QLinear", _COMPONENTS, _live_linear),
    *(Foreign(kind, _COMPONENTS | {"groups"}, _live_convolution) for kind in _RANKS),
    *(Foreign(kind, _COMPONENTS | {"output_padding"}, _live_transposed) for kind in _TRANSPOSED_RANKS),
    Foreign("QBatchNorm2d", frozenset({"running_cov", "eye"}), _live_norm),
    *(
        refused(name, _AUTOGRAD)
        for name in (
            "QAutogradLinear",
            "QAutogradConv1d",
            "QAutogradConv2d",
            "QAutogradConv3d",
            "QAutogradConvTranspose1d",
            "QAutogradConvTranspose2d",
            "QAutogradConvTranspose3d",
        )
    ),
    refused("QConvTranspose3d", "hTorch's own forward pass of it takes no volume [B, C, D, H, W]"),
    refused(
        "QMaxPool2d",
        "maxima by the quaternions' norms are not supported; use torch's MaxPool2d, component by component",
    ),
    refused("QModReLU", "it divides by the quaternions' norms, which has no integer form; use ReLU"),
    refused("QuaternionToReal", "the quaternions' norm has no integer form; use a real Linear as the last layer"),
)
"""The library's classes of layers."""
