"""Sample inputs: they name the model's inputs and give their types and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["check_samples", "check_time_axis", "is_sequence", "model_axes", "some_samples", "step_count"]


def check_samples(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The samples as float32 arrays.

    Raises:
        InvalidInputError: no array, no sample, another number of samples than the first array's, values that are not
            real floating-point numbers, or NaN and infinite ones.
    """
    if not inputs:
        raise InvalidInputError("sample inputs: found none, expected one array [samples, ...] for each model input")
    samples: dict[str, NDArray[np.float32]] = {}
    count = None
    for name, given in inputs.items():
        array = np.asarray(given)
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise InvalidInputError(
                f"sample input {name!r}: found dtype {array.dtype}, expected float32; "
                "scale integer data as in training and convert it with .astype('float32'); token indices of an embedding go in "
                "as one-hot vectors"
            )
        if array.ndim < 2 or 0 in array.shape:
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
        samples[name] = array.astype(np.float32)
    return samples


def check_time_axis(time_axis: int | None) -> None:
    """Raises InvalidInputError for a time axis other than ``None``, 0 and 1."""
    if time_axis not in (None, 0, 1):
        raise InvalidInputError(
            f"time_axis={time_axis!r}: expected 1 for [batch, time, ...] or 0 for [time, batch, ...]"
        )


def step_count(samples: Mapping[str, NDArray[Any]]) -> int | None:
    """The number of time steps of the sequences ``[samples, time, features]``: that of the first input of rank 3."""
    return next((array.shape[1] for array in samples.values() if array.ndim == 3), None)


def is_sequence(samples: Mapping[str, NDArray[Any]], name: str) -> bool:
    """Whether an input is a sequence: of rank 3, with as many steps as the first one.

    Another input of rank 3 is a stack of initial states, ``[samples, layers and directions, units]``.
    """
    array = samples[name]
    return array.ndim == 3 and array.shape[1] == step_count(samples)


def model_axes(samples: Mapping[str, NDArray[Any]], name: str, time_axis: int | None) -> tuple[int, int | None]:
    """The batch axis and the time axis of one input in the model's layout; only sequences have a time axis.

    Stacks of initial states are ``[layers and directions, batch, units]`` in the model, as torch and ONNX have them.
    """
    if samples[name].ndim != 3 or time_axis is None:
        return 0, None
    return (1 - time_axis, time_axis) if is_sequence(samples, name) else (1, None)


def some_samples(
    samples: Mapping[str, NDArray[np.float32]], *, count: int, time_axis: int | None, steps: int | None
) -> dict[str, NDArray[np.float32]]:
    """``count`` samples of ``steps`` steps (repeated where there are fewer), in the model's layout."""
    arranged = {}
    for name, array in samples.items():
        batch_axis, input_time_axis = model_axes(samples, name, time_axis)
        some = np.take(array, np.arange(count) % array.shape[0], axis=0)
        if steps is not None and input_time_axis is not None:
            some = np.take(some, np.arange(steps) % array.shape[1], axis=1)
        arranged[name] = np.ascontiguousarray(np.moveaxis(some, 0, batch_axis))
    return arranged
