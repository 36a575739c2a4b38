"""What capture gives back: a float model in layer form, and how samples are fed to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.runtime.indices import check_indices

__all__ = ["CapturedModel", "InputSpec"]


@dataclass(frozen=True)
class InputSpec:
    """One input of the float model.

    Attributes:
        name: the user's name.
        dtype: NumPy's name of the element type: ``float32``, or ``int64`` or ``int32`` of indices.
        shape: the model's dimensions; ``"batch"`` and ``"time"`` are symbolic.
        batch_axis: the axis of the samples in the model's layout.
        time_axis: the axis of the steps in the model's layout, ``None`` where the input has none.
        index_count: of indices, the rows of the smallest table that they go into; ``None`` of real values.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    batch_axis: int
    time_axis: int | None
    index_count: int | None = None

    def arrange(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Samples [N, ...] in the model's layout: axis 0 is moved to ``batch_axis``, as ``dtype``.

        Raises:
            InvalidInputError: indices that are no integers, or outside the table.
        """
        if self.index_count is not None:
            check_indices(samples, self.index_count, f"input {self.name!r}")
        return np.ascontiguousarray(np.moveaxis(samples, 0, self.batch_axis), dtype=self.dtype)


@dataclass(frozen=True)
class CapturedModel:
    """A float model in layer form (functions of the domain ``qdeploy.float`` and layout operators).

    Attributes:
        model: opset 18, IR 10; onnxruntime loads it as it is.
        inputs: in the order of the graph's inputs.
        outputs: names in the order of the graph's outputs.
        batch_axis: of the inputs and outputs that have a time axis (0 for all others).
        time_axis: of the inputs that have one; ``None`` where no input has.
        notes: what capture removed or assumed, a sentence each.
        source: where the model came from: a class's path, a file's name.
        error: the greatest absolute difference to the source that was seen when it was checked.
    """

    model: onnx.ModelProto = field(repr=False)
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    batch_axis: int
    time_axis: int | None
    notes: tuple[str, ...]
    source: str
    error: float

    def arrange(self, samples: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Feeds of the model from samples [N, ...], by the inputs' names."""
        return {spec.name: spec.arrange(samples[spec.name]) for spec in self.inputs}
