"""Kernels on emulated processors: results of jobs, and the instructions that a call executes.

``qemu`` executes one instruction a translation block and writes one line for each (``-d exec,nochain``); a program that
calls a kernel twice writes as many lines more than one that calls it once as the call has instructions. The count is exact
and the same each time.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.c.build import WARNINGS, build_file
from qdeploy.export.c.kernels import kernel_names, kernel_text, needed
from qdeploy.export.c.targets import find_target

__all__ = ["CALLS", "Job", "Program"]

_MATVEC = "acc, weight, {x}, (size_t)a[0], (size_t)a[1]"
_U8, _S16 = "x", "(const int16_t *)(const void *)x"
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
    "requantize_u8": _REQUANTIZE.format(type="uint8_t"),
    "requantize_s16": _REQUANTIZE.format(type="int16_t"),
    "requantize_s32": _REQUANTIZE.format(type="int32_t"),
}
"""By kernel, the arguments of its call in the program, from a job's arrays and its integers ``a``."""

_CODE_AND_DATA = {"cortex-m33": (0x10000000, 0x38000000)}
"""Where the emulated machine of a microcontroller has its memory; elsewhere at 0 and at 0x20000000."""

_FLAGS = ("-ffreestanding", "-isystem", ".", "-Wl,-e,_start")


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
class Program:
    """All kernels, built for one target."""

    target: str
    folder: Path
    name: str = field(default="program")

    @classmethod
    def built(cls, target: str, folder: Path, *, plain: bool = False) -> Program:
        """Builds it in ``folder``; ``plain`` leaves the fast paths out."""
        chosen = find_target(target)
        here = Path(__file__).parent
        cases = "".join(
            f"    case {number}:\n        {name}({arguments});\n        break;\n"
            for number, (name, arguments) in enumerate(CALLS.items())
            if name in kernel_names()
        )
        text = "".join(
            [
                "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n",
                f"#define MODEL_TILE {chosen.tile}\n#define MODEL_OFFSET {chosen.offset}\n",
                *(kernel_text(name, plain=plain) for name in needed(set(CALLS) & set(kernel_names()))),
                (here / "emulated.c").read_text(encoding="utf-8").replace("    /* CASES */\n", cases),
            ]
        )
        # The program has no C library, nor has a microcontroller; the header is the one that a build brings to such sources.
        header = files("qdeploy.export.c").joinpath("include/string.h").read_bytes()
        sources = {"program.c": text.encode(), "string.h": header}
        flags = [*_FLAGS, *WARNINGS]
        if chosen.microcontroller:
            code, data = _CODE_AND_DATA.get(target, (0, 0x20000000))
            script = (here / "emulated.ld.txt").read_text(encoding="utf-8")
            sources["program.ld"] = script.replace("CODE", hex(code)).replace("DATA", hex(data)).encode()
            flags += ["-Wl,-T,program.ld", "--rtlib=compiler-rt"]
        else:
            flags += ["-nostdlib"]
        build_file(sources, target, "program", folder / "program", flags=flags)
        return cls(target, folder)

    def results(self, jobs: Sequence[Job]) -> list[NDArray[np.generic]]:
        """What each job's output holds behind the call, of the type and shape of its ``result``."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            self._run(Path(place), jobs, 1)
            data = (Path(place) / "results").read_bytes()
        found, start = [], 0
        for job in jobs:
            end = start + job.result.nbytes
            found.append(np.frombuffer(data[start:end], job.result.dtype).reshape(job.result.shape))
            start = end
        return found

    def instructions(self, job: Job) -> int:
        """How many instructions one call executes, the loop around the calls included (about five)."""
        counts = []
        for repeats in (1, 2):
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                counts.append(self._run(Path(place), [job], repeats, traced=True))
        return counts[1] - counts[0]

    def _run(self, place: Path, jobs: Sequence[Job], repeats: int, *, traced: bool = False) -> int:
        """Executes the jobs in ``place``; the lines of the trace, 0 without one."""
        (place / "jobs").write_bytes(b"".join(job.packed(repeats) for job in jobs))
        chosen = find_target(self.target)
        program = str((self.folder / self.name).resolve())
        command = list(chosen.emulator or chosen.machine or ())
        if traced:
            command += [*_one_instruction(command[0]), "-d", "exec,nochain"]
        if chosen.machine is not None:
            command += ["-display", "none", "-semihosting-config", "enable=on,target=native", "-kernel"]
        with subprocess.Popen(
            [*command, program], cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            lines, said = 0, b""
            for line in process.stderr or ():
                if line.startswith(b"Trace "):
                    lines += 1
                else:
                    said += line
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said.decode(errors='replace')}")
        return lines


@cache
def _one_instruction(emulator: str) -> tuple[str, ...]:
    """How this qemu is told to make a block of each instruction."""
    said = subprocess.run([emulator, "-help"], capture_output=True, text=True, check=False).stdout
    if "one-insn-per-tb" not in said:
        return ("-singlestep",)
    return ("-accel", "tcg,one-insn-per-tb=on") if "system" in emulator else ("-one-insn-per-tb",)
