"""Layers of one quantized operator whose accumulators are known, and hit ties, both signs and the ends of int32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.litert_rules import CONVOLUTION, DEPTHWISE, FULLY_CONNECTED, KernelUse
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.rounding import requantize

__all__ = ["ProbeLayer", "layers"]

_PLACES = 3
"""Height and width of a convolution's result."""
_BITS = (1, 8, 15, 24)
"""Of multipliers: one has exact ties everywhere, 24 are what single precision holds."""
_SPREAD = 6
_FULLY_CONNECTED_SIZES = ((7, 5), (64, 64), (3, 16), (4, 8), (33, 17), (170, 170))
_ENDS = (2**31 - 2**20, -(2**31) + 2**20, 2**24, -(2**24), 0)
"""Biases near the ends of int32, of which products stay apart, and where single precision ends."""


@dataclass(frozen=True)
class ProbeLayer:
    """A file of one operator, inputs for it, and what it has to round.

    Attributes:
        use: the operator and its sizes.
        content: the file.
        x: int8 ``[runs, *input]``.
        accumulator: int64 ``[runs, *output]``.
        multiplier, shift: of each output.
        zero_point: of the output.
    """

    use: KernelUse
    content: bytes
    x: NDArray[np.int8]
    accumulator: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: int
    zero_point: int

    def expected(self, rule: str) -> IntArray:
        """What a kernel of this rule gives, int8."""
        wide = requantize(self.accumulator, self.multiplier, self.shift, self.zero_point, -128, 127, rounding=rule)
        return wide.astype(np.int8)


def layers(runs: int = 8, seed: int = 0) -> Iterator[ProbeLayer]:
    """Layers of every operator: odd and even sizes, one row and eight, weights per tensor and per channel.

    Args:
        runs: inputs of each.
        seed: of all that is drawn.
    """
    generator = np.random.default_rng(seed)
    for batch in (1, 8):
        for bits in _BITS:
            for depth in (-2, 2, 9, 16):
                for per_channel in (False, True):
                    drawn = (bits, depth, per_channel, batch, runs, generator)
                    for outputs, inputs in _FULLY_CONNECTED_SIZES:
                        yield _layer(FULLY_CONNECTED, (outputs, inputs), *drawn)
                    for kernel, inputs in ((1, 5), (1, 16), (3, 3)):
                        yield _layer(CONVOLUTION, (int(generator.choice([7, 16])), kernel, kernel, inputs), *drawn)
                    for channels in (3, 16, 21):
                        yield _layer(DEPTHWISE, (1, 3, 3, channels), *drawn)


def _layer(
    operator: str,
    shape: tuple[int, ...],
    bits: int,
    depth: int,
    per_channel: bool,
    batch: int,
    runs: int,
    generator: np.random.Generator,
) -> ProbeLayer:
    outputs = shape[-1] if operator == DEPTHWISE else shape[0]
    count = outputs if per_channel else 1
    multiplier, shift = _multipliers(bits, depth, count, generator)
    ratio = np.broadcast_to(multiplier / 2.0**shift, outputs)
    weight = generator.integers(-3, 4, shape).astype(np.int8)
    x_zero_point, zero_point = int(generator.integers(-128, 128)), int(generator.integers(-100, 100))
    # Half-way between two results, as near as an accumulator of each output comes; a quarter lie elsewhere.
    half_way = np.rint((generator.integers(-140, 140, outputs) + 0.5) / ratio)
    ends = np.array(_ENDS if depth > 0 else (0, 1, -1))
    bias = np.where(generator.random(outputs) < 1 / 4, generator.choice(ends, outputs), half_way)
    bias = np.clip(bias, _ENDS[1], _ENDS[0]).astype(np.int64)
    size = (batch, shape[1]) if operator == FULLY_CONNECTED else (batch, *[_PLACES + shape[1] - 1] * 2, shape[-1])
    x = np.clip(x_zero_point + generator.integers(-40, 41, (runs, *size)), -128, 127).astype(np.int8)
    accumulator = _sums(operator, x.astype(np.int64) - x_zero_point, weight.astype(np.int64)) + bias
    use = KernelUse(
        f"{operator} {list(shape)}",
        operator,
        "",
        outputs=outputs,
        inputs=shape[1] if operator == FULLY_CONNECTED else 0,
        rows=batch if operator == FULLY_CONNECTED else None,
    )
    scale = [float(m) for m in multiplier / 2.0**shift]
    content = _file(operator, weight, bias, scale, x_zero_point, zero_point, size, accumulator.shape[1:])
    return ProbeLayer(use, content, x, accumulator, np.broadcast_to(multiplier, outputs), shift, zero_point)


def _multipliers(bits: int, depth: int, count: int, generator: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Multipliers of so many bits, and their shift: ratios between 2^-(depth + 7) and 2^-depth."""
    odd = generator.integers(1 << (bits - 1), 1 << bits, count) | 1
    places = generator.integers(0, _SPREAD + 1, count)
    shift = max(0, bits + depth + _SPREAD)
    return (odd << places).astype(np.int64), shift


def _sums(operator: str, x: IntArray, weight: IntArray) -> NDArray[np.int64]:
    """W x, or of each place of an image."""
    if operator == FULLY_CONNECTED:
        sums: NDArray[np.int64] = x @ weight.T
        return sums
    kernel = weight.shape[1]
    parts = []
    for row in range(kernel):
        for column in range(kernel):
            window = x[:, :, row : row + _PLACES, column : column + _PLACES]
            tap = weight[:, row, column]
            parts.append(window * tap[0] if operator == DEPTHWISE else window @ tap.T)
    return np.sum(parts, axis=0, dtype=np.int64)


def _file(
    operator: str,
    weight: IntArray,
    bias: IntArray,
    scale: list[float],
    x_zero_point: int,
    zero_point: int,
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
) -> bytes:
    """The file: scales of input and output are 1, so that those of the weights are the multipliers."""
    writer = ModelWriter("A layer of one quantized operator")
    number, graph = writer.subgraph("main")
    x = graph.input("x", np.int8, x_shape, scale=1.0, zero_point=x_zero_point)
    axis = 3 if operator == DEPTHWISE else 0
    held = [
        graph.constant(weight, np.int8, scale=scale, scaled_axis=axis),
        graph.constant(bias, np.int32, scale=scale),
    ]
    y = graph.tensor("y", np.int8, y_shape, scale=1.0, zero_point=zero_point)
    options = dict.fromkeys(("stride_w", "stride_h", "dilation_w", "dilation_h"), 1) | {"padding": 1}
    if operator == FULLY_CONNECTED:
        options = {}
    elif operator == DEPTHWISE:
        options["depth_multiplier"] = 1
    graph.add_several(operator, [x, *held], [y], **options)
    graph.output(y)
    writer.signature("main", number, {"x": x}, {"y": y})
    return writer.to_bytes()
