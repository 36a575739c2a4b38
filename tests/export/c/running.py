"""Generated C as a library of this machine, and its results beside the reference's."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.export.c import c_files
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.manifest import Manifest

Array = NDArray[Any]

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
COMPILER = shutil.which("cc") or "cc"

_MAX_STEPS = 64
"""Of networks that take whole sequences: no vector is longer."""


class Library:
    """model.c of a bundle, built by the system's compiler with the warnings that shall not appear.

    Args:
        files: the bundle.
        folder: an empty one for the files.
        target: of the sources.
        flags: for the compiler, besides.
    """

    def __init__(
        self, files: BundleFiles, folder: Path, *, target: str = "host", flags: tuple[str, ...] = ("-O1",)
    ) -> None:
        self.manifest = files.manifest
        for name, data in c_files(files.model, files.manifest, target, max_steps=_MAX_STEPS).items():
            (folder / name).write_bytes(data)
        library = folder / "libmodel.so"
        command = [COMPILER, *WARNINGS, *flags, "-shared", "-fPIC", "-o", str(library), str(folder / "model.c")]
        subprocess.run(command, check=True)
        self._library = ctypes.CDLL(str(library))
        self._library.model_state_size.restype = ctypes.c_size_t
        self._state = ctypes.create_string_buffer(self._library.model_state_size())

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output and last state of one sample, whose arrays have the graph's layout with a batch of 1."""
        manifest, library = self.manifest, self._library
        library.model_init(self._state)
        states = [np.ascontiguousarray(feeds[spec.input]) for spec in manifest.states]
        library.model_load_states(self._state, b"".join(state.tobytes() for state in states))
        inputs = [_steps_first(feeds[spec.name], spec.time_axis) for spec in manifest.inputs]
        steps = next((len(x) for x, s in zip(inputs, manifest.inputs, strict=True) if s.time_axis is not None), None)
        outputs = []
        for spec in manifest.outputs:
            shape = [1 if d == "batch" else steps if d == "time" else d for d in spec.shape]
            outputs.append(np.zeros(shape, spec.dtype))
        timed = [ctypes.c_size_t(steps)] if steps is not None else []
        arguments = [_pointer(x) for x in inputs] + timed + [_pointer(y) for y in outputs]
        library.model_run(self._state, *arguments)
        buffer = ctypes.create_string_buffer(sum(state.nbytes for state in states) + 1)
        library.model_save_states(self._state, buffer)
        result = {spec.name: array for spec, array in zip(manifest.outputs, outputs, strict=True)}
        place = 0
        for spec, state in zip(manifest.states, states, strict=True):
            result[spec.output] = np.frombuffer(buffer.raw, state.dtype, state.size, place).reshape(state.shape)
            place += state.nbytes
        return result


def of_model(model: onnx.ModelProto, manifest: Manifest) -> BundleFiles:
    """A bundle in memory."""
    return BundleFiles(Path("memory"), manifest, model, {})


def golden(name: str) -> BundleFiles:
    """A golden bundle."""
    return read_bundle(Path(__file__).parents[2] / "golden" / "bundles" / f"{name}.zip")


def single(array: Array, axis: int | None, sample: int) -> Array:
    """One sample of a batch, the batch axis kept."""
    return array if axis is None else np.take(array, [sample], axis)


def _steps_first(array: Array, axis: int | None) -> Array:
    return np.ascontiguousarray(array if axis is None else np.moveaxis(array, axis, 0))


def _pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
