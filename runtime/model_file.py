"""Reading an ``.onnx`` file safely: bounded size, no data outside the file, one kind of error."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from qdeploy.runtime.errors import InvalidFileError

MAX_MODEL_BYTES = 1 << 30
"""Networks for small machines have kilobytes to megabytes; a gigabyte is a mistake or an attack."""


def parse_model(content: bytes, where: str) -> onnx.ModelProto:
    """The model that ``content`` holds; ``where`` names its origin in errors.

    Raises:
        InvalidFileError: not an ONNX model, truncated, or with tensors in other files.
    """
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise InvalidFileError(
            f"{where} is not a readable ONNX model ({error}); export it again or copy it anew."
        ) from error
    if not model.HasField("graph") or not model.graph.node:
        raise InvalidFileError(f"{where} holds no ONNX graph; it is empty, truncated or another kind of file.")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InvalidFileError(
                f"{where}: tensor {tensor.name} lies in another file; expected one self-contained file."
            )
    return model


def load_model(path: Path) -> onnx.ModelProto:
    """Reads ``path``.

    Raises:
        InvalidFileError: missing, too large, truncated, or not ONNX.
    """
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise InvalidFileError(f"{path} has {size} bytes; at most {MAX_MODEL_BYTES} are read.")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidFileError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_model(content, str(path))
