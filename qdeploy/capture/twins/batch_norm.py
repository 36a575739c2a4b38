"""Batch normalization, real and of quaternions: what it is in evaluation, with its running statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.quaternion_batch_norm import (
    QuaternionBatchNorm,
    QuaternionSplitBatchNorm,
    QuaternionWhiteningBatchNorm,
)
from qdeploy.runtime.errors import InvalidFileError

__all__ = [
    "BatchNormTwin",
    "QuaternionBatchNormTwin",
    "QuaternionSplitBatchNormTwin",
    "QuaternionWhiteningBatchNormTwin",
]


class _Affine(nn.Module):
    """Constants that are made once, in float64, and kept in float32; ``normalized`` applies them to an axis."""

    capture_path: str
    affine_factor: Tensor
    affine_shift: Tensor

    def keep(self, factor: Tensor, shift: Tensor) -> None:
        """Keeps the constants as buffers.

        Raises:
            InvalidFileError: constants that are not finite, as those of a negative running variance are.
        """
        if not (factor.isfinite().all() and shift.isfinite().all()):
            raise InvalidFileError(
                f"layer {self.capture_path} ({type(self).__name__.removesuffix('Twin')}): its running statistics give factors "
                "that are not finite, expected variances that are not negative and an eps above 0; train again or repair "
                "the checkpoint"
            )
        self.register_buffer("affine_factor", factor.float(), persistent=False)
        self.register_buffer("affine_shift", shift.float(), persistent=False)

    def normalized(self, inputs: Tensor, dim: int, *, quaternions: bool = False) -> Tensor:
        """One node over channels on axis ``dim``."""
        make = torch_ops.quaternion_affine if quaternions else torch_ops.channel_affine
        trailing = inputs.ndim - 1 - dim % inputs.ndim
        return make(inputs, self.affine_factor, self.affine_shift, trailing=trailing, layer=self.capture_path)


@twin_of(nn.modules.batchnorm._BatchNorm)  # noqa: SLF001  # the base of BatchNorm1d, 2d, 3d and SyncBatchNorm has no other name
class BatchNormTwin(_Affine, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
    """One ``ChannelAffine``; layers without running statistics are refused before."""

    def freeze(self) -> None:
        """Mean, variance, weight and bias become a factor and a constant."""
        mean, variance = self.running_mean, self.running_var
        if mean is None or variance is None:
            raise AssertionError(f"{self.capture_path} has no running statistics")
        scale = 1.0 / (variance.double() + self.eps).sqrt()
        if self.affine:
            scale = scale * self.weight.detach().double()
        shift = -scale * mean.double()
        self.keep(scale, shift + self.bias.detach().double() if self.affine else shift)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        self._check_input_dim(input)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return self.normalized(input, 1)


@twin_of(QuaternionSplitBatchNorm)
class QuaternionSplitBatchNormTwin(_Affine, QuaternionSplitBatchNorm):
    """One ``ChannelAffine``."""

    def freeze(self) -> None:
        self.keep(*self.scale_and_shift())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.normalized(inputs, self.dim)


@twin_of(QuaternionBatchNorm)
class QuaternionBatchNormTwin(_Affine, QuaternionBatchNorm):
    """One ``ChannelAffine`` whose four factors of a quaternion are equal."""

    def freeze(self) -> None:
        self.keep(*self.scale_and_shift())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.normalized(inputs, self.dim)


@twin_of(QuaternionWhiteningBatchNorm)
class QuaternionWhiteningBatchNormTwin(_Affine, QuaternionWhiteningBatchNorm):
    """One ``QuaternionAffine``."""

    def freeze(self) -> None:
        with torch.no_grad():
            self.keep(*self.matrix_and_shift())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.normalized(inputs, self.dim, quaternions=True)
