"""Reading an ONNX model from bytes, a file or memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from qdeploy.runtime.errors import InvalidFileError

if TYPE_CHECKING:
    import os

__all__ = ["read_model"]


def read_model(source: onnx.ModelProto | bytes | str | os.PathLike[str], *, name: str | None = None) -> onnx.ModelProto:
    """The model of ``source``; ``name`` stands for it in messages.

    Raises InvalidFileError where the file cannot be read or holds no ONNX graph.
    """
    if isinstance(source, onnx.ModelProto):
        return source
    if isinstance(source, bytes):
        data, shown = source, name or "the model"
    else:
        path = Path(source)
        shown = name or str(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            msg = f"{shown}: cannot be read ({error.strerror or error}); expected an ONNX file"
            raise InvalidFileError(msg) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        msg = f"{shown}: is not an ONNX file, or a truncated one ({error}); export the model again"
        raise InvalidFileError(msg) from error
    if not model.graph.output or not model.opset_import:
        msg = f"{shown}: holds no graph with outputs and operator sets; expected an ONNX model; export the model again"
        raise InvalidFileError(msg)
    return model
