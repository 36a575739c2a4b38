"""Names and frees the dimensions of a graph's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

from .captured import InputSpec
from .functions import FLOAT_DOMAIN, RECURRENT
from .samples import INTEGERS_ARE_INDICES, is_indices

__all__ = ["BATCH", "TIME", "free_dimensions", "has_recurrence", "match_inputs", "measure_outputs"]

BATCH = "batch"
TIME = "time"


def has_recurrence(model: onnx.ModelProto) -> bool:
    """Whether a recurrent layer is in the graph."""
    return any(node.domain == FLOAT_DOMAIN and node.op_type in RECURRENT for node in model.graph.node)


def layout_time_axis(model: onnx.ModelProto) -> int:
    """The axis of the steps in the inputs of a recurrent model: 1 where a Transpose stands before the loop, else 0.

    Requires: the float layer form, whose recurrent layers read [time, batch, features].
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    node: onnx.NodeProto | None = next(node for node in model.graph.node if node.op_type in RECURRENT)
    swapped = False
    while node is not None:
        if node.op_type == "Transpose":
            perm = next((list(one.ints) for one in node.attribute if one.name == "perm"), [])
            swapped ^= perm[:2] == [1, 0]
        node = producers.get(node.input[0])
    return int(swapped)


def match_inputs(model: onnx.ModelProto, samples: Mapping[str, NDArray[Any]], source: str) -> dict[str, NDArray[Any]]:
    """The graph's inputs are those of the samples, of their rank, and float32, or int32 or int64 where these are integers.

    Returns:
        The samples in the inputs' types.

    Raises:
        InvalidInputError: a missing or another name, type or rank.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in initializers}
    if set(inputs) != set(samples):
        raise InvalidInputError(
            f"{source}: found sample inputs {', '.join(samples)}, expected {', '.join(inputs)} as the model names them"
        )
    typed: dict[str, NDArray[Any]] = {}
    for name, value in inputs.items():
        tensor = value.type.tensor_type
        typed[name] = _typed(samples[name], tensor.elem_type, f"{source}: input {name}")
        if tensor.HasField("shape") and len(tensor.shape.dim) != samples[name].ndim:
            raise InvalidInputError(
                f"{source}: sample input {name} has shape {list(samples[name].shape)}, expected "
                f"{len(tensor.shape.dim)} axes as the model's input has"
            )
    return {name: typed[name] for name in samples}


def _typed(samples: NDArray[Any], elem_type: int, where: str) -> NDArray[Any]:
    found = onnx.TensorProto.DataType.Name(elem_type)
    if elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        raise InvalidInputError(
            f"{where} is {found}, expected float32, or int64 or int32 for indices of an embedding; export a model whose "
            "inputs are of these types"
        )
    wants_indices = elem_type != onnx.TensorProto.FLOAT
    if wants_indices != is_indices(samples):
        expected = "integers, indices of an embedding" if wants_indices else "float32"
        said = "" if wants_indices else f"; {INTEGERS_ARE_INDICES}"
        raise InvalidInputError(f"{where} is {found} and the samples are {samples.dtype}, expected {expected}{said}")
    return samples.astype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))


def free_dimensions(
    model: onnx.ModelProto, specs: Sequence[InputSpec], batch: int | None, *, copy_batch: bool
) -> onnx.ModelProto:
    """A copy of ``model`` whose inputs have the shapes of ``specs``.

    Args:
        model: a float model in layer form.
        specs: in any order; they give the order of the inputs as well.
        batch: the number of samples that the file was made for, where it was fixed.
        copy_batch: a Reshape whose first number is ``batch`` copies that dimension instead.
    """
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    del freed.graph.input[:]
    for spec in specs:
        freed.graph.input.append(
            onnx.helper.make_tensor_value_info(
                spec.name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), list(spec.shape)
            )
        )
    if copy_batch and batch is not None:
        shapes = {node.input[1] for node in freed.graph.node if node.domain == "" and node.op_type == "Reshape"}
        for tensor in freed.graph.initializer:
            if tensor.name not in shapes:
                continue
            numbers = onnx.numpy_helper.to_array(tensor).copy()
            if numbers.size and numbers[0] == batch:
                numbers[0] = -1 if -1 not in numbers else 0
                tensor.CopyFrom(onnx.numpy_helper.from_array(numbers, tensor.name))
    return freed


def measure_outputs(
    model: onnx.ModelProto, runs: Sequence[tuple[int, int | None, Mapping[str, NDArray[Any]]]]
) -> onnx.ModelProto:
    """A copy of ``model`` whose outputs have shapes, read off runs of different sizes.

    Args:
        model: a float model in layer form.
        runs: number of samples, number of steps, and the outputs; the first two differ between runs.
    """
    named = onnx.ModelProto()
    named.CopyFrom(model)
    outputs = [output.name for output in model.graph.output]
    del named.graph.output[:]
    for name in outputs:
        shapes = [np.shape(results[name]) for _, _, results in runs]
        dimensions: list[int | str | None] = []
        for axis in range(len(shapes[0])):
            sizes = [shape[axis] for shape in shapes]
            if sizes == [batch for batch, _, _ in runs]:
                dimensions.append(BATCH)
            elif sizes == [steps for _, steps, _ in runs]:
                dimensions.append(TIME)
            else:
                dimensions.append(sizes[0] if len(set(sizes)) == 1 else None)
        named.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dimensions))
    return named
