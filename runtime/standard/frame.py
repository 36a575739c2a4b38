"""A compiled graph: its steps in order and the registers they read and write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.standard.node import Array, Kernel, Tracer

__all__ = ["ABSENT", "Frame", "Step", "execute"]

#: Register 0 holds None for ever: the absent optional input.
ABSENT = 0

#: kernel, registers read, register written (a tuple for several outputs), label for messages and traces.
Step: TypeAlias = tuple[Kernel, tuple[int, ...], int | tuple[int, ...], str]


@dataclass(frozen=True)
class Frame:
    """A subgraph ready to run.

    ``template`` holds the constants; ``prologue`` is what depends on captured values only and runs once, ``steps``
    runs each time.
    ``captures`` are the registers that receive the outer values, appended to the node's inputs.
    """

    template: list[Array | None]
    prologue: list[Step]
    steps: list[Step]
    inputs: tuple[int, ...]
    input_types: tuple[np.dtype[Any] | None, ...]
    outputs: tuple[int, ...]
    output_names: tuple[str, ...]
    captures: tuple[int, ...]


def execute(steps: list[Step], values: list[Array | None], tracer: Tracer) -> None:
    """Runs ``steps`` on the registers ``values``; a kernel's complaint becomes a ContractError with its label."""
    label = ""
    try:
        for kernel, read, written, label in steps:
            result = kernel(*[values[i] for i in read])
            if type(written) is int:
                # Operations between arrays of rank 0 give NumPy scalars.
                values[written] = result if type(result) is np.ndarray else np.asarray(result)
            else:
                for register, array in zip(written, result, strict=True):  # type: ignore[arg-type]
                    values[register] = array
                values[ABSENT] = None
            if tracer.callback is not None:
                registers = (written,) if isinstance(written, int) else written
                for register in registers:
                    array = values[register]
                    if register != ABSENT and array is not None:
                        tracer.callback(label, array)
    except (ValueError, TypeError, IndexError, AttributeError, MemoryError) as error:
        msg = f"node {label}: {error}"
        raise ContractError(msg) from error
