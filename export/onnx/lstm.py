"""Body of LSTM: a Scan over one product for all four gates, with U x, biases and corrections hoisted out of it.

The products of gates and states are int32: gates are Q0.14, so that i g + f c + 2^30 is never negative and never beyond
int32, and a Div rounds it. tanh of the cell state is one look-up in a table of all 2^16 cell states, made at load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT16, INT32, INT64, UINT8, UINT16, UINT64
from qdeploy.export.onnx.functions import Site, body, function, kind_of, weight_form
from qdeploy.runtime.ops.lstm import CELL_HIGH, CELL_LOW, GATE_BITS

OFFSET = 2**30
"""Added before a division that truncates: |i g + f c| is less."""

DIRECT_CAST_SHIFT = 30
"""Up to this shift the constant of the 64-bit requantization is a multiple of 2^32, which a cast to int32 drops."""


@dataclass(frozen=True)
class Arrangement:
    """How the body of one node is arranged; its text is the end of the function's name.

    Attributes:
        x_kind: ``u8`` or ``s16``.
        input_form, form: ``s8`` or ``u8`` weights of U and W (see functions.weight_form).
        wide_state: whether the loop holds h - low as a high and a low byte, two rows of one product (``rows``), instead of
            a byte (``direct``).
        scaled_weights: whether 2^recurrent_shift is multiplied into the weights (else into the multiplier).
        direct_cast: whether the index is cast from 64 to 32 bits at once.
        long_output: whether o tanh(c) and its zero point need 64 bits.
        all_steps: whether y is wanted, or the last states only.
    """

    x_kind: str
    input_form: str
    form: str
    wide_state: bool
    scaled_weights: bool
    direct_cast: bool
    long_output: bool
    all_steps: bool

    @property
    def name(self) -> str:
        """One word for each choice."""
        words = [
            self.x_kind + self.input_form,
            ("rows" if self.wide_state else "direct") + self.form,
            "" if self.scaled_weights else "lifted",
            "cast32" if self.direct_cast else "cast16",
            "long" if self.long_output else "",
            "all" if self.all_steps else "last",
        ]
        return "_".join(word for word in words if word)


def arrange(site: Site) -> Arrangement:
    """The arrangement that is exact for this node's weights, shifts and bounds."""
    attributes, constants = site.attributes, site.constants
    weight = constants["recurrent_weight"].astype(np.int64)
    recurrent_shift, output_shift = int(attributes["recurrent_shift"]), int(attributes["output_shift"])
    scaled = recurrent_shift == 0 or int(np.abs(weight).max(initial=0)) << recurrent_shift <= 127
    wide = int(attributes["dtype"]) != UINT8
    zero = int(attributes["h_zero_point"]) - (int(attributes["low"]) if wide else 0)
    half = (1 << output_shift) >> 1
    largest = 2**GATE_BITS * CELL_HIGH
    return Arrangement(
        x_kind=kind_of(site, "x"),
        input_form=weight_form(constants["input_weight"].T),
        form=weight_form((weight << recurrent_shift if scaled else weight).T),
        wide_state=wide,
        scaled_weights=scaled,
        direct_cast=int(attributes["shift"]) <= DIRECT_CAST_SHIFT,
        long_output=(abs(zero) << output_shift) + half + largest >= 2**31,
        all_steps=bool(site.node.output[0]),
    )


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
        *_weights(a),
        *_tables(),
        *_drive(a),
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


def _tables() -> list[str]:
    """Sigmoid's and tanh's entries one behind the other, by row of the gates; tanh of every cell state."""
    return [
        "table_shape = Shape(gate_table)",
        "entries = Squeeze(table_shape)",
        "index_half = Div(entries, two)",
        "index_high = Sub(entries, one)",
        "both = Concat<axis = 0>(gate_table, candidate_table)",
        f"look_up = Cast<to = {INT32}>(both)",
        # Rows of the candidate, the third of the four gates, read the second table.
        "rows_end = Squeeze(place_4)",
        "row = Range(zero, rows_end, one)",
        "gate = Div(row, units)",
        "gate_high = Div(gate, two)",
        "gate_low = Mod(gate, two)",
        "gate_even = Sub(one, gate_low)",
        "is_candidate = Mul(gate_high, gate_even)",
        "second = Mul(is_candidate, entries)",
        f"table_offset = Cast<to = {INT32}>(second)",
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


def _drive(a: Arrangement) -> list[str]:
    """U x + bias and all corrections, for every step at once, times the multiplier."""
    lines, matrix, zero_point = fragments.matrix("u", "input_weight", a.input_form)
    product_lines, product = fragments.product("p", "x", a.x_kind, matrix, zero_point)
    input_constants, input_names = fragments.requantization_constants(
        "i", multiplier="input_multiplier", shift="input_shift", zero_point="zero", low="int32_low", high="int32_high"
    )
    steps, result = fragments.requantization("ir", product, input_names)
    constants, q = fragments.requantization_constants(
        "q", multiplier="multiplier", shift="shift", zero_point="index_half", low="zero", high="index_high"
    )
    lines += [
        *product_lines,
        *fragments.constant("int32_low", "int64", -(2**31)),
        *fragments.constant("int32_high", "int64", 2**31 - 1),
        *input_constants,
        *steps,
        f"driven = Cast<to = {INT32}>({result})",
        # W (h - z) = W (code + base - z): the state's offset is a constant of the loop.
        f"base = Identity({'low' if a.wide_state else 'zero'})",
        f"base32 = Cast<to = {INT32}>(base)",
        f"zero_point32 = Cast<to = {INT32}>(h_zero_point)",
        "offset = Sub(base32, zero_point32)",
        "correction = Mul(row_sums, offset)",
        "bias_all = Add(bias, correction)",
        "drive32 = Add(driven, bias_all)",
        *constants,
        f"drive_w = Cast<to = {UINT64}>(drive32)",
        f"drive_m = Mul(drive_w, {q.multiplier})",
        f"drive64 = Add(drive_m, {q.addend})",
        f"factor = Mul({q.multiplier}, lift_u64)" if not a.scaled_weights else f"factor = Identity({q.multiplier})",
        "drive = Unsqueeze(drive64, axis_2)" if a.wide_state else "drive = Identity(drive64)",
    ]
    return lines


def _output_constants(a: Arrangement) -> list[str]:
    """What rounds the sums of products: of the cell state, and of the hidden state as the loop holds it."""
    wide = INT64 if a.long_output else INT32
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
        "together = Constant<value = int32[1, 2] {256, 1}>()",
        "bytes = Constant<value = int32[2, 1] {256, 1}>()",
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
        "h0_rows = Div(h0_row, bytes)",
        f"state0 = Cast<to = {UINT8}>(h0_rows)",
    ]


def _scan(a: Arrangement) -> str:
    dims = "[?, ?, ?]" if a.wide_state else "[?, ?]"
    steps = _step(a)
    outputs, results = f"uint8{dims} next, int32{dims} cell_next", "last, cell_last"
    if a.all_steps:
        steps.append("emitted = Identity(next)")
        outputs, results = f"{outputs}, uint8{dims} emitted", f"{results}, every"
    text = "\n    ".join(steps)
    return (
        f"{results} = Scan<num_scan_inputs = 1, body = step (uint8{dims} state, int32{dims} cell, uint64{dims} driven_t) "
        f"=> ({outputs}) {{\n    {text}\n  }}>(state0, cell0, drive)"
    )


def _step(a: Arrangement) -> list[str]:
    """One step of the loop."""
    zero_point = ", , wz" if a.form == "u8" else ""
    lines = ["w = Transpose<perm = [1, 0]>(w_rows)", f"product = MatMulInteger(state, w{zero_point})"]
    accumulator = "product"
    if a.wide_state:
        lines.append("joined = MatMul(together, product)")
        accumulator = "joined"
    lines += [
        f"wide = Cast<to = {UINT64}>({accumulator})",
        "scaled = Mul(wide, factor)",
        "sum = Add(scaled, driven_t)",
        'shifted = BitShift<direction = "RIGHT">(sum, q_s)',
        "clipped = Clip(shifted, q_lo, q_hi)",
    ]
    if a.direct_cast:
        lines.append(f"index = Cast<to = {INT32}>(clipped)")
    else:
        lines += [f"index16 = Cast<to = {UINT16}>(clipped)", f"index = Cast<to = {INT32}>(index16)"]
    lines += ["entry = Add(index, table_offset)", "gates = Gather<axis = 0>(look_up, entry)"]
    for place, name in enumerate(("i_t", "f_t", "g_t", "o_t")):
        lines.append(f"{name} = Slice(gates, place_{place}, place_{place + 1}, last_axis)")
    lines += [
        "added = Mul(i_t, g_t)",
        "kept = Mul(f_t, cell)",
        "cell_total = Add(added, kept)",
        "cell_rounded = Add(cell_total, c_addend)",
        "cell_above = Div(cell_rounded, c_step)",
        "cell_clipped = Clip(cell_above, c_low, c_high)",
        "cell_next = Sub(cell_clipped, c_zero)",
        "tanh_c = Gather<axis = 0>(cell_look_up, cell_next)",
        "shown = Mul(o_t, tanh_c)",
    ]
    shown = "shown"
    if a.long_output:
        lines.append(f"shown64 = Cast<to = {INT64}>(shown)")
        shown = "shown64"
    # The lower bound is no less than code 0, so that Div may truncate what is negative.
    lines += [f"h_total = Add({shown}, h_addend)", "h_quotient = Div(h_total, h_step)"]
    lines.append("h_clipped = Clip(h_quotient, h_low, h_high)")
    code = "h_clipped"
    if a.long_output:
        lines.append(f"code = Cast<to = {INT32}>(h_clipped)")
        code = "code"
    if a.wide_state:
        lines.append(f"rows = Div({code}, bytes)")
        code = "rows"
    return [*lines, f"next = Cast<to = {UINT8}>({code})"]


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
            f"{result}_joined = MatMul(together, {result}_32)",
            f"{result}_code = Squeeze({result}_joined, {axis})",
            f"{result}_value = Add({result}_code, base32)",
            f"{result} = Cast<to = {INT16}>({result}_value)",
        ]
    if not a.all_steps:
        # The contract has three outputs; a node that drops y never reads this one.
        lines.append("y = Unsqueeze(y_h, axis_0)")
    return lines
