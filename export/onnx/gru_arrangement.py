"""How the body of a GRU is arranged: the fastest form that is exact for its weights, shifts and bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.onnx.fragments import LOOK_UP_FLAT, UINT8
from qdeploy.export.onnx.functions import Site, kind_of, rows_of_digits, weight_form
from qdeploy.runtime.accumulator import gru_reach
from qdeploy.runtime.numeric import is_power_of_two
from qdeploy.runtime.ops.gru import DRIVE_LIMIT, GATE_BITS

MAX_TABLE_BITS = 16
"""Of each of the tables that hold every index: of the gates, of W h + c, of the candidate."""


@dataclass(frozen=True)
class Arrangement:
    """How the body of one node is arranged; its text is the end of the function's name.

    Attributes:
        x_kind: ``u8`` or ``s16``.
        input_form, form: ``s8`` or ``u8`` weights of U and W (see functions.weight_form).
        wide_state: whether the loop holds the state in 32 bits, whose high and low digits are two rows of the
            product (``rows``), instead of a byte (``direct``).
        low_bits: of the low one of these rows: 8, or 7 (see functions.rows_of_digits).
        divided: whether powers of two close all sums, so that Div takes the place of the 64-bit requantization.
        even: whether one divisor serves all rows; a Div by a scalar takes half the time of one by a row of numbers.
        gate_bits, recalled_bits: n of tables of 2^n entries for every index of the gates and every W h + c.
        candidate_bits: the same of the candidate; 0 where its index is clipped.
        flat: from how many elements on look-ups are GatherElements of flat indices: all of the gates, the candidate too.
        lifted: whether the candidate's table is finer than the state.
        all_steps: whether y is wanted, or the last state only.
    """

    x_kind: str
    input_form: str
    form: str
    wide_state: bool
    low_bits: int
    divided: bool
    even: bool
    gate_bits: int
    recalled_bits: int
    candidate_bits: int
    flat_gates: bool
    flat_candidate: bool
    lifted: bool
    all_steps: bool

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            ("direct" if not self.wide_state else "rows" if self.low_bits == 8 else "sevens") + self.form,
            "all" if self.all_steps else "last",
        ]
        if self.divided:
            words[2:2] = [
                f"table{self.gate_bits}x{self.recalled_bits}x{self.candidate_bits or 'clip'}",
                "even" if self.even else "",
                "flat" if self.flat_candidate else "flatgates" if self.flat_gates else "",
                "" if self.lifted else "level",
            ]
        return "_".join(word for word in words if word)


def arrange(site: Site) -> Arrangement:
    """The arrangement that is exact for this node's weights, shifts and bounds."""
    constants = site.constants
    hidden = constants["recurrent_weight"].shape[1]
    bits = _table_bits(site)
    gate_bits, recalled_bits, candidate_bits = bits or (0, 0, 0)
    wide = int(site.attributes["dtype"]) != UINT8
    form, low_bits = weight_form(constants["recurrent_weight"].T), 8
    if wide:
        codes = int(site.attributes["high"]) - int(site.attributes["low"])
        form, low_bits = rows_of_digits(constants["recurrent_weight"].T, codes)
    return Arrangement(
        x_kind=kind_of(site, "x"),
        input_form=weight_form(constants["input_weight"].T),
        form=form,
        wide_state=wide,
        low_bits=low_bits,
        divided=bits is not None,
        even=bool((constants["multiplier"] == constants["multiplier"][0]).all()),
        gate_bits=gate_bits,
        recalled_bits=recalled_bits,
        candidate_bits=candidate_bits,
        flat_gates=3 * hidden >= LOOK_UP_FLAT,
        flat_candidate=hidden >= LOOK_UP_FLAT,
        lifted=int(site.attributes["state_shift"]) > 0,
        all_steps=bool(site.node.output[0]),
    )


def _table_bits(site: Site) -> tuple[int, int, int] | None:
    """n of the three tables, the last 0 for a clipped index; None where the sums are not closed by shifts within int32."""
    attributes, constants = site.attributes, site.constants
    multiplier = constants["multiplier"].astype(np.int64)
    step = 1 << int(attributes["shift"])
    shifts = is_power_of_two(multiplier) and is_power_of_two(constants["input_multiplier"])
    if not shifts or int(attributes["input_shift"]) > 0 or int(multiplier.max()) > step:
        return None
    drive = _drive_reach(site)
    if int(max(drive)) > DRIVE_LIMIT:
        # The contract clips it.
        return None
    hidden = constants["recurrent_weight"].shape[1]
    steps: NDArray[np.object_] = (step // multiplier).astype(object)
    reach = _sum_reach(site) + steps
    bits = []
    for rows in (slice(None, 2 * hidden), slice(2 * hidden, None)):
        indices = int(max(reach[rows] // steps[rows])) + 1
        bits.append(max(4, indices.bit_length() + 1))
    # Rows of n begin behind the gates' entries.
    middle = np.repeat([1 << (bits[0] - 1), (1 << bits[0]) + (1 << (bits[1] - 1))], [2 * hidden, hidden]).astype(object)
    if max(bits) > MAX_TABLE_BITS or int(max(reach + steps * middle)) >= 2**31:
        return None
    shift = int(attributes["candidate_shift"])
    recalled = min(2**15, int(max(reach[2 * hidden :] // steps[2 * hidden :])) + 1)
    candidate = (recalled << GATE_BITS) + int(max(drive[2 * hidden :])) + (1 << shift)
    candidate_bits = max(4, ((candidate >> shift) + 1).bit_length() + 1)
    if candidate_bits > MAX_TABLE_BITS or candidate + (1 << (candidate_bits - 1 + shift)) >= 2**31:
        candidate_bits = 0
    return bits[0], bits[1], candidate_bits


def _drive_reach(site: Site) -> NDArray[np.object_]:
    """A bound of |(U x + bias) input_multiplier| of each row."""
    constants, zero_point = site.constants, int(site.attributes["x_zero_point"])
    largest = max(zero_point, 255 - zero_point) if site.dtypes["x"] == UINT8 else 2**15
    weights = np.abs(constants["input_weight"].astype(np.int64)).sum(axis=1).astype(object)
    bias = np.abs(constants["bias"].astype(np.int64)).astype(object)
    reach: NDArray[np.object_] = (weights * largest + bias) * constants["input_multiplier"].astype(object)
    return reach


def _sum_reach(site: Site) -> NDArray[np.object_]:
    """A bound of the sums that ``multiplier`` closes."""
    attributes, constants = site.attributes, site.constants
    zero_point, x_zero_point = int(attributes["h_zero_point"]), int(attributes["x_zero_point"])
    return gru_reach(
        recurrent_weight=constants["recurrent_weight"],
        input_weight=constants["input_weight"],
        bias=constants["bias"],
        recurrent_bias=constants["recurrent_bias"],
        state=max(abs(int(attributes["low"]) - zero_point), abs(int(attributes["high"]) - zero_point)),
        x=max(x_zero_point, 255 - x_zero_point) if site.dtypes["x"] == UINT8 else 2**15,
        input_multiplier=constants["input_multiplier"],
        input_shift=int(attributes["input_shift"]),
        drive_limit=DRIVE_LIMIT,
    )
