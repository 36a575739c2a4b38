"""Layers of torch itself, which stand in networks of every library: real products, normalizations, pools, activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from qdeploy.runtime.errors import InvalidFileError

from ..products import real_convolution
from ..stored import Stored
from .kind import BIAS, CONVOLUTION, EPS, KERNEL_SIZE, PADDING, Key, Kind, Spec, size, sizes

__all__ = ["ACTIVATIONS", "KINDS", "absent_bias", "bias_shape", "real_linear"]

ACTIVATIONS: Mapping[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "hardtanh": nn.Hardtanh}
"""The activations of an architecture file."""

_MAX_POOLS: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE_POOLS: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_GLOBAL_POOLS: dict[int, Any] = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
_NORMS: dict[int, Any] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def bias_shape(spec: Spec, length: int) -> dict[str, tuple[int, ...]]:
    """The bias among the expected shapes, where the layer has one."""
    return {"bias": (length,)} if spec["bias"] else {}


def absent_bias(spec: Spec) -> tuple[str, ...]:
    """The bias among the names that must not be there, where the layer has none."""
    return () if spec["bias"] else ("bias",)


def real_linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """torch's own layer of ``weight`` [out, in] and ``bias`` [out]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer.eval()


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    out = spec["out_features"]
    found = stored.expecting({"weight": (out, spec["in_features"])} | bias_shape(spec, out), absent_bias(spec))
    return real_linear(found.take("weight"), found.optional("bias"))


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out, groups = len(shape) - 1, spec["out_channels"], spec["groups"]
    if spec["in_channels"] % groups:
        raise InvalidFileError(
            f"{spec.where}: groups={groups}, expected a divisor of in_channels={spec['in_channels']}"
        )
    weight = (out, spec["in_channels"] // groups, *spec.per_axis("kernel_size", rank))
    found = stored.expecting({"weight": weight} | bias_shape(spec, out), absent_bias(spec))
    return real_convolution(found.take("weight"), found.optional("bias"), spec.window(rank), spec.where)


def _norm(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    channels = spec["num_features"]
    layer: nn.Module = _NORMS[len(shape) - 1](channels, eps=spec["eps"])
    names = ("weight", "bias", "running_mean", "running_var")
    found = stored.expecting(dict.fromkeys(names, (channels,)))
    layer.load_state_dict({name: found.take(name) for name in names} | {"num_batches_tracked": torch.tensor(0)})
    found.drop("num_batches_tracked")
    return layer.eval()


def _pool(makers: Mapping[int, Any]) -> Any:
    def build(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
        del stored
        rank = len(shape) - 1
        kernel = spec.per_axis("kernel_size", rank)
        stride = kernel if spec["stride"] is None else spec.per_axis("stride", rank)
        padding = spec.per_axis("padding", rank)
        if any(2 * pad > width for pad, width in zip(padding, kernel, strict=True)):
            raise InvalidFileError(
                f"{spec.where}: padding={list(padding)}, expected at most half the kernel {list(kernel)}"
            )
        made: nn.Module = makers[rank](kernel, stride, padding)
        return made

    return build


def _global_pool(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del spec, stored
    return nn.Sequential(_GLOBAL_POOLS[len(shape) - 1](1), nn.Flatten())


def _flatten(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del spec, shape, stored
    return nn.Flatten()


def _nothing(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del spec, shape, stored
    return nn.Identity()


_POOL = {"kernel_size": KERNEL_SIZE, "stride": Key(sizes(1).read), "padding": PADDING}
_CHANNELS = {"in_channels": size(), "out_channels": size()}
_ENDS = ("in_channels", "out_channels")

KINDS: Mapping[str, Kind] = {
    "Linear": Kind(
        _linear,
        {"in_features": size(), "out_features": size(), "bias": BIAS},
        axes="last",
        ranks=(0,),
        ends=("in_features", "out_features"),
    ),
    **{f"Conv{rank}d": Kind(_convolution, _CHANNELS | CONVOLUTION, ranks=(rank,), ends=_ENDS) for rank in (1, 2, 3)},
    **{
        f"BatchNorm{rank}d": Kind(
            _norm,
            {"num_features": size(), "eps": EPS},
            ranks=(0, 1) if rank == 1 else (rank,),
            ends=("num_features", "num_features"),
        )
        for rank in (1, 2, 3)
    },
    **{f"MaxPool{rank}d": Kind(_pool(_MAX_POOLS), _POOL, named=False, ranks=(rank,)) for rank in (1, 2, 3)},
    **{f"AvgPool{rank}d": Kind(_pool(_AVERAGE_POOLS), _POOL, named=False, ranks=(rank,)) for rank in (1, 2, 3)},
    "GlobalAvgPool": Kind(_global_pool, named=False),
    "Flatten": Kind(_flatten, named=False, axes="last", ranks=(0, 1, 2, 3)),
    "Activation": Kind(_nothing, named=False, axes="any", ranks=(0, 1, 2, 3)),
}
"""The kinds that every library's networks may have."""
