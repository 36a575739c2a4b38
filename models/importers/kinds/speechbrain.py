"""SpeechBrain's kinds of layers; their channels are the last axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from ..speechbrain_feedforward import (
    PADDINGS,
    SpeechBrainWindow,
    speechbrain_convolution,
    speechbrain_linear,
    speechbrain_norm,
)
from ..stored import Stored
from .components import CONVOLUTION_ENDS, LINEAR_ENDS, QUATERNION_CONVOLUTION, QUATERNION_LINEAR
from .kind import Key, Kind, Spec, choice, flag, number, quaternions
from .orkis import grouped_quaternions, rotations
from .real import KINDS as REAL

__all__ = ["KINDS"]


def _spinor(spec: Spec, stored: Stored, shape: tuple[int, ...], out: int) -> Stored:
    """As Parcollet's library stores rotations, by SpeechBrain's names of the options."""
    options = {"rotation": spec["spinor"], "scale": spec["vector_scale"]}
    return rotations(replace(spec, values={**spec.values, **options}), stored, shape, out)


def _linear(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    inputs, out = spec["in_features"], spec["out_features"]
    found = _spinor(spec, stored, (inputs // 4, out // 4), out)
    return speechbrain_linear(found, max_norm=spec["max_norm"], spinor=spec["spinor"], scale=spec["vector_scale"])


def _convolution(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    rank, out = len(shape) - 1, spec["out_channels"]
    kernel = spec.per_axis("kernel_size", rank)
    window = SpeechBrainWindow(
        kernel,
        spec.per_axis("stride", rank),
        spec.per_axis("dilation", rank),
        spec["padding"],
        spec["groups"],
        spec["padding_mode"],
        spec.values.get("swap", False),
    )
    found = _spinor(spec, stored, (out // 4, grouped_quaternions(spec, "in_channels"), *kernel), out)
    return speechbrain_convolution(
        window, found, max_norm=spec["max_norm"], spinor=spec["spinor"], scale=spec["vector_scale"]
    ).layer


def _norm(spec: Spec, shape: tuple[int, ...], stored: Stored) -> nn.Module:
    del shape
    channels = spec["num_features"]
    shapes = {
        "gamma": (channels // 4,),
        "beta": (channels,),
        "running_mean": (channels,),
        "running_var": (channels // 4,),
    }
    return speechbrain_norm(stored.expecting(shapes), spec["eps"])


_OPTIONS = {
    "max_norm": number(None, low=0, high=1e9),
    "spinor": flag(default=False),
    "vector_scale": flag(default=False),
}
_CONVOLUTION: Mapping[str, Key] = QUATERNION_CONVOLUTION | {
    "padding": choice("same", PADDINGS),
    "padding_mode": choice("reflect", ("reflect", "constant", "replicate", "circular")),
    **_OPTIONS,
}

KINDS: Mapping[str, Kind] = {
    "Linear": replace(REAL["Linear"], ranks=(0, 1, 2, 3)),
    "QLinear": Kind(_linear, QUATERNION_LINEAR | _OPTIONS, axes="last", ranks=(0, 1, 2, 3), ends=LINEAR_ENDS),
    "QConv1d": Kind(_convolution, _CONVOLUTION, ranks=(1,), ends=CONVOLUTION_ENDS),
    "QConv2d": Kind(_convolution, {**_CONVOLUTION, "swap": flag(default=False)}, ranks=(2,), ends=CONVOLUTION_ENDS),
    "QBatchNorm": Kind(
        _norm,
        {"num_features": quaternions(), "eps": number(1e-4, low=0, high=1)},
        axes="last",
        ranks=(0, 1, 2, 3),
        ends=("num_features", "num_features"),
    ),
}
"""By the names of the library's classes."""
