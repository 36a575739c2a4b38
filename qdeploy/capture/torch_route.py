"""A torch module becomes an ONNX model of layer-sized nodes, by ``torch.onnx.export``."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError, QdeployError, UnsupportedModelError

from . import torch_ops
from .copying import check_finite, evaluation_copy, materialize_parametrizations
from .functions import OPSET
from .samples import INTEGERS_ARE_INDICES, is_sequence, model_axes, some_samples, step_count
from .supported import SUPPORTED_LAYERS, check_layers
from .twins import replace_layers

__all__ = ["TorchExport", "export_torch"]

# A loop over fewer steps than this is not told from a model that handles its few rows one by one.
LOOP_STEPS = 32

# Tracing is done over few steps: no layer-sized node depends on their number, and an unrolled loop shows itself soon.
TRACED_STEPS = 11

# Steps of a loop that is traced unrolled, to be rolled up again: enough to see that they are equal, and torch takes a
# tenth of a second or more for each.
UNROLLED_STEPS = 5

# Two samples and not one, because torch.export takes a dimension of size one for a constant.
TRACED_SAMPLES = 2


@dataclass(frozen=True)
class TorchExport:
    """The exported model, and the module's own function to compare it with.

    Attributes:
        model: as torch wrote it, with nodes of the float domain whose absent inputs are empty.
        run: the copied module in evaluation mode; inputs in the model's layout to outputs by name.
        run_double: the same in float64.
        time_axis: as decided: ``None`` where no input has a time axis.
        notes: what was changed before the export.
        unrolled: where ``forward`` loops over the steps: what to say of a loop that cannot be rolled up; empty otherwise.
    """

    model: onnx.ModelProto
    run: Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
    run_double: Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
    time_axis: int | None
    notes: tuple[str, ...]
    unrolled: str = ""


def export_torch(
    module: nn.Module, samples: Mapping[str, NDArray[Any]], time_axis: int | None, source: str
) -> TorchExport:
    """Exports ``module`` with layer-sized nodes and symbolic dimensions ``batch`` and ``time``.

    Raises:
        UnsupportedModelError: a layer or a loop that cannot be captured.
        InvalidInputError: the module does not run on the samples.
        InvalidFileError: weights that are not finite.
    """
    reference = evaluation_copy(module)
    check_finite(reference, source)
    traced = evaluation_copy(reference)
    notes = materialize_parametrizations(traced)
    check_layers(traced)
    removed = [name for name, part in traced.named_modules() if "Dropout" in type(part).__name__]
    if removed:
        notes.append(f"dropout removed: {', '.join(removed)}")
    recurrent = replace_layers(traced)
    names = _argument_names(module, samples)
    has_sequences = step_count(samples) is not None
    has_cells = any(isinstance(part, nn.RNNCellBase) for part in traced.modules())
    if time_axis is None and (recurrent or has_cells) and has_sequences:
        time_axis = 1
    run = _runner(reference, samples, by_name=names is not None, source=source)
    outputs = list(run(some_samples(samples, count=TRACED_SAMPLES, time_axis=time_axis, steps=None)))

    def double(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        widened = evaluation_copy(reference).double()
        return _runner(widened, samples, by_name=names is not None, source=source)(feeds)

    by_name = names is not None
    model: onnx.ModelProto | None = None
    # A cell stands in a loop of the user's: torch would try for long to make the number of steps free.
    if not (has_cells and has_sequences and _unrolls(traced, samples, time_axis or 0, by_name=by_name)):
        model = _export(traced, samples, time_axis, by_name=by_name, outputs=outputs, recurrent=bool(recurrent))
    unrolled = ""
    if model is None:
        # The loop runs over the second axis where none was named.
        time_axis = 1 if time_axis is None else time_axis
        unrolled = _loop_message(samples)
        model = _export_once(
            traced, samples, time_axis, UNROLLED_STEPS, by_name=by_name, outputs=outputs, free_steps=False
        )
    return TorchExport(model, run, double, time_axis if has_sequences else None, tuple(notes), unrolled)


def _argument_names(module: nn.Module, samples: Mapping[str, Any]) -> list[str] | None:
    """The inputs' names where all are parameters of ``forward``; ``None`` where the inputs are taken in order."""
    parameters = inspect.signature(module.forward).parameters
    return list(samples) if set(samples) <= set(parameters) else None


def _runner(
    module: nn.Module, samples: Mapping[str, Any], *, by_name: bool, source: str
) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)

    def run(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in samples}
        tensors = {name: one.to(dtype) if one.is_floating_point() else one for name, one in tensors.items()}
        try:
            with torch.no_grad(), _one_thread():
                result = module(**tensors) if by_name else module(*tensors.values())
        except QdeployError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError) as error:
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
            integers = any(not tensor.is_floating_point() for tensor in tensors.values())
            hint = f"; {INTEGERS_ARE_INDICES}" if integers else ""
            raise InvalidInputError(
                f"{source}: the model does not run on the sample inputs ({shapes}): {_first_line(error)}; "
                f"expected arrays of the shapes and in the order that its forward takes{hint}"
            ) from error
        return {name: tensor.numpy() for name, tensor in _outputs(result, source)}

    return run


def _outputs(result: object, source: str) -> list[tuple[str, Tensor]]:
    """Names and tensors of what ``forward`` returned: a tensor, a dictionary, or a tuple of tensors."""
    if isinstance(result, Tensor):
        return [("output", result)]
    if isinstance(result, Mapping) and all(isinstance(value, Tensor) for value in result.values()):
        return [(str(name), tensor) for name, tensor in result.items()]
    if isinstance(result, tuple | list) and all(isinstance(value, Tensor) for value in result):
        return [(f"output_{index}", tensor) for index, tensor in enumerate(result)]
    raise UnsupportedModelError(
        f"{source}: forward returns {type(result).__name__}, expected a tensor, a flat tuple of tensors or a "
        "dictionary of "
        "tensors; wrap the model in a module that returns one of these"
    )


def _export(
    module: nn.Module,
    samples: Mapping[str, NDArray[Any]],
    time_axis: int | None,
    *,
    by_name: bool,
    outputs: list[str],
    recurrent: bool,
) -> onnx.ModelProto | None:
    """The model with a free number of steps where it has steps; ``None`` where ``forward`` loops over them."""
    long_axis = (step_count(samples) or 0) > LOOP_STEPS
    if time_axis is None:
        # Without a recurrent layer the second axis has a fixed length, unless a loop of the user's runs over it.
        if long_axis and _unrolls(module, samples, 1, by_name=by_name):
            return None
        return _export_once(module, samples, None, None, by_name=by_name, outputs=outputs)
    steps = min(TRACED_STEPS, step_count(samples) or TRACED_STEPS)
    # torch.export takes an axis of length one for a constant, so a single step is traced with its repetition.
    if steps == 1:
        samples = {name: np.repeat(a, 2, axis=1) if is_sequence(samples, name) else a for name, a in samples.items()}
        steps = 2
    failure: UnsupportedModelError | None = None
    try:
        model = _export_once(module, samples, time_axis, steps, by_name=by_name, outputs=outputs)
        if _is_free(model, samples, time_axis):
            return model
    except UnsupportedModelError as error:
        if isinstance(error.__cause__, QdeployError):
            raise
        failure = error
    if _unrolls(module, samples, time_axis, by_name=by_name):
        return None
    if failure is not None and not recurrent:
        raise failure
    # A layer behind the recurrent one may need all steps (a Linear of T·H): their number is fixed then.
    return _export_once(module, samples, time_axis, None, by_name=by_name, outputs=outputs)


def _is_free(model: onnx.ModelProto, samples: Mapping[str, NDArray[Any]], time_axis: int) -> bool:
    """Whether the number of steps is symbolic; torch fixes a dimension that the module turns into a number."""
    for value in model.graph.input:
        _, input_time_axis = model_axes(samples, value.name, time_axis)
        if input_time_axis is not None and not value.type.tensor_type.shape.dim[input_time_axis].dim_param:
            return False
    return True


def _loop_message(samples: Mapping[str, NDArray[Any]]) -> str:
    names = ", ".join(name for name in samples if is_sequence(samples, name))
    return (
        f"input {names}: found a Python loop over the time steps in the model's forward whose steps cannot be read as a "
        "layer over the whole sequence (expected the same step for every t, over x[:, t] and the states of the step "
        "before, and all or the last of its results; otherwise use qdeploy.models.OrthogonalRNN, torch.nn.RNN, GRU or LSTM)"
    )


def _arguments(samples: Mapping[str, NDArray[Any]], time_axis: int | None, steps: int | None) -> dict[str, Tensor]:
    arranged = some_samples(samples, count=TRACED_SAMPLES, time_axis=time_axis, steps=steps)
    return {name: torch.from_numpy(array) for name, array in arranged.items()}


def _unrolls(module: nn.Module, samples: Mapping[str, Any], time_axis: int, *, by_name: bool) -> bool:
    """Whether the number of traced operators grows with the number of steps."""
    counts = []
    for steps in (4, 7):
        tensors = _arguments(samples, time_axis, steps)
        try:
            with _silence():
                program = torch.export.export(
                    module,
                    () if by_name else tuple(tensors.values()),
                    tensors if by_name else {},
                    strict=False,
                )
        except Exception:  # noqa: BLE001  # whatever torch raises, it tells nothing about loops
            return False
        counts.append(len(program.graph.nodes))
    return counts[0] != counts[1]


def _export_once(
    module: nn.Module,
    samples: Mapping[str, NDArray[Any]],
    time_axis: int | None,
    steps: int | None,
    *,
    by_name: bool,
    outputs: list[str],
    free_steps: bool = True,
) -> onnx.ModelProto:
    tensors = _arguments(samples, time_axis, steps)
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    dimensions: dict[str, dict[int, Any]] = {}
    for name in samples:
        batch_axis, input_time_axis = model_axes(samples, name, time_axis)
        dimensions[name] = {batch_axis: batch}
        if input_time_axis is not None and steps is not None and free_steps:
            dimensions[name][input_time_axis] = time
    try:
        with _silence():
            program = torch.onnx.export(
                module,
                () if by_name else tuple(tensors.values()),
                kwargs=tensors if by_name else None,
                input_names=list(tensors),
                output_names=outputs,
                dynamic_shapes=dimensions if by_name else tuple(dimensions.values()),
                opset_version=OPSET,
                custom_translation_table=torch_ops.translations(),
                dynamo=True,
                verbose=False,
                external_data=False,
            )
    except Exception as error:
        known = _known_cause(error)
        if known is not None:
            raise UnsupportedModelError(str(known)) from known
        raise UnsupportedModelError(
            f"model {type(module).__name__}: torch cannot export it with a free number of samples"
            f"{' and steps' if steps is not None else ''}: {_root_line(error)}. Supported layers: {SUPPORTED_LAYERS}; "
            "avoid sizes of the batch and branches on values in forward"
        ) from error
    if program is None:
        raise UnsupportedModelError(f"model {type(module).__name__}: torch.onnx.export gave no program")
    return program.model_proto


def _known_cause(error: BaseException) -> QdeployError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, QdeployError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _root_line(error: BaseException) -> str:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return _first_line(cause)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """A few samples are too little work to share: on a busy machine, threads would wait for each other for seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """torch's exporter reports its progress and its own deprecations; none of it concerns the user."""
    logger = logging.getLogger("torch")
    children = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo")]
    levels = [(one, one.level) for one in (logger, *children)]
    try:
        for one, _ in levels:
            one.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in levels:
            one.setLevel(level)
