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
from qdeploy.runtime.bundle import BundleFiles
from qdeploy.runtime.c_samples import CSamples, check_integer_borders, entries
from qdeploy.runtime.errors import UnsupportedModelError

from .c_program import build_program, most_steps
from .emulated_program import EmulatedProgram
from .programs import emulator, find

if TYPE_CHECKING:
    import numpy.typing as npt

    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.manifest import Shape
    from qdeploy.runtime.model_source import ModelSource

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
        del threads, optimize
        if not isinstance(model, BundleFiles):
            msg = f"the runtime {runtime} runs bundles, whose manifest names inputs, outputs and states"
            raise UnsupportedModelError(msg)
        engine = _ProgramEngine(model, self._target.name, self._version)
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        """Ends all programs."""
        for engine in self._engines:
            engine.close()


class _ProgramEngine:
    """A batch is computed sample by sample; every call brings its states along and takes them back."""

    name = "c"

    def __init__(self, files: BundleFiles, board: str, version: str) -> None:
        check_integer_borders(files.manifest, files.path)
        self.version = version
        self._files = files
        self._board = board
        self._whole = files.manifest.whole_sequences
        self._build(None)

    def _build(self, max_steps: int | None) -> None:
        program = generate_program(self._files.model, self._files.manifest, find_target(self._board), max_steps)
        made = build_program(program, program_files(program, self._files.model), self._board)
        self._most = most_steps(program)
        self._program = EmulatedProgram(find_target(self._board), made)

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Computes once; a sequence that is longer than the program's memory comes in pieces, or in a larger program."""
        manifest = self._files.manifest
        samples = CSamples(manifest)
        batch, steps = samples.check(feeds)
        if self._whole and steps > self._most:
            self.close()
            self._build(steps)
        inputs = {spec.name: samples.split(feeds[spec.name], spec, batch) for spec in manifest.inputs}
        states = {spec.input: samples.split(feeds[spec.input], spec, batch) for spec in manifest.states}
        outputs = {spec.name: samples.room(spec, batch, steps) for spec in manifest.outputs}
        last = {spec.output: samples.room(spec, batch, steps) for spec in manifest.states}
        for sample in range(batch):
            state = b"".join(np.ascontiguousarray(array[sample]).tobytes() for array in states.values())
            for begin in range(0, steps, self._most):
                state = self._piece(inputs, outputs, sample, state, begin, min(self._most, steps - begin))
            place = 0
            for array in last.values():
                row = array[sample]
                row[:] = np.frombuffer(state, row.dtype, row.size, place)
                place += row.nbytes
        return {spec.name: samples.join(outputs[spec.name], spec) for spec in manifest.outputs} | {
            spec.output: samples.join(last[spec.output], spec) for spec in manifest.states
        }

    def _piece(
        self,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Mapping[str, npt.NDArray[Any]],
        sample: int,
        state: bytes,
        begin: int,
        steps: int,
    ) -> bytes:
        """``steps`` steps of a sample from ``begin`` on; writes into ``outputs`` and gives the states after them."""
        manifest = self._files.manifest
        request = [_COUNT.pack(steps), state]
        for spec in manifest.inputs:
            part = _steps_of(inputs[spec.name][sample], spec.shape, begin, steps)
            request.append(np.ascontiguousarray(part).tobytes())
        rows = [_steps_of(outputs[spec.name][sample], spec.shape, begin, steps) for spec in manifest.outputs]
        reply = self._program.ask(b"".join(request), sum(row.nbytes for row in rows) + len(state))
        place = 0
        for row in rows:
            row[:] = np.frombuffer(reply, row.dtype, row.size, place)
            place += row.nbytes
        return reply[place:]

    def close(self) -> None:
        self._program.close()


def _steps_of(row: npt.NDArray[Any], shape: Shape, begin: int, steps: int) -> npt.NDArray[Any]:
    """The entries of these steps; all, where there is no time axis."""
    step = entries(shape)
    return row[begin * step : (begin + steps) * step] if "time" in shape else row
