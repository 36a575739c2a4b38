"""The body of a GRU whose sums are closed by shifts: every requantization is one Div of what is never negative.

A constant makes the sum of W h and u positive and leads each row to its own part of one table: the gates' sigmoids, and
behind them, for the rows of n, W h + c itself, clipped as the contract says. So one Div and one look-up serve all rows.
The state is held as its code, c = h - low, as in the other body (``gru.py``).
"""

from __future__ import annotations

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT8, INT32, INT64, UINT8, UINT64
from qdeploy.export.onnx.gru_arrangement import Arrangement
from qdeploy.runtime.ops.gru import GATE_BITS

__all__ = ["lines"]


def lines(a: Arrangement) -> list[str]:
    """The whole body."""
    names = ("shift", "candidate_shift", "state_shift", "h_zero_point", "low")
    return [
        *(line for name in names for line in fragments.attribute(name, INT64)),
        *_numbers(),
        *_shapes(a),
        *_weights(a),
        *_gate_tables(a),
        *_gate_drive(a),
        *_candidate_drive(a),
        *_mix_constants(),
        *_initial(a),
        _scan(a),
        *_final(a),
    ]


def _numbers() -> list[str]:
    return [
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.constant("two", "int64", 2),
        *fragments.constant("one_u64", "uint64", 1),
        *fragments.vector("first_place", [0]),
        *fragments.vector("two_vector", [2]),
        *fragments.vector("three_vector", [3]),
        *fragments.vector("last_axis", [-1]),
        *fragments.vector("axis_0", [0]),
        *fragments.vector("axis_1", [1]),
        *fragments.vector("axis_2", [2]),
        "hidden = Shape(recurrent_bias)",
        "hidden2 = Mul(hidden, two_vector)",
        "hidden3 = Mul(hidden, three_vector)",
        f"recurrent_bias64 = Cast<to = {INT64}>(recurrent_bias)",
        "zeros = Sub(recurrent_bias64, recurrent_bias64)",
        "ones = Add(zeros, one)",
        "gate_rows = Concat<axis = 0>(ones, ones, zeros)",
        "candidate_rows = Concat<axis = 0>(zeros, zeros, ones)",
    ]


def _shapes(a: Arrangement) -> list[str]:
    """The shapes of all rows and of the candidate in the loop."""
    rows = "any_one" if a.wide_state else "flat"
    return [
        *fragments.vector("flat", [-1]),
        *fragments.vector("any_one", [-1, 1]),
        f"gates_shape = Concat<axis = 0>({rows}, hidden3)",
        f"candidate_shape = Concat<axis = 0>({rows}, hidden)",
    ]


def _weights(a: Arrangement) -> list[str]:
    """The loop's product, what W (c + low - zero_point) has beside W c, and U with and without its last rows."""
    lines, matrix, _ = fragments.matrix("w", "recurrent_weight", a.form)
    input_rows, gates_matrix, _ = fragments.matrix("ug", "gates_weight", a.input_form)
    candidate_rows, candidate_matrix, _ = fragments.matrix("un", "candidate_weight", a.input_form)
    return [
        *lines,
        # The loop transposes it back, which a runtime folds into a constant of the loop itself.
        f"w_rows = Transpose<perm = [1, 0]>({matrix})",
        f"weight64 = Cast<to = {INT64}>(recurrent_weight)",
        "row_sums = ReduceSum<keepdims = 0>(weight64, axis_1)",
        "offset = Sub(low, h_zero_point)",
        "correction = Mul(row_sums, offset)",
        # The rows of n have no input's part beside W h: rows of zeros give it to them at once.
        f"input64 = Cast<to = {INT64}>(input_weight)",
        "gate_column = Unsqueeze(gate_rows, axis_1)",
        "gates_weight64 = Mul(input64, gate_column)",
        f"gates_weight = Cast<to = {INT8}>(gates_weight64)",
        "candidate_weight = Slice(input_weight, hidden2, hidden3, first_place)",
        *input_rows,
        *candidate_rows,
        f"gates_matrix = Identity({gates_matrix})",
        f"candidate_matrix = Identity({candidate_matrix})",
    ]


def _gate_tables(a: Arrangement) -> list[str]:
    """look_up: sigmoids, then every W h + c; middle: where the index 0 of each row stands in it."""
    gates, recalled = 1 << (a.gate_bits - 1), 1 << (a.recalled_bits - 1)
    return [
        "sigmoid_shape = Shape(sigmoid_table)",
        "sigmoid_size = Squeeze(sigmoid_shape)",
        "sigmoid_half = Div(sigmoid_size, two)",
        "sigmoid_last = Sub(sigmoid_size, one)",
        *fragments.constant("gate_begin", "int64", -gates),
        *fragments.constant("gate_end", "int64", gates),
        "gate_index = Range(gate_begin, gate_end, one)",
        "gate_above = Add(gate_index, sigmoid_half)",
        "gate_place = Clip(gate_above, zero, sigmoid_last)",
        "sigmoids = Gather<axis = 0>(sigmoid_table, gate_place)",
        f"sigmoids32 = Cast<to = {INT32}>(sigmoids)",
        *fragments.constant("recalled_begin", "int64", -recalled),
        *fragments.constant("recalled_end", "int64", recalled),
        *fragments.constant("recalled_low", "int64", -(2**15)),
        *fragments.constant("recalled_high", "int64", 2**15 - 1),
        "recalled_index = Range(recalled_begin, recalled_end, one)",
        "recalled_all = Clip(recalled_index, recalled_low, recalled_high)",
        f"recalled32 = Cast<to = {INT32}>(recalled_all)",
        "look_up = Concat<axis = 0>(sigmoids32, recalled32)",
        *fragments.constant("gate_middle", "int64", gates),
        *fragments.constant("recalled_middle", "int64", 2 * gates + recalled),
        "middle_gates = Mul(gate_rows, gate_middle)",
        "middle_recalled = Mul(candidate_rows, recalled_middle)",
        "middle = Add(middle_gates, middle_recalled)",
    ]


def _gate_drive(a: Arrangement) -> list[str]:
    """gate_driven: what is added to W c before it is divided by gate_step, of every step and row."""
    product, accumulator = fragments.product(
        "pg", "x", a.x_kind, "gates_matrix", "ug_uz" if a.input_form == "u8" else ""
    )
    return [
        *product,
        f"shift_u64 = Cast<to = {UINT64}>(shift)",
        'unit_u64 = BitShift<direction = "LEFT">(one_u64, shift_u64)',
        f"unit = Cast<to = {INT64}>(unit_u64)",
        f"multiplier64 = Cast<to = {INT64}>(multiplier)",
        "gate_step64 = Div(unit, multiplier64)",
        *fragments.vector("one_row", [1]),
        "gate_step_any = Slice(gate_step64, first_place, one_row, axis_0)",
        f"gate_step = Cast<to = {INT32}>({'gate_step_any' if a.even else 'gate_step64'})",
        "gate_half = Div(gate_step64, two)",
        "gate_lead = Mul(middle, gate_step64)",
        f"bias64 = Cast<to = {INT64}>(bias)",
        f"input_multiplier64 = Cast<to = {INT64}>(input_multiplier)",
        "bias_driven = Mul(bias64, input_multiplier64)",
        "bias_gates = Mul(bias_driven, gate_rows)",
        "bias_recalled = Concat<axis = 0>(zeros, zeros, recurrent_bias64)",
        "constant_0 = Add(bias_gates, bias_recalled)",
        "constant_1 = Add(constant_0, correction)",
        "constant_2 = Add(constant_1, gate_half)",
        "constant_3 = Add(constant_2, gate_lead)",
        f"gate_constant = Cast<to = {INT32}>(constant_3)",
        f"gate_product = Mul({accumulator}, input_multiplier)",
        "gate_driven3 = Add(gate_product, gate_constant)",
        f"gate_driven = {_in_loop('gate_driven3', a)}",
    ]


def _candidate_drive(a: Arrangement) -> list[str]:
    """candidate_driven: what is added to r m before it is divided by candidate_step; candidates: entries above low."""
    product, accumulator = fragments.product(
        "pn", "x", a.x_kind, "candidate_matrix", "un_uz" if a.input_form == "u8" else ""
    )
    lines = [
        *product,
        f"candidate_shift_u64 = Cast<to = {UINT64}>(candidate_shift)",
        'candidate_unit_u64 = BitShift<direction = "LEFT">(one_u64, candidate_shift_u64)',
        f"candidate_step64 = Cast<to = {INT64}>(candidate_unit_u64)",
        f"candidate_step = Cast<to = {INT32}>(candidate_step64)",
        "candidate_half = Div(candidate_step64, two)",
        "tanh_shape = Shape(tanh_table)",
        "tanh_size = Squeeze(tanh_shape)",
        "tanh_half = Div(tanh_size, two)",
        "tanh_last = Sub(tanh_size, one)",
        f"state_shift_u64 = Cast<to = {UINT64}>(state_shift)",
        'lift_u64 = BitShift<direction = "LEFT">(one_u64, state_shift_u64)',
        f"lift64 = Cast<to = {INT64}>(lift_u64)",
        f"lift = Cast<to = {INT32}>(lift_u64)",
        "lowest = Mul(offset, lift64)",
        f"tanh64 = Cast<to = {INT64}>(tanh_table)",
        "above_lowest = Sub(tanh64, lowest)",
        f"entries = Cast<to = {INT32}>(above_lowest)",
        f"place_low = Cast<to = {INT32}>(zero)",
        f"place_high = Cast<to = {INT32}>(tanh_last)",
    ]
    if a.candidate_bits:
        half = 1 << (a.candidate_bits - 1)
        lines += [
            *fragments.constant("candidate_begin", "int64", -half),
            *fragments.constant("candidate_middle", "int64", half),
            "every_candidate = Range(candidate_begin, candidate_middle, one)",
            "candidate_above = Add(every_candidate, tanh_half)",
            "candidate_place = Clip(candidate_above, zero, tanh_last)",
            "candidates = Gather<axis = 0>(entries, candidate_place)",
        ]
    else:
        lines += ["candidate_middle = Identity(tanh_half)", "candidates = Identity(entries)"]
    return [
        *lines,
        "candidate_lead = Mul(candidate_middle, candidate_step64)",
        "candidate_offset = Add(candidate_lead, candidate_half)",
        "bias_candidate = Slice(bias_driven, hidden2, hidden3, first_place)",
        "candidate_constant64 = Add(bias_candidate, candidate_offset)",
        f"candidate_constant = Cast<to = {INT32}>(candidate_constant64)",
        "candidate_multiplier = Slice(input_multiplier, hidden2, hidden3, first_place)",
        f"candidate_product = Mul({accumulator}, candidate_multiplier)",
        "candidate_driven3 = Add(candidate_product, candidate_constant)",
        f"candidate_driven = {_in_loop('candidate_driven3', a)}",
    ]


def _in_loop(value: str, a: Arrangement) -> str:
    return f"Unsqueeze({value}, axis_2)" if a.wide_state else f"Identity({value})"


def _mix_constants() -> list[str]:
    """Of n' 2^15 + z (c 2^a - n') + half, and what it is divided by."""
    return [
        *fragments.constant("gate_u64", "uint64", 1 << GATE_BITS),
        "divisor_u64 = Mul(lift_u64, gate_u64)",
        'half_u64 = BitShift<direction = "RIGHT">(divisor_u64, one_u64)',
        f"divisor = Cast<to = {INT32}>(divisor_u64)",
        f"half = Cast<to = {INT32}>(half_u64)",
        f"gate_one = Cast<to = {INT32}>(gate_u64)",
    ]


def _initial(a: Arrangement) -> list[str]:
    """The codes before the first step: code0 int32, and of a narrow state also the byte that the product reads."""
    lines = [
        f"low32 = Cast<to = {INT32}>(low)",
        f"h0_32 = Cast<to = {INT32}>(h0)",
        "h0_code = Sub(h0_32, low32)",
        *fragments.digit_constants(a.low_bits),
    ]
    if a.wide_state:
        return [*lines, "code0 = Unsqueeze(h0_code, axis_1)"]
    return [*lines, "code0 = Identity(h0_code)", f"byte0 = Cast<to = {UINT8}>(h0_code)"]


def _scan(a: Arrangement) -> str:
    zero_point = ", , w_uz" if a.form == "u8" else ""
    dims = "[?, ?, ?]" if a.wide_state else "[?, ?]"
    steps = ["w = Transpose<perm = [1, 0]>(w_rows)"]
    if a.wide_state:
        steps += [
            *fragments.digits("digits", "code", a.low_bits),
            f"digit_products = MatMulInteger(digits, w{zero_point})",
            *fragments.joined("product", "digit_products"),
        ]
    else:
        steps.append(f"product = MatMulInteger(byte, w{zero_point})")
    steps += [
        "gate_sum = Add(product, gate_driven_t)",
        "gate_entry = Div(gate_sum, gate_step)",
        *fragments.look_up("rows", "look_up", "gate_entry", shape="gates_shape" if a.flat_gates else None),
        "reset, update, recalled = Split<axis = -1, num_outputs = 3>(rows)",
        "gated = Mul(reset, recalled)",
        "candidate_sum = Add(gated, candidate_driven_t)",
        "candidate_quotient = Div(candidate_sum, candidate_step)",
    ]
    entry = "candidate_quotient"
    if not a.candidate_bits:
        # Where Div's truncation differs from a floor, below zero, the Clip gives 0 for both.
        steps.append("candidate_entry = Clip(candidate_quotient, place_low, place_high)")
        entry = "candidate_entry"
    steps += fragments.look_up("candidate", "candidates", entry, shape="candidate_shape" if a.flat_candidate else None)
    lifted = "code"
    if a.lifted:
        steps.append("lifted = Mul(code, lift)")
        lifted = "lifted"
    steps += [
        f"distance = Sub({lifted}, candidate)",
        "kept = Mul(update, distance)",
        "replaced = Mul(candidate, gate_one)",
        "mixed = Add(replaced, kept)",
        "mixed_half = Add(mixed, half)",
        "next = Div(mixed_half, divisor)",
    ]
    held, outputs, results, given = f"int32{dims} code", f"int32{dims} next", "last", "code0"
    if not a.wide_state:
        steps.append(f"next_byte = Cast<to = {UINT8}>(next)")
        held, outputs, results, given = (
            f"{held}, uint8{dims} byte",
            f"{outputs}, uint8{dims} next_byte",
            "last, last_byte",
            "code0, byte0",
        )
    if a.all_steps:
        steps.append("emitted = Identity(next)")
        outputs, results = f"{outputs}, int32{dims} emitted", f"{results}, every"
    text = "\n    ".join(steps)
    return (
        f"{results} = Scan<num_scan_inputs = 2, body = step ({held}, int32{dims} gate_driven_t, "
        f"int32{dims} candidate_driven_t) => ({outputs}) {{\n    {text}\n  }}>({given}, gate_driven, candidate_driven)"
    )


def _final(a: Arrangement) -> list[str]:
    """The states as the contract has them."""
    lines = []
    for result, source, axis in [("y_h", "last", "axis_1"), *([("y", "every", "axis_2")] if a.all_steps else [])]:
        code = source
        if a.wide_state:
            code = f"{result}_code"
            lines.append(f"{code} = Squeeze({source}, {axis})")
        lines += [f"{result}_32 = Add({code}, low32)", f"{result} = Cast<to: int = @dtype>({result}_32)"]
    if not a.all_steps:
        # The contract has two outputs; a node that drops y never reads this one.
        lines.append("y = Unsqueeze(y_h, axis_0)")
    return lines
