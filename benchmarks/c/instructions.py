"""Instructions a multiply-accumulate, counted under emulation: ``python -m benchmarks.c.instructions [TARGET ...]``.

Prints the tables of docs/c_kernels_arm.md: every kernel on every processor, of the smaller matrix in plain C, too, in
brackets. Counts are exact and the same each time; those of quaternions are for each multiply-accumulate of the real matrix
that they stand for, those of hadamard of the whole matrix, those of requantize for each number.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.c.emulated import CALLS, Program
from benchmarks.c.jobs import Case, hadamard_case, matvec4_case, matvec_case, quaternion_case, requantize_case
from qdeploy.export.c.targets import find_target

__all__ = ["PROCESSORS", "measure_products", "missing"]

PROCESSORS = {
    "a76": "pi5",
    "a72": "pi4",
    "a53": "pi3",
    "a7": "pi2",
    "arm1176": "pi-zero",
    "m0plus": "cortex-m0plus",
    "m3": "cortex-m3",
    "m4": "cortex-m4",
    "m7": "cortex-m7",
    "m33": "cortex-m33",
}
"""By the processor's short name, the target that it stands in."""

SIZE = 512
SMALL = 170


def missing(target: str) -> str | None:
    """What this machine lacks to count on ``target``, None where it lacks nothing."""
    chosen = find_target(target)
    emulator = (chosen.emulator or chosen.machine or ("",))[0]
    if find_spec("ziglang") is None:
        return "ziglang (pip install 'qdeploy[c]')"
    return None if shutil.which(emulator) else emulator


def measure_products(target: str, size: int = SIZE, *, plain: bool = False) -> tuple[int, int]:
    """Instructions of ``matvec_u8_w8`` for a square matrix, and its multiply-accumulates."""
    with tempfile.TemporaryDirectory() as folder:
        case = matvec_case("matvec_u8_w8", size, size, target)
        return Program.built(target, Path(folder), plain=plain).instructions(case.job), case.products


def _case(kernel: str, size: int, target: str) -> Case:
    if kernel.startswith("quaternion"):
        return quaternion_case(kernel, size // 4, size // 4, target, values="states")
    if kernel.startswith("hadamard"):
        units = 1 << (size.bit_length() - 1)
        return hadamard_case(kernel, units, units, values="states")
    if kernel.startswith("requantize"):
        return requantize_case(kernel, size, 28, 0, per_channel=True, bits=15)
    columns = -(-size // 32) * 32 if kernel.endswith("w1") else size
    return (matvec4_case if kernel.startswith("matvec4") else matvec_case)(
        kernel, size, columns, target, values="states"
    )


def main() -> None:
    """Prints one table for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(PROCESSORS.values()))
    parser.add_argument("--kernel", action="append", choices=list(CALLS), help="only this one; can be given again")
    given = parser.parse_args()
    targets, kernels = given.targets, given.kernel or list(CALLS)
    for target in targets:
        lacking = missing(target)
        if lacking is not None:
            sys.exit(f"{target}: found no {lacking}")
    with tempfile.TemporaryDirectory() as folder:
        programs = {
            (target, plain): Program.built(target, _made(Path(folder) / f"{target}-{plain}"), plain=plain)
            for target in targets
            for plain in (False, True)
        }
        for size in (SIZE, SMALL):
            print(f"\n{size} x {size}\n")
            print(f"| kernel | {' | '.join(targets)} |")
            print(f"|---|{'---:|' * len(targets)}")
            for kernel in kernels:
                cells = []
                for target in targets:
                    case = _case(kernel, size, target)
                    cell = _ratio(programs[target, False].instructions(case.job), case.products)
                    if size == SMALL:
                        cell += f" ({_ratio(programs[target, True].instructions(case.job), case.products)})"
                    cells.append(cell)
                print(f"| `{kernel}` | {' | '.join(cells)} |", flush=True)


def _ratio(instructions: int, products: int) -> str:
    ratio = instructions / products
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
