"""The product of a wide state with signs times Hadamard blocks, as two small products instead of a large one.

A Sylvester matrix of a b units is the Kronecker product of those of a and b: with the units of a block as a matrix X
[a, b], S X is S_a X S_b. So a step takes H (a + b) additions in place of H B, as int32, which needs no splitting of
states of more than 8 bits; log2(B) stages of two would take fewer still, but an operator more costs a step more than
the additions.
"""

from __future__ import annotations

from qdeploy.export.onnx import fragments


def hadamard_factors(left: int, right: int) -> list[str]:
    """``right`` [b, b], ``left`` [a, a] and ``signs`` [1, H / (a b), a, b], times ``lift``, of ``weight32`` [H, H]."""
    block = left * right
    lines = [
        *fragments.constant("first", "int64", 0),
        *fragments.constant("next_one", "int64", 1),
        *fragments.constant("block", "int64", block),
        "weight_shape = Shape(weight32)",
        *fragments.vector("of_rows", [0]),
        "unit_count = Gather<axis = 0>(weight_shape, of_rows)",
        "count = Squeeze(unit_count, of_rows)",
        "units = Range(first, count, next_one)",
        # The first unit of each block: its column in the block holds the signs.
        "within = Mod(units, block)",
        "not_first = Sign(within)",
        "is_first = Sub(next_one, not_first)",
        f"first_32 = Cast<to = {fragments.INT32}>(is_first)",
        *fragments.vector("as_column", [1]),
        "first_column = Unsqueeze(first_32, as_column)",
        "sign_column = MatMul(weight32, first_column)",
        "lifted_signs = Mul(sign_column, lift)",
        *fragments.vector("sign_parts", [1, -1, left, right]),
        "signs = Reshape(lifted_signs, sign_parts)",
        "unsigned = Mul(weight32, sign_column)",
        *fragments.vector("corner", [0, 0]),
        *fragments.vector("axes", [0, 1]),
        *fragments.vector("right_ends", [right, right]),
        "right = Slice(unsigned, corner, right_ends, axes)",
    ]
    if left > 1:
        lines += [
            *fragments.vector("left_ends", [block, block]),
            *fragments.vector("left_steps", [right, right]),
            "left = Slice(unsigned, corner, left_ends, axes, left_steps)",
        ]
    return lines


def hadamard_product(state: str, result: str, *, left: bool) -> list[str]:
    """One step's W h of ``state`` int32 [batch, H / (a b), a, b], times ``lift``."""
    lines = [f"{result}_right = MatMul({state}, right)"]
    factor = f"{result}_right"
    if left:
        lines.append(f"{result}_left = MatMul(left, {factor})")
        factor = f"{result}_left"
    return [*lines, f"{result} = Mul({factor}, signs)"]
