"""The engine "c": the network as compiled C, called through ctypes."""

from __future__ import annotations

import ctypes
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.c_samples import CSamples, c_bundle
from qdeploy.runtime.errors import ContractError, MissingRequirementError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.runtime.c_library import CLibrary
    from qdeploy.runtime.engines.engine import Array
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
        self._files = c_bundle(source)
        self.version = ""
        self._open(None)

    def _open(self, max_steps: int | None) -> None:
        files = self._files
        made: CLibrary = _maker().c_library(files, max_steps)
        self.version = made.origin
        self._samples = CSamples(files.manifest, made.number("MAX_STEPS") if made.number("WHOLE_SEQUENCES") else None)
        if made.number("STATES_SIZE") != self._samples.states_size:
            # More would be written beside their room.
            msg = (
                f"the library ({made.origin}) has {made.number('STATES_SIZE')} bytes of states, the manifest "
                f"{self._samples.states_size}; export again"
            )
            raise UnsupportedModelError(msg)
        self._library = _load(made)
        self._run: Any = self._library.model_run
        self._run.restype = ctypes.c_int if self._samples.timed else None
        self._library.model_state_size.restype = ctypes.c_size_t
        self._memory, self._state = _aligned(int(self._library.model_state_size()))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once; for a longer sequence of a network that takes whole ones, a library with more memory is built."""
        longest = self._samples.too_long(feeds)
        if longest is not None:
            self._open(longest)
        samples = self._samples.samples(feeds)
        for sample in samples:
            self._library.model_init(self._state)
            self._library.model_load_states(self._state, _pointer(sample.states))
            words: list[Any] = [_pointer(array) for array in sample.inputs]
            if self._samples.timed:
                words.append(ctypes.c_size_t(sample.steps))
            words += [_pointer(array) for array in sample.outputs]
            if self._run(self._state, *words):
                msg = f"model_run refused {sample.steps} steps"
                raise ContractError(msg)
            self._library.model_save_states(self._state, _pointer(sample.last_states))
        return self._samples.results(samples)


def _pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


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


def _aligned(size: int) -> tuple[Any, ctypes.c_void_p]:
    """Memory that starts at a multiple of 64, and the pointer to it."""
    memory = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory, ctypes.c_void_p(memory.ctypes.data + start)
