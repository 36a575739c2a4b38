"""The program that runs a model's C on an emulated board: computes what it is sent until its input ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING

from qdeploy.export.c.build import build
from qdeploy.export.c.memory import c_type
from qdeploy.export.c.targets import find_target

if TYPE_CHECKING:
    from qdeploy.export.c import Program

__all__ = ["MEMORIES", "Memory", "build_program", "build_sources", "main_text", "most_steps", "ours"]

_LARGEST_BUFFER = 1 << 18
"""Bytes of inputs and outputs of one call: the program's memory has no room for sequences of any length."""
_MOST_STEPS = 1024


@dataclass(frozen=True)
class Memory:
    """The memories of an emulated microcontroller, begin and bytes: code, constants and all that is written."""

    code: tuple[int, int]
    constants: tuple[int, int]
    ram: tuple[int, int]

    def script(self) -> str:
        """For the linker."""
        regions = {"CODE (rx)": self.code, "CONSTANTS (r)": self.constants, "RAM (rwx)": self.ram}
        lines = [f"    {name} : ORIGIN = {begin:#x}, LENGTH = {size:#x}" for name, (begin, size) in regions.items()]
        return "\n".join(["MEMORY", "{", *lines, "}", ""])


_MIB = 1 << 20
_MPS2 = Memory((0x00000000, 4 * _MIB), (0x21000000, 16 * _MIB), (0x20000000, 4 * _MIB))
MEMORIES: dict[str, Memory] = {
    "mps2-an385": _MPS2,
    "mps2-an386": _MPS2,
    "mps2-an500": replace(_MPS2, constants=(0x60000000, 16 * _MIB)),
    "microbit": Memory((0x00000000, 4 * _MIB), (0x00400000, 12 * _MIB), (0x20000000, 4 * _MIB)),
    # The secure aliases: the core starts in the secure world.
    "mps2-an505": Memory((0x10000000, 4 * _MIB), (0x80000000, 16 * _MIB), (0x38000000, 4 * _MIB)),
}
"""By the machine's name. More than the boards have: what fits a board's own is another question (`qdeploy inspect`)."""


def most_steps(program: Program) -> int:
    """Steps of the longest call that the program takes; longer sequences come in pieces."""
    graph = program.graph
    if not graph.timed:
        return 1
    if graph.whole_sequences:
        return program.max_steps
    step = sum(graph.tensors[name].bytes for name in (*graph.inputs, *graph.outputs))
    return max(1, min(_MOST_STEPS, _LARGEST_BUFFER // step))


def main_text(program: Program) -> str:
    """The text of main.c.

    For each call the program reads the number of steps (32 bits), all states, and each input; it computes one step by
    ``model_step`` and more by ``model_run``, and writes each output and all states.
    """
    graph, most = program.graph, most_steps(program)
    step_alone = graph.timed and not graph.whole_sequences

    def buffer(name: str) -> str:
        tensor = graph.tensors[name]
        count = tensor.entries * (most if tensor.time_axis is not None else 1)
        return f"static {c_type(tensor.dtype)} {program.parameters[name]}_buffer[{count}];"

    def move(function: str, name: str) -> str:
        tensor = graph.tensors[name]
        steps = "steps * " if tensor.time_axis is not None else ""
        place = f"{program.parameters[name]}_buffer"
        return f"{function}({place}, {steps}{tensor.entries} * sizeof *{place})"

    inputs = [f"{program.parameters[name]}_buffer" for name in graph.inputs]
    outputs = [f"{program.parameters[name]}_buffer" for name in graph.outputs]
    states = sum(graph.tensors[spec.input].bytes for spec in graph.states)
    call = ", ".join(["&state", *inputs, *outputs])
    if not graph.timed:
        compute = [f"        model_run({call});"]
    else:
        whole = [f"model_run({', '.join(['&state', *inputs, 'steps', *outputs])}) != 0"]
        compute = [f"        if ({whole[0]}) {{", "            return 1;", "        }"]
        if step_alone:
            compute = [
                "        if (steps == 1) {",
                f"            model_step({call});",
                f"        }} else if ({whole[0]}) {{",
                "            return 1;",
                "        }",
            ]
    lines = [
        "/* Computes what it is sent: steps (32 bits), states and inputs come in, outputs and states go out. */",
        '#include "board.h"',
        '#include "model.h"',
        "",
        "static model_state state;",
        f"static uint8_t states[{max(states, 1)}];",
        *(buffer(name) for name in (*graph.inputs, *graph.outputs)),
        "",
        "int main(void)",
        "{",
        "    uint32_t steps;",
        "",
        "    while (board_receive(&steps, sizeof steps)) {",
        f"        if (steps == 0 || steps > {most}) {{",
        "            return 1;",
        "        }",
        "        if ("
        + " || ".join([f"!board_receive(states, {states})", *(f"!{move('board_receive', n)}" for n in graph.inputs)])
        + ") {",
        "            return 1;",
        "        }",
        "        model_init(&state);",
        "        model_load_states(&state, states);",
        *compute,
        "        model_save_states(&state, states);",
        "        if ("
        + " || ".join([*(f"!{move('board_send', n)}" for n in graph.outputs), f"!board_send(states, {states})"])
        + ") {",
        "            return 1;",
        "        }",
        "    }",
        "    return 0;",
        "}",
        "",
    ]
    return "\n".join(lines)


def build_program(program: Program, sources: Mapping[str, bytes], board: str) -> bytes:
    """The executable for ``board`` of ``sources``, the files ``model.h`` and ``model.c`` of ``program``.

    Raises:
        MissingRequirementError: this machine has no compiler for the board.
        BuildError: the compiler refused the sources.
    """
    return build_sources({**sources, "main.c": main_text(program).encode()}, board)


def build_sources(sources: Mapping[str, bytes], board: str) -> bytes:
    """The executable of sources with a ``main`` that need ``board.h`` and ``string.h`` at most; errors as above."""
    target = find_target(board)
    texts = {**sources, **{name: ours(name) for name in ("board.h", "streams.c")}}
    # No C library: the static ones of other systems would have to be built first. The compiler's own run-time functions
    # (64-bit division, memcpy) come along.
    flags = ["-nostdlib", "-rtlib=compiler-rt"]
    if target.machine is not None:
        texts |= {name: ours(name) for name in ("cortex_m.S", "semihosting.c", "cortex_m.ld")}
        texts["memory.ld"] = MEMORIES[target.machine[target.machine.index("-M") + 1]].script().encode()
        flags += ["-Wl,-T,cortex_m.ld", "-Wl,--gc-sections"]
    else:
        name = "linux_aarch64.S" if "aarch64" in (target.zig_target or "") else "linux_arm.S"
        header = files("qdeploy.export.c").joinpath("include", "string.h")
        texts |= {name: ours(name), "include/string.h": header.read_bytes()}
        flags += ["-isystem", "include"]
    return build(texts, board, "program", flags=flags)


def ours(name: str) -> bytes:
    """A file of ``export/c/boards``."""
    return files("qdeploy.export.c").joinpath("boards", name).read_bytes()
