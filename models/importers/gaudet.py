"""Layers of Gaudet's Keras code (DeepQuaternionNetworks): convolutions, dense layers, batch normalization.

Facts of that code, with TensorFlow behind Keras:

- a convolution has one ``kernel`` [*kernel, in/4, 4 n], r, i, j, k beside each other on the last axis; the product is
  w (x) x of blocked channels. A ``QuaternionDense`` has ``r_kernel`` ... ``k_kernel`` [in/4, n] and multiplies by conj(w);
- padding ``same`` is TensorFlow's: it keeps ceil(size / stride), the odd one behind;
- ``QuaternionBatchNormalization`` multiplies by L + L^T - diag(L), L the lower Cholesky factor of the covariance itself, where
  the paper has that of the inverse: weights that were trained with it need it. eps is in the moving variances already.

Source of the equations: Gaudet and Maida, arXiv 1712.04604.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qdeploy.models.quaternion_batch_norm import QuaternionSplitBatchNorm, QuaternionWhiteningBatchNorm
from qdeploy.runtime.errors import InvalidFileError

from .products import Window, convolution, linear
from .stored import Stored, conjugated, positive_definite

__all__ = ["gaudet_convolution", "gaudet_dense", "gaudet_norm", "tensorflow_padding"]

_PAIRS = ("rr", "ri", "rj", "rk", "ii", "ij", "ik", "jj", "jk", "kk")


def tensorflow_padding(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """TensorFlow's ``same``, by axis: what brings ``sizes`` to ceil(size / stride), the odd one behind."""
    pads = []
    for length, width, step, reach in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((math.ceil(length / step) - 1) * step + (width - 1) * reach + 1 - length, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def gaudet_convolution(window: Window, stored: Stored) -> nn.Module:
    """``QuaternionConv1D`` to ``3D`` of a ``kernel`` [*kernel, in/4, out]."""
    kernel = stored.take("kernel")
    # [out, in/4, *kernel]
    turned = kernel.permute(kernel.dim() - 1, kernel.dim() - 2, *range(kernel.dim() - 2))
    return convolution(list(turned.chunk(4)), stored.optional("bias"), window, stored.where)


def gaudet_dense(stored: Stored) -> nn.Module:
    """``QuaternionDense`` of four kernels [in/4, out/4]."""
    parts = stored.components([f"{part}_kernel" for part in "rijk"])
    return linear(conjugated([part.t() for part in parts]), stored.optional("bias"), stored.where)


def gaudet_norm(channels: int, stored: Stored, *, center: bool, scale: bool) -> nn.Module:
    """``QuaternionBatchNormalization`` of ``channels`` = 4 C.

    Raises:
        InvalidFileError: tensors that are missing or of other shapes, or a covariance that is not positive definite.
    """
    beta = stored.take("beta", channels) if center else torch.zeros(channels)
    mean = stored.take("moving_mean", channels) if center else torch.zeros(channels)
    tracked = {"num_batches_tracked": torch.tensor(0)}
    if not scale:
        # It moves the mean and does not normalize.
        shift = QuaternionSplitBatchNorm(channels, eps=0.0)
        ones = torch.ones(channels)
        shift.load_state_dict({"weight": ones, "bias": beta, "running_mean": mean, "running_var": ones} | tracked)
        return shift.eval()
    covariance = _symmetric(stored, "moving_V", channels // 4)
    if not positive_definite(covariance.permute(2, 0, 1)):
        raise InvalidFileError(
            f"{stored.where}: moving_V is not positive definite; the normalization was never trained, or diverged"
        )
    layer = QuaternionWhiteningBatchNorm(channels, eps=0.0, whitening="gaudet")
    layer.load_state_dict(
        {
            "weight": _symmetric(stored, "gamma_", channels // 4),
            "bias": beta.reshape(4, -1),
            "running_mean": mean.reshape(4, -1),
            "running_cov": covariance,
        }
        | tracked
    )
    return layer.eval()


def _symmetric(stored: Stored, prefix: str, channels: int) -> Tensor:
    """[4, 4, C] of ten tensors [C], ``<prefix>rr`` to ``<prefix>kk``."""
    matrix = torch.empty(4, 4, channels)
    for pair in _PAIRS:
        row, column = ("rijk".index(part) for part in pair)
        matrix[row, column] = matrix[column, row] = stored.take(f"{prefix}{pair}", channels)
    return matrix
