"""How a bundle's arrays lie for C: sample after sample, steps one after the other, states packed into bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.indices import check_indices

if TYPE_CHECKING:
    from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, Shape, StateSpec

__all__ = ["CSamples", "check_integer_borders", "entries"]

Array = npt.NDArray[Any]


class CSamples:
    """Takes a graph's inputs apart for C and puts its outputs together.

    Args:
        manifest: names inputs, outputs and states, with their shapes.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.timed = any("time" in spec.shape for spec in manifest.inputs)

    def check(self, feeds: Mapping[str, Array]) -> tuple[int, int]:
        """Batch and steps of feeds that fit the manifest: C has no way to say that they do not.

        Raises:
            InvalidInputError: an input is missing, of another type or shape, or has an index that its table has no row for.
        """
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
        return sizes.get("batch", 1), sizes.get("time", 1)

    def split(self, array: Array, spec: InputSpec | StateSpec, batch: int) -> Array:
        """[batch, entries] of an input or a state; what has no batch is every sample's."""
        flat = np.ascontiguousarray(array.transpose(self._order(spec.shape)))
        if "batch" in spec.shape:
            return flat.reshape(batch, -1)
        return np.broadcast_to(flat.reshape(1, -1), (batch, flat.size))

    def room(self, spec: OutputSpec | StateSpec, batch: int, steps: int) -> Array:
        """[batch, entries] of zeros for an output or a state."""
        return np.zeros((batch, entries(spec.shape) * (steps if "time" in spec.shape else 1)), spec.dtype)

    def join(self, array: Array, spec: OutputSpec | StateSpec) -> Array:
        """[batch, entries] in the layout that the manifest gives."""
        shape, order = spec.shape, self._order(spec.shape)
        sizes: list[int] = []
        for axis in order:
            dimension = shape[axis]
            if dimension == "batch":
                sizes.append(len(array))
            elif dimension == "time":
                sizes.append(array.shape[1] // entries(shape))
            else:
                sizes.append(int(dimension))
        whole = array if "batch" in shape else array[:1]
        return np.ascontiguousarray(whole.reshape(sizes).transpose(np.argsort(order)))

    def _order(self, shape: Shape) -> Sequence[int]:
        """The axes as C takes them: samples apart, steps one after the other.

        A network that takes whole sequences keeps a sample's own order of axes.
        """
        symbols = ("batch",) if self._manifest.whole_sequences else ("batch", "time")
        free = [shape.index(symbol) for symbol in symbols if symbol in shape]
        return free + [axis for axis in range(len(shape)) if axis not in free]


def entries(shape: Shape) -> int:
    """Of one sample and one step."""
    return math.prod(d for d in shape if isinstance(d, int))


def check_integer_borders(manifest: Manifest, path: object) -> None:
    """Whether C can take the inputs of a bundle and give its outputs.

    Raises:
        UnsupportedModelError: one is a float, or has a free dimension besides batch and time.
    """
    for spec in (*manifest.inputs, *manifest.outputs, *manifest.states):
        name = getattr(spec, "name", None) or getattr(spec, "input", "")
        if spec.dtype == "float32":
            msg = f"{path}: {name!r} is float32; C computes with integers alone: export again without --float-io"
            raise UnsupportedModelError(msg)
        free = [d for d in spec.shape if isinstance(d, str) and d not in {"batch", "time"}]
        if free:
            msg = f"{path}: {name!r} has the free dimension {free[0]}; in C only batch and time are free"
            raise UnsupportedModelError(msg)
