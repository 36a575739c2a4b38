"""Body of GRUResetBefore: U x and all that is constant before the loop, and a Scan of two products.

One is for the gates and one for the candidate, whose operand is what the reset gate leaves of the state.

Inside the loop a state is held as its code, c = h - low, which is never negative: int32 ``[B, H]``, of which the product
reads a byte (``direct``), or ``[B, 1, H]``, whose high and low digit are two rows of the product (``rows`` of
8 bits, ``sevens``). What the reset
gate leaves is held likewise. Sums become indices by a Div where powers of two close them and int32 has room for an
offset (``divide``), else in 64 bits (``multiply``). In codes the mix of candidate and state is never negative, so that a
Div, which truncates, rounds half up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT32, INT64, UINT8, UINT64
from qdeploy.export.onnx.functions import Site, body, function, kind_of, rows_of_digits, weight_form
from qdeploy.runtime.accumulator import INT32_REACH, gru_reach
from qdeploy.runtime.numeric import is_power_of_two
from qdeploy.runtime.ops.gru_reset_before import DRIVE_LIMIT, GATE_BITS

PARTS = ("gate", "candidate")
"""The two products of a step."""

TABLES = {"gate": "sigmoid_table", "candidate": "tanh_table"}


@dataclass(frozen=True)
class _Arrangement:
    """How the body of one node is arranged.

    Attributes:
        x_kind: ``u8`` or ``s16``.
        input_form, form: ``s8`` or ``u8`` weights of U and W (see functions.weight_form).
        wide: whether the state has more than 8 bits.
        low_bits: of the low one of a wide state's two rows: 8, or 7 (see functions.rows_of_digits).
        divide: whether a Div closes the sums.
        flat: whether look-ups of a state's size go over flat indices; those of the gates do from half of it on.
        flat_gates: the same of the gates.
        every: whether every state is wanted.
    """

    x_kind: str
    input_form: str
    form: str
    wide: bool
    low_bits: int
    divide: bool
    flat: bool
    flat_gates: bool
    every: bool

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            ("direct" if not self.wide else "rows" if self.low_bits == 8 else "sevens") + self.form,
            "divide" if self.divide else "multiply",
            "flat" if self.flat else "flatgates" if self.flat_gates else "",
            "all" if self.every else "last",
        ]
        return "_".join(word for word in words if word)


@body("GRUResetBefore")
def gru_reset_before(site: Site) -> onnx.FunctionProto:
    """Chooses by types, weights, multipliers and by how far the sums can reach."""
    a = _arrange(site)
    names = ("input_shift", "shift", "state_shift", "h_zero_point", "low")
    lines = [
        *(line for name in names for line in fragments.attribute(name, INT64)),
        *_numbers(a),
        *_input_part(a),
        *_weights(a),
        *(line for part in PARTS for line in _drive(part, a)),
        *_mix_constants(),
        *_initial(a),
        _scan(a),
        *_final(a),
    ]
    return function("GRUResetBefore", a.name, lines)


def _arrange(site: Site) -> _Arrangement:
    constants = site.constants
    hidden = constants["recurrent_weight"].shape[1]
    wide = int(site.attributes["dtype"]) != UINT8
    form, low_bits = weight_form(constants["recurrent_weight"].T), 8
    if wide:
        codes = int(site.attributes["high"]) - int(site.attributes["low"])
        form, low_bits = rows_of_digits(constants["recurrent_weight"].T, codes)
    return _Arrangement(
        x_kind=kind_of(site, "x"),
        input_form=weight_form(constants["input_weight"].T),
        form=form,
        wide=wide,
        low_bits=low_bits,
        divide=_divided(site),
        flat=hidden >= fragments.LOOK_UP_FLAT,
        flat_gates=2 * hidden >= fragments.LOOK_UP_FLAT,
        every=bool(site.node.output[0]),
    )


def _divided(site: Site) -> bool:
    """Whether multipliers are powers of two, and int32 holds each sum above an offset that makes index 0 of it a 0."""
    attributes, constants = site.attributes, site.constants
    multiplier, step = constants["multiplier"].astype(np.int64), 1 << int(attributes["shift"])
    if not is_power_of_two(multiplier) or int(multiplier.max()) > step:
        return False
    zero_point, x_zero_point = int(attributes["h_zero_point"]), int(attributes["x_zero_point"])
    low, high = int(attributes["low"]), int(attributes["high"])
    reach = gru_reach(
        recurrent_weight=constants["recurrent_weight"],
        input_weight=constants["input_weight"],
        bias=constants["bias"],
        recurrent_bias=constants["bias"][:0],
        state=max(zero_point - low, high - zero_point),
        x=max(x_zero_point, 255 - x_zero_point) if site.dtypes["x"] == UINT8 else 2**15,
        input_multiplier=constants["input_multiplier"],
        input_shift=int(attributes["input_shift"]),
        drive_limit=DRIVE_LIMIT,
    )
    # The loop's own product is of codes, which reach twice as far as centred states; the drive takes the difference back.
    codes = np.abs(constants["recurrent_weight"].astype(np.int64)).sum(axis=1).astype(object) * (high - low)
    middle = max(constants[name].size for name in TABLES.values()) // 2 + 1
    return int((reach + codes + (step // multiplier).astype(object) * middle).max()) < INT32_REACH


def _numbers(a: _Arrangement) -> list[str]:
    rows = "any_one" if a.wide else "flat"
    return [
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.constant("two", "int64", 2),
        *fragments.constant("one_u64", "uint64", 1),
        *fragments.constant("drive_low", "int64", -DRIVE_LIMIT),
        *fragments.constant("drive_high", "int64", DRIVE_LIMIT),
        *fragments.vector("first_place", [0]),
        *fragments.vector("last_axis", [-1]),
        *fragments.vector("two_vector", [2]),
        *fragments.vector("three_vector", [3]),
        *fragments.vector("axis_0", [0]),
        *fragments.vector("axis_1", [1]),
        *fragments.vector("axis_2", [2]),
        *fragments.vector("flat", [-1]),
        *fragments.vector("any_one", [-1, 1]),
        "hidden = Shape<start = 1, end = 2>(recurrent_weight)",
        "hidden2 = Mul(hidden, two_vector)",
        "hidden3 = Mul(hidden, three_vector)",
        f"gate_look_up_shape = Concat<axis = 0>({rows}, hidden2)",
        f"candidate_look_up_shape = Concat<axis = 0>({rows}, hidden)",
        "offset = Sub(low, h_zero_point)",
        f"offset32 = Cast<to = {INT32}>(offset)",
        f"state_shift_u64 = Cast<to = {UINT64}>(state_shift)",
        'lift_u64 = BitShift<direction = "LEFT">(one_u64, state_shift_u64)',
        f"lift64 = Cast<to = {INT64}>(lift_u64)",
        f"lift = Cast<to = {INT32}>(lift_u64)",
        f"shift_u64 = Cast<to = {UINT64}>(shift)",
        'unit_u64 = BitShift<direction = "LEFT">(one_u64, shift_u64)',
        f"unit = Cast<to = {INT64}>(unit_u64)",
    ]


def _input_part(a: _Arrangement) -> list[str]:
    """driven64: u_t of every step and row, int64 [T, B, 3H]."""
    lines, matrix, zero_point = fragments.matrix("u", "input_weight", a.input_form)
    product, accumulator = fragments.product("p", "x", a.x_kind, matrix, zero_point)
    constants, names = fragments.requantization_constants(
        "i", multiplier="input_multiplier", shift="input_shift", zero_point="zero", low="drive_low", high="drive_high"
    )
    steps, result = fragments.requantization("ir", "input_sum", names)
    return [
        *lines,
        *product,
        f"input_sum = Add({accumulator}, bias)",
        *constants,
        *steps,
        # The cast to 32 bits drops K.
        f"driven = Cast<to = {INT32}>({result})",
        f"driven64 = Cast<to = {INT64}>(driven)",
    ]


def _weights(a: _Arrangement) -> list[str]:
    """The matrices of both products, and what W (c + low - zero_point) has beside W c."""
    lines = [
        f"weight64 = Cast<to = {INT64}>(recurrent_weight)",
        "row_sums = ReduceSum<keepdims = 0>(weight64, axis_1)",
        "correction = Mul(row_sums, offset)",
        "corrected = Add(driven64, correction)",
    ]
    for part in PARTS:
        begin, end = _rows(part)
        matrix_lines, matrix, _ = fragments.matrix(f"{part}_w", f"{part}_weight", a.form)
        lines += [
            f"{part}_weight = Slice(recurrent_weight, {begin}, {end}, axis_0)",
            *matrix_lines,
            # The loop transposes it back, which a runtime folds into a constant of the loop itself.
            f"{part}_rows = Transpose<perm = [1, 0]>({matrix})",
        ]
    return lines


def _rows(part: str) -> tuple[str, str]:
    """Where the part's rows begin and end."""
    return ("first_place", "hidden2") if part == "gate" else ("hidden2", "hidden3")


def _drive(part: str, a: _Arrangement) -> list[str]:
    """What is added to the part's product, and its table; the constants of what makes the sum an index."""
    begin, end = _rows(part)
    p = part
    lines = [
        f"{p}_table_shape = Shape({TABLES[part]})",
        f"{p}_size = Squeeze({p}_table_shape)",
        f"{p}_middle = Div({p}_size, two)",
        f"{p}_last = Sub({p}_size, one)",
        f"{p}_corrected = Slice(corrected, {begin}, {end}, last_axis)",
        f"{p}_multiplier = Slice(multiplier, {begin}, {end}, axis_0)",
    ]
    if part == "gate":
        lines.append(f"gate_entries = Cast<to = {INT32}>(sigmoid_table)")
    else:
        lines += [
            "lowest = Mul(offset, lift64)",
            f"tanh64 = Cast<to = {INT64}>(tanh_table)",
            "above_lowest = Sub(tanh64, lowest)",
            f"candidate_entries = Cast<to = {INT32}>(above_lowest)",
        ]
    if a.divide:
        lines += [
            f"{p}_multiplier64 = Cast<to = {INT64}>({p}_multiplier)",
            f"{p}_step64 = Div(unit, {p}_multiplier64)",
            f"{p}_step = Cast<to = {INT32}>({p}_step64)",
            f"{p}_half = Div({p}_step64, two)",
            f"{p}_lead = Mul({p}_middle, {p}_step64)",
            f"{p}_above = Add({p}_lead, {p}_half)",
            f"{p}_sum = Add({p}_corrected, {p}_above)",
            f"{p}_drive = Cast<to = {INT32}>({p}_sum)",
            f"{p}_index_low = Cast<to = {INT32}>(zero)",
            f"{p}_index_high = Cast<to = {INT32}>({p}_last)",
        ]
    else:
        lines += [
            *fragments.requantization_constants(
                f"{p}_q",
                multiplier=f"{p}_multiplier",
                shift="shift",
                zero_point=f"{p}_middle",
                low="zero",
                high=f"{p}_last",
            )[0],
            f"{p}_corrected_w = Cast<to = {UINT64}>({p}_corrected)",
            f"{p}_corrected_m = Mul({p}_corrected_w, {p}_q_m)",
            f"{p}_drive = Add({p}_corrected_m, {p}_q_c)",
        ]
    return [*lines, f"{p}_driven = {f'Unsqueeze({p}_drive, axis_2)' if a.wide else f'Identity({p}_drive)'}"]


def _mix_constants() -> list[str]:
    """Of n' 2^15 + z (c 2^a - n') + half; of r (c + offset) + half - offset 2^15; and what they are divided by."""
    return [
        *fragments.constant("gate_one64", "int64", 1 << GATE_BITS),
        f"gate_one = Cast<to = {INT32}>(gate_one64)",
        "divisor64 = Mul(lift64, gate_one64)",
        "half64 = Div(divisor64, two)",
        f"divisor = Cast<to = {INT32}>(divisor64)",
        f"half = Cast<to = {INT32}>(half64)",
        "left_half = Div(gate_one64, two)",
        "offset_lifted = Mul(offset, gate_one64)",
        "left_lead64 = Sub(left_half, offset_lifted)",
        f"left_lead = Cast<to = {INT32}>(left_lead64)",
    ]


def _initial(a: _Arrangement) -> list[str]:
    """code0: h0 as the loop holds it."""
    return [
        f"low32 = Cast<to = {INT32}>(low)",
        f"h0_32 = Cast<to = {INT32}>(h0)",
        "h0_code = Sub(h0_32, low32)",
        *fragments.digit_constants(a.low_bits),
        "code0 = Unsqueeze(h0_code, axis_1)" if a.wide else "code0 = Identity(h0_code)",
    ]


def _scan(a: _Arrangement) -> str:
    dims = "[?, ?, ?]" if a.wide else "[?, ?]"
    kind = "int32" if a.divide else "uint64"
    steps = [
        *_index("gate", "code", a),
        *fragments.look_up("gates", "gate_entries", "gate_index", shape=_shape("gate", flat=a.flat_gates)),
        "reset, update = Split<axis = -1, num_outputs = 2>(gates)",
        "centred = Add(code, offset32)",
        "recalled = Mul(reset, centred)",
        # Never negative: |r (c + offset)| is less than |offset| 2^15 where c + offset is negative.
        "recalled_above = Add(recalled, left_lead)",
        "left = Div(recalled_above, gate_one)",
        *_index("candidate", "left", a),
        *fragments.look_up("chosen", "candidate_entries", "candidate_index", shape=_shape("candidate", flat=a.flat)),
        "lifted = Mul(code, lift)",
        "distance = Sub(lifted, chosen)",
        "kept = Mul(update, distance)",
        "replaced = Mul(chosen, gate_one)",
        "mixed = Add(replaced, kept)",
        "mixed_half = Add(mixed, half)",
        "next = Div(mixed_half, divisor)",
    ]
    outputs, results = f"int32{dims} next", "last"
    if a.every:
        steps.append("emitted = Identity(next)")
        outputs, results = f"{outputs}, int32{dims} emitted", "last, every"
    text = "\n    ".join(steps)
    return (
        f"{results} = Scan<num_scan_inputs = 2, body = step (int32{dims} code, {kind}{dims} gate_driven_t, "
        f"{kind}{dims} candidate_driven_t) => ({outputs}) {{\n    {text}\n  }}>(code0, gate_driven, candidate_driven)"
    )


def _shape(part: str, *, flat: bool) -> str | None:
    return f"{part}_look_up_shape" if flat else None


def _index(part: str, state: str, a: _Arrangement) -> list[str]:
    """The part's index, of the product of its rows of W with ``state``."""
    p = part
    zero_point = f", , {p}_w_uz" if a.form == "u8" else ""
    lines = [f"{p}_columns = Transpose<perm = [1, 0]>({p}_rows)"]
    if a.wide:
        lines += [
            *fragments.digits(f"{p}_digits", state, a.low_bits),
            f"{p}_products = MatMulInteger({p}_digits, {p}_columns{zero_point})",
            *fragments.joined(f"{p}_product", f"{p}_products"),
        ]
    else:
        lines += [
            f"{p}_byte = Cast<to = {UINT8}>({state})",
            f"{p}_product = MatMulInteger({p}_byte, {p}_columns{zero_point})",
        ]
    if a.divide:
        # Below index 0, where truncation differs from the floor, the Clip gives 0 for both.
        return [
            *lines,
            f"{p}_total = Add({p}_product, {p}_driven_t)",
            f"{p}_quotient = Div({p}_total, {p}_step)",
            f"{p}_index = Clip({p}_quotient, {p}_index_low, {p}_index_high)",
        ]
    return [
        *lines,
        f"{p}_product_w = Cast<to = {UINT64}>({p}_product)",
        f"{p}_product_m = Mul({p}_product_w, {p}_q_m)",
        f"{p}_total = Add({p}_product_m, {p}_driven_t)",
        f'{p}_shifted = BitShift<direction = "RIGHT">({p}_total, {p}_q_s)',
        f"{p}_bounded = Clip({p}_shifted, {p}_q_lo, {p}_q_hi)",
        # K is a multiple of 2^32 here, since the shift is 30 at most.
        f"{p}_index = Cast<to = {INT32}>({p}_bounded)",
    ]


def _final(a: _Arrangement) -> list[str]:
    """The states as the contract has them."""
    lines = []
    for result, source, axis in [("y_h", "last", "axis_1"), *([("y", "every", "axis_2")] if a.every else [])]:
        code = source
        if a.wide:
            code = f"{result}_code"
            lines.append(f"{code} = Squeeze({source}, {axis})")
        lines += [f"{result}_32 = Add({code}, low32)", f"{result} = Cast<to: int = @dtype>({result}_32)"]
    if not a.every:
        # The contract has two outputs; a node that drops y never reads this one.
        lines.append("y = Unsqueeze(y_h, axis_0)")
    return lines
