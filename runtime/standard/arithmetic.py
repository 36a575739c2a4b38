"""Element-wise arithmetic. Integers wrap as onnxruntime's do; Div truncates toward zero."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, require_kind, same_type

__all__ = ["ARITHMETIC"]

_INTEGER = "iu"


def _binary(function: Kernel, kinds: str = _INTEGER) -> Build:
    def build(node: Node) -> Kernel:
        del node

        def kernel(a: Array, b: Array) -> Array:
            if a.dtype != b.dtype:
                same_type(a, b)
            if a.dtype.kind not in kinds:
                require_kind(a, kinds)
            return function(a, b)  # type: ignore[no-any-return]

        return kernel

    return build


def _unary(function: Kernel, kinds: str = _INTEGER) -> Build:
    def build(node: Node) -> Kernel:
        del node

        def kernel(a: Array) -> Array:
            require_kind(a, kinds)
            return function(a)  # type: ignore[no-any-return]

        return kernel

    return build


def _compare(function: Kernel, kinds: str = _INTEGER) -> Build:
    return _binary(function, kinds)


def _fold(function: Kernel) -> Build:
    """Min and Max take any number of inputs."""

    def build(node: Node) -> Kernel:
        del node

        def kernel(first: Array, *rest: Array) -> Array:
            require_kind(first, _INTEGER)
            y = first
            for b in rest:
                same_type(first, b)
                y = function(y, b)
            return y

        return kernel

    return build


def divide(a: Array, b: Array) -> Array:
    """``a / b`` truncated toward zero; a divisor of 0, and the lowest integer by -1, are errors (they trap in C)."""
    same_type(a, b)
    require_kind(a, _INTEGER)
    if not np.all(b):
        msg = "division by 0"
        raise ValueError(msg)
    if a.dtype.kind == "u":
        return np.floor_divide(a, b)
    if np.any(b == -1) and np.any((a == np.iinfo(a.dtype).min) & (b == -1)):
        msg = f"{np.iinfo(a.dtype).min} / -1 does not fit {a.dtype}"
        raise ValueError(msg)
    quotient = np.floor_divide(a, b)
    inexact = quotient * b != a
    return np.asarray(quotient + (inexact & ((a < 0) != (b < 0))).astype(a.dtype))


def _build_div(node: Node) -> Kernel:
    """A constant divisor 2^s of signed numbers becomes a shift: ``(a + ((a >> 31) & (2^s - 1))) >> s``."""
    divisor = node.constant(1)
    if divisor is None or divisor.dtype.kind != "i" or divisor.size == 0:
        return divide
    if not (np.all(divisor > 0) and np.all(divisor & (divisor - 1) == 0)):
        return divide
    shift = np.asarray([int(d).bit_length() - 1 for d in divisor.ravel()], divisor.dtype).reshape(divisor.shape)
    mask = divisor - divisor.dtype.type(1)
    sign = divisor.dtype.type(8 * divisor.dtype.itemsize - 1)

    def kernel(a: Array, b: Array) -> Array:
        if a.dtype != b.dtype:
            same_type(a, b)
        return ((a >> sign & mask) + a) >> shift  # type: ignore[no-any-return]

    return kernel


def _build_mod(node: Node) -> Kernel:
    """``fmod=0``: the sign of the divisor (Python's %); ``fmod=1``: the sign of the dividend (C's %)."""
    function = np.fmod if node.attributes.get("fmod", 0) else np.mod

    def kernel(a: Array, b: Array) -> Array:
        same_type(a, b)
        require_kind(a, _INTEGER)
        if not np.all(b):
            msg = "modulo by 0"
            raise ValueError(msg)
        return function(a, b)

    return kernel


def _build_bit_shift(node: Node) -> Kernel:
    """Unsigned operands; an amount of the width or more is undefined in C, thus an error here."""
    direction = node.attributes.get("direction")
    if direction not in {"LEFT", "RIGHT"}:
        msg = f"found direction={direction!r}, expected 'LEFT' or 'RIGHT'"
        raise ValueError(msg)
    function = np.left_shift if direction == "LEFT" else np.right_shift
    known = node.constant(1)

    def check(amount: Array) -> None:
        require_kind(amount, "u")
        width = 8 * amount.dtype.itemsize
        if amount.size and int(amount.max()) >= width:
            msg = f"found a shift by {int(amount.max())}, expected less than the width {width}"
            raise ValueError(msg)

    if known is not None:
        check(known)

    def kernel(a: Array, b: Array) -> Array:
        same_type(a, b)
        if known is None:
            check(b)
        return function(a, b)

    return kernel


def _build_clip(node: Node) -> Kernel:
    """Both bounds are optional scalars; where low > high every element becomes high, as ONNX says."""
    del node

    def kernel(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
        require_kind(x, _INTEGER)
        y = x
        if low is not None:
            same_type(x, low)
            y = np.maximum(y, low.reshape(()))
        if high is not None:
            same_type(x, high)
            y = np.minimum(y, high.reshape(()))
        return y

    return kernel


def _build_where(node: Node) -> Kernel:
    del node

    def kernel(condition: Array, a: Array, b: Array) -> Array:
        require_kind(condition, "b")
        same_type(a, b)
        return np.where(condition, a, b)

    return kernel


def _relu(a: Array) -> Array:
    return np.maximum(a, a.dtype.type(0))  # type: ignore[no-any-return]


ARITHMETIC: dict[str, Build] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and, "b"),
    "BitShift": _build_bit_shift,
    "BitwiseAnd": _binary(np.bitwise_and),
    "BitwiseNot": _unary(np.invert),
    "BitwiseOr": _binary(np.bitwise_or),
    "BitwiseXor": _binary(np.bitwise_xor),
    "Clip": _build_clip,
    "Div": _build_div,
    "Equal": _compare(np.equal, "iub"),
    "Greater": _compare(np.greater),
    "GreaterOrEqual": _compare(np.greater_equal),
    "Less": _compare(np.less),
    "LessOrEqual": _compare(np.less_equal),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "Mod": _build_mod,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative, "i"),
    "Not": _unary(np.logical_not, "b"),
    "Or": _binary(np.logical_or, "b"),
    "Relu": _unary(_relu, "i"),
    "Sign": _unary(np.sign),
    "Sub": _binary(np.subtract),
    "Where": _build_where,
    "Xor": _binary(np.logical_xor, "b"),
}
