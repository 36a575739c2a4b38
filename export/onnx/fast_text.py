"""The bodies of FastRNN and FastGRNN: one pre-activation, looked up in several tables at once.

The pre-activation a = W h + U x is the same for the gate and the candidate. In the loop it has an axis of its own, along which
the constants of each table are added (its bias, half a step, and a lead that makes the sum positive and points into the
table's part of one long table): one Add, one Div and one look-up give the entries of all tables, and a Split parts them.
The state is held as its code, c = h - low.
"""

from __future__ import annotations

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fast_arrangement import Arrangement
from qdeploy.export.onnx.fragments import INT32, INT64, UINT8, UINT64
from qdeploy.runtime.fast_loop import FACTOR_ZERO_POINT, GATE_BITS, LARGEST_TABLE_BITS


class BodyText:
    """Writes the ONNX text of one arrangement."""

    def __init__(self, arrangement: Arrangement) -> None:
        self.a = arrangement

    def lines(self) -> list[str]:
        """The whole body."""
        names = ["state_shift", "h_zero_point", "low", "high", "input_shift"]
        names += ["factor_shift"] if self.a.factor_form else []
        names += [] if self.a.gated else ["kept"]
        return [
            *(line for name in names for line in fragments.attribute(name, INT64)),
            *self._numbers(),
            *self._weights(),
            *self._mix(),
            *self._tables(),
            *self._drive(),
            *self._initial(),
            self._scan(),
            *self._final(),
        ]

    def _numbers(self) -> list[str]:
        return [
            *fragments.constant("zero", "int64", 0),
            *fragments.constant("one", "int64", 1),
            *fragments.constant("two", "int64", 2),
            *fragments.constant("one_u64", "uint64", 1),
            *fragments.vector("axis_0", [0]),
            *fragments.vector("axis_1", [1]),
            *fragments.vector("axis_2", [2]),
            *fragments.vector("flat", [-1]),
            *fragments.vector("any_tables", [-1, self.a.tables]),
            "weight_shape = Shape(input_weight)",
            "hidden = Gather<axis = 0>(weight_shape, axis_0)",
            "entries_shape = Concat<axis = 0>(any_tables, hidden)",
            "offset = Sub(low, h_zero_point)",
            f"low32 = Cast<to = {INT32}>(low)",
        ]

    def _weights(self) -> list[str]:
        """Right-hand sides; correction: what the product of h - z_h has beside that of its code."""
        first = "factor" if self.a.factor_form else "recurrent_weight"
        lines, matrix, _ = fragments.matrix("w", first, self.a.factor_form or self.a.form)
        lines += [
            f"w_rows = Transpose<perm = [1, 0]>({matrix})",
            f"first64 = Cast<to = {INT64}>({first})",
            "row_sums = ReduceSum<keepdims = 0>(first64, axis_1)",
            "correction = Mul(row_sums, offset)",
        ]
        if not self.a.factor_form:
            return lines
        second, matrix, _ = fragments.matrix("v", "recurrent_weight", self.a.form)
        return [
            *lines,
            *second,
            f"v_rows = Transpose<perm = [1, 0]>({matrix})",
            f"factor_shift_u64 = Cast<to = {UINT64}>(factor_shift)",
            'factor_step_u64 = BitShift<direction = "LEFT">(one_u64, factor_shift_u64)',
            f"factor_step64 = Cast<to = {INT64}>(factor_step_u64)",
            f"factor_step = Cast<to = {INT32}>(factor_step_u64)",
            "factor_half = Div(factor_step64, two)",
            *fragments.constant("factor_zero", "int64", FACTOR_ZERO_POINT),
            *fragments.constant("factor_zero_u8", "uint8", FACTOR_ZERO_POINT),
            *fragments.constant("factor_low", "int32", 0),
            *fragments.constant("factor_high", "int32", 255),
            "factor_lead = Mul(factor_zero, factor_step64)",
            "factor_above = Add(factor_lead, factor_half)",
            "factor_constant64 = Add(factor_above, correction)",
            f"factor_constant = Cast<to = {INT32}>(factor_constant64)",
        ]

    def _mix(self) -> list[str]:
        """Of A + z (c 2^a - B) in codes: what it is divided by, and what A and B hold beside their entries."""
        return [
            f"state_shift_u64 = Cast<to = {UINT64}>(state_shift)",
            'lift_u64 = BitShift<direction = "LEFT">(one_u64, state_shift_u64)',
            f"lift64 = Cast<to = {INT64}>(lift_u64)",
            *fragments.constant("gate_one", "int64", 1 << GATE_BITS),
            "divisor64 = Mul(lift64, gate_one)",
            f"divisor = Cast<to = {INT32}>(divisor64)",
            "half = Div(divisor64, two)",
            "lowest = Mul(offset, divisor64)",
            "added_offset = Sub(half, lowest)",
            "lifted_offset = Mul(offset, lift64)",
            "span = Sub(high, low)",
            f"code_high = Cast<to = {INT32}>(span)",
            f"code_low = Cast<to = {INT32}>(zero)",
        ]

    def _tables(self) -> list[str]:
        """look_up: all tables one behind the other, each over every index there can be; size: of one of them."""
        lines = [
            *self._entries(
                {"added64": "added_table", "candidate64": "candidate_table", "gate_all": "gate_table"}
                if self.a.gated
                else {"added64": "added_table"}
            ),
            "table_shape = Shape(added64)",
            "entries = Squeeze(table_shape)",
            "entries_half = Div(entries, two)",
            "entries_last = Sub(entries, one)",
        ]
        if self.a.gated:
            lines += [
                "added_all = Add(added64, added_offset)",
                "candidate_all = Sub(candidate64, lifted_offset)",
                f"lift = Cast<to = {INT32}>(lift_u64)",
            ]
            names = ["gate_all", "added_all", "candidate_all"]
        else:
            lines += [
                "kept_lift = Mul(kept, lift64)",
                "kept_offset = Mul(kept_lift, offset)",
                "moved = Add(added_offset, kept_offset)",
                "added_all = Add(added64, moved)",
                f"kept_step = Cast<to = {INT32}>(kept_lift)",
            ]
            names = ["added_all"]
        if self.a.table_bits:
            half = 1 << (self.a.table_bits - 1)
            lines += [
                *fragments.constant("every_begin", "int64", -half),
                *fragments.constant("middle", "int64", half),
                *fragments.constant("size", "int64", 2 * half),
                "every_index = Range(every_begin, middle, one)",
                "every_above = Add(every_index, entries_half)",
                "every_entry = Clip(every_above, zero, entries_last)",
            ]
            for name in names:
                lines.append(f"{name}_every = Gather<axis = 0>({name}, every_entry)")
            names = [f"{name}_every" for name in names]
        else:
            lines += ["middle = Identity(entries_half)", "size = Identity(entries)"]
        joined = names[0]
        if len(names) > 1:
            joined = "all_tables"
            lines.append(f"all_tables = Concat<axis = 0>({', '.join(names)})")
        lines.append(f"look_up = Cast<to = {INT32}>({joined})")
        return lines

    def _entries(self, tables: dict[str, str]) -> list[str]:
        """All entries of tables, int64, by the names of results."""
        if not self.a.knots:
            return [f"{result} = Cast<to = {INT64}>({table})" for result, table in tables.items()]
        lines = [f"{table}64 = Cast<to = {INT64}>({table})" for table in tables.values()]
        return [
            *lines,
            f"own_flat = Concat<axis = 0>({', '.join(f'{table}64' for table in tables.values())})",
            *fragments.vector("own_shape", [len(tables), -1]),
            "own = Reshape(own_flat, own_shape)",
            *fragments.vector("own_begin", [0]),
            *fragments.vector("own_last", [-1]),
            *fragments.vector("own_end", [2**31 - 1]),
            "line_from = Slice(own, own_begin, own_last, axis_1)",
            "line_to = Slice(own, axis_1, own_end, axis_1)",
            "line_rise = Sub(line_to, line_from)",
            "lines_shape = Shape<start = 1>(line_from)",
            "lines = Squeeze(lines_shape)",
            *fragments.constant("all_entries", "int64", 1 << LARGEST_TABLE_BITS),
            "apart = Div(all_entries, lines)",
            "between = Range(zero, apart, one)",
            "rises = Unsqueeze(line_rise, axis_2)",
            "parts = Mul(rises, between)",
            # Div truncates: a lead above every rise makes it a floor.
            *fragments.constant("rise_lead", "int64", 2**34),
            "rise_lifted = Mul(rise_lead, apart)",
            "apart_half = Div(apart, two)",
            "rise_addend = Add(rise_lifted, apart_half)",
            "rise_sums = Add(parts, rise_addend)",
            "rise_quotients = Div(rise_sums, apart)",
            "rise_moved = Sub(rise_quotients, rise_lead)",
            "bases = Unsqueeze(line_from, axis_2)",
            "on_lines = Add(bases, rise_moved)",
            "all_rows = Reshape(on_lines, own_shape)",
            *(
                f"{result} = Gather<axis = 0>(all_rows, {place})"
                for result, place in zip(tables, ("zero", "one", "two"), strict=False)
            ),
        ]

    def _drive(self) -> list[str]:
        """drive ``[T, B, K, H]`` is added to the product before it is divided by index_step ``[K, H]``, K tables."""
        rows, matrix, zero_point = fragments.matrix("u", "input_weight", self.a.input_form)
        product_lines, product = fragments.product("p", "x", self.a.x_kind, matrix, zero_point)
        lines = [*rows, *product_lines]
        if self.a.requantized_input:
            constants, names = fragments.requantization_constants(
                "i", multiplier="input_multiplier", shift="input_shift", zero_point="zero", low="least", high="most"
            )
            steps, result = fragments.requantization("ir", product, names)
            lines += [
                *fragments.constant("least", "int64", -(2**31)),
                *fragments.constant("most", "int64", 2**31 - 1),
                *constants,
                *steps,
                f"driven = Cast<to = {INT32}>({result})",
            ]
        else:
            lines.append(f"driven = Mul({product}, input_multiplier)")
        kinds = 2 if self.a.gated else 1
        lines += [
            *fragments.vector("kinds", [kinds]),
            "by_kind = Concat<axis = 0>(kinds, hidden)",
            "bias_rows = Reshape(bias, by_kind)",
            "shift_rows = Reshape(index_shift, by_kind)",
            f"shift_rows_u64 = Cast<to = {UINT64}>(shift_rows)",
            'step_rows_u64 = BitShift<direction = "LEFT">(one_u64, shift_rows_u64)',
            f"step_rows = Cast<to = {INT64}>(step_rows_u64)",
            f"bias_rows64 = Cast<to = {INT64}>(bias_rows)",
            *fragments.vector("kind_of_table", [0, 1, 1] if self.a.gated else [0]),
            "step_tables = Gather<axis = 0>(step_rows, kind_of_table)",
            "bias_tables = Gather<axis = 0>(bias_rows64, kind_of_table)",
            f"index_step = Cast<to = {INT32}>(step_tables)",
            "step_half = Div(step_tables, two)",
            *fragments.vector("tables", list(range(self.a.tables))),
            "table_begin = Mul(tables, size)",
        ]
        if self.a.table_bits:
            lines += ["table_middle = Add(table_begin, middle)"]
        else:
            lines += [
                "nowhere = Sub(table_begin, table_begin)",
                "table_middle = Add(nowhere, middle)",
                "begin_column = Unsqueeze(table_begin, axis_1)",
                f"table_offset = Cast<to = {INT32}>(begin_column)",
                f"index_low = Cast<to = {INT32}>(zero)",
                f"index_high = Cast<to = {INT32}>(entries_last)",
            ]
        lines += [
            "middle_column = Unsqueeze(table_middle, axis_1)",
            "lead = Mul(middle_column, step_tables)",
            "constant_1 = Add(bias_tables, step_half)",
            "constant_2 = Add(constant_1, lead)",
        ]
        constant = "constant_2"
        if not self.a.factor_form:
            lines.append("constant_3 = Add(constant_2, correction)")
            constant = "constant_3"
        return [
            *lines,
            f"constant32 = Cast<to = {INT32}>({constant})",
            "driven_column = Unsqueeze(driven, axis_2)",
            "drive = Add(driven_column, constant32)",
        ]

    def _initial(self) -> list[str]:
        """code0 int32 ``[B, 1, H]``, and of a narrow state also the byte that the product reads."""
        lines = [
            f"h0_32 = Cast<to = {INT32}>(h0)",
            "h0_code = Sub(h0_32, low32)",
            "code0 = Unsqueeze(h0_code, axis_1)",
            "byte_sizes = Constant<value = int32[2, 1] {256, 1}>()",
            "together = Constant<value = int32[1, 2] {256, 1}>()",
        ]
        return lines if self.a.wide_state else [*lines, f"byte0 = Cast<to = {UINT8}>(code0)"]

    def _product(self) -> tuple[list[str], str]:
        """W (h - z_h) but for its constants, ``[B, 1, H]``, and its name."""
        first = self.a.factor_form or self.a.form
        zero_point = ", , w_uz" if first == "u8" else ""
        lines = ["w = Transpose<perm = [1, 0]>(w_rows)"]
        if self.a.wide_state:
            lines += [
                "bytes32 = Div(code, byte_sizes)",
                f"bytes = Cast<to = {UINT8}>(bytes32)",
                f"byte_products = MatMulInteger(bytes, w{zero_point})",
                "first_product = MatMul(together, byte_products)",
            ]
        else:
            lines.append(f"first_product = MatMulInteger(byte, w{zero_point})")
        if not self.a.factor_form:
            return lines, "first_product"
        second = ", v_uz" if self.a.form == "u8" else ""
        lines += [
            "factor_sum = Add(first_product, factor_constant)",
            # Where Div's truncation differs from a floor, below zero, the Clip gives 0 for both.
            "factor_quotient = Div(factor_sum, factor_step)",
            "factor_clipped = Clip(factor_quotient, factor_low, factor_high)",
            f"inner = Cast<to = {UINT8}>(factor_clipped)",
            "v = Transpose<perm = [1, 0]>(v_rows)",
            f"product = MatMulInteger(inner, v, factor_zero_u8{second})",
        ]
        return lines, "product"

    def _scan(self) -> str:
        product, name = self._product()
        steps = [*product, f"sums = Add({name}, drive_t)", "quotient = Div(sums, index_step)"]
        entry = "quotient"
        if not self.a.table_bits:
            steps += ["index = Clip(quotient, index_low, index_high)", "entry = Add(index, table_offset)"]
            entry = "entry"
        steps += fragments.look_up("found", "look_up", entry, shape="entries_shape" if self.a.flat else None)
        if self.a.gated:
            steps += [
                "gate, added, candidate = Split<axis = -2, num_outputs = 3>(found)",
                "lifted = Mul(code, lift)",
                "distance = Sub(lifted, candidate)",
                "kept_part = Mul(gate, distance)",
                "mixed = Add(added, kept_part)",
            ]
        else:
            steps += ["kept_part = Mul(code, kept_step)", "mixed = Add(found, kept_part)"]
        steps += ["divided = Div(mixed, divisor)", "next = Clip(divided, code_low, code_high)"]
        dims = "[?, ?, ?]"
        held, outputs, results, given = f"int32{dims} code", f"int32{dims} next", "last", "code0"
        if not self.a.wide_state:
            steps.append(f"next_byte = Cast<to = {UINT8}>(next)")
            held, outputs = f"{held}, uint8{dims} byte", f"{outputs}, uint8{dims} next_byte"
            results, given = "last, last_byte", "code0, byte0"
        if self.a.all_steps:
            steps.append("emitted = Identity(next)")
            outputs, results = f"{outputs}, int32{dims} emitted", f"{results}, every"
        text = "\n    ".join(steps)
        return (
            f"{results} = Scan<num_scan_inputs = 1, body = step ({held}, int32{dims} drive_t) => ({outputs}) "
            f"{{\n    {text}\n  }}>({given}, drive)"
        )

    def _final(self) -> list[str]:
        """The states as the contract has them."""
        lines = []
        for result, source, axis in [
            ("y_h", "last", "axis_1"),
            *([("y", "every", "axis_2")] if self.a.all_steps else []),
        ]:
            lines += [
                f"{result}_code = Squeeze({source}, {axis})",
                f"{result}_32 = Add({result}_code, low32)",
                f"{result} = Cast<to: int = @dtype>({result}_32)",
            ]
        if not self.a.all_steps:
            # The contract has two outputs; a node that drops y never reads this one.
            lines.append("y = Unsqueeze(y_h, axis_0)")
        return lines
