"""Kinds of layers of Gaudet's Keras code, and of Keras itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..gaudet import gaudet_convolution, gaudet_dense, gaudet_norm, tensorflow_padding
from ..products import Window, real_convolution
from ..stored import Stored
from .components import CONVOLUTION_ENDS, LINEAR_ENDS, QUATERNION_LINEAR
from .kind import BIAS, DILATION, KERNEL_SIZE, STRIDE, Kind, Spec, choice, flag, number, quaternions, size
from .real import KINDS as REAL
from .real import absent_bias, bias_shape, real_linear

__all__ = ["KINDS"]

_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def _window(spec: Spec, shape: tuple[int, ...]) -> Window:
    rank = len(shape) - 1
    kernel, stride, dilation = (spec.per_axis(key, rank) for key in ("kernel_size", "stride", "dilation"))
    same = spec["padding"] == "same"
    padding = tensorflow_padding(shape[1:], kernel, stride, dilation) if same else 0
    return Window(stride, padding, dilation)


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    out = spec["out_channels"]
    kernel = (*spec.per_axis("kernel_size", len(shape) - 1), spec["in_channels"] // 4, out)
    found = stored.expecting({"kernel": kernel} | bias_shape(spec, out), absent_bias(spec))
    return gaudet_convolution(_window(spec, shape), found)


def _dense(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    parts = {f"{part}_kernel": (inputs // 4, out // 4) for part in "rijk"}
    return gaudet_dense(stored.expecting(parts | bias_shape(spec, out), absent_bias(spec)))


def _norm(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    return gaudet_norm(spec["num_features"], stored, center=spec["center"], scale=spec["scale"])


def _real_convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    out = spec["out_channels"]
    sizes = (*spec.per_axis("kernel_size", len(shape) - 1), spec["in_channels"], out)
    found = stored.expecting({"kernel": sizes} | bias_shape(spec, out), absent_bias(spec))
    kernel = found.take("kernel")
    turned = kernel.permute(kernel.dim() - 1, kernel.dim() - 2, *range(kernel.dim() - 2))
    return real_convolution(turned, found.optional("bias"), _window(spec, shape), spec.where)


def _real_dense(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    out = spec["out_features"]
    found = stored.expecting({"kernel": (spec["in_features"], out)} | bias_shape(spec, out), absent_bias(spec))
    return real_linear(found.take("kernel").t(), found.optional("bias"))


def _real_norm(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    channels = spec["num_features"]
    layer: nn.Module = _NORMS[len(shape) - 1](channels, eps=spec["eps"])
    wanted = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    defaults = {"gamma": torch.ones(channels), "beta": torch.zeros(channels)}
    if spec["scale"]:
        del defaults["gamma"]
    if spec["center"]:
        del defaults["beta"]
    found = stored.expecting({name: (channels,) for name in wanted.values() if name not in defaults}, absent=defaults)
    state = {ours: defaults[theirs] if theirs in defaults else found.take(theirs) for ours, theirs in wanted.items()}
    layer.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    return layer.eval()


_CONVOLUTION = {
    "kernel_size": KERNEL_SIZE,
    "stride": STRIDE,
    "padding": choice("valid", ("valid", "same")),
    "dilation": DILATION,
    "bias": BIAS,
}
_QUATERNIONS = {"in_channels": quaternions(), "out_channels": quaternions()}
_NORM = {"center": flag(default=True), "scale": flag(default=True)}
_NORM_ENDS = ("num_features", "num_features")
_ANY = (0, 1, 2, 3)

KINDS: Mapping[str, Kind] = {
    **{name: REAL[name] for name in REAL if "Pool" in name or name in ("Flatten", "Activation")},
    **{
        f"QuaternionConv{rank}D": Kind(_convolution, _QUATERNIONS | _CONVOLUTION, ranks=(rank,), ends=CONVOLUTION_ENDS)
        for rank in (1, 2, 3)
    },
    "QuaternionDense": Kind(_dense, QUATERNION_LINEAR, axes="last", ranks=(0,), ends=LINEAR_ENDS),
    "QuaternionBatchNormalization": Kind(_norm, {"num_features": quaternions()} | _NORM, ranks=_ANY, ends=_NORM_ENDS),
    **{
        f"Conv{rank}D": Kind(
            _real_convolution,
            {"in_channels": size(), "out_channels": size()} | _CONVOLUTION,
            ranks=(rank,),
            ends=CONVOLUTION_ENDS,
        )
        for rank in (1, 2, 3)
    },
    "Dense": Kind(
        _real_dense,
        {"in_features": size(), "out_features": size(), "bias": BIAS},
        axes="last",
        ranks=(0,),
        ends=LINEAR_ENDS,
    ),
    "BatchNormalization": Kind(
        _real_norm,
        {"num_features": size(), "eps": number(1e-3, low=0, high=1)} | _NORM,
        ranks=_ANY,
        ends=_NORM_ENDS,
    ),
}
"""By the names of the classes, with pools as torch names them."""
