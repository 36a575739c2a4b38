"""Body of GRU: U x and all that is constant before the loop, a Scan of one product, three look-ups and two divisions.

Inside the loop a state is held as its code, c = h - low, which is never negative: uint8 as it is (``direct``), int16 as
int32 ``[B, 1, H]``, whose high and low digit are two rows of the product (``rows`` of 8 bits, ``sevens``). In codes the mix
of candidate and state is not negative either, since both are moved by the same offset: with n' the candidate's entry above
low,

    c_t = (n' 2^15 + z (c_{t-1} 2^a - n') + half) / 2^(15 + a)

so that a Div, which truncates, rounds half up, and a second table gives n' 2^15 + half at once.
"""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments, gru_divided
from qdeploy.export.onnx.fragments import INT32, INT64, UINT8, UINT64
from qdeploy.export.onnx.functions import Site, body, function
from qdeploy.export.onnx.gru_arrangement import Arrangement, arrange
from qdeploy.runtime.ops.gru import DRIVE_LIMIT, GATE_BITS


@body("GRU")
def gru(site: Site) -> onnx.FunctionProto:
    """Chooses the arrangement from the node's constants and writes it."""
    chosen = arrange(site)
    return function("GRU", chosen.name, gru_divided.lines(chosen) if chosen.divided else _lines(chosen))


def _lines(a: Arrangement) -> list[str]:
    """The whole body with 64-bit requantizations."""
    form, wide, every = a.form, a.wide_state, a.all_steps
    lines = [
        *(
            line
            for attribute in ("input_shift", "shift", "candidate_shift", "state_shift", "h_zero_point", "low")
            for line in fragments.attribute(attribute, INT64)
        ),
        *_numbers(),
        *_input_part(a.x_kind, a.input_form),
        *_recurrent_constants(form),
        *_drives(wide=wide),
        *_tables(),
        *_scan(form, a.low_bits, wide=wide, every=every),
    ]
    if not every:
        # The contract has two outputs; a node that drops y never reads this one.
        lines += [*fragments.vector("y_axis", [0]), "y = Unsqueeze(y_h, y_axis)"]
    return lines


def _numbers() -> list[str]:
    """Scalars, and vectors [H] of zeros, from which those of [3H] are made."""
    return [
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.constant("two", "int64", 2),
        *fragments.constant("drive_low", "int64", -DRIVE_LIMIT),
        *fragments.constant("drive_high", "int64", DRIVE_LIMIT),
        *fragments.constant("int16_low", "int64", -(2**15)),
        *fragments.constant("int16_high", "int64", 2**15 - 1),
        *fragments.constant("recalled_end", "int64", 2**15),
        *fragments.vector("last_axis", [-1]),
        *fragments.vector("first_place", [0]),
        *fragments.vector("two_vector", [2]),
        *fragments.vector("end_place", [2**31 - 1]),
        "hidden = Shape(recurrent_bias)",
        "hidden2 = Mul(hidden, two_vector)",
        f"recurrent_bias64 = Cast<to = {INT64}>(recurrent_bias)",
        "zeros = Sub(recurrent_bias64, recurrent_bias64)",
        "sigmoid_shape = Shape(sigmoid_table)",
        "sigmoid_size = Squeeze(sigmoid_shape)",
        "sigmoid_half = Div(sigmoid_size, two)",
        "sigmoid_last = Sub(sigmoid_size, one)",
        "tanh_shape = Shape(tanh_table)",
        "tanh_size = Squeeze(tanh_shape)",
        "tanh_half = Div(tanh_size, two)",
        "tanh_last = Sub(tanh_size, one)",
    ]


def _input_part(x_kind: str, form: str) -> list[str]:
    """driven: u_t of every step and row, int32 [T, B, 3H]."""
    lines, matrix, zero_point = fragments.matrix("u", "input_weight", form)
    product, accumulator = fragments.product("p", "x", x_kind, matrix, zero_point)
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


def _recurrent_constants(form: str) -> list[str]:
    """The product's matrix; what W (c + low - zero_point) has beside W c; the constants of the requantization."""
    lines, _, _ = fragments.matrix("w", "recurrent_weight", form)
    return [
        *lines,
        *fragments.vector("along_k", [1]),
        f"weight64 = Cast<to = {INT64}>(recurrent_weight)",
        "row_sums = ReduceSum<keepdims = 0>(weight64, along_k)",
        "offset = Sub(low, h_zero_point)",
        "correction = Mul(row_sums, offset)",
        *fragments.requantization_constants(
            "q", multiplier="multiplier", shift="shift", zero_point="zero", low="int16_low", high="int16_high"
        )[0],
    ]


def _drives(*, wide: bool) -> list[str]:
    """What is added: gate_drive uint64 [T, B, 3H] behind the multiplier, candidate_drive int32 [T, B, H] to r m."""
    lines = [
        "zeros_one = Add(zeros, one)",
        "gates_only = Concat<axis = 0>(zeros_one, zeros_one, zeros)",
        "bias_rows = Concat<axis = 0>(zeros, zeros, recurrent_bias64)",
        "fixed = Add(bias_rows, correction)",
        f"driven64 = Cast<to = {INT64}>(driven)",
        "driven_gates = Mul(driven64, gates_only)",
        "gate_sum = Add(driven_gates, fixed)",
        f"gate_sum_w = Cast<to = {UINT64}>(gate_sum)",
        "gate_sum_m = Mul(gate_sum_w, q_m)",
        "gate_drive3 = Add(gate_sum_m, q_c)",
        "driven_candidate = Slice(driven64, hidden2, end_place, last_axis)",
        f"candidate_shift_u64 = Cast<to = {UINT64}>(candidate_shift)",
        *fragments.constant("one_u64", "uint64", 1),
        'candidate_step_u64 = BitShift<direction = "LEFT">(one_u64, candidate_shift_u64)',
        'candidate_half_u64 = BitShift<direction = "RIGHT">(candidate_step_u64, one_u64)',
        f"candidate_step64 = Cast<to = {INT64}>(candidate_step_u64)",
        f"candidate_step = Cast<to = {INT32}>(candidate_step_u64)",
        f"candidate_rounding = Cast<to = {INT64}>(candidate_half_u64)",
        "candidate_middle = Mul(tanh_half, candidate_step64)",
        "candidate_offset = Add(candidate_middle, candidate_rounding)",
        "candidate_above = Add(driven_candidate, candidate_offset)",
        f"candidate_drive3 = Cast<to = {INT32}>(candidate_above)",
        f"place_low = Cast<to = {INT32}>(zero)",
        f"place_high = Cast<to = {INT32}>(tanh_last)",
    ]
    if wide:
        return [
            *lines,
            *fragments.vector("row_axis", [2]),
            "gate_drive = Unsqueeze(gate_drive3, row_axis)",
            "candidate_drive = Unsqueeze(candidate_drive3, row_axis)",
        ]
    return [
        *lines,
        "gate_drive = Identity(gate_drive3)",
        "candidate_drive = Identity(candidate_drive3)",
    ]


def _tables() -> list[str]:
    """The gates' table, the candidates as n' and as n' 2^15 + half, the lift and the divisor of the mix.

    Gates are looked up by an index of 16 bits, negative ones from the end, so that one Clip serves all rows.
    """
    return [
        f"index_low = Cast<to = {INT32}>(int16_low)",
        f"index_end = Cast<to = {INT32}>(recalled_end)",
        f"index_0 = Cast<to = {INT32}>(zero)",
        f"index_1 = Cast<to = {INT32}>(one)",
        f"index_half = Cast<to = {INT32}>(sigmoid_half)",
        f"index_last = Cast<to = {INT32}>(sigmoid_last)",
        "index_positive = Range(index_0, index_end, index_1)",
        "index_negative = Range(index_low, index_0, index_1)",
        "index_all = Concat<axis = 0>(index_positive, index_negative)",
        "index_above = Add(index_all, index_half)",
        "index_clipped = Clip(index_above, index_0, index_last)",
        "sigmoids_16 = Gather<axis = 0>(sigmoid_table, index_clipped)",
        f"sigmoids = Cast<to = {INT32}>(sigmoids_16)",
        f"state_shift_u64 = Cast<to = {UINT64}>(state_shift)",
        *fragments.constant("gate_u64", "uint64", 1 << GATE_BITS),
        'lift_u64 = BitShift<direction = "LEFT">(one_u64, state_shift_u64)',
        "divisor_u64 = Mul(lift_u64, gate_u64)",
        'half_u64 = BitShift<direction = "RIGHT">(divisor_u64, one_u64)',
        f"lift64 = Cast<to = {INT64}>(lift_u64)",
        f"lift = Cast<to = {INT32}>(lift_u64)",
        f"divisor = Cast<to = {INT32}>(divisor_u64)",
        f"half = Cast<to = {INT32}>(half_u64)",
        f"gate_one = Cast<to = {INT32}>(gate_u64)",
        "lowest = Mul(offset, lift64)",
        f"tanh64 = Cast<to = {INT64}>(tanh_table)",
        "above_lowest = Sub(tanh64, lowest)",
        f"candidates = Cast<to = {INT32}>(above_lowest)",
        "candidates_lifted = Mul(candidates, gate_one)",
        "candidates_half = Add(candidates_lifted, half)",
    ]


def _scan(form: str, low_bits: int, *, wide: bool, every: bool) -> list[str]:
    """The loop, the codes before it and the states behind it."""
    zero_point = ", , w_uz" if form == "u8" else ""
    matrix = "w_u" if form == "u8" else "w_t"
    rank = "[?, ?, ?]" if wide else "[?, ?]"
    state = f"int32{rank}" if wide else f"uint8{rank}"
    steps = (
        [
            *fragments.digits("digits", "code", low_bits),
            f"digit_products = MatMulInteger(digits, {matrix}{zero_point})",
            *fragments.joined("product", "digit_products"),
            "lifted = Mul(code, lift)",
        ]
        if wide
        else [
            f"product = MatMulInteger(code, {matrix}{zero_point})",
            f"code32 = Cast<to = {INT32}>(code)",
            "lifted = Mul(code32, lift)",
        ]
    )
    steps += [
        f"product_w = Cast<to = {UINT64}>(product)",
        "product_m = Mul(product_w, q_m)",
        "summed = Add(product_m, gate_driven)",
        'shifted = BitShift<direction = "RIGHT">(summed, q_s)',
        "bounded = Clip(shifted, q_lo, q_hi)",
        # K is a multiple of 2^32 here, since the shift is 30 at most.
        f"rows = Cast<to = {INT32}>(bounded)",
        "index = Slice(rows, first_place, hidden2, last_axis)",
        "gates = Gather<axis = 0>(sigmoids, index)",
        # Slices of two tensors in one loop make onnxruntime 1.21 write two nodes of one name, and refuse the file.
        "reset, update = Split<axis = -1, num_outputs = 2>(gates)",
        "recalled = Slice(rows, hidden2, end_place, last_axis)",
        "gated = Mul(reset, recalled)",
        # Where Div's truncation differs from a floor, below zero, the Clip gives 0 for both.
        "candidate_sum = Add(gated, candidate_driven)",
        "candidate_shifted = Div(candidate_sum, candidate_step)",
        "place = Clip(candidate_shifted, place_low, place_high)",
        "candidate = Gather<axis = 0>(candidates, place)",
        "candidate_half = Gather<axis = 0>(candidates_half, place)",
        "distance = Sub(lifted, candidate)",
        "kept = Mul(update, distance)",
        "mixed = Add(candidate_half, kept)",
    ]
    if wide:
        steps.append("next = Div(mixed, divisor)")
    else:
        steps += ["next32 = Div(mixed, divisor)", f"next = Cast<to = {UINT8}>(next32)"]
    if every:
        steps.append("emitted = Identity(next)")
    outputs = f"{state} next" + (f", {state} emitted" if every else "")
    text = "\n    ".join(steps)
    results = "last, every" if every else "last"
    loop = (
        f"{results} = Scan<num_scan_inputs = 2, body = step ({state} code, uint64{rank} gate_driven, "
        f"int32{rank} candidate_driven) => ({outputs}) {{\n    {text}\n  }}>(code0, gate_drive, candidate_drive)"
    )
    if not wide:
        # States of 8 bits begin at 0, or at low: the product reads what stands above it.
        before = [
            f"low_u8 = Cast<to = {UINT8}>(low)",
            "code0 = Sub(h0, low_u8)",
        ]
        after = ["y_h = Add(last, low_u8)"] + (["y = Add(every, low_u8)"] if every else [])
        return [*before, loop, *after]
    before = [
        *fragments.vector("code_axis", [1]),
        *fragments.digit_constants(low_bits),
        f"low32 = Cast<to = {INT32}>(low)",
        f"h0_32 = Cast<to = {INT32}>(h0)",
        "h0_code = Sub(h0_32, low32)",
        "code0 = Unsqueeze(h0_code, code_axis)",
    ]
    after = [
        "last_code = Squeeze(last, code_axis)",
        "last_32 = Add(last_code, low32)",
        "y_h = Cast<to: int = @dtype>(last_32)",
    ]
    if every:
        after += [
            "every_code = Squeeze(every, row_axis)",
            "every_32 = Add(every_code, low32)",
            "y = Cast<to: int = @dtype>(every_32)",
        ]
    return [*before, loop, *after]
