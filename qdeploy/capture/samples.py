"""Sample inputs: they name the model's inputs and give their types and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

__all__ = [
    "INTEGERS_ARE_INDICES",
    "check_samples",
    "check_time_axis",
    "is_indices",
    "is_sequence",
    "model_axes",
    "some_samples",
    "step_count",
]

INTEGERS_ARE_INDICES = (
    "integers are taken for indices of an embedding; scale other integer data as in training and convert it with "
    ".astype('float32')"
)


def check_samples(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The samples as float32 arrays; integers, which are indices of an embedding, as int32 where they are and else as int64.

    Raises:
        InvalidInputError: no array, no sample, another number of samples than the first array's, values that are neither
            real floating-point numbers nor integers, NaN and infinite ones.
    """
    if not inputs:
        raise InvalidInputError("sample inputs: found none, expected one array [samples, ...] for each model input")
    samples: dict[str, NDArray[Any]] = {}
    count = None
    for name, given in inputs.items():
        array = np.asarray(given)
        indices = array.dtype.kind in "iu"
        if not indices and array.dtype not in (np.float16, np.float32, np.float64):
            raise InvalidInputError(
                f"sample input {name!r}: found dtype {array.dtype}, expected float32, or int64 for indices of an embedding"
            )
        # One index a sample needs no second axis.
        if array.ndim < (1 if indices else 2) or 0 in array.shape:
            raise InvalidInputError(
                f"sample input {name!r}: found shape {list(array.shape)}, expected [samples, ...] of at least "
                "two axes and one sample; add the axis of the samples with array[None]"
            )
        if count is not None and array.shape[0] != count:
            raise InvalidInputError(
                f"sample input {name!r}: found {array.shape[0]} samples, expected {count} as in the first input"
            )
        count = array.shape[0]
        if not np.isfinite(array).all():
            raise InvalidInputError(f"sample input {name!r}: found NaN or infinite values; remove these samples")
        kept = np.int32 if array.dtype == np.int32 else np.int64
        samples[name] = array.astype(kept if indices else np.float32)
    return samples


def check_time_axis(time_axis: int | None) -> None:
    """Raises InvalidInputError for a time axis other than ``None``, 0 and 1."""
    if time_axis not in (None, 0, 1):
        raise InvalidInputError(
            f"time_axis={time_axis!r}: expected 1 for [batch, time, ...] or 0 for [time, batch, ...]"
        )


def is_indices(array: NDArray[Any]) -> bool:
    """Whether checked samples are indices of an embedding."""
    return bool(array.dtype.kind == "i")


def step_count(samples: Mapping[str, NDArray[Any]]) -> int | None:
    """The number of time steps of the sequences: that of the first one, ``None`` where there is none.

    Sequences are ``[samples, time, features]``, or of indices ``[samples, time]``.
    """
    return next((array.shape[1] for array in samples.values() if _has_steps(array)), None)


def _has_steps(array: NDArray[Any]) -> bool:
    return array.ndim == 3 or (array.ndim == 2 and is_indices(array))


def is_sequence(samples: Mapping[str, NDArray[Any]], name: str) -> bool:
    """Whether an input is a sequence: of the rank of one, with as many steps as the first one.

    Another input of rank 3 is a stack of initial states, ``[samples, layers and directions, units]``; other indices of rank
    2 are several of each sample.
    """
    array = samples[name]
    return _has_steps(array) and array.shape[1] == step_count(samples)


def model_axes(samples: Mapping[str, NDArray[Any]], name: str, time_axis: int | None) -> tuple[int, int | None]:
    """The batch axis and the time axis of one input in the model's layout; only sequences have a time axis.

    Stacks of initial states are ``[layers and directions, batch, units]`` in the model, as torch and ONNX have them.
    """
    if time_axis is None or not _has_steps(samples[name]):
        return 0, None
    if is_sequence(samples, name):
        return 1 - time_axis, time_axis
    return (0 if is_indices(samples[name]) else 1), None


def some_samples(
    samples: Mapping[str, NDArray[Any]], *, count: int, time_axis: int | None, steps: int | None
) -> dict[str, NDArray[Any]]:
    """``count`` samples of ``steps`` steps (repeated where there are fewer), in the model's layout."""
    arranged = {}
    for name, array in samples.items():
        batch_axis, input_time_axis = model_axes(samples, name, time_axis)
        some = np.take(array, np.arange(count) % array.shape[0], axis=0)
        if steps is not None and input_time_axis is not None:
            some = np.take(some, np.arange(steps) % array.shape[1], axis=1)
        arranged[name] = np.ascontiguousarray(np.moveaxis(some, 0, batch_axis))
    return arranged
