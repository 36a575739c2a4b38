"""The engine "onnxruntime": the CPU provider, quiet, with telemetry off."""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.errors import ContractError, InvalidInputError, MissingRequirementError, UnsupportedModelError
from qdeploy.runtime.model_source import read_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import onnx

    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["OnnxruntimeEngine", "ambiguous_functions", "ignores_overloads", "version"]

_INSTALL = "pip install 'onnxruntime>=1.21', or choose another runtime: numpy, bodies"
#: Only fatal messages: what goes wrong comes back as an exception.
_FATAL = 4


def version() -> str:
    """The installed version, without importing the package.

    Raises MissingRequirementError where it is not installed.
    """
    try:
        return metadata.version("onnxruntime")
    except metadata.PackageNotFoundError as error:
        msg = f"onnxruntime is not installed on this machine; {_INSTALL}"
        raise MissingRequirementError(msg) from error


def ignores_overloads(installed: str) -> bool:
    """Whether this version knows functions by domain and name alone: 1.26 and before, without a word."""
    numbers = [int(part) for part in installed.split(".")[:2] if part.isdigit()]
    return numbers < [1, 27]


def ambiguous_functions(model: onnx.ModelProto) -> list[str]:
    """The functions of which the model has several overloads."""
    names = [f"{function.domain}::{function.name}" for function in model.functions]
    return sorted({name for name in names if names.count(name) > 1})


def _import() -> ModuleType:
    # Official Linux wheels send telemetry unless this is set before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        msg = f"onnxruntime cannot be imported ({error}); {_INSTALL}"
        raise MissingRequirementError(msg) from error
    onnxruntime.set_default_logger_severity(_FATAL)
    module: ModuleType = onnxruntime
    return module


class OnnxruntimeEngine:
    """An onnxruntime session on the CPU; ``optimize=False`` switches every graph optimization off."""

    name = "onnxruntime"

    def __init__(self, source: ModelSource, *, threads: int = 1, optimize: bool = True) -> None:
        runtime = _import()
        self.version: str = runtime.__version__
        model = read_model(source)
        ambiguous = ambiguous_functions(model)
        if ambiguous and ignores_overloads(self.version):
            msg = (
                f"onnxruntime {self.version} takes one body for all overloads of a function and would compute wrong "
                f"integers: the model has several for {', '.join(ambiguous)}; expected onnxruntime 1.27 or later; "
                "update it or export with --inline"
            )
            raise UnsupportedModelError(msg)
        options = runtime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A waiting thread must not take the processor from what runs beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        levels = runtime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
        try:
            session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
            msg = (
                f"onnxruntime {self.version} cannot load the model (IR version {model.ir_version}, operator sets "
                f"{opsets}): {_first_line(error)}; "
                "expected onnxruntime 1.21 or later; update it or export with --inline"
            )
            raise UnsupportedModelError(msg) from error
        self._session: Any = session
        self._inputs = {value.name: value for value in session.get_inputs()}
        self._outputs = [value.name for value in session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once."""
        if feeds.keys() != self._inputs.keys():
            odd = min(feeds.keys() ^ self._inputs.keys())
            what = f"input {odd!r} is missing" if odd in self._inputs else f"found an input {odd!r}"
            msg = f"{what}; the model's inputs are {', '.join(self._inputs)}"
            raise InvalidInputError(msg)
        try:
            results = self._session.run(None, {name: np.ascontiguousarray(array) for name, array in feeds.items()})
        except Exception as error:
            self._explain(feeds, error)
            msg = f"onnxruntime {self.version} failed while it ran: {_first_line(error)}"
            raise ContractError(msg) from error
        return dict(zip(self._outputs, results, strict=True))

    def _explain(self, feeds: Mapping[str, Array], error: Exception) -> None:
        """A feed of another type or shape is the caller's error, with its name."""
        for name, array in feeds.items():
            declared = self._inputs[name]
            shape = list(declared.shape)
            fits = len(shape) == array.ndim and all(
                not isinstance(d, int) or d == n for d, n in zip(shape, array.shape, strict=True)
            )
            expected = declared.type.removeprefix("tensor(").removesuffix(")").replace("float", "float32")
            if str(array.dtype) != expected or not fits:
                msg = f"input {name!r}: found {array.dtype}{list(array.shape)}, expected {expected}{shape}"
                raise InvalidInputError(msg) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
