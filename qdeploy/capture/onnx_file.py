"""Reads a float ``.onnx`` file that may come from anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, inliner

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .functions import OPSET

__all__ = ["MAX_FILE_BYTES", "read_onnx"]

# A float model of 128 million weights; edge models are far smaller, and protobuf itself ends at 2 GB.
MAX_FILE_BYTES = 512 * 1024 * 1024

MAX_NAME = 1024
_QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv"}
)


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model of a file, checked, with its external data inside, its functions inlined, of opset 18 or newer.

    Raises:
        InvalidFileError: the file is missing, too large, truncated, not ONNX, not valid ONNX, or has external data
            outside its folder.
        UnsupportedModelError: an integer model, or an opset that cannot be converted.
    """
    if not path.is_file():
        raise InvalidFileError(f"{path}: no such file, expected a float ONNX model")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InvalidFileError(f"{path}: found {size} bytes, expected at most {MAX_FILE_BYTES}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InvalidFileError(f"{path}: not an ONNX model, or a truncated one ({error}); export it again") from error
    if not model.HasField("graph") or not model.opset_import:
        raise InvalidFileError(f"{path}: found no graph or no opset, expected an ONNX model; export it again")
    _load_external_data(model, path)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidFileError(f"{path}: not a valid ONNX model: {first}; export it again") from error
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise UnsupportedModelError(f"{path}: tensor {name} is a sparse initializer, expected dense ones")
    _check_names(model, path)
    _check_tensors(model, path)
    _refuse_integer_models(model, path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    return _of_opset(model, path)


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Reads external tensors, from plain files within the folder of the model alone."""
    folder = path.resolve().parent
    total = 0
    for tensor in external_data_helper._get_all_tensors(model):  # noqa: SLF001  # onnx has no public way to list them
        if not external_data_helper.uses_external_data(tensor):
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        inside = not Path(location).is_absolute() and (folder / location).resolve().is_relative_to(folder)
        if not location or not inside:
            raise InvalidFileError(
                f"{path}: tensor {tensor.name} has its data in {location!r}, expected a file in the model's own "
                "folder; "
                "save the model in one file"
            )
        data = folder / location
        if not data.is_file():
            raise InvalidFileError(f"{path}: tensor {tensor.name} has its data in {location!r}, which is not there")
        total = max(total, data.stat().st_size)
        if total > MAX_FILE_BYTES:
            raise InvalidFileError(f"{data}: found {total} bytes, expected at most {MAX_FILE_BYTES}")
    if not total:
        return
    try:
        external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise InvalidFileError(f"{path}: external data cannot be read: {error}; save the model in one file") from error


def _check_names(model: onnx.ModelProto, path: Path) -> None:
    """Names become keys of the manifest, which takes texts of 1 to 1024 characters and no control characters."""
    graph = model.graph
    names = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    names.update(name for node in graph.node for name in (node.name, *node.output))
    for name in sorted(names):
        if len(name) > MAX_NAME or any(ord(character) < ord(" ") for character in name):
            raise InvalidFileError(
                f"{path}: found the name {name[:60]!r}, expected at most {MAX_NAME} printable characters; rename it and "
                "export the model again"
            )


def _check_tensors(model: onnx.ModelProto, path: Path) -> None:
    """Every weight has as many numbers as its shape says, and all are finite."""
    for tensor in model.graph.initializer:
        try:
            array = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidFileError(
                f"{path}: tensor {tensor.name} does not fit its shape {list(tensor.dims)} ({error}); export the model "
                "again"
            ) from error
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise InvalidFileError(
                f"{path}: tensor {tensor.name}: found NaN or infinite values, expected finite weights; export the "
                "model from "
                "a checkpoint from before the training diverged"
            )


def _refuse_integer_models(model: onnx.ModelProto, path: Path) -> None:
    if any(entry.domain == "qdeploy" for entry in model.opset_import):
        raise UnsupportedModelError(
            f"{path}: an integer model of qdeploy, expected a float one; export the source model"
        )
    for node in model.graph.node:
        if node.op_type in _QUANTIZED:
            raise UnsupportedModelError(
                f"{path}: node {node.name or node.output[0]} ({node.op_type}): the model is quantized already, "
                "expected a "
                "float one; export the model from before its quantization"
            )


def _of_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if version > newest:
        raise UnsupportedModelError(f"{path}: opset {version}, expected at most {newest}; export with opset {OPSET}")
    if version >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (
        RuntimeError,
        ValueError,
        onnx.shape_inference.InferenceError,
        onnx.version_converter.ConvertError,
    ) as error:
        raise UnsupportedModelError(
            f"{path}: opset {version} cannot be converted to {OPSET} ({error}); export the model with opset {OPSET}"
        ) from error
