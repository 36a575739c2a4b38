"""Adaptive pools: those whose result has sizes that divide the image are plain pools."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from qdeploy.capture.twins.registry import twin_of
from qdeploy.runtime.errors import UnsupportedModelError


def _check(layer: Any, x: Tensor, rank: int) -> None:
    wanted = layer.output_size
    sizes = [wanted] * rank if wanted is None or isinstance(wanted, int) else list(wanted)
    for size, number in zip(x.shape[-rank:], sizes, strict=True):
        # While torch traces, a size that is free is no int; a mean over all of it is one number all the same.
        fixed: object = size
        if number is not None and number != 1 and (not isinstance(fixed, int) or fixed % number):
            raise UnsupportedModelError(
                f"layer {layer.capture_path} ({type(layer).__name__.removesuffix('Twin')}): an image with an axis of {size} "
                f"numbers, which does not divide by {number}, expected windows of one size; choose sizes that divide, or an "
                "AvgPool or MaxPool with the kernel and the stride that fit"
            )


def _register(layer: type[nn.Module], rank: int) -> None:
    def forward(self: Any, input: Tensor) -> Any:  # noqa: A002  # the base class's name
        _check(self, input, rank)
        return layer.forward(self, input)

    twin_of(layer)(type(f"{layer.__name__}Checked", (layer,), {"forward": forward, "__module__": __name__}))


for _layer, _rank in (
    (nn.AdaptiveAvgPool1d, 1),
    (nn.AdaptiveAvgPool2d, 2),
    (nn.AdaptiveAvgPool3d, 3),
    (nn.AdaptiveMaxPool1d, 1),
    (nn.AdaptiveMaxPool2d, 2),
    (nn.AdaptiveMaxPool3d, 3),
):
    _register(_layer, _rank)
