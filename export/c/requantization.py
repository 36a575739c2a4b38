"""The end of a layer: accumulators to outputs, by the contract's multiplier and shift."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.export.c.product import Run
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.rounding import HALF_EVEN, HALF_UP

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site
    from qdeploy.runtime.numeric import IntArray

__all__ = ["requantize_runs"]

_KERNELS_BY_RULE = {
    HALF_UP: {"uint8": "requantize_u8", "int16": "requantize_s16", "int32": "requantize_s32"},
    HALF_EVEN: {"uint8": "requantize_half_even_u8"},
}


def requantize_runs(
    site: Site,
    y: str,
    dtype: np.dtype[Any],
    accumulator: str,
    runs: Iterable[Run],
    *,
    multiplier: IntArray,
    shift: int,
    zero_point: int,
    low: int,
    high: int,
    hint: str = "multiplier",
) -> None:
    """y[n] = clip(round(accumulator * multiplier / 2^shift) + zero_point, low, high) for every run of outputs.

    Args:
        site: the layer.
        y: expression of the outputs, ``[N]``.
        dtype: theirs: uint8, int16 or int32.
        accumulator: expression of the accumulator.
        runs: where the outputs stand in it.
        multiplier: int32 ``[1]`` or ``[N]``.
        shift, zero_point, low, high: as in the contract.
        hint: what the array of multipliers is called.
    """
    kernel = site.kernel(_kernel(site, dtype.name))
    each = int(multiplier.size > 1 and bool((multiplier != multiplier.flat[0]).any()))
    name = site.array(hint, multiplier.astype(np.int32) if each else multiplier.astype(np.int32).reshape(-1)[:1])
    for run in _joined(runs):
        first = f" + {run.first}" if run.first else ""
        place = f" + {run.place}" if run.place else ""
        site.line(
            f"{kernel}({y}{first}, {accumulator}{place}, {name}{first if each else ''}, {run.count}, {each}, {shift}, "
            f"{zero_point}, {low}, {high});"
        )


def _kernel(site: Site, dtype: str) -> str:
    """The kernel of a layer's rule and type.

    Raises:
        UnsupportedModelError: no kernel has the layer's rule.
    """
    rounding = site.attributes.get("rounding", HALF_UP)
    kernels = _KERNELS_BY_RULE.get(rounding, {})
    if dtype not in kernels:
        raise UnsupportedModelError(
            f"node {site.layer.name} ({site.layer.operator}): rounding {rounding!r} to {dtype} has no form in C; expected one of "
            f"{', '.join(_KERNELS_BY_RULE)}. Export without the format c, or with --tflite-kernels portable."
        )
    return kernels[dtype]


def _joined(runs: Iterable[Run]) -> list[Run]:
    """Runs of which the next begins where one ends, as one."""
    found: list[Run] = []
    for run in runs:
        last = found[-1] if found else None
        if last is not None and run.place == last.place + last.count and run.first == last.first + last.count:
            found[-1] = Run(last.first, last.count + run.count, last.place)
        else:
            found.append(run)
    return found
