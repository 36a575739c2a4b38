"""Every kernel of this machine, plain and fast, against NumPy in 64 bits, with ``==``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.c.host_kernels import BUILDS, KERNELS, PRODUCTS, Build, HostKernels, lacking, source
from qdeploy.export.c.packing import hamilton_tiles, padded, tiles
from qdeploy.runtime.rounding import requantize
from tests.export.c.running import COMPILER, WARNINGS

pytestmark = pytest.mark.cc

INPUTS = {"u8": np.uint8, "s16": np.int16}
OUTPUTS = {
    "requantize_u8": np.uint8,
    "requantize_s16": np.int16,
    "requantize_s32": np.int32,
    "requantize_half_even_u8": np.uint8,
}


def _marks(build: Build) -> list[pytest.MarkDecorator]:
    missing = lacking(build)
    return [pytest.mark.skipif(bool(missing), reason=f"the processor has no {', '.join(missing)}")]


@pytest.fixture(scope="module", params=[pytest.param(build, id=build.name, marks=_marks(build)) for build in BUILDS])
def kernels(request: pytest.FixtureRequest) -> HostKernels:
    # -O1 inlines and unrolls little: the instructions are those that the text names.
    return HostKernels(request.param, (*WARNINGS, "-O1"))


def weights(generator: np.random.Generator, shape: tuple[int, ...], bits: int, values: str) -> np.ndarray:
    if bits == 1:
        drawn = generator.choice(np.array([-1, 1], np.int8), shape)
        return {"random": drawn, "low": np.full(shape, -1, np.int8), "high": np.full(shape, 1, np.int8)}[values]
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if values == "random":
        return generator.integers(low, high + 1, shape).astype(np.int8)
    return np.full(shape, low if values == "low" else high, np.int8)


def vector(generator: np.random.Generator, size: int, kind: str, values: str) -> np.ndarray:
    limits = np.iinfo(INPUTS[kind])
    if values in ("random", "positive"):
        lowest = limits.min if values == "random" else 0
        return generator.integers(lowest, limits.max + 1, size).astype(INPUTS[kind])
    return np.full(size, limits.min if values == "low" else limits.max, INPUTS[kind])


def start(generator: np.random.Generator, size: int) -> np.ndarray:
    """Sums to begin with, over the whole range, so that some of the results go round."""
    return generator.integers(-(1 << 31), 1 << 31, size).astype(np.int32)


def wrapped(value: np.ndarray) -> np.ndarray:
    return value.astype(np.int64).astype(np.uint32).astype(np.int32)


SIZES = [(1, 1), (5, 31), (16, 32), (17, 33), (33, 64), (64, 100), (70, 170), (100, 4), (130, 68)]
VALUES = [
    ("random", "random"),
    ("random", "positive"),
    ("low", "low"),
    ("low", "high"),
    ("high", "low"),
    ("high", "high"),
]
MATVECS = [name for name in KERNELS if name.startswith("matvec_")]
QUATERNIONS = [name for name in KERNELS if name.startswith("quaternion_")]


def _kind(name: str) -> tuple[str, int]:
    found = PRODUCTS.fullmatch(name)
    assert found is not None
    return found[2], int(found[3])


def _unit(bits: int) -> int:
    return 4 * (8 // bits)


@pytest.mark.parametrize("name", MATVECS)
def test_a_matrix_times_a_vector(kernels: HostKernels, name: str) -> None:
    kind, bits = _kind(name)
    build = kernels.build
    for rows, true_columns in SIZES:
        columns = padded(true_columns, 32) if bits == 1 else true_columns
        for seed, (of_weight, of_x) in enumerate(VALUES):
            generator = np.random.default_rng([rows, columns, seed])
            weight = weights(generator, (rows, columns), bits, of_weight)
            x = vector(generator, padded(columns, _unit(bits)), kind, of_x)
            acc = start(generator, padded(rows, build.tile))
            expected = acc.astype(np.int64)
            offset = build.offset if kind == "u8" else 0
            expected[:rows] += weight.astype(np.int64) @ (x[:columns].astype(np.int64) - offset)
            if bits == 1:
                # A row that fills the last tile is all zeros for a wider weight; of signs there is no zero, but +1.
                expected[rows:] += (x[:columns].astype(np.int64) - offset).sum()
            kernels(name, acc, tiles(weight, bits, build.tile), x, len(acc), len(x))
            assert (acc == wrapped(expected)).all(), (rows, columns, of_weight, of_x)


@pytest.mark.parametrize("name", MATVECS)
def test_sums_of_very_many_columns(kernels: HostKernels, name: str) -> None:
    kind, bits = _kind(name)
    build, columns = kernels.build, 70_016
    for of_weight, of_x in VALUES:
        generator = np.random.default_rng(columns)
        weight = weights(generator, (build.tile, columns), bits, of_weight)
        x = vector(generator, columns, kind, of_x)
        acc = start(generator, build.tile)
        offset = build.offset if kind == "u8" else 0
        expected = acc + weight.astype(np.int64) @ (x.astype(np.int64) - offset)
        kernels(name, acc, tiles(weight, bits, build.tile), x, len(acc), columns)
        assert (acc == wrapped(expected)).all(), (of_weight, of_x)


def test_a_matrix_times_four_vectors(kernels: HostKernels) -> None:
    build = kernels.build
    for rows, columns in SIZES:
        for seed, (of_weight, of_x) in enumerate(VALUES):
            generator = np.random.default_rng([rows, columns, seed])
            weight = weights(generator, (rows, columns), 8, of_weight)
            # Windows of a convolution overlap: they stand less than a window apart, and anywhere.
            for stride in (3, columns + 1, 2 * columns):
                width = padded(columns, 4)
                x = vector(generator, 3 * stride + width, "u8", of_x)
                acc = start(generator, 4 * padded(rows, build.tile))
                expected = acc.astype(np.int64).reshape(4, -1)
                for p in range(4):
                    expected[p, :rows] += weight.astype(np.int64) @ (
                        x[p * stride : p * stride + columns].astype(np.int64) - build.offset
                    )
                packed = tiles(weight, 8, build.tile)
                kernels("matvec4_u8_w8", acc, packed, x, stride, len(acc) // 4, width)
                assert (acc == wrapped(expected).reshape(-1)).all(), (rows, columns, stride, of_weight, of_x)


@pytest.mark.parametrize("name", QUATERNIONS)
def test_a_quaternion_product(kernels: HostKernels, name: str) -> None:
    kind, bits = _kind(name)
    build = kernels.build
    for rows, part in SIZES:
        for seed, (of_weight, of_x) in enumerate(VALUES):
            generator = np.random.default_rng([rows, part, seed])
            r, i, j, k = components = weights(generator, (4, rows, part), bits, of_weight)
            columns = padded(part, _unit(bits))
            x = vector(generator, 3 * part + columns, kind, of_x)
            acc = start(generator, 4 * padded(rows, build.tile))
            expected = acc.astype(np.int64).reshape(4, -1)
            wide = x[: 4 * part].astype(np.int64) - (build.offset if kind == "u8" else 0)
            r, i, j, k = components.astype(np.int64)
            real = np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])
            expected[:, :rows] += (real @ wide).reshape(4, rows)
            packed = hamilton_tiles(components, bits, build.tile)
            kernels(name, acc, packed, x, len(acc) // 4, columns, part)
            assert (acc == wrapped(expected).reshape(-1)).all(), (rows, part, of_weight, of_x)


@pytest.mark.parametrize("name", sorted(OUTPUTS))
@pytest.mark.parametrize("per_channel", [False, True])
def test_requantization(kernels: HostKernels, name: str, per_channel: bool) -> None:
    limits = np.iinfo(OUTPUTS[name])
    extremes = np.array([-(1 << 31), (1 << 31) - 1, -1, 0, 1, 1 << 30, -(1 << 30)], np.int32)
    for shift in (0, 1, 2, 15, 30, 31, 32, 33, 45, 46):
        for count in (1, 3, 8, 15, 16, 17, 40):
            generator = np.random.default_rng([shift, count])
            # Small ones make ties, large ones saturate.
            acc = start(generator, count) >> generator.integers(0, 31, count).astype(np.int32)
            acc[: count // 2] = generator.choice(extremes, count // 2)
            multiplier = start(generator, count if per_channel else 1) >> np.int32(generator.integers(0, 31))
            multiplier[0] = generator.choice([1, -1, (1 << 31) - 1, -(1 << 31) + 1, 1 << 14, 3 << 20])
            for zero_point, low, high in (
                (0, int(limits.min), int(limits.max)),
                (int(limits.max) // 2, 0, int(limits.max)),
                (-70_000, -5 if limits.min < 0 else 3, 97),
            ):
                rule = "half_even" if "half_even" in name else "half_up"
                scaled = requantize(acc, multiplier, shift, zero_point, low, high, rounding=rule)
                expected = scaled.astype(OUTPUTS[name])
                y = np.full(count + 1, 77, OUTPUTS[name])
                kernels(name, y, acc, multiplier, count, int(per_channel), shift, zero_point, low, high)
                assert (y[:count] == expected).all(), (shift, count, zero_point)
                assert y[count] == 77
                if name == "requantize_s32":
                    there = acc.copy()
                    kernels(name, there, there, multiplier, count, int(per_channel), shift, zero_point, low, high)
                    assert (there == expected).all()


HARNESS = """
#include <stdio.h>
#include <stdlib.h>

static uint64_t seed = 1;

/* Exactly so many bytes of the heap, so that one read beyond them is an error of the address sanitizer. */
static void *noise(size_t bytes)
{
    uint8_t *made = malloc(bytes);
    for (size_t i = 0; i < bytes; ++i) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        made[i] = (uint8_t)(seed >> 56);
    }
    return made;
}

int main(void)
{
"""


def harness(build: Build) -> str:
    """A program that calls every kernel with noise in memory of just the promised size."""
    lines = [source(build), HARNESS]
    for name in KERNELS:
        calls = []
        if name.startswith("requantize"):
            width = np.dtype(OUTPUTS[name]).itemsize
            for count in (1, 7, 8, 16, 37):
                sizes = (width * count, 4 * count, 4 * count)
                calls.append((sizes, f"{count}, 1, {count}, 3, -9, 99"))
        else:
            kind, bits = _kind(name)
            unit, entry = _unit(bits), np.dtype(INPUTS[kind]).itemsize
            for tiles_, blocks in ((1, 1), (3, 5), (6, 17)):
                rows, columns, part = tiles_ * build.tile, blocks * unit, blocks * unit - 1
                weight = rows * columns * bits // 8
                if name.startswith("quaternion"):
                    sizes = (16 * rows, 4 * weight, entry * (3 * part + columns))
                    calls.append((sizes, f"{rows}, {columns}, {part}"))
                elif name.startswith("matvec4"):
                    calls.append(((16 * rows, weight, 3 * 5 + columns), f"5, {rows}, {columns}"))
                else:
                    calls.append(((4 * rows, weight, entry * columns), f"{rows}, {columns}"))
        for sizes, numbers in calls:
            lines.append(f"    {{ void *a = noise({sizes[0]}), *b = noise({sizes[1]}), *c = noise({sizes[2]});")
            lines.append(f"    {name}(a, b, c, {numbers}); free(a); free(b); free(c); }}")
    return "\n".join([*lines, "    return 0;", "}", ""])


@pytest.mark.parametrize(
    "build", [pytest.param(build, id=build.name, marks=_marks(build)) for build in BUILDS[:1] + BUILDS[3:]]
)
def test_no_kernel_reads_beyond_its_arrays_or_relies_on_what_c_leaves_open(build: Build, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(harness(build))
    command = [
        COMPILER,
        *WARNINGS,
        "-O1",
        *build.flags,
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-o",
        "main",
        "main.c",
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    # Whoever traces this process (a debugger, a container's guard) would make the leak check refuse to run.
    found = subprocess.run(
        [tmp_path / "main"], env={"ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
