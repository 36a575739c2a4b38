"""The float network as onnxruntime's own static quantization writes it: what sizes, times and accuracies are compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .expanded_float import expanded_float

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["quantized_statically"]

SAMPLES_AT_A_TIME = 32


def quantized_statically(
    model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]], batch_axes: Mapping[str, int]
) -> onnx.ModelProto:
    """``quantize_static`` in its QDQ form of a captured float model, quaternion matrices in full.

    Weights are int8 with a scale a channel, activations uint8, ranges by minimum and maximum: what its documentation recommends
    for x86 processors, and the counterpart of the default recipe.

    Args:
        model: in layer form, as ``qdeploy.capture`` gives it.
        feeds: calibration samples in the model's layout.
        batch_axes: the axis of samples of each input.
    """
    from onnx.inliner import inline_local_functions
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
        def __init__(self) -> None:
            self._parts = _parts(feeds, batch_axes)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._parts, None)

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in ("float", "prepared", "static"))
        onnx.save(inline_local_functions(expanded_float(model)), source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


def _parts(feeds: Mapping[str, NDArray[Any]], batch_axes: Mapping[str, int]) -> Iterator[dict[str, NDArray[Any]]]:
    """The samples, some at a time."""
    count = min(array.shape[batch_axes[name]] for name, array in feeds.items())
    for start in range(0, count, SAMPLES_AT_A_TIME):
        stop = min(count, start + SAMPLES_AT_A_TIME)
        yield {name: np.take(array, range(start, stop), batch_axes[name]) for name, array in feeds.items()}
