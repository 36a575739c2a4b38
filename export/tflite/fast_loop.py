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

__all__ = ["Recalled", "index_constant", "next_state", "table_index"]


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
        """int32 ``[1, H]``, without what the last product's digits leave out."""
        if self.inner is not None:
            product = code.add(self.inner.of_digits(code, self.inner.digits.split(code, h)), self.inner.rest)
            h = rounded(code, product, self.factor_shift, FACTOR_ZERO_POINT, 0, 255)
        return self.outer.of_digits(code, self.outer.digits.split(code, h))


def index_constant(recalled: Recalled, bias: IntArray, shifts: IntArray, size: int) -> IntArray:
    """What is added to a product's digits and the input's part before they are shifted to an index of a table.

    The bias, what the digits leave out, half a step of rounding, and half the table: by the contract 32 bits hold a sum with
    all of them.
    """
    steps = 1 << shifts.astype(np.int64)
    constant: IntArray = recalled.outer.rest + bias + (steps >> 1) + steps * (size // 2)
    return constant


def table_index(code: Code, sums: Value, shifts: IntArray, size: int, *, rectified: bool) -> Value:
    """floor(sums / 2^shift) within the table, each with its own shift; sums hold :func:`index_constant`, rectified or not."""
    values = shifts.astype(np.int64)
    uniform = bool((values == values[0]).all())
    moved = code.shift_right(sums, int(values[0])) if uniform else code.shift_right_each(sums, values)
    return code.clip(moved, -(2**31) if rectified else 0, size - 1)


def next_state(site: Site, code: Code, sums: Value) -> Value:
    """round(sums / 2^(14 + state_shift)) + h_zero_point, clipped; by the contract sums with half a step added fit int32."""
    attributes = site.attributes
    shift = GATE_BITS + attributes["state_shift"]
    return rounded(code, sums, shift, attributes["h_zero_point"], attributes["low"], attributes["high"], bound=2**30)
