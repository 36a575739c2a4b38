"""Four quaternion vectors at once in C: by eight real products, by the compact kernel, and by the expanded matrix.

``python -m benchmarks.c.eight_products`` prints the table of docs/c_kernels.md. Activations have 7 bits, so that sums of two
fit a byte, and weights lie within 63, so that sums of two fit a signed one.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.c.host_kernels import Build, aligned, source
from benchmarks.quaternion_linear import components, medians, whole
from qdeploy.export.c.build import build_file
from qdeploy.export.c.packing import hamilton_tiles, tiles

__all__ = ["measure_eight"]

UNITS = (64, 128, 256, 512, 1024, 2048, 4096)
_HIGHEST = 127
_OFTEN = 20_000_000
"""So many multiply-accumulates of the real matrix are one timed call."""


def measure_eight(units: int) -> dict[str, float]:
    """Median microseconds of a product of ``units`` x ``units`` with four vectors: ``eight``, ``compact``, ``expanded``.

    Args:
        units: a multiple of 64.

    Raises RuntimeError where they differ.
    """
    part = units // 4
    r, i, j, k = (c.astype(np.int16) for c in components(units, units))
    factors = np.stack([r + i, k - j, r - i, j + k, i + k, i - k, r + j, r - j])
    differences = [1, 3, 5, 6]
    rest = np.zeros((8, 4, part), np.int32)
    rest[differences] = -_HIGHEST * factors[differences].sum(axis=2, dtype=np.int32)[:, None]
    real = whole(components(units, units))
    x = aligned(np.random.default_rng(units).integers(0, _HIGHEST + 1, (4, units)).astype(np.uint8))
    expected = x.astype(np.int64) @ real.astype(np.int64).T

    library = _library()
    sizes = (ctypes.c_size_t(units), ctypes.c_size_t(part), ctypes.c_size_t(part))
    scratch = (aligned(np.zeros(8 * units, np.uint8)), aligned(np.zeros(8 * units, np.int32)), aligned(rest))
    by_eight = aligned(np.concatenate([tiles(factor.astype(np.int8), 8, 16) for factor in factors]))
    compact, expanded = aligned(hamilton_tiles(components(units, units), 8, 16)), aligned(tiles(real, 8, 16))
    acc = aligned(np.zeros((4, units), np.int32))
    times = max(1, _OFTEN // units**2 // 4)

    def eight(count: int) -> None:
        library.repeat_eight(ctypes.c_size_t(count), *_pointers(acc, by_eight, x), *sizes, *_pointers(*scratch))

    def by_components(count: int) -> None:
        library.repeat_compact(ctypes.c_size_t(count), *_pointers(acc, compact, x), *sizes)

    def by_matrix(count: int) -> None:
        whole_size = (ctypes.c_size_t(units),) * 3
        library.repeat_matvec4_u8_w8(ctypes.c_size_t(count), *_pointers(acc, expanded, x), *whole_size)

    calls: dict[str, Callable[[int], None]] = {"eight": eight, "compact": by_components, "expanded": by_matrix}
    for name, call in calls.items():
        acc[...] = 0
        call(1)
        if (acc != expected).any():
            message = f"{units} units: {name} differs from NumPy's product"
            raise RuntimeError(message)
    # Sums that many calls add to would go round; the compact and the expanded kernel allow it, eight products do not.
    found = medians({name: lambda call=call: (acc.fill(0), call(times)) for name, call in calls.items()})  # type: ignore[misc]
    return {name: value / times for name, value in found.items()}


def _library() -> ctypes.CDLL:
    own = (Path(__file__).parent / "eight_products.c").read_text(encoding="utf-8")
    text = source(Build("native", 16, 0, ()), ("matvec4_u8_w8", "quaternion_u8_w8")) + own
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "libeight.so"
        build_file({"eight.c": text.encode()}, "host", "library", path, flags=["-fwrapv"])
        return ctypes.CDLL(str(path))


def _pointers(*arrays: NDArray[Any]) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def main() -> None:
    """Microseconds, and eight products over the others."""
    print(f"{'four vectors of':16}{'eight':>9}{'compact':>9}{'expanded':>9}{'eight/compact':>15}{'eight/expanded':>15}")
    for units in UNITS:
        found = measure_eight(units)
        eight, compact, expanded = (found[name] for name in ("eight", "compact", "expanded"))
        print(
            f"{f'{units} x {units}':16}{eight:9.2f}{compact:9.2f}{expanded:9.2f}{eight / compact:15.2f}{eight / expanded:15.2f}"
        )


if __name__ == "__main__":
    main()
