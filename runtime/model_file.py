"""Reading an ``.onnx`` file safely: bounded size, no data outside the file, one kind of error."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.model_sizes import check_sizes
from qdeploy.runtime.model_structure import check_structure, check_tensors

MAX_MODEL_BYTES = 1 << 30
"""Networks for small machines have kilobytes to megabytes; a gigabyte is a mistake or an attack."""


def parse_model(content: bytes, where: str) -> onnx.ModelProto:
    """The model that ``content`` holds; ``where`` names its origin in errors.

    Raises:
        InvalidFileError: not an ONNX model, truncated, not valid ONNX, with tensors in other files or of another size
            than their shape, with functions that call themselves or stand for more nodes than any network has.
    """
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise InvalidFileError(
            f"{where} is not a readable ONNX model ({error}); export it again or copy it anew."
        ) from error
    if not model.HasField("graph") or not model.graph.node:
        raise InvalidFileError(f"{where} holds no ONNX graph; it is empty, truncated or another kind of file.")
    check_structure(model, where)
    check_tensors(model, where)
    check_sizes(model, where)
    check_with_onnx(model, where)
    return model


def check_with_onnx(model: onnx.ModelProto, where: str) -> None:
    """onnx's own checker, whose every complaint is an InvalidFileError.

    Requires: ``check_structure`` and ``check_tensors`` passed; the checker follows functions and graphs without bounds.
    """
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidFileError(f"{where}: not a valid ONNX model: {first[:300]}; export it again") from error


def load_model(path: Path) -> onnx.ModelProto:
    """Reads ``path``.

    Raises:
        InvalidFileError: missing, too large, truncated, or not ONNX.
    """
    # Not a device or a pipe, which have no end.
    if path.exists() and not path.is_file():
        raise InvalidFileError(f"{path} is no plain file; expected an ONNX model.")
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_MODEL_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(content) > MAX_MODEL_BYTES:
        raise InvalidFileError(f"{path} has more than {MAX_MODEL_BYTES} bytes; that many are read at most.")
    return parse_model(content, str(path))
