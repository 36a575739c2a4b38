"""The ONNX text of a recurrent layer's body, stage by stage (see rnn.py)."""

from __future__ import annotations

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx import rounding as rules
from qdeploy.export.onnx.fragments import INT16, INT32, INT64, UINT8, UINT16, UINT64
from qdeploy.export.onnx.hadamard_product import hadamard_factors, hadamard_product
from qdeploy.export.onnx.modrelu import rectified
from qdeploy.export.onnx.rnn_arrangement import Arrangement
from qdeploy.export.onnx.single_precision import single_precision
from qdeploy.runtime.rounding import HALF_UP, SINGLE_PRECISION


class BodyText:
    """Writes the ONNX text of one arrangement."""

    def __init__(self, arrangement: Arrangement) -> None:
        self.a = arrangement
        self.state = {
            "direct": "uint8[?, ?]",
            "digits": "uint8[?, ?]",
            "rows": "uint8[?, ?, ?]",
            "hadamard": "int32[?, ?, ?, ?]",
        }[arrangement.product]
        # A sum that holds the rounding already is that of half up alone.
        summed = arrangement.activation != "modrelu" and arrangement.rounding == HALF_UP
        self.drive = "uint64" if arrangement.finish == "multiply" and summed else "int32"

    def lines(self) -> list[str]:
        """The whole body."""
        names = ("shift", "h_zero_point", "low", "high", "recurrent_shift", "input_shift")
        lines = [line for name in names for line in fragments.attribute(name, INT64)]
        lines += self._constants() + self._weights() + self._hoisted() + self._initial() + self._scan() + self._final()
        return lines

    def _constants(self) -> list[str]:
        """base: what the loop's state stands above (h = base + state); the requantization to the state's code."""
        lines = ["zero = Constant<value = int64 {0}>()"]
        wide = self.a.product != "direct"
        lines.append("base = Identity(low)" if wide else "base = Identity(zero)")
        lines += [
            "code_zero = Sub(h_zero_point, base)",
            "code_low = Sub(low, base)",
            "code_high = Sub(high, base)",
        ]
        if self.a.activation == "table":
            lines += [
                "table_shape = Shape(table)",
                "entries = Squeeze(table_shape)",
                "two = Constant<value = int64 {2}>()",
                "one = Constant<value = int64 {1}>()",
                "index_zero = Div(entries, two)",
                "index_high = Sub(entries, one)",
                f"table64 = Cast<to = {INT64}>(table)",
                "table_code = Sub(table64, base)",
            ]
        zero_point, low, high = (
            ("index_zero", "zero", "index_high")
            if self.a.activation == "table"
            else ("code_zero", "code_low", "code_high")
        )
        # A table in single precision is made otherwise; what is left of these constants is folded away.
        own = HALF_UP if self.a.rounding == SINGLE_PRECISION else self.a.rounding
        constants, self.rule = rules.requantization_constants(
            own, "q", multiplier="multiplier", shift="shift", zero_point=zero_point, low=low, high=high
        )
        self.requantization = self.rule.constants if isinstance(self.rule, rules.Named) else self.rule
        return lines + constants

    def _weights(self) -> list[str]:
        """The right-hand sides of both products."""
        lines, self.input_matrix, self.input_zero_point = fragments.matrix("u", "input_weight", self.a.input_form)
        lines += [
            "one_u64 = Constant<value = uint64 {1}>()",
            f"recurrent_shift_u64 = Cast<to = {UINT64}>(recurrent_shift)",
            'lift_u64 = BitShift<direction = "LEFT">(one_u64, recurrent_shift_u64)',
            f"lift = Cast<to = {INT32}>(lift_u64)",
            f"weight32 = Cast<to = {INT32}>(recurrent_weight)",
            "lifted = Mul(weight32, lift)",
            *fragments.vector("along_k", [1]),
            "row_sums = ReduceSum<keepdims = 0>(lifted, along_k)",
        ]
        if self.a.product == "hadamard":
            return lines + hadamard_factors(*self.a.factors)
        lines += [
            f"transposed = Transpose<perm = [1, 0]>({'lifted' if self.a.scaled_weights else 'weight32'})",
        ]
        matrix = "transposed"
        if self.a.product == "digits":
            digit = 1 << self.a.digit_bits
            lines += [
                "pairs = Unsqueeze(transposed, along_k)",
                f"digits = Constant<value = int32[1, 2, 1] {{{digit}, 1}}>()",
                "weighted = Mul(pairs, digits)",
                "shape = Shape(transposed)",
                *fragments.vector("columns", [1]),
                "width = Gather<axis = 0>(shape, columns)",
                *fragments.vector("any", [-1]),
                "side_by_side = Concat<axis = 0>(any, width)",
                "interleaved = Reshape(weighted, side_by_side)",
            ]
            matrix = "interleaved"
        if self.a.form == "s8":
            lines.append(f"w_columns = Cast<to = {fragments.INT8}>({matrix})")
        else:
            lines += [
                *fragments.constant("w_128", "int32", 128),
                f"w_above = Add({matrix}, w_128)",
                f"w_columns = Cast<to = {UINT8}>(w_above)",
                *fragments.constant("wz", "uint8", 128),
            ]
        # The loop transposes it back: a runtime folds that into a constant of the loop itself, which onnxruntime reads
        # 7 % of a step faster than one from outside.
        lines.append("w_rows = Transpose<perm = [1, 0]>(w_columns)")
        return lines

    def _hoisted(self) -> list[str]:
        """U x + bias and all corrections, for every step at once."""
        lines, product = fragments.product("p", "x", self.a.x_kind, self.input_matrix, self.input_zero_point)
        lines.append(f"input_shift_u64 = Cast<to = {UINT64}>(input_shift)")
        if self.a.requantized_input:
            lines += [
                *fragments.constant("int32_low", "int64", -(2**31)),
                *fragments.constant("int32_high", "int64", 2**31 - 1),
            ]
            constants, names = fragments.requantization_constants(
                "i",
                multiplier="input_multiplier",
                shift="input_shift",
                zero_point="zero",
                low="int32_low",
                high="int32_high",
            )
            steps, result = fragments.requantization("ir", product, names)
            lines += [*constants, *steps, f"driven = Cast<to = {INT32}>({result})"]
        else:
            lines += [
                'input_lift_u64 = BitShift<direction = "LEFT">(one_u64, input_shift_u64)',
                f"input_lift = Cast<to = {INT32}>(input_lift_u64)",
                f"driven = Mul({product}, input_lift)",
            ]
        # W (h - z) = W (state + base - z): the state's offset is a constant of the loop.
        lines += [
            f"base32 = Cast<to = {INT32}>(base)",
            f"zero_point32 = Cast<to = {INT32}>(h_zero_point)",
            "offset = Sub(base32, zero_point32)",
            "correction = Mul(row_sums, offset)",
            "bias_all = Add(bias, correction)",
            "drive32 = Add(driven, bias_all)",
        ]
        drive = "drive32"
        if self.a.finish == "divide":
            lines += [
                f"shift_u64 = Cast<to = {UINT64}>(shift)",
                'step_u64 = BitShift<direction = "LEFT">(one_u64, shift_u64)',
                'half_u64 = BitShift<direction = "RIGHT">(step_u64, one_u64)',
                f"step = Cast<to = {INT32}>(step_u64)",
                f"half = Cast<to = {INT32}>(half_u64)",
                "drive_half = Add(drive32, half)",
            ]
            drive = "drive_half"
        elif self.drive == "uint64":
            q = self.requantization
            lines += [
                f"drive_w = Cast<to = {UINT64}>(drive32)",
                f"drive_m = Mul(drive_w, {q.multiplier})",
                f"drive64 = Add(drive_m, {q.addend})",
            ]
            drive = "drive64"
        if self.a.product == "rows":
            lines += [*fragments.vector("row_axis", [2]), f"drive = Unsqueeze({drive}, row_axis)"]
        elif self.a.product == "hadamard":
            lines += [*fragments.vector("parts", [0, 0, -1, *self.a.factors]), f"drive = Reshape({drive}, parts)"]
        else:
            lines.append(f"drive = Identity({drive})")
        return lines + self._finish_constants()

    def _finish_constants(self) -> list[str]:
        """The table of ``gather``, the bounds of ``divide``."""
        a = self.a
        lines: list[str] = []
        if a.finish == "gather":
            half = 1 << (a.table_bits - 1)
            if a.clipped and a.activation == "relu":
                # Negative accumulators clip to entry 0: the table needs the positive ones only.
                first = ["t_acc = Range(t_0, t_end, t_1)"]
                lines += [
                    *fragments.constant("t_0", "int32", 0),
                    *fragments.constant("t_1", "int32", 1),
                    *fragments.constant("t_end", "int32", 2 * half),
                    *first,
                ]
                self.clip = (0, 2 * half - 1)
            else:
                # Gather counts negative indices from the end: entry i holds accumulator i, or i - 2^n.
                lines += [
                    *fragments.constant("t_0", "int32", 0),
                    *fragments.constant("t_1", "int32", 1),
                    *fragments.constant("t_half", "int32", half),
                    *fragments.constant("t_minus", "int32", -half),
                    "t_positive = Range(t_0, t_half, t_1)",
                    "t_negative = Range(t_minus, t_0, t_1)",
                    "t_acc = Concat<axis = 0>(t_positive, t_negative)",
                ]
                self.clip = (-half, half - 1)
            rectify = a.activation == "relu"
            lines.append("t_sigma = Relu(t_acc)" if rectify else "t_sigma = Identity(t_acc)")
            if a.rounding == SINGLE_PRECISION:
                ends = {"zero_point": "code_zero", "low": "code_low", "high": "code_high"}
                steps, result = single_precision("t", "t_sigma", multiplier="multiplier", shift="shift", **ends)
            else:
                steps, result = rules.requantization("t", "t_sigma", self.rule)
            lines += [*steps, *self._code("t_code", result)]
            lines += [
                *fragments.constant("clip_low", "int32", self.clip[0]),
                *fragments.constant("clip_high", "int32", self.clip[1]),
            ]
            if a.product == "digits":
                lines += [
                    *fragments.vector("t_last", [1]),
                    "t_column = Unsqueeze(t_code, t_last)",
                    *fragments.constant("t_digit", "int32", 1 << a.digit_bits),
                    "t_hi = Div(t_column, t_digit)",
                    "t_lo = Mod(t_column, t_digit)",
                    "t_pair = Concat<axis = 1>(t_hi, t_lo)",
                    f"look_up = Cast<to = {UINT8}>(t_pair)",
                ]
            elif a.product == "direct":
                lines.append(f"look_up = Cast<to = {UINT8}>(t_code)")
            else:
                lines.append("look_up = Identity(t_code)")
        if a.finish == "divide":
            lines += [
                f"high32 = Cast<to = {INT32}>(code_high)",
                f"zero32 = Cast<to = {INT32}>(zero)",
                "t_1 = Constant<value = int32 {1}>()",
                "above = Add(high32, t_1)",
                "top = Mul(above, step)",
                "top_last = Sub(top, t_1)",
            ]
        if a.product == "digits":
            lines += [*fragments.vector("flat", [0, -1])]
        if a.product == "rows":
            lines += [
                "together = Constant<value = int32[1, 2] {256, 1}>()",
                "bytes = Constant<value = int32[2, 1] {256, 1}>()",
            ]
            if a.finish == "divide":
                lines.append("row_steps = Mul(bytes, step)")
        if a.product == "digits" and a.finish != "gather":
            lines += [
                *fragments.vector("pair_axis", [2]),
                f"pair = Constant<value = int32[1, 1, 2] {{{1 << a.digit_bits}, 1}}>()",
            ]
            lines.append(f"digit_masks = Constant<value = int32[1, 1, 2] {{255, {(1 << a.digit_bits) - 1}}}>()")
        if not a.scaled_weights and self.drive == "uint64":
            lines.append("lifted_m = Mul(q_m, lift_u64)")
        if a.activation == "table":
            lines.append(f"table_code32 = Cast<to = {INT32}>(table_code)")
        return lines

    def _code(self, result: str, requantized: str) -> list[str]:
        """The state's code as int32, from a requantized value with its offset K."""
        lines = [f"{result}_16 = Cast<to = {UINT16}>({requantized})", f"{result}_32 = Cast<to = {INT32}>({result}_16)"]
        if self.a.activation == "table":
            lines.append(f"{result}_e = Gather<axis = 0>(table_code, {result}_32)")
            lines.append(f"{result} = Cast<to = {INT32}>({result}_e)")
        else:
            lines.append(f"{result} = Identity({result}_32)")
        return lines

    def _initial(self) -> list[str]:
        """h0 as the loop holds it."""
        if self.a.product == "direct":
            return ["state0 = Identity(h0)"]
        lines = [f"h0_32 = Cast<to = {INT32}>(h0)", "h0_code = Sub(h0_32, base32)"]
        if self.a.product == "digits":
            lines += [
                *fragments.vector("h0_axis", [2]),
                "h0_column = Unsqueeze(h0_code, h0_axis)",
                *fragments.constant("h0_digit", "int32", 1 << self.a.digit_bits),
                "h0_hi = Div(h0_column, h0_digit)",
                "h0_lo = Mod(h0_column, h0_digit)",
                "h0_pair = Concat<axis = 2>(h0_hi, h0_lo)",
                f"h0_u8 = Cast<to = {UINT8}>(h0_pair)",
                "state0 = Reshape(h0_u8, flat)",
            ]
        elif self.a.product == "hadamard":
            lines += [*fragments.vector("h0_parts", [0, -1, *self.a.factors]), "state0 = Reshape(h0_code, h0_parts)"]
        else:
            lines += [
                *fragments.vector("h0_axis", [1]),
                "h0_row = Unsqueeze(h0_code, h0_axis)",
                "h0_rows = Div(h0_row, bytes)",
                f"state0 = Cast<to = {UINT8}>(h0_rows)",
            ]
        return lines

    def _scan(self) -> list[str]:
        drive = {"rows": "[?, ?, ?]", "hadamard": "[?, ?, ?, ?]"}.get(self.a.product, "[?, ?]")
        steps = self._step()
        outputs = f"{self.state} next"
        results = "last"
        if self.a.all_steps:
            emitted = self.state
            if self.a.product == "digits" and self.a.finish == "gather":
                emitted = "uint8[?, ?, ?]"
            else:
                steps.append("emitted = Identity(next)")
            outputs += f", {emitted} emitted"
            results += ", every"
        text = "\n    ".join(steps)
        scan = (
            f"{results} = Scan<num_scan_inputs = 1, body = step ({self.state} state, {self.drive}{drive} driven_t) "
            f"=> ({outputs}) {{\n    {text}\n  }}>(state0, drive)"
        )
        return [scan]

    def _step(self) -> list[str]:
        """One step of the loop."""
        a = self.a
        zero_point = ", , wz" if a.form == "u8" else ""
        if a.product == "hadamard":
            lines = hadamard_product("state", "product", left=a.factors[0] > 1)
        else:
            lines = ["w = Transpose<perm = [1, 0]>(w_rows)", f"product = MatMulInteger(state, w{zero_point})"]
        accumulator = "product"
        if a.product == "rows":
            lines.append("joined = MatMul(together, product)")
            accumulator = "joined"
        if self.drive == "uint64":
            factor = "q_m" if a.scaled_weights else "lifted_m"
            lines += [
                f"wide = Cast<to = {UINT64}>({accumulator})",
                f"scaled = Mul(wide, {factor})",
                "sum = Add(scaled, driven_t)",
            ]
            return lines + self._requantized("sum")
        if not a.scaled_weights:
            lines.append(f"high_up = Mul({accumulator}, lift)")
            accumulator = "high_up"
        lines.append(f"acc = Add({accumulator}, driven_t)")
        accumulator = "acc"
        if a.activation == "modrelu":
            lines += rectified("acc", "modrelu_bias", "rectified")
            accumulator = "rectified"
        if a.finish == "multiply" and a.rounding != HALF_UP:
            steps, result = rules.requantization("r", accumulator, self.rule)
            return [*lines, *steps, f"next = Cast<to = {UINT8}>({result})"]
        if a.finish == "multiply":
            lines += [f"wide = Cast<to = {UINT64}>({accumulator})", "scaled = Mul(wide, q_m)", "sum = Add(scaled, q_c)"]
            return lines + self._requantized("sum")
        if a.finish == "divide":
            return lines + self._divided(accumulator)
        index = accumulator
        if a.clipped:
            lines.append(f"index = Clip({accumulator}, clip_low, clip_high)")
            index = "index"
        if a.product in {"direct", "hadamard"}:
            return [*lines, f"next = Gather<axis = 0>(look_up, {index})"]
        if a.product == "digits":
            pairs = "emitted" if a.all_steps else "pairs_t"
            return [*lines, f"{pairs} = Gather<axis = 0>(look_up, {index})", f"next = Reshape({pairs}, flat)"]
        return [*lines, f"code = Gather<axis = 0>(look_up, {index})", *self._encoded("code")]

    def _requantized(self, total: str) -> list[str]:
        """From acc * M + addend to the next state. For ReLU the lower bound is the zero point, which is sigma itself."""
        q = self.requantization
        lines = [
            f'shifted = BitShift<direction = "RIGHT">({total}, {q.shift})',
            f"clipped = Clip(shifted, {q.low}, {q.high})",
        ]
        if self.a.product == "direct" and self.a.activation != "table":
            return [*lines, f"next = Cast<to = {UINT8}>(clipped)"]
        lines += [f"code16 = Cast<to = {UINT16}>(clipped)", f"code32 = Cast<to = {INT32}>(code16)"]
        code = "code32"
        if self.a.activation == "table":
            lines.append("code = Gather<axis = 0>(table_code32, code32)")
            code = "code"
        return lines + self._encoded(code)

    def _divided(self, accumulator: str) -> list[str]:
        """ReLU and a power of two: below zero everything clips to 0, so that Div may truncate."""
        lines = [f"clipped = Clip({accumulator}, zero32, top_last)"]
        if self.a.product == "rows":
            return [*lines, "rows = Div(clipped, row_steps)", f"next = Cast<to = {UINT8}>(rows)"]
        if self.a.product == "hadamard":
            return [*lines, "next = Div(clipped, step)"]
        return [*lines, "code = Div(clipped, step)", f"next = Cast<to = {UINT8}>(code)"]

    def _encoded(self, code: str) -> list[str]:
        """The loop's state from its code, an int32 that is not negative."""
        if self.a.product == "direct":
            return [f"next = Cast<to = {UINT8}>({code})"]
        if self.a.product == "rows":
            return [f"rows = Div({code}, bytes)", f"next = Cast<to = {UINT8}>(rows)"]
        if self.a.product == "hadamard":
            return [f"next = Identity({code})"]
        return [
            f"column = Unsqueeze({code}, pair_axis)",
            "quotients = Div(column, pair)",
            "digits_t = BitwiseAnd(quotients, digit_masks)",
            f"digits8 = Cast<to = {UINT8}>(digits_t)",
            "next = Reshape(digits8, flat)",
        ]

    def _final(self) -> list[str]:
        """The states as the contract has them."""
        lines: list[str] = []
        for result, source, batch_axes in (("y_h", "last", 1), *((("y", "every", 2),) if self.a.all_steps else ())):
            lines += self._decoded(result, source, batch_axes)
        if not self.a.all_steps:
            # The contract has two outputs; a node that drops y never reads this one.
            lines += [*fragments.vector("y_axis", [0]), "y = Unsqueeze(y_h, y_axis)"]
        return lines

    def _decoded(self, result: str, source: str, batch_axes: int) -> list[str]:
        if self.a.product == "direct":
            return [f"{result} = Identity({source})"]
        if self.a.product == "hadamard":
            return [
                *fragments.vector(f"{result}_shape", [0] * batch_axes + [-1]),
                f"{result}_code = Reshape({source}, {result}_shape)",
                f"{result}_value = Add({result}_code, base32)",
                f"{result} = Cast<to = {INT16}>({result}_value)",
            ]
        lines: list[str] = []
        if self.a.product == "digits":
            column = "int32[2, 1]"
            paired = source
            if not (result == "y" and self.a.finish == "gather"):
                lines += [
                    *fragments.vector(f"{result}_shape", [0] * batch_axes + [-1, 2]),
                    f"{result}_pairs = Reshape({source}, {result}_shape)",
                ]
                paired = f"{result}_pairs"
            lines += [
                f"{result}_32 = Cast<to = {INT32}>({paired})",
                f"{result}_join = Constant<value = {column} {{{1 << self.a.digit_bits}, 1}}>()",
                f"{result}_joined = MatMul({result}_32, {result}_join)",
                *fragments.vector(f"{result}_axis", [batch_axes + 1]),
            ]
        else:
            lines += [
                f"{result}_32 = Cast<to = {INT32}>({source})",
                f"{result}_joined = MatMul(together, {result}_32)",
                *fragments.vector(f"{result}_axis", [batch_axes]),
            ]
        return [
            *lines,
            f"{result}_code = Squeeze({result}_joined, {result}_axis)",
            f"{result}_value = Add({result}_code, base32)",
            f"{result} = Cast<to = {INT16}>({result}_value)",
        ]
