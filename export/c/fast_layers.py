"""What FastRNN and FastGRNN share in C: the pre-activation W h + U x, W through its factors where it has some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.gates import add_runs, driven_part, gate_product, start, table_index, wrapped
from qdeploy.export.c.product import MatrixProduct
from qdeploy.export.c.requantization import requantize_runs
from qdeploy.export.c.site import Operand
from qdeploy.export.sample_graph import Tensor
from qdeploy.runtime.fast_loop import FACTOR_ZERO_POINT

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site
    from qdeploy.runtime.numeric import IntArray

__all__ = ["PreActivation"]


@dataclass(frozen=True)
class PreActivation:
    """a = W h + U x of one layer.

    Attributes:
        x, h: its input and state.
        driven: U x.
        recurrent: W h, or W q.
        factor: F h, of a recurrent weight of low rank.
        inner: q, the factor's product in 8 bits.
        part, sums: memory of U x and of a.
    """

    x: Operand
    h: Operand
    driven: MatrixProduct
    recurrent: MatrixProduct
    factor: MatrixProduct | None
    inner: Operand
    part: str
    sums: str

    @classmethod
    def of(cls, site: Site, x: Operand, h: Operand) -> PreActivation:
        """Asks for weights and memory."""
        attributes = site.attributes
        driven = gate_product(site, "input_weight", x, attributes["x_zero_point"], 1)
        factor, inner, zero_point = None, h, attributes["h_zero_point"]
        if site.has("factor"):
            factor = MatrixProduct.of(site, "factor", h, zero_point)
            tensor = Tensor("inner", np.dtype(np.uint8), (factor.outputs,))
            inner, zero_point = (
                Operand(site.scratch("inner", "uint8", factor.outputs), tensor, slack=True),
                FACTOR_ZERO_POINT,
            )
        recurrent = gate_product(site, "recurrent_weight", inner, zero_point, 1)
        sums = site.scratch("sums", "int32", max(recurrent.size, factor.size if factor else 0))
        part = site.scratch("driven", "int32", driven.size)
        return cls(x, h, driven, recurrent, factor, inner, part, sums)

    def write(self, site: Site, x: str) -> None:
        """sums = W h + U x.

        Args:
            site: the layer.
            x: expression of the input, readable for the kernel.
        """
        site.remark("u = U x, at the scale of W h")
        driven_part(site, self.driven, self.part, x, 0 * self.driven.rest)
        if self.factor is not None:
            site.remark("q = F h, in 8 bits: the recurrent weight is W F")
            start(site, self.factor, self.sums, 0 * self.factor.rest, "factor_start")
            site.line(self.factor.call(self.sums, self.h.name))
            requantize_runs(
                site,
                self.inner.name,
                np.dtype(np.uint8),
                self.sums,
                self.factor.runs,
                multiplier=np.ones(1, np.int32),
                shift=site.attributes["factor_shift"],
                zero_point=FACTOR_ZERO_POINT,
                low=0,
                high=255,
                hint="one",
            )
        site.remark("a = W q + u" if self.factor else "a = W h + u")
        start(site, self.recurrent, self.sums, 0 * self.recurrent.rest, "recurrent_start")
        site.line(self.recurrent.call(self.sums, self.inner.name))
        add_runs(site, self.sums, list(self.recurrent.runs), self.part, list(self.driven.runs))

    def index(self, site: Site, index: str, shifts: IntArray, *, argument: str, hint: str) -> None:
        """index = clip(round(sums / 2^shifts) + size / 2) of the table ``argument``.

        Shifts that differ from unit to unit become multipliers 2^(most - shift) before one shift: the same number.
        """
        most = int(shifts.max())
        multiplier = np.int32(1) << (most - shifts).astype(np.int32)
        table_index(site, index, self.sums, self.recurrent.runs, multiplier, most, argument=argument, hint=hint)

    def add_bias(self, site: Site, bias: IntArray, hint: str) -> None:
        """sums += bias."""
        name = site.array(hint, wrapped(self.recurrent.arranged(bias.astype(np.int64))))
        site.line(f"{site.kernel('add_s32')}({self.sums}, {name}, {self.recurrent.size});")
