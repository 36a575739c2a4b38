"""Every kernel on every emulated board and core, fast paths and plain C, against NumPy in 64 bits, with ``==``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.c.emulated import CALLS, Program
from benchmarks.c.jobs import Case, Values, hadamard_case, matvec4_case, matvec_case, quaternion_case, requantize_case
from qdeploy.export.c.kernels import kernel_names, needed, variants
from qdeploy.export.c.targets import TARGETS

pytestmark = pytest.mark.needs("ziglang")

NAMES = ["pi-zero", "pi2", "pi3", "pi4", "pi5", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"]
VALUES: tuple[Values, ...] = ("random", "lowest", "highest", "opposite", "zero")
SIZES = ((1, 1), (4, 5), (17, 31), (16, 8), (33, 100), (5, 200))
SHIFTS = ((0, 1), (0, 31), (1, 31), (15, 15), (28, 15), (30, 31), (31, 31), (32, 31), (33, 31), (46, 31))
"""Shifts, each with the bits of its multipliers."""


def _needs(target: str) -> list[pytest.MarkDecorator]:
    emulator = (TARGETS[target].emulator or TARGETS[target].machine or ("",))[0]
    return [pytest.mark.program(emulator)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, plain), marks=_needs(name), id=f"{name}{'-plain' * plain}")
        for name in NAMES
        for plain in (False, True)
        if not plain or name in ("pi5", "cortex-m4")
    ],
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    target, plain = request.param
    return Program.built(target, tmp_path_factory.mktemp(target), plain=plain)


def _cases(kernel: str, target: str) -> list[Case]:
    if kernel.startswith("requantize"):
        return [
            requantize_case(kernel, count, shift, zero_point, per_channel=per_channel, bits=bits, seed=shift)
            for count, per_channel in ((1, True), (37, False), (37, True))
            for shift, bits in SHIFTS
            for zero_point in (0, 3, -100)
        ]
    if kernel.startswith("hadamard"):
        return [
            hadamard_case(kernel, units, block, values=values, seed=units + block)
            for units, block in ((16, 16), (64, 16), (96, 32), (12, 4), (1, 1), (256, 256))
            for values in VALUES
        ]
    make = quaternion_case if kernel.startswith("quaternion") else matvec_case
    make = matvec4_case if kernel.startswith("matvec4") else make
    return [
        make(
            kernel, rows, -(-columns // 32) * 32 if kernel.endswith("w1") else columns, target, values=values, seed=seed
        )
        for seed, (rows, columns) in enumerate(SIZES)
        for values in VALUES
    ]


def test_every_kernel_gives_what_numpy_gives(program: Program) -> None:
    cases = {kernel: _cases(kernel, program.target) for kernel in CALLS}
    results = iter(program.results([case.job for kernel in CALLS for case in cases[kernel]]))
    for kernel in CALLS:
        for case in cases[kernel]:
            result = next(results)
            assert (result == case.expected).all(), (
                f"{kernel} on {program.target}, {case.job.integers}: "
                f"{np.count_nonzero(result != case.expected)} of {result.size} differ"
            )


def test_every_fast_path_of_arm_is_one_of_the_programs_kernels() -> None:
    arm = ("neon_dot", "neon", "dsp")
    assert {name for name in kernel_names() if set(variants(name)) & set(arm)} <= set(needed(set(CALLS)))


@pytest.mark.program("qemu-aarch64")
def test_the_count_of_instructions_is_the_same_each_time(tmp_path: Path) -> None:
    program = Program.built("pi5", tmp_path)
    jobs = [matvec_case("matvec_u8_w8", 16, columns, "pi5").job for columns in (64, 128, 192)]
    counts = [program.instructions(job) for job in jobs]
    assert counts == [program.instructions(job) for job in jobs]
    # Each further 64 columns cost the same; 16 dot products, of 16 rows by 16 columns together, are the least.
    assert counts[2] - counts[1] == counts[1] - counts[0] > 4 * 16
