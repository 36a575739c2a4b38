"""What FastRNN and FastGRNN share in LiteRT: one pre-activation, perhaps through a factor of low rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.product import MatrixProduct
from qdeploy.export.tflite.recurrence import rounded
from qdeploy.runtime.fast_loop import FACTOR_ZERO_POINT, GATE_BITS

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["Recalled", "next_state", "table_index"]


@dataclass(frozen=True)
class Recalled:
    """W (h - h_zero_point), through the first factor where there is one.

    Attributes:
        outer: the last product.
        inner: that with the factor, or None.
    """

    outer: MatrixProduct
    inner: MatrixProduct | None
    factor_shift: int

    @classmethod
    def of(cls, site: Site) -> Recalled:
        """Of a layer."""
        attributes, weight = site.attributes, site.constant("recurrent_weight")
        kind, zero_point = site.kind("h0"), attributes["h_zero_point"]
        if not site.has("factor"):
            return cls(MatrixProduct.of(weight, kind, zero_point), None, 0)
        inner = MatrixProduct.of(site.constant("factor"), kind, zero_point)
        outer = MatrixProduct.of(weight, np.dtype(np.uint8), FACTOR_ZERO_POINT)
        return cls(outer, inner, attributes["factor_shift"])

    def sums(self, code: Code, h: Value) -> Value:
        """int32 ``[1, H]``."""
        if self.inner is not None:
            product = code.add(self.inner.of_digits(code, self.inner.digits.split(code, h)), self.inner.rest)
            h = rounded(code, product, self.factor_shift, FACTOR_ZERO_POINT, 0, 255)
        return code.add(self.outer.of_digits(code, self.outer.digits.split(code, h)), self.outer.rest)


def table_index(code: Code, sums: Value, shifts: IntArray, size: int) -> Value:
    """clip(round(sums / 2^shift) + size / 2, 0, size - 1), each entry with its own shift."""
    values = shifts.astype(np.int64)
    half = (1 << values) >> 1
    if (values == values[0]).all():
        moved = code.shift_right(code.add(sums, half), int(values[0]))
    else:
        moved = code.shift_right_each(code.add(sums, half), values)
    return code.clip(code.add(moved, size // 2), 0, size - 1)


def next_state(site: Site, code: Code, sums: Value) -> Value:
    """round(sums / 2^(14 + state_shift)) + h_zero_point, clipped; by the contract sums with half a step added fit int32."""
    attributes = site.attributes
    shift = GATE_BITS + attributes["state_shift"]
    return rounded(code, sums, shift, attributes["h_zero_point"], attributes["low"], attributes["high"], bound=2**30)
