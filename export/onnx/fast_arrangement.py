"""How the body of FastRNN or FastGRNN is arranged: the fastest form that is exact for its weights, shifts and bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.onnx.fragments import LOOK_UP_FLAT, UINT8
from qdeploy.export.onnx.functions import Site, kind_of, weight_form
from qdeploy.runtime.accumulator import recurrent_reach
from qdeploy.runtime.fast_loop import FACTOR_ZERO_POINT
from qdeploy.runtime.numeric import is_power_of_two

MAX_TABLE_BITS = 16
"""Of each table that holds every index."""


@dataclass(frozen=True)
class Arrangement:
    """How the body of one node is arranged; its text is the end of the function's name.

    Attributes:
        gated: FastGRNN, not FastRNN.
        x_kind: ``u8`` or ``s16``.
        input_form, form, factor_form: ``s8`` or ``u8`` weights (see functions.weight_form); the last is empty without a factor.
        requantized_input: whether U x passes a requantization before the loop, and not a product with powers of two.
        wide_state: whether the state's high and low byte are two rows of the product, instead of one byte.
        table_bits: n of tables of 2^n entries that hold every index; 0 where the index is clipped.
        knots: whether tables hold their entries at some indices only, with straight lines between (see fast_loop).
        flat: whether look-ups are GatherElements of flat indices.
        all_steps: whether y is wanted, or the last state only.
    """

    gated: bool
    x_kind: str
    input_form: str
    form: str
    factor_form: str
    requantized_input: bool
    wide_state: bool
    table_bits: int
    knots: bool
    flat: bool
    all_steps: bool

    @property
    def tables(self) -> int:
        """How many tables one pre-activation is looked up in."""
        return 3 if self.gated else 1

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            "requantized" if self.requantized_input else "shifted",
            ("rows" if self.wide_state else "direct") + (self.factor_form or self.form),
            f"rank{self.form}" if self.factor_form else "",
            f"table{self.table_bits}" if self.table_bits else "clip",
            "knots" if self.knots else "",
            "flat" if self.flat else "",
            "all" if self.all_steps else "last",
        ]
        return "_".join(word for word in words if word)


def arrange(site: Site, *, gated: bool) -> Arrangement:
    """The fastest arrangement that is exact for this node's weights, shifts and bounds."""
    constants = site.constants
    hidden = len(constants["input_weight"])
    factor = constants.get("factor")
    return Arrangement(
        gated=gated,
        x_kind=kind_of(site, "x"),
        input_form=weight_form(constants["input_weight"].T),
        form=weight_form(constants["recurrent_weight"].T),
        factor_form="" if factor is None else weight_form(factor.T),
        requantized_input=int(site.attributes["input_shift"]) > 0 or not is_power_of_two(constants["input_multiplier"]),
        wide_state=int(site.attributes["dtype"]) != UINT8,
        table_bits=_table_bits(site, gated=gated),
        knots=not is_power_of_two(np.array([constants["added_table"].size])),
        flat=(3 if gated else 1) * hidden >= LOOK_UP_FLAT,
        all_steps=bool(site.node.output[0]),
    )


def _table_bits(site: Site, *, gated: bool) -> int:
    """n of tables that hold every index, 0 where they would be too long or their lead too large for int32."""
    attributes, constants = site.attributes, site.constants
    zero_point, x_zero_point = int(attributes["h_zero_point"]), int(attributes["x_zero_point"])
    centred = max(abs(int(attributes["low"]) - zero_point), abs(int(attributes["high"]) - zero_point))
    hidden = len(constants["input_weight"])
    bias = np.abs(constants["bias"].astype(np.int64)).reshape(-1, hidden).max(axis=0)
    reach = recurrent_reach(
        recurrent_weight=constants["recurrent_weight"],
        input_weight=constants["input_weight"],
        bias=bias,
        state=FACTOR_ZERO_POINT if "factor" in constants else centred,
        x=max(x_zero_point, 255 - x_zero_point) if site.dtypes["x"] == UINT8 else 2**15,
        recurrent_shift=0,
        input_shift=int(attributes["input_shift"]),
        input_multiplier=constants["input_multiplier"],
    )
    steps: NDArray[np.object_] = (1 << constants["index_shift"].astype(np.int64)).reshape(-1, hidden).astype(object)
    indices = int(((reach + steps) // steps).max()) + 1
    bits = max(4, indices.bit_length() + 1)
    # The last of the tables begins behind the others' entries.
    lead = ((2 if gated else 0) << bits) + (1 << (bits - 1))
    return bits if bits <= MAX_TABLE_BITS and int((reach + steps * (lead + 1)).max()) < 2**31 else 0
