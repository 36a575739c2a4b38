"""Between arrays of a batch and what compiled C takes: one sample at a time, flat, steps one after the other, states packed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.indices import check_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.manifest import InputSpec, Manifest, Shape, StateSpec
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["CSamples", "Sample", "c_bundle"]

Array = npt.NDArray[Any]


class Sample:
    """One sample: ``inputs`` flat, ``states`` packed as model_load_states takes them (uint8), ``steps`` of the sequence.

    ``outputs`` and ``last_states`` are room to write into, in the manifest's order and as model_save_states packs them.
    """

    def __init__(self, inputs: list[Array], states: Array, steps: int, outputs: list[Array]) -> None:
        self.inputs = inputs
        self.states = states
        self.steps = steps
        self.outputs = outputs
        self.last_states = np.zeros_like(states)


class CSamples:
    """Checks feeds against a manifest, takes them apart, and puts results together.

    Args:
        manifest: the bundle's.
        most_steps: the longest sequence of a network that takes whole ones only (MODEL_MAX_STEPS), else None.
    """

    def __init__(self, manifest: Manifest, most_steps: int | None) -> None:
        self._manifest = manifest
        self._most_steps = most_steps
        self.timed = any("time" in spec.shape for spec in manifest.inputs)
        self.states_size = sum(_state_bytes(spec) for spec in manifest.states)

    def too_long(self, feeds: Mapping[str, Array]) -> int | None:
        """The steps of a sequence that is longer than the longest; None where it is not, or feeds have no such axis."""
        axes = [
            (feeds.get(spec.name), spec.shape.index("time")) for spec in self._manifest.inputs if "time" in spec.shape
        ]
        steps = max((array.shape[axis] for array, axis in axes if array is not None and axis < array.ndim), default=0)
        return steps if self._most_steps is not None and steps > self._most_steps else None

    def samples(self, feeds: Mapping[str, Array]) -> list[Sample]:
        """The samples of a batch.

        Raises:
            InvalidInputError: feeds that do not fit the manifest, which C has no way to notice.
        """
        manifest = self._manifest
        batch, steps = self._check(feeds)
        inputs = [self._by_sample(feeds[spec.name], spec.shape, batch) for spec in manifest.inputs]
        states = [self._by_sample(feeds[spec.input], spec.shape, batch) for spec in manifest.states]
        packed = np.concatenate([np.zeros((batch, 0), np.uint8), *(state.view(np.uint8) for state in states)], axis=1)
        outputs = [
            np.zeros((batch, _entries(spec.shape) * (steps if "time" in spec.shape else 1)), spec.dtype)
            for spec in manifest.outputs
        ]
        return [
            Sample([array[i] for array in inputs], packed[i], steps, [array[i] for array in outputs])
            for i in range(batch)
        ]

    def results(self, samples: list[Sample]) -> dict[str, Array]:
        """Every graph output by name, in the manifest's layout: outputs, then last states."""
        found: dict[str, Array] = {}
        for place, spec in enumerate(self._manifest.outputs):
            found[spec.name] = self._arranged(np.stack([sample.outputs[place] for sample in samples]), spec.shape)
        packed = np.stack([sample.last_states for sample in samples])
        start = 0
        for state in self._manifest.states:
            size = _state_bytes(state)
            values = np.ascontiguousarray(packed[:, start : start + size]).view(state.dtype)
            found[state.output] = self._arranged(values, state.shape)
            start += size
        return found

    def _check(self, feeds: Mapping[str, Array]) -> tuple[int, int]:
        """Batch and steps."""
        sizes: dict[str, int] = {}
        for name, spec in self._specs(feeds):
            array = feeds[name]
            fits = array.ndim == len(spec.shape) and str(array.dtype) == spec.dtype
            for dimension, size in zip(spec.shape, array.shape, strict=False):
                wanted = sizes.setdefault(dimension, size) if isinstance(dimension, str) else dimension
                fits = fits and size == wanted and size > 0
            if not fits:
                expected = f"{spec.dtype}[{', '.join(map(str, spec.shape))}]"
                msg = f"input {name!r}: found {array.dtype}{list(array.shape)}, expected {expected}, none of them 0"
                raise InvalidInputError(msg)
            if spec.scale is None:
                # A row that is not there would be read beside the table.
                check_indices(array, getattr(spec, "vocabulary_size", None) or 0, f"input {name!r}")
        steps = sizes.get("time", 1)
        if self._most_steps is not None and steps > self._most_steps:
            msg = (
                f"found {steps} steps, expected at most {self._most_steps}: the memory of a network that takes whole "
                "sequences is as large as its longest one (MODEL_MAX_STEPS in model.h)"
            )
            raise InvalidInputError(msg)
        return sizes.get("batch", 1), steps

    def _specs(self, feeds: Mapping[str, Array]) -> Iterator[tuple[str, InputSpec | StateSpec]]:
        specs: dict[str, InputSpec | StateSpec] = {spec.name: spec for spec in self._manifest.inputs}
        specs |= {spec.input: spec for spec in self._manifest.states}
        if feeds.keys() != specs.keys():
            odd = min(feeds.keys() ^ specs.keys())
            what = f"input {odd!r} is missing" if odd in specs else f"found an input {odd!r}"
            msg = f"{what}; the model's inputs are {', '.join(specs)}"
            raise InvalidInputError(msg)
        yield from specs.items()

    def _order(self, shape: Shape) -> list[int]:
        """The axes as C takes them: samples apart, steps one after the other.

        A network that takes whole sequences keeps a sample's own order of axes.
        """
        symbols = ("batch",) if self._most_steps is not None else ("batch", "time")
        free = [shape.index(symbol) for symbol in symbols if symbol in shape]
        return free + [axis for axis in range(len(shape)) if axis not in free]

    def _by_sample(self, array: Array, shape: Shape, batch: int) -> Array:
        """[batch, entries]; what has no batch is every sample's."""
        flat = np.ascontiguousarray(array.transpose(self._order(shape)))
        return flat.reshape(batch, -1) if "batch" in shape else np.repeat(flat.reshape(1, -1), batch, axis=0)

    def _arranged(self, array: Array, shape: Shape) -> Array:
        """[batch, entries] in the layout that the manifest gives."""
        order = self._order(shape)
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


def _entries(shape: Shape) -> int:
    """Of one sample and one step."""
    return math.prod(d for d in shape if isinstance(d, int))


def _state_bytes(spec: StateSpec) -> int:
    return np.dtype(spec.dtype).itemsize * _entries(spec.shape)


def c_bundle(source: ModelSource) -> BundleFiles:
    """The bundle that ``source`` is, if C can take its inputs and give its outputs.

    Raises:
        UnsupportedModelError: a model without a manifest, a border of floats, or a free dimension besides batch and time.
    """
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
