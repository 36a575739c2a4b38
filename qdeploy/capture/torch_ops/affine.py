"""Batch normalization in evaluation: a factor or a 4 x 4 matrix, and a constant, for each channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import define, float_op, translates

__all__ = ["channel_affine", "quaternion_affine"]

define("channel_affine(Tensor x, Tensor scale, Tensor shift, *, int trailing, str layer) -> Tensor")
define("quaternion_affine(Tensor x, Tensor matrix, Tensor shift, *, int trailing, str layer) -> Tensor")
_CHANNEL = float_op("ChannelAffine", 3, 1, integers=("trailing",))
_QUATERNION = float_op("QuaternionAffine", 3, 1, integers=("trailing",))


@torch.library.register_fake("qdeploy_capture::channel_affine")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _shapes(x: Tensor, scale: Tensor, shift: Tensor, *, trailing: int, layer: str) -> Tensor:
    del scale, shift, trailing, layer
    return torch.empty_like(x)


@torch.library.register_fake("qdeploy_capture::quaternion_affine")  # type: ignore[untyped-decorator]  # torch leaves it untyped
def _quaternion_shapes(x: Tensor, matrix: Tensor, shift: Tensor, *, trailing: int, layer: str) -> Tensor:
    del matrix, shift, trailing, layer
    return torch.empty_like(x)


@translates("channel_affine")
def _write(x: Any, scale: Any, shift: Any, trailing: int = 0, layer: str = "") -> Any:
    return _CHANNEL(x, scale, shift, trailing=trailing, layer=layer)


@translates("quaternion_affine")
def _write_quaternion(x: Any, matrix: Any, shift: Any, trailing: int = 0, layer: str = "") -> Any:
    return _QUATERNION(x, matrix, shift, trailing=trailing, layer=layer)


def channel_affine(x: Tensor, scale: Tensor, shift: Tensor, *, trailing: int, layer: str) -> Tensor:
    """``scale x + shift`` [..., C, *S] of scale and shift [C] as one node named ``layer``."""
    result: Tensor = torch.ops.qdeploy_capture.channel_affine(x, scale, shift, trailing=trailing, layer=layer)
    return result


def quaternion_affine(x: Tensor, matrix: Tensor, shift: Tensor, *, trailing: int, layer: str) -> Tensor:
    """``matrix x + shift`` of matrix [C, 4, 4] and shift [4, C] for each quaternion of x [..., 4C, *S], as one node."""
    result: Tensor = torch.ops.qdeploy_capture.quaternion_affine(x, matrix, shift, trailing=trailing, layer=layer)
    return result
