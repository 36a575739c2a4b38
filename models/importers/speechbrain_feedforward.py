"""Layers of SpeechBrain (1.0) without a state: QLinear, QConv1d, QConv2d, QBatchNorm.

Facts of that library, checked against its forward pass:

- channels are the last axis, [B, T, C] and [B, T, F, C]; a QConv2d exchanges the spatial axes before it convolves, unless
  ``swap``, so that the first axis of its kernel goes over F; it uses the first of two strides, and the first of two dilations,
  for both axes;
- padding ``same`` is floor(d (k - 1) / 2) at both ends where the stride is 1, else floor(k / 2) without regard to the
  dilation, by default with the reflected signal; ``causal`` (QConv1d) is d (k - 1) zeros in front;
- QLinear has components [in/4, out/4], the convolutions [out/4, in/4/groups, *kernel]; the product is w (x) x. ``groups`` cut the
  rows of the expanded kernel;
- a QLinear leaves its bias out where that does not require a gradient, a convolution never does; a spinor does so with its
  scale;
- a spinor turns the vector parts, as Parcollet's library does; a QLinear by the transposed matrix and with w normalized by
  |w| + 0.0001. One of two dimensions does not run;
- ``max_norm`` shrinks the weights in every forward pass, so that those of a state dict may still be larger;
- QBatchNorm has one gamma and one variance a quaternion, eps 1e-4, and normalizes the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.models.quaternion_batch_norm import QuaternionBatchNorm
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .channels_last import ChannelsLast
from .conversion import Foreign
from .products import Window, convolution, linear, rotation_convolution, rotation_linear
from .stored import Stored, conjugated

__all__ = [
    "LAYERS",
    "PADDINGS",
    "SpeechBrainWindow",
    "speechbrain_convolution",
    "speechbrain_linear",
    "speechbrain_norm",
]

PADDINGS = ("same", "valid", "causal")


@dataclass(frozen=True)
class SpeechBrainWindow:
    """How a convolution goes over its input, in SpeechBrain's terms; sizes are one number an axis of its kernel.

    Attributes:
        kernel_size, stride, dilation: as its class has them.
        padding: of ``PADDINGS``.
        groups: of channels.
        padding_mode: of ``torch.nn.functional.pad``.
        swap: of a QConv2d.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str = "same"
    groups: int = 1
    padding_mode: str = "reflect"
    swap: bool = False

    def pads(self, where: str) -> tuple[list[tuple[int, int]], str]:
        """Zeros or other numbers in front and behind, by axis of the kernel, and the mode of them.

        Raises:
            UnsupportedModelError: a padding that this rank has not.
        """
        if self.padding == "valid":
            return [(0, 0)] * len(self.kernel_size), "zeros"
        if self.padding == "causal" and len(self.kernel_size) == 1:
            return [((self.kernel_size[0] - 1) * self.dilation[0], 0)], "zeros"
        if self.padding != "same":
            raise UnsupportedModelError(
                f"{where}: padding={self.padding!r} of {len(self.kernel_size)} dimensions, expected one of "
                f"{', '.join(PADDINGS)}, causal of one dimension only"
            )
        sizes = zip(self.kernel_size, self.stride, self.dilation, strict=True)
        each = [size // 2 if stride > 1 else reach * (size - 1) // 2 for size, stride, reach in sizes]
        return [(one, one) for one in each], "zeros" if self.padding_mode == "constant" else self.padding_mode


def speechbrain_linear(
    stored: Stored, *, max_norm: float | None = None, spinor: bool = False, scale: bool = False
) -> nn.Module:
    """``QLinear`` of components [in/4, out/4], over the last axis; a spinor's rotations with a ``scale_param`` or none."""
    parts = [part.t() for part in _renormed(stored.components(), max_norm)]
    if not spinor:
        return linear(parts, stored.optional("bias"), stored.where)
    stored.drop("zero_kernel")
    factors = stored.take("scale_param", None, None).t() if scale else None
    # It multiplies by the rotation's matrix from the other side, which is the rotation of the conjugate.
    return rotation_linear(conjugated(parts), factors, stored.optional("bias"), stored.where, "speechbrain")


def speechbrain_convolution(
    window: SpeechBrainWindow,
    stored: Stored,
    *,
    max_norm: float | None = None,
    spinor: bool = False,
    scale: bool = False,
) -> ChannelsLast:
    """``QConv1d`` or ``QConv2d`` of components [out/4, in/4/groups, *kernel], from [B, *S, C] to [B, *S, C].

    Raises:
        InvalidFileError: tensors that do not fit the window.
        UnsupportedModelError: a padding that has no form here, or a spinor of two dimensions.
    """
    parts = _renormed(stored.components(), max_norm)
    if tuple(parts[0].shape[2:]) != window.kernel_size:
        raise InvalidFileError(
            f"{stored.where}: a kernel of {list(parts[0].shape[2:])}, expected {list(window.kernel_size)}"
        )
    pads, mode = window.pads(stored.where)
    if len(window.kernel_size) == 2 and not window.swap:
        parts = [part.transpose(2, 3) for part in parts]
        pads.reverse()
    # The library hands one stride and one dilation to both axes.
    sizes = Window(window.stride[0], pads, window.dilation[0], window.groups, padding_mode=mode)
    if not spinor:
        return ChannelsLast(convolution(parts, stored.optional("bias"), sizes, stored.where))
    if len(window.kernel_size) != 1:
        raise UnsupportedModelError(
            f"{stored.where}: SpeechBrain's forward pass of a spinor of two dimensions does not run"
        )
    stored.drop("zero_kernel")
    factors = stored.take("scale_param") if scale else None
    return ChannelsLast(rotation_convolution(parts, factors, stored.optional("bias"), sizes, stored.where))


def speechbrain_norm(stored: Stored, eps: float) -> QuaternionBatchNorm:
    """``QBatchNorm``, over the last axis."""
    gamma = stored.take("gamma", None)
    quaternions = len(gamma)
    state = {
        "gamma": gamma,
        "beta": stored.take("beta", 4 * quaternions),
        "running_mean": stored.take("running_mean", 4 * quaternions),
        "running_var": stored.take("running_var", quaternions),
        "num_batches_tracked": torch.tensor(0),
    }
    stored.drop("num_batches_tracked")
    layer = QuaternionBatchNorm(4 * quaternions, eps, dim=-1)
    layer.load_state_dict(state)
    return layer.eval()


def _renormed(parts: list[Tensor], max_norm: float | None) -> list[Tensor]:
    """Components whose moduli have, by the first axis, a norm of at most ``max_norm``."""
    if max_norm is None:
        return parts
    modulus = torch.stack(parts).square().sum(0).sqrt()
    factor = torch.renorm(modulus, 2, 0, max_norm) / modulus
    factor = torch.where(modulus > 0, factor, torch.ones_like(factor))
    return [part * factor for part in parts]


def _check_gradients(part: Any, stored: Stored, *names: str) -> None:
    """Refuses what the library leaves out because it is not trained further."""
    for name in names:
        if name in stored and not getattr(part, name).requires_grad and bool(getattr(part, name).any()):
            raise UnsupportedModelError(
                f"{stored.where}: its {name} has requires_grad=False, and then SpeechBrain's forward pass leaves it out; call "
                "requires_grad_(True) where it was trained with it, or set it to zeros"
            )


def _live_linear(part: Any, stored: Stored) -> nn.Module:
    _check_gradients(part, stored, "bias", "scale_param")
    return speechbrain_linear(
        stored, max_norm=getattr(part, "max_norm", None), spinor=part.spinor, scale="scale_param" in stored
    )


def _live_convolution(part: Any, stored: Stored) -> nn.Module:
    _check_gradients(part, stored, "scale_param")
    if getattr(part, "skip_transpose", False):
        raise UnsupportedModelError(f"{stored.where}: with skip_transpose=True SpeechBrain's QConv2d gives None")
    rank = part.r_weight.dim() - 2
    window = SpeechBrainWindow(
        tuple(part.r_weight.shape[2:]),
        _per_axis(part.stride, rank),
        _per_axis(part.dilation, rank),
        part.padding,
        part.groups,
        part.padding_mode,
        getattr(part, "swap", False),
    )
    return speechbrain_convolution(
        window, stored, max_norm=part.max_norm, spinor=part.spinor, scale="scale_param" in stored
    )


def _per_axis(sizes: Any, rank: int) -> tuple[int, ...]:
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def _live_norm(part: Any, stored: Stored) -> nn.Module:
    if part.dim != -1:
        raise UnsupportedModelError(f"{stored.where}: dim={part.dim}, expected -1, the axis of the channels")
    if "running_mean" not in stored:
        raise UnsupportedModelError(
            f"{stored.where}: track_running_stats=False, so that it normalizes every batch by itself; expected running statistics"
        )
    return speechbrain_norm(stored, float(part.eps))


def _live_pooling(part: Any, stored: Stored) -> nn.Module:
    if part.pool_type != "avg":
        raise UnsupportedModelError(
            f"{stored.where}: maxima by the quaternions' norms are not supported; use Pooling2d, which takes every component "
            "by itself"
        )
    if tuple(part.pool_axis) != (1, 2):
        raise UnsupportedModelError(f"{stored.where}: pool_axis={part.pool_axis}, expected (1, 2)")
    return ChannelsLast(nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode))


_COMPONENTS = frozenset({"r_weight", "i_weight", "j_weight", "k_weight", "spinor"})
_CONVOLUTION = _COMPONENTS | {"padding_mode", "max_norm"}

LAYERS = (
    Foreign("QLinear", _COMPONENTS, _live_linear),
    Foreign("QConv1d", _CONVOLUTION, _live_convolution),
    Foreign("QConv2d", _CONVOLUTION | {"swap"}, _live_convolution),
    Foreign("QBatchNorm", frozenset({"gamma", "beta", "running_var", "eps", "dim"}), _live_norm),
    Foreign("QPooling2d", frozenset({"pool_type", "pool_axis", "pool_layer"}), _live_pooling),
)
"""The library's classes of layers without a state."""
