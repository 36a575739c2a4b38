"""Streaming: an engine that keeps the recurrent state between calls."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError
from qdeploy.runtime.indices import check_indices
from qdeploy.runtime.npz import read_npz
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.staging import write_whole

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.litert_options import LitertOptions
    from qdeploy.runtime.manifest import InputSpec, Shape, StateSpec

__all__ = ["Inputs", "Session"]

Array = npt.NDArray[Any]
Inputs: TypeAlias = "Mapping[str, npt.ArrayLike] | npt.ArrayLike"

#: A state file larger than this is not one (bytes).
_LARGEST_STATE = 64 << 20


class Session:
    """Runs a bundle call after call; the state starts at zero and lives on from one call to the next.

    However a sequence is cut into calls, the outputs are the same bits. Arrays have the model's own layout, which
    ``manifest.inputs[i].shape`` shows. Float inputs are quantized as ONNX QuantizeLinear does, integers are taken as
    they are; outputs are ``scale * (n - zero_point)`` in float32, or the integers n with ``raw``. Indices of an embedding
    are integers that its table has rows for; others are refused before anything runs. ``litert``: kernels and delegate of the
    runtime litert.

    Raises InvalidInputError (input, what was found, what was expected) for arrays that do not fit, and
    MissingRequirementError where the runtime's package is missing.
    """

    def __init__(
        self,
        files: BundleFiles,
        *,
        runtime: str = "onnxruntime",
        raw: bool = False,
        threads: int = 1,
        optimize: bool = True,
        litert: LitertOptions | None = None,
    ) -> None:
        self.manifest = files.manifest
        self.raw = raw
        self.engine = open_engine(runtime, files, threads=threads, optimize=optimize, litert=litert)
        model = files.manifest.files.get("model.onnx")
        self._identity = model.sha256 if model is not None else ""
        self._state: dict[str, Array] | None = None

    def run(self, inputs: Inputs) -> dict[str, Array]:
        """One call of any number of steps; the state goes on from the last call's end.

        Of a model that reads its sequence from the end as well, every call is a sequence of its own, from the zero state or
        from one that was set before.

        ``inputs``: arrays by input name (the float model's names work too), or one array where there is one input.
        """
        feeds, sizes = self._feeds(self._named(inputs))
        state = self._state if self._state is not None else self._zero_state(sizes)
        for spec in self.manifest.states:
            self._check_batch(spec, state[spec.input], sizes)
        results = self.engine.run(feeds | state)
        self._state = {spec.input: results[spec.output] for spec in self.manifest.states}
        if self.manifest.whole_sequences:
            # The next call is another sequence.
            self._state = None
        outputs: dict[str, Array] = {}
        for output in self.manifest.outputs:
            array = results[output.name]
            integer = array.dtype.kind in "iu" and not self.raw
            outputs[output.name] = dequantize(array, output.scale, output.zero_point) if integer else array
        return outputs

    def step(self, inputs: Inputs) -> dict[str, Array]:
        """One time step: arrays without the time axis, in and out."""
        self._refuse_pieces()
        named = self._named(inputs)
        if all(spec.time_axis is None for spec in self.manifest.inputs):
            msg = "this model has no time axis, expected a recurrent model; call run"
            raise InvalidInputError(msg)
        longer: dict[str, npt.ArrayLike] = {}
        for spec in self.manifest.inputs:
            array = np.asarray(named[spec.name])
            if spec.time_axis is not None:
                if array.ndim != len(spec.shape) - 1:
                    expected = _text(tuple(d for i, d in enumerate(spec.shape) if i != spec.time_axis))
                    msg = f"input {spec.name!r}: found shape {list(array.shape)}, expected {expected} for one step"
                    raise InvalidInputError(msg)
                array = np.expand_dims(array, spec.time_axis)
            longer[spec.name] = array
        outputs = self.run(longer)
        for output in self.manifest.outputs:
            if output.time_axis is not None:
                outputs[output.name] = np.squeeze(outputs[output.name], output.time_axis)
        return outputs

    def _refuse_pieces(self) -> None:
        if self.manifest.whole_sequences:
            msg = (
                "found a call of a part of a sequence, expected whole ones: a layer of this model reads its sequence from the "
                "end, or takes its initial state from an input; call run with all steps"
            )
            raise InvalidInputError(msg)

    def reset(self) -> None:
        """Back to the zero state; the next call may have another batch."""
        self._state = None

    @property
    def state(self) -> dict[str, Array]:
        """A copy of every state by the name of its graph input; before the first call the zero state of batch 1."""
        current = self._state if self._state is not None else self._zero_state({})
        return {name: array.copy() for name, array in current.items()}

    @state.setter
    def state(self, value: Mapping[str, npt.ArrayLike]) -> None:
        state: dict[str, Array] = {}
        aliases = {spec.output: spec.input for spec in self.manifest.states}
        given = {aliases.get(name, name): np.asarray(array) for name, array in value.items()}
        for spec in self.manifest.states:
            if spec.input not in given:
                msg = f"state {spec.input!r} is missing, expected {', '.join(s.input for s in self.manifest.states)}"
                raise InvalidInputError(msg)
            array = given.pop(spec.input)
            if array.dtype != np.dtype(spec.dtype):
                msg = f"state {spec.input!r}: found type {array.dtype}, expected {spec.dtype}"
                raise InvalidInputError(msg)
            _check_shape(f"state {spec.input!r}", array, spec.shape, {})
            state[spec.input] = array.copy()
        if given:
            known = ", ".join(s.input for s in self.manifest.states) or "none"
            msg = f"found a state {min(given)!r}, the model's states are {known}"
            raise InvalidInputError(msg)
        self._state = state

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Writes the state to an .npz file, whole or not at all; ``load_state`` reads it back."""
        self._refuse_pieces()
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"state/{name}": array for name, array in self.state.items()}
        np.savez(buffer, model=np.array(self._identity), **arrays)
        target = Path(path)
        if not target.parent.is_dir():
            msg = f"{target}: cannot be written, {target.parent} is no folder; expected a place that can"
            raise InvalidFileError(msg)
        write_whole(target, buffer.getvalue())

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Goes on from a saved state. Raises InvalidFileError where it is no state file or another model's."""
        source = Path(path)
        # A pipe would wait for ever for whoever writes it.
        if source.exists() and not source.is_file():
            msg = f"{source}: is no plain file; expected a file that save_state wrote"
            raise InvalidFileError(msg)
        try:
            with source.open("rb") as stream:
                data = stream.read(_LARGEST_STATE + 1)
        except OSError as error:
            msg = f"{source}: cannot be read ({error.strerror or error}); expected a file that save_state wrote"
            raise InvalidFileError(msg) from error
        if len(data) > _LARGEST_STATE:
            msg = f"{source}: holds more than {_LARGEST_STATE} bytes; expected a file that save_state wrote"
            raise InvalidFileError(msg)
        arrays = read_npz(data, str(source), limit=_LARGEST_STATE)
        identity = str(arrays.pop("model", ""))
        if identity != self._identity:
            found = identity or "not given"
            msg = f"{source}: is the state of another model (SHA-256 {found}); expected {self._identity}"
            raise InvalidFileError(msg)
        try:
            self.state = {key.removeprefix("state/"): array for key, array in arrays.items()}
        except InvalidInputError as error:
            msg = f"{source}: {error}"
            raise InvalidFileError(msg) from error

    def _named(self, inputs: Inputs) -> dict[str, npt.ArrayLike]:
        """Inputs by the graph's names."""
        specs = self.manifest.inputs
        names = ", ".join(spec.name for spec in specs)
        if not isinstance(inputs, Mapping):
            if len(specs) != 1:
                msg = f"found one array, the model has the inputs {names}; give them by name"
                raise InvalidInputError(msg)
            return {specs[0].name: inputs}
        aliases = {spec.float_name: spec.name for spec in specs} | {spec.name: spec.name for spec in specs}
        named: dict[str, npt.ArrayLike] = {}
        for name, array in inputs.items():
            if name not in aliases:
                msg = f"found an input {name!r}, the model's inputs are {names}"
                raise InvalidInputError(msg)
            named[aliases[name]] = array
        for spec in specs:
            if spec.name not in named:
                msg = f"input {spec.name!r} is missing; the model's inputs are {names}"
                raise InvalidInputError(msg)
        return named

    def _feeds(self, named: Mapping[str, npt.ArrayLike]) -> tuple[dict[str, Array], dict[str, int]]:
        """Integer arrays for the graph, and the sizes of the symbolic dimensions."""
        feeds: dict[str, Array] = {}
        sizes: dict[str, int] = {}
        for spec in self.manifest.inputs:
            array = np.asarray(named[spec.name])
            _check_shape(f"input {spec.name!r}", array, spec.shape, sizes)
            feeds[spec.name] = _integers(spec, array)
        return feeds, sizes

    def _zero_state(self, sizes: Mapping[str, int]) -> dict[str, Array]:
        state: dict[str, Array] = {}
        for spec in self.manifest.states:
            shape = tuple(sizes.get(d, 1) if isinstance(d, str) else d for d in spec.shape)
            # A float state (behind float borders) is a real value.
            zero = 0 if spec.dtype == "float32" else spec.zero_point
            state[spec.input] = np.full(shape, zero, spec.dtype)
        return state

    @staticmethod
    def _check_batch(spec: StateSpec, array: Array, sizes: Mapping[str, int]) -> None:
        for dimension, size in zip(spec.shape, array.shape, strict=True):
            if isinstance(dimension, str) and sizes.get(dimension, size) != size:
                msg = (
                    f"the inputs have a {dimension} of {sizes[dimension]}, expected {size} as in the session's state; "
                    "call reset() before a new batch"
                )
                raise InvalidInputError(msg)


def _integers(spec: InputSpec, array: Array) -> Array:
    dtype = np.dtype(spec.dtype)
    if spec.scale is None:
        check_indices(array, spec.vocabulary_size or 0, f"input {spec.name!r}")
        return array.astype(dtype)
    if array.dtype.kind == "f":
        if dtype.kind == "f":
            return array.astype(dtype)
        try:
            return quantize_input(array, spec.scale, spec.zero_point, dtype)
        except InvalidInputError as error:
            msg = f"input {spec.name!r}: {error}"
            raise InvalidInputError(msg) from error
    if array.dtype.kind not in "iu" or dtype.kind == "f":
        expected = "numbers in floating point" if dtype.kind == "f" else f"floats, or integers of type {dtype}"
        msg = f"input {spec.name!r}: found type {array.dtype}, expected {expected}"
        raise InvalidInputError(msg)
    limits = np.iinfo(dtype)
    if int(array.min()) < limits.min or int(array.max()) > limits.max:
        msg = (
            f"input {spec.name!r}: found integers {int(array.min())} … {int(array.max())}, expected "
            f"{limits.min} … {limits.max} ({dtype}); real values go in as floats"
        )
        raise InvalidInputError(msg)
    return array.astype(dtype)


def _check_shape(what: str, array: Array, shape: Shape, sizes: dict[str, int]) -> None:
    """Rank, fixed dimensions, and one size for each symbolic one; ``sizes`` collects these."""
    fits = array.ndim == len(shape)
    for dimension, size in zip(shape, array.shape, strict=False):
        wanted = sizes.setdefault(dimension, size) if isinstance(dimension, str) else dimension
        fits = fits and size == wanted and size > 0
    if not fits:
        known = {name: size for name, size in sizes.items() if size > 0 and name in shape}
        note = f" ({', '.join(f'{name} {size}' for name, size in known.items())})" if known else ""
        msg = f"{what}: found shape {list(array.shape)}, expected {_text(shape)}{note}, none of them 0"
        raise InvalidInputError(msg)


def _text(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"
