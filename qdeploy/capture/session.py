"""Float models run in onnxruntime, for the comparison with their source and for calibration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray

from qdeploy.runtime.errors import MissingRequirementError, QdeployError

__all__ = ["FloatSession", "SessionError"]


# Joins a Pad of zeros to the MaxPool behind it, which then leaves the zeros out: wrong where a window has negative numbers
# alone. Seen in 1.31.
_WRONG_OPTIMIZERS = ["Pad_Fusion"]


class SessionError(QdeployError):
    """onnxruntime refuses a model or its inputs."""


class FloatSession:
    """One model in one session of onnxruntime, on the CPU with one thread."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Loads ``model``.

        Raises:
            MissingRequirementError: onnxruntime is not installed.
            SessionError: onnxruntime refuses the model.
        """
        # Official Linux wheels report usage unless told otherwise before the import.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingRequirementError(
                "onnxruntime is not installed, which runs float models; install it with: pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # Errors come as exceptions; warnings about a model's shapes are not the user's business.
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_WRONG_OPTIMIZERS,
            )
        except Exception as error:
            raise SessionError(_first_line(error)) from error
        self.outputs: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name.

        Raises:
            SessionError: onnxruntime refuses the inputs.
        """
        try:
            results = self._session.run(None, dict(feeds))
        except Exception as error:
            raise SessionError(_first_line(error)) from error
        return dict(zip(self.outputs, results, strict=True))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
