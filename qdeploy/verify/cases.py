"""What is fed to the judge and the voices: golden vectors, real samples, made-up extremes, random integers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qdeploy.runtime.numeric import quantize_input
from qdeploy.runtime.ops import OPERATORS, RECURRENT, operator_name

if TYPE_CHECKING:
    import onnx

    from qdeploy.runtime.manifest import InputSpec, Manifest, Shape, StateSpec

__all__ = ["EXTREMES", "Case", "CaseMaker", "Range"]

Array = npt.NDArray[Any]

EXTREMES = ("low", "high", "zero", "alternating", "alternating-steps", "impulse")
"""Made-up cases: each input and each state all low, all high, at zero, low and high in turns along everything or along
time, and zero but for one element."""


@dataclass(frozen=True)
class Case:
    """One call: graph inputs by name, and for golden vectors the outputs that must come out."""

    name: str
    feeds: Mapping[str, Array]
    expected: Mapping[str, Array] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The name's first part: golden, data, extreme, one-step, random or cut."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Range:
    """The integers that an input or a state may hold, and its zero point."""

    low: int
    high: int
    zero: int


class CaseMaker:
    """Makes the cases of one bundle; the same seed and name give the same integers on every machine."""

    def __init__(self, manifest: Manifest, model: onnx.ModelProto, *, steps: int, seed: int) -> None:
        self.steps = steps
        self._seed = seed
        self._specs: dict[str, InputSpec | StateSpec] = {spec.name: spec for spec in manifest.inputs}
        self._specs |= {spec.input: spec for spec in manifest.states}
        self._manifest = manifest
        self._ranges = {name: self._range(name, spec, model) for name, spec in self._specs.items()}

    @property
    def batched(self) -> bool:
        """Whether the batch is free."""
        return all("batch" in spec.shape for spec in self._specs.values())

    @property
    def timed(self) -> bool:
        """Whether the number of steps is free."""
        return any("time" in spec.shape for spec in self._specs.values())

    def with_zero_state(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """``feeds`` with every state that they leave out at its zero point."""
        complete = dict(feeds)
        batch = 1
        for spec in self._manifest.inputs:
            if "batch" in spec.shape:
                batch = feeds[spec.name].shape[spec.shape.index("batch")]
        for state in self._manifest.states:
            if state.input not in complete:
                zero = 0 if state.dtype == "float32" else state.zero_point
                complete[state.input] = np.full(sized(state.shape, batch, 1), zero, state.dtype)
        return complete

    def quantized(self, samples: Mapping[str, Array]) -> dict[str, Array]:
        """Real samples as the graph takes them: floats by ONNX QuantizeLinear's rule, integers as they are."""
        feeds: dict[str, Array] = {}
        for spec in self._manifest.inputs:
            array = np.asarray(samples[spec.name])
            if array.dtype.kind == "f" and spec.dtype != "float32" and spec.scale is not None:
                feeds[spec.name] = quantize_input(array, spec.scale, spec.zero_point, np.dtype(spec.dtype))
            else:
                feeds[spec.name] = array.astype(spec.dtype)
        return feeds

    def random(self, name: str, batch: int, steps: int | None = None) -> Case:
        """Random integers over the whole range of every input and state.

        Half of the cases are narrower, so that accumulators near zero, where roundings tie, are met as often as
        saturated ones: the numbers after the zero point are thinned out or kept small.
        """
        rng = self._generator(name)
        manner = rng.integers(4)
        feeds: dict[str, Array] = {}
        for key, spec in self._specs.items():
            limits = self._ranges[key]
            shape = sized(spec.shape, batch, steps or self.steps)
            values = rng.integers(limits.low, limits.high, shape, np.int64, endpoint=True)
            if manner == 2:
                values = np.where(rng.random(shape) < 0.8, limits.zero, values)
            elif manner == 3:
                reach = max(1, (limits.high - limits.low) // 16)
                values = np.clip(limits.zero + rng.integers(-reach, reach, shape), limits.low, limits.high)
            feeds[key] = self._typed(spec, values, rng)
        return Case(name, feeds)

    def extreme(self, kind: str, batch: int) -> Case:
        """One of EXTREMES; at most 200 steps, after which a constant input has long settled."""
        steps = min(self.steps, 200)
        rng = self._generator(f"extreme/{kind}")
        feeds: dict[str, Array] = {}
        for key, spec in self._specs.items():
            limits = self._ranges[key]
            shape = sized(spec.shape, batch, steps)
            ends = np.array([limits.low, limits.high], np.int64)
            if kind in {"low", "high", "zero"}:
                values = np.full(shape, getattr(limits, kind), np.int64)
            elif kind == "alternating":
                values = ends[np.arange(int(np.prod(shape))).reshape(shape) % 2]
            elif kind == "alternating-steps":
                axis = spec.shape.index("time") if "time" in spec.shape else len(shape) - 1
                along = [1] * len(shape)
                along[axis] = shape[axis]
                values = np.broadcast_to(ends[np.arange(shape[axis]) % 2].reshape(along), shape)
            else:
                values = np.full(shape, limits.zero, np.int64)
                values[(slice(None),) + (0,) * (len(shape) - 1)] = limits.high
            feeds[key] = self._typed(spec, values, rng)
        return Case(f"extreme/{kind}", feeds)

    def slices(self, feeds: Mapping[str, Array], symbol: str, sizes: list[int]) -> Iterator[dict[str, Array]]:
        """``feeds`` cut along "batch" or "time" into pieces of ``sizes``; what lacks the axis goes along whole."""
        start = 0
        for size in sizes:
            piece = dict(feeds)
            for key, spec in self._specs.items():
                if key in feeds and symbol in spec.shape:
                    axis = spec.shape.index(symbol)
                    piece[key] = np.take(feeds[key], np.arange(start, start + size), axis)
            yield piece
            start += size

    def split(self, total: int) -> list[int]:
        """A random split of ``total`` steps into calls."""
        rng = self._generator("split")
        sizes: list[int] = []
        while sum(sizes) < total:
            sizes.append(min(int(rng.integers(1, 8)), total - sum(sizes)))
        return sizes

    def _generator(self, name: str) -> np.random.Generator:
        # crc32, not hash(): the same on every machine and in every process.
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())])

    def _range(self, name: str, spec: InputSpec | StateSpec, model: onnx.ModelProto) -> Range:
        if spec.scale is None:
            return Range(0, getattr(spec, "vocabulary_size", 1) - 1, 0)
        limits = np.iinfo("uint8" if spec.dtype == "float32" else spec.dtype)
        low, high = int(limits.min), int(limits.max)
        # Behind a float border the integers have another name.
        names = {name} | {n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == name}
        for node in model.graph.node:
            operator = operator_name(node.op_type)
            if operator not in RECURRENT:
                continue
            given = dict(zip(OPERATORS[operator].inputs, node.input, strict=False))
            if given.get("c0") in names:
                return Range(-(2**15), 2**15 - 1, spec.zero_point)
            if given["h0"] in names:
                bounds = {a.name: a.i for a in node.attribute}
                return Range(bounds.get("low", low), bounds.get("high", high), spec.zero_point)
        bits = getattr(spec, "bits", 0)
        if bits > 8:
            # Both readings of p bits allow these: [0, 2^p - 1] and two's complement.
            return Range(0, (1 << (bits - 1)) - 1, spec.zero_point)
        return Range(low, high, spec.zero_point)

    @staticmethod
    def _typed(spec: InputSpec | StateSpec, values: Array, rng: np.random.Generator) -> Array:
        if spec.dtype != "float32" or spec.scale is None:
            return np.ascontiguousarray(values, spec.dtype)
        # Off the grid, so that the border's rounding is met as well, yet never beyond the last integer.
        real = (values - spec.zero_point + rng.uniform(-0.49, 0.49, values.shape)) * spec.scale
        return real.astype(np.float32)


def sized(shape: Shape, batch: int, steps: int) -> tuple[int, ...]:
    """``shape`` with its symbols replaced."""
    return tuple(steps if d == "time" else batch if isinstance(d, str) else d for d in shape)
