"""Body of LSTM: a Scan over one product for all four gates, with U x, biases and corrections hoisted out of it.

Where the accumulator is closed by a shift, floor((W h 2^l + u + b + half) / 2^s) is one Div of what is never negative: the
constant that makes it so also leads each gate's rows to their own part of one table, so that neither a Clip nor the choice
of a table costs an operator.
The products of gates and states are int32: gates are Q0.14, so that i g + f c + 2^30 is never negative and never beyond
int32, and a Div rounds it. tanh of the cell state is one look-up in a table of all 2^16 cell states, made at load.
"""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT16, INT32, INT64, UINT8, UINT16, UINT64
from qdeploy.export.onnx.functions import Site, body, function
from qdeploy.export.onnx.lstm_arrangement import Arrangement, arrange
from qdeploy.runtime.ops.lstm import CELL_HIGH, CELL_LOW, GATE_BITS

OFFSET = 2**30
"""Added before a division that truncates: |i g + f c| is less."""


@body("LSTM")
def lstm(site: Site) -> onnx.FunctionProto:
    """Chooses the arrangement from the node's constants and writes it."""
    chosen = arrange(site)
    return function("LSTM", chosen.name, _lines(chosen))


def _lines(a: Arrangement) -> list[str]:
    """The whole body."""
    names = ("shift", "h_zero_point", "low", "high", "recurrent_shift", "input_shift", "cell_shift", "output_shift")
    lines = [line for name in names for line in fragments.attribute(name, INT64)]
    return [
        *lines,
        *_numbers(),
        *_shapes(a),
        *_weights(a),
        *_rows(),
        *_gate_tables(a),
        *_cell_tables(),
        *_input_part(a),
        *(_multiplied_drive(a) if a.finish == "multiply" else _divided_drive(a)),
        *_output_constants(a),
        *_initial(a),
        _scan(a),
        *_final(a),
    ]


def _numbers() -> list[str]:
    """Scalars, the number of hidden units, and where each gate's columns begin."""
    lines = [
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.constant("two", "int64", 2),
        *fragments.constant("zero32", "int32", 0),
        *fragments.constant("one32", "int32", 1),
        *fragments.constant("two32", "int32", 2),
        *fragments.constant("one_u64", "uint64", 1),
        *fragments.vector("axis_0", [0]),
        *fragments.vector("axis_1", [1]),
        *fragments.vector("axis_2", [2]),
        *fragments.vector("last_axis", [-1]),
        "weight_shape = Shape(recurrent_weight)",
        "units = Gather<axis = 0>(weight_shape, axis_1)",
    ]
    for gate in range(5):
        lines += [*fragments.constant(f"times_{gate}", "int64", gate), f"place_{gate} = Mul(units, times_{gate})"]
    return lines


def _shapes(a: Arrangement) -> list[str]:
    """The shapes of the gates and of the cell state in the loop; GatherElements wants a row of indices."""
    rows = "any_one" if a.wide_state else "flat"
    return [
        *fragments.vector("flat", [-1]),
        *fragments.vector("any_one", [-1, 1]),
        f"gates_shape = Concat<axis = 0>({rows}, place_4)",
        f"cell_shape_flat = Concat<axis = 0>({rows}, units)",
    ]


def _weights(a: Arrangement) -> list[str]:
    """The right-hand side of the product of the loop, and the sums of its rows."""
    lines = [
        f"recurrent_shift_u64 = Cast<to = {UINT64}>(recurrent_shift)",
        'lift_u64 = BitShift<direction = "LEFT">(one_u64, recurrent_shift_u64)',
        f"lift = Cast<to = {INT32}>(lift_u64)",
        f"weight32 = Cast<to = {INT32}>(recurrent_weight)",
        "lifted = Mul(weight32, lift)",
        "row_sums = ReduceSum<keepdims = 0>(lifted, axis_1)",
        f"transposed = Transpose<perm = [1, 0]>({'lifted' if a.scaled_weights else 'weight32'})",
    ]
    if a.form == "s8":
        lines.append(f"w_columns = Cast<to = {fragments.INT8}>(transposed)")
    else:
        lines += [
            *fragments.constant("w_128", "int32", 128),
            "w_above = Add(transposed, w_128)",
            f"w_columns = Cast<to = {UINT8}>(w_above)",
            *fragments.constant("wz", "uint8", 128),
        ]
    # The loop transposes it back, which a runtime folds into a constant of the loop itself (see the body of RNN).
    return [*lines, "w_rows = Transpose<perm = [1, 0]>(w_columns)"]


def _rows() -> list[str]:
    """Which rows are the candidate's, the third of the four gates: 1, else 0."""
    return [
        "table_shape = Shape(gate_table)",
        "entries = Squeeze(table_shape)",
        "index_half = Div(entries, two)",
        "index_high = Sub(entries, one)",
        "rows_end = Squeeze(place_4)",
        "row = Range(zero, rows_end, one)",
        "gate = Div(row, units)",
        "gate_high = Div(gate, two)",
        "gate_low = Mod(gate, two)",
        "gate_even = Sub(one, gate_low)",
        "is_candidate = Mul(gate_high, gate_even)",
    ]


def _gate_tables(a: Arrangement) -> list[str]:
    """look_up: sigmoid's and tanh's entries one behind the other; middle: where index 0 of each row stands in it."""
    if a.finish == "table":
        size, half = 1 << a.table_bits, 1 << (a.table_bits - 1)
        return [
            *fragments.constant("every_begin", "int64", -half),
            *fragments.constant("every_end", "int64", half),
            *fragments.constant("every_size", "int64", size),
            "every_index = Range(every_begin, every_end, one)",
            "every_above = Add(every_index, index_half)",
            "every_entry = Clip(every_above, zero, index_high)",
            "every_gate = Gather<axis = 0>(gate_table, every_entry)",
            "every_candidate = Gather<axis = 0>(candidate_table, every_entry)",
            "both = Concat<axis = 0>(every_gate, every_candidate)",
            f"look_up = Cast<to = {INT32}>(both)",
            "second = Mul(is_candidate, every_size)",
            "middle = Sub(second, every_begin)",
        ]
    return [
        "both = Concat<axis = 0>(gate_table, candidate_table)",
        f"look_up = Cast<to = {INT32}>(both)",
        "second = Mul(is_candidate, entries)",
        f"table_offset = Cast<to = {INT32}>(second)",
        "nowhere = Sub(is_candidate, is_candidate)",
        "middle = Add(nowhere, index_half)",
    ]


def _cell_tables() -> list[str]:
    """tanh of every cell state."""
    return [
        # Gather counts negative indices from the end: entry i holds cell state i, or i - 2^16.
        *fragments.constant("c_end", "int64", CELL_HIGH + 1),
        *fragments.constant("c_begin", "int64", CELL_LOW),
        "c_positive = Range(zero, c_end, one)",
        "c_negative = Range(c_begin, zero, one)",
        "every_c = Concat<axis = 0>(c_positive, c_negative)",
        f"cell_shift_u64 = Cast<to = {UINT64}>(cell_shift)",
        'cell_step_u64 = BitShift<direction = "LEFT">(one_u64, cell_shift_u64)',
        f"cell_step = Cast<to = {INT64}>(cell_step_u64)",
        "cell_rounding = Div(cell_step, two)",
        "cell_shape = Shape(cell_table)",
        "cell_entries = Squeeze(cell_shape)",
        "cell_half = Div(cell_entries, two)",
        "cell_high = Sub(cell_entries, one)",
        # Below entry 0 everything clips, so that Div may truncate.
        "cell_zero = Mul(cell_half, cell_step)",
        "cell_addend = Add(cell_zero, cell_rounding)",
        "cell_sum = Add(every_c, cell_addend)",
        "cell_quotient = Div(cell_sum, cell_step)",
        "cell_index = Clip(cell_quotient, zero, cell_high)",
        "cell_values = Gather<axis = 0>(cell_table, cell_index)",
        f"cell_look_up = Cast<to = {INT32}>(cell_values)",
    ]


def _input_part(a: Arrangement) -> list[str]:
    """driven: U x at the accumulator's scale, of every step; bias_all: the bias, and what W (h - z) has beside W code."""
    lines, matrix, zero_point = fragments.matrix("u", "input_weight", a.input_form)
    product_lines, product = fragments.product("p", "x", a.x_kind, matrix, zero_point)
    lines += product_lines
    if a.requantized_input:
        constants, names = fragments.requantization_constants(
            "i",
            multiplier="input_multiplier",
            shift="input_shift",
            zero_point="zero",
            low="int32_low",
            high="int32_high",
        )
        steps, result = fragments.requantization("ir", product, names)
        lines += [
            *fragments.constant("int32_low", "int64", -(2**31)),
            *fragments.constant("int32_high", "int64", 2**31 - 1),
            *constants,
            *steps,
            f"driven = Cast<to = {INT32}>({result})",
        ]
    else:
        lines.append(f"driven = Mul({product}, input_multiplier)")
    return [
        *lines,
        # W (h - z) = W (code + base - z): the state's offset is a constant of the loop.
        f"base = Identity({'low' if a.wide_state else 'zero'})",
        f"base32 = Cast<to = {INT32}>(base)",
        f"zero_point32 = Cast<to = {INT32}>(h_zero_point)",
        "offset = Sub(base32, zero_point32)",
        "correction = Mul(row_sums, offset)",
        "bias_all = Add(bias, correction)",
    ]


def _multiplied_drive(a: Arrangement) -> list[str]:
    """drive: what the 64-bit requantization adds to the product."""
    constants, q = fragments.requantization_constants(
        "q", multiplier="multiplier", shift="shift", zero_point="index_half", low="zero", high="index_high"
    )
    return [
        "drive32 = Add(driven, bias_all)",
        *constants,
        f"drive_w = Cast<to = {UINT64}>(drive32)",
        f"drive_m = Mul(drive_w, {q.multiplier})",
        f"drive64 = Add(drive_m, {q.addend})",
        f"factor = Mul({q.multiplier}, lift_u64)" if not a.scaled_weights else f"factor = Identity({q.multiplier})",
        "drive = Unsqueeze(drive64, axis_2)" if a.wide_state else "drive = Identity(drive64)",
    ]


def _divided_drive(a: Arrangement) -> list[str]:
    """drive: what is added to the product before it is divided by index_step, 2^shift / multiplier.

    A product that is not lifted is divided by less, and the drive before the loop: floor(floor(a / 2^l) / 2^m) is
    floor(a / 2^(l + m)), and the drive's own numerator is no more negative than the whole one's.
    """
    lines = [
        f"shift_u64 = Cast<to = {UINT64}>(shift)",
        'step_u64 = BitShift<direction = "LEFT">(one_u64, shift_u64)',
        f"step64 = Cast<to = {INT64}>(step_u64)",
        f"multiplier64 = Cast<to = {INT64}>(multiplier)",
        "divisor64 = Div(step64, multiplier64)",
        "divisor_half = Div(divisor64, two)",
        "middle_lifted = Mul(middle, divisor64)",
        "above = Add(middle_lifted, divisor_half)",
        f"bias64 = Cast<to = {INT64}>(bias_all)",
        "addend64 = Add(bias64, above)",
        f"addend = Cast<to = {INT32}>(addend64)",
        "drive32 = Add(driven, addend)",
    ]
    drive = "drive32"
    if a.scaled_weights:
        lines.append(f"index_step = Cast<to = {INT32}>(divisor64)")
    else:
        drive = "drive_lowered"
        lines += [
            f"lift64 = Cast<to = {INT64}>(lift_u64)",
            "divisor_left = Div(divisor64, lift64)",
            f"index_step = Cast<to = {INT32}>(divisor_left)",
            "drive_lowered = Div(drive32, lift)",
        ]
    lines.append(f"drive = Unsqueeze({drive}, axis_2)" if a.wide_state else f"drive = Identity({drive})")
    if a.finish == "divide":
        lines += [f"index_0 = Cast<to = {INT32}>(zero)", f"index_last = Cast<to = {INT32}>(index_high)"]
    return lines


def _output_constants(a: Arrangement) -> list[str]:
    """What rounds the sums of products: of the cell state, and of the hidden state as the loop holds it."""
    wide = INT64 if a.output == "long" else INT32
    return [
        *fragments.constant("c_addend", "int32", OFFSET + (1 << (GATE_BITS - 1))),
        *fragments.constant("c_step", "int32", 1 << GATE_BITS),
        *fragments.constant("c_zero", "int32", OFFSET >> GATE_BITS),
        *fragments.constant("c_low", "int32", (OFFSET >> GATE_BITS) + CELL_LOW),
        *fragments.constant("c_high", "int32", (OFFSET >> GATE_BITS) + CELL_HIGH),
        f"output_shift_u64 = Cast<to = {UINT64}>(output_shift)",
        'h_step_u64 = BitShift<direction = "LEFT">(one_u64, output_shift_u64)',
        f"h_step64 = Cast<to = {INT64}>(h_step_u64)",
        "h_rounding = Div(h_step64, two)",
        "code_zero = Sub(h_zero_point, base)",
        "h_zero = Mul(code_zero, h_step64)",
        "h_addend64 = Add(h_zero, h_rounding)",
        "code_low = Sub(low, base)",
        "code_high = Sub(high, base)",
        *(f"{name} = Cast<to = {wide}>({name}64)" for name in ("h_addend", "h_step")),
        f"h_low = Cast<to = {wide}>(code_low)",
        f"h_high = Cast<to = {wide}>(code_high)",
        *fragments.digit_constants(a.low_bits),
        *(["row_steps = Mul(digit_sizes, h_step)"] if a.output == "split" else []),
    ]


def _initial(a: Arrangement) -> list[str]:
    """h0 and c0 as the loop holds them."""
    lines = [f"c0_32 = Cast<to = {INT32}>(c0)"]
    if not a.wide_state:
        return [*lines, "state0 = Identity(h0)", "cell0 = Identity(c0_32)"]
    return [
        *lines,
        "cell0 = Unsqueeze(c0_32, axis_1)",
        f"h0_32 = Cast<to = {INT32}>(h0)",
        "h0_code = Sub(h0_32, base32)",
        "h0_row = Unsqueeze(h0_code, axis_1)",
        *fragments.digits("state0", "h0_row", a.low_bits),
    ]


def _scan(a: Arrangement) -> str:
    dims = "[?, ?, ?]" if a.wide_state else "[?, ?]"
    steps = _step(a)
    outputs, results = f"uint8{dims} next, int32{dims} cell_next", "last, cell_last"
    if a.all_steps:
        steps.append("emitted = Identity(next)")
        outputs, results = f"{outputs}, uint8{dims} emitted", f"{results}, every"
    text = "\n    ".join(steps)
    kind = "uint64" if a.finish == "multiply" else "int32"
    return (
        f"{results} = Scan<num_scan_inputs = 1, body = step (uint8{dims} state, int32{dims} cell, {kind}{dims} driven_t) "
        f"=> ({outputs}) {{\n    {text}\n  }}>(state0, cell0, drive)"
    )


def _step(a: Arrangement) -> list[str]:
    """One step of the loop."""
    zero_point = ", , wz" if a.form == "u8" else ""
    lines = ["w = Transpose<perm = [1, 0]>(w_rows)", f"product = MatMulInteger(state, w{zero_point})"]
    accumulator = "product"
    if a.wide_state:
        lines += fragments.joined("joined", "product")
        accumulator = "joined"
    lines += [*_gates(a, accumulator), "i_t, f_t, g_t, o_t = Split<axis = -1, num_outputs = 4>(gates)"]
    lines += [
        "added = Mul(i_t, g_t)",
        "kept = Mul(f_t, cell)",
        "cell_total = Add(added, kept)",
        "cell_rounded = Add(cell_total, c_addend)",
        "cell_above = Div(cell_rounded, c_step)",
        "cell_clipped = Clip(cell_above, c_low, c_high)",
        "cell_next = Sub(cell_clipped, c_zero)",
        *fragments.look_up("tanh_c", "cell_look_up", "cell_next", shape="cell_shape_flat" if a.flat_cell else None),
        "shown = Mul(o_t, tanh_c)",
    ]
    shown = "shown"
    if a.output == "long":
        lines.append(f"shown64 = Cast<to = {INT64}>(shown)")
        shown = "shown64"
    # The lower bound is no less than code 0, so that Div may truncate what is negative.
    lines.append(f"h_total = Add({shown}, h_addend)")
    if a.output == "split":
        return [*lines, *fragments.digits("next", "h_total", a.low_bits, sizes="row_steps")]
    lines.append("h_quotient = Div(h_total, h_step)")
    code = "h_quotient"
    if a.output in ("clipped", "long"):
        lines.append("h_clipped = Clip(h_quotient, h_low, h_high)")
        code = "h_clipped"
    if a.output == "long":
        lines.append(f"code = Cast<to = {INT32}>(h_clipped)")
        code = "code"
    if a.wide_state:
        return [*lines, *fragments.digits("next", code, a.low_bits)]
    return [*lines, f"next = Cast<to = {UINT8}>({code})"]


def _gates(a: Arrangement, product: str) -> list[str]:
    """gates: the entries of all four gates."""
    if a.finish == "table":
        return [
            f"sum = Add({product}, driven_t)",
            "entry = Div(sum, index_step)",
            *_look_up_gates(a),
        ]
    if a.finish == "divide":
        lines = [
            f"sum = Add({product}, driven_t)",
            "quotient = Div(sum, index_step)",
            "index = Clip(quotient, index_0, index_last)",
        ]
    else:
        lines = [
            f"wide = Cast<to = {UINT64}>({product})",
            "scaled = Mul(wide, factor)",
            "sum = Add(scaled, driven_t)",
            'shifted = BitShift<direction = "RIGHT">(sum, q_s)',
            "clipped = Clip(shifted, q_lo, q_hi)",
        ]
        if a.direct_cast:
            lines.append(f"index = Cast<to = {INT32}>(clipped)")
        else:
            lines += [f"index16 = Cast<to = {UINT16}>(clipped)", f"index = Cast<to = {INT32}>(index16)"]
    return [*lines, "entry = Add(index, table_offset)", *_look_up_gates(a)]


def _look_up_gates(a: Arrangement) -> list[str]:
    return fragments.look_up("gates", "look_up", "entry", shape="gates_shape" if a.flat_gates else None)


def _final(a: Arrangement) -> list[str]:
    """The states as the contract has them."""
    lines: list[str] = []
    if a.wide_state:
        lines.append("cell_flat = Squeeze(cell_last, axis_1)")
    lines.append(f"y_c = Cast<to = {INT16}>({'cell_flat' if a.wide_state else 'cell_last'})")
    results = [("y_h", "last", "axis_1"), *([("y", "every", "axis_2")] if a.all_steps else [])]
    for result, source, axis in results:
        if not a.wide_state:
            lines.append(f"{result} = Identity({source})")
            continue
        lines += [
            f"{result}_32 = Cast<to = {INT32}>({source})",
            *fragments.joined(f"{result}_joined", f"{result}_32"),
            f"{result}_code = Squeeze({result}_joined, {axis})",
            f"{result}_value = Add({result}_code, base32)",
            f"{result} = Cast<to = {INT16}>({result}_value)",
        ]
    if not a.all_steps:
        # The contract has three outputs; a node that drops y never reads this one.
        lines.append("y = Unsqueeze(y_h, axis_0)")
    return lines
