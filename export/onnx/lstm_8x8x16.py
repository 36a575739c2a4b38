"""Body of LSTM8x8x16: a Scan over one product for all four gates, U x hoisted out of it, activations from tables.

The tables of logistic and tanh are made at load of integer operators (see ``gemmlowp``): the file does not hold them.
"""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT16, INT32, INT64, UINT8
from qdeploy.export.onnx.functions import Site, body, function, weight_form
from qdeploy.export.onnx.gemmlowp import activation_tables
from qdeploy.export.onnx.rounding import Named, requantization, requantization_constants
from qdeploy.runtime.ops.lstm_8x8x16 import GATE_BITS, H_ZERO_POINT, HIGHEST, LOWEST
from qdeploy.runtime.rounding import GEMMLOWP

_LIFT = 2**30
"""More than a product of two of 16 bits: added before what is negative is divided."""

_BEYOND = 2**16
"""What is clipped here gives the same sum with 16 bits, clipped to 16."""


@body("LSTM8x8x16")
def lstm_8x8x16(site: Site) -> onnx.FunctionProto:
    """The body for this node's weights and this number of integer bits of its cell state."""
    forms = [weight_form(site.constants[f"{name}_weight"].T) for name in ("input", "recurrent")]
    cell_bits = int(site.attributes["cell_integer_bits"])
    every = bool(site.node.output[0])
    name = f"u8{forms[0]}_{forms[1]}_cell{cell_bits}_{'all' if every else 'last'}"
    return function("LSTM8x8x16", name, _lines(forms[0], forms[1], cell_bits, every=every))


def _lines(input_form: str, form: str, cell_bits: int, *, every: bool) -> list[str]:
    recurrent, matrix, zero_point = fragments.matrix("w", "recurrent_weight", form)
    constants, closed = _gate_requantization("r", "recurrent", -_BEYOND, _BEYOND)
    steps = _step(closed, zero_point)
    outputs, results = "uint8[?, ?] next, int32[?, ?] cell_next", "y_h, cell_last"
    if every:
        steps.append("emitted = Identity(next)")
        outputs, results = f"{outputs}, uint8[?, ?] emitted", f"{results}, y"
    text = "\n    ".join(steps)
    scan = (
        "Scan<num_scan_inputs = 1, body = step (uint8[?, ?] state, int32[?, ?] cell, int32[?, ?] driven_t) "
        f"=> ({outputs}) {{\n    {text}\n  }}>"
    )
    return [
        *(
            line
            for name in ("input_shift", "recurrent_shift", "output_shift")
            for line in fragments.attribute(name, INT64)
        ),
        *_numbers(),
        *_tables(cell_bits),
        *_driven(input_form),
        *recurrent,
        # The loop transposes it back, which a runtime folds into a constant of the loop itself (see the body of RNN).
        f"w_rows = Transpose<perm = [1, 0]>({matrix})",
        *constants,
        *_output_constants(cell_bits),
        f"cell0 = Cast<to = {INT32}>(c0)",
        f"{results} = {scan}(h0, cell0, driven)",
        f"y_c = Cast<to = {INT16}>(cell_last)",
        # The contract has three outputs; a node that drops y never reads this one.
        *([] if every else ["y = Unsqueeze(y_h, axis_0)"]),
    ]


def _numbers() -> list[str]:
    return [
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one32", "int32", 1),
        *fragments.constant("low16", "int64", LOWEST),
        *fragments.constant("high16", "int64", HIGHEST),
        *fragments.constant("low32", "int32", LOWEST),
        *fragments.constant("high32", "int32", HIGHEST),
        *fragments.constant("h_zero", "uint8", H_ZERO_POINT),
        *fragments.vector("axis_0", [0]),
        *fragments.vector("axis_1", [1]),
        *fragments.vector("flat", [-1]),
        *fragments.vector("gate_count", [4]),
        "weight_shape = Shape(recurrent_weight)",
        "units = Gather<axis = 0>(weight_shape, axis_1)",
        "by_gate = Concat<axis = 0>(gate_count, units)",
    ]


def _tables(cell_bits: int) -> list[str]:
    """gate_table: both functions of gates, one behind the other; cell_table; first: where 0 of every row's stands."""
    lines, tables = activation_tables("t", cell_bits)
    size = HIGHEST + 1 - LOWEST
    firsts = ", ".join(str(-LOWEST + (size if gate == 2 else 0)) for gate in range(4))
    return [
        *lines,
        *fragments.vector("table_rows", [2, 1]),
        f"gate_rows, cell_row = Split<axis = 0>({tables}, table_rows)",
        "gate_table = Reshape(gate_rows, flat)",
        "cell_table = Reshape(cell_row, flat)",
        f"first_column = Constant<value = int32[4, 1] {{{firsts}}}>()",
        "first_wide = Expand(first_column, by_gate)",
        "first = Reshape(first_wide, flat)",
        *fragments.constant("cell_first", "int32", -LOWEST),
    ]


def _gate_requantization(prefix: str, which: str, low: int, high: int) -> tuple[list[str], Named]:
    """Constants of the rule ``gemmlowp`` with the multiplier of each row's gate."""
    p = prefix
    lines, closed = requantization_constants(
        GEMMLOWP, p, multiplier=f"{p}_each", shift=f"{which}_shift", zero_point="zero", low=f"{p}_low", high=f"{p}_high"
    )
    if not isinstance(closed, Named):
        raise TypeError(f"rule {GEMMLOWP} has no constants of its own")
    return [
        *fragments.constant(f"{p}_low", "int64", low),
        *fragments.constant(f"{p}_high", "int64", high),
        f"{p}_column = Unsqueeze({which}_multiplier, axis_1)",
        f"{p}_wide = Expand({p}_column, by_gate)",
        f"{p}_each = Reshape({p}_wide, flat)",
        *lines,
    ], closed


def _driven(form: str) -> list[str]:
    """driven: U x with its bias, as pre-activations of all steps, int32."""
    lines, matrix, zero_point = fragments.matrix("u", "input_weight", form)
    product_lines, product = fragments.product("p", "x", "u8", matrix, zero_point)
    constants, closed = _gate_requantization("i", "input", LOWEST, HIGHEST)
    steps, result = requantization("ir", "biased", closed)
    return [
        *lines,
        *product_lines,
        f"biased = Add({product}, bias)",
        *constants,
        *steps,
        f"driven16 = Cast<to = {INT16}>({result})",
        f"driven = Cast<to = {INT32}>(driven16)",
    ]


def _output_constants(cell_bits: int) -> list[str]:
    """What products of gates and states are rounded by."""
    return [
        *fragments.constant("kept_half", "int32", 1 << (GATE_BITS - 1)),
        *fragments.constant("kept_step", "int32", 1 << GATE_BITS),
        *fragments.constant("added_half", "int32", 1 << (GATE_BITS + cell_bits - 1)),
        *fragments.constant("added_step", "int32", 1 << (GATE_BITS + cell_bits)),
        *fragments.constant("lift", "int32", _LIFT),
        *fragments.constant("half_lift", "int32", _LIFT // 2),
        *fragments.constant("two32", "int32", 2),
        *fragments.constant("u64_one", "uint64", 1),
        f"output_u64 = Cast<to = {fragments.UINT64}>(output_shift)",
        "output_left = Sub(output_u64, u64_one)",
        'output_step_u64 = BitShift<direction = "LEFT">(u64_one, output_left)',
        f"shown_step = Cast<to = {INT32}>(output_step_u64)",
        "shown_half = Div(shown_step, two32)",
        *fragments.constant("h_low", "int32", -H_ZERO_POINT),
        *fragments.constant("h_high", "int32", 255 - H_ZERO_POINT),
        *fragments.constant("h_zero32", "int32", H_ZERO_POINT),
    ]


def _step(closed: Named, zero_point: str) -> list[str]:
    """One step of the loop."""
    steps, result = requantization("rr", "product", closed)
    operand = f", {zero_point}" if zero_point else ""
    return [
        "w = Transpose<perm = [1, 0]>(w_rows)",
        f"product = MatMulInteger(state, w, h_zero{operand})",
        *steps,
        f"recalled_u64 = Sub({result}, {closed.prefix}_k)",
        f"recalled = Cast<to = {INT32}>(recalled_u64)",
        "both = Add(driven_t, recalled)",
        "before = Clip(both, low32, high32)",
        "place = Add(before, first)",
        "gates = Gather<axis = 0>(gate_table, place)",
        "i_t, f_t, g_t, o_t = Split<axis = -1, num_outputs = 4>(gates)",
        "kept_product = Mul(f_t, cell)",
        *_half_away("kept", "kept_product"),
        "added_product = Mul(i_t, g_t)",
        *_half_away("added", "added_product"),
        "cell_total = Add(kept, added)",
        "cell_next = Clip(cell_total, low32, high32)",
        "cell_place = Add(cell_next, cell_first)",
        "tanh_c = Gather<axis = 0>(cell_table, cell_place)",
        "shown_product = Mul(o_t, tanh_c)",
        # The first of two roundings, half up by one bit; what is divided is not negative.
        "shown_up = Add(shown_product, one32)",
        "shown_lifted = Add(shown_up, lift)",
        "shown_halved = Div(shown_lifted, two32)",
        "shown_first = Sub(shown_halved, half_lift)",
        *_half_away("shown", "shown_first"),
        "shown_clipped = Clip(shown, h_low, h_high)",
        "shown_code = Add(shown_clipped, h_zero32)",
        f"next = Cast<to = {UINT8}>(shown_code)",
    ]


def _half_away(result: str, value: str) -> list[str]:
    """value / <result>_step, ties away from zero: of absolute values, so that it does not matter how Div rounds."""
    return [
        f"{result}_size = Abs({value})",
        f"{result}_sum = Add({result}_size, {result}_half)",
        f"{result}_whole = Div({result}_sum, {result}_step)",
        f"{result}_sign = Sign({value})",
        f"{result} = Mul({result}_whole, {result}_sign)",
    ]
