"""A board that runs the model's C, emulated: built here for the board, computed there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.export.c import program_files
from qdeploy.export.c.build import compiler_version
from qdeploy.export.c.generator import generate_program
from qdeploy.export.c.targets import find_target
from qdeploy.runtime.c_samples import CSamples, Sample, c_bundle

from .c_program import build_program, most_steps
from .emulated_program import EmulatedProgram
from .programs import emulator, find

if TYPE_CHECKING:
    import numpy.typing as npt

    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.manifest import InputSpec, OutputSpec
    from qdeploy.runtime.model_source import ModelSource

    from .litert_process import LitertProcess

__all__ = ["CBoard"]

_COUNT = struct.Struct("<I")


class CBoard:
    """Builds and starts a program for each model that is opened.

    Raises MissingRequirementError where the emulator or the compiler is missing.
    """

    def __init__(self, board: str) -> None:
        self.board: str | None = board
        self._target = find_target(board)
        if self._target.emulator is not None:
            emulator(self._target.emulator)
        elif self._target.machine is not None:
            find(self._target.machine[0])
        self._version = compiler_version(board)
        self._engines: list[_ProgramEngine] = []

    def available(self) -> dict[str, str | None]:
        """C alone, with the compiler's version."""
        return {"c": self._version}

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """The bundle's model, compiled.

        Raises UnsupportedModelError for anything but a bundle, and where an operator has no form in C.
        """
        del runtime, threads, optimize
        engine = _ProgramEngine(c_bundle(model), self._target.name, self._version)
        self._engines.append(engine)
        return engine

    def litert(self) -> LitertProcess | None:
        """None: here runs C alone."""
        return None

    def close(self) -> None:
        """Ends all programs."""
        for engine in self._engines:
            engine.close()


class _ProgramEngine:
    """A batch is computed sample by sample; every call brings its states along and takes them back."""

    name = "c"

    def __init__(self, files: BundleFiles, board: str, version: str) -> None:
        self.version = version
        self._files = files
        self._board = board
        self._build(None)

    def _build(self, max_steps: int | None) -> None:
        program = generate_program(self._files.model, self._files.manifest, find_target(self._board), max_steps)
        made = build_program(program, program_files(program, self._files.model), self._board)
        self._most = most_steps(program)
        self._whole = program.graph.whole_sequences
        self._samples = CSamples(self._files.manifest, self._most if self._whole else None)
        self._program = EmulatedProgram(find_target(self._board), made)

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Computes once; a sequence that is longer than the program's memory comes in pieces, or in a larger program."""
        longest = max(
            (_steps_of(feeds[spec.name], spec) for spec in self._files.manifest.inputs if spec.name in feeds), default=1
        )
        if self._whole and longest > self._most:
            self.close()
            self._build(longest)
        samples = self._samples.samples(feeds)
        for sample in samples:
            state = sample.states.tobytes()
            for begin in range(0, sample.steps, self._most):
                state = self._piece(sample, state, begin, min(self._most, sample.steps - begin))
            sample.last_states[:] = np.frombuffer(state, np.uint8)
        return self._samples.results(samples)

    def _piece(self, sample: Sample, state: bytes, begin: int, steps: int) -> bytes:
        """``steps`` steps of a sample from ``begin`` on; writes its outputs and gives the states after them."""

        def part(row: npt.NDArray[Any], spec: InputSpec | OutputSpec) -> npt.NDArray[Any]:
            step = row.size // sample.steps
            return row[begin * step : (begin + steps) * step] if "time" in spec.shape else row

        manifest = self._files.manifest
        inputs = [part(row, spec).tobytes() for row, spec in zip(sample.inputs, manifest.inputs, strict=True)]
        outputs = [part(row, spec) for row, spec in zip(sample.outputs, manifest.outputs, strict=True)]
        request = b"".join([_COUNT.pack(steps), state, *inputs])
        reply = self._program.ask(request, sum(row.nbytes for row in outputs) + len(state))
        place = 0
        for row in outputs:
            row[:] = np.frombuffer(reply, row.dtype, row.size, place)
            place += row.nbytes
        return reply[place:]

    def close(self) -> None:
        self._program.close()


def _steps_of(array: npt.NDArray[Any], spec: InputSpec) -> int:
    """Of an input, as far as it fits its shape."""
    axis = spec.time_axis
    return int(array.shape[axis]) if axis is not None and axis < array.ndim else 1
