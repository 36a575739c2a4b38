"""The engine "c": the network as compiled C, called through ctypes."""

from __future__ import annotations

import ctypes
import math
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.errors import ContractError, InvalidInputError, MissingRequirementError, UnsupportedModelError
from qdeploy.runtime.indices import check_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.c_library import CLibrary
    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.manifest import InputSpec, Manifest, Shape, StateSpec
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["CEngine", "version"]

#: Who makes the sources from the model and compiles them. The generator stands outside of this package, which a
#: board may have alone, so it is found by its name when it is asked for.
_MAKER = "qdeploy.c_library"
#: Kernels load whole vectors of this many bytes.
_ALIGNMENT = 64


def version() -> str:
    """What the C compiler of this machine says of itself.

    Raises MissingRequirementError where there is none.
    """
    said: str = _maker().compiler_version()
    return said


def _maker() -> Any:
    try:
        return import_module(_MAKER)
    except ImportError as error:
        msg = f"the C generator cannot be imported ({error}); install qdeploy whole, or choose another runtime: numpy, bodies"
        raise MissingRequirementError(msg) from error


class CEngine:
    """A shared library that was compiled for this machine from sources made anew from the model.

    A batch is computed sample by sample, a sequence in one call of ``model_run``; the state goes in and comes out with
    every call.
    """

    name = "c"

    def __init__(self, source: ModelSource, *, threads: int = 1, optimize: bool = True) -> None:
        del threads, optimize  # One thread; the compiler optimizes as the build says.
        files = _bundle(source)
        made: CLibrary = _maker().c_library(files)
        self.version: str = made.origin
        self._manifest = files.manifest
        self._timed = any(_time_axis(spec.shape) is not None for spec in files.manifest.inputs)
        self._most_steps = made.number("MAX_STEPS") if made.number("WHOLE_SEQUENCES") else None
        _check_sizes(files.manifest, made)
        self._library = _load(made)
        self._run: Any = self._library.model_run
        self._run.restype = ctypes.c_int if self._timed else None
        self._library.model_state_size.restype = ctypes.c_size_t
        self._memory, self._state = _aligned(int(self._library.model_state_size()))
        self._packed = np.zeros(max(made.number("STATES_SIZE"), 1), np.uint8)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once."""
        manifest = self._manifest
        batch, steps = self._check(feeds)
        inputs = [_by_sample(feeds[spec.name], self._order(spec.shape), spec.shape, batch) for spec in manifest.inputs]
        states = [_by_sample(feeds[spec.input], self._order(spec.shape), spec.shape, batch) for spec in manifest.states]
        outputs = [_room(spec.dtype, spec.shape, batch, steps) for spec in manifest.outputs]
        last = [_room(spec.dtype, spec.shape, batch, steps) for spec in manifest.states]
        for sample in range(batch):
            self._library.model_init(self._state)
            self._exchange("model_load_states", [array[sample] for array in states])
            words: list[Any] = [array[sample].ctypes.data_as(ctypes.c_void_p) for array in inputs]
            if self._timed:
                words.append(ctypes.c_size_t(steps))
            words += [array[sample].ctypes.data_as(ctypes.c_void_p) for array in outputs]
            if self._run(self._state, *words):
                msg = f"model_run refused {steps} steps"
                raise ContractError(msg)
            self._exchange("model_save_states", [array[sample] for array in last])
        results = {
            spec.name: _arranged(array, self._order(spec.shape), spec.shape)
            for spec, array in zip(manifest.outputs, outputs, strict=True)
        }
        return results | {
            spec.output: _arranged(array, self._order(spec.shape), spec.shape)
            for spec, array in zip(manifest.states, last, strict=True)
        }

    def _order(self, shape: Shape) -> list[int]:
        """The axes as C takes them: samples apart, steps one after the other.

        A network that takes whole sequences keeps a sample's own order of axes.
        """
        symbols = ("batch",) if self._most_steps is not None else ("batch", "time")
        free = [shape.index(symbol) for symbol in symbols if symbol in shape]
        return free + [axis for axis in range(len(shape)) if axis not in free]

    def _exchange(self, function: str, states: list[Array]) -> None:
        """Gives a sample's states to the library, or takes them from it; their bytes follow one another."""
        if not states:
            return
        loads = function == "model_load_states"
        place = 0
        parts = []
        for state in states:
            parts.append((state, self._packed[place : place + state.nbytes]))
            place += state.nbytes
        if loads:
            for state, part in parts:
                part[:] = np.ascontiguousarray(state).reshape(-1).view(np.uint8)
        getattr(self._library, function)(self._state, self._packed.ctypes.data_as(ctypes.c_void_p))
        if not loads:
            for state, part in parts:
                state.reshape(-1).view(np.uint8)[:] = part

    def _check(self, feeds: Mapping[str, Array]) -> tuple[int, int]:
        """Batch and steps of feeds that fit the manifest: C has no way to say that they do not."""
        specs: dict[str, InputSpec | StateSpec] = {spec.name: spec for spec in self._manifest.inputs}
        specs |= {spec.input: spec for spec in self._manifest.states}
        if feeds.keys() != specs.keys():
            odd = min(feeds.keys() ^ specs.keys())
            what = f"input {odd!r} is missing" if odd in specs else f"found an input {odd!r}"
            msg = f"{what}; the model's inputs are {', '.join(specs)}"
            raise InvalidInputError(msg)
        sizes: dict[str, int] = {}
        for name, spec in specs.items():
            array = feeds[name]
            fits = array.ndim == len(spec.shape) and str(array.dtype) == spec.dtype
            for dimension, size in zip(spec.shape, array.shape, strict=False):
                wanted = sizes.setdefault(dimension, size) if isinstance(dimension, str) else dimension
                fits = fits and size == wanted and size > 0
            if not fits:
                expected = f"{spec.dtype}[{', '.join(map(str, spec.shape))}]"
                msg = f"input {name!r}: found {array.dtype}{list(array.shape)}, expected {expected}, none of them 0"
                raise InvalidInputError(msg)
            rows = getattr(spec, "vocabulary_size", None)
            if rows is not None:
                # A row that is not there would be read beside the table.
                check_indices(array, rows, f"input {name!r}")
        steps = sizes.get("time", 1)
        if self._most_steps is not None and steps > self._most_steps:
            msg = (
                f"found {steps} steps, expected at most {self._most_steps}: the memory of a network that takes whole "
                "sequences is as large as its longest one (MODEL_MAX_STEPS in model.h)"
            )
            raise InvalidInputError(msg)
        return sizes.get("batch", 1), steps


def _bundle(source: ModelSource) -> BundleFiles:
    from qdeploy.runtime.bundle import BundleFiles

    if not isinstance(source, BundleFiles):
        msg = f"the runtime c runs bundles, whose manifest names inputs, outputs and states; found a {type(source).__name__}"
        raise UnsupportedModelError(msg)
    for spec in (*source.manifest.inputs, *source.manifest.outputs, *source.manifest.states):
        name = getattr(spec, "name", None) or getattr(spec, "input", "")
        if spec.dtype == "float32":
            msg = f"{source.path}: {name!r} is float32; C computes with integers alone: export again without --float-io"
            raise UnsupportedModelError(msg)
        free = [d for d in spec.shape if isinstance(d, str) and d not in {"batch", "time"}]
        if free:
            msg = f"{source.path}: {name!r} has the free dimension {free[0]}; in C only batch and time are free"
            raise UnsupportedModelError(msg)
    return source


def _load(made: CLibrary) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="qdeploy-c-") as folder:
        # The mapping outlives the file's name. The bytes were checked; a file of the bundle might be exchanged meanwhile.
        path = Path(folder) / "libmodel.so"
        path.write_bytes(made.library)
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            msg = f"the library ({made.origin}) cannot be loaded: {error}; expected one for this machine"
            raise MissingRequirementError(msg) from error


def _check_sizes(manifest: Manifest, made: CLibrary) -> None:
    """The library's states are those of the manifest; more would be written beside their room."""
    found = made.number("STATES_SIZE")
    expected = sum(np.dtype(spec.dtype).itemsize * _entries(spec.shape) for spec in manifest.states)
    if found != expected:
        msg = f"the library ({made.origin}) has {found} bytes of states, the manifest {expected}; export again"
        raise UnsupportedModelError(msg)


def _aligned(size: int) -> tuple[Any, ctypes.c_void_p]:
    """Memory that starts at a multiple of 64, and the pointer to it."""
    memory = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory, ctypes.c_void_p(memory.ctypes.data + start)


def _time_axis(shape: Shape) -> int | None:
    return shape.index("time") if "time" in shape else None


def _entries(shape: Shape) -> int:
    """Of one sample and one step."""
    return math.prod(d for d in shape if isinstance(d, int))


def _by_sample(array: Array, order: Sequence[int], shape: Shape, batch: int) -> Array:
    """[batch, entries]; what has no batch is every sample's."""
    flat = np.ascontiguousarray(array.transpose(order))
    return flat.reshape(batch, -1) if "batch" in shape else np.broadcast_to(flat.reshape(1, -1), (batch, flat.size))


def _room(dtype: str, shape: Shape, batch: int, steps: int) -> Array:
    """[batch, entries], for C to write into."""
    return np.zeros((batch, _entries(shape) * (steps if "time" in shape else 1)), dtype)


def _arranged(array: Array, order: Sequence[int], shape: Shape) -> Array:
    """[batch, entries] in the layout that the manifest gives."""
    sizes: list[int] = []
    for axis in order:
        dimension = shape[axis]
        if dimension == "batch":
            sizes.append(len(array))
        elif dimension == "time":
            sizes.append(array.shape[1] // _entries(shape))
        else:
            sizes.append(int(dimension))
    whole = array if "batch" in shape else array[:1]
    return np.ascontiguousarray(whole.reshape(sizes).transpose(np.argsort(order)))
