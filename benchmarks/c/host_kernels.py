"""The kernels of this machine, alone: built for one instruction set after another, called and timed through ctypes.

``python -m benchmarks.c.host_kernels`` prints the table of docs/c_kernels.md.
"""

from __future__ import annotations

import ctypes
import platform
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.c.build import build_file
from qdeploy.export.c.kernels import kernel_names, kernel_text, needed
from qdeploy.export.c.packing import hamilton_tiles, padded, tiles

__all__ = ["BUILDS", "KERNELS", "Build", "HostKernels", "lacking", "source", "time_together"]

PRODUCTS = re.compile(r"(matvec4|matvec|quaternion)_(u8|s16)_w(\d)")
KERNELS = [name for name in kernel_names() if PRODUCTS.fullmatch(name) or name.startswith("requantize_")]
SIZES = (170, 512, 1024)
_BASE = ("-march=x86-64",) if platform.machine().lower() in {"x86_64", "amd64"} else ()
"""No instruction set beyond what every such machine has, although the host's own flags come before."""

SECONDS = 0.25
TURN = 1000


@dataclass(frozen=True)
class Build:
    """How kernels are compiled: the layout of weights, the compiler's words, and what the processor must have for them."""

    name: str
    tile: int
    offset: int
    flags: tuple[str, ...] = _BASE
    features: tuple[str, ...] = ()


BUILDS = (
    Build("plain", 16, 0),
    Build("plain-tile4", 4, 0),
    Build("plain-offset128", 16, 128),
    Build("avx2", 16, 0, (*_BASE, "-mavx2"), ("avx2",)),
    Build("avxvnni", 16, 0, (*_BASE, "-mavx2", "-mavxvnni"), ("avx2", "avx_vnni")),
    Build(
        "avx512vnni",
        16,
        0,
        (*_BASE, "-mavx2", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni"),
        ("avx512bw", "avx512_vnni"),
    ),
)


def lacking(build: Build) -> list[str]:
    """What this processor would need for a build and does not have."""
    place = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)$", place.read_text(), re.MULTILINE) if place.exists() else None
    has = set(found[1].split()) if found else set()
    return [feature for feature in build.features if feature not in has]


def signature(name: str) -> tuple[str, str]:
    """Parameters of a kernel, and their names alone, out of its plain text."""
    found = re.search(rf"static void {name}\(([^)]*)\)", kernel_text(name))
    if found is None:
        message = f"found no function in the text of {name}"
        raise ValueError(message)
    parameters = " ".join(found[1].split())
    return parameters, ", ".join(re.findall(r"(\w+)(?:,|$)", parameters))


def source(build: Build, names: Sequence[str] = KERNELS) -> str:
    """The kernels, each behind a function ``repeat_NAME`` that is seen outside and calls it ``times`` times."""
    parts = [
        "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n",
        f"#define MODEL_TILE {build.tile}\n#define MODEL_OFFSET {build.offset}\n",
        *(kernel_text(name) for name in needed(set(names))),
    ]
    for name in names:
        parameters, arguments = signature(name)
        head = f"void repeat_{name}(size_t times, {parameters})"
        body = f"    for (size_t time = 0; time < times; ++time) {{\n        {name}({arguments});\n    }}\n"
        parts.append(f"{head};\n{head}\n{{\n{body}}}\n")
    return "\n".join(parts)


class HostKernels:
    """A library of kernels.

    Args:
        build: how.
        flags: for the compiler, behind those of the build.
    """

    def __init__(self, build: Build, flags: Sequence[str] = (), names: Sequence[str] = KERNELS) -> None:
        self.build = build
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "libkernels.so"
            text = source(build, names).encode()
            build_file({"kernels.c": text}, "host", "library", path, flags=[*build.flags, *flags])
            self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, *arguments: NDArray[Any] | int, times: int = 1) -> None:
        """Calls a kernel: an array is given by its address, a number as the kernel's parameter says."""
        kinds = [part.rsplit(None, 1)[0] for part in signature(name)[0].replace("*", "* ").split(", ")]
        types: dict[str, Any] = {"size_t": ctypes.c_size_t, "unsigned": ctypes.c_uint, "int32_t": ctypes.c_int32}
        words = [
            types[kind](argument) if isinstance(argument, int) else ctypes.c_void_p(argument.ctypes.data)
            for kind, argument in zip(kinds, arguments, strict=True)
        ]
        self._library[f"repeat_{name}"](ctypes.c_size_t(times), *words)


@dataclass(frozen=True)
class Call:
    """A kernel with its arguments."""

    kernels: HostKernels
    name: str
    arguments: tuple[NDArray[Any] | int, ...]

    def microseconds(self, times: int) -> float:
        """Processor time of one of ``times`` calls in a row."""
        start = time.thread_time()
        self.kernels(self.name, *self.arguments, times=times)
        return (time.thread_time() - start) / times * 1e6


def time_together(calls: Sequence[Call], seconds: float = SECONDS) -> list[float]:
    """Median microseconds of each call, in turns of about ``TURN`` microseconds.

    A turn begins with calls that do not count, since the others have left little of its weights in the caches.
    """
    turns = []
    for call in calls:
        call.microseconds(10)
        turns.append(max(2, round(TURN / max(call.microseconds(10), 0.05))))
    times: list[list[float]] = [[] for _ in calls]
    end = time.thread_time() + seconds
    while len(times[0]) < 9 or time.thread_time() < end:
        for found, call, count in zip(times, calls, turns, strict=True):
            call.microseconds(count // 4 + 1)
            found.append(call.microseconds(count))
    return [float(np.median(found)) for found in times]


def matvec_call(kernels: HostKernels, name: str, rows: int, columns: int) -> Call:
    """A product of drawn weights and activations, columns rounded up to what the kernel takes at once."""
    found = PRODUCTS.fullmatch(name)
    if found is None:
        message = f"found {name}, expected one of {', '.join(KERNELS)}"
        raise ValueError(message)
    bits, generator = int(found[3]), np.random.default_rng(rows)
    width = padded(columns, 32 // bits)
    dtype = np.uint8 if found[2] == "u8" else np.int16
    x = aligned(generator.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, width).astype(dtype))
    weight = generator.integers(-(1 << bits >> 1), max(1 << bits >> 1, 1), (rows, width)).astype(np.int8)
    weight = np.where(weight == 0, 1, weight) if bits == 1 else weight
    height = padded(rows, kernels.build.tile)
    packed = aligned(tiles(weight.astype(np.int8), bits, kernels.build.tile))
    return Call(kernels, name, (aligned(np.zeros(height, np.int32)), packed, x, height, width))


def quaternion_call(kernels: HostKernels, name: str, units: int, bits: int = 8) -> tuple[Call, NDArray[np.int8]]:
    """A product of ``units`` by ``units`` from its components, and the real matrix."""
    generator, part = np.random.default_rng(units), units // 4
    r, i, j, k = components = generator.integers(-(1 << bits >> 1) + 1, 1 << bits >> 1, (4, part, part)).astype(np.int8)
    real = np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])
    x = aligned(generator.integers(0, 256, units).astype(np.uint8))
    packed = aligned(hamilton_tiles(components, bits, kernels.build.tile))
    return Call(kernels, name, (aligned(np.zeros(units, np.int32)), packed, x, part, part, part)), real


def measure_quaternion(units: int) -> dict[str, float]:
    """Median microseconds of a ``compact`` product and of the same kernel's on the ``expanded`` matrix, this machine's path.

    Raises RuntimeError where they differ.
    """
    kernels = HostKernels(Build("native", 16, 0, ()), names=("quaternion_u8_w8", "matvec_u8_w8"))
    compact, real = quaternion_call(kernels, "quaternion_u8_w8", units)
    x = compact.arguments[2]
    packed = aligned(tiles(real, 8, kernels.build.tile))
    expanded = Call(kernels, "matvec_u8_w8", (aligned(np.zeros(units, np.int32)), packed, x, units, units))
    found = time_together([compact, expanded])
    for call in (compact, expanded):
        acc = call.arguments[0]
        if not isinstance(acc, int):
            acc[...] = 0
        call.microseconds(1)
    if not np.array_equal(compact.arguments[0], expanded.arguments[0]):
        message = f"the compact product of {units} units differs from the expanded one"
        raise RuntimeError(message)
    return dict(zip(("compact", "expanded"), found, strict=True))


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy at an address that is a multiple of 64, as the generator declares weights."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def main() -> None:
    """Products a nanosecond of every kernel of a matrix times a vector, by size and instruction set."""
    builds = [HostKernels(build) for build in BUILDS if build.offset == 0 and build.tile == 16 and not lacking(build)]
    print(f"{'products a ns':18}" + "".join(f"{kernels.build.name:>12}" for kernels in builds))
    for name in (name for name in KERNELS if name.startswith("matvec_")):
        for size in SIZES:
            calls = [matvec_call(kernels, name, size, size) for kernels in builds]
            times = time_together(calls)
            print(f"{f'{name[7:]} {size}':18}" + "".join(f"{size * size / found / 1000:12.1f}" for found in times))


if __name__ == "__main__":
    main()
