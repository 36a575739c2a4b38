"""Samples from wherever they come, the float model's answers to them, and the hash that ties the two together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.batches import samples_at_once
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.text_form import TextForm

if TYPE_CHECKING:
    from qdeploy.capture.captured import CapturedModel

Progress = Callable[[str, int, int], None]

BATCH = 250


@dataclass(frozen=True)
class Samples:
    """Samples by input name, axis 0 is samples.

    Attributes:
        inputs: arrays of floats, or of integers where a network takes indices; the one array of an ``.npy`` file or of a
            named set is called ``x``.
        labels: what the network should answer, or None.
        source: a data set's name, a file, or ``arrays``.
        named_set: whether ``source`` names a data set, which has splits.
        form: as ``load_samples`` was given it.
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[Any] | None
    source: str
    named_set: bool = False
    form: TextForm = field(default_factory=TextForm)

    def named(self, captured: CapturedModel) -> dict[str, NDArray[Any]]:
        """The arrays by the model's input names: a single array serves a single input whatever it is called."""
        names = [spec.name for spec in captured.inputs]
        if len(names) == 1 and len(self.inputs) == 1:
            return {names[0]: next(iter(self.inputs.values()))}
        missing = [name for name in names if name not in self.inputs]
        if missing:
            raise InvalidInputError(
                f"the samples hold {sorted(self.inputs)}; the model's inputs {missing} are missing."
            )
        return {name: self.inputs[name] for name in names}


def load_samples(data: Any, split: str, limit: int | None, form: TextForm | None = None) -> Samples:
    """Samples from arrays, a file or a named data set.

    Args:
        data: a mapping of arrays (``y`` holds labels), one array, an ``.npy`` or ``.npz`` path, a data set's name, or the
            path of a text.
        split: ``train`` or ``test``, of a named set.
        limit: at most so many samples, from the start.
        form: how the model takes a text, by default one-hot with the text's own vocabulary.

    Raises:
        InvalidInputError: empty, not numeric, NaN, or of different lengths.
        InvalidFileError, MissingDataError: what the file or the set lacks.
    """
    named_set, form = False, form or TextForm()
    if isinstance(data, Samples):
        return data
    if isinstance(data, str | Path) and Path(data).suffix not in (".npy", ".npz"):
        from qdeploy import datasets

        found = datasets.load(str(data), split, limit, form.known(), indices=form.indices)
        arrays: dict[str, NDArray[Any]] = {"x": found.x, "y": found.y}
        source, named_set = str(data), True
    elif isinstance(data, str | Path):
        from qdeploy.arrays import read_arrays

        arrays, source = read_arrays(data), str(data)
    elif isinstance(data, Mapping):
        arrays, source = {str(name): np.asarray(array) for name, array in data.items()}, "arrays"
    else:
        arrays, source = {"x": np.asarray(data)}, "arrays"
    labels = arrays.pop("y", None) if len(arrays) > 1 else None
    if labels is not None and (labels.ndim == 0 or labels.dtype.kind not in "fiub"):
        raise InvalidInputError(
            f"{source}: y is {labels.dtype} of shape {list(labels.shape)}; expected numbers, one or more a sample."
        )
    if "" in arrays:
        arrays["x"] = arrays.pop("")
    inputs = {name: _checked(name, array, source)[:limit] for name, array in arrays.items()}
    lengths = {name: len(array) for name, array in inputs.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInputError(f"{source}: the arrays have different numbers of samples: {lengths}.")
    return Samples(inputs, None if labels is None else labels[:limit], source, named_set, form)


def evaluation_samples(calibration: Samples, evaluation: Any, limit: int) -> Samples:
    """What the float baseline is taken on: ``evaluation``, the test split of a named set, or the calibration samples."""
    if evaluation is not None:
        return load_samples(evaluation, "test", limit, calibration.form)
    if calibration.named_set:
        return load_samples(calibration.source, "test", limit, calibration.form)
    return calibration


def data_sha256(inputs: Mapping[str, NDArray[Any]]) -> str:
    """The hash of samples: of their shapes and float32 values, in order; names do not count where there is one array."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name], dtype=np.float32)
        digest.update(f"{name if len(inputs) > 1 else ''}{list(array.shape)}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def run_float(
    model: onnx.ModelProto,
    feeds: Mapping[str, NDArray[Any]],
    captured: CapturedModel,
    *,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The float model's outputs, samples on axis 0, computed by onnxruntime in batches."""
    from qdeploy.capture.session import FloatSession

    session = FloatSession(model)
    axes = {spec.name: spec.batch_axis for spec in captured.inputs}
    count = next(feeds[name].shape[axis] for name, axis in axes.items())
    parts: dict[str, list[NDArray[np.float32]]] = {}
    axis_of = {value.name: output_batch_axis(value) for value in model.graph.output}
    size = samples_at_once({name: feeds[name] for name in axes}, count, BATCH)
    for start in range(0, count, size):
        rows = range(start, min(start + size, count))
        batch = {name: np.ascontiguousarray(array.take(rows, axis=axes[name])) for name, array in feeds.items()}
        for name, array in session.run(batch).items():
            parts.setdefault(name, []).append(np.moveaxis(array, axis_of[name], 0))
        if progress:
            progress("evaluate the float model", min(start + size, count), count)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def output_batch_axis(value: onnx.ValueInfoProto) -> int:
    """Where an output has its samples: the axis called ``batch``, else the first."""
    names = [dimension.dim_param for dimension in value.type.tensor_type.shape.dim]
    return names.index("batch") if "batch" in names else 0


def _checked(name: str, array: NDArray[Any], source: str) -> NDArray[Any]:
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{source}: array {name or 'x'!r} is {array.dtype}; expected numbers.")
    # One index a sample needs no second axis.
    if array.ndim < (1 if array.dtype.kind in "iu" else 2) or len(array) == 0:
        raise InvalidInputError(
            f"{source}: array {name or 'x'!r} has shape {list(array.shape)}; expected [samples, ...] with at least one sample."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(
            f"{source}: array {name or 'x'!r} holds {array[place]} at index {place}; expected finite numbers."
        )
    return array
