"""Kernels on emulated processors: results of jobs, and the instructions that a call executes.

``qemu`` executes one instruction a translation block and writes one line for each (``-d exec,nochain``); a program that
calls a kernel twice writes as many lines more than one that calls it once as the call has instructions. The count is exact
and the same each time.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.c.build import WARNINGS, build_file
from qdeploy.export.c.kernels import kernel_text, needed
from qdeploy.export.c.targets import find_target

__all__ = ["CALLS", "Emulated", "Job", "Program"]

_MATVEC = "acc, weight, {x}, (size_t)a[0], (size_t)a[1]"
_U8, _S16 = "x", "(const int16_t *)(const void *)x"
_HADAMARD = "acc, weight, {x}, (size_t)a[0], (size_t)a[1], work"
_REQUANTIZE = (
    "({type} *)result_store, (const int32_t *)(const void *)x, (const int32_t *)(const void *)weight, "
    "(size_t)a[0], (size_t)a[1], (unsigned)a[2], a[3], a[4], a[5]"
)
CALLS = {
    **{f"matvec_u8_w{bits}": _MATVEC.format(x=_U8) for bits in (8, 4, 2, 1)},
    **{f"matvec_s16_w{bits}": _MATVEC.format(x=_S16) for bits in (8, 4, 2, 1)},
    "matvec4_u8_w8": "acc, weight, x, (size_t)a[2], (size_t)a[0], (size_t)a[1]",
    **{f"quaternion_u8_w{bits}": f"{_MATVEC.format(x=_U8)}, (size_t)a[2]" for bits in (8, 4)},
    "quaternion_s16_w8": f"{_MATVEC.format(x=_S16)}, (size_t)a[2]",
    "hadamard_u8": _HADAMARD.format(x=_U8),
    "hadamard_s16": _HADAMARD.format(x=_S16),
    "requantize_u8": _REQUANTIZE.format(type="uint8_t"),
    "requantize_s16": _REQUANTIZE.format(type="int16_t"),
    "requantize_s32": _REQUANTIZE.format(type="int32_t"),
}
"""By kernel, the arguments of its call in the program, from a job's arrays and its integers ``a``."""

_CODE_AND_DATA = {"cortex-m33": (0x10000000, 0x38000000)}
"""Where the emulated machine of a microcontroller has its memory; elsewhere at 0 and at 0x20000000."""

_FLAGS = ("-nostdlib", "-isystem", ".", "-Wl,-e,_start")


@dataclass(frozen=True)
class Job:
    """One kernel's call: up to six integers (rows and columns first, or as ``requantize`` takes them) and its arrays.

    ``result``: what stands in the output before the call; matrix·vector kernels add to it.
    """

    kernel: str
    integers: tuple[int, ...]
    weight: NDArray[np.generic]
    x: NDArray[np.generic]
    result: NDArray[np.generic]

    def packed(self, repeats: int) -> bytes:
        """The job as the program reads it."""
        arrays = [np.ascontiguousarray(array).tobytes() for array in (self.weight, self.x, self.result)]
        integers = (*self.integers, *([0] * (6 - len(self.integers))))
        head = (list(CALLS).index(self.kernel), repeats, *integers, *map(len, arrays))
        return b"".join([np.array(head, "<i4").tobytes(), *arrays])


@dataclass(frozen=True)
class Emulated:
    """A program without a C library, built for one target: what it computes stands in a function ``emulated``."""

    target: str
    path: Path

    @classmethod
    def built(cls, target: str, folder: Path, sources: Mapping[str, bytes]) -> Emulated:
        """Builds it in ``folder`` of ``sources`` and what every such program begins with."""
        here = Path(__file__).parent
        ours = {name: (here / name).read_bytes() for name in ("emulated.c", "emulated.h")}
        # The header is the one that a build brings to sources without a C library.
        ours["string.h"] = files("qdeploy.export.c").joinpath("include/string.h").read_bytes()
        flags = [*_FLAGS, *WARNINGS]
        if find_target(target).microcontroller:
            code, data = _CODE_AND_DATA.get(target, (0, 0x20000000))
            script = (here / "emulated.ld.txt").read_text(encoding="utf-8")
            ours["program.ld"] = script.replace("CODE", hex(code)).replace("DATA", hex(data)).encode()
            flags += ["-Wl,-T,program.ld", "--rtlib=compiler-rt"]
        path = folder / "program"
        build_file({**sources, **ours}, target, "program", path, flags=flags)
        return cls(target, path.resolve())

    def run(self, given: Mapping[str, bytes], *, traced: bool = False) -> tuple[dict[str, bytes], int]:
        """Executes it in a folder that holds the files ``given``.

        Returns all files that are there then, and the number of instructions, 0 where they are not ``traced``. Raises
        RuntimeError, with what the emulator says, where the program does not end well.
        """
        chosen = find_target(self.target)
        command = list(chosen.emulator or chosen.machine or ())
        if traced:
            command += [*_one_instruction(command[0]), "-d", "exec,nochain"]
        if chosen.machine is not None:
            command += ["-display", "none", "-semihosting-config", "enable=on,target=native", "-kernel"]
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            for file, data in given.items():
                (place / file).write_bytes(data)
            lines, code, said = _traced([*command, str(self.path)], place)
            if code:
                raise RuntimeError(f"{' '.join(command)} ended with {code}: {said}")
            return {file.name: file.read_bytes() for file in place.iterdir()}, lines


@dataclass(frozen=True)
class Program:
    """All kernels, built for one target."""

    emulated: Emulated

    @property
    def target(self) -> str:
        """The target's name."""
        return self.emulated.target

    @classmethod
    def built(cls, target: str, folder: Path, *, plain: bool = False) -> Program:
        """Builds it in ``folder``; ``plain`` leaves the fast paths out."""
        chosen = find_target(target)
        cases = "".join(
            f"    case {number}:\n        {name}({arguments});\n        break;\n"
            for number, (name, arguments) in enumerate(CALLS.items())
        )
        jobs = (Path(__file__).parent / "emulated_kernels.c").read_text(encoding="utf-8")
        text = "".join(
            [
                '#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n#include "emulated.h"\n',
                f"#define MODEL_TILE {chosen.tile}\n#define MODEL_OFFSET {chosen.offset}\n",
                *(kernel_text(name, plain=plain) for name in needed(set(CALLS))),
                jobs.replace("    /* CASES */\n", cases),
            ]
        )
        return cls(Emulated.built(target, folder, {"kernels.c": text.encode()}))

    def results(self, jobs: Sequence[Job]) -> list[NDArray[np.generic]]:
        """What each job's output holds behind the call, of the type and shape of its ``result``."""
        left, _ = self.emulated.run({"jobs": b"".join(job.packed(1) for job in jobs)})
        found, start = [], 0
        for job in jobs:
            end = start + job.result.nbytes
            found.append(np.frombuffer(left["results"][start:end], job.result.dtype).reshape(job.result.shape))
            start = end
        return found

    def instructions(self, job: Job) -> int:
        """How many instructions one call executes, the loop around the calls included (about five)."""
        once, twice = (self.emulated.run({"jobs": job.packed(repeats)}, traced=True)[1] for repeats in (1, 2))
        return twice - once


def _traced(command: Sequence[str], place: Path) -> tuple[int, int, str]:
    """Lines of the trace, the exit status, and what else the command says."""
    with subprocess.Popen(
        command, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        lines, said = 0, b""
        for line in process.stderr or ():
            if line.startswith(b"Trace "):
                lines += 1
            else:
                said += line
    return lines, process.returncode, said.decode(errors="replace")


@cache
def _one_instruction(emulator: str) -> tuple[str, ...]:
    """How this qemu is told to make a block of each instruction."""
    said = subprocess.run([emulator, "-help"], capture_output=True, text=True, check=False).stdout
    if "one-insn-per-tb" not in said:
        return ("-singlestep",)
    return ("-accel", "tcg,one-insn-per-tb=on") if "system" in emulator else ("-one-insn-per-tb",)
