"""What stands for a model wherever one is asked for: the model itself, its bytes, the path of its file, a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import onnx

from qdeploy.runtime.model_file import load_model, parse_model

if TYPE_CHECKING:
    from qdeploy.runtime.bundle import BundleFiles

__all__ = ["ModelSource", "read_model"]

ModelSource: TypeAlias = "onnx.ModelProto | bytes | str | os.PathLike[str] | BundleFiles"


def read_model(source: ModelSource) -> onnx.ModelProto:
    """The model of ``source``.

    Raises:
        InvalidFileError: the file or the bytes hold no ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return source
    if isinstance(source, bytes):
        return parse_model(source, "the model")
    if isinstance(source, (str, os.PathLike)):
        return load_model(Path(source))
    return source.model
