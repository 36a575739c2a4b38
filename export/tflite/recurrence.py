"""What recurrent layers share: the input's part of all steps before the loop, states inside it, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.loop import Variables, run_steps
from qdeploy.export.tflite.product import MatrixProduct
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.states import Recorder
from qdeploy.runtime.numeric import product_bound

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.tables import LookUps
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["Step", "driven", "pieces", "recurrent_product", "rounded", "run_layer"]

Step: TypeAlias = "Callable[[Code, Mapping[str, Value], Value], Mapping[str, Value]]"
"""One step: where operators go, states and tables, and the input's part ``[1, N]``; gives the states after it. All are int32."""

_WHOLE = 2**31 - 1


def driven(site: Site, *, bias: IntArray | None = None, limit: int = _WHOLE) -> Value:
    """int32 ``[T, N]``: clip(round((U (x - x_zero_point) + bias) * input_multiplier / 2^input_shift)) of all steps.

    Args:
        site: the layer.
        bias: int32 ``[N]``, of the product.
        limit: bound of the result; 2^31 - 1 for that of int32.
    """
    attributes, code = site.attributes, site.code
    zero_point, weight = attributes["x_zero_point"], site.constant("input_weight")
    product = MatrixProduct.of(weight, site.tensor("x").dtype, zero_point)
    added = np.zeros(len(weight), np.int64) if bias is None else bias.astype(np.int64)
    whole = code.add(product.of_digits(code, product.digits.split(code, site.rows("x"))), product.rest + added)
    bound = min(product_bound(weight, site.largest("x", zero_point)) + int(np.abs(added).max()), _WHOLE)
    low = -(2**31) if limit == _WHOLE else -limit
    multiplier = site.constant("input_multiplier")
    return requantize(code, whole, multiplier, attributes["input_shift"], 0, low, limit, bound=bound)


def recurrent_product(site: Site) -> MatrixProduct:
    """W (h - h_zero_point)."""
    return MatrixProduct.of(site.constant("recurrent_weight"), site.kind("h0"), site.attributes["h_zero_point"])


def run_layer(site: Site, drive: Value, names: tuple[str, ...], step: Step, tables: LookUps | None = None) -> None:
    """Runs a layer over all steps and gives its outputs.

    Args:
        site: the layer.
        drive: int32 ``[T, N]``: the input's part.
        names: of the states: ``h``, or ``h`` and ``c``; the first one is what y holds.
        step: one step.
        tables: that it looks up.
    """
    recorder = Recorder.of(site, site.code, drive)
    states = {name: site.state(f"{name}0") for name in names}
    constants = {} if tables is None else tables.start

    def body(code: Code, now: Variables, number: Value) -> Variables:
        held = {name: now[name] for name in (*names, *constants)}
        after = step(code, held, code.gather(now["drive"], number))
        return {**after, **recorder.record(code, now, number, after[names[0]])}

    last = run_steps(site.code, site.layer.name, drive, {"drive": drive, **constants, **recorder.start, **states}, body)
    for name in names:
        site.set(f"y_{name}", last[name])
    recorder.finish(site, last)


def pieces(code: Code, x: Value, count: int) -> list[Value]:
    """``[1, count * N]`` as ``count`` times ``[1, N]``."""
    return code.split(x, [(x.shape[-1] or 0) // count] * count, 1)


def rounded(
    code: Code,
    x: Value,
    shift: int,
    zero_point: int = 0,
    low: int = -(2**31),
    high: int = _WHOLE,
    *,
    bound: int = _WHOLE,
) -> Value:
    """clip(floor((x + 2^(shift-1)) / 2^shift) + zero_point, low, high)."""
    return requantize(code, x, np.array([1]), shift, zero_point, low, high, bound=bound)
