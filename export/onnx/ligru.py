"""Body of LiGRU: U x and all that is constant before the loop, a Scan of one product, three look-ups and two divisions.

Inside the loop a state is held as its code, c = h - low, which is never negative: uint8 as it is (``direct``), int16 as
int32 ``[B, 1, H]``, whose high and low byte are two rows of the product (``rows``), or, in large layers whose weights would
saturate beside a byte, two digits of seven bits (``digits``), which bear every weight but -128 as int8. Rows of 16 bits are
made by a Div where the multipliers are powers of two and int32 has room for an offset (``divide``), else in 64 bits
(``multiply``). What follows from a row alone, gate and candidate, is looked up in tables of all 2^16 rows, which are made at
load: activation, slope, multiplier and shift of the candidate cost the loop nothing. With n' the candidate above the
state's lowest value,

    c_t = (n' 2^15 + g (c_{t-1} 2^a - n') + half) / 2^(15 + a)

which is a Div that truncates: it rounds half up where the dividend is not negative, and where it is, because a candidate
can lie below the states' range, a Clip gives 0 for both (``wide``; else there is none). A second table gives
n' 2^15 + half at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT32, INT64, UINT8, UINT64
from qdeploy.export.onnx.functions import Site, body, function, kind_of, weight_form
from qdeploy.runtime.accumulator import INT32_REACH, gru_reach
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.numeric import requantize
from qdeploy.runtime.ops.ligru import DRIVE_LIMIT, GATE_BITS, LIMITS

ROWS = 2**16
"""How many values a row can have."""

DIGITS_FROM = 2**17
"""Recurrent weights: below, the operator that digits take costs more than uint8 weights do with two rows."""


@dataclass(frozen=True)
class _Arrangement:
    """How the body of one node is arranged.

    Attributes:
        x_kind: ``u8`` or ``s16``.
        input_form, form: ``s8`` or ``u8`` weights of U and W (see functions.weight_form).
        wide: whether the state has more than 8 bits.
        digits: whether its two rows have seven bits each, not eight.
        divide: whether a Div closes the accumulator.
        clip: whether the quotient can leave 16 bits.
        table: whether the candidate has a table.
        beyond: whether a candidate can lie beyond the state's range.
        flat: whether look-ups go over flat indices.
        every: whether every state is wanted.
    """

    x_kind: str
    input_form: str
    form: str
    wide: bool
    digits: bool
    divide: bool
    clip: bool
    table: bool
    beyond: bool
    flat: bool
    every: bool

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            ("digits" if self.digits else "rows" if self.wide else "direct") + self.form,
            ("divide" if self.divide else "multiply") + ("" if self.clip or not self.divide else "free"),
            ("table" if self.table else "rectifier") + ("wide" if self.beyond else ""),
            "flat" if self.flat else "",
            "all" if self.every else "last",
        ]
        return "_".join(word for word in words if word)


@body("LiGRU")
def ligru(site: Site) -> onnx.FunctionProto:
    """Chooses by types, weights, multipliers and by how far the accumulator can reach."""
    a = _arrange(site)
    attributes = ("input_shift", "shift", "gate_shift", "candidate_multiplier", "candidate_shift", "slope")
    lines = [
        *(
            line
            for name in (*attributes, "state_shift", "h_zero_point", "low", "high")
            for line in fragments.attribute(name, INT64)
        ),
        *_numbers(),
        *_input_part(a),
        *_recurrent_part(a),
        *_tables(a),
        *_scan(a),
    ]
    if not a.every:
        # The contract has two outputs; a node that drops y never reads this one.
        lines += [*fragments.vector("y_axis", [0]), "y = Unsqueeze(y_h, y_axis)"]
    return function("LiGRU", a.name, lines)


def _arrange(site: Site) -> _Arrangement:
    constants, attributes = site.constants, site.attributes
    for name, most in LIMITS.items():
        if not 0 <= int(attributes[name]) <= most:
            raise ContractError(f"node {site.node.name}: {name} is {attributes[name]}; expected 0 to {most}.")
    x_kind = kind_of(site, "x")
    zero_point, shift = int(attributes["h_zero_point"]), int(attributes["shift"])
    multiplier = constants["multiplier"].astype(np.int64)
    # Of every row what a Div divides by, where that is whole.
    steps = np.array([(1 << shift) // int(m) if m > 0 and (1 << shift) % int(m) == 0 else 0 for m in multiplier])
    offset = int(steps.max()) * (ROWS // 2) + int(steps.max()) // 2
    reach = int(
        gru_reach(
            recurrent_weight=constants["recurrent_weight"],
            input_weight=constants["input_weight"],
            bias=constants["bias"],
            recurrent_bias=constants["bias"][:0],
            state=max(abs(int(attributes[bound]) - zero_point) for bound in ("low", "high")),
            x=2**15 if x_kind == "s16" else max(int(attributes["x_zero_point"]), 255 - int(attributes["x_zero_point"])),
            input_multiplier=constants["input_multiplier"],
            input_shift=int(attributes["input_shift"]),
            drive_limit=DRIVE_LIMIT,
        ).max()
    )
    # The loop's own product is of codes, which reach twice as far as centred states; the drive takes the difference back.
    codes = np.abs(constants["recurrent_weight"].astype(np.int64)).sum(axis=1).max(initial=0)
    codes *= int(attributes["high"]) - int(attributes["low"])
    divide = bool(steps.min() > 0) and reach + int(codes) + offset < INT32_REACH
    recurrent = constants["recurrent_weight"].T
    form, wide = weight_form(recurrent), int(attributes["dtype"]) != UINT8
    narrow = int(attributes["high"]) - int(attributes["low"]) < 2**14
    digits = wide and narrow and form == "u8" and recurrent.size >= DIGITS_FROM
    digits = digits and weight_form(recurrent, 127) == "s8"
    return _Arrangement(
        x_kind=x_kind,
        input_form=weight_form(constants["input_weight"].T),
        form="s8" if digits else form,
        wide=wide,
        digits=digits,
        divide=divide,
        clip=reach + int(steps.min()) // 2 >= ROWS // 2 * int(steps.min()),
        table="candidate_table" in constants,
        beyond=_beyond(site),
        flat=constants["recurrent_weight"].shape[1] >= fragments.LOOK_UP_FLAT,
        every=bool(site.node.output[0]),
    )


def _beyond(site: Site) -> bool:
    """Whether any row's candidate lies outside [low, high]."""
    attributes = {name: int(value) for name, value in site.attributes.items()}
    low, high = (
        (attributes[name] - attributes["h_zero_point"]) << attributes["state_shift"] for name in ("low", "high")
    )
    table = site.constants.get("candidate_table")
    if table is not None:
        return int(table.min()) < low or int(table.max()) > high
    rows = np.array([-(ROWS // 2), ROWS // 2 - 1])
    scaled = requantize(rows, attributes["candidate_multiplier"], attributes["candidate_shift"], 0, -(2**46), 2**46)
    least = max(int(scaled[0]), int(requantize(scaled[:1], attributes["slope"], GATE_BITS, 0, -(2**46), 2**46)[0]))
    return max(least, -(2**15)) < low or min(int(scaled[1]), 2**15 - (1 << attributes["state_shift"])) > high


def _numbers() -> list[str]:
    """Scalars, vectors, and powers of two of the shifts."""
    lines = [
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.constant("two", "int64", 2),
        *fragments.constant("one_u64", "uint64", 1),
        *fragments.constant("drive_low", "int64", -DRIVE_LIMIT),
        *fragments.constant("drive_high", "int64", DRIVE_LIMIT),
        *fragments.constant("row_zero", "int64", ROWS // 2),
        *fragments.constant("row_last", "int64", ROWS - 1),
        *fragments.constant("row_end", "int64", ROWS),
        *fragments.constant("q15", "int64", 1 << GATE_BITS),
        *fragments.vector("last_axis", [-1]),
        *fragments.vector("axis_1", [1]),
        *fragments.vector("axis_2", [2]),
        "units = Shape<start = 1, end = 2>(recurrent_weight)",
    ]
    for name in ("shift", "gate_shift", "candidate_shift", "state_shift"):
        lines += [
            f"{name}_u64 = Cast<to = {UINT64}>({name})",
            f'{name}_step_u64 = BitShift<direction = "LEFT">(one_u64, {name}_u64)',
            f"{name}_step = Cast<to = {INT64}>({name}_step_u64)",
            f"{name}_half = Div({name}_step, two)",
        ]
    return lines


def _input_part(a: _Arrangement) -> list[str]:
    """driven: u_t of every step and row, int32 [T, B, 2H]."""
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
        f"driven = Cast<to = {INT32}>({result})",
    ]


def _recurrent_part(a: _Arrangement) -> list[str]:
    """The product's matrix, and drive: what is added to W c, with what W (c + low - zero_point) has beside it."""
    lines, _, _ = fragments.matrix("w", "recurrent_weight", a.form)
    lines += [
        f"weight64 = Cast<to = {INT64}>(recurrent_weight)",
        "row_sums = ReduceSum<keepdims = 0>(weight64, axis_1)",
        "offset = Sub(low, h_zero_point)",
        "correction = Mul(row_sums, offset)",
        f"driven64 = Cast<to = {INT64}>(driven)",
        "corrected = Add(driven64, correction)",
    ]
    if a.divide:
        lines += [
            f"multiplier64 = Cast<to = {INT64}>(multiplier)",
            "row_step64 = Div(shift_step, multiplier64)",
            "row_half = Div(row_step64, two)",
            "row_middle = Mul(row_zero, row_step64)",
            "row_offset = Add(row_middle, row_half)",
            "drive64 = Add(corrected, row_offset)",
            f"drive_rows = Cast<to = {INT32}>(drive64)",
            f"row_step = Cast<to = {INT32}>(row_step64)",
            f"index_low = Cast<to = {INT32}>(zero)",
            f"index_high = Cast<to = {INT32}>(row_last)",
        ]
    else:
        lines += [
            *fragments.requantization_constants(
                "q", multiplier="multiplier", shift="shift", zero_point="row_zero", low="zero", high="row_last"
            )[0],
            f"corrected_w = Cast<to = {UINT64}>(corrected)",
            "corrected_m = Mul(corrected_w, q_m)",
            "drive_rows = Add(corrected_m, q_c)",
        ]
    return [*lines, "drive = Unsqueeze(drive_rows, axis_2)" if a.wide else "drive = Identity(drive_rows)"]


def _floor(result: str, dividend: str, divisor: str) -> list[str]:
    """floor(dividend / divisor), which Div alone is not below zero; Mod takes the divisor's sign."""
    return [
        f"{result}_rest = Mod({dividend}, {divisor})",
        f"{result}_whole = Sub({dividend}, {result}_rest)",
        f"{result} = Div({result}_whole, {divisor})",
    ]


def _tables(a: _Arrangement) -> list[str]:
    """gates and candidates of every row, candidates_half, and the numbers of the mix."""
    lines = [
        "row_place = Range(zero, row_end, one)",
        "row = Sub(row_place, row_zero)",
        "sigmoid_shape = Shape(sigmoid_table)",
        "sigmoid_size = Squeeze(sigmoid_shape)",
        "sigmoid_half = Div(sigmoid_size, two)",
        "sigmoid_last = Sub(sigmoid_size, one)",
        "gate_rounded = Add(row, gate_shift_half)",
        *_floor("gate_quotient", "gate_rounded", "gate_shift_step"),
        "gate_above = Add(gate_quotient, sigmoid_half)",
        "gate_index = Clip(gate_above, zero, sigmoid_last)",
        "gates_16 = Gather<axis = 0>(sigmoid_table, gate_index)",
        f"gates = Cast<to = {INT32}>(gates_16)",
        "scaled_row = Mul(row, candidate_multiplier)",
        "scaled_rounded = Add(scaled_row, candidate_shift_half)",
        *_floor("scaled_far", "scaled_rounded", "candidate_shift_step"),
        # From 2^30 on every candidate stands at an end. onnxruntime's Clip, Max and Min of int64 are wrong where the high
        # words of two numbers are equal and their low words differ in the sign bit; those of uint64 are right.
        *fragments.constant("far", "int64", 2**47),
        *fragments.constant("far_low", "uint64", 2**47 - 2**30),
        *fragments.constant("far_high", "uint64", 2**47 + 2**30),
        "scaled_above = Add(scaled_far, far)",
        f"scaled_u64 = Cast<to = {UINT64}>(scaled_above)",
        "scaled_near = Clip(scaled_u64, far_low, far_high)",
        f"scaled_i64 = Cast<to = {INT64}>(scaled_near)",
        "scaled = Sub(scaled_i64, far)",
        "lowest = Mul(offset, state_shift_step)",
    ]
    if a.table:
        lines += [
            "candidate_shape = Shape(candidate_table)",
            "candidate_size = Squeeze(candidate_shape)",
            "candidate_half = Div(candidate_size, two)",
            "candidate_last = Sub(candidate_size, one)",
            "candidate_above = Add(scaled, candidate_half)",
            "candidate_index = Clip(candidate_above, zero, candidate_last)",
            "candidates_16 = Gather<axis = 0>(candidate_table, candidate_index)",
            f"candidates_64 = Cast<to = {INT64}>(candidates_16)",
        ]
    else:
        lines += [
            *fragments.constant("candidate_least", "int64", -(2**15)),
            *fragments.constant("candidate_end", "int64", 2**15),
            "candidate_most = Sub(candidate_end, state_shift_step)",
            "sloped = Mul(scaled, slope)",
            "q15_half = Div(q15, two)",
            "sloped_rounded = Add(sloped, q15_half)",
            *_floor("leak", "sloped_rounded", "q15"),
            "rectified = Max(scaled, leak)",
            "candidates_64 = Clip(rectified, candidate_least, candidate_most)",
        ]
    return [
        *lines,
        "above_lowest = Sub(candidates_64, lowest)",
        f"candidates = Cast<to = {INT32}>(above_lowest)",
        "divisor64 = Mul(state_shift_step, q15)",
        "half64 = Div(divisor64, two)",
        "lifted_candidates = Mul(above_lowest, q15)",
        "candidates_and_half = Add(lifted_candidates, half64)",
        f"candidates_half = Cast<to = {INT32}>(candidates_and_half)",
        f"lift = Cast<to = {INT32}>(state_shift_step)",
        f"divisor = Cast<to = {INT32}>(divisor64)",
        "code_most = Sub(high, low)",
        f"code_low = Cast<to = {INT32}>(zero)",
        f"code_high = Cast<to = {INT32}>(code_most)",
        *fragments.vector("flat", [-1]),
        *fragments.vector("any_one", [-1, 1]),
        f"state_shape = Concat<axis = 0>({'any_one' if a.wide else 'flat'}, units)",
    ]


def _scan(a: _Arrangement) -> list[str]:
    """The loop, the codes before it and the states behind it."""
    rank = "[?, ?, ?]" if a.wide else "[?, ?]"
    state = f"int32{rank}" if a.wide else f"uint8{rank}"
    outputs = f"{state} next" + (f", {state} emitted" if a.every else "")
    text = "\n    ".join(_step(a))
    kind = "int32" if a.divide else "uint64"
    results = "last, every" if a.every else "last"
    loop = (
        f"{results} = Scan<num_scan_inputs = 1, body = step ({state} code, {kind}{rank} drive_t) => ({outputs}) "
        f"{{\n    {text}\n  }}>(code0, drive)"
    )
    if not a.wide:
        before = [f"low_u8 = Cast<to = {UINT8}>(low)", "code0 = Sub(h0, low_u8)"]
        return [*before, loop, "y_h = Add(last, low_u8)", *(["y = Add(every, low_u8)"] if a.every else [])]
    before = [
        f"byte_sizes = Constant<value = int32[2, 1] {{{128 if a.digits else 256}, 1}}>()",
        f"together = Constant<value = int32[1, 2] {{{128 if a.digits else 256}, 1}}>()",
        *fragments.constant("digit_mask", "int32", 127),
        f"low32 = Cast<to = {INT32}>(low)",
        f"h0_32 = Cast<to = {INT32}>(h0)",
        "h0_code = Sub(h0_32, low32)",
        "code0 = Unsqueeze(h0_code, axis_1)",
    ]
    after = []
    for result, source, axis in (("y_h", "last", "axis_1"), ("y", "every", "axis_2"))[: 2 if a.every else 1]:
        after += [
            f"{result}_code = Squeeze({source}, {axis})",
            f"{result}_32 = Add({result}_code, low32)",
            f"{result} = Cast<to: int = @dtype>({result}_32)",
        ]
    return [*before, loop, *after]


def _step(a: _Arrangement) -> list[str]:
    """One step of the loop."""
    matrix = "w_u, , w_uz" if a.form == "u8" else "w_t"
    if a.wide:
        lines = [
            "parts = Div(code, byte_sizes)",
            *(["digit_parts = BitwiseAnd(parts, digit_mask)"] if a.digits else []),
            # The cast keeps the low byte.
            f"bytes = Cast<to = {UINT8}>({'digit_parts' if a.digits else 'parts'})",
            f"byte_products = MatMulInteger(bytes, {matrix})",
            "product = MatMul(together, byte_products)",
            "lifted = Mul(code, lift)",
        ]
    else:
        lines = [
            f"product = MatMulInteger(code, {matrix})",
            f"code32 = Cast<to = {INT32}>(code)",
            "lifted = Mul(code32, lift)",
        ]
    if a.divide:
        # Below index 0, where truncation differs from the floor, the Clip gives 0 for both.
        lines += ["sum = Add(product, drive_t)", f"{'quotient' if a.clip else 'index'} = Div(sum, row_step)"]
        lines += ["index = Clip(quotient, index_low, index_high)"] if a.clip else []
    else:
        lines += [
            f"product_w = Cast<to = {UINT64}>(product)",
            "product_m = Mul(product_w, q_m)",
            "summed = Add(product_m, drive_t)",
            'shifted = BitShift<direction = "RIGHT">(summed, q_s)',
            "bounded = Clip(shifted, q_lo, q_hi)",
            # K is a multiple of 2^32 here, since the shift is 30 at most.
            f"index = Cast<to = {INT32}>(bounded)",
        ]
    shape = "state_shape" if a.flat else None
    lines += [
        "candidate_row, gate_row = Split<axis = -1, num_outputs = 2>(index)",
        *fragments.look_up("update", "gates", "gate_row", shape=shape),
        *fragments.look_up("chosen", "candidates", "candidate_row", shape=shape),
        *fragments.look_up("chosen_half", "candidates_half", "candidate_row", shape=shape),
        "distance = Sub(lifted, chosen)",
        "kept = Mul(update, distance)",
        "mixed = Add(chosen_half, kept)",
    ]
    # Each step's result takes the name of the next, the last one that of the state.
    last = ["Div({0}, divisor)"]
    last += ["Clip({0}, code_low, code_high)"] if a.beyond else []
    last += [] if a.wide else [f"Cast<to = {UINT8}>({{0}})"]
    value = "mixed"
    for number, call in enumerate(last, start=1):
        result = "next" if number == len(last) else f"mixed_{number}"
        lines.append(f"{result} = {call.format(value)}")
        value = result
    return [*lines, "emitted = Identity(next)"] if a.every else lines
