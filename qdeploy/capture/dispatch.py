"""``capture``: any model that qdeploy takes becomes a checked float model in layer form."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.runtime.errors import (
    CheckFailedError,
    InvalidFileError,
    InvalidInputError,
    MissingRequirementError,
    QdeployError,
    UnsupportedModelError,
)
from qdeploy.runtime.indices import check_indices

from .captured import CapturedModel, InputSpec
from .checkpoint_source import load_named
from .comparison import Run, compare
from .dimensions import BATCH, TIME, free_dimensions, has_recurrence, layout_time_axis, match_inputs, measure_outputs
from .index_inputs import index_counts
from .onnx_file import read_onnx
from .passes import Canonical, canonicalize
from .samples import (
    INTEGERS_ARE_INDICES,
    check_samples,
    check_time_axis,
    is_indices,
    is_sequence,
    model_axes,
    some_samples,
    step_count,
)
from .session import FloatSession, SessionError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["capture"]

# Numbers of samples of the two runs that check a captured model. They grow where the numbers of steps fall, so that an
# output's axis cannot be taken for the other one.
_CHECKED_SAMPLES = (2, 5)
# Numbers of one input in such a run.
_LARGEST_CHECK = 1 << 26


@dataclass(frozen=True)
class _Source:
    """Where a model came from, and how to run it.

    Attributes:
        name: for messages.
        run: feeds in the model's layout to outputs by name.
        batch: the number of samples that each run takes, ``None`` where it is free.
        steps: the number of steps that each run takes, ``None`` where it is free.
        double: ``run`` in float64, where there is such a thing.
    """

    name: str
    run: Run
    batch: int | None = None
    steps: int | None = None
    double: Run | None = None


def capture(
    model: nn.Module | str | os.PathLike[str],
    inputs: Mapping[str, NDArray[Any]],
    *,
    weights: str | os.PathLike[str] | None = None,
    time_axis: int | None = None,
) -> CapturedModel:
    """Captures ``model`` as a float ONNX model of layer-sized operators, and compares the two at once.

    Args:
        model: a torch module (it is not changed), the path of a float ``.onnx`` file, or a checkpoint of
            ``qdeploy.models``: its path, its path without the ending, or the name of a shipped one.
        inputs: sample inputs [samples, ...] by the names that the model's inputs shall have. Where all of them are
            parameters of ``forward`` they are given by name, otherwise in order; a file's have its names.
        weights: a file of weights for a torch module (``load_weights``).
        time_axis: the axis of the steps in the model's inputs of rank 3: 1 is [batch, time, features], 0 is
            [time, batch, features]; samples are [samples, time, features] in both, and [samples, time] of indices, which
            are integers for an embedding. ``None`` is 1 where a torch module has a recurrent layer, and what the graph shows
            for a file.

    Raises:
        UnsupportedModelError: the model holds something that qdeploy does not support.
        InvalidInputError: samples or arguments that cannot be used.
        InvalidFileError: a file that cannot be used.
        CheckFailedError: the captured model computes something else than its source.
    """
    samples = check_samples(inputs)
    check_time_axis(time_axis)
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.suffix == ".onnx":
            if weights is not None:
                raise InvalidInputError(f"{path}: found weights={os.fspath(weights)!r}, but an ONNX file holds its own")
            return _capture_file(path, samples, time_axis)
        module = load_named(path).module
        return _capture_module(module, samples, time_axis, weights, source=path.name)
    return _capture_module(model, samples, time_axis, weights, source=type(model).__qualname__)


def _capture_module(
    module: nn.Module,
    samples: Mapping[str, NDArray[Any]],
    time_axis: int | None,
    weights: str | os.PathLike[str] | None,
    *,
    source: str,
) -> CapturedModel:
    try:
        import torch
    except ImportError as error:
        raise MissingRequirementError(
            "torch is not installed, which captures modules; install it with: pip install 'qdeploy[torch]'"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise InvalidInputError(
            f"model: found {type(module).__name__}, expected a torch.nn.Module, the path of an .onnx file or a "
            "checkpoint"
        )
    from .torch_route import export_torch

    if weights is not None:
        from .user_module import load_weights

        module = copy.deepcopy(module)
        load_weights(module, weights)
    exported = export_torch(module, samples, time_axis, source)
    canonical = canonicalize(exported.model, unrolled=exported.unrolled)
    origin = _Source(source, exported.run, double=exported.run_double)
    return _check(canonical, origin, samples, exported.time_axis, exported.notes)


def _capture_file(path: Path, samples: Mapping[str, NDArray[Any]], time_axis: int | None) -> CapturedModel:
    model = read_onnx(path)
    samples = match_inputs(model, samples, str(path))
    canonical = _canonicalize_file(model, path)
    if time_axis is None and has_recurrence(canonical.model) and step_count(samples) is not None:
        time_axis = layout_time_axis(canonical.model)
    batch, steps = _fixed_sizes(model, samples, time_axis, path)
    try:
        session = FloatSession(model)
    except SessionError as error:
        raise InvalidFileError(f"{path}: onnxruntime cannot load it: {error}; export the model again") from error
    return _check(canonical, _Source(str(path), session.run, batch, steps), samples, time_axis, ())


def _canonicalize_file(model: onnx.ModelProto, path: Path) -> Canonical:
    """Canonicalizes a file's model; onnx's checker passes files that contradict themselves in attributes or shapes."""
    try:
        return canonicalize(model)
    except QdeployError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:
        raise InvalidFileError(
            f"{path}: the model contradicts itself ({type(error).__name__}: {str(error)[:200]}); export it again"
        ) from error


def _fixed_sizes(
    model: onnx.ModelProto, samples: Mapping[str, NDArray[Any]], time_axis: int | None, path: Path
) -> tuple[int | None, int | None]:
    """The numbers of samples and of steps that a file's inputs fix.

    Raises:
        InvalidInputError: samples of another size along any other axis.
    """
    batch: int | None = None
    steps: int | None = None
    for value in model.graph.input:
        if value.name not in samples:
            continue
        sizes = [one.dim_value or None for one in value.type.tensor_type.shape.dim]
        batch_axis, input_time_axis = model_axes(samples, value.name, time_axis)
        if batch_axis < len(sizes):
            batch = sizes[batch_axis] or batch
        if input_time_axis is not None and input_time_axis < len(sizes):
            steps = sizes[input_time_axis] or steps
        given = np.moveaxis(samples[value.name][:1], 0, batch_axis).shape
        for axis, (size, found) in enumerate(zip(sizes, given, strict=False)):
            if axis not in {batch_axis, input_time_axis} and size is not None and size != found:
                raise InvalidInputError(
                    f"{path}: sample input {value.name} has {found} values along axis {axis} of the model's layout, "
                    f"expected {size}"
                )
    for name, array in samples.items():
        # Two runs are compared, the larger one of _CHECKED_SAMPLES[1] batches.
        length = array.shape[1] if time_axis is not None and is_sequence(samples, name) else 1
        size = array[0].size // length * (steps or length) * (batch or 1) * _CHECKED_SAMPLES[1]
        if size > _LARGEST_CHECK:
            raise UnsupportedModelError(
                f"{path}: input {name} fixes {batch or 1} samples and {steps or length} steps, {size} numbers to check it with, "
                f"expected at most {_LARGEST_CHECK}; export the model with free dimensions"
            )
    return batch, steps


def _check(
    canonical: Canonical,
    source: _Source,
    samples: Mapping[str, NDArray[Any]],
    time_axis: int | None,
    notes: Sequence[str],
) -> CapturedModel:
    """Frees the dimensions and compares; a model that needs all its steps keeps their number."""
    if time_axis is None and has_recurrence(canonical.model) and step_count(samples) is not None:
        time_axis = 1
    names = [value.name for value in canonical.model.graph.input if value.name in samples]
    if len(names) != len(samples):
        lost = ", ".join(sorted(set(samples) - set(names)))
        raise InvalidInputError(f"{source.name}: inputs {lost} have no influence on the outputs; leave them out")
    counts = _index_counts(canonical.model, samples, source.name)
    captured: CapturedModel | None = None
    failure: Exception | None = None
    given = step_count(samples)
    # A file that needs the number of steps it was made for takes no samples of another.
    may_fix = time_axis is None or source.steps in {None, given}
    for free_time in [*([True] if time_axis is not None else []), *([False] if may_fix else [])]:
        specs = [_spec(name, samples, time_axis, counts.get(name), free_time=free_time) for name in names]
        try:
            captured = _compare(canonical, source, samples, specs, time_axis, free_time=free_time)
        except (SessionError, CheckFailedError, InvalidInputError) as error:
            failure = error
            continue
        break
    if captured is None:
        if isinstance(failure, SessionError) and not may_fix:
            raise InvalidInputError(
                f"{source.name}: sample inputs have {given} steps, expected {source.steps} as the model fixes them"
            ) from failure
        if isinstance(failure, SessionError):
            raise UnsupportedModelError(
                f"{source.name}: the captured graph does not run with other numbers of samples ({failure}); export it "
                "with a "
                "free batch dimension and without sizes as constants"
            ) from failure
        raise failure if failure is not None else AssertionError("no attempt was made")
    added = [*notes, *canonical.notes]
    if time_axis is not None and not any(TIME in spec.shape for spec in captured.inputs):
        added.append("the number of steps is fixed: the model does not run with another one")
    return CapturedModel(
        captured.model,
        captured.inputs,
        captured.outputs,
        captured.batch_axis,
        captured.time_axis,
        tuple(added),
        captured.source,
        captured.error,
    )


def _index_counts(model: onnx.ModelProto, samples: Mapping[str, NDArray[Any]], source: str) -> dict[str, int]:
    """How many rows the tables have that integer inputs index.

    Raises:
        InvalidInputError: integers that no embedding reads, or that are no rows of its table.
    """
    counts = index_counts(model)
    for name, array in samples.items():
        if not is_indices(array):
            continue
        if name not in counts:
            raise InvalidInputError(
                f"{source}: sample input {name} is {array.dtype}, expected float32, since no embedding reads it: "
                f"{INTEGERS_ARE_INDICES}"
            )
        check_indices(array, counts[name], f"{source}: sample input {name}")
    return counts


def _spec(
    name: str,
    samples: Mapping[str, NDArray[Any]],
    time_axis: int | None,
    index_count: int | None,
    *,
    free_time: bool,
) -> InputSpec:
    batch_axis, input_time_axis = model_axes(samples, name, time_axis)
    shape: list[int | str] = list(np.moveaxis(samples[name][:1], 0, batch_axis).shape)
    shape[batch_axis] = BATCH
    if input_time_axis is not None and free_time:
        shape[input_time_axis] = TIME
    return InputSpec(name, samples[name].dtype.name, tuple(shape), batch_axis, input_time_axis, index_count)


def _compare(
    canonical: Canonical,
    source: _Source,
    samples: Mapping[str, NDArray[Any]],
    specs: Sequence[InputSpec],
    time_axis: int | None,
    *,
    free_time: bool,
) -> CapturedModel:
    model = free_dimensions(canonical.model, specs, source.batch, copy_batch=True)
    session = FloatSession(model)
    given = step_count(samples) if time_axis is not None else None
    first = source.steps or given
    second = first
    if first is not None and free_time:
        second = first // 2 if first > 1 else 3
    cases: list[tuple[dict[str, NDArray[Any]], int | None]] = []
    runs = []
    for count, steps in zip(_CHECKED_SAMPLES, (first, second), strict=True):
        size = count * (source.batch or 1)
        feeds = some_samples(samples, count=size, time_axis=time_axis, steps=steps)
        runs.append((size, steps, session.run(feeds)))
        if source.steps is None or steps == source.steps:
            cases.append((feeds, steps))
    model = measure_outputs(model, runs)
    run = _in_pieces(source, specs, model)
    error = compare(run, session.run, cases, softmax=canonical.softmax, double=source.double)
    onnx.checker.check_model(model)
    return CapturedModel(
        model,
        tuple(specs),
        session.outputs,
        max((spec.batch_axis for spec in specs), default=0),
        time_axis if any(spec.time_axis is not None for spec in specs) else None,
        (),
        source.name,
        error,
    )


def _in_pieces(source: _Source, specs: Sequence[InputSpec], model: onnx.ModelProto) -> Run:
    """The source over any multiple of its fixed number of samples."""
    batch = source.batch
    if batch is None:
        return source.run
    axes = {}
    for output in model.graph.output:
        names = [one.dim_param for one in output.type.tensor_type.shape.dim]
        axes[output.name] = names.index(BATCH) if BATCH in names else None

    def run(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        count = next(feeds[spec.name].shape[spec.batch_axis] for spec in specs)
        pieces = []
        for start in range(0, count, batch):
            part = {
                spec.name: np.take(feeds[spec.name], range(start, start + batch), axis=spec.batch_axis)
                for spec in specs
            }
            pieces.append(source.run(part))
        return {
            name: pieces[0][name]
            if axes.get(name) is None
            else np.concatenate([piece[name] for piece in pieces], axis=axes[name])
            for name in pieces[0]
        }

    return run
