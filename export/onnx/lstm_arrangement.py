"""How the body of an LSTM is arranged: the fastest form that is exact for its weights, shifts and bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdeploy.export.onnx.fragments import LOOK_UP_FLAT, UINT8
from qdeploy.export.onnx.functions import Site, kind_of, rows_of_digits, weight_form
from qdeploy.export.onnx.rnn_arrangement import row_reach
from qdeploy.runtime.numeric import is_power_of_two
from qdeploy.runtime.ops.lstm import CELL_HIGH, GATE_BITS

DIRECT_CAST_SHIFT = 30
"""Up to this shift the constant of the 64-bit requantization is a multiple of 2^32, which a cast to int32 drops."""

MAX_TABLE_BITS = 16
"""Of each of the two tables that hold every index: 2^17 entries of int32 in all, of which few are ever read."""


@dataclass(frozen=True)
class Arrangement:
    """How the body of one node is arranged; its text is the end of the function's name.

    Attributes:
        x_kind: ``u8`` or ``s16``.
        input_form, form: ``s8`` or ``u8`` weights of U and W (see functions.weight_form).
        requantized_input: whether U x passes a requantization before the loop, and not a product with powers of two.
        wide_state: whether the loop holds h - low as a high and a low digit, two rows of one product (``rows``, or
            ``sevens``), instead of a byte (``direct``).
        low_bits: of the low one of these rows: 8, or 7 (see functions.rows_of_digits).
        scaled_weights: whether 2^recurrent_shift is multiplied into the weights.
        finish: how the accumulator becomes an index: ``table``, a Div, where the tables hold every index that can be;
            ``divide``, a Div and a Clip; ``multiply``, the 64-bit form.
        table_bits: n of ``table``: 2^n entries for the gates and as many for the candidate.
        direct_cast: whether ``multiply`` casts the index from 64 to 32 bits at once.
        output: how o tanh(c) becomes the hidden state: ``plain`` where it cannot leave its bounds, ``split`` where then one Div
            rounds it and gives both rows, ``clipped``, or ``long``, clipped and in 64 bits.
        flat_gates, flat_cell: whether the look-ups of the gates and of tanh(c) are GatherElements of flat indices.
        all_steps: whether y is wanted, or the last states only.
    """

    x_kind: str
    input_form: str
    form: str
    requantized_input: bool
    wide_state: bool
    low_bits: int
    scaled_weights: bool
    finish: str
    table_bits: int
    direct_cast: bool
    output: str
    flat_gates: bool
    flat_cell: bool
    all_steps: bool

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            "requantized" if self.requantized_input else "shifted",
            ("direct" if not self.wide_state else "rows" if self.low_bits == 8 else "sevens") + self.form,
            "" if self.scaled_weights else "lifted",
            self.finish
            + {"table": str(self.table_bits), "multiply": "32" if self.direct_cast else "16"}.get(self.finish, ""),
            self.output,
            "flat" if self.flat_cell else "flatgates" if self.flat_gates else "",
            "all" if self.all_steps else "last",
        ]
        return "_".join(word for word in words if word)


def arrange(site: Site) -> Arrangement:
    """The arrangement that is exact for this node's weights, shifts and bounds."""
    attributes, constants = site.attributes, site.constants
    weight = constants["recurrent_weight"].astype(np.int64)
    recurrent_shift = int(attributes["recurrent_shift"])
    scaled = recurrent_shift == 0 or int(np.abs(weight).max(initial=0)) << recurrent_shift <= 127
    wide = int(attributes["dtype"]) != UINT8
    loop_weight = (weight << recurrent_shift if scaled else weight).T
    form, low_bits = weight_form(loop_weight), 8
    if wide:
        form, low_bits = rows_of_digits(loop_weight, int(attributes["high"]) - int(attributes["low"]))
    finish, table_bits = _finish(site, 0 if scaled else recurrent_shift)
    return Arrangement(
        x_kind=kind_of(site, "x"),
        input_form=weight_form(constants["input_weight"].T),
        form=form,
        requantized_input=int(attributes["input_shift"]) > 0 or not is_power_of_two(constants["input_multiplier"]),
        wide_state=wide,
        low_bits=low_bits,
        scaled_weights=scaled,
        finish=finish,
        table_bits=table_bits,
        direct_cast=int(attributes["shift"]) <= DIRECT_CAST_SHIFT,
        output=_output(site, low_bits, wide=wide),
        flat_gates=len(weight) >= LOOK_UP_FLAT,
        flat_cell=weight.shape[1] >= LOOK_UP_FLAT,
        all_steps=bool(site.node.output[0]),
    )


def divisors(site: Site) -> np.ndarray | None:
    """2^shift / multiplier of each row ``[4H]`` where these are powers of two, 1 at least."""
    multiplier = site.constants["multiplier"].astype(np.int64)
    step = 1 << int(site.attributes["shift"])
    if not is_power_of_two(multiplier) or int(multiplier.max()) > step:
        return None
    return np.broadcast_to(step // multiplier, site.constants["bias"].shape)


def _finish(site: Site, lift: int) -> tuple[str, int]:
    """``table``, ``divide`` or ``multiply``, and n of the first; int32 holds every numerator."""
    found = divisors(site)
    if found is None or int(found.min()) < 1 << lift:
        return "multiply", 0
    steps = found.astype(object)
    reach = row_reach(site) + steps
    indices = int(max(reach // steps)) + 1
    bits = max(indices.bit_length() + 1, 4)
    # The candidate's rows begin behind the gates' 2^n entries, at 2^(n-1) more for their index 0.
    if bits <= MAX_TABLE_BITS and int(max(reach + steps * (3 << (bits - 1)))) < 2**31:
        return "table", bits
    half = site.constants["gate_table"].size // 2
    return ("divide" if lift == 0 and int(max(reach + steps * half)) < 2**31 else "multiply"), 0


def _output(site: Site, low_bits: int, *, wide: bool) -> str:
    attributes = site.attributes
    low, high, zero_point = (int(attributes[name]) for name in ("low", "high", "h_zero_point"))
    shift = int(attributes["output_shift"])
    half = (1 << shift) >> 1
    zero = zero_point - (low if wide else 0)
    if (abs(zero) << shift) + half + 2**GATE_BITS * CELL_HIGH >= 2**31:
        return "long"
    entries = site.constants["cell_table"].astype(np.int64)
    gate = int(site.constants["gate_table"].max())
    ends = [(gate * int(entry) + half) >> shift for entry in (min(entries.min(), 0), max(entries.max(), 0))]
    if ends[0] + zero_point < low or high < ends[1] + zero_point:
        return "clipped"
    return "split" if wide and shift + low_bits <= 30 else "plain"
