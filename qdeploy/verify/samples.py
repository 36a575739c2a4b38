"""Real samples for verify: arrays, the file that holds them, or the name of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.indices import check_indices

if TYPE_CHECKING:
    from qdeploy.runtime.manifest import InputSpec, Manifest

__all__ = ["read_samples"]

Array = npt.NDArray[Any]


def read_samples(data: Any, manifest: Manifest, limit: int) -> dict[str, Array]:
    """At most ``limit`` samples by input name.

    ``data``: arrays by input name ("x" where there is one input; others, such as labels, are left aside), one array,
    the path of an .npy or .npz file, or a data set's name.

    Raises InvalidInputError for an input without samples, or samples of another rank or other fixed dimensions.
    """
    arrays = _named(data, manifest, limit)
    samples: dict[str, Array] = {}
    for spec in manifest.inputs:
        names = [spec.name, spec.float_name, *(["x", ""] if len(manifest.inputs) == 1 else [])]
        array = next((arrays[name] for name in names if name in arrays), None)
        if array is None:
            msg = f"the data hold {', '.join(sorted(arrays)) or 'nothing'}, expected an array {spec.name!r}"
            raise InvalidInputError(msg)
        _check(spec, array)
        samples[spec.name] = np.take(array, np.arange(min(limit, _batch(spec, array))), _axis(spec))
    if len({_batch(spec, samples[spec.name]) for spec in manifest.inputs}) != 1:
        sizes = ", ".join(f"{spec.name} {_batch(spec, samples[spec.name])}" for spec in manifest.inputs)
        msg = f"the data hold different numbers of samples: {sizes}"
        raise InvalidInputError(msg)
    return samples


def _named(data: Any, manifest: Manifest, limit: int) -> dict[str, Array]:
    specs = manifest.inputs
    if isinstance(data, Mapping):
        return {str(name): np.asarray(array) for name, array in data.items()}
    if isinstance(data, (str, Path)):
        if Path(data).suffix in {".npy", ".npz"}:
            from qdeploy.arrays import read_arrays

            return read_arrays(data)
        from qdeploy.datasets import load
        from qdeploy.text_form import TextForm

        form = TextForm.of_bundle(manifest)
        x = load(str(data), limit=limit, vocabulary=form.known(), indices=form.indices).x
        # A data set has its samples along the first axis, a model perhaps its steps.
        return {"x": np.moveaxis(x, 0, _axis(specs[0])) if x.ndim == len(specs[0].shape) else x}
    return {"x": np.asarray(data)}


def _axis(spec: InputSpec) -> int:
    return spec.shape.index("batch") if "batch" in spec.shape else 0


def _batch(spec: InputSpec, array: Array) -> int:
    return int(array.shape[_axis(spec)])


def _check(spec: InputSpec, array: Array) -> None:
    fits = array.ndim == len(spec.shape) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(spec.shape, array.shape, strict=False)
    )
    if not fits or array.size == 0 or array.dtype.kind not in "iuf":
        expected = f"numbers [{', '.join(map(str, spec.shape))}]"
        msg = f"input {spec.name!r}: the data are {array.dtype}{list(array.shape)}, expected {expected}, not empty"
        raise InvalidInputError(msg)
    if spec.vocabulary_size is not None:
        check_indices(array, spec.vocabulary_size, f"input {spec.name!r}")
