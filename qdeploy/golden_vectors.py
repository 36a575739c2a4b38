"""Golden vectors of a bundle: inputs, states and what the reference makes of them, which every runtime must repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.reference import ReferenceModel

if TYPE_CHECKING:
    from qdeploy.capture.captured import CapturedModel
    from qdeploy.quantize import IntegerModel

__all__ = ["golden_vectors"]

SAMPLES = 2
STEPS = 64


def golden_vectors(
    model: onnx.ModelProto,
    captured: CapturedModel,
    integers: IntegerModel,
    feeds: Mapping[str, NDArray[Any]],
    *,
    float_io: bool,
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Two cases: ``samples``, of calibration, with states of 0, and ``random``, integers and states over their whole ranges.

    Args:
        model: with operators that the reference computes.
        captured: where the axes of batch and time lie.
        integers: types of inputs and states.
        feeds: calibration samples, by the inputs' names; at most SAMPLES of them and STEPS steps are taken.
        float_io: whether the model's borders are float32; the inputs are then the values of these integers.
        seed: of the random case.

    Returns:
        Arrays by ``CASE/input/NAME`` and ``CASE/output/NAME``, states among them.
    """
    reference = ReferenceModel(model)
    generator = np.random.default_rng(seed)
    cases: dict[str, dict[str, NDArray[Any]]] = {"samples": {}, "random": {}}
    types = integers.graph.types
    for spec in captured.inputs:
        if spec.name not in integers.inputs:
            continue
        real = np.take(
            feeds[spec.name], range(min(SAMPLES, feeds[spec.name].shape[spec.batch_axis])), axis=spec.batch_axis
        )
        if spec.time_axis is not None:
            real = np.take(real, range(min(STEPS, real.shape[spec.time_axis])), axis=spec.time_axis)
        found = types[spec.name]
        dtype = np.dtype(found.dtype)
        low, high = (found.low, found.high) if found.is_index else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        quantized = real if found.is_index else quantize_input(real, found.scale, found.zero_point, dtype)
        cases["samples"][spec.name] = quantized
        cases["random"][spec.name] = generator.integers(low, high, quantized.shape, dtype, endpoint=True)
    first = next(spec for spec in captured.inputs if spec.name in integers.inputs)
    batch = cases["samples"][first.name].shape[first.batch_axis]
    for state in integers.graph.states:
        shape = (batch, state.size)
        cases["samples"][state.input] = np.full(shape, state.type.zero_point, state.type.dtype)
        cases["random"][state.input] = generator.integers(
            state.type.low, state.type.high, shape, np.dtype(state.type.dtype), endpoint=True
        )
    arrays: dict[str, NDArray[Any]] = {}
    for case, inputs in cases.items():
        fed = _as_float(inputs, integers) if float_io else inputs
        for name, array in fed.items():
            arrays[f"{case}/input/{name}"] = array
        for name, array in reference.run(fed).outputs.items():
            arrays[f"{case}/output/{name}"] = array
    return arrays


def _as_float(inputs: Mapping[str, NDArray[Any]], integers: IntegerModel) -> dict[str, NDArray[Any]]:
    types = {**integers.graph.types, **{state.input: state.type for state in integers.graph.states}}
    return {
        name: array if types[name].is_index else dequantize(array, types[name].scale, types[name].zero_point)
        for name, array in inputs.items()
    }
