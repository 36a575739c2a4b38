"""The integer arithmetic that every operator shares: requantization, exact products, the quantization of inputs.

All of it is NumPy on whole arrays; nothing here knows of graphs or nodes. The rules are those of the numeric
contract (``docs/contract.md``): a requantization rounds half up, products are 64 bits wide, accumulators are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import ContractError, InvalidInputError

IntArray = NDArray[Any]

INT32_MAX = 2**31 - 1
MAX_SHIFT = 46
"""The largest right shift of a requantization: onnxruntime's unsigned 64-bit form is exact up to here for 16 bits."""

FLOAT32_EXACT = 2**24
"""Integers below this are exact in single precision."""
_FLOAT64_EXACT = 2**53


def requantize(
    accumulator: IntArray,
    multiplier: IntArray | int,
    shift: int,
    zero_point: int = 0,
    low: int = -(2**31),
    high: int = INT32_MAX,
) -> NDArray[np.int64]:
    """y = clip(floor((accumulator * multiplier + 2^(shift-1)) / 2^shift) + zero_point, low, high).

    Args:
        accumulator: integers, |accumulator| < 2^31, any shape ``[..., N]``.
        multiplier: one integer or ``[N]``, |multiplier| < 2^31.
        shift: 0 to 46; with 0 nothing is added before the shift.
        zero_point, low, high: the output's zero point and its clipping bounds, both inclusive.

    Returns:
        int64 ``[..., N]``. Rounding is half up: ties go towards plus infinity.
    """
    product = np.multiply(accumulator, multiplier, dtype=np.int64)
    if shift:
        product += np.int64(1 << (shift - 1))
        product >>= shift
    if zero_point:
        product += zero_point
    clipped: NDArray[np.int64] = np.clip(product, low, high, out=product)
    return clipped


def requantize_half_even(
    accumulator: IntArray, multiplier: IntArray | int, shift: int, zero_point: int, low: int, high: int
) -> NDArray[np.int64]:
    """y = clip(rint(accumulator * multiplier / 2^shift) + zero_point, low, high): :func:`requantize` with ties to even."""
    product = np.multiply(accumulator, multiplier, dtype=np.int64)
    whole = product >> shift
    if shift:
        twice_rest = (product - (whole << shift)) << 1
        one = np.int64(1 << shift)
        whole += (twice_rest > one) | ((twice_rest == one) & (whole & 1 == 1))
    clipped: NDArray[np.int64] = np.clip(whole + zero_point, low, high)
    return clipped


def odd_part(values: IntArray) -> NDArray[np.int64]:
    """Every positive entry without its factors of two."""
    wide = values.astype(np.int64)
    return wide // (wide & -wide)


def exact_matmul(left: IntArray, right: IntArray, bound: int) -> NDArray[np.int64]:
    """The integer product ``left @ right``, through BLAS where that is exact.

    Args:
        left: integers ``[..., K]``.
        right: integers ``[K, N]``, or the same already in the type that :func:`product_type` names for ``bound``.
        bound: a proven upper bound of every partial sum's absolute value. Below 2^24 single precision is exact,
            below 2^53 double precision; above, 64-bit integers are used.

    Returns:
        int64 ``[..., N]``.
    """
    kind = product_type(bound)
    rows = left.reshape(-1, left.shape[-1]).astype(kind, copy=False)
    product: NDArray[np.int64] = (rows @ right.astype(kind, copy=False)).astype(np.int64, copy=False)
    return product.reshape(*left.shape[:-1], right.shape[1])


def product_type(bound: int) -> type[np.float32 | np.float64 | np.int64]:
    """The narrowest type in which sums of products up to ``bound`` are exact."""
    if bound < FLOAT32_EXACT:
        return np.float32
    if bound < _FLOAT64_EXACT:
        return np.float64
    return np.int64


def product_bound(weight: IntArray, largest: int) -> int:
    """An upper bound of every partial sum of ``weight @ x`` (weight ``[N, K]``) for |x| <= ``largest``."""
    if weight.size == 0:
        return 0
    return int(np.abs(weight.astype(np.int64)).sum(axis=-1).max()) * int(largest)


def check_int32(accumulator: IntArray, where: str) -> None:
    """Refuses an accumulator that a 32-bit register could not hold; the reference never wraps."""
    if accumulator.size == 0:
        return
    smallest, largest = int(accumulator.min()), int(accumulator.max())
    if smallest < -(2**31) or largest > INT32_MAX:
        raise ContractError(
            f"{where}: the accumulator reached {smallest if smallest < -(2**31) else largest}, outside int32. "
            "The exporter proves that this cannot happen for weights it wrote: the file was changed, or it was not "
            "written by qdeploy. Export the model again."
        )


def check_range(values: IntArray, low: int, high: int, where: str) -> None:
    """Refuses values outside [low, high]."""
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        raise ContractError(
            f"{where}: values reach from {int(values.min())} to {int(values.max())}; the contract allows "
            f"{low} to {high}."
        )


def quantize_input(values: NDArray[Any], scale: float, zero_point: int, dtype: np.dtype[Any] | type) -> IntArray:
    """rint(float32(x) / float32(scale)) + zero_point, ties to even, saturated: as ONNX QuantizeLinear does.

    Args:
        values: real values, any shape.
        scale: positive real step of the integer type.
        zero_point: the integer that means 0.
        dtype: uint8 or int16.

    Raises:
        InvalidInputError: for NaN. Infinities saturate.
    """
    real = np.asarray(values, dtype=np.float32)
    if np.isnan(real).any():
        place = tuple(int(i) for i in np.argwhere(np.isnan(real))[0])
        raise InvalidInputError(f"the input holds NaN at index {place}; a finite number is expected there.")
    bounds = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        steps = np.rint(real / np.float32(scale)).astype(np.float64) + zero_point
    result: IntArray = np.clip(steps, bounds.min, bounds.max).astype(dtype)
    return result


def dequantize(values: IntArray, scale: float, zero_point: int) -> NDArray[np.float32]:
    """float32(values - zero_point) * float32(scale), as ONNX DequantizeLinear does."""
    real: NDArray[np.float32] = (values.astype(np.int64) - zero_point).astype(np.float32) * np.float32(scale)
    return real


def is_power_of_two(values: IntArray) -> bool:
    """Whether every entry is 2^n, n >= 0."""
    wide = values.astype(np.int64)
    return bool(((wide > 0) & (wide & (wide - 1) == 0)).all())
