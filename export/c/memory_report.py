"""What a model in C takes of a target's flash and RAM, layer by layer, and whether that is there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from qdeploy.export.c.elf import ObjectFile, read_object
from qdeploy.export.c.generator import GeneratedLayer, Program
from qdeploy.export.c.memory import SLACK
from qdeploy.export.c.targets import Target
from qdeploy.runtime.errors import BuildError, MissingRequirementError, UnsupportedModelError

__all__ = ["LayerMemory", "MemoryReport", "memory_report"]

_ENTRIES = ("model_run", "model_step", "model_init", "model_save_states", "model_load_states")

_FLAGS = ("-ffunction-sections", "-fdata-sections", "-fstack-size-section")
"""The last one is clang's, which zig is."""


@dataclass(frozen=True)
class LayerMemory:
    """Of one layer, in bytes.

    Attributes:
        name, operator: of the layer.
        constants: weights, biases, multipliers and tables, in flash. What layers share counts for the first.
        results: what it leaves in the arena for other layers.
        scratch: what it needs of the arena while it runs.
    """

    name: str
    operator: str
    constants: int
    results: int
    scratch: int


@dataclass(frozen=True)
class MemoryReport:
    """Of a whole model, in bytes.

    Attributes:
        target: name and description.
        layers: one entry per layer.
        constants: in flash, as the compiler placed them, or their plain sum where there is no compiler.
        code: instructions, and what the compiler keeps beside them; None where there is no compiler for the target.
        states: recurrent states, with the entries that kernels may read behind them.
        arena: slots that layers share one after the other.
        state_size: ``sizeof(model_state)``: states and arena.
        stack: the deepest that a call takes, the C library's own functions not counted; None where it is not known.
        flash_limit, ram_limit: what the target has; None where no limit is known.
    """

    target: str
    description: str
    layers: tuple[LayerMemory, ...]
    constants: int
    code: int | None
    states: int
    arena: int
    state_size: int
    stack: int | None
    flash_limit: int | None
    ram_limit: int | None

    @property
    def flash(self) -> int:
        """Constants and code."""
        return self.constants + (self.code or 0)

    @property
    def ram(self) -> int:
        """States, arena and stack."""
        return self.state_size + (self.stack or 0)

    def limited(self, flash: int | None, ram: int | None) -> MemoryReport:
        """The same with other limits; None leaves the target's."""
        return replace(
            self,
            flash_limit=self.flash_limit if flash is None else flash,
            ram_limit=self.ram_limit if ram is None else ram,
        )

    def check(self) -> None:
        """Refuses a model that is too large.

        Raises:
            UnsupportedModelError: with the figures, the largest layers, and what can be done.
        """
        problems = []
        if self.flash_limit is not None and self.flash > self.flash_limit:
            largest = max(self.layers, key=lambda layer: layer.constants)
            code = "code not counted" if self.code is None else f"code {self.code:,}"
            problems.append(
                f"flash: needs {self.flash:,} bytes (constants {self.constants:,}, {code}; most of them {largest.name}, "
                f"{largest.constants:,}), expected at most {self.flash_limit:,}"
            )
        if self.ram_limit is not None and self.ram > self.ram_limit:
            largest = max(self.layers, key=lambda layer: layer.results + layer.scratch)
            stack = "stack not counted" if self.stack is None else f"stack {self.stack:,}"
            problems.append(
                f"RAM: needs {self.ram:,} bytes (states {self.states:,}, arena {self.arena:,}, {stack}; most at once "
                f"{largest.name}, {largest.results + largest.scratch:,}), expected at most {self.ram_limit:,}"
            )
        if problems:
            raise UnsupportedModelError(
                f"target {self.target}: {'; '.join(problems)}. Export with fewer --weight-bits or train a smaller network, "
                "choose a larger target, or say what your board has by --flash and --ram."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "flash": self.flash, "ram": self.ram}

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"memory on {self.target}: {self.description}; bytes",
            f"{'layer':24} {'operator':14} {'constants':>10} {'results':>9} {'scratch':>9}",
        ]
        lines += [
            f"{layer.name[:24]:24} {layer.operator[:14]:14} {layer.constants:>10,} {layer.results:>9,} {layer.scratch:>9,}"
            for layer in self.layers
        ]
        code = "code not counted (no compiler for it here)" if self.code is None else f"code {self.code:,}"
        stack = "stack not counted" if self.stack is None else f"stack {self.stack:,}"
        lines.append(
            f"flash {self.flash:,}: constants {self.constants:,}, {code}{_share(self.flash, self.flash_limit)}"
        )
        lines.append(
            f"RAM {self.ram:,}: states {self.states:,}, arena that layers share {self.arena:,}, {stack}"
            f"{_share(self.ram, self.ram_limit)}"
        )
        return lines


def _share(used: int, limit: int | None) -> str:
    if limit is None:
        return ""
    verdict = "" if used <= limit else ": TOO MUCH"
    return f"; {100 * used / limit:.1f} % of {limit:,}{verdict}"


def memory_report(program: Program, sources: dict[str, bytes] | None = None) -> MemoryReport:
    """What a program takes of its target.

    Args:
        program: generated for the target.
        sources: ``model.h`` and ``model.c``: they are compiled to measure code and stack, where a compiler is there; None
            leaves these out.
    """
    target = program.target
    compiled = _compiled(sources, target) if sources is not None else None
    stacks = [compiled.stack(name) for name in _ENTRIES] if compiled is not None else []
    known = [depth for depth in stacks if depth is not None]
    return MemoryReport(
        target=target.name,
        description=target.description,
        layers=tuple(_layer(program, made) for made in program.layers),
        constants=sum(array.bytes for array in program.arrays) if compiled is None else _constants(compiled),
        code=None if compiled is None else compiled.code + compiled.read_only - _constants(compiled),
        states=sum(size for size, _ in _states(program)),
        arena=sum(size for size, _ in _slots(program)),
        state_size=_size(_states(program) + _slots(program)),
        stack=max(known) if known else None,
        flash_limit=target.flash,
        ram_limit=target.ram,
    )


def _compiled(sources: dict[str, bytes], target: Target) -> ObjectFile | None:
    from qdeploy.export.c.build import build, compiler

    try:
        # Of gcc no stack is known: it has another option.
        flags = _FLAGS if "ziglang" in compiler(target.name) else _FLAGS[:2]
        return read_object(build(sources, target.name, "object", flags=flags))
    except BuildError:
        raise
    except MissingRequirementError:
        return None


def _constants(compiled: ObjectFile) -> int:
    return sum(section.size for section in compiled.sections if section.loaded and section.name.startswith(".rodata"))


def _layer(program: Program, made: GeneratedLayer) -> LayerMemory:
    constants = sum(array.bytes for array in program.arrays if array.node == made.layer.name)
    results = 0
    for name in {program.graph.root(name) for name in made.layer.outputs.values() if name}:
        place = program.places.get(name)
        if place is not None and any(place.expression.startswith(f"state->{slot.name}.") for slot in program.slots):
            tensor = program.graph.tensors[name]
            steps = program.max_steps if tensor.time_axis is not None else 1
            results += (tensor.entries * steps + SLACK) * tensor.dtype.itemsize
    scratches = [parameter.scratch for parameter in made.site.parameters if parameter.scratch is not None]
    scratch = sum((found.entries + SLACK) * found.dtype.itemsize for found in scratches)
    return LayerMemory(made.layer.name, made.layer.operator, constants, results, scratch)


def _states(program: Program) -> list[tuple[int, int]]:
    """Size and alignment of each member of ``model_state`` that stays between calls."""
    tensors = [program.graph.tensors[spec.input] for spec in program.graph.states]
    return [((tensor.entries + SLACK) * tensor.dtype.itemsize, tensor.dtype.itemsize) for tensor in tensors]


def _slots(program: Program) -> list[tuple[int, int]]:
    """Size and alignment of each slot of the arena, a union of arrays."""
    found = []
    for slot in program.slots:
        alignment = max(np.dtype(kind).itemsize for kind in slot.entries)
        found.append((-(-slot.bytes // alignment) * alignment, alignment))
    return found


def _size(members: list[tuple[int, int]]) -> int:
    """Of a struct with these members, as C lays it out; one byte where there is none."""
    place = 0
    for size, alignment in members:
        place = -(-place // alignment) * alignment + size
    largest = max((alignment for _, alignment in members), default=1)
    return max(1, -(-place // largest) * largest)
