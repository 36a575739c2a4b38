"""Integer networks as compiled C, for timing: the sources that ``--format c`` writes, built for this machine."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qdeploy
from benchmarks.loops import Contender
from qdeploy.c_library import c_library
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import IntegerModel
from qdeploy.runtime.bundle import BundleFiles
from qdeploy.runtime.c_samples import CSamples
from qdeploy.runtime.engines.litert import LitertEngine
from qdeploy.runtime.engines.onnxruntime import OnnxruntimeEngine
from qdeploy.runtime.errors import MissingRequirementError
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, StateSpec

__all__ = ["GeneratedC", "bundle_of"]

_ALIGNMENT = 64


class GeneratedC:
    """A quantized model as a library, and the feeds of one call of ``model_run``, arranged once before it is timed.

    Args:
        integers: quantized, with the operators of the domain ``qdeploy``.
        feeds: inputs and states of one sample.
        time_axis, batch_axis: of every input; without a time axis a call is one sample.

    ``files`` is the bundle that it was made of. Raises RuntimeError where the library gives other bits than onnxruntime.
    """

    def __init__(
        self, integers: IntegerModel, feeds: Mapping[str, NDArray[Any]], *, time_axis: int | None, batch_axis: int
    ) -> None:
        self._feeds = feeds
        self.files = files = bundle_of(integers, time_axis, batch_axis)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "libmodel.so"
            path.write_bytes(c_library(files).library)
            self._library = ctypes.CDLL(str(path))
        self._library.model_state_size.restype = ctypes.c_size_t
        self.state_bytes = int(self._library.model_state_size())
        self._memory = np.zeros(self.state_bytes + _ALIGNMENT, np.uint8)
        self._state = ctypes.c_void_p(self._memory.ctypes.data + -self._memory.ctypes.data % _ALIGNMENT)
        samples = CSamples(files.manifest, None)
        arranged = samples.samples(feeds)
        (self._sample,) = arranged
        self._words = [
            self._state,
            *map(_pointer, self._sample.inputs),
            *([] if time_axis is None else [ctypes.c_size_t(self._sample.steps)]),
            *map(_pointer, self._sample.outputs),
        ]
        self.call()
        self._library.model_save_states(self._state, _pointer(self._sample.last_states))
        expected = OnnxruntimeEngine(attach_bodies(integers.model)).run(feeds)
        found = samples.results(arranged)
        if any((found[name].reshape(-1) != array.reshape(-1)).any() for name, array in expected.items()):
            message = f"C and onnxruntime differ in {', '.join(expected)}"
            raise RuntimeError(message)

    def microseconds(self) -> float:
        """One call from the given states, per step."""
        return Contender.timed(self.call)

    def beside_litert(self) -> InLitert | None:
        """The same integers and feeds in LiteRT; None where it is not installed."""
        try:
            engine = LitertEngine(self.files)
        except MissingRequirementError:
            return None
        return InLitert(engine, self._feeds)

    def call(self) -> None:
        """One call of ``model_run`` from the given states."""
        self._library.model_init(self._state)
        self._library.model_load_states(self._state, _pointer(self._sample.states))
        self._library.model_run(*self._words)


@dataclass(frozen=True)
class InLitert:
    """An interpreter of LiteRT and the feeds of one call."""

    engine: LitertEngine
    feeds: Mapping[str, NDArray[Any]]

    def microseconds(self) -> float:
        """One call, per step."""
        return Contender.timed(lambda: self.engine.run(self.feeds))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def bundle_of(integers: IntegerModel, time_axis: int | None, batch_axis: int) -> BundleFiles:
    """What no folder holds: the model, and a manifest of its inputs, outputs and states."""
    types = integers.graph.types
    values = {value.name: value for value in (*integers.model.graph.input, *integers.model.graph.output)}

    def shape(name: str) -> tuple[int | str, ...]:
        return tuple(d.dim_param or d.dim_value for d in values[name].type.tensor_type.shape.dim)

    manifest = Manifest(
        schema=1,
        qdeploy=qdeploy.__version__,
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=tuple(
            InputSpec(
                name=name,
                float_name=name,
                dtype=types[name].dtype,
                shape=shape(name),
                scale=types[name].scale,
                zero_point=types[name].zero_point,
                time_axis=time_axis,
                batch_axis=batch_axis,
            )
            for name in integers.inputs
        ),
        outputs=tuple(
            OutputSpec(name, types[name].dtype, shape(name), types[name].scale, types[name].zero_point)
            for name in integers.outputs
        ),
        states=tuple(
            StateSpec(
                input=state.input,
                output=state.output,
                dtype=state.type.dtype,
                shape=("batch", state.size),
                scale=state.type.scale,
                zero_point=state.type.zero_point,
                bits=state.type.bits,
            )
            for state in integers.graph.states
        ),
        tensors={},
        layers=(),
        files={},
    )
    return BundleFiles(Path("benchmark"), manifest, integers.model, {})
