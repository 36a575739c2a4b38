"""Reads a float ``.onnx`` file that may come from anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import inliner

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError
from qdeploy.runtime.model_file import check_with_onnx
from qdeploy.runtime.model_sizes import check_sizes
from qdeploy.runtime.model_structure import check_structure, check_tensors, tensors_of

from .elementwise import ELEMENTWISE
from .functions import FLOAT_DOMAIN, OPSET, float_functions
from .time_major import make_time_major

__all__ = ["MAX_FILE_BYTES", "read_onnx"]

# A float model of 128 million weights; edge models are far smaller, and protobuf itself ends at 2 GB.
MAX_FILE_BYTES = 512 * 1024 * 1024

MAX_NAME = 1024
# What onnx's compiled code raises: its own failures, and those of the containers that it reads with.
_LIBRARY_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, OverflowError)
_QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv"}
)


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model of a file, checked, with its external data inside, its functions inlined, of opset 18 or newer.

    Recurrent operators have layout 0.

    Raises:
        InvalidFileError: the file is missing, too large, truncated, not ONNX, not valid ONNX, or has external data
            outside its folder.
        UnsupportedModelError: an integer model, or an opset that cannot be converted.
    """
    if not path.is_file():
        raise InvalidFileError(f"{path}: no such file, expected a float ONNX model")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidFileError(f"{path}: found {path.stat().st_size} bytes, expected at most {MAX_FILE_BYTES}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InvalidFileError(f"{path}: not an ONNX model, or a truncated one ({error}); export it again") from error
    if not model.HasField("graph") or not model.opset_import:
        raise InvalidFileError(f"{path}: found no graph or no opset, expected an ONNX model; export it again")
    check_structure(model, str(path))
    _load_external_data(model, path)
    check_tensors(model, str(path))
    check_sizes(model, str(path))
    check_with_onnx(model, str(path))
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise UnsupportedModelError(f"{path}: tensor {name} is a sparse initializer, expected dense ones")
    _check_names(model, path)
    _check_tensors(model, path)
    _refuse_integer_models(model, path)
    if model.functions:
        model = _inlined(model, path)
    return make_time_major(_of_opset(model, path))


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Reads external tensors, from plain files within the folder of the model alone."""
    folder = path.resolve().parent
    total = 0
    for tensor in tensors_of(model, str(path)):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        content = _external_bytes(tensor, folder, path)
        total += len(content)
        if total > MAX_FILE_BYTES:
            raise InvalidFileError(f"{path}: its tensors lie in more than {MAX_FILE_BYTES} bytes of other files")
        tensor.raw_data = content
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _external_bytes(tensor: onnx.TensorProto, folder: Path, path: Path) -> bytes:
    """The part of a file that holds the tensor's numbers, no more than its shape asks for."""
    where = f"{path}: tensor {tensor.name}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        # Links are followed here, so that one that leads out of the folder is seen.
        data = (folder / location).resolve()
        found = bool(location) and data.is_file()
    except (OSError, ValueError, RuntimeError):
        data, found = folder, False
    if not location or Path(location).is_absolute() or not data.is_relative_to(folder):
        raise InvalidFileError(
            f"{where} has its data in {location!r}, expected a file in the model's own folder; save the model in one file"
        )
    if not found:
        raise InvalidFileError(f"{where} has its data in {location!r}, which is not there; copy both files")
    places = {key: entries.get(key, "0") for key in ("offset", "length")}
    for key, text in places.items():
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise InvalidFileError(f"{where} has the {key} {text[:30]!r}, expected bytes; save the model in one file")
    offset, length = int(places["offset"]), int(places["length"])
    if offset + max(length, 1) > data.stat().st_size or length > MAX_FILE_BYTES:
        raise InvalidFileError(
            f"{where} has its data at bytes {offset} to {offset + length} of {location!r}, which holds "
            f"{data.stat().st_size}; copy both files, or save the model in one"
        )
    try:
        with data.open("rb") as stream:
            stream.seek(offset)
            content: bytes = stream.read(length or MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidFileError(f"{where}: {location!r} cannot be read: {error.strerror or error}") from error
    return content


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


def _inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model without functions, but for those of the float layer form whose bodies are ours: they stay layers."""
    layers = [f for f in model.functions if f.domain == FLOAT_DOMAIN and f.name != ELEMENTWISE]
    names = {function.name for function in layers}
    ours = all(_is_ours(function) for function in layers)
    try:
        if not names or not ours:
            return inliner.inline_local_functions(model)
        kept = [(FLOAT_DOMAIN, name) for name in sorted(names)]
        return inliner.inline_selected_functions(model, kept, exclude=True)
    except _LIBRARY_ERRORS as error:
        raise InvalidFileError(
            f"{path}: its functions do not fit their calls ({str(error)[:200]}); export it again"
        ) from error


def _is_ours(function: onnx.FunctionProto) -> bool:
    """Whether the function is that of the float layer form, node by node."""
    known = float_functions().get((function.name, function.overload))
    return known is not None and (
        list(known.input) == list(function.input)
        and list(known.output) == list(function.output)
        and [node.SerializeToString(deterministic=True) for node in known.node]
        == [node.SerializeToString(deterministic=True) for node in function.node]
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
    except (*_LIBRARY_ERRORS, onnx.shape_inference.InferenceError, onnx.version_converter.ConvertError) as error:
        raise UnsupportedModelError(
            f"{path}: opset {version} cannot be converted to {OPSET} ({str(error)[:200]}); export the model with opset {OPSET}"
        ) from error
